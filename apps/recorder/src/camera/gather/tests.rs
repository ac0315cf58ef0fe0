//! Samples go in with virtual clocks, a real store takes them, and the ledger and the disk are asked afterwards.

use super::*;
use crate::serve::{Hub, Seen};
use keepwatch_model::{SpanSet, StreamId};
use keepwatch_recording::ledger::Ledger;
use keepwatch_store::{EventLog, EventQuery, Store, StoreConfig};
use tempfile::TempDir;

use crate::bookkeeper::Bookkeeper;
use crate::camera::{CameraState, Registry};
use crate::clock::Clock;
use crate::config::CameraConfig;
use crate::events::Events;

const FRAME: i64 = 3_600;
const START: WallTime = WallTime::from_ticks(160_000_000_000_000);

struct Bench {
    camera: Arc<CameraState>,
    stream: StreamId,
    context: Context,
    output: Output,
    signals: (mpsc::Sender<Signal>, mpsc::Receiver<Signal>),
    _directory: TempDir,
}

/// A session fed frame by frame; arrival follows the frame number.
struct Session<'a> {
    gather: Gather<'a>,
    config: TrackConfig,
}

fn video_config(tag: u8) -> TrackConfig {
    TrackConfig { kind: CodecKind::H264, clock_rate: 90_000, channels: 0, config: vec![1, 66, 0, 30, tag] }
}

impl Bench {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let config = CameraConfig::new("cam1".parse().unwrap(), "rtsp://127.0.0.1/cam1".parse().unwrap());
        let clock = Clock::new();
        let mut ledger = Ledger::new();
        ledger.missing_from(START.plus(-90_000), GapReason::ConnectionLost);
        let camera = Arc::new(CameraState::new(config, ledger, START));
        let registry = Arc::new(Registry::default());
        registry.insert(Arc::clone(&camera));
        let events = Arc::new(Events::new(EventLog::open(directory.path()).unwrap()));
        let bookkeeper = Arc::new(Bookkeeper::new(clock, registry, Arc::clone(&events)));
        let disk = keepwatch_store::DiskConfig::new(directory.path().join("disk"), Some(128 << 20));
        std::fs::create_dir(directory.path().join("disk")).unwrap();
        let (store, _) = Store::open(StoreConfig::new(directory.path(), vec![disk]), bookkeeper).unwrap();
        let writer = store.writer(camera.id, StreamId::MAIN);
        let output = Output { writer, store: store.clone(), seam: None, usual_ticks: None };
        let context = Context { clock, store, events };
        Self {
            camera,
            stream: StreamId::MAIN,
            context,
            output,
            signals: mpsc::channel(8),
            _directory: directory,
        }
    }

    fn session(&mut self) -> Session<'_> {
        self.session_of(&[video_config(0)])
    }

    /// A session with these tracks, the video first.
    fn session_of(&mut self, tracks: &[TrackConfig]) -> Session<'_> {
        let stream = self.camera.stream(self.stream).unwrap();
        let signals = self.signals.0.clone();
        let gather = Gather::new(&self.context, stream, &mut self.output, signals, tracks);
        Session { gather, config: tracks[0].clone() }
    }

    /// What is fed from here on is the sub stream's.
    fn go_on_with_sub(&mut self) {
        let mut ledger = Ledger::new();
        ledger.missing_from(START.plus(-90_000), GapReason::ConnectionLost);
        let stream = self.camera.take_up_sub(ledger, START);
        self.stream = stream.id;
        self.output = Output::new(&self.context.store, stream);
    }

    /// The sentences of all events, in order.
    fn told(&self) -> Vec<String> {
        let log = self.context.events.log();
        log.flush();
        let query = EventQuery {
            from: WallTime::MIN,
            to: WallTime::MAX,
            newest_first: false,
            after: None,
            limit: 1_000,
        };
        log.page(&query).unwrap().items.into_iter().map(|(_, event)| event.text).collect()
    }

    /// The samples of a track on disk: their bytes and labels.
    fn samples_on_disk(&self, track: usize) -> Vec<(Vec<u8>, WallTime)> {
        let mut samples = Vec::new();
        for record in self.records() {
            let described = &record.index().tracks[track];
            for (number, sample) in described.samples.iter().enumerate() {
                samples.push((record.sample(track, number).to_vec(), described.label_of(sample)));
            }
        }
        samples
    }

    fn records(&self) -> Vec<keepwatch_store::Record> {
        let everything = Span { from: WallTime::MIN, to: WallTime::MAX };
        let store = &self.output.store;
        let found = store.records(self.camera.id, self.stream, everything).unwrap();
        found.iter().map(|record| store.read(record).unwrap()).collect()
    }

    /// Waits until all that was queued is on disk, then returns the ledger's items in frames since the start.
    fn settled(&self) -> Vec<(i64, i64, &'static str)> {
        let stream = self.camera.stream(self.stream).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            while stream.pending() > 0 {
                stream.progressed().await;
            }
        });
        self.items(stream)
    }

    fn items(&self, stream: &StreamState) -> Vec<(i64, i64, &'static str)> {
        let window = Span { from: START, to: START.plus(100_000 * FRAME) };
        let items = stream.ledger().items(window, window.to, &SpanSet::new());
        let frame = |label: WallTime| (label.ticks_since(START) + FRAME / 2).div_euclid(FRAME);
        items
            .into_iter()
            .map(|item| {
                let state = match item.state {
                    State::Held { .. } => "held",
                    State::Gap { reason: GapReason::PacketsLost } => "packets lost",
                    State::Gap { reason: GapReason::ConnectionLost } => "connection lost",
                    State::Gap { reason: GapReason::CameraSilent } => "camera silent",
                    State::Gap { .. }
                    | State::Expired
                    | State::Unscheduled
                    | State::NoAlarm
                    | State::Unknown { .. } => panic!("{item:?}"),
                };
                (frame(item.span.from), frame(item.span.to), state)
            })
            .collect()
    }

    /// Frame numbers on disk, each taken from the sample's bytes, with its label, in the order of the records.
    fn on_disk(&self) -> Vec<(i64, WallTime)> {
        let number = |bytes: &[u8]| i64::from_le_bytes(bytes[..8].try_into().unwrap());
        self.samples_on_disk(VIDEO).into_iter().map(|(bytes, label)| (number(&bytes), label)).collect()
    }
}

