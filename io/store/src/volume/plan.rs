//! Placing records: which extent takes them, what is sealed and what is given up for them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use keepwatch_model::{CameraId, Origin, RoleId, Span, WallTime};

use super::{Claim, Claims, Extent, Filling, Job, Key, Open, Used, Volume, hull_of};
use crate::device::AlignedBuffer;
use crate::format::{BLOCK, Entry, ExtentHeader, ExtentUse, Locator};
use crate::index::{ExtentRow, IndexChange, RowBuilder};
use crate::{Lane, Reclaim, RunRow};

/// What one round of writing does.
#[derive(Default)]
pub(crate) struct Plan {
    /// Blocks that must be durable before any record: trailers and headers, at offsets of the device.
    pub(super) blocks: Vec<(u64, AlignedBuffer)>,
    pub(super) placed: Vec<Placed>,
    pub(super) given_up: Vec<GivenUp>,
    sealed: Vec<u32>,
    /// Extents with records in this round.
    touched: BTreeSet<u32>,
    /// Records for which there is no extent: all footage is protected.
    full: Vec<Job>,
    bytes: u64,
    allocated: bool,
}

pub(super) struct Placed {
    pub(super) job: Job,
    extent: u32,
    pub(super) offset_bytes: u64,
    entry: Entry,
}

/// Footage that is overwritten or freed.
pub(super) struct GivenUp {
    pub(super) extent: u32,
    pub(super) sequence: u64,
    pub(super) key: Key,
    pub(super) why: Reclaim,
    /// Its labels; read from the disk by [`execute()`](super::execute()) when the extent was sealed.
    pub(super) spans: Option<Vec<Span>>,
    pub(super) hull: Option<Span>,
    /// It becomes free and is not used at once.
    freed: bool,
}

/// What a round of writing brought.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Records that are durable, in the order they were queued.
    pub(crate) durable: Vec<Job>,
    /// What the index must learn, in this order.
    pub(crate) changes: Vec<IndexChange>,
    /// Footage that is gone.
    pub(crate) reclaimed: Vec<(Key, Vec<Span>, Reclaim)>,
}

enum Place {
    At(u32),
    /// The stream's extent is full of records of this very round: they must be durable before it is sealed.
    NextRound,
    NoRoom,
}

impl Plan {
    /// Takes the records for which there is no extent.
    pub(crate) fn take_full(&mut self) -> Vec<Job> {
        std::mem::take(&mut self.full)
    }

    /// Whether an extent is allocated.
    pub(crate) const fn allocates(&self) -> bool {
        self.allocated
    }

    /// When the first of its live records was queued.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        let live = |placed: &&Placed| placed.job.lane == Lane::Live;
        self.placed.iter().filter(live).map(|placed| placed.job.queued_at).min()
    }

    /// Bytes that it has the disk write.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.bytes + self.blocks.iter().map(|(_, block)| block.len() as u64).sum::<u64>()
    }

    /// The extents whose footage it gives up.
    pub(crate) fn given_up(&self) -> Vec<u32> {
        self.given_up.iter().map(|given_up| given_up.extent).collect()
    }

    /// The records back, when writing failed.
    pub(crate) fn into_jobs(self) -> impl Iterator<Item = Job> {
        self.placed.into_iter().map(|placed| placed.job).chain(self.full)
    }
}

impl Volume {
    /// Takes records from the front of `jobs` up to about `bytes_max` and places them.
    pub(crate) fn plan(&mut self, jobs: &mut VecDeque<Job>, bytes_max: u64, claims: Claims<'_>) -> Plan {
        let mut plan = Plan::default();
        for orphan in std::mem::take(&mut self.orphans) {
            self.seal(orphan, &mut plan);
        }
        while plan.bytes < bytes_max {
            let Some(job) = jobs.pop_front() else { break };
            match self.place(&job, &mut plan, claims) {
                Place::At(extent) => self.append(extent, job, &mut plan),
                Place::NoRoom => plan.full.push(job),
                Place::NextRound => {
                    jobs.push_front(job);
                    break;
                }
            }
        }
        plan
    }

