//! Replay against servers made by hand: what is asked, what is made of the answers, and how a session is steered.

use std::num::NonZeroU64;
use std::time::Duration;

use keepwatch_media::replay::{
    ClockRange, EXTENSION_PROFILE, FrameMark, Frames, PlayRequest, RateControl, Scale,
};
use keepwatch_media::rtp::{Extension, RtpHeader, RtpPacket};
use keepwatch_model::{Flow, MonoTime, PacketHandler, WallTime};
use keepwatch_rtsp::client::{ClientError, EndReason, Played, Remote, Session, Step, TrackStart, connect};
use tokio::time::Instant;

use crate::fixture::{clock, config, within};
use crate::script::{Peer, SDP, camera, interleaved};

fn wall(text: &str) -> WallTime {
    text.parse().unwrap()
}

/// Ten minutes from ten o'clock on, as fast as they can be read.
fn request() -> PlayRequest {
    PlayRequest {
        range: Some(ClockRange {
            from: wall("2026-11-21T22:00:00Z"),
            to: Some(wall("2026-11-21T22:10:00Z")),
        }),
        rate_control: RateControl::Free,
        replay: true,
        ..PlayRequest::default()
    }
}

/// Frame `number`, 25 in a second from ten o'clock on, in one packet; its mark says which `PLAY` asked for it.
fn frame(number: u16, sequence: Option<u8>) -> Vec<u8> {
    let mark = FrameMark {
        time: wall("2026-11-21T22:00:00Z").plus(i64::from(number) * 3_600),
        clean_point: true,
        ends_section: false,
        discontinuity: false,
        terminal: false,
        sequence: sequence.unwrap_or(0),
    };
    let words = mark.to_words();
    let extension = sequence.map(|_| Extension { profile: EXTENSION_PROFILE, data: &words });
    let timestamp = u32::from(number) * 3_600;
    let header =
        RtpHeader { marker: true, payload_type: 96, sequence: number, timestamp, ssrc: 1, extension };
    let mut packet = vec![];
    header.write(&mut packet);
    packet.extend_from_slice(&[0x65, 1, 2, 3]);
    interleaved(0, &packet)
}

/// Keeps the numbers of frames and the `PLAY` of each, and does what a test says when one comes.
struct Steering<F> {
    frames: Vec<(u16, Option<u8>)>,
    bytes: usize,
    react: F,
}

impl<F: FnMut(&[(u16, Option<u8>)]) -> Flow> Steering<F> {
    fn new(react: F) -> Self {
        Self { frames: vec![], bytes: 0, react }
    }
}

impl<F: FnMut(&[(u16, Option<u8>)]) -> Flow> PacketHandler for Steering<F> {
    fn rtp(&mut self, _now: MonoTime, _track: usize, packet: &[u8]) {
        self.bytes += packet.len();
        let packet = RtpPacket::parse(packet).unwrap();
        self.frames.push((packet.sequence, FrameMark::of(&packet).map(|mark| mark.sequence)));
    }

    fn rtcp(&mut self, _now: MonoTime, _track: usize, _packet: &[u8]) {}

    fn idle(&mut self, _now: MonoTime) -> Flow {
        (self.react)(&self.frames)
    }
}

async fn replay(addr: std::net::SocketAddr, request: &PlayRequest) -> Result<Session, ClientError> {
    let mut config = config(addr, "/recorded");
    config.keepalive_interval = Some(Duration::from_millis(20));
    connect(&config).await.unwrap().replay(&[0], request).await
}

