//! What is recorded can be watched by a program that is not ours: ffmpeg plays the present and the past, logged in by
//! digest over a plain connection and over TLS.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use keepwatch_it::{Cameras, Movie, Node, Output, Site, run, wait_until};
use keepwatch_model::TICKS_PER_SECOND;
use serde_json::Value;

use crate::{reconfigure, shared};

const PATIENCE: Duration = Duration::from_secs(60);

/// A node that records `cameras` and lets `guard` watch cam1.
fn node(site: &Site, cameras: &Cameras) -> Node {
    let listed: Vec<(&str, String)> = cameras.ids().iter().map(|id| (id.as_str(), cameras.url(id))).collect();
    Node::configure(site, "127.0.0.1:0", &listed).unwrap();
    std::fs::write(site.path().join("guard.password"), "secret\n").unwrap();
    let server = "[node]\nrtsp_listen = \"127.0.0.1:0\"\nrtsps_listen = \"127.0.0.1:0\"";
    reconfigure(site, "[node]", server);
    let user = "\n[[rtsp_user]]\nuser = \"guard\"\npassword_file = \"guard.password\"\ncameras = [\"cam1\"]\n[[disk]]";
    reconfigure(site, "\n[[disk]]", user);
    Node::start(site).unwrap()
}

/// The addresses under `key` of the node's RTSP server, once it has them.
fn address(node: &Node, key: &str) -> String {
    wait_until("the RTSP server", PATIENCE, || {
        let status: Value = node.http().get("/api/v1/status")?;
        Ok(status["rtsp"][key][0].as_str().map(str::to_owned))
    })
    .unwrap()
}

/// Copies the next `pictures` that ffmpeg gets of `url` into a file of the site.
fn copy(site: &Site, url: &str, pictures: usize, name: &str) -> Output {
    let mut command = Command::new("ffmpeg");
    command.args([
        "-v",
        "error",
        "-nostdin",
        "-y",
        "-rtsp_transport",
        "tcp",
        "-i",
        url,
        "-map",
        "0:v",
        "-frames:v",
        &pictures.to_string(),
        "-c",
        "copy",
    ]);
    command.arg(site.path().join(name));
    run(&mut command, PATIENCE).unwrap()
}

/// The numbers of the pictures in a file of the site, which must follow one another.
fn numbers(site: &Site, name: &str) -> Vec<u64> {
    let numbers = Movie::read(&site.path().join(name)).unwrap().numbers();
    assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), numbers.len(), "no number twice");
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "none missing: {numbers:?}");
    numbers
}

#[test]
fn ffmpeg_watches_the_present_and_the_past_of_the_camera_it_may_see() {
    let _machine = shared();
    let site = Site::new().unwrap();
    let cameras = Cameras::start(&site, 2, "127.0.0.1").unwrap();
    let node = node(&site, &cameras);
    let from = node.first_label("cam1").unwrap();
    node.wait_durable("cam1", from.plus(5 * TICKS_PER_SECOND), PATIENCE).unwrap();
    let plain = address(&node, "listening");
    let tls = address(&node, "listening_tls");

    // The past at real time, from its first picture on.
    let past = format!("rtsp://guard:secret@{plain}/cam1/recorded");
    copy(&site, &past, 150, "past.mp4").success().unwrap();
    let past = numbers(&site, "past.mp4");
    assert_eq!(past.len(), 150);
    // The present begins at a key frame.
    let present = format!("rtsp://guard:secret@{plain}/cam1");
    copy(&site, &present, 100, "present.mp4").success().unwrap();
    let present = numbers(&site, "present.mp4");
    assert_eq!(present.len(), 100);
    assert!(present[0] > past[0]);
    copy(&site, &format!("rtsps://guard:secret@{tls}/cam1"), 50, "tls.mp4").success().unwrap();
    assert_eq!(numbers(&site, "tls.mp4").len(), 50);

    let refused = copy(&site, &format!("rtsp://guard:secret@{plain}/cam2"), 1, "no.mp4");
    assert!(refused.success().is_err(), "cam2 is not guard's");
    let wrong = copy(&site, &format!("rtsp://guard:wrong@{plain}/cam1"), 1, "no.mp4");
    assert!(wrong.success().is_err(), "a wrong password");
    node.end().unwrap();
}
