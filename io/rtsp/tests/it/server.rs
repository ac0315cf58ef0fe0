//! The server against clients that do not keep to the script: raw requests, raw answers.

use std::sync::Arc;

use tokio::io::AsyncWriteExt;

use crate::fixture::{Running, Studio, serve};
use crate::hand::Hand;

/// A client of the studio's path.
async fn hand_of(server: &Running) -> Hand {
    Hand::at(server.addr, "/live/main").await
}

const TCP: &str = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n";

#[tokio::test]
async fn each_request_out_of_place_has_its_own_refusal() {
    let server = serve("::1", Arc::new(Studio::new(3))).await;
    let mut hand = hand_of(&server).await;
    for (method, suffix, headers, status) in [
        ("OPTIONS", "", "", 200),
        ("PLAY", "", "", 455),
        ("TEARDOWN", "", "", 454),
        ("PAUSE", "", "", 454),
        ("RECORD", "", "", 405),
        ("FETCH", "", "", 501),
        ("DESCRIBE", "/nothing", "", 404),
        ("DESCRIBE", "", "Require: onvif-replay\r\n", 551),
        ("GET_PARAMETER", "", "", 200),
        ("GET_PARAMETER", "", "Session: stranger\r\n", 454),
        ("SETUP", "", TCP, 459),
        ("SETUP", "/trackID=3", TCP, 404),
        ("SETUP", "/trackID=0", "", 461),
        ("SETUP", "/trackID=0", "Transport: RTP/AVP;unicast\r\n", 461),
        ("SETUP", "/trackID=0", "Transport: RTP/AVP;unicast;client_port=0-1\r\n", 461),
        ("SETUP", "/trackID=0", "Transport: RTP/AVP;unicast;client_port=9-9\r\n", 461),
        ("SETUP", "/trackID=0", "Require: onvif-replay\r\nTransport: RTP/AVP/TCP\r\n", 551),
        ("SETUP", "/trackID=0", "Transport: RTP/AVP;multicast\r\n", 461),
        ("SETUP", "/trackID=0", "Transport: RTP/AVP/TCP;interleaved=3-3\r\n", 461),
        (
            "SETUP",
            "/trackID=0",
            "Transport: RTP/AVP;multicast;client_port=1-2,RTP/AVP/TCP;interleaved=0-1\r\n",
            200,
        ),
        ("SETUP", "/trackID=1", TCP, 461),
        ("SETUP", "/trackID=1", "Transport: RTP/AVP;unicast;client_port=5000-5001\r\n", 461),
        ("PAUSE", "", "", 455),
        ("DESCRIBE", "", "", 455),
        ("PLAY", "", "Session: stranger\r\n", 454),
    ] {
        let response = hand.ask(method, suffix, headers).await;
        assert_eq!(response.status, status, "{method} {suffix} {headers}");
    }
    let response = hand.ask("SETUP", "/trackID=2", "Transport: RTP/AVP/TCP\r\n").await;
    assert!(response.headers.first("Transport").unwrap().contains("interleaved=2-3"), "the next free ones");
    let session = format!("Session: {}\r\n", response.headers.first("Session").unwrap());
    assert_eq!(hand.ask("PLAY", "", &session).await.status, 200);
    assert_eq!(hand.ask("PLAY", "", &session).await.status, 200, "again, as a keepalive");
    assert_eq!(hand.ask("SETUP", "/trackID=1", TCP).await.status, 455);
    assert_eq!(hand.ask("SET_PARAMETER", "", &session).await.status, 200);
    hand.send([b"$", &[1u8, 0, 4][..], &[0x80, 201, 0, 0]].concat()).await;
    assert_eq!(hand.ask("TEARDOWN", "", &session).await.status, 200);
    assert!(!hand.passed.is_empty());
    assert_eq!(hand.ask("PLAY", "", &session).await.status, 454);
    // The connection is as good as new.
    assert_eq!(hand.ask("DESCRIBE", "", "").await.status, 200);
    assert_eq!(hand.ask("SETUP", "/trackID=0", TCP).await.status, 200);
    assert_eq!(hand.ask("PLAY", "", "").await.status, 200);
}

