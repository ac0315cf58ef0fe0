//! Internal and second local storage: where records go, what is said of each, and when a disk is trusted again.

use std::path::Path;

use keepwatch_model::{Condition, Place, SpanSet};
use keepwatch_store::{DiskChange, DiskConfig, DiskRole, DiskState, Fault, Reclaim, Store};

use crate::disks::Faults;
use crate::site::{Filler, KIB, Site, at, read_back};

const SIZE_BYTES: u64 = 2048 * KIB;

/// An internal and a second disk, in this order.
fn local_storage(site: &Site) -> Vec<DiskConfig> {
    let disk = |name, role| DiskConfig { role, ..site.disk(name, SIZE_BYTES) };
    vec![disk("second", DiskRole::Second), disk("internal", DiskRole::Edge)]
}

fn condition(store: &Store, place: Place) -> Condition {
    store.place(place).unwrap().condition
}

fn wait_for(site: &Site, path: &Path, change: impl Fn(&DiskChange) -> bool) {
    site.ear.wait(|heard| heard.disk.iter().any(|(at, what)| at == path && change(what)));
}

fn is_read_only(change: &DiskChange) -> bool {
    matches!(change, DiskChange::ReadOnly(_))
}

#[test]
fn records_go_to_the_second_storage_while_the_internal_one_cannot_be_written_and_back_at_once() {
    for fault in [
        Fault::WriteError(libc::EIO),
        Fault::WriteError(libc::EROFS),
        Fault::WriteError(libc::ENOSPC),
        Fault::FlushError(libc::EIO),
        Fault::ErrorAfter { writes: 2, errno: libc::EIO },
    ] {
        let site = Site::new();
        let faults = Faults::default();
        let disks = local_storage(&site);
        let internal = &disks[1].path;
        let store = site.open_wrapped(disks.clone(), faults.wrap_for_good());
        let mut fillers = [Filler::new(&store, "north"), Filler::new(&store, "south")];
        let mut expected = 0;
        let mut seconds = |count, place: Option<Place>| {
            for filler in &mut fillers {
                filler.seconds(count);
            }
            let begun = expected;
            expected += 2 * usize::try_from(count).unwrap();
            let heard = site.ear.wait(|heard| heard.durable.len() == expected);
            assert!(heard.lost.is_empty(), "{fault:?}: {:?}", heard.lost);
            if let Some(place) = place {
                let places: Vec<Place> = heard.durable[begun..].iter().map(|commit| commit.place).collect();
                assert!(places.iter().all(|at| *at == place), "{fault:?}: {places:?}");
            }
        };
        seconds(5, Some(Place::Internal));
        let identities = store.place(Place::Internal).unwrap();
        assert_eq!((identities.condition, identities.disks.len()), (Condition::Writable, 1));

        faults.set(internal, fault);
        // Some may still have reached it before it failed.
        seconds(3, None);
        wait_for(&site, internal, is_read_only);
        seconds(5, Some(Place::Second));
        let place = store.place(Place::Internal).unwrap();
        assert_eq!((place.condition, &place.disks), (Condition::ReadOnly, &identities.disks), "{fault:?}");
        assert_eq!(condition(&store, Place::Second), Condition::Writable);
        // What it holds is read, beside what the other took.
        for name in ["north", "south"] {
            assert_eq!(read_back(&store, name, 3_000), (0..13).collect::<Vec<_>>(), "{fault:?}");
        }

        faults.set(internal, Fault::None);
        wait_for(&site, internal, |change| *change == DiskChange::Returned);
        seconds(5, Some(Place::Internal));
        assert_eq!(store.place(Place::Internal).unwrap(), identities, "the same disk");
        for name in ["north", "south"] {
            assert_eq!(read_back(&store, name, 3_000), (0..18).collect::<Vec<_>>(), "{fault:?}");
        }
    }
}

