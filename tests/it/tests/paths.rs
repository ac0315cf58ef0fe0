//! A path with spaces, a user without privileges, and IPv6, all at once.

use std::time::Duration;

use keepwatch_it::{Cameras, Movie, Node, Place, Site};
use keepwatch_model::{Span, TICKS_PER_SECOND};

use crate::shared;

#[test]
fn everything_works_with_spaces_without_privileges_and_over_ipv6() {
    let _machine = shared();
    let site = Site::unprivileged().unwrap();
    assert!(site.path().to_str().unwrap().contains(' '));
    let cameras = Cameras::start(&site, 1, "[::1]").unwrap();
    Node::configure(&site, "[::1]:0", &[("cam1", cameras.url("cam1"))]).unwrap();
    let checked = site.run(["check", "keepwatch.toml"]).unwrap().success().unwrap();
    assert!(checked.contains("1 cameras, 1 disks"), "{checked}");
    let mut node = Node::start(&site).unwrap();
    assert!(matches!(node.http().place(), Place::Address(address) if address.is_ipv6()));
    assert!(cameras.url("cam1").starts_with("rtsp://[::1]:"));
    let owner = std::fs::read_to_string(format!("/proc/{}/status", node.program().id())).unwrap();
    assert!(!owner.contains("\nUid:\t0\t"), "the node must not run as root here");
    let from = node.first_label("cam1").unwrap();
    let span = Span::new(from, from.plus(4 * TICKS_PER_SECOND)).unwrap();
    node.wait_durable("cam1", span.to, Duration::from_secs(15)).unwrap();

    let status = site.run(["status", "--data", "data"]).unwrap().success().unwrap();
    assert!(status.contains("1 of 1 cameras recording"), "{status}");
    let (from, to) = (span.from.to_string(), span.to.to_string());
    let arguments =
        ["export", "--config", "keepwatch.toml", "--camera", "cam1", "--from", &from, "--to", &to, "-o"];
    // Once through the node and once, when it has ended, out of the store: the same bytes.
    site.run(arguments.into_iter().chain(["a file.mp4"])).unwrap().success().unwrap();
    node.end().unwrap();
    site.run(arguments.into_iter().chain(["another file.mp4"])).unwrap().success().unwrap();
    let file = site.path().join("a file.mp4");
    assert!(std::fs::read(&file).unwrap() == std::fs::read(site.path().join("another file.mp4")).unwrap());
    let movie = Movie::read(&file).unwrap();
    assert!((99..=101).contains(&movie.shown), "{} frames of 4 s", movie.shown);
    assert_eq!(movie.codecs, ["h264", "flac"]);
    site.run(["verify", "--data", "data"]).unwrap().success().unwrap();
}
