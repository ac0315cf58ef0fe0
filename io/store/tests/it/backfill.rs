//! Footage that is fetched later for gaps: beside the live footage, behind it, and never at the cost of what is newer.

use std::sync::Arc;

use keepwatch_model::{GapReason, Origin, RoleId, StreamId};
use keepwatch_store::{
    CommitError, DiskConfig, DiskState, Fault, FormatError, Lane, PushError, Record, RecordMeta, Store,
    TRACKS_MAX, VerifyOptions, verify,
};

use crate::disks::Faults;
use crate::site::{EVER, Filler, KIB, SECOND, Site, at, camera, frame, read_back, span, tracks};

const STANDBY: RoleId = RoleId([7; 16]);
const PRIMARY: RoleId = RoleId([8; 16]);

/// Fills seconds of "north" as a standby recorded them.
struct Fetched {
    writer: keepwatch_store::StreamWriter,
    run: keepwatch_store::RunId,
    frame_bytes: usize,
}

impl Fetched {
    fn new(store: &Store) -> Self {
        let writer = store.backfill_writer(camera("north"), StreamId::MAIN);
        Self { writer, run: store.new_run(), frame_bytes: 3_000 }
    }

    fn second(&mut self, second: i64) -> Result<(), CommitError> {
        for number in 0..2 {
            let data = frame(second, number, self.frame_bytes);
            self.writer.push(0, (second * 2 + number) * SECOND / 2, number == 0, &data).unwrap();
        }
        self.writer.push(1, second * 8_000, true, &frame(second, 2, 160)).unwrap();
        self.writer.commit(meta(self.run, second))
    }
}

fn meta(run: keepwatch_store::RunId, second: i64) -> RecordMeta {
    RecordMeta {
        run,
        run_start: false,
        continuation: false,
        label: span(second, second + 1),
        track_labels: [at(second); TRACKS_MAX],
        camera_time: None,
        tracks: tracks(),
        gap_before: None,
        lost_packets: 0,
        origin: Origin::Standby,
        recorder: Some(STANDBY),
        replaces: Some(PRIMARY),
    }
}

#[test]
fn a_filled_gap_is_read_in_order_after_a_restart_a_crash_and_without_the_index() {
    let site = Site::new();
    let disks = vec![site.disk("disk", 2048 * KIB)];
    let store = site.open(disks.clone());
    let mut north = Filler::new(&store, "north");
    north.seconds(5);
    north.next_second = 20;
    north.seconds(5);
    let mut fetched = Fetched::new(&store);
    // Two gaps, the later one first, and live footage meanwhile.
    for second in (15..20).chain(5..15) {
        fetched.second(second).unwrap();
        north.seconds(1);
    }
    let heard = site.ear.wait(|heard| heard.durable.len() == 40);
    assert_eq!(heard.durable.iter().filter(|commit| commit.lane == Lane::Backfill).count(), 15);
    let whole: Vec<i64> = (0..40).collect();
    assert_eq!(read_back(&store, "north", 3_000), whole);
    let held = store.held(camera("north"), StreamId::MAIN, EVER).unwrap();
    let filled: Vec<_> = held.iter().filter(|held| held.origin == Origin::Standby).collect();
    assert!(filled.iter().all(|held| (held.recorder, held.replaces) == (STANDBY, Some(PRIMARY))));
    assert_eq!(
        (filled.first().unwrap().span.from, filled.last().unwrap().span.to),
        (at(5), at(20)),
        "{held:?}"
    );

    let crashed = site.crashed();
    let config = crashed.config(vec![DiskConfig::new(crashed.root.path().join("disk"), None)]);
    let (store_after_crash, recovery) =
        Store::open(config, Arc::<crate::site::Ear>::clone(&crashed.ear)).unwrap();
    assert!(!recovery.clean);
    assert_eq!(read_back(&store_after_crash, "north", 3_000), whole);
    // Both lanes go on where they were.
    Fetched::new(&store_after_crash).second(50).unwrap();
    Filler::from(&store_after_crash, "north", 60).seconds(1);
    crashed.ear.wait(|heard| heard.durable.len() == 2);
    assert_eq!(read_back(&store_after_crash, "north", 3_000).len(), 42);

    store.close();
    std::fs::remove_file(site.data().join("index.db")).unwrap();
    let store = site.open(disks.clone());
    assert_eq!(read_back(&store, "north", 3_000), whole);
    store.close();
    let report = verify(&site.data(), &disks, VerifyOptions::default(), &mut |_| {}).unwrap();
    assert_eq!((report.faults, report.records), (Vec::new(), 40));
}

