//! Hears what the disks did and enters it: into the cameras' ledgers and the event log.
//!
//! Called from the store's writer threads, so it only takes short locks.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use keepwatch_model::{CameraId, EventCode, GapReason, MonoTime, Span, State, StreamId, Subject};
use keepwatch_store::{Commit, DiskChange, DiskEvent, Loss, Reclaim, StoreEvents};

use crate::camera::Registry;
use crate::clock::Clock;
use crate::events::Events;

/// Footage overwritten early is told once in so many seconds per camera, not for every extent.
const OVERWRITTEN_EVENT_SECONDS: u64 = 600;

/// The recorder's ear at the store.
pub(crate) struct Bookkeeper {
    clock: Clock,
    cameras: Arc<Registry>,
    events: Arc<Events>,
    delays: Mutex<Delays>,
    /// When early overwriting was last told.
    overwritten_told: Mutex<Option<MonoTime>>,
}

/// Frame-to-disk delays since the start, in milliseconds from the queueing of a record to its commit.
#[derive(Debug)]
pub(crate) struct Delays {
    /// Counts per power of two: `counts[n]` are delays below 2^n ms.
    counts: [u64; 16],
}

impl Delays {
    fn add(&mut self, millis: u128) {
        let bucket = (128 - millis.leading_zeros()).min(15);
        self.counts[usize::try_from(bucket).expect("at most 15")] += 1;
    }
}

impl Bookkeeper {
    pub(crate) fn new(clock: Clock, cameras: Arc<Registry>, events: Arc<Events>) -> Self {
        let delays = Mutex::new(Delays { counts: [0; 16] });
        Self { clock, cameras, events, delays, overwritten_told: Mutex::new(None) }
    }

    /// The 99th percentile of the time from a record's queueing to its commit, in milliseconds, as the upper end of
    /// a power of two; `None` before the first.
    pub(crate) fn queue_delay_p99_ms(&self) -> Option<u64> {
        let delays = self.delays.lock().unwrap_or_else(PoisonError::into_inner);
        let total: u64 = delays.counts.iter().sum();
        let mut seen = 0;
        delays.counts.iter().zip(0u32..).find_map(|(count, bucket)| {
            seen += count;
            (total > 0 && seen * 100 >= total * 99).then_some(1u64 << bucket)
        })
    }

    fn disk_event(&self, code: EventCode, path: &Path, text: String) {
        tracing::info!(path = %path.display(), %code, "{text}");
        self.events.add(self.clock.wall(), code, Subject::Disk(path.display().to_string()), text);
    }
}

impl StoreEvents for Bookkeeper {
    fn durable(&self, commit: &Commit) {
        self.delays
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .add(commit.queued_at.elapsed().as_millis());
        if commit.stream == StreamId::MAIN
            && let Some(camera) = self.cameras.find(commit.camera)
        {
            camera.durable(commit, self.clock.mono());
        }
    }

    fn lost(&self, loss: &Loss) {
        tracing::warn!(camera = %loss.camera, reason = ?loss.reason, "a record was lost on its way to the disk");
        if loss.stream == StreamId::MAIN
            && let Some(camera) = self.cameras.find(loss.camera)
        {
            camera.lost(loss);
        }
    }

    fn reclaimed(&self, camera: CameraId, stream: StreamId, spans: &[Span], why: Reclaim) {
        let (true, Some(camera)) = (stream == StreamId::MAIN, self.cameras.find(camera)) else { return };
        // Without a retention time, space is the retention, and its end is no loss.
        let early = why == Reclaim::ForSpace && camera.config().retention.is_some();
        let state = if early { State::Gap { reason: GapReason::Overwritten } } else { State::Expired };
        for span in spans {
            camera.reclaimed(*span, state);
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
                Subject::Camera(camera.id),
                text,
            );
        }
    }

    fn disk(&self, event: &DiskEvent) {
        let path = event.path.as_path();
        let (code, text) = match &event.change {
            DiskChange::Adopted => (EventCode::DiskAdopted, "a blank disk was taken into use".to_owned()),
            DiskChange::Returned => (EventCode::DiskReturned, "the disk is in use again".to_owned()),
            DiskChange::Gone(why) => {
                (EventCode::DiskGone, format!("the disk cannot be used: {why}; it is taken back when it returns"))
            }
            DiskChange::Foreign(owner) => (
                EventCode::DiskGone,
                format!("the disk holds footage of recorder {owner}; it is left untouched until somebody confirms"),
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
        };
        self.disk_event(code, path, text);
    }
}
