//! Closed records that wait in memory for somebody to say that they are needed: the pre-buffer of a standby.
//!
//! A stream with a [`Hold`] is written like any other, record by record. While the hold keeps, its closed records wait here
//! instead of in the queue of a disk, the oldest out first; when it is released they are queued as they are, and later ones
//! go straight through. Their memory is not that of recording: all holds together have a bound of their own, and when it is
//! reached the oldest record of all gives way. Who needs what and until when is decided elsewhere.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use keepwatch_model::{CameraId, Span, StreamId, WallTime, ticks_from_duration};

use crate::chunk::{Chunk, Pool};
use crate::shared::Shared;
use crate::volume::{Job, Key};
use crate::{Lane, Loss, RecordInfo, Store, StreamWriter};

/// Bytes that all holds may take unless set otherwise: sixteen cameras of 4 Mbit/s for a quarter of a minute.
pub const HOLD_BYTES_MAX_DEFAULT: u64 = 128 << 20;

/// How much a hold keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldLimits {
    /// Most bytes of all streams of the camera together, tables included.
    pub bytes_max: u64,
    /// Records that end so long before the newest one are let go, unless decoding what follows begins with them.
    pub age_max: Duration,
}

/// What of a hold is needed. A record is as old as the newest one has waited, and as much older as it ended before that. No clock
/// that is set tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// Records that are older are not, unless decoding what follows begins with them.
    pub age_max: Duration,
    /// The newest group of pictures is, however old: its camera sends, and seldom a picture.
    pub newest: bool,
}

/// What a hold has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HoldView {
    /// Records that wait.
    pub records: usize,
    /// Bytes that they take.
    pub bytes: u64,
    /// Their labels, from the first to the last.
    pub label: Option<Span>,
    /// The same in camera time; `None` where the camera tells none.
    pub camera: Option<Span>,
}

/// The records of one stream that wait; cheap to clone.
#[derive(Clone)]
pub struct Hold(Arc<Handle>);

struct Handle {
    holds: Arc<Holds>,
    key: Key,
    /// Tells this hold from one of the same stream that was made before.
    number: u64,
    /// Whether closed records wait; the same as `limits` of what is kept, to be read without the lock.
    keeps: AtomicBool,
}

/// All holds of a store.
pub(crate) struct Holds {
    pub(crate) pool: Arc<Pool>,
    next_number: AtomicU64,
    kept: Mutex<BTreeMap<Key, Kept>>,
}

/// What one hold has.
struct Kept {
    number: u64,
    /// `None` while records pass through.
    limits: Option<HoldLimits>,
    jobs: VecDeque<Job>,
    bytes: u64,
}

impl Holds {
    pub(crate) fn new() -> Self {
        Self {
            pool: Pool::new(HOLD_BYTES_MAX_DEFAULT),
            next_number: AtomicU64::new(0),
            kept: Mutex::default(),
        }
    }

