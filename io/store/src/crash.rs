//! Crash images: what a disk may hold after the power failed at any moment, and whether recovery keeps its word.
//!
//! A workload of several cameras runs on a device that records every write and flush. An image is everything
//! before the last flush and, of each write after it, nothing, all, the front, or any set of its 512-byte sectors.
//! From each image the store is recovered, with an index that is up to date, behind, or lost, and must
//! hold every record that was told to be durable, byte for byte, and nothing that is not whole; then it must take
//! more records, and a second recovery must agree.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

use keepwatch_model::{CodecKind, Origin, RoleId, Span, StreamId, TrackConfig, WallTime};

use crate::chunk::{Media, Pool};
use crate::device::{AlignedBuffer, BlockDev, DeviceOp, MemoryDev, RecordingDev};
use crate::format::{
    BLOCK, HEADER_BYTES, RecordHeader, SAMPLE_BYTES, Superblock, TRACK_BYTES, TableTrack, encode_table,
    index_of, length_u32, padded, read_superblocks, superblock_offset,
};
use crate::index::{ExtentRow, IndexChange};
use crate::volume::{Claim, Job, Key, Lookup, Volume, check_record, execute, read_entries, recover};
use crate::{DiskId, DiskRole, Lane, RecordInfo, RunId};

const EXTENTS: u32 = 8;
const EXTENT_BYTES: u64 = 16 * BLOCK;
const DATA_OFFSET_BYTES: u64 = 16 * BLOCK;
const CAMERAS: [&str; 3] = ["north", "south", "gate"];
const SECTOR_BYTES: usize = 512;
/// Rounds of writing in one workload: enough to go round the disk several times.
const ROUNDS: usize = 24;
/// Where the labels of fetched footage begin, and how far apart gaps are that are not filled in order: no label is used
/// twice.
const FETCHED_TICKS: i64 = 900_000_000;
const GAP_TICKS: i64 = 10_000_000;
/// Images taken between two operations of the device.
const IMAGES_PER_MOMENT: u64 = 3;

/// What trying crash images has brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CrashReport {
    /// Images that were recovered.
    pub images: u64,
    /// Durable records that images should have held.
    pub records_checked: u64,
    /// Records that were not told to be durable but were whole, and were kept.
    pub records_kept_beyond: u64,
    /// Durable records that were lost: must be 0.
    pub acked_lost: u64,
    /// Records that were accepted but are not what was written: must be 0.
    pub half_accepted: u64,
    /// What went wrong, with the seed that shows it again; at most a few.
    pub failures: Vec<String>,
}

/// Recovers at least `images` crash images of workloads drawn from `seed`.
pub fn crash_images(images: u64, seed: u64) -> CrashReport {
    let mut report = CrashReport::default();
    let mut workload_seed = seed;
    while report.images < images {
        Workload::run(workload_seed).try_images(&mut report, images);
        workload_seed = workload_seed.wrapping_add(1);
    }
    report
}

/// A small random number generator (SplitMix64): the same seed gives the same images everywhere.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }
}

/// A record by its labels, which the workload never repeats.
type Name = (Key, WallTime);

/// What happened in a workload, beside what the device recorded.
struct Workload {
    seed: u64,
    ops: Vec<DeviceOp>,
    /// Records that were told to be durable after so many operations.
    acked: Vec<(usize, Name)>,
    /// Records whose extent was given up by operations from this one on.
    given_up: Vec<(usize, Name)>,
    /// What the index knew after so many operations.
    hints: Vec<(usize, BTreeMap<u32, ExtentRow>)>,
    /// What was written: checksums of headers' descriptions and data.
    written: BTreeMap<Name, RecordInfo>,
}

struct Bench {
    pool: Arc<Pool>,
    chance: Chance,
    next_label: BTreeMap<(Key, Lane), i64>,
}

impl Bench {
    fn new(seed: u64) -> Self {
        Self { pool: Pool::new(1 << 30), chance: Chance(seed), next_label: BTreeMap::new() }
    }

