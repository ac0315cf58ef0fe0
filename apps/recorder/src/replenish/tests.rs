//! Two recorders: one that missed footage, and the standby that has it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use keepwatch_model::{
    Backfill, CameraId, CodecKind, EventCode, GapReason, Origin, RoleId, Span, SpanSet, State, StreamId,
    TICKS_PER_SECOND, TrackConfig, WallTime,
};
use keepwatch_recording::peer::{NodeDuty, NodePublic};
use keepwatch_recording::replenish::JobEnd;
use keepwatch_store::{CameraTime, EventQuery, RecordMeta, RunId, Store, TRACKS_MAX, TimeQuality};
use keepwatch_web::NodeError;

use super::card::{CardSink, drain};
use super::course::Passage;
use super::edges::Edges;
use super::import::Import;
use super::limit::Limit;
use super::wire::{CLOCK_AHEAD, Found, Incoming};
use crate::Node;
use crate::config::CameraConfig;
use crate::fetch::{FetchControl, FetchSink as _, FetchedSample, Part};
use crate::guests::Guest;
use crate::peers::tests::{Asker, PASSWORD, Recorder, approach, code, login};
use crate::peers::{Introduction, register};
use crate::replenish::ReplenishSettings;

const PATIENCE: Duration = Duration::from_secs(30);
/// Ten pictures a second, a key frame every second.
const FRAME: i64 = TICKS_PER_SECOND / 10;
const GROUP: i64 = 10;
/// The camera's clock is an hour behind.
const CAMERA: i64 = -3_600 * TICKS_PER_SECOND;
/// The standby's clock labels so much later.
const STANDBY_AHEAD: i64 = 2 * TICKS_PER_SECOND + 345;

pub(super) fn gate() -> CameraId {
    "gate".parse().unwrap()
}

/// What one recorder has of a camera whose pictures are numbered, the first of which was at `begin`.
pub(super) struct Footage<'a> {
    pub(super) store: &'a Store,
    /// Its id where it was recorded.
    pub(super) camera_id: CameraId,
    pub(super) begin: WallTime,
    pub(super) ahead: i64,
    /// What the camera's clock shows beside the time.
    pub(super) camera: i64,
    pub(super) origin: Origin,
    pub(super) replaces: Option<RoleId>,
}

impl Footage<'_> {
    pub(super) fn label(&self, number: i64) -> WallTime {
        self.begin.plus(number * FRAME + self.ahead)
    }

    /// Records pictures `numbers`, a record for each group of pictures or the rest of it.
    pub(super) fn record(&self, numbers: std::ops::Range<i64>) {
        let mut writer = self.store.writer(self.camera_id, StreamId::MAIN);
        let (run, mut first) = (self.store.new_run(), numbers.start);
        while first < numbers.end {
            let end = ((first / GROUP + 1) * GROUP).min(numbers.end);
            for number in first..end {
                let pts = number * FRAME;
                writer.push(0, pts, number % GROUP == 0, &picture(number, self.ahead != 0)).unwrap();
                writer.push(1, pts * 8 / 90, true, &number.to_le_bytes()).unwrap();
            }
            let camera = Span {
                from: self.begin.plus(first * FRAME + self.camera),
                to: self.begin.plus(end * FRAME + self.camera),
            };
            let meta =
                self.meta(run, first == numbers.start, Span { from: self.label(first), to: self.label(end) });
            let time = CameraTime { span: camera, quality: TimeQuality::SenderReport };
            writer
                .commit(RecordMeta { camera_time: Some(time), continuation: first % GROUP != 0, ..meta })
                .unwrap();
            first = end;
        }
    }

    fn meta(&self, run: RunId, run_start: bool, label: Span) -> RecordMeta {
        let track = |kind, clock_rate| TrackConfig { kind, clock_rate, channels: 1, config: Vec::new() };
        RecordMeta {
            run,
            run_start,
            continuation: false,
            label,
            track_labels: [label.from; TRACKS_MAX],
            camera_time: None,
            tracks: Arc::new([track(CodecKind::H264, 90_000), track(CodecKind::Pcmu, 8_000)]),
            gap_before: None,
            lost_packets: 0,
            origin: self.origin,
            recorder: None,
            replaces: self.replaces,
        }
    }
}

