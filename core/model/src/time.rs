//! Two clocks that never mix: [`MonoTime`] for decisions, [`WallTime`] for labels.
//!
//! Neither is read here. A clock is read by a shell and handed in.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Ticks of [`WallTime`] in one second: the RTP clock of all video (RFC 3551 §5), so that video times are exact.
pub const TICKS_PER_SECOND: i64 = 90_000;

const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// Nanoseconds since an arbitrary start; only differences mean anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MonoTime(u64);

impl MonoTime {
    /// The start of the clock.
    pub const ZERO: Self = Self(0);

    /// The time `nanos` nanoseconds after the start of the clock.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the start of the clock.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time since `earlier`; zero when `earlier` is in fact later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for MonoTime {
    type Output = Self;

    /// Saturates at the end of the clock, 584 years after its start.
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// A UTC label in 90 kHz ticks since 1970-01-01T00:00:00Z; negative before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WallTime(i64);

impl WallTime {
    /// Before every label.
    pub const MIN: Self = Self(i64::MIN);
    /// After every label.
    pub const MAX: Self = Self(i64::MAX);

    /// The label `ticks` 90 kHz ticks after 1970.
    pub const fn from_ticks(ticks: i64) -> Self {
        Self(ticks)
    }

    /// 90 kHz ticks since 1970.
    pub const fn ticks(self) -> i64 {
        self.0
    }

    /// The label nearest to `nanos` nanoseconds after 1970; saturates.
    pub fn from_unix_nanos(nanos: i128) -> Self {
        let scaled = nanos.saturating_mul(i128::from(TICKS_PER_SECOND));
        let ticks = scaled.saturating_add(NANOS_PER_SECOND / 2).div_euclid(NANOS_PER_SECOND);
        Self(i64::try_from(ticks).unwrap_or(if ticks < 0 { i64::MIN } else { i64::MAX }))
    }

    /// Nanoseconds since 1970, to the nearest nanosecond.
    pub fn as_unix_nanos(self) -> i128 {
        let half = i128::from(TICKS_PER_SECOND / 2);
        (i128::from(self.0) * NANOS_PER_SECOND + half).div_euclid(i128::from(TICKS_PER_SECOND))
    }

    /// The label `ticks` later (earlier when negative); saturates.
    pub const fn plus(self, ticks: i64) -> Self {
        Self(self.0.saturating_add(ticks))
    }

    /// Ticks from `earlier` to this label; saturates.
    pub const fn ticks_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Sub for WallTime {
    type Output = i64;

    fn sub(self, earlier: Self) -> i64 {
        self.ticks_since(earlier)
    }
}

impl fmt::Display for WallTime {
    /// RFC 3339 in UTC with microseconds, which distinguishes all ticks; labels outside the years 1 to 9999
    /// show as the nearest label inside.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = (self.as_unix_nanos() + 500).div_euclid(1_000);
        let clamped = micros.clamp(-62_135_596_800_000_000, 253_402_207_200_000_000 - 1);
        let timestamp =
            jiff::Timestamp::from_microsecond(i64::try_from(clamped).unwrap_or(0)).unwrap_or_default();
        write!(f, "{timestamp:.6}")
    }
}

/// Why a text is not a time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a time; write it like 2026-11-21T22:05:00Z")]
pub struct TimeError(String);

impl FromStr for WallTime {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let timestamp: jiff::Timestamp =
            text.trim().parse().map_err(|_| TimeError(text.chars().take(64).collect()))?;
        Ok(Self::from_unix_nanos(timestamp.as_nanosecond()))
    }
}

impl TryFrom<String> for WallTime {
    type Error = TimeError;

    fn try_from(text: String) -> Result<Self, TimeError> {
        text.parse()
    }
}

impl From<WallTime> for String {
    fn from(time: WallTime) -> Self {
        time.to_string()
    }
}

/// Whole 90 kHz ticks in `duration`, to the nearest; saturates.
pub fn ticks_from_duration(duration: Duration) -> i64 {
    let nanos = i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX);
    WallTime::from_unix_nanos(nanos).ticks()
}

/// The duration of `ticks` 90 kHz ticks; zero when negative.
pub fn duration_from_ticks(ticks: i64) -> Duration {
    let ticks = u64::try_from(ticks).unwrap_or(0);
    let rate = TICKS_PER_SECOND.unsigned_abs();
    Duration::new(ticks / rate, u32::try_from((ticks % rate) * 1_000_000_000 / rate).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_label_survives_its_text(ticks in -1_000_000_000_000_000i64..20_000_000_000_000_000) {
            let label = WallTime::from_ticks(ticks);
            prop_assert_eq!(label.to_string().parse::<WallTime>(), Ok(label));
        }

        #[test]
        fn a_label_survives_nanoseconds(ticks: i64) {
            let label = WallTime::from_ticks(ticks);
            prop_assert_eq!(WallTime::from_unix_nanos(label.as_unix_nanos()), label);
        }
    }

    #[test]
    fn extremes_are_shown_and_do_not_panic() {
        assert!(WallTime::MIN.to_string().ends_with('Z'));
        assert!(WallTime::MAX.to_string().ends_with('Z'));
        assert!("yesterday".parse::<WallTime>().is_err());
    }
}
