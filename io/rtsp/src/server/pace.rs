//! When recorded media are sent where the server sets the pace: by their capture times, times the scale.
//!
//! Pure. Playing time counts in 90 kHz ticks from the beginning of the session and never stands still nor jumps; each
//! instant is derived from an anchor, not from the frame before, so that an hour of footage takes an hour.

use keepwatch_media::replay::Scale;
use keepwatch_model::{TICKS_PER_SECOND, WallTime};

/// A longer step in playing time than this is a hole in the footage that nobody wants to wait through.
const STEP_TICKS_MAX: i64 = 60 * TICKS_PER_SECOND;

/// The same where a discontinuity is marked and footage plays forwards. Backwards each group of pictures is marked.
const MARKED_STEP_TICKS_MAX: i64 = TICKS_PER_SECOND;

/// The pace of one `PLAY`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    scale: Scale,
    /// What is shown when; `None` until the first media, where the `PLAY` did not say.
    anchor: Option<Anchor>,
    /// The latest playing time given out.
    latest_ticks: i64,
}

/// Footage of `capture` is shown at `at_ticks` of playing time.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    at_ticks: i64,
    capture: WallTime,
}

impl Pace {
    /// Begins at playing time `now_ticks` with footage of `from`; `None`: with the first that comes.
    pub(super) fn new(scale: Scale, now_ticks: i64, from: Option<WallTime>) -> Self {
        let anchor = from.map(|capture| Anchor { at_ticks: now_ticks, capture });
        Self { scale, anchor, latest_ticks: now_ticks }
    }

    /// The playing time at which footage of `capture` is due. It lies in the past for frames before the beginning,
    /// which decoding needs, and for those that are sent in another order than they are shown.
    pub(super) fn due_ticks(&mut self, now_ticks: i64, capture: WallTime, discontinuity: bool) -> i64 {
        let anchor = *self.anchor.get_or_insert(Anchor { at_ticks: now_ticks, capture });
        let thousandths = i128::from(self.scale.thousandths());
        let played = i128::from(capture.ticks_since(anchor.capture)) * 1000 / thousandths;
        let due = anchor.at_ticks.saturating_add(i64::try_from(played).unwrap_or(i64::MAX));
        let step = due.saturating_sub(self.latest_ticks);
        let forward_max =
            if discontinuity && !self.scale.is_reverse() { MARKED_STEP_TICKS_MAX } else { STEP_TICKS_MAX };
        if step > forward_max || step < -STEP_TICKS_MAX {
            let at_ticks = self.latest_ticks.max(now_ticks);
            self.anchor = Some(Anchor { at_ticks, capture });
            self.latest_ticks = at_ticks;
            return at_ticks;
        }
        self.latest_ticks = self.latest_ticks.max(due);
        due
    }

    /// Whether playing time goes on as fast as captured time, so that the source's timestamps can stay as they are.
    pub(super) fn is_even(&self) -> bool {
        self.scale == Scale::NORMAL
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: i64 = TICKS_PER_SECOND;

    fn at(seconds: i64) -> WallTime {
        WallTime::from_ticks(seconds * SECOND)
    }

    fn scale(thousandths: i32) -> Scale {
        Scale::from_thousandths(thousandths).unwrap()
    }

    #[test]
    fn an_hour_of_footage_takes_an_hour_times_the_scale_however_late_each_frame_was() {
        for (thousandths, seconds) in [(1000, 3600), (2000, 1800), (500, 7200), (-1000, 3600)] {
            let mut pace = Pace::new(scale(thousandths), 0, Some(at(0)));
            let mut due = 0;
            for frame in 0..=3600 * 25 {
                let capture = WallTime::from_ticks(frame * 3600 * i64::from(thousandths.signum()));
                due = pace.due_ticks(due + frame % 7, capture, false);
            }
            assert_eq!(due, seconds * SECOND, "{thousandths}");
        }
    }

    #[test]
    fn frames_before_the_beginning_are_overdue_and_do_not_delay_it() {
        let mut pace = Pace::new(Scale::NORMAL, 5 * SECOND, Some(at(100)));
        assert_eq!(pace.due_ticks(5 * SECOND, at(98), true), 3 * SECOND);
        assert_eq!(pace.due_ticks(5 * SECOND, at(101), false), 6 * SECOND);
    }

    #[test]
    fn holes_are_not_waited_through() {
        let mut pace = Pace::new(Scale::NORMAL, 0, Some(at(0)));
        assert_eq!(pace.due_ticks(0, at(1), false), SECOND);
        assert_eq!(pace.due_ticks(SECOND, at(3600), true), SECOND, "marked");
        assert_eq!(pace.due_ticks(SECOND, at(3601), true), 2 * SECOND, "the other track's mark");
        assert_eq!(pace.due_ticks(2 * SECOND, at(9000), false), 2 * SECOND, "not marked");
        assert_eq!(pace.due_ticks(2 * SECOND, at(5), false), 2 * SECOND, "and back");
        assert_eq!(pace.due_ticks(3 * SECOND, at(6), false), 3 * SECOND);
        assert_eq!(pace.due_ticks(3 * SECOND, at(36), false), 33 * SECOND, "a slow camera is waited for");
    }

    #[test]
    fn backwards_a_marked_group_is_waited_for() {
        let mut pace = Pace::new(Scale::REVERSE, 0, Some(at(100)));
        assert_eq!(pace.due_ticks(0, at(98), true), 2 * SECOND);
        assert_eq!(pace.due_ticks(0, at(99), false), SECOND);
        assert_eq!(pace.due_ticks(2 * SECOND, at(96), true), 4 * SECOND);
        assert_eq!(pace.due_ticks(4 * SECOND, at(-7200), true), 4 * SECOND, "a hole");
    }

    proptest! {
        #[test]
        fn no_time_makes_it_panic_or_wait_for_long(
            thousandths in -1_000_000i32..1_000_000, from: Option<i64>, captures: Vec<(i64, bool)>
        ) {
            let Some(scale) = Scale::from_thousandths(thousandths) else { return Ok(()) };
            let mut pace = Pace::new(scale, 0, from.map(WallTime::from_ticks));
            let mut now = 0i64;
            for (capture, discontinuity) in captures {
                let due = pace.due_ticks(now, WallTime::from_ticks(capture), discontinuity);
                prop_assert!(due <= now + STEP_TICKS_MAX);
                now = now.max(due);
            }
        }
    }
}
