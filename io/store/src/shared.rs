//! What all threads of a store share: disks, index, buffer, and where each stream's records go.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use keepwatch_model::{GapReason, RoleId, Span, SpanSet};

use crate::chunk::Pool;
use crate::disk::{Disk, Mount, Mounted, Takes, Unusable, WrapDevice, load_write_rate, mount};
use crate::hold::Holds;
use crate::index::{Index, IndexChange, Protections};
use crate::keeps::Keeps;
use crate::tail::Tail;
use crate::volume::{Claim, Job, Key, spans_of_rows};
use crate::{
    DiskChange, DiskEvent, DiskId, DiskState, GaveUp, Lane, Loss, Reclaim, Recovery, StoreError, StoreEvents,
};

/// Most bytes in memory of what is fetched for gaps: some records of the largest size, on their way.
const BACKFILL_BYTES_MAX: u64 = 32 << 20;

/// What all threads of a store share.
pub(crate) struct Shared {
    pub(crate) role: RoleId,
    pub(crate) disks: Vec<Disk>,
    pub(crate) index: Index,
    pub(crate) pool: Arc<Pool>,
    /// Records that wait for somebody to need them.
    pub(crate) holds: Arc<Holds>,
    /// The buffer of what is fetched for gaps: never that of live footage.
    pub(crate) backfill_pool: Arc<Pool>,
    pub(crate) protections: Protections,
    /// Footage that is nowhere else.
    pub(crate) keeps: Keeps,
    /// Records that stay in memory until they are elsewhere.
    pub(crate) tail: Tail,
    pub(crate) events: Arc<dyn StoreEvents>,
    pub(crate) reprobe_interval: Duration,
    /// The highest open epoch so far.
    pub(crate) epoch: AtomicU64,
    pub(crate) closed: AtomicBool,
    /// Nothing is written.
    pub(crate) read_only: bool,
    pub(crate) wrap: Option<Arc<WrapDevice>>,
    /// The disk that each stream's records go to, by position.
    homes: Mutex<BTreeMap<Key, usize>>,
    /// Largest record that every disk takes, in bytes.
    pub(crate) record_bytes_max: AtomicU64,
}

/// What became of a record that was to be queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queued {
    /// A disk takes it.
    ForDisk,
    /// None does, and it is in the tail.
    InTail,
}

/// What mounting a disk brought.
pub(crate) struct MountReport {
    pub(crate) adopted: bool,
    /// Why it can be read only.
    pub(crate) read_only: Option<String>,
    pub(crate) clean: bool,
    pub(crate) records: u64,
    pub(crate) torn_bytes: u64,
    pub(crate) vanished: Vec<(Key, Span)>,
}

impl Shared {
    #[expect(clippy::too_many_arguments, reason = "called twice, each argument named by its type")]
    pub(crate) fn new(
        role: RoleId,
        disks: Vec<Disk>,
        index: Index,
        protections: Protections,
        events: Arc<dyn StoreEvents>,
        buffer_bytes_max: u64,
        reprobe_interval: Duration,
        wrap: Option<Arc<WrapDevice>>,
        read_only: bool,
    ) -> Self {
        Self {
            role,
            disks,
            index,
            pool: Pool::new(buffer_bytes_max),
            holds: Arc::new(Holds::new()),
            backfill_pool: Pool::new(BACKFILL_BYTES_MAX),
            protections,
            keeps: Keeps::default(),
            tail: Tail::default(),
            events,
            reprobe_interval,
            epoch: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            read_only,
            wrap,
            homes: Mutex::default(),
            record_bytes_max: AtomicU64::new(u64::MAX),
        }
    }

