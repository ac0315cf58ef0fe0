//! Disks of other recorders that are shown and never written.

use std::time::{Duration, Instant};

use keepwatch_model::{CameraId, StreamId, WallTime};
use keepwatch_store::{DiskConfig, DiskState, Shown, Store};

use crate::site::{EVER, Filler, KIB, Site, camera, read_back};

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it did not happen: {what}");
        std::thread::yield_now();
    }
}

fn read_only(disk: &DiskConfig) -> DiskConfig {
    DiskConfig { read_only: true, ..disk.clone() }
}

fn shown_one(store: &Store) -> Shown {
    let [shown] = &store.shown()[..] else { panic!("{:?}", store.shown()) };
    shown.clone()
}

#[test]
fn a_disk_of_another_recorder_is_shown_under_ids_of_its_own_and_not_a_byte_is_written() {
    let (writes, shows) = (Site::new(), Site::new());
    let disk = writes.disk("a", 64 * 64 * KIB);
    let writer = writes.open(vec![disk.clone()]);
    Filler::new(&writer, "gate").seconds(30);
    writes.ear.wait(|heard| heard.durable.len() == 30);
    let owner = writer.role();
    writer.close();
    let container = disk.path.join("keepwatch.container");
    let before = std::fs::read(&container).unwrap();

    // This recorder has a camera of the same id.
    let own = shows.disk("b", 64 * 64 * KIB);
    let store = shows.open(vec![own.clone(), read_only(&disk)]);
    Filler::from(&store, "gate", 10).seconds(5);
    shows.ear.wait(|heard| heard.durable.len() == 5);
    let shown = shown_one(&store);
    assert_eq!((shown.camera, shown.owner, shown.sub), (camera("gate"), owner, false));
    assert_ne!(shown.local, shown.camera);
    assert_eq!(read_back(&store, shown.local.as_str(), 3_000), (0..30).collect::<Vec<_>>());
    assert_eq!(read_back(&store, "gate", 3_000), (10..15).collect::<Vec<_>>());
    let status = store.disks();
    assert!(status[1].read_only && matches!(status[1].state, DiskState::ReadOnly { .. }), "{status:?}");
    store.expire(shown.local, WallTime::MAX);
    store.measure_disks(WallTime::from_ticks(0));
    Filler::from(&store, "gate", 15).seconds(5);
    shows.ear.wait(|heard| heard.durable.len() == 10);
    store.close();
    assert!(std::fs::read(&container).unwrap() == before, "nothing is written, deleted or closed");

    // From the index alone it is known again, and without it, too.
    for lost in [false, true] {
        if lost {
            std::fs::remove_file(shows.data().join("index.db")).unwrap();
        }
        let store = shows.open(vec![own.clone(), read_only(&disk)]);
        assert_eq!(shown_one(&store).local, shown.local);
        assert_eq!(read_back(&store, shown.local.as_str(), 3_000), (0..30).collect::<Vec<_>>());
        store.close();
    }
}

#[test]
fn what_the_other_recorder_goes_on_to_write_is_taken_up_and_what_it_overwrites_let_go() {
    let (writes, shows) = (Site::new(), Site::new());
    let disk = writes.disk("a", 10 * 64 * KIB);
    let writer = writes.open(vec![disk.clone()]);
    let mut filler = Filler::new(&writer, "gate");
    filler.seconds(10);
    writes.ear.wait(|heard| heard.durable.len() == 10);
    let store = shows.open(vec![shows.disk("b", 64 * 64 * KIB), read_only(&disk)]);
    let local = shown_one(&store).local;
    assert_eq!(read_back(&store, local.as_str(), 3_000), (0..10).collect::<Vec<_>>());
    let newest = |id: CameraId| {
        let held = store.held(id, StreamId::MAIN, EVER).unwrap();
        held.last().map(|held| held.span.to.ticks() / 90_000)
    };
    filler.seconds(10);
    wait_until("what was added is found", || newest(local) == Some(20));
    for _ in 0..20 {
        filler.seconds(10);
        let durable = usize::try_from(filler.next_second).unwrap();
        writes.ear.wait(|heard| heard.durable.len() == durable);
    }
    wait_until("the last is found", || newest(local) == Some(filler.next_second));
    let theirs = read_back(&writer, "gate", 3_000);
    wait_until("both have the same", || {
        let held = store.held(local, StreamId::MAIN, EVER).unwrap();
        held.first().map(|held| held.span.from.ticks() / 90_000) == theirs.first().copied()
    });
    assert_eq!(read_back(&store, local.as_str(), 3_000), theirs);
    assert!(shows.ear.now().reclaimed.iter().any(|(camera, ..)| *camera == local));
}

#[test]
fn a_recorder_may_have_nothing_but_disks_to_show() {
    let (writes, shows) = (Site::new(), Site::new());
    let disk = writes.disk("a", 64 * 64 * KIB);
    let writer = writes.open(vec![disk.clone()]);
    Filler::new(&writer, "gate").seconds(5);
    writes.ear.wait(|heard| heard.durable.len() == 5);
    writer.close();
    let store = shows.open(vec![read_only(&disk)]);
    assert_eq!(read_back(&store, shown_one(&store).local.as_str(), 3_000), (0..5).collect::<Vec<_>>());
    let mut filler = Filler::new(&store, "yard");
    assert!(filler.second().is_err(), "nothing is recorded on it");
}
