//! Who shares the pieces of a stream, and who must not.

use super::*;
use crate::watch::bench::{Bench, show, stream};
use keepwatch_model::CodecKind;

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_camera_that_was_removed_and_added_again_is_shown_while_its_old_viewers_live() {
    let bench = Bench::new();
    let casts = Casts::new(bench.store.clone(), Arc::clone(&bench.reads));
    let (removed, added) = (stream(CodecKind::H264), stream(CodecKind::H264));
    let old = casts.join(&removed, true);
    assert!(Arc::ptr_eq(&old, &casts.join(&removed, true)), "made once for all who watch");

    let new = casts.join(&added, true);
    let (mut news, mut position) = (new.news(), new.position());
    assert!(Arc::ptr_eq(&new, &casts.join(&added, true)));
    let comes = async {
        while !added.hub().is_watched() {
            tokio::task::yield_now().await;
        }
        show(&added, 0, true, 100);
        news.changed().await
    };
    tokio::time::timeout(PATIENCE, comes).await.expect("a piece in time").unwrap();
    assert_eq!(new.take(&mut position).pieces.len(), 1);
    assert!(old.take(&mut old.position()).pieces.is_empty());
}
