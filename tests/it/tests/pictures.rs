//! Single pictures: the frame of an instant by the counter that is drawn into it, over a gap, in every coding.

use std::time::Duration;

use keepwatch_it::{Answer, Cameras, Node, Scene, Site, read_bar, wait_until};
use keepwatch_model::{Span, TICKS_PER_SECOND, WallTime};
use serde_json::json;

use crate::{reconfigure, shared};

/// Ticks from one frame to the next.
const FRAME: i64 = TICKS_PER_SECOND / Cameras::RATE;

fn ask(node: &Node, camera: &str, query: &str) -> Answer {
    node.http().request("GET", &format!("/api/v1/cameras/{camera}/picture.jpg{query}"), None).unwrap()
}

/// The counter in a picture.
fn counter(site: &Site, answer: &Answer, width: usize) -> u32 {
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.header("content-type"), Some("image/jpeg"));
    let path = site.path().join("picture.jpg");
    std::fs::write(&path, &answer.body).unwrap();
    read_bar(&path, width).unwrap()
}

/// The counter that the first frame with a label at or after `label` shows, as ffmpeg decodes it out of an export.
fn first_counter(site: &Site, node: &Node, camera: &str, label: WallTime) -> u32 {
    let span = Span::new(label, label.plus(TICKS_PER_SECOND)).unwrap();
    read_bar(&node.export(site, camera, span, "second.mp4").unwrap(), 640).unwrap()
}

#[test]
fn each_instant_shows_its_frame_and_a_gap_shows_none_but_its_reason() {
    let _machine = shared();
    let Scene { site, cameras, node, from } = Scene::start(1).unwrap();
    let second = |second: i64| from.plus(second * TICKS_PER_SECOND);
    node.wait_durable("cam1", second(4), Duration::from_secs(30)).unwrap();
    cameras.command(&json!({"camera": "cam1", "fault": "drop"})).unwrap();
    node.wait_durable("cam1", second(9), Duration::from_secs(40)).unwrap();

    let lines = node.coverage("cam1", Some(Span::new(from, second(9)).unwrap())).unwrap();
    let gap = lines.iter().find(|line| line.state == "gap").unwrap();
    for start in [from, gap.span.to] {
        let first = first_counter(&site, &node, "cam1", start);
        // Key frames and all between them, over the edge of records.
        for frame in [0, 1, 2, 12, 24, 25, 26, 49] {
            let at = start.plus(frame * FRAME + FRAME / 2);
            let answer = ask(&node, "cam1", &format!("?at={at}"));
            assert_eq!(counter(&site, &answer, 640), first + u32::try_from(frame).unwrap(), "at {at}");
            let label: WallTime = answer.header("keepwatch-label").unwrap().parse().unwrap();
            assert!((at.ticks_since(label) - FRAME / 2).abs() < FRAME / 2, "{label} is shown at {at}");
        }
    }
    // What stands for longer than a seam is missing, and why is told.
    let middle = gap.span.to.plus(-1);
    if gap.span.ticks() > TICKS_PER_SECOND + FRAME {
        let answer = ask(&node, "cam1", &format!("?at={middle}"));
        assert_eq!(answer.status, 404);
        let problem = answer.json().unwrap();
        assert_eq!(problem["code"], "footage_missing");
        assert!(problem["detail"].as_str().unwrap().contains("could not be reached"), "{problem}");
    }
    let answer = ask(&node, "cam1", "?at=2020-01-01T00:00:00Z");
    assert_eq!((answer.status, answer.json().unwrap()["code"].as_str()), (404, Some("footage_missing")));

    // A picture of the past stays what it is.
    let at = from.plus(FRAME / 2);
    let answer = ask(&node, "cam1", &format!("?at={at}&width=320"));
    assert_eq!(answer.header("cache-control"), Some("private, max-age=86400, immutable"));
    assert!(answer.header("etag").is_some());
    let newest = ask(&node, "cam1", "");
    let label: WallTime = newest.header("keepwatch-label").unwrap().parse().unwrap();
    assert!(label >= second(8), "{label}");
    counter(&site, &newest, 640);
    for wrong in ["?width=63", "?width=3841", "?width=x", "?at=yesterday", "?stream=third"] {
        assert_eq!(ask(&node, "cam1", wrong).status, 400, "{wrong}");
    }
    node.end().unwrap();
}

