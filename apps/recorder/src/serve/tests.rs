//! Replay and live over the network, on a store that is filled by hand.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use keepwatch_media::depacketize::Depacketizer;
use keepwatch_media::h265::DecoderConfig;
use keepwatch_media::replay::{ClockRange, FrameMark, Frames, PlayRequest, RateControl, Scale};
use keepwatch_media::rtp::RtpPacket;
use keepwatch_model::{
    CameraId, CodecKind, Flow, GapReason, MonoTime, Origin, PacketHandler, Span, StreamId, TICKS_PER_SECOND,
    TrackConfig, WallTime,
};
use keepwatch_recording::ledger::{Ahead, Ledger};
use keepwatch_rtsp::client::{ClientConfig, ClientError, Transport, connect};
use keepwatch_store::{EventLog, RecordMeta, RunId, StoreConfig, StreamWriter};
use tempfile::TempDir;

use super::*;
use crate::bookkeeper::Bookkeeper;
use crate::camera::{CameraState, StreamState};
use crate::config::{CameraConfig, CameraSet, RtspUser};
use crate::events::Events;

const PATIENCE: Duration = Duration::from_secs(20);
/// From one picture to the next: five in a second.
const FRAME: i64 = TICKS_PER_SECOND / 5;
/// Pictures of a record: the first is a key frame.
const RECORD: i64 = 5;

/// A camera's store that is filled by hand, and its server.
struct Site {
    store: Store,
    clock: Clock,
    cameras: Arc<Registry>,
    access: watch::Sender<Arc<Access>>,
    servers: Servers,
    writer: StreamWriter,
    start: WallTime,
    /// By how much pictures are larger than what tells them apart.
    padding_bytes: usize,
    directory: TempDir,
}

fn gate() -> CameraId {
    "gate".parse().unwrap()
}

fn tracks(level: u8) -> Vec<TrackConfig> {
    let mut config = vec![1, 0x42, 0xc0, level, 0xff, 0xe1, 0, 10];
    config.extend_from_slice(&[0x67, 0x42, 0xc0, level, 0xd9, 0x00, 0xa0, 0x47, 0xfe, 0xc8]);
    config.extend_from_slice(&[1, 0, 4, 0x68, 0xce, 0x3c, 0x80]);
    vec![
        TrackConfig { kind: CodecKind::H264, clock_rate: 90_000, channels: 0, config },
        TrackConfig { kind: CodecKind::Pcmu, clock_rate: 8_000, channels: 1, config: vec![] },
    ]
}

fn users(cameras: CameraSet) -> Vec<RtspUser> {
    vec![
        RtspUser { user: "guard".to_owned(), password: "secret".into(), cameras },
        RtspUser {
            user: "visitor".to_owned(),
            password: "secret".into(),
            cameras: CameraSet::Only(BTreeSet::new()),
        },
    ]
}

impl Site {
    async fn new() -> Self {
        Self::sized(128 << 20).await
    }

    /// A site whose disk takes so many bytes.
    async fn sized(disk_bytes: u64) -> Self {
        let directory = TempDir::new().unwrap();
        let clock = Clock::new();
        let cameras = Arc::new(Registry::default());
        let config = CameraConfig::new(gate(), "rtsp://127.0.0.1:9/".parse().unwrap());
        let start = WallTime::from_ticks((clock.wall().ticks() / FRAME - 3_000) * FRAME);
        cameras.insert(Arc::new(CameraState::new(config, Ledger::new(), start)));
        let events = Arc::new(Events::new(EventLog::open(directory.path()).unwrap()));
        let bookkeeper = Arc::new(Bookkeeper::new(clock, Arc::clone(&cameras), Arc::clone(&events)));
        std::fs::create_dir(directory.path().join("disk")).unwrap();
        let disk = keepwatch_store::DiskConfig::new(directory.path().join("disk"), Some(disk_bytes));
        let (store, _) = Store::open(StoreConfig::new(directory.path(), vec![disk]), bookkeeper).unwrap();
        let access =
            watch::Sender::new(Arc::new(Access::new(users(CameraSet::All), BTreeSet::from([gate()]))));
        let data = directory.path().to_owned();
        let certificate =
            Certificate::new(None, data, "site".to_owned(), move || clock.wall(), Arc::clone(&events));
        let shared = Shared {
            reads: Arc::new(Semaphore::new(READS_MAX)),
            store: store.clone(),
            clock,
            cameras: Arc::clone(&cameras),
            access: access.subscribe(),
            certificate: Arc::new(certificate),
        };
        let any = "127.0.0.1:0".parse().unwrap();
        let config = RtspConfig { listen: vec![any], listen_tls: vec![any], tls: None, users: Vec::new() };
        let servers = Servers::start(&shared, &config);
        let writer = store.writer(gate(), StreamId::MAIN);
        let site =
            Self { store, clock, cameras, access, servers, writer, start, padding_bytes: 0, directory };
        site.until(|| {
            let serving = site.servers.serving();
            !serving.listening.is_empty() && !serving.listening_tls.is_empty()
        })
        .await;
        site
    }

