//! An edge node records cameras and sends what it recorded: two real nodes, cameras that number their frames, and a line that is
//! away.

use std::time::Duration;

use keepwatch_it::{Cameras, Movie, Node, Site, wait_until};
use keepwatch_model::{Span, TICKS_PER_SECOND, WallTime};
use serde_json::{Value, json};

use crate::failover::free_port;
use crate::{alone, reconfigure};

const PATIENCE: Duration = Duration::from_secs(60);

/// An edge node of all `cameras`, with what stands in its `[edge]`.
fn box_of(site: &Site, cameras: &Cameras, edge: &str) -> Node {
    let listed: Vec<(&str, String)> = cameras.ids().iter().map(|id| (id.as_str(), cameras.url(id))).collect();
    Node::configure(site, "127.0.0.1:0", &listed).unwrap();
    reconfigure(site, "[node]\nname = \"it\"\n", &format!("[edge]\n{edge}\n\n[node]\nname = \"box\"\n"));
    Node::start(site).unwrap()
}

/// A recorder that is sent the first of `cameras` by the edge node, at an address that it has again after a restart.
pub(crate) fn center_of(site: &Site, cameras: &Cameras) -> (Node, String) {
    let address = format!("127.0.0.1:{}", free_port());
    Node::configure(site, &address, &[]).unwrap();
    let first = &cameras.ids()[0];
    let table = format!("size = \"256 MiB\"\n\n[[camera]]\nid = \"{first}\"\nedge = \"box\"\n");
    reconfigure(site, "size = \"256 MiB\"\n", &table);
    reconfigure(site, "name = \"it\"", "name = \"center\"");
    (Node::start(site).unwrap(), address)
}

pub(crate) fn register(edge: &Node, address: &str) {
    let wish = json!({"address": address, "user": "admin", "password": Node::PASSWORD});
    let answer = edge.http().request("POST", "/api/v1/edge/recorder", Some(&wish)).unwrap();
    assert_eq!(answer.success().unwrap()["name"], "center");
}

pub(crate) fn standing(edge: &Node) -> Value {
    edge.http().get("/api/v1/edge").unwrap()
}

/// The numbers of the frames that a node holds of a camera in `span`, which has no gap.
pub(crate) fn numbers(node: &Node, site: &Site, camera: &str, span: Span) -> Vec<u64> {
    let name = format!("{camera}.mp4");
    Movie::read(&node.export(site, camera, span, &name).unwrap()).unwrap().numbers()
}

/// Each follows the one before.
pub(crate) fn assert_unbroken(numbers: &[u64]) {
    let broken: Vec<_> = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect();
    assert!(broken.is_empty(), "frames do not follow each other: {broken:?}");
}

#[test]
fn what_an_edge_node_recorded_while_the_recorder_was_away_is_there_afterwards_frame_by_frame() {
    let _machine = alone();
    let (cameras_site, box_site, center_site) =
        (Site::new().unwrap(), Site::new().unwrap(), Site::new().unwrap());
    let cameras = Cameras::start(&cameras_site, 2, "127.0.0.1").unwrap();
    let edge = box_of(&box_site, &cameras, "delay = \"2 s\"\ndelay_max = \"8 s\"\nspeed = 400");
    let (mut center, address) = center_of(&center_site, &cameras);
    assert_eq!(center.camera("cam1").unwrap()["connection"], "waiting", "nothing was sent yet");
    assert_eq!(standing(&edge)["case"], 0, "who sends nowhere misses nothing");
    register(&edge, &address);
    center.wait_durable("cam1", edge.first_label("cam1").unwrap(), PATIENCE).unwrap();
    // A camera that is added while the node is connected is sent, too.
    let added = json!({"id": "cam2", "edge": "box"});
    let added = center.http().request("POST", "/api/v1/cameras", Some(&added)).unwrap().success().unwrap();
    assert_eq!(added["edge"], "box");
    let arrives = |center: &Node, label: WallTime| {
        for id in cameras.ids() {
            center.wait_durable(id, label, PATIENCE).unwrap();
        }
    };
    let from: Vec<WallTime> = cameras.ids().iter().map(|id| center.first_label(id).unwrap()).collect();
    arrives(&center, from[1].plus(5 * TICKS_PER_SECOND));
    assert_eq!(center.camera("cam1").unwrap()["connection"], "relayed");
    assert_eq!(standing(&edge)["case"], 0);

    center.program().kill().unwrap();
    drop(center);
    let cut = wait_until("a recorder that is away", PATIENCE, || {
        let standing = standing(&edge);
        let away = standing["case"] == 1 && standing["recorder"]["trouble"].is_string();
        Ok(away.then_some(edge.durable_until("cam1")?).flatten())
    });
    let cut = cut.unwrap();
    edge.wait_durable("cam1", cut.plus(20 * TICKS_PER_SECOND), PATIENCE).unwrap();
    let center = Node::start(&center_site).unwrap();
    let back = cut.plus(20 * TICKS_PER_SECOND);
    arrives(&center, back);
    wait_until("all that was left out", PATIENCE, || {
        let standing = standing(&edge);
        let lines = standing["lines"].as_array().unwrap();
        Ok(lines.iter().all(|line| line["backlog_ms"] == 0 && line["wanted"] == true).then_some(()))
    })
    .unwrap();
    assert_eq!(standing(&edge)["case"], 0);
    for (id, from) in cameras.ids().iter().zip(from) {
        let until = center.durable_until(id).unwrap().unwrap();
        let span = Span::new(from.plus(2 * TICKS_PER_SECOND), until).unwrap();
        let coverage = center.coverage(id, Some(span)).unwrap();
        assert!(coverage.iter().all(|line| line.state == "held"), "{id}: {coverage:#?}");
        assert!(coverage.iter().all(|line| line.origin.as_deref() == Some("edge")), "{id}: {coverage:#?}");
        let there = numbers(&center, &center_site, id, span);
        assert_unbroken(&there);
        let here = numbers(&edge, &box_site, id, span);
        let missing: Vec<u64> = here
            .iter()
            .filter(|number| {
                there.first().is_some_and(|first| *number >= first) && there.last() >= Some(number)
            })
            .filter(|number| !there.contains(number))
            .copied()
            .collect();
        assert!(missing.is_empty() && there.len() > 20 * 25, "{id}: {missing:?} of {}", here.len());
    }
    center.end().unwrap();
    edge.end().unwrap();
}
