//! A camera that is tried before it is added: what it really sends, a picture of it, and why there is none.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use keepwatch_it::{Answer, Cameras, Node, Site, read_bar, wait_until};
use serde_json::{Value, json};

use crate::shared;

fn try_out(node: &Node, camera: &Value) -> Answer {
    node.http().request("POST", "/api/v1/cameras/test", Some(camera)).unwrap()
}

/// The counter in the picture of a camera that was tried.
fn counter(site: &Site, tried: &Value, width: usize) -> u32 {
    let picture = tried["picture"].as_str().unwrap_or_else(|| panic!("{tried}"));
    let file = BASE64_STANDARD.decode(picture.strip_prefix("data:image/jpeg;base64,").unwrap()).unwrap();
    let path = site.path().join("tried.jpg");
    std::fs::write(&path, file).unwrap();
    read_bar(&path, width).unwrap()
}

#[test]
fn a_camera_that_is_tried_says_what_comes_and_shows_its_picture() {
    let _machine = shared();
    let site = Site::new().unwrap();
    let options = ["--codec", "h264,jpeg,h265,h264", "--audio", "aac"];
    let cameras = Cameras::start_with(&site, 4, "127.0.0.1", &options).unwrap();
    Node::configure(&site, "127.0.0.1:0", &[]).unwrap();
    let node = Node::start(&site).unwrap();
    let with_sub = |id: &str| {
        let (url, sub_url) = (cameras.url(id), format!("{}/sub", cameras.url(id)));
        json!({"id": "new", "url": url, "sub_url": sub_url})
    };

    let tried = try_out(&node, &with_sub("cam1")).success().unwrap();
    let main = json!({"stream": "main", "tracks": ["h264 640x360 25 fps", "aac 16000 Hz"], "silent": [], "left_out": []});
    assert_eq!(tried["streams"][0], main);
    assert_eq!(tried["streams"][1]["tracks"], json!(["h264 320x180 25 fps", "aac 16000 Hz"]));
    assert_eq!((&tried["reachable"], &tried["picture_detail"]), (&json!(true), &Value::Null));
    assert!(counter(&site, &tried, 640) > 0);

    let jpeg =
        try_out(&node, &json!({"id": "new", "url": cameras.url("cam2"), "audio": false})).success().unwrap();
    assert_eq!(jpeg["streams"][0]["tracks"], json!(["jpeg 640x360 25 fps"]));
    assert!(counter(&site, &jpeg, 640) > 0);

    // H.265 is not decoded: the sub stream shows the picture, and without one the reason is told.
    let sub = try_out(&node, &with_sub("cam3")).success().unwrap();
    assert_eq!(sub["streams"][0]["tracks"][0], "h265 320x180 25 fps");
    assert!(counter(&site, &sub, 320) > 0);
    let alone = try_out(&node, &json!({"id": "new", "url": cameras.url("cam3")})).success().unwrap();
    assert_eq!(alone["picture"], Value::Null);
    assert!(alone["picture_detail"].as_str().unwrap().contains("H.265 is not decoded here"), "{alone}");

    // What comes is told, not what was promised: no key frame, then nothing at all.
    let fourth = json!({"id": "new", "url": cameras.url("cam4")});
    cameras.command(&json!({"camera": "cam4", "fault": "no_key_frames"})).unwrap();
    let keyless = try_out(&node, &fourth).success().unwrap();
    assert_eq!(keyless["picture"], Value::Null);
    assert!(keyless["picture_detail"].as_str().unwrap().contains("decoding can start"), "{keyless}");
    cameras.command(&json!({"camera": "cam4", "fault": "stall"})).unwrap();
    let silent = try_out(&node, &fourth);
    let problem = silent.json().unwrap();
    assert_eq!((silent.status, problem["code"].as_str()), (422, Some("camera_unusable")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("no picture came"), "{problem}");

    // Nothing was kept, and every camera has its sessions free again.
    assert_eq!(node.http().get("/api/v1/cameras").unwrap()["items"], json!([]));
    wait_until("the end of all sessions", Duration::from_secs(10), || {
        let ids = cameras.ids().iter();
        let open = ids.map(|id| cameras.connections(id)).collect::<Result<Vec<_>, _>>()?;
        Ok(open.iter().flatten().all(|connection| connection["closed"] == true).then_some(()))
    })
    .unwrap();
    node.end().unwrap();
}