    async fn until(&self, mut holds: impl FnMut() -> bool) {
        let wait = async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap();
    }

    fn stream(&self) -> Arc<StreamState> {
        Arc::clone(self.cameras.find(gate()).unwrap().main())
    }

    /// The label of a picture by its number.
    fn label(&self, number: i64) -> WallTime {
        self.start.plus(number * FRAME)
    }

    /// Records the pictures from `number` on, which must begin a record, for `records` records, and waits for the disk.
    async fn record(&mut self, run: u64, number: i64, records: i64, level: u8) {
        self.record_tracks(run, number, records, tracks(level)).await;
    }

    /// The same of other tracks, of which the first is video, and the second sound if there is one.
    async fn record_tracks(&mut self, run: u64, number: i64, records: i64, tracks: Vec<TrackConfig>) {
        let is_h265 = tracks[0].kind == CodecKind::H265;
        let stream = self.stream();
        stream.ledger().recording_from(self.label(number));
        for record in 0..records {
            let first = number + record * RECORD;
            for picture in first..first + RECORD {
                let ticks = picture * FRAME;
                let mut data = picture_data(picture, first);
                if is_h265 {
                    // Another header, of one byte more.
                    let header: [u8; 2] = if picture == first { [0x26, 1] } else { [0x02, 1] };
                    data.splice(4..5, header);
                    data[3] += 1;
                }
                let bytes = data.len() - 4 + self.padding_bytes;
                data[..4].copy_from_slice(&u32::try_from(bytes).unwrap().to_be_bytes());
                data.resize(4 + bytes, 0xff);
                self.writer.push(0, ticks, picture == first, &data).unwrap();
                if tracks.len() > 1 {
                    // A sound of 200 ms beside each picture.
                    self.writer.push(1, ticks * 8_000 / 90_000, true, &sound_data(picture)).unwrap();
                }
            }
            let label = self.label(first);
            let meta = RecordMeta {
                run: RunId(run),
                run_start: record == 0,
                continuation: false,
                label: Span { from: label, to: self.label(first + RECORD) },
                track_labels: [label; keepwatch_store::TRACKS_MAX],
                camera_time: None,
                tracks: tracks.clone().into(),
                gap_before: None,
                lost_packets: 0,
                origin: Origin::Primary,
                recorder: None,
                replaces: None,
            };
            self.writer.commit(meta).unwrap();
        }
        let end = self.label(number + records * RECORD);
        self.until(|| stream.ledger().held_until() == Some(end)).await;
        learn(&self.store, &self.cameras);
    }

    /// The time of a picture as an address has it.
    fn clock_text(&self, number: i64) -> String {
        let text = ClockRange { from: self.label(number), to: None }.to_string();
        text.trim_start_matches("clock=").trim_end_matches('-').to_owned()
    }

    /// Shows a picture to those who watch.
    fn show(&self, number: i64) {
        self.stream().hub().show(&Arrived {
            track: 0,
            pts: number * FRAME,
            capture: self.label(number),
            settled: true,
            key: number % RECORD == 0,
            lost_packets: 0,
            data: &picture_data(number, number / RECORD * RECORD),
        });
    }

    /// Nothing is recorded from here on.
    fn lose(&self) {
        let stream = self.stream();
        let at = stream.ledger().held_until().unwrap();
        stream.ledger().missing_from(at, GapReason::ConnectionLost);
    }

    fn config(&self, path: &str) -> ClientConfig {
        let address = self.servers.serving().listening[0];
        let url = format!("rtsp://{address}{path}").parse().unwrap();
        ClientConfig {
            user: Some("guard".to_owned()),
            password: Some("secret".into()),
            ..ClientConfig::new(url)
        }
    }