    /// Frees what `camera` has in extents that end before `before`; records are not placed in the same round.
    pub(crate) fn plan_expiry(&mut self, camera: CameraId, before: WallTime, claims: Claims<'_>) -> Plan {
        let mut plan = Plan::default();
        for extent in 0..self.superblock.extent_count {
            let Some(Extent::Used(used)) = self.extents.get(extent as usize) else { continue };
            let over = used.key.0 == camera
                && used
                    .hull
                    .is_some_and(|hull| hull.to <= before && claims(used.key, hull) != Claim::Protected);
            if over {
                let header = self.header(
                    (used.key.0, used.key.1, used.lane),
                    used.sequence,
                    ExtentUse::Free,
                    Origin::Primary,
                    RoleId::default(),
                    before,
                );
                plan.blocks.push((self.superblock.extent_offset(extent), header.encode().0));
                self.give_up(extent, Reclaim::ByAge, true, &mut plan);
            }
        }
        plan
    }

    /// Makes known what [`execute()`](super::execute()) has written.
    pub(crate) fn finish(&mut self, plan: Plan) -> Outcome {
        let mut outcome = Outcome::default();
        let disk = self.superblock.disk;
        for extent in plan.sealed {
            if let Some((used, _)) = self.open_mut(extent) {
                used.filling = Filling::Sealed;
                let row = extent_row(used, extent, 0);
                outcome.changes.push(IndexChange::Extent { disk, row, rows: Vec::new() });
            }
        }
        for given_up in plan.given_up {
            if given_up.freed {
                self.free.insert(given_up.extent);
                self.extents[given_up.extent as usize] = Extent::Free;
            }
            outcome.changes.push(IndexChange::Freed { disk, extent: given_up.extent });
            let spans = given_up.spans.unwrap_or_else(|| given_up.hull.into_iter().collect());
            outcome.reclaimed.push((given_up.key, spans, given_up.why));
        }
        for placed in plan.placed {
            if let Some((used, _)) = self.open_mut(placed.extent) {
                used.hull = Some(hull_of(used.hull, placed.entry.info.label));
                used.records += 1;
                if let Filling::Open(open) = &mut used.filling {
                    open.entries.push(placed.entry);
                    let row: RunRow =
                        open.row.append(&placed.entry, used.key, disk, placed.extent, used.sequence);
                    let about = extent_row(used, placed.extent, placed.entry.offset_bytes);
                    outcome.changes.push(IndexChange::Extent { disk, row: about, rows: vec![row] });
                }
            }
            outcome.durable.push(placed.job);
        }
        outcome
    }

    fn place(&mut self, job: &Job, plan: &mut Plan, claims: Claims<'_>) -> Place {
        let current = self.open.get(&job.slot()).copied();
        if let Some(extent) = current {
            if let Some((Used { filling: Filling::Open(open), .. }, extent_bytes)) = self.open_mut(extent)
                && open.takes(job)
                && open.fits(job.header.record_bytes, extent_bytes)
            {
                return Place::At(extent);
            }
            if plan.touched.contains(&extent) {
                return Place::NextRound;
            }
        }
        let Some(extent) = self.allocate(job, current, plan, claims) else {
            // What this round writes may be given up by the next.
            return if plan.placed.is_empty() { Place::NoRoom } else { Place::NextRound };
        };
        if let Some(current) = current.filter(|current| *current != extent) {
            self.seal(current, plan);
        }
        self.open.insert(job.slot(), extent);
        Place::At(extent)
    }

