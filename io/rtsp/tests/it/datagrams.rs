//! Media over UDP: what networks do to datagrams, and what cameras do with ports.

use std::time::Duration;

use keepwatch_media::rtcp::{self, RtcpPacket};
use keepwatch_model::{Flow, MonoTime, PacketHandler};
use keepwatch_rtsp::client::{ClientConfig, ClientError, EndReason, Transport, connect};
use tokio::net::UdpSocket;
use tokio::sync::oneshot;

use std::sync::Arc;

use crate::fixture::{Studio, clock, collect, config, program, sample, serve, within};
use crate::script::{Peer, SDP, Seen, camera, rtp};

/// Takes packets as they are until enough came, and a number of silent calls passed.
struct Raw {
    packets: Vec<Vec<u8>>,
    enough: usize,
}

impl PacketHandler for Raw {
    fn rtp(&mut self, _now: MonoTime, _track: usize, packet: &[u8]) {
        self.packets.push(packet.to_vec());
    }

    fn rtcp(&mut self, _now: MonoTime, _track: usize, _packet: &[u8]) {}

    fn idle(&mut self, _now: MonoTime) -> Flow {
        if self.packets.len() < self.enough { Flow::Continue } else { Flow::Stop }
    }
}

fn udp(addr: std::net::SocketAddr) -> ClientConfig {
    ClientConfig { transport: Transport::Udp, ..config(addr, "/live") }
}

/// The media end of a scripted camera.
struct Media {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    /// Where the client receives.
    client: (u16, u16),
}

impl Media {
    /// Answers as an ordinary camera up to and including `SETUP`; returns the request after it.
    async fn set_up(peer: &mut Peer) -> (Self, Seen) {
        let rtp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let rtcp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut client = (0, 0);
        loop {
            let request = peer.request().await.unwrap();
            match request.method() {
                "OPTIONS" => peer.ok(&request, "", "").await,
                "DESCRIBE" => peer.ok(&request, "Content-Type: application/sdp\r\n", SDP).await,
                "SETUP" => {
                    let transport = request.header("Transport").to_owned();
                    let ports = transport.strip_prefix("RTP/AVP;unicast;client_port=").unwrap();
                    let (first, second) = ports.split_once('-').unwrap();
                    client = (first.parse().unwrap(), second.parse().unwrap());
                    let (first, second) =
                        (rtp.local_addr().unwrap().port(), rtcp.local_addr().unwrap().port());
                    let headers =
                        format!("Session: 1\r\nTransport: {transport};server_port={first}-{second}\r\n");
                    peer.ok(&request, &headers, "").await;
                }
                _ => return (Self { rtp, rtcp, client }, request),
            }
        }
    }

    async fn send(&self, packet: &[u8]) {
        self.rtp.send_to(packet, ("127.0.0.1", self.client.0)).await.unwrap();
    }

    async fn send_rtcp(&self, packet: &[u8]) {
        self.rtcp.send_to(packet, ("127.0.0.1", self.client.1)).await.unwrap();
    }
}

fn packet(sequence: u16) -> Vec<u8> {
    rtp(sequence, u32::from(sequence) * 3_600, &[0x65, 1, 2, 3])
}

async fn received(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 2048];
    let (bytes, _) = within(socket.recv_from(&mut buffer)).await.unwrap();
    buffer[..bytes].to_vec()
}

