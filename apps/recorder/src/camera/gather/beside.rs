//! Metadata on its way into the records of its pictures.
//!
//! It never opens, cuts or delays a record: documents that come while none is open wait, within bounds, for the next.

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
    waiting: Vec<(i64, Vec<u8>)>,
    waiting_bytes: usize,
    /// Of the open record.
    bytes: usize,
    documents: usize,
}

/// What became of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// It is in the open record.
    Recorded,
    /// It waits for the next.
    Waits,
    /// There is more than fits.
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

    /// Keeps a document for the next record.
    pub(super) fn wait(&mut self, pts: i64, document: &[u8]) -> Put {
        let bytes = self.waiting_bytes.saturating_add(document.len());
        if bytes > WAITING_BYTES_MAX || self.waiting.len() >= WAITING_MAX {
            return Put::Dropped;
        }
        self.waiting_bytes = bytes;
        self.waiting.push((pts, document.to_owned()));
        Put::Waits
    }

    /// What waits, oldest first.
    pub(super) fn take_waiting(&mut self) -> Vec<(i64, Vec<u8>)> {
        self.waiting_bytes = 0;
        std::mem::take(&mut self.waiting)
    }

    /// The open record was closed.
    pub(super) fn closed(&mut self) {
        self.bytes = 0;
        self.documents = 0;
    }
}
