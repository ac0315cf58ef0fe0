//! What this standby can record for others: as it is set, else as far as its cores, its line and its disks reach.
//!
//! The disks are measured by writing where no footage is ([`keepwatch_store::Store::measure_disks`]): before anything is covered, and again
//! every week while nothing is. A figure that goes down ends no cover; it decides about the next.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keepwatch_model::{WallTime, duration_from_ticks};
use keepwatch_recorder::Node;
use keepwatch_recording::failover::Capacity;
use keepwatch_store::{DiskState, DiskStatus};
use tokio::sync::{mpsc, watch};

use crate::config::Limits;
use crate::driver::Input;
use crate::lists::Lists;

/// Cameras for each core: with them, recording takes a tenth of it, and the rest is for those who watch.
const CAMERAS_PER_CORE: usize = 32;
/// What cameras may send, unless it is known how fast the line is that they come in by: one of 1 Gbit/s.
const LINE_DEFAULT: u64 = 1_000_000_000;
/// Of a line: bursts of key frames, and what it costs to send packets, take the rest.
const LINE_PERCENT: u64 = 60;
/// Of what disks reach: the rest is for those who watch, and for the disk on a bad day.
const DISKS_PERCENT: u64 = 50;
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

impl Allowance {
    /// What can be recorded with so much per second on each of the disks in use; with one that was not measured, the disks bound
    /// nothing.
    pub(crate) fn new(
        limits: Limits,
        disks_bytes_per_second: impl IntoIterator<Item = Option<u64>>,
        cores: usize,
    ) -> Self {
        let cameras = limits.cameras.unwrap_or(cores.max(1) * CAMERAS_PER_CORE);
        let line = limits.line_bits_per_second.unwrap_or(LINE_DEFAULT);
        let line = (percent(line, LINE_PERCENT), Bound::Line);
        let disks: Option<u64> = disks_bytes_per_second.into_iter().sum();
        // Without a disk in use nothing is recorded at all, and that is told elsewhere.
        let disks = disks
            .filter(|bytes| *bytes > 0)
            .map(|bytes| (percent(bytes.saturating_mul(8), DISKS_PERCENT), Bound::Disks));
        let (bits_per_second, bound) = match limits.bits_per_second {
            Some(set) => (set, Bound::Configuration),
            None => disks.filter(|(bits, _)| *bits < line.0).unwrap_or(line),
        };
        Self { capacity: Capacity { cameras, bits_per_second }, bound }
    }

    /// What can be recorded by a node with this store.
    pub(crate) fn of(limits: Limits, disks: &[DiskStatus]) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::new(limits, in_use(disks).map(|disk| disk.write_rate.map(|rate| rate.bytes_per_second)), cores)
    }
}

fn percent(of: u64, percent: u64) -> u64 {
    of / 100 * percent
}

/// Disks that take records; one that does not keep up takes no more than it has.
fn in_use(disks: &[DiskStatus]) -> impl Iterator<Item = &DiskStatus> {
    disks.iter().filter(|disk| disk.state == DiskState::Online && !disk.slow)
}

/// Looks at the disks of `node`, has them measured, and tells what can be recorded when that changes, until `stopped`.
pub(crate) async fn run(
    node: Node,
    mut limits: watch::Receiver<Limits>,
    inputs: mpsc::Sender<Input>,
    lists: watch::Receiver<Arc<Lists>>,
    mut stopped: watch::Receiver<bool>,
) {
    let clock = node.clock();
    let mut asked: Option<Instant> = None;
    loop {
        let store = node.store().clone();
        let Ok(disks) = tokio::task::spawn_blocking(move || store.disks()).await else { return };
        let covers = lists.borrow().primaries.iter().any(|primary| primary.covers());
        let rests = asked.is_none_or(|asked| asked.elapsed() >= RETRY);
        if rests && wants_measuring(&disks, covers, clock.wall()) {
            asked = Some(Instant::now());
            node.store().measure_disks(clock.wall());
        }
        let allowance = Allowance::of(*limits.borrow_and_update(), &disks);
        if lists.borrow().capacity != allowance && inputs.send(Input::Measured(allowance)).await.is_err() {
            return;
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
    in_use(disks).any(|disk| disk.write_rate.is_none_or(|rate| !covers && is_old(rate.measured_at)))
}

#[cfg(test)]
mod tests {
    use keepwatch_store::WriteRate;

    use super::*;

    const LIMITS: Limits = Limits { cameras: None, bits_per_second: None, line_bits_per_second: None };

    fn said(allowance: Allowance) -> (usize, u64, Bound) {
        (allowance.capacity.cameras, allowance.capacity.bits_per_second / 1_000_000, allowance.bound)
    }

    #[test]
    fn the_slower_of_line_and_disks_bounds_what_is_not_set() {
        let of = |limits, disks: &[Option<u64>]| said(Allowance::new(limits, disks.iter().copied(), 2));
        assert_eq!(of(LIMITS, &[]), (64, 600, Bound::Line));
        assert_eq!(of(LIMITS, &[Some(500_000_000)]), (64, 600, Bound::Line));
        assert_eq!(of(LIMITS, &[Some(40_000_000)]), (64, 160, Bound::Disks));
        assert_eq!(of(LIMITS, &[Some(40_000_000), Some(20_000_000)]), (64, 240, Bound::Disks));
        let wide = Limits { line_bits_per_second: Some(10_000_000_000), ..LIMITS };
        assert_eq!(of(wide, &[Some(500_000_000)]), (64, 2_000, Bound::Disks));
        assert_eq!(of(wide, &[None]), (64, 6_000, Bound::Line));
    }

    #[test]
    fn a_disk_that_was_not_measured_bounds_nothing() {
        let disks = [Some(1_000_000), None];
        assert_eq!(said(Allowance::new(LIMITS, disks, 2)), (64, 600, Bound::Line));
    }

    #[test]
    fn what_is_set_is_so() {
        let set = Limits { cameras: Some(7), bits_per_second: Some(40_000_000), ..LIMITS };
        assert_eq!(said(Allowance::new(set, [Some(1_000_000)], 2)), (7, 40, Bound::Configuration));
    }

    #[test]
    fn disks_are_measured_first_and_again_when_nothing_is_covered() {
        let now = WallTime::from_ticks(900_000_000_000);
        let week = i64::try_from(GOOD_FOR.as_secs()).unwrap_or(0) * 90_000;
        let disk = |measured_at: Option<WallTime>| DiskStatus {
            path: "disk".into(),
            id: None,
            state: DiskState::Online,
            slow: false,
            size_bytes: 0,
            used_bytes: 0,
            protected_bytes: 0,
            queued_bytes: 0,
            write_rate: measured_at.map(|measured_at| WriteRate { bytes_per_second: 1, measured_at }),
        };
        assert!(wants_measuring(&[disk(Some(now)), disk(None)], true, now), "unknown");
        assert!(!wants_measuring(&[disk(Some(now.plus(1 - week)))], false, now), "good for a week");
        assert!(wants_measuring(&[disk(Some(now.plus(-week)))], false, now), "old");
        assert!(!wants_measuring(&[disk(Some(now.plus(-week)))], true, now), "old, and it records");
        assert!(wants_measuring(&[disk(Some(now.plus(1)))], false, now), "of a clock that was wrong");
        let gone = DiskStatus { state: DiskState::ReadOnly, ..disk(None) };
        assert!(!wants_measuring(&[gone], false, now), "not in use");
    }
}
