//! `[[disk]]` and `[[edge.disk]]`: a place for footage, on this machine or a LUN of an iSCSI target.

use std::path::{Path, PathBuf};

use keepwatch_recorder::config::text::{Complaint, at_least, quoted};
use keepwatch_recorder::config::{DiskConfig, DiskRole, Secret, units};
use keepwatch_store::{DiskLogin, Login, is_lun, lun_address_fault};
use serde_spanned::Spanned;

use super::reader::Table;
use super::report::Report;
use super::{DISK_BYTES_MIN, password, path};

/// What a disk is configured for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The footage of this node.
    Own,
    /// What this node writes outside of itself.
    Outside,
}

/// `[[disk]]` or `[[edge.disk]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DiskTable {
    /// A directory, a block device, or the address of a LUN.
    pub(crate) path: Spanned<PathBuf>,
    /// Bytes of the container; `None` takes all but 5 % of the file system.
    pub(crate) size_bytes: Option<u64>,
    /// Whether what another recorder left on it may be overwritten.
    pub(crate) take_over: bool,
    /// What it is for.
    pub(crate) role: DiskRole,
    /// Whether it is only shown.
    pub(crate) read_only: bool,
    /// File that holds the password of the user in the address of a LUN.
    pub(crate) password_file: Option<Spanned<PathBuf>>,
    /// Under which name the target shows that it is who it should be.
    pub(crate) target_user: Option<Spanned<String>>,
    /// File that holds the target's own password.
    pub(crate) target_password_file: Option<Spanned<PathBuf>>,
}

impl DiskTable {
    /// Reads one; `None` when it lacks what makes a disk.
    pub(super) fn read(
        report: &mut Report,
        mut table: Table<'_, '_>,
        directory: &Path,
        purpose: Purpose,
    ) -> Option<Self> {
        let present = table.has("path");
        let place = table.parsed(report, "path", |text| place(text, directory));
        let size = table.parsed(report, "size", |text| {
            let bytes = units::bytes(text)?;
            at_least(
                bytes,
                DISK_BYTES_MIN,
                text,
                "write at least \"128 MiB\", or leave size out to take the whole disk",
            )
        });
        let take_over = table.boolean(report, "take_over").unwrap_or(false);
        let (role, read_only) = match purpose {
            Purpose::Own => (table.parsed(report, "role", role), table.boolean(report, "read_only")),
            Purpose::Outside => (None, None),
        };
        let read_only = read_only.unwrap_or(false);
        let password_file = table.parsed(report, "password_file", |text| path(text, directory));
        let target_user = table.parsed(report, "target_user", user);
        let target_password_file = table.parsed(report, "target_password_file", |text| path(text, directory));
        if !present {
            table.missing(report, "path", "add the directory or the block device that keeps the footage");
        }
        table.finish(report);
        let read = Self {
            path: place?,
            size_bytes: size.map(Spanned::into_inner),
            take_over,
            role: role.map(Spanned::into_inner).unwrap_or_default(),
            read_only,
            password_file,
            target_user,
            target_password_file,
        };
        read.check_logins(report);
        if take_over && read_only {
            report.error(
                read.path.span(),
                "the disk is to be taken over and to be read only".to_owned(),
                "take take_over or read_only out",
            );
        }
        Some(read)
    }

    /// Whether it is a LUN with a user in its address.
    fn has_user(&self) -> bool {
        is_lun(self.path.get_ref()) && self.path.get_ref().to_string_lossy().contains('@')
    }

    fn check_logins(&self, report: &mut Report) {
        let has_user = self.has_user();
        match &self.password_file {
            Some(file) if !has_user => report.error(
                file.span(),
                "password_file is for a LUN whose address has a user".to_owned(),
                "write the user into path, like iscsi://edge@192.0.2.9/iqn.2024-07.internal.site:nas/1",
            ),
            None if has_user => report.error(
                self.path.span(),
                "the LUN has a user and no password".to_owned(),
                "add password_file, or take the user out of path",
            ),
            Some(_) | None => {}
        }
        match (&self.target_user, &self.target_password_file) {
            (Some(_), Some(_)) if self.password_file.is_none() => report.error(
                self.path.span(),
                "the target is to show who it is to somebody who does not".to_owned(),
                "add a user in path and its password_file, too",
            ),
            (Some(user), None) => report.error(
                user.span(),
                "target_user has no password".to_owned(),
                "add target_password_file, or take target_user out",
            ),
            (None, Some(file)) => report.error(
                file.span(),
                "target_password_file has no user".to_owned(),
                "add target_user, or take target_password_file out",
            ),
            (Some(_), Some(_)) | (None, None) => {}
        }
    }

    /// What the recorder is told; reads the password files.
    pub(super) fn resolve(&self, report: &mut Report) -> DiskConfig {
        let mut secret = |file: &Option<Spanned<PathBuf>>, whose| {
            let secret: Secret = password::read(report, file.as_ref()?, whose)?;
            Some(keepwatch_store::Secret::new(secret.expose()))
        };
        // One that has no place was complained of.
        let own = if self.has_user() { secret(&self.password_file, "the user's") } else { None };
        let of_target = secret(&self.target_password_file, "the target's");
        let target = self.target_user.as_ref().zip(of_target);
        let target = target.map(|(user, password)| Login { user: user.get_ref().clone(), password });
        DiskConfig {
            size_bytes: self.size_bytes,
            take_over: self.take_over,
            role: self.role,
            read_only: self.read_only,
            login: own.map(|password| DiskLogin { password, target }),
            ..DiskConfig::new(self.path.get_ref())
        }
    }
}

fn role(text: &str) -> Result<DiskRole, Complaint> {
    match text {
        "recordings" => Ok(DiskRole::Recordings),
        "edge" => Ok(DiskRole::Edge),
        "second" => Ok(DiskRole::Second),
        _ => Err(Complaint::new(
            format!("{} is not a role of a disk", quoted(text)),
            "write \"recordings\", \"edge\" or \"second\", or leave role out",
        )),
    }
}

/// A place: a path, relative to `directory`, or the address of a LUN as it is.
fn place(text: &str, directory: &Path) -> Result<PathBuf, Complaint> {
    let address = PathBuf::from(text);
    if !is_lun(&address) {
        return path(text, directory);
    }
    match lun_address_fault(&address) {
        // The text may hold a password.
        Some(fault) => {
            Err(Complaint::new(fault, "write it like iscsi://192.0.2.9/iqn.2024-07.internal.site:nas/1"))
        }
        None => Ok(address),
    }
}

fn user(text: &str) -> Result<String, Complaint> {
    if text.is_empty() || text.len() > 223 || text.chars().any(char::is_control) {
        return Err(Complaint::new(
            format!("{} is no name of a user", quoted(text)),
            "write the target's own user",
        ));
    }
    Ok(text.to_owned())
}
