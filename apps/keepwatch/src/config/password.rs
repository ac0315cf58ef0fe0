//! Files that hold one password each.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use keepwatch_recorder::config::Secret;
use serde_spanned::Spanned;

use super::report::Report;

/// Longest password in a file; cameras take far shorter ones.
const PASSWORD_BYTES_MAX: u64 = 1024;

/// Reads a password: the file without the line end. `whose` says whose it is: "the camera's".
pub(super) fn read(report: &mut Report, file: &Spanned<PathBuf>, whose: &str) -> Option<Secret> {
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
                &format!("create it with {whose} password"),
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
