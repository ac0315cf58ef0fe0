//! The server against clients of recorded footage and of UDP and TLS, request by request.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use keepwatch_media::replay::{ClockRange, FrameMark, PlayRequest, RateControl, Scale};
use keepwatch_media::rtcp::{RtcpPacket, packets};
use keepwatch_media::rtp::RtpPacket;
use keepwatch_media::rtsp::{Response, Transport, parse_rtp_info};
use keepwatch_model::{Flow, MonoTime, PacketHandler, TICKS_PER_SECOND, TrackConfig, WallTime};
use keepwatch_rtsp::Secret;
use keepwatch_rtsp::client::{self, Remote, connect};
use keepwatch_rtsp::server::{
    Delivery, Keepalives, Media, NextMedia, OpenRequest, PlayAnswer, PlayError, Quirks, Refusal, Server,
    Service, Source, Transports,
};
use tokio::net::UdpSocket;

use crate::fixture::{
    PASSWORD, Running, Studio, audio, clock as clock_of_tests, collect, config, identity, tracks, video,
    within,
};
use crate::hand::Hand;

/// Frames of footage; 25 a second from 2026-11-21T22:00:00Z on.
const FRAMES: u32 = 2_000;

const FIRST: &str = "2026-11-21T22:00:00Z";

/// Serves footage at `/replay` and live media at `/live`.
#[derive(Default)]
struct Vault {
    /// Media given, ever.
    given: Arc<AtomicU32>,
    quirks: Quirks,
    login: bool,
    /// Whether footage is paced whatever is asked.
    always_paced: bool,
    /// How far apart frames are in captured time, in ticks; 0: 25 a second.
    frame_ticks: i64,
}

impl Service for Vault {
    fn password(&self, user: &str) -> Option<Secret> {
        ["operator", "guest"].contains(&user).then(|| PASSWORD.into())
    }

    fn needs_login(&self) -> bool {
        self.login
    }

    fn open(&self, request: &OpenRequest<'_>) -> Result<Box<dyn Source>, Refusal> {
        match (request.path, request.user) {
            ("/replay", Some("guest")) => Err(Refusal::Forbidden),
            ("/busy", _) => Err(Refusal::Busy),
            ("/replay" | "/live", _) => Ok(Box::new(Footage {
                next: 0,
                backwards_from: None,
                live: request.path == "/live",
                always_paced: self.always_paced,
                frame_ticks: if self.frame_ticks == 0 { 3_600 } else { self.frame_ticks },
                given: self.given.clone(),
            })),
            _ => Err(Refusal::NotFound),
        }
    }

    fn quirks(&self, _path: &str) -> Quirks {
        self.quirks
    }
}

/// Video and one audio track.
struct Footage {
    /// Twice the number of the next frame, and one more for its sound.
    next: u32,
    /// Backwards, the frame that was asked for: groups of ten come in reverse order.
    backwards_from: Option<u32>,
    live: bool,
    always_paced: bool,
    frame_ticks: i64,
    given: Arc<AtomicU32>,
}

impl Footage {
    /// The frame that is next; `None` behind the last.
    fn number(&self) -> Option<u32> {
        let number = self.next / 2;
        match self.backwards_from {
            None => (number < FRAMES).then_some(number),
            Some(from) => Some((from / 10).checked_sub(number / 10)? * 10 + number % 10),
        }
    }

    fn time_of(&self, number: u32) -> WallTime {
        FIRST.parse::<WallTime>().unwrap().plus(i64::from(number) * self.frame_ticks)
    }
}

impl Source for Footage {
    fn tracks(&self) -> Vec<TrackConfig> {
        tracks()[..2].to_vec()
    }

