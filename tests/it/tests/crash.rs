//! The recorder is killed as the kernel kills, and starts anew.

use std::time::{Duration, Instant};

use keepwatch_it::{Cameras, Movie, Node, Site};
use keepwatch_model::{Span, TICKS_PER_SECOND};

use crate::alone;

/// Frames that may be on their way from the socket to the record: five between two reads, one held back by the
/// depacketiser, and some on the wire.
const UNREAD_FRAMES: u64 = 8;

#[test]
fn a_killed_recorder_loses_at_most_one_group_of_pictures_and_says_so() {
    let _machine = alone();
    let site = Site::new().unwrap();
    let cameras = Cameras::start(&site, 1, "127.0.0.1").unwrap();
    let mut node = Node::recording(&site, &cameras).unwrap();
    let from = node.first_label("cam1").unwrap();
    node.wait_durable("cam1", from.plus(4 * TICKS_PER_SECOND), Duration::from_secs(15)).unwrap();
    let acknowledged = node.durable_until("cam1").unwrap().unwrap();
    node.program().kill().unwrap();
    drop(node);

    let restart = Instant::now();
    let node = Node::start(&site).unwrap();
    let until = node.durable_until("cam1").unwrap().unwrap();
    assert!(until >= acknowledged, "acknowledged up to {acknowledged}, held up to {until}");
    node.wait_durable("cam1", until.plus(1), Duration::from_secs(10)).unwrap();
    let resumed = restart.elapsed();
    assert!(resumed < Duration::from_secs(3), "recording again after {resumed:?}");
    node.wait_durable("cam1", until.plus(5 * TICKS_PER_SECOND), Duration::from_secs(15)).unwrap();

    let to = node.durable_until("cam1").unwrap().unwrap();
    let span = Span::new(from, to).unwrap();
    let lines = node.coverage("cam1", Some(span)).unwrap();
    let states: Vec<_> = lines.iter().map(|line| (line.state.as_str(), line.reason.as_deref())).collect();
    assert_eq!(states.first(), Some(&("held", None)), "{lines:?}");
    assert_eq!(states.last(), Some(&("held", None)), "{lines:?}");
    assert!(states.contains(&("gap", Some("recorder_down"))), "{lines:?}");
    let held: Vec<_> = lines.iter().filter(|line| line.state == "held").collect();
    assert_eq!(held.len(), 2, "one gap, whatever its reasons: {lines:?}");

    let numbers = Movie::read(&node.export(&site, "cam1", span, "cam1.mp4").unwrap()).unwrap().numbers();
    let hole: Vec<_> = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect();
    assert_eq!(hole.len(), 1, "{hole:?}");
    let sent = cameras.connections("cam1").unwrap()[0]["last_frame"].as_u64().unwrap();
    let lost = sent.saturating_sub(hole[0][0]);
    assert!(lost <= Cameras::GROUP + UNREAD_FRAMES, "{lost} frames were sent and are not held");
    let missing = i64::try_from(hole[0][1] - hole[0][0] - 1).unwrap() * (TICKS_PER_SECOND / Cameras::RATE);
    let gap: i64 = lines.iter().filter(|line| line.state != "held").map(|line| line.span.ticks()).sum();
    assert!((gap - missing).abs() < TICKS_PER_SECOND / 4, "the gap has {gap} ticks, the frames {missing}");
    node.end().unwrap();

    // What was killed and started anew is as sound as what was not.
    let report = site.run(["verify", "--data", "data"]).unwrap().success().unwrap();
    assert!(report.contains("all is well"), "{report}");
}

#[test]
fn an_orderly_end_loses_nothing_that_was_received() {
    let _machine = alone();
    let site = Site::new().unwrap();
    let cameras = Cameras::start(&site, 1, "127.0.0.1").unwrap();
    let node = Node::recording(&site, &cameras).unwrap();
    let from = node.first_label("cam1").unwrap();
    node.wait_durable("cam1", from.plus(2 * TICKS_PER_SECOND), Duration::from_secs(15)).unwrap();
    node.end().unwrap();
    let sent = cameras.connections("cam1").unwrap()[0]["last_frame"].as_u64().unwrap();
    let to = from.plus(60 * TICKS_PER_SECOND).to_string();
    let from = from.to_string();
    let arguments =
        ["export", "--data", "data", "--camera", "cam1", "--from", &from, "--to", &to, "-o", "all.mp4"];
    site.run(arguments).unwrap().success().unwrap();
    let numbers = Movie::read(&site.path().join("all.mp4")).unwrap().numbers();
    let lost = sent - numbers.last().unwrap();
    assert!(lost <= UNREAD_FRAMES, "{lost} frames were sent and are not held");
}
