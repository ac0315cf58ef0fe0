//! The users of a node and their API tokens: what is in force, and changes to it, each durable before it counts.
//!
//! Passwords are kept as argon2id hashes (RFC 9106) in PHC strings. A login of an unknown user takes as long as any
//! other: it is checked against a hash that no password has. There is always an administrator, once there was one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError, RwLock};

use keepwatch_model::WallTime;

use super::credential::invent_code;
use super::file::UserFile;
use super::hashing::{hash, matches};
use super::{AuthError, Grants, PASSWORD_BYTES_MAX, Role};
use crate::Problem;
use crate::hash::Hash256;

/// The first administrator's name.
pub(super) const FIRST_USER: &str = "admin";

/// Users that can be kept.
const USERS_MAX: usize = 1_000;

/// API tokens that a user can have.
const USER_TOKENS_MAX: usize = 32;

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    /// What they may do.
    pub(super) grants: Grants,
    /// PHC string of the password.
    pub(super) password: String,
    /// When they were made; `None` when a version made them that did not note it.
    pub(super) created: Option<WallTime>,
}

/// A token that a program shows instead of logging in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiToken {
    /// Whose rights it has at most.
    pub(super) user: String,
    /// What people call it.
    pub(super) name: String,
    /// When it was made.
    pub(super) created: WallTime,
    /// From when on it is not valid any more; `None` never ends.
    pub(super) expires: Option<WallTime>,
    /// What it is limited to; `None` may all that the user may.
    pub(super) limit: Option<Grants>,
}

/// All users and tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Book {
    pub(super) users: BTreeMap<String, User>,
    pub(super) tokens: BTreeMap<Hash256, ApiToken>,
}

/// A password that was right, and what it was compared with.
pub(super) struct Checked {
    hash: String,
}

/// The users in force, and the file that keeps them.
pub(super) struct Users {
    file: UserFile,
    book: RwLock<Book>,
    /// Held while the file is written, so that changes come one after another.
    writing: Mutex<()>,
    nobody: String,
}

impl Users {
    /// Reads the users of `data`. When there are none and there is a password, the first administrator is made.
    pub(super) fn open(
        data: &Path,
        admin_password: Option<String>,
        now: WallTime,
    ) -> Result<(Self, Opened), AuthError> {
        let file = UserFile::new(data);
        let mut book = file.read()?;
        let nobody = hash(&invent_code().map_err(|error| AuthError::Hash { what: error.to_string() })?)?;
        let opened = match admin_password {
            _ if !book.users.is_empty() => Opened::Present,
            None => Opened::Empty,
            Some(password) => {
                if password.is_empty() || password.len() > PASSWORD_BYTES_MAX {
                    return Err(AuthError::PasswordUnfit { bytes: password.len() });
                }
                book.users.insert(FIRST_USER.to_owned(), first(hash(&password)?, now));
                file.write(&book)?;
                Opened::Created
            }
        };
        Ok((Self { file, book: RwLock::new(book), writing: Mutex::default(), nobody }, opened))
    }

    /// Makes the first administrator. Blocks.
    pub(super) fn set_up(&self, password: &str, now: WallTime) -> Result<(), Problem> {
        let password = hash_or_problem(password)?;
        self.change(|book| {
            if !book.users.is_empty() {
                return Err(super::setup::done());
            }
            book.users.insert(FIRST_USER.to_owned(), first(password, now));
            Ok(())
        })
    }

    /// Whether there is a user.
    pub(super) fn is_empty(&self) -> bool {
        self.with(|book| book.users.is_empty())
    }

    /// All of it as it is kept.
    pub(super) fn kept(&self) -> serde_json::Value {
        self.with(UserFile::form)
    }

    /// Reads what another node keeps.
    pub(super) fn read_kept(&self, kept: &serde_json::Value) -> Result<Book, AuthError> {
        self.file.parse(&serde_json::to_vec(kept).unwrap_or_default())
    }

