//! How the pictures of a time line follow each other: how long a frame lasts, and what is a pause.
//!
//! It tells a slow camera from a silent one. It sees times, in ticks of pictures, and no pictures.

use keepwatch_model::TICKS_PER_SECOND;

/// A pause in a session's pictures is a gap, although no packet was lost, when it is longer than this and than
/// four of the frames before it: slow cameras are slow, and four seconds without a picture are not
/// hidden. After the first picture of all, it is one when it is longer than the slowest camera takes.
pub const PAUSE_TICKS_MAX: i64 = 3 * TICKS_PER_SECOND / 2;
/// See [`PAUSE_TICKS_MAX`].
pub(crate) const PAUSE_FRAMES_MAX: i64 = 4;
/// Longest duration that a frame is given: the slowest cameras send one picture in ten seconds.
pub(crate) const FRAME_TICKS_MAX: i64 = 10 * TICKS_PER_SECOND;
/// Taken as the duration of a frame before two frames were seen.
const FRAME_TICKS_DEFAULT: i64 = TICKS_PER_SECOND / 25;

/// How the pictures of a time line follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Latest picture in the order they are shown.
    pub max_pts: i64,
    /// Duration of a frame.
    pub frame_ticks: i64,
    /// Whether `frame_ticks` was seen, and is not merely assumed.
    known: bool,
}

impl Pace {
    /// After a picture at `max_pts`, where frames are known to last `frame_ticks`.
    pub(crate) const fn known(max_pts: i64, frame_ticks: i64) -> Self {
        Self { max_pts, frame_ticks, known: true }
    }

    /// After a picture at `pts`. The first distance is taken for what it is, or a slow camera would be silent at the
    /// beginning of each session. A later one says little by itself: a frame lasts at most twice as long as the one
    /// before, so a pause does not become the duration of a frame, and a camera that slows down is followed within a few.
    pub fn advanced(pace: Option<Self>, pts: i64) -> Self {
        match pace {
            None => Self { max_pts: pts, frame_ticks: FRAME_TICKS_DEFAULT, known: false },
            Some(Self { max_pts, frame_ticks, known }) if pts > max_pts => {
                let doubled = if known { frame_ticks.saturating_mul(2) } else { FRAME_TICKS_MAX };
                let most = doubled.min(FRAME_TICKS_MAX);
                Self { max_pts: pts, frame_ticks: pts.saturating_sub(max_pts).min(most), known: true }
            }
            Some(pace) => pace,
        }
    }

    /// When the latest picture ends.
    pub const fn end_pts(self) -> i64 {
        self.max_pts.saturating_add(self.frame_ticks)
    }

    /// Whether a picture at `pts` comes after a pause that must not be hidden.
    pub fn pauses(self, pts: i64) -> bool {
        let pause = pts.saturating_sub(self.max_pts);
        if !self.known {
            return pause > FRAME_TICKS_MAX + PAUSE_TICKS_MAX;
        }
        pause > PAUSE_TICKS_MAX && pause > self.frame_ticks.saturating_mul(PAUSE_FRAMES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_told_from_a_slow_camera() {
        let mut pace = None;
        for frame in 0..100 {
            pace = Some(Pace::advanced(pace, frame * 3_600));
        }
        let fast = pace.unwrap();
        assert_eq!(fast.frame_ticks, 3_600);
        assert!(!fast.pauses(fast.max_pts + PAUSE_TICKS_MAX));
        assert!(fast.pauses(fast.max_pts + PAUSE_TICKS_MAX + 1));
        // One long distance is no duration of a frame, and the pace comes back at once.
        let after = Pace::advanced(pace, fast.max_pts + 10 * TICKS_PER_SECOND);
        assert_eq!(after.frame_ticks, 7_200);
        // One picture in three seconds: learned within a few.
        let mut slow = Some(after);
        for frame in 1..=6 {
            slow = Some(Pace::advanced(slow, after.max_pts + frame * 3 * TICKS_PER_SECOND));
        }
        let slow = slow.unwrap();
        assert_eq!(slow.frame_ticks, 3 * TICKS_PER_SECOND);
        assert!(!slow.pauses(slow.max_pts + 3 * TICKS_PER_SECOND));
    }

    /// One picture in ten seconds, from the first on, a little early or late.
    #[test]
    fn the_slowest_camera_never_pauses() {
        let mut pace = None;
        for frame in 0..20 {
            let pts = frame * 10 * TICKS_PER_SECOND + (frame % 3) * TICKS_PER_SECOND / 10;
            assert!(!pace.is_some_and(|pace: Pace| pace.pauses(pts)), "picture {frame}");
            pace = Some(Pace::advanced(pace, pts));
        }
        let first = Pace::advanced(None, 0);
        assert!(first.pauses(12 * TICKS_PER_SECOND), "slower than any camera");
        // A pause right after the first picture is forgotten with the next distance.
        let fast = Pace::advanced(
            Some(Pace::advanced(Some(first), 8 * TICKS_PER_SECOND)),
            8 * TICKS_PER_SECOND + 3_600,
        );
        assert_eq!(fast.frame_ticks, 3_600);
    }

    #[test]
    fn absurd_times_do_not_panic() {
        for pts in [i64::MIN, -1, 0, i64::MAX] {
            let pace =
                Pace::advanced(Some(Pace { max_pts: pts, frame_ticks: 3_600, known: pts == 0 }), i64::MAX);
            pace.pauses(i64::MIN);
            pace.end_pts();
        }
    }
}