#[test]
fn another_internal_disk_takes_the_records_of_one_that_fails_before_the_second_storage_does() {
    let site = Site::new();
    let faults = Faults::default();
    let mut disks = local_storage(&site);
    disks.push(DiskConfig { role: DiskRole::Recordings, ..site.disk("other", SIZE_BYTES) });
    let store = site.open_wrapped(disks.clone(), faults.wrap_for_good());
    let mut fillers: Vec<_> = (0..4).map(|number| Filler::new(&store, &format!("cam{number}"))).collect();
    fillers.iter_mut().for_each(|filler| filler.seconds(3));
    let heard = site.ear.wait(|heard| heard.durable.len() == 12);
    let used: std::collections::BTreeSet<_> = heard.durable.iter().map(|commit| commit.disk).collect();
    assert_eq!(used.len(), 2, "internal disks share");
    faults.set(&disks[1].path, Fault::WriteError(libc::EIO));
    fillers.iter_mut().for_each(|filler| filler.seconds(3));
    let heard = site.ear.wait(|heard| heard.durable.len() == 24);
    assert!(heard.durable.iter().all(|commit| commit.place == Place::Internal));
    assert_eq!(condition(&store, Place::Internal), Condition::Writable, "one of them is");
    assert_eq!(store.place_of(heard.durable[0].disk), Some(Place::Internal));
}

