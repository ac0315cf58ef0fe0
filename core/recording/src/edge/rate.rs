//! How fast something goes: over the last half minute, and on average of an hour.

use std::collections::VecDeque;
use std::time::Duration;

use keepwatch_model::MonoTime;

/// A rate is measured over so long.
const WINDOW: Duration = Duration::from_secs(30);
/// Samples that are nearer to each other are one.
const APART: Duration = Duration::from_secs(1);
/// A mean forgets so slowly.
const MEAN: Duration = Duration::from_secs(3_600);

/// A counter of bytes that is looked at again and again.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    samples: VecDeque<(MonoTime, u64)>,
}

impl Rate {
    /// The counter stands at `bytes`.
    pub fn look(&mut self, now: MonoTime, bytes: u64) {
        if self.samples.back().is_some_and(|(last, _)| now.since(*last) < APART) {
            return;
        }
        self.samples.push_back((now, bytes));
        // One that is older is kept, so that there is always a whole window.
        while self.samples.get(1).is_some_and(|(at, _)| now.since(*at) >= WINDOW) {
            self.samples.pop_front();
        }
    }

    /// Bits per second over the last half minute; 0 before two samples.
    pub fn bits_per_second(&self) -> u64 {
        let (Some((first, from)), Some((last, to))) = (self.samples.front(), self.samples.back()) else {
            return 0;
        };
        let nanos = last.since(*first).as_nanos();
        let bits = u128::from(to.saturating_sub(*from)) * 8 * 1_000_000_000;
        bits.checked_div(nanos).and_then(|rate| u64::try_from(rate).ok()).unwrap_or(0)
    }
}

/// The mean of a rate over about an hour.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mean {
    known: Option<(MonoTime, f64)>,
    age: Duration,
}

impl Mean {
    /// The rate is so high at the moment.
    pub fn look(&mut self, now: MonoTime, bits_per_second: u64) {
        let rate = bits_per_second as f64;
        let Some((last, mean)) = self.known else {
            self.known = Some((now, rate));
            return;
        };
        let passed = now.since(last);
        self.age += passed;
        // At first the mean of all that was seen, later that of the last hour.
        let weight =
            passed.as_secs_f64() / self.age.min(MEAN).max(passed).as_secs_f64().max(f64::MIN_POSITIVE);
        self.known = Some((now, mean + (rate - mean) * weight.min(1.0)));
    }

    /// Whether a rate is more than a quarter above the mean of at least ten minutes.
    pub fn is_exceeded_by(&self, bits_per_second: u64) -> bool {
        let enough = self.age >= MEAN / 6;
        enough && self.known.is_some_and(|(_, mean)| bits_per_second as f64 > mean * 1.25)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> MonoTime {
        MonoTime::ZERO + Duration::from_secs(second)
    }

    #[test]
    fn a_rate_is_that_of_the_last_half_minute() {
        let mut rate = Rate::default();
        assert_eq!(rate.bits_per_second(), 0);
        for second in 0..100 {
            rate.look(at(second), second * 500_000);
            rate.look(at(second), u64::MAX);
        }
        assert_eq!(rate.bits_per_second(), 4_000_000);
        for second in 100..131 {
            rate.look(at(second), 99 * 500_000);
        }
        assert_eq!(rate.bits_per_second(), 0, "nothing since");
        assert!(rate.samples.len() <= 32);
    }

    #[test]
    fn a_mean_knows_what_is_usual_and_follows_slowly() {
        let mut mean = Mean::default();
        for second in 0..599 {
            mean.look(at(second), 4_000_000);
        }
        assert!(!mean.is_exceeded_by(9_000_000), "ten minutes at least");
        for second in 599..3_600 {
            mean.look(at(second), if second % 2 == 0 { 3_000_000 } else { 5_000_000 });
        }
        assert!(mean.is_exceeded_by(5_200_000) && !mean.is_exceeded_by(4_800_000));
        for second in 3_600..18_000 {
            mean.look(at(second), 8_000_000);
        }
        assert!(!mean.is_exceeded_by(8_500_000), "it is usual now");
    }
}
