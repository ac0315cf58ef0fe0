//! When sessions read: all of a process together, at whole multiples of an interval.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

/// Shortest interval in milliseconds: the resolution of the timer.
const INTERVAL_MS_MIN: u32 = 1;
/// Longest interval in milliseconds: a packet handler is promised a call four times a second.
const INTERVAL_MS_MAX: u32 = 250;

/// How often a session reads its socket; clones share the value, and it may change while sessions run.
///
/// Reading on a timer rather than on arrival costs delay and saves processor time: one wake-up and one system
/// call bring in several access units, and sessions with the same interval wake up together.
#[derive(Clone, Debug)]
pub struct ReadInterval(Arc<AtomicU32>);

impl ReadInterval {
    /// An interval of its own; clamped to 1 to 250 ms.
    pub fn new(interval: Duration) -> Self {
        let shared = Self(Arc::new(AtomicU32::new(0)));
        shared.set(interval);
        shared
    }

    /// Changes it for all clones, from the next read on; clamped to 1 to 250 ms.
    pub fn set(&self, interval: Duration) {
        let millis = u32::try_from(interval.as_millis()).unwrap_or(u32::MAX);
        self.0.store(millis.clamp(INTERVAL_MS_MIN, INTERVAL_MS_MAX), Ordering::Relaxed);
    }

    /// The interval.
    pub fn interval(&self) -> Duration {
        Duration::from_millis(u64::from(self.0.load(Ordering::Relaxed)))
    }

    /// The first reading time after `now`, where reading must not be rarer than every `longest`.
    pub(crate) fn next_after(&self, now: Instant, longest: Duration) -> Instant {
        static EPOCH: OnceLock<Instant> = OnceLock::new();
        let epoch = *EPOCH.get_or_init(|| now);
        let interval = self.interval().min(longest);
        let micros = interval.as_micros().max(1);
        let past = now.saturating_duration_since(epoch).as_micros() % micros;
        let wait = u64::try_from(micros - past).map_or(interval, Duration::from_micros);
        now.checked_add(wait).unwrap_or(now)
    }
}

impl Default for ReadInterval {
    /// 200 ms: a tenth of the longest record, so hardly more is lost when power fails, and five access units for
    /// one wake-up.
    fn default() -> Self {
        Self::new(Duration::from_millis(200))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sessions_that_started_apart_read_together() {
        let interval = ReadInterval::new(Duration::from_millis(100));
        let start = Instant::now();
        let first = interval.next_after(start, Duration::MAX);
        let second = interval.next_after(start + Duration::from_micros(1), Duration::MAX);
        assert!(second.duration_since(first) < Duration::from_micros(2));
        assert!(first > start && first <= start + Duration::from_millis(100));
        let after = interval.next_after(first, Duration::MAX);
        assert!(after.duration_since(first) >= Duration::from_micros(99_998));
    }

    #[test]
    fn an_interval_is_clamped_and_shared() {
        let interval = ReadInterval::new(Duration::ZERO);
        let other = interval.clone();
        assert_eq!(other.interval(), Duration::from_millis(1));
        interval.set(Duration::from_secs(10));
        assert_eq!(other.interval(), Duration::from_millis(250));
    }
}
