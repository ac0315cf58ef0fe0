//! The one place where the recorder reads clocks.

use std::time::{Duration, Instant, SystemTime};

use keepwatch_model::{MonoTime, WallTime};

/// A wall clock that disagrees with the monotonic one by more than this was set.
const STEP_MIN: Duration = Duration::from_millis(500);

/// Both clocks of this machine.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Clocks whose monotonic time begins at this moment.
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }

    /// Monotonic time.
    pub fn mono(&self) -> MonoTime {
        self.at(Instant::now())
    }

    /// Monotonic time of an instant; [`MonoTime::ZERO`] when it was before the clock began.
    pub fn at(&self, instant: Instant) -> MonoTime {
        MonoTime::ZERO + instant.saturating_duration_since(self.start)
    }

    /// The instant of a monotonic time.
    pub fn instant(&self, at: MonoTime) -> Instant {
        self.start + Duration::from_nanos(at.as_nanos())
    }

    /// The recorder's idea of UTC.
    pub fn wall(&self) -> WallTime {
        let nanos = match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => i128::try_from(since.as_nanos()).unwrap_or(i128::MAX),
            Err(before) => -i128::try_from(before.duration().as_nanos()).unwrap_or(i128::MAX),
        };
        WallTime::from_unix_nanos(nanos)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// Notices that somebody set the wall clock.
#[derive(Debug)]
pub(crate) struct StepWatch {
    last: Option<(MonoTime, WallTime)>,
}

impl StepWatch {
    /// A watch that has seen nothing yet.
    pub(crate) const fn new() -> Self {
        Self { last: None }
    }

    /// Compares both clocks with the last look; returns by how many ticks the wall clock was set, if it was.
    pub(crate) fn look(&mut self, now: MonoTime, wall: WallTime) -> Option<i64> {
        let (last_now, last_wall) = self.last.replace((now, wall))?;
        let passed = keepwatch_model::ticks_from_duration(now.since(last_now));
        let step = wall.ticks_since(last_wall).saturating_sub(passed);
        (step.saturating_abs() > keepwatch_model::ticks_from_duration(STEP_MIN)).then_some(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keepwatch_model::TICKS_PER_SECOND;

    #[test]
    fn a_step_is_noticed_once_and_drift_is_not() {
        let mut watch = StepWatch::new();
        let second = |n: u64| MonoTime::from_nanos(n * 1_000_000_000);
        let wall = |n: i64| WallTime::from_ticks(n * TICKS_PER_SECOND);
        assert_eq!(watch.look(second(0), wall(100)), None);
        assert_eq!(watch.look(second(1), wall(101).plus(45)), None);
        assert_eq!(watch.look(second(2), wall(3_702)), Some(3_600 * TICKS_PER_SECOND - 45));
        assert_eq!(watch.look(second(3), wall(3_703)), None);
    }
}