impl Session<'_> {
    /// Frame `number` with RTP time `pts`; a key frame every 25.
    fn frame_at(&mut self, number: i64, pts: i64, lost_packets: u32, changed: bool) {
        let mut data = number.to_le_bytes().to_vec();
        data.resize(2_000, 7);
        let now = MonoTime::from_nanos(1_000_000 * u64::try_from(number * 40 + 1).unwrap());
        self.gather.batch = (now, START.plus(number * FRAME));
        let sample = Sample {
            data: &data,
            timestamp: pts,
            key: number % 25 == 0,
            lost_packets,
            config_changed: changed.then_some(&self.config),
            mark: None,
        };
        self.gather.sample(now, 0, &sample);
        self.gather.idle(now);
    }

    /// A sample of another track, of which `ticks` have passed since the start, while frame `number` is on its way.
    fn beside(&mut self, track: usize, number: i64, ticks: i64, data: &[u8]) {
        let now = MonoTime::from_nanos(1_000_000 * u64::try_from(number * 40 + 2).unwrap());
        self.gather.batch = (now, START.plus(number * FRAME));
        let sample =
            Sample { data, timestamp: ticks, key: true, lost_packets: 0, config_changed: None, mark: None };
        self.gather.sample(now, track, &sample);
    }

    fn frames(&mut self, numbers: std::ops::Range<i64>) {
        for number in numbers {
            self.frame_at(number, number * FRAME, 0, false);
        }
    }
}

fn consecutive(frames: &[(i64, WallTime)]) {
    for pair in frames.windows(2) {
        assert_eq!(pair[1].0, pair[0].0 + 1);
        assert!(pair[1].1 > pair[0].1, "labels grow");
    }
}

#[test]
fn every_frame_is_on_disk_once_and_every_second_is_held() {
    let mut bench = Bench::new();
    let mut session = bench.session();
    session.frames(0..260);
    session.gather.finish(Ending::Missing(GapReason::ConnectionLost));
    assert_eq!(bench.settled(), [(0, 260, "held"), (260, 100_000, "connection lost")]);
    let frames = bench.on_disk();
    assert_eq!(frames.len(), 260);
    consecutive(&frames);
}

/// Nobody watched while the record was filled, so nothing was copied; the first who does sees its pictures all the same.
#[test]
fn the_first_viewer_sees_the_open_record_and_then_what_comes() {
    let mut bench = Bench::new();
    let hub = Arc::clone(bench.camera.main().hub());
    let mut session = bench.session();
    session.frames(0..30);
    let mut watching = Hub::watch(Arc::clone(&hub));
    session.frames(30..33);
    let later = Hub::watch(Arc::clone(&hub));
    session.frames(33..34);
    for number in 25..34 {
        let Some(Seen::Shown(shown)) = watching.try_next() else { panic!("picture {number}") };
        assert_eq!(i64::from_le_bytes(shown.data[..8].try_into().unwrap()), number);
        assert_eq!((shown.data.len(), shown.key), (2_000, number == 25));
        assert!(shown.settled, "its run has records already");
    }
    drop((watching, later));
    session.gather.finish(Ending::Missing(GapReason::ConnectionLost));
    bench.settled();
    consecutive(&bench.on_disk());
}

