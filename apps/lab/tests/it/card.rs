//! What lies on a camera's card, found and played over the network, with the faults that concern it.

use std::time::Duration;

use keepwatch_lab::{CardOptions, CardState, EncoderSettings, Fault, SiteOptions, VirtualSite};
use keepwatch_media::replay::{ClockRange, Frames, PlayRequest, RateControl, Scale};
use keepwatch_model::{Span, WallTime};
use keepwatch_onvif::client::{Device, Options, StreamTransport};
use keepwatch_onvif::discovery::{ScanOptions, ScanProgress, scan};
use keepwatch_rtsp::client::ClientError;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::viewer::{Frame, Viewer};

fn at(text: &str) -> WallTime {
    text.parse().unwrap()
}

fn span(from: &str, to: &str) -> Span {
    Span::new(at(from), at(to)).unwrap()
}

/// A camera with a minute of 5 frames a second on its card, ten seconds of which are missing.
struct Filled {
    _directory: tempfile::TempDir,
    site: VirtualSite,
}

impl Filled {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let card = CardOptions {
            directory: directory.path().to_owned(),
            size_bytes: 32 << 20,
            prefill: Some(span("2026-03-01T10:00:00Z", "2026-03-01T10:01:00Z")),
            gaps: vec![span("2026-03-01T10:00:20Z", "2026-03-01T10:00:30Z")],
        };
        let encoder =
            EncoderSettings { frames_per_second: 5, bits_per_second: 100_000, ..EncoderSettings::default() };
        let options = SiteOptions {
            encoder,
            gop_frames: 10,
            card: Some(card),
            onvif: Some("127.0.0.1:0".parse().unwrap()),
            discovery: Some("127.0.0.1:0".parse().unwrap()),
            ..SiteOptions::default()
        };
        Self { _directory: directory, site: VirtualSite::start(options).await.unwrap() }
    }

    fn apply(&self, fault: Fault) {
        self.site.apply("cam1", fault).unwrap();
    }

    async fn replay(&self, request: &PlayRequest) -> Result<Viewer, ClientError> {
        Viewer::replay(&self.site.url("cam1/card"), request).await
    }

    async fn device(&self) -> Device {
        Device::connect(Options::new(self.site.devices()[0].parse().unwrap())).await.unwrap()
    }
}

fn whole() -> PlayRequest {
    PlayRequest {
        range: Some(ClockRange { from: at("2026-03-01T10:00:00Z"), to: Some(at("2026-03-01T10:01:00Z")) }),
        rate_control: RateControl::Free,
        frames: Frames::All,
        immediate: false,
        scale: Scale::NORMAL,
        replay: true,
        cseq: 0,
    }
}

fn is_terminal(frame: &Frame) -> bool {
    frame.mark.is_some_and(|mark| mark.terminal)
}

#[tokio::test]
async fn a_camera_is_found_by_who_asks_its_address() {
    let filled = Filled::new().await;
    let options = ScanOptions {
        interfaces: None,
        ranges: vec!["127.0.0.1".parse().unwrap()],
        time: Duration::from_secs(20),
        port: filled.site.discovery()[0].port(),
    };
    let found = Notify::new();
    let findings = scan(&options, found.notified(), |progress| {
        if matches!(progress, ScanProgress::Found(_)) {
            found.notify_one();
        }
    })
    .await
    .unwrap();
    assert_eq!(findings.devices.len(), 1);
    assert_eq!(findings.devices[0].address.as_str(), filled.site.devices()[0]);
    assert!(findings.devices[0].profiles.contains(&"G".to_owned()));
    filled.site.close().await;
}

