//! Smart failover: what a recorder missed while its line to a camera was cut comes from the camera's own card, frame by frame,
//! no faster than allowed, and an operator sees it, holds it up and lets it go on.

use std::time::Duration;

use keepwatch_it::{Cameras, Node, Site, wait_until};
use keepwatch_model::TICKS_PER_SECOND;
use serde_json::{Value, json};

use crate::{alone, reconfigure};

const PATIENCE: Duration = Duration::from_secs(60);
const ROUTE: &str = "/api/v1/replenishment";
/// What the limit is set to.
const LIMIT: i64 = 1_000_000;

/// How the camera stands in the list of what is missing; `None` when it misses nothing and never did.
fn standing(node: &Node) -> anyhow::Result<Option<Value>> {
    let all = node.http().get(ROUTE)?;
    Ok(all["items"].as_array().and_then(|items| items.first()).cloned())
}

/// What `keepwatch backfill` answers.
fn backfill(site: &Site, arguments: &[&str]) -> Value {
    let all = [&["backfill"], arguments, &["--data", "data", "--json"]].concat();
    serde_json::from_str(&site.run(all).unwrap().success().unwrap()).unwrap()
}

/// Cuts the camera off for `seconds` of its footage, and returns when it is recorded again.
fn cut(cameras: &Cameras, node: &Node, seconds: i64) {
    let held = node.durable_until("cam1").unwrap().unwrap();
    cameras.command(&json!({"site": "cut"})).unwrap();
    let cut_off = || Ok((node.camera("cam1")?["connection"] != "recording").then_some(()));
    wait_until("a camera that is cut off", PATIENCE, cut_off).unwrap();
    wait_until("time that passes", PATIENCE, || {
        let now = node.http().get("/api/v1/status")?["now"].as_str().and_then(|now| now.parse().ok());
        let passed =
            now.is_some_and(|now: keepwatch_model::WallTime| now >= held.plus(seconds * TICKS_PER_SECOND));
        Ok(passed.then_some(()))
    })
    .unwrap();
    cameras.command(&json!({"site": "restore"})).unwrap();
    let again = held.plus((seconds + 3) * TICKS_PER_SECOND);
    node.wait_durable("cam1", again, PATIENCE).unwrap();
}