#[test]
fn a_parameter_change_starts_a_run_and_loses_no_frame() {
    let mut bench = Bench::new();
    let mut session = bench.session();
    session.frames(0..50);
    session.config = video_config(9);
    session.frame_at(50, 50 * FRAME, 0, true);
    session.frames(51..100);
    session.gather.finish(Ending::Missing(GapReason::ConnectionLost));
    assert_eq!(bench.settled(), [(0, 100, "held"), (100, 100_000, "connection lost")]);
    consecutive(&bench.on_disk());
    let window = Span { from: START, to: START.plus(100 * FRAME) };
    let runs = bench.output.store.runs(bench.camera.id, StreamId::MAIN, window).unwrap();
    assert_eq!(runs.len(), 2);
}

/// A camera sends sound and pictures on connections of their own making: either can be the first whose timestamps jump.
#[test]
fn sound_beside_a_timestamp_jump_keeps_its_place() {
    let sound =
        TrackConfig { kind: CodecKind::Aac, clock_rate: 16_000, channels: 1, config: vec![0x14, 0x08] };
    let minutes = 60 * TICKS_PER_SECOND;
    for (jump, sound_from) in [-minutes, minutes, 149 * 60 * minutes]
        .into_iter()
        .flat_map(|jump| [55, 59, 60, 61, 66].map(|sound_from| (jump, sound_from)))
    {
        let mut bench = Bench::new();
        let mut session = bench.session_of(&[video_config(0), sound.clone()]);
        for number in 0..130 {
            let moved = |from| if number >= from { jump } else { 0 };
            session.frame_at(number, number * FRAME + moved(60), 0, false);
            let ticks = number * FRAME + moved(sound_from);
            session.beside(1, number, ticks * 16_000 / TICKS_PER_SECOND, &number.to_le_bytes());
        }
        session.gather.finish(Ending::Missing(GapReason::ConnectionLost));
        let what = format!("jump by {jump}, of sound from {sound_from}");
        assert_eq!(bench.settled(), [(0, 130, "held"), (130, 100_000, "connection lost")], "{what}");
        let heard = bench.samples_on_disk(1);
        assert_eq!(heard.len(), 130, "{what}");
        for (number, (_, label)) in (0..).zip(heard) {
            let error = label.ticks_since(START.plus(number * FRAME));
            assert!(error.abs() <= FRAME, "{what}: packet {number} is labelled {error} ticks off");
        }
    }
}

/// mediamtx#5984 and #4711: one jump made a segment of 149 hours.
#[test]
fn a_timestamp_jump_starts_a_run_and_is_no_gap() {
    for jump in [149 * 3_600 * TICKS_PER_SECOND, -149 * 3_600 * TICKS_PER_SECOND] {
        let mut bench = Bench::new();
        let mut session = bench.session();
        session.frames(0..60);
        for number in 60..130 {
            session.frame_at(number, number * FRAME + jump, 0, false);
        }
        session.gather.finish(Ending::Missing(GapReason::ConnectionLost));
        assert_eq!(bench.settled(), [(0, 130, "held"), (130, 100_000, "connection lost")]);
        let frames = bench.on_disk();
        assert_eq!(frames.len(), 130);
        consecutive(&frames);
    }
}

#[test]
fn lost_packets_leave_a_gap_of_the_frames_they_carried() {
    let mut bench = Bench::new();
    let mut session = bench.session();
    session.frames(0..60);
    session.frame_at(63, 63 * FRAME, 42, false);
    session.frames(64..100);
    session.gather.finish(Ending::Missing(GapReason::ConnectionLost));
    assert_eq!(
        bench.settled(),
        [(0, 60, "held"), (60, 63, "packets lost"), (63, 100, "held"), (100, 100_000, "connection lost")]
    );
}

#[test]
fn two_sessions_leave_a_gap_of_exactly_the_frames_between() {
    let mut bench = Bench::new();
    for (numbers, rtp_offset) in [(0..75, 0), (100..200, 5_000_000)] {
        let mut session = bench.session();
        for number in numbers {
            let pts = number * FRAME + rtp_offset;
            session.frame_at(number, pts, 0, false);
            if number % 25 == 0 {
                let now = MonoTime::from_nanos(1);
                let rtp = u32::try_from(pts).unwrap();
                session.gather.sender_report(now, 0, rtp, START.plus(number * FRAME + 123_456));
            }
        }
        session.gather.finish(Ending::Missing(GapReason::ConnectionLost));
    }
    assert_eq!(
        bench.settled(),
        [
            (0, 75, "held"),
            (75, 100, "connection lost"),
            (100, 200, "held"),
            (200, 100_000, "connection lost")
        ]
    );
}

#[test]
fn pictures_before_the_first_key_frame_are_waited_through_and_told() {
    let mut bench = Bench::new();
    let mut session = bench.session();
    for number in 1..200 {
        // Numbers that are never a multiple of 25: no key frame.
        session.frame_at(number * 25 + 1, number * FRAME, 0, false);
    }
    session.gather.finish(Ending::Missing(GapReason::KeyFrameMissing));
    assert_eq!(bench.signals.1.try_recv(), Ok(Signal::KeyFrameMissing));
    bench.settled();
    assert!(bench.on_disk().is_empty());
}

