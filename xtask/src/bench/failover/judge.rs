//! What is missing and what is there twice, by the numbers of the frames on the disks of all recorders.

use anyhow::{Context, Result};
use serde_json::Value;

use super::{RATE, items};
use crate::bench::site::Held;

/// Frames of a primary's last second: more than that is never on its way to its disk.
const LAST_SECOND: u64 = RATE;

/// What came of one failure; of several, the worst of each.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// From the last frame that the primary was sent to the first that the standby recorded, in seconds.
    pub(super) recorded_again_s: f64,
    /// Frames that nobody has.
    pub(super) missing: u64,
    /// The same of the camera that lacks most.
    pub(super) missing_of_one_camera: u64,
    /// The same when the last second of the primary before it failed is lost too.
    pub(super) missing_without_last_second: u64,
    /// Frames that the recorder which has the role in the end does not have, after replenishment.
    pub(super) missing_in_the_end: u64,
    /// Frames that it has twice, or that are of another camera.
    pub(super) wrong: u64,
    /// How long the replenishment took, in seconds.
    pub(super) replenished_s: f64,
}

impl Outcome {
    /// The larger figure of each.
    pub(super) fn worse(self, other: &Self) -> Self {
        Self {
            recorded_again_s: self.recorded_again_s.max(other.recorded_again_s),
            missing: self.missing.max(other.missing),
            missing_of_one_camera: self.missing_of_one_camera.max(other.missing_of_one_camera),
            missing_without_last_second: self
                .missing_without_last_second
                .max(other.missing_without_last_second),
            missing_in_the_end: self.missing_in_the_end.max(other.missing_in_the_end),
            wrong: self.wrong.max(other.wrong),
            replenished_s: self.replenished_s.max(other.replenished_s),
        }
    }
}

/// A range of numbers, both ends of it.
type Range = (u64, u64);

/// The ranges of one camera.
fn of(all: &[Held], camera: &str) -> Vec<Range> {
    let mut ranges: Vec<Range> = all
        .iter()
        .filter(|held| held.camera == camera)
        .flat_map(|held| held.ranges.iter().copied())
        .collect();
    ranges.sort_unstable();
    ranges
}

/// How many numbers from the first to the last of `ranges`, which are sorted, and up to `last` are in none.
fn holes(ranges: &[Range], last: u64) -> u64 {
    let Some((mut next, _)) = ranges.first().copied() else { return 0 };
    let mut missing = 0;
    for (from, to) in ranges {
        missing += from.saturating_sub(next);
        next = next.max(to + 1);
    }
    missing + (last + 1).saturating_sub(next)
}

/// The ranges of both.
fn union(one: &[Range], other: &[Range]) -> Vec<Range> {
    let mut both: Vec<Range> = one.iter().chain(other).copied().collect();
    both.sort_unstable();
    both
}

/// `ranges` without the numbers from `from` to `to`.
fn without(ranges: &[Range], from: u64, to: u64) -> Vec<Range> {
    let around = |(first, last): &Range| {
        let before = (*first, (*last).min(from.saturating_sub(1)));
        let after = ((*first).max(to + 1), *last);
        [before, after].into_iter().filter(|(first, last)| first <= last)
    };
    ranges.iter().flat_map(around).collect()
}

/// Counts what primary and standby hold together. `account` is what the cameras sent to whom; of a primary that was killed
/// its first connection says which frame was the last that it can have had.
pub(super) fn both(account: &Value, primary: &[Held], standby: &[Held], killed: bool) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for camera in items(&account["cameras"]) {
        let id = camera["id"].as_str().context("a camera")?;
        let (ours, theirs) = (of(primary, id), of(standby, id));
        let all = union(&ours, &theirs);
        let last = all.iter().map(|range| range.1).max().with_context(|| format!("nobody has {id}"))?;
        let missing = holes(&all, last);
        outcome.missing += missing;
        outcome.missing_of_one_camera = outcome.missing_of_one_camera.max(missing);
        if killed {
            let sent = items(&camera["connections"]).next().and_then(|line| line["last_frame"].as_u64());
            let sent = sent.context("the primary's connection")?;
            let begins = theirs.iter().find(|range| range.1 > sent).map_or(last, |range| range.0);
            let again = begins.saturating_sub(sent) as f64 / RATE as f64;
            outcome.recorded_again_s = outcome.recorded_again_s.max(again);
            let had = ours.iter().map(|range| range.1).filter(|last| *last <= sent).max().unwrap_or(sent);
            let shorter = without(&ours, had.saturating_sub(LAST_SECOND), sent);
            outcome.missing_without_last_second += holes(&union(&shorter, &theirs), last);
        }
    }
    Ok(outcome)
}

/// Frames that a recorder misses between its first and its last of each camera, and those that it has twice.
pub(super) fn alone(held: &[Held]) -> (u64, u64) {
    let missing = |camera: &Held| {
        let ranges = of(held, &camera.camera);
        holes(&ranges, ranges.iter().map(|range| range.1).max().unwrap_or(0))
    };
    (held.iter().map(missing).sum(), held.iter().map(|camera| camera.wrong).sum())
}

/// Adds what the recorder that has the role in the end holds: of all cameras, from the first frame that `from` has on.
pub(super) fn in_the_end(outcome: &mut Outcome, account: &Value, last: &[Held], from: &[Held]) -> Result<()> {
    for camera in items(&account["cameras"]) {
        let id = camera["id"].as_str().context("a camera")?;
        let ranges = of(last, id);
        let begins = of(from, id).first().map(|range| range.0).with_context(|| format!("nobody had {id}"))?;
        let first = ranges.first().map(|range| range.0).with_context(|| format!("it has nothing of {id}"))?;
        let ends = ranges.iter().map(|range| range.1).max().unwrap_or(first);
        outcome.missing_in_the_end += first.saturating_sub(begins) + holes(&ranges, ends);
    }
    outcome.wrong += last.iter().map(|held| held.wrong).sum::<u64>();
    Ok(())
}
