//! How fast a replay is read: with `Rate-Control: no` the server sends as fast as its client reads.

use std::time::Duration;

use tokio::time::Instant;

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// A read is put off until it is worth a wake-up: for a fiftieth of a second of bytes.
const CHUNKS_PER_SECOND: u64 = 50;
/// Least bytes that are worth a wake-up.
const CHUNK_BYTES_MIN: u64 = 1024;
/// Credit that a pause can earn, in chunks: what the kernel held meanwhile is not to be read in a burst.
const BURST_CHUNKS: u64 = 5;

/// A bucket that fills with bytes that may be read.
#[derive(Debug)]
pub(super) struct Throttle {
    /// Bytes in a second; `None`: as fast as they come.
    rate: Option<u64>,
    /// Bytes times nanoseconds: exact at any rate.
    credit: u128,
    /// Up to when credit was given.
    filled: Instant,
}

impl Throttle {
    /// No limit, at `now`.
    pub(super) const fn new(now: Instant) -> Self {
        Self { rate: None, credit: 0, filled: now }
    }

    /// How many bytes may be read at `now`, at `rate` bytes in a second.
    pub(super) fn allowance(&mut self, now: Instant, rate: Option<u64>) -> usize {
        self.rate = rate;
        let Some(rate) = rate else {
            self.filled = now;
            return usize::MAX;
        };
        let nanos = now.saturating_duration_since(self.filled).as_nanos();
        self.filled = now;
        let most = u128::from(chunk(rate).saturating_mul(BURST_CHUNKS)).saturating_mul(NANOS_PER_SECOND);
        self.credit = self.credit.saturating_add(nanos.saturating_mul(u128::from(rate))).min(most);
        if self.credit < u128::from(chunk(rate)).saturating_mul(NANOS_PER_SECOND) {
            return 0;
        }
        usize::try_from(self.credit / NANOS_PER_SECOND).unwrap_or(usize::MAX)
    }

    /// Takes note that so many bytes were read.
    pub(super) fn spend(&mut self, bytes: usize) {
        let spent = u128::try_from(bytes).unwrap_or(u128::MAX).saturating_mul(NANOS_PER_SECOND);
        self.credit = self.credit.saturating_sub(spent);
    }

    /// When it is worth reading again.
    pub(super) fn ready(&self) -> Instant {
        let Some(rate) = self.rate else { return self.filled };
        let missing = u128::from(chunk(rate)).saturating_mul(NANOS_PER_SECOND).saturating_sub(self.credit);
        let nanos = missing.div_ceil(u128::from(rate.max(1)));
        let wait = u64::try_from(nanos).map_or(Duration::from_secs(1), Duration::from_nanos);
        self.filled.checked_add(wait).unwrap_or(self.filled)
    }
}

/// Bytes that are worth a wake-up.
fn chunk(rate: u64) -> u64 {
    (rate / CHUNKS_PER_SECOND).max(CHUNK_BYTES_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_of_reading_takes_a_minute_at_any_rate_and_each_wake_up_is_worth_it() {
        for rate in [1_000, 64_000, 500_000, 12_500_000] {
            let start = Instant::now();
            let mut throttle = Throttle::new(start);
            let (mut now, mut read, mut reads) = (start, 0_u64, 0);
            while now.duration_since(start) < Duration::from_secs(60) {
                let allowed = throttle.allowance(now, Some(rate));
                if allowed > 0 {
                    throttle.spend(allowed);
                    read += u64::try_from(allowed).unwrap();
                    reads += 1;
                }
                now = throttle.ready().max(now + Duration::from_nanos(1));
            }
            let expected = rate * 60;
            assert!(read <= expected && read + chunk(rate) >= expected, "{read} of {expected}");
            assert!(reads <= 50 * 60 + 1, "{reads} reads at {rate}");
        }
    }

    #[test]
    fn a_pause_is_not_made_up_for_and_a_limit_is_lifted_at_once() {
        let start = Instant::now();
        let mut throttle = Throttle::new(start);
        let later = start + Duration::from_secs(3600);
        assert_eq!(throttle.allowance(later, Some(1_000_000)), 100_000);
        assert_eq!(throttle.allowance(later, None), usize::MAX);
        assert_eq!(throttle.ready(), later);
    }
}
