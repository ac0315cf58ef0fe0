//! Samples go in with virtual clocks, a real store takes them, and the ledger and the disk are asked afterwards.

use super::*;
use keepwatch_model::{CodecKind, SpanSet};
use keepwatch_recording::ledger::Ledger;
use keepwatch_store::{EventLog, StoreConfig};
use tempfile::TempDir;

use crate::bookkeeper::Bookkeeper;
use crate::camera::Registry;
use crate::config::CameraConfig;

const FRAME: i64 = 3_600;
const START: WallTime = WallTime::from_ticks(160_000_000_000_000);

struct Bench {
    camera: Arc<CameraState>,
    events: Arc<Events>,
    clock: Clock,
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
        let output = Output { writer: store.writer(camera.id, StreamId::MAIN), store, seam: None };
        Self { camera, events, clock, output, signals: mpsc::channel(8), _directory: directory }
    }

    fn session(&mut self) -> Session<'_> {
        let config = video_config(0);
        let gather = Gather::new(
            &self.camera,
            &self.events,
            self.clock,
            &mut self.output,
            self.signals.0.clone(),
            std::slice::from_ref(&config),
            0,
        );
        Session { gather, config }
    }

    /// Waits until all that was queued is on disk, then returns the ledger's items in frames since the start.
    fn settled(&self) -> Vec<(i64, i64, &'static str)> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            while self.camera.pending() > 0 {
                self.camera.progressed().await;
            }
        });
        let window = Span { from: START, to: START.plus(100_000 * FRAME) };
        let items = self.camera.ledger().items(window, window.to, &SpanSet::new());
        let frame = |label: WallTime| (label.ticks_since(START) + FRAME / 2).div_euclid(FRAME);
        items
            .into_iter()
            .map(|item| {
                let state = match item.state {
                    State::Held { .. } => "held",
                    State::Gap { reason: GapReason::PacketsLost } => "packets lost",
                    State::Gap { reason: GapReason::ConnectionLost } => "connection lost",
                    State::Gap { reason: GapReason::CameraSilent } => "camera silent",
                    State::Gap { .. } | State::Expired | State::Unscheduled | State::Unknown { .. } => {
                        panic!("{item:?}")
                    }
                };
                (frame(item.span.from), frame(item.span.to), state)
            })
            .collect()
    }

    /// Frame numbers on disk, each taken from the sample's bytes, with its label, in the order of the records.
    fn on_disk(&self) -> Vec<(i64, WallTime)> {
        let everything = Span { from: WallTime::MIN, to: WallTime::MAX };
        let mut frames = Vec::new();
        for record in self.output.store.records(self.camera.id, StreamId::MAIN, everything).unwrap() {
            let record = self.output.store.read(&record).unwrap();
            let track = &record.index().tracks[0];
            for (number, sample) in track.samples.iter().enumerate() {
                let bytes = record.sample(0, number);
                frames.push((i64::from_le_bytes(bytes[..8].try_into().unwrap()), track.label_of(sample)));
            }
        }
        frames
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

#[test]
fn a_wrapped_time_is_found_again() {
    assert_eq!(near(5, 0x1_0000_0000 - 3), 0x1_0000_0005);
    assert_eq!(near(0xffff_fff0, 0x2_0000_0003), 0x1_ffff_fff0);
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
        bench.camera.ledger().held_until().unwrap().ticks_since(last) <= 2 * FRAME,
        "nothing held in the future"
    );
}

/// A camera with one picture in three seconds is slow, not silent.
#[test]
fn a_slow_camera_has_no_gaps() {
    let mut bench = Bench::new();
    let mut session = bench.session();
    for number in 0..60 {
        session.frame_at(number * 75, number * 75 * FRAME, 0, false);
    }
    session.gather.finish(Ending::Missing(GapReason::ConnectionLost));
    let gaps = bench.settled().iter().filter(|item| item.2 == "camera silent").count();
    assert!(gaps <= 6, "only until its pace is known: {gaps}");
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
