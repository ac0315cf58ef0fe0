//! Disks that belong to another recorder, die, are taken away, or cannot be written past the page cache.

use std::path::Path;
use std::time::Duration;

use keepwatch_it::{
    Cameras, CoverageLine, Movie, Namespace, Node, Program, Site, namespaces, run, wait_until,
};
use keepwatch_model::{Span, TICKS_PER_SECOND};

use crate::{alone, reconfigure, shared};

/// How long a start may take that is refused.
const PATIENCE: Duration = Duration::from_secs(20);

/// Starts a node that must refuse to run, and returns what it says.
fn refused(site: &Site) -> String {
    let output = run(&mut Node::command(site), PATIENCE).unwrap();
    assert_ne!(output.code(), 0, "{output:?}");
    output.stderr
}

/// Records one camera until a few seconds of it are on disk, and ends in order; returns the window.
fn record(node: Node) -> Span {
    let span = held(&node, "cam1");
    node.end().unwrap();
    span
}

/// Waits until the first three seconds of a camera are on disk, and returns them.
fn held(node: &Node, id: &str) -> Span {
    let from = node.first_label(id).unwrap();
    let span = Span::new(from, from.plus(3 * TICKS_PER_SECOND)).unwrap();
    node.wait_durable(id, span.to, Duration::from_secs(15)).unwrap();
    span
}

#[test]
fn a_disk_of_another_recorder_is_recorded_on_only_when_that_is_confirmed() {
    let _machine = shared();
    let site = Site::new().unwrap();
    let cameras = Cameras::start(&site, 1, "127.0.0.1").unwrap();
    record(Node::recording(&site, &cameras).unwrap());
    let container = site.footage().join("keepwatch.container");
    let before = std::fs::read(&container).unwrap();

    // Another recorder: it has a directory of its own, and the first one's disk.
    reconfigure(&site, "data = \"data\"", "data = \"other data\"");
    let said = refused(&site);
    assert!(said.contains("footage of recorder") && said.contains("take_over = true"), "{said}");
    assert!(std::fs::read(&container).unwrap() == before, "not a byte was written");

    reconfigure(&site, "[[disk]]\n", "[[disk]]\ntake_over = true\n");
    let span = record(Node::start(&site).unwrap());
    // The line is taken out again: the disk is this recorder's now, and no longer the other's.
    reconfigure(&site, "take_over = true\n", "");
    let checked = site.run(["check", "keepwatch.toml"]).unwrap().success().unwrap();
    assert!(checked.contains("can be used"), "{checked}");
    let node = Node::start(&site).unwrap();
    assert_states(&node.coverage("cam1", Some(span)).unwrap(), &[("held", None)]);
    assert_whole(&site, &node, span);
    node.end().unwrap();
    site.run(["verify", "--data", "other data"]).unwrap().success().unwrap();
    // The first recorder knew a disk here, so it starts and waits for it.
    reconfigure(&site, "data = \"other data\"", "data = \"data\"");
    let node = Node::start(&site).unwrap();
    assert_eq!(disk(&node, "footage")["state"], "foreign");
    node.end().unwrap();
}

#[test]
fn a_new_disk_in_the_place_of_one_that_died_is_used_only_when_that_is_confirmed() {
    if !namespaces() {
        return;
    }
    let _machine = shared();
    let site = Site::new().unwrap();
    let cameras = Cameras::start(&site, 1, "127.0.0.1").unwrap();
    Node::configure(&site, "127.0.0.1:0", &[("cam1", cameras.url("cam1"))]).unwrap();
    let mounts = Namespace::of_mounts(&site).unwrap();
    let footage = site.footage();
    let mount = ["mount", "-t", "tmpfs", "-o", "size=300m", "none", footage.to_str().unwrap()];
    mounts.run(mount).unwrap();
    let old = record(Node::start_in(&site, &mounts).unwrap());

    mounts.run(["umount", footage.to_str().unwrap()]).unwrap();
    mounts.run(mount).unwrap();
    let node = Node::start_in(&site, &mounts).unwrap();
    assert_eq!(disk(&node, "footage")["state"], "gone");
    assert_states(&node.coverage("cam1", Some(old)).unwrap(), &[("unknown", Some("disk_absent"))]);
    let files = mounts.run(["ls", "-A", footage.to_str().unwrap()]).unwrap();
    assert_eq!(files, "", "nothing was made on it");
    node.end().unwrap();

    reconfigure(&site, "[[disk]]\n", "[[disk]]\ntake_over = true\n");
    let span = record(Node::start_in(&site, &mounts).unwrap());
    reconfigure(&site, "take_over = true\n", "");
    let node = Node::start_in(&site, &mounts).unwrap();
    assert_eq!(disk(&node, "footage")["state"], "online");
    assert_states(&node.coverage("cam1", Some(span)).unwrap(), &[("held", None)]);
    node.end().unwrap();
}

