//! Hears what the disks did and enters it: into the cameras' ledgers and the event log.
//!
//! Called from the store's writer threads, so it only takes short locks.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use keepwatch_model::{
    CameraId, EventCode, GapReason, MonoTime, Span, State, StreamId, Subject, TICKS_PER_SECOND, WallTime,
};
use keepwatch_store::{Commit, DiskChange, DiskEvent, GaveUp, Lane, Loss, Reclaim, StoreEvents};

use crate::camera::Registry;
use crate::clock::Clock;
use crate::events::Events;
use crate::given_up::GivenUp;

/// Footage overwritten early is told once in so many seconds per camera, not for every extent.
const OVERWRITTEN_EVENT_SECONDS: u64 = 600;

/// Width of a step in which delays of frames are counted, and how many steps there are: 10 s in all.
const DELAY_STEP_MS: u64 = 25;
const DELAY_STEP_TICKS: i64 = 25 * TICKS_PER_SECOND / 1_000;
const DELAY_STEPS: usize = 400;

/// The recorder's ear at the store.
pub(crate) struct Bookkeeper {
    clock: Clock,
    cameras: Arc<Registry>,
    events: Arc<Events>,
    delays: Mutex<Delays>,
    /// When early overwriting was last told.
    overwritten_told: Mutex<Option<MonoTime>>,
    given_up: GivenUp,
}

/// How long frames took from their label to the disk, since the start.
#[derive(Debug)]
struct Delays {
    /// `counts[n]` are delays from n times [`DELAY_STEP_TICKS`] on; the last takes all that are longer.
    counts: [u64; DELAY_STEPS],
}

impl Delays {
    /// Adds the frames of a record that became durable at `wall`, spread evenly over its labels.
    fn add(&mut self, wall: WallTime, label: Span) {
        let step = |at: WallTime| {
            let steps = wall.ticks_since(at).max(0) / DELAY_STEP_TICKS;
            usize::try_from(steps).unwrap_or(usize::MAX).min(DELAY_STEPS - 1)
        };
        for count in &mut self.counts[step(label.to)..=step(label.from)] {
            *count += 1;
        }
    }

    fn p99_ms(&self) -> Option<u64> {
        let total: u64 = self.counts.iter().sum();
        let mut seen = 0;
        self.counts.iter().zip(1u64..).find_map(|(count, step)| {
            seen += count;
            (total > 0 && seen * 100 >= total * 99).then_some(step * DELAY_STEP_MS)
        })
    }
}

impl Bookkeeper {
    pub(crate) fn new(clock: Clock, cameras: Arc<Registry>, events: Arc<Events>) -> Self {
        let delays = Mutex::new(Delays { counts: [0; DELAY_STEPS] });
        Self {
            clock,
            cameras,
            events,
            delays,
            overwritten_told: Mutex::new(None),
            given_up: GivenUp::default(),
        }
    }

    /// The 99th percentile of the time from a frame's label to its being on disk, in milliseconds, since the start;
    /// `None` before the first.
    pub(crate) fn frame_to_disk_p99_ms(&self) -> Option<u64> {
        self.delays.lock().unwrap_or_else(PoisonError::into_inner).p99_ms()
    }

    /// What the store had to give up.
    pub(crate) const fn given_up(&self) -> &GivenUp {
        &self.given_up
    }

    fn disk_event(&self, code: EventCode, path: &Path, text: String) {
        tracing::info!(path = %path.display(), %code, "{text}");
        self.events.add(self.clock.wall(), code, Subject::Disk(path.display().to_string()), text);
    }
}

impl StoreEvents for Bookkeeper {
    fn durable(&self, commit: &Commit) {
        if commit.lane == Lane::Backfill {
            if let Some(stream) = self.cameras.stream(commit.camera, commit.stream) {
                stream.filled(commit, self.clock.mono());
            }
            return;
        }
        let wall = self.clock.wall();
        self.delays.lock().unwrap_or_else(PoisonError::into_inner).add(wall, commit.info.label);
        if let Some(stream) = self.cameras.stream(commit.camera, commit.stream) {
            stream.durable(commit, self.clock.mono());
        }
    }

