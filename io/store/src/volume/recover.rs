//! Finding out what a disk holds: one header per extent, trailers where the index does not know better, and the tail
//! of every extent that was being written.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use super::plan::extent_row;
use super::scan::{Depth, Scan, any_trailer, hull, scan};
use super::{Extent, Filling, Key, Open, Slot, Used, Volume, read_extent};
use crate::Lane;
use crate::device::BlockDev;
use crate::format::{Entry, ExtentHeader, ExtentUse, Superblock};
use crate::index::{ExtentRow, IndexChange, RowBuilder};

/// Threads that read at the same time: disks that can, overlap the reads.
const READERS: u32 = 4;
/// Unreadable extents at which a disk is taken for broken rather than blemished; so is one on which most cannot be read.
const BAD_EXTENTS_MAX: usize = 64;

/// What the index knows of an extent: spares reading what is durable.
pub(crate) type Hint = ExtentRow;

/// What a recovery found.
#[derive(Default)]
pub(crate) struct Found {
    /// What the index must learn.
    pub(crate) changes: Vec<IndexChange>,
    /// Records that the index did not know.
    pub(crate) records: u64,
    pub(crate) torn_bytes: u64,
    /// Extents that the index has but the disk has not, or in another use.
    pub(crate) vanished: Vec<u32>,
    /// Durable records that cannot be read, and extents that cannot.
    pub(crate) damaged: u64,
}

enum Look {
    Unused { sequence: u64 },
    Bad,
    Known(Used),
    Read { used: Used, entries: Vec<Entry>, scan: Option<(u64, u32)>, sequence_known: bool },
}

/// Recovers the volume on `device`.
pub(crate) fn recover(
    device: &dyn BlockDev,
    superblock: Superblock,
    hints: &BTreeMap<u32, Hint>,
) -> io::Result<(Volume, Found)> {
    let looks = look_at_all(device, &superblock, hints)?;
    let mut volume = Volume {
        superblock,
        extents: Vec::with_capacity(looks.len()),
        free: BTreeSet::new(),
        open: BTreeMap::new(),
        orphans: Vec::new(),
        next_sequence: 1,
    };
    let mut found = Found::default();
    let mut bad = 0;
    for (extent, look) in (0_u32..).zip(looks) {
        if let Some(hint) = hints.get(&extent)
            && !look.is_use(hint.sequence)
        {
            found.vanished.push(extent);
        }
        let held = match look {
            Look::Unused { sequence } => {
                volume.next_sequence = volume.next_sequence.max(sequence.saturating_add(1));
                volume.free.insert(extent);
                Extent::Free
            }
            Look::Bad => {
                bad += 1;
                found.damaged += 1;
                Extent::Bad
            }
            Look::Known(used) => Extent::Used(used),
            Look::Read { used, entries, scan, sequence_known } => {
                let known = hints.get(&extent).filter(|_| sequence_known).map_or(0, |hint| hint.records);
                found.records += u64::from(used.records.saturating_sub(known));
                if let Some((torn_bytes, damaged)) = scan {
                    found.torn_bytes += torn_bytes;
                    found.damaged += u64::from(damaged);
                }
                let hint = hints.get(&extent).filter(|_| sequence_known);
                let sealed = matches!(used.filling, Filling::Sealed);
                if hint.is_none_or(|hint| hint.records != used.records || hint.sealed != sealed) {
                    found.changes.push(learn(&superblock, extent, &used, &entries));
                }
                Extent::Used(used)
            }
        };
        if let Extent::Used(used) = &held {
            volume.next_sequence = volume.next_sequence.max(used.sequence.saturating_add(1));
        }
        volume.extents.push(held);
    }
    if bad > BAD_EXTENTS_MAX || bad * 2 > volume.extents.len() {
        return Err(io::Error::other(format!("{bad} extents cannot be read")));
    }
    found.vanished.extend(hints.keys().filter(|extent| **extent >= superblock.extent_count));
    volume.choose_open();
    Ok((volume, found))
}

impl Look {
    const fn is_use(&self, sequence: u64) -> bool {
        match self {
            Self::Known(used) | Self::Read { used, .. } => used.sequence == sequence,
            // An unreadable extent may hold it still.
            Self::Bad => true,
            Self::Unused { .. } => false,
        }
    }
}

impl Volume {
    /// Each lane of a stream goes on in its latest unsealed extent; others of it are sealed with the next plan.
    fn choose_open(&mut self) {
        let mut latest: BTreeMap<Slot, (u64, u32)> = BTreeMap::new();
        for (extent, held) in (0_u32..).zip(&self.extents) {
            let Extent::Used(Used { key, lane, sequence, filling: Filling::Open(_), .. }) = held else {
                continue;
            };
            let candidate = (*sequence, extent);
            let chosen = latest.entry((key.0, key.1, *lane)).or_insert(candidate);
            if *chosen != candidate {
                self.orphans.push((*chosen).min(candidate).1);
                *chosen = (*chosen).max(candidate);
            }
        }
        self.open = latest.into_iter().map(|(slot, (_, extent))| (slot, extent)).collect();
    }
}

