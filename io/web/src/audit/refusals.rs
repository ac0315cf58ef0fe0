//! How many refused logins are entered: many machines that guess at once must not fill the disk. Pure.

use keepwatch_model::{TICKS_PER_SECOND, WallTime};

/// Entries in an hour: some hundred KiB. People who mistype make a few in a day.
const HOUR_MAX: u32 = 500;

/// What was entered in the present hour.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    hour: i64,
    entered: u32,
    left_out: u64,
}

impl Refusals {
    /// Whether a refusal at `at` is entered, and what is to be said with it of those that were not; `None` when it is left
    /// out.
    pub(super) fn note(&mut self, at: WallTime) -> Option<String> {
        let hour = at.ticks().div_euclid(3600 * TICKS_PER_SECOND);
        if hour != self.hour {
            self.hour = hour;
            self.entered = 0;
        }
        if self.entered >= HOUR_MAX {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.entered = self.entered.saturating_add(1);
        Some(match std::mem::take(&mut self.left_out) {
            0 => String::new(),
            more => {
                format!("{more} more before it were left out, as there were more than {HOUR_MAX} in an hour")
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_told_with_the_next_entry() {
        let mut refusals = Refusals::default();
        let hour = |number: i64| WallTime::from_ticks(number * 3600 * TICKS_PER_SECOND);
        for _ in 0..HOUR_MAX {
            assert_eq!(refusals.note(hour(1)).as_deref(), Some(""));
        }
        for _ in 0..7 {
            assert_eq!(refusals.note(hour(1)), None);
        }
        assert!(refusals.note(hour(2)).unwrap().starts_with("7 more"));
        assert_eq!(refusals.note(hour(2)).as_deref(), Some(""));
    }
}
