//! Verification finds what is wrong; a rebuilt index equals the original.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use keepwatch_model::StreamId;
use keepwatch_store::{DiskConfig, Store, VerifyOptions, VerifyReport, verify};

use crate::site::{EVER, Filler, KIB, Site, camera, read_back, span};

const REBUILD: VerifyOptions = VerifyOptions { rebuild: true };

fn check(site: &Site, disks: &[DiskConfig], options: VerifyOptions) -> VerifyReport {
    let mut last = 0;
    let report = verify(&site.data(), disks, options, &mut |progress| {
        assert!(progress.extents_done <= progress.extents);
        last = progress.extents_done;
    })
    .unwrap();
    assert!(last > 0);
    report
}

/// Two cameras, one of them in two runs, on two disks.
fn filled(site: &Site) -> (Vec<DiskConfig>, Store) {
    let disks = vec![site.disk("one", 1024 * KIB), site.disk("two", 1024 * KIB)];
    let store = site.open(disks.clone());
    Filler::new(&store, "north").seconds(30);
    Filler::new(&store, "south").seconds(7);
    Filler::from(&store, "north", 40).seconds(3);
    site.ear.wait(|heard| heard.durable.len() == 40);
    (disks, store)
}

#[test]
fn a_sound_store_has_no_faults() {
    let site = Site::new();
    let (disks, store) = filled(&site);
    store.runs(camera("north"), StreamId::MAIN, EVER).unwrap();
    let beside = check(&site, &disks, VerifyOptions::default());
    assert_eq!(beside.faults, []);
    assert!(verify(&site.data(), &disks, REBUILD, &mut |_| {}).is_err(), "not under a running recorder");
    store.close();
    let report = check(&site, &disks, VerifyOptions::default());
    assert_eq!(report.faults, []);
    assert_eq!((report.records, report.samples), (40, 120));
    assert_eq!(report.media_bytes, 40 * 6_160);
    assert!(report.rows > 10);
}

#[test]
fn a_rebuilt_index_equals_the_original() {
    let site = Site::new();
    let (disks, store) = filled(&site);
    store.protect(camera("north"), span(0, 5), "kept").unwrap();
    let rows = |store: &Store| {
        let of = |name| store.runs(camera(name), StreamId::MAIN, EVER).unwrap();
        (of("north"), of("south"), store.protections(), store.streams().unwrap())
    };
    let before = rows(&store);
    assert!(before.0.len() > 5);
    store.close();
    assert!(check(&site, &disks, REBUILD).rebuilt);
    assert_eq!(check(&site, &disks, VerifyOptions::default()).faults, []);
    let store = site.open(disks.clone());
    assert_eq!(rows(&store), before);
    store.close();
    // And from nothing at all.
    std::fs::remove_file(site.data().join("index.db")).unwrap();
    let report = check(&site, &disks, REBUILD);
    assert_eq!(report.faults, []);
    let store = site.open(disks);
    assert_eq!((rows(&store).0, rows(&store).1), (before.0, before.1));
    assert_eq!(read_back(&store, "north", 3_000), (0..30).chain(40..43).collect::<Vec<_>>());
}

#[test]
fn damage_is_found_wherever_it_is_and_costs_no_other_record() {
    let site = Site::new();
    let disks = vec![site.disk("disk", 1024 * KIB)];
    let store = site.open(disks.clone());
    Filler::new(&store, "north").seconds(10);
    site.ear.wait(|heard| heard.durable.len() == 10);
    store.close();
    let container = disks[0].path.join("keepwatch.container");
    let file = OpenOptions::new().read(true).write(true).open(&container).unwrap();
    let extent = 64 * KIB;
    // The second record of the first extent: its header, its table, its media.
    let record = extent + 4 * KIB + 4 * 4 * KIB;
    for place in [record + 20, record + 300, record + 4 * KIB + 1] {
        let mut byte = [0];
        file.read_exact_at(&mut byte, place).unwrap();
        file.write_all_at(&[byte[0] ^ 1], place).unwrap();
        let report = check(&site, &disks, VerifyOptions::default());
        assert_eq!(report.faults.len(), 1, "{:?}", report.faults);
        assert_eq!(report.faults[0].span, Some(span(1, 2)));
        assert_eq!(report.faults[0].camera, Some(camera("north")));
        file.write_all_at(&byte, place).unwrap();
    }
    assert_eq!(check(&site, &disks, VerifyOptions::default()).faults, []);
    // A trailer that is damaged is done without, even when the index is gone as well.
    let mut byte = [0];
    let locator = extent + extent - 4 * KIB + 30;
    file.read_exact_at(&mut byte, locator).unwrap();
    file.write_all_at(&[byte[0] ^ 1], locator).unwrap();
    assert_eq!(check(&site, &disks, VerifyOptions::default()).faults, []);
    std::fs::remove_file(site.data().join("index.db")).unwrap();
    assert_eq!(check(&site, &disks, REBUILD).faults, []);
    // An extent's header that is damaged is done without as well.
    let header = extent * 2 + 30;
    file.read_exact_at(&mut byte, header).unwrap();
    file.write_all_at(&[byte[0] ^ 1], header).unwrap();
    let store = site.open(disks);
    assert_eq!(read_back(&store, "north", 3_000), (0..10).collect::<Vec<_>>());
}
