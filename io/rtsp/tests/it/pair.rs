//! The client against the server.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use keepwatch_model::WallTime;
use keepwatch_rtsp::client::{ClientError, EndReason, Step, connect};

use crate::fixture::{
    GROUP, PASSWORD, Studio, audio, collect, config, program, sample, serve, tracks, video,
};

/// The samples of `track` in a program, as a receiver must see them.
fn sent(frames: u32, track: usize) -> Vec<Vec<u8>> {
    program(frames).iter().filter(|media| media.track == track).map(sample).collect()
}

#[tokio::test]
async fn every_frame_of_every_track_arrives_bit_by_bit_over_ipv6_with_login() {
    let server = serve("::1", Arc::new(Studio { login: true, ..Studio::new(25) })).await;
    let mut config = config(server.addr, "/live/main");
    config.user = Some("operator".to_owned());
    config.password = Some(PASSWORD.into());
    let described = connect(&config).await.unwrap();
    let offered: Vec<_> =
        described.presentation().tracks.iter().map(|track| track.config.clone().unwrap()).collect();
    assert_eq!(offered, tracks());
    drop(described);
    let (received, end) = collect(&config, &[0, 1, 2], 75).await;
    assert!(matches!(end.reason, EndReason::Stopped), "{end:?}");
    for track in 0..3 {
        assert_eq!(received.of_track(track), sent(25, track), "track {track}");
    }
    assert!(received.samples.iter().all(|sample| sample.lost == 0));
    let timestamps: Vec<_> =
        received.samples.iter().filter(|sample| sample.track == 0).map(|sample| sample.timestamp).collect();
    assert!(timestamps.windows(2).all(|pair| pair[1] - pair[0] == 3_600), "{timestamps:?}");
    assert_eq!((end.counters.unassigned_frames, end.counters.skipped_bytes), (0, 0));
}

#[tokio::test]
async fn only_the_tracks_asked_for_arrive_and_in_the_order_asked() {
    let server = serve("127.0.0.1", Arc::new(Studio::new(12))).await;
    let config = config(server.addr, "/live/main/");
    let (received, _) = collect(&config, &[2, 0], 24).await;
    assert_eq!(received.of_track(0), sent(12, 2));
    assert_eq!(received.of_track(1), sent(12, 0));
    let (received, _) = collect(&config, &[1], 12).await;
    assert_eq!(received.of_track(0), sent(12, 1));
}

#[tokio::test]
async fn video_begins_at_a_key_frame() {
    let mut studio = Studio::new(0);
    studio.program = (GROUP - 3..GROUP + 3).map(video).collect();
    studio.then_end = true;
    let server = serve("::1", Arc::new(studio)).await;
    let (received, _) = collect(&config(server.addr, "/live/main"), &[0], usize::MAX).await;
    let expected: Vec<_> = (GROUP..GROUP + 3).map(|number| sample(&video(number))).collect();
    assert_eq!(received.of_track(0), expected);
}

#[tokio::test]
async fn a_sender_report_comes_before_the_first_packet_of_each_track() {
    let server = serve("127.0.0.1", Arc::new(Studio::new(25))).await;
    let (received, _) = collect(&config(server.addr, "/live/main"), &[0, 1, 2], 75).await;
    for track in 0..3 {
        let first = received.order.iter().find(|(of, _)| *of == track);
        assert_eq!(first, Some(&(track, true)), "track {track}");
        let (_, report) = received.reports.iter().find(|(of, _)| *of == track).unwrap();
        assert_eq!(report.ntp.to_wall(), Some(WallTime::from_ticks(1_000_000)));
        let begin = received.samples.iter().find(|sample| sample.track == track).unwrap();
        assert_eq!(u32::try_from(begin.timestamp.rem_euclid(1 << 32)).unwrap(), report.rtp_timestamp);
    }
}

#[tokio::test]
async fn the_announced_first_packets_are_those_that_come() {
    let server = serve("127.0.0.1", Arc::new(Studio::new(25))).await;
    let session = connect(&config(server.addr, "/live/main")).await.unwrap().play(&[1, 0]).await.unwrap();
    let announced = session.tracks().to_vec();
    assert_eq!(announced.iter().map(|track| track.offered).collect::<Vec<_>>(), [1, 0]);
    let mut received = crate::fixture::Collector::new(&[tracks()[1].clone(), tracks()[0].clone()], 50);
    session.run(&mut received, crate::fixture::clock()).await;
    for (track, announced) in announced.iter().enumerate() {
        let (_, report) = received.reports.iter().find(|(of, _)| *of == track).unwrap();
        assert_eq!(announced.ssrc, Some(report.ssrc));
        assert_eq!(announced.first_timestamp, Some(report.rtp_timestamp));
        assert!(announced.first_sequence.is_some());
    }
}

