//! A store in a directory of its own, cameras that fill it, and an ear for what it tells.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use keepwatch_model::{CameraId, CodecKind, Origin, Span, StreamId, TrackConfig, WallTime};
use keepwatch_store::{
    Commit, CommitError, DiskChange, DiskConfig, DiskEvent, GaveUp, Loss, Reclaim, RecordMeta, RunId, Store,
    StoreConfig, StoreEvents, StreamWriter, TRACKS_MAX, WrapDevice,
};
use tempfile::TempDir;

pub(crate) const KIB: u64 = 1024;
pub(crate) const SECOND: i64 = 90_000;
/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn camera(name: &str) -> CameraId {
    name.parse().unwrap()
}

pub(crate) fn at(seconds: i64) -> WallTime {
    WallTime::from_ticks(seconds * SECOND)
}

pub(crate) fn span(from_seconds: i64, to_seconds: i64) -> Span {
    Span::new(at(from_seconds), at(to_seconds)).unwrap()
}

pub(crate) const EVER: Span = Span { from: WallTime::MIN, to: WallTime::MAX };

/// Everything a store told.
#[derive(Debug, Default)]
pub(crate) struct Ear {
    heard: Mutex<Heard>,
    news: Condvar,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    pub(crate) durable: Vec<Commit>,
    pub(crate) lost: Vec<Loss>,
    pub(crate) reclaimed: Vec<(CameraId, Vec<Span>, Reclaim)>,
    pub(crate) disk: Vec<(PathBuf, DiskChange)>,
    pub(crate) gave_up: Vec<GaveUp>,
}

impl Ear {
    /// Waits until what was heard fulfils `enough` and returns it.
    pub(crate) fn wait(&self, enough: impl Fn(&Heard) -> bool) -> Heard {
        let heard = self.heard.lock().unwrap();
        let (heard, late) = self.news.wait_timeout_while(heard, PATIENCE, |heard| !enough(heard)).unwrap();
        assert!(
            !late.timed_out(),
            "it did not happen: {} durable, lost {:?}, reclaimed {:?}, disks {:?}",
            heard.durable.len(),
            heard.lost.iter().map(|loss| (loss.camera, loss.info.label, loss.reason)).collect::<Vec<_>>(),
            heard.reclaimed,
            heard.disk
        );
        heard.clone()
    }

    pub(crate) fn now(&self) -> Heard {
        self.heard.lock().unwrap().clone()
    }

    fn hear(&self, note: impl FnOnce(&mut Heard)) {
        note(&mut self.heard.lock().unwrap());
        self.news.notify_all();
    }
}

impl StoreEvents for Ear {
    fn durable(&self, commit: &Commit) {
        self.hear(|heard| heard.durable.push(*commit));
    }

    fn lost(&self, loss: &Loss) {
        self.hear(|heard| heard.lost.push(*loss));
    }

    fn reclaimed(&self, camera: CameraId, _: StreamId, spans: &[Span], why: Reclaim) {
        self.hear(|heard| heard.reclaimed.push((camera, spans.to_vec(), why)));
    }

    fn disk(&self, event: &DiskEvent) {
        self.hear(|heard| heard.disk.push((event.path.clone(), event.change.clone())));
    }

    fn gave_up(&self, gave_up: &GaveUp) {
        self.hear(|heard| heard.gave_up.push(*gave_up));
    }
}

/// A directory with room for a store and its disks.
pub(crate) struct Site {
    pub(crate) root: TempDir,
    pub(crate) ear: Arc<Ear>,
    pub(crate) buffer_bytes_max: u64,
}

