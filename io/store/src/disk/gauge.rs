//! How fast a disk makes footage durable, found out by writing where no footage is.
//!
//! A round is what recording does when several cameras close a record at once: one record into each of several extents,
//! far apart, then one flush. Extents that are free take it, behind their headers, so nothing of it is ever taken for
//! footage; a disk on which too little is free is not written to and keeps the figure of before. Records that wait go first:
//! they wait for one round at most, which is a single record where a record takes long.

use std::io::{self, IoSlice};
use std::time::{Duration, Instant};

use keepwatch_model::WallTime;

use super::Mounted;
use crate::device::AlignedBuffer;
use crate::format::BLOCK;
use crate::index::Index;
use crate::volume::Geometry;
use crate::{DiskId, StoreError, WriteRate};

/// Rounds of one measurement: enough for a median.
pub(super) const ROUNDS: u32 = 9;
/// Records of a round.
const RECORDS: usize = 8;
/// Bytes of a record: two seconds of a camera of 4 Mbit/s.
const RECORD_BYTES_MAX: u64 = 1 << 20;
/// A record that is durable within this may be one of several in a round.
const QUICK: Duration = Duration::from_millis(100);
/// A disk that needs longer for all is slow enough to be known by what it did until then.
const TIME_MAX: Duration = Duration::from_secs(3);

/// A measurement under way.
#[derive(Debug)]
pub(crate) struct Gauge {
    asked_at: WallTime,
    left: u32,
    /// Records of the next round: one, until it is known that more are no burden.
    records: usize,
    spent: Duration,
    /// What each round reached, in bytes per second.
    reached: Vec<u64>,
}

impl Gauge {
    pub(super) const fn new(asked_at: WallTime) -> Self {
        Self { asked_at, left: ROUNDS, records: 1, spent: Duration::ZERO, reached: Vec::new() }
    }

    /// Notes a round of so many bytes; what the disk reaches when it was the last.
    fn note(&mut self, bytes: u64, took: Duration) -> Option<WriteRate> {
        // A live record waits for a round at most: a slow disk gets short ones.
        if self.records == 1 && self.reached.is_empty() && took < QUICK {
            self.records = RECORDS;
            return None;
        }
        let nanos = took.as_nanos().max(1);
        let reached = u128::from(bytes) * 1_000_000_000 / nanos;
        self.reached.push(u64::try_from(reached).unwrap_or(u64::MAX));
        self.left = self.left.saturating_sub(1);
        self.spent += took;
        if self.left > 0 && self.spent < TIME_MAX {
            return None;
        }
        self.reached.sort_unstable();
        let bytes_per_second = *self.reached.get(self.reached.len() / 2)?;
        Some(WriteRate { bytes_per_second, measured_at: self.asked_at })
    }
}

/// Writes one round of the measurement that was asked for; what the disk reaches when it was the last.
///
/// # Errors
/// When the disk does not take it, or too little on it is free; the measurement is over then.
pub(super) fn round(mounted: &Mounted, gauge: &mut Gauge) -> io::Result<Option<WriteRate>> {
    let extent_bytes = mounted.superblock.extent_bytes;
    let bytes = Geometry::record_bytes_max(extent_bytes).min(RECORD_BYTES_MAX) / BLOCK * BLOCK;
    let places = mounted.volume().map(|volume| volume.free_places(gauge.records, bytes)).unwrap_or_default();
    // One record and one flush say little of several and one.
    if places.len() < gauge.records || !mounted.superblock.writable() {
        return Err(io::Error::other("too little on it is free"));
    }
    let record = noise(bytes);
    let begun = Instant::now();
    for offset_bytes in &places {
        mounted.device.write_at(*offset_bytes, &[IoSlice::new(&record)])?;
    }
    mounted.device.flush()?;
    Ok(gauge.note(bytes * places.len() as u64, begun.elapsed()))
}

/// Bytes that no disk can make smaller, as those of pictures are.
fn noise(bytes: u64) -> AlignedBuffer {
    let mut buffer = AlignedBuffer::zeroed(crate::format::index_of(bytes));
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for word in buffer.chunks_exact_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes());
    }
    buffer
}

/// The figure that is kept of a disk.
pub(crate) fn load(index: &Index, disk: DiskId) -> Result<Option<WriteRate>, StoreError> {
    let (rate, at) = names(disk);
    let (Some(rate), Some(at)) = (index.fact(&rate)?, index.fact(&at)?) else { return Ok(None) };
    Ok(Some(WriteRate { bytes_per_second: rate.cast_unsigned(), measured_at: WallTime::from_ticks(at) }))
}

/// Keeps the figure of a disk.
pub(crate) fn save(index: &Index, disk: DiskId, measured: WriteRate) -> Result<(), StoreError> {
    let (rate, at) = names(disk);
    index.set_fact(&rate, measured.bytes_per_second.cast_signed())?;
    index.set_fact(&at, measured.measured_at.ticks())
}

fn names(disk: DiskId) -> (String, String) {
    (format!("write rate of {disk}"), format!("write rate of {disk} measured at"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_all_rounds_counts() {
        let mut gauge = Gauge::new(WallTime::MIN);
        assert_eq!(
            gauge.note(1_000_000, Duration::from_millis(20)),
            None,
            "the first shows that more may follow"
        );
        assert_eq!(gauge.records, RECORDS);
        for round in 1..ROUNDS {
            let hangs_once = if round == 3 { 900 } else { 10 };
            assert_eq!(gauge.note(1_000_000, Duration::from_millis(hangs_once)), None, "round {round}");
        }
        let measured = gauge.note(1_000_000, Duration::from_millis(10)).map(|rate| rate.bytes_per_second);
        assert_eq!(measured, Some(100_000_000));
    }

    #[test]
    fn a_disk_that_is_very_slow_is_not_held_up_by_all_rounds() {
        let mut gauge = Gauge::new(WallTime::MIN);
        assert_eq!(gauge.note(8_000_000, Duration::from_millis(1_600)), None);
        assert_eq!(gauge.records, 1, "short rounds");
        let measured = gauge.note(8_000_000, Duration::from_millis(1_600)).map(|rate| rate.bytes_per_second);
        assert_eq!(measured, Some(5_000_000));
    }
}
