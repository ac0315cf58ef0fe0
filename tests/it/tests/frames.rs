//! Virtual cameras number their frames: what is in the export and what the ledger says must be the same thing.

use std::collections::BTreeSet;
use std::time::Duration;

use keepwatch_it::{Cameras, Movie, Node, Scene, Site, wait_until};
use keepwatch_model::{Span, TICKS_PER_SECOND};
use serde_json::json;

use crate::shared;

/// Ticks from one frame to the next.
const FRAME: i64 = TICKS_PER_SECOND / Cameras::RATE;

/// The numbers that are missing between the first and the last, as first number and count.
fn holes(numbers: &[u64]) -> Vec<(u64, u64)> {
    numbers
        .windows(2)
        .filter(|pair| pair[1] != pair[0] + 1)
        .map(|pair| (pair[0] + 1, pair[1] - pair[0] - 1))
        .collect()
}

#[test]
fn the_gaps_of_the_ledger_are_the_frames_that_are_missing() {
    let _machine = shared();
    let Scene { site, cameras, node, from } = Scene::start(2).unwrap();
    let second = |second: i64| from.plus(second * TICKS_PER_SECOND);
    let patience = Duration::from_secs(40);
    for at in [20, 40] {
        node.wait_durable("cam1", second(at), patience).unwrap();
        cameras.command(&json!({"camera": "cam1", "fault": "drop"})).unwrap();
    }
    node.wait_durable("cam1", second(60), patience).unwrap();
    assert_eq!(cameras.connections("cam1").unwrap().len(), 3, "two reconnects were forced");

    let span = Span::new(from, second(60)).unwrap();
    let movie = Movie::read(&node.export(&site, "cam1", span, "cam1.mp4").unwrap()).unwrap();
    let numbers = movie.numbers();
    assert_eq!(
        numbers.len(),
        usize::try_from(movie.shown).unwrap(),
        "every frame has a number and is decoded"
    );
    assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), numbers.len(), "no number twice");
    assert!(numbers.is_sorted(), "in the order of capture");
    let holes = holes(&numbers);
    let missing: u64 = holes.iter().map(|(_, count)| count).sum();
    let all = u64::try_from(60 * Cameras::RATE).unwrap();
    assert!((all - 1..=all + 1).contains(&(missing + movie.shown)), "{missing} + {}", movie.shown);

    let lines = node.coverage("cam1", Some(span)).unwrap();
    let gaps: Vec<_> = lines.iter().filter(|line| line.state != "held").collect();
    assert_eq!(gaps.len(), holes.len(), "{gaps:?} {holes:?}");
    assert_eq!(gaps.len(), 2, "{gaps:?}");
    for (gap, (_, count)) in gaps.iter().zip(&holes) {
        assert_eq!((gap.state.as_str(), gap.reason.as_deref()), ("gap", Some("connection_lost")));
        // As long as the frames that are missing in it, to a quarter of a frame.
        let length = i64::try_from(*count).unwrap() * FRAME;
        assert!((gap.span.ticks() - length).abs() < FRAME / 4, "{gap:?} for {count} frames");
    }

    // The other camera was not touched and has everything.
    let lines = node.coverage("cam2", Some(Span::new(second(5), second(55)).unwrap())).unwrap();
    assert!(lines.iter().all(|line| line.state == "held"), "{lines:?}");
    assert_eq!(cameras.connections("cam2").unwrap().len(), 1);
    node.end().unwrap();
}

#[test]
fn changed_parameters_and_jumping_timestamps_lose_no_frame() {
    let _machine = shared();
    let Scene { site, cameras, node, from } = Scene::start(1).unwrap();
    let second = |second: i64| from.plus(second * TICKS_PER_SECOND);
    let faults = [
        json!({"camera": "cam1", "fault": "parameters", "set": "alternate"}),
        // The longest jump that one camera is known to have made: 149 hours.
        json!({"camera": "cam1", "fault": "timestamp_jump", "milliseconds": 149 * 3_600_000_i64}),
        json!({"camera": "cam1", "fault": "parameters", "set": "main"}),
    ];
    let mut at = 0;
    for fault in faults {
        at += 4;
        node.wait_durable("cam1", second(at), Duration::from_secs(15)).unwrap();
        cameras.command(&fault).unwrap();
    }
    node.wait_durable("cam1", second(at + 4), Duration::from_secs(15)).unwrap();
    let span = Span::new(from, second(at + 4)).unwrap();
    let lines = node.coverage("cam1", Some(span)).unwrap();
    assert!(lines.iter().all(|line| line.state == "held"), "{lines:?}");
    let movie = Movie::read(&node.export(&site, "cam1", span, "cam1.mp4").unwrap()).unwrap();
    assert_eq!(holes(&movie.numbers()), []);
    assert_eq!(cameras.connections("cam1").unwrap().len(), 1, "no reconnect was needed");
    node.end().unwrap();
}

#[test]
fn a_reload_touches_only_what_changed() {
    let _machine = shared();
    let site = Site::new().unwrap();
    let cameras = Cameras::start(&site, 2, "127.0.0.1").unwrap();
    Node::configure(&site, "127.0.0.1:0", &[("cam1", cameras.url("cam1"))]).unwrap();
    let mut node = Node::start(&site).unwrap();
    node.first_label("cam1").unwrap();
    let both = [("cam1", cameras.url("cam1")), ("cam2", cameras.url("cam2"))];
    Node::configure(&site, "127.0.0.1:0", &both).unwrap();
    node.program().signal(libc::SIGHUP);
    wait_until("cam2 among the cameras", Duration::from_secs(10), || {
        let list = node.http().get("/api/v1/cameras")?;
        Ok((list["items"].as_array().map(Vec::len) == Some(2)).then_some(()))
    })
    .unwrap();
    node.first_label("cam2").unwrap();
    assert_eq!(cameras.connections("cam1").unwrap().len(), 1, "cam1 was left alone");

    // A file with a mistake is refused, and everything goes on.
    std::fs::write(site.path().join("keepwatch.toml"), "[[camera]]\nid = \"cam1\"\nurl = 5\n").unwrap();
    node.program().signal(libc::SIGHUP);
    wait_until("a refusal in the event log", Duration::from_secs(10), || {
        let events = node.http().get("/api/v1/events")?;
        let refused = |event: &serde_json::Value| event["code"] == "config_refused";
        Ok(events["items"].as_array().is_some_and(|items| items.iter().any(refused)).then_some(()))
    })
    .unwrap();
    let until = node.durable_until("cam2").unwrap().unwrap();
    node.wait_durable("cam2", until.plus(1), Duration::from_secs(10)).unwrap();
    node.end().unwrap();
}
