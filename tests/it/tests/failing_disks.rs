//! The real program on disks that fail on command: no frame is missing while another takes them, and what is said of each.

use std::time::Duration;

use keepwatch_it::{
    Cameras, CoverageLine, LabDisk, Movie, Namespace, Node, Program, Site, fuse, namespaces, run, wait_until,
};
use keepwatch_model::{Span, TICKS_PER_SECOND, WallTime};
use serde_json::{Value, json};

use crate::{alone, reconfigure, shared};

const PATIENCE: Duration = Duration::from_secs(30);

/// A node at the edge: an internal card that fails on command, and a second storage.
struct Edge {
    site: Site,
    mounts: Namespace,
    card: LabDisk,
}

impl Edge {
    /// It is configured, and not started; `None` where the kernel refuses to show such a card.
    fn new(cameras: &[(&str, String)], site: Site) -> Option<Self> {
        if !namespaces() || !fuse() {
            return None;
        }
        let mounts = Namespace::of_mounts(&site).unwrap();
        let card = LabDisk::start(&site, &mounts, "card").unwrap();
        site.make("second").unwrap();
        Node::configure(&site, "127.0.0.1:0", cameras).unwrap();
        let disk = "[[disk]]\npath = \"footage\"\nsize = \"256 MiB\"\n";
        let disks = "[[disk]]\npath = \"card\"\nsize = \"256 MiB\"\nrole = \"edge\"\n\n\
                     [[disk]]\npath = \"second\"\nsize = \"256 MiB\"\nrole = \"second\"\n";
        reconfigure(&site, disk, disks);
        Some(Self { site, mounts, card })
    }

    fn start(&self) -> Node {
        Node::start_in(&self.site, &self.mounts).unwrap()
    }

    fn fault(&self, fault: &str) {
        self.card.command(&json!({ "disk": fault })).unwrap();
    }

    fn status_line(&self, disk: &str) -> String {
        let said = run(&mut self.mounts.command(&self.site.command(["status", "--data", "data"])), PATIENCE);
        let said = said.unwrap().stdout;
        said.lines().find(|line| line.starts_with(disk)).unwrap_or_else(|| panic!("{said}")).to_owned()
    }
}

fn disk(node: &Node, name: &str) -> Value {
    let status = node.http().get("/api/v1/status").unwrap();
    let disks = status["disks"].as_array().unwrap();
    disks.iter().find(|disk| disk["path"].as_str().unwrap().ends_with(name)).unwrap().clone()
}

fn wait_disk(node: &Node, name: &str, state: &str) -> Value {
    let look = || Ok(Some(disk(node, name)).filter(|disk| disk["state"] == state));
    wait_until(&format!("{name} that is {state}"), PATIENCE, look).unwrap()
}

/// Waits for so many seconds more of footage; returns where it ends.
fn seconds_more(node: &Node, seconds: i64) -> WallTime {
    let until = node.durable_until("cam1").unwrap().unwrap();
    node.wait_durable("cam1", until.plus(seconds * TICKS_PER_SECOND), PATIENCE).unwrap();
    node.durable_until("cam1").unwrap().unwrap()
}

fn codes(node: &Node) -> Vec<String> {
    let events = node.events().unwrap();
    events.iter().filter_map(|event| event["code"].as_str().map(str::to_owned)).collect()
}

#[track_caller]
fn assert_held(lines: &[CoverageLine]) {
    assert!(lines.iter().all(|line| line.state == "held"), "{lines:?}");
}

/// The numbers that are missing in an export.
#[track_caller]
fn missing(node: &Node, site: &Site, span: Span) -> usize {
    let movie = Movie::read(&node.export(site, "cam1", span, "cam1.mp4").unwrap()).unwrap();
    let numbers = movie.numbers();
    assert!(numbers.is_sorted(), "in the order of capture");
    let all = usize::try_from(numbers.last().unwrap() - numbers[0] + 1).unwrap();
    all - numbers.len()
}