    /// The next record of one of the cameras.
    fn job(&mut self, role: RoleId) -> Job {
        let camera = CAMERAS[index_of(self.chance.below(CAMERAS.len() as u64))];
        let key: Key = (camera.parse().expect("is a camera id"), StreamId::MAIN);
        // Fetched footage is of another time, and now and then a gap before the last one is filled.
        let lane = if self.chance.below(4) == 0 { Lane::Backfill } else { Lane::Live };
        let goes_back = lane == Lane::Backfill && self.chance.below(6) == 0;
        let first = if lane == Lane::Live { 0 } else { FETCHED_TICKS };
        let label = self.next_label.entry((key, lane)).or_insert(first);
        if goes_back {
            *label = *label / GAP_TICKS * GAP_TICKS - GAP_TICKS;
        }
        let from = WallTime::from_ticks(*label);
        *label += 90_000;
        let label = Span { from, to: WallTime::from_ticks(*label) };
        let data_bytes = index_of(1 + self.chance.below(3 * BLOCK));
        let mut chunk = self.pool.take(false).expect("the pool is large");
        let data: Vec<u8> = (0..data_bytes / 8 + 1).flat_map(|_| self.chance.next().to_le_bytes()).collect();
        let data = &data[..data_bytes];
        chunk.append(data);
        let sample = TableTrack::encode_sample(length_u32(data_bytes), 0, crc32c::crc32c(data), true);
        let config =
            TrackConfig { kind: CodecKind::H264, clock_rate: 90_000, channels: 0, config: vec![1, 2, 3] };
        let table = TableTrack { config: &config, label: from, base_pts: 0, samples: &[sample], data_bytes };
        let mut head = AlignedBuffer::zeroed(padded(HEADER_BYTES + TRACK_BYTES + 3 + SAMPLE_BYTES));
        let (table_bytes, table_crc, record_bytes) = encode_table(&mut head, &[table]);
        let info = RecordInfo {
            run: RunId(7),
            run_start: from.ticks() == 0,
            continuation: false,
            starts_with_key: true,
            label,
            camera_time: None,
            gap_before: None,
            lost_packets: 0,
            origin: Origin::Primary,
            recorder: role,
            replaces: None,
            samples: 1,
            media_bytes: length_u32(data_bytes),
        };
        let header = RecordHeader {
            head_bytes: length_u32(head.len()),
            sequence: 0,
            number: 0,
            chain: 0,
            epoch: 0,
            camera: key.0,
            stream: key.1,
            tracks: 1,
            record_bytes,
            table_bytes,
            table_crc,
            info,
        };
        Job { header, head, media: Media::new(vec![vec![chunk]]), queued_at: Instant::now(), lane }
    }
}

fn superblock(generation: u64, epoch: u64) -> Superblock {
    Superblock {
        generation,
        compat: 0,
        ro_compat: 0,
        disk: DiskId([9; 16]),
        owner: RoleId([3; 16]),
        role: DiskRole::Recordings,
        clean: false,
        extent_bytes: EXTENT_BYTES,
        extent_count: EXTENTS,
        data_offset_bytes: DATA_OFFSET_BYTES,
        epoch,
    }
}

/// Opens the device as the store does: the next epoch becomes durable, then what is there is recovered.
fn open(device: &dyn BlockDev, hints: &BTreeMap<u32, ExtentRow>) -> Result<Volume, String> {
    let found = read_superblocks(device).map_err(|error| error.to_string())?;
    let found = found.map_err(|error| format!("superblock: {error}"))?;
    let opened = superblock(found.generation + 1, found.epoch + 1);
    device
        .write_at(superblock_offset(opened.generation), &[IoSlice::new(&opened.encode())])
        .and_then(|()| device.flush())
        .map_err(|error| error.to_string())?;
    let (volume, _) = recover(device, opened, hints).map_err(|error| error.to_string())?;
    Ok(volume)
}