#[tokio::test]
async fn what_is_asked_for_is_written_as_the_specification_has_it_and_the_answer_is_read() {
    let addr = camera(async |mut peer: Peer| {
        let play = loop {
            let request = peer.request().await.unwrap();
            match request.method() {
                "DESCRIBE" => peer.ok(&request, "", SDP).await,
                "SETUP" => {
                    assert_eq!(request.header("Require"), "onvif-replay");
                    assert_eq!(request.header("Transport"), "RTP/AVP/TCP;unicast;interleaved=0-1");
                    peer.ok(&request, "Session: 1\r\n", "").await;
                }
                "PLAY" => break request,
                _ => peer.ok(&request, "", "").await,
            }
        };
        for (name, value) in [
            ("Require", "onvif-replay"),
            ("Range", "clock=20261121T220000.000Z-20261121T221000.000Z"),
            ("Rate-Control", "no"),
            ("Immediate", "yes"),
            ("Frames", "intra/4000"),
            ("Scale", "2.0"),
        ] {
            assert_eq!(play.header(name), value, "{play:?}");
        }
        let headers = "Range: clock=20261121T215958.48Z-20261121T221000Z\r\nScale: 1.0\r\n\
            RTP-Info: url=track1;seq=17;rtptime=4294967295\r\n";
        peer.ok(&play, headers, "").await;
        peer.wait_for_close().await;
    })
    .await;
    let request = PlayRequest {
        immediate: true,
        frames: Frames::Intra { interval_ms: Some(4000) },
        scale: Scale::from_thousandths(2000).unwrap(),
        ..request()
    };
    let session = replay(addr, &request).await.unwrap();
    let played = session.played();
    assert_eq!(
        played,
        &Played {
            cseq: 4,
            range: Some(ClockRange {
                from: wall("2026-11-21T21:59:58.48Z"),
                to: Some(wall("2026-11-21T22:10:00Z")),
            }),
            scale: Some(Scale::NORMAL),
            starts: vec![TrackStart { sequence: Some(17), timestamp: Some(u32::MAX) }],
        }
    );
    assert_eq!(session.remote().sequence(), 4);
}

#[tokio::test]
async fn a_device_that_cannot_replay_is_told_from_one_that_has_no_such_footage() {
    for (method, status) in [("SETUP", 551), ("PLAY", 551), ("PLAY", 457), ("PLAY", 454)] {
        let addr = camera(async move |mut peer: Peer| {
            while let Some(request) = peer.request().await {
                match request.method() {
                    "DESCRIBE" => peer.ok(&request, "", SDP).await,
                    other if other == method => {
                        peer.send(format!("RTSP/1.0 {status} No\r\nUnsupported: onvif-replay\r\n\r\n")).await;
                    }
                    _ => peer.ok(&request, "Session: 1\r\n", "").await,
                }
            }
        })
        .await;
        let error = replay(addr, &request()).await.unwrap_err();
        let expected = match (method, status) {
            ("SETUP", _) => matches!(error, ClientError::ReplayUnsupported { step: Step::Setup }),
            (_, 551) => matches!(error, ClientError::ReplayUnsupported { step: Step::Play }),
            (_, 457) => matches!(error, ClientError::InvalidRange),
            _ => matches!(error, ClientError::Refused { status: 454, .. }),
        };
        assert!(expected, "{method} {status}: {error:?}");
    }
}

/// The `PLAY` that a request is, as marks carry it.
fn cseq(request: &crate::script::Seen) -> u8 {
    request.header("CSeq").parse().unwrap()
}

#[tokio::test]
async fn a_session_is_held_and_continued_elsewhere_and_older_frames_are_told_apart() {
    let addr = camera(async |mut peer: Peer| {
        let first = peer.until_play(SDP).await;
        peer.ok(&first, "", "").await;
        peer.send([frame(1, Some(cseq(&first))), frame(2, Some(cseq(&first)))].concat()).await;
        let pause = until(&mut peer, "PAUSE").await;
        assert_eq!((pause.header("Session"), pause.header("Range")), ("12345678", ""));
        // What was on its way still comes, before and after the answer.
        peer.send(frame(3, Some(cseq(&first)))).await;
        peer.ok(&pause, "", "").await;
        let second = until(&mut peer, "PLAY").await;
        assert_eq!(second.header("Range"), "clock=20261121T220400.000Z-");
        assert_eq!(second.header("Immediate"), "yes");
        peer.send(frame(4, Some(cseq(&first)))).await;
        peer.ok(&second, "Range: clock=20261121T220359Z-\r\n", "").await;
        peer.send([frame(5975, Some(cseq(&second))), frame(5976, Some(cseq(&second)))].concat()).await;
        peer.wait_for_close().await;
    })
    .await;
    let session = replay(addr, &request()).await.unwrap();
    let remote = session.remote();
    let first = remote.sequence();
    let steered = tokio::spawn(steer(remote.clone()));
    let mut handler =
        Steering::new(|frames: &[_]| if frames.len() < 6 { Flow::Continue } else { Flow::Stop });
    let end = within(session.run(&mut handler, clock())).await;
    assert!(matches!(end.reason, EndReason::Stopped), "{end:?}");
    let second = steered.await.unwrap();
    assert_ne!(first, second);
    assert_eq!(remote.sequence(), second);
    let current: Vec<_> = handler
        .frames
        .iter()
        .filter(|(_, sequence)| *sequence == Some(second))
        .map(|(number, _)| *number)
        .collect();
    assert_eq!(current, [5975, 5976]);
    assert_eq!(handler.frames.len(), 6);
    // Who asks a session that is over is told so.
    let over = within(remote.play(PlayRequest::default())).await;
    assert!(matches!(over, Err(ClientError::Ended { step: Step::Play, .. })), "{over:?}");
}

