//! `[[camera]]`: its address, how to log in, what of it is recorded and when.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keepwatch_model::CameraId;
use keepwatch_recorder::config::{CameraConfig, Secret, WeeklySpan};
use serde_spanned::Spanned;
use url::Url;

use super::reader::{Complaint, Table, quoted};
use super::report::Report;
use super::{name, path, retention, schedule};

/// Longest password in a file; cameras take far shorter ones.
const PASSWORD_BYTES_MAX: u64 = 1024;

/// `[[camera]]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CameraTable {
    /// Its id.
    pub(crate) id: Spanned<CameraId>,
    /// Its name as operators see it; `None` shows the id.
    pub(crate) name: Option<String>,
    /// Its address without user and password.
    pub(crate) url: Spanned<Url>,
    /// User to log in with.
    pub(crate) user: Option<String>,
    /// File that holds the password.
    pub(crate) password_file: Option<Spanned<PathBuf>>,
    /// Password that stood in the address.
    pub(crate) password: Option<Secret>,
    /// Whether its audio is recorded.
    pub(crate) audio: bool,
    /// Age at which its footage is deleted; `None` takes the recorder's.
    pub(crate) retention: Option<Duration>,
    /// When it is recorded; empty means always.
    pub(crate) schedule: Vec<WeeklySpan>,
}

/// An address, and what stood in it that belongs elsewhere.
struct Address {
    url: Url,
    user: Option<String>,
    password: Option<Secret>,
}

impl CameraTable {
    /// Reads one; `None` when it lacks what makes a camera.
    pub(super) fn read(report: &mut Report, mut table: Table<'_, '_>, directory: &Path) -> Option<Self> {
        let (has_id, has_url) = (table.has("id"), table.has("url"));
        let id = table.parsed(report, "id", |text| {
            text.parse::<CameraId>().map_err(|_| {
                let what = format!("{} cannot be a camera id", quoted(text));
                Complaint::new(what, "use 1 to 31 of a-z 0-9 . _ - and begin with a letter or digit")
            })
        });
        let name = table.parsed(report, "name", name);
        let address = table.parsed(report, "url", address);
        let user = table.text(report, "user");
        let password_file = table.parsed(report, "password_file", |text| path(text, directory));
        let audio = table.boolean(report, "audio");
        let retention = table.parsed(report, "retention", retention);
        let schedule = table.list(report, "schedule", schedule::entry);
        table.refuse_empty(report, "schedule", "leave schedule out to record always");
        if !has_id {
            table.missing(report, "id", "add one of its own, like id = \"gate\"");
        }
        if !has_url {
            table.missing(
                report,
                "url",
                "add the address of its stream, like url = \"rtsp://192.0.2.10/stream\"",
            );
        }
        let address_span = address.as_ref().map(Spanned::span);
        let Address { url, user: url_user, password } = address.map(Spanned::into_inner)?;
        let span = address_span.unwrap_or_default();
        if let (Some(user), Some(_)) = (&user, &url_user) {
            let remedy = "take the user and password out of the url";
            report.error(user.span(), "the user stands here and in the url", remedy);
        }
        if password.is_some() {
            report.warning(
                span.clone(),
                "the url holds a password, which anybody who sees this file can read",
                "move the user to user = \"...\" and the password to a file named by password_file",
            );
        }
        let user = user.map(Spanned::into_inner).or(url_user);
        if let (Some(file), None) = (&password_file, &user) {
            report.error(file.span(), "there is a password but no user", "add user = \"...\"");
        }
        if let (Some(file), Some(_)) = (&password_file, &password) {
            let remedy = "take the password out of the url";
            report.error(file.span(), "the password stands in a file and in the url", remedy);
        }
        table.finish(report);
        Some(Self {
            id: id?,
            name: name.map(Spanned::into_inner),
            url: Spanned::new(span, url),
            user,
            password_file,
            password,
            audio: audio.unwrap_or(true),
            retention: retention.map(Spanned::into_inner),
            schedule: schedule::merge(
                schedule.unwrap_or_default().into_iter().flat_map(Spanned::into_inner).collect(),
            ),
        })
    }

    /// What the recorder is told; reads the password file.
    pub(super) fn resolve(&self, report: &mut Report) -> CameraConfig {
        let id = *self.id.get_ref();
        let from_file = self.password_file.as_ref().and_then(|file| read_password(report, file));
        CameraConfig {
            id,
            name: self.name.clone().unwrap_or_else(|| id.to_string()),
            url: self.url.get_ref().clone(),
            user: self.user.clone(),
            password: from_file.or_else(|| self.password.clone()),
            audio: self.audio,
            retention: self.retention,
            schedule: self.schedule.clone(),
        }
    }
}

/// Reads the address of a stream. The text itself is never quoted: it may hold a password.
fn address(text: &str) -> Result<Address, Complaint> {
    const REMEDY: &str =
        "write an address like \"rtsp://192.0.2.10/stream\" or \"rtsp://[2001:db8::10]:554/stream\"";
    let url = Url::parse(text.trim())
        .map_err(|error| Complaint::new(format!("the url is not valid: {error}"), REMEDY))?;
    if url.scheme() != "rtsp" {
        let what = format!("{}:// cannot be recorded", url.scheme());
        return Err(Complaint::new(what, REMEDY));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(Complaint::new("the url names no host", REMEDY));
    }
    let user = (!url.username().is_empty()).then(|| unescaped(url.username()));
    let password = url.password().map(|password| Secret::new(unescaped(password)));
    let mut bare = url;
    // These fail only for addresses without a host, which were refused above.
    let _ = bare.set_password(None);
    let _ = bare.set_username("");
    Ok(Address { url: bare, user, password })
}

/// Undoes percent-encoding (RFC 3986 §2.1); what is not an escape stays as it is.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        match (first, tail) {
            (b'%', [high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                bytes.push(hex(*high).unwrap_or(0) * 16 + hex(*low).unwrap_or(0));
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads a password: the file without the line end.
fn read_password(report: &mut Report, file: &Spanned<PathBuf>) -> Option<Secret> {
    let path = file.get_ref().display().to_string();
    let mut complain = |what: String, remedy: &str| {
        report.error(file.span(), what, remedy);
        None
    };
    let opened = match File::open(file.get_ref()) {
        Ok(opened) => opened,
        Err(error) => {
            return complain(
                format!("{path} cannot be read: {error}"),
                "create it with the camera's password",
            );
        }
    };
    let mode = opened.metadata().map(|metadata| metadata.permissions().mode()).unwrap_or(0);
    let mut bytes = Vec::new();
    if let Err(error) = opened.take(PASSWORD_BYTES_MAX + 1).read_to_end(&mut bytes) {
        return complain(format!("{path} cannot be read: {error}"), "name a file, not a directory");
    }
    if bytes.len() as u64 > PASSWORD_BYTES_MAX {
        return complain(
            format!("{path} is longer than {PASSWORD_BYTES_MAX} bytes"),
            "name the file of the password",
        );
    }
    let Ok(text) = String::from_utf8(bytes) else {
        return complain(format!("{path} is not UTF-8 text"), "write the password as text");
    };
    let password = text.strip_suffix('\n').unwrap_or(&text);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.is_empty() || password.contains(char::is_control) {
        return complain(
            format!("{path} does not hold one line with a password"),
            "write only the password into it",
        );
    }
    if mode & 0o007 != 0 {
        report.warning(file.span(), format!("{path} can be read by everybody"), "run: chmod 600 on it");
    }
    Some(Secret::new(password.to_owned()))
}