fn look_at_all(
    device: &dyn BlockDev,
    superblock: &Superblock,
    hints: &BTreeMap<u32, Hint>,
) -> io::Result<Vec<Look>> {
    let next = AtomicU32::new(0);
    let looks: Mutex<BTreeMap<u32, Look>> = Mutex::default();
    let failure: Mutex<Option<io::Error>> = Mutex::default();
    let work = || {
        loop {
            let extent = next.fetch_add(1, Ordering::Relaxed);
            if extent >= superblock.extent_count {
                return;
            }
            match look_at(device, superblock, extent, hints.get(&extent)) {
                Ok(look) => {
                    looks.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(extent, look);
                }
                Err(error) => {
                    failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(error);
                    next.store(superblock.extent_count, Ordering::Relaxed);
                    return;
                }
            }
        }
    };
    // A few extents are not worth threads.
    if superblock.extent_count <= 2 * READERS {
        work();
    } else {
        std::thread::scope(|scope| {
            for _ in 0..READERS {
                scope.spawn(work);
            }
        });
    }
    if let Some(error) = failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        return Err(error);
    }
    Ok(looks.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).into_values().collect())
}

fn look_at(
    device: &dyn BlockDev,
    superblock: &Superblock,
    extent: u32,
    hint: Option<&Hint>,
) -> io::Result<Look> {
    let header = match read_extent(device, superblock, extent) {
        Ok(header) => header,
        // A bad sector costs its extent, a disk that went away costs the disk.
        Err(error) if error.raw_os_error() == Some(libc::EIO) => return Ok(Look::Bad),
        Err(error) => return Err(error),
    };
    let Some((header, crc)) = header else { return salvage(device, superblock, extent) };
    if header.usage == ExtentUse::Free {
        return Ok(Look::Unused { sequence: header.sequence });
    }
    let hint = hint.filter(|hint| hint.sequence == header.sequence);
    let key = (header.camera, header.stream);
    if let Some(hint) = hint.filter(|hint| hint.sealed) {
        return Ok(Look::Known(Used {
            key,
            lane: header.lane,
            sequence: header.sequence,
            hull: hint.hull,
            records: hint.records,
            filling: Filling::Sealed,
        }));
    }
    let sealed = match any_trailer(device, superblock, extent) {
        Ok(sealed) => sealed.filter(|(locator, _)| locator.sequence == header.sequence),
        Err(error) if error.raw_os_error() == Some(libc::EIO) => None,
        Err(error) => return Err(error),
    };
    if let Some((_, entries)) = sealed {
        return Ok(sealed_look((key, header.lane), header.sequence, entries, hint.is_some()));
    }
    match unsealed_look(device, superblock, extent, (&header, crc), hint) {
        Err(error) if error.raw_os_error() == Some(libc::EIO) => Ok(Look::Bad),
        look => look,
    }
}

/// Without a header the trailer alone can say what an extent holds. A header is written within one sector, so a
/// crash does not get here, only damage.
fn salvage(device: &dyn BlockDev, superblock: &Superblock, extent: u32) -> io::Result<Look> {
    Ok(match any_trailer(device, superblock, extent)? {
        Some((locator, entries)) => {
            // Nothing is appended to it, so that its lane does not matter.
            let key = ((locator.camera, locator.stream), Lane::Live);
            sealed_look(key, locator.sequence, entries, false)
        }
        None => Look::Unused { sequence: 0 },
    })
}

fn sealed_look((key, lane): (Key, Lane), sequence: u64, entries: Vec<Entry>, sequence_known: bool) -> Look {
    let records = entries.last().map_or(0, |last| last.number.saturating_add(1));
    let used = Used { key, lane, sequence, hull: hull(&entries), records, filling: Filling::Sealed };
    Look::Read { used, entries, scan: None, sequence_known }
}

fn unsealed_look(
    device: &dyn BlockDev,
    superblock: &Superblock,
    extent: u32,
    (header, crc): (&ExtentHeader, u32),
    hint: Option<&Hint>,
) -> io::Result<Look> {
    let depth = Depth::Tail { records: hint.map_or(0, |hint| hint.records) };
    let Scan { entries, tail_bytes, chain, torn_bytes, damaged } =
        scan(device, superblock, extent, (header, crc), depth)?;
    let key = (header.camera, header.stream);
    let mut row = RowBuilder::default();
    for entry in &entries {
        row.append(entry, key, superblock.disk, extent, header.sequence);
    }
    let next_number = entries.last().map_or(0, |last| last.number.saturating_add(1));
    let reach = hull(&entries);
    let used = Used {
        key,
        lane: header.lane,
        sequence: header.sequence,
        hull: reach,
        records: next_number,
        filling: Filling::Open(Box::new(Open {
            reach,
            next_number,
            entries: entries.clone(),
            row,
            tail_bytes,
            chain,
        })),
    };
    Ok(Look::Read { used, entries, scan: Some((torn_bytes, damaged)), sequence_known: hint.is_some() })
}

fn learn(superblock: &Superblock, extent: u32, used: &Used, entries: &[Entry]) -> IndexChange {
    let mut builder = RowBuilder::default();
    let mut rows: Vec<crate::RunRow> = Vec::new();
    for entry in entries {
        let row = builder.append(entry, used.key, superblock.disk, extent, used.sequence);
        match rows.last_mut() {
            Some(last) if last.first_record == row.first_record => *last = row,
            Some(_) | None => rows.push(row),
        }
    }
    let last_offset_bytes = entries.last().map_or(0, |last| last.offset_bytes);
    IndexChange::Whole { disk: superblock.disk, row: extent_row(used, extent, last_offset_bytes), rows }
}