/// Holds, and continues four minutes later; returns what the marks of the second `PLAY` carry.
async fn steer(remote: Remote) -> u8 {
    remote.pause().await.unwrap();
    let range = ClockRange { from: wall("2026-11-21T22:04:00Z"), to: None };
    let seek = PlayRequest { range: Some(range), immediate: true, ..request() };
    let played = remote.play(seek).await.unwrap();
    assert_eq!(played.range.unwrap().from, wall("2026-11-21T22:03:59Z"));
    played.cseq.to_be_bytes()[3]
}

/// The next request of a kind; keepalives before it go unanswered.
async fn until(peer: &mut Peer, method: &str) -> crate::script::Seen {
    loop {
        let request = peer.request().await.unwrap();
        if request.method() == method {
            return request;
        }
    }
}

/// retina#136 and others, in a replay: wrong numbers, refusals and silence on keepalives, and in their midst a seek
/// that the server refuses.
#[tokio::test]
async fn bad_answers_to_keepalives_end_nothing_and_are_not_taken_for_answers_to_orders() {
    let addr = camera(async |mut peer: Peer| {
        let play = peer.until_play(SDP).await;
        peer.ok(&play, "", "").await;
        let answers = [
            "RTSP/1.0 400 Bad Request\r\nCSeq: 1\r\n\r\n",
            "RTSP/1.0 200 OK\r\nCSeq: 0\r\n\r\n",
            "",
            "RTSP/1.0 454 Session Not Found\r\nCSeq: 99\r\n\r\n",
        ];
        let mut order = None;
        for (number, answer) in (0u16..).zip(answers) {
            let request = peer.request().await.unwrap();
            if request.method() == "PLAY" {
                order = Some(request);
                continue;
            }
            peer.send(answer).await;
            peer.send(frame(number, None)).await;
        }
        let order = match order {
            Some(order) => order,
            None => until(&mut peer, "PLAY").await,
        };
        peer.send(format!("RTSP/1.0 457 Invalid Range\r\nCSeq: {}\r\n\r\n", order.header("CSeq"))).await;
        for number in 10..20 {
            peer.send(frame(number, None)).await;
        }
        peer.wait_for_close().await;
    })
    .await;
    let session = replay(addr, &request()).await.unwrap();
    let answer = session.remote().play(request());
    let mut handler = Steering::new(|frames: &[(u16, _)]| {
        if frames.last().is_some_and(|(number, _)| *number == 19) { Flow::Stop } else { Flow::Continue }
    });
    let end = within(session.run(&mut handler, clock())).await;
    assert!(matches!(end.reason, EndReason::Stopped), "{end:?}");
    let answer = within(answer).await;
    assert!(matches!(answer, Err(ClientError::InvalidRange)), "{answer:?}");
}

#[tokio::test]
async fn a_limited_session_reads_no_faster_and_an_unlimited_one_as_fast_as_it_can() {
    const PACKETS: u16 = 400;
    for limit in [Some(400_000), None] {
        let addr = camera(async |mut peer: Peer| {
            let play = peer.until_play(SDP).await;
            peer.ok(&play, "", "").await;
            for number in 0..PACKETS {
                let mut packet = frame(number, None);
                packet.resize(packet.len() + 960, 7);
                let length = u16::try_from(packet.len() - 4).unwrap().to_be_bytes();
                packet[2..4].copy_from_slice(&length);
                peer.send(packet).await;
            }
            peer.wait_for_close().await;
        })
        .await;
        let session = replay(addr, &request()).await.unwrap();
        session.remote().limit(limit.and_then(NonZeroU64::new));
        // The farewell, which this server does not answer, is not counted.
        let begin = Instant::now();
        let mut took = 0.0;
        let mut handler = Steering::new(|frames: &[_]| {
            took = begin.elapsed().as_secs_f64();
            let enough = frames.len() >= usize::from(PACKETS);
            if enough { Flow::Stop } else { Flow::Continue }
        });
        let end = within(session.run(&mut handler, clock())).await;
        assert!(matches!(end.reason, EndReason::Stopped), "{end:?}");
        let bytes = f64::from(u32::try_from(handler.bytes).unwrap());
        match limit {
            Some(_) => assert!(took >= bytes / 400_000.0 * 0.9, "{bytes} in {took} s"),
            None => assert!(took < 0.8, "{bytes} in {took} s"),
        }
    }
}