#[tokio::test]
async fn a_session_belongs_to_its_connection() {
    let server = serve("::1", Arc::new(Studio::new(1))).await;
    let (mut owner, mut thief) = (hand_of(&server).await, hand_of(&server).await);
    let response = owner.ask("SETUP", "/trackID=0", TCP).await;
    let session = format!("Session: {}\r\n", response.headers.first("Session").unwrap());
    for method in ["PLAY", "TEARDOWN", "GET_PARAMETER"] {
        assert_eq!(thief.ask(method, "", &session).await.status, 454);
    }
    assert_eq!(owner.ask("PLAY", "", &session).await.status, 200);
}

#[tokio::test]
async fn guessing_passwords_ends_the_connection() {
    let server = serve("::1", Arc::new(Studio { login: true, ..Studio::new(1) })).await;
    let mut hand = hand_of(&server).await;
    assert_eq!(hand.ask("OPTIONS", "", "").await.status, 200);
    let response = hand.ask("DESCRIBE", "", "").await;
    let schemes: Vec<_> = response.headers.all("WWW-Authenticate").collect();
    assert!(
        schemes.len() == 3
            && schemes[0].contains("SHA-256")
            && schemes[1].contains("MD5")
            && schemes[2] == "Basic realm=\"Keepwatch\"",
        "{schemes:?}"
    );
    for _ in 0..5 {
        let response = hand.ask("DESCRIBE", "", "Authorization: Basic b3BlcmF0b3I6eA==\r\n").await;
        assert_eq!(response.status, 401);
    }
    assert!(hand.answer().await.is_none());
}

#[tokio::test]
async fn what_is_not_rtsp_is_answered_or_cut_off() {
    let server = serve("::1", Arc::new(Studio::new(1))).await;
    let mut hand = hand_of(&server).await;
    hand.send("DESCRIBE\r\nRTSP/1.0 200 OK\r\n\r\nOPTIONS * RTSP/1.0\r\n\r\n").await;
    assert_eq!(hand.answer().await.unwrap().status, 200);
    for endless in [
        "OPTIONS * RTSP/1.0\r\nX: ".to_owned() + &"x".repeat(50_000),
        "SET_PARAMETER * RTSP/1.0\r\nContent-Length: 9999999\r\n\r\n".to_owned(),
        "\0".repeat(2_000_000),
    ] {
        let mut hand = hand_of(&server).await;
        hand.send(endless).await;
        assert!(hand.answer().await.is_none());
    }
    assert_eq!(hand.ask("OPTIONS", "", "").await.status, 200, "others are not affected");
}

#[tokio::test]
async fn a_client_that_asks_and_never_reads_is_not_waited_for_with_memory() {
    let server = serve("::1", Arc::new(Studio::new(1))).await;
    let mut deaf = hand_of(&server).await;
    let request = b"DESCRIBE rtsp://x/live/main RTSP/1.0\r\n\r\n".repeat(1_000);
    // The server stops reading, so at some point the socket takes no more; until then it must take all.
    let mut taken = 0;
    let stuck = std::time::Duration::from_millis(500);
    while let Ok(Ok(())) = tokio::time::timeout(stuck, deaf.stream.write_all(&request)).await {
        taken += request.len();
        assert!(taken < 200_000_000, "requests are taken without end");
    }
    assert_eq!(hand_of(&server).await.ask("OPTIONS", "", "").await.status, 200);
}

#[test]
fn the_fuzz_entry_answers() {
    let answers =
        keepwatch_rtsp::server::answer_requests(b"\0DESCRIBE rtsp://h/x RTSP/1.0\r\nCSeq: 1\r\n\r\n");
    assert!(answers.starts_with(b"RTSP/1.0 200 OK"));
    let answers =
        keepwatch_rtsp::server::answer_requests(b"\x01DESCRIBE rtsp://h/x RTSP/1.0\r\nCSeq: 1\r\n\r\n");
    assert!(answers.starts_with(b"RTSP/1.0 401"));
}
