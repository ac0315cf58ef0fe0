//! Sessions: a random token stands for a user until it is idle for too long, is ended, or the node restarts.
//!
//! What the user may do is not kept here but looked up at each request. Only the SHA-256 of a token is kept: a copy of
//! the memory opens no session.

use std::collections::BTreeMap;
use std::time::Duration;

use keepwatch_model::{MonoTime, WallTime};

use super::credential::{NoChance, invent_token};
use crate::hash::Hash256;

/// A session that was not used for this long has ended.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(12 * 3600);

/// Sessions kept; when there are more, the one that was idle longest ends.
const SESSIONS_MAX: usize = 1024;

/// Sessions of one user, so that nobody can end those of others by logging in again and again.
const USER_SESSIONS_MAX: usize = 64;

/// A moment on both clocks: one decides, the other is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) mono: MonoTime,
    pub(super) wall: WallTime,
}

/// A session.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// Whose it is.
    pub(super) user: String,
    /// Where the login came from.
    pub(super) from: String,
    /// When it began.
    pub(super) began: WallTime,
    /// When it was used last.
    pub(super) used: Moment,
}

/// The sessions of a node.
#[derive(Default)]
pub(super) struct Sessions {
    entries: BTreeMap<Hash256, Session>,
}

impl Sessions {
    /// Begins a session and returns its token, which is kept nowhere.
    pub(super) fn begin(&mut self, user: &str, from: String, now: Moment) -> Result<String, NoChance> {
        let token = invent_token()?;
        self.entries.retain(|_, entry| now.mono.since(entry.used.mono) < IDLE_MAX);
        if self.entries.values().filter(|entry| entry.user == user).count() >= USER_SESSIONS_MAX {
            self.end_idlest(|entry| entry.user == user);
        }
        if self.entries.len() >= SESSIONS_MAX {
            self.end_idlest(|_| true);
        }
        let session = Session { user: user.to_owned(), from, began: now.wall, used: now };
        self.entries.insert(Hash256::of_text(&token), session);
        Ok(token)
    }

    /// Whose session it is, and marks it as used; `None` when there is no such session.
    pub(super) fn touch(&mut self, key: &Hash256, now: Moment) -> Option<String> {
        let entry = self.entries.get_mut(key)?;
        if now.mono.since(entry.used.mono) >= IDLE_MAX {
            self.entries.remove(key);
            return None;
        }
        entry.used = now;
        Some(entry.user.clone())
    }

    /// Ends a session; whose it was.
    pub(super) fn end(&mut self, key: &Hash256) -> Option<String> {
        self.entries.remove(key).map(|session| session.user)
    }

    /// Ends the sessions of `user` but `kept`.
    pub(super) fn end_of(&mut self, user: &str, kept: Option<&Hash256>) {
        self.entries.retain(|key, entry| entry.user != user || Some(key) == kept);
    }

    /// All sessions that have not ended, with their keys.
    pub(super) fn all(&self, now: MonoTime) -> impl Iterator<Item = (&Hash256, &Session)> {
        self.entries.iter().filter(move |(_, entry)| now.since(entry.used.mono) < IDLE_MAX)
    }

    fn end_idlest(&mut self, among: impl Fn(&Session) -> bool) {
        let candidates = self.entries.iter().filter(|(_, entry)| among(entry));
        let idlest = candidates.min_by_key(|(_, entry)| entry.used.mono).map(|(key, _)| *key);
        if let Some(key) = idlest {
            self.entries.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(since_start: Duration) -> Moment {
        Moment { mono: MonoTime::ZERO + since_start, wall: WallTime::from_ticks(0) }
    }

    const START: Moment = Moment { mono: MonoTime::ZERO, wall: WallTime::from_ticks(0) };

    fn begin(sessions: &mut Sessions, user: &str, now: Moment) -> Hash256 {
        Hash256::of_text(&sessions.begin(user, "x".to_owned(), now).unwrap())
    }

    #[test]
    fn a_session_lives_while_it_is_used() {
        let mut sessions = Sessions::default();
        let mut now = Duration::ZERO;
        let key = begin(&mut sessions, "admin", START);
        for _ in 0..5 {
            now += IDLE_MAX - Duration::from_nanos(1);
            assert_eq!(sessions.touch(&key, at(now)).as_deref(), Some("admin"));
        }
        now += IDLE_MAX;
        assert_eq!(sessions.all(at(now).mono).count(), 0);
        assert_eq!(sessions.touch(&key, at(now)), None);
        assert!(sessions.entries.is_empty());
    }

    #[test]
    fn the_table_is_bounded_and_the_longest_idle_goes() {
        let mut sessions = Sessions::default();
        let first = begin(&mut sessions, "a", START);
        let second = begin(&mut sessions, "b", at(Duration::from_secs(1)));
        let later = at(Duration::from_secs(2));
        for number in 2..=SESSIONS_MAX {
            begin(&mut sessions, &format!("user{number}"), later);
        }
        assert_eq!(sessions.entries.len(), SESSIONS_MAX);
        assert_eq!(sessions.touch(&first, later), None);
        assert!(sessions.touch(&second, later).is_some());
    }

    #[test]
    fn nobody_ends_the_sessions_of_others_by_logging_in_again_and_again() {
        let mut sessions = Sessions::default();
        let other = begin(&mut sessions, "other", START);
        for _ in 0..2 * SESSIONS_MAX {
            begin(&mut sessions, "flood", at(Duration::from_secs(1)));
        }
        assert_eq!(sessions.entries.len(), USER_SESSIONS_MAX + 1);
        assert!(sessions.touch(&other, at(Duration::from_secs(1))).is_some());
    }

    #[test]
    fn an_ended_or_invented_token_opens_nothing() {
        let mut sessions = Sessions::default();
        let (key, kept) = (begin(&mut sessions, "a", START), begin(&mut sessions, "a", START));
        let other = begin(&mut sessions, "b", START);
        assert_eq!(sessions.touch(&Hash256::of_text("invented"), START), None);
        assert_eq!(sessions.end(&key).as_deref(), Some("a"));
        assert_eq!(sessions.touch(&key, START), None);
        let ended = begin(&mut sessions, "a", START);
        sessions.end_of("a", Some(&kept));
        assert_eq!(sessions.touch(&ended, START), None);
        assert!(sessions.touch(&kept, START).is_some() && sessions.touch(&other, START).is_some());
    }
}