/// All records a volume holds: their names, and how many could not be read back whole.
fn held(device: &dyn BlockDev, volume: &Volume) -> (BTreeMap<Name, RecordInfo>, u64) {
    let (mut all, mut bad) = (BTreeMap::new(), 0);
    for (extent, sequence, key) in volume.in_use() {
        let entries = match volume.entries(extent, sequence) {
            Lookup::Memory(entries) => entries,
            Lookup::Trailer(records) => read_entries(device, &volume.superblock, extent, sequence, records)
                .ok()
                .flatten()
                .unwrap_or_default(),
            Lookup::Gone => Vec::new(),
        };
        let base = volume.superblock.extent_offset(extent);
        for entry in entries {
            match check_record(device, base, &entry, key) {
                Ok(Ok(_)) if all.insert((key, entry.info.label.from), entry.info).is_none() => {}
                _ => bad += 1,
            }
        }
    }
    (all, bad)
}

fn nothing_claimed(_: Key, _: Span) -> Claim {
    Claim::None
}

impl Workload {
    fn run(seed: u64) -> Self {
        let memory = Arc::new(MemoryDev::new(vec![0; image_bytes()]));
        for generation in [0, 1] {
            let block = superblock(generation, 1).encode();
            memory
                .write_at(superblock_offset(generation), &[IoSlice::new(&block)])
                .expect("memory takes writes");
        }
        let device = RecordingDev::new(memory);
        let mut bench = Bench::new(seed);
        let mut done = Self {
            seed,
            ops: Vec::new(),
            acked: Vec::new(),
            given_up: Vec::new(),
            hints: vec![(0, BTreeMap::new())],
            written: BTreeMap::new(),
        };
        let mut hints = BTreeMap::new();
        let mut volume = open(&device, &hints).expect("a fresh disk opens");
        let mut by_extent: BTreeMap<u32, Vec<Name>> = BTreeMap::new();
        done.ops.extend(device.take());
        for _ in 0..ROUNDS {
            if bench.chance.below(12) == 0 {
                volume = open(&device, &hints).expect("a sound disk opens");
                done.ops.extend(device.take());
            }
            let mut jobs: VecDeque<Job> =
                (0..=bench.chance.below(5)).map(|_| bench.job(superblock(0, 0).owner)).collect();
            done.written
                .extend(jobs.iter().map(|job| ((job.key(), job.header.info.label.from), job.header.info)));
            while !jobs.is_empty() {
                let mut plan = volume.plan(&mut jobs, 1 << 20, &nothing_claimed);
                let begun = done.ops.len();
                execute(&volume.superblock, &device, &mut plan).expect("memory takes writes");
                let outcome = volume.finish(plan);
                done.ops.extend(device.take());
                let at = done.ops.len();
                done.acked
                    .extend(outcome.durable.iter().map(|job| (at, (job.key(), job.header.info.label.from))));
                for change in outcome.changes {
                    match change {
                        IndexChange::Freed { extent, .. } => {
                            hints.remove(&extent);
                            let gone = by_extent.remove(&extent).unwrap_or_default();
                            done.given_up.extend(gone.into_iter().map(|name| (begun, name)));
                        }
                        IndexChange::Extent { row, rows, .. } | IndexChange::Whole { row, rows, .. } => {
                            let key = (row.camera, row.stream);
                            let names = rows.iter().map(|run| (key, run.label.to.plus(-90_000)));
                            by_extent.entry(row.extent).or_default().extend(names);
                            hints.insert(row.extent, row);
                        }
                    }
                }
                done.hints.push((at, hints.clone()));
            }
        }
        done
    }

