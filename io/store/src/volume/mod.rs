//! One disk's extents: which are free, whose the others are, where the next record goes, what is given up for it.
//!
//! A volume decides and remembers; it never blocks. Writing goes in three steps so that no lock is held while a disk
//! works: [`Volume::plan`] places records, [`execute()`] writes and flushes, [`Volume::finish`] makes the result known.
//! When a write fails the volume is thrown away and recovered from the disk, which alone knows what it holds.

mod execute;
mod geometry;
mod job;
mod plan;
mod recover;
mod scan;

pub(crate) use execute::{LIED, execute, read_back};
pub(crate) use geometry::Geometry;
pub(crate) use job::Job;
pub(crate) use plan::{Plan, spans_of_rows};
pub(crate) use recover::{Found, recover};
pub(crate) use scan::{Depth, check_record, read_entries, read_extent, scan, trailer};

use std::collections::{BTreeMap, BTreeSet};

use keepwatch_model::{CameraId, Span, StreamId};

use crate::Lane;
use crate::format::{BLOCK, Entry, Superblock, index_bytes};
use crate::index::RowBuilder;

/// Most records in one extent: bounds its index and what is kept of an open one in memory.
pub(crate) const RECORDS_PER_EXTENT_MAX: usize = 4096;

/// Most 90 kHz ticks from the first to the last label of an extent of fetched footage: a day.
const BACKFILL_TICKS_MAX: i64 = 24 * crate::ROW_TICKS_MAX;

/// A camera and one of its streams.
pub(crate) type Key = (CameraId, StreamId);

/// What an extent is filled with.
pub(crate) type Slot = (CameraId, StreamId, Lane);

/// Whether somebody wants to keep footage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Nobody.
    None,
    /// As long as there is anything else to give up.
    Kept,
    /// Whatever comes.
    Protected,
}

/// Who wants to keep footage of a stream somewhere in a span.
pub(crate) type Claims<'a> = &'a dyn Fn(Key, Span) -> Claim;

/// The extents of one disk.
pub(crate) struct Volume {
    pub(crate) superblock: Superblock,
    extents: Vec<Extent>,
    free: BTreeSet<u32>,
    /// Where the next record of each stream and lane goes.
    open: BTreeMap<Slot, u32>,
    /// Extents that were left unsealed although the stream went on in another; sealed by the next plan.
    orphans: Vec<u32>,
    next_sequence: u64,
}

/// One extent.
enum Extent {
    /// It can be allocated.
    Free,
    /// It cannot be read; it is left alone.
    Bad,
    /// It holds footage.
    Used(Used),
}

/// An extent that holds footage.
struct Used {
    key: Key,
    /// Which lane may append to it.
    lane: Lane,
    sequence: u64,
    /// From the first to the last label in it; `None` while it holds no record.
    hull: Option<Span>,
    /// Number of the last durable record plus one.
    records: u32,
    filling: Filling,
}

/// Whether records can be appended.
enum Filling {
    /// Its index stands in its trailer.
    Sealed,
    /// Its index is here only.
    Open(Box<Open>),
}

/// What must be known of an extent to append to it.
struct Open {
    /// Records that are durable.
    entries: Vec<Entry>,
    /// The row of the index that the next record may extend.
    row: RowBuilder,
    /// From the first to the last label, those being written included.
    reach: Option<Span>,
    /// Number of the next record, those being written included.
    next_number: u32,
    /// Where the next record goes.
    tail_bytes: u32,
    /// What the next record is chained to.
    chain: u32,
}

impl Open {
    /// Whether the labels of `job` may follow what is there. A camera's own go on for ever; what is fetched for gaps
    /// comes from anywhere, and must not keep what is old from expiring.
    fn takes(&self, job: &Job) -> bool {
        let label = job.header.info.label;
        match (job.lane, self.reach) {
            (Lane::Live, _) | (Lane::Backfill, None) => true,
            (Lane::Backfill, Some(reach)) => {
                label.from >= reach.to && label.to.ticks_since(reach.from) <= BACKFILL_TICKS_MAX
            }
        }
    }

    /// Whether a record of `record_bytes` fits and leaves room for the trailer.
    fn fits(&self, record_bytes: u32, extent_bytes: u64) -> bool {
        let records = self.next_number as usize + 1;
        let end = u64::from(self.tail_bytes) + u64::from(record_bytes) + index_bytes(records) as u64 + BLOCK;
        records <= RECORDS_PER_EXTENT_MAX && end <= extent_bytes
    }
}