    fn request(&self, from: i64, to: Option<i64>) -> PlayRequest {
        PlayRequest {
            range: Some(ClockRange { from: self.label(from), to: to.map(|to| self.label(to)) }),
            rate_control: RateControl::Free,
            replay: true,
            ..PlayRequest::default()
        }
    }

    /// Replays until `enough`, or until the server ends the session.
    async fn replay(&self, request: &PlayRequest, enough: impl Fn(&Heard) -> bool) -> Heard {
        let mut heard = Collector::new(enough);
        let described = connect(&self.config("/gate/recorded")).await.unwrap();
        let session = described.replay(&[0, 1], request).await.unwrap();
        let clock = self.clock;
        tokio::time::timeout(PATIENCE, session.run(&mut heard, || clock.mono())).await.unwrap();
        heard.heard
    }
}

fn picture_data(number: i64, first: i64) -> Vec<u8> {
    let kind = if number == first { 0x65 } else { 0x41 };
    let mut unit = vec![kind, 0x88];
    // Every byte has a bit set, so that nothing looks like a start code.
    unit.extend(number.to_be_bytes().iter().flat_map(|byte| [0x80 | (byte >> 4), 0x80 | (byte & 15)]));
    let mut data = Vec::new();
    keepwatch_media::nal::write_unit(&mut data, &unit);
    data
}

fn sound_data(number: i64) -> Vec<u8> {
    let mut data = vec![0x55; 1_600];
    data[..8].copy_from_slice(&number.to_be_bytes());
    data
}

/// What a client heard.
#[derive(Default)]
struct Heard {
    /// Of each access unit its track and its mark.
    marks: Vec<(usize, FrameMark)>,
    /// Of each picture its bytes.
    pictures: Vec<Vec<u8>>,
    /// How often the parameters changed.
    changes: usize,
    /// Pictures before the last change.
    unchanged: usize,
}

impl Heard {
    /// The numbers of the marked pictures.
    fn numbers(&self, site: &Site) -> Vec<i64> {
        let pictures = self.marks.iter().filter(|(track, _)| *track == 0);
        pictures.map(|(_, mark)| mark.time.ticks_since(site.start) / FRAME).collect()
    }

    /// The numbers of the units of `track` with this mark.
    fn marked(&self, site: &Site, track: usize, is: impl Fn(&FrameMark) -> bool) -> Vec<i64> {
        let marked = self.marks.iter().filter(|(of, mark)| *of == track && is(mark));
        marked.map(|(_, mark)| mark.time.ticks_since(site.start) / FRAME).collect()
    }

    fn is_over(&self) -> bool {
        (0..2).all(|track| self.is_over_in(track))
    }

    fn is_over_in(&self, track: usize) -> bool {
        self.marks.iter().any(|(of, mark)| *of == track && mark.terminal)
    }
}

struct Collector<F> {
    heard: Heard,
    depacketizers: Vec<Depacketizer>,
    enough: F,
}

impl<F: Fn(&Heard) -> bool> Collector<F> {
    fn new(enough: F) -> Self {
        Self::of(&tracks(20), enough)
    }

    fn of(tracks: &[TrackConfig], enough: F) -> Self {
        let depacketizers = tracks.iter().map(|track| Depacketizer::new(track).unwrap()).collect();
        Self { heard: Heard::default(), depacketizers, enough }
    }
}

impl<F: Fn(&Heard) -> bool> PacketHandler for Collector<F> {
    fn rtp(&mut self, _: MonoTime, track: usize, packet: &[u8]) {
        let packet = RtpPacket::parse(packet).unwrap();
        let heard = &mut self.heard;
        heard.marks.extend(FrameMark::of(&packet).map(|mark| (track, mark)));
        let mut take = |sample: keepwatch_media::depacketize::Sample<'_>| {
            assert_eq!(sample.lost_packets, 0);
            if sample.config_changed.is_some() {
                heard.changes += 1;
                heard.unchanged = heard.pictures.len();
            }
            if track == 0 {
                heard.pictures.push(sample.data.to_vec());
            }
        };
        self.depacketizers[track].push(&packet, &mut take).unwrap();
    }

    fn rtcp(&mut self, _: MonoTime, _: usize, _: &[u8]) {}

    fn idle(&mut self, _: MonoTime) -> Flow {
        if (self.enough)(&self.heard) { Flow::Stop } else { Flow::Continue }
    }
}

