//! Cameras that nothing is wrong with.

use std::time::Duration;

use keepwatch_lab::{Connection, Fault, Login, NUMBERS_PER_CAMERA, SiteOptions, VirtualSite};
use keepwatch_model::WallTime;
use keepwatch_rtsp::client::ClientError;
use tokio::time::Instant;

use crate::viewer::{Frame, Seen, Viewer, counters};

fn two_of_one_encoder() -> SiteOptions {
    SiteOptions { cameras: 2, encoders: 1, ..SiteOptions::default() }
}

#[tokio::test]
async fn cameras_of_one_encoder_have_their_own_ids_numbers_and_phases() {
    let site = VirtualSite::start(two_of_one_encoder()).await.unwrap();
    let mut viewers = Vec::new();
    for camera in site.cameras() {
        viewers.push((camera, Viewer::open(&site.url(camera.as_str())).await.unwrap()));
    }
    let mut key_phases = Vec::new();
    for (place, (camera, viewer)) in viewers.iter_mut().enumerate() {
        let frames = viewer.frames(60).await;
        assert!(frames[0].key);
        for pair in frames.windows(2) {
            assert_eq!(pair[1].stamp.number, pair[0].stamp.number + 1);
            assert_eq!(pair[1].stamp.capture - pair[0].stamp.capture, 3_600);
            assert_eq!(pair[1].timestamp - pair[0].timestamp, 3_600);
        }
        assert!(frames.iter().all(|frame| frame.stamp.camera == *camera && frame.lost_packets == 0));
        let base = NUMBERS_PER_CAMERA * (place as u64 + 1);
        let shown: Vec<_> =
            frames.iter().map(|frame| u32::try_from(frame.stamp.number - base).ok()).collect();
        assert_eq!(counters(&frames), shown, "picture and stamp say the same number");
        key_phases.push(frames[0].stamp.capture.ticks().rem_euclid(25 * 3_600));
    }
    let apart = (key_phases[0] - key_phases[1]).abs();
    assert!((30_000..=60_000).contains(&apart), "key frames half a GOP apart: {key_phases:?}");
}

#[tokio::test]
async fn a_sub_stream_is_smaller_and_has_the_same_numbers() {
    let site = VirtualSite::start(SiteOptions::default()).await.unwrap();
    let mut main = Viewer::open(&site.url("cam1")).await.unwrap();
    let mut sub = Viewer::open(&site.url("cam1/sub")).await.unwrap();
    // Faults of the pictures are those of the main stream.
    site.apply("cam1", Fault::NoKeyFrames { on: true }).unwrap();
    let (main, sub) = (main.frames(60).await, sub.frames(60).await);
    for frames in [&main, &sub] {
        assert!(frames[0].key);
        assert!(frames.windows(2).all(|pair| pair[1].stamp.number == pair[0].stamp.number + 1));
    }
    assert!(sub.iter().filter(|frame| frame.key).count() > 1);
    let shown: Vec<_> =
        sub.iter().map(|frame| u32::try_from(frame.stamp.number - NUMBERS_PER_CAMERA).ok()).collect();
    assert_eq!(counters(&sub), shown, "picture and stamp say the same number");
    for frame in &sub {
        if let Some(same) = main.iter().find(|other| other.stamp.number == frame.stamp.number) {
            assert_eq!((same.stamp.camera, same.stamp.capture), (frame.stamp.camera, frame.stamp.capture));
        }
    }
    let bytes = |frames: &[Frame]| frames.iter().map(|frame| frame.data.len()).sum::<usize>();
    assert!(bytes(&sub) * 2 < bytes(&main), "{} and {}", bytes(&sub), bytes(&main));
    assert!(Viewer::open(&site.url("cam1/other")).await.is_err());
}

#[tokio::test]
async fn frame_numbers_run_on_while_nobody_is_connected() {
    let site = VirtualSite::start(SiteOptions::default()).await.unwrap();
    let url = site.url("cam1");
    let mut viewer = Viewer::open(&url).await.unwrap();
    let before = viewer.frames(10).await.pop().unwrap();
    drop(viewer);
    let mut viewer = Viewer::open(&url).await.unwrap();
    let after = viewer.frame().await;
    let missed = after.stamp.number - before.stamp.number;
    assert_eq!(after.stamp.capture - before.stamp.capture, i64::try_from(missed).unwrap() * 3_600);
    drop(viewer);
    // A site that is started anew goes on too: the numbers are those of the time.
    drop(site);
    let site = VirtualSite::start(SiteOptions::default()).await.unwrap();
    let mut viewer = Viewer::open(&site.url("cam1")).await.unwrap();
    let later = viewer.frame().await;
    let missed = later.stamp.number - before.stamp.number;
    let off = later.stamp.capture - before.stamp.capture - i64::try_from(missed).unwrap() * 3_600;
    assert_eq!(off, 0);
}