/// Where the entries of an extent are.
pub(crate) enum Lookup {
    /// Here.
    Memory(Vec<Entry>),
    /// In its trailer; so many.
    Trailer(u32),
    /// Nowhere: the extent is free, or used for something else.
    Gone,
}

impl Volume {
    /// The entries of an extent in a certain use.
    pub(crate) fn entries(&self, extent: u32, sequence: u64) -> Lookup {
        match self.extents.get(extent as usize) {
            Some(Extent::Used(used)) if used.sequence == sequence => match &used.filling {
                Filling::Sealed => Lookup::Trailer(used.records),
                Filling::Open(open) => Lookup::Memory(open.entries.clone()),
            },
            Some(Extent::Used(_) | Extent::Free | Extent::Bad) | None => Lookup::Gone,
        }
    }

    /// Bytes of a record that fits an empty extent.
    pub(crate) const fn record_bytes_max(&self) -> u64 {
        Geometry::record_bytes_max(self.superblock.extent_bytes)
    }

    /// Bytes of all extents.
    pub(crate) fn size_bytes(&self) -> u64 {
        u64::from(self.superblock.extent_count) * self.superblock.extent_bytes
    }

    /// Bytes of extents in use, and of those among them that are protected.
    pub(crate) fn used_bytes(&self, claims: Claims<'_>) -> (u64, u64) {
        let mut sums = (0, 0);
        for used in self.used() {
            sums.0 += self.superblock.extent_bytes;
            if used.hull.is_some_and(|hull| claims(used.key, hull) == Claim::Protected) {
                sums.1 += self.superblock.extent_bytes;
            }
        }
        sums
    }

    /// The first label after all that is held of each stream.
    pub(crate) fn held_until(&self) -> BTreeMap<Key, keepwatch_model::WallTime> {
        let mut until = BTreeMap::new();
        for used in self.used() {
            if let Some(hull) = used.hull {
                let latest = until.entry(used.key).or_insert(hull.to);
                *latest = hull.to.max(*latest);
            }
        }
        until
    }

    /// Extents that hold footage, in which use, and whose it is.
    pub(crate) fn in_use(&self) -> impl Iterator<Item = (u32, u64, Key)> {
        (0..).zip(&self.extents).filter_map(|(extent, held)| match held {
            Extent::Used(used) => Some((extent, used.sequence, used.key)),
            Extent::Free | Extent::Bad => None,
        })
    }

    /// Where so many records of `bytes` would fit into free extents, spread over all that are free; fewer when there is no room for so
    /// many.
    pub(crate) fn free_places(&self, count: usize, bytes: u64) -> Vec<u64> {
        let step = (self.free.len() / count.max(1)).max(1);
        let bases: Vec<u64> = (self.free.iter().step_by(step))
            .map(|extent| self.superblock.extent_offset(*extent) + BLOCK)
            .take(count)
            .collect();
        let each = (self.superblock.extent_bytes - BLOCK).checked_div(bytes).unwrap_or(0);
        (0..each).flat_map(|place| bases.iter().map(move |base| base + place * bytes)).take(count).collect()
    }

    /// Whether the stream has an extent open here for that lane.
    pub(crate) fn is_home_of(&self, slot: Slot) -> bool {
        self.open.contains_key(&slot)
    }

    fn used(&self) -> impl Iterator<Item = &Used> {
        self.extents.iter().filter_map(|extent| match extent {
            Extent::Used(used) => Some(used),
            Extent::Free | Extent::Bad => None,
        })
    }

    fn open_mut(&mut self, extent: u32) -> Option<(&mut Used, u64)> {
        let extent_bytes = self.superblock.extent_bytes;
        match self.extents.get_mut(extent as usize) {
            Some(Extent::Used(used)) => Some((used, extent_bytes)),
            Some(Extent::Free | Extent::Bad) | None => None,
        }
    }
}

/// The span from the first to the last label of both.
pub(crate) fn hull_of(hull: Option<Span>, label: Span) -> Span {
    hull.map_or(label, |hull| Span { from: hull.from.min(label.from), to: hull.to.max(label.to) })
}
