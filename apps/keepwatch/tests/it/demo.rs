//! `keepwatch demo`: quickly there, and nothing left behind, however it ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::process::{Held, Running, keepwatch};

/// A demo in a temporary directory of its own.
fn demo(place: &Path, arguments: &[&str]) -> Command {
    let mut command = keepwatch(&[&"demo", &"--listen", &"127.0.0.1:0"]);
    command.args(arguments).env("TMPDIR", place);
    command
}

fn place() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("a b ").tempdir().unwrap()
}

fn only_entry(place: &Path) -> PathBuf {
    let mut entries = fs::read_dir(place).unwrap();
    let entry = entries.next().unwrap().unwrap().path();
    assert!(entries.next().is_none());
    entry
}

/// What a demo runs: cameras, recorder, standby, edge box, line, and its janitor.
const CHILDREN: usize = 6;

/// Whether a child is the recorder, and not its standby or the edge box.
fn is_recorder(child: &Held) -> bool {
    child.command.contains(" run ")
        && !["/standby/", "/box/"].iter().any(|other| child.command.contains(other))
}

fn is_empty(place: &Path) -> bool {
    fs::read_dir(place).unwrap().next().is_none()
}

#[test]
fn it_records_within_five_seconds_and_leaves_nothing() {
    let place = place();
    let started = Instant::now();
    let mut demo = Running::start(demo(place.path(), &["--seconds", "1"]));
    let text = demo.says("Ctrl-C ends it.");
    assert!(started.elapsed().as_secs_f64() < 5.0, "{:?}\n{text}", started.elapsed());
    for part in ["http://127.0.0.1:", "user       admin", "password   ", "removed at the end", "export.mp4"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let children = Held::children(demo.pid());
    assert_eq!(children.len(), CHILDREN);
    assert_eq!(demo.ends(), 0);
    children.iter().for_each(Held::ends);
    assert!(is_empty(place.path()));
}

#[test]
fn killed_it_leaves_no_process_and_no_file() {
    let place = place();
    let mut demo = Running::start(demo(place.path(), &["--cameras", "1"]));
    demo.says("Ctrl-C ends it.");
    let directory = only_entry(place.path());
    assert!(directory.join("data/keepwatch.sock").exists());
    let children = Held::children(demo.pid());
    assert_eq!(children.len(), CHILDREN);
    demo.signal(Signal::KILL);
    assert_eq!(demo.ends(), -1);
    children.iter().for_each(Held::ends);
    assert!(is_empty(place.path()), "{} is left", directory.display());
}

#[test]
fn killed_while_it_starts_it_leaves_nothing_either() {
    let place = place();
    let demo = Running::start(demo(place.path(), &["--cameras", "1"]));
    let deadline = Instant::now() + Duration::from_secs(60);
    let janitor = loop {
        let janitor =
            Held::children(demo.pid()).into_iter().find(|child| child.command.contains("demo-janitor"));
        if let Some(janitor) = janitor {
            break janitor;
        }
        assert!(Instant::now() < deadline, "there is no janitor");
    };
    // The janitor makes the directory, so before it was there nothing could be left.
    let children = Held::children(demo.pid());
    demo.signal(Signal::KILL);
    demo.ends();
    janitor.ends();
    children.iter().for_each(Held::ends);
    assert!(is_empty(place.path()));
}

#[test]
fn the_janitor_of_a_demo_that_is_gone_removes_what_it_made() {
    let place = place();
    // Standard input is empty, as when the demo is gone.
    let output = keepwatch(&[&"demo-janitor", &"--temporary"]).env("TMPDIR", place.path()).output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains("/keepwatch-demo-"));
    assert!(is_empty(place.path()));
}