    fn append(&mut self, extent: u32, mut job: Job, plan: &mut Plan) {
        let epoch = self.superblock.epoch;
        let base = self.superblock.extent_offset(extent);
        let Some((used, _)) = self.open_mut(extent) else { unreachable!("placed in a used extent") };
        let Filling::Open(open) = &mut used.filling else { unreachable!("placed in an open extent") };
        job.header.sequence = used.sequence;
        job.header.number = open.next_number;
        job.header.chain = open.chain;
        job.header.epoch = epoch;
        open.chain = job.header.encode(&mut job.head);
        let entry = Entry::from_header(&job.header, open.tail_bytes, open.chain);
        open.next_number += 1;
        open.reach = Some(hull_of(open.reach, entry.info.label));
        open.tail_bytes = entry.end_bytes();
        plan.bytes += job.bytes();
        plan.touched.insert(extent);
        let offset_bytes = base + u64::from(entry.offset_bytes);
        plan.placed.push(Placed { job, extent, offset_bytes, entry });
    }

    /// A fresh extent for the stream of `job`; `None` when all footage is protected.
    fn allocate(
        &mut self,
        job: &Job,
        current: Option<u32>,
        plan: &mut Plan,
        claims: Claims<'_>,
    ) -> Option<u32> {
        if u64::from(job.header.record_bytes) > self.record_bytes_max() {
            return None; // A disk of smaller extents than the one the record was cut for.
        }
        let extent = match self.free.pop_first() {
            Some(extent) => extent,
            None => {
                let (extent, kept) = self.oldest(current, plan, claims)?;
                if job.lane == Lane::Backfill && (kept || !self.is_older(extent, job.header.info.label)) {
                    return None; // What is fetched for a gap never costs footage that is newer, or nowhere else.
                }
                self.give_up(extent, Reclaim::ForSpace, false, plan);
                extent
            }
        };
        plan.allocated = true;
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let info = &job.header.info;
        let header =
            self.header(job.slot(), sequence, ExtentUse::Used, info.origin, info.recorder, info.label.from);
        let (block, chain) = header.encode();
        plan.blocks.push((self.superblock.extent_offset(extent), block));
        let open = Open {
            entries: Vec::new(),
            row: RowBuilder::default(),
            reach: None,
            next_number: 0,
            tail_bytes: crate::format::length_u32(crate::format::index_of(BLOCK)),
            chain,
        };
        self.extents[extent as usize] = Extent::Used(Used {
            key: job.key(),
            lane: job.lane,
            sequence,
            hull: None,
            records: 0,
            filling: Filling::Open(Box::new(open)),
        });
        Some(extent)
    }

    /// The extent whose footage goes first, and whether it is [kept](Claim::Kept): the oldest that is neither protected nor kept, else
    /// the oldest that is not protected. What streams append to is the newest of all and needs no rule of its own, but
    /// the stream that asks gives up its own only when there is no other.
    fn oldest(&self, current: Option<u32>, plan: &Plan, claims: Claims<'_>) -> Option<(u32, bool)> {
        type Candidate = (bool, WallTime, u32);
        let (mut free, mut kept): (Option<Candidate>, Option<Candidate>) = (None, None);
        for (extent, held) in (0..).zip(&self.extents) {
            let Extent::Used(used) = held else { continue };
            if plan.touched.contains(&extent) {
                continue;
            }
            let until = used.hull.map_or(WallTime::MIN, |hull| hull.to);
            let candidate = (Some(extent) == current, until, extent);
            if free.is_some_and(|free| free < candidate) {
                continue; // Whose it is need not be looked up.
            }
            match used.hull.map_or(Claim::None, |hull| claims(used.key, hull)) {
                Claim::None => free = Some(candidate),
                Claim::Kept => kept = Some(kept.map_or(candidate, |kept| kept.min(candidate))),
                Claim::Protected => {}
            }
        }
        let found = free.or(kept);
        found.map(|(_, _, extent)| (extent, free.is_none()))
    }