#[tokio::test]
async fn what_the_network_mixes_up_comes_in_order_and_what_it_loses_is_a_gap() {
    let (reports, reported) = oneshot::channel();
    let addr = camera(async move |mut peer: Peer| {
        let (media, play) = Media::set_up(&mut peer).await;
        // The way was opened from both ports before anything was asked to be sent.
        assert!(received(&media.rtp).await.len() >= 12);
        assert!(rtcp::packets(&received(&media.rtcp).await).all(|packet| packet.is_ok()));
        peer.ok(&play, "", "").await;
        let stranger = UdpSocket::bind("127.0.0.2:0").await.unwrap();
        stranger.send_to(&packet(1000), ("127.0.0.1", media.client.0)).await.unwrap();
        for sequence in [65_533, 65_534, 0, 65_535, 0, 1, 3, 5, 4, 6] {
            media.send(&packet(sequence)).await;
        }
        let mut compound = vec![];
        let sender =
            rtcp::SenderReport { ssrc: 1, ntp: rtcp::NtpTime(5 << 32), ..rtcp::SenderReport::default() };
        rtcp::write_sender_report(&mut compound, &sender, "camera");
        media.send_rtcp(&compound).await;
        // The report of what came, and then the goodbye.
        let report = received(&media.rtcp).await;
        let farewell = received(&media.rtcp).await;
        reports.send((report, farewell)).unwrap();
        peer.wait_for_close().await;
    })
    .await;
    let session = connect(&udp(addr)).await.unwrap().play(&[0]).await.unwrap();
    let mut raw = Raw { packets: vec![], enough: usize::MAX };
    let task = tokio::spawn(async move {
        // Until the first report was sent.
        struct UntilReport<'a>(&'a mut Raw, MonoTime);
        impl PacketHandler for UntilReport<'_> {
            fn rtp(&mut self, now: MonoTime, track: usize, packet: &[u8]) {
                self.0.rtp(now, track, packet);
            }
            fn rtcp(&mut self, _now: MonoTime, _track: usize, _packet: &[u8]) {}
            fn idle(&mut self, now: MonoTime) -> Flow {
                if now.since(self.1) < Duration::from_millis(1_800) { Flow::Continue } else { Flow::Stop }
            }
        }
        let end = session.run(&mut UntilReport(&mut raw, MonoTime::ZERO), clock()).await;
        (raw, end)
    });
    let (raw, end) = within(task).await.unwrap();
    let expected: Vec<_> = [65_533, 65_534, 65_535, 0, 1, 3, 4, 5, 6].into_iter().map(packet).collect();
    assert_eq!(raw.packets, expected);
    assert!(matches!(end.reason, EndReason::Stopped), "{end:?}");
    let counters = end.counters;
    assert_eq!((counters.foreign_datagrams, counters.late, counters.reports_sent), (1, 1, 1), "{counters:?}");
    assert!(counters.reordered >= 2, "{counters:?}");
    let (report, farewell) = reported.await.unwrap();
    // One report block on source 1: of eleven expected one is lost; a duplicate makes up for it.
    assert_eq!((report[0], report[1], report[11]), (0x81, 201, 1));
    assert_eq!(u32::from_be_bytes(report[16..20].try_into().unwrap()), 65_536 + 6);
    assert_eq!(u32::from_be_bytes(report[24..28].try_into().unwrap()), 5 << 16, "the sender report's time");
    let goodbye = rtcp::packets(&farewell).flatten().any(|packet| matches!(packet, RtcpPacket::Bye { .. }));
    assert!(goodbye, "{farewell:?}");
}

/// What has come and waits for a packet that is missing is no less there when the session is stopped.
#[tokio::test]
async fn what_waits_for_its_turn_is_handed_over_when_the_session_is_stopped() {
    /// Stops in the round after the one in which a report came, which was sent last.
    struct UntilReport(Vec<Vec<u8>>, u32);
    impl PacketHandler for UntilReport {
        fn rtp(&mut self, _now: MonoTime, _track: usize, packet: &[u8]) {
            self.0.push(packet.to_vec());
        }
        fn rtcp(&mut self, _now: MonoTime, _track: usize, _packet: &[u8]) {
            self.1 = 1;
        }
        fn idle(&mut self, _now: MonoTime) -> Flow {
            self.1 *= 2;
            if self.1 > 2 { Flow::Stop } else { Flow::Continue }
        }
    }
    let addr = camera(async |mut peer: Peer| {
        let (media, play) = Media::set_up(&mut peer).await;
        peer.ok(&play, "", "").await;
        for sequence in [1, 2, 3, 5] {
            media.send(&packet(sequence)).await;
        }
        let mut report = vec![];
        rtcp::write_receiver_report(&mut report, 1, None, "camera");
        media.send_rtcp(&report).await;
        peer.wait_for_close().await;
    })
    .await;
    let session = connect(&udp(addr)).await.unwrap().play(&[0]).await.unwrap();
    let mut handler = UntilReport(vec![], 0);
    let end = within(session.run(&mut handler, clock())).await;
    assert!(matches!(end.reason, EndReason::Stopped), "{end:?}");
    assert_eq!(handler.0, [packet(1), packet(2), packet(3), packet(5)]);
}

#[tokio::test]
async fn a_goodbye_on_all_tracks_ends_the_session_and_one_that_is_taken_back_does_not() {
    let addr = camera(async |mut peer: Peer| {
        let (media, play) = Media::set_up(&mut peer).await;
        peer.ok(&play, "", "").await;
        let mut goodbye = vec![];
        rtcp::write_receiver_report(&mut goodbye, 1, None, "camera");
        rtcp::write_bye(&mut goodbye, 1);
        media.send(&packet(1)).await;
        media.send_rtcp(&goodbye).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        media.send(&packet(2)).await;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        media.send(&packet(3)).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        media.send_rtcp(&goodbye).await;
        peer.wait_for_close().await;
    })
    .await;
    let session = connect(&udp(addr)).await.unwrap().play(&[0]).await.unwrap();
    let mut raw = Raw { packets: vec![], enough: usize::MAX };
    let end = within(session.run(&mut raw, clock())).await;
    assert!(matches!(end.reason, EndReason::EndedByServer), "{end:?}");
    assert_eq!(raw.packets, [packet(1), packet(2), packet(3)]);
}

