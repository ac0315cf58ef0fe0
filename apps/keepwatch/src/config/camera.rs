//! `[[camera]]`: its address, how to log in, what of it is recorded and when.

use std::path::{Path, PathBuf};
use std::time::Duration;

use keepwatch_model::CameraId;
use keepwatch_recorder::config::{
    CameraConfig, CameraSource, Fingerprint, FingerprintError, MediaTransport, Secret, WeeklySpan,
};
use serde_spanned::Spanned;

use super::address::{self, Address};
use super::reader::{Complaint, Table, quoted};
use super::report::Report;
use super::{name, password, path, retention, schedule};

/// `[[camera]]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CameraTable {
    /// Its id.
    pub(crate) id: Spanned<CameraId>,
    /// Its name as operators see it; `None` shows the id.
    pub(crate) name: Option<String>,
    /// Where its streams are found, without user and password.
    pub(crate) source: Spanned<CameraSource>,
    /// User to log in with.
    pub(crate) user: Option<String>,
    /// File that holds the password.
    pub(crate) password_file: Option<Spanned<PathBuf>>,
    /// Password that stood in the address.
    pub(crate) password: Option<Secret>,
    /// How its media travels.
    pub(crate) transport: MediaTransport,
    /// The certificate that it must show; `None` takes any.
    pub(crate) certificate: Option<Fingerprint>,
    /// Whether its audio is recorded.
    pub(crate) audio: bool,
    /// Whether its metadata is recorded.
    pub(crate) metadata: bool,
    /// Age at which its footage is deleted; `None` takes the recorder's.
    pub(crate) retention: Option<Duration>,
    /// When it is recorded; empty means always.
    pub(crate) schedule: Vec<WeeklySpan>,
}

/// Where a camera's streams are found, and the login that stood there.
struct Found {
    source: Spanned<CameraSource>,
    user: Option<String>,
    password: Option<Secret>,
    /// How messages name the key that says where: "url" or "onvif".
    key: &'static str,
}

impl CameraTable {
    /// Reads one; `None` when it lacks what makes a camera.
    pub(super) fn read(report: &mut Report, mut table: Table<'_, '_>, directory: &Path) -> Option<Self> {
        let has_id = table.has("id");
        let id = table.parsed(report, "id", camera_id);
        let name = table.parsed(report, "name", name);
        let found = source(report, &mut table);
        let user = table.text(report, "user");
        let password_file = table.parsed(report, "password_file", |text| path(text, directory));
        let transport = table.parsed(report, "transport", transport);
        let certificate = table.parsed(report, "certificate", certificate);
        let audio = table.boolean(report, "audio");
        let metadata = table.boolean(report, "metadata");
        let retention = table.parsed(report, "retention", retention);
        let schedule = table.list(report, "schedule", schedule::entry);
        table.refuse_empty(report, "schedule", "leave schedule out to record always");
        if !has_id {
            table.missing(report, "id", "add one of its own, like id = \"gate\"");
        }
        table.finish(report);
        let Found { source, user: url_user, password, key } = found?;
        if let (Some(user), Some(_)) = (&user, &url_user) {
            let remedy = format!("take the user and password out of the {key}");
            report.error(user.span(), format!("the user stands here and in the {key}"), remedy);
        }
        if password.is_some() {
            report.warning(
                source.span(),
                format!("the {key} holds a password, which anybody who sees this file can read"),
                "move the user to user = \"...\" and the password to a file named by password_file",
            );
        }
        let user = user.map(Spanned::into_inner).or(url_user);
        if let (Some(file), None) = (&password_file, &user) {
            report.error(file.span(), "there is a password but no user", "add user = \"...\"");
        }
        if let (Some(file), Some(_)) = (&password_file, &password) {
            let remedy = format!("take the password out of the {key}");
            report.error(file.span(), format!("the password stands in a file and in the {key}"), remedy);
        }
        if let (Some(certificate), false) = (&certificate, shows_certificate(source.get_ref())) {
            let what = "a camera shows no certificate at an address without TLS";
            report.error(
                certificate.span(),
                what,
                "write rtsps:// or https:// where it can, or leave certificate out",
            );
        }
        Some(Self {
            id: id?,
            name: name.map(Spanned::into_inner),
            source,
            user,
            password_file,
            password,
            transport: transport.map(Spanned::into_inner).unwrap_or_default(),
            certificate: certificate.map(Spanned::into_inner),
            audio: audio.unwrap_or(true),
            metadata: metadata.unwrap_or(false),
            retention: retention.map(Spanned::into_inner),
            schedule: schedule::merge(
                schedule.unwrap_or_default().into_iter().flat_map(Spanned::into_inner).collect(),
            ),
        })
    }