#[test]
fn it_ends_with_its_terminal_unless_it_was_told_not_to() {
    for trap in ["", "trap '' HUP; "] {
        let place = place();
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("{trap}exec \"$0\" demo --listen 127.0.0.1:0 --cameras 1"));
        command.arg(env!("CARGO_BIN_EXE_keepwatch")).env("TMPDIR", place.path());
        let mut demo = Running::start(command);
        demo.says("Ctrl-C ends it.");
        demo.signal(Signal::HUP);
        if !trap.is_empty() {
            // It is still at work: a child that dies is started again.
            let children = Held::children(demo.pid());
            let recorder = children.iter().find(|child| is_recorder(child)).unwrap();
            kill_process(recorder.pid, Signal::KILL).unwrap();
            demo.complains("recorder: running again");
            demo.signal(Signal::TERM);
        }
        assert_eq!(demo.ends(), 0);
        assert!(is_empty(place.path()));
    }
}

#[test]
fn a_child_that_dies_is_started_again_and_that_is_said() {
    let place = place();
    let mut demo = Running::start(demo(place.path(), &["--cameras", "1"]));
    demo.says("Ctrl-C ends it.");
    let is_cameras = |child: &Held| child.command.contains(" lab cameras ");
    let is_standby = |child: &Held| child.command.contains("/standby/");
    let is_box = |child: &Held| child.command.contains("/box/");
    let is_line = |child: &Held| child.command.contains(" lab line ");
    type Which<'a> = &'a dyn Fn(&Held) -> bool;
    let children: [(Which<'_>, &str, u32); 5] = [
        (&is_recorder, "recorder", 20),
        (&is_standby, "standby", 1),
        (&is_cameras, "virtual cameras", 1),
        (&is_box, "edge box", 1),
        (&is_line, "line", 1),
    ];
    for (which, name, seconds) in children {
        let children = Held::children(demo.pid());
        let child = children.iter().find(|child| which(child)).unwrap();
        kill_process(child.pid, Signal::KILL).unwrap();
        let text = demo.complains(&format!("{name}: running again"));
        let ended = format!("{name}: ended (signal 9); started again in {seconds} s");
        assert!(text.contains(&ended), "{text}");
        assert!(Held::children(demo.pid()).iter().any(which));
    }
    let children = Held::children(demo.pid());
    demo.signal(Signal::TERM);
    assert_eq!(demo.ends(), 0);
    children.iter().for_each(Held::ends);
    assert!(is_empty(place.path()));
}

#[test]
fn without_its_janitor_it_ends_and_tidies_up_itself() {
    let place = place();
    let mut demo = Running::start(demo(place.path(), &["--cameras", "1"]));
    demo.says("Ctrl-C ends it.");
    let children = Held::children(demo.pid());
    let janitor: Pid = children.iter().find(|child| child.command.contains("demo-janitor")).unwrap().pid;
    kill_process(janitor, Signal::KILL).unwrap();
    demo.complains("the janitor was killed");
    assert_eq!(demo.ends(), 1);
    children.iter().for_each(Held::ends);
    assert!(is_empty(place.path()));
}

#[test]
fn a_directory_of_its_own_is_kept_and_used_again() {
    let place = place();
    let directory = place.path().join("kept here");
    for round in 0..2 {
        let mut demo =
            keepwatch(&[&"demo", &"--listen", &"127.0.0.1:0", &"--cameras", &"1", &"--seconds", &"0"]);
        demo.arg("--dir").arg(&directory);
        let mut demo = Running::start(demo);
        let text = demo.says("Ctrl-C ends it.");
        assert!(text.contains("kept at the end"), "{text}");
        assert_eq!(demo.ends(), 0, "round {round}");
    }
    assert!(directory.join("keepwatch.toml").exists());
    assert!(!directory.join("data/keepwatch.sock").exists());
    let data = directory.join("data");
    let (code, stdout, stderr) = super::process::finished(&[&"verify", &"--data", &data]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let (code, stdout, stderr) = super::process::finished(&[&"verify", &"--data", &data, &"--rebuild"]);
    assert_eq!(code, 0, "{stdout}{stderr}");
}