#[test]
fn what_a_disk_holds_that_is_taken_away_is_unknown_and_held_again_when_it_returns() {
    let _machine = shared();
    let site = Site::new().unwrap();
    let cameras = Cameras::start(&site, 2, "127.0.0.1").unwrap();
    let listed: Vec<_> = cameras.ids().iter().map(|id| (id.as_str(), cameras.url(id))).collect();
    Node::configure(&site, "127.0.0.1:0", &listed).unwrap();
    let second = site.make("second").unwrap();
    let away = site.path().join("away");
    reconfigure(&site, "[[disk]]\n", "[[disk]]\npath = \"second\"\nsize = \"256 MiB\"\n\n[[disk]]\n");
    let node = Node::start(&site).unwrap();
    let spans: Vec<Span> = cameras.ids().iter().map(|id| held(&node, id)).collect();
    let states = |node: &Node| -> Vec<Vec<CoverageLine>> {
        let ids = cameras.ids().iter().zip(&spans);
        ids.map(|(id, span)| node.coverage(id, Some(*span)).unwrap()).collect()
    };

    // Taken away while the node runs: one camera was recorded there, and goes on elsewhere.
    take(&second, &away);
    wait_disk(&node, "second", "gone");
    let without = states(&node);
    let unknown = without.iter().filter(|lines| lines.iter().any(|line| line.state == "unknown")).count();
    assert_eq!(unknown, 1, "two disks share two cameras: {without:?}");
    for lines in without.iter().flatten() {
        let allowed = [("held", None), ("unknown", Some("disk_absent"))];
        assert!(allowed.contains(&(lines.state.as_str(), lines.reason.as_deref())), "{lines:?}");
    }
    for id in cameras.ids() {
        let until = node.durable_until(id).unwrap().unwrap();
        node.wait_durable(id, until.plus(2 * TICKS_PER_SECOND), Duration::from_secs(15)).unwrap();
    }
    node.end().unwrap();

    // The same after a start without it, and no more once it is back.
    let node = Node::start(&site).unwrap();
    assert_eq!(disk(&node, "second")["state"], "gone");
    assert_eq!(states(&node), without);
    std::fs::remove_dir(&second).unwrap();
    std::fs::rename(&away, &second).unwrap();
    wait_disk(&node, "second", "online");
    for lines in states(&node) {
        assert_states(&lines, &[("held", None)]);
    }
    node.end().unwrap();
}

#[test]
fn a_file_system_that_refuses_direct_writes_is_recorded_on_through_the_page_cache() {
    if !namespaces() {
        return;
    }
    let _machine = shared();
    let site = Site::new().unwrap();
    let cameras = Cameras::start(&site, 1, "127.0.0.1").unwrap();
    Node::configure(&site, "127.0.0.1:0", &[("cam1", cameras.url("cam1"))]).unwrap();
    let mounts = Namespace::of_mounts(&site).unwrap();
    // The kernel's ramfs takes no O_DIRECT, reserves no space, and does not tell its size.
    mounts.run(["mount", "-t", "ramfs", "none", site.footage().to_str().unwrap()]).unwrap();
    let mut node = Node::start_in(&site, &mounts).unwrap();
    let events = node.events().unwrap();
    let told =
        |event: &serde_json::Value| event["text"].as_str().is_some_and(|text| text.contains("page cache"));
    assert!(events.iter().any(told), "{events:?}");
    let span = held(&node, "cam1");
    let acknowledged = node.durable_until("cam1").unwrap().unwrap();
    node.program().kill().unwrap();
    drop(node);
    let node = Node::start_in(&site, &mounts).unwrap();
    assert!(node.durable_until("cam1").unwrap().unwrap() >= acknowledged);
    assert_whole(&site, &node, span);
    node.end().unwrap();
    let verify = site.command(["verify", "--data", "data"]);
    let report = run(&mut mounts.command(&verify), PATIENCE).unwrap().success().unwrap();
    assert!(report.contains("all is well"), "{report}");
}