/// A picture; one session repeats parameters that the other leaves out.
fn picture(number: i64, with_parameters: bool) -> Vec<u8> {
    let unit = |bytes: &[u8]| {
        let mut unit = u32::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
        unit.extend_from_slice(bytes);
        unit
    };
    let mut sample = Vec::new();
    if with_parameters && number % GROUP == 0 {
        sample.extend(unit(&[0x67, 1, 2, 3]));
    }
    let mut slice = vec![if number % GROUP == 0 { 0x65 } else { 0x41 }];
    slice.extend(number.to_le_bytes());
    slice.resize(2_000, 0x55);
    sample.extend(unit(&slice));
    sample
}

fn number_of(sample: &[u8]) -> i64 {
    let slice = keepwatch_media::h264::units(sample).last().unwrap().unwrap();
    i64::from_le_bytes(slice[1..9].try_into().unwrap())
}

pub(super) const EVER: Span = Span { from: WallTime::MIN, to: WallTime::MAX };

/// All pictures of the camera with their labels, as a reader gets them, and the numbers of its sound.
pub(super) fn held(store: &Store) -> (Vec<(i64, WallTime)>, Vec<i64>) {
    let (mut pictures, mut sound) = (Vec::new(), Vec::new());
    for found in store.records(gate(), StreamId::MAIN, EVER).unwrap() {
        let record = store.read(&found).unwrap();
        let track = &record.index().tracks[0];
        for (place, sample) in track.samples.iter().enumerate() {
            pictures.push((number_of(record.sample(0, place)), track.label_of(sample)));
        }
        for place in 0..record.index().tracks[1].samples.len() {
            sound.push(i64::from_le_bytes(record.sample(1, place).try_into().unwrap()));
        }
    }
    (pictures, sound)
}

pub(super) async fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let came = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, came).await.is_ok(), "never: {what}");
}

/// A primary that is watched by a standby.
struct Pair {
    north: Recorder,
    south: Recorder,
}

impl Pair {
    async fn start() -> Self {
        let north = Recorder::start("north").await;
        let south = Recorder::start_in("south", tempfile::tempdir().unwrap(), &[]).await;
        let pair = Self { north, south };
        pair.acquaint(false).await;
        pair
    }

    async fn acquaint(&self, beside: bool) {
        let own = Introduction {
            name: "south".to_owned(),
            role: self.south.node.store().role(),
            port: self.south.address().port(),
            duty: NodeDuty::Standby,
        };
        let key = self.south.node.node_key().await.unwrap();
        let approach = approach(&login("admin", PASSWORD), beside);
        register(&key, &own, self.north.address(), &approach).await.unwrap();
        let north = self.north.node.node_key().await.unwrap().public().unwrap();
        let role = self.north.node.store().role();
        self.south.node.peers().watch(BTreeMap::from([(NodePublic(north.bytes()), role)]));
        let config = CameraConfig::new(gate(), "rtsp://127.0.0.1:9/1".parse().unwrap());
        let guest = Guest { role, camera: gate(), local: gate(), config, buffer: None };
        self.south.node.set_guests(role, vec![guest]).await.unwrap();
    }

    fn primary(&self, begin: WallTime) -> Footage<'_> {
        let store = self.north.node.store();
        Footage {
            camera_id: gate(),
            store,
            begin,
            ahead: 0,
            camera: CAMERA,
            origin: Origin::Primary,
            replaces: None,
        }
    }

    fn standby(&self, begin: WallTime) -> Footage<'_> {
        let replaces = Some(self.north.node.store().role());
        let store = self.south.node.store();
        Footage {
            camera_id: gate(),
            store,
            begin,
            ahead: STANDBY_AHEAD,
            camera: CAMERA,
            origin: Origin::Standby,
            replaces,
        }
    }
}

/// What coverage says of `window`: state and how far it is filled.
fn coverage(node: &Node, window: Span) -> Vec<(Span, State, Option<Backfill>)> {
    let camera = node.camera(gate()).unwrap();
    let items = camera.main().ledger().items(window, node.clock().wall(), &SpanSet::new());
    items.into_iter().map(|item| (item.span, item.state, item.backfill)).collect()
}

fn is_held(node: &Node, window: Span) -> bool {
    coverage(node, window).iter().all(|(_, state, _)| matches!(state, State::Held { .. }))
}

