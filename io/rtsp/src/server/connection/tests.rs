//! How long a client is held for living.

use std::time::Duration;

use bytes::Bytes;
use keepwatch_media::replay::{PlayRequest, RateControl};
use keepwatch_model::{CodecKind, TrackConfig, WallTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;

use keepwatch_media::rtsp::Method;

use super::*;
use crate::Secret;
use crate::server::{Media, NextMedia, OpenRequest, PlayAnswer, PlayError, Refusal, Source};

/// Enough for a report every tenth of it to come in time on a busy machine.
const IDLE: Duration = Duration::from_secs(2);

/// A sample of sound every 20 ms under every path; under `/recorded` only five, of footage.
#[derive(Default)]
struct Hum {
    needs_login: bool,
    /// How many are left of footage.
    left: Option<u32>,
    /// Bytes of a sample, of which footage then has a hundred without a wait; 0: as usual.
    sample_bytes: usize,
}

impl Service for Hum {
    fn password(&self, user: &str) -> Option<Secret> {
        (user == "guest").then(|| "guest".into())
    }

    fn needs_login(&self) -> bool {
        self.needs_login
    }

    fn open(&self, request: &OpenRequest<'_>) -> Result<Box<dyn Source>, Refusal> {
        let count = if self.sample_bytes == 0 { 5 } else { 101 };
        let left = (request.path == "/recorded").then_some(count);
        Ok(Box::new(Self { left, sample_bytes: self.sample_bytes, ..Self::default() }))
    }
}

impl Source for Hum {
    fn tracks(&self) -> Vec<TrackConfig> {
        vec![TrackConfig { kind: CodecKind::Pcmu, clock_rate: 8_000, channels: 1, config: vec![] }]
    }

    fn delivery(&self) -> Delivery {
        if self.is_recorded() { Delivery::Complete } else { Delivery::Live }
    }

    fn play(&mut self, request: &PlayRequest) -> Result<PlayAnswer, PlayError> {
        Ok(PlayAnswer { rate_control: RateControl::Free, ..PlayAnswer::granted(request) })
    }

    fn next(&mut self) -> NextMedia<'_> {
        Box::pin(async {
            if self.sample_bytes == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            if let Some(left) = &mut self.left {
                *left = left.checked_sub(1)?;
            }
            Some(Media {
                track: 0,
                timestamp: 0,
                capture: WallTime::default(),
                key: true,
                data: vec![0; self.sample_bytes.max(160)].into(),
                prefix: Bytes::new(),
                lost_packets: 0,
                mark: None,
            })
        })
    }
}

impl Hum {
    fn is_recorded(&self) -> bool {
        self.left.is_some()
    }
}

/// A client, and the task that serves it with a short patience.
async fn served() -> (TcpStream, JoinHandle<End>) {
    let (client, mut connection) = connected(Hum::default(), None).await;
    (client, tokio::spawn(async move { connection.run().await }))
}

/// A client, and its connection.
async fn connected(hum: Hum, stranger: Option<Stranger>) -> (TcpStream, Connection) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, peer) = listener.accept().await.unwrap();
    let books = Books::default();
    let mut connection = Connection::new(stream, peer, None, Arc::new(hum), books, stranger).unwrap();
    connection.idle_max = IDLE;
    (client, connection)
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

/// ONVIF has a session stand when its footage ends, so that a client may seek; one that does not must not hold it for
/// ever.
#[tokio::test]
async fn a_client_whose_footage_ended_is_given_its_time_and_no_more() {
    let (mut client, task) = served().await;
    for request in
        ["SETUP rtsp://h/recorded RTSP/1.0\r\nTransport: RTP/AVP/TCP", "PLAY rtsp://h/recorded RTSP/1.0"]
    {
        client.write_all(format!("{request}\r\nCSeq: 1\r\n\r\n").as_bytes()).await.unwrap();
    }
    let begun = Instant::now();
    let mut bytes = Vec::new();
    let both = async { tokio::join!(client.read_to_end(&mut bytes), task) };
    let (read, end) = tokio::time::timeout(IDLE * 10, both).await.unwrap();
    assert!(matches!(end.unwrap(), End::Idle), "{read:?}");
    // The time counts from the end of the footage, which took a tenth of a second.
    assert!(begun.elapsed() >= IDLE, "{:?}", begun.elapsed());
    assert!(bytes.windows(4).filter(|frame| frame.starts_with(&[b'$', 0])).count() >= 5);
}

