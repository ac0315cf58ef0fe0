//! A camera that is not ours, recorded, exported, and counted by a decoder that is not ours.

use std::time::Duration;

use keepwatch_it::{GstCamera, GstOptions, Movie, Node, Site, wait_until};
use keepwatch_model::{Span, TICKS_PER_SECOND};

use crate::shared;

/// Records all that the camera sends and checks that the export holds exactly that.
fn records_every_frame(options: GstOptions) {
    let _machine = shared();
    let site = Site::new().unwrap();
    let camera = GstCamera::start(&site, options).unwrap();
    Node::configure(&site, "127.0.0.1:0", &[("gst", camera.url().to_owned())]).unwrap();
    let node = Node::start(&site).unwrap();
    let from = node.first_label("gst").unwrap();
    let sent = camera.sent(Duration::from_secs(60)).unwrap();
    assert_eq!(sent, u64::from(options.frames));
    // The camera falls silent but stays connected; the last group is closed a little later.
    wait_until("end of the recording", Duration::from_secs(20), || {
        let received = node.camera("gst")?["frames"].as_u64() == Some(sent);
        let lines = node.coverage("gst", None)?;
        let held = lines.iter().rposition(|line| line.state == "held");
        let over = held.is_some_and(|at| lines.get(at + 1).is_some_and(|next| next.state == "gap"));
        Ok((received && over).then_some(()))
    })
    .unwrap();
    let to = node.durable_until("gst").unwrap().unwrap();
    let seconds = f64::from(options.frames) / 25.0;
    let held = (to.ticks() - from.ticks()) as f64 / TICKS_PER_SECOND as f64;
    assert!((held - seconds).abs() < 0.1, "{held} s are held of {seconds} s");

    let span = Span::new(from, to.plus(TICKS_PER_SECOND)).unwrap();
    let movie = Movie::read(&node.export(&site, "gst", span, "all.mp4").unwrap()).unwrap();
    assert_eq!(movie.shown, sent);
    assert!(movie.pictures.iter().all(|picture| !picture.hidden));
    let mut shown: Vec<i64> = movie.pictures.iter().map(|picture| picture.pts).collect();
    let decoded_in_order = shown.is_sorted();
    assert_eq!(decoded_in_order, options.b_frames == 0, "B-frames are decoded in another order than shown");
    shown.sort_unstable();
    assert!(shown.windows(2).all(|pair| pair[0] < pair[1]), "two frames at one time");
    let codecs: &[&str] = if options.audio { &["h264", "flac"] } else { &["h264"] };
    assert_eq!(movie.codecs, codecs);

    // A window from between two key frames shows the frames of the window, and no others.
    let quarter = (to.ticks() - from.ticks()) / 4 + 12_345;
    let span = Span::new(from.plus(quarter), from.plus(2 * quarter)).unwrap();
    let part = Movie::read(&node.export(&site, "gst", span, "part.mp4").unwrap()).unwrap();
    let expected = quarter as f64 * 25.0 / TICKS_PER_SECOND as f64;
    assert!((part.shown as f64 - expected).abs() <= 1.0, "{} frames are shown of {expected}", part.shown);
    node.end().unwrap();
}

#[test]
fn h264_without_b_frames_is_recorded_frame_by_frame() {
    records_every_frame(GstOptions { frames: 500, b_frames: 0, audio: true, in_band: true });
}

#[test]
fn h264_with_b_frames_is_recorded_frame_by_frame() {
    records_every_frame(GstOptions { frames: 500, b_frames: 2, audio: false, in_band: false });
}