    fn next(&mut self) -> NextMedia<'_> {
        let Some(number) = self.number() else { return Box::pin(std::future::ready(None)) };
        let media = if self.next.is_multiple_of(2) { video(number) } else { audio(1, number) };
        let time = self.time_of(number);
        let mark = FrameMark {
            time,
            clean_point: media.key,
            ends_section: false,
            discontinuity: self.backwards_from.is_some() && number.is_multiple_of(10),
            terminal: number == FRAMES - 1,
            sequence: 0,
        };
        self.next += 1;
        self.given.fetch_add(1, Ordering::Relaxed);
        let mark = (!self.live).then_some(mark);
        Box::pin(std::future::ready(Some(Media { capture: time, mark, ..media })))
    }

    fn delivery(&self) -> Delivery {
        if self.live { Delivery::Live } else { Delivery::Complete }
    }

    fn play(&mut self, request: &PlayRequest) -> Result<PlayAnswer, PlayError> {
        if self.live {
            return Ok(PlayAnswer::live(request, self.time_of(0)));
        }
        if request.scale.thousandths() < -2_000 {
            return Err(PlayError::Scale);
        }
        let mut answer = PlayAnswer::granted(request);
        if let Some(range) = request.range {
            let ticks = range.from.ticks_since(self.time_of(0));
            let number = u32::try_from(ticks / self.frame_ticks).unwrap_or(0);
            if number >= FRAMES {
                return Err(PlayError::InvalidRange);
            }
            // Every tenth frame is a key frame.
            let backwards = request.scale.is_reverse();
            self.backwards_from = backwards.then_some(number);
            self.next = if backwards { 0 } else { number / 10 * 20 };
        }
        if self.always_paced {
            answer.rate_control = RateControl::Paced;
            answer.scale = Scale::NORMAL;
        }
        Ok(answer)
    }

    fn footage(&self) -> Option<ClockRange> {
        (!self.live).then(|| ClockRange { from: self.time_of(0), to: Some(self.time_of(FRAMES)) })
    }

    fn attributes(&self, position: usize) -> Vec<String> {
        if self.live { vec![] } else { vec![format!("x-onvif-track:TRACK{position}")] }
    }
}

async fn serve(vault: Vault) -> Running {
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), Arc::new(vault)).await.unwrap();
    Running::new(server)
}

const REQUIRE: &str = "Require: onvif-replay\r\n";

/// A hand with both tracks of `/replay` set up over the connection.
async fn set_up(server: &Running) -> (Hand, String) {
    let mut hand = Hand::at(server.addr, "/replay").await;
    let mut session = String::new();
    for (track, channels) in [(0, "0-1"), (1, "2-3")] {
        let headers = format!("{REQUIRE}{session}Transport: RTP/AVP/TCP;unicast;interleaved={channels}\r\n");
        let response = hand.ask("SETUP", &format!("/trackID={track}"), &headers).await;
        assert_eq!(response.status, 200);
        session = session_header(&response);
    }
    (hand, session)
}

fn session_header(response: &Response) -> String {
    format!("Session: {}\r\n", response.headers.first("Session").unwrap())
}

/// A frame as it arrived on a channel of RTP.
struct Arrived {
    channel: u8,
    sequence: u16,
    timestamp: u32,
    mark: Option<FrameMark>,
}

/// The first packets of access units, in order, until `count` of them are there or nothing comes for a while.
async fn arrive(hand: &mut Hand, count: usize) -> Vec<Arrived> {
    let mut arrived: Vec<Arrived> = Vec::new();
    while arrived.len() < count {
        let Ok(Some((channel, data))) = tokio::time::timeout(Duration::from_secs(2), hand.frame()).await
        else {
            break;
        };
        if !channel.is_multiple_of(2) {
            continue;
        }
        arrived.extend(begins(channel, &data));
    }
    arrived
}

/// A frame that begins with this packet.
fn begins(channel: u8, data: &[u8]) -> Option<Arrived> {
    let packet = RtpPacket::parse(data).unwrap();
    packet.extension?;
    let mark = FrameMark::of(&packet);
    Some(Arrived { channel, sequence: packet.sequence, timestamp: packet.timestamp, mark })
}

fn clock(seconds: i64) -> String {
    let from = FIRST.parse::<WallTime>().unwrap().plus(seconds * TICKS_PER_SECOND);
    format!("Range: {}\r\n", ClockRange { from, to: None })
}

#[tokio::test]
async fn footage_is_described_as_footage() {
    let server = serve(Vault::default()).await;
    let mut hand = Hand::at(server.addr, "/replay").await;
    let response = hand.ask("DESCRIBE", "", REQUIRE).await;
    let text = String::from_utf8(response.body).unwrap();
    assert!(text.contains("a=range:clock=20261121T220000.000Z-20261121T220120.000Z\r\n"), "{text}");
    assert!(
        text.contains("a=x-onvif-track:TRACK0\r\n") && text.contains("a=x-onvif-track:TRACK1\r\n"),
        "{text}"
    );
    let mut hand = Hand::at(server.addr, "/live").await;
    let response = hand.ask("DESCRIBE", "", REQUIRE).await;
    assert_eq!((response.status, response.headers.first("Unsupported")), (551, Some("onvif-replay")));
    let response = hand.ask("DESCRIBE", "", "Require: onvif-replay, com.example\r\n").await;
    assert_eq!((response.status, response.headers.first("Unsupported")), (551, Some("com.example")));
    assert_eq!(Hand::at(server.addr, "/busy").await.ask("DESCRIBE", "", "").await.status, 453);
}

