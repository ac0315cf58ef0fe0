//! One disk: found, taken into use, written by a thread of its own, and found again when it was gone.

mod gauge;
mod mount;
mod trust;
mod worker;

pub(crate) use gauge::{load as load_write_rate, save as save_write_rate};
pub use mount::WrapDevice;
pub(crate) use mount::{Mount, Mounted, Unusable, mount, mount_failed, mount_read_only};
pub(crate) use worker::run;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use keepwatch_model::{CameraId, Place, WallTime};

use self::gauge::Gauge;
use self::trust::Retry;
use crate::volume::{Claims, Job};
use crate::{DiskConfig, DiskId, DiskState, DiskStatus, Lane, WriteRate};

/// How long records are gathered behind the first of a round. Sockets are read at the same instants, so records come in
/// bursts: one flush then covers a burst, for a delay that is a hundredth of a record.
const GATHER: Duration = Duration::from_millis(10);

/// A record that waits so long for its disk makes the disk slow: more than one group of pictures is in memory.
pub(crate) const SLOW_AFTER: Duration = Duration::from_secs(2);
/// A slow disk whose records wait less than this keeps up again.
pub(crate) const KEEPS_UP_BELOW: Duration = Duration::from_secs(1);

/// So often something of what was written is read back, a block at a time: a card that says to have written, and has not, is found
/// while most of what it lost is still in memory.
const READ_BACK_EVERY: Duration = Duration::from_secs(2);

/// About as many bytes of what was fetched for gaps are written at a time: a live record that comes meanwhile waits for
/// them, and so long at most.
const BEHIND_BYTES_MAX: u64 = 2 << 20;

/// One configured disk.
pub(crate) struct Disk {
    pub(crate) config: DiskConfig,
    /// Its container while it is there.
    mounted: RwLock<Option<Arc<Mounted>>>,
    /// Its identity, kept while it is gone.
    id: Mutex<Option<DiskId>>,
    /// Which disk was last in use, and its epoch.
    last: Mutex<Option<(DiskId, u64)>>,
    inbox: Mutex<Inbox>,
    wake: Condvar,
    queued_bytes: AtomicU64,
    /// Streams whose home it is.
    pub(crate) streams: AtomicUsize,
    slow: AtomicBool,
    /// How fast it is, as it was measured last.
    write_rate: Mutex<Option<WriteRate>>,
    /// When something of what it wrote was last read back.
    read_back_at: Mutex<Option<Instant>>,
    /// When it is tried again after a failure.
    retry: Mutex<Retry>,
    /// Bytes that it was given to write, and those of media among them.
    pub(crate) written_bytes: AtomicU64,
    pub(crate) media_bytes: AtomicU64,
}

struct Inbox {
    jobs: VecDeque<Job>,
    /// Records that were fetched for gaps: written when no other waits.
    behind: VecDeque<Job>,
    expiries: Vec<(CameraId, WallTime)>,
    /// How fast it is, being measured while no record waits.
    gauge: Option<Gauge>,
    state: DiskState,
    stopping: bool,
}

/// Whether a disk takes records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Takes {
    /// Yes.
    Records,
    /// Only into extents that are open already.
    WhatFits,
    /// No.
    Nothing,
}

/// What a disk's thread is to do.
pub(crate) struct Work {
    pub(crate) jobs: VecDeque<Job>,
    /// Whether records that were fetched for gaps are to be written, too: of a disk that does not keep up, only when no
    /// others came for a while.
    pub(crate) behind: bool,
    pub(crate) expiries: Vec<(CameraId, WallTime)>,
    /// Whether a measurement waits for its next round, and no record for the disk.
    pub(crate) measure: bool,
    pub(crate) stopping: bool,
}

impl Disk {
    pub(crate) fn new(config: DiskConfig) -> Self {
        let state = DiskState::Gone { why: "has not been looked for yet".to_owned(), since: Instant::now() };
        Self {
            config,
            mounted: RwLock::default(),
            id: Mutex::default(),
            last: Mutex::default(),
            inbox: Mutex::new(Inbox {
                jobs: VecDeque::new(),
                behind: VecDeque::new(),
                expiries: Vec::new(),
                gauge: None,
                state,
                stopping: false,
            }),
            wake: Condvar::new(),
            queued_bytes: AtomicU64::new(0),
            streams: AtomicUsize::new(0),
            slow: AtomicBool::new(false),
            write_rate: Mutex::default(),
            read_back_at: Mutex::default(),
            retry: Mutex::default(),
            written_bytes: AtomicU64::new(0),
            media_bytes: AtomicU64::new(0),
        }
    }