/// tcp(7): the user timeout counts for data that wait for a window too, so that it ends a client that does not read.
#[tokio::test]
async fn a_client_of_footage_may_take_its_time_to_read_and_one_of_live_media_may_not() {
    let message = |method: &str, path: &str| {
        let text = format!("{method} rtsp://h{path} RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/AVP/TCP\r\n\r\n");
        let mut at = 0;
        match Framer::new().next(text.as_bytes(), &mut at) {
            Ok(Some(Frame::Text(message))) => message,
            other => panic!("{other:?}"),
        }
    };
    let (_client, mut connection) = connected(Hum::default(), None).await;
    for (method, path, longest_s) in [
        ("OPTIONS", "/recorded", 20),
        ("SETUP", "/recorded", 300),
        ("TEARDOWN", "/recorded", 20),
        ("SETUP", "/live", 20),
    ] {
        connection.answer(message(method, path)).await;
        let longest = socket2::SockRef::from(connection.stream.socket()).tcp_user_timeout().unwrap();
        assert_eq!(longest, Some(Duration::from_secs(longest_s)), "{method} {path}");
    }
}

/// RFC 2326 §12.37: the timeout that the client was told. It is not for who reads slowly, nor for who says that it lives.
#[tokio::test]
async fn a_client_of_footage_that_neither_reads_nor_speaks_is_given_its_time_and_no_more() {
    for speaks in [false, true] {
        let hum = Hum { sample_bytes: 1 << 20, ..Hum::default() };
        let (mut client, mut connection) = connected(hum, None).await;
        let mut task = tokio::spawn(async move { connection.run().await });
        for request in
            ["SETUP rtsp://h/recorded RTSP/1.0\r\nTransport: RTP/AVP/TCP", "PLAY rtsp://h/recorded RTSP/1.0"]
        {
            client.write_all(format!("{request}\r\nCSeq: 1\r\n\r\n").as_bytes()).await.unwrap();
        }
        let begun = Instant::now();
        while begun.elapsed() < IDLE * 2 && !task.is_finished() {
            if speaks {
                client.write_all(b"OPTIONS rtsp://h/recorded RTSP/1.0\r\nCSeq: 2\r\n\r\n").await.unwrap();
            }
            let _ = tokio::time::timeout(IDLE / 8, &mut task).await;
        }
        assert_eq!(task.is_finished(), !speaks);
        // It goes on where it is read again; a client that was given up hears the end.
        let mut read = 0;
        let mut bytes = vec![0; 1 << 16];
        let all = 100 << 20;
        while read < all
            && let Ok(more @ 1..) = client.read(&mut bytes).await
        {
            read += more;
        }
        assert_eq!(read >= all, speaks, "{read}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_log_in_is_not_kept_by_what_it_says() {
    let stranger = || Books::default().admit([127, 0, 0, 1].into());
    let hum = || Hum { needs_login: true, ..Hum::default() };
    let (mut client, mut connection) = connected(hum(), stranger()).await;
    let mut task = tokio::spawn(async move { connection.run().await });
    let begun = Instant::now();
    let end = loop {
        let _ = client.write_all(b"OPTIONS rtsp://h/a RTSP/1.0\r\nCSeq: 1\r\n\r\n").await;
        if let Ok(end) = tokio::time::timeout(IDLE / 8, &mut task).await {
            break end.unwrap();
        }
        assert!(begun.elapsed() < IDLE * 3);
    };
    assert!(matches!(end, End::Idle), "{end}");
    // Who logs in is kept as long as he says something.
    let (mut client, mut connection) = connected(hum(), stranger()).await;
    let mut task = tokio::spawn(async move { connection.run().await });
    let begun = Instant::now();
    while begun.elapsed() < IDLE * 2 {
        // guest:guest
        ask(&mut client, "GET_PARAMETER", "Authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n").await;
        assert!(tokio::time::timeout(IDLE / 8, &mut task).await.is_err(), "it is kept");
    }
}

#[tokio::test]
async fn who_guesses_is_told_to_wait_and_another_user_is_not() {
    let books = Books::default();
    let service = Hum { needs_login: true, ..Hum::default() };
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let describe = async |credentials: &str, now| {
        let ends = Ends { peer: loopback, local: loopback, secure: true };
        let request = Request::new(Method::Describe, "rtsp://h/a", 1)
            .header("Authorization", format!("Basic {credentials}"));
        let outcome = Conversation::new(ends, books.clone()).handle(now, &request, &service).await;
        outcome.response.map(|response| response.status)
    };
    let (wrong, right, other) = ("Z3Vlc3Q6d3Jvbmc=", "Z3Vlc3Q6Z3Vlc3Q=", "YWRtaW46d3Jvbmc=");
    let now = Instant::now();
    let mut told = Vec::new();
    for _ in 0..12 {
        told.extend(describe(wrong, now).await);
    }
    assert_eq!(told, [[401; 10].as_slice(), &[503; 2]].concat());
    assert_eq!(describe(right, now).await, Some(503), "guessing would go on otherwise");
    assert_eq!(describe(other, now).await, Some(401));
    assert_eq!(describe(right, now + Duration::from_secs(1)).await, Some(200));
    assert_eq!(describe(wrong, now + Duration::from_secs(1)).await, Some(401));
}
