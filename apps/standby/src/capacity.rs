//! What this standby can record for others: as it is set, else as far as its cores, its line and its disks reach.
//!
//! The disks are measured by writing where no footage is ([`keepwatch_store::Store::measure_disks`]): at once when nothing is known of
//! one, and again every week while nothing is covered. A figure that goes down ends no cover; it decides about the next.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keepwatch_model::{WallTime, duration_from_ticks};
use keepwatch_recorder::Node;
use keepwatch_recording::failover::Capacity;
use keepwatch_store::{DiskState, DiskStatus};
use tokio::sync::{mpsc, watch};

use crate::config::Limits;
use crate::driver::Input;
use crate::lists::{Lists, Monitored};

/// Cameras for each core: with them, recording takes a tenth of it, and the rest is for those who watch.
const CAMERAS_PER_CORE: usize = 32;
/// What cameras may send, unless it is known how fast the line is that they come in by: one of 1 Gbit/s.
const LINE_DEFAULT: u64 = 1_000_000_000;
/// Of a line: bursts of key frames, and what it costs to send packets, take the rest.
const LINE_PERCENT: u64 = 60;
/// Of what disks reach: the rest is for those who watch, and for the disk on a bad day.
const DISKS_PERCENT: u64 = 50;
/// What a node records for itself counts in such steps, in bits per second.
const OWN_STEP: u64 = 10_000_000;
/// Between two looks at the disks.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// A disk that could not be measured is asked again after so long.
const RETRY: Duration = Duration::from_secs(3_600);
/// A figure is good for so long.
const GOOD_FOR: Duration = Duration::from_secs(7 * 86_400);

/// What is recorded for others at most, and why not more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// What can be recorded.
    pub capacity: Capacity,
    /// What bounds its bits per second.
    pub bound: Bound,
}

/// What bounds how much can be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The configuration file.
    Configuration,
    /// The line that cameras come in by.
    Line,
    /// The disks, as they were measured.
    Disks,
}

/// What a node has to record with.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Means {
    pub(crate) cores: usize,
    /// What the lines carry that cameras come in by, in bits per second; `None` while that is not known.
    pub(crate) line: Option<u64>,
    /// Of all disks in use together, in bytes per second; `None` while one was not measured, or there is none.
    pub(crate) disks: Option<u64>,
    /// Cameras that it records for itself, and what they take, in bits per second.
    pub(crate) own: (usize, u64),
}

impl Means {
    /// Those of `node`.
    pub(crate) fn of(node: &Node, line: Option<u64>, disks: &[DiskStatus]) -> Self {
        let rates = in_use(disks).map(|disk| disk.write_rate.map(|rate| rate.bytes_per_second));
        let disks: Option<u64> = rates.sum();
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            line,
            // Without a disk in use nothing is recorded at all, which is told elsewhere.
            disks: disks.filter(|bytes| *bytes > 0),
            own: node.own_load(),
        }
    }
}

impl Allowance {
    /// What is recorded for others with such means, beside what the node records itself.
    pub(crate) fn new(limits: Limits, means: Means) -> Self {
        let (own_cameras, own_bits) = means.own;
        // What cameras send is another at each look; that is no news.
        let own_bits = own_bits.div_ceil(OWN_STEP).saturating_mul(OWN_STEP);
        let cameras = (means.cores.max(1) * CAMERAS_PER_CORE).saturating_sub(own_cameras);
        let left = |of: u64, part: u64| percent(of, part).saturating_sub(own_bits);
        let line = (left(means.line.unwrap_or(LINE_DEFAULT), LINE_PERCENT), Bound::Line);
        let disks = means.disks.map(|bytes| (left(bytes.saturating_mul(8), DISKS_PERCENT), Bound::Disks));
        let (bits_per_second, bound) = match limits.bits_per_second {
            Some(set) => (set, Bound::Configuration),
            None => disks.filter(|(bits, _)| *bits < line.0).unwrap_or(line),
        };
        Self { capacity: Capacity { cameras: limits.cameras.unwrap_or(cameras), bits_per_second }, bound }
    }
}

fn percent(of: u64, percent: u64) -> u64 {
    of / 100 * percent
}

/// Disks that take records. One that does not keep up counts as what it was measured to do: that it has too much already must not
/// make room for more.
fn in_use(disks: &[DiskStatus]) -> impl Iterator<Item = &DiskStatus> {
    disks.iter().filter(|disk| disk.state == DiskState::Online)
}

