//! The report of a failover: when it was noticed and decided, and of each camera what the recorder held and what this one does.

use std::collections::BTreeMap;

use keepwatch_model::{CameraId, RoleId, TICKS_PER_SECOND, WallTime};
use keepwatch_recording::failover::{Cause, Ended};
use keepwatch_recording::peer::Missing;
use keepwatch_settings::standby::PrimaryRow;
use serde::{Deserialize, Serialize};

/// For so long after the end of a failover its account stays open.
const OPEN_TICKS: i64 = 86_400 * TICKS_PER_SECOND;
/// Why a failover ended that another standby goes on with.
const LEFT_TO_OTHER: &str = "left_to_other";

/// What happened in one failover.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Its number, from 1.
    pub(crate) number: u64,
    /// Whose.
    pub(crate) role: RoleId,
    /// Its name at that time.
    pub(crate) name: String,
    /// When the threshold was reached; `None` when an operator came first.
    pub(crate) detected: Option<WallTime>,
    /// When recording was decided.
    pub(crate) decided: WallTime,
    /// Who decided: `threshold`, `operator` or `restart`.
    pub(crate) cause: String,
    /// When it ended; `None` while it runs.
    pub(crate) ended: Option<WallTime>,
    /// Why: `stopped`, `failed_back`, `replaced`, `never_failed` or `left_to_other`.
    pub(crate) why: Option<String>,
    /// When the primary's books were last asked what it lacks; `None` before the failover ended and it answered.
    #[serde(default)]
    pub(crate) accounted: Option<WallTime>,
    /// The cameras, by their ids at the primary.
    pub(crate) cameras: BTreeMap<CameraId, CameraReport>,
}

/// What happened to a camera.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct CameraReport {
    /// Where the primary's footage on disk ended by its last answer before, in camera time.
    pub(crate) held_until: Option<WallTime>,
    /// Where the standby's begins, in camera time.
    pub(crate) recorded_from: Option<WallTime>,
    /// Where it ends by now.
    pub(crate) recorded_until: Option<WallTime>,
    /// Milliseconds of the time of the failover that the primary had not recorded, by its own books.
    #[serde(default)]
    pub(crate) missed_ms: Option<u64>,
    /// Those that it still lacks.
    #[serde(default)]
    pub(crate) left_ms: Option<u64>,
}

impl CameraReport {
    /// What neither is known to hold between the two, in milliseconds; 0 when they overlap.
    pub(crate) fn gap_ms(&self) -> Option<u64> {
        let ticks = self.recorded_from?.ticks_since(self.held_until?).max(0);
        u64::try_from(ticks.saturating_mul(1000) / TICKS_PER_SECOND).ok()
    }
}

impl Report {
    /// The report of a failover that began.
    pub(crate) fn begun(
        number: u64,
        primary: &PrimaryRow,
        detected: Option<WallTime>,
        decided: WallTime,
        cause: Cause,
    ) -> Self {
        let cause = match cause {
            Cause::Threshold => "threshold",
            Cause::Operator => "operator",
            Cause::Restart => "restart",
        };
        let (role, name) = (primary.role, primary.name.clone());
        let (ended, why, accounted, cameras) = (None, None, None, BTreeMap::new());
        let cause = cause.to_owned();
        Self { number, role, name, detected, decided, cause, ended, why, accounted, cameras }
    }

    /// A camera is covered, of which the primary held footage until `held`. What is known of it already stays.
    pub(crate) fn covered(&mut self, camera: CameraId, held: Option<WallTime>) {
        let known = self.cameras.entry(camera).or_default();
        known.held_until = known.held_until.or(held);
    }

    /// As it was kept; `None` when that cannot be read.
    pub(crate) fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Footage of a camera is on disk here until `until`; whether this is worth writing down.
    pub(crate) fn recorded(
        &mut self,
        camera: CameraId,
        from: impl FnOnce() -> Option<WallTime>,
        until: WallTime,
    ) -> bool {
        let Some(known) = self.cameras.get_mut(&camera) else { return false };
        known.recorded_until = Some(until);
        let first = known.recorded_from.is_none();
        if first {
            known.recorded_from = from();
        }
        first && known.recorded_from.is_some()
    }

    /// The books of the primary say what it lacks, at `at`. Whether nothing is missing any more.
    pub(crate) fn account(&mut self, at: WallTime, missing: &Missing) -> bool {
        self.accounted = Some(at);
        for told in &missing.cameras {
            if let Some(known) = self.cameras.get_mut(&told.camera) {
                (known.missed_ms, known.left_ms) = (Some(told.missed_ms()), Some(told.left_ms));
            }
        }
        self.cameras.values().all(|camera| camera.left_ms == Some(0))
    }

    /// It ended so lately that the primary may still fetch what it lacks.
    pub(crate) fn is_open(&self, now: WallTime) -> bool {
        let left = self.why.as_deref() == Some("left_to_other");
        let lately = self.ended.is_some_and(|ended| now.ticks_since(ended) < OPEN_TICKS);
        lately && !left && self.cameras.values().any(|camera| camera.left_ms != Some(0))
    }

    /// The failover ended.
    pub(crate) fn end(&mut self, at: WallTime, why: Ended) {
        let why = match why {
            Ended::Stopped => "stopped",
            Ended::FailedBack => "failed_back",
            Ended::Replaced => "replaced",
            Ended::NeverFailed => "never_failed",
        };
        (self.ended, self.why) = (Some(at), Some(why.to_owned()));
    }

    /// Another standby covers.
    pub(crate) fn leave(&mut self, at: WallTime) {
        (self.ended, self.why) = (Some(at), Some(LEFT_TO_OTHER.to_owned()));
    }

    /// Goes on with a failover that was left to another standby, if it is of the same failure; two that take turns with one must not
    /// fill the history with it.
    pub(crate) fn taken_up_again(&mut self, failed: Option<WallTime>) -> bool {
        // The time of a failure is reckoned anew each time it is told.
        let same = |(then, now): (WallTime, WallTime)| now.ticks_since(then).abs() < 2 * TICKS_PER_SECOND;
        let goes_on =
            self.why.as_deref() == Some(LEFT_TO_OTHER) && self.detected.zip(failed).is_some_and(same);
        if goes_on {
            (self.ended, self.why) = (None, None);
        }
        goes_on
    }

    /// As it is kept.
    pub(crate) fn text(&self) -> String {
        serde_json::to_string(self).expect("texts and times have a JSON form")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failover_that_was_left_goes_on_in_its_report_while_it_is_the_same_failure() {
        let at = |second: i64| WallTime::from_ticks(second * TICKS_PER_SECOND);
        let left = || {
            let text = format!(
                r#"{{"number": 7, "role": "{}", "name": "north", "detected": "{}", "decided": "{}", "cause": "threshold",
                    "ended": null, "why": null, "cameras": {{}}}}"#,
                RoleId([1; 16]),
                at(100),
                at(101),
            );
            let mut report: Report = serde_json::from_str(&text).unwrap();
            report.leave(at(200));
            report
        };
        let mut same = left();
        assert!(same.taken_up_again(Some(at(101))));
        assert_eq!((same.number, same.ended, same.why.clone()), (7, None, None));
        assert!(!same.taken_up_again(Some(at(100))), "it runs");
        assert!(!left().taken_up_again(Some(at(300))), "another failure");
        assert!(!left().taken_up_again(None), "an operator asked for it");
        let mut stopped = left();
        stopped.end(at(250), Ended::Stopped);
        assert!(!stopped.taken_up_again(Some(at(100))), "it was ended for good");
    }
}