#[tokio::test]
async fn what_cannot_be_played_is_refused_and_playing_goes_on() {
    let server = serve(Vault::default()).await;
    let (mut hand, session) = set_up(&server).await;
    for (headers, status) in [
        ("Range: clock=20271121T220000Z-\r\n", 457),
        ("Range: clock=tomorrow-\r\n", 457),
        ("Range: clock=20261121T220030Z-20261121T220020Z\r\n", 457),
        ("Range: clock=20261121T220030Z-20261121T220040Z\r\nScale: -1.0\r\n", 457),
        ("Range: clock=20261121T220030Z-20261121T220020Z\r\nScale: -3.0\r\n", 406),
        ("Scale: fast\r\n", 400),
        ("Frames: some\r\n", 400),
        ("Require: com.example\r\n", 551),
    ] {
        let response = hand.ask("PLAY", "", &format!("{session}{headers}")).await;
        assert_eq!(response.status, status, "{headers}");
    }
    let headers = format!("{session}{}Rate-Control: no\r\n", clock(4));
    assert_eq!(hand.ask("PLAY", "", &headers).await.status, 200, "without Require, as GStreamer asks");
    let before = arrive(&mut hand, 10).await;
    assert_eq!(
        hand.ask("PLAY", "", &format!("{session}Range: clock=20271121T220000Z-\r\n")).await.status,
        457
    );
    let after = arrive(&mut hand, 10).await;
    let sequence = |arrived: &[Arrived]| arrived[0].mark.unwrap().sequence;
    assert_eq!(sequence(&before), sequence(&after));
}

#[tokio::test]
async fn the_answer_to_play_announces_what_comes_and_a_seek_goes_on_from_there() {
    let server = serve(Vault::default()).await;
    let (mut hand, session) = set_up(&server).await;
    for (play, seconds) in [30, 60, 0].into_iter().enumerate() {
        let headers = format!("{REQUIRE}{session}{}Rate-Control: no\r\nImmediate: yes\r\n", clock(seconds));
        let response = hand.ask("PLAY", "", &headers).await;
        let cseq = response.cseq().unwrap();
        let told = ClockRange::parse(response.headers.first("Range").unwrap()).unwrap();
        let info = parse_rtp_info(response.headers.first("RTP-Info").unwrap());
        assert_eq!(info.len(), 2);
        let arrived = arrive(&mut hand, 8).await;
        let video = arrived.iter().find(|arrived| arrived.channel == 0).unwrap();
        let mark = video.mark.unwrap();
        assert_eq!(Some(video.sequence), info[0].sequence);
        assert_eq!(u32::from(mark.sequence), cseq & 0xff);
        assert_eq!(mark.discontinuity, play > 0, "a seek is a discontinuity");
        assert!(mark.clean_point && mark.time <= told.from);
        let early = u32::try_from(told.from.ticks_since(mark.time)).unwrap();
        assert_eq!(video.timestamp.wrapping_add(early), info[0].timestamp.unwrap());
        let sound = arrived.iter().find(|arrived| arrived.channel == 2).unwrap();
        let early = u32::try_from(told.from.ticks_since(sound.mark.unwrap().time) * 8 / 90).unwrap();
        assert_eq!(sound.timestamp.wrapping_add(early), info[1].timestamp.unwrap());
        assert!(arrived.iter().skip(2).all(|arrived| !arrived.mark.unwrap().discontinuity));
    }
    assert_eq!(hand.ask("PAUSE", "", &session).await.status, 200);
    let paused = std::mem::take(&mut hand.passed);
    let paused = paused.iter().filter(|(channel, _)| channel.is_multiple_of(2));
    let last = paused.filter_map(|(channel, data)| begins(*channel, data)).next_back();
    let last = last.unwrap().mark.unwrap().time;
    assert_eq!(hand.ask("PLAY", "", &format!("{session}Rate-Control: no\r\n")).await.status, 200);
    let next = arrive(&mut hand, 2).await;
    assert!(next[0].mark.unwrap().time.ticks_since(last) <= 3_600 && !next[0].mark.unwrap().discontinuity);
}