#[tokio::test]
async fn every_frame_is_replayed_once_with_the_hole_marked() {
    let mut site = Site::new().await;
    site.record(1, 0, 20, 20).await;
    site.lose();
    site.record(2, 200, 10, 20).await;
    site.lose();
    let heard = site.replay(&site.request(0, Some(400)), Heard::is_over).await;
    let expected: Vec<i64> = (0..100).chain(200..250).collect();
    assert_eq!(heard.numbers(&site), expected);
    let bytes: Vec<Vec<u8>> =
        expected.iter().map(|number| picture_data(*number, number / RECORD * RECORD)).collect();
    assert!(heard.pictures == bytes[..heard.pictures.len()] && heard.pictures.len() >= 149);
    let keys: Vec<i64> = expected.iter().copied().filter(|number| number % RECORD == 0).collect();
    assert_eq!(heard.marked(&site, 0, |mark| mark.clean_point), keys);
    for track in 0..2 {
        assert_eq!(heard.marked(&site, track, |mark| mark.ends_section), [99, 249], "{track}");
        assert_eq!(heard.marked(&site, track, |mark| mark.discontinuity), [200], "{track}");
        assert_eq!(heard.marked(&site, track, |mark| mark.terminal), [249], "{track}");
    }
    // As it was recorded: a picture, then the sound of the same moment.
    let order: Vec<usize> = heard.marks.iter().map(|(track, _)| *track).collect();
    assert_eq!(order, [0, 1].repeat(150));
}

#[tokio::test]
async fn a_range_begins_at_its_clean_point_and_ends_where_it_was_asked_to() {
    let mut site = Site::new().await;
    site.record(1, 0, 20, 20).await;
    site.lose();
    site.record(2, 200, 10, 20).await;
    let heard = site.replay(&site.request(12, Some(18)), Heard::is_over).await;
    assert_eq!(heard.numbers(&site), (10..18).collect::<Vec<_>>());
    assert!(heard.marked(&site, 0, |mark| mark.ends_section).is_empty());
    assert_eq!(heard.marked(&site, 0, |mark| mark.terminal), [17]);
    // In a hole: from behind it.
    let heard = site.replay(&site.request(150, Some(205)), Heard::is_over).await;
    assert_eq!(heard.numbers(&site), (200..205).collect::<Vec<_>>());
    // Key frames only.
    let request =
        PlayRequest { frames: Frames::Intra { interval_ms: Some(2_000) }, ..site.request(0, Some(31)) };
    let heard = site.replay(&request, |heard| heard.marks.iter().any(|(_, mark)| mark.terminal)).await;
    assert_eq!(heard.numbers(&site), [0, 10, 20, 30]);
    // Nothing there.
    let refused = [site.request(110, Some(190)), site.request(-50, Some(-10)), site.request(1_000_000, None)];
    for request in refused {
        let described = connect(&site.config("/gate/recorded")).await.unwrap();
        let refused = described.replay(&[0], &request).await.err();
        assert!(matches!(refused, Some(ClientError::InvalidRange)), "{refused:?}");
    }
}

