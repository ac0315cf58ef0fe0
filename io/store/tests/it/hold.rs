//! Records that wait in memory: what is kept, what gives way, and that nothing is lost or written twice when they are needed.

use std::time::Duration;

use keepwatch_model::{Origin, StreamId};
use keepwatch_store::{
    CameraTime, Committed, Hold, HoldLimits, PushError, RecordMeta, Release, RunId, Store, StreamWriter,
    TRACKS_MAX, TimeQuality,
};

use crate::site::{EVER, KIB, SECOND, Site, at, camera, frame, span, tracks};

/// Bytes of a second of footage.
const BYTES: usize = 40_000;
/// How far the camera's clock is ahead, in seconds.
const AHEAD: i64 = 1_000;
const PLENTY: HoldLimits = HoldLimits { bytes_max: u64::MAX, age_max: Duration::from_secs(3_600) };

/// A stream that may be held.
struct Held {
    hold: Hold,
    writer: StreamWriter,
    run: RunId,
    next: i64,
    /// A key frame begins every so many seconds.
    group: i64,
}

impl Held {
    fn new(store: &Store, name: &str) -> Self {
        let hold = store.hold(camera(name), StreamId::MAIN);
        let writer = store.writer_behind(hold.clone());
        Self { hold, writer, run: store.new_run(), next: 0, group: 1 }
    }

    fn push(&mut self) -> Result<(), PushError> {
        let key = self.next % self.group == 0;
        self.writer.push(0, self.next * SECOND, key, &frame(self.next, 0, BYTES))
    }

    /// Writes `count` seconds; returns where the last one went.
    fn seconds(&mut self, count: i64) -> Committed {
        let mut went = Committed::Queued;
        for _ in 0..count {
            self.push().unwrap();
            went = self.commit();
        }
        went
    }

    fn commit(&mut self) -> Committed {
        let second = self.next;
        self.next += 1;
        let camera = span(second + AHEAD, second + 1 + AHEAD);
        let meta = RecordMeta {
            run: self.run,
            run_start: second == 0,
            continuation: second % self.group != 0,
            label: span(second, second + 1),
            track_labels: [at(second); TRACKS_MAX],
            camera_time: Some(CameraTime { span: camera, quality: TimeQuality::SenderReport }),
            tracks: tracks(),
            gap_before: None,
            lost_packets: 0,
            origin: Origin::Standby,
            recorder: None,
            replaces: None,
        };
        self.writer.commit_or_hold(meta).unwrap()
    }

    /// The seconds that wait.
    fn waiting(&self) -> std::ops::Range<i64> {
        let label = self.hold.view().label;
        label.map_or(0..0, |label| label.from.ticks() / SECOND..label.to.ticks() / SECOND)
    }
}

/// However old.
const EVERYTHING: Duration = Duration::MAX;

/// Queues all that is not older than `age_max`; returns the seconds that were queued.
fn release(store: &Store, held: &Held, age_max: Duration) -> Vec<i64> {
    release_as(store, held, Release { age_max, newest: false })
}

fn release_as(store: &Store, held: &Held, release: Release) -> Vec<i64> {
    let mut queued = Vec::new();
    let lost =
        store.release_held(&held.hold, release, &mut |info| queued.push(info.label.from.ticks() / SECOND));
    assert!(lost.is_empty());
    queued
}

/// The seconds on disk, each checked byte by byte.
fn on_disk(store: &Store, name: &str) -> Vec<i64> {
    let records = store.records(camera(name), StreamId::MAIN, EVER).unwrap();
    let read = |found| {
        let record = store.read(found).unwrap();
        let second = record.index().info.label.from.ticks() / SECOND;
        assert_eq!(record.sample(0, 0), frame(second, 0, BYTES));
        second
    };
    records.iter().map(read).collect()
}

fn all(seconds: std::ops::Range<i64>) -> Vec<i64> {
    seconds.collect()
}