/// The recorder died in the middle of a group of pictures; the standby's clock is another; its session repeats parameters.
#[tokio::test]
async fn what_a_standby_recorded_comes_back_frame_by_frame_and_none_twice() {
    let pair = Pair::start().await;
    let north = &pair.north.node;
    let begin = north.clock().wall().plus(-60 * TICKS_PER_SECOND);
    let (primary, standby) = (pair.primary(begin), pair.standby(begin));
    primary.record(0..104);
    primary.record(400..450);
    standby.record(70..430);
    let gap = Span { from: primary.label(104), to: primary.label(400) };
    let all = Span { from: primary.label(0), to: primary.label(450) };
    wait_until("the footage is on disk", || held(north.store()).0.len() == 154).await;
    north.camera(gate()).unwrap().main().ledger().lost(gap, GapReason::RecorderDown);
    wait_until("the gap is filled", || is_held(north, all)).await;

    let (pictures, sound) = held(north.store());
    let numbers: Vec<i64> = pictures.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (0..450).collect::<Vec<_>>());
    for (number, label) in &pictures {
        let off = label.ticks_since(primary.label(*number)).abs();
        assert!(off <= 2, "picture {number} is {off} ticks from its place");
    }
    assert_eq!(sound, (0..450).collect::<Vec<_>>());

    let came = State::Held {
        origin: Origin::Standby,
        recorder: pair.south.node.store().role(),
        replaces: Some(north.store().role()),
    };
    let own = State::Held { origin: Origin::Primary, recorder: north.store().role(), replaces: None };
    let expected = [
        (Span { from: all.from, to: gap.from }, own, None),
        (gap, came, Some(Backfill::Done)),
        (Span { from: gap.to, to: all.to }, own, None),
    ];
    assert_eq!(coverage(north, all), expected);
    let log = north.event_log();
    wait_until("it is told", || {
        log.flush();
        let query = EventQuery {
            from: WallTime::MIN,
            to: WallTime::MAX,
            newest_first: true,
            after: None,
            limit: 100,
        };
        let events = log.page(&query).unwrap().items;
        events.iter().any(|(_, event)| event.code == EventCode::FootageFilled && event.text.contains("south"))
    })
    .await;

    // Who recorded what is known after a restart.
    let Pair { north, south } = pair;
    let north = Recorder::start_in("north", north.end().await, &["gate"]).await;
    assert_eq!(coverage(&north.node, all), expected);
    north.end().await;
    south.end().await;
}

/// Its server sets it, in the middle of a group of pictures: at the standby a run ends and another begins, without a frame between.
#[tokio::test]
async fn a_camera_whose_clock_is_set_during_a_failover_comes_back_whole_and_where_it_belongs() {
    let pair = Pair::start().await;
    let north = &pair.north.node;
    let begin = north.clock().wall().plus(-60 * TICKS_PER_SECOND);
    let (primary, standby) = (pair.primary(begin), pair.standby(begin));
    let camera = CAMERA + 8 * TICKS_PER_SECOND;
    primary.record(0..104);
    Footage { camera, ..pair.primary(begin) }.record(400..450);
    standby.record(70..255);
    Footage { camera, ..pair.standby(begin) }.record(255..430);
    let gap = Span { from: primary.label(104), to: primary.label(400) };
    let all = Span { from: primary.label(0), to: primary.label(450) };
    wait_until("the footage is on disk", || held(north.store()).0.len() == 154).await;
    wait_until("the footage is on disk", || held(pair.south.node.store()).0.len() == 360).await;
    north.camera(gate()).unwrap().main().ledger().lost(gap, GapReason::RecorderDown);
    wait_until("the gap is filled", || is_held(north, all)).await;
    let (pictures, _) = held(north.store());
    let numbers: Vec<i64> = pictures.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (0..450).collect::<Vec<_>>());
    for (number, label) in &pictures {
        let off = label.ticks_since(primary.label(*number)).abs();
        assert!(off <= 2, "picture {number} is {off} ticks from its place");
    }
    pair.north.end().await;
    pair.south.end().await;
}

