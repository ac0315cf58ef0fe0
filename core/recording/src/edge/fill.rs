//! How full local storage is of footage that is not outside yet, when it warns, and how long it lasts.
//!
//! The same reckoning serves the status of a line and the planner, so that what was planned is what is shown later.

use std::time::Duration;

/// When it is told how full the buffer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// *Warning* from here on, in percent.
    pub warning_percent: u8,
    /// *All clear* from here on, in percent; below the other.
    pub all_clear_percent: u8,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { warning_percent: 90, all_clear_percent: 50 }
    }
}

/// A threshold was crossed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crossing {
    /// The buffer is fuller than the warning.
    Warning,
    /// It has been warned of, and is emptier than the all clear.
    AllClear,
}

/// Whether the buffer has been warned of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Warning {
    on: bool,
}

impl Warning {
    /// Whether it holds.
    pub const fn is_on(&self) -> bool {
        self.on
    }

    /// The buffer holds `bytes` of `room_bytes`.
    pub fn look(&mut self, thresholds: Thresholds, bytes: u64, room_bytes: u64) -> Option<Crossing> {
        let percent = percent(bytes, room_bytes);
        if !self.on && percent >= thresholds.warning_percent.into() {
            self.on = true;
            return Some(Crossing::Warning);
        }
        // Thresholds that were set the wrong way round must not make it flap.
        let all_clear = thresholds.all_clear_percent.min(thresholds.warning_percent.saturating_sub(1));
        if self.on && percent <= all_clear.into() {
            self.on = false;
            return Some(Crossing::AllClear);
        }
        None
    }
}

/// How full a buffer is, in percent, rounded down; one without room is full.
pub fn percent(bytes: u64, room_bytes: u64) -> u64 {
    if room_bytes == 0 {
        return 100;
    }
    u64::try_from(u128::from(bytes) * 100 / u128::from(room_bytes)).unwrap_or(u64::MAX)
}

/// What goes into a buffer and what leaves it, in bits per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Recorded.
    pub in_bits_per_second: u64,
    /// Relayed and replenished.
    pub out_bits_per_second: u64,
}

impl Flow {
    /// What can leave: the least of the speed limit, of its data rate, and of what network and storage carry; 0 is no limit of the
    /// latter two.
    pub fn limited(
        in_bits_per_second: u64,
        speed_percent: u32,
        limit_bits_per_second: u64,
        bandwidth_bits_per_second: u64,
    ) -> Self {
        let speed = u128::from(in_bits_per_second) * u128::from(speed_percent) / 100;
        let speed = u64::try_from(speed).unwrap_or(u64::MAX);
        let limits = [limit_bits_per_second, bandwidth_bits_per_second];
        let out = limits.into_iter().filter(|limit| *limit > 0).fold(speed, u64::min);
        Self { in_bits_per_second, out_bits_per_second: out }
    }

    /// How long it takes to fill `free_bytes`; `None` when it never does.
    pub fn fills_in(&self, free_bytes: u64) -> Option<Duration> {
        time(free_bytes, self.in_bits_per_second, self.out_bits_per_second)
    }

    /// How long it takes until `held_bytes` are outside, while recording goes on; `None` when it never is. Without limits of rate
    /// that is the gap divided by the speed less one: at 200 % as long as the gap, at 150 % twice, at 500 % a quarter.
    pub fn depletes_in(&self, held_bytes: u64) -> Option<Duration> {
        time(held_bytes, self.out_bits_per_second, self.in_bits_per_second)
    }
}

/// How long it takes to move so many bytes with what one rate has over the other.
fn time(bytes: u64, rate: u64, against: u64) -> Option<Duration> {
    let more = rate.checked_sub(against).filter(|more| *more > 0)?;
    let millis = u128::from(bytes) * 8_000 / u128::from(more);
    Some(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MBIT: u64 = 1_000_000;

    #[test]
    fn it_warns_once_and_is_clear_only_far_below() {
        let mut warning = Warning::default();
        let mut look = |percent| warning.look(Thresholds::default(), percent, 100);
        let crossings: Vec<_> =
            [0, 89, 90, 95, 89, 51, 100, 50, 89, 49, 90].into_iter().map(&mut look).collect();
        let [warned, clear] = [Some(Crossing::Warning), Some(Crossing::AllClear)];
        assert_eq!(crossings, [None, None, warned, None, None, None, None, clear, None, None, warned]);
    }

    #[test]
    fn thresholds_the_wrong_way_round_do_not_flap() {
        let mut warning = Warning::default();
        let thresholds = Thresholds { warning_percent: 50, all_clear_percent: 90 };
        assert_eq!(warning.look(thresholds, 50, 100), Some(Crossing::Warning));
        assert_eq!(warning.look(thresholds, 50, 100), None);
        assert_eq!(warning.look(thresholds, 49, 100), Some(Crossing::AllClear));
    }

    #[test]
    fn a_buffer_without_room_is_full() {
        assert_eq!((percent(0, 0), percent(1, 3), percent(u64::MAX, 1)), (100, 33, u64::MAX));
    }

    #[test]
    fn replenishing_takes_the_gap_divided_by_the_speed_less_one() {
        let gap = Duration::from_secs(3_600);
        let held = 4 * MBIT / 8 * gap.as_secs();
        for (percent, times) in [(200, 1.0), (150, 2.0), (500, 0.25)] {
            let flow = Flow::limited(4 * MBIT, percent, 0, 0);
            assert_eq!(flow.depletes_in(held), Some(gap.mul_f64(times)), "{percent} %");
        }
    }

    #[test]
    fn what_leaves_no_faster_than_it_comes_never_depletes() {
        for (percent, limit, bandwidth) in [(0, 0, 0), (100, 0, 0), (200, 4 * MBIT, 0), (200, 0, 3 * MBIT)] {
            let flow = Flow::limited(4 * MBIT, percent, limit, bandwidth);
            assert_eq!(flow.depletes_in(1), None, "{percent} % {limit} {bandwidth}");
        }
        let slow = Flow::limited(4 * MBIT, 200, 0, 3 * MBIT);
        assert_eq!(slow.fills_in(MBIT / 8 * 60), Some(Duration::from_secs(60)), "what is over fills it");
        let fast = Flow::limited(4 * MBIT, 200, 6 * MBIT, 0);
        assert_eq!((fast.fills_in(u64::MAX), fast.out_bits_per_second), (None, 6 * MBIT));
    }
}