/// Pictures shown in another order than sent: I P B B, as encoders with two B-frames do.
#[test]
fn reordered_pictures_are_held_without_a_seam() {
    let mut bench = Bench::new();
    let mut session = bench.session();
    for group in 0..40 {
        // Decode order 0 3 1 2 within a group of four; a key frame every 24 pictures or so.
        for (place, shown) in [0, 3, 1, 2].into_iter().enumerate() {
            let number = group * 4 + i64::try_from(place).unwrap();
            let mut data = number.to_le_bytes().to_vec();
            data.resize(500, 1);
            let now = MonoTime::from_nanos(1_000_000 * u64::try_from(number * 40 + 1).unwrap());
            session.gather.batch = (now, START.plus(number * FRAME));
            let timestamp = (group * 4 + shown) * FRAME;
            let key = group % 6 == 0 && place == 0;
            let sample =
                Sample { data: &data, timestamp, key, lost_packets: 0, config_changed: None, mark: None };
            session.gather.sample(now, 0, &sample);
        }
    }
    session.gather.finish(Ending::Missing(GapReason::ConnectionLost));
    let settled = bench.settled();
    assert_eq!(settled.iter().filter(|item| item.2 == "held").count(), 1, "{settled:?}");
    let mut frames = bench.on_disk();
    assert_eq!(frames.len(), 160);
    frames.sort_by_key(|(_, label)| *label);
    for pair in frames.windows(2) {
        let interval = pair[1].1 - pair[0].1;
        assert!((interval - FRAME).abs() <= 4, "{interval}");
    }
}

/// Four seconds without a picture are no frame that stands for four seconds, though no packet was lost.
#[test]
fn a_pause_is_a_gap_of_its_length() {
    let mut bench = Bench::new();
    let mut session = bench.session();
    session.frames(0..60);
    session.frames(160..260);
    session.gather.finish(Ending::Missing(GapReason::ConnectionLost));
    assert_eq!(
        bench.settled(),
        [(0, 60, "held"), (60, 160, "camera silent"), (160, 260, "held"), (260, 100_000, "connection lost")]
    );
    let last = bench.on_disk().last().unwrap().1;
    assert!(
        bench.camera.main().ledger().held_until().unwrap().ticks_since(last) <= 2 * FRAME,
        "nothing held in the future"
    );
}

/// A session's first picture, then none for a while. The open record is closed meanwhile, or both come at once.
#[test]
fn a_pause_of_a_fast_camera_is_a_gap_from_its_second_picture_on() {
    for (pause, closes) in [(40, true), (40, false), (100, true), (275, true), (275, false), (400, true)] {
        let mut bench = Bench::new();
        let mut session = bench.session();
        session.frames(0..1);
        if closes {
            session.gather.idle(MonoTime::from_nanos(1_600_000_000));
        }
        session.frames(pause..pause + 100);
        session.gather.finish(Ending::Missing(GapReason::ConnectionLost));
        let end = pause + 100;
        assert_eq!(
            bench.settled(),
            [
                (0, 1, "held"),
                (1, pause, "camera silent"),
                (pause, end, "held"),
                (end, 100_000, "connection lost")
            ]
        );
        let frames = bench.on_disk();
        assert_eq!(frames.len(), 101);
        for (number, label) in frames {
            assert!((label.ticks_since(START) - number * FRAME).abs() <= FRAME / 2, "frame {number}");
        }
        let window = Span { from: START, to: START.plus(end * FRAME) };
        assert_eq!(bench.output.store.runs(bench.camera.id, StreamId::MAIN, window).unwrap().len(), 2);
    }
}

/// Two pictures, and the session ends before another can tell: the session before it does.
#[test]
fn a_pause_before_the_last_picture_of_a_session_is_told_by_the_session_before() {
    let mut bench = Bench::new();
    let mut session = bench.session();
    session.frames(0..100);
    session.gather.finish(Ending::Missing(GapReason::ConnectionLost));
    let mut session = bench.session();
    session.frame_at(200, 200 * FRAME, 0, false);
    session.frame_at(400, 400 * FRAME, 0, false);
    session.gather.finish(Ending::Missing(GapReason::ConnectionLost));
    assert_eq!(
        bench.settled(),
        [
            (0, 100, "held"),
            (100, 200, "connection lost"),
            (200, 201, "held"),
            (201, 400, "camera silent"),
            (400, 401, "held"),
            (401, 100_000, "connection lost")
        ]
    );
}

