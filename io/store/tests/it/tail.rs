//! Records that stay in memory until they are elsewhere: what a failed disk costs, what gives way, and what it costs.

use keepwatch_model::{GapReason, Place, StreamId};
use keepwatch_store::{CommitError, Committed, DiskChange, Fault, GaveUp, Record, Store, TailView};

use crate::disks::Faults;
use crate::site::{EVER, Filler, KIB, Site, at, camera, frame, read_back, span};

const SIZE_BYTES: u64 = 4096 * KIB;
/// Bytes that a record of these tests takes in memory: its head, and the first chunks of two tracks.
const RECORD_BYTES: u64 = 4 * KIB + 2 * 16 * KIB;

fn with_tail(store: &Store, records: u64) {
    store.set_tail_bytes_max(records * RECORD_BYTES);
    store.keep_tail(camera("north"), StreamId::MAIN);
}

fn tail(store: &Store) -> TailView {
    store.tail_of(camera("north"), StreamId::MAIN)
}

#[test]
fn without_any_disk_records_wait_in_memory_and_go_to_the_disk_that_returns() {
    let site = Site::new();
    let faults = Faults::default();
    let disk = site.disk("disk", SIZE_BYTES);
    let store = site.open_wrapped(vec![disk.clone()], faults.wrap_for_good());
    with_tail(&store, 100);
    let (mut north, mut south) = (Filler::new(&store, "north"), Filler::new(&store, "south"));
    north.seconds(3);
    site.ear.wait(|heard| heard.durable.len() == 3);
    faults.set(&disk.path, Fault::Error(libc::EIO));
    // The first finds out that the disk is gone, the others know it when they are closed.
    north.seconds(1);
    site.ear.wait(|heard| heard.disk.iter().any(|(_, change)| matches!(change, DiskChange::Gone(_))));
    north.seconds(9);
    assert_eq!((tail(&store).records, tail(&store).on_no_disk), (13, 10));
    assert_eq!(south.second(), Err(CommitError::NoDisk(GapReason::DiskGone)), "a stream without a tail");
    assert!(site.ear.now().lost.is_empty());
    faults.set(&disk.path, Fault::None);
    let heard = site.ear.wait(|heard| heard.durable.len() == 13);
    let order: Vec<_> = heard.durable.iter().map(|commit| commit.info.label).collect();
    assert!(order.is_sorted(), "{order:?}");
    assert!(heard.lost.is_empty());
    assert_eq!(read_back(&store, "north", 3_000), (0..13).collect::<Vec<_>>());
    assert_eq!((tail(&store).records, tail(&store).on_no_disk), (13, 0));
}

#[test]
fn a_record_in_memory_is_the_one_on_the_disk_and_there_as_soon_as_it_is_closed() {
    let site = Site::new();
    let faults = Faults::default();
    let disk = site.disk("disk", SIZE_BYTES);
    let store = site.open_wrapped(vec![disk.clone()], faults.wrap_for_good());
    with_tail(&store, 100);
    faults.set(&disk.path, Fault::Stuck);
    let mut north = Filler::new(&store, "north");
    north.seconds(3);
    let read = |second| store.read_tail(camera("north"), StreamId::MAIN, span(second, second + 1));
    let in_memory = read(1).unwrap();
    assert_eq!(in_memory.index().info.label, span(1, 2));
    let sent = Record::from_bytes(in_memory.as_bytes()).unwrap();
    assert_eq!(sent.sample(0, 1), frame(1, 1, 3_000));
    assert!(read(3).is_none());
    faults.set(&disk.path, Fault::None);
    site.ear.wait(|heard| heard.durable.len() == 3);
    let on_disk = store.records(camera("north"), StreamId::MAIN, span(1, 2)).unwrap();
    let on_disk = store.read(&on_disk[0]).unwrap();
    assert_eq!(on_disk.index(), in_memory.index());
    assert_eq!(on_disk.track_data(0), in_memory.track_data(0));
    // But for where it lies.
    assert_eq!(on_disk.as_bytes().len(), in_memory.as_bytes().len());
}

#[test]
fn the_tail_is_bounded_over_all_streams_and_the_oldest_is_given_up_and_told() {
    let site = Site::new();
    let faults = Faults::default();
    let disk = site.disk("disk", SIZE_BYTES);
    let store = site.open_wrapped(vec![disk.clone()], faults.wrap_for_good());
    with_tail(&store, 10);
    store.keep_tail(camera("south"), StreamId::MAIN);
    let (mut north, mut south) = (Filler::new(&store, "north"), Filler::new(&store, "south"));
    for _ in 0..8 {
        north.seconds(1);
        south.seconds(1);
    }
    let heard = site.ear.wait(|heard| heard.durable.len() == 16);
    let told = |name, second| GaveUp {
        camera: camera(name),
        stream: StreamId::MAIN,
        span: span(second, second + 1),
        place: Place::Memory,
    };
    let expected: Vec<_> = (0..3).flat_map(|second| [told("north", second), told("south", second)]).collect();
    assert_eq!(heard.gave_up, expected);
    assert!(heard.lost.is_empty(), "they are on the disk");
    assert_eq!((store.tail().records, store.tail().bytes), (10, 10 * RECORD_BYTES));
    assert_eq!(store.buffered_bytes(), 0, "it takes nothing from recording");

    // On no disk, what is given up is lost, with the reason for the ledger.
    faults.set(&disk.path, Fault::Error(libc::EIO));
    for _ in 0..15 {
        north.seconds(1);
    }
    let heard = site.ear.wait(|heard| !heard.lost.is_empty());
    assert_eq!((heard.lost[0].info.label, heard.lost[0].reason), (span(8, 9), GapReason::DiskGone));
    assert_eq!(store.tail().records, 10);
}