/// Looks at the disks of `node`, has them measured, and tells what can be recorded when that changes, until `stopped`.
pub(crate) async fn run(
    node: Node,
    mut limits: watch::Receiver<Limits>,
    line: watch::Receiver<Option<u64>>,
    inputs: mpsc::Sender<Input>,
    lists: watch::Receiver<Arc<Lists>>,
    mut stopped: watch::Receiver<bool>,
) {
    let clock = node.clock();
    let mut asked: Option<Instant> = None;
    loop {
        let store = node.store().clone();
        let looked = tokio::task::spawn_blocking(move || {
            // What is not kept is measured again after the next start.
            let kept = store.keep_measures();
            (store.disks(), kept)
        });
        match looked.await {
            Ok((disks, kept)) => {
                if let Err(error) = kept {
                    tracing::warn!(%error, "how fast the disks are cannot be kept");
                }
                let covers = lists.borrow().primaries.iter().any(Monitored::covers);
                let rests = asked.is_none_or(|asked| asked.elapsed() >= RETRY);
                if rests && wants_measuring(&disks, covers, clock.wall()) {
                    asked = Some(Instant::now());
                    node.store().measure_disks(clock.wall());
                }
                let means = Means::of(&node, *line.borrow(), &disks);
                let allowance = Allowance::new(*limits.borrow_and_update(), means);
                let news = lists.borrow().capacity != allowance;
                if news && inputs.send(Input::Measured(allowance)).await.is_err() {
                    return;
                }
            }
            Err(error) => tracing::error!(%error, "the disks could not be looked at"),
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
            changed = limits.changed() => if changed.is_err() { return },
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
    }
}

/// Whether a disk in use has no figure, or an old one and nothing else to do.
fn wants_measuring(disks: &[DiskStatus], covers: bool, now: WallTime) -> bool {
    let is_old = |measured_at: WallTime| {
        let age = now.ticks_since(measured_at);
        // A clock that was set back makes a figure old, too.
        age < 0 || duration_from_ticks(age) >= GOOD_FOR
    };
    let mut measurable = in_use(disks).filter(|disk| !disk.slow);
    measurable.any(|disk| disk.write_rate.is_none_or(|rate| !covers && is_old(rate.measured_at)))
}

#[cfg(test)]
mod tests {
    use keepwatch_store::{DiskRole, WriteRate};

    use super::*;

    const MBIT: u64 = 1_000_000;
    const FREE: Limits = Limits { cameras: None, bits_per_second: None };
    const MEANS: Means = Means { cores: 2, line: None, disks: None, own: (0, 0) };

    fn said(limits: Limits, means: Means) -> (usize, u64, Bound) {
        let Allowance { capacity, bound } = Allowance::new(limits, means);
        (capacity.cameras, capacity.bits_per_second / MBIT, bound)
    }

    #[test]
    fn the_slower_of_line_and_disks_bounds_what_is_not_set() {
        let of = |line, disks| said(FREE, Means { line, disks, ..MEANS });
        assert_eq!(of(None, None), (64, 600, Bound::Line));
        assert_eq!(of(None, Some(500 * MBIT)), (64, 600, Bound::Line));
        assert_eq!(of(None, Some(40 * MBIT)), (64, 160, Bound::Disks));
        assert_eq!(of(Some(10_000 * MBIT), Some(500 * MBIT)), (64, 2_000, Bound::Disks));
        assert_eq!(of(Some(10_000 * MBIT), None), (64, 6_000, Bound::Line));
        assert_eq!(of(Some(100 * MBIT), Some(40 * MBIT)), (64, 60, Bound::Line));
    }

    #[test]
    fn what_the_node_records_for_itself_is_taken_off() {
        let own = (10, 41 * MBIT);
        let of = |disks| said(FREE, Means { own, disks, ..MEANS });
        assert_eq!(of(None), (54, 550, Bound::Line));
        assert_eq!(of(Some(40 * MBIT)), (54, 110, Bound::Disks));
        assert_eq!(said(FREE, Means { own: (100, 1_000 * MBIT), ..MEANS }), (0, 0, Bound::Line));
    }

    #[test]
    fn what_is_set_is_so() {
        let set = Limits { cameras: Some(7), bits_per_second: Some(40 * MBIT) };
        let means = Means { disks: Some(1), own: (100, 1_000 * MBIT), ..MEANS };
        assert_eq!(said(set, means), (7, 40, Bound::Configuration));
    }

    #[test]
    fn disks_are_measured_first_and_again_when_nothing_is_covered() {
        let now = WallTime::from_ticks(900_000_000_000);
        let week = i64::try_from(GOOD_FOR.as_secs()).unwrap_or(0) * 90_000;
        let disk = |measured_at: Option<WallTime>| DiskStatus {
            path: "disk".into(),
            id: None,
            role: DiskRole::Recordings,
            state: DiskState::Online,
            slow: false,
            size_bytes: 0,
            used_bytes: 0,
            protected_bytes: 0,
            queued_bytes: 0,
            read_only: false,
            write_rate: measured_at.map(|measured_at| WriteRate { bytes_per_second: 1, measured_at }),
            written_bytes: 0,
            media_bytes: 0,
        };
        assert!(wants_measuring(&[disk(Some(now)), disk(None)], true, now), "unknown");
        assert!(!wants_measuring(&[disk(Some(now.plus(1 - week)))], false, now), "good for a week");
        assert!(wants_measuring(&[disk(Some(now.plus(-week)))], false, now), "old");
        assert!(!wants_measuring(&[disk(Some(now.plus(-week)))], true, now), "old, and it records");
        assert!(wants_measuring(&[disk(Some(now.plus(1)))], false, now), "of a clock that was wrong");
        let since = Instant::now();
        let gone = DiskStatus { state: DiskState::Gone { why: String::new(), since }, ..disk(None) };
        assert!(!wants_measuring(&[gone], false, now), "not in use");
    }
}