    /// Looks at what is in force.
    pub(super) fn with<T>(&self, look: impl FnOnce(&Book) -> T) -> T {
        look(&self.book.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether `password` is that of `user`. Takes some 20 ms of a core and 19 MiB, whether or not there is such a
    /// user.
    pub(super) fn check(&self, user: &str, password: &str) -> Option<Checked> {
        let known = self.with(|book| book.users.get(user).map(|user| user.password.clone()));
        let stored = known.as_deref().unwrap_or(&self.nobody);
        let matches = matches(password, stored);
        known.filter(|_| matches).map(|hash| Checked { hash })
    }

    /// What `user` may do, if what was `checked` still holds: meanwhile the password may have been changed, or the user
    /// removed and another made of the same name.
    pub(super) fn admit(&self, user: &str, checked: &Checked) -> Option<Grants> {
        let same = |found: &&User| found.password == checked.hash;
        self.with(|book| book.users.get(user).filter(same).map(|user| user.grants.clone()))
    }

    /// What `user` may do; `None` when there is none of that name.
    pub(super) fn grants(&self, user: &str) -> Option<Grants> {
        self.with(|book| book.users.get(user).map(|user| user.grants.clone()))
    }

    /// Whose token it is, and what it may do at `now`; `None` when there is no such token.
    pub(super) fn token(&self, key: &Hash256, now: WallTime) -> Option<(String, Grants)> {
        self.with(|book| {
            let token = book.tokens.get(key).filter(|token| token.expires.is_none_or(|end| now < end))?;
            let grants = &book.users.get(&token.user)?.grants;
            let grants = token.limit.as_ref().map_or_else(|| grants.clone(), |limit| grants.within(limit));
            Some((token.user.clone(), grants))
        })
    }

    /// Changes what is in force: `act` is shown a copy, which counts once it is durable. Blocks.
    pub(super) fn change<T>(&self, act: impl FnOnce(&mut Book) -> Result<T, Problem>) -> Result<T, Problem> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut book = self.with(Book::clone);
        let result = act(&mut book)?;
        book.check()?;
        self.file.write(&book).map_err(|error| {
            tracing::error!(%error, "a change of the users was not kept");
            Problem::internal(format!("{error}; nothing was changed"))
        })?;
        *self.book.write().unwrap_or_else(PoisonError::into_inner) = book;
        Ok(result)
    }
}

/// What there was when the users were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// Users.
    Present,
    /// None, and the first was made.
    Created,
    /// None, and none was made.
    Empty,
}

impl Book {
    /// Refuses what must never come into force.
    pub(super) fn check(&self) -> Result<(), Problem> {
        if !self.users.values().any(|user| user.grants.role == Some(Role::Administrator)) {
            return Err(Problem::conflict(
                "last_administrator",
                "this is the last administrator; make another user administrator first",
            ));
        }
        if self.users.len() > USERS_MAX {
            let detail = format!("there are {USERS_MAX} users already; remove one first");
            return Err(Problem::conflict("users_full", detail));
        }
        let mut counts = BTreeMap::<&str, usize>::new();
        for token in self.tokens.values() {
            let count = counts.entry(&token.user).or_default();
            *count = count.saturating_add(1);
            if *count > USER_TOKENS_MAX {
                let detail = format!("{} has {USER_TOKENS_MAX} tokens already; revoke one first", token.user);
                return Err(Problem::conflict("tokens_full", detail));
            }
        }
        Ok(())
    }
}

fn first(password: String, now: WallTime) -> User {
    User { grants: Grants::everywhere(Role::Administrator), password, created: Some(now) }
}