#[tokio::test]
async fn every_frame_comes_over_udp_as_it_comes_over_tcp() {
    let server = serve("127.0.0.1", Arc::new(Studio::new(8))).await;
    // The last frame is proved whole by the end of the session.
    let (received, _) = collect(&udp_of_studio(server.addr), &[0, 1], 15).await;
    for track in 0..2 {
        let sent: Vec<_> = program(8).iter().filter(|media| media.track == track).map(sample).collect();
        assert_eq!(received.of_track(track), sent, "track {track}");
    }
}

fn udp_of_studio(addr: std::net::SocketAddr) -> ClientConfig {
    ClientConfig { transport: Transport::Udp, ..config(addr, "/live/main") }
}

/// What `transport = "auto"` needs to know: that this way is refused, and another may do.
#[tokio::test]
async fn a_transport_that_is_refused_is_told_from_other_refusals() {
    for (wanted, answer) in [
        (Transport::TcpInterleaved, "RTSP/1.0 461 Unsupported Transport\r\n\r\n"),
        (Transport::Udp, "RTSP/1.0 461 Unsupported Transport\r\n\r\n"),
        (Transport::Udp, "RTSP/1.0 200 OK\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n"),
        (Transport::Udp, "RTSP/1.0 200 OK\r\nTransport: RTP/AVP;multicast;destination=239.1.1.1\r\n\r\n"),
    ] {
        let addr = camera(async move |mut peer: Peer| {
            while let Some(request) = peer.request().await {
                match request.method() {
                    "DESCRIBE" => peer.ok(&request, "", SDP).await,
                    "SETUP" => peer.send(answer).await,
                    _ => peer.ok(&request, "", "").await,
                }
            }
        })
        .await;
        let config = ClientConfig { transport: wanted, ..config(addr, "/") };
        let error = connect(&config).await.unwrap().play(&[0]).await.unwrap_err();
        assert!(matches!(error, ClientError::TransportRefused { .. }), "{wanted:?}: {error:?}");
    }
}

/// A firewall lets the connection through and no datagram: the session stands, and its handler decides how long.
#[tokio::test]
async fn a_session_whose_datagrams_never_come_is_kept_until_its_handler_ends_it() {
    /// Stops after two seconds.
    struct Patient(MonoTime, u32);
    impl PacketHandler for Patient {
        fn rtp(&mut self, _now: MonoTime, _track: usize, _packet: &[u8]) {
            self.1 += 1;
        }
        fn rtcp(&mut self, _now: MonoTime, _track: usize, _packet: &[u8]) {
            self.1 += 1;
        }
        fn idle(&mut self, now: MonoTime) -> Flow {
            if now.since(self.0) < Duration::from_secs(2) { Flow::Continue } else { Flow::Stop }
        }
    }
    let (methods, asked) = oneshot::channel();
    let addr = camera(async move |mut peer: Peer| {
        let (_media, play) = Media::set_up(&mut peer).await;
        peer.ok(&play, "", "").await;
        let mut seen = Vec::new();
        while let Some(request) = peer.request().await {
            seen.push(request.method().to_owned());
            peer.ok(&request, "", "").await;
        }
        methods.send(seen).unwrap();
    })
    .await;
    let config = ClientConfig { keepalive_interval: Some(Duration::from_millis(500)), ..udp(addr) };
    let session = connect(&config).await.unwrap().play(&[0]).await.unwrap();
    let mut handler = Patient(MonoTime::ZERO, 0);
    let end = within(session.run(&mut handler, clock())).await;
    assert!(matches!(end.reason, EndReason::Stopped), "{end:?}");
    assert_eq!(handler.1, 0);
    // Reports of what came would be of nothing.
    assert_eq!((end.counters.foreign_datagrams, end.counters.late), (0, 0), "{end:?}");
    let asked = asked.await.unwrap();
    let keepalives = asked.iter().filter(|method| *method != "TEARDOWN").count();
    assert!(keepalives >= 2 && asked.last().is_some_and(|last| last == "TEARDOWN"), "{asked:?}");
}
