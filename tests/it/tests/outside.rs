//! An edge node whose external storage is a disk outside of it, a directory or a LUN: it goes away and comes back, and afterwards
//! every frame is on it once, as another recorder shows.

use std::time::Duration;

use keepwatch_it::{Cameras, LabDisk, Movie, Namespace, Node, Site, fuse, namespaces, run, wait_until};
use keepwatch_model::{Span, TICKS_PER_SECOND, WallTime};
use serde_json::{Value, json};

use crate::edge::{assert_unbroken, numbers, standing};
use crate::target::{Account, Target};
use crate::{alone, reconfigure};

const PATIENCE: Duration = Duration::from_secs(60);
/// How long the storage is away.
const AWAY_SECONDS: i64 = 15;

/// Configures an edge node of all `cameras` that writes to `disk`, given by the lines of its table.
fn box_with(site: &Site, cameras: &Cameras, disk: &str) {
    let listed: Vec<(&str, String)> = cameras.ids().iter().map(|id| (id.as_str(), cameras.url(id))).collect();
    Node::configure(site, "127.0.0.1:0", &listed).unwrap();
    let tables = format!(
        "[edge]\ndelay = \"2 s\"\ndelay_max = \"8 s\"\nspeed = 400\n\n[[edge.disk]]\n{disk}\n\n[node]\nname = \"box\"\n"
    );
    reconfigure(site, "[node]\nname = \"it\"\n", &tables);
}

/// Waits until all that was left out is outside.
fn wait_level(edge: &Node) {
    wait_until("all that was left out", PATIENCE, || {
        let standing = standing(edge);
        let lines = standing["lines"].as_array().unwrap();
        let level = |line: &Value| line["backlog_ms"] == 0 && line["wanted"] == true;
        Ok((standing["case"] == 0 && lines.iter().all(level)).then_some(()))
    })
    .unwrap();
}

/// Waits until something of every camera went there, and for a few seconds more.
fn wait_sent(edge: &Node, cameras: &Cameras) {
    wait_until("footage on the disk outside", PATIENCE, || {
        let standing = standing(edge);
        let lines = standing["lines"].as_array().unwrap();
        let sent = |line: &Value| line["sent_records"].as_u64() >= Some(3);
        let all = lines.len() == cameras.ids().len() && lines.iter().all(sent);
        Ok((standing["sending"] == true && all).then_some(()))
    })
    .unwrap();
}

/// What happens while the storage is away: it is told, with its reason, and the cameras are recorded.
fn wait_away(edge: &Node, cameras: &Cameras, why: &str) {
    wait_until("a storage that is away", PATIENCE, || {
        let standing = standing(edge);
        let detail = standing["disks"][0]["detail"].as_str().is_some_and(|detail| detail.contains(why));
        Ok((standing["case"] == 1 && standing["sending"] == false && detail).then_some(()))
    })
    .unwrap();
    let cut = edge.durable_until("cam1").unwrap().unwrap();
    for id in cameras.ids() {
        edge.wait_durable(id, cut.plus(AWAY_SECONDS * TICKS_PER_SECOND), PATIENCE).unwrap();
    }
}

/// Waits until all is outside up to now; returns up to where.
fn wait_outside(edge: &Node, cameras: &Cameras) -> Vec<WallTime> {
    wait_level(edge);
    let now: Vec<WallTime> =
        cameras.ids().iter().map(|id| edge.durable_until(id).unwrap().unwrap()).collect();
    // What is so old has left.
    for (id, now) in cameras.ids().iter().zip(&now) {
        edge.wait_durable(id, now.plus(12 * TICKS_PER_SECOND), PATIENCE).unwrap();
    }
    wait_level(edge);
    now
}

/// Has another recorder show the disk, and compares what it plays with what the edge node has.
fn assert_there(edge: Node, site: &Site, cameras: &Cameras, disk: &str, until: &[WallTime]) {
    let mut here = Vec::new();
    for (id, until) in cameras.ids().iter().zip(until) {
        let span = Span::new(edge.first_label(id).unwrap(), *until).unwrap();
        here.push((id, span, numbers(&edge, site, id, span)));
    }
    edge.end().unwrap();
    let second = Site::new().unwrap();
    Node::configure(&second, "127.0.0.1:0", &[]).unwrap();
    reconfigure(&second, "[[disk]]\n", &format!("[[disk]]\n{disk}\nread_only = true\n\n[[disk]]\n"));
    let node = Node::start(&second).unwrap();
    for (id, span, here) in here {
        let shown = wait_until("camera of the disk", PATIENCE, || {
            let cameras = node.http().get("/api/v1/cameras")?;
            let items = cameras["items"].as_array().into_iter().flatten();
            let mut ids = items.filter_map(|camera| camera["id"].as_str().map(str::to_owned));
            Ok(ids.find(|shown| shown.starts_with(&format!("{id}-"))))
        })
        .unwrap();
        node.wait_durable(&shown, span.to, PATIENCE).unwrap();
        let coverage = node.coverage(&shown, Some(span)).unwrap();
        assert!(coverage.iter().all(|line| line.state == "held"), "{id}: {coverage:#?}");
        let there = Movie::read(&node.export(&second, &shown, span, "there.mp4").unwrap()).unwrap().numbers();
        assert_unbroken(&there);
        assert_eq!(there, here, "{id}");
    }
    node.end().unwrap();
}

