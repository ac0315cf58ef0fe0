//! Where the server reads time: sessions and back-off run on the monotonic clock, records and tokens on the other.

use std::time::{Instant, SystemTime};

use keepwatch_model::{MonoTime, WallTime};

/// Reads both clocks.
pub trait Clock: Send + Sync {
    /// The monotonic time.
    fn now(&self) -> MonoTime;

    /// The idea of UTC.
    fn wall(&self) -> WallTime;
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    started: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> MonoTime {
        MonoTime::ZERO + self.started.elapsed()
    }

    fn wall(&self) -> WallTime {
        let nanos = match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => i128::try_from(since.as_nanos()).unwrap_or(i128::MAX),
            Err(before) => i128::try_from(before.duration().as_nanos()).unwrap_or(i128::MAX).saturating_neg(),
        };
        WallTime::from_unix_nanos(nanos)
    }
}
