//! Deleting: for space, by age, and never what is protected.

use keepwatch_model::{GapReason, StreamId};
use keepwatch_store::{DiskChange, DiskState, Reclaim};

use crate::site::{EVER, Filler, KIB, Site, at, camera, read_back, span};

/// A disk of 15 extents, each of four records of a second.
const SMALL_BYTES: u64 = 1024 * KIB;

#[test]
fn a_full_disk_gives_up_the_oldest_of_all_cameras_and_goes_on() {
    let site = Site::new();
    let store = site.open(vec![site.disk("disk", SMALL_BYTES)]);
    let (mut old, mut north) = (Filler::new(&store, "old"), Filler::from(&store, "north", 1_000));
    old.seconds(10);
    north.seconds(200);
    let heard = site.ear.wait(|heard| heard.durable.len() == 210);
    assert!(heard.lost.is_empty());
    assert!(read_back(&store, "old", 3_000).is_empty(), "the oldest footage went first");
    let kept = read_back(&store, "north", 3_000);
    assert_eq!(
        kept,
        (1_200 - i64::try_from(kept.len()).unwrap()..1_200).collect::<Vec<_>>(),
        "the newest stays"
    );
    assert!(kept.len() > 30, "{}", kept.len());
    // Every second that is gone was told, and nothing else.
    let told: i64 =
        heard.reclaimed.iter().flat_map(|(_, spans, _)| spans).map(|span| span.ticks() / 90_000).sum();
    assert_eq!(usize::try_from(told).unwrap() + kept.len(), 210);
    assert!(heard.reclaimed.iter().all(|(_, _, why)| *why == Reclaim::ForSpace));
    assert!(store.disks()[0].used_bytes <= store.disks()[0].size_bytes);
}

#[test]
fn more_streams_than_extents_still_record() {
    let site = Site::new();
    let store = site.open(vec![site.disk("disk", SMALL_BYTES)]);
    let mut fillers: Vec<_> = (0..20).map(|number| Filler::new(&store, &format!("cam{number}"))).collect();
    for _ in 0..5 {
        for filler in &mut fillers {
            filler.seconds(1);
        }
        site.ear.wait(|heard| heard.durable.len() % 20 == 0);
    }
    assert!(site.ear.wait(|heard| heard.durable.len() == 100).lost.is_empty());
}

#[test]
fn footage_expires_by_age_for_good() {
    let site = Site::new();
    let disks = vec![site.disk("disk", SMALL_BYTES)];
    let store = site.open(disks.clone());
    Filler::new(&store, "north").seconds(20);
    Filler::new(&store, "south").seconds(20);
    site.ear.wait(|heard| heard.durable.len() == 40);
    store.expire(camera("north"), at(13));
    let heard = site.ear.wait(|heard| !heard.reclaimed.is_empty());
    assert!(heard.reclaimed.iter().all(|(who, _, why)| *who == camera("north") && *why == Reclaim::ByAge));
    let left = read_back(&store, "north", 3_000);
    assert!(*left.first().unwrap() > 5 && *left.first().unwrap() <= 13, "{left:?}");
    assert_eq!(read_back(&store, "south", 3_000).len(), 20);
    // Also for an index made anew: nothing expired comes back.
    store.close();
    std::fs::remove_file(site.data().join("index.db")).unwrap();
    assert_eq!(read_back(&site.open(disks), "north", 3_000), left);
}

#[test]
fn a_camera_that_was_removed_expires_to_the_last_record() {
    let site = Site::new();
    let store = site.open(vec![site.disk("disk", SMALL_BYTES)]);
    let mut north = Filler::new(&store, "north");
    north.seconds(6);
    site.ear.wait(|heard| heard.durable.len() == 6);
    store.expire(camera("north"), at(100));
    site.ear.wait(|heard| heard.reclaimed.iter().flat_map(|(_, spans, _)| spans).count() >= 2);
    assert!(store.runs(camera("north"), StreamId::MAIN, EVER).unwrap().is_empty());
    assert_eq!(store.disks()[0].used_bytes, 0);
    north.seconds(2);
    site.ear.wait(|heard| heard.durable.len() == 8);
    assert_eq!(read_back(&store, "north", 3_000), [6, 7]);
}

#[test]
fn protected_footage_stays_and_a_disk_full_of_it_says_so() {
    let site = Site::new();
    let disks = vec![site.disk("disk", SMALL_BYTES)];
    let store = site.open(disks.clone());
    let mut north = Filler::new(&store, "north");
    north.seconds(10);
    let id = store.protect(camera("north"), span(0, 10), "theft at the gate").unwrap();
    north.seconds(200);
    site.ear.wait(|heard| heard.durable.len() == 210);
    assert_eq!(read_back(&store, "north", 3_000)[..10], (0..10).collect::<Vec<_>>());
    store.expire(camera("north"), at(8));
    let all = store.protect(camera("north"), EVER, "everything").unwrap();
    let mut queued = 210;
    while site.ear.now().lost.is_empty() {
        north.second().unwrap();
        queued += 1;
        site.ear.wait(|heard| heard.durable.len() + heard.lost.len() == queued);
    }
    let heard = site.ear.now();
    assert_eq!(heard.lost[0].reason, GapReason::DiskFull);
    assert!(heard.disk.iter().any(|(_, change)| *change == DiskChange::Full));
    assert_eq!(store.disks()[0].state, DiskState::Full);
    assert_eq!(store.disks()[0].protected_bytes, store.disks()[0].size_bytes);
    // A protection outlives the store; lifted, recording goes on.
    assert!(store.release(all).unwrap());
    assert!(!store.release(all).unwrap());
    north.seconds(5);
    site.ear.wait(|heard| heard.disk.iter().any(|(_, change)| *change == DiskChange::HasRoom));
    assert_eq!(store.disks()[0].state, DiskState::Online);
    store.close();
    let store = site.open(disks);
    assert_eq!(store.protections().iter().map(|held| held.id).collect::<Vec<_>>(), [id]);
    assert_eq!(read_back(&store, "north", 3_000)[..10], (0..10).collect::<Vec<_>>());
}