#[tokio::test]
async fn a_card_is_found_by_onvif_and_played_whole_with_its_gap() {
    let filled = Filled::new().await;
    let device = filled.device().await;
    let profiles = device.profiles().await.unwrap();
    let main = device.stream_uri(&profiles[0], StreamTransport::Tcp).await.unwrap();
    assert_eq!(main.as_str(), filled.site.url("cam1"));
    let recordings = device.recordings().await.unwrap();
    assert_eq!(recordings.len(), 1);
    assert_eq!(recordings[0].earliest, Some(at("2026-03-01T10:00:00Z")));
    let wanted = span("2026-03-01T09:00:00Z", "2026-03-01T11:00:00Z");
    let tracks = device.sections(&recordings[0].token, wanted).await.unwrap();
    assert_eq!(tracks.len(), 2, "picture and sound");
    for track in tracks {
        assert_eq!(
            track.sections.spans(),
            [
                span("2026-03-01T10:00:00Z", "2026-03-01T10:00:20Z"),
                span("2026-03-01T10:00:30Z", "2026-03-01T10:01:00Z")
            ],
            "{}",
            track.track
        );
    }
    let uri = device.replay_uri(&recordings[0].token).await.unwrap();
    let mut viewer = Viewer::replay(uri.as_str(), &whole()).await.unwrap();
    let frames = viewer.frames_until(is_terminal).await;
    assert_eq!(frames.len(), 50 * 5);
    assert!(frames.iter().all(|frame| frame.mark.unwrap().time == frame.stamp.capture));
    let steps: Vec<u64> = frames.windows(2).map(|pair| pair[1].stamp.number - pair[0].stamp.number).collect();
    assert_eq!(steps.iter().filter(|&&step| step != 1).collect::<Vec<_>>(), [&51]);
    // At the end nothing is sent, and the session stands.
    assert!(viewer.falls_silent_for(Duration::from_millis(300)).await);
}

#[tokio::test]
async fn motion_is_told_to_a_pull_point() {
    let filled = Filled::new().await;
    let mut subscription = filled.device().await.subscribe().await.unwrap();
    let mut told = Vec::new();
    while told.len() < 2 {
        told.extend(subscription.pull().await.unwrap().notifications);
    }
    assert!(told.iter().all(|notification| notification.topic == "VideoSource/MotionAlarm"));
    assert_ne!(told[0].datum("State"), told[1].datum("State"), "how it is, and the change");
    subscription.close().await.unwrap();
}

#[tokio::test]
async fn replay_that_breaks_in_the_middle_can_be_asked_for_again() {
    let filled = Filled::new().await;
    filled.apply(Fault::DropAfter { frames: 100, times: 2 });
    for _ in 0..2 {
        let mut viewer = filled.replay(&whole()).await.unwrap();
        let mut frames = 0;
        while viewer.try_frame().await.is_some() {
            frames += 1;
        }
        assert!((1..=100).contains(&frames), "{frames}");
    }
    let mut viewer = filled.replay(&whole()).await.unwrap();
    assert_eq!(viewer.frames_until(is_terminal).await.len(), 50 * 5);
}

#[tokio::test]
async fn the_faults_of_replay_are_seen_by_the_client() {
    let filled = Filled::new().await;
    filled.apply(Fault::NoMarks { on: true });
    let mut viewer = filled.replay(&whole()).await.unwrap();
    assert!(viewer.frames(20).await.iter().all(|frame| frame.mark.is_none()));
    filled.apply(Fault::Heal);

    filled.apply(Fault::IgnoreRateControl { on: true });
    let mut viewer = filled.replay(&whole()).await.unwrap();
    viewer.frame().await;
    let started = Instant::now();
    viewer.frames(11).await;
    let took = started.elapsed();
    assert!(took > Duration::from_millis(1_500), "two seconds of footage in {took:?}");
    filled.apply(Fault::Heal);

    filled.apply(Fault::IgnoreRangeEnd { on: true });
    let short = ClockRange { from: at("2026-03-01T10:00:00Z"), to: Some(at("2026-03-01T10:00:05Z")) };
    let mut viewer = filled.replay(&PlayRequest { range: Some(short), ..whole() }).await.unwrap();
    let beyond = |frame: &Frame| frame.stamp.capture > at("2026-03-01T10:00:40Z");
    viewer.frames_until(beyond).await;
    filled.apply(Fault::Heal);

    filled.apply(Fault::SearchEmpty { on: true });
    assert!(filled.device().await.recordings().await.unwrap().is_empty());
    filled.apply(Fault::Heal);

    filled.apply(Fault::Card { state: CardState::Missing });
    assert!(filled.replay(&whole()).await.is_err());
    assert!(filled.device().await.recordings().await.unwrap().is_empty());
}