#[test]
fn what_was_missed_while_the_line_was_cut_comes_from_the_cameras_card() {
    let _machine = alone();
    let site = Site::new().unwrap();
    site.make("card").unwrap();
    let options = ["--card", "card", "--onvif", "127.0.0.1:0", "--bitrate", "4000000", "--audio", "pcmu"];
    let cameras = Cameras::start_with(&site, 1, "127.0.0.1", &options).unwrap();
    Node::configure(&site, "127.0.0.1:0", &[("cam1", cameras.devices()[0].clone())]).unwrap();
    reconfigure(&site, "url = ", "onvif = ");
    reconfigure(
        &site,
        "[[disk]]",
        "[recorder]\nbackfill_cards = true\nbackfill_rate = \"50 Mbit/s\"\n\n[[disk]]",
    );
    let node = Node::start(&site).unwrap();
    let from = node.first_label("cam1").unwrap();
    node.wait_durable("cam1", from.plus(5 * TICKS_PER_SECOND), PATIENCE).unwrap();
    let all = node.http().get(ROUTE).unwrap();
    assert_eq!((&all["cards"], &all["bits_per_second_max"]), (&json!(true), &json!(50_000_000)), "{all}");

    // An operator wants the line for something else.
    assert_eq!(backfill(&site, &["pause"])["paused"], true);
    cut(&cameras, &node, 15);
    let paused = wait_until("a gap that is seen", PATIENCE, || {
        Ok(standing(&node)?.filter(|camera| camera["missing_ms"].as_i64() > Some(10_000)))
    })
    .unwrap();
    assert_eq!(paused["running"], Value::Null, "{paused}");
    let source = json!([{"kind": "card", "name": "cam1", "rests_until": null}]);
    assert_eq!(paused["sources"], source, "{paused}");
    // Before the first picture there is one, too.
    let gaps = || {
        let lines = node.coverage("cam1", None).unwrap();
        lines.into_iter().filter(|line| line.state == "gap" && line.span.from > from).collect::<Vec<_>>()
    };
    let gap = gaps().remove(0);
    assert_eq!(gap.reason.as_deref(), Some("connection_lost"), "it stays missing for its reason");

    // It comes no faster than it may.
    assert_eq!(backfill(&site, &["limit", "1 Mbit/s"])["bits_per_second_max"], LIMIT);
    assert_eq!(backfill(&site, &["resume"])["paused"], false);
    let filled = wait_until("a gap that is filled", PATIENCE, || {
        let filled = |camera: &Value| {
            camera["last"]["filled_ms"].as_i64() > Some(10_000) && camera["running"].is_null()
        };
        Ok(standing(&node)?.filter(filled))
    })
    .unwrap_or_else(|error| panic!("{error:#}: {:?}", standing(&node)));
    let last = &filled["last"];
    assert_eq!(
        (&last["kind"], &last["end"], &last["detail"]),
        (&json!("card"), &json!("over"), &Value::Null),
        "{last}"
    );
    let (bytes, speed) = (last["bytes"].as_i64().unwrap(), last["bits_per_second"].as_i64().unwrap());
    assert!(bytes * 8 > 8 * LIMIT, "{bytes} bytes are too few to measure a rate: {last}");
    assert!((LIMIT - speed).abs() <= LIMIT / 10, "{speed} bit/s where {LIMIT} are allowed: {last}");
    let window = format!("from={}&to={}", gap.span.from, gap.span.to);
    let coverage = node.http().get(&format!("/api/v1/cameras/cam1/coverage?{window}")).unwrap();
    let item = &coverage["items"][0];
    assert_eq!(
        (&item["state"], &item["origin"], &item["backfill"]),
        (&json!("held"), &json!("edge"), &json!("done"))
    );
    let events = node.events().unwrap();
    assert!(events.iter().any(|event| event["code"] == "footage_filled"), "{events:?}");

    // A card that was taken out has nothing: the gap stays, for its reason, and the API says what was asked.
    cameras.command(&json!({"camera": "cam1", "fault": "card", "state": "missing"})).unwrap();
    cut(&cameras, &node, 4);
    let asked = wait_until("a card that was asked", PATIENCE, || {
        let asked = |camera: &Value| {
            camera["missing_ms"].as_i64() > Some(1_000) && !camera["last"]["detail"].is_null()
        };
        Ok(standing(&node)?.filter(asked))
    })
    .unwrap();
    let detail = asked["last"]["detail"].as_str().unwrap();
    assert!(detail.contains("card") || detail.contains("no footage"), "{asked}");
    let shown = site.run(["backfill", "status", "--data", "data"]).unwrap().success().unwrap();
    assert!(shown.contains("cam1 main") && shown.contains("at most 1.0 Mbit/s"), "{shown}");
    let left = gaps();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0].reason.as_deref(), Some("connection_lost"));
    node.end().unwrap();

    // By the numbers of the frames: the first gap is gone, and nothing is twice.
    let counted = site.run(["lab", "count-frames", "--data", "data"]).unwrap().success().unwrap();
    let counted: Value = serde_json::from_str(counted.lines().next().unwrap()).unwrap();
    let frames = &counted["frames"];
    assert_eq!((&frames["duplicates"], &frames["unstamped"]), (&json!(0), &json!(0)), "{counted}");
    let ranges = frames["ranges"].as_array().unwrap();
    assert_eq!(ranges.len(), 2, "one gap, the one that the card had nothing of: {counted}");
    let length = |range: &Value| range[1].as_i64().unwrap() - range[0].as_i64().unwrap() + 1;
    assert!(length(&ranges[0]) >= 25 * 23, "{counted}");
    site.run(["verify", "--data", "data"]).unwrap().success().unwrap();
}
