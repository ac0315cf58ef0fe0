//! Each fault does what it says, and nothing else.

use std::time::Duration;

use keepwatch_lab::{Fault, ParameterSet, SiteOptions, VirtualSite};
use keepwatch_rtsp::client::ClientError;

use crate::viewer::{Frame, Viewer, counters};

const CAMERA: &str = "cam1";

async fn site() -> (VirtualSite, String) {
    let site = VirtualSite::start(SiteOptions { audio: None, ..SiteOptions::default() }).await.unwrap();
    let url = site.url(CAMERA);
    (site, url)
}

/// Whether no number is missing.
fn consecutive(frames: &[Frame]) -> bool {
    frames.windows(2).all(|pair| pair[1].stamp.number == pair[0].stamp.number + 1)
}

#[tokio::test]
async fn a_dropped_connection_ends_and_the_next_is_welcome() {
    let (site, url) = site().await;
    let mut viewer = Viewer::open(&url).await.unwrap();
    viewer.frame().await;
    site.apply(CAMERA, Fault::Drop).unwrap();
    while viewer.try_frame().await.is_some() {}
    let mut viewer = Viewer::open(&url).await.unwrap();
    assert!(viewer.frame().await.key);
    assert!(site.connections(CAMERA).unwrap()[0].closed);
}

#[tokio::test]
async fn a_camera_refuses_until_it_is_told_otherwise() {
    let (site, url) = site().await;
    let mut viewer = Viewer::open(&url).await.unwrap();
    viewer.frame().await;
    site.apply(CAMERA, Fault::Refuse { on: true }).unwrap();
    while viewer.try_frame().await.is_some() {}
    assert!(matches!(Viewer::open(&url).await, Err(ClientError::Refused { .. })));
    site.apply(CAMERA, Fault::Refuse { on: false }).unwrap();
    assert!(Viewer::open(&url).await.unwrap().frame().await.key);
}

#[tokio::test]
async fn a_stalled_camera_is_silent_and_goes_on_with_the_numbers_of_the_time() {
    let (site, url) = site().await;
    let mut viewer = Viewer::open(&url).await.unwrap();
    // More than the depacketiser needs to trust the camera's markers: then it holds no access unit back.
    let before = viewer.frames(15).await.pop().unwrap();
    site.apply(CAMERA, Fault::Stall { on: true }).unwrap();
    assert!(viewer.falls_silent_for(Duration::from_millis(700)).await);
    site.apply(CAMERA, Fault::Stall { on: false }).unwrap();
    let frames = viewer.frames(30).await;
    assert!(frames[0].key && consecutive(&frames));
    let missed = frames[0].stamp.number - before.stamp.number;
    assert!(missed > 17, "at least 700 ms of frames: {missed}");
    assert_eq!(frames[0].stamp.capture - before.stamp.capture, i64::try_from(missed).unwrap() * 3_600);
}

#[tokio::test]
async fn a_step_of_the_clock_moves_labels_and_not_timestamps() {
    let (site, url) = site().await;
    let mut viewer = Viewer::open(&url).await.unwrap();
    let before = viewer.frame().await;
    site.apply(CAMERA, Fault::ClockStep { milliseconds: -3_600_000 }).unwrap();
    let after = viewer.frames_until(|frame| frame.stamp.capture < before.stamp.capture).await.pop().unwrap();
    let passed = i64::try_from(after.stamp.number - before.stamp.number).unwrap() * 3_600;
    assert_eq!(after.stamp.capture - before.stamp.capture, passed - 3_600 * 90_000);
    assert_eq!(after.timestamp - before.timestamp, passed);
}

#[tokio::test]
async fn a_crystal_that_drifts_takes_labels_and_timestamps_along() {
    let (site, url) = site().await;
    let mut viewer = Viewer::open(&url).await.unwrap();
    viewer.frame().await;
    site.apply(CAMERA, Fault::ClockDrift { ppm: 10_000 }).unwrap();
    let fast = |pair: &[Frame]| {
        let captured = pair[1].stamp.capture - pair[0].stamp.capture;
        assert_eq!(captured, pair[1].timestamp - pair[0].timestamp);
        captured == 3_636
    };
    let mut frames = viewer.frames(2).await;
    while !fast(&frames[frames.len() - 2..]) {
        frames.push(viewer.frame().await);
    }
    // What was gained stays when the crystal is right again.
    let before = frames.pop().unwrap();
    site.apply(CAMERA, Fault::ClockDrift { ppm: 0 }).unwrap();
    let mut frames = viewer.frames(2).await;
    while frames[frames.len() - 1].stamp.capture - frames[frames.len() - 2].stamp.capture != 3_600 {
        frames.push(viewer.frame().await);
    }
    let after = frames.pop().unwrap();
    let passed = i64::try_from(after.stamp.number - before.stamp.number).unwrap() * 3_600;
    assert!(after.stamp.capture - before.stamp.capture >= passed);
}