#[tokio::test]
async fn backwards_every_group_comes_once_and_each_frame_as_it_was_recorded() {
    let mut site = Site::new().await;
    site.record(1, 0, 4, 20).await;
    site.lose();
    site.record(2, 40, 2, 20).await;
    site.lose();
    let backwards = |from, to| PlayRequest { scale: Scale::REVERSE, ..site.request(from, to) };
    let groups =
        |groups: &[i64]| groups.iter().flat_map(|first| *first..first + RECORD).collect::<Vec<i64>>();
    // From the present to the beginning, over a hole.
    let heard = site.replay(&backwards(1_000, Some(-10)), Heard::is_over).await;
    assert_eq!(heard.numbers(&site), groups(&[45, 40, 15, 10, 5, 0]));
    let first = [45, 40, 15, 10, 5, 0];
    for track in 0..2 {
        assert_eq!(heard.marked(&site, track, |mark| mark.discontinuity), first, "{track}");
        assert_eq!(heard.marked(&site, track, |mark| mark.ends_section), [44, 4], "{track}");
        assert_eq!(heard.marked(&site, track, |mark| mark.terminal), [4], "{track}");
    }
    assert_eq!(heard.marked(&site, 0, |mark| mark.clean_point), first);
    let bytes: Vec<Vec<u8>> =
        heard.numbers(&site).iter().map(|n| picture_data(*n, n / RECORD * RECORD)).collect();
    assert!(heard.pictures == bytes[..heard.pictures.len()] && heard.pictures.len() + 1 >= bytes.len());
    // From the picture asked for to the group that holds the last.
    let heard = site.replay(&backwards(17, Some(8)), Heard::is_over).await;
    assert_eq!(heard.numbers(&site), [15, 16, 17, 10, 11, 12, 13, 14, 5, 6, 7, 8, 9]);
    assert!(heard.marked(&site, 0, |mark| mark.ends_section).is_empty(), "footage goes on before it");
    // Key frames only.
    let intra = PlayRequest { frames: Frames::Intra { interval_ms: None }, ..backwards(1_000, None) };
    let heard = site.replay(&intra, |heard| heard.marks.iter().any(|(_, mark)| mark.terminal)).await;
    assert_eq!(heard.numbers(&site), first);
    assert_eq!(heard.marked(&site, 0, |mark| mark.discontinuity), first);
    // Paced by the server, a thousand times as fast.
    let fast = PlayRequest {
        rate_control: RateControl::Paced,
        scale: Scale::from_thousandths(-100_000).unwrap(),
        ..site.request(47, None)
    };
    let heard = site.replay(&fast, Heard::is_over).await;
    assert_eq!(heard.numbers(&site).len(), 28);
    // Nothing there, and a range of the other direction.
    for refused in [backwards(-1, None), backwards(35, Some(25)), backwards(10, Some(20))] {
        let described = connect(&site.config("/gate/recorded")).await.unwrap();
        let refused = described.replay(&[0], &refused).await.err();
        assert!(matches!(refused, Some(ClientError::InvalidRange)), "{refused:?}");
    }
}

#[tokio::test]
async fn replay_follows_the_recording_as_it_grows() {
    let mut site = Site::new().await;
    site.record(1, 0, 4, 20).await;
    let mut collector = Collector::new(|heard: &Heard| heard.numbers_seen() >= 40);
    let session = connect(&site.config("/gate/recorded")).await.unwrap();
    let session = session.replay(&[0, 1], &site.request(0, None)).await.unwrap();
    let clock = site.clock;
    let recorded = async {
        site.record(1, 20, 2, 20).await;
        site.lose();
        site.record(2, 50, 2, 20).await;
    };
    let (end, ()) =
        tokio::join!(tokio::time::timeout(PATIENCE, session.run(&mut collector, || clock.mono())), recorded);
    end.unwrap();
    let heard = collector.heard;
    assert_eq!(heard.numbers(&site), (0..30).chain(50..60).collect::<Vec<_>>());
    assert_eq!(heard.marked(&site, 0, |mark| mark.discontinuity), [50]);
    assert!(heard.marked(&site, 0, |mark| mark.terminal).is_empty());
}

#[tokio::test]
async fn one_description_holds_for_footage_of_other_parameters() {
    let mut site = Site::new().await;
    site.record(1, 0, 2, 20).await;
    site.record(2, 10, 2, 40).await;
    site.lose();
    site.record(3, 60, 1, 20).await;
    site.lose();
    let heard = site.replay(&site.request(0, Some(100)), Heard::is_over).await;
    assert_eq!(heard.numbers(&site), (0..20).chain(60..65).collect::<Vec<_>>());
    // The description has those of the first footage; the others and their return come in band.
    assert_eq!(heard.changes, 2);
    assert_eq!(heard.marked(&site, 0, |mark| mark.discontinuity), [60], "new parameters are no hole");
}

#[tokio::test]
async fn who_may_not_see_a_camera_is_not_told_that_it_exists() {
    let mut site = Site::new().await;
    site.record(1, 0, 2, 20).await;
    let status = |config: ClientConfig| async move {
        match connect(&config).await {
            Err(ClientError::Refused { status, .. }) => status,
            Err(other) => panic!("{other:?}"),
            Ok(_) => 200,
        }
    };
    let of = |user: &str, path: &str| ClientConfig { user: Some(user.to_owned()), ..site.config(path) };
    for path in ["/gate", "/gate/recorded"] {
        assert_eq!(status(of("guard", path)).await, 200);
        assert_eq!(status(of("visitor", path)).await, 404);
    }
    assert_eq!(status(of("guard", "/gate/sub")).await, 404);
    assert_eq!(status(of("guard", "/nowhere")).await, 404);
    let wrong = ClientConfig { password: Some("wrong".into()), ..site.config("/gate") };
    assert!(matches!(connect(&wrong).await, Err(ClientError::Unauthorized { .. })));
}

