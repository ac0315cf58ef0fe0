//! Fills the store of a node with footage of one camera, `cam1`, for benches.
//!
//! `fill_footage DATA DISK BYTES DAYS ISLANDS` writes footage up to a moment ago that is long and quickly written: records of
//! four seconds, a picture of 500 bytes each second and the first a key frame. Each hour the camera was away for three
//! seconds. Spread over the days are islands of forty seconds as cameras send them: records of a second, 4 Mbit/s, a key frame every
//! two seconds. Prints first and last label, how many records, and where the islands begin.
#![expect(clippy::print_stdout, reason = "a program that reports on standard output")]

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use keepwatch_model::{CameraId, CodecKind, Origin, Span, StreamId, TICKS_PER_SECOND, TrackConfig, WallTime};
use keepwatch_recorder::Clock;
use keepwatch_store::{
    Commit, DiskConfig, DiskEvent, Loss, Reclaim, RecordMeta, RunId, Store, StoreConfig, StoreEvents,
    StreamWriter, TRACKS_MAX,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Records on their way to the disk at a time.
const QUEUED_MAX: u32 = 2_000;
/// Length of a record between the islands.
const QUIET_TICKS: i64 = 4 * TICKS_PER_SECOND;
/// How long a camera goes without being away.
const RUN_TICKS: i64 = 3_600 * TICKS_PER_SECOND;
/// How long it is away.
const AWAY_TICKS: i64 = 3 * TICKS_PER_SECOND;
/// Length of an island, in records of a second.
const ISLAND_RECORDS: i64 = 40;
/// Pictures of a second there.
const ISLAND_PICTURES: i64 = 25;
/// Bytes of a key frame there, and of another picture: 4 Mbit/s in all.
const ISLAND_KEY_BYTES: usize = 120_000;
const ISLAND_PICTURE_BYTES: usize = 18_000;
/// Baseline profile, 320x240.
const CONFIG: &[u8] = &[
    1, 0x42, 0xc0, 0x0d, 0xff, 0xe1, 0, 0x18, 0x67, 0x42, 0xc0, 0x0d, 0xd9, 1, 0x41, 0xfb, 1, 0x10, 0, 0, 3,
    0, 0x10, 0, 0, 3, 3, 0x20, 0xf1, 0x42, 0xa4, 0x80, 1, 0, 5, 0x68, 0xcb, 0x83, 0xcb, 0x20,
];

struct Ear(Mutex<Sender<()>>);

impl StoreEvents for Ear {
    fn durable(&self, _: &Commit) {
        // The end has come when nobody waits for it.
        let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).send(());
    }
    fn lost(&self, _: &Loss) {}
    fn reclaimed(&self, _: CameraId, _: StreamId, _: &[Span], _: Reclaim) {}
    fn disk(&self, _: &DiskEvent) {}
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data, disk, bytes, days, islands] = arguments.as_slice() else {
        return Err("DATA DISK BYTES DAYS ISLANDS".into());
    };
    let (sender, durable) = channel();
    let disk = DiskConfig::new(disk, Some(bytes.parse()?));
    let config = StoreConfig::new(Path::new(data), vec![disk]);
    let (store, _) = Store::open(config, Arc::new(Ear(Mutex::new(sender))))?;
    let last = Clock::new().wall().plus(-60 * TICKS_PER_SECOND);
    let first = last.plus(-days.parse::<i64>()? * 86_400 * TICKS_PER_SECOND);
    let apart = last.ticks_since(first) / (islands.parse::<i64>()? + 1);
    let mut filling = Filling::new(&store, durable)?;
    let mut begins = Vec::new();
    let mut at = first;
    let mut next_island = first.plus(apart);
    let mut away = first.plus(RUN_TICKS);
    while at < last {
        if at >= away {
            at = at.plus(AWAY_TICKS);
            away = at.plus(RUN_TICKS);
            filling.begin_run(&store);
        }
        if at >= next_island && at.plus(ISLAND_RECORDS * TICKS_PER_SECOND) < away {
            begins.push(at);
            for number in 0..ISLAND_RECORDS {
                filling.record_island(at, number % 2 == 0)?;
                at = at.plus(TICKS_PER_SECOND);
            }
            next_island = next_island.plus(apart);
        } else {
            filling.record_quiet(at)?;
            at = at.plus(QUIET_TICKS);
        }
    }
    let records = filling.finish()?;
    store.heartbeat(at)?;
    store.close();
    let begins: Vec<String> = begins.iter().map(ToString::to_string).collect();
    println!(
        "{{\"from\":\"{first}\",\"to\":\"{at}\",\"records\":{records},\"islands\":{begins:?},\"island_s\":{ISLAND_RECORDS}}}"
    );
    Ok(())
}

/// Records that are being written.
struct Filling {
    writer: StreamWriter,
    durable: Receiver<()>,
    queued: u32,
    records: u64,
    run: RunId,
    run_starts: bool,
    tracks: Arc<[TrackConfig]>,
    island: Vec<u8>,
}

impl Filling {
    fn new(store: &Store, durable: Receiver<()>) -> Result<Self, Failure> {
        let video =
            TrackConfig { kind: CodecKind::H264, clock_rate: 90_000, channels: 0, config: CONFIG.to_vec() };
        Ok(Self {
            writer: store.writer("cam1".parse()?, StreamId::MAIN),
            durable,
            queued: 0,
            records: 0,
            run: store.new_run(),
            run_starts: true,
            tracks: [video].into(),
            island: vec![7; ISLAND_KEY_BYTES],
        })
    }

    fn begin_run(&mut self, store: &Store) {
        self.run = store.new_run();
        self.run_starts = true;
    }

    fn record_quiet(&mut self, from: WallTime) -> Result<(), Failure> {
        for number in 0..QUIET_TICKS / TICKS_PER_SECOND {
            self.writer.push(0, from.ticks() + number * TICKS_PER_SECOND, number == 0, &[7; 500])?;
        }
        self.commit(Span { from, to: from.plus(QUIET_TICKS) }, false)
    }

    fn record_island(&mut self, from: WallTime, key: bool) -> Result<(), Failure> {
        for number in 0..ISLAND_PICTURES {
            let key = key && number == 0;
            let bytes = if key { ISLAND_KEY_BYTES } else { ISLAND_PICTURE_BYTES };
            let picture = self.island.get(..bytes).unwrap_or_default();
            let pts = from.ticks() + number * TICKS_PER_SECOND / ISLAND_PICTURES;
            self.writer.push(0, pts, key, picture)?;
        }
        self.commit(Span { from, to: from.plus(TICKS_PER_SECOND) }, !key)
    }

    fn commit(&mut self, label: Span, continuation: bool) -> Result<(), Failure> {
        let meta = RecordMeta {
            run: self.run,
            run_start: std::mem::take(&mut self.run_starts),
            continuation,
            label,
            track_labels: [label.from; TRACKS_MAX],
            camera_time: None,
            tracks: Arc::clone(&self.tracks),
            gap_before: None,
            lost_packets: 0,
            origin: Origin::Primary,
            recorder: None,
            replaces: None,
        };
        self.writer.commit(meta)?;
        self.records += 1;
        self.queued += 1;
        while self.queued > QUEUED_MAX {
            self.wait()?;
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<(), Failure> {
        self.durable.recv()?;
        self.queued -= 1;
        Ok(())
    }

    /// Waits until all is on disk; returns how many records there are.
    fn finish(mut self) -> Result<u64, Failure> {
        while self.queued > 0 {
            self.wait()?;
        }
        Ok(self.records)
    }
}