/// Cameras answer with a picture at once, wherever they are between two: that says nothing of how slow they are.
#[test]
fn a_slow_camera_that_begins_at_once_has_no_gaps() {
    let mut bench = Bench::new();
    let mut session = bench.session();
    for number in [0, 8, 200, 450, 700, 950, 1_200] {
        session.frame_at(number, number * FRAME, 0, false);
        session.gather.idle(MonoTime::from_nanos(1_000_000 * u64::try_from(number * 40 + 2_000).unwrap()));
    }
    session.gather.finish(Ending::Missing(GapReason::ConnectionLost));
    let settled = bench.settled();
    assert!(settled.iter().all(|item| item.2 != "camera silent"), "{settled:?}");
    assert_eq!(bench.on_disk().len(), 7);
}

/// A camera with one picture in ten seconds is slow, not silent: from its first picture on, in each session.
#[test]
fn a_slow_camera_has_no_gaps() {
    let mut bench = Bench::new();
    let mut session = bench.session();
    for number in 0..60 {
        let number = number * 250 + number % 3;
        session.frame_at(number, number * FRAME, 0, false);
        let later = MonoTime::from_nanos(1_000_000 * u64::try_from(number * 40 + 2_000).unwrap());
        session.gather.idle(later);
    }
    session.gather.finish(Ending::Missing(GapReason::ConnectionLost));
    let settled = bench.settled();
    assert!(settled.iter().all(|item| item.2 != "camera silent"), "{settled:?}");
    assert_eq!(bench.on_disk().len(), 60);
}

#[test]
fn a_loss_is_not_hidden_by_a_change_of_parameters() {
    let mut bench = Bench::new();
    let mut session = bench.session();
    session.frames(0..60);
    session.config = video_config(9);
    session.frame_at(75, 75 * FRAME, 40, true);
    session.frames(76..130);
    session.gather.finish(Ending::Missing(GapReason::ConnectionLost));
    assert_eq!(
        bench.settled(),
        [(0, 60, "held"), (60, 75, "packets lost"), (75, 130, "held"), (130, 100_000, "connection lost")]
    );
}

#[test]
fn a_jump_after_a_pause_hides_no_time() {
    let mut bench = Bench::new();
    let mut session = bench.session();
    session.frames(0..60);
    for number in 200..300 {
        session.frame_at(number, number * FRAME + 100 * TICKS_PER_SECOND, 0, false);
    }
    session.gather.finish(Ending::Missing(GapReason::ConnectionLost));
    assert_eq!(
        bench.settled(),
        [(0, 60, "held"), (60, 200, "camera silent"), (200, 300, "held"), (300, 100_000, "connection lost")]
    );
}

/// A sender report of the new times comes before the first picture of them.
#[test]
fn a_report_ahead_of_a_jump_is_no_step_of_the_clock() {
    let mut bench = Bench::new();
    let mut session = bench.session();
    let report = |session: &mut Session<'_>, number: i64, jump: i64| {
        let rtp = u32::try_from((number * FRAME + jump) & 0xffff_ffff).unwrap();
        session.gather.sender_report(MonoTime::from_nanos(1), 0, rtp, START.plus(number * FRAME));
    };
    session.frames(0..2);
    report(&mut session, 2, 0);
    session.frames(2..60);
    let jump = -2 * 3_600 * TICKS_PER_SECOND;
    report(&mut session, 60, jump);
    for number in 60..200 {
        session.frame_at(number, number * FRAME + jump, 0, false);
    }
    session.gather.finish(Ending::Missing(GapReason::ConnectionLost));
    assert_eq!(bench.settled(), [(0, 200, "held"), (200, 100_000, "connection lost")]);
    for (number, label) in bench.on_disk() {
        let error = label.ticks_since(START.plus(number * FRAME));
        assert!(error.abs() < FRAME, "frame {number} is labelled {error} ticks off");
    }
}

/// A second of footage two minutes into a run: at most a group of pictures comes along to decode it from.
#[test]
fn an_export_takes_along_one_group_of_pictures_at_most() {
    let mut bench = Bench::new();
    let mut session = bench.session();
    session.frames(0..3_000);
    session.gather.finish(Ending::Missing(GapReason::ConnectionLost));
    bench.settled();
    let camera = bench.camera.id;
    for from in [10, 1_234, 1_250, 2_900] {
        let window = Span { from: START.plus(from * FRAME), to: START.plus((from + 25) * FRAME) };
        let records = crate::export::tests::frames_in(&bench.output.store, camera, window);
        assert!((25..=50).contains(&records), "{records} frames for 25 shown");
    }
}

fn metadata_config() -> TrackConfig {
    TrackConfig { kind: CodecKind::Metadata, clock_rate: 90_000, channels: 0, config: Vec::new() }
}

