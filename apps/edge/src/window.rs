//! How much is on its way at a time: as much as the line carries in about two seconds, so that what the relay sends next does not wait
//! behind minutes of what is replenished.

use std::time::Duration;

/// At first, at least - one record is always let through - and at most.
const BYTES_FIRST: usize = 4 << 20;
const BYTES_MIN: usize = 1 << 20;
const BYTES_MAX: usize = 48 << 20;
/// A transfer that is there sooner leaves room for more; one that takes longer, too long.
const SOON: Duration = Duration::from_secs(1);
const LATE: Duration = Duration::from_secs(3);

/// Bytes that may be on their way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window(usize);

impl Default for Window {
    fn default() -> Self {
        Self(BYTES_FIRST)
    }
}

impl Window {
    pub(crate) const fn bytes(self) -> usize {
        self.0
    }

    /// A transfer was there after this time.
    pub(crate) fn landed(&mut self, took: Duration) {
        if took < SOON {
            self.0 = self.0.saturating_mul(2).min(BYTES_MAX);
        } else if took > LATE {
            self.0 = (self.0 / 2).max(BYTES_MIN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long the last of what is on its way takes, once a line of so many bytes a second has carried many transfers.
    fn settles_at(bytes_per_second: f64) -> f64 {
        let mut window = Window::default();
        for _ in 0..50 {
            window.landed(Duration::from_secs_f64(window.bytes() as f64 / bytes_per_second));
        }
        window.bytes() as f64 / bytes_per_second
    }

    #[test]
    fn a_slow_line_is_not_filled_for_longer_than_a_few_seconds_and_a_fast_one_is_filled() {
        for megabits in [4.0, 10.0, 100.0] {
            let seconds = settles_at(megabits * 125_000.0);
            assert!(seconds <= 3.0, "{seconds} s at {megabits} Mbit/s");
        }
        assert!(settles_at(0.5 * 125_000.0) < 20.0, "one record of a large picture is always let through");
        let mut window = Window::default();
        (0..10).for_each(|_| window.landed(Duration::from_millis(100)));
        assert_eq!(window.bytes(), BYTES_MAX);
    }
}
