//! Recording, finding, reading; restarts.

use std::sync::Arc;

use keepwatch_model::{GapReason, Origin, RoleId, StreamId};
use keepwatch_store::{
    CameraTime, CommitError, GapBefore, LedgerRow, PushError, RecordMeta, Store, StoreError, TRACKS_MAX,
    TimeQuality,
};

use crate::site::{EVER, Filler, KIB, SECOND, Site, at, camera, read_back, span, tracks};

#[test]
fn what_is_written_is_found_and_read_back() {
    let site = Site::new();
    let store = site.open(vec![site.disk("disk", 1024 * KIB)]);
    let (mut north, mut south) = (Filler::new(&store, "north"), Filler::from(&store, "south", 3));
    north.seconds(12);
    south.seconds(5);
    let heard = site.ear.wait(|heard| heard.durable.len() == 17);
    assert!(heard.lost.is_empty());
    assert_eq!(read_back(&store, "north", 3_000), (0..12).collect::<Vec<_>>());
    assert_eq!(read_back(&store, "south", 3_000), (3..8).collect::<Vec<_>>());
    let held = store.held(camera("north"), StreamId::MAIN, EVER).unwrap();
    assert_eq!(held.iter().map(|held| held.span).collect::<Vec<_>>(), [span(0, 12)]);
    assert_eq!(held[0].recorder, store.role());
    let middle = store.records(camera("north"), StreamId::MAIN, span(4, 6)).unwrap();
    assert_eq!(middle.iter().map(|record| record.info.label).collect::<Vec<_>>(), [span(4, 5), span(5, 6)]);
    assert!(middle[0].info.starts_with_key && !middle[0].info.run_start);
    let index = store.read_index(&middle[0]).unwrap();
    let video = &index.tracks[0];
    assert_eq!(video.label_of(&video.samples[1]), at(4).plus(SECOND / 2));
    assert_eq!(store.streams().unwrap().len(), 2);
    assert!(store.records(camera("gate"), StreamId::MAIN, EVER).unwrap().is_empty());
    drop((north, south));
    assert_eq!(store.buffered_bytes(), 0);
}

/// Samples of 1 byte to 200 kB, so that they lie within chunks, across them and over several.
#[test]
fn an_open_record_can_be_seen_and_a_stored_sample_read_alone() {
    let site = Site::new();
    let disk =
        keepwatch_store::DiskConfig { extent_bytes: Some(1024 * KIB), ..site.disk("disk", 4096 * KIB) };
    let store = site.open(vec![disk]);
    let mut writer = store.writer(camera("north"), StreamId::MAIN);
    assert!(writer.open_record(0).is_empty() && writer.open_record(99).is_empty());
    let sizes = [1, 70_000, 65_536, 4_096, 200_000, 3];
    let data = |number: usize| vec![u8::try_from(number).unwrap() + 1; sizes[number]];
    for (number, pts) in (0..).zip([0, 9_000, 3_000, 6_000, -7, 1 << 30]).take(sizes.len()) {
        writer.push(0, pts, number == 0, &data(number)).unwrap();
    }
    writer.push(1, 5, true, b"sound").unwrap();
    let open = writer.open_record(0);
    let pts: Vec<i64> = open.iter().map(|sample| sample.pts).collect();
    assert_eq!(pts, [0, 9_000, 3_000, 6_000, -7, 1 << 30]);
    assert!(
        open.iter()
            .enumerate()
            .all(|(number, sample)| sample.data == data(number) && sample.key == (number == 0))
    );
    assert_eq!(writer.open_record(1)[0].data, b"sound");

    writer.discard();
    assert!(writer.open_record(0).is_empty());
    let mut filler = Filler::new(&store, "south");
    filler.seconds(1);
    site.ear.wait(|heard| heard.durable.len() == 1);
    let found = store.records(camera("south"), StreamId::MAIN, EVER).unwrap();
    let (index, record) = (store.read_index(&found[0]).unwrap(), store.read(&found[0]).unwrap());
    for (track, held) in index.tracks.iter().enumerate() {
        for sample in 0..held.samples.len() {
            let alone = store.read_sample(&found[0], &index, (track, sample)).unwrap();
            assert_eq!(alone, record.sample(track, sample));
        }
    }
    assert!(store.read_sample(&found[0], &index, (9, 9)).is_err());
}

