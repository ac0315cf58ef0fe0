//! Streams whose pictures are made by hand, for the tests of who watches them.

use std::sync::Arc;

use keepwatch_model::{CodecKind, StreamId, TrackConfig, WallTime};
use keepwatch_recording::ledger::Ledger;
use keepwatch_store::{DiskConfig, Silent, Store, StoreConfig};
use tempfile::TempDir;
use tokio::sync::Semaphore;

use crate::StreamState;
use crate::serve::{Arrived, Tracks};

/// Ticks from one picture to the next.
const FRAME: i64 = 3_600;
const START: WallTime = WallTime::from_ticks(160_000_000_000_000);

/// A store in which nothing is recorded.
pub(super) struct Bench {
    pub(super) store: Store,
    pub(super) reads: Arc<Semaphore>,
    _directory: TempDir,
}

impl Bench {
    pub(super) fn new() -> Self {
        let directory = TempDir::new().unwrap();
        std::fs::create_dir(directory.path().join("disk")).unwrap();
        let disk = DiskConfig::new(directory.path().join("disk"), Some(64 << 20));
        let (store, _) =
            Store::open(StoreConfig::new(directory.path(), vec![disk]), Arc::new(Silent)).unwrap();
        Self { store, reads: Arc::new(Semaphore::new(1)), _directory: directory }
    }
}

/// The main stream of a camera, always of the same name, with pictures of this coding.
pub(super) fn stream(kind: CodecKind) -> Arc<StreamState> {
    let stream = StreamState::new("gate".parse().unwrap(), StreamId::MAIN, Ledger::new(), START);
    let config = if kind == CodecKind::Jpeg {
        vec![0, 160, 0, 90]
    } else {
        let mut config = vec![1, 0x42, 0xc0, 30, 0xff, 0xe1, 0, 10];
        config.extend_from_slice(&[0x67, 0x42, 0xc0, 30, 0xd9, 0x00, 0xa0, 0x47, 0xfe, 0xc8]);
        config.extend_from_slice(&[1, 0, 4, 0x68, 0xce, 0x3c, 0x80]);
        config
    };
    let tracks: Tracks = [TrackConfig { kind, clock_rate: 90_000, channels: 0, config }].into();
    stream.hub().describe(&tracks);
    Arc::new(stream)
}

/// Shows picture `number` of so many bytes to those who watch.
pub(super) fn show(stream: &StreamState, number: i64, key: bool, bytes: usize) {
    stream.hub().show(&Arrived {
        track: 0,
        pts: number * FRAME,
        capture: START.plus(number * FRAME),
        settled: true,
        key,
        lost_packets: 0,
        data: &vec![7; bytes],
    });
}
