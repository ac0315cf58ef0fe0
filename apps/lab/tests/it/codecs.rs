//! Every coding arrives whole, numbered, and on its time line.

use keepwatch_lab::{AudioCodec, Fault, ParameterSet, SiteOptions, VideoCodec, VirtualSite};

use crate::viewer::{Frame, Seen, Viewer};

async fn frames_of(codec: VideoCodec, count: usize) -> Vec<Frame> {
    let options = SiteOptions { codecs: vec![codec], audio: None, ..SiteOptions::default() };
    let site = VirtualSite::start(options).await.unwrap();
    let mut viewer = Viewer::open(&site.url("cam1")).await.unwrap();
    viewer.frames(count).await
}

fn check_time_line(frames: &[Frame]) {
    assert!(frames[0].key);
    for pair in frames.windows(2) {
        assert_eq!(pair[1].stamp.number, pair[0].stamp.number + 1);
        assert_eq!(pair[1].timestamp - pair[0].timestamp, 3_600);
        assert_eq!((pair[1].lost_packets, pair[1].config_changed), (0, false));
    }
}

#[tokio::test]
async fn h265_is_numbered_across_the_seam_of_its_loop() {
    let frames = frames_of(VideoCodec::H265, 110).await;
    check_time_line(&frames);
    let keys: Vec<u64> = frames.iter().filter(|frame| frame.key).map(|frame| frame.stamp.number).collect();
    assert!(keys.len() >= 4 && keys.windows(2).all(|pair| pair[1] - pair[0] == 25), "{keys:?}");
    let captures = frames.windows(2).map(|pair| pair[1].stamp.capture - pair[0].stamp.capture);
    assert!(captures.into_iter().all(|ticks| ticks == 3_600));
}

#[tokio::test]
async fn jpeg_shows_its_number_in_every_picture() {
    let frames = frames_of(VideoCodec::Jpeg, 50).await;
    check_time_line(&frames);
    assert!(frames.iter().all(|frame| frame.key));
}

#[tokio::test]
async fn faults_of_the_pictures_are_had_by_h265_too() {
    let options = SiteOptions { codecs: vec![VideoCodec::H265], audio: None, ..SiteOptions::default() };
    let site = VirtualSite::start(options).await.unwrap();
    let mut viewer = Viewer::open(&site.url("cam1")).await.unwrap();
    let mut frames = viewer.frames(5).await;
    for set in [ParameterSet::Alternate, ParameterSet::Main] {
        site.apply("cam1", Fault::Parameters { set }).unwrap();
        frames.extend(viewer.frames_until(|frame| frame.config_changed).await);
        assert!(frames.last().unwrap().key);
    }
    site.apply("cam1", Fault::NoKeyFrames { on: true }).unwrap();
    let keyless = viewer.frames(60).await;
    assert!(keyless[10..].iter().all(|frame| !frame.key));
    frames.extend(keyless);
    assert!(frames.windows(2).all(|pair| pair[1].stamp.number == pair[0].stamp.number + 1));
}

#[tokio::test]
async fn a_site_may_have_cameras_of_all_codings_with_their_own_numbers() {
    let codecs = vec![VideoCodec::H264, VideoCodec::H265, VideoCodec::Jpeg];
    let options = SiteOptions { cameras: 3, codecs, audio: None, ..SiteOptions::default() };
    let site = VirtualSite::start(options).await.unwrap();
    for camera in site.cameras() {
        let mut main = Viewer::open(&site.url(camera.as_str())).await.unwrap();
        let mut sub = Viewer::open(&site.url(&format!("{camera}/sub"))).await.unwrap();
        assert!(main.frame().await.key);
        assert_eq!(sub.frame().await.stamp.camera, camera);
    }
}

#[tokio::test]
async fn sound_of_every_coding_is_without_a_hole() {
    for (audio, ticks) in [(AudioCodec::Pcma, 160), (AudioCodec::Aac, 1_024)] {
        let options = SiteOptions { audio: Some(audio), ..SiteOptions::default() };
        let site = VirtualSite::start(options).await.unwrap();
        let mut viewer = Viewer::open(&site.url("cam1")).await.unwrap();
        let mut times = Vec::new();
        while times.len() < 30 {
            if let Some(Seen::Sound { timestamp, bytes }) = viewer.next().await {
                assert!(bytes > 0);
                times.push(timestamp);
            }
        }
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] == ticks), "{audio:?} {times:?}");
    }
}

#[tokio::test]
async fn documents_come_each_second_and_are_numbered() {
    let options = SiteOptions { metadata: true, ..SiteOptions::default() };
    let site = VirtualSite::start(options).await.unwrap();
    let mut viewer = Viewer::open(&site.url("cam1")).await.unwrap();
    let mut numbers: Vec<u64> = Vec::new();
    while numbers.len() < 3 {
        if let Seen::Document(text) = viewer.next().await.unwrap() {
            let (_, number) = text.split_once("Camera=\"cam1\" Number=\"").unwrap();
            numbers.push(number.split('"').next().unwrap().parse().unwrap());
        }
    }
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
}