/// ONVIF Streaming, "Reverse replay": written by hand as it stands on the wire. Sequence numbers follow the order of
/// sending; timestamps follow the recording where the client sets the pace, and playing where the server does.
#[tokio::test]
async fn backwards_the_wire_has_groups_in_reverse_order_and_the_clocks_that_onvif_asks_for() {
    let server = serve(Vault::default()).await;
    for free in [true, false] {
        let (mut hand, session) = set_up(&server).await;
        let pace = if free { "Rate-Control: no\r\nScale: -1.0\r\n" } else { "Scale: -2.0\r\n" };
        let range = "Range: clock=20261121T220003.960Z-20261121T220001.000Z\r\n";
        let response = hand.ask("PLAY", "", &format!("{REQUIRE}{session}{range}{pace}")).await;
        assert_eq!(response.status, 200);
        let told = response.headers.first("Range");
        assert_eq!(told, Some("clock=20261121T220003.960Z-20261121T220001.000Z"));
        assert_eq!(response.headers.first("Scale"), Some(if free { "-1.0" } else { "-2.0" }));
        let info = parse_rtp_info(response.headers.first("RTP-Info").unwrap());
        let arrived = arrive(&mut hand, 40).await;
        let video: Vec<&Arrived> = arrived.iter().filter(|arrived| arrived.channel == 0).collect();
        assert_eq!(video.len(), 20);
        for (at, video) in video.iter().enumerate() {
            let at = u32::try_from(at).unwrap();
            // Frames 90 to 99, at 3.6 s to 3.96 s, then 80 to 89.
            let number = if at < 10 { 90 + at } else { 70 + at };
            // NTP counts from 1900: 2026-11-21T22:00:00Z is 4 004 287 200 s; a frame is 40 ms.
            let mut words = (4_004_287_200 + number / 25).to_be_bytes().to_vec();
            let fraction = (u64::from(number % 25) << 32).div_ceil(25);
            words.extend(u32::try_from(fraction).unwrap().to_be_bytes());
            // C and D at the beginning of a group, nothing elsewhere; then the number of the request.
            words.push(if number.is_multiple_of(10) { 0b1010_0000 } else { 0 });
            words.push(u8::try_from(response.cseq().unwrap() & 0xff).unwrap());
            words.extend([0, 0]);
            let sent = video.mark.unwrap().to_words();
            assert_eq!(sent[..4], words[..4], "{number}");
            assert_eq!(sent[4..7], words[4..7], "{number}: to 60 ns");
            assert_eq!(sent[8..], words[8..], "{number}");
            let first = info[0].timestamp.unwrap();
            let back = (99 - number) * 3_600;
            let expected = if free { first.wrapping_sub(back) } else { first.wrapping_add(back / 2) };
            assert_eq!(video.timestamp, expected, "{number}");
        }
        let steps = video.windows(2).map(|pair| pair[1].sequence.wrapping_sub(pair[0].sequence));
        assert!(steps.into_iter().all(|step| (1..1_000).contains(&step)), "in the order of sending");
    }
}

/// RFC 2326 §12.29: an answer in the unit that was asked in.
#[tokio::test]
async fn who_asks_the_present_for_a_clock_is_told_the_time_and_nobody_else_is() {
    let server = serve(Vault::default()).await;
    for (asked, told) in [
        ("", "npt=now-"),
        ("Range: npt=0.000-\r\n", "npt=now-"),
        ("Range: clock=20260101T000000Z-20260101T000100Z\r\n", "clock=20261121T220000.000Z-"),
    ] {
        let mut hand = Hand::at(server.addr, "/live").await;
        let response = hand.ask("SETUP", "/trackID=0", "Transport: RTP/AVP/TCP;interleaved=0-1\r\n").await;
        let response = hand.ask("PLAY", "", &format!("{}{asked}", session_header(&response))).await;
        assert_eq!((response.status, response.headers.first("Range")), (200, Some(told)));
    }
}

