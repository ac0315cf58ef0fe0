//! Records on their way between two recorders: each as it stands on the disk, behind its length and xxh3; a length of 0 says
//! that all was sent.
//!
//! Little endian. What comes is believed nothing: lengths are bounded, and every checksum of a record is its own again.

use keepwatch_store::{FormatError, Record, SAMPLES_MAX};
use xxhash_rust::xxh3::xxh3_64;

/// The header of the answer that says how many ticks the clock of who sends shows more than that of who asked.
pub(super) const CLOCK_AHEAD: &str = "keepwatch-clock-ahead";
/// The code of an answer that has others come first.
pub(super) const BUSY: &str = "busy";
/// Bytes in front of a record: u32 length, u64 xxh3.
pub(super) const HEAD_BYTES: usize = 12;
/// Longest record; the store makes none that is longer.
pub(super) const RECORD_BYTES_MAX: usize = 8 << 20;

/// Why what came is no record.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// Its length is none that a record has.
    #[error("a record of {0} bytes was announced")]
    Length(usize),
    /// It was altered on the way.
    #[error("a record does not match its checksum")]
    Checksum,
    /// No record has so many samples.
    #[error("a record of {0} samples came")]
    Samples(usize),
    /// It is no record of this format.
    #[error("a record cannot be read: {0}")]
    Format(#[from] FormatError),
}

/// What stands in front of `record` on its way to another node.
pub fn head(record: &[u8]) -> [u8; 12] {
    let mut head = [0; HEAD_BYTES];
    let (length, hash) = head.split_at_mut(4);
    length.copy_from_slice(&u32::try_from(record.len()).unwrap_or(u32::MAX).to_le_bytes());
    hash.copy_from_slice(&xxh3_64(record).to_le_bytes());
    head
}

/// What stands behind the last record.
pub(super) const END: [u8; HEAD_BYTES] = [0; HEAD_BYTES];

/// What is found in the bytes that came.
#[derive(Debug)]
pub(crate) enum Found {
    /// A record.
    Record(Box<Record>),
    /// All was sent.
    End,
    /// More bytes must come.
    More,
}

/// Bytes that came, in pieces of any length.
#[derive(Debug, Default)]
pub(crate) struct Incoming(Vec<u8>);

impl Incoming {
    /// More came.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.0.extend_from_slice(piece);
    }

    /// Takes the next thing out.
    ///
    /// # Errors
    /// When it is no record; nothing can be read behind it.
    pub(crate) fn next(&mut self) -> Result<Found, WireError> {
        let Some((head, rest)) = self.0.split_first_chunk::<HEAD_BYTES>() else { return Ok(Found::More) };
        let (length, hash) = head.split_at(4);
        let length = length.try_into().map_or(0, u32::from_le_bytes);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length == 0 {
            return Ok(Found::End);
        }
        if length > RECORD_BYTES_MAX {
            return Err(WireError::Length(length));
        }
        let Some(bytes) = rest.get(..length) else { return Ok(Found::More) };
        if hash != xxh3_64(bytes).to_le_bytes() {
            return Err(WireError::Checksum);
        }
        let record = Record::from_bytes(bytes)?;
        let samples = record.index().tracks.iter().map(|track| track.samples.len()).sum();
        if samples > SAMPLES_MAX {
            return Err(WireError::Samples(samples));
        }
        self.0.drain(..HEAD_BYTES + length);
        Ok(Found::Record(Box::new(record)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_record_is_refused_and_costs_no_memory() {
        let mut incoming = Incoming::default();
        incoming.push(&[1, 2]);
        assert!(matches!(incoming.next(), Ok(Found::More)));
        incoming.push(&[0xff; 20]);
        assert!(matches!(incoming.next(), Err(WireError::Length(_))));
        let mut incoming = Incoming::default();
        incoming.push(&head(&[7; 100]));
        incoming.push(&[7; 99]);
        assert!(matches!(incoming.next(), Ok(Found::More)));
        incoming.push(&[6]);
        assert!(matches!(incoming.next(), Err(WireError::Checksum)));
        let mut incoming = Incoming::default();
        incoming.push(&head(&[7; 100]));
        incoming.push(&[7; 100]);
        assert!(matches!(incoming.next(), Err(WireError::Format(_))));
        let mut incoming = Incoming::default();
        incoming.push(&END);
        assert!(matches!(incoming.next(), Ok(Found::End)));
    }
}
