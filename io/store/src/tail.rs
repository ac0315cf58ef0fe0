//! The tail: closed records of some streams in memory until they are told to be outside, so that a disk that fails alone
//! costs nothing.
//!
//! A record is in it from the moment it is closed, and its data is the very memory that goes to the disk. The tail has a bound of
//! its own, beside that of recording: the newest are kept, the oldest is given up and told. A record that no disk takes
//! waits here; a disk that takes records again gets it, and it is lost only when it is given up or told to be outside before.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use keepwatch_model::{CameraId, GapReason, Place, Span, StreamId, WallTime};

use crate::chunk::Media;
use crate::device::AlignedBuffer;
use crate::format::RecordHeader;
use crate::shared::Shared;
use crate::volume::{Job, Key};
use crate::{GaveUp, Lane, Loss, Record, RecordInfo, Store};

/// What the tail has, of all streams or of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TailView {
    /// Records.
    pub records: usize,
    /// Bytes of memory that they take.
    pub bytes: u64,
    /// Those among them that are on no disk, nor on their way to one.
    pub on_no_disk: usize,
}

/// The records in memory.
#[derive(Default)]
pub(crate) struct Tail {
    /// Some stream has its records here: to be read without the lock.
    on: AtomicBool,
    shelves: Mutex<Shelves>,
}

#[derive(Default)]
struct Shelves {
    bytes_max: u64,
    bytes: u64,
    next_number: u64,
    lines: BTreeMap<Key, VecDeque<Kept>>,
}

/// A record in memory.
struct Kept {
    /// Grows from record to record over all streams.
    number: u64,
    header: RecordHeader,
    /// Header and table, as they go to disk but for the place there.
    head: AlignedBuffer,
    media: Arc<Media>,
    /// Why no disk took it; `None` when it is on one or on its way.
    on_no_disk: Option<GapReason>,
    queued_at: Instant,
}

impl Kept {
    fn bytes(&self) -> u64 {
        self.media.held_bytes() + self.head.len() as u64
    }

    const fn info(&self) -> &RecordInfo {
        &self.header.info
    }

    /// It on its way to a disk.
    fn job(&self) -> Job {
        Job {
            header: self.header,
            head: self.head.clone(),
            media: Arc::clone(&self.media),
            queued_at: self.queued_at,
            lane: Lane::Live,
        }
    }

    /// What is said of it when it goes: it is lost when it is on no disk.
    const fn loss(&self, (camera, stream): Key) -> Option<Loss> {
        match self.on_no_disk {
            Some(reason) => Some(Loss { camera, stream, lane: Lane::Live, info: self.header.info, reason }),
            None => None,
        }
    }
}

impl Shelves {
    /// Takes out the oldest record of all.
    fn evict(&mut self) -> Option<(Key, Kept)> {
        let front = |(key, line): (&Key, &VecDeque<Kept>)| Some((line.front()?.number, *key));
        let (_, key) = self.lines.iter().filter_map(front).min()?;
        let kept = self.lines.get_mut(&key)?.pop_front()?;
        self.let_go(&kept);
        Some((key, kept))
    }

    /// Notes that a record goes. Its memory counts where it came from again, until nobody has it any more.
    fn let_go(&mut self, kept: &Kept) {
        self.bytes = self.bytes.saturating_sub(kept.bytes());
        kept.media.rejoin_pools();
    }
}

