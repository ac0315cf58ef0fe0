//! `keepwatch verify`, and the index made anew.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keepwatch_it::{Cameras, Movie, Node, Site};
use keepwatch_model::{Span, TICKS_PER_SECOND};

use crate::shared;

/// The largest file below a directory: the container.
fn largest_file(folder: &Path) -> PathBuf {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.max_by_key(|path| path.metadata().unwrap().len()).unwrap()
}

/// The place of a piece of footage in the container: `needle` is bytes of an exported file's media.
fn find(file: &std::fs::File, needle: &[u8]) -> u64 {
    let length = file.metadata().unwrap().len();
    let mut piece = vec![0; 1 << 20];
    let mut at = 0;
    while at < length {
        let read = file.read_at(&mut piece, at).unwrap();
        if let Some(found) = piece[..read].windows(needle.len()).position(|window| window == needle) {
            return at + u64::try_from(found).unwrap();
        }
        // Pieces overlap, so that nothing is missed at their edges.
        at += u64::try_from(read.saturating_sub(needle.len()).max(1)).unwrap();
    }
    panic!("the footage is not in the container");
}

#[test]
fn verify_finds_a_changed_byte_and_rebuild_recreates_the_index() {
    let _machine = shared();
    let site = Site::new().unwrap();
    let cameras = Cameras::start(&site, 2, "127.0.0.1").unwrap();
    let node = Node::recording(&site, &cameras).unwrap();
    let from = node.first_label("cam1").unwrap();
    let span = Span::new(from, from.plus(5 * TICKS_PER_SECOND)).unwrap();
    node.wait_durable("cam1", span.to, Duration::from_secs(15)).unwrap();
    let refused = site.run(["verify", "--data", "data", "--rebuild"]).unwrap();
    assert_eq!(refused.code(), 1, "a running node's index is not taken from it: {refused:?}");
    let file = node.export(&site, "cam1", span, "before.mp4").unwrap();
    let before = std::fs::read(&file).unwrap();
    let pictures = Movie::read(&file).unwrap().pictures;
    let coverage = node.coverage("cam1", Some(span)).unwrap();
    site.run(["verify", "--data", "data"]).unwrap().success().unwrap();
    node.end().unwrap();
    site.run(["verify", "--data", "data"]).unwrap().success().unwrap();

    // One bit of one picture is turned.
    let container =
        std::fs::File::options().read(true).write(true).open(largest_file(&site.footage())).unwrap();
    let largest = pictures.iter().max_by_key(|picture| picture.size_bytes).unwrap();
    let middle = usize::try_from(largest.offset_bytes + largest.size_bytes / 2).unwrap();
    let at = find(&container, &before[middle..middle + 64]);
    let byte = before[middle];
    container.write_all_at(&[byte ^ 1], at).unwrap();
    let found = site.run(["verify", "--data", "data"]).unwrap();
    assert_eq!(found.code(), 3, "{found:?}");
    assert!(found.stdout.contains("cam1") && found.stdout.contains("1 fault"), "{}", found.stdout);
    container.write_all_at(&[byte], at).unwrap();
    site.run(["verify", "--data", "data"]).unwrap().success().unwrap();

    // The index is lost; the footage alone says what it is.
    for name in ["index.db", "index.db-wal", "index.db-shm"] {
        drop(std::fs::remove_file(site.data().join(name)));
    }
    let rebuilt = site.run(["verify", "--data", "data", "--rebuild"]).unwrap().success().unwrap();
    assert!(rebuilt.contains("made anew"), "{rebuilt}");
    site.run(["verify", "--data", "data"]).unwrap().success().unwrap();
    let node = Node::start(&site).unwrap();
    let after = std::fs::read(node.export(&site, "cam1", span, "after.mp4").unwrap()).unwrap();
    assert!(before == after, "the same window gives the same bytes");
    assert_eq!(node.coverage("cam1", Some(span)).unwrap(), coverage);
    node.end().unwrap();
}
