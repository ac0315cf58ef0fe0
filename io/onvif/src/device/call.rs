//! One call as the services see it: its arguments, how the client reached the device, and the answer being written.

use std::future::Future;
use std::time::Duration;

use keepwatch_model::WallTime;

use crate::lexical;
use crate::xml::{Element, Writer};

use super::backend::{Backend, Profile, Refusal, Transport};
use super::fault::Fault;
use super::origin::Origin;

/// How long a backend may take for one answer. Clients give up after 5 to 30 seconds.
const BACKEND_PATIENCE: Duration = Duration::from_secs(20);

/// Longest token that is read, in bytes: those of ONVIF have 64 characters.
const TOKEN_BYTES_MAX: usize = 256;

/// The content of the body of an answer.
pub(crate) type Reply = Result<Writer, Fault>;

/// Writes an answer: the element `name` and what `content` writes into it.
#[expect(clippy::unnecessary_wraps, reason = "every call ends with it, beside arms that fail")]
pub(crate) fn reply(name: &str, content: impl FnOnce(&mut Writer)) -> Reply {
    let mut writer = Writer::new();
    writer.within(name, content);
    Ok(writer)
}

/// One call.
pub(crate) struct Call<'a> {
    /// The device.
    pub(crate) backend: &'a dyn Backend,
    /// How the client reached it.
    pub(crate) origin: &'a Origin,
    /// The element in the body.
    pub(crate) operation: &'a Element,
    /// The path of the request.
    pub(crate) path: &'a str,
}

impl<'a> Call<'a> {
    /// The name of the call.
    pub(crate) fn name(&self) -> &'a str {
        &self.operation.name
    }

    /// The text of an argument that must be there.
    pub(crate) fn text(&self, name: &str) -> Result<&'a str, Fault> {
        let text = self.operation.text_at(&[name]);
        let text = text.ok_or_else(|| Fault::argument(format!("{} lacks {name}", self.name())))?;
        if text.len() > TOKEN_BYTES_MAX {
            return Err(Fault::argument(format!("{name} has more than {TOKEN_BYTES_MAX} bytes")));
        }
        Ok(text)
    }

    /// A time; `None` when it is not given.
    pub(crate) fn time(&self, name: &str) -> Result<Option<WallTime>, Fault> {
        self.parsed(name, lexical::parse_date_time)
    }

    /// A duration; `None` when it is not given.
    pub(crate) fn duration(&self, name: &str) -> Result<Option<Duration>, Fault> {
        self.parsed(name, lexical::parse_duration)
    }

    /// A number that counts something; `None` when it is not given. Some clients write 0 or -1 for no limit, which is
    /// `None` too.
    pub(crate) fn count(&self, name: &str) -> Result<Option<usize>, Fault> {
        let number: Option<i64> = self.parsed(name, |text| text.parse().ok())?;
        Ok(number.filter(|number| *number > 0).map(|number| usize::try_from(number).unwrap_or(usize::MAX)))
    }

    /// A truth value, false when it is not given.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Fault> {
        let read = |text: &str| match text {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        };
        Ok(self.parsed(name, read)?.unwrap_or(false))
    }

    fn parsed<T>(&self, name: &str, read: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, Fault> {
        let Some(text) = self.operation.text_at(&[name]) else { return Ok(None) };
        match read(text) {
            Some(value) => Ok(Some(value)),
            None => {
                let shown: String = text.chars().take(40).collect();
                Err(Fault::argument(format!("{name} cannot be {shown:?}")))
            }
        }
    }

    /// The profile that the argument `ProfileToken` names.
    pub(crate) fn profile(&self) -> Result<Profile, Fault> {
        let token = self.text("ProfileToken")?;
        let mut profiles = self.profiles().into_iter();
        let found = profiles.find(|profile| profile.token == token);
        found.ok_or_else(|| Fault::value("NoProfile", format!("there is no profile {token:?}")))
    }

    /// All profiles that are told.
    pub(crate) fn profiles(&self) -> Vec<Profile> {
        let mut profiles = self.backend.profiles();
        profiles.truncate(super::PROFILES_MAX);
        profiles
    }

    /// The transport of the argument `StreamSetup`.
    pub(crate) fn stream_setup(&self) -> Result<Transport, Fault> {
        let text = |path: &[&str]| self.operation.text_at(path).unwrap_or_default();
        let stream = text(&["StreamSetup", "Stream"]);
        let protocol = text(&["StreamSetup", "Transport", "Protocol"]);
        match (stream, protocol) {
            ("RTP-Unicast", "UDP") => Ok(Transport::Udp),
            // TCP means nothing that is defined; clients that write it expect RTSP.
            ("RTP-Unicast", "RTSP" | "TCP") => Ok(Transport::Rtsp),
            ("RTP-Unicast", "HTTP") => Ok(Transport::Http),
            ("RTP-Multicast", "UDP") => Ok(Transport::Multicast),
            _ => {
                let reason = "StreamSetup asks for no combination of stream and protocol that ONVIF knows";
                Err(Fault::value("InvalidStreamSetup", reason))
            }
        }
    }
}

/// Waits for the backend, but not for ever; `code` is that of the fault when it finds nothing.
pub(crate) async fn wait<T>(
    answer: impl Future<Output = Result<T, Refusal>>,
    code: &str,
) -> Result<T, Fault> {
    match tokio::time::timeout(BACKEND_PATIENCE, answer).await {
        Ok(answer) => answer.map_err(|refusal| Fault::refused(refusal, code)),
        Err(_) => {
            Err(Fault::failed(format!("the storage did not answer within {} s", BACKEND_PATIENCE.as_secs())))
        }
    }
}