    /// Mounts `disk` for writing and puts it into use.
    pub(crate) fn mount(&self, disk: &Disk) -> Result<MountReport, Unusable> {
        let again = disk.mounted();
        let others: Vec<DiskId> = (self.disks.iter())
            .filter(|other| !std::ptr::eq(*other, disk) && other.mounted().is_some())
            .filter_map(Disk::id)
            .collect();
        let now = mount(&Mount {
            config: &disk.config,
            role: self.role,
            index: &self.index,
            epoch: self.epoch.load(Ordering::Relaxed).saturating_add(1),
            others: &others,
            wrap: self.wrap.as_deref(),
            last: disk.last(),
            again: again.as_deref(),
        })?;
        let shown = disk.config.read_only;
        if !shown {
            self.epoch.fetch_max(now.mounted.superblock.epoch, Ordering::Relaxed);
        }
        let superblock = now.mounted.superblock;
        let vanished = self.forget_vanished(disk, superblock.disk, &now.found.vanished, Reclaim::ForSpace)?;
        self.learn_found(disk, now.found.changes)?;
        if let Some(volume) = now.mounted.volume().filter(|_| !shown) {
            self.record_bytes_max.fetch_min(volume.record_bytes_max(), Ordering::Relaxed);
        }
        if now.found.damaged > 0 {
            let damaged = now.found.damaged;
            tracing::warn!(disk = %disk.config.path.display(), damaged, "footage cannot be read; run verify");
        }
        if !now.mounted.direct() {
            self.tell(disk, DiskChange::Buffered);
        }
        let state = match &now.read_only {
            Some(why) => DiskState::ReadOnly { why: why.clone(), since: Instant::now() },
            None => DiskState::Online,
        };
        // A figure that cannot be read is one that was never measured.
        disk.set_write_rate(load_write_rate(&self.index, superblock.disk).unwrap_or(None));
        disk.put_in(Arc::new(now.mounted), state);
        if now.adopted {
            self.tell(disk, DiskChange::Adopted);
        }
        Ok(MountReport {
            adopted: now.adopted,
            // That it was configured so is no news.
            read_only: now.read_only.filter(|_| !shown),
            clean: now.clean,
            // What another wrote is no recovery of ours.
            records: if shown { 0 } else { now.found.records },
            torn_bytes: if shown { 0 } else { now.found.torn_bytes },
            vanished,
        })
    }

    /// Looks through a disk that is only shown again.
    pub(crate) fn look_again(&self, disk: &Disk, mounted: &Mounted) -> Result<(), Unusable> {
        let found = mounted.look_again(&self.index)?;
        let id = mounted.superblock.disk;
        self.forget_vanished(disk, id, &found.vanished, Reclaim::ForSpace)?;
        self.learn_found(disk, found.changes)?;
        if found.damaged > 0 {
            tracing::debug!(disk = %disk.config.path.display(), damaged = found.damaged, "not all of it can be read");
        }
        Ok(())
    }

    /// Drops rows of extents that hold something else; tells what they held.
    pub(crate) fn forget_vanished(
        &self,
        slot: &Disk,
        disk: DiskId,
        extents: &[u32],
        why: Reclaim,
    ) -> Result<Vec<(Key, Span)>, Unusable> {
        let mut vanished: Vec<(Key, Span)> = Vec::new();
        for extent in extents {
            let rows = self.index.runs_of_extent(disk, *extent).map_err(Unusable::Refused)?;
            for ((camera, stream), spans) in spans_of_rows(&rows) {
                self.tell_reclaimed(slot, (camera, stream), &spans, why);
                vanished.extend(spans.into_iter().map(|span| ((camera, stream), span)));
            }
            self.index.learn([IndexChange::Freed { disk, extent: *extent }]);
        }
        Ok(vanished)
    }

    /// Has the index learn what was found on a disk, and tells what is not there although it was durable.
    pub(crate) fn learn_found(&self, slot: &Disk, changes: Vec<IndexChange>) -> Result<(), Unusable> {
        for change in &changes {
            let IndexChange::Whole { disk, row, rows } = change else { continue };
            let mut known = self.index.runs_of_extent(*disk, row.extent).map_err(Unusable::Refused)?;
            known.retain(|known| known.sequence == row.sequence);
            let there: SpanSet = rows.iter().map(|row| row.label).collect();
            for (key, spans) in spans_of_rows(&known) {
                let missing = |span: &Span| there.missing(*span).spans().to_vec();
                let damaged: Vec<Span> = spans.iter().flat_map(missing).collect();
                if !damaged.is_empty() {
                    self.tell_reclaimed(slot, key, &damaged, Reclaim::Damaged);
                }
            }
        }
        self.index.learn(changes);
        Ok(())
    }