/// The end of footage by those who close, and a camera that says goodbye.
#[tokio::test]
async fn the_end_of_the_connection_is_the_end_of_the_session() {
    let addr = camera(async |mut peer: Peer| {
        let play = peer.until_play(SDP).await;
        peer.ok(&play, "", "").await;
        peer.send([frame(1, None), frame(2, None)].concat()).await;
    })
    .await;
    let session = replay(addr, &request()).await.unwrap();
    let mut handler = Steering::new(|_: &[_]| Flow::Continue);
    let end = within(session.run(&mut handler, clock())).await;
    assert!(matches!(end.reason, EndReason::EndedByServer | EndReason::Lost(_)), "{end:?}");
    assert_eq!(handler.frames, [(1, None), (2, None)]);
}

/// A server that sends at once and answers later: footage must not be missed in silence.
#[tokio::test]
async fn what_comes_before_the_answer_is_kept_or_the_session_does_not_begin() {
    const BYTES: u16 = 60_000;
    // Twice what the thread's buffer holds, and more than is kept.
    for (count, kept) in [(35, true), (80, false)] {
        let addr = camera(async move |mut peer: Peer| {
            let play = peer.until_play(SDP).await;
            for number in 0..count {
                let mut packet = frame(number, None);
                packet.resize(usize::from(BYTES) + 4, 7);
                packet[2..4].copy_from_slice(&BYTES.to_be_bytes());
                peer.send(packet).await;
            }
            peer.ok(&play, "", "").await;
            peer.send(frame(count, None)).await;
            peer.wait_for_close().await;
        })
        .await;
        let session = within(replay(addr, &request())).await;
        if !kept {
            assert!(matches!(session, Err(ClientError::Ended { step: Step::Play, .. })), "{session:?}");
            continue;
        }
        let mut handler =
            Steering::new(
                |frames: &[_]| {
                    if frames.len() > usize::from(count) { Flow::Stop } else { Flow::Continue }
                },
            );
        let end = within(session.unwrap().run(&mut handler, clock())).await;
        assert!(matches!(end.reason, EndReason::Stopped), "{end:?}");
        assert!(handler.frames.iter().map(|(number, _)| *number).eq(0..=count), "{:?}", handler.frames);
    }
}

#[tokio::test]
async fn an_order_that_is_never_answered_times_out_and_the_session_goes_on() {
    let addr = camera(async |mut peer: Peer| {
        let play = peer.until_play(SDP).await;
        peer.ok(&play, "", "").await;
        until(&mut peer, "PAUSE").await;
        peer.send(frame(1, None)).await;
        let play = until(&mut peer, "PLAY").await;
        peer.ok(&play, "", "").await;
        peer.send(frame(2, None)).await;
        peer.wait_for_close().await;
    })
    .await;
    let mut config = config(addr, "/recorded");
    config.timeout = Duration::from_millis(500);
    let session = connect(&config).await.unwrap().replay(&[0], &request()).await.unwrap();
    let remote = session.remote();
    let steered = tokio::spawn(async move { (remote.pause().await, remote.play(request()).await) });
    let mut handler =
        Steering::new(|frames: &[_]| if frames.len() < 2 { Flow::Continue } else { Flow::Stop });
    let end = within(session.run(&mut handler, clock())).await;
    assert!(matches!(end.reason, EndReason::Stopped), "{end:?}");
    let (paused, played) = within(steered).await.unwrap();
    assert!(matches!(paused, Err(ClientError::TimedOut(Step::Pause))), "{paused:?}");
    assert!(played.is_ok(), "{played:?}");
}