#[tokio::test]
async fn a_slow_client_gets_every_frame_and_costs_no_memory() {
    let vault = Vault::default();
    let given = vault.given.clone();
    let server = serve(vault).await;
    let (mut hand, session) = set_up(&server).await;
    assert_eq!(hand.ask("PLAY", "", &format!("{session}{}Rate-Control: no\r\n", clock(0))).await.status, 200);
    // What fills the buffers of the kernel is given, and then nothing until the client reads.
    let mut before = given.load(Ordering::Relaxed);
    let stuck = within(async {
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let after = given.load(Ordering::Relaxed);
            if after == before {
                return after;
            }
            before = after;
        }
    })
    .await;
    assert!(stuck < FRAMES * 2, "buffers hold all of it, so this shows nothing");
    let arrived = arrive(&mut hand, usize::MAX).await;
    for channel in [0, 2] {
        let of_track: Vec<_> = arrived.iter().filter(|arrived| arrived.channel == channel).collect();
        assert_eq!(of_track.len(), usize::try_from(FRAMES).unwrap(), "channel {channel}");
        let steps = of_track.windows(2).map(|pair| pair[1].mark.unwrap().time - pair[0].mark.unwrap().time);
        assert!(steps.into_iter().all(|step| step == 3_600), "channel {channel}");
        assert!(of_track.last().unwrap().mark.unwrap().terminal);
    }
    let order: Vec<_> = arrived.iter().map(|arrived| arrived.mark.unwrap().time).collect();
    assert!(order.is_sorted(), "tracks come in the order of recording");
    // The end of footage is not the end of the session.
    assert_eq!(
        hand.ask("PLAY", "", &format!("{session}{}Rate-Control: no\r\n", clock(79))).await.status,
        200
    );
    assert!(!arrive(&mut hand, 4).await.is_empty());
}

#[tokio::test]
async fn reports_say_nothing_when_the_client_sets_the_pace_and_the_present_when_the_server_does() {
    let server = serve(Vault::default()).await;
    for (rate, zero) in [("no", true), ("yes", false)] {
        let (mut hand, session) = set_up(&server).await;
        let headers = format!("{session}{}Rate-Control: {rate}\r\n", clock(0));
        let response = hand.ask("PLAY", "", &headers).await;
        let info = parse_rtp_info(response.headers.first("RTP-Info").unwrap());
        let report = loop {
            let (channel, data) = within(hand.frame()).await.unwrap();
            if channel == 1
                && let Some(Ok(RtcpPacket::SenderReport(report))) = packets(&data).next()
            {
                break report;
            }
        };
        assert_eq!(report.ntp.to_wall().is_none(), zero, "{rate}");
        if zero {
            assert_eq!(report.rtp_timestamp, 0);
        } else {
            let since = report.rtp_timestamp.wrapping_sub(info[0].timestamp.unwrap());
            assert!(since < 9_000, "{since}");
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            let now = WallTime::from_unix_nanos(i128::try_from(now.as_nanos()).unwrap());
            assert!(now.ticks_since(report.ntp.to_wall().unwrap()) < 5 * TICKS_PER_SECOND);
        }
    }
}

#[tokio::test]
async fn the_server_keeps_the_pace_that_is_asked_for_or_its_own() {
    for (scale, always_paced, expected_ms) in
        [("1.0", false, 1_000), ("2.0", false, 500), ("8.0", true, 1_000)]
    {
        let server = serve(Vault { always_paced, ..Vault::default() }).await;
        let (mut hand, session) = set_up(&server).await;
        let headers = format!("{session}{}Scale: {scale}\r\n", clock(0));
        let response = hand.ask("PLAY", "", &headers).await;
        assert_eq!(response.headers.first("Scale"), Some(if always_paced { "1.0" } else { scale }));
        let begun = Instant::now();
        // Frame 25 of both tracks is a second of footage away from the first.
        assert_eq!(arrive(&mut hand, 52).await.len(), 52);
        let took = begun.elapsed();
        let expected = Duration::from_millis(expected_ms);
        assert!(took + Duration::from_millis(50) >= expected, "{scale}: {took:?}");
        assert!(took < expected + Duration::from_secs(5), "{scale}: {took:?}");
    }
}

#[tokio::test]
async fn a_session_is_of_its_user_too() {
    let server = serve(Vault { login: true, ..Vault::default() }).await;
    let mut hand = Hand::at(server.addr, "/live").await;
    let login = |user: &str| {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{PASSWORD}"));
        format!("Authorization: Basic {text}\r\n")
    };
    let (operator, guest) = (login("operator"), login("guest"));
    let tcp = "Transport: RTP/AVP/TCP\r\n";
    let response = hand.ask("SETUP", "/trackID=0", &format!("{operator}{tcp}")).await;
    let session = session_header(&response);
    for method in ["PLAY", "PAUSE", "SETUP", "TEARDOWN", "GET_PARAMETER"] {
        for session in [session.as_str(), ""] {
            let response = hand.ask(method, "", &format!("{guest}{session}{tcp}")).await;
            assert_eq!(response.status, 454, "{method} {session}");
        }
    }
    assert_eq!(hand.ask("PLAY", "", &format!("{operator}{session}")).await.status, 200);
    let mut hand = Hand::at(server.addr, "/replay").await;
    assert_eq!(hand.ask("DESCRIBE", "", &operator).await.status, 200);
    assert_eq!(hand.ask("DESCRIBE", "", &guest).await.status, 403, "rights are those of who asks");
    assert_eq!(hand.ask("SETUP", "/trackID=0", &format!("{guest}{tcp}")).await.status, 403);
}

