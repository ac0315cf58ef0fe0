//! Cameras over UDP and over TLS, and the faults of either and of the session.

use std::time::Duration;

use keepwatch_lab::{Fault, KeepaliveAnswer, SiteOptions, VirtualSite};
use keepwatch_rtsp::client::{ClientConfig, ClientError, Transport};

use crate::viewer::{Frame, Seen, Viewer, config};

async fn site() -> VirtualSite {
    let options =
        SiteOptions { audio: None, tls: Some("127.0.0.1:0".parse().unwrap()), ..SiteOptions::default() };
    VirtualSite::start(options).await.unwrap()
}

async fn over_udp(site: &VirtualSite) -> Viewer {
    let config = ClientConfig { transport: Transport::Udp, ..config(&site.url("cam1")) };
    Viewer::open_with(&config).await.unwrap()
}

fn consecutive(frames: &[Frame]) -> bool {
    frames.windows(2).all(|pair| pair[1].stamp.number == pair[0].stamp.number + 1)
}

#[tokio::test]
async fn datagrams_arrive_whole_and_in_order_also_when_the_network_swaps_them() {
    let site = site().await;
    let mut viewer = over_udp(&site).await;
    assert!(consecutive(&viewer.frames(30).await));
    site.apply("cam1", Fault::UdpReorder { distance: 3 }).unwrap();
    let frames = viewer.frames(60).await;
    assert!(consecutive(&frames) && frames.iter().all(|frame| frame.lost_packets == 0));
}

#[tokio::test]
async fn lost_datagrams_are_missing() {
    let site = site().await;
    let mut viewer = over_udp(&site).await;
    viewer.frames(10).await;
    site.apply("cam1", Fault::UdpLoss { every: 10 }).unwrap();
    let frames = viewer.frames(60).await;
    let lost: u32 = frames.iter().map(|frame| frame.lost_packets).sum();
    assert!(lost >= 4 && !consecutive(&frames), "{lost} packets");
    // Over the connection nothing is lost.
    let mut viewer = Viewer::open(&site.url("cam1")).await.unwrap();
    assert!(consecutive(&viewer.frames(30).await));
}

#[tokio::test]
async fn a_camera_is_known_again_by_its_certificate() {
    let site = site().await;
    let url = site.secure_url("cam1").unwrap();
    let pinned = ClientConfig { certificate: site.fingerprint(), ..config(&url) };
    assert!(Viewer::open_with(&pinned).await.unwrap().frame().await.key);
    let other = VirtualSite::start(SiteOptions {
        tls: Some("127.0.0.1:0".parse().unwrap()),
        ..SiteOptions::default()
    })
    .await
    .unwrap();
    let foreign = ClientConfig { certificate: other.fingerprint(), ..config(&url) };
    assert!(Viewer::open_with(&foreign).await.is_err());
}

#[tokio::test]
async fn sessions_that_are_too_many_are_refused() {
    let site = site().await;
    let url = site.url("cam1");
    site.apply("cam1", Fault::RefuseNth { n: 2 }).unwrap();
    let mut first = Viewer::open(&url).await.unwrap();
    first.frame().await;
    assert!(matches!(Viewer::open(&url).await, Err(ClientError::Refused { status: 453, .. })));
    site.apply("cam1", Fault::RefuseNth { n: 0 }).unwrap();
    Viewer::open(&url).await.unwrap().frame().await;
}

#[tokio::test]
async fn keepalives_may_be_answered_wrongly_or_not_at_all() {
    let site = site().await;
    for answer in [KeepaliveAnswer::WrongCseq, KeepaliveAnswer::BadRequest, KeepaliveAnswer::Silent] {
        site.apply("cam1", Fault::Keepalive { answer }).unwrap();
        let config = ClientConfig {
            keepalive_interval: Some(Duration::from_millis(100)),
            ..config(&site.url("cam1"))
        };
        let mut viewer = Viewer::open_with(&config).await.unwrap();
        assert!(consecutive(&viewer.frames(25).await), "{answer:?}");
    }
}

#[tokio::test]
async fn a_camera_may_send_no_sender_reports() {
    let site = site().await;
    for (on, expected) in [(true, false), (false, true)] {
        site.apply("cam1", Fault::NoSenderReports { on }).unwrap();
        let mut viewer = Viewer::open(&site.url("cam1")).await.unwrap();
        let mut reported = false;
        let mut frames = 0;
        while frames < 30 {
            match viewer.next().await.unwrap() {
                Seen::Report { .. } => reported = true,
                Seen::Frame(_) => frames += 1,
                Seen::Sound { .. } | Seen::Document(_) => {}
            }
        }
        assert_eq!(reported, expected);
    }
}

#[tokio::test]
async fn a_live_connection_breaks_after_so_many_pictures() {
    let site = site().await;
    let url = site.url("cam1");
    site.apply("cam1", Fault::DropAfter { frames: 10, times: 1 }).unwrap();
    let mut viewer = Viewer::open(&url).await.unwrap();
    while viewer.try_frame().await.is_some() {}
    let account = site.connections("cam1").unwrap();
    assert_eq!((account[0].frames, account[0].closed), (10, true));
    assert!(consecutive(&Viewer::open(&url).await.unwrap().frames(30).await));
}
