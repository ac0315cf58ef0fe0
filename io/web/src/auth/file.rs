//! `users.json` in the data directory: users and API tokens, readable by the node only, replaced atomically.
//!
//! Version 2 is written; version 1, which knew one role for each user and no tokens, is read and becomes version 2 with
//! the first change.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use argon2::PasswordHash;
use keepwatch_model::{CameraId, WallTime};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::users::{ApiToken, Book, User};
use super::{AuthError, Grants, Role};
use crate::hash::Hash256;

/// Name of the file in the data directory.
const FILE_NAME: &str = "users.json";

/// Largest file: a thousand users with some hundred cameras each.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// The version that is written.
const VERSION: u32 = 2;

/// The file and where it is.
pub(super) struct UserFile {
    data: PathBuf,
    path: PathBuf,
}

/// What every version has.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct First {
    #[serde(rename = "version")]
    _version: u32,
    users: Vec<FirstUser>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FirstUser {
    name: String,
    role: Role,
    hash: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Second {
    version: u32,
    users: Vec<UserLine>,
    tokens: Vec<TokenLine>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct UserLine {
    name: String,
    role: Option<Role>,
    cameras: BTreeMap<CameraId, Role>,
    hash: String,
    created: Option<WallTime>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct TokenLine {
    hash: Hash256,
    user: String,
    name: String,
    created: WallTime,
    expires: Option<WallTime>,
    limit: Option<Grants>,
}

impl UserFile {
    /// The file in the directory `data`.
    pub(super) fn new(data: &Path) -> Self {
        Self { data: data.to_owned(), path: data.join(FILE_NAME) }
    }

    /// What is in it; nothing when it is not there.
    pub(super) fn read(&self) -> Result<Book, AuthError> {
        let unreadable = |source| AuthError::Read { path: self.path.clone(), source };
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Book::default()),
            Err(error) => return Err(unreadable(error)),
        };
        if file.metadata().map_err(unreadable)?.permissions().mode() & 0o077 != 0 {
            warn!(path = %self.path.display(), "others could read the password hashes; the mode is set back to 0600");
            file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(unreadable)?;
        }
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(self.damaged(format!("it is larger than {FILE_BYTES_MAX} bytes")));
        }
        self.parse(&bytes)
    }

    /// Writes the file beside its place and renames it there: after a crash there is the old one or the whole one.
    pub(super) fn write(&self, book: &Book) -> Result<(), AuthError> {
        let failed = |source| AuthError::Write { path: self.path.clone(), source };
        let mut text =
            serde_json::to_vec_pretty(&Second::from(book)).map_err(|error| failed(error.into()))?;
        text.push(b'\n');
        if text.len() as u64 > FILE_BYTES_MAX {
            let what = format!("it would be larger than {FILE_BYTES_MAX} bytes");
            return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, what)));
        }
        self.replace(&text).map_err(failed)
    }

    fn replace(&self, text: &[u8]) -> io::Result<()> {
        let beside = self.data.join(format!("{FILE_NAME}.new"));
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        target.write_all(text)?;
        target.sync_all()?;
        fs::rename(&beside, &self.path)?;
        File::open(&self.data)?.sync_all()
    }

    /// What stands in it for `book`.
    pub(super) fn form(book: &Book) -> serde_json::Value {
        serde_json::to_value(Second::from(book)).unwrap_or_default()
    }

    pub(super) fn parse(&self, bytes: &[u8]) -> Result<Book, AuthError> {
        let wrong = |error: serde_json::Error| self.damaged(error.to_string());
        let Versioned { version } = serde_json::from_slice(bytes).map_err(wrong)?;
        let (users, tokens) = match version {
            1 => {
                let First { users, .. } = serde_json::from_slice(bytes).map_err(wrong)?;
                (users.into_iter().map(UserLine::from).collect(), Vec::new())
            }
            VERSION => {
                let Second { users, tokens, .. } = serde_json::from_slice(bytes).map_err(wrong)?;
                (users, tokens)
            }
            _ => {
                return Err(
                    self.damaged(format!("its version is {version}, this program reads 1 and {VERSION}"))
                );
            }
        };
        let mut book = Book::default();
        for UserLine { name, role, cameras, hash, created } in users {
            if let Err(error) = PasswordHash::new(&hash) {
                return Err(self.damaged(format!("the hash of user {name:?} cannot be read: {error}")));
            }
            let user = User { grants: Grants { role, cameras }, password: hash, created };
            if book.users.insert(name.clone(), user).is_some() {
                return Err(self.damaged(format!("user {name:?} stands in it twice")));
            }
        }
        for TokenLine { hash, user, name, created, expires, limit } in tokens {
            if !book.users.contains_key(&user) {
                return Err(self.damaged(format!("token {name:?} is of {user:?}, and there is no such user")));
            }
            book.tokens.insert(hash, ApiToken { user, name, created, expires, limit });
        }
        Ok(book)
    }

    fn damaged(&self, what: String) -> AuthError {
        AuthError::Damaged { path: self.path.clone(), what }
    }
}