#[tokio::test]
async fn quirks_spoil_keepalives_and_refuse_sessions() {
    for (keepalives, expected) in [
        (Keepalives::WrongSequence, Some((200, 1))),
        (Keepalives::BadRequest, Some((400, 0))),
        (Keepalives::Silent, None),
    ] {
        let quirks = Quirks { keepalives, refuse_session: NonZeroU16::new(2), ..Quirks::default() };
        let server = serve(Vault { quirks, ..Vault::default() }).await;
        let mut hand = Hand::at(server.addr, "/live").await;
        assert_eq!(hand.ask("OPTIONS", "", "").await.status, 200, "before there is a session all is well");
        let tcp = "Transport: RTP/AVP/TCP\r\n";
        let session = session_header(&hand.ask("SETUP", "/trackID=0", tcp).await);
        let mut second = Hand::at(server.addr, "/live").await;
        assert_eq!(second.ask("SETUP", "/trackID=0", tcp).await.status, 453);
        assert_eq!(Hand::at(server.addr, "/replay").await.ask("SETUP", "/trackID=0", tcp).await.status, 200);
        for method in ["OPTIONS", "GET_PARAMETER", "SET_PARAMETER"] {
            hand.request(method, "", &session).await;
            if let Some((status, ahead)) = expected {
                let response = hand.answer().await.unwrap();
                assert_eq!((response.status, response.cseq()), (status, Some(hand.cseq + ahead)), "{method}");
            }
        }
        assert_eq!(hand.ask("TEARDOWN", "", &session).await.status, 200, "what was not answered is not late");
        assert_eq!(second.ask("SETUP", "/trackID=0", tcp).await.status, 200, "the first has gone");
    }
}

/// Sockets of a client, on neighbouring ports or not.
async fn client_sockets(ip: &str) -> (UdpSocket, UdpSocket, String) {
    let addr = SocketAddr::new(ip.parse().unwrap(), 0);
    let (rtp, rtcp) = (UdpSocket::bind(addr).await.unwrap(), UdpSocket::bind(addr).await.unwrap());
    let ports = format!("{}-{}", rtp.local_addr().unwrap().port(), rtcp.local_addr().unwrap().port());
    (rtp, rtcp, ports)
}

#[tokio::test]
async fn udp_carries_all_frames_to_the_address_of_the_connection_only() {
    let server = serve(Vault { frame_ticks: 90, ..Vault::default() }).await;
    let mut hand = Hand::at(server.addr, "/replay").await;
    let (rtp, rtcp, ports) = client_sockets("127.0.0.1").await;
    let (stranger, _, _) = client_sockets("127.0.0.2").await;
    let transport = format!("Transport: RTP/AVP;unicast;destination=127.0.0.2;client_port={ports}\r\n");
    let response = hand.ask("SETUP", "/trackID=0", &transport).await;
    let session = session_header(&response);
    assert!(session.contains("timeout=60"), "{session}");
    let transport = Transport::parse(response.headers.first("Transport").unwrap()).unwrap();
    let server_port = transport.server_port.unwrap();
    let response = hand.ask("PLAY", "", &format!("{session}{}", clock(0))).await;
    let info = parse_rtp_info(response.headers.first("RTP-Info").unwrap());
    let mut buffer = [0; 2_000];
    let mut expected = info[0].sequence.unwrap();
    let mut frames = 0;
    while frames < 50 {
        let (length, from) = within(rtp.recv_from(&mut buffer)).await.unwrap();
        assert_eq!((from.port(), from.ip()), (server_port.0, server.addr.ip()));
        let packet = RtpPacket::parse(&buffer[..length]).unwrap();
        assert_eq!((packet.sequence, Some(packet.ssrc)), (expected, transport.ssrc));
        expected = expected.wrapping_add(1);
        frames += u32::from(packet.extension.is_some());
    }
    let (length, from) = within(rtcp.recv_from(&mut buffer)).await.unwrap();
    assert_eq!(from.port(), server_port.1);
    assert!(matches!(packets(&buffer[..length]).next(), Some(Ok(RtcpPacket::SenderReport(_)))));
    assert!(stranger.try_recv_from(&mut buffer).is_err());
    // Over the connection nothing but answers comes.
    assert_eq!(hand.ask("TEARDOWN", "", &session).await.status, 200);
    assert!(hand.passed.is_empty());
}

