//! `[[rtsp_user]]` and the certificate: who may watch which camera over RTSP, and what is shown to them over TLS.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use keepwatch_model::CameraId;
use keepwatch_recorder::config::text::{Complaint, camera_id, quoted};
use keepwatch_recorder::config::{CameraSet, RtspUser, TlsFiles};
use serde_spanned::Spanned;

use super::camera::CameraTable;
use super::reader::Table;
use super::report::Report;
use super::{password, path};

/// Longest name of a user.
const USER_CHARS_MAX: usize = 64;

/// `[[rtsp_user]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RtspUserTable {
    /// The name to log in with.
    pub(crate) user: Spanned<String>,
    /// File that holds the password.
    pub(crate) password_file: Spanned<PathBuf>,
    /// What the user may watch.
    pub(crate) cameras: Vec<Spanned<Wanted>>,
}

/// One entry of `cameras`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// `"*"`.
    All,
    /// A camera's id.
    One(CameraId),
}

impl RtspUserTable {
    /// Reads one; `None` when it lacks what makes a user.
    pub(super) fn read(report: &mut Report, mut table: Table<'_, '_>, directory: &Path) -> Option<Self> {
        for (key, remedy) in [
            ("user", "add the name to log in with, like user = \"guard\""),
            ("password_file", "add the file that holds the password"),
            ("cameras", "add what the user may watch, like cameras = [\"gate\"], or [\"*\"] for all"),
        ] {
            if !table.has(key) {
                table.missing(report, key, remedy);
            }
        }
        let user = table.parsed(report, "user", user);
        let password_file = table.parsed(report, "password_file", |text| path(text, directory));
        let cameras = table.list(report, "cameras", |text| match text {
            "*" => Ok(Wanted::All),
            _ => camera_id(text).map(Wanted::One),
        });
        table.refuse_empty(report, "cameras", "write [\"*\"] for all cameras, or take the user out");
        table.finish(report);
        Some(Self { user: user?, password_file: password_file?, cameras: cameras? })
    }

    /// Warns of cameras that are not there: they may be of those that are added in the console.
    pub(super) fn check(&self, report: &mut Report, cameras: &[CameraTable]) {
        let known: BTreeSet<CameraId> = cameras.iter().map(|camera| *camera.id.get_ref()).collect();
        for wanted in &self.cameras {
            match wanted.get_ref() {
                Wanted::One(id) if !known.contains(id) => {
                    let what = format!("there is no camera {} in this file", quoted(id.as_str()));
                    let remedy = "write the id of a [[camera]], or of a camera that is added in the console";
                    report.warning(wanted.span(), what, remedy);
                }
                Wanted::One(_) | Wanted::All => {}
            }
        }
    }

    /// What the server is told; reads the password file.
    pub(super) fn resolve(&self, report: &mut Report) -> Option<RtspUser> {
        let all = self.cameras.iter().any(|wanted| *wanted.get_ref() == Wanted::All);
        let only = self.cameras.iter().filter_map(|wanted| match wanted.get_ref() {
            Wanted::One(id) => Some(*id),
            Wanted::All => None,
        });
        Some(RtspUser {
            user: self.user.get_ref().clone(),
            password: password::read(report, &self.password_file, "the user's")?,
            cameras: if all { CameraSet::All } else { CameraSet::Only(only.collect()) },
        })
    }
}

/// `tls_certificate` and `tls_key` of `[node]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsTable {
    /// PEM file of the certificate.
    pub(crate) certificate: Spanned<PathBuf>,
    /// PEM file of its key.
    pub(crate) key: Spanned<PathBuf>,
}

impl TlsTable {
    /// Reads both from `[node]`; `None` when neither is there, or one is missing.
    pub(super) fn read(report: &mut Report, table: &mut Table<'_, '_>, directory: &Path) -> Option<Self> {
        let certificate = table.parsed(report, "tls_certificate", |text| path(text, directory));
        let key = table.parsed(report, "tls_key", |text| path(text, directory));
        match (table.has("tls_certificate"), table.has("tls_key")) {
            (true, false) => {
                table.missing(report, "tls_key", "add the file of the certificate's private key")
            }
            (false, true) => table.missing(report, "tls_certificate", "add the file of the certificate"),
            (true, true) | (false, false) => {}
        }
        Some(Self { certificate: certificate?, key: key? })
    }

    /// What the server is told. That a file cannot be read is only warned of: the cameras are recorded all the same.
    pub(super) fn resolve(&self, report: &mut Report) -> TlsFiles {
        for file in [&self.certificate, &self.key] {
            if let Err(error) = std::fs::File::open(file.get_ref()) {
                let what = format!("{} cannot be read: {error}", file.get_ref().display());
                report.warning(
                    file.span(),
                    what,
                    "without it nothing is served at listen and rtsps_listen; name a PEM file",
                );
            }
        }
        TlsFiles { certificate: self.certificate.get_ref().clone(), key: self.key.get_ref().clone() }
    }
}

/// Complains about users that are there twice, about users without a server and about a server without users.
pub(super) fn check_all(report: &mut Report, users: &[RtspUserTable], has_server: bool) {
    let mut seen = BTreeMap::new();
    for table in users {
        if let Some(first) = seen.insert(table.user.get_ref().as_str(), table.user.span().start) {
            let line = report.line(first);
            let what = format!("the user {} is already on line {line}", quoted(table.user.get_ref()));
            report.error(table.user.span(), what, "give each user one [[rtsp_user]]");
        }
    }
    match (users.first(), has_server) {
        (Some(user), false) => report.warning(
            user.user.span(),
            "nobody can watch over RTSP, because no address is listened on",
            "add rtsp_listen or rtsps_listen to [node]",
        ),
        (None, true) => report.warning_of_file(
            "nobody can log in to the RTSP server, because there is no [[rtsp_user]]",
            "add one with user, password_file and cameras, or take rtsp_listen and rtsps_listen out",
        ),
        (Some(_), true) | (None, false) => {}
    }
}

/// A name of RFC 7617 §2 and RFC 7616 §3.4: no colon, no quotation mark, nothing that moves a cursor.
fn user(text: &str) -> Result<String, Complaint> {
    let odd = |letter: char| letter.is_control() || matches!(letter, ':' | '"' | '\\');
    if text.trim().is_empty() || text.chars().count() > USER_CHARS_MAX || text.contains(odd) {
        let what = format!("{} cannot be the name of a user", quoted(text));
        return Err(Complaint::new(what, "write 1 to 64 characters without : \" and \\"));
    }
    Ok(text.to_owned())
}