    /// Its container; `None` while it is gone.
    pub(crate) fn mounted(&self) -> Option<Arc<Mounted>> {
        self.mounted.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its identity; `None` while it was never seen.
    pub(crate) fn id(&self) -> Option<DiskId> {
        *self.id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which disk was last in use here, and the epoch that it was opened with.
    pub(crate) fn last(&self) -> Option<(DiskId, u64)> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts it into use.
    pub(crate) fn put_in(&self, mounted: Arc<Mounted>, state: DiskState) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((mounted.superblock.disk, mounted.superblock.epoch));
        *self.id.lock().unwrap_or_else(PoisonError::into_inner) = Some(mounted.superblock.disk);
        *self.mounted.write().unwrap_or_else(PoisonError::into_inner) = Some(mounted);
        self.inbox().state = state;
    }

    /// Which storage it belongs to.
    pub(crate) const fn place(&self) -> Place {
        self.config.role.place()
    }

    /// When it is tried again after a failure.
    pub(crate) fn retry(&self) -> MutexGuard<'_, Retry> {
        self.retry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something of what it wrote is to be read back, which is noted.
    pub(crate) fn is_to_be_read_back(&self) -> bool {
        let mut at = self.read_back_at.lock().unwrap_or_else(PoisonError::into_inner);
        let due = at.is_none_or(|at| at.elapsed() >= READ_BACK_EVERY);
        if due {
            *at = Some(Instant::now());
        }
        due
    }

    /// Takes it out of use; returns the records that waited for it.
    pub(crate) fn take_out(&self, state: DiskState) -> VecDeque<Job> {
        *self.mounted.write().unwrap_or_else(PoisonError::into_inner) = None;
        self.refuse(state)
    }

    /// Takes no more records; what is on it can be read. Returns the records that waited for it.
    pub(crate) fn refuse(&self, state: DiskState) -> VecDeque<Job> {
        let mut inbox = self.inbox();
        inbox.state = state;
        let mut jobs = std::mem::take(&mut inbox.jobs);
        jobs.append(&mut inbox.behind);
        self.note_unqueued(&jobs);
        jobs
    }

    /// Queues a record; gives it back when the disk does not take it.
    pub(crate) fn queue(&self, job: Job) -> Option<Job> {
        let mut inbox = self.inbox();
        if takes(&inbox.state) == Takes::Nothing || inbox.stopping {
            return Some(job);
        }
        self.queued_bytes.fetch_add(job.held_bytes(), Ordering::Relaxed);
        let lane = match job.lane {
            Lane::Live => &mut inbox.jobs,
            Lane::Backfill => &mut inbox.behind,
        };
        let first = lane.is_empty();
        lane.push_back(job);
        drop(inbox);
        // The thread is awake, or gathers what follows the first.
        if first {
            self.wake.notify_one();
        }
        None
    }

    /// Whether it takes records.
    pub(crate) fn takes(&self) -> Takes {
        takes(&self.inbox().state)
    }

    /// Sets its state; true when it was another.
    pub(crate) fn set_state(&self, state: DiskState) -> bool {
        let mut inbox = self.inbox();
        let changed = std::mem::discriminant(&inbox.state) != std::mem::discriminant(&state);
        inbox.state = state;
        changed
    }

    /// Why it is still gone: what kept it from returning says more than what took it away.
    pub(crate) fn gone_because(&self, now: String) {
        if let DiskState::Gone { why, .. } = &mut self.inbox().state {
            *why = now;
        }
    }

    /// Bytes that wait to be written.
    pub(crate) fn queued_bytes(&self) -> u64 {
        self.queued_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of records that are written or lost.
    pub(crate) fn unqueued(&self, bytes: u64) {
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn note_unqueued(&self, jobs: &VecDeque<Job>) {
        self.unqueued(jobs.iter().map(Job::held_bytes).sum());
    }

    /// Asks for footage to be deleted by age.
    pub(crate) fn expire(&self, camera: CameraId, before: WallTime) {
        let mut inbox = self.inbox();
        // One wish per camera is enough: the latest reaches furthest. This also bounds the list.
        match inbox.expiries.iter_mut().find(|(asked, _)| *asked == camera) {
            Some((_, earlier)) => *earlier = before.max(*earlier),
            None => inbox.expiries.push((camera, before)),
        }
        drop(inbox);
        self.wake.notify_one();
    }

    /// Asks for how fast it is to be measured, unless that is under way.
    pub(crate) fn measure(&self, now: WallTime) {
        self.inbox().gauge.get_or_insert_with(|| Gauge::new(now));
        self.wake.notify_one();
    }

    /// The measurement under way, for its next round; it is over unless it is [put back](Self::measure_on).
    pub(crate) fn take_gauge(&self) -> Option<Gauge> {
        self.inbox().gauge.take()
    }

    /// Goes on with a measurement.
    pub(crate) fn measure_on(&self, gauge: Gauge) {
        self.inbox().gauge = Some(gauge);
    }

    /// Notes how fast it is.
    pub(crate) fn set_write_rate(&self, measured: Option<WriteRate>) {
        *self.write_rate.lock().unwrap_or_else(PoisonError::into_inner) = measured;
    }

    /// How fast it is, as it was measured last.
    pub(crate) fn write_rate(&self) -> Option<WriteRate> {
        *self.write_rate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for something to do, at most `timeout`.
    pub(crate) fn wait(&self, timeout: Duration) -> Work {
        let inbox = self.inbox();
        let idle = |inbox: &mut Inbox| {
            inbox.jobs.is_empty()
                && (inbox.behind.is_empty() || self.is_slow())
                && inbox.expiries.is_empty()
                && inbox.gauge.is_none()
                && !inbox.stopping
        };
        let mut inbox =
            self.wake.wait_timeout_while(inbox, timeout, idle).unwrap_or_else(PoisonError::into_inner).0;
        if !inbox.jobs.is_empty() && !inbox.stopping {
            drop(inbox);
            std::thread::sleep(GATHER);
            inbox = self.inbox();
        }
        // A disk that does not keep up takes what was fetched when nothing else waits.
        let idle = inbox.jobs.is_empty() || inbox.stopping;
        Work {
            behind: !inbox.behind.is_empty() && (idle || !self.is_slow()),
            measure: inbox.gauge.is_some() && inbox.jobs.is_empty() && !inbox.stopping,
            jobs: std::mem::take(&mut inbox.jobs),
            expiries: std::mem::take(&mut inbox.expiries),
            stopping: inbox.stopping,
        }
    }

    /// Some records that were fetched for gaps; none while others wait, unless all must be written before the end.
    pub(crate) fn take_behind(&self) -> VecDeque<Job> {
        let mut inbox = self.inbox();
        let mut taken = VecDeque::new();
        let mut bytes = 0;
        if !inbox.jobs.is_empty() && !inbox.stopping {
            return taken;
        }
        while bytes < BEHIND_BYTES_MAX
            && let Some(job) = inbox.behind.pop_front()
        {
            bytes += job.bytes();
            taken.push_back(job);
        }
        taken
    }

    /// Whether records that were fetched for gaps wait.
    pub(crate) fn has_behind(&self) -> bool {
        !self.inbox().behind.is_empty()
    }

    /// Asks its thread to write what is queued and end.
    pub(crate) fn stop(&self) {
        self.inbox().stopping = true;
        self.wake.notify_all();
    }

    /// Notes whether it keeps up; true when that changed.
    pub(crate) fn set_slow(&self, slow: bool) -> bool {
        self.slow.swap(slow, Ordering::Relaxed) != slow
    }

    /// Whether it does not keep up.
    pub(crate) fn is_slow(&self) -> bool {
        self.slow.load(Ordering::Relaxed)
    }

    /// Its state for an operator.
    pub(crate) fn status(&self, claims: Claims<'_>) -> DiskStatus {
        let (state, waits) = {
            let inbox = self.inbox();
            (inbox.state.clone(), inbox.jobs.front().is_some_and(|job| job.queued_at.elapsed() > SLOW_AFTER))
        };
        let mut status = DiskStatus {
            path: self.path(),
            id: self.id(),
            role: self.config.role,
            state,
            slow: waits || self.is_slow(),
            size_bytes: 0,
            used_bytes: 0,
            protected_bytes: 0,
            queued_bytes: self.queued_bytes(),
            write_rate: self.write_rate(),
            written_bytes: self.written_bytes.load(Ordering::Relaxed),
            media_bytes: self.media_bytes.load(Ordering::Relaxed),
            read_only: self.config.read_only,
        };
        if let Some(volume) = self.mounted().as_deref().and_then(Mounted::volume) {
            status.size_bytes = volume.size_bytes();
            (status.used_bytes, status.protected_bytes) = volume.used_bytes(claims);
        }
        status
    }

    /// How it stands.
    pub(crate) fn state(&self) -> DiskState {
        self.inbox().state.clone()
    }

    /// Its configured path.
    pub(crate) fn path(&self) -> PathBuf {
        self.config.path.clone()
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const fn takes(state: &DiskState) -> Takes {
    match state {
        DiskState::Online => Takes::Records,
        DiskState::Full => Takes::WhatFits,
        DiskState::Gone { .. } | DiskState::ReadOnly { .. } | DiskState::Foreign { .. } => Takes::Nothing,
    }
}
