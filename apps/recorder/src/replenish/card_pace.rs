//! How fast the card of a camera is read: in percent of the rate that it was recorded with, and in bits per second, as the lines of
//! an edge node are limited.
//!
//! A camera records and streams while its card is read. One that then drops frames or sessions is read as slowly as it bears.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use keepwatch_model::{CameraId, MonoTime, TICKS_PER_SECOND};
use keepwatch_recording::edge::limit::{LineLimit, SpeedLimit};
use tokio::time::Instant;

/// Longest wait at a time: the camera takes a reader for gone that reads nothing for half a minute. What is not paid for by then is
/// paid for with the next picture.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// Two pictures that are further apart have a hole between them, which costs nothing.
const STEP_TICKS_MAX: i64 = 10 * TICKS_PER_SECOND;

/// The limits that are set, by camera; a card without one is read as fast as it gives.
pub type CardLimits = BTreeMap<CameraId, SpeedLimit>;

/// The pace of one fetch.
#[derive(Debug)]
pub(super) struct CardPace {
    began: Instant,
    /// `None` while there is no limit.
    limit: Mutex<Option<LineLimit>>,
}

impl CardPace {
    /// A fetch that begins at `now`.
    pub(super) fn new(limit: Option<SpeedLimit>, now: Instant) -> Self {
        let limit = limit.map(|limit| LineLimit::new(limit, MonoTime::ZERO));
        Self { began: now, limit: Mutex::new(limit) }
    }

    /// Another limit: its speed holds at once, its data rate from the next fetch on.
    pub(super) fn set(&self, set: Option<SpeedLimit>, now: Instant) {
        let now = self.mono(now);
        let mut limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        *limit = match (limit.take(), set) {
            (Some(mut limit), Some(set)) => {
                if limit.get() != set {
                    limit.set(now, set);
                }
                Some(limit)
            }
            (None, Some(set)) => Some(LineLimit::new(set, now)),
            (Some(_) | None, None) => None,
        };
    }

    /// Whether nothing may be read: 0 %.
    pub(super) fn is_stopped(&self) -> bool {
        let limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        limit.is_some_and(|limit| limit.get().percent == 0)
    }

    /// `bytes` came, with which the footage goes on by `step_ticks`; says when the next may be read, `None` for at once.
    pub(super) fn book(&self, step_ticks: i64, bytes: usize, now: Instant) -> Option<Instant> {
        let mut limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = limit.as_mut()?;
        let ticks = if step_ticks > STEP_TICKS_MAX { 0 } else { step_ticks.max(0) };
        limit.spend(self.mono(now), ticks, u64::try_from(bytes).unwrap_or(u64::MAX));
        let wait = limit.ready_at()?.since(self.mono(now));
        (!wait.is_zero()).then(|| now + wait.min(WAIT_MAX))
    }

    fn mono(&self, now: Instant) -> MonoTime {
        MonoTime::ZERO + now.saturating_duration_since(self.began)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEED: fn(u32, u64) -> SpeedLimit =
        |percent, bits_per_second| SpeedLimit { percent, bits_per_second };

    /// How long 60 s of footage take, 25 pictures of 20 kB in each of them: 4 Mbit/s.
    fn takes(pace: &CardPace, from: Instant) -> f64 {
        let mut now = from;
        for _ in 0..1_500 {
            now = pace.book(TICKS_PER_SECOND / 25, 20_000, now).unwrap_or(now);
        }
        now.duration_since(from).as_secs_f64()
    }

    #[test]
    fn a_card_is_read_at_the_speed_and_the_data_rate_that_are_set_and_the_slower_cuts() {
        let now = Instant::now();
        for (limit, seconds) in [
            (SPEED(100, 0), 60.0),
            (SPEED(200, 0), 30.0),
            (SPEED(400, 8_000_000), 30.0),
            (SPEED(400, 2_000_000), 120.0),
        ] {
            let took = takes(&CardPace::new(Some(limit), now), now);
            assert!((took - seconds).abs() < 3.0, "{took} s with {limit:?}");
        }
        assert!(takes(&CardPace::new(None, now), now) < 0.001, "without a limit");
    }

    #[test]
    fn a_changed_speed_holds_at_once_and_a_changed_data_rate_from_the_next_fetch_on() {
        let now = Instant::now();
        let pace = CardPace::new(Some(SPEED(200, 0)), now);
        pace.set(Some(SPEED(0, 0)), now);
        assert!(pace.is_stopped());
        pace.set(Some(SPEED(200, 1_000_000)), now);
        assert!(!pace.is_stopped() && (takes(&pace, now) - 30.0).abs() < 3.0);
        pace.set(None, now);
        assert!(takes(&pace, now) < 0.001);
    }

    #[test]
    fn a_hole_costs_nothing_and_no_picture_is_waited_for_longer_than_a_camera_waits() {
        let now = Instant::now();
        let pace = CardPace::new(Some(SPEED(1, 0)), now);
        assert_eq!(pace.book(3_600 * TICKS_PER_SECOND, 20_000, now), None);
        assert_eq!(pace.book(10 * TICKS_PER_SECOND, 20_000, now), Some(now + WAIT_MAX));
        assert!(pace.book(-5, 20_000, now).is_some());
    }
}
