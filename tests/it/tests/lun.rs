//! A LUN of an iSCSI target as a disk of the real program. Debian's tgt is the target.

use std::time::Duration;

use keepwatch_it::{Cameras, Movie, Node, Site, wait_until};
use keepwatch_model::{Span, TICKS_PER_SECOND};

use crate::target::{Account, Target};
use crate::{alone, reconfigure, shared};

const LUN_BYTES: u64 = 256 << 20;

/// A camera recorded to a LUN of `target`, for the user `user` of it.
fn recording(site: &Site, cameras: &Cameras, target: &Target, login: Option<(&str, &str)>) -> Node {
    let list: Vec<_> = cameras.ids().iter().map(|id| (id.as_str(), cameras.url(id))).collect();
    Node::configure(site, "127.0.0.1:0", &list).unwrap();
    let mut disk = format!("path = \"{}\"", target.address(login.map(|(user, _)| user)));
    if let Some((_, password)) = login {
        let file = site.path().join("lun.password");
        std::fs::write(&file, password).unwrap();
        disk.push_str("\npassword_file = \"lun.password\"");
    }
    reconfigure(site, "path = \"footage\"\nsize = \"256 MiB\"", &disk);
    Node::start(site).expect("the program was built with --features iscsi")
}

#[test]
fn a_lun_whose_target_restarts_misses_no_frame() {
    let _machine = alone();
    let account = Account { user: "edge", password: "correct-horse", outgoing: false };
    let mut target = Target::with_accounts(LUN_BYTES, &[account]);
    let site = Site::new().unwrap();
    let cameras = Cameras::start(&site, 1, "127.0.0.1").unwrap();
    let node = recording(&site, &cameras, &target, Some(("edge", "correct-horse")));
    let from = node.first_label("cam1").unwrap();
    node.wait_durable("cam1", from.plus(2 * TICKS_PER_SECOND), Duration::from_secs(15)).unwrap();
    target.kill();
    target.run();
    node.wait_durable("cam1", from.plus(6 * TICKS_PER_SECOND), Duration::from_secs(20)).unwrap();
    let span = Span::new(from, from.plus(6 * TICKS_PER_SECOND)).unwrap();
    let states: Vec<_> =
        node.coverage("cam1", Some(span)).unwrap().into_iter().map(|line| line.state).collect();
    assert_eq!(states, ["held"]);
    let numbers = Movie::read(&node.export(&site, "cam1", span, "cam1.mp4").unwrap()).unwrap().numbers();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    assert!(!node.events().unwrap().iter().any(|event| event.to_string().contains("horse")));
    node.end().unwrap();
    let report = site.run(["verify", "--config", "keepwatch.toml"]).unwrap().success().unwrap();
    assert!(report.contains("all is well"), "{report}");
}

#[test]
fn a_second_recorder_shows_and_plays_the_lun_that_the_first_one_writes() {
    let _machine = alone();
    let target = Target::start(LUN_BYTES);
    let (first, second) = (Site::new().unwrap(), Site::new().unwrap());
    let cameras = Cameras::start(&first, 1, "127.0.0.1").unwrap();
    let writer = recording(&first, &cameras, &target, None);
    let from = writer.first_label("cam1").unwrap();
    writer.wait_durable("cam1", from.plus(3 * TICKS_PER_SECOND), Duration::from_secs(15)).unwrap();

    // It records the same camera under the same id on a disk of its own.
    let list: Vec<_> = cameras.ids().iter().map(|id| (id.as_str(), cameras.url(id))).collect();
    Node::configure(&second, "127.0.0.1:0", &list).unwrap();
    let shown = format!("[[disk]]\npath = \"{}\"\nread_only = true\n\n[[disk]]\n", target.address(None));
    reconfigure(&second, "[[disk]]\n", &shown);
    second.run(["check", "keepwatch.toml"]).unwrap().success().unwrap();
    let node = Node::start(&second).unwrap();
    let id = wait_until("camera of the read-only disk", Duration::from_secs(10), || {
        let cameras = node.http().get("/api/v1/cameras")?;
        let items = cameras["items"].as_array().into_iter().flatten();
        let mut ids = items.filter_map(|camera| camera["id"].as_str().map(str::to_owned));
        Ok(ids.find(|id| id.starts_with("cam1-")))
    })
    .unwrap();
    // What is written now is found while it is written.
    let now = writer.durable_until("cam1").unwrap().unwrap().plus(3 * TICKS_PER_SECOND);
    writer.wait_durable("cam1", now, Duration::from_secs(15)).unwrap();
    node.wait_durable(&id, now, Duration::from_secs(60)).unwrap();
    let span = Span::new(from, now).unwrap();
    let states: Vec<_> = node.coverage(&id, Some(span)).unwrap().into_iter().map(|line| line.state).collect();
    assert_eq!(states, ["held"]);
    let there = Movie::read(&writer.export(&first, "cam1", span, "there.mp4").unwrap()).unwrap().numbers();
    let here = Movie::read(&node.export(&second, &id, span, "here.mp4").unwrap()).unwrap().numbers();
    assert!(!here.is_empty() && here == there, "{here:?} {there:?}");
    assert!(node.first_label("cam1").unwrap() > from, "its own camera is its own");
    let disks = node.http().get("/api/v1/status").unwrap()["disks"].clone();
    assert_eq!(disks[0]["state"], "read_only", "{disks}");
    node.end().unwrap();

    // The one that writes was not disturbed.
    let to = writer.durable_until("cam1").unwrap().unwrap();
    let whole = Span::new(from, to).unwrap();
    let numbers = Movie::read(&writer.export(&first, "cam1", whole, "whole.mp4").unwrap()).unwrap().numbers();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    writer.end().unwrap();
    let report = second.run(["verify", "--data", "data"]).unwrap().success().unwrap();
    assert!(report.contains("all is well"), "{report}");
}

#[test]
fn a_lun_that_cannot_be_used_is_named_before_the_node_runs() {
    let _machine = shared();
    let account = Account { user: "edge", password: "correct-horse", outgoing: false };
    let target = Target::with_accounts(LUN_BYTES, &[account]);
    let site = Site::new().unwrap();
    let cameras = Cameras::start(&site, 1, "127.0.0.1").unwrap();
    let node = recording(&site, &cameras, &target, Some(("edge", "correct-horse")));
    node.end().unwrap();
    site.run(["check", "keepwatch.toml"]).unwrap().success().unwrap();
    std::fs::write(site.path().join("lun.password"), "wrong-horse-x").unwrap();
    let said = site.run(["check", "keepwatch.toml"]).unwrap().stderr;
    assert!(said.contains("refuses the login") && !said.contains("horse"), "{said}");
}

#[test]
fn a_lun_that_is_not_there_is_named_before_the_node_runs() {
    let _machine = shared();
    let target = Target::start(LUN_BYTES);
    let site = Site::new().unwrap();
    Node::configure(&site, "127.0.0.1:0", &[]).unwrap();
    let address = target.address(None).replace(":nas/1", ":nas/9");
    reconfigure(&site, "path = \"footage\"\nsize = \"256 MiB\"", &format!("path = \"{address}\""));
    let said = site.run(["check", "keepwatch.toml"]).unwrap().stderr;
    assert!(said.contains("/9 cannot be used"), "{said}");
}