    /// Tries images at every moment of the workload.
    fn try_images(&self, report: &mut CrashReport, images: u64) {
        let mut chance = Chance(self.seed ^ 0x5eed);
        let start = MemoryDev::new(vec![0; image_bytes()]);
        for generation in [0, 1] {
            let block = superblock(generation, 1).encode();
            start
                .write_at(superblock_offset(generation), &[IoSlice::new(&block)])
                .expect("memory takes writes");
        }
        let mut durable = start.image();
        let mut unflushed: Vec<&DeviceOp> = Vec::new();
        for moment in 0..=self.ops.len() {
            for _ in 0..IMAGES_PER_MOMENT {
                if report.images >= images {
                    return;
                }
                let mut image = durable.clone();
                for op in &unflushed {
                    tear(op, &mut image, &mut chance);
                }
                report.images += 1;
                if let Err(failure) = self.try_image(image, moment, &mut chance, report)
                    && report.failures.len() < 8
                {
                    report.failures.push(format!("seed {} moment {moment}: {failure}", self.seed));
                }
            }
            match self.ops.get(moment) {
                Some(DeviceOp::Flush) => {
                    for op in unflushed.drain(..) {
                        apply(op, &mut durable);
                    }
                }
                Some(op @ DeviceOp::Write { .. }) => unflushed.push(op),
                None => {}
            }
        }
    }

    fn try_image(
        &self,
        image: Vec<u8>,
        moment: usize,
        chance: &mut Chance,
        report: &mut CrashReport,
    ) -> Result<(), String> {
        let known: Vec<_> = self.hints.iter().filter(|(at, _)| *at <= moment).collect();
        let hints = match chance.below(3) {
            0 => BTreeMap::new(),
            1 => known[index_of(chance.below(known.len() as u64))].1.clone(),
            _ => known[known.len() - 1].1.clone(),
        };
        let device = MemoryDev::new(image);
        let mut volume = open(&device, &hints)?;
        let (first, bad) = held(&device, &volume);
        report.half_accepted += bad;
        let foreign = first.iter().filter(|(name, info)| self.written.get(name) != Some(info)).count() as u64;
        report.half_accepted += foreign;
        let may_be_gone: BTreeSet<Name> =
            self.given_up.iter().filter(|(begun, _)| *begun <= moment).map(|(_, name)| *name).collect();
        let acked: BTreeSet<Name> =
            self.acked.iter().filter(|(at, _)| *at <= moment).map(|(_, name)| *name).collect();
        let lost: Vec<_> =
            acked.iter().filter(|name| !first.contains_key(name) && !may_be_gone.contains(name)).collect();
        report.records_checked += acked.difference(&may_be_gone).count() as u64;
        report.records_kept_beyond += first.keys().filter(|name| !acked.contains(name)).count() as u64;
        report.acked_lost += lost.len() as u64;
        if bad + foreign > 0 || !lost.is_empty() {
            return Err(format!("{bad} not whole, {foreign} not as written, lost {lost:?}"));
        }
        append_again(&device, &mut volume, first, moment as u64)
    }
}

/// Writes more records to a recovered volume and recovers it once more.
fn append_again(
    device: &MemoryDev,
    volume: &mut Volume,
    mut expected: BTreeMap<Name, RecordInfo>,
    seed: u64,
) -> Result<(), String> {
    let mut bench = Bench::new(seed);
    for camera in CAMERAS {
        let key = (camera.parse().expect("is a camera id"), StreamId::MAIN);
        // Behind everything of the workload.
        bench.next_label.insert((key, Lane::Live), 1_000_000_000);
        bench.next_label.insert((key, Lane::Backfill), 2_000_000_000);
    }
    let mut jobs: VecDeque<Job> = (0..4).map(|_| bench.job(superblock(0, 0).owner)).collect();
    while !jobs.is_empty() {
        let mut plan = volume.plan(&mut jobs, 1 << 20, &nothing_claimed);
        execute(&volume.superblock, device, &mut plan).map_err(|error| error.to_string())?;
        let outcome = volume.finish(plan);
        for (key, spans, _) in outcome.reclaimed {
            expected.retain(|(held, from), _| *held != key || !spans.iter().any(|span| span.contains(*from)));
        }
        expected.extend(
            outcome.durable.iter().map(|job| ((job.key(), job.header.info.label.from), job.header.info)),
        );
    }
    let (now, bad) = held(device, volume);
    let again = open(device, &BTreeMap::new())?;
    let (second, bad_again) = held(device, &again);
    if bad + bad_again > 0 || now != expected || second != expected {
        return Err(format!(
            "after appending: {bad}/{bad_again} not whole, {} in memory, {} recovered, {} expected",
            now.len(),
            second.len(),
            expected.len()
        ));
    }
    Ok(())
}