/// By the records themselves: nothing is on the disk twice, and in so many pieces the numbers follow each other.
fn assert_once(site: &Site, mounts: Option<&Namespace>, pieces: usize) {
    let as_own = "[node]\ndata = \"data/edge-store\"\n\n[[disk]]\npath = \"outside\"\n";
    std::fs::write(site.path().join("outside.toml"), as_own).unwrap();
    let count = site.command(["lab", "count-frames", "--config", "outside.toml"]);
    let inside = mounts.map(|mounts| mounts.command(&count));
    let counted = run(&mut inside.unwrap_or(count), PATIENCE).unwrap().success().unwrap();
    assert!(!counted.is_empty());
    for line in counted.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["frames"]["duplicates"], 0, "{line}");
        assert_eq!(line["frames"]["ranges"].as_array().unwrap().len(), pieces, "{line}");
    }
}

#[test]
fn a_directory_that_goes_away_and_comes_back_has_every_frame_once() {
    let _machine = alone();
    let (cameras_site, site) = (Site::new().unwrap(), Site::new().unwrap());
    let cameras = Cameras::start(&cameras_site, 2, "127.0.0.1").unwrap();
    let outside = site.make("outside").unwrap();
    box_with(&site, &cameras, "path = \"outside\"\nsize = \"256 MiB\"");
    let edge = Node::start(&site).unwrap();
    wait_sent(&edge, &cameras);
    let wish = json!({"address": "127.0.0.1:1", "user": "admin", "password": Node::PASSWORD});
    let refused = edge.http().request("POST", "/api/v1/edge/recorder", Some(&wish)).unwrap();
    assert_eq!((refused.status, refused.code().as_str()), (409, "edge_has_disks"));

    let away = site.path().join("elsewhere");
    std::fs::rename(&outside, &away).unwrap();
    wait_away(&edge, &cameras, "");
    std::fs::rename(&away, &outside).unwrap();
    let until = wait_outside(&edge, &cameras);
    assert_eq!(standing(&edge)["disks"][0]["state"], "online");

    // After a restart nothing is sent again, and it goes on.
    edge.end().unwrap();
    let edge = Node::start(&site).unwrap();
    wait_sent(&edge, &cameras);
    let disk = format!("path = \"{}\"", outside.display());
    assert_there(edge, &site, &cameras, &disk, &until);
    // The restart is a gap of its own recording.
    assert_once(&site, None, 2);
}

#[test]
fn a_directory_that_cannot_be_written_for_a_while_has_every_frame_once() {
    let _machine = alone();
    if !namespaces() || !fuse() {
        return;
    }
    let (cameras_site, site) = (Site::new().unwrap(), Site::new().unwrap());
    let cameras = Cameras::start(&cameras_site, 1, "127.0.0.1").unwrap();
    let mounts = Namespace::of_mounts(&site).unwrap();
    let outside = LabDisk::start(&site, &mounts, "outside").unwrap();
    box_with(&site, &cameras, "path = \"outside\"\nsize = \"256 MiB\"");
    let edge = Node::start_in(&site, &mounts).unwrap();
    wait_sent(&edge, &cameras);
    for (fault, why) in [("read_only", "Read-only file system"), ("gone", "")] {
        outside.command(&json!({ "disk": fault })).unwrap();
        wait_away(&edge, &cameras, why);
        outside.command(&json!({ "disk": "heal" })).unwrap();
        wait_level(&edge);
    }
    wait_outside(&edge, &cameras);
    edge.end().unwrap();
    assert_once(&site, Some(&mounts), 1);
}

#[test]
fn a_lun_whose_target_is_away_has_every_frame_once() {
    let _machine = alone();
    let account = Account { user: "edge", password: "correct-horse", outgoing: false };
    let mut target = Target::with_accounts(256 << 20, &[account]);
    let (cameras_site, site) = (Site::new().unwrap(), Site::new().unwrap());
    let cameras = Cameras::start(&cameras_site, 1, "127.0.0.1").unwrap();
    std::fs::write(site.path().join("lun.password"), "correct-horse").unwrap();
    let disk = |file: &std::path::Path| {
        format!("path = \"{}\"\npassword_file = \"{}\"", target.address(Some("edge")), file.display())
    };
    let (disk, shown) = (disk("lun.password".as_ref()), disk(&site.path().join("lun.password")));
    box_with(&site, &cameras, &disk);
    let edge = Node::start(&site).expect("the program was built with --features iscsi");
    wait_sent(&edge, &cameras);
    target.kill();
    wait_away(&edge, &cameras, "");
    target.run();
    let until = wait_outside(&edge, &cameras);
    assert!(!edge.events().unwrap().iter().any(|event| event.to_string().contains("horse")));
    assert_there(edge, &site, &cameras, &shown, &until);
}