#[tokio::test]
async fn a_login_is_asked_for_and_checked() {
    let studio = Arc::new(Studio { login: true, ..Studio::new(1) });
    let server = serve("127.0.0.1", Arc::clone(&studio)).await;
    let mut config = config(server.addr, "/live/main");
    assert!(matches!(connect(&config).await, Err(ClientError::Unauthorized(_))));
    assert!(!studio.asked.load(Ordering::Relaxed), "without a login there is nothing to compare");
    for (user, password) in [("operator", "wrong"), ("nobody", PASSWORD), ("nobody", ""), ("operator", "")] {
        config.user = Some(user.to_owned());
        config.password = Some(password.into());
        assert!(matches!(connect(&config).await, Err(ClientError::Unauthorized(_))), "{user}");
    }
    config.user = None;
    config.url.set_username("operator").unwrap();
    config.url.set_password(Some(PASSWORD)).unwrap();
    connect(&config).await.unwrap();
}

#[tokio::test]
async fn an_unknown_path_is_refused() {
    let server = serve("127.0.0.1", Arc::new(Studio::new(1))).await;
    for path in ["", "/", "/live", "/live/main/x", "/live/main/trackID=0/y"] {
        match connect(&config(server.addr, path)).await {
            Err(ClientError::Refused { status: 404, step: Step::Describe, .. }) => {}
            other => panic!("{path}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn nobody_listening_is_told_apart() {
    let server = serve("::1", Arc::new(Studio::new(1))).await;
    let addr = server.addr;
    server.stop().await;
    assert!(matches!(connect(&config(addr, "/live/main")).await, Err(ClientError::Unreachable(_))));
}

#[tokio::test]
async fn the_end_of_a_source_is_the_end_of_the_session_and_loses_nothing() {
    let server = serve("127.0.0.1", Arc::new(Studio { then_end: true, ..Studio::new(30) })).await;
    let (received, end) = collect(&config(server.addr, "/live/main"), &[0, 1, 2], usize::MAX).await;
    assert!(matches!(end.reason, EndReason::EndedByServer), "{end:?}");
    for track in 0..3 {
        assert_eq!(received.of_track(track), sent(30, track), "track {track}");
    }
}

/// A client that does not keep up must not hold back the source, must be told, and must be able to go on.
#[tokio::test]
async fn a_slow_client_gets_a_visible_gap_up_to_a_key_frame() {
    let frames = 4_000;
    let mut studio = Studio::new(0);
    studio.program = (0..frames).map(video).collect();
    studio.then_end = true;
    let server = serve("127.0.0.1", Arc::new(studio)).await;
    let config = config(server.addr, "/live/main");
    config.read_interval.set(Duration::from_millis(250));
    let (received, _) = collect(&config, &[0], usize::MAX).await;
    assert!(received.samples.len() < frames.try_into().unwrap(), "the source gave more than buffers hold");
    let first = received.samples[0].timestamp;
    let mut expected = 0;
    for got in &received.samples {
        let number = u32::try_from((got.timestamp - first) / 3_600).unwrap();
        assert!(got.data == sample(&video(number)), "frame {number}");
        assert_eq!(got.lost > 0, number != expected, "frame {number}");
        assert!(got.lost == 0 || got.key, "frame {number}");
        expected = number + 1;
    }
}

#[tokio::test]
async fn sessions_read_as_often_as_they_are_told_while_they_run() {
    let mut studio = Studio::new(0);
    studio.program = vec![audio(1, 0)];
    let server = serve("127.0.0.1", Arc::new(studio)).await;
    let config = config(server.addr, "/live/main");
    config.read_interval.set(Duration::from_millis(100));

    struct Idle(Vec<keepwatch_model::MonoTime>, keepwatch_rtsp::client::ReadInterval);
    impl keepwatch_model::PacketHandler for Idle {
        fn rtp(&mut self, _now: keepwatch_model::MonoTime, _track: usize, _packet: &[u8]) {}
        fn rtcp(&mut self, _now: keepwatch_model::MonoTime, _track: usize, _packet: &[u8]) {}
        fn idle(&mut self, now: keepwatch_model::MonoTime) -> keepwatch_model::Flow {
            self.0.push(now);
            if self.0.len() == 5 {
                self.1.set(Duration::from_millis(10));
            }
            if self.0.len() < 15 { keepwatch_model::Flow::Continue } else { keepwatch_model::Flow::Stop }
        }
    }
    let mut idle = Idle(vec![], config.read_interval.clone());
    connect(&config).await.unwrap().play(&[1]).await.unwrap().run(&mut idle, crate::fixture::clock()).await;
    let between = |from: usize, to: usize| idle.0[to].since(idle.0[from]);
    assert!(between(1, 4) >= Duration::from_millis(290), "three intervals of 100 ms");
    assert!(between(5, 14) >= Duration::from_millis(80), "nine of 10 ms");
}
