//! Records of one store that are appended to another as they stand.

use std::sync::Arc;

use keepwatch_model::{GapReason, StreamId};
use keepwatch_store::{AppendError, DiskConfig, Lane, Record, RecordRef, Store, VerifyOptions, verify};

use crate::site::{EVER, Filler, KIB, Site, camera, span};

fn records(store: &Store) -> Vec<RecordRef> {
    store.records(camera("north"), StreamId::MAIN, EVER).unwrap()
}

fn read_all(store: &Store) -> Vec<Arc<Record>> {
    records(store).iter().map(|record| Arc::new(store.read(record).unwrap())).collect()
}

/// All of a record but where it stands.
fn told(record: &Record) -> (&keepwatch_store::RecordIndex, Vec<&[u8]>) {
    let index = record.index();
    (index, (0..index.tracks.len()).map(|track| record.track_data(track)).collect())
}

/// A store with so many seconds of "north".
fn source(seconds: i64) -> (Site, Store) {
    let site = Site::new();
    let store = site.open(vec![site.disk("disk", 4096 * KIB)]);
    let mut filler = Filler::new(&store, "north");
    filler.seconds(seconds);
    site.ear.wait(|heard| heard.durable.len() == usize::try_from(seconds).unwrap());
    (site, store)
}

#[test]
fn appended_records_are_what_they_were_also_after_a_restart_and_without_the_index() {
    let (_here, from) = source(40);
    let all = read_all(&from);
    let outside = Site::new();
    let disks = vec![outside.disk("outside", 4096 * KIB)];
    let store = outside.open(disks.clone());
    // The newest first, then what belongs before, as they come from an edge node.
    let (before, newest) = all.split_at(25);
    newest.iter().for_each(|record| store.append(record, Lane::Live).unwrap());
    before.iter().for_each(|record| store.append(record, Lane::Backfill).unwrap());
    outside.ear.wait(|heard| heard.durable.len() == 40);
    let check = |store: &Store| {
        let there = read_all(store);
        assert_eq!(there.len(), 40);
        for (here, there) in all.iter().zip(&there) {
            assert_eq!(told(here), told(there));
        }
        let held = store.held(camera("north"), StreamId::MAIN, EVER).unwrap();
        assert_eq!(held.len(), 1, "{held:?}");
        assert_eq!((held[0].span, held[0].recorder), (span(0, 40), from.role()), "who recorded it stays");
    };
    check(&store);
    assert_eq!(store.buffered_bytes(), 0);
    store.close();
    let store = outside.open(disks.clone());
    check(&store);
    store.close();
    for file in ["index.db", "index.db-wal", "index.db-shm"] {
        let _ = std::fs::remove_file(outside.data().join(file));
    }
    let store = outside.open(disks.clone());
    check(&store);
    store.close();
    let report = verify(&outside.data(), &disks, VerifyOptions::default(), &mut |_| {}).unwrap();
    assert!(report.faults.is_empty(), "{report:?}");
}

#[test]
fn what_has_no_room_is_refused_and_what_fits_nowhere_is_named() {
    let (_here, from) = source(6);
    let all = read_all(&from);
    let mut outside = Site::new();
    outside.buffer_bytes_max = all[0].as_bytes().len() as u64;
    let store = outside.open(vec![outside.disk("outside", 4096 * KIB)]);
    let mut refused = 0;
    for record in &all {
        loop {
            match store.append(record, Lane::Live) {
                Ok(()) => break,
                Err(AppendError::Backlog(GapReason::DiskSlow)) => refused += 1,
                Err(error) => panic!("{error}"),
            }
            std::thread::yield_now();
        }
    }
    outside.ear.wait(|heard| heard.durable.len() == all.len());
    assert!(refused > 0, "there is room for one at a time");
    store.close();
    assert_eq!(store_closed(&outside, &all[0]), AppendError::Closed);

    // Its extents are larger than those outside.
    let site = Site::new();
    let large =
        site.open(vec![DiskConfig { extent_bytes: Some(512 * KIB), ..site.disk("disk", 4096 * KIB) }]);
    let mut filler = Filler::new(&large, "north");
    filler.frame_bytes = 100_000;
    filler.seconds(1);
    site.ear.wait(|heard| heard.durable.len() == 1);
    let small = Site::new();
    let store = small.open(vec![small.disk("small", 1024 * KIB)]);
    assert_eq!(store.append(&read_all(&large)[0], Lane::Live), Err(AppendError::Unfit));
}

/// What a store says that was closed while somebody had a handle of it.
fn store_closed(site: &Site, record: &Arc<Record>) -> AppendError {
    let store = site.open(vec![site.disk("outside", 4096 * KIB)]);
    store.clone().close();
    store.append(record, Lane::Live).unwrap_err()
}
