//! The users of a node: one file, `users.json`, readable by the node only, replaced atomically.
//!
//! Passwords are kept as argon2id hashes (RFC 9106) in PHC strings. A login of an unknown user takes as long as any
//! other: it is checked against a hash that no password has.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use argon2::{Argon2, PasswordHash, PasswordHasher, PasswordVerifier};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{PASSWORD_BYTES_MAX, Role};

/// Name of the file in the data directory.
const FILE_NAME: &str = "users.json";

/// Largest file that is read: some thousand users.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The version of the file that is written and the only one that is read.
const VERSION: u32 = 1;

/// The first administrator's name.
const FIRST_USER: &str = "admin";

/// Characters of an invented password: no two that look alike.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Groups of four characters in an invented password: 80 bits.
const GROUPS: usize = 4;

/// Why users cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The file could not be read.
    #[error("users cannot be read from {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file could not be written.
    #[error("users cannot be written to {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is there but does not hold users.
    #[error(
        "{} is damaged: {what}; restore it, or remove it to create a first administrator again", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The password of the first administrator is empty or too long.
    #[error("the administrator's password has {bytes} bytes; choose one of 1 to {PASSWORD_BYTES_MAX}")]
    PasswordUnfit {
        /// Its length.
        bytes: usize,
    },
    /// No hash could be made.
    #[error("a password cannot be hashed: {what}")]
    Hash {
        /// Why.
        what: String,
    },
}

/// What [`Auth::open`](super::Auth::open) found or did.
#[derive(Clone, PartialEq, Eq)]
pub enum FirstUser {
    /// There were users; a password that was handed in is not used.
    Present,
    /// `admin` was created with the password that was handed in.
    Created,
    /// `admin` was created with this password, which is kept nowhere: show it to the operator once.
    Invented(String),
}