impl Tail {
    fn shelves(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a record that was closed, if its stream has its records here; returns what had to go for it.
    fn keep(&self, job: &Job) -> Vec<(Key, Kept)> {
        if !self.on.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut shelves = self.shelves();
        let number = shelves.next_number;
        let Some(line) = shelves.lines.get_mut(&job.key()) else { return Vec::new() };
        let mut head = job.head.clone();
        job.header.encode(&mut head);
        let kept = Kept {
            number,
            header: job.header,
            head,
            media: Arc::clone(&job.media),
            on_no_disk: None,
            queued_at: job.queued_at,
        };
        kept.media.leave_pools();
        let bytes = kept.bytes();
        line.push_back(kept);
        shelves.next_number += 1;
        shelves.bytes += bytes;
        let mut gone = Vec::new();
        while shelves.bytes > shelves.bytes_max
            && let Some(evicted) = shelves.evict()
        {
            gone.push(evicted);
        }
        gone
    }

    /// No disk takes a record; false when it is not here either.
    pub(crate) fn is_refuge_of(&self, job: &Job, reason: GapReason) -> bool {
        if !self.on.load(Ordering::Acquire) {
            return false;
        }
        let mut shelves = self.shelves();
        let line = shelves.lines.get_mut(&job.key());
        let found =
            line.and_then(|line| line.iter_mut().rev().find(|kept| Arc::ptr_eq(&kept.media, &job.media)));
        found.map(|kept| kept.on_no_disk = Some(reason)).is_some()
    }

    /// The records that are on no disk, oldest first, to be queued.
    fn homeless(&self) -> Vec<Job> {
        if !self.on.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut shelves = self.shelves();
        let queue = |kept: &mut Kept| kept.on_no_disk.take().map(|_| (kept.number, kept.job()));
        let mut jobs: Vec<(u64, Job)> = shelves.lines.values_mut().flatten().filter_map(queue).collect();
        jobs.sort_by_key(|(number, _)| *number);
        jobs.into_iter().map(|(_, job)| job).collect()
    }

    /// Takes out the records of a stream that are whole inside `span`.
    fn take(&self, key: Key, span: Span) -> Vec<Kept> {
        if !self.on.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut shelves = self.shelves();
        let Some(line) = shelves.lines.get_mut(&key) else { return Vec::new() };
        let inside = |kept: &Kept| span.from <= kept.info().label.from && kept.info().label.to <= span.to;
        let mut gone = Vec::new();
        let mut at = 0;
        while let Some(kept) = line.get(at) {
            if inside(kept) {
                gone.extend(line.remove(at));
            } else {
                at += 1;
            }
        }
        gone.iter().for_each(|kept| shelves.let_go(kept));
        gone
    }

    /// Everything goes; returns what.
    fn clear(&self) -> Vec<(Key, Kept)> {
        let mut shelves = self.shelves();
        self.on.store(false, Ordering::Release);
        let lines = std::mem::take(&mut shelves.lines);
        let gone: Vec<(Key, Kept)> = (lines.into_iter())
            .flat_map(|(key, line)| line.into_iter().map(move |kept| (key, kept)))
            .collect();
        gone.iter().for_each(|(_, kept)| shelves.let_go(kept));
        gone
    }
}

impl Shared {
    /// Puts a closed record into the tail, if its stream has one.
    pub(crate) fn keep_in_tail(&self, job: &Job) {
        let gone = self.tail.keep(job);
        self.tell_given_up(gone);
    }

    /// Tells what the tail gave up. Its memory is free before anyone hears of it.
    fn tell_given_up(&self, gone: Vec<(Key, Kept)>) {
        let told: Vec<(GaveUp, Option<Loss>)> = gone
            .iter()
            .map(|(key, kept)| {
                let (camera, stream) = *key;
                let gave_up = GaveUp { camera, stream, span: kept.info().label, place: Place::Memory };
                (gave_up, kept.loss(*key))
            })
            .collect();
        drop(gone);
        for (gave_up, loss) in told {
            self.events.gave_up(&gave_up);
            if let Some(loss) = loss {
                self.events.lost(&loss);
            }
        }
    }

    /// Lets go of records that are outside; those that no disk took are not here any more.
    pub(crate) fn let_go_of_tail(&self, key: Key, span: Span) {
        let gone = self.tail.take(key, span);
        let lost: Vec<Loss> = gone.iter().filter_map(|kept| kept.loss(key)).collect();
        drop(gone);
        lost.iter().for_each(|loss| self.events.lost(loss));
    }