#[test]
fn motion_jpeg_is_shown_as_stored_and_h265_says_what_to_do() {
    let _machine = shared();
    let scene = Scene::start_with(2, &["--codec", "jpeg,h265", "--audio", "none"]).unwrap();
    let Scene { site, cameras: _cameras, node, from } = scene;
    node.wait_durable("cam1", from.plus(3 * TICKS_PER_SECOND), Duration::from_secs(30)).unwrap();
    let at = |frame: i64| ask(&node, "cam1", &format!("?at={}", from.plus(frame * FRAME + FRAME / 2)));
    let first = counter(&site, &at(0), 640);
    for frame in [1, 7, 30] {
        assert_eq!(counter(&site, &at(frame), 640), first + u32::try_from(frame).unwrap());
    }
    let small = ask(&node, "cam1", &format!("?at={}&width=160", from.plus(FRAME / 2)));
    assert_eq!(small.status, 200);
    assert!(small.body.len() < at(0).body.len());

    let from = node.first_label("cam2").unwrap();
    let answer = ask(&node, "cam2", &format!("?at={from}"));
    let problem = answer.json().unwrap();
    assert_eq!((answer.status, problem["code"].as_str()), (415, Some("codec_undecodable")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("sub stream"), "{problem}");
    node.end().unwrap();
}

#[test]
fn of_a_camera_with_h265_the_sub_stream_shows_the_instant() {
    let _machine = shared();
    let site = Site::new().unwrap();
    let cameras = Cameras::start_with(&site, 1, "127.0.0.1", &["--codec", "h265"]).unwrap();
    Node::configure(&site, "127.0.0.1:0", &[("cam1", cameras.url("cam1"))]).unwrap();
    reconfigure(&site, "url = ", &format!("sub_url = \"{}/sub\"\nurl = ", cameras.url("cam1")));
    let node = Node::start(&site).unwrap();
    let from = node.first_label("cam1").unwrap();
    let at = from.plus(4 * TICKS_PER_SECOND + FRAME / 2);
    wait_until("footage of the sub stream", Duration::from_secs(30), || {
        let held = node.camera("cam1")?["streams"][1]["durable_until"].as_str().map(str::parse::<WallTime>);
        Ok(held.transpose()?.filter(|held| *held > at.plus(TICKS_PER_SECOND)).map(drop))
    })
    .unwrap();
    let first = {
        let span = Span::new(at, at.plus(TICKS_PER_SECOND)).unwrap();
        read_bar(&node.export_stream(&site, "cam1", "sub", span, "sub.mp4").unwrap(), 320).unwrap()
    };
    for frame in [1, 2, 13, 24] {
        let answer = ask(&node, "cam1", &format!("?at={}", at.plus(frame * FRAME)));
        assert_eq!(answer.header("keepwatch-stream"), Some("sub"));
        // The export begins with the first frame behind the instant.
        assert_eq!(counter(&site, &answer, 320) + 1, first + u32::try_from(frame).unwrap(), "{frame}");
    }
    let newest = ask(&node, "cam1", "");
    assert_eq!((newest.status, newest.header("keepwatch-stream")), (200, Some("sub")));
    // Whoever asks for the main stream itself is told, and nothing is made up.
    let main = ask(&node, "cam1", &format!("?at={at}&stream=main"));
    assert!([200, 415].contains(&main.status), "{}", String::from_utf8_lossy(&main.body));
    node.end().unwrap();
}

#[test]
fn a_camera_with_h265_alone_shows_the_picture_that_it_makes_itself_as_the_newest() {
    let _machine = shared();
    let site = Site::new().unwrap();
    std::fs::write(site.path().join("camera.password"), "correct horse\n").unwrap();
    let login = ["--user", "viewer", "--password-file", "camera.password"];
    let device = ["--codec", "h265", "--onvif", "127.0.0.1:0"];
    let cameras = Cameras::start_with(&site, 1, "127.0.0.1", &[&device[..], &login].concat()).unwrap();
    Node::configure(&site, "127.0.0.1:0", &[("cam1", cameras.devices()[0].clone())]).unwrap();
    let with_login = "user = \"viewer\"\npassword_file = \"camera.password\"\nonvif = ";
    reconfigure(&site, "url = ", with_login);
    let node = Node::start(&site).unwrap();
    let from = node.first_label("cam1").unwrap();
    let newest = || {
        let answer = ask(&node, "cam1", "");
        let shown = counter(&site, &answer, 640);
        assert_eq!(answer.header("keepwatch-stream"), Some("main"));
        (answer.header("keepwatch-label").unwrap().parse::<WallTime>().unwrap(), shown)
    };
    let (first_label, first) = newest();
    assert!(first_label > from);
    // A later one is of a later frame, as much as time has passed.
    let (label, shown) = wait_until("a later picture", Duration::from_secs(10), || {
        let (label, shown) = newest();
        Ok((shown > first).then_some((label, shown)))
    })
    .unwrap();
    let frames = label.ticks_since(first_label) / FRAME;
    assert!((i64::from(shown - first) - frames).abs() <= 10, "{first} to {shown} in {frames} frames");
    assert!(ask(&node, "cam1", "?width=160").body.len() < ask(&node, "cam1", "").body.len());
    // Of the past it cannot make any.
    let past = ask(&node, "cam1", &format!("?at={}", from.plus(FRAME / 2)));
    assert_eq!((past.status, past.json().unwrap()["code"].as_str()), (415, Some("codec_undecodable")));

    // Tried, it shows the same; a wrong login is the camera's own words.
    let tried =
        json!({"id": "other", "onvif": cameras.devices()[0], "user": "viewer", "password": "correct horse"});
    let tried = node.http().request("POST", "/api/v1/cameras/test", Some(&tried)).unwrap().success().unwrap();
    assert_eq!(tried["streams"][0]["tracks"][0], "h265 320x180 25 fps", "{tried}");
    assert!(tried["picture"].as_str().unwrap().starts_with("data:image/jpeg;base64,/9j/"), "{tried}");
    let wrong = json!({"id": "other", "onvif": cameras.devices()[0], "user": "viewer", "password": "wrong"});
    let refused = node.http().request("POST", "/api/v1/cameras/test", Some(&wrong)).unwrap();
    let problem = refused.json().unwrap();
    assert_eq!((refused.status, problem["code"].as_str()), (422, Some("camera_unusable")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("login"), "{problem}");
    node.end().unwrap();
}