    /// Tells that footage is deleted, and what of it was to be kept.
    pub(crate) fn tell_reclaimed(&self, disk: &Disk, (camera, stream): Key, spans: &[Span], why: Reclaim) {
        self.events.reclaimed(camera, stream, spans, why);
        let place = disk.place();
        for span in self.keeps.of((camera, stream), spans) {
            self.events.gave_up(&GaveUp { camera, stream, span, place });
        }
    }

    /// Adds what `report` says to `recovery`.
    pub(crate) fn add_to(recovery: &mut Recovery, report: MountReport) {
        recovery.clean &= report.clean;
        recovery.records_recovered += report.records;
        recovery.truncated_bytes += report.torn_bytes;
        recovery
            .vanished
            .extend(report.vanished.into_iter().map(|((camera, stream), span)| (camera, stream, span)));
    }

    /// Queues a record for its disk. When there is none it stays in the tail, or it is dropped, and it is said why.
    pub(crate) fn queue(&self, job: Job) -> Result<Queued, GapReason> {
        if job.lane == Lane::Backfill {
            return self.queue_behind(job).map(|()| Queued::ForDisk);
        }
        let key = job.key();
        let mut job = job;
        let mut tried = Vec::new();
        while let Some(position) = self.home(key, &tried) {
            match self.disks[position].queue(job) {
                None => return Ok(Queued::ForDisk),
                Some(back) => job = back,
            }
            tried.push(position);
        }
        let reason = self.why_not();
        if self.tail.is_refuge_of(&job, reason) { Ok(Queued::InTail) } else { Err(reason) }
    }

    /// Queues a record that was fetched for a gap: for the disk that has an extent open for such, or the one with the
    /// least to write.
    fn queue_behind(&self, job: Job) -> Result<(), GapReason> {
        let slot = job.slot();
        let usable = |disk: &&Disk| disk.takes() == Takes::Records;
        let load = |disk: &&Disk| {
            let open_here =
                disk.mounted().as_deref().and_then(Mounted::volume).is_some_and(|v| v.is_home_of(slot));
            (disk.place(), disk.is_slow(), !open_here, disk.queued_bytes())
        };
        let Some(disk) = self.disks.iter().filter(usable).min_by_key(load) else {
            return Err(self.why_not());
        };
        disk.queue(job).map_or(Ok(()), |_| Err(self.why_not()))
    }

    /// Sends records to other disks; those that none takes are lost for `reason`.
    pub(crate) fn send_elsewhere(&self, jobs: VecDeque<Job>, reason: GapReason) {
        for job in jobs {
            let lost = match job.lane {
                Lane::Live => match self.elsewhere(job.key()) {
                    Some(position) => self.disks[position].queue(job),
                    None => Some(job),
                },
                // Who fetched it fetches it again.
                Lane::Backfill => Some(job),
            };
            if let Some(job) = lost {
                self.lose(job, reason);
            }
        }
    }

    pub(crate) fn lose(&self, job: Job, reason: GapReason) {
        let (camera, stream, lane) = job.slot();
        if lane == Lane::Live && self.tail.is_refuge_of(&job, reason) {
            return;
        }
        let info = job.header.info;
        drop(job); // Its memory is free before anyone hears of it.
        self.events.lost(&Loss { camera, stream, lane, info, reason });
    }

    /// The disk that takes a stream's next record: its home while that works and keeps up, or the least loaded. One of the
    /// second storage is a home only as long as there is no other.
    fn home(&self, key: Key, tried: &[usize]) -> Option<usize> {
        let mut homes = self.homes();
        let current = homes.get(&key).copied().filter(|position| !tried.contains(position));
        if let Some(position) = current
            && self.disks[position].takes() != Takes::Nothing
            && !self.overloaded(position)
            && !self.better_than(position, tried)
        {
            return Some(position);
        }
        let open_here = |position: &usize| {
            self.disks[*position]
                .mounted()
                .as_deref()
                .and_then(Mounted::volume)
                .is_some_and(|v| v.is_home_of((key.0, key.1, Lane::Live)))
        };
        let usable =
            |position: &usize| !tried.contains(position) && self.disks[*position].takes() != Takes::Nothing;
        let load = |position: &usize| {
            let disk = &self.disks[*position];
            // At first the disk where the stream went on before a restart.
            let elsewhere = current.is_some() || !open_here(position);
            let behind = self.overloaded(*position);
            let streams = disk.streams.load(Ordering::Relaxed);
            (behind, disk.takes(), disk.place(), elsewhere, streams, disk.queued_bytes())
        };
        let chosen = (0..self.disks.len()).filter(usable).min_by_key(load)?;
        self.settle(&mut homes, key, chosen);
        Some(chosen)
    }

