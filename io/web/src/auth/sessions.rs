//! Sessions: a random token stands for a user until it is idle for too long, is ended, or the node restarts.
//!
//! Only the SHA-256 of a token is kept: a copy of the memory opens no session, and the lookup compares nothing that
//! an attacker could approach byte by byte.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keepwatch_model::MonoTime;
use sha2::{Digest, Sha256};

use super::Role;
use crate::Problem;

/// A session that was not used for this long has ended.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(12 * 3600);

/// Sessions kept; when there are more, the one that was idle longest ends.
const SESSIONS_MAX: usize = 1024;

/// Random bytes in a token.
const TOKEN_BYTES: usize = 32;

/// Longest text that is looked at as a token.
const TOKEN_TEXT_BYTES_MAX: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct TokenHash([u8; 32]);

struct Entry {
    user: String,
    role: Role,
    used: MonoTime,
}

/// The sessions of a node.
#[derive(Default)]
pub(super) struct Sessions {
    entries: BTreeMap<TokenHash, Entry>,
}

impl Sessions {
    /// Begins a session and returns its token, which is kept nowhere.
    pub(super) fn begin(&mut self, user: &str, role: Role, now: MonoTime) -> Result<String, Problem> {
        let mut random = [0; TOKEN_BYTES];
        getrandom::fill(&mut random)
            .map_err(|_| Problem::internal("the system gave no random numbers; see the log of the node"))?;
        let token = URL_SAFE_NO_PAD.encode(random);
        if self.entries.len() >= SESSIONS_MAX {
            self.make_room(now);
        }
        self.entries.insert(hash(&token), Entry { user: user.to_owned(), role, used: now });
        Ok(token)
    }

    /// Whom `token` stands for, and marks the session as used; `None` when there is no such session.
    pub(super) fn touch(&mut self, token: &str, now: MonoTime) -> Option<(String, Role)> {
        if token.len() > TOKEN_TEXT_BYTES_MAX {
            return None;
        }
        let key = hash(token);
        let entry = self.entries.get_mut(&key)?;
        if now.since(entry.used) >= IDLE_MAX {
            self.entries.remove(&key);
            return None;
        }
        entry.used = now;
        Some((entry.user.clone(), entry.role))
    }

    /// Ends the session of `token`, if there is one.
    pub(super) fn end(&mut self, token: &str) {
        self.entries.remove(&hash(token));
    }

    fn make_room(&mut self, now: MonoTime) {
        self.entries.retain(|_, entry| now.since(entry.used) < IDLE_MAX);
        if self.entries.len() < SESSIONS_MAX {
            return;
        }
        let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| *key);
        if let Some(key) = oldest {
            self.entries.remove(&key);
        }
    }
}

fn hash(token: &str) -> TokenHash {
    TokenHash(Sha256::digest(token.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_lives_while_it_is_used() {
        let mut sessions = Sessions::default();
        let mut now = MonoTime::ZERO;
        let token = sessions.begin("admin", Role::Administrator, now).unwrap();
        assert_eq!(token.len(), 43);
        for _ in 0..5 {
            now = now + (IDLE_MAX - Duration::from_nanos(1));
            assert_eq!(sessions.touch(&token, now), Some(("admin".to_owned(), Role::Administrator)));
        }
        now = now + IDLE_MAX;
        assert_eq!(sessions.touch(&token, now), None);
        assert!(sessions.entries.is_empty());
    }

    #[test]
    fn the_table_is_bounded_and_the_longest_idle_goes() {
        let mut sessions = Sessions::default();
        let start = MonoTime::ZERO;
        let first = sessions.begin("a", Role::Viewer, start).unwrap();
        let second = sessions.begin("b", Role::Viewer, start + Duration::from_secs(1)).unwrap();
        let later = start + Duration::from_secs(2);
        for _ in 2..=SESSIONS_MAX {
            sessions.begin("c", Role::Viewer, later).unwrap();
        }
        assert_eq!(sessions.entries.len(), SESSIONS_MAX);
        assert_eq!(sessions.touch(&first, later), None);
        assert!(sessions.touch(&second, later).is_some());
    }

    #[test]
    fn an_ended_or_invented_token_opens_nothing() {
        let mut sessions = Sessions::default();
        let token = sessions.begin("a", Role::Viewer, MonoTime::ZERO).unwrap();
        assert_eq!(sessions.touch("", MonoTime::ZERO), None);
        assert_eq!(sessions.touch(&"x".repeat(100_000), MonoTime::ZERO), None);
        sessions.end(&token);
        assert_eq!(sessions.touch(&token, MonoTime::ZERO), None);
    }
}