#[tokio::test]
async fn pictures_come_in_time_and_the_account_is_right() {
    let site = VirtualSite::start(SiteOptions::default()).await.unwrap();
    let mut viewer = Viewer::open(&site.url("cam1")).await.unwrap();
    let first = viewer.frame().await;
    let started = Instant::now();
    let mut frames = viewer.frames(50).await;
    let took = started.elapsed();
    assert!(
        took > Duration::from_millis(1_700) && took < Duration::from_millis(4_000),
        "50 frames took {took:?}"
    );
    drop(viewer);
    let account: Vec<Connection> = site.connections("cam1").unwrap();
    assert_eq!(account.len(), 1);
    assert_eq!(account[0].first_frame, Some(first.stamp.number));
    assert!(account[0].last_frame >= frames.pop().map(|frame| frame.stamp.number));
    assert_eq!(account[0].frames_skipped, 0);
    assert!(account[0].bytes > 50 * 160);
}

#[tokio::test]
async fn sound_and_sender_reports_follow_the_cameras_clock() {
    let site = VirtualSite::start(SiteOptions::default()).await.unwrap();
    let mut viewer = Viewer::open(&site.url("cam1")).await.unwrap();
    let mut sounds = Vec::new();
    let mut reports: [Option<WallTime>; 2] = [None, None];
    let mut capture = None;
    while sounds.len() < 60 || reports.contains(&None) || capture.is_none() {
        match viewer.next().await.unwrap() {
            Seen::Frame(frame) => capture = Some(frame.stamp.capture),
            Seen::Sound { timestamp, bytes } => sounds.push((timestamp, bytes)),
            Seen::Report { track, at } => reports[track] = Some(at),
            Seen::Document(_) => unreachable!("no metadata was asked for"),
        }
    }
    assert!(sounds.windows(2).all(|pair| pair[1].0 - pair[0].0 == 160 && pair[0].1 == 160));
    for at in reports.into_iter().flatten() {
        let off = capture.unwrap() - at;
        assert!(off.abs() < 5 * 90_000, "a sender report is {off} ticks off the pictures");
    }
}

#[tokio::test]
async fn cameras_ask_for_their_login_over_ipv6_too() {
    let login = Some(Login { user: "operator".to_owned(), password: "s3cret".to_owned() });
    let listen = "[::1]:0".parse().unwrap();
    let options = SiteOptions { listen, login, audio: None, ..SiteOptions::default() };
    assert!(!format!("{options:?}").contains("s3cret"));
    let site = VirtualSite::start(options).await.unwrap();
    let addr = site.addr();
    assert!(matches!(Viewer::open(&site.url("cam1")).await, Err(ClientError::Unauthorized(_))));
    let wrong = format!("rtsp://operator:guess@{addr}/cam1");
    assert!(matches!(Viewer::open(&wrong).await, Err(ClientError::Unauthorized(_))));
    let mut viewer = Viewer::open(&format!("rtsp://operator:s3cret@{addr}/cam1")).await.unwrap();
    assert!(viewer.frame().await.key);
    let unknown = format!("rtsp://operator:s3cret@{addr}/cam2");
    assert!(matches!(Viewer::open(&unknown).await, Err(ClientError::Refused { status: 404, .. })));
}

#[tokio::test]
async fn absurd_sites_are_refused() {
    let good = SiteOptions::default;
    for bad in [
        SiteOptions { cameras: 0, ..good() },
        SiteOptions { cameras: 1_001, ..good() },
        SiteOptions { encoders: 0, ..good() },
        SiteOptions { encoders: 2, ..good() },
        SiteOptions { gop_frames: 0, ..good() },
        SiteOptions { listen: "192.0.2.1:1".parse().unwrap(), ..good() },
    ] {
        let text = format!("{bad:?}");
        assert!(VirtualSite::start(bad).await.is_err(), "{text}");
    }
}
