//! One line of the audit log and its hash. Pure.
//!
//! A line is a JSON object whose last member is `hash`: the SHA-256 of the same line without that member. The member
//! before it, `previous`, is the `hash` of the line before.

use keepwatch_model::WallTime;
use serde::{Deserialize, Serialize};

use super::Head;
use crate::hash::Hash256;

/// Longest line that is read, in bytes: the longest texts, every byte escaped, is less.
pub(super) const LINE_BYTES_MAX: usize = 32 * 1024;

/// Longest text of `user`, `from` and `object` in characters.
const NAME_CHARS_MAX: usize = 200;

/// Longest `detail` in characters.
const DETAIL_CHARS_MAX: usize = 2000;

/// What stands between the rest of a line and its hash.
const HASH_KEY: &str = ",\"hash\":\"";

/// An entry that has no place in the chain yet.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) at: WallTime,
    user: String,
    via: String,
    from: String,
    action: String,
    object: String,
    detail: String,
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// Its number; the first is 1.
    pub(super) seq: u64,
    /// When it happened.
    pub(super) at: WallTime,
    /// Who did it; the name as it was sent when a login was refused.
    pub(super) user: String,
    /// How they had proved who they are.
    pub(super) via: String,
    /// Address or local user that it came from.
    pub(super) from: String,
    /// What was done.
    pub(super) action: String,
    /// To what.
    pub(super) object: String,
    /// What else there is to say.
    pub(super) detail: String,
    /// Hash of the entry before.
    previous: Hash256,
}

/// Why a line is not the next entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ChainError {
    /// It has not the form of one.
    #[error("the line is no entry")]
    Malformed,
    /// Its hash is not that of its content.
    #[error("the entry was changed: its hash is not that of its content")]
    Changed,
    /// It does not follow the one before.
    #[error("entry {found} stands where entry {expected} should")]
    OutOfOrder {
        /// Its number.
        found: u64,
        /// The number that comes next.
        expected: u64,
    },
    /// It has the right number, but was written behind another entry.
    #[error("entry {seq} does not follow the entry before it: that one was changed or replaced")]
    Unchained {
        /// Its number.
        seq: u64,
    },
}

impl Draft {
    /// An entry with texts of bounded length.
    pub(super) fn new(
        at: WallTime,
        user: &str,
        via: &str,
        from: &str,
        action: &str,
        object: &str,
        detail: &str,
    ) -> Self {
        let cut = |text: &str, max: usize| text.chars().take(max).collect();
        Self {
            at,
            user: cut(user, NAME_CHARS_MAX),
            via: cut(via, NAME_CHARS_MAX),
            from: cut(from, NAME_CHARS_MAX),
            action: cut(action, NAME_CHARS_MAX),
            object: cut(object, NAME_CHARS_MAX),
            detail: cut(detail, DETAIL_CHARS_MAX),
        }
    }

    /// Its line behind `head`, line feed included, and the head that it makes.
    pub(super) fn chain(self, head: Head) -> serde_json::Result<(String, Head)> {
        let Self { at, user, via, from, action, object, detail } = self;
        let seq = head.seq.saturating_add(1);
        let entry = Entry { seq, at, user, via, from, action, object, detail, previous: head.hash };
        let mut line = serde_json::to_string(&entry)?;
        let hash = Hash256::of_text(&line);
        line.pop();
        line += &format!("{HASH_KEY}{hash}\"}}\n");
        Ok((line, Head { seq, hash }))
    }
}

impl Entry {
    /// Reads a line without its line feed; the entry and its hash, which is that of its content.
    pub(super) fn read(line: &[u8]) -> Result<(Self, Hash256), ChainError> {
        let text = std::str::from_utf8(line).map_err(|_| ChainError::Malformed)?;
        let (content, end) = text.rsplit_once(HASH_KEY).ok_or(ChainError::Malformed)?;
        let hash = end.strip_suffix("\"}").ok_or(ChainError::Malformed)?;
        let hash = Hash256::try_from(hash).map_err(|_| ChainError::Malformed)?;
        let content = format!("{content}}}");
        if Hash256::of_text(&content) != hash {
            return Err(ChainError::Changed);
        }
        let entry = serde_json::from_str(&content).map_err(|_| ChainError::Malformed)?;
        Ok((entry, hash))
    }

    /// Whether it comes right behind `head`.
    pub(super) fn follows(&self, head: Head) -> Result<(), ChainError> {
        let expected = head.seq.saturating_add(1);
        if self.seq != expected {
            return Err(ChainError::OutOfOrder { found: self.seq, expected });
        }
        if self.previous != head.hash {
            return Err(ChainError::Unchained { seq: self.seq });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(detail: &str) -> Draft {
        Draft::new(WallTime::from_ticks(1 << 47), "admin", "cookie", "[::1]:1", "logged_in", "o", detail)
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        for detail in ["", "\"},\"hash\":\"", "line\nfeed \u{202e} \u{0}", &"€".repeat(3000)] {
            let (line, head) = draft(detail).chain(Head::BEFORE_ALL).unwrap();
            assert!(
                line.len() <= LINE_BYTES_MAX && line.ends_with("\"}\n") && line.matches('\n').count() == 1
            );
            let (entry, hash) = Entry::read(line.trim_end_matches('\n').as_bytes()).unwrap();
            assert_eq!((entry.seq, hash), (1, head.hash));
            assert_eq!(entry.detail, detail.chars().take(DETAIL_CHARS_MAX).collect::<String>());
            entry.follows(Head::BEFORE_ALL).unwrap();
        }
        let worst = "\u{1}".repeat(5000);
        let long = Draft::new(WallTime::MAX, &worst, &worst, &worst, &worst, &worst, &worst);
        assert!(long.chain(Head::BEFORE_ALL).unwrap().0.len() <= LINE_BYTES_MAX);
    }

    #[test]
    fn every_changed_byte_is_told() {
        let (line, _) = draft("x").chain(Head::BEFORE_ALL).unwrap();
        let line = line.trim_end_matches('\n').as_bytes();
        for place in 0..line.len() {
            let mut changed = line.to_vec();
            changed[place] ^= 1;
            assert!(Entry::read(&changed).is_err(), "byte {place}");
            assert!(Entry::read(&line[..place]).is_err(), "cut to {place}");
        }
    }

    #[test]
    fn an_entry_that_does_not_follow_is_told_apart() {
        let (first, head) = draft("1").chain(Head::BEFORE_ALL).unwrap();
        let (_, other) = draft("other").chain(Head::BEFORE_ALL).unwrap();
        let (entry, _) = Entry::read(first.trim_end_matches('\n').as_bytes()).unwrap();
        assert_eq!(entry.follows(head), Err(ChainError::OutOfOrder { found: 1, expected: 2 }));
        let (second, _) = draft("2").chain(other).unwrap();
        let (entry, _) = Entry::read(second.trim_end_matches('\n').as_bytes()).unwrap();
        assert_eq!(entry.follows(head), Err(ChainError::Unchained { seq: 2 }));
    }
}
