//! Cameras that misbehave: what can be put up with is, the rest is a clear error, and nothing lasts for ever.

use std::time::Duration;

use keepwatch_model::{Flow, MonoTime, PacketHandler};
use keepwatch_rtsp::client::{ClientConfig, ClientError, EndReason, Session, SessionEnd, Step, connect};
use tokio::sync::oneshot;

use crate::fixture::{clock, config, within};
use crate::script::{Peer, SDP, camera, interleaved, rtp};

/// Takes packets as they are.
#[derive(Default)]
struct Raw {
    packets: Vec<Vec<u8>>,
    enough: Option<usize>,
}

impl PacketHandler for Raw {
    fn rtp(&mut self, _now: MonoTime, _track: usize, packet: &[u8]) {
        self.packets.push(packet.to_vec());
    }

    fn rtcp(&mut self, _now: MonoTime, _track: usize, _packet: &[u8]) {}

    fn idle(&mut self, _now: MonoTime) -> Flow {
        if self.enough.is_some_and(|enough| self.packets.len() >= enough) {
            Flow::Stop
        } else {
            Flow::Continue
        }
    }
}

async fn play(config: &ClientConfig) -> Session {
    connect(config).await.unwrap().play(&[0]).await.unwrap()
}

/// Plays until `enough` packets came or the session ended.
async fn receive(config: &ClientConfig, enough: Option<usize>) -> (Raw, SessionEnd) {
    let mut raw = Raw { enough, ..Raw::default() };
    let end = within(play(config).await.run(&mut raw, clock())).await;
    (raw, end)
}

/// Connects to a camera that answers the first request with `bytes` and then closes or waits.
async fn first_answer(bytes: impl Into<Vec<u8>>, close: bool) -> ClientError {
    let bytes = bytes.into();
    let addr = camera(async move |mut peer: Peer| {
        peer.request().await;
        peer.send(bytes).await;
        if !close {
            peer.wait_for_close().await;
        }
    })
    .await;
    let mut config = config(addr, "/");
    config.timeout = Duration::from_secs(if close { 20 } else { 1 });
    connect(&config).await.unwrap_err()
}

/// Connects to a camera that answers `DESCRIBE` with `bytes`.
async fn describe_answer(bytes: impl Into<Vec<u8>>) -> ClientError {
    let bytes = bytes.into();
    let addr = camera(async move |mut peer: Peer| {
        let options = peer.request().await.unwrap();
        peer.ok(&options, "", "").await;
        peer.request().await;
        peer.send(bytes).await;
        peer.wait_for_close().await;
    })
    .await;
    connect(&config(addr, "/")).await.unwrap_err()
}