    /// The first label that footage must have which is fetched for a gap, to find room: `None` when there is room for any,
    /// [`WallTime::MAX`] when all is protected.
    pub(crate) fn room_from(&self, claims: Claims<'_>) -> Option<WallTime> {
        if !self.free.is_empty() {
            return None;
        }
        let oldest = self
            .oldest(None, &Plan::default(), claims)
            .filter(|(_, kept)| !kept)
            .and_then(|(extent, _)| self.extents.get(extent as usize));
        let Some(Extent::Used(oldest)) = oldest else { return Some(WallTime::MAX) };
        Some(oldest.hull.map_or(WallTime::MIN, |hull| hull.to))
    }

    /// Whether all that `extent` holds is before `label`.
    fn is_older(&self, extent: u32, label: Span) -> bool {
        match self.extents.get(extent as usize) {
            Some(Extent::Used(used)) => used.hull.is_none_or(|hull| hull.to <= label.from),
            Some(Extent::Free | Extent::Bad) | None => false,
        }
    }

    fn give_up(&mut self, extent: u32, why: Reclaim, freed: bool, plan: &mut Plan) {
        let Some(Extent::Used(used)) = self.extents.get(extent as usize) else { return };
        let spans = match &used.filling {
            Filling::Open(open) => Some(spans_of(&open.entries)),
            Filling::Sealed => None,
        };
        let given_up =
            GivenUp { extent, sequence: used.sequence, key: used.key, why, spans, hull: used.hull, freed };
        let slot = (used.key.0, used.key.1, used.lane);
        if self.open.get(&slot) == Some(&extent) {
            self.open.remove(&slot);
        }
        plan.sealed.retain(|sealed| *sealed != extent);
        plan.given_up.push(given_up);
    }

    /// Writes the index of `extent` into its trailer. All its records are durable.
    fn seal(&mut self, extent: u32, plan: &mut Plan) {
        let disk = self.superblock.disk;
        let base = self.superblock.extent_offset(extent);
        let Some((used, extent_bytes)) = self.open_mut(extent) else { return };
        let Filling::Open(open) = &used.filling else { return };
        let (index, locator) = Locator::seal(disk, used.sequence, used.key, open.tail_bytes, &open.entries);
        plan.blocks.push((base + u64::from(open.tail_bytes), index));
        plan.blocks.push((base + extent_bytes - BLOCK, locator));
        plan.sealed.push(extent);
    }

    fn header(
        &self,
        (camera, stream, lane): super::Slot,
        sequence: u64,
        usage: ExtentUse,
        origin: Origin,
        recorder: RoleId,
        first_label: WallTime,
    ) -> ExtentHeader {
        let (disk, epoch) = (self.superblock.disk, self.superblock.epoch);
        ExtentHeader { usage, disk, sequence, epoch, camera, stream, lane, origin, recorder, first_label }
    }
}

pub(super) fn extent_row(used: &Used, extent: u32, last_offset_bytes: u32) -> ExtentRow {
    ExtentRow {
        extent,
        sequence: used.sequence,
        camera: used.key.0,
        stream: used.key.1,
        sealed: matches!(used.filling, Filling::Sealed),
        hull: used.hull,
        records: used.records,
        last_offset_bytes,
    }
}

/// The labels of records, adjoining ones joined.
pub(crate) fn spans_of(entries: &[Entry]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for label in entries.iter().map(|entry| entry.info.label) {
        match spans.last_mut() {
            Some(last) if last.to == label.from => last.to = label.to,
            Some(_) | None => spans.push(label),
        }
    }
    spans
}

/// The labels of rows by stream, adjoining ones joined.
pub(crate) fn spans_of_rows(rows: &[RunRow]) -> BTreeMap<Key, Vec<Span>> {
    let mut all: BTreeMap<Key, Vec<Span>> = BTreeMap::new();
    for row in rows {
        let spans = all.entry((row.camera, row.stream)).or_default();
        match spans.last_mut() {
            Some(last) if last.to == row.label.from => last.to = row.label.to,
            Some(_) | None => spans.push(row.label),
        }
    }
    all
}
