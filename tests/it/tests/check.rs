//! `keepwatch check`: every mistake with its place and its remedy, all of them at once.

use std::time::Duration;

use keepwatch_it::{Program, Site};

/// How long a node may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A correct file, into which mistakes are written.
const RIGHT: &str = "\
[node]
name = \"north\"
data = \"data\"
listen = \"127.0.0.1:8080\"

[[disk]]
path = \"footage\"
size = \"256 MiB\"

[recorder]
retention = \"30 days\"

[[camera]]
id = \"gate\"
url = \"rtsp://192.0.2.1/stream\"
";

fn check(site: &Site, text: &str) -> (i32, String) {
    std::fs::write(site.path().join("node.toml"), text).unwrap();
    let output = site.run(["check", "node.toml"]).unwrap();
    (output.code(), format!("{}{}", output.stdout, output.stderr))
}

#[test]
fn a_correct_file_is_accepted_and_nothing_is_made() {
    let site = Site::new().unwrap();
    site.make("footage").unwrap();
    let (code, text) = check(&site, RIGHT);
    assert_eq!((code, text.contains("can be used")), (0, true), "{text}");
    assert!(!site.data().exists(), "check only looks");
}

#[test]
fn every_mistake_is_named_with_its_line_and_a_remedy() {
    let site = Site::new().unwrap();
    site.make("footage").unwrap();
    for (right, wrong, place, words) in [
        ("retention =", "retenton =", "node.toml:11:1:", "retention"),
        ("\"30 days\"", "\"30 dais\"", "node.toml:11:13:", "days"),
        ("\"30 days\"", "30", "node.toml:11:13:", "unit"),
        ("\"footage\"", "\"nowhere\"", "node.toml:7:8:", "cannot be reached"),
        ("\"data\"", "\"node.toml/data\"", "node.toml:3:8:", "is a file"),
        ("\"gate\"", "\"Gate!\"", "node.toml:14:6:", "a-z"),
        ("rtsp://", "http://", "node.toml:15:7:", "rtsp://"),
        ("127.0.0.1:8080", "localhost:8080", "node.toml:4:10:", "not an address"),
        ("\"256 MiB\"", "\"256 EiB\"", "node.toml:8:8:", "GiB"),
        ("[[camera]]", "[[camera]", "node.toml:13:", ""),
        ("url =", "password_file = \"missing\"\nuser = \"u\"\nurl =", "node.toml:15:17:", "missing"),
    ] {
        let text = RIGHT.replacen(right, wrong, 1);
        assert_ne!(text, RIGHT);
        let (code, said) = check(&site, &text);
        assert_eq!(code, 2, "{wrong}: {said}");
        assert!(said.lines().any(|line| line.starts_with(place) && line.contains(words)), "{wrong}: {said}");
    }
}

#[test]
fn all_mistakes_are_named_in_one_run() {
    let site = Site::new().unwrap();
    let text = RIGHT.replace("retention", "retenton").replace("127.0.0.1", "localhost")
        + "\n[[camera]]\nid = \"gate\"\nurl = \"rtsp://192.0.2.2/\"\n";
    let (code, said) = check(&site, &text);
    assert_eq!(code, 2);
    // An address that is none, a directory that is not there, an unknown key, an id that is there twice.
    for line in ["node.toml:4:", "node.toml:7:", "node.toml:11:", "node.toml:18:"] {
        assert!(said.lines().any(|said| said.starts_with(line)), "{line} is not in:\n{said}");
    }
    assert!(said.lines().any(|line| line.starts_with("node.toml:18:") && line.contains("14")), "{said}");
}

#[test]
fn a_disk_of_another_recorder_is_named_before_the_first_start_and_after() {
    let site = Site::new().unwrap();
    site.make("footage").unwrap();
    std::fs::write(site.path().join("node.toml"), RIGHT.replace("127.0.0.1:8080", "127.0.0.1:0")).unwrap();
    let run = || {
        let mut command = site.command(["run", "--ready-line", "--config", "node.toml"]);
        command.env("KEEPWATCH_ADMIN_PASSWORD", "correct horse battery");
        let mut node = Program::start(command, site.path().join("node.log")).unwrap();
        node.json(PATIENCE).unwrap();
        assert!(node.end(PATIENCE).unwrap().success(), "{}", node.log());
    };
    run();
    assert_eq!(
        check(&site, RIGHT),
        (0, "node.toml: can be used; 1 cameras, 1 disks\n".to_owned()),
        "its own"
    );

    // Another recorder is given its disk: one that never ran, and one that did.
    let named = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("node.toml:7:8:"));
        line.is_some_and(|line| line.contains("another recorder") && line.contains("take_over"))
    };
    std::fs::rename(site.data(), site.path().join("data of the first")).unwrap();
    let (code, said) = check(&site, RIGHT);
    assert!(code == 2 && named(&said), "{said}");
    assert!(!site.data().exists(), "check only looks");
    let (code, said) = check(&site, &RIGHT.replace("path = ", "take_over = true\npath = "));
    assert_eq!(code, 0, "{said}");
    std::fs::rename(site.path().join("footage"), site.path().join("footage of the first")).unwrap();
    site.make("footage").unwrap();
    std::fs::write(site.path().join("node.toml"), RIGHT.replace("127.0.0.1:8080", "127.0.0.1:0")).unwrap();
    run();
    std::fs::remove_dir_all(site.path().join("footage")).unwrap();
    std::fs::rename(site.path().join("footage of the first"), site.path().join("footage")).unwrap();
    let (code, said) = check(&site, RIGHT);
    assert!(code == 2 && named(&said), "{said}");
}

#[test]
fn a_file_that_is_not_there_is_a_sentence() {
    let site = Site::new().unwrap();
    let output = site.run(["check", "absent.toml"]).unwrap();
    assert_eq!(output.code(), 2);
    assert!(output.stderr.contains("absent.toml") && output.stderr.lines().count() == 1, "{}", output.stderr);
}