/// Breaks the card in each of these ways, one after the other, while it is recorded to.
fn breaks(faults: [(&str, &str); 2]) {
    let _machine = shared();
    let site = Site::new().unwrap();
    let cameras = Cameras::start(&site, 1, "127.0.0.1").unwrap();
    let Some(edge) = Edge::new(&[("cam1", cameras.url("cam1"))], site) else { return };
    let node = edge.start();
    let from = node.first_label("cam1").unwrap();
    let id = disk(&node, "card")["id"].clone();
    for (fault, why) in faults {
        seconds_more(&node, 2);
        edge.fault(fault);
        let card = wait_disk(&node, "card", "read_only");
        assert!(card["detail"].as_str().unwrap().contains(why), "{card}");
        assert!(edge.status_line("card").contains(why));
        let taken_by_second = disk(&node, "second")["media_bytes"].as_u64().unwrap();
        let until = seconds_more(&node, 3);
        assert!(disk(&node, "second")["media_bytes"].as_u64().unwrap() > taken_by_second);
        assert_held(&node.coverage("cam1", Span::new(from, until)).unwrap());
        edge.fault("heal");
        let card = wait_disk(&node, "card", "online");
        assert_eq!(card["id"], id, "the same one");
        let taken_by_card = card["media_bytes"].as_u64().unwrap();
        seconds_more(&node, 2);
        assert!(disk(&node, "card")["media_bytes"].as_u64().unwrap() > taken_by_card, "at once back");
    }
    let span = Span::new(from, seconds_more(&node, 1)).unwrap();
    assert_held(&node.coverage("cam1", Some(span)).unwrap());
    assert_eq!(missing(&node, &edge.site, span), 0);
    let told = codes(&node);
    let of_disks: Vec<&str> =
        told.iter().map(String::as_str).filter(|code| code.starts_with("disk_")).collect();
    let expected = [
        "disk_adopted",
        "disk_adopted",
        "disk_read_only",
        "disk_returned",
        "disk_read_only",
        "disk_returned",
    ];
    assert_eq!(of_disks, expected);
    node.end().unwrap();
    let verify = edge.site.command(["verify", "--data", "data"]);
    let report = run(&mut edge.mounts.command(&verify), PATIENCE).unwrap().success().unwrap();
    assert!(report.contains("all is well"), "{report}");
}

#[test]
fn no_frame_is_missing_when_a_card_refuses_to_be_written_and_recording_returns_to_it() {
    breaks([("write_error", "Input/output error"), ("read_only", "Read-only file system")]);
}

#[test]
fn no_frame_is_missing_when_a_card_does_not_flush_or_is_full() {
    breaks([("flush_error", "Input/output error"), ("full", "No space left on device")]);
}

#[test]
fn what_was_on_a_card_that_is_pulled_out_is_unknown_until_it_is_back() {
    let _machine = shared();
    let site = Site::new().unwrap();
    let cameras = Cameras::start(&site, 1, "127.0.0.1").unwrap();
    let Some(edge) = Edge::new(&[("cam1", cameras.url("cam1"))], site) else { return };
    let node = edge.start();
    let from = node.first_label("cam1").unwrap();
    let pulled = seconds_more(&node, 3);
    edge.fault("gone");
    wait_disk(&node, "card", "gone");
    let until = seconds_more(&node, 3);
    let lines = node.coverage("cam1", Span::new(from, until)).unwrap();
    assert_eq!(lines[0].reason.as_deref(), Some("disk_absent"), "{lines:?}");
    assert!(lines[0].span.to >= pulled.plus(-TICKS_PER_SECOND), "{lines:?}");
    assert_held(&lines[1..]);
    edge.fault("heal");
    wait_disk(&node, "card", "online");
    let span = Span::new(from, seconds_more(&node, 2)).unwrap();
    assert_held(&node.coverage("cam1", Some(span)).unwrap());
    assert_eq!(missing(&node, &edge.site, span), 0);
    node.end().unwrap();
}

#[test]
fn a_blank_card_in_the_place_of_another_is_taken_into_use_while_the_node_runs_if_that_is_confirmed() {
    let _machine = shared();
    let site = Site::new().unwrap();
    let cameras = Cameras::start(&site, 1, "127.0.0.1").unwrap();
    let Some(edge) = Edge::new(&[("cam1", cameras.url("cam1"))], site) else { return };
    reconfigure(&edge.site, "path = \"card\"\n", "path = \"card\"\ntake_over = true\n");
    let node = edge.start();
    let from = node.first_label("cam1").unwrap();
    seconds_more(&node, 3);
    let old = disk(&node, "card")["id"].clone();
    let other = edge.site.make("another card").unwrap();
    edge.card.command(&json!({ "disk": "swap", "backing": other })).unwrap();
    let id = wait_until("another card", PATIENCE, || {
        let card = disk(&node, "card");
        Ok(Some(card["id"].clone()).filter(|id| *id != old && card["state"] == "online"))
    })
    .unwrap();
    assert!(id.is_string());
    let until = seconds_more(&node, 3);
    let lines = node.coverage("cam1", Span::new(from, until)).unwrap();
    assert_eq!(lines[0].reason.as_deref(), Some("disk_absent"), "{lines:?}");
    assert_held(&lines[1..]);
    // The old one is known when it is back.
    edge.card.command(&json!({ "disk": "swap", "backing": edge.site.path().join("card backing") })).unwrap();
    wait_until("the card of before", PATIENCE, || {
        Ok((disk(&node, "card")["id"] == old && disk(&node, "card")["state"] == "online").then_some(()))
    })
    .unwrap();
    let lines = node.coverage("cam1", Span::new(from, until)).unwrap();
    assert_eq!(lines[0].state, "held", "{lines:?}");
    node.end().unwrap();
}