/// Documents go into the records of the pictures, also those that come when none is open, and no record is cut by them.
#[test]
fn metadata_is_recorded_beside_the_pictures_and_cuts_no_record() {
    let mut bench = Bench::new();
    let mut session = bench.session_of(&[video_config(0), metadata_config()]);
    session.beside(1, 0, 77, b"<early/>");
    session.frames(0..60);
    let flood = vec![b'x'; 300_000];
    for _ in 0..10 {
        session.beside(1, 59, 77 + 59 * FRAME, &flood);
    }
    session.frames(60..100);
    // The camera is silent for a while: its record is closed, and a document comes.
    session.gather.idle(MonoTime::from_nanos(60_000_000_000));
    session.beside(1, 110, 77 + 110 * FRAME, b"<late/>");
    session.frames(111..130);
    session.gather.finish(Ending::Missing(GapReason::ConnectionLost));
    assert_eq!(bench.settled(), [(0, 130, "held"), (130, 100_000, "connection lost")]);
    assert_eq!(bench.on_disk().len(), 119);
    let documents = bench.samples_on_disk(1);
    let shown: Vec<_> = documents.iter().map(|(bytes, _)| bytes.len()).collect();
    assert_eq!(shown, [8, 300_000, 300_000, 300_000, 7], "a flood is bounded");
    for (document, number) in [(0, 0), (1, 59), (4, 110)] {
        let error = documents[document].1.ticks_since(START.plus(number * FRAME));
        assert!(error.abs() <= FRAME, "document {document} is labelled {error} ticks off");
    }
    let with_metadata = bench.records().len();

    let mut bench = Bench::new();
    let mut session = bench.session();
    session.frames(0..100);
    session.gather.idle(MonoTime::from_nanos(60_000_000_000));
    session.frames(111..130);
    session.gather.finish(Ending::Missing(GapReason::ConnectionLost));
    bench.settled();
    assert_eq!(bench.records().len(), with_metadata);
}

/// While no picture comes for an hour, documents do: what is of the hour is in no record of the pictures after it.
#[test]
fn metadata_of_long_ago_is_not_recorded_with_the_next_picture() {
    let mut bench = Bench::new();
    let mut session = bench.session_of(&[video_config(0), metadata_config()]);
    session.frames(0..50);
    session.gather.idle(MonoTime::from_nanos(4_000_000_000));
    let hour = 25 * 3_600;
    for number in (100..hour).step_by(250) {
        session.beside(1, number, 77 + number * FRAME, b"<old/>");
    }
    session.beside(1, hour - 10, 77 + (hour - 10) * FRAME, b"<just before/>");
    session.frames(hour..hour + 50);
    session.gather.finish(Ending::Missing(GapReason::ConnectionLost));
    bench.settled();
    let documents = bench.samples_on_disk(1);
    assert_eq!(documents.len(), 1);
    assert_eq!(documents[0].0, b"<just before/>");
    let error = documents[0].1.ticks_since(START.plus((hour - 10) * FRAME));
    assert!(error.abs() <= FRAME, "labelled {error} ticks off");
}

/// A camera that sends only key frames, as JPEG does.
#[test]
fn jpeg_is_recorded_in_records_of_half_a_second() {
    let mut bench = Bench::new();
    let jpeg =
        TrackConfig { kind: CodecKind::Jpeg, clock_rate: 90_000, channels: 0, config: vec![2, 128, 1, 224] };
    let mut session = bench.session_of(&[jpeg]);
    for number in 0..100 {
        let mut data = i64::to_le_bytes(number).to_vec();
        data.resize(20_000, 1);
        let now = MonoTime::from_nanos(1_000_000 * u64::try_from(number * 40 + 1).unwrap());
        session.gather.batch = (now, START.plus(number * FRAME));
        let timestamp = number * FRAME;
        let sample =
            Sample { data: &data, timestamp, key: true, lost_packets: 0, config_changed: None, mark: None };
        session.gather.sample(now, 0, &sample);
    }
    session.gather.finish(Ending::Missing(GapReason::ConnectionLost));
    assert_eq!(bench.settled(), [(0, 100, "held"), (100, 100_000, "connection lost")]);
    assert_eq!(bench.on_disk().len(), 100);
    assert!((7..=9).contains(&bench.records().len()), "{}", bench.records().len());
}

/// AAC whose configuration is learned from the stream: footage is never stored under an empty one.
#[test]
fn a_configuration_that_is_learned_late_begins_a_run_and_no_gap() {
    let mut bench = Bench::new();
    let aac = |config: &[u8]| TrackConfig {
        kind: CodecKind::Aac,
        clock_rate: 48_000,
        channels: 2,
        config: config.to_vec(),
    };
    let mut session = bench.session_of(&[video_config(0), aac(&[])]);
    session.frames(0..30);
    let now = MonoTime::from_nanos(1_000_000 * (30 * 40 + 1));
    let learned = aac(&[0x11, 0x90]);
    let sample = Sample {
        data: &[1, 2, 3],
        timestamp: 0,
        key: true,
        lost_packets: 0,
        config_changed: Some(&learned),
        mark: None,
    };
    session.gather.sample(now, 1, &sample);
    session.frames(30..40);
    session.beside(1, 40, 9_600, &[4, 5, 6]);
    session.frames(41..60);
    session.gather.finish(Ending::Missing(GapReason::ConnectionLost));
    assert_eq!(bench.settled(), [(0, 60, "held"), (60, 100_000, "connection lost")]);
    for record in bench.records() {
        let track = &record.index().tracks[1];
        assert!(track.samples.is_empty() || track.config == learned);
    }
}