#[tokio::test]
async fn a_right_that_is_taken_away_ends_what_was_begun() {
    let mut site = Site::new().await;
    site.record(1, 0, 2, 20).await;
    let replayed = AtomicUsize::new(0);
    let mut replay = Collector::new(|heard: &Heard| {
        replayed.store(heard.numbers_seen(), Ordering::Relaxed);
        false
    });
    let session = connect(&site.config("/gate/recorded")).await.unwrap();
    let session = session.replay(&[0, 1], &site.request(0, None)).await.unwrap();
    let mut live = Collector::new(|_: &Heard| false);
    let watching = connect(&site.config("/gate")).await.unwrap().play(&[0, 1]).await.unwrap();
    let clock = site.clock;
    let take_away = async {
        let stream = site.stream();
        site.until(|| stream.hub().is_watched() && replayed.load(Ordering::Relaxed) == 10).await;
        let none = users(CameraSet::Only(BTreeSet::new()));
        site.access.send_replace(Arc::new(Access::new(none, BTreeSet::from([gate()]))));
        site.until(|| !stream.hub().is_watched()).await;
    };
    let all = async {
        tokio::join!(
            session.run(&mut replay, || clock.mono()),
            watching.run(&mut live, || clock.mono()),
            take_away
        )
    };
    tokio::time::timeout(PATIENCE, all).await.unwrap();
    assert_eq!(replay.heard.numbers(&site), (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn more_replays_than_there_are_places_are_refused() {
    let mut site = Site::new().await;
    site.record(1, 0, 2, 20).await;
    let mut playing = Vec::new();
    for _ in 0..REPLAYS_MAX {
        let described = connect(&site.config("/gate/recorded")).await.unwrap();
        playing.push(described.replay(&[0], &site.request(0, None)).await.unwrap());
    }
    let described = connect(&site.config("/gate/recorded")).await.unwrap();
    match described.replay(&[0], &site.request(0, None)).await {
        Err(ClientError::Refused { status, .. }) => assert_eq!(status, 453),
        other => panic!("{other:?}"),
    }
    playing.pop();
    let again = async {
        loop {
            let described = connect(&site.config("/gate/recorded")).await.unwrap();
            if described.replay(&[0], &site.request(0, None)).await.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, again).await.unwrap();
}

#[tokio::test]
async fn the_present_is_shown_over_tls_with_the_certificate_that_status_names() {
    let site = Site::new().await;
    let serving = site.servers.serving();
    let stream = site.stream();
    stream.hub().describe(&tracks(30).into());
    let url = format!("rtsps://{}/gate", serving.listening_tls[0]).parse().unwrap();
    let config = ClientConfig { url, certificate: serving.certificate, ..site.config("/gate") };
    let session = connect(&config).await.unwrap().play(&[0, 1]).await.unwrap();
    let mut collector = Collector::new(|heard: &Heard| heard.pictures.len() >= 20);
    let clock = site.clock;
    let show = async {
        site.until(|| stream.hub().is_watched()).await;
        (0..25).for_each(|number| site.show(number));
    };
    let all = async { tokio::join!(session.run(&mut collector, || clock.mono()), show) };
    tokio::time::timeout(PATIENCE, all).await.unwrap();
    assert_eq!(collector.heard.pictures[7], picture_data(7, 5));
    assert!(collector.heard.marks.is_empty());
}

impl Heard {
    fn numbers_seen(&self) -> usize {
        self.marks.iter().filter(|(track, _)| *track == 0).count()
    }
}

/// The tracks of a camera that sends H.265 and no sound.
fn h265_tracks(level: u8) -> Vec<TrackConfig> {
    // Of x265: Main profile, 320 x 180.
    let vps =
        b"\x40\x01\x0c\x01\xff\xff\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x3c\x92\x80\x90";
    let mut sps = b"\x42\x01\x01\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x3c\xa0\x0a\x08\x0b\x9f\x79\x64\xa9\x24\xca\xf0\x16\x80\x80\x00\x00\x03\x00\x80\x00\x00\x05\x04".to_vec();
    sps[17] = level;
    let pps = b"\x44\x01\xc1\x72\xb4\x62\x40";
    let config = DecoderConfig { vps: vec![vps], sps: vec![&sps], pps: vec![pps] }.build().unwrap();
    vec![TrackConfig { kind: CodecKind::H265, clock_rate: 90_000, channels: 0, config }]
}

/// H.264 with sound up to picture 20, H.265 up to 40, then H.264 again.
async fn changing_site() -> Site {
    let mut site = Site::new().await;
    site.record(1, 0, 4, 20).await;
    site.record_tracks(2, 20, 2, h265_tracks(60)).await;
    site.record_tracks(3, 30, 2, h265_tracks(93)).await;
    site.record(4, 40, 2, 20).await;
    site.lose();
    site
}

#[tokio::test]
async fn footage_of_another_codec_is_a_gap_of_this_description_and_has_one_of_its_own() {
    let site = changing_site().await;
    let heard = site.replay(&site.request(0, Some(100)), Heard::is_over).await;
    assert_eq!(heard.numbers(&site), (0..20).chain(40..50).collect::<Vec<_>>());
    for track in 0..2 {
        assert_eq!(heard.marked(&site, track, |mark| mark.ends_section), [19, 49], "{track}");
        assert_eq!(heard.marked(&site, track, |mark| mark.discontinuity), [40], "{track}");
    }
    let backwards = PlayRequest { scale: Scale::REVERSE, ..site.request(100, Some(0)) };
    let heard = site.replay(&backwards, Heard::is_over).await;
    assert_eq!(heard.numbers(&site).len(), 30);
    assert_eq!(heard.marked(&site, 0, |mark| mark.ends_section), [44, 4]);

    let path = |number| format!("/gate/recorded/{}", site.clock_text(number));
    let config = site.config(&path(25));
    let described = connect(&config).await.unwrap();
    let kinds: Vec<CodecKind> =
        described.presentation().tracks.iter().map(|track| track.config.as_ref().unwrap().kind).collect();
    assert_eq!(kinds, [CodecKind::H265]);
    let mut heard = Collector::of(&h265_tracks(60), |heard: &Heard| heard.is_over_in(0));
    let session = described.replay(&[0], &site.request(0, Some(100))).await.unwrap();
    tokio::time::timeout(PATIENCE, session.run(&mut heard, || site.clock.mono())).await.unwrap();
    assert_eq!(heard.heard.numbers(&site), (20..40).collect::<Vec<_>>());
    // The parameters of the second camera's session come in band, before its first key frame.
    assert_eq!((heard.heard.changes, heard.heard.unchanged), (1, 10));
    // Without a range it begins at the time of the address.
    let mut heard = Collector::of(&h265_tracks(60), |heard: &Heard| heard.numbers_seen() >= 5);
    let plain = PlayRequest { rate_control: RateControl::Free, replay: true, ..PlayRequest::default() };
    let session = connect(&config).await.unwrap().replay(&[0], &plain).await.unwrap();
    tokio::time::timeout(PATIENCE, session.run(&mut heard, || site.clock.mono())).await.unwrap();
    assert_eq!(heard.heard.numbers(&site)[0], 25);
    // In a gap: what comes behind it. Behind all: nothing.
    let described = connect(&site.config(&path(-100))).await.unwrap();
    assert_eq!(described.presentation().tracks.len(), 2);
    let nothing = connect(&site.config(&path(1_000))).await.err();
    assert!(matches!(nothing, Some(ClientError::Refused { status: 404, .. })), "{nothing:?}");
}

#[tokio::test]
async fn footage_that_is_overwritten_while_it_is_played_is_passed_over_as_a_gap() {
    let mut site = Site::sized(48 << 20).await;
    // More than connection and server hold together.
    site.padding_bytes = 400_000;
    site.record(1, 0, 10, 20).await;
    let session = connect(&site.config("/gate/recorded")).await.unwrap();
    // It is not read until the disk went round.
    let session = session.replay(&[0, 1], &site.request(0, None)).await.unwrap();
    let oldest = |site: &Site| match site.stream().ledger().ahead(WallTime::MIN) {
        Ahead::Held(oldest) => oldest,
        Ahead::OnItsWay(_) | Ahead::Nothing => panic!("nothing is held"),
    };
    let mut number = 50;
    while oldest(&site) < site.label(50) {
        site.record(1, number, 2, 20).await;
        number += 10;
    }
    site.lose();
    let end = site.label(number - 1);
    let mut collector =
        Collector::new(move |heard: &Heard| heard.marks.iter().any(|(_, mark)| mark.time == end));
    tokio::time::timeout(PATIENCE, session.run(&mut collector, || site.clock.mono())).await.unwrap();
    let heard = collector.heard;
    let numbers = heard.numbers(&site);
    // What was on its way was given out; then it goes on with the oldest that there is.
    let jumps: Vec<(i64, i64)> =
        numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).map(|pair| (pair[0], pair[1])).collect();
    assert_eq!(numbers[0], 0);
    assert_eq!(jumps.len(), 1, "{jumps:?}");
    assert!(site.label(jumps[0].1) >= oldest(&site), "{jumps:?}");
    assert!(heard.marked(&site, 0, |mark| mark.ends_section).contains(&jumps[0].0));
    assert_eq!(heard.marked(&site, 0, |mark| mark.discontinuity), [jumps[0].1]);
}

#[tokio::test]
async fn footage_on_a_disk_that_is_away_is_passed_over_and_there_again_when_it_returns() {
    let mut site = Site::new().await;
    site.record(1, 0, 4, 20).await;
    site.lose();
    let (disk, away) = (site.directory.path().join("disk"), site.directory.path().join("away"));
    std::fs::rename(&disk, &away).unwrap();
    std::fs::create_dir(&disk).unwrap();
    let gone = |store: &Store| matches!(store.disks()[0].state, keepwatch_store::DiskState::Gone { .. });
    site.until(|| gone(&site.store)).await;
    let refused = connect(&site.config(&format!("/gate/recorded/{}", site.clock_text(0)))).await.err();
    assert!(matches!(refused, Some(ClientError::Refused { status: 503, .. })), "{refused:?}");
    // The ledger has it, so that the range is none that does not exist; nothing comes, and that is the end.
    let session = connect(&site.config("/gate/recorded")).await.unwrap();
    let session = session.replay(&[0, 1], &site.request(0, Some(20))).await.unwrap();
    let mut collector = Collector::new(|_: &Heard| false);
    let silence = Duration::from_millis(500);
    assert!(tokio::time::timeout(silence, session.run(&mut collector, || site.clock.mono())).await.is_err());
    assert_eq!(collector.heard.marks, []);
    std::fs::remove_dir(&disk).unwrap();
    std::fs::rename(&away, &disk).unwrap();
    site.until(|| !gone(&site.store)).await;
    let heard = site.replay(&site.request(0, Some(20)), Heard::is_over).await;
    assert_eq!(heard.numbers(&site), (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn over_udp_the_present_and_footage_are_shown_whole() {
    let mut site = Site::new().await;
    site.record(1, 0, 2, 20).await;
    site.lose();
    let udp = |path| ClientConfig { transport: Transport::Udp, ..site.config(path) };
    let session = connect(&udp("/gate/recorded")).await.unwrap();
    let session = session.replay(&[0, 1], &site.request(0, Some(10))).await.unwrap();
    let mut collector = Collector::new(Heard::is_over);
    tokio::time::timeout(PATIENCE, session.run(&mut collector, || site.clock.mono())).await.unwrap();
    assert_eq!(collector.heard.numbers(&site), (0..10).collect::<Vec<_>>());
    let stream = site.stream();
    let session = connect(&udp("/gate")).await.unwrap().play(&[0, 1]).await.unwrap();
    let mut collector = Collector::new(|heard: &Heard| heard.pictures.len() >= 20);
    let show = async {
        site.until(|| stream.hub().is_watched()).await;
        (0..25).for_each(|number| site.show(number));
    };
    let all = async { tokio::join!(session.run(&mut collector, || site.clock.mono()), show) };
    tokio::time::timeout(PATIENCE, all).await.unwrap();
    let expected: Vec<_> = (0..20).map(|number| picture_data(number, number / RECORD * RECORD)).collect();
    assert_eq!(collector.heard.pictures[..20], expected);
}