#[test]
fn all_that_is_said_of_a_record_comes_back() {
    let site = Site::new();
    let store = site.open(vec![site.disk("disk", 1024 * KIB)]);
    let mut writer = store.writer(camera("gate"), StreamId(1));
    writer.push_parts(0, -5, false, &[&[1, 2], &[], &[3]]).unwrap();
    writer.push(0, -3_005, true, &[]).unwrap();
    assert_eq!((writer.open_bytes(), writer.open_samples()), (3, 2));
    let meta = RecordMeta {
        run: store.new_run(),
        run_start: true,
        continuation: true,
        label: span(-5, -4),
        track_labels: [at(-5); TRACKS_MAX],
        camera_time: Some(CameraTime { span: span(100, 101), quality: TimeQuality::Provisional }),
        tracks: tracks(),
        gap_before: Some(GapBefore { from: at(-60), reason: GapReason::ConnectionLost }),
        lost_packets: 7,
        origin: Origin::Standby,
        recorder: Some(RoleId([5; 16])),
        replaces: Some(RoleId([6; 16])),
    };
    writer.commit(meta.clone()).unwrap();
    site.ear.wait(|heard| heard.durable.len() == 1);
    let record = store.records(camera("gate"), StreamId(1), EVER).unwrap()[0];
    let info = record.info;
    assert_eq!((info.run, info.run_start, info.continuation), (meta.run, true, true));
    assert_eq!((info.camera_time, info.gap_before), (meta.camera_time, meta.gap_before));
    assert_eq!((info.lost_packets, info.origin), (7, Origin::Standby));
    assert_eq!((info.recorder, info.replaces), (RoleId([5; 16]), meta.replaces));
    assert!(!info.starts_with_key);
    let read = store.read(&record).unwrap();
    assert_eq!(
        (read.track_data(0), read.sample(0, 0), read.sample(0, 1)),
        (&[1, 2, 3][..], &[1, 2, 3][..], &[][..])
    );
    let pts: Vec<_> = read.index().tracks[0].samples.iter().map(|sample| (sample.pts, sample.key)).collect();
    assert_eq!(pts, [(-5, false), (-3_005, true)]);
    let row = store.runs(camera("gate"), StreamId(1), EVER).unwrap()[0];
    assert_eq!((row.gap_before, row.replaces, row.lost_packets), (meta.gap_before, meta.replaces, 7));
}

#[test]
fn a_crash_keeps_all_that_was_durable_and_recording_goes_on() {
    let site = Site::new();
    let store = site.open(vec![site.disk("disk", 1024 * KIB)]);
    let mut north = Filler::new(&store, "north");
    north.seconds(10);
    site.ear.wait(|heard| heard.durable.len() == 10);
    let crashed = site.crashed();
    let config = crashed.config(vec![crashed.disk("disk", 1024 * KIB)]);
    let (again, recovery) =
        Store::open(config.clone(), Arc::<crate::site::Ear>::clone(&crashed.ear)).unwrap();
    assert!(!recovery.clean);
    assert_eq!(recovery.held_until, [(camera("north"), StreamId::MAIN, at(10))]);
    assert_eq!(again.role(), store.role());
    assert!(again.new_run() > north.run);
    assert_eq!(read_back(&again, "north", 3_000), (0..10).collect::<Vec<_>>());
    Filler::from(&again, "north", 20).seconds(3);
    crashed.ear.wait(|heard| heard.durable.len() == 3);
    again.close();
    let (third, recovery) = Store::open(config, Arc::<crate::site::Ear>::clone(&crashed.ear)).unwrap();
    assert!(recovery.clean);
    assert_eq!(recovery.records_recovered, 0);
    assert_eq!(read_back(&third, "north", 3_000), (0..10).chain(20..23).collect::<Vec<_>>());
}

