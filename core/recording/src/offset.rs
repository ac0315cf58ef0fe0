//! When a camera's clock is so far from the recorder's that an operator must hear of it: once for each change.
//!
//! Footage does not depend on it, since labels follow the recorder's clock. Whoever compares a picture's burnt-in time
//! with its label, or asks the camera's own card for footage, does.

use keepwatch_model::TICKS_PER_SECOND;

/// A camera whose clock is further off is told of, and again when it moves as far again.
pub const OFFSET_TICKS_MAX: i64 = 5 * TICKS_PER_SECOND;
/// It counts as right again below this, so that one at the limit is not told of for ever.
const RIGHT_TICKS_MAX: i64 = 4 * TICKS_PER_SECOND;

/// What is worth telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetChange {
    /// The camera's clock is ahead by so many ticks; behind when negative.
    Off(i64),
    /// It is right again.
    Right,
}

/// Follows the offset of one camera's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OffsetWatch {
    /// What was last told; `None` while the clock counts as right.
    told: Option<i64>,
}

impl OffsetWatch {
    /// Takes the offset as it is; returns what is worth telling.
    pub fn look(&mut self, offset_ticks: i64) -> Option<OffsetChange> {
        let far = offset_ticks.saturating_abs();
        match self.told {
            Some(_) if far < RIGHT_TICKS_MAX => {
                self.told = None;
                Some(OffsetChange::Right)
            }
            told if far > OFFSET_TICKS_MAX
                && told.is_none_or(|told| {
                    offset_ticks.saturating_sub(told).saturating_abs() > OFFSET_TICKS_MAX
                }) =>
            {
                self.told = Some(offset_ticks);
                Some(OffsetChange::Off(offset_ticks))
            }
            Some(_) | None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = TICKS_PER_SECOND;

    #[test]
    fn an_offset_is_told_once_for_each_change() {
        let mut watch = OffsetWatch::default();
        for (seconds, told) in [
            (1, None),
            (5, None),
            (3_600, Some(OffsetChange::Off(3_600 * SECOND))),
            (3_601, None),
            (3_604, None),
            (3_606, Some(OffsetChange::Off(3_606 * SECOND))),
            (-20, Some(OffsetChange::Off(-20 * SECOND))),
            (-4, None),
            (-3, Some(OffsetChange::Right)),
            (0, None),
            (4, None),
            (6, Some(OffsetChange::Off(6 * SECOND))),
        ] {
            assert_eq!(watch.look(seconds * SECOND), told, "{seconds} s");
        }
        watch.look(i64::MIN);
        watch.look(i64::MAX);
    }
}