/// An operator's pause; and a standby that began late, without a picture that both have.
#[tokio::test]
async fn a_pause_holds_and_what_nobody_has_stays_missing_for_its_reason() {
    let pair = Pair::start().await;
    let north = &pair.north.node;
    north.replenishing().set(ReplenishSettings { paused: true, ..ReplenishSettings::default() });
    let begin = north.clock().wall().plus(-60 * TICKS_PER_SECOND);
    let (primary, standby) = (pair.primary(begin), pair.standby(begin));
    primary.record(0..104);
    primary.record(400..450);
    // It cannot be decoded before picture 150.
    standby.record(145..300);
    let gap = Span { from: primary.label(104), to: primary.label(400) };
    wait_until("the footage is on disk", || held(north.store()).0.len() == 154).await;
    north.camera(gate()).unwrap().main().ledger().lost(gap, GapReason::RecorderDown);
    wait_until("the gap is seen", || coverage(north, gap)[0].2 == Some(Backfill::Pending)).await;
    let stands = || {
        north.replenishing().standing().into_iter().find(|stands| stands.stream == (gate(), StreamId::MAIN))
    };
    let gate_stands = stands().unwrap();
    // Its camera has not been reached since the start, either.
    assert!(gate_stands.missing_ticks >= gap.ticks(), "{gate_stands:?}");
    assert_eq!((gate_stands.nowhere_ticks, gate_stands.sources.len()), (0, 1));
    assert_eq!((gate_stands.sources[0].name.as_str(), &gate_stands.last), ("south", &None));

    north.replenishing().set(ReplenishSettings {
        paused: false,
        bits_per_second_max: Some(8_000_000),
        cards: false,
    });
    let middle = Span { from: primary.label(150), to: primary.label(300) };
    wait_until("what the standby has is there", || is_held(north, middle)).await;
    let states = coverage(north, gap);
    let down = State::Gap { reason: GapReason::RecorderDown };
    assert_eq!((states[0].1, states[2].1), (down, down));
    assert_eq!((states[0].0.to, states[1].0.to), (middle.from, middle.to));
    let numbers: Vec<i64> = held(north.store()).0.iter().map(|(number, _)| *number).collect();
    let expected: Vec<i64> = (0..104).chain(150..300).chain(400..450).collect();
    assert_eq!(numbers, expected);
    wait_until("it is told", || stands().unwrap().last.is_some()).await;
    let gate_stands = stands().unwrap();
    let last = gate_stands.last.as_ref().unwrap();
    assert_eq!((last.end, last.filled_ticks, &last.trouble), (JobEnd::Over, middle.ticks(), &None));
    assert!(gate_stands.missing_ticks >= gap.ticks() - middle.ticks(), "{gate_stands:?}");
    pair.north.end().await;
    pair.south.end().await;
}

/// A disk failed while it said that a fetched record is there, and was recovered; or the recorder was stopped at that moment.
#[tokio::test]
async fn what_is_on_disk_and_was_never_entered_is_found_and_not_fetched_again() {
    let pair = Pair::start().await;
    let north = &pair.north.node;
    let begin = north.clock().wall().plus(-60 * TICKS_PER_SECOND);
    let primary = pair.primary(begin);
    primary.record(0..300);
    let all = Span { from: primary.label(0), to: primary.label(300) };
    wait_until("the footage is on disk", || held(north.store()).0.len() == 300).await;
    let unheard = Span { from: primary.label(100), to: primary.label(200) };
    north.camera(gate()).unwrap().main().ledger().lost(unheard, GapReason::DiskGone);
    assert!(!is_held(north, all));
    wait_until("it is found", || is_held(north, all)).await;
    assert_eq!(held(north.store()).0.len(), 300);

    // At a stop: the footage came to the disk behind the last entry.
    let main = Arc::clone(north.camera(gate()).unwrap().main());
    north.replenishing().set(ReplenishSettings { paused: true, ..ReplenishSettings::default() });
    main.ledger().lost(unheard, GapReason::DiskGone);
    wait_until("it is asked for", || coverage(north, unheard)[0].2 == Some(Backfill::Pending)).await;
    let Pair { north, south } = pair;
    south.end().await;
    let north = Recorder::start_in("north", north.end().await, &["gate"]).await;
    assert!(is_held(&north.node, all), "{:?}", coverage(&north.node, all));
    north.end().await;
}