#[tokio::test]
async fn udp_loses_and_reorders_what_it_is_told_to() {
    let quirks =
        Quirks { udp_loss: NonZeroU16::new(10), udp_reorder: NonZeroU16::new(3), ..Quirks::default() };
    let server = serve(Vault { quirks, frame_ticks: 90, ..Vault::default() }).await;
    let mut hand = Hand::at(server.addr, "/replay").await;
    let (rtp, _rtcp, ports) = client_sockets("127.0.0.1").await;
    let transport = format!("Transport: RTP/AVP;unicast;client_port={ports}\r\n");
    let session = session_header(&hand.ask("SETUP", "/trackID=1", &transport).await);
    let response = hand.ask("PLAY", "", &format!("{session}{}", clock(0))).await;
    let first = parse_rtp_info(response.headers.first("RTP-Info").unwrap())[0].sequence.unwrap();
    let mut buffer = [0; 2_000];
    let mut numbers = Vec::new();
    while numbers.last() != Some(&30) {
        let length = within(rtp.recv(&mut buffer)).await.unwrap();
        numbers.push(RtpPacket::parse(&buffer[..length]).unwrap().sequence.wrapping_sub(first) + 1);
        assert!(numbers.len() < 40, "{numbers:?}");
        if numbers.last() == Some(&31) {
            break;
        }
    }
    assert!(!numbers.contains(&10) && !numbers.contains(&20), "{numbers:?}");
    let place = |number| numbers.iter().position(|held| *held == number).unwrap();
    assert!(place(8) > place(11) && place(8) < place(14), "{numbers:?}");
    assert!(place(6) < place(7) && place(7) < place(9), "{numbers:?}");
}

#[tokio::test]
async fn tls_carries_everything_and_no_clear_datagrams() {
    let identity = identity();
    let vault = Arc::new(Vault { login: true, ..Vault::default() });
    let server = Server::bind_tls("127.0.0.1:0".parse().unwrap(), identity.config(), vault).await.unwrap();
    let server = Running::new(server);
    let mut hand = Hand::secure(server.addr, "/replay", identity.fingerprint()).await;
    let challenge = hand.ask("DESCRIBE", "", "").await;
    assert!(challenge.headers.all("WWW-Authenticate").any(|header| header.starts_with("Basic")));
    let login = {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(format!("operator:{PASSWORD}"));
        format!("Authorization: Basic {text}\r\n")
    };
    let udp = "Transport: RTP/AVP;unicast;client_port=5000-5001\r\n";
    assert_eq!(hand.ask("SETUP", "/trackID=0", &format!("{login}{udp}")).await.status, 461);
    let tcp = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n";
    let session = session_header(&hand.ask("SETUP", "/trackID=0", &format!("{login}{tcp}")).await);
    let headers = format!("{login}{session}{}Rate-Control: no\r\n", clock(0));
    assert_eq!(hand.ask("PLAY", "", &headers).await.status, 200);
    let arrived = arrive(&mut hand, usize::MAX).await;
    assert_eq!(arrived.len(), usize::try_from(FRAMES).unwrap());
    let steps = arrived.windows(2).map(|pair| pair[1].mark.unwrap().time - pair[0].mark.unwrap().time);
    assert!(steps.into_iter().all(|step| step == 3_600));
    assert_eq!(hand.ask("TEARDOWN", "", &format!("{login}{session}")).await.status, 200);
}

#[tokio::test]
async fn a_connection_that_is_not_encrypted_where_it_must_be_is_cut() {
    let any = "127.0.0.1:0".parse().unwrap();
    let server = Server::bind_tls(any, identity().config(), Arc::new(Vault::default())).await.unwrap();
    let server = Running::new(server);
    let mut hand = Hand::at(server.addr, "/live").await;
    hand.request("OPTIONS", "", "").await;
    hand.expect_end().await;
}