    fn lost(&self, loss: &Loss) {
        if loss.lane == Lane::Backfill {
            // The gap is still there, and its reason.
            if let Some(stream) = self.cameras.stream(loss.camera, loss.stream) {
                stream.intake().lost(loss.reason, loss.info.label.to);
            }
            return;
        }
        tracing::warn!(camera = %loss.camera, stream = %loss.stream, reason = ?loss.reason, "a record was lost on its way to the disk");
        if let Some(stream) = self.cameras.stream(loss.camera, loss.stream) {
            stream.lost(loss);
        }
    }

    fn reclaimed(&self, camera: CameraId, stream: StreamId, spans: &[Span], why: Reclaim) {
        let Some(camera) = self.cameras.find(camera) else { return };
        let Some(stream) = camera.stream(stream) else { return };
        // Without a retention time, space is the retention, and its end is no loss.
        let early = why == Reclaim::ForSpace && camera.config().retention.is_some();
        let state = match why {
            Reclaim::Damaged => State::Gap { reason: GapReason::Damaged },
            Reclaim::ForSpace if early => State::Gap { reason: GapReason::Overwritten },
            Reclaim::ForSpace | Reclaim::ByAge => State::Expired,
        };
        for span in spans {
            stream.reclaimed(*span, state);
        }
        let (Some(first), true) = (spans.first(), early) else { return };
        let now = self.clock.mono();
        let mut told = self.overwritten_told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|last| now.since(last).as_secs() >= OVERWRITTEN_EVENT_SECONDS) {
            *told = Some(now);
            let text = format!(
                "footage from {} on is overwritten before its retention ends, because the disks are full; add a disk, or lower retention or bit rate",
                first.from
            );
            self.events.add(
                self.clock.wall(),
                EventCode::FootageOverwritten,
                stream.subject(),
                stream.sentence(text),
            );
        }
    }

    fn gave_up(&self, gave_up: &GaveUp) {
        self.given_up.add(gave_up);
    }

    fn disk(&self, event: &DiskEvent) {
        let (code, text) = disk_sentence(&event.change);
        self.disk_event(code, event.path.as_path(), text);
    }
}

/// What happened to a disk, as an event and a sentence.
pub fn disk_sentence(change: &DiskChange) -> (EventCode, String) {
    match change {
            DiskChange::Adopted => (EventCode::DiskAdopted, "a blank disk was taken into use".to_owned()),
            DiskChange::Returned => (EventCode::DiskReturned, "the disk is in use again".to_owned()),
            DiskChange::Gone(why) => {
                (EventCode::DiskGone, format!("the disk cannot be used: {why}; it is taken back when it returns"))
            }
            DiskChange::ReadOnly(why) => (
                EventCode::DiskReadOnly,
                format!(
                    "the disk can be read and not written: {why}; what is on it can be played, and it is tried again; replace it"
                ),
            ),
            DiskChange::Foreign(owner) => (
                EventCode::DiskGone,
                format!("the disk holds footage of recorder {owner}; it is left untouched; set take_over = true if it may be overwritten"),
            ),
            DiskChange::Buffered => (
                EventCode::DiskAdopted,
                "the file system takes no direct writes; the page cache is used, which costs more processor time"
                    .to_owned(),
            ),
            DiskChange::Slow => (
                EventCode::DiskSlow,
                "the disk does not keep up with its cameras; footage is dropped once the buffer is full".to_owned(),
            ),
            DiskChange::KeepsUp => (EventCode::DiskReturned, "the disk keeps up again".to_owned()),
            DiskChange::Full => (
                EventCode::DiskFull,
                "all footage on the disk is protected, nothing can be overwritten; release a protection or add a disk"
                    .to_owned(),
            ),
            DiskChange::HasRoom => (EventCode::DiskReturned, "the disk has room again".to_owned()),
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_frame_of_a_record_waits_longest() {
        let mut delays = Delays { counts: [0; DELAY_STEPS] };
        assert_eq!(delays.p99_ms(), None);
        let label = |ms: i64| WallTime::from_ticks(ms * TICKS_PER_SECOND / 1_000);
        for record in 0..100 {
            let span = Span { from: label(record * 2_000), to: label(record * 2_000 + 2_000) };
            delays.add(label(record * 2_000 + 2_100), span);
        }
        assert_eq!(delays.p99_ms(), Some(2_125));
        delays.add(label(100_000_000), Span { from: label(0), to: label(1) });
    }
}