fn image_bytes() -> usize {
    index_of(DATA_OFFSET_BYTES + u64::from(EXTENTS) * EXTENT_BYTES)
}

fn apply(op: &DeviceOp, image: &mut [u8]) {
    if let DeviceOp::Write { offset_bytes, data } = op {
        let from = index_of(*offset_bytes);
        image[from..from + data.len()].copy_from_slice(data);
    }
}

/// Applies what a failing power supply lets through of a write.
fn tear(op: &DeviceOp, image: &mut [u8], chance: &mut Chance) {
    let DeviceOp::Write { offset_bytes, data } = op else { return };
    let from = index_of(*offset_bytes);
    let sectors = data.len() / SECTOR_BYTES;
    let manner = chance.below(4);
    let front = index_of(chance.below(sectors as u64 + 1));
    for (number, sector) in data.chunks(SECTOR_BYTES).enumerate() {
        let through = match manner {
            0 => false,
            1 => true,
            2 => number < front,
            _ => chance.below(2) == 0,
        };
        if through {
            let at = from + number * SECTOR_BYTES;
            image[at..at + sector.len()].copy_from_slice(sector);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The promise of the store: what was told to be durable is there after any crash, and nothing half.
    #[test]
    fn every_durable_record_survives_every_crash() {
        let report = crash_images(4_000, 1);
        assert_eq!(report.failures, Vec::<String>::new());
        assert_eq!((report.acked_lost, report.half_accepted), (0, 0));
        assert!(report.records_checked > 10_000, "{report:?}");
        assert!(report.records_kept_beyond > 0, "no image held more than was promised: {report:?}");
    }

    fn tried(workload: &Workload) -> CrashReport {
        let mut report = CrashReport::default();
        workload.try_images(&mut report, u64::MAX);
        report
    }

    /// The checker has teeth: a disk that does not flush is found out.
    #[test]
    fn a_disk_that_only_claims_to_flush_is_found_out() {
        let mut workload = Workload::run(3);
        assert_eq!(tried(&workload).failures, Vec::<String>::new());
        for op in &mut workload.ops {
            if *op == DeviceOp::Flush {
                *op = DeviceOp::Write { offset_bytes: 0, data: Vec::new() };
            }
        }
        assert!(tried(&workload).acked_lost > 0);
    }

    /// The checker has teeth: without the flush between headers and records, footage that was given up would seem
    /// to be there, overwritten.
    #[test]
    fn the_flush_between_headers_and_records_is_needed() {
        let mut report = CrashReport::default();
        for seed in 0..20 {
            let mut workload = Workload::run(seed);
            let mut headers = false;
            for op in &mut workload.ops {
                match op {
                    DeviceOp::Write { offset_bytes, .. } => {
                        let in_data = offset_bytes.checked_sub(DATA_OFFSET_BYTES);
                        headers |= in_data.is_some_and(|offset| offset.is_multiple_of(EXTENT_BYTES));
                    }
                    DeviceOp::Flush if headers => {
                        *op = DeviceOp::Write { offset_bytes: 0, data: Vec::new() };
                        headers = false;
                    }
                    DeviceOp::Flush => {}
                }
            }
            workload.try_images(&mut report, u64::MAX);
        }
        assert!(report.half_accepted > 0, "{report:?}");
    }
}