    /// Whether a disk of a storage that goes before that of `position` takes records, and has caught up with what it had to take.
    fn better_than(&self, position: usize, tried: &[usize]) -> bool {
        let place = self.disks[position].place();
        let caught_up = |disk: &Disk| match disk.queued_bytes() {
            // That it was slow is all that is known of a disk that nothing is written to.
            0 => true,
            queued => !disk.is_slow() && queued <= self.pool.cap_bytes() / 8,
        };
        (self.disks.iter().enumerate()).any(|(other, disk)| {
            disk.place() < place
                && !tried.contains(&other)
                && disk.takes() == Takes::Records
                && caught_up(disk)
        })
    }

    /// Another disk with room than the stream's home, which becomes its home.
    fn elsewhere(&self, key: Key) -> Option<usize> {
        let mut homes = self.homes();
        let current = homes.get(&key).copied();
        // The first record of a stream that moves has changed the home; the others follow it.
        let takes = |position: &usize| self.disks[*position].takes() == Takes::Records;
        let chosen = (0..self.disks.len()).filter(takes).min_by_key(|position| {
            let disk = &self.disks[*position];
            (disk.place(), Some(*position) != current, disk.queued_bytes())
        })?;
        self.settle(&mut homes, key, chosen);
        Some(chosen)
    }

    fn settle(&self, homes: &mut BTreeMap<Key, usize>, key: Key, position: usize) {
        match homes.insert(key, position) {
            Some(before) if before == position => return,
            Some(before) => {
                self.disks[before].streams.fetch_sub(1, Ordering::Relaxed);
            }
            None => {}
        }
        self.disks[position].streams.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a disk holds more than its share of the buffer while another could take records: one disk that
    /// hangs must not stop the others.
    fn overloaded(&self, position: usize) -> bool {
        let others = self.disks.len() > 1;
        others && self.disks[position].queued_bytes() > self.pool.cap_bytes() / 2
    }

    /// Why no disk takes a record.
    pub(crate) fn why_not(&self) -> GapReason {
        let full = self.disks.iter().any(|disk| disk.takes() == Takes::WhatFits);
        if full { GapReason::DiskFull } else { GapReason::DiskGone }
    }

    /// Whether any disk takes records.
    pub(crate) fn takes_records(&self) -> bool {
        self.disks.iter().any(|disk| disk.takes() != Takes::Nothing)
    }

    /// Tells what happened to a disk.
    pub(crate) fn tell(&self, disk: &Disk, change: DiskChange) {
        tracing::info!(disk = %disk.config.path.display(), ?change, "disk");
        self.events.disk(&DiskEvent { path: disk.path(), change });
    }

    /// Who wants to keep footage, for planning.
    pub(crate) fn claims(&self) -> impl Fn(Key, Span) -> Claim {
        |key, span| {
            if self.protections.hold(key.0, span) {
                Claim::Protected
            } else if self.keeps.hold(key, span) {
                Claim::Kept
            } else {
                Claim::None
            }
        }
    }

    /// The container of a disk that is there.
    pub(crate) fn mounted(&self, disk: DiskId) -> Option<Arc<Mounted>> {
        self.disks.iter().filter_map(Disk::mounted).find(|mounted| mounted.superblock.disk == disk)
    }

    /// Refuses what a store that is open for reading cannot do.
    pub(crate) const fn writable(&self) -> Result<(), StoreError> {
        if self.read_only { Err(StoreError::ReadOnly) } else { Ok(()) }
    }

    fn homes(&self) -> MutexGuard<'_, BTreeMap<Key, usize>> {
        self.homes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