    /// The oldest record of all gives way; false when there is none.
    fn evict(&self) -> bool {
        let evicted = {
            let mut kept = self.kept();
            let oldest =
                kept.values_mut().min_by_key(|kept| kept.jobs.front().map_or_else(Instant::now, queued_at));
            oldest.map(Kept::give_way).unwrap_or_default()
        };
        !evicted.is_empty() // Its memory is given back outside the lock.
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<Key, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn queued_at(job: &Job) -> Instant {
    job.queued_at
}

/// Bytes that a waiting record takes: chunks of the pool, and its table.
fn bytes_of(job: &Job) -> u64 {
    job.held_bytes().saturating_add(job.head.len() as u64)
}

/// When a record begins and ends: by the camera's clock, else by label.
fn time_of(job: &Job) -> Span {
    let info = &job.header.info;
    info.camera_time.map_or(info.label, |time| time.span)
}

impl Kept {
    fn push(&mut self, job: Job) {
        self.bytes = self.bytes.saturating_add(bytes_of(&job));
        self.jobs.push_back(job);
    }

    fn pop(&mut self) -> Option<Job> {
        let job = self.jobs.pop_front()?;
        self.bytes = self.bytes.saturating_sub(bytes_of(&job));
        Some(job)
    }

    /// How many of the first `count` records can go so that what stays begins with a picture that decoding can start at. What
    /// is older is of no use, and what is without it neither.
    fn spare(&self, count: usize) -> usize {
        let starts = |index: &usize| self.jobs.get(*index).is_some_and(|job| job.header.info.starts_with_key);
        (0..=count).rev().find(starts).unwrap_or(0)
    }

    /// Takes out the first `count` records.
    fn take(&mut self, count: usize) -> Vec<Job> {
        (0..count).map_while(|_| self.pop()).collect()
    }

    /// Takes out the oldest record, and what decoding cannot begin with when that is gone.
    fn give_way(&mut self) -> Vec<Job> {
        let next_start = self.jobs.iter().skip(1).position(|job| job.header.info.starts_with_key);
        self.take(next_start.map_or(1, |later| later + 1))
    }

    /// Takes out what is too old beside the newest record.
    fn aged(&mut self) -> Vec<Job> {
        let Some(limits) = self.limits else { return Vec::new() };
        self.take(self.spare(self.older(limits.age_max)))
    }

    /// How many of the first records ended `age_max` or more before the newest one. What is between two records counts as far as
    /// that time has passed here: the labels of a new run are those of a clock that may have been set.
    fn older(&self, age_max: Duration) -> usize {
        let (age_max, mut age) = (ticks_from_duration(age_max), 0_i64);
        let mut next: Option<&Job> = None;
        for (place, job) in self.jobs.iter().enumerate().rev() {
            if let Some(next) = next {
                let (label, before) = (next.header.info.label, job.header.info.label);
                let passed = next.queued_at.saturating_duration_since(job.queued_at);
                let between = label.from.ticks_since(before.to).clamp(0, ticks_from_duration(passed));
                age = age.saturating_add(between).saturating_add(label.ticks());
            }
            if age >= age_max {
                return place + 1;
            }
            next = Some(job);
        }
        0
    }
}

impl Hold {
    fn new(holds: &Arc<Holds>, key: Key) -> Self {
        let number = holds.next_number.fetch_add(1, Ordering::Relaxed);
        let kept = Kept { number, limits: None, jobs: VecDeque::new(), bytes: 0 };
        let before = holds.kept().insert(key, kept);
        drop(before);
        Self(Arc::new(Handle { holds: Arc::clone(holds), key, number, keeps: AtomicBool::new(false) }))
    }

    pub(crate) fn key(&self) -> Key {
        self.0.key
    }

    /// From the next record on, closed records wait here, at most so much. The record that is open goes to the disk still.
    pub fn keep(&self, limits: HoldLimits) {
        self.with(|kept| kept.limits = Some(limits));
        self.0.keeps.store(true, Ordering::Release);
    }

    /// Whether closed records wait.
    pub fn keeps(&self) -> bool {
        self.0.keeps.load(Ordering::Acquire)
    }

    /// Lets go of what waits; later records pass.
    pub fn clear(&self) {
        self.0.keeps.store(false, Ordering::Release);
        let gone = self.with(|kept| {
            kept.limits = None;
            kept.take(usize::MAX)
        });
        drop(gone);
    }

    /// Somebody else holds all up to `until`, in camera time: what ends before is let go, but for the last such record, because
    /// two clocks never agree to the frame, and for those that decoding it begins with. Records without camera time stay until they are too old.
    pub fn trim(&self, until: WallTime) {
        let gone = self.with(|kept| {
            let is_held = |job: &Job| job.header.info.camera_time.is_some_and(|time| time.span.to <= until);
            let last = kept.jobs.iter().rposition(is_held).unwrap_or(0);
            kept.take(kept.spare(last))
        });
        drop(gone); // Its memory is given back outside the lock.
    }

    /// What it has.
    pub fn view(&self) -> HoldView {
        self.with(|kept| {
            let ends = kept.jobs.front().zip(kept.jobs.back());
            let hull = |of: &dyn Fn(&RecordInfo) -> Option<Span>| {
                let (first, last) = ends?;
                Span::new(of(&first.header.info)?.from, of(&last.header.info)?.to)
            };
            HoldView {
                records: kept.jobs.len(),
                bytes: kept.bytes,
                label: hull(&|info| Some(info.label)),
                camera: hull(&|info| Some(info.camera_time?.span)),
            }
        })
    }

    /// Takes a closed record; gives it back when records pass through.
    pub(crate) fn offer(&self, job: Job) -> Option<Job> {
        let mut gone = Vec::new();
        let mut kept = self.0.holds.kept();
        let (camera, stream) = self.0.key;
        let mine = kept.get_mut(&(camera, stream)).filter(|kept| kept.number == self.0.number);
        let Some((mine, limits)) = mine.and_then(|mine| mine.limits.map(|limits| (mine, limits))) else {
            return Some(job);
        };
        mine.push(job);
        gone.extend(mine.aged());
        let streams = (camera, StreamId(u8::MIN))..=(camera, StreamId(u8::MAX));
        while kept.range(streams.clone()).map(|(_, kept)| kept.bytes).sum::<u64>() > limits.bytes_max {
            let oldest = kept
                .range_mut(streams.clone())
                .filter_map(|(_, kept)| Some((queued_at(kept.jobs.front()?), kept)))
                .min_by_key(|(queued, _)| *queued);
            let Some((_, kept)) = oldest else { break };
            gone.append(&mut kept.give_way());
        }
        drop(kept);
        drop(gone); // Memory is given back outside the lock.
        None
    }

    /// Memory for the open record; `None` when even letting go of all that waits brings none.
    pub(crate) fn chunk(&self, small: bool) -> Option<Chunk> {
        loop {
            if let Some(chunk) = self.0.holds.pool.take(small) {
                return Some(chunk);
            }
            if !self.0.holds.evict() {
                return None;
            }
        }
    }

    /// Acts on what it has; `None` when a later hold of the same stream took its place.
    fn with<T: Default>(&self, act: impl FnOnce(&mut Kept) -> T) -> T {
        let mut kept = self.0.holds.kept();
        let mine = kept.get_mut(&self.0.key).filter(|kept| kept.number == self.0.number);
        mine.map(act).unwrap_or_default()
    }

    /// Queues what `choose` takes out, oldest first, under the lock: no record that is closed meanwhile comes before. `queued`
    /// hears of each before it is queued.
    fn queue(
        &self,
        shared: &Shared,
        queued: &mut dyn FnMut(&RecordInfo),
        choose: impl FnOnce(&mut Kept) -> Chosen,
    ) -> Vec<Loss> {
        let mut chosen = Chosen::default();
        let mut lost = Vec::new();
        self.with(|kept| {
            chosen = choose(kept);
            for mut job in chosen.needed.drain(..) {
                let ((camera, stream), info) = (job.key(), job.header.info);
                // It waited for somebody to need it, not for the disk.
                job.queued_at = Instant::now();
                queued(&info);
                if let Err(reason) = shared.queue(job) {
                    lost.push(Loss { camera, stream, lane: Lane::Live, info, reason });
                }
            }
        });
        drop(chosen);
        lost
    }
}

/// What is taken out of a hold.
#[derive(Default)]
struct Chosen {
    /// To be queued, in order.
    needed: Vec<Job>,
    /// Let go, when the lock is.
    _gone: Vec<Job>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let gone = {
            let mut kept = self.holds.kept();
            let mine = kept.get(&self.key).is_some_and(|kept| kept.number == self.number);
            if mine { kept.remove(&self.key) } else { None }
        };
        drop(gone);
    }
}

impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (camera, stream) = self.0.key;
        write!(f, "Hold({camera} {stream}, keeps: {})", self.keeps())
    }
}

