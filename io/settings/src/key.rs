//! The key that passwords are sealed with: a file of 32 bytes that belongs to no backup of the settings.
//!
//! Who has a copy of the settings but not of the key has no password. systemd can hand the key in as a credential, from a
//! TPM for example; then no file of the data directory holds it.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::{digest, rand};

/// The key in the data directory.
pub const KEY_FILE: &str = "secret.key";

/// The key as a credential of systemd (systemd.exec(5), `LoadCredential=`): its name in `$CREDENTIALS_DIRECTORY`.
pub const CREDENTIAL_NAME: &str = "keepwatch.key";

/// Bytes of a key: AES-256.
const KEY_BYTES: usize = 32;

/// Bytes of the name by which a sealed text knows its key.
pub(crate) const NAME_BYTES: usize = 4;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("{}: the key of the passwords cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no key.
    #[error("{}: is not a key of {KEY_BYTES} bytes but has {bytes}; restore it from a backup", path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// Its length, or one more than a key where it is longer.
        bytes: usize,
    },
    /// The file cannot be made.
    #[error("{}: the key of the passwords cannot be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system gives no random numbers.
    #[error("no key can be made: the system gives no random numbers")]
    Chance,
}

/// A key; its `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Key([u8; KEY_BYTES]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// Reads the key: the credential `keepwatch.key` in `credentials` where there is one, else the file in the data
    /// directory. `None` when there is neither. Blocks.
    ///
    /// # Errors
    /// When it is there and cannot be read, or is none.
    pub fn find(data: &Path, credentials: Option<&OsStr>) -> Result<Option<Self>, KeyError> {
        if let Some(directory) = credentials
            && let Some(key) = read(&Path::new(directory).join(CREDENTIAL_NAME))?
        {
            return Ok(Some(key));
        }
        let path = data.join(KEY_FILE);
        let key = read(&path)?;
        if key.is_some() {
            close(&path).map_err(|source| KeyError::Write { path, source })?;
        }
        Ok(key)
    }

    /// Makes a key and keeps it in the data directory; it appears there complete, readable by this user only. Blocks.
    ///
    /// # Errors
    /// When it cannot be written, or is there already.
    pub fn make(data: &Path) -> Result<Self, KeyError> {
        let mut bytes = [0; KEY_BYTES];
        rand::fill(&mut bytes).map_err(|_| KeyError::Chance)?;
        let path = data.join(KEY_FILE);
        write(data, &path, &bytes).map_err(|source| KeyError::Write { path, source })?;
        Ok(Self(bytes))
    }

    /// The key with these bytes.
    pub const fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// What tells keys apart; says nothing about the key.
    pub(crate) fn name(&self) -> [u8; NAME_BYTES] {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"keepwatch key name");
        context.update(&self.0);
        let mut name = [0; NAME_BYTES];
        for (to, from) in name.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        name
    }
}

fn read(path: &Path) -> Result<Option<Key>, KeyError> {
    let fail = |source| KeyError::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail(error)),
    };
    let mut bytes = Vec::with_capacity(KEY_BYTES + 1);
    file.take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(fail)?;
    let length = bytes.len();
    let key = bytes.try_into().map_err(|_| KeyError::Length { path: path.to_owned(), bytes: length })?;
    Ok(Some(Key(key)))
}

/// Takes others' access to the key away.
fn close(path: &Path) -> io::Result<()> {
    if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

fn write(data: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("part");
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    // A key that is there must never be written over: what it sealed would be lost.
    let linked = fs::hard_link(&unfinished, path);
    fs::remove_file(&unfinished)?;
    linked?;
    File::open(data)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_closed_to_others_and_found_again() {
        let data = tempfile::tempdir().unwrap();
        assert!(Key::find(data.path(), None).unwrap().is_none());
        let made = Key::make(data.path()).unwrap();
        let path = data.path().join(KEY_FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(Key::make(data.path()), Err(KeyError::Write { .. })), "it is not written over");
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 1);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let found = Key::find(data.path(), None).unwrap().unwrap();
        assert_eq!(found.bytes(), made.bytes());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_credential_comes_before_the_file_and_a_file_that_is_no_key_is_told() {
        let (data, credentials) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        Key::make(data.path()).unwrap();
        let directory = Some(credentials.path().as_os_str());
        let from_file = Key::find(data.path(), directory).unwrap().unwrap();
        fs::write(credentials.path().join(CREDENTIAL_NAME), [7; KEY_BYTES]).unwrap();
        let credential = Key::find(data.path(), directory).unwrap().unwrap();
        assert_eq!(credential.bytes(), &[7; KEY_BYTES]);
        assert_ne!(credential.name(), from_file.name());
        for (content, bytes) in [(&b"short"[..], 5), (&[0; 100], 33), (&[], 0)] {
            fs::write(data.path().join(KEY_FILE), content).unwrap();
            let error = Key::find(data.path(), None).unwrap_err();
            assert!(matches!(error, KeyError::Length { bytes: told, .. } if told == bytes), "{error}");
        }
    }
}