/// As [`hash`], for a request.
pub(super) fn hash_or_problem(password: &str) -> Result<String, Problem> {
    hash(password).map_err(|error| {
        tracing::error!(%error, "a password was not hashed");
        Problem::internal("the password cannot be kept; the node's log says why")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime::from_ticks(0);

    fn open(data: &Path, password: Option<&str>) -> Result<(Users, Opened), AuthError> {
        Users::open(data, password.map(str::to_owned), NOW)
    }

    fn is(users: &Users, name: &str, password: &str) -> bool {
        users.check(name, password).is_some()
    }

    #[test]
    fn the_first_administrator_is_created_once() {
        let data = tempfile::tempdir().unwrap();
        let (users, opened) = open(data.path(), Some("correct horse")).unwrap();
        assert_eq!(opened, Opened::Created);
        assert!(is(&users, "admin", "correct horse"));
        assert!(!is(&users, "admin", "wrong horse") && !is(&users, "nobody", "correct horse"));
        assert_eq!(users.grants("admin"), Some(Grants::everywhere(Role::Administrator)));
        let (users, opened) = open(data.path(), Some("another")).unwrap();
        assert_eq!(opened, Opened::Present);
        assert!(!is(&users, "admin", "another") && is(&users, "admin", "correct horse"));
        assert!(matches!(
            open(tempfile::tempdir().unwrap().path(), Some("")),
            Err(AuthError::PasswordUnfit { bytes: 0 })
        ));
    }

    #[test]
    fn without_a_password_nobody_is_made_until_the_setup_and_then_once() {
        let data = tempfile::tempdir().unwrap();
        let (users, opened) = open(data.path(), None).unwrap();
        assert_eq!(opened, Opened::Empty);
        assert!(users.is_empty() && users.check("admin", "").is_none());
        assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0);
        users.set_up("correct horse", NOW).unwrap();
        assert_eq!(users.set_up("another", NOW).unwrap_err().code(), "setup_done");
        assert!(is(&users, "admin", "correct horse"));
        assert_eq!(open(data.path(), None).unwrap().1, Opened::Present);
    }

    #[test]
    fn a_refused_change_changes_nothing() {
        let data = tempfile::tempdir().unwrap();
        let (users, _) = open(data.path(), Some("correct horse")).unwrap();
        let error = users.change(|book| Ok(book.users.remove("admin"))).unwrap_err();
        assert_eq!(error.code(), "last_administrator");
        let lowered = users.change(|book| {
            book.users.values_mut().for_each(|user| user.grants.role = Some(Role::Supervisor));
            Ok(())
        });
        assert_eq!(lowered.unwrap_err().code(), "last_administrator");
        assert!(users.grants("admin").is_some());
        // A directory that is gone takes no file: what is not durable does not count.
        let path = data.path().to_owned();
        data.close().unwrap();
        let second = users.change(|book| {
            book.users.insert("second".to_owned(), first(String::new(), NOW));
            Ok(())
        });
        assert_eq!(second.unwrap_err().code(), "internal");
        assert!(users.grants("second").is_none() && !path.exists());
    }

    #[test]
    fn a_checked_password_does_not_outlive_a_change_of_it() {
        let data = tempfile::tempdir().unwrap();
        let (users, _) = open(data.path(), Some("correct horse")).unwrap();
        let checked = users.check("admin", "correct horse").unwrap();
        assert!(users.admit("admin", &checked).is_some());
        let other = hash("another horse").unwrap();
        users
            .change(|book| {
                book.users.values_mut().for_each(|user| user.password.clone_from(&other));
                Ok(())
            })
            .unwrap();
        assert!(users.admit("admin", &checked).is_none());
    }

    #[test]
    fn a_token_may_at_most_what_its_user_may() {
        let data = tempfile::tempdir().unwrap();
        let (users, _) = open(data.path(), Some("correct horse")).unwrap();
        let key = Hash256::of_text("kw_x");
        let token = ApiToken {
            user: "admin".to_owned(),
            name: "n".to_owned(),
            created: NOW,
            expires: Some(NOW.plus(10)),
            limit: Some(Grants::everywhere(Role::Viewer)),
        };
        users
            .change(|book| {
                book.tokens.insert(key, token.clone());
                Ok(())
            })
            .unwrap();
        let (users, _) = open(data.path(), None).unwrap();
        assert_eq!(users.token(&key, NOW), Some(("admin".to_owned(), Grants::everywhere(Role::Viewer))));
        assert_eq!(users.token(&key, NOW.plus(10)), None);
        assert_eq!(users.token(&Hash256::of_text("other"), NOW), None);
    }
}