#[test]
fn a_lost_or_damaged_index_is_made_anew_from_the_disks() {
    for damage in [None, Some(&b"this is not a database, it is a text of some length"[..])] {
        let site = Site::new();
        let disks = vec![site.disk("disk", 1024 * KIB)];
        let store = site.open(disks.clone());
        Filler::new(&store, "north").seconds(40);
        let before = store.runs(camera("north"), StreamId::MAIN, EVER);
        site.ear.wait(|heard| heard.durable.len() == 40);
        let before = before.and_then(|_| store.runs(camera("north"), StreamId::MAIN, EVER)).unwrap();
        store.close();
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(site.data().join(format!("index.db{suffix}")));
        }
        if let Some(damage) = damage {
            std::fs::write(site.data().join("index.db"), damage).unwrap();
        }
        let (store, recovery) =
            Store::open(site.config(disks), Arc::<crate::site::Ear>::clone(&site.ear)).unwrap();
        assert_eq!(recovery.index_recreated, damage.is_some());
        assert_eq!(recovery.records_recovered, 40);
        assert_eq!(store.runs(camera("north"), StreamId::MAIN, EVER).unwrap(), before);
        assert_eq!(read_back(&store, "north", 3_000), (0..40).collect::<Vec<_>>());
    }
}

#[test]
fn a_reader_beside_the_recorder_sees_what_is_durable() {
    let site = Site::new();
    let disks = vec![site.disk("disk", 1024 * KIB)];
    let store = site.open(disks.clone());
    Filler::new(&store, "north").seconds(20);
    site.ear.wait(|heard| heard.durable.len() == 20);
    store.runs(camera("north"), StreamId::MAIN, EVER).unwrap(); // Brings the index up to date.
    let reader = Store::open_read_only(&site.data(), &disks).unwrap();
    assert_eq!(read_back(&reader, "north", 3_000), (0..20).collect::<Vec<_>>());
    assert!(matches!(reader.protect(camera("north"), span(0, 1), ""), Err(StoreError::ReadOnly)));
    let mut writer = reader.writer(camera("north"), StreamId::MAIN);
    assert!(matches!(writer.push(0, 0, true, &[1]), Err(PushError::Backlog(_))));
    assert!(matches!(
        Store::open(site.config(disks), Arc::<crate::site::Ear>::clone(&site.ear)),
        Err(StoreError::InUse { .. })
    ));
}

#[test]
fn what_does_not_fit_a_record_is_refused_and_the_next_record_is_sound() {
    let site = Site::new();
    let store = site.open(vec![site.disk("disk", 1024 * KIB)]);
    let mut north = Filler::new(&store, "north");
    assert_eq!(north.writer.push(0, 0, true, &[0; 60_000]), Err(PushError::RecordFull));
    assert_eq!(north.writer.push(TRACKS_MAX, 0, true, &[0]), Err(PushError::RecordFull));
    north.writer.push(0, 0, true, &[1]).unwrap();
    assert_eq!(north.writer.push(0, i64::from(i32::MAX) + 1, true, &[0]), Err(PushError::RecordFull));
    assert_eq!(north.writer.push(0, i64::MIN, true, &[0]), Err(PushError::RecordFull));
    north.writer.discard();
    north.writer.push(2, 0, true, &[0]).unwrap();
    assert_eq!(north.second(), Err(CommitError::Meta), "a track that is not described");
    north.second().unwrap();
    site.ear.wait(|heard| heard.durable.len() == 1);
    assert_eq!(read_back(&store, "north", 3_000), [1]);
}

#[test]
fn ledgers_and_heartbeats_are_kept() {
    let site = Site::new();
    let disks = vec![site.disk("disk", 1024 * KIB)];
    let store = site.open(disks.clone());
    let line = |stream: StreamId, from: i64, to: Option<i64>| LedgerRow {
        camera: camera("north"),
        stream,
        from: at(from),
        to: to.map(at),
        kind: 1,
        reason: 10,
        recorder: Some(RoleId([5; 16])),
        replaces: to.map(|_| RoleId([6; 16])),
        backfill: 3,
    };
    let main = |from: i64, to: Option<i64>| line(StreamId::MAIN, from, to);
    let north = camera("north");
    assert_eq!(store.last_heartbeat().unwrap(), None);
    let first = [main(0, Some(5)), main(5, Some(7)), main(7, None)];
    store.ledger_replace(north, StreamId::MAIN, at(0), &first).unwrap();
    store.ledger_replace(north, StreamId::SUB, at(0), &[line(StreamId::SUB, 5, None)]).unwrap();
    store.ledger_replace(north, StreamId::MAIN, at(6), &[main(7, Some(9)), main(9, None)]).unwrap();
    store.heartbeat(at(9)).unwrap();
    store.close();
    let store = site.open(disks);
    let lines =
        [main(0, Some(5)), main(5, Some(7)), main(7, Some(9)), main(9, None), line(StreamId::SUB, 5, None)];
    assert_eq!(store.ledger_load().unwrap(), lines);
    assert_eq!(store.last_heartbeat().unwrap(), Some(at(9)));
}

