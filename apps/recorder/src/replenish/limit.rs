//! How fast footage may be fetched, all of it together.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Longest wait at a time: the other side takes a reader for gone that reads nothing for half a minute. What is not paid for
/// by then is paid for with the next piece.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// What was not used may be used up to so much later: who looks five times a second gets all that is allowed.
const CREDIT: Duration = Duration::from_millis(300);

/// Lets so many bits pass in a second.
#[derive(Debug)]
pub(crate) struct Limit {
    /// 0 means without a limit.
    bits_per_second: AtomicU64,
    /// When the next piece may be read.
    free_at: Mutex<Option<Instant>>,
}

impl Limit {
    /// Lets `bits_per_second` pass; all when `None`.
    pub(crate) fn new(bits_per_second: Option<u64>) -> Self {
        Self { bits_per_second: AtomicU64::new(bits_per_second.unwrap_or(0)), free_at: Mutex::new(None) }
    }

    /// Lets `bits_per_second` pass from now on; all when `None`.
    pub(crate) fn set(&self, bits_per_second: Option<u64>) {
        self.bits_per_second.store(bits_per_second.unwrap_or(0), Ordering::Relaxed);
        // What came at the old rate is not paid for at the new one.
        *self.free_at.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What may pass in a second; `None` for all.
    pub(crate) fn bits_per_second(&self) -> Option<u64> {
        Some(self.bits_per_second.load(Ordering::Relaxed)).filter(|bits| *bits > 0)
    }

    /// Notes that `bytes` came; returns when the next may be read, `None` for at once.
    pub(crate) fn book(&self, bytes: usize, now: Instant) -> Option<Instant> {
        let bits_per_second = self.bits_per_second.load(Ordering::Relaxed);
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        if bits_per_second == 0 {
            *free_at = None;
            return None;
        }
        let nanos = u128::try_from(bytes).unwrap_or(u128::MAX).saturating_mul(8_000_000_000);
        let cost = Duration::from_nanos(
            u64::try_from(nanos / u128::from(bits_per_second)).unwrap_or(u64::MAX).min(1_000_000_000_000),
        );
        let next = free_at.map_or(now, |at| at.max(now.checked_sub(CREDIT).unwrap_or(now))) + cost;
        *free_at = Some(next);
        Some(next.min(now + WAIT_MAX)).filter(|next| *next > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_pass_at_the_rate_that_is_set_and_at_once_without_one() {
        let now = Instant::now();
        assert_eq!(Limit::new(None).book(1 << 30, now), None);
        let limit = Limit::new(Some(8_000_000));
        assert_eq!(limit.book(500_000, now), Some(now + Duration::from_millis(500)));
        assert_eq!(limit.book(500_000, now), Some(now + Duration::from_secs(1)));
        assert_eq!(limit.book(usize::MAX, now), Some(now + WAIT_MAX), "it looks up all the same");
        limit.set(None);
        assert_eq!(limit.book(1 << 30, now), None);
    }

    /// A record of half a megabyte takes four seconds at the lowest rate.
    #[test]
    fn a_low_rate_is_kept_by_large_pieces() {
        let limit = Limit::new(Some(1_000_000));
        let began = Instant::now();
        let mut now = began;
        for _ in 0..20 {
            // Who waits comes a moment late.
            now = limit.book(500_000, now).unwrap_or(now) + Duration::from_millis(150);
        }
        let seconds = now.duration_since(began).as_secs_f64();
        assert!((78.0..82.0).contains(&seconds), "{seconds} s for 80 Mbit at 1 Mbit/s");
    }
}