    /// What the recorder is told; reads the password file.
    pub(super) fn resolve(&self, report: &mut Report) -> CameraConfig {
        let id = *self.id.get_ref();
        let file = self.password_file.as_ref();
        let from_file = file.and_then(|file| password::read(report, file, "the camera's"));
        CameraConfig {
            id,
            name: self.name.clone().unwrap_or_else(|| id.to_string()),
            source: self.source.get_ref().clone(),
            user: self.user.clone(),
            password: from_file.or_else(|| self.password.clone()),
            transport: self.transport,
            certificate: self.certificate,
            audio: self.audio,
            metadata: self.metadata,
            retention: self.retention,
            schedule: self.schedule.clone(),
        }
    }
}

/// Where the streams are found: `url` with `sub_url`, or `onvif` with `sub` and `events`.
fn source(report: &mut Report, table: &mut Table<'_, '_>) -> Option<Found> {
    let (has_url, has_onvif) = (table.has("url"), table.has("onvif"));
    let url = table.parsed(report, "url", address::stream);
    let sub_url = table.parsed(report, "sub_url", address::stream);
    let onvif = table.parsed(report, "onvif", address::device);
    let sub = table.boolean(report, "sub");
    let events = table.boolean(report, "events");
    match (has_url, has_onvif) {
        (true, true) => {
            let span = onvif.map_or_else(|| table.span(), |onvif| onvif.span());
            report.error(
                span,
                "the camera has a url and an onvif address",
                "take one out: an onvif camera says where its streams are",
            );
            None
        }
        (false, false) => {
            table.missing(
                report,
                "url",
                "add the address of its stream, like url = \"rtsp://192.0.2.10/stream\", or of the camera, like \
                 onvif = \"http://192.0.2.10\"",
            );
            None
        }
        (true, false) => {
            for key in ["sub", "events"] {
                if table.has(key) {
                    let what = format!("{key} is for a camera with an onvif address");
                    let remedy = if key == "sub" {
                        "write sub_url = \"rtsp://...\" instead"
                    } else {
                        "give the camera by onvif = \"http://...\", or take it out"
                    };
                    report.error(table.span_of(key), what, remedy);
                }
            }
            let url = url?;
            let span = url.span();
            let Address { url, user, password } = url.into_inner();
            let sub_url = sub_url.and_then(|sub| {
                let (span, sub) = (sub.span(), sub.into_inner());
                let foreign = (sub.user.is_some() && sub.user != user)
                    || (sub.password.is_some() && sub.password != password);
                if foreign {
                    let what = "the sub_url holds a login of its own";
                    report.error(
                        span,
                        what,
                        "take it out: one user and one password_file hold for both streams",
                    );
                    return None;
                }
                if sub.url == url {
                    report.error(
                        span,
                        "sub_url is the same as url",
                        "write the address of the smaller stream",
                    );
                    return None;
                }
                Some(sub.url)
            });
            let source = Spanned::new(span, CameraSource::Rtsp { url, sub_url });
            Some(Found { source, user, password, key: "url" })
        }
        (false, true) => {
            if table.has("sub_url") {
                report.error(
                    table.span_of("sub_url"),
                    "sub_url is for a camera with a url",
                    "write sub = true: the camera says where its sub stream is",
                );
            }
            let onvif = onvif?;
            let span = onvif.span();
            let Address { url, user, password } = onvif.into_inner();
            let (sub, events) = (sub.unwrap_or(false), events.unwrap_or(true));
            let source = Spanned::new(span, CameraSource::Onvif { url, sub, events });
            Some(Found { source, user, password, key: "onvif address" })
        }
    }
}

/// Whether anything of the camera is reached over TLS. The streams of an ONVIF camera may be, whatever its address.
fn shows_certificate(source: &CameraSource) -> bool {
    match source {
        CameraSource::Rtsp { url, sub_url } => {
            url.scheme() == "rtsps" || sub_url.as_ref().is_some_and(|url| url.scheme() == "rtsps")
        }
        CameraSource::Onvif { .. } => true,
    }
}

/// The id of a camera.
pub(super) fn camera_id(text: &str) -> Result<CameraId, Complaint> {
    text.parse::<CameraId>().map_err(|_| {
        let what = format!("{} cannot be a camera id", quoted(text));
        Complaint::new(what, "use 1 to 31 of a-z 0-9 . _ - and begin with a letter or digit")
    })
}

fn transport(text: &str) -> Result<MediaTransport, Complaint> {
    match text {
        "auto" => Ok(MediaTransport::Auto),
        "tcp" => Ok(MediaTransport::Tcp),
        "udp" => Ok(MediaTransport::Udp),
        _ => Err(Complaint::new(
            format!("{} is not a transport", quoted(text)),
            "write \"auto\", \"tcp\" or \"udp\"",
        )),
    }
}

fn certificate(text: &str) -> Result<Fingerprint, Complaint> {
    text.parse().map_err(|error: FingerprintError| {
        let what = format!("{} is no fingerprint: {error}", quoted(text));
        Complaint::new(
            what,
            "keepwatch status --json shows the one that the camera has, like \"sha256:0a1b...\"",
        )
    })
}
