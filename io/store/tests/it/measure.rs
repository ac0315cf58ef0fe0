//! What the store costs; run by hand:
//! `cargo test --release -p keepwatch-store --test it -- --ignored --nocapture measure`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use keepwatch_model::{CameraId, Origin, Span, StreamId};
use keepwatch_store::{
    Commit, DiskConfig, DiskEvent, Loss, Reclaim, RecordMeta, Store, StoreEvents, TRACKS_MAX,
};

use crate::site::{SECOND, Site, at, camera, tracks};

const CAMERAS: usize = 64;
const FRAMES_PER_SECOND: i64 = 25;
const BYTES_PER_SECOND: usize = 500_000;
const SECONDS: i64 = 60;

/// Counts, and nothing else: what hears must not cost.
#[derive(Default)]
struct Counter {
    told: Mutex<usize>,
    news: Condvar,
}

impl Counter {
    fn wait(&self, records: usize) {
        let told = self.told.lock().unwrap();
        drop(self.news.wait_while(told, |told| *told < records).unwrap());
    }
}

impl StoreEvents for Counter {
    fn durable(&self, _: &Commit) {
        *self.told.lock().unwrap() += 1;
        self.news.notify_one();
    }

    fn lost(&self, loss: &Loss) {
        panic!("{loss:?}");
    }

    fn reclaimed(&self, _: CameraId, _: StreamId, _: &[Span], _: Reclaim) {}
    fn disk(&self, _: &DiskEvent) {}
}

/// CPU seconds of this process, user and system (proc(5): fields 14 and 15 of `stat`, in hundredths).
fn cpu_seconds() -> (f64, f64) {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() / 100.0, fields[12].parse::<f64>().unwrap() / 100.0)
}

fn resident_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// 64 cameras of 4 Mbit/s, each frame pushed alone, a record per group of pictures; what one frame time
/// of all cameras completes is awaited until it is durable: as many flushes as when paced by cameras.
fn run(gop_seconds: i64) {
    let site = Site::new();
    // On a real file system: where the crate is built, not in a directory that may be memory.
    let place = tempfile::Builder::new().prefix("measure").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path: PathBuf = place.path().to_owned();
    let disk = DiskConfig::new(Path::new(&path), Some(6 << 30));
    let mut config = site.config(vec![disk]);
    config.buffer_bytes_max = 256 << 20;
    config.reprobe_interval = std::time::Duration::from_secs(3);
    let counter = Arc::<Counter>::default();
    let (store, _) = Store::open(config, Arc::<Counter>::clone(&counter)).unwrap();
    let frame_bytes = BYTES_PER_SECOND / usize::try_from(FRAMES_PER_SECOND).unwrap();
    let frame: Vec<u8> = crate::site::frame(1, 1, frame_bytes);
    let mut writers: Vec<_> =
        (0..CAMERAS).map(|number| store.writer(camera(&format!("cam{number}")), StreamId::MAIN)).collect();
    let runs: Vec<_> = (0..CAMERAS).map(|_| store.new_run()).collect();
    let (tracks, mut records, mut worst_kib) = (tracks(), 0, 0);
    let (started, cpu) = (Instant::now(), cpu_seconds());
    for tick in 0..SECONDS * FRAMES_PER_SECOND {
        for (number, writer) in writers.iter_mut().enumerate() {
            // Cameras do not start their groups of pictures together.
            let phase = i64::try_from(number).unwrap() * FRAMES_PER_SECOND * gop_seconds
                / i64::try_from(CAMERAS).unwrap();
            let in_gop = (tick + phase) % (FRAMES_PER_SECOND * gop_seconds);
            if in_gop == 0 && writer.open_samples() > 0 {
                let to = tick * SECOND / FRAMES_PER_SECOND;
                let from = to - i64::try_from(writer.open_samples()).unwrap() * SECOND / FRAMES_PER_SECOND;
                let label = Span::new(at(0).plus(from), at(0).plus(to)).unwrap();
                writer
                    .commit(RecordMeta {
                        run: runs[number],
                        run_start: false,
                        continuation: false,
                        label,
                        track_labels: [label.from; TRACKS_MAX],
                        camera_time: None,
                        tracks: tracks.clone(),
                        gap_before: None,
                        lost_packets: 0,
                        origin: Origin::Primary,
                        recorder: None,
                        replaces: None,
                    })
                    .unwrap();
                records += 1;
            }
            writer.push(0, tick * SECOND / FRAMES_PER_SECOND, in_gop == 0, &frame).unwrap();
        }
        counter.wait(records);
        worst_kib = worst_kib.max(resident_kib());
    }
    let (seconds, after) = (started.elapsed().as_secs_f64(), cpu_seconds());
    let gigabytes = records as f64 * (BYTES_PER_SECOND as f64 * gop_seconds as f64) / 1e9;
    let (user, system) = (after.0 - cpu.0, after.1 - cpu.1);
    eprintln!(
        "{CAMERAS} cameras, {gop_seconds} s groups: {gigabytes:.2} GB in {seconds:.1} s, user {user:.2} s, system {system:.2} s, \
         {:.3} CPU-s/GB, {:.2} MB resident per camera",
        (user + system) / gigabytes,
        worst_kib as f64 / 1024.0 / CAMERAS as f64
    );
}

#[test]
#[ignore = "a measurement"]
fn measure_the_cost_of_recording() {
    run(2);
    run(1);
}
