//! Metadata on its way into the records of its pictures.
//!
//! It never opens, cuts or delays a record: documents that come while none is open wait, within bounds, for the next, and
//! the oldest go first.

use std::collections::VecDeque;
use std::time::Duration;

use keepwatch_model::MonoTime;
use keepwatch_store::StreamWriter;

/// Most bytes of metadata in one record: the longest document (1 MiB) fits, and a camera that floods costs no picture.
const RECORD_BYTES_MAX: usize = 1 << 20;
/// Most documents in one record, far below what the table of a record holds.
const RECORD_DOCUMENTS_MAX: usize = 1_024;
/// Most bytes of documents that wait for a record.
const WAITING_BYTES_MAX: usize = 1 << 20;
/// Most documents that wait: cameras send some in a second, and a record is opened by each picture.
const WAITING_MAX: usize = 64;

/// The metadata of one session.
#[derive(Debug, Default)]
pub(super) struct Beside {
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// Of the open record.
    bytes: usize,
    documents: usize,
}

/// A document that waits.
#[derive(Debug)]
struct Waiting {
    came: MonoTime,
    pts: i64,
    document: Vec<u8>,
}

/// What became of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// It is in the open record.
    Recorded,
    /// It waits for the next.
    Waits,
    /// There is more than fits: it was dropped, or one that waited for longer.
    Dropped,
}

impl Beside {
    /// Puts a document at `pts` of `track` into the open record.
    pub(super) fn put(&mut self, writer: &mut StreamWriter, track: usize, pts: i64, document: &[u8]) -> Put {
        let bytes = self.bytes.saturating_add(document.len());
        if bytes > RECORD_BYTES_MAX || self.documents >= RECORD_DOCUMENTS_MAX {
            return Put::Dropped;
        }
        if writer.push(track, pts, true, document).is_err() {
            return Put::Dropped;
        }
        self.bytes = bytes;
        self.documents += 1;
        Put::Recorded
    }

    /// Keeps a document that came at `came` for the next record.
    pub(super) fn wait(&mut self, came: MonoTime, pts: i64, document: &[u8]) -> Put {
        if document.len() > WAITING_BYTES_MAX {
            return Put::Dropped;
        }
        let mut put = Put::Waits;
        while self.waiting.len() >= WAITING_MAX
            || self.waiting_bytes.saturating_add(document.len()) > WAITING_BYTES_MAX
        {
            let Some(oldest) = self.waiting.pop_front() else { break };
            self.waiting_bytes = self.waiting_bytes.saturating_sub(oldest.document.len());
            put = Put::Dropped;
        }
        self.waiting_bytes = self.waiting_bytes.saturating_add(document.len());
        self.waiting.push_back(Waiting { came, pts, document: document.to_owned() });
        put
    }

    /// What waits at `now` and came at most `age_max` before, oldest first. What came earlier is dropped: it tells of
    /// pictures that are in no record.
    pub(super) fn take_waiting(
        &mut self,
        now: MonoTime,
        age_max: Duration,
    ) -> impl Iterator<Item = (i64, Vec<u8>)> + use<> {
        self.waiting_bytes = 0;
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        waiting
            .filter(move |waiting| now.since(waiting.came) <= age_max)
            .map(|waiting| (waiting.pts, waiting.document))
    }

    /// The open record was closed.
    pub(super) fn closed(&mut self) {
        self.bytes = 0;
        self.documents = 0;
    }
}