/// Notes the marks of video that come.
struct Marks {
    marks: Vec<FrameMark>,
    /// Asked to play from elsewhere behind so many.
    seek: Option<(usize, PlayRequest)>,
    remote: Remote,
}

impl PacketHandler for Marks {
    fn rtp(&mut self, _now: MonoTime, track: usize, packet: &[u8]) {
        let mark = FrameMark::of(&RtpPacket::parse(packet).unwrap());
        let Some(mark) = mark.filter(|_| track == 0) else { return };
        self.marks.push(mark);
        if let Some((_, request)) = self.seek.take_if(|(behind, _)| *behind == self.marks.len()) {
            drop(self.remote.play(request));
        }
    }

    fn rtcp(&mut self, _now: MonoTime, _track: usize, _packet: &[u8]) {}

    fn idle(&mut self, _now: MonoTime) -> Flow {
        // The first PLAY may get to the end of the footage before the second is heard; only the second begins at
        // its beginning.
        let first = FIRST.parse().unwrap();
        let sought = self.marks.iter().position(|mark| mark.time == first);
        let ended = sought.is_some_and(|at| self.marks[at..].iter().any(|mark| mark.terminal));
        if ended { Flow::Stop } else { Flow::Continue }
    }
}

/// What to ask for from `seconds` after the first frame on.
fn free(seconds: i64) -> PlayRequest {
    let from = FIRST.parse::<WallTime>().unwrap().plus(seconds * TICKS_PER_SECOND);
    PlayRequest {
        range: Some(ClockRange { from, to: None }),
        rate_control: RateControl::Free,
        immediate: true,
        replay: true,
        ..PlayRequest::default()
    }
}

#[tokio::test]
async fn our_client_fetches_every_frame_and_seeks_over_tcp_and_tls() {
    let any = "127.0.0.1:0".parse().unwrap();
    let secure = Server::bind_tls(any, identity().config(), Arc::new(Vault::default())).await.unwrap();
    for (server, scheme) in [(serve(Vault::default()).await, "rtsp"), (Running::new(secure), "rtsps")] {
        let mut config = config(server.addr, "/replay");
        config.url = format!("{scheme}://{}/replay", server.addr).parse().unwrap();
        let session = connect(&config).await.unwrap().replay(&[0, 1], &free(40)).await.unwrap();
        let seek = Some((100, free(0)));
        let mut marks = Marks { marks: vec![], seek, remote: session.remote() };
        within(session.run(&mut marks, clock_of_tests())).await;
        let first = marks.marks[0].sequence;
        let second = marks.marks.iter().position(|mark| mark.sequence != first).unwrap();
        let (before, after) = marks.marks.split_at(second);
        assert!(before.len() >= 100 && after[0].discontinuity, "{scheme}: {}", before.len());
        let step = |pair: &[FrameMark]| pair[1].time - pair[0].time;
        assert!(before.windows(2).chain(after.windows(2)).all(|pair| step(pair) == 3_600), "{scheme}");
        assert_eq!(after.len(), usize::try_from(FRAMES).unwrap());
    }
}

#[tokio::test]
async fn our_client_gets_every_frame_over_udp() {
    let server = crate::fixture::serve("::1", Arc::new(Studio::new(25))).await;
    let mut config = config(server.addr, "/live/main");
    config.transport = client::Transport::Udp;
    let (received, _) = collect(&config, &[0, 1, 2], 75).await;
    assert!(received.samples.iter().all(|sample| sample.lost == 0));
    for track in 0..3 {
        assert_eq!(received.of_track(track).len(), 25, "track {track}");
    }
}

/// A server that has one way refuses the other before anything is played, and takes the one that it has.
#[tokio::test]
async fn a_server_with_one_transport_is_played_over_it() {
    use client::{ClientError, Transport};
    for (transports, accepted, other) in [
        (Transports::Tcp, Transport::TcpInterleaved, Transport::Udp),
        (Transports::Udp, Transport::Udp, Transport::TcpInterleaved),
    ] {
        let quirks = Quirks { transports, ..Quirks::default() };
        let server = serve(Vault { quirks, ..Vault::default() }).await;
        let client = |transport| client::ClientConfig { transport, ..config(server.addr, "/live") };
        let refused = connect(&client(other)).await.unwrap().play(&[0]).await.unwrap_err();
        assert!(matches!(refused, ClientError::TransportRefused { .. }), "{refused:?}");
        connect(&client(accepted)).await.unwrap().play(&[0]).await.unwrap();
    }
}