#[tokio::test]
async fn a_jump_of_timestamps_does_not_move_labels() {
    let (site, url) = site().await;
    let mut viewer = Viewer::open(&url).await.unwrap();
    let before = viewer.frame().await;
    site.apply(CAMERA, Fault::TimestampJump { milliseconds: 60_000 }).unwrap();
    let jumped = |frame: &Frame| frame.timestamp - before.timestamp >= 60 * 90_000;
    let after = viewer.frames_until(jumped).await.pop().unwrap();
    let passed = i64::try_from(after.stamp.number - before.stamp.number).unwrap() * 3_600;
    assert_eq!(after.stamp.capture - before.stamp.capture, passed);
    assert_eq!(after.timestamp - before.timestamp, passed + 60 * 90_000);
}

#[tokio::test]
async fn parameter_sets_change_without_a_missing_frame_and_back() {
    let (site, url) = site().await;
    let mut viewer = Viewer::open(&url).await.unwrap();
    let mut frames = viewer.frames(5).await;
    for set in [ParameterSet::Alternate, ParameterSet::Main] {
        site.apply(CAMERA, Fault::Parameters { set }).unwrap();
        frames.extend(viewer.frames_until(|frame| frame.config_changed).await);
        assert!(frames.last().unwrap().key);
        frames.extend(viewer.frames(5).await);
    }
    assert!(consecutive(&frames));
    let shown: Vec<_> =
        frames.iter().map(|frame| u32::try_from(frame.stamp.number % 10_000_000_000).ok()).collect();
    assert_eq!(counters(&frames), shown, "the pictures can be decoded throughout");
    // A connection that comes while the other set is sent is told of it from the start.
    site.apply(CAMERA, Fault::Parameters { set: ParameterSet::Alternate }).unwrap();
    let mut viewer = Viewer::open(&url).await.unwrap();
    assert!(viewer.frames(30).await.iter().all(|frame| !frame.config_changed));
}

#[tokio::test]
async fn pictures_without_key_frames_lack_no_number() {
    let (site, url) = site().await;
    let mut viewer = Viewer::open(&url).await.unwrap();
    let mut frames = viewer.frames(5).await;
    site.apply(CAMERA, Fault::NoKeyFrames { on: true }).unwrap();
    frames.extend(viewer.frames(60).await);
    assert!(consecutive(&frames));
    assert!(frames[frames.len() - 50..].iter().all(|frame| !frame.key));
    let mut late = Viewer::open(&url).await.unwrap();
    assert!(late.frames(30).await.iter().all(|frame| !frame.key));
    site.apply(CAMERA, Fault::NoKeyFrames { on: false }).unwrap();
    frames.extend(viewer.frames_until(|frame| frame.key).await);
    assert!(consecutive(&frames));
    late.frames_until(|frame| frame.key).await;
}

#[tokio::test]
async fn skipped_frames_are_missing_without_lost_packets() {
    let (site, url) = site().await;
    let mut viewer = Viewer::open(&url).await.unwrap();
    let mut frames = viewer.frames(5).await;
    site.apply(CAMERA, Fault::SkipFrames { count: 3 }).unwrap();
    frames.extend(viewer.frames(60).await);
    let steps: Vec<u64> = frames.windows(2).map(|pair| pair[1].stamp.number - pair[0].stamp.number).collect();
    assert_eq!(steps.iter().filter(|&&step| step == 4).count(), 1);
    assert_eq!(steps.iter().filter(|&&step| step == 1).count(), steps.len() - 1);
    assert!(frames.iter().all(|frame| frame.lost_packets == 0));
    assert_eq!(site.connections(CAMERA).unwrap()[0].frames_skipped, 3);
}

#[tokio::test]
async fn lost_frames_are_missing_by_number_and_by_sequence() {
    let (site, url) = site().await;
    let mut viewer = Viewer::open(&url).await.unwrap();
    let mut frames = viewer.frames(5).await;
    site.apply(CAMERA, Fault::LoseFrames { count: 3 }).unwrap();
    frames.extend(viewer.frames(60).await);
    let steps: Vec<u64> = frames.windows(2).map(|pair| pair[1].stamp.number - pair[0].stamp.number).collect();
    assert_eq!(steps.iter().filter(|&&step| step == 4).count(), 1);
    assert_eq!(frames.iter().map(|frame| frame.lost_packets).sum::<u32>(), 3);
}

#[tokio::test]
async fn a_site_that_is_cut_off_comes_back_at_the_same_address() {
    let (mut site, url) = site().await;
    let mut viewer = Viewer::open(&url).await.unwrap();
    viewer.frame().await;
    site.cut().await;
    while viewer.try_frame().await.is_some() {}
    assert!(matches!(Viewer::open(&url).await, Err(ClientError::Unreachable(_))));
    site.restore().await.unwrap();
    assert!(Viewer::open(&url).await.unwrap().frame().await.key);
}
