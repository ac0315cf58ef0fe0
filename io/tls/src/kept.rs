//! The identity that a node makes for itself and keeps in its data directory.
//!
//! The key is made once and stays, so that who pins the public key never has to do it again. The certificate is made anew
//! when it is about to end, or cannot be used; its fingerprint is another one then, which the caller has to tell. It is not
//! made anew when the machine's names change: clients know it by its fingerprint, and that should last.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use keepwatch_model::{WallTime, duration_from_ticks};
use rcgen::KeyPair;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem;
use rustls::pki_types::{ServerName, UnixTime};

use crate::identity::{TICKS_PER_DAY, sign};
use crate::{Files, Identity, IdentityError, Names};

/// The certificate in the data directory; everybody may read it.
const CERTIFICATE_FILE: &str = "tls-certificate.pem";
/// The key of it.
const KEY_FILE: &str = "tls-key.pem";

/// With fewer days left than these a certificate is made anew: whoever must be told the fingerprint has time.
const RENEWAL_DAYS: i64 = 60;

/// Why a certificate was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Making {
    /// There was none.
    First,
    /// The one before ends soon or has ended, or does not begin yet by this machine's clock.
    Due,
    /// The one before cannot be used, or is not of the key.
    Unfit,
}

impl Identity {
    /// Reads the identity that is kept in `directory`, or makes what is missing of it for `names`. Blocks.
    ///
    /// The second value says why a certificate was made; `None` when the one before serves on. Nobody else may do the same
    /// in the same directory at the same time.
    ///
    /// # Errors
    /// When a file cannot be read or written, or what is kept as the key is none.
    pub fn keep(
        directory: &Path,
        names: &Names,
        now: WallTime,
    ) -> Result<(Self, Option<Making>), IdentityError> {
        let files = Files { certificate: directory.join(CERTIFICATE_FILE), key: directory.join(KEY_FILE) };
        let key = key(&files.key)?;
        let making = match Self::load(&files) {
            Ok(kept) if kept.lasts(now) => return Ok((kept, None)),
            Ok(_) => Making::Due,
            Err(IdentityError::Read { source: pem::Error::Io(error), .. })
                if error.kind() == io::ErrorKind::NotFound =>
            {
                Making::First
            }
            // It may be sound, and be readable after the next start.
            Err(error @ IdentityError::Read { source: pem::Error::Io(_), .. }) => return Err(error),
            Err(_) => Making::Unfit,
        };
        write(&files.certificate, &sign(&key, names, now)?.pem(), 0o644)?;
        Ok((Self::load(&files)?, Some(making)))
    }

    /// Whether a client that trusts nothing else accepts it as `localhost` at `now`, and 60 days after; where not, one that
    /// a node made for itself is due to be made anew.
    pub fn lasts(&self, now: WallTime) -> bool {
        let later = now.plus(RENEWAL_DAYS.saturating_mul(TICKS_PER_DAY));
        let mut roots = RootCertStore::empty();
        if roots.add(self.certificate().clone()).is_err() {
            return false;
        }
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), crate::provider()).build();
        let Ok(verifier) = verifier else { return false };
        let Ok(name) = ServerName::try_from("localhost") else { return false };
        [now, later].into_iter().all(|label| {
            let time = UnixTime::since_unix_epoch(duration_from_ticks(label.ticks()));
            verifier.verify_server_cert(self.certificate(), &[], &name, &[], time).is_ok()
        })
    }
}

/// The key that is kept in the file at `path`, which is made where there is none.
fn key(path: &Path) -> Result<KeyPair, IdentityError> {
    match fs::read_to_string(path) {
        Ok(text) => {
            KeyPair::from_pem(&text).map_err(|source| IdentityError::Key { path: path.to_owned(), source })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = KeyPair::generate()?;
            write(path, &key.serialize_pem(), 0o600)?;
            Ok(key)
        }
        Err(error) => Err(IdentityError::Read { path: path.to_owned(), source: pem::Error::Io(error) }),
    }
}

/// Writes a file that appears when it is complete, and stays whatever happens to the power.
pub(crate) fn write(path: &Path, text: &str, mode: u32) -> Result<(), IdentityError> {
    let unfinished = path.with_extension("part");
    let write = || {
        // What an interrupted start left behind may be readable by others.
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    };
    write().map_err(|source| IdentityError::Keep { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
