//! What each connection was given: the account against which a recording is checked.
//!
//! Counted is what was handed to the server. What a client then was too slow to take is missing on its side, and
//! that is the point of the account.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::wide;

/// Closed connections that are remembered of one camera; later ones push out the oldest.
const CONNECTIONS_MAX: usize = 10_000;

/// What one connection was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Connection {
    /// Whether it plays the sub-stream.
    pub sub: bool,
    /// Number of the first video frame; `None` when there was none.
    pub first_frame: Option<u64>,
    /// Number of the last video frame.
    pub last_frame: Option<u64>,
    /// Video frames.
    pub frames: u64,
    /// Numbers between the first and the last that were never given: stalls, skipped frames, lateness.
    pub frames_skipped: u64,
    /// Bytes of access units, sound and documents, without RTP.
    pub bytes: u64,
    /// Whether it has ended.
    pub closed: bool,
}

impl Connection {
    fn count_frame(&mut self, number: u64) {
        if let Some(last) = self.last_frame {
            self.frames_skipped += number.saturating_sub(last).saturating_sub(1);
        }
        self.first_frame.get_or_insert(number);
        self.last_frame = Some(number);
        self.frames += 1;
    }
}

/// One camera's connections, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connections(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    opened: u64,
    entries: BTreeMap<u64, Connection>,
}

impl Connections {
    /// All of them.
    pub(crate) fn list(&self) -> Vec<Connection> {
        self.book(|book| book.entries.values().copied().collect())
    }

    /// Begins an entry that is closed when dropped, of the sub-stream if `sub`.
    pub(crate) fn open(&self, sub: bool) -> Entry {
        let key = self.book(|book| {
            book.opened += 1;
            if book.entries.len() >= CONNECTIONS_MAX {
                book.entries.pop_first();
            }
            book.entries.insert(book.opened, Connection { sub, ..Connection::default() });
            book.opened
        });
        Entry { connections: self.clone(), key }
    }

    fn book<T>(&self, work: impl FnOnce(&mut Book) -> T) -> T {
        // Counting cannot fail half-way, so a poisoned book is still right.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The entry of a connection that stands.
#[derive(Debug)]
pub(crate) struct Entry {
    connections: Connections,
    key: u64,
}

impl Entry {
    /// Counts a video frame.
    pub(crate) fn frame(&self, number: u64, bytes: usize) {
        self.change(|connection| {
            connection.count_frame(number);
            connection.bytes += wide(bytes);
        });
    }

    /// Counts a packet of sound or a document.
    pub(crate) fn other(&self, bytes: usize) {
        self.change(|connection| connection.bytes += wide(bytes));
    }

    fn change(&self, work: impl FnOnce(&mut Connection)) {
        self.connections.book(|book| book.entries.get_mut(&self.key).map(work));
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.change(|connection| connection.closed = true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_tells_what_was_given_and_what_never_was() {
        let connections = Connections::default();
        let entry = connections.open(false);
        for number in [7, 8, 12] {
            entry.frame(number, 100);
        }
        entry.other(160);
        drop(entry);
        let silent = connections.open(true);
        let expected = Connection {
            sub: false,
            first_frame: Some(7),
            last_frame: Some(12),
            frames: 3,
            frames_skipped: 3,
            bytes: 460,
            closed: true,
        };
        assert_eq!(connections.list(), [expected, Connection { sub: true, ..Connection::default() }]);
        drop(silent);
    }
}
