//! The replay service (replay.wsdl, Profile G): where a recording is replayed by RTSP.

use std::time::Duration;

use crate::lexical;

use super::backend::Refusal;
use super::call::{Call, Reply, reply};
use super::fault::Fault;
use super::service::{self, Service};

/// Answers a call of this service.
pub(crate) fn answer(call: &Call<'_>) -> Reply {
    match call.name() {
        "GetServiceCapabilities" => reply("trp:GetServiceCapabilitiesResponse", |writer| {
            service::capabilities(call, Service::Replay, writer);
        }),
        "GetReplayUri" => {
            let (transport, recording) = (call.stream_setup()?, call.text("RecordingToken")?);
            let uri = call.backend.replay_uri(recording, transport, call.origin.host());
            let uri = uri.map_err(|refusal| match refusal {
                Refusal::Unsupported(reason) => Fault::value("InvalidStreamSetup", reason),
                Refusal::NotFound(_) | Refusal::Failed(_) => Fault::refused(refusal, "NoRecording"),
            })?;
            reply("trp:GetReplayUriResponse", |writer| writer.leaf("trp:Uri", &uri))
        }
        "GetReplayConfiguration" => {
            let seconds = call.backend.replay_timeout_seconds().present;
            reply("trp:GetReplayConfigurationResponse", |writer| {
                writer.within("trp:Configuration", |writer| {
                    let timeout = lexical::duration(Duration::from_secs(seconds.into()));
                    writer.leaf("tt:SessionTimeout", &timeout);
                });
            })
        }
        "SetReplayConfiguration" => {
            set_configuration(call)?;
            reply("trp:SetReplayConfigurationResponse", |_| {})
        }
        other => Err(Fault::not_supported(format!("the replay service has no {other:?}"))),
    }
}

fn set_configuration(call: &Call<'_>) -> Result<(), Fault> {
    let text = call.operation.text_at(&["Configuration", "SessionTimeout"]);
    let text = text.ok_or_else(|| Fault::argument("SetReplayConfiguration lacks SessionTimeout"))?;
    let timeout =
        lexical::parse_duration(text).ok_or_else(|| Fault::argument("SessionTimeout is no duration"))?;
    let bounds = call.backend.replay_timeout_seconds();
    let allowed = bounds.least..=bounds.most;
    let seconds = u32::try_from(timeout.as_secs()).ok().filter(|seconds| allowed.contains(seconds));
    let Some(seconds) = seconds.filter(|_| timeout.subsec_nanos() == 0) else {
        let reason = format!("SessionTimeout must be whole seconds from {} to {}", bounds.least, bounds.most);
        return Err(Fault::value("ConfigModify", reason));
    };
    let set = call.backend.set_replay_timeout_seconds(seconds);
    set.map_err(|refusal| Fault::refused(refusal, "ConfigModify"))
}