/// The index of the first version had one ledger for each camera: it is the main stream's. That of the second did not say
/// who recorded. Both are taken over, whether the index is opened as it is or made anew.
#[test]
fn ledgers_of_earlier_indexes_are_taken_over() {
    const FIRST: &str = "DROP TABLE ledger;
        CREATE TABLE ledger (
            camera TEXT NOT NULL, label_from INTEGER NOT NULL, label_to INTEGER, kind INTEGER NOT NULL,
            reason INTEGER NOT NULL, place INTEGER NOT NULL,
            PRIMARY KEY (camera, label_from, place)) WITHOUT ROWID;
        INSERT INTO ledger VALUES ('north', 450000, NULL, 2, 3, 0);
        PRAGMA user_version = 1;";
    const SECOND: &str = "DROP TABLE ledger;
        CREATE TABLE ledger (
            camera TEXT NOT NULL, stream INTEGER NOT NULL, label_from INTEGER NOT NULL, label_to INTEGER,
            kind INTEGER NOT NULL, reason INTEGER NOT NULL, place INTEGER NOT NULL,
            PRIMARY KEY (camera, stream, label_from, place)) WITHOUT ROWID;
        INSERT INTO ledger VALUES ('north', 0, 450000, NULL, 2, 3, 0);
        PRAGMA user_version = 2;";
    for (as_it_was, rebuild) in [(FIRST, false), (FIRST, true), (SECOND, false), (SECOND, true)] {
        let site = Site::new();
        let disks = vec![site.disk("disk", 1024 * KIB)];
        site.open(disks.clone()).close();
        let index = site.data().join("index.db");
        let connection = rusqlite::Connection::open(&index).unwrap();
        connection.execute_batch(as_it_was).unwrap();
        drop(connection);
        if rebuild {
            let options = keepwatch_store::VerifyOptions { rebuild: true };
            keepwatch_store::verify(&site.data(), &disks, options, &mut |_| {}).unwrap();
        }
        let store = site.open(disks);
        let line = LedgerRow {
            camera: camera("north"),
            stream: StreamId::MAIN,
            from: at(5),
            to: None,
            kind: 2,
            reason: 3,
            recorder: None,
            replaces: None,
            backfill: 0,
        };
        assert_eq!(store.ledger_load().unwrap(), [line], "rebuilt: {rebuild}");
        let sub = LedgerRow { stream: StreamId::SUB, ..line };
        store.ledger_replace(camera("north"), StreamId::SUB, at(0), &[sub]).unwrap();
        assert_eq!(store.ledger_load().unwrap().len(), 2);
    }
}

#[test]
fn opens_a_thousand_extents_in_under_a_second() {
    let site = Site::new();
    let disks = vec![site.disk("disk", 64 * 1024 * KIB)]; // 1,023 extents of 64 KiB.
    let store = site.open(disks);
    let mut fillers: Vec<_> = (0..40).map(|number| Filler::new(&store, &format!("cam{number}"))).collect();
    let mut written = 0;
    while site.ear.now().reclaimed.is_empty() {
        for filler in &mut fillers {
            filler.frame_bytes = 7_000;
            filler.seconds(1);
            written += 1;
        }
        site.ear.wait(|heard| heard.durable.len() + heard.lost.len() == written);
    }
    store.runs(camera("cam0"), StreamId::MAIN, EVER).unwrap();
    let crashed = site.crashed();
    let config = crashed.config(vec![crashed.disk("disk", 64 * 1024 * KIB)]);
    let (_, recovery) = Store::open(config, Arc::<crate::site::Ear>::clone(&crashed.ear)).unwrap();
    eprintln!("opened in {:?}", recovery.elapsed);
    assert!(recovery.elapsed.as_millis() < 1_000, "{recovery:?}");
    assert_eq!(recovery.records_recovered, 0);
}
