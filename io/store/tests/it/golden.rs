//! Containers of each released format stay readable for ever.

use std::path::{Path, PathBuf};

use keepwatch_store::{DiskConfig, Store, VerifyOptions, verify};

use keepwatch_model::StreamId;

use crate::site::{EVER, Filler, KIB, Site, camera, copy_all, read_back, span};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

/// Format 1: 18 s of "north" in several extents and 4 s of "gate"; frames of 1,500 bytes; not closed properly.
#[test]
fn a_container_of_format_1_is_readable() {
    let site = Site::new();
    copy_all(&golden("format-1"), site.root.path());
    let disks = vec![DiskConfig::new(site.root.path().join("disk"), None)];
    let report = verify(&site.data(), &disks, VerifyOptions { rebuild: true }, &mut |_| {}).unwrap();
    assert_eq!(report.faults, []);
    assert_eq!(report.records, 22);
    let reader = Store::open_read_only(&site.data(), &disks).unwrap();
    assert_eq!(read_back(&reader, "north", 1_500), (0..18).collect::<Vec<_>>());
    assert_eq!(read_back(&reader, "gate", 1_500), (0..4).collect::<Vec<_>>());
    drop(reader);
    // And it can be written further.
    let store = site.open(disks);
    Filler::from(&store, "north", 30).seconds(1);
    site.ear.wait(|heard| heard.durable.len() == 1);
    let held = store.held(camera("north"), StreamId::MAIN, EVER).unwrap();
    assert_eq!(held.iter().map(|held| held.span).collect::<Vec<_>>(), [span(0, 18), span(30, 31)]);
}

/// Makes the golden image of the format as it is; run by hand when a format is released:
/// `cargo test --release -p keepwatch-store --test it -- --ignored make_golden`.
#[test]
#[ignore = "writes into the source tree"]
fn make_golden() {
    let site = Site::new();
    let disk = DiskConfig { extent_bytes: Some(48 * KIB), ..site.disk("disk", 512 * KIB) };
    let store = site.open(vec![disk]);
    let (mut north, mut gate) = (Filler::new(&store, "north"), Filler::new(&store, "gate"));
    (north.frame_bytes, gate.frame_bytes) = (1_500, 1_500);
    for second in 0..18 {
        north.seconds(1);
        if second < 4 {
            gate.seconds(1);
        }
    }
    site.ear.wait(|heard| heard.durable.len() == 22);
    let target = golden("format-1");
    std::fs::create_dir_all(target.join("disk")).unwrap();
    std::fs::create_dir_all(target.join("data")).unwrap();
    let container = Path::new("disk").join("keepwatch.container");
    std::fs::copy(site.root.path().join(&container), target.join(&container)).unwrap();
    std::fs::copy(site.data().join("identity"), target.join("data").join("identity")).unwrap();
}
