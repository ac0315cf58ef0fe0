//! Footage that is nowhere else: it goes last, and never silently.

use keepwatch_model::{Place, Span, StreamId};
use keepwatch_store::{GaveUp, Reclaim, Store};

use crate::site::{Filler, KIB, Site, at, camera, read_back, span};

/// A disk of 15 extents, each of three records of a second.
const SMALL_BYTES: u64 = 1024 * KIB;

fn opened(site: &Site) -> Store {
    site.open(vec![site.disk("disk", SMALL_BYTES)])
}

#[test]
fn what_is_nowhere_else_outlives_newer_footage_until_it_is_outside() {
    let site = Site::new();
    let store = opened(&site);
    let (mut old, mut north) = (Filler::new(&store, "old"), Filler::from(&store, "north", 1_000));
    old.seconds(10);
    store.keep(camera("old"), StreamId::MAIN, span(0, 10));
    north.seconds(200);
    let heard = site.ear.wait(|heard| heard.durable.len() == 210);
    assert_eq!(read_back(&store, "old", 3_000), (0..10).collect::<Vec<_>>(), "the newer went first");
    assert!(heard.gave_up.is_empty());
    // The first extent only.
    store.outside(camera("old"), StreamId::MAIN, span(0, 3));
    north.seconds(100);
    site.ear.wait(|heard| heard.durable.len() == 310);
    assert_eq!(read_back(&store, "old", 3_000), (3..10).collect::<Vec<_>>());
    assert!(site.ear.now().gave_up.is_empty(), "it was outside");
}

#[test]
fn when_nothing_else_is_left_the_oldest_goes_and_is_told_to_the_second() {
    let site = Site::new();
    let store = opened(&site);
    let mut north = Filler::new(&store, "north");
    for second in 0..200 {
        north.seconds(1);
        store.keep(camera("north"), StreamId::MAIN, span(second, second + 1));
    }
    let heard = site.ear.wait(|heard| heard.durable.len() == 200);
    assert!(heard.lost.is_empty(), "recording goes on");
    let reclaimed: Vec<Span> =
        heard.reclaimed.iter().flat_map(|(_, spans, _)| spans.iter().copied()).collect();
    assert!(reclaimed.len() > 10);
    let expected: Vec<GaveUp> = (reclaimed.iter())
        .map(|span| GaveUp {
            camera: camera("north"),
            stream: StreamId::MAIN,
            span: *span,
            place: Place::Internal,
        })
        .collect();
    assert_eq!(heard.gave_up, expected);
    assert_eq!(heard.gave_up[0].span.from, at(0), "the oldest first");
}

#[test]
fn a_protection_is_stronger_and_age_too() {
    let site = Site::new();
    let store = opened(&site);
    let (mut old, mut north) = (Filler::new(&store, "old"), Filler::from(&store, "north", 1_000));
    old.seconds(4);
    store.protect(camera("old"), span(0, 4), "evidence").unwrap();
    for second in 1_000..1_200 {
        north.seconds(1);
        store.keep(camera("north"), StreamId::MAIN, span(second, second + 1));
    }
    site.ear.wait(|heard| heard.durable.len() == 204);
    assert_eq!(read_back(&store, "old", 3_000), [0, 1, 2, 3], "kept footage goes before protected");
    let before = site.ear.now().gave_up.len();
    assert!(before > 0);
    store.expire(camera("north"), at(1_190));
    let heard = site.ear.wait(|heard| heard.reclaimed.iter().any(|(_, _, why)| *why == Reclaim::ByAge));
    let by_age = heard.reclaimed.iter().filter(|(_, _, why)| *why == Reclaim::ByAge).count();
    let heard = site.ear.wait(|heard| heard.gave_up.len() >= before + by_age);
    assert!(heard.gave_up.iter().all(|gave_up| gave_up.place == Place::Internal));
}