#[test]
fn a_disk_that_is_neither_written_nor_read_is_gone_until_it_returns() {
    let site = Site::new();
    let faults = Faults::default();
    let disks = local_storage(&site);
    let internal = &disks[1].path;
    let store = site.open_wrapped(disks.clone(), faults.wrap_for_good());
    let mut north = Filler::new(&store, "north");
    north.seconds(5);
    site.ear.wait(|heard| heard.durable.len() == 5);
    let before = store.place(Place::Internal).unwrap();
    faults.set(internal, Fault::Error(libc::EIO));
    north.seconds(5);
    let heard = site.ear.wait(|heard| heard.durable.len() == 10);
    assert!(heard.lost.is_empty());
    wait_for(&site, internal, |change| matches!(change, DiskChange::Gone(_)));
    let gone = store.place(Place::Internal).unwrap();
    assert_eq!((gone.condition, gone.disks), (Condition::Gone, Vec::new()));
    assert_eq!(read_back(&store, "north", 3_000), (5..10).collect::<Vec<_>>());
    faults.set(internal, Fault::None);
    wait_for(&site, internal, |change| *change == DiskChange::Returned);
    assert_eq!(store.place(Place::Internal).unwrap(), before);
    assert_eq!(read_back(&store, "north", 3_000), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_disk_that_lies_is_found_out_and_trusted_only_when_what_it_writes_stays() {
    let site = Site::new();
    let faults = Faults::default();
    let mut disks = local_storage(&site);
    // Nothing is overwritten until it is found out.
    disks[1].size_bytes = Some(8 * SIZE_BYTES);
    let internal = &disks[1].path;
    let store = site.open_wrapped(disks.clone(), faults.wrap_for_good());
    let mut north = Filler::new(&store, "north");
    north.seconds(1);
    site.ear.wait(|heard| heard.durable.len() == 1);
    faults.set(internal, Fault::Lies);
    let found_out = |site: &Site| site.ear.now().disk.iter().any(|(_, change)| is_read_only(change));
    let mut written = 1;
    while !found_out(&site) {
        north.seconds(1);
        written += 1;
        site.ear.wait(|heard| heard.durable.len() == written);
    }
    let DiskState::ReadOnly { why, .. } = store.disks()[1].state.clone() else {
        panic!("{:?}", store.disks()[1])
    };
    assert!(why.contains("reads back as something else"), "{why}");
    // What it had said to have written, and had not, is told; the rest is there.
    let heard = site.ear.now();
    let damaged = heard.reclaimed.iter().filter(|(_, _, why)| *why == Reclaim::Damaged);
    let damaged: SpanSet = damaged.flat_map(|(_, spans, _)| spans.iter().copied()).collect();
    assert!(!damaged.is_empty());
    let whole = (0..i64::try_from(written).unwrap()).filter(|second| !damaged.contains(at(*second)));
    assert_eq!(read_back(&store, "north", 3_000), whole.collect::<Vec<_>>());
    // However often it is tried.
    for _ in 0..3 {
        north.seconds(1);
        written += 1;
        let heard = site.ear.wait(|heard| heard.durable.len() == written);
        assert_eq!(heard.durable.last().unwrap().place, Place::Second);
        assert_eq!(condition(&store, Place::Internal), Condition::ReadOnly);
    }
    faults.set(internal, Fault::None);
    wait_for(&site, internal, |change| *change == DiskChange::Returned);
    north.seconds(1);
    let heard = site.ear.wait(|heard| heard.durable.len() == written + 1);
    assert_eq!(heard.durable.last().unwrap().place, Place::Internal);
}

#[test]
fn a_blank_disk_that_lies_is_never_taken_into_use() {
    let site = Site::new();
    let faults = Faults::default();
    let disks = local_storage(&site);
    faults.set(&disks[1].path, Fault::Lies);
    let store = site.open_wrapped(disks.clone(), faults.wrap_for_good());
    assert!(matches!(store.disks()[1].state, DiskState::Gone { .. }), "{:?}", store.disks()[1].state);
    let mut north = Filler::new(&store, "north");
    north.seconds(3);
    site.ear.wait(|heard| heard.durable.len() == 3);
    faults.set(&disks[1].path, Fault::None);
    // A superblock that was written in the moment in which it was mended is found again.
    let taken = |change: &DiskChange| matches!(change, DiskChange::Adopted | DiskChange::Returned);
    wait_for(&site, &disks[1].path, taken);
    north.seconds(1);
    let heard = site.ear.wait(|heard| heard.durable.len() == 4);
    assert_eq!(heard.durable.last().unwrap().place, Place::Internal);
}

#[test]
fn what_a_disk_holds_is_read_after_a_start_at_which_it_cannot_be_written() {
    let site = Site::new();
    let faults = Faults::default();
    let disks = local_storage(&site);
    let store = site.open_wrapped(disks, faults.wrap_for_good());
    Filler::new(&store, "north").seconds(5);
    site.ear.wait(|heard| heard.durable.len() == 5);
    // A crash: nothing was closed, and the index is behind.
    let crashed = site.crashed();
    let disks = local_storage(&crashed);
    let faults = Faults::default();
    faults.set(&disks[1].path, Fault::WriteError(libc::EROFS));
    let store = crashed.open_wrapped(disks.clone(), faults.wrap_for_good());
    assert_eq!(condition(&store, Place::Internal), Condition::ReadOnly);
    assert_eq!(read_back(&store, "north", 3_000), (0..5).collect::<Vec<_>>());
    let status = &store.disks()[1];
    assert!(status.used_bytes > 0 && status.size_bytes > 0, "{status:?}");
    let mut north = Filler::from(&store, "north", 10);
    north.seconds(2);
    let heard = crashed.ear.wait(|heard| heard.durable.len() == 2);
    assert!(heard.durable.iter().all(|commit| commit.place == Place::Second));
    store.expire("north".parse().unwrap(), at(4));
    faults.set(&disks[1].path, Fault::None);
    wait_for(&crashed, &disks[1].path, |change| *change == DiskChange::Returned);
    north.seconds(1);
    crashed.ear.wait(|heard| heard.durable.len() == 3);
    assert_eq!(read_back(&store, "north", 3_000), [0, 1, 2, 3, 4, 10, 11, 12]);
}

#[test]
fn what_a_disk_was_given_to_write_is_counted_beside_its_media() {
    let site = Site::new();
    let store = site.open(local_storage(&site));
    let mut north = Filler::new(&store, "north");
    north.frame_bytes = 20_000;
    north.seconds(20);
    let heard = site.ear.wait(|heard| heard.durable.len() == 20);
    let media: u64 = heard.durable.iter().map(|commit| u64::from(commit.info.media_bytes)).sum();
    let (second, internal) = (&store.disks()[0], &store.disks()[1]);
    assert_eq!((second.written_bytes, second.media_bytes), (0, 0));
    assert_eq!(internal.media_bytes, media);
    // A head of a block, up to a block behind each of two tracks, and the headers of extents.
    let most = media + 20 * 3 * 4_096 + 20 * 3 * 4_096;
    assert!((media..most).contains(&internal.written_bytes), "{internal:?}");
}
