//! What a recorder lacks of a time in which a standby covered it: asked for the report of the failover.
//!
//! Counted in milliseconds of its own books: frames that never came are counted by nobody.

use keepwatch_model::{Backfill, CameraId, CoverageItem, GapReason, RoleId, State, TICKS_PER_SECOND};
use serde::{Deserialize, Serialize};

use super::{CAMERAS_MAX, bounds};

/// What a primary answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The role that it plays.
    pub role: RoleId,
    /// Every camera of its own.
    #[serde(deserialize_with = "bounds::list::<_, _, CAMERAS_MAX>")]
    pub cameras: Vec<CameraMissing>,
}

/// What it says of one camera, by its main stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CameraMissing {
    /// Which.
    pub camera: CameraId,
    /// Milliseconds that it had not recorded and holds by now: they were fetched.
    pub filled_ms: u64,
    /// Milliseconds that it still lacks. What was given up to make room is not among them.
    pub left_ms: u64,
}

impl CameraMissing {
    /// What `items` of the camera's books say.
    pub fn of(camera: CameraId, items: &[CoverageItem]) -> Self {
        let (mut filled, mut left) = (0_i64, 0_i64);
        for item in items {
            match item.state {
                State::Held { .. } if item.backfill == Some(Backfill::Done) => {
                    filled = filled.saturating_add(item.span.ticks());
                }
                State::Gap { reason: GapReason::Overwritten } => {}
                State::Gap { .. } => left = left.saturating_add(item.span.ticks()),
                // On its way, or on a disk that is away: nobody knows.
                State::Held { .. }
                | State::Expired
                | State::Unscheduled
                | State::NoAlarm
                | State::Unknown { .. } => {}
            }
        }
        let millis = |ticks: i64| u64::try_from(ticks.saturating_mul(1000) / TICKS_PER_SECOND).unwrap_or(0);
        Self { camera, filled_ms: millis(filled), left_ms: millis(left) }
    }

    /// Milliseconds that it had not recorded.
    pub fn missed_ms(&self) -> u64 {
        self.filled_ms.saturating_add(self.left_ms)
    }
}

#[cfg(test)]
mod tests {
    use keepwatch_model::{Origin, Span, WallTime};

    use super::*;

    #[test]
    fn what_was_missed_is_what_was_fetched_and_what_is_a_gap_still() {
        let second = |number: i64| WallTime::from_ticks(number * TICKS_PER_SECOND);
        let item = |from, to, state, backfill| CoverageItem {
            span: Span { from: second(from), to: second(to) },
            state,
            backfill,
        };
        let held = State::Held { origin: Origin::Standby, recorder: RoleId([1; 16]), replaces: None };
        let gap = |reason| State::Gap { reason };
        let items = [
            item(0, 10, held, None),
            item(10, 14, held, Some(Backfill::Done)),
            item(14, 15, gap(GapReason::RecorderDown), Some(Backfill::Pending)),
            item(15, 17, gap(GapReason::ConnectionLost), None),
            item(17, 90, gap(GapReason::Overwritten), None),
            item(90, 99, State::Unscheduled, None),
        ];
        let missing = CameraMissing::of("gate".parse().unwrap(), &items);
        assert_eq!((missing.filled_ms, missing.left_ms, missing.missed_ms()), (4_000, 3_000, 7_000));
    }
}
