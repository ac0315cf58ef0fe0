//! How long a client is held for living.

use std::time::Duration;

use bytes::Bytes;
use keepwatch_model::{CodecKind, TrackConfig, WallTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;

use super::*;
use crate::Secret;
use crate::server::{Media, NextMedia, OpenRequest, Refusal, Source};

/// Enough for a report every tenth of it to come in time on a busy machine.
const IDLE: Duration = Duration::from_secs(2);

/// A sample of sound every 20 ms under every path.
struct Hum;

impl Service for Hum {
    fn password(&self, _user: &str) -> Option<Secret> {
        None
    }

    fn needs_login(&self) -> bool {
        false
    }

    fn open(&self, _request: &OpenRequest<'_>) -> Result<Box<dyn Source>, Refusal> {
        Ok(Box::new(Self))
    }
}

impl Source for Hum {
    fn tracks(&self) -> Vec<TrackConfig> {
        vec![TrackConfig { kind: CodecKind::Pcmu, clock_rate: 8_000, channels: 1, config: vec![] }]
    }

    fn next(&mut self) -> NextMedia<'_> {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Some(Media {
                track: 0,
                timestamp: 0,
                capture: WallTime::default(),
                key: true,
                data: Bytes::from_static(&[0; 160]),
                prefix: Bytes::new(),
                lost_packets: 0,
                mark: None,
            })
        })
    }
}

/// A client, and the task that serves it with a short patience.
async fn served() -> (TcpStream, JoinHandle<End>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, peer) = listener.accept().await.unwrap();
    let mut connection = Connection::new(stream, peer, None, Arc::new(Hum), Tally::default()).unwrap();
    connection.idle_max = IDLE;
    (client, tokio::spawn(async move { connection.run().await }))
}

/// Sends a request and waits for its whole answer, which has no body.
async fn ask(client: &mut TcpStream, method: &str, headers: &str) -> String {
    let request = format!("{method} rtsp://h/a RTSP/1.0\r\nCSeq: 1\r\n{headers}\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(client.read_u8().await.unwrap());
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("RTSP/1.0 200"), "{answer}");
    answer
}

#[tokio::test]
async fn over_udp_a_session_lives_as_long_as_reports_come() {
    let (mut client, task) = served().await;
    let (rtp, rtcp) =
        (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let ports = format!("{}-{}", rtp.local_addr().unwrap().port(), rtcp.local_addr().unwrap().port());
    let answer = ask(&mut client, "SETUP", &format!("Transport: RTP/AVP;client_port={ports}\r\n")).await;
    ask(&mut client, "PLAY", "").await;
    let (_, port) = answer.split_once("server_port=").unwrap();
    let port: u16 = port.split_once('-').unwrap().0.parse().unwrap();
    let begun = Instant::now();
    while begun.elapsed() < IDLE * 2 {
        rtcp.send_to(&[0x80, 201, 0, 1, 0, 0, 0, 7], ("127.0.0.1", port + 1)).await.unwrap();
        // Media clock the reports: ten of them are 200 ms.
        for _ in 0..10 {
            rtp.recv(&mut [0; 500]).await.unwrap();
        }
    }
    assert!(!task.is_finished());
    let silent = Instant::now();
    assert!(matches!(task.await.unwrap(), End::Idle));
    assert!(silent.elapsed() >= IDLE / 2, "{:?}", silent.elapsed());
}

#[tokio::test]
async fn over_the_connection_a_playing_client_may_be_silent_and_a_paused_one_not() {
    let (mut client, task) = served().await;
    ask(&mut client, "SETUP", "Transport: RTP/AVP/TCP;interleaved=0-1\r\n").await;
    ask(&mut client, "PLAY", "").await;
    let begun = Instant::now();
    while begun.elapsed() < IDLE * 3 / 2 {
        client.read_u8().await.unwrap();
    }
    assert!(!task.is_finished());
    client.write_all(b"PAUSE rtsp://h/a RTSP/1.0\r\nCSeq: 1\r\n\r\n").await.unwrap();
    assert!(matches!(task.await.unwrap(), End::Idle));
}