#[test]
fn after_a_kill_of_a_recorder_that_had_wrapped_around_coverage_says_what_the_disk_holds() {
    let _machine = alone();
    let site = Site::new().unwrap();
    // 5 x 8 Mbit/s fill it in less than a minute; what was before the kill must still be there when it is looked at.
    let mut command = site.command(["lab", "load", "--until-input-closes", "--cameras", "5"]);
    command.args(["--bitrate", "8000000"]);
    let mut load = Program::start(command, site.path().join("load.log")).unwrap();
    let ready = load.json(Duration::from_secs(60)).unwrap();
    let listening = ready["listening"].as_str().unwrap();
    let ids: Vec<String> = (1..=5).map(|number| format!("cam{number}")).collect();
    let listed: Vec<_> = ids.iter().map(|id| (id.as_str(), format!("rtsp://{listening}/{id}"))).collect();
    Node::configure(&site, "127.0.0.1:0", &listed).unwrap();
    reconfigure(&site, "256 MiB", "192 MiB");
    let mut node = Node::start(&site).unwrap();
    let overwritten = |node: &Node| -> anyhow::Result<bool> {
        let mut all = true;
        for id in &ids {
            all &= node.coverage(id, None)?.iter().any(|line| line.state == "expired");
        }
        Ok(all)
    };
    wait_until("footage of every camera that was overwritten", Duration::from_secs(120), || {
        Ok(overwritten(&node)?.then_some(()))
    })
    .unwrap();
    node.program().kill().unwrap();
    drop(node);
    let node = Node::start(&site).unwrap();
    for id in &ids {
        let until = node.durable_until(id).unwrap().unwrap();
        node.wait_durable(id, until.plus(2 * TICKS_PER_SECOND), Duration::from_secs(20)).unwrap();
    }
    load.close_input();
    load.wait(PATIENCE).unwrap();
    // No camera sends any more: what is asked twice is the same.
    let coverage: Vec<Vec<CoverageLine>> = ids
        .iter()
        .map(|id| {
            wait_until(&format!("end of {id}"), PATIENCE, || {
                let lines = node.coverage(id, None)?;
                // The last record is on its way to the disk until a gap follows what is held.
                let held = lines.iter().rposition(|line| line.state == "held");
                let over = held.is_some_and(|at| lines.get(at + 1).is_some_and(|next| next.state == "gap"));
                Ok(over.then_some(lines))
            })
            .unwrap()
        })
        .collect();
    node.end().unwrap();

    let counted = site.run(["lab", "count-frames", "--data", "data"]).unwrap().success().unwrap();
    for (id, lines) in ids.iter().zip(&coverage) {
        let states = lines.iter().map(|line| (line.state.as_str(), line.reason.as_deref()));
        let order: Vec<_> = states.skip_while(|state| *state != ("expired", None)).collect();
        let down = ("gap", Some("recorder_down"));
        // From the start of the recorder to the first picture.
        let dialled = ("gap", Some("connection_lost"));
        // A busy machine may cost a camera its connection; the kill is told apart from that.
        let kill = [("held", None), down, dialled, ("held", None)];
        // Labels that a busy machine put ahead of the clock leave it no time to dial.
        let at_once = [("held", None), down, ("held", None)];
        let told = order.windows(kill.len()).any(|part| part == kill)
            || order.windows(at_once.len()).any(|part| part == at_once);
        assert!(told, "{id}: {lines:?}");
        assert_eq!(order.iter().filter(|state| **state == down).count(), 1, "{id}: {lines:?}");
        let stretches = order.iter().filter(|state| state.0 == "held").count();
        // As long as the frames that the store holds, to a frame for each of the stretches.
        let line = counted.lines().find(|line| line.contains(&format!("\"{id}\""))).unwrap();
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let frames = line["frames"]["frames"].as_i64().unwrap();
        let held: i64 = lines.iter().filter(|line| line.state == "held").map(|line| line.span.ticks()).sum();
        let frame = TICKS_PER_SECOND / 25;
        assert!(
            (held - frames * frame).abs() <= i64::try_from(stretches).unwrap() * frame,
            "{id}: {held} ticks are held of {frames} frames: {lines:?} {line}"
        );
        assert_eq!(line["frames"]["duplicates"], 0, "{line}");
        assert!(line["frames"]["ranges"].as_array().unwrap().len() <= stretches, "{line}");
    }
    site.run(["verify", "--data", "data"]).unwrap().success().unwrap();
}

/// A disk as the node shows it.
fn disk(node: &Node, name: &str) -> serde_json::Value {
    let status = node.http().get("/api/v1/status").unwrap();
    let disks = status["disks"].as_array().unwrap();
    disks.iter().find(|disk| disk["path"].as_str().unwrap().ends_with(name)).unwrap().clone()
}

/// Waits until a disk stands so.
fn wait_disk(node: &Node, name: &str, state: &str) {
    let look = || Ok((disk(node, name)["state"] == state).then_some(()));
    wait_until(&format!("disk that is {state}"), PATIENCE, look).unwrap();
}

/// Checks that an export of three seconds has their frames.
#[track_caller]
fn assert_whole(site: &Site, node: &Node, span: Span) {
    let movie = Movie::read(&node.export(site, "cam1", span, "cam1.mp4").unwrap()).unwrap();
    assert!((74..=76).contains(&movie.shown), "{} frames of 3 s", movie.shown);
}

/// Takes the contents of a directory away, as when a file system is unmounted.
fn take(directory: &Path, away: &Path) {
    std::fs::rename(directory, away).unwrap();
    std::fs::create_dir(directory).unwrap();
}

#[track_caller]
fn assert_states(lines: &[CoverageLine], expected: &[(&str, Option<&str>)]) {
    let states: Vec<_> = lines.iter().map(|line| (line.state.as_str(), line.reason.as_deref())).collect();
    assert_eq!(states, expected, "{lines:?}");
}