    /// Queues what no disk took, because one may take it by now.
    pub(crate) fn queue_tail(&self) {
        for job in self.tail.homeless() {
            let ((camera, stream), info) = (job.key(), job.header.info);
            if let Err(reason) = self.queue(job) {
                // It was given up in the meantime.
                self.events.lost(&Loss { camera, stream, lane: Lane::Live, info, reason });
            }
        }
    }

    /// Ends the tail: what no disk took is lost with the process.
    pub(crate) fn close_tail(&self) {
        let gone = self.tail.clear();
        self.tell_given_up(gone);
    }
}

impl Store {
    /// Sets how many bytes the tail may take, of all streams together; 0, as it is when the store is opened, keeps nothing. What is
    /// too much is given up with the next record.
    pub fn set_tail_bytes_max(&self, bytes: u64) {
        self.shared().tail.shelves().bytes_max = bytes;
    }

    /// From the next record on, closed records of a stream stay in memory until they are [outside](Self::outside), or until there is no
    /// room for them, which [`StoreEvents::gave_up`](crate::StoreEvents::gave_up) tells. While no disk takes records, they wait there instead of
    /// being refused.
    pub fn keep_tail(&self, camera: CameraId, stream: StreamId) {
        let mut shelves = self.shared().tail.shelves();
        shelves.lines.entry((camera, stream)).or_default();
        self.shared().tail.on.store(true, Ordering::Release);
    }

    /// Keeps no more of a stream in memory, and lets go of what is.
    pub fn end_tail(&self, camera: CameraId, stream: StreamId) {
        let everything = Span { from: WallTime::MIN, to: WallTime::MAX };
        self.shared().let_go_of_tail((camera, stream), everything);
        let mut shelves = self.shared().tail.shelves();
        if shelves.lines.get(&(camera, stream)).is_some_and(VecDeque::is_empty) {
            shelves.lines.remove(&(camera, stream));
        }
        self.shared().tail.on.store(!shelves.lines.is_empty(), Ordering::Release);
    }

    /// What is in memory of a stream.
    pub fn tail_of(&self, camera: CameraId, stream: StreamId) -> TailView {
        self.shared().tail.shelves().lines.get(&(camera, stream)).map(view).unwrap_or_default()
    }

    /// What is in memory of all streams.
    pub fn tail(&self) -> TailView {
        let shelves = self.shared().tail.shelves();
        shelves.lines.values().map(view).fold(TailView::default(), |sum, line| TailView {
            records: sum.records + line.records,
            bytes: sum.bytes + line.bytes,
            on_no_disk: sum.on_no_disk + line.on_no_disk,
        })
    }

    /// The labels of the records in memory of a stream that end after `since`, in the order in which they were closed.
    pub fn tail_labels(&self, camera: CameraId, stream: StreamId, since: WallTime) -> Vec<Span> {
        let shelves = self.shared().tail.shelves();
        let Some(line) = shelves.lines.get(&(camera, stream)) else { return Vec::new() };
        // The newest stand behind: what was seen before is not walked through again.
        let new = line.iter().rev().map(|kept| kept.info().label).take_while(|label| label.to > since);
        let mut labels: Vec<Span> = new.collect();
        labels.reverse();
        labels
    }

    /// The first record in memory of a stream that has anything of `span`.
    pub fn read_tail(&self, camera: CameraId, stream: StreamId, span: Span) -> Option<Record> {
        let (header, head, media) = {
            let shelves = self.shared().tail.shelves();
            let line = shelves.lines.get(&(camera, stream))?;
            let inside = |kept: &&Kept| kept.info().label.intersection(span).is_some();
            let first = line.iter().filter(inside).min_by_key(|kept| kept.info().label.from)?;
            (first.header, first.head.clone(), Arc::clone(&first.media))
        };
        // The lock is not held while bytes are copied: a camera may wait for it.
        Record::from_memory(&header, &head, &media)
    }
}

fn view(line: &VecDeque<Kept>) -> TailView {
    TailView {
        records: line.len(),
        bytes: line.iter().map(Kept::bytes).sum(),
        on_no_disk: line.iter().filter(|kept| kept.on_no_disk.is_some()).count(),
    }
}