/// What happens to the sub stream is entered into its own books, and into no other.
#[test]
fn a_sub_stream_has_books_of_its_own() {
    let mut bench = Bench::new();
    let mut session = bench.session();
    session.frames(0..100);
    session.gather.finish(Ending::Missing(GapReason::ConnectionLost));
    let main = bench.settled();
    let durable = bench.camera.main().ledger().held_until();
    bench.go_on_with_sub();
    let mut session = bench.session();
    session.frames(0..60);
    session.frame_at(63, 63 * FRAME, 42, false);
    session.frames(64..80);
    session.gather.finish(Ending::Missing(GapReason::CameraSilent));
    assert_eq!(
        bench.settled(),
        [(0, 60, "held"), (60, 63, "packets lost"), (63, 80, "held"), (80, 100_000, "camera silent")]
    );
    assert_eq!(bench.on_disk().len(), 77);
    assert_eq!(bench.items(bench.camera.main()), main);
    assert_eq!(bench.camera.main().ledger().held_until(), durable);
    assert_eq!(bench.camera.main().counters().lost_packets.load(Ordering::Relaxed), 0);
    let told = bench.told();
    assert!(told.iter().any(|text| text.starts_with("sub stream: 42 packets were lost")), "{told:?}");
}

/// What a camera that has sender reports and sound says and sends, with clocks that are wrong on both sides.
struct Clocks {
    camera: fn(i64) -> i64,
    recorder: fn(i64) -> i64,
    /// What is added to each report by its number: a lie.
    lie: fn(i64) -> i64,
}

const RIGHT: Clocks = Clocks { camera: |_| 0, recorder: |_| 0, lie: |_| 0 };

impl Session<'_> {
    /// Frames with sound, a sender report of both tracks every 25, by these clocks. `from` is real time in frames.
    fn play(&mut self, numbers: std::ops::Range<i64>, rtp_offset: i64, clocks: &Clocks) {
        for number in numbers {
            let real = number * FRAME;
            let now = MonoTime::from_nanos(1_000_000 * u64::try_from(number * 40 + 1).unwrap());
            self.gather.batch = (now, START.plus(real + (clocks.recorder)(real)));
            let mut data = number.to_le_bytes().to_vec();
            data.resize(1_000, 7);
            let timestamp = real + rtp_offset;
            let key = number % 25 == 0;
            let sample =
                Sample { data: &data, timestamp, key, lost_packets: 0, config_changed: None, mark: None };
            self.gather.sample(now, 0, &sample);
            // 8 kHz, with an RTP time of its own.
            let sound = (real + rtp_offset) * 8 / 90 + 1_234;
            let data = number.to_le_bytes();
            let sample = Sample {
                data: &data,
                timestamp: sound,
                key: true,
                lost_packets: 0,
                config_changed: None,
                mark: None,
            };
            self.gather.sample(now, 1, &sample);
            if number % 25 == 5 {
                let camera = START.plus(real + (clocks.camera)(real) + (clocks.lie)(number / 25));
                let wrapped = |rtp: i64| u32::try_from(rtp & 0xffff_ffff).unwrap();
                self.gather.sender_report(now, 0, wrapped(timestamp), camera);
                self.gather.sender_report(now, 1, wrapped(sound), camera.plus((clocks.lie)(number / 25 + 7)));
            }
            self.gather.idle(now);
        }
    }
}

const HOUR: i64 = 3_600 * TICKS_PER_SECOND;

