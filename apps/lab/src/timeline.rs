//! Frame numbers that depend on the time alone, so that they run on while nobody is connected.
//!
//! Frame 0 of every camera was due at [`EPOCH`]. A program that is killed and started again goes on with the
//! numbers of the time it then is: what lies between is exactly what was missed.

use std::time::{Duration, SystemTime};

use keepwatch_model::{TICKS_PER_SECOND, WallTime};
use tokio::time::Instant;

use crate::LabError;

/// When frame 0 of every virtual camera was due: 2026-01-01T00:00:00Z.
pub const EPOCH: WallTime = WallTime::from_ticks(1_767_225_600 * TICKS_PER_SECOND);

/// Frames a second that a whole number of 90 kHz ticks separates, at most.
const FRAMES_PER_SECOND_MAX: u32 = 60;

const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// The wall clock as it was when the lab started, carried on by the monotonic clock: a step of the machine's clock
/// does not reach the cameras, whose clocks step only when told to.
#[derive(Clone, Copy, Debug)]
pub struct LabClock {
    started: Instant,
    started_unix_nanos: i128,
}

impl LabClock {
    /// Reads both clocks of the machine.
    pub fn start() -> Self {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let unix_nanos = i128::try_from(unix.as_nanos()).unwrap_or(0);
        Self { started: Instant::now(), started_unix_nanos: unix_nanos }
    }

    /// The label of this moment.
    pub fn now(&self) -> WallTime {
        let passed = i128::try_from(self.started.elapsed().as_nanos()).unwrap_or(0);
        WallTime::from_unix_nanos(self.started_unix_nanos + passed)
    }

    /// The moment that bears `label`; the start of the clock for labels before it.
    pub fn instant_of(&self, label: WallTime) -> Instant {
        let passed_nanos = label.as_unix_nanos() - self.started_unix_nanos;
        let seconds = u64::try_from(passed_nanos.div_euclid(NANOS_PER_SECOND)).unwrap_or(0);
        let nanos = u32::try_from(passed_nanos.rem_euclid(NANOS_PER_SECOND)).unwrap_or(0);
        let passed = if passed_nanos < 0 { Duration::ZERO } else { Duration::new(seconds, nanos) };
        self.started.checked_add(passed).unwrap_or(self.started)
    }
}

/// The frames of a camera: which number is due when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// From one frame to the next in 90 kHz ticks.
    frame_ticks: i64,
}

impl Timeline {
    /// The timeline of `frames_per_second`: 1 to 60, a divisor of 90,000.
    pub fn new(frames_per_second: u32) -> Result<Self, LabError> {
        let rate = i64::from(frames_per_second);
        if (1..=FRAMES_PER_SECOND_MAX).contains(&frames_per_second) && TICKS_PER_SECOND % rate == 0 {
            return Ok(Self { frame_ticks: TICKS_PER_SECOND / rate });
        }
        Err(LabError::Setting {
            setting: "frames per second",
            value: u64::from(frames_per_second),
            rule: "1 to 60, a divisor of 90,000",
        })
    }

    /// 90 kHz ticks from one frame to the next.
    pub const fn frame_ticks(self) -> i64 {
        self.frame_ticks
    }

    /// When frame `number` is due.
    pub fn label_of(self, number: u64) -> WallTime {
        EPOCH.plus(i64::try_from(number).unwrap_or(i64::MAX).saturating_mul(self.frame_ticks))
    }

    /// The first frame due at `label` or later.
    pub fn number_from(self, label: WallTime) -> u64 {
        let ticks = label.ticks_since(EPOCH).max(0);
        let whole = ticks / self.frame_ticks + i64::from(ticks % self.frame_ticks != 0);
        u64::try_from(whole).unwrap_or(0)
    }
}

/// The RTP timestamp of a label: `rate` ticks a second, wrapping (RFC 3550 §5.1).
pub(crate) fn rtp_timestamp(label: WallTime, rate: u32) -> u32 {
    let ticks = i128::from(label.ticks()) * i128::from(rate) / i128::from(TICKS_PER_SECOND);
    u32::try_from(ticks.rem_euclid(1 << 32)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_due_at_its_label_and_numbers_do_not_depend_on_the_start() {
        let timeline = Timeline::new(25).unwrap();
        assert_eq!(EPOCH.to_string(), "2026-01-01T00:00:00.000000Z");
        assert_eq!(timeline.number_from(EPOCH), 0);
        assert_eq!(timeline.number_from(EPOCH.plus(1)), 1);
        assert_eq!(timeline.number_from(EPOCH.plus(-1)), 0);
        for number in [0, 1, 7, 788_400_000, 1 << 40] {
            let label = timeline.label_of(number);
            assert_eq!(timeline.number_from(label), number);
            assert_eq!(timeline.number_from(label.plus(1)), number + 1);
        }
        assert!(Timeline::new(0).is_err() && Timeline::new(7).is_err() && Timeline::new(90).is_err());
    }

    #[tokio::test]
    async fn a_label_of_the_clock_is_the_moment_it_names() {
        let clock = LabClock::start();
        let label = clock.now().plus(TICKS_PER_SECOND);
        let ahead = clock.instant_of(label).duration_since(Instant::now());
        assert!(ahead <= Duration::from_millis(1001) && ahead > Duration::from_millis(900), "{ahead:?}");
        assert!(clock.instant_of(WallTime::MIN) <= Instant::now());
        let _ = clock.instant_of(WallTime::MAX);
    }

    #[test]
    fn timestamps_wrap() {
        assert_eq!(rtp_timestamp(WallTime::from_ticks(-1), 90_000), u32::MAX);
        assert_eq!(rtp_timestamp(WallTime::from_ticks(90_000 * 3), 8_000), 24_000);
    }
}