#[test]
fn what_waits_is_written_in_order_when_it_is_needed_and_what_comes_later_goes_straight_through() {
    let site = Site::new();
    let store = site.open(vec![site.disk("disk", 4096 * KIB)]);
    let mut gate = Held::new(&store, "gate");
    assert_eq!(gate.seconds(2), Committed::Queued, "nobody asked for it to wait");
    // The record that is open when it begins goes to the disk: its memory is that of recording.
    gate.push().unwrap();
    gate.hold.keep(PLENTY);
    assert_eq!(gate.commit(), Committed::Queued);
    assert_eq!(gate.seconds(5), Committed::Held);
    site.ear.wait(|heard| heard.durable.len() == 3);
    assert_eq!((gate.waiting(), on_disk(&store, "gate")), (3..8, all(0..3)));
    assert_eq!(store.buffered_bytes(), 0, "the memory of recording is not touched");
    assert!(store.hold_bytes() >= gate.hold.view().bytes - 5 * 8 * KIB);

    // One is open while it is released.
    gate.push().unwrap();
    assert_eq!(release(&store, &gate, EVERYTHING), all(3..8));
    assert_eq!(gate.commit(), Committed::Queued);
    assert_eq!(gate.seconds(2), Committed::Queued);
    site.ear.wait(|heard| heard.durable.len() == 11);
    let durable: Vec<i64> =
        site.ear.now().durable.iter().map(|commit| commit.info.label.from.ticks() / SECOND).collect();
    assert_eq!((durable, on_disk(&store, "gate")), (all(0..11), all(0..11)));
    assert_eq!((gate.hold.view().records, store.hold_bytes()), (0, 0));
}

#[test]
fn what_somebody_else_holds_is_let_go_but_for_one_record() {
    let site = Site::new();
    let store = site.open(vec![site.disk("disk", 4096 * KIB)]);
    let mut gate = Held::new(&store, "gate");
    gate.hold.keep(PLENTY);
    gate.seconds(10);
    gate.hold.trim(at(AHEAD));
    assert_eq!(gate.waiting(), 0..10, "nothing ends before");
    gate.hold.trim(at(6 + AHEAD).plus(SECOND / 2));
    assert_eq!(gate.waiting(), 5..10, "the last that ends before stays");
    gate.hold.trim(at(3 + AHEAD));
    assert_eq!(gate.waiting(), 5..10, "an older word changes nothing");
    gate.hold.trim(at(60 + AHEAD));
    assert_eq!(gate.waiting(), 9..10);
    assert_eq!(gate.hold.view().camera, Some(span(9 + AHEAD, 10 + AHEAD)));
    gate.hold.clear();
    assert_eq!((gate.waiting(), store.hold_bytes()), (0..0, 0));
    assert_eq!(gate.seconds(1), Committed::Queued);
}

#[test]
fn what_waits_begins_with_a_picture_that_decoding_can_start_at() {
    let site = Site::new();
    let store = site.open(vec![site.disk("disk", 4096 * KIB)]);
    let mut gate = Held { group: 4, ..Held::new(&store, "gate") };
    gate.hold.keep(HoldLimits { age_max: Duration::from_secs(6), ..PLENTY });
    gate.seconds(12);
    assert_eq!(gate.waiting(), 4..12, "six seconds, and what they need");
    gate.hold.trim(at(11 + AHEAD));
    assert_eq!(gate.waiting(), 8..12);
    gate.seconds(2);
    assert_eq!(release(&store, &gate, Duration::from_secs(1)), all(12..14));
    site.ear.wait(|heard| heard.durable.len() == 2);
    assert_eq!(on_disk(&store, "gate"), all(12..14));
}

/// The standby's clock was set forward by an hour, and the camera's session began anew.
#[test]
fn a_clock_that_is_set_makes_nothing_old() {
    let site = Site::new();
    let store = site.open(vec![site.disk("disk", 4096 * KIB)]);
    let mut gate = Held::new(&store, "gate");
    gate.hold.keep(HoldLimits { age_max: Duration::from_secs(6), ..PLENTY });
    gate.seconds(3);
    (gate.run, gate.next) = (store.new_run(), 3_600);
    gate.seconds(2);
    assert_eq!(gate.hold.view().records, 5);
    assert_eq!(release(&store, &gate, Duration::from_secs(6)), [0, 1, 2, 3_600, 3_601]);
    site.ear.wait(|heard| heard.durable.len() == 5);
}

#[test]
fn the_oldest_of_a_camera_gives_way_to_the_newest_within_its_bytes() {
    let site = Site::new();
    let store = site.open(vec![site.disk("disk", 4096 * KIB)]);
    let mut gate = Held::new(&store, "gate");
    gate.hold.keep(PLENTY);
    gate.seconds(1);
    let one = gate.hold.view().bytes;
    gate.hold.keep(HoldLimits { bytes_max: 4 * one, ..PLENTY });
    gate.seconds(9);
    assert_eq!((gate.waiting(), gate.hold.view().bytes), (6..10, 4 * one));
}