fn description(sdp: &str) -> String {
    format!("RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len())
}

#[tokio::test]
async fn garbage_is_a_protocol_error_or_takes_no_longer_than_the_limit() {
    let garbage: Vec<u8> = (0..2_000u32).map(|n| (n * 7 % 251).to_le_bytes()[0]).collect();
    let error = first_answer(garbage.clone(), true).await;
    assert!(matches!(error, ClientError::Protocol { step: Step::Options, .. }), "{error:?}");
    let error = first_answer("HTTP/1.1 400 Bad Request\r\n\r\n<html>", true).await;
    assert!(matches!(error, ClientError::Protocol { step: Step::Options, .. }), "{error:?}");
    let error = first_answer(garbage, false).await;
    assert!(matches!(error, ClientError::TimedOut(Step::Options)), "{error:?}");
    let error = first_answer(vec![0xff; 2_000_000], false).await;
    assert!(matches!(error, ClientError::Protocol { step: Step::Options, .. }), "{error:?}");
}

#[tokio::test]
async fn silence_and_a_closed_door_are_told_apart() {
    let error = first_answer("", true).await;
    assert!(matches!(error, ClientError::Ended { step: Step::Options, .. }), "{error:?}");
    let error = first_answer("", false).await;
    assert!(matches!(error, ClientError::TimedOut(Step::Options)), "{error:?}");
    let error = first_answer("RTSP/1.0 200 OK\r\nCSeq: 1\r\n", true).await;
    assert!(matches!(error, ClientError::Ended { step: Step::Options, .. }), "{error:?}");
}

#[tokio::test]
async fn oversized_headers_and_bodies_are_refused_before_they_are_read() {
    for text in [
        format!("RTSP/1.0 200 OK\r\nX: {}\r\n\r\n", "x".repeat(40_000)),
        "RTSP/1.0 200 OK\r\n".to_owned() + &"X: y\r\n".repeat(10_000),
        "RTSP/1.0 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n".to_owned(),
        "RTSP/1.0 200 OK\r\nContent-Length: 1000000\r\n\r\n".to_owned(),
        "RTSP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n".to_owned(),
    ] {
        let error = describe_answer(text.clone()).await;
        assert!(matches!(error, ClientError::Protocol { step: Step::Describe, .. }), "{error:?}: {text:.60}");
    }
}

/// A body that is announced within bounds and never ends does not hold the client.
#[tokio::test]
async fn an_endless_stream_of_headers_or_body_ends() {
    let addr = camera(async |mut peer: Peer| {
        peer.request().await;
        peer.send("RTSP/1.0 200 OK\r\nContent-Length: 200000\r\n\r\n").await;
        peer.send("not all of it").await;
        peer.wait_for_close().await;
    })
    .await;
    let mut config = config(addr, "/");
    config.timeout = Duration::from_millis(500);
    let error = connect(&config).await.unwrap_err();
    assert!(matches!(error, ClientError::TimedOut(Step::Options)), "{error:?}");
}

#[tokio::test]
async fn an_unusable_description_says_what_was_offered() {
    let error = describe_answer(description("\0\u{1}\u{2} garbage")).await;
    assert!(matches!(error, ClientError::Protocol { step: Step::Describe, .. }), "{error:?}");
    let error = describe_answer(description("v=0\r\ns=nothing\r\n")).await;
    assert!(matches!(&error, ClientError::NoUsableTrack(offered) if offered.is_empty()), "{error:?}");
    let sdp = "v=0\r\ns=-\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\na=control:1\r\n";
    let error = describe_answer(description(sdp)).await;
    assert!(error.to_string().contains("VP8"), "{error}");
}

#[tokio::test]
async fn refusals_redirections_and_logins_are_told_apart() {
    let error = describe_answer("RTSP/1.0 404 Stream Not Found\r\nCSeq: 2\r\n\r\n").await;
    assert!(matches!(error, ClientError::Refused { status: 404, step: Step::Describe, .. }), "{error:?}");
    let error = describe_answer("RTSP/1.0 453\r\nCSeq: 2\r\n\r\n").await;
    assert!(matches!(error, ClientError::Refused { status: 453, .. }), "{error:?}");
    let error = describe_answer("RTSP/1.0 302 Moved\r\nLocation: rtsp://evil/\r\n\r\n").await;
    assert!(
        matches!(&error, ClientError::Redirected { location } if location == "rtsp://evil/"),
        "{error:?}"
    );
    let error =
        describe_answer("RTSP/1.0 401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"x\"\r\n\r\n").await;
    assert!(matches!(error, ClientError::Unauthorized(_)), "{error:?}");
}

/// A camera that counts failures locks the account: a wrong password is sent once.
#[tokio::test]
async fn a_wrong_password_is_sent_once_and_a_stale_nonce_answered_anew() {
    let (seen, logins) = oneshot::channel();
    let addr = camera(async move |mut peer: Peer| {
        let mut logins = vec![];
        for (nonce, stale) in [("a", ""), ("b", ", stale=true"), ("c", "")] {
            let request = peer.request().await.unwrap();
            logins.push(request.header("Authorization").to_owned());
            let challenge = format!("Digest realm=\"r\", nonce=\"{nonce}\"{stale}");
            peer.send(format!("RTSP/1.0 401 No\r\nWWW-Authenticate: {challenge}\r\n\r\n")).await;
        }
        assert!(peer.request().await.is_none(), "no third attempt");
        seen.send(logins).unwrap();
    })
    .await;
    let mut config = config(addr, "/");
    config.user = Some("u".to_owned());
    config.password = Some("p".into());
    assert!(matches!(connect(&config).await, Err(ClientError::Unauthorized(_))));
    let logins = logins.await.unwrap();
    assert_eq!(logins[0], "");
    assert!(logins[1].contains("nonce=\"a\"") && logins[2].contains("nonce=\"b\""), "{logins:?}");
}

/// What cameras do wrong without harm: OPTIONS refused, no CSeq or a wrong one, interim answers, bare line feeds, no
/// reason phrase, no Session or Transport header, requests of their own, media before the answer to PLAY.
#[tokio::test]
async fn a_sloppy_camera_is_put_up_with() {
    let packets: Vec<_> = (0..3).map(|n| rtp(n, 100, &[0x65, 1, 2, 3])).collect();
    let sent = packets.clone();
    let addr = camera(async move |mut peer: Peer| {
        peer.request().await;
        peer.send("RTSP/1.0 501\nCSeq: 99\n\n").await;
        peer.request().await;
        let body = SDP.replace('\r', "");
        peer.send("OPTIONS * RTSP/1.0\r\nCSeq: 7\r\n\r\nRTSP/1.0 100 Continue\r\n\r\n").await;
        peer.send(format!("\r\n\r\nRTSP/1.0 200\ncontent-length:{}\n\n{body}", body.len())).await;
        let answer = peer.request().await.unwrap();
        assert_eq!(answer.text, "RTSP/1.0 200 OK\r\nCSeq: 7\r\n\r\n");
        let setup = peer.request().await.unwrap();
        assert!(setup.text.starts_with("SETUP "), "{setup:?}");
        peer.send("RTSP/1.0 200 OK\r\n\r\n").await;
        let play = peer.request().await.unwrap();
        assert_eq!((play.method(), play.header("Range")), ("PLAY", "npt=0.000-"));
        peer.send(interleaved(0, &sent[0])).await;
        peer.send(
            [&interleaved(0, &sent[1])[..], b"RTSP/1.0 200 OK\r\n\r\n", &interleaved(0, &sent[2])].concat(),
        )
        .await;
        peer.wait_for_close().await;
    })
    .await;
    let (raw, end) = receive(&config(addr, "/live"), Some(3)).await;
    assert!(matches!(end.reason, EndReason::Stopped), "{end:?}");
    assert_eq!(raw.packets, packets);
}

#[tokio::test]
async fn other_channels_than_asked_for_are_used() {
    let addr = camera(async |mut peer: Peer| {
        let mut setups = 0;
        loop {
            let request = peer.request().await.unwrap();
            match request.method() {
                "DESCRIBE" => peer.ok(&request, "", SDP).await,
                "SETUP" => {
                    setups += 1;
                    assert_eq!(request.header("Transport"), "RTP/AVP/TCP;unicast;interleaved=0-1");
                    peer.ok(&request, "Session: 1\r\nTransport: RTP/AVP/TCP;interleaved=6-7\r\n", "").await;
                }
                "PLAY" => break peer.ok(&request, "", "").await,
                _ => peer.ok(&request, "", "").await,
            }
        }
        assert_eq!(setups, 1);
        peer.send([interleaved(0, &rtp(1, 1, &[0x65])), interleaved(6, &rtp(2, 1, &[0x65]))].concat()).await;
        peer.wait_for_close().await;
    })
    .await;
    let (raw, end) = receive(&config(addr, "/"), Some(1)).await;
    assert_eq!(raw.packets, [rtp(2, 1, &[0x65])]);
    assert_eq!(end.counters.unassigned_frames, 1);
}

#[tokio::test]
async fn a_camera_that_insists_on_udp_is_refused() {
    let addr = camera(async |mut peer: Peer| {
        while let Some(request) = peer.request().await {
            match request.method() {
                "DESCRIBE" => peer.ok(&request, "", SDP).await,
                _ => peer.ok(&request, "Transport: RTP/AVP;unicast;client_port=0-1\r\n", "").await,
            }
        }
    })
    .await;
    let error = connect(&config(addr, "/")).await.unwrap().play(&[0]).await.unwrap_err();
    assert!(matches!(error, ClientError::TransportRefused { .. }), "{error:?}");
}

#[tokio::test]
async fn a_connection_closed_within_a_frame_keeps_what_was_whole() {
    let addr = camera(async |mut peer: Peer| {
        let play = peer.until_play(SDP).await;
        peer.ok(&play, "", "").await;
        let frames =
            [interleaved(0, &rtp(1, 1, &[0x65; 50])), interleaved(0, &rtp(2, 2, &[0x41; 50]))].concat();
        peer.send(&frames[..frames.len() - 20]).await;
    })
    .await;
    let (raw, end) = receive(&config(addr, "/"), None).await;
    assert!(matches!(end.reason, EndReason::EndedByServer), "{end:?}");
    assert_eq!(raw.packets, [rtp(1, 1, &[0x65; 50])]);
}

#[tokio::test]
async fn garbage_between_frames_is_skipped_and_counted() {
    let addr = camera(async |mut peer: Peer| {
        let play = peer.until_play(SDP).await;
        peer.ok(&play, "", "").await;
        let junk = [0u8; 37];
        let bytes = [
            &interleaved(0, &rtp(1, 1, &[0x65; 50]))[..],
            &junk,
            &interleaved(0, &rtp(2, 2, &[0x41; 50])),
            &interleaved(0, &rtp(3, 3, &[0x41; 50])),
        ];
        peer.send(bytes.concat()).await;
        peer.wait_for_close().await;
    })
    .await;
    let (raw, end) = receive(&config(addr, "/"), Some(3)).await;
    assert_eq!(raw.packets.len(), 3);
    assert_eq!((end.counters.resynchronisations, end.counters.skipped_bytes), (1, 37));
}

#[tokio::test]
async fn a_stream_that_turns_into_garbage_ends_the_session() {
    let addr = camera(async |mut peer: Peer| {
        let play = peer.until_play(SDP).await;
        peer.ok(&play, "", "").await;
        peer.send(vec![0u8; 3_000_000]).await;
        peer.wait_for_close().await;
    })
    .await;
    let (_, end) = receive(&config(addr, "/"), None).await;
    assert!(matches!(end.reason, EndReason::Protocol(_)), "{end:?}");
}

/// retina#136, and others: whatever becomes of keepalives, flowing media are a living session.
#[tokio::test]
async fn no_answer_to_a_keepalive_ends_a_session_that_delivers() {
    let addr = camera(async |mut peer: Peer| {
        let play = peer.until_play(SDP).await;
        peer.ok(&play, "", "").await;
        let answers = [
            "RTSP/1.0 400 Bad Request\r\nCSeq: 1\r\n\r\n",
            "RTSP/1.0 454 Session Not Found\r\nCSeq: 4711\r\n\r\n",
            "RTSP/1.0 200 OK\r\n\r\n",
            "",
            "RTSP/1.0 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\r\n",
            "NONSENSE RTSP/1.0\r\n\r\n",
        ];
        for (number, answer) in answers.into_iter().enumerate() {
            let keepalive = peer.request().await.unwrap();
            let expected = if number == 0 { "GET_PARAMETER" } else { "OPTIONS" };
            assert_eq!(keepalive.method(), expected, "{keepalive:?}");
            assert_eq!(keepalive.header("Session"), "12345678");
            peer.send(answer).await;
            peer.send(interleaved(0, &rtp(u16::try_from(number).unwrap(), 1, &[0x65]))).await;
        }
        // The answer to the nonsense request stands before the farewell.
        assert!(peer.request().await.unwrap().text.starts_with("RTSP/1.0 501"));
        peer.wait_for_close().await;
    })
    .await;
    let mut config = config(addr, "/");
    config.keepalive_interval = Some(Duration::from_millis(20));
    let (raw, end) = receive(&config, Some(6)).await;
    assert!(matches!(end.reason, EndReason::Stopped), "{end:?}");
    assert_eq!(raw.packets.len(), 6);
    assert_eq!(end.counters.keepalives_refused, 3);
    assert!(end.counters.keepalives_sent >= 6);
}

#[tokio::test]
async fn the_end_is_told_to_the_camera_and_not_waited_for_long() {
    for answers in [true, false] {
        let (seen, farewell) = oneshot::channel();
        let addr = camera(async move |mut peer: Peer| {
            let play = peer.until_play(SDP).await;
            peer.ok(&play, "", "").await;
            peer.send(interleaved(0, &rtp(1, 1, &[0x65]))).await;
            let request = peer.request().await.unwrap();
            if answers {
                peer.ok(&request, "", "").await;
            }
            seen.send(request).unwrap();
            peer.wait_for_close().await;
        })
        .await;
        let (_, end) = receive(&config(addr, "/live"), Some(1)).await;
        assert!(matches!(end.reason, EndReason::Stopped), "{end:?}");
        let farewell = farewell.await.unwrap();
        assert_eq!((farewell.method(), farewell.header("Session")), ("TEARDOWN", "12345678"));
    }
}

/// A nonce that grew old during the session: the camera would count the session until it times out.
#[tokio::test]
async fn a_farewell_that_is_refused_for_want_of_a_login_is_said_once_more() {
    let (seen, farewell) = oneshot::channel();
    let addr = camera(async move |mut peer: Peer| {
        let play = peer.until_play(SDP).await;
        peer.ok(&play, "", "").await;
        peer.send(interleaved(0, &rtp(1, 1, &[0x65]))).await;
        let mut requests = vec![];
        while let Some(request) = peer.request().await {
            let cseq = request.header("CSeq");
            let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"";
            peer.send(format!("RTSP/1.0 401 Unauthorized\r\nCSeq: {cseq}\r\n{challenge}\r\n\r\n")).await;
            requests.push((request.method().to_owned(), request.header("Authorization").contains("nonce")));
        }
        seen.send(requests).unwrap();
    })
    .await;
    let mut config = config(addr, "/live");
    config.user = Some("operator".to_owned());
    let (_, end) = receive(&config, Some(1)).await;
    assert!(matches!(end.reason, EndReason::Stopped), "{end:?}");
    let teardown = "TEARDOWN".to_owned();
    assert_eq!(farewell.await.unwrap(), [(teardown.clone(), false), (teardown, true)]);
}

#[tokio::test]
async fn a_dropped_session_says_goodbye_and_closes() {
    let (seen, farewell) = oneshot::channel();
    let addr = camera(async move |mut peer: Peer| {
        let play = peer.until_play(SDP).await;
        peer.ok(&play, "", "").await;
        let last = peer.request().await;
        assert!(peer.request().await.is_none());
        seen.send(last.unwrap()).unwrap();
    })
    .await;
    let session = play(&config(addr, "/live")).await;
    let running = tokio::spawn(async move {
        let mut raw = Raw::default();
        session.run(&mut raw, clock()).await
    });
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    assert_eq!(farewell.await.unwrap().method(), "TEARDOWN");
}

#[tokio::test]
async fn a_teardown_by_the_camera_ends_the_session() {
    let addr = camera(async |mut peer: Peer| {
        let play = peer.until_play(SDP).await;
        peer.ok(&play, "", "").await;
        peer.send("TEARDOWN rtsp://camera/ RTSP/1.0\r\nCSeq: 1\r\n\r\n").await;
        assert!(peer.request().await.unwrap().text.starts_with("RTSP/1.0 200"));
        peer.wait_for_close().await;
    })
    .await;
    let (_, end) = receive(&config(addr, "/"), None).await;
    assert!(matches!(end.reason, EndReason::EndedByServer), "{end:?}");
}