#[test]
fn live_records_are_written_before_what_was_fetched() {
    let site = Site::new();
    let faults = Faults::default();
    let disk = DiskConfig { extent_bytes: Some(8 << 20), ..site.disk("disk", 64 << 20) };
    let path = disk.path.clone();
    let store = site.open_wrapped(vec![disk], faults.wrap());
    faults.set(&path, Fault::Stuck);
    let mut north = Filler::new(&store, "south");
    north.seconds(1);
    let mut fetched = Fetched::new(&store);
    fetched.frame_bytes = 400_000;
    for second in 0..10 {
        fetched.second(second).unwrap();
    }
    north.seconds(5);
    faults.set(&path, Fault::None);
    let heard = site.ear.wait(|heard| heard.durable.len() == 16);
    let lanes: Vec<Lane> = heard.durable.iter().map(|commit| commit.lane).collect();
    // One round of fetched records may have been on its way.
    let last_live = lanes.iter().rposition(|lane| *lane == Lane::Live).unwrap();
    assert!(last_live <= 8, "{lanes:?}");
}

#[test]
fn what_is_fetched_never_costs_newer_footage() {
    let site = Site::new();
    let store = site.open(vec![site.disk("disk", 1024 * KIB)]);
    assert_eq!(store.backfill_from(), None, "there is room for any");
    let mut north = Filler::from(&store, "north", 1_000);
    north.seconds(200);
    let before = site.ear.wait(|heard| heard.durable.len() == 200);
    Fetched::new(&store).second(5).unwrap();
    let heard = site.ear.wait(|heard| heard.lost.len() == 1);
    assert_eq!((heard.lost[0].lane, heard.lost[0].reason), (Lane::Backfill, GapReason::DiskFull));
    assert_eq!(heard.reclaimed.len(), before.reclaimed.len());
    assert_eq!(store.disks()[0].state, DiskState::Online, "the disk takes what cameras send");
    let from = store.backfill_from().unwrap();
    assert!(from > at(1_000) && from < at(1_200), "{from}");
    // What is newer than the oldest goes in its place.
    Fetched::new(&store).second(1_300).unwrap();
    site.ear.wait(|heard| heard.durable.len() == 201);
    assert!(site.ear.now().reclaimed.len() > before.reclaimed.len());
}

/// An extent that held footage of two months would keep the older until the newer expires.
#[test]
fn fetched_footage_expires_with_its_own_day() {
    let site = Site::new();
    let store = site.open(vec![site.disk("disk", 1024 * KIB)]);
    let mut fetched = Fetched::new(&store);
    fetched.second(0).unwrap();
    fetched.second(40 * 86_400).unwrap();
    site.ear.wait(|heard| heard.durable.len() == 2);
    store.expire(camera("north"), at(86_400));
    site.ear.wait(|heard| !heard.reclaimed.is_empty());
    assert_eq!(read_back(&store, "north", 3_000), [40 * 86_400]);
}

#[test]
fn what_is_fetched_has_a_buffer_of_its_own() {
    let site = Site::new();
    let faults = Faults::default();
    let disk = DiskConfig { extent_bytes: Some(8 << 20), ..site.disk("disk", 128 << 20) };
    let path = disk.path.clone();
    let store = site.open_wrapped(vec![disk], faults.wrap());
    faults.set(&path, Fault::Stuck);
    let mut fetched = store.backfill_writer(camera("north"), StreamId::MAIN);
    let (mut pushed, mut second) = (0, 0);
    let refused = loop {
        match fetched.push(0, 0, true, &[0; 1 << 20]) {
            Ok(()) => pushed += 1,
            Err(PushError::RecordFull) => {
                fetched.commit(meta(store.new_run(), second)).unwrap();
                second += 1;
            }
            Err(refused @ PushError::Backlog(_)) => break refused,
        }
    };
    assert_eq!(refused, PushError::Backlog(GapReason::DiskSlow));
    assert!((16..=32).contains(&pushed), "{pushed} MiB");
    assert_eq!(store.buffered_bytes(), 0, "none of it is taken from live footage");
    Filler::new(&store, "south").seconds(3);
    faults.set(&path, Fault::None);
    site.ear.wait(|heard| heard.durable.iter().filter(|commit| commit.lane == Lane::Live).count() == 3);
}

#[test]
fn a_record_crosses_a_network_whole_or_not_at_all() {
    let site = Site::new();
    let store = site.open(vec![site.disk("disk", 1024 * KIB)]);
    Filler::new(&store, "north").seconds(1);
    site.ear.wait(|heard| heard.durable.len() == 1);
    let found = store.records(camera("north"), StreamId::MAIN, EVER).unwrap();
    let record = store.read(&found[0]).unwrap();
    let sent = record.as_bytes();
    let came = Record::from_bytes(sent).unwrap();
    assert_eq!(came.index(), record.index());
    assert_eq!(came.sample(0, 1), record.sample(0, 1));
    assert!(matches!(Record::from_bytes(&sent[..sent.len() - 1]), Err(FormatError::Short(_))));
    assert!(Record::from_bytes(&[]).is_err());
    // Padding alone carries nothing.
    let mut changed = 0;
    for place in (0..sent.len()).step_by(97) {
        let mut altered = sent.to_vec();
        altered[place] ^= 0x10;
        match Record::from_bytes(&altered) {
            Err(_) => changed += 1,
            Ok(came) => assert_eq!(came.index(), record.index()),
        }
    }
    assert!(changed > 60, "{changed}");
}