impl std::fmt::Debug for FirstUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Present => "Present",
            Self::Created => "Created",
            Self::Invented(_) => "Invented(..)",
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UserFile {
    version: u32,
    users: Vec<UserEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UserEntry {
    name: String,
    role: Role,
    hash: String,
}

/// The users, by name.
pub(super) struct Users {
    entries: BTreeMap<String, UserEntry>,
    nobody: String,
}

impl Users {
    /// Reads the users of `data`, creating the first administrator when there are none.
    pub(super) fn open(data: &Path, admin_password: Option<String>) -> Result<(Self, FirstUser), AuthError> {
        let path = data.join(FILE_NAME);
        let nobody = hash(&invent_password()?)?;
        let entries = read(&path)?;
        if !entries.is_empty() {
            return Ok((Self { entries, nobody }, FirstUser::Present));
        }
        let (password, first) = match admin_password {
            Some(password) => (password, FirstUser::Created),
            None => {
                let password = invent_password()?;
                (password.clone(), FirstUser::Invented(password))
            }
        };
        if password.is_empty() || password.len() > PASSWORD_BYTES_MAX {
            return Err(AuthError::PasswordUnfit { bytes: password.len() });
        }
        let entry =
            UserEntry { name: FIRST_USER.to_owned(), role: Role::Administrator, hash: hash(&password)? };
        let file = UserFile { version: VERSION, users: vec![entry] };
        replace(data, &path, &file).map_err(|source| AuthError::Write { path: path.clone(), source })?;
        let entries = file.users.into_iter().map(|user| (user.name.clone(), user)).collect();
        Ok((Self { entries, nobody }, first))
    }

    /// The role of `user` if `password` is theirs. Takes some 20 ms of a core and 19 MiB, whether or not there is
    /// such a user.
    pub(super) fn check(&self, user: &str, password: &str) -> Option<Role> {
        let entry = self.entries.get(user);
        let stored = entry.map_or(self.nobody.as_str(), |entry| entry.hash.as_str());
        let matches = Argon2::default().verify_password(password.as_bytes(), stored).is_ok();
        entry.filter(|_| matches).map(|entry| entry.role)
    }
}

fn read(path: &Path) -> Result<BTreeMap<String, UserEntry>, AuthError> {
    let unreadable = |source| AuthError::Read { path: path.to_owned(), source };
    let damaged = |what: String| AuthError::Damaged { path: path.to_owned(), what };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(unreadable(error)),
    };
    if file.metadata().map_err(unreadable)?.permissions().mode() & 0o077 != 0 {
        warn!(path = %path.display(), "others could read the password hashes; the mode is set back to 0600");
        file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(unreadable)?;
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(damaged(format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    let file: UserFile = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if file.version != VERSION {
        return Err(damaged(format!("its version is {}, this program reads {VERSION}", file.version)));
    }
    let mut entries = BTreeMap::new();
    for user in file.users {
        if let Err(error) = PasswordHash::new(&user.hash) {
            return Err(damaged(format!("the hash of user {:?} cannot be read: {error}", user.name)));
        }
        if let Some(twice) = entries.insert(user.name.clone(), user) {
            return Err(damaged(format!("user {:?} stands in it twice", twice.name)));
        }
    }
    Ok(entries)
}

/// Writes the file beside its place and renames it there: after a crash there is the old one or the whole one.
fn replace(data: &Path, path: &Path, file: &UserFile) -> io::Result<()> {
    let text = serde_json::to_vec_pretty(file)?;
    let beside = data.join(format!("{FILE_NAME}.new"));
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    target.write_all(&text)?;
    target.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(data)?.sync_all()
}

fn hash(password: &str) -> Result<String, AuthError> {
    Argon2::default()
        .hash_password(password.as_bytes())
        .map(|hash| hash.to_string())
        .map_err(|error| AuthError::Hash { what: error.to_string() })
}

fn invent_password() -> Result<String, AuthError> {
    let mut random = [0_u8; GROUPS * 4];
    getrandom::fill(&mut random).map_err(|error| AuthError::Hash { what: error.to_string() })?;
    let mut password = String::with_capacity(GROUPS * 5);
    for (position, byte) in random.iter().enumerate() {
        if position > 0 && position % 4 == 0 {
            password.push('-');
        }
        // 256 is a multiple of 32: no character is likelier than another.
        password.push(char::from(ALPHABET[usize::from(byte % 32)]));
    }
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_administrator_is_created_once() {
        let data = tempfile::tempdir().unwrap();
        let (users, first) = Users::open(data.path(), Some("correct horse".into())).unwrap();
        assert_eq!(first, FirstUser::Created);
        assert_eq!(users.check("admin", "correct horse"), Some(Role::Administrator));
        assert_eq!(users.check("admin", "wrong horse"), None);
        assert_eq!(users.check("nobody", "correct horse"), None);
        let (users, first) = Users::open(data.path(), Some("another".into())).unwrap();
        assert_eq!(first, FirstUser::Present);
        assert_eq!(users.check("admin", "another"), None);
        assert_eq!(users.check("admin", "correct horse"), Some(Role::Administrator));
    }

    #[test]
    fn an_invented_password_opens_and_is_kept_nowhere() {
        let data = tempfile::tempdir().unwrap();
        let (users, first) = Users::open(data.path(), None).unwrap();
        assert_eq!(format!("{first:?}"), "Invented(..)");
        let FirstUser::Invented(password) = first else { panic!("a password is invented") };
        assert_eq!(password.len(), 19);
        assert_eq!(users.check("admin", &password), Some(Role::Administrator));
        let path = data.path().join(FILE_NAME);
        assert!(!fs::read_to_string(&path).unwrap().contains(&password));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_file_is_refused_and_kept() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join(FILE_NAME);
        let entry = r#"{"name":"a","role":"viewer","hash":"x"}"#;
        for (text, part) in [
            ("{", "EOF"),
            (r#"{"version":2,"users":[]}"#, "version is 2"),
            (&format!(r#"{{"version":1,"users":[{entry}]}}"#), "hash of user \"a\""),
            (r#"{"version":1,"users":[],"more":1}"#, "unknown field"),
        ] {
            fs::write(&path, text).unwrap();
            let error = Users::open(data.path(), Some("p".into())).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("users.json"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn an_open_mode_is_closed_and_an_empty_password_refused() {
        let data = tempfile::tempdir().unwrap();
        assert!(matches!(
            Users::open(data.path(), Some(String::new())),
            Err(AuthError::PasswordUnfit { bytes: 0 })
        ));
        Users::open(data.path(), Some("p".into())).unwrap();
        let path = data.path().join(FILE_NAME);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        Users::open(data.path(), None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