#[tokio::test]
async fn records_are_given_to_whom_they_belong_and_from_any_record_on() {
    let pair = Pair::start().await;
    let south = &pair.south.node;
    let begin = south.clock().wall().plus(-60 * TICKS_PER_SECOND);
    pair.standby(begin).record(0..100);
    wait_until("the footage is on disk", || held(south.store()).0.len() == 100).await;
    let key = pair.north.node.node_key().await.unwrap();
    let ask = |camera: &str, more: String| {
        let clock = south.clock().wall();
        format!("/peer/records?camera={camera}&stream=0&from={begin}&to={clock}&clock={clock}{more}")
    };
    let tls = keepwatch_tls::peer::client_config(&key, None).unwrap();
    let mut client = keepwatch_web::NodeClient::new(pair.south.address(), tls);
    let target = ask("gate", String::new());
    let all = records(&mut client, &target).await.unwrap();
    assert_eq!(all.len(), 10);
    let (label, run) = all[6];
    let rest = ask("gate", format!("&after={}.{}", label.ticks(), run.0));
    assert_eq!(records(&mut client, &rest).await.unwrap(), all[7..]);

    // What its clock shows beside that of who asks.
    let clock = south.clock().wall().plus(-3_600 * TICKS_PER_SECOND);
    let late = format!("/peer/records?camera=gate&stream=0&from={begin}&to={clock}&clock={clock}");
    let late = late.replace(&format!("from={begin}"), &format!("from={}", clock.plus(-TICKS_PER_SECOND)));
    let answer = client.stream(&late, PATIENCE).await.unwrap();
    let ahead: i64 = answer.header(CLOCK_AHEAD).unwrap().parse().unwrap();
    assert!((3_600..3_610).contains(&(ahead / TICKS_PER_SECOND)), "{ahead}");

    for (target, expected) in [
        (ask("yard", String::new()), "camera_unknown"),
        (ask("gate", "&after=x".to_owned()), "after_invalid"),
        (
            format!("/peer/records?camera=gate&stream=0&from={begin}&to={begin}&clock={begin}"),
            "window_invalid",
        ),
        ("/peer/records?camera=gate".to_owned(), "query_malformed"),
    ] {
        assert_eq!(code(records(&mut client, &target).await), expected);
    }
    let mut stranger = Asker::new("east").client(&pair.south);
    assert_eq!(code(records(&mut stranger, &target).await), "not_registered");
    // What the standby recorded for others is none of this recorder's.
    let other = RoleId([4; 16]);
    let mut writer = south.store().writer(gate(), StreamId::MAIN);
    let footage = Footage { replaces: Some(other), ..pair.standby(begin) };
    writer.push(0, 0, true, &picture(500, true)).unwrap();
    let label = Span { from: footage.label(500), to: footage.label(510) };
    writer.commit(footage.meta(south.store().new_run(), true, label)).unwrap();
    wait_until("it is on disk", || held_records(south.store()) == 11).await;
    assert_eq!(records(&mut client, &target).await.unwrap().len(), 10);
    pair.north.end().await;
    pair.south.end().await;
}

/// What a standby sends was altered, though its outer checksum is right: nothing of it is written, the gap stays one, and the next
/// standby fills it when the first one has failed thrice.
#[tokio::test]
async fn forged_records_fill_no_gap_and_hold_up_no_other_standby() {
    let pair = Pair::start().await;
    let (north, south) = (&pair.north.node, &pair.south.node);
    let begin = north.clock().wall().plus(-60 * TICKS_PER_SECOND);
    let primary = pair.primary(begin);
    primary.record(0..104);
    primary.record(400..450);
    pair.standby(begin).record(70..430);
    wait_until("the footage is on disk", || held(north.store()).0.len() == 154).await;
    wait_until("the footage is on disk", || held(south.store()).0.len() == 360).await;
    let mut answer = Vec::new();
    for found in south.store().records(gate(), StreamId::MAIN, EVER).unwrap() {
        let mut bytes = south.store().read(&found).unwrap().as_bytes().to_vec();
        // In the middle of a picture.
        let place = bytes.windows(64).position(|window| window == [0x55; 64]).unwrap();
        bytes[place + 32] ^= 1;
        answer.extend_from_slice(&super::wire::head(&bytes));
        answer.extend_from_slice(&bytes);
    }
    answer.extend_from_slice(&super::wire::END);
    let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let forges = move || {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        std::future::ready(answer.clone())
    };
    let routes = |_, _| axum::Router::new().route("/peer/records", axum::routing::get(forges));
    let east = Recorder::start_with("east", tempfile::tempdir().unwrap(), &[], routes).await;
    let role = east.node.store().role();
    let own =
        Introduction { name: "east".to_owned(), role, port: east.address().port(), duty: NodeDuty::Standby };
    let key = east.node.node_key().await.unwrap();
    let south_key = south.node_key().await.unwrap().public().unwrap();
    north.peers().let_out(NodePublic(south_key.bytes())).unwrap();
    register(&key, &own, pair.north.address(), &approach(&login("admin", PASSWORD), false)).await.unwrap();
    pair.acquaint(true).await;
    let names: Vec<String> = north.peers().standbys().into_iter().map(|standby| standby.name).collect();
    assert_eq!(names, ["east", "south"]);
    let gap = Span { from: primary.label(104), to: primary.label(400) };
    north.camera(gate()).unwrap().main().ledger().lost(gap, GapReason::RecorderDown);
    wait_until("it was asked again", || asked.load(std::sync::atomic::Ordering::Relaxed) > 1).await;
    assert_eq!(held(north.store()).0.len(), 154);
    assert!(coverage(north, gap).iter().all(|(_, state, _)| matches!(state, State::Gap { .. })));
    wait_until("the gap is filled", || is_held(north, gap)).await;
    let numbers: Vec<i64> = held(north.store()).0.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (0..450).collect::<Vec<_>>());
    pair.north.end().await;
    pair.south.end().await;
    east.end().await;
}

