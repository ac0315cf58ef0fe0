//! Fills the store of a node with footage of one camera, `cam1`, for benches.
//!
//! `fill_footage DATA DISK BYTES DAYS` writes records of ten seconds, a picture of 500 bytes each second and the first a
//! key frame, up to a moment ago: long footage that is quickly written. Prints its first and last label.
#![expect(clippy::print_stdout, reason = "a program that reports on standard output")]

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use keepwatch_model::{CameraId, CodecKind, Origin, Span, StreamId, TICKS_PER_SECOND, TrackConfig};
use keepwatch_recorder::Clock;
use keepwatch_store::{
    Commit, DiskConfig, DiskEvent, Loss, Reclaim, RecordMeta, Store, StoreConfig, StoreEvents, TRACKS_MAX,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Records on their way to the disk at a time.
const QUEUED_MAX: u32 = 2_000;
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
    let [data, disk, bytes, days] = arguments.as_slice() else { return Err("DATA DISK BYTES DAYS".into()) };
    let (sender, durable): (_, Receiver<()>) = channel();
    let disk = DiskConfig::new(disk, Some(bytes.parse()?));
    let config = StoreConfig::new(Path::new(data), vec![disk]);
    let (store, _) = Store::open(config, Arc::new(Ear(Mutex::new(sender))))?;
    let tracks =
        [TrackConfig { kind: CodecKind::H264, clock_rate: 90_000, channels: 0, config: CONFIG.to_vec() }];
    let tracks: Arc<[TrackConfig]> = tracks.into();
    let mut writer = store.writer("cam1".parse()?, StreamId::MAIN);
    let run = store.new_run();
    let records = days.parse::<i64>()? * 8_640;
    let last = Clock::new().wall().plus(-60 * TICKS_PER_SECOND);
    let first = last.plus(-records * 10 * TICKS_PER_SECOND);
    let mut queued = 0;
    for number in 0..records {
        let from = first.plus(number * 10 * TICKS_PER_SECOND);
        for picture in 0..10 {
            let pts = (number * 10 + picture) * TICKS_PER_SECOND;
            writer.push(0, pts, picture == 0, &[7; 500]).map_err(|error| error.to_string())?;
        }
        let meta = RecordMeta {
            run,
            run_start: number == 0,
            continuation: false,
            label: Span { from, to: from.plus(10 * TICKS_PER_SECOND) },
            track_labels: [from; TRACKS_MAX],
            camera_time: None,
            tracks: Arc::clone(&tracks),
            gap_before: None,
            lost_packets: 0,
            origin: Origin::Primary,
            recorder: None,
            replaces: None,
        };
        writer.commit(meta).map_err(|error| error.to_string())?;
        queued += 1;
        while queued > QUEUED_MAX {
            durable.recv()?;
            queued -= 1;
        }
    }
    while queued > 0 {
        durable.recv()?;
        queued -= 1;
    }
    store.heartbeat(last)?;
    store.close();
    println!("{{\"from\":\"{first}\",\"to\":\"{last}\",\"records\":{records}}}");
    Ok(())
}