impl Site {
    pub(crate) fn new() -> Self {
        // A name with a space, everywhere.
        let root = tempfile::Builder::new().prefix("keep watch ").tempdir().unwrap();
        Self { root, ear: Arc::default(), buffer_bytes_max: 64 << 20 }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    /// A disk of extents of 64 KiB in a directory of its own.
    pub(crate) fn disk(&self, name: &str, size_bytes: u64) -> DiskConfig {
        let path = self.root.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        DiskConfig { extent_bytes: Some(64 * KIB), ..DiskConfig::new(path, Some(size_bytes)) }
    }

    pub(crate) fn config(&self, disks: Vec<DiskConfig>) -> StoreConfig {
        StoreConfig {
            reprobe_interval: Duration::from_millis(10),
            buffer_bytes_max: self.buffer_bytes_max,
            ..StoreConfig::new(self.data(), disks)
        }
    }

    pub(crate) fn open(&self, disks: Vec<DiskConfig>) -> Store {
        Store::open(self.config(disks), Arc::<Ear>::clone(&self.ear)).unwrap().0
    }

    pub(crate) fn open_wrapped(&self, disks: Vec<DiskConfig>, wrap: Arc<WrapDevice>) -> Store {
        Store::open_wrapped(self.config(disks), Arc::<Ear>::clone(&self.ear), Some(wrap)).unwrap().0
    }

    /// A copy of everything as the disks hold it at this moment: what a crash leaves.
    pub(crate) fn crashed(&self) -> Self {
        let copy = Self::new();
        copy_all(self.root.path(), copy.root.path());
        copy
    }
}

pub(crate) fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_all(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Fills one stream second by second: a key frame, a frame, and audio.
pub(crate) struct Filler {
    pub(crate) writer: StreamWriter,
    pub(crate) run: RunId,
    pub(crate) next_second: i64,
    pub(crate) frame_bytes: usize,
    begun: bool,
}

impl Filler {
    pub(crate) fn new(store: &Store, name: &str) -> Self {
        let writer = store.writer(camera(name), StreamId::MAIN);
        Self { writer, run: store.new_run(), next_second: 0, frame_bytes: 3_000, begun: false }
    }

    pub(crate) fn from(store: &Store, name: &str, second: i64) -> Self {
        Self { next_second: second, ..Self::new(store, name) }
    }

    /// Writes one second; its frames can be made again with [`frame`].
    pub(crate) fn second(&mut self) -> Result<(), CommitError> {
        let second = self.next_second;
        self.next_second += 1;
        let pts = second * SECOND;
        let pushed = (0..2).try_for_each(|number| {
            let data = frame(second, number, self.frame_bytes);
            self.writer.push(0, pts + number * SECOND / 2, number == 0, &data)
        });
        self.writer.push(1, second * 8_000, true, &frame(second, 2, 160)).ok();
        if pushed.is_err() {
            self.writer.discard();
            return Err(CommitError::Empty);
        }
        let meta = self.meta(second);
        self.begun = true;
        self.writer.commit(meta)
    }

    pub(crate) fn seconds(&mut self, count: i64) {
        for _ in 0..count {
            self.second().unwrap();
        }
    }

    pub(crate) fn meta(&self, second: i64) -> RecordMeta {
        RecordMeta {
            run: self.run,
            run_start: !self.begun,
            continuation: false,
            label: span(second, second + 1),
            track_labels: [at(second); TRACKS_MAX],
            camera_time: None,
            tracks: tracks(),
            gap_before: None,
            lost_packets: 0,
            origin: Origin::Primary,
            recorder: None,
            replaces: None,
        }
    }
}

pub(crate) fn tracks() -> Arc<[TrackConfig]> {
    Arc::new([
        TrackConfig {
            kind: CodecKind::H264,
            clock_rate: 90_000,
            channels: 0,
            config: vec![1, 0x42, 0xc0, 0x1e],
        },
        TrackConfig { kind: CodecKind::Pcmu, clock_rate: 8_000, channels: 1, config: Vec::new() },
    ])
}

/// The bytes of a frame: reproducible, different for each.
pub(crate) fn frame(second: i64, number: i64, bytes: usize) -> Vec<u8> {
    let mut state = (second as u64) << 8 | number as u64;
    (0..bytes)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u8
        })
        .collect()
}

/// Reads all a camera has and checks every frame; returns the seconds it has.
pub(crate) fn read_back(store: &Store, name: &str, frame_bytes: usize) -> Vec<i64> {
    let records = store.records(camera(name), StreamId::MAIN, EVER).unwrap();
    records
        .iter()
        .map(|found| {
            let second = found.info.label.from.ticks() / SECOND;
            let record = store.read(found).unwrap();
            assert_eq!(record.index(), &store.read_index(found).unwrap());
            for number in 0..2 {
                let expected = frame(second, number, frame_bytes);
                assert_eq!(record.sample(0, usize::try_from(number).unwrap()), expected);
            }
            assert_eq!(record.sample(1, 0), frame(second, 2, 160));
            assert_eq!(record.index().tracks[0].config, tracks()[0]);
            second
        })
        .collect()
}
