//! When a disk that failed is tried again, and by what it shows that it can be trusted.

use std::io::{self, IoSlice};
use std::time::{Duration, Instant};

use keepwatch_iscsi::Write;

use crate::device::{AlignedBuffer, BlockDev};
use crate::format::{BLOCK, BLOCK_BYTES, Superblock, TEST_MAGIC};
use crate::volume::Volume;

/// Longest wait between two tries of a disk that fails again and again.
const WAIT_MAX: Duration = Duration::from_mins(1);
/// A disk that worked so long since it was taken back is as good as any other.
const STEADY_AFTER: Duration = Duration::from_mins(1);
/// Where in the container a test is written: between the superblocks and the first extent, where nothing else ever is.
const TEST_OFFSET_BYTES: u64 = 48 << 10;
/// Places of the test of a disk that is known: a card whose far end broke is found, and it costs a moment.
const PLACES_KNOWN: usize = 8;
/// Places of the test of a blank disk: one in each extent of a small one. A card that is smaller than it says shows the last
/// writes in the place of the first.
const PLACES_BLANK: usize = 256;

/// When a disk that failed is tried again.
#[derive(Debug, Default)]
pub(crate) struct Retry {
    /// How often it failed soon after it was taken back.
    failures: u32,
    in_use_since: Option<Instant>,
    not_before: Option<Instant>,
}

impl Retry {
    /// It failed; the usual time between two looks is `interval`.
    pub(crate) fn failed(&mut self, now: Instant, interval: Duration) {
        let soon = self.in_use_since.is_some_and(|since| now.saturating_duration_since(since) < STEADY_AFTER);
        self.failures = if soon { self.failures.saturating_add(1) } else { 0 };
        let wait = interval.saturating_mul(1 << self.failures.min(16));
        self.not_before = now.checked_add(wait.min(WAIT_MAX.max(interval)));
    }

    /// It was taken back.
    pub(crate) fn in_use(&mut self, now: Instant) {
        self.in_use_since = Some(now);
        self.not_before = None;
    }

    /// Whether it may be tried.
    pub(crate) fn may_try(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|at| at <= now)
    }
}

/// What of the disk is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// A few places.
    Known,
    /// All over, because nothing is known of it.
    Blank,
}

/// Writes where no footage is, flushes, and reads back past the cache.
///
/// # Errors
/// When something of that fails, or what is read is not what was written.
pub(crate) fn test(
    device: &dyn BlockDev,
    superblock: &Superblock,
    volume: &Volume,
    depth: Depth,
) -> io::Result<()> {
    let count = match depth {
        Depth::Known => PLACES_KNOWN,
        Depth::Blank => PLACES_BLANK,
    };
    let mut places = vec![TEST_OFFSET_BYTES];
    places.extend(volume.free_places(count, BLOCK));
    let blocks: Vec<(u64, AlignedBuffer)> =
        places.iter().map(|offset_bytes| (*offset_bytes, pattern(superblock, *offset_bytes))).collect();
    let writes: Vec<Write<'_>> = (blocks.iter())
        .map(|(offset_bytes, block)| Write { offset_bytes: *offset_bytes, parts: vec![IoSlice::new(block)] })
        .collect();
    device.write_durably(&writes)?;
    let mut read = AlignedBuffer::zeroed(BLOCK_BYTES);
    for (offset_bytes, block) in &blocks {
        device.forget_cached(*offset_bytes, BLOCK);
        device.read_at(*offset_bytes, &mut read)?;
        if read[..] != block[..] {
            return Err(io::Error::other("what is written to it reads back as something else"));
        }
    }
    Ok(())
}

/// What is written at a place: another at every place and every time.
fn pattern(superblock: &Superblock, offset_bytes: u64) -> AlignedBuffer {
    let mut block = AlignedBuffer::zeroed(BLOCK_BYTES);
    let seed = u64::from_le_bytes(std::array::from_fn(|byte| superblock.disk.0[byte]));
    let mut state = (seed ^ superblock.generation.rotate_left(32) ^ offset_bytes) | 1;
    for word in block.chunks_exact_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes());
    }
    // It is never taken for the header of a record or an extent.
    block[..TEST_MAGIC.len()].copy_from_slice(&TEST_MAGIC);
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_fails_again_and_again_is_tried_less_and_less_often() {
        let interval = Duration::from_secs(3);
        let mut now = Instant::now();
        let mut retry = Retry::default();
        let mut waits = Vec::new();
        for _ in 0..7 {
            retry.failed(now, interval);
            let begun = now;
            while !retry.may_try(now) {
                now += Duration::from_secs(1);
            }
            waits.push(now.duration_since(begun).as_secs());
            retry.in_use(now);
            now += Duration::from_secs(1);
        }
        assert_eq!(waits, [3, 6, 12, 24, 48, 60, 60]);
        now += STEADY_AFTER;
        retry.failed(now, interval);
        assert!(!retry.may_try(now) && retry.may_try(now + interval), "it had worked for a while");
    }
}
