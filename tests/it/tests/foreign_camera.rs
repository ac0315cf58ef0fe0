//! Cameras that are not ours, recorded by one recorder, exported, and counted by a decoder that is not ours.

use std::time::Duration;

use keepwatch_it::{GstCamera, GstOptions, Movie, Node, Site, wait_until};
use keepwatch_model::{Span, TICKS_PER_SECOND};

use crate::{reconfigure, shared};

/// What most of them are; 20 s.
const USUAL: GstOptions = GstOptions {
    frames: 500,
    codec: "h264",
    b_frames: 0,
    audio: None,
    in_band: true,
    transport: "tcp",
    login: None,
};

const LOGIN: Option<(&str, &str)> = Some(("viewer", "correct horse"));

/// Each by its id, what it is, and the codecs of an export.
const CAMERAS: [(&str, GstOptions, &[&str]); 6] = [
    ("plain", GstOptions { audio: Some("g711"), ..USUAL }, &["h264", "flac"]),
    ("b-frames", GstOptions { b_frames: 2, in_band: false, ..USUAL }, &["h264"]),
    ("udp", GstOptions { login: LOGIN, frames: 300, transport: "udp", ..USUAL }, &["h264"]),
    ("h265", GstOptions { codec: "h265", audio: Some("aac"), login: LOGIN, ..USUAL }, &["hevc", "aac"]),
    (
        "h265-udp",
        GstOptions { codec: "h265", audio: Some("g711"), transport: "udp", ..USUAL },
        &["hevc", "flac"],
    ),
    ("jpeg", GstOptions { codec: "jpeg", ..USUAL }, &["mjpeg"]),
];

#[test]
fn every_frame_of_foreign_cameras_is_recorded() {
    let _machine = shared();
    let site = Site::new().unwrap();
    let cameras = CAMERAS.map(|(_, options, _)| GstCamera::start(&site, options).unwrap());
    let listed: Vec<_> =
        CAMERAS.iter().zip(&cameras).map(|((id, ..), camera)| (*id, camera.url().to_owned())).collect();
    Node::configure(&site, "127.0.0.1:0", &listed).unwrap();
    for (id, options, _) in CAMERAS {
        let table = format!("id = \"{id}\"\n");
        let mut more = format!("{table}transport = \"{}\"\n", options.transport);
        if let Some((user, password)) = options.login {
            std::fs::write(site.path().join("camera.password"), password).unwrap();
            more.push_str(&format!("user = \"{user}\"\npassword_file = \"camera.password\"\n"));
        }
        reconfigure(&site, &table, &more);
    }
    let node = Node::start(&site).unwrap();
    for ((id, options, codecs), camera) in CAMERAS.iter().zip(&cameras) {
        records_every_frame(&site, &node, id, *options, codecs, camera);
    }
    node.end().unwrap();
}

/// Checks that the export of all that the camera sent holds exactly that.
fn records_every_frame(
    site: &Site,
    node: &Node,
    id: &str,
    options: GstOptions,
    codecs: &[&str],
    camera: &GstCamera,
) {
    let from = node.first_label(id).unwrap();
    let sent = camera.sent(Duration::from_secs(60)).unwrap();
    assert_eq!(sent, u64::from(options.frames));
    // The camera falls silent but stays connected; the last group is closed a little later.
    wait_until("end of the recording", Duration::from_secs(20), || {
        let received = node.camera(id)?["frames"].as_u64() == Some(sent);
        let lines = node.coverage(id, None)?;
        let held = lines.iter().rposition(|line| line.state == "held");
        let over = held.is_some_and(|at| lines.get(at + 1).is_some_and(|next| next.state == "gap"));
        Ok((received && over).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{id}: {error:#}: {}", node.camera(id).unwrap()));
    let to = node.durable_until(id).unwrap().unwrap();
    let seconds = f64::from(options.frames) / 25.0;
    let held = (to.ticks() - from.ticks()) as f64 / TICKS_PER_SECOND as f64;
    assert!((held - seconds).abs() < 0.1, "{id}: {held} s are held of {seconds} s");

    let span = Span::new(from, to.plus(TICKS_PER_SECOND)).unwrap();
    let movie = Movie::read(&node.export(site, id, span, &format!("{id}.mp4")).unwrap()).unwrap();
    assert_eq!(movie.shown, sent, "{id}");
    assert!(movie.pictures.iter().all(|picture| !picture.hidden), "{id}");
    let mut shown: Vec<i64> = movie.pictures.iter().map(|picture| picture.pts).collect();
    let decoded_in_order = shown.is_sorted();
    assert_eq!(decoded_in_order, options.b_frames == 0, "B-frames are decoded in another order than shown");
    shown.sort_unstable();
    assert!(shown.windows(2).all(|pair| pair[0] < pair[1]), "{id}: two frames at one time");
    assert_eq!(movie.codecs, codecs, "{id}");

    // A window from between two key frames shows the frames of the window, and no others.
    let quarter = (to.ticks() - from.ticks()) / 4 + 12_345;
    let span = Span::new(from.plus(quarter), from.plus(2 * quarter)).unwrap();
    let part = Movie::read(&node.export(site, id, span, &format!("{id}-part.mp4")).unwrap()).unwrap();
    let expected = quarter as f64 * 25.0 / TICKS_PER_SECOND as f64;
    assert!(
        (part.shown as f64 - expected).abs() <= 1.0,
        "{id}: {} frames are shown of {expected}",
        part.shown
    );
}
