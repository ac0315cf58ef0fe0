use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;

use keepwatch_media::text::write_interleaved;
use tokio::net::UdpSocket;

use super::*;
use crate::server::books::Books;

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

async fn pair() -> (UdpSocket, UdpSocket, Datagrams) {
    let rtp = UdpSocket::bind(LOOPBACK).await.unwrap();
    let rtcp = UdpSocket::bind(LOOPBACK).await.unwrap();
    let ports = (rtp.local_addr().unwrap().port(), rtcp.local_addr().unwrap().port());
    let link = Link::open(LOOPBACK, LOOPBACK, ports, Books::default().link().unwrap()).unwrap();
    assert!(link.server_port.0.is_multiple_of(2) && link.server_port.1 == link.server_port.0 + 1);
    assert_eq!(link.client_port, ports);
    let mut datagrams = Datagrams::new(2);
    datagrams.set_link(1, link);
    (rtp, rtcp, datagrams)
}

/// Takes a datagram off, if there is one.
fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> bool {
    use std::io::Read;
    let mut socket: &socket2::Socket = &socket2::SockRef::from(socket);
    socket.read(buffer).is_ok()
}

#[tokio::test]
async fn each_packet_goes_to_the_socket_of_its_channel() {
    let (rtp, rtcp, mut datagrams) = pair().await;
    let (rtp_channel, rtcp_channel) = Datagrams::channels(1);
    for (channel, byte) in [(rtp_channel, 1), (rtcp_channel, 2), (0, 3), (rtp_channel, 4)] {
        write_interleaved(datagrams.packets(), channel, |out| out.push(byte));
    }
    let progress = datagrams.send(Instant::now(), LIVE_BYTES_PER_SECOND, &Quirks::default());
    assert!(progress == Progress::Done && datagrams.is_idle());
    let mut buffer = [0; 9];
    for (socket, byte) in [(&rtp, 1), (&rtp, 4), (&rtcp, 2)] {
        assert_eq!(socket.recv(&mut buffer).await.unwrap(), 1);
        assert_eq!(buffer[0], byte);
    }
}

#[tokio::test]
async fn what_is_large_goes_out_at_the_rate() {
    let (rtp, _rtcp, mut datagrams) = pair().await;
    let (channel, _) = Datagrams::channels(1);
    for _ in 0..200 {
        write_interleaved(datagrams.packets(), channel, |out| out.extend_from_slice(&[0; 1000]));
    }
    let (start, mut received, mut now) = (Instant::now(), 0, Instant::now());
    let mut buffer = [0; 2000];
    loop {
        let progress = datagrams.send(now, 1_000_000, &Quirks::default());
        // Everything that was sent has arrived: over loopback it is delivered by the call that sends.
        while receive(&rtp, &mut buffer) {
            received += 1;
        }
        let allowed = BURST_BYTES + u64::try_from((now - start).as_micros()).unwrap() + 2000;
        assert!(received * 1000 <= allowed, "{received} packets after {:?}", now - start);
        match progress {
            Progress::Done => break,
            Progress::Until(then) => now = then,
        }
    }
    assert_eq!(received, 200);
    assert!(now - start >= Duration::from_millis(165), "{:?}", now - start);
}

#[tokio::test]
async fn a_report_is_a_sign_of_life_and_anything_else_is_none() {
    let (rtp, rtcp, datagrams) = pair().await;
    let link = datagrams.links[1].as_ref().unwrap();
    let server = |port| SocketAddr::new(LOOPBACK.ip(), port);
    let quiet = Duration::from_millis(50);
    rtp.send_to(&[0x80, 201, 0, 1, 0, 0, 0, 7], server(link.server_port.0)).await.unwrap();
    rtcp.send_to(b"hello", server(link.server_port.1)).await.unwrap();
    assert!(tokio::time::timeout(quiet, datagrams.heard()).await.is_err());
    rtcp.send_to(&[0x80, 201, 0, 1, 0, 0, 0, 7], server(link.server_port.1)).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), datagrams.heard()).await.unwrap();
}

#[tokio::test]
async fn a_client_that_does_not_listen_yet_costs_nothing_but_packets() {
    let (rtp, rtcp, mut datagrams) = pair().await;
    drop((rtp, rtcp));
    let quirks = Quirks { udp_loss: NonZeroU16::new(2), ..Quirks::default() };
    for _ in 0..10 {
        write_interleaved(datagrams.packets(), Datagrams::channels(1).0, |out| out.push(0));
        assert_eq!(datagrams.send(Instant::now(), LIVE_BYTES_PER_SECOND, &quirks), Progress::Done);
    }
}