#[test]
fn what_is_outside_goes_from_memory_and_what_is_not_stays() {
    let site = Site::new();
    let store = site.open(vec![site.disk("disk", SIZE_BYTES)]);
    with_tail(&store, 100);
    let mut north = Filler::new(&store, "north");
    north.seconds(10);
    site.ear.wait(|heard| heard.durable.len() == 10);
    store.outside(camera("north"), StreamId::MAIN, span(2, 5));
    assert_eq!(tail(&store).records, 7);
    // Half a record is not outside.
    store.outside(camera("north"), StreamId::MAIN, keepwatch_model::Span { from: at(5), to: at(6).plus(-1) });
    assert_eq!(tail(&store).records, 7);
    let first = store.read_tail(camera("north"), StreamId::MAIN, span(2, 100)).unwrap();
    assert_eq!(first.index().info.label, span(5, 6));
    store.outside(camera("north"), StreamId::MAIN, EVER);
    assert_eq!(store.tail(), TailView::default());
    assert!(site.ear.now().gave_up.is_empty());
    assert_eq!(store.buffered_bytes(), 0);
    north.seconds(1);
    assert_eq!(tail(&store).records, 1, "it goes on");
    store.end_tail(camera("north"), StreamId::MAIN);
    assert_eq!(store.tail(), TailView::default());
    assert_eq!(north.writer.commit_or_hold(north.meta(99)), Err(CommitError::Empty));
    north.seconds(1);
    site.ear.wait(|heard| heard.durable.len() == 12);
    assert_eq!((store.tail(), store.buffered_bytes()), (TailView::default(), 0));
}

#[test]
fn what_no_disk_took_is_lost_when_it_is_outside_or_the_store_is_closed() {
    let site = Site::new();
    let faults = Faults::default();
    let disk = site.disk("disk", SIZE_BYTES);
    let store = site.open_wrapped(vec![disk.clone()], faults.wrap_for_good());
    with_tail(&store, 100);
    let mut north = Filler::new(&store, "north");
    north.seconds(1);
    site.ear.wait(|heard| heard.durable.len() == 1);
    faults.set(&disk.path, Fault::Error(libc::EIO));
    north.seconds(1);
    site.ear.wait(|heard| heard.disk.iter().any(|(_, change)| matches!(change, DiskChange::Gone(_))));
    for frame in 0..2 {
        north.writer.push(0, frame, frame == 0, &[1; 100]).unwrap();
    }
    assert_eq!(north.writer.commit_or_hold(north.meta(2)), Ok(Committed::InMemory));
    north.next_second += 1;
    north.seconds(3);
    store.outside(camera("north"), StreamId::MAIN, span(0, 4));
    let lost = |site: &Site| -> Vec<i64> {
        let lost = site.ear.now().lost;
        lost.iter().map(|loss| loss.info.label.from.ticks() / crate::site::SECOND).collect()
    };
    assert_eq!(lost(&site), [1, 2, 3]);
    store.close();
    assert_eq!(lost(&site), [1, 2, 3, 4, 5]);
    let told: Vec<_> = site.ear.now().gave_up.iter().map(|gave_up| gave_up.span).collect();
    assert_eq!(told, [span(4, 5), span(5, 6)], "what was outside was not given up");
}

#[test]
fn a_stuck_disk_takes_the_buffer_only_behind_the_tail() {
    let site = Site { buffer_bytes_max: 1024 * KIB, ..Site::new() };
    let faults = Faults::default();
    let disk = site.disk("disk", SIZE_BYTES);
    let store = site.open_wrapped(vec![disk.clone()], faults.wrap_for_good());
    with_tail(&store, 50);
    faults.set(&disk.path, Fault::Stuck);
    let mut north = Filler::new(&store, "north");
    let mut queued = 0;
    while north.second().is_ok() {
        queued += 1;
        assert!(store.buffered_bytes() <= 1024 * KIB && store.tail().bytes <= 50 * RECORD_BYTES);
        assert!(queued < 1_000, "it is bounded");
    }
    // The buffer alone has room for 32 of them.
    assert!((70..=85).contains(&queued), "{queued}");
    faults.set(&disk.path, Fault::None);
    let heard = site.ear.wait(|heard| heard.durable.len() == queued);
    assert!(heard.lost.is_empty());
    assert_eq!(store.buffered_bytes(), 0);
}
