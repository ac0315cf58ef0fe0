//! Where one record ends and the next begins.
//!
//! A record is a group of pictures, 1 s or 4 MiB, whichever comes first: that bounds what a crash costs and how
//! much memory a camera needs. The slicer sees the times and sizes of samples, not the samples.

use std::time::Duration;

use keepwatch_model::{MonoTime, TICKS_PER_SECOND};

/// Longest record in ticks of pictures: what a crash may cost. Half of the usual group of pictures, so that what a
/// crash costs, with all that is still on its way, is less than one.
pub const RECORD_TICKS_MAX: i64 = TICKS_PER_SECOND;
/// Largest record in bytes of samples: a bound for memory and for a single write.
pub const RECORD_BYTES_MAX: usize = 4 << 20;
/// Shortest distance of key frames at which each begins a record: a stream of key frames only would otherwise make a record of each.
pub const RECORD_TICKS_MIN: i64 = TICKS_PER_SECOND / 2;
/// How long an open record may wait for its next sample before it is closed as it is.
pub const RECORD_AGE_MAX: Duration = Duration::from_millis(1_500);

/// Follows the open record of one session.
#[derive(Debug, Default)]
pub struct Slicer {
    open: Option<Open>,
    /// The first record was closed. It is half as long as others may be: the sooner it is on disk, the sooner it is
    /// certain that the camera is recorded.
    settled: bool,
    /// First sample of the last record that began with a key frame.
    key_pts_90k: Option<i64>,
}

#[derive(Debug)]
struct Open {
    since: MonoTime,
    first_pts_90k: i64,
    bytes: usize,
}

impl Slicer {
    /// Whether the open record must be closed before a video sample of `bytes` with `pts_90k` joins.
    pub fn cuts_before(&self, pts_90k: i64, key: bool, bytes: usize) -> bool {
        let Some(open) = &self.open else { return false };
        let ticks = pts_90k.saturating_sub(open.first_pts_90k);
        let ticks_max = if self.settled { RECORD_TICKS_MAX } else { RECORD_TICKS_MIN };
        // Measured from key frame to key frame: a record that was cut for its length must not keep all later ones
        // from beginning with one, or an export would find no place to start decoding.
        let spaced = self.key_pts_90k.is_none_or(|last| pts_90k.saturating_sub(last) >= RECORD_TICKS_MIN);
        (key && spaced) || ticks >= ticks_max || open.bytes.saturating_add(bytes) > RECORD_BYTES_MAX
    }

    /// Whether the open record has waited too long for more.
    pub fn is_overdue(&self, now: MonoTime) -> bool {
        self.open.as_ref().is_some_and(|open| now.since(open.since) >= RECORD_AGE_MAX)
    }

    /// A sample joined the record, opening it at `now` if none was open. Audio joins but does not open.
    pub fn joined(&mut self, now: MonoTime, pts_90k: i64, key: bool, bytes: usize) {
        if self.open.is_none() && key {
            self.key_pts_90k = Some(pts_90k);
        }
        let open = self.open.get_or_insert(Open { since: now, first_pts_90k: pts_90k, bytes: 0 });
        open.bytes = open.bytes.saturating_add(bytes);
    }

    /// Bytes of audio joined the open record.
    pub fn joined_audio(&mut self, bytes: usize) {
        if let Some(open) = &mut self.open {
            open.bytes = open.bytes.saturating_add(bytes);
        }
    }

    /// Whether a record is open.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Times begin anew: what is remembered of the old ones says nothing.
    pub fn forget(&mut self) {
        self.key_pts_90k = None;
    }

    /// The record was closed or dropped.
    pub fn closed(&mut self) {
        self.open = None;
        self.settled = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_ends_at_a_key_frame_at_one_second_or_at_four_mebibytes() {
        let mut slicer = Slicer::default();
        assert!(!slicer.cuts_before(0, true, 10), "nothing is open");
        slicer.joined(MonoTime::ZERO, 0, true, 1_000);
        assert!(!slicer.cuts_before(44_999, false, 1_000));
        assert!(slicer.cuts_before(45_000, false, 1_000), "the first record is short");
        slicer.closed();
        slicer.joined(MonoTime::ZERO, 0, true, 1_000);
        for (pts_90k, key, bytes, cuts, why) in [
            (3_600, false, 1_000, false, "an ordinary frame"),
            (3_600, true, 1_000, false, "a key frame right after a key frame"),
            (45_000, true, 1_000, true, "a key frame"),
            (89_999, false, 1_000, false, "just under a second"),
            (90_000, false, 1_000, true, "a second"),
            (3_600, false, RECORD_BYTES_MAX, true, "too large together"),
            (i64::MAX, false, 1, true, "an absurd time"),
            (i64::MIN, false, 1, false, "an absurd time"),
        ] {
            assert_eq!(slicer.cuts_before(pts_90k, key, bytes), cuts, "{why}");
        }
        slicer.closed();
        assert!(!slicer.is_open());
    }

    /// A group of pictures of 1 s, and a first record of half a second: each later key frame begins a record.
    #[test]
    fn records_find_back_to_key_frames() {
        let mut slicer = Slicer::default();
        let mut begun_with_key = 0;
        for frame in 0..250 {
            let (pts_90k, key) = (frame * 3_600, frame % 25 == 0);
            if slicer.cuts_before(pts_90k, key, 1_000) {
                slicer.closed();
            }
            begun_with_key += u32::from(key && !slicer.is_open());
            slicer.joined(MonoTime::ZERO, pts_90k, key, 1_000);
        }
        assert_eq!(begun_with_key, 10);
    }

    #[test]
    fn a_stream_of_key_frames_does_not_make_a_record_of_each() {
        let mut slicer = Slicer::default();
        let mut cuts = 0;
        for frame in 0..250 {
            if slicer.cuts_before(frame * 3_600, true, 1_000) {
                slicer.closed();
                cuts += 1;
            }
            slicer.joined(MonoTime::ZERO, frame * 3_600, true, 1_000);
        }
        assert_eq!(cuts, 19, "one every 13 frames");
    }

    #[test]
    fn a_record_does_not_wait_for_a_silent_camera() {
        let mut slicer = Slicer::default();
        slicer.joined(MonoTime::ZERO, 0, true, 1);
        assert!(!slicer.is_overdue(MonoTime::ZERO + Duration::from_millis(1_400)));
        assert!(slicer.is_overdue(MonoTime::ZERO + Duration::from_millis(1_500)));
    }
}