/// Camera clocks off by an hour, set forth and back, drifting, or reported at random; the recorder's clock set: nothing is
/// a gap that is none, the outage between two sessions is as long as it was, no frame is out of order, and sound stays
/// with its pictures.
#[test]
fn no_clock_makes_a_gap_that_is_none() {
    let at_frame = |number: i64| number * FRAME;
    assert_eq!(at_frame(200), 8 * TICKS_PER_SECOND);
    let cases: [(&str, Clocks); 9] = [
        ("right", RIGHT),
        ("an hour ahead", Clocks { camera: |_| HOUR, ..RIGHT }),
        ("an hour behind", Clocks { camera: |_| -HOUR, ..RIGHT }),
        ("set forth", Clocks { camera: |real| if real > 8 * TICKS_PER_SECOND { HOUR } else { 0 }, ..RIGHT }),
        ("set back", Clocks { camera: |real| if real > 8 * TICKS_PER_SECOND { -HOUR } else { 0 }, ..RIGHT }),
        ("drifting", Clocks { camera: |real| real / 2_000, recorder: |real| -real / 2_000, ..RIGHT }),
        ("lying", Clocks { lie: |report| report * 7_919 % 1_013 * TICKS_PER_SECOND, ..RIGHT }),
        (
            "recorder set back",
            Clocks { recorder: |real| if real > 8 * TICKS_PER_SECOND { -HOUR } else { 0 }, ..RIGHT },
        ),
        (
            "recorder set by 1 s",
            Clocks { recorder: |real| if real > 8 * TICKS_PER_SECOND { 90_000 } else { 0 }, ..RIGHT },
        ),
    ];
    for (name, clocks) in cases {
        let mut bench = Bench::new();
        let pcmu = TrackConfig { kind: CodecKind::Pcmu, clock_rate: 8_000, channels: 1, config: Vec::new() };
        for (numbers, rtp_offset) in [(0..400, 0), (450..700, 5_000_000)] {
            let mut session = bench.session_of(&[video_config(0), pcmu.clone()]);
            session.play(numbers, rtp_offset, &clocks);
            session.gather.finish(Ending::Missing(GapReason::ConnectionLost));
        }
        let items = bench.settled();
        let shape: Vec<_> = items.iter().map(|item| item.2).collect();
        assert_eq!(shape, ["held", "connection lost", "held", "connection lost"], "{name}: {items:?}");
        let outage = items[1].1 - items[1].0;
        // A step of the recorder's clock by a second while the camera is there is steered away later.
        let tolerance = if name == "recorder set by 1 s" { 25 } else { 3 };
        assert!((outage - 50).abs() <= tolerance, "{name}: an outage of 50 frames is {outage}");
        assert!((items[0].1 - items[0].0 - 400).abs() <= 2, "{name}: {items:?}");
        let frames = bench.on_disk();
        assert_eq!(frames.len(), 650, "{name}");
        for pair in frames.windows(2) {
            assert!(pair[1].0 > pair[0].0 && pair[1].1 > pair[0].1, "{name}: in order");
        }
        let sounds = bench.samples_on_disk(1);
        for (bytes, label) in &sounds {
            let number = i64::from_le_bytes(bytes[..8].try_into().unwrap());
            let (_, picture) = frames.iter().find(|(frame, _)| *frame == number).unwrap();
            let apart = label.ticks_since(*picture);
            assert!(
                apart.abs() <= TICKS_PER_SECOND,
                "{name}: sound {number} is {apart} ticks from its picture"
            );
        }
        assert!(sounds.len() >= 640, "{name}: {}", sounds.len());
    }
}

/// The recorder's clock is set forward by an hour: the hour never was, so it is no gap.
#[test]
fn an_hour_that_never_was_is_no_gap() {
    let mut bench = Bench::new();
    let clocks = Clocks { recorder: |real| if real > 8 * TICKS_PER_SECOND { HOUR } else { 0 }, ..RIGHT };
    for (numbers, rtp_offset) in [(0..400, 0), (450..500, 5_000_000)] {
        let pcmu = TrackConfig { kind: CodecKind::Pcmu, clock_rate: 8_000, channels: 1, config: Vec::new() };
        let mut session = bench.session_of(&[video_config(0), pcmu]);
        session.play(numbers, rtp_offset, &clocks);
        session.gather.finish(Ending::Missing(GapReason::ConnectionLost));
    }
    while bench.camera.main().pending() > 0 {
        std::thread::yield_now();
    }
    let window = Span { from: START, to: START.plus(2 * HOUR) };
    let items = bench.camera.main().ledger().items(window, window.to, &SpanSet::new());
    let lengths: Vec<_> = items.iter().map(|item| (item.span.ticks() / FRAME, item.state)).collect();
    let lost = State::Gap { reason: GapReason::ConnectionLost };
    let skipped = State::Unknown { reason: UnknownReason::ClockStepped };
    assert!(matches!(lengths[0], (399..=401, State::Held { .. })), "{lengths:?}");
    assert!((48..=52).contains(&lengths[1].0) && lengths[1].1 == lost, "{lengths:?}");
    assert!((89_900..=90_100).contains(&lengths[2].0) && lengths[2].1 == skipped, "{lengths:?}");
    assert!(matches!(lengths[3], (49..=51, State::Held { .. })), "{lengths:?}");
}

#[test]
fn the_offset_of_a_cameras_clock_is_known_and_told_once() {
    let mut bench = Bench::new();
    let mut session = bench.session_of(&[video_config(0), metadata_config()]);
    let camera = |real: i64| if real > 8 * TICKS_PER_SECOND { HOUR } else { 90 };
    session.play(0..600, 0, &Clocks { camera, ..RIGHT });
    session.gather.finish(Ending::Missing(GapReason::ConnectionLost));
    bench.settled();
    let offset = bench.camera.main().clock_offset_ticks().unwrap();
    assert!((offset - HOUR).abs() < FRAME, "{offset}");
    let told = bench.told();
    let about_the_clock =
        told.iter().filter(|text| text.contains("clock is 3600 s ahead of the recorder's")).count();
    assert_eq!(about_the_clock, 1, "{told:?}");
}
