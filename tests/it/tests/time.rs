//! Clocks of cameras that are wrong, run away and are set: footage stays ordered, and nothing is called a gap.

use std::time::Duration;

use keepwatch_it::{Cameras, Movie, Node, Site, wait_until};
use keepwatch_model::{Span, TICKS_PER_SECOND};
use serde_json::{Value, json};

use crate::{reconfigure, shared};

/// How far a recorder may be behind its cameras on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// When clocks are set, and what is looked at, in seconds from the first label.
const STEP: i64 = 8;
const END: i64 = 20;
/// What of an offset may be the network's and the machine's.
const SLACK_MS: i64 = 500;
const HOUR_MS: i64 = 3_600_000;

/// What a camera's clock does.
struct Clock {
    /// Before the recorder meets it, and at [`STEP`].
    first: Option<Value>,
    then: Option<Value>,
    /// What its offset is in the end, in milliseconds.
    offset_ms: i64,
}

fn step(milliseconds: i64) -> Value {
    json!({"fault": "clock_step", "milliseconds": milliseconds})
}

fn drift(ppm: i64) -> Value {
    json!({"fault": "clock_drift", "ppm": ppm})
}

fn clocks() -> Vec<Clock> {
    let clock = |first, then, offset_ms| Clock { first, then, offset_ms };
    vec![
        clock(Some(step(HOUR_MS)), None, HOUR_MS),
        clock(Some(step(-HOUR_MS)), None, -HOUR_MS),
        clock(Some(drift(500)), None, 0),
        clock(Some(drift(-500)), None, 0),
        clock(None, Some(step(30_000)), 30_000),
        clock(None, Some(step(-30_000)), -30_000),
        // It was wrong, and somebody sets it right.
        clock(Some(step(HOUR_MS)), Some(step(-HOUR_MS)), 0),
        clock(Some(step(-HOUR_MS)), Some(drift(500)), -HOUR_MS),
    ]
}

#[test]
fn no_clock_of_a_camera_moves_footage_or_makes_a_gap() {
    let _machine = shared();
    let site = Site::new().unwrap();
    let clocks = clocks();
    let cameras = Cameras::start(&site, clocks.len(), "127.0.0.1").unwrap();
    let ids = cameras.ids();
    let command = |id: &str, fault: &Option<Value>| {
        let Some(mut command) = fault.clone() else { return };
        command["camera"] = json!(id);
        cameras.command(&command).unwrap();
    };
    ids.iter().zip(&clocks).for_each(|(id, clock)| command(id, &clock.first));
    let listed: Vec<_> = ids.iter().map(|id| (id.as_str(), cameras.url(id))).collect();
    Node::configure(&site, "127.0.0.1:0", &listed).unwrap();
    reconfigure(&site, "256 MiB", "512 MiB");
    let node = Node::start(&site).unwrap();
    let firsts: Vec<_> = ids.iter().map(|id| node.first_label(id).unwrap()).collect();
    node.wait_durable(&ids[0], firsts[0].plus(STEP * TICKS_PER_SECOND), PATIENCE).unwrap();
    ids.iter().zip(&clocks).for_each(|(id, clock)| command(id, &clock.then));

    let now =
        |node: &Node| node.http().get("/api/v1/status").unwrap()["now"].as_str().unwrap().parse().unwrap();
    for ((id, clock), from) in ids.iter().zip(&clocks).zip(&firsts) {
        let span = Span::new(*from, from.plus(END * TICKS_PER_SECOND)).unwrap();
        node.wait_durable(id, span.to, PATIENCE).unwrap();
        let lines = node.coverage(id, Some(span)).unwrap();
        assert!(lines.iter().all(|line| line.state == "held"), "{id}: {lines:?}");
        let late: keepwatch_model::WallTime = now(&node);
        let behind = late.ticks_since(node.durable_until(id).unwrap().unwrap());
        assert!((0..10 * TICKS_PER_SECOND).contains(&behind), "{id}: labels are those of the node: {behind}");

        let pictures = Movie::pictures(&node.export(&site, id, span, &format!("{id}.mp4")).unwrap()).unwrap();
        let shown: Vec<_> = pictures.iter().filter(|picture| !picture.hidden).collect();
        let frames = i64::try_from(shown.len()).unwrap();
        assert!((frames - END * Cameras::RATE).abs() <= 1, "{id}: {frames} frames in {END} s");
        for pair in shown.windows(2) {
            assert_eq!(pair[1].number, pair[0].number.map(|number| number + 1), "{id}");
            let apart = pair[1].pts - pair[0].pts;
            // Labels are steered from record to record: 500 ppm of a second, and as much for the camera's crystal.
            assert!((apart - 3_600).abs() <= 90, "{id}: frames {apart} ticks apart");
        }
        // Sender reports come every few seconds.
        wait_until(&format!("offset of {} ms of {id}", clock.offset_ms), PATIENCE, || {
            let offset = node.camera(id)?["clock_offset_ms"].as_i64();
            Ok(offset.filter(|offset| (offset - clock.offset_ms).abs() <= SLACK_MS))
        })
        .unwrap_or_else(|error| panic!("{error:#}: {}", node.camera(id).unwrap()));
    }

    // The operator is told of each clock that is far off, and of the one that was set right.
    let events = node.events().unwrap();
    let told = |code: &str, id: &str| {
        events
            .iter()
            .any(|event| event["code"] == code && event["subject"].to_string().contains(&format!("\"{id}\"")))
    };
    for (id, clock) in ids.iter().zip(&clocks) {
        let off = clock.offset_ms != 0 || clock.first == Some(step(HOUR_MS));
        assert_eq!(told("camera_clock_off", id), off, "{id}: {events:?}");
        assert_eq!(told("camera_clock_right", id), off && clock.offset_ms == 0, "{id}: {events:?}");
    }
    assert_eq!(events.iter().filter(|event| event["code"] == "recording_started").count(), ids.len());
    node.end().unwrap();
}