impl From<FirstUser> for UserLine {
    fn from(FirstUser { name, role, hash }: FirstUser) -> Self {
        Self { name, role: Some(role), cameras: BTreeMap::new(), hash, created: None }
    }
}

impl From<&Book> for Second {
    fn from(book: &Book) -> Self {
        let users = book.users.iter().map(|(name, user)| UserLine {
            name: name.clone(),
            role: user.grants.role,
            cameras: user.grants.cameras.clone(),
            hash: user.password.clone(),
            created: user.created,
        });
        let tokens = book.tokens.iter().map(|(hash, token)| TokenLine {
            hash: *hash,
            user: token.user.clone(),
            name: token.name.clone(),
            created: token.created,
            expires: token.expires,
            limit: token.limit.clone(),
        });
        Self { version: VERSION, users: users.collect(), tokens: tokens.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash() -> String {
        super::super::hashing::hash("correct horse").unwrap()
    }

    #[test]
    fn what_is_written_is_read_and_private() {
        let data = tempfile::tempdir().unwrap();
        let file = UserFile::new(data.path());
        assert_eq!(file.read().unwrap(), Book::default());
        let mut book = Book::default();
        let cameras = BTreeMap::from([("gate".parse().unwrap(), Role::Operator)]);
        let created = Some(WallTime::from_ticks(1 << 40));
        let user = User { grants: Grants { role: None, cameras }, password: hash(), created };
        book.users.insert("guard".to_owned(), user);
        let token = ApiToken {
            user: "guard".to_owned(),
            name: "pager".to_owned(),
            created: WallTime::from_ticks(1 << 40),
            expires: None,
            limit: Some(Grants::everywhere(Role::Viewer)),
        };
        book.tokens.insert(Hash256::of_text("kw_x"), token);
        file.write(&book).unwrap();
        assert_eq!(file.read().unwrap(), book);
        let path = data.path().join(FILE_NAME);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 1);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        file.read().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn the_first_version_is_carried_over() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join(FILE_NAME);
        let line = format!(r#"{{"name":"admin","role":"administrator","hash":"{}"}}"#, hash());
        fs::write(&path, format!(r#"{{"version":1,"users":[{line}]}}"#)).unwrap();
        let file = UserFile::new(data.path());
        let book = file.read().unwrap();
        let admin = book.users.get("admin").unwrap();
        assert_eq!(admin.grants, Grants::everywhere(Role::Administrator));
        file.write(&book).unwrap();
        assert!(fs::read_to_string(&path).unwrap().contains("\"version\": 2"));
        assert_eq!(file.read().unwrap(), book);
    }

    #[test]
    fn a_damaged_file_is_refused_and_kept() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join(FILE_NAME);
        let entry = r#"{"name":"a","role":"viewer","hash":"x"}"#;
        let twice = format!(r#"{{"name":"a","role":"viewer","hash":"{}"}}"#, hash());
        let token = r#"{"hash":"00","user":"a","name":"n","created":"2026-01-01T00:00:00Z","expires":null,"limit":null}"#;
        for (text, part) in [
            ("{", "EOF"),
            ("[]", "invalid"),
            (r#"{"version":3,"users":[]}"#, "version is 3"),
            (&format!(r#"{{"version":1,"users":[{entry}]}}"#), "hash of user \"a\""),
            (&format!(r#"{{"version":1,"users":[{twice},{twice}]}}"#), "twice"),
            (r#"{"version":1,"users":[],"more":1}"#, "unknown field"),
            (r#"{"version":2,"users":[]}"#, "missing field `tokens`"),
            (&format!(r#"{{"version":2,"users":[],"tokens":[{token}]}}"#), "64 hexadecimal digits"),
            (
                &format!(
                    r#"{{"version":2,"users":[],"tokens":[{}]}}"#,
                    token.replace("00\"", &format!("{}\"", "0".repeat(64)))
                ),
                "no such user",
            ),
        ] {
            fs::write(&path, text).unwrap();
            let error = UserFile::new(data.path()).read().unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("users.json"), "{text}: {error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
