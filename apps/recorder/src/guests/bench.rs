//! A camera whose pictures are numbered, for the tests of guests: whoever opens it sees the same numbers at the same time, so
//! that two recordings can be laid side by side.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use keepwatch_media::h264;
use keepwatch_model::{CameraId, CodecKind, Span, StreamId, TrackConfig, WallTime};
use keepwatch_rtsp::Secret;
use keepwatch_rtsp::server::{Media, NextMedia, OpenRequest, Refusal, Server, Service, Source};
use keepwatch_store::{Record, Store};
use tokio::task::JoinHandle;

use crate::clock::Clock;

/// How long anything may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(5);
/// Time between two pictures, and its ticks.
const FRAME: Duration = Duration::from_millis(40);
const FRAME_TICKS: i64 = 3_600;
/// Pictures from one key frame to the next.
pub(super) const GROUP: u32 = 25;

/// A camera that runs; it ends when dropped.
pub(super) struct NumberedCamera {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

struct Shared {
    /// When picture 0 was, by both clocks.
    began: Instant,
    epoch: WallTime,
    /// Bytes of a picture.
    frame_bytes: usize,
    /// Sessions that are open.
    sessions: AtomicU32,
}

impl NumberedCamera {
    /// A camera whose pictures have so many bytes each.
    pub(super) async fn start(frame_bytes: usize) -> Self {
        let (began, epoch) = (Instant::now(), Clock::new().wall());
        let shared = Arc::new(Shared { began, epoch, frame_bytes, sessions: AtomicU32::new(0) });
        let service = Arc::new(Numbered(Arc::clone(&shared)));
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), service).await.unwrap();
        let address = server.local_addr();
        Self { address, shared, serving: tokio::spawn(server.run()) }
    }

    /// The address of its stream.
    pub(super) fn url(&self) -> url::Url {
        format!("rtsp://{}/main", self.address).parse().unwrap()
    }

    /// Sessions that are open.
    pub(super) fn sessions(&self) -> u32 {
        self.shared.sessions.load(Ordering::Relaxed)
    }

    /// The number of the newest picture.
    pub(super) fn number(&self) -> u32 {
        u32::try_from(self.shared.began.elapsed().as_millis() / FRAME.as_millis()).unwrap()
    }

    /// The camera's time at which picture `number` begins.
    pub(super) fn time(&self, number: u32) -> WallTime {
        self.shared.epoch.plus(i64::from(number) * FRAME_TICKS)
    }
}

impl Drop for NumberedCamera {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

struct Numbered(Arc<Shared>);

impl Service for Numbered {
    fn password(&self, _: &str) -> Option<Secret> {
        None
    }

    fn needs_login(&self) -> bool {
        false
    }

    fn open(&self, _: &OpenRequest<'_>) -> Result<Box<dyn Source>, Refusal> {
        self.0.sessions.fetch_add(1, Ordering::Relaxed);
        // The next picture that decoding can start at.
        let passed = u32::try_from(self.0.began.elapsed().as_millis() / FRAME.as_millis()).unwrap();
        Ok(Box::new(Pictures {
            shared: Arc::clone(&self.0),
            next: passed.next_multiple_of(GROUP),
            sound: None,
        }))
    }
}

/// A picture and a fortieth of a second of sound in turn.
struct Pictures {
    shared: Arc<Shared>,
    next: u32,
    /// The sound that belongs to the picture that was sent last.
    sound: Option<u32>,
}

impl Drop for Pictures {
    fn drop(&mut self) {
        self.shared.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Source for Pictures {
    fn tracks(&self) -> Vec<TrackConfig> {
        vec![
            TrackConfig { kind: CodecKind::H264, clock_rate: 90_000, channels: 0, config: Vec::new() },
            TrackConfig { kind: CodecKind::Pcmu, clock_rate: 8_000, channels: 1, config: Vec::new() },
        ]
    }

    fn next(&mut self) -> NextMedia<'_> {
        Box::pin(async {
            if let Some(number) = self.sound.take() {
                return Some(Media {
                    track: 1,
                    timestamp: number.wrapping_mul(320),
                    capture: self.shared.epoch.plus(i64::from(number) * FRAME_TICKS),
                    key: true,
                    data: number.to_be_bytes().repeat(80).into(),
                    prefix: Bytes::new(),
                    lost_packets: 0,
                    mark: None,
                });
            }
            let number = self.next;
            tokio::time::sleep_until((self.shared.began + FRAME * number).into()).await;
            self.next += 1;
            self.sound = Some(number);
            Some(Media {
                track: 0,
                timestamp: number.wrapping_mul(3_600),
                capture: self.shared.epoch.plus(i64::from(number) * FRAME_TICKS),
                key: number.is_multiple_of(GROUP),
                data: picture(number, self.shared.frame_bytes),
                prefix: Bytes::new(),
                lost_packets: 0,
                mark: None,
            })
        })
    }
}

/// An access unit with a number in it.
fn picture(number: u32, bytes: usize) -> Bytes {
    let mut unit = Vec::with_capacity(bytes + 64);
    let key = number.is_multiple_of(GROUP);
    if key {
        h264::write_unit(&mut unit, &SPS);
        h264::write_unit(&mut unit, &PPS);
    }
    // The first macroblock is number 0: a picture begins here.
    let mut slice = vec![if key { 0x65 } else { 0x41 }, 0x88];
    slice.extend(format!("{number:08}").bytes());
    slice.resize(slice.len().max(bytes), 0x55);
    h264::write_unit(&mut unit, &slice);
    unit.into()
}

const SPS: [u8; 21] = [
    0x67, 0x42, 0xc0, 0x0d, 0xd9, 0x01, 0x41, 0xfb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00,
    0x03, 0x03, 0x20, 0xf1,
];
const PPS: [u8; 5] = [0x68, 0xcb, 0x83, 0xcb, 0x20];

fn number_of(sample: &[u8]) -> u32 {
    let slice = h264::units(sample).last().unwrap().unwrap();
    std::str::from_utf8(&slice[2..10]).unwrap().parse().unwrap()
}

/// All that is held of a stream.
pub(super) fn records(store: &Store, camera: CameraId, stream: StreamId) -> Vec<Record> {
    let ever = Span { from: WallTime::MIN, to: WallTime::MAX };
    let found = store.records(camera, stream, ever).unwrap();
    found.iter().map(|record| store.read(record).unwrap()).collect()
}

/// The numbers of all pictures that are held of a stream, as they follow one another.
pub(super) fn numbers(store: &Store, camera: CameraId, stream: StreamId) -> Vec<u32> {
    of_track(store, camera, stream, 0, number_of)
}

/// The same of the pieces of sound.
pub(super) fn sounds(store: &Store, camera: CameraId, stream: StreamId) -> Vec<u32> {
    of_track(store, camera, stream, 1, |sample| u32::from_be_bytes(*sample.first_chunk().unwrap()))
}

fn of_track(
    store: &Store,
    camera: CameraId,
    stream: StreamId,
    track: usize,
    number: impl Fn(&[u8]) -> u32,
) -> Vec<u32> {
    let samples = |record: &Record| {
        let count = record.index().tracks[track].samples.len();
        (0..count).map(|sample| number(record.sample(track, sample))).collect::<Vec<_>>()
    };
    records(store, camera, stream).iter().flat_map(samples).collect()
}

/// Waits until this is so.
pub(super) async fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let came = async {
        while !is_so() {
            tokio::time::sleep(LOOK).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, came).await.is_ok(), "never: {what}");
}