fn held_records(store: &Store) -> usize {
    store.records(gate(), StreamId::MAIN, EVER).unwrap().len()
}

/// The records that are answered, by label and run.
async fn records(
    client: &mut keepwatch_web::NodeClient,
    target: &str,
) -> Result<Vec<(WallTime, RunId)>, NodeError> {
    let mut answer = client.stream(target, PATIENCE).await?;
    let (mut incoming, mut found) = (Incoming::default(), Vec::new());
    loop {
        match incoming.next().unwrap() {
            Found::Record(record) => found.push((record.index().info.label.from, record.index().info.run)),
            Found::End => return Ok(found),
            Found::More => incoming.push(&answer.piece(PATIENCE).await?.expect("an end")),
        }
    }
}

/// What the card holds is the same coding as what is recorded, or another one.
#[tokio::test]
async fn what_the_card_holds_fills_a_gap_without_a_frame_twice() {
    for same_coding in [true, false] {
        let north = Recorder::start("north").await;
        let node = &north.node;
        let begin = node.clock().wall().plus(-60 * TICKS_PER_SECOND);
        let store = node.store();
        let primary = Footage {
            camera_id: gate(),
            store,
            begin,
            ahead: 0,
            camera: CAMERA,
            origin: Origin::Primary,
            replaces: None,
        };
        primary.record(0..104);
        primary.record(400..450);
        let gap = Span { from: primary.label(104), to: primary.label(400) };
        wait_until("the footage is on disk", || held(store).0.len() == 154).await;
        let camera = node.camera(gate()).unwrap();
        camera.main().ledger().lost(gap, GapReason::ConnectionLost);

        let edges = Edges::read(store, (gate(), StreamId::MAIN), gap).unwrap();
        assert_eq!(edges.ahead_of_camera_ticks(), Some(-CAMERA));
        let mut import = Import::new(store, Arc::clone(camera.main()), edges);
        let passage = Passage { limit: Arc::new(Limit::new(None)), card: None, course: Arc::default() };
        let mut sink = CardSink::new(&mut import, &passage, FetchControl::new());
        let tracks = primary.meta(RunId(1), true, gap).tracks;
        sink.begin(&tracks).unwrap();
        for number in 54..460 {
            let mut data = picture(number, true);
            if !same_coding {
                *data.last_mut().unwrap() ^= 1;
            }
            let time = begin.plus(number * FRAME + CAMERA);
            let part = if number < 104 { Part::Lead } else { Part::Wanted };
            let sound = number.to_le_bytes();
            for (track, key, data) in [(0, number % GROUP == 0, &data[..]), (1, true, &sound[..])] {
                let config = &tracks[track];
                sink.sample(&FetchedSample { track, config, part, time, key, lost_packets: 0, data })
                    .unwrap();
            }
        }
        sink.close(None).unwrap();
        drain(camera.main(), &mut sink).await.unwrap();
        let filled = if same_coding { 104 } else { 110 };
        let span = Span { from: primary.label(filled), to: gap.to };
        wait_until("the gap is filled", || is_held(node, span)).await;
        let numbers: Vec<i64> = held(store).0.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, (0..104).chain(filled..450).collect::<Vec<_>>());
        assert!(matches!(coverage(node, span)[0].1, State::Held { origin: Origin::Edge, .. }));
        north.end().await;
    }
}