impl Store {
    /// A hold of one stream, through which records pass until it is told to keep them. It takes the place of an earlier one.
    pub fn hold(&self, camera: CameraId, stream: StreamId) -> Hold {
        Hold::new(&self.shared().holds, (camera, stream))
    }

    /// A writer whose closed records wait in `hold` while that keeps; at most one at a time per stream.
    pub fn writer_behind(&self, hold: Hold) -> StreamWriter {
        StreamWriter::behind(self.shared_handle(), hold)
    }

    /// Queues what of that which waits in `hold` is needed, the oldest first, and lets go of the rest; later records pass. `queued`
    /// hears of each before it is queued. Returns those that no disk takes.
    pub fn release_held(
        &self,
        hold: &Hold,
        release: Release,
        queued: &mut dyn FnMut(&RecordInfo),
    ) -> Vec<Loss> {
        hold.0.keeps.store(false, Ordering::Release);
        hold.queue(self.shared(), queued, |kept| {
            kept.limits = None;
            let waited = kept.jobs.back().map_or(Duration::ZERO, |job| job.queued_at.elapsed());
            let count = kept.older(release.age_max.saturating_sub(waited));
            let none_is_young = count == kept.jobs.len();
            let gone = kept.take(match (none_is_young, release.newest) {
                (true, false) => count,
                (true, true) => kept.spare(count.saturating_sub(1)),
                (false, _) => kept.spare(count),
            });
            Chosen { needed: kept.take(usize::MAX), _gone: gone }
        })
    }

    /// Queues what waits in `hold` of `span`, in camera time, with the record before and the one behind, and lets go of what
    /// is older; the rest waits on. As for [`release_held`](Self::release_held), `queued` hears of each and the lost are returned.
    pub fn save_held(&self, hold: &Hold, span: Span, queued: &mut dyn FnMut(&RecordInfo)) -> Vec<Loss> {
        hold.queue(self.shared(), queued, |kept| {
            let is_inside = |job: &Job| time_of(job).intersection(span).is_some();
            let first = kept.jobs.iter().position(is_inside);
            let Some((first, last)) = first.zip(kept.jobs.iter().rposition(is_inside)) else {
                return Chosen::default();
            };
            let first = kept.spare(first.saturating_sub(1));
            let gone = kept.take(first);
            Chosen { needed: kept.take((last + 2).saturating_sub(first)), _gone: gone }
        })
    }

    /// Sets how many bytes all holds may take together. What is too much gives way as records come.
    pub fn set_hold_bytes_max(&self, bytes: u64) {
        self.shared().holds.pool.set_cap_bytes(bytes);
    }

    /// Bytes in memory of records that wait and of open ones that will.
    pub fn hold_bytes(&self) -> u64 {
        self.shared().holds.pool.lent_bytes()
    }
}