/// Bytes are freed by whole groups of pictures: the rest of one whose key frame is gone cannot be decoded.
#[test]
fn what_gives_way_leaves_a_picture_that_decoding_can_start_at() {
    let site = Site::new();
    let store = site.open(vec![site.disk("disk", 4096 * KIB)]);
    let mut gate = Held::new(&store, "gate");
    gate.group = 3;
    gate.hold.keep(PLENTY);
    gate.seconds(2);
    let one = gate.hold.view().bytes / u64::try_from(gate.waiting().count()).unwrap();
    gate.hold.keep(HoldLimits { bytes_max: 7 * one, ..PLENTY });
    for _ in 0..20 {
        gate.seconds(1);
        let waiting = gate.waiting();
        assert_eq!(waiting.start % 3, 0, "{waiting:?}");
        assert!(waiting.clone().count() <= 7 && waiting.end == gate.next, "{waiting:?}");
    }
    // A group that is longer than the room for it leaves what there is room for.
    gate.group = 100;
    gate.seconds(30);
    assert_eq!(gate.waiting().count(), 7);
}

#[test]
fn all_holds_together_stay_within_their_memory_and_recording_has_its_own() {
    let site = Site::new();
    let store = site.open(vec![site.disk("disk", 4096 * KIB)]);
    let mut holds: Vec<Held> = ["a", "b", "c"].iter().map(|name| Held::new(&store, name)).collect();
    let bound = 20 * 80 * KIB;
    store.set_hold_bytes_max(bound);
    for held in &mut holds {
        held.hold.keep(PLENTY);
    }
    for _ in 0..50 {
        for held in &mut holds {
            held.seconds(1);
            assert!(store.hold_bytes() <= bound);
        }
    }
    for held in &holds {
        assert_eq!(held.waiting().end, 50, "the newest of each is there");
        assert!((5..=7).contains(&held.hold.view().records), "{:?}", held.hold.view());
    }
    // No memory at all: what waits gives way, and what is recorded goes on.
    store.set_hold_bytes_max(0);
    assert!(matches!(holds[0].push(), Err(PushError::Backlog(_))));
    assert_eq!(holds.iter().map(|held| held.hold.view().records).sum::<usize>(), 0);
    let first = &mut holds[0];
    assert!(release(&store, first, EVERYTHING).is_empty());
    first.writer.discard();
    assert_eq!(first.seconds(3), Committed::Queued);
    site.ear.wait(|heard| heard.durable.len() == 3);
}

#[test]
fn a_hole_that_somebody_else_has_is_saved_and_the_rest_waits_on() {
    let site = Site::new();
    let store = site.open(vec![site.disk("disk", 4096 * KIB)]);
    let mut gate = Held::new(&store, "gate");
    gate.hold.keep(PLENTY);
    gate.seconds(12);
    let mut queued = Vec::new();
    let save = |from, to, queued: &mut Vec<i64>| {
        let hole = span(from + AHEAD, to + AHEAD);
        let lost =
            store.save_held(&gate.hold, hole, &mut |info| queued.push(info.label.from.ticks() / SECOND));
        assert!(lost.is_empty());
    };
    save(100, 101, &mut queued);
    assert!(queued.is_empty());
    save(4, 6, &mut queued);
    assert_eq!(queued, all(3..7), "with one before and one behind");
    site.ear.wait(|heard| heard.durable.len() == 4);
    assert_eq!((gate.waiting(), gate.seconds(1)), (7..12, Committed::Held));
    assert_eq!(release(&store, &gate, EVERYTHING), all(7..13));
    site.ear.wait(|heard| heard.durable.len() == 10);
    assert_eq!(on_disk(&store, "gate"), all(3..13));
}

#[test]
fn of_a_stream_that_goes_on_the_newest_group_of_pictures_is_needed_however_old_it_is() {
    let site = Site::new();
    let store = site.open(vec![site.disk("disk", 4096 * KIB)]);
    let mut gate = Held::new(&store, "gate");
    gate.group = 3;
    gate.hold.keep(PLENTY);
    gate.seconds(8);
    let nothing = Release { age_max: Duration::ZERO, newest: true };
    assert_eq!(
        release_as(&store, &gate, nothing),
        [6, 7],
        "from the key frame on that the last second is decoded with"
    );
    gate.hold.keep(PLENTY);
    gate.seconds(3);
    assert_eq!(release_as(&store, &gate, Release { newest: false, ..nothing }), all(0..0));
    gate.hold.keep(PLENTY);
    assert_eq!(release_as(&store, &gate, nothing), all(0..0), "nothing waits");
}