#[test]
fn what_a_card_lied_about_is_named_to_the_frame() {
    let _machine = shared();
    let site = Site::new().unwrap();
    let cameras = Cameras::start(&site, 1, "127.0.0.1").unwrap();
    let Some(edge) = Edge::new(&[("cam1", cameras.url("cam1"))], site) else { return };
    let node = edge.start();
    let from = node.first_label("cam1").unwrap();
    seconds_more(&node, 3);
    edge.fault("lies");
    let card = wait_disk(&node, "card", "read_only");
    assert!(card["detail"].as_str().unwrap().contains("reads back as something else"), "{card}");
    let span = Span::new(from, seconds_more(&node, 4)).unwrap();
    let lines = node.coverage("cam1", Some(span)).unwrap();
    let (held, gaps): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.state == "held");
    assert!(gaps.iter().all(|gap| gap.reason.as_deref() == Some("damaged")), "{lines:?}");
    // Of a record that is read back at once nothing is lost.
    assert!(!held.is_empty(), "{lines:?}");
    let lost: i64 = gaps.iter().map(|gap| gap.span.ticks()).sum();
    let frame = TICKS_PER_SECOND / Cameras::RATE;
    let missing = i64::try_from(missing(&node, &edge.site, span)).unwrap();
    assert!((lost - missing * frame).abs() < frame, "{missing} frames: {lines:?}");
    assert!(missing <= 4 * Cameras::RATE, "it is found out within seconds: {missing}");
    node.end().unwrap();
}

#[test]
fn a_card_slower_than_the_cameras_costs_no_frame() {
    let _machine = alone();
    let site = Site::new().unwrap();
    let mut command = site.command(["lab", "load", "--until-input-closes", "--cameras", "2"]);
    command.args(["--bitrate", "8000000"]);
    let mut load = Program::start(command, site.path().join("load.log")).unwrap();
    let ready = load.json(Duration::from_secs(60)).unwrap();
    let listening = ready["listening"].as_str().unwrap();
    let listed = ["cam1", "cam2"].map(|id| (id, format!("rtsp://{listening}/{id}")));
    let Some(edge) = Edge::new(&listed, site) else { return };
    reconfigure(&edge.site, "[node]\n", "[recorder]\nbuffer = \"16 MiB\"\n\n[node]\n");
    let node = edge.start();
    node.first_label("cam1").unwrap();
    seconds_more(&node, 2);
    edge.card.command(&json!({ "disk": "slow", "bytes_per_second": 600_000 })).unwrap();
    // Its share of the buffer fills, then the second storage takes what comes.
    wait_until("footage on the second storage", Duration::from_secs(60), || {
        Ok((disk(&node, "second")["media_bytes"].as_u64() > Some(4_000_000)).then_some(()))
    })
    .unwrap();
    assert!(edge.status_line("card").contains("too slow"));
    edge.fault("heal");
    wait_until("card that keeps up", PATIENCE, || Ok((disk(&node, "card")["slow"] == false).then_some(())))
        .unwrap();
    let before = disk(&node, "card")["media_bytes"].as_u64();
    wait_until("footage on the card", PATIENCE, || {
        Ok((disk(&node, "card")["media_bytes"].as_u64() > before).then_some(()))
    })
    .unwrap();
    node.end().unwrap();
    load.close_input();
    load.wait(PATIENCE).unwrap();
    let count = edge.site.command(["lab", "count-frames", "--data", "data"]);
    let counted = run(&mut edge.mounts.command(&count), PATIENCE).unwrap().success().unwrap();
    for line in counted.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let frames = &line["frames"];
        assert_eq!(frames["ranges"].as_array().unwrap().len(), 1, "{line}");
        assert_eq!(frames["duplicates"], 0, "{line}");
    }
}
