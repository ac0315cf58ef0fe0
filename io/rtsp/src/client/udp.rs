//! RTP over UDP: a pair of ports for each track, what comes in brought into order, and receiver reports.
//!
//! Sockets are drained on a timer, as the connection is. The kernel holds what comes between two reads, so the timer
//! is as fast as its buffer is small. Only datagrams of the camera's address are taken.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use keepwatch_media::rtcp::{self, Reception, RtcpPacket};
use keepwatch_media::rtp::reorder::ReorderBuffer;
use keepwatch_media::rtp::{RtpHeader, RtpPacket};
use keepwatch_model::{MonoTime, PacketHandler};
use socket2::SockRef;
use tokio::time::Instant;

use super::outcome::Counters;
use crate::chance;

/// How often two neighbouring ports are looked for.
const PAIR_ATTEMPTS: u32 = 64;

/// The receive buffer asked for: what a camera of 16 Mbit/s sends while a process is held up for seconds. The kernel
/// grants no more than `net.core.rmem_max`.
const RECEIVE_BYTES: usize = 4 * 1024 * 1024;

/// What a camera can send, as the kernel counts it: its line has 100 Mbit/s, and a packet of 1,400 bytes takes
/// 2,304 of the buffer.
const LINE_BYTES_PER_SECOND: u64 = 100_000_000 / 8 * 2304 / 1400;

/// Shortest interval between reads, whatever the buffer: shorter ones cost more than they can save.
const INTERVAL_MIN: Duration = Duration::from_millis(5);

/// How long a packet waits for those before it. Networks that reorder do it within milliseconds; waiting longer
/// delays all that comes after a packet that is lost.
const HOLD: Duration = Duration::from_millis(60);

/// Datagrams taken from one socket before the others have their turn.
const ROUND_DATAGRAMS_MAX: u32 = 4096;

/// Mean time between receiver reports (RFC 3550 §6.2).
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// What reports call the receiver; it must differ between hosts only where receivers see each other.
const CNAME: &str = "keepwatch";

/// Two neighbouring ports, even and odd (RFC 3550 §11), that are not in use.
#[derive(Debug)]
pub(super) struct Ports {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    numbers: (u16, u16),
}

impl Ports {
    /// Opens a pair at the address `local`, whose port is ignored.
    pub(super) fn open(local: SocketAddr) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::AddrInUse);
        for _ in 0..PAIR_ATTEMPTS {
            let first = bind(local, 0)?;
            let port = first.local_addr()?.port();
            // The other one of the pair in which the kernel put the first.
            match bind(local, port ^ 1) {
                Ok(second) => {
                    let (rtp, rtcp) = if port % 2 == 0 { (first, second) } else { (second, first) };
                    let numbers = (rtp.local_addr()?.port(), rtcp.local_addr()?.port());
                    return Ok(Self { rtp, rtcp, numbers });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The ports of RTP and RTCP.
    pub(super) const fn numbers(&self) -> (u16, u16) {
        self.numbers
    }
}

fn bind(local: SocketAddr, port: u16) -> io::Result<UdpSocket> {
    let mut address = local;
    address.set_port(port);
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Where a track's datagrams come from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender {
    /// The address of the connection's other end, with its scope where it has one.
    pub(super) peer: SocketAddr,
    /// Another address that the server named.
    pub(super) source: Option<IpAddr>,
    /// The ports it sends from, if it said so.
    pub(super) ports: Option<(u16, u16)>,
}

impl Sender {
    /// The address that media come from. One that is named is believed if it is an ordinary one: reports are sent
    /// there.
    fn address(&self) -> IpAddr {
        let peer = self.peer.ip();
        let ordinary = |ip: &IpAddr| {
            ip.is_ipv4() == peer.is_ipv4()
                && !ip.is_multicast()
                && !ip.is_unspecified()
                && *ip != IpAddr::from([255; 4])
                && (!ip.is_loopback() || peer.is_loopback())
        };
        self.source.filter(ordinary).unwrap_or(peer)
    }

    /// Where the socket stands that `port` was named for.
    fn socket(&self, port: u16) -> SocketAddr {
        let mut address = self.peer;
        address.set_ip(self.address());
        address.set_port(port);
        address
    }
}

/// The datagrams of one track.
#[derive(Debug)]
struct Track {
    ports: Ports,
    sender: Sender,
    /// Where reports go: the port the server named, or where its own reports come from.
    reports_to: Option<SocketAddr>,
    order: ReorderBuffer,
    reception: Reception,
}

/// The datagrams of a session.
#[derive(Debug)]
pub(super) struct Datagrams {
    tracks: Vec<Track>,
    /// The synchronisation source that reports come from.
    ssrc: u32,
    report_due: Instant,
    interval: Duration,
    /// The report that is being written.
    report: Vec<u8>,
}

impl Datagrams {
    /// No tracks yet, at `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            tracks: Vec::new(),
            ssrc: u32::try_from(chance::draw() & 0xffff_ffff).unwrap_or(1),
            // RFC 3550 §6.2: the first one comes earlier.
            report_due: now + REPORT_INTERVAL / 4,
            interval: Duration::MAX,
            report: Vec::new(),
        }
    }

    /// Adds the next track of the session, whose clock has `clock_rate` ticks in a second.
    pub(super) fn add(&mut self, ports: Ports, sender: Sender, clock_rate: u32) {
        // What the kernel does not grant is made up for by reading more often.
        let _ = SockRef::from(&ports.rtp).set_recv_buffer_size(RECEIVE_BYTES);
        let granted = SockRef::from(&ports.rtp).recv_buffer_size().unwrap_or(0);
        let micros =
            u64::try_from(granted).unwrap_or(u64::MAX).saturating_mul(1_000_000) / LINE_BYTES_PER_SECOND;
        self.interval = self.interval.min(Duration::from_micros(micros).max(INTERVAL_MIN));
        let track = Track {
            reports_to: sender.ports.map(|(_, rtcp)| sender.socket(rtcp)),
            order: ReorderBuffer::new(HOLD),
            reception: Reception::new(clock_rate),
            ports,
            sender,
        };
        track.open_the_way();
        self.tracks.push(track);
    }

    /// How often the sockets must be read at least, so that a camera cannot fill them between two reads.
    pub(super) const fn interval(&self) -> Duration {
        self.interval
    }

    /// Hands over all that has come. `arrived` is called for each datagram with its track and whether it is RTCP.
    pub(super) fn read(
        &mut self,
        buffer: &mut [u8],
        now: MonoTime,
        handler: &mut impl PacketHandler,
        counters: &mut Counters,
        mut arrived: impl FnMut(usize, Option<&[u8]>),
    ) {
        for (number, track) in self.tracks.iter_mut().enumerate() {
            let Track { ports, sender, reports_to, order, reception } = track;
            drain(&ports.rtp, sender.address(), buffer, counters, |packet, _| {
                if let Ok(packet) = RtpPacket::parse(packet) {
                    reception.packet(now, &packet);
                }
                arrived(number, None);
                order.push(now, packet, &mut |packet| handler.rtp(now, number, packet));
            });
            order.release(now, &mut |packet| handler.rtp(now, number, packet));
            drain(&ports.rtcp, sender.address(), buffer, counters, |packet, from| {
                reports_to.get_or_insert(from);
                for packet in rtcp::packets(packet).flatten() {
                    if let RtcpPacket::SenderReport(report) = packet {
                        reception.sender_report(now, &report);
                    }
                }
                arrived(number, Some(packet));
                handler.rtcp(now, number, packet);
            });
        }
    }

    /// Sends receiver reports when they are due at `instant`, which the session's clock calls `now`.
    pub(super) fn report(&mut self, instant: Instant, now: MonoTime, counters: &mut Counters) {
        if instant < self.report_due {
            return;
        }
        // RFC 3550 §6.3.1: between half and one and a half of the mean, so that receivers do not report together.
        let spread = REPORT_INTERVAL.mul_f64((chance::draw() >> 11) as f64 / (1_u64 << 53) as f64);
        self.report_due = instant + REPORT_INTERVAL / 2 + spread;
        for track in &mut self.tracks {
            let Some(address) = track.reports_to else { continue };
            self.report.clear();
            let block = track.reception.report(now);
            rtcp::write_receiver_report(&mut self.report, self.ssrc, block.as_ref(), CNAME);
            // A report that is not sent is followed by another one.
            if track.ports.rtcp.send_to(&self.report, address).is_ok() {
                counters.reports_sent = counters.reports_sent.saturating_add(1);
            }
        }
    }

    /// Hands over what still waits for its turn, and says goodbye.
    pub(super) fn end(&mut self, now: MonoTime, handler: &mut impl PacketHandler) {
        for (number, track) in self.tracks.iter_mut().enumerate() {
            track.order.flush(&mut |packet| handler.rtp(now, number, packet));
            let Some(address) = track.reports_to else { continue };
            self.report.clear();
            rtcp::write_receiver_report(&mut self.report, self.ssrc, None, CNAME);
            rtcp::write_bye(&mut self.report, self.ssrc);
            let _ = track.ports.rtcp.send_to(&self.report, address);
        }
    }

    /// Adds what became of packets that did not come in order.
    pub(super) fn count(&self, counters: &mut Counters) {
        for track in &self.tracks {
            let order = track.order.counters();
            counters.reordered = counters.reordered.saturating_add(order.waited);
            counters.late = counters.late.saturating_add(order.late).saturating_add(order.stray);
        }
    }
}

impl Track {
    /// Sends a packet from each port, so that address translators and firewalls on the way let the media in.
    fn open_the_way(&self) {
        let Some((rtp, rtcp)) = self.sender.ports else { return };
        let mut packet = Vec::new();
        let header =
            RtpHeader { marker: false, payload_type: 0, sequence: 0, timestamp: 0, ssrc: 0, extension: None };
        header.write(&mut packet);
        // Both are a courtesy to the network; without them the media come, or do not.
        let _ = self.ports.rtp.send_to(&packet, self.sender.socket(rtp));
        packet.clear();
        rtcp::write_receiver_report(&mut packet, 0, None, CNAME);
        let _ = self.ports.rtcp.send_to(&packet, self.sender.socket(rtcp));
    }
}

/// Takes what `socket` holds; what does not come from `address` is counted and dropped.
fn drain(
    socket: &UdpSocket,
    address: IpAddr,
    buffer: &mut [u8],
    counters: &mut Counters,
    mut take: impl FnMut(&[u8], SocketAddr),
) {
    for _ in 0..ROUND_DATAGRAMS_MAX {
        match socket.recv_from(buffer) {
            Ok((bytes, from)) if from.ip() == address => {
                counters.bytes = counters.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
                take(buffer.get(..bytes).unwrap_or_default(), from);
            }
            Ok(_) => counters.foreign_datagrams = counters.foreign_datagrams.saturating_add(1),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            // What was sent there found no listener (ICMP): nothing that must stop the media.
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_of_ports_is_even_and_odd_and_neighbouring() {
        let mut pairs = vec![];
        for _ in 0..50 {
            let ports = Ports::open("127.0.0.1:9".parse().unwrap()).unwrap();
            let (rtp, rtcp) = ports.numbers();
            assert_eq!((rtp % 2, rtcp), (0, rtp + 1));
            pairs.push(ports);
        }
    }

    #[test]
    fn an_address_that_the_server_names_is_believed_if_it_is_an_ordinary_one() {
        let sender = |source: &str| Sender {
            peer: "10.0.0.1:554".parse().unwrap(),
            source: Some(source.parse().unwrap()),
            ports: None,
        };
        assert_eq!(sender("10.0.0.2").address().to_string(), "10.0.0.2");
        for strange in ["239.0.0.1", "255.255.255.255", "0.0.0.0", "127.0.0.1", "::1"] {
            assert_eq!(sender(strange).address().to_string(), "10.0.0.1", "{strange}");
        }
    }

    #[test]
    fn all_that_a_line_of_100_mbit_s_brings_between_two_reads_fits_in_the_buffer() {
        let local: SocketAddr = "127.0.0.1:554".parse().unwrap();
        let mut datagrams = Datagrams::new(Instant::now());
        let ports = Ports::open(local).unwrap();
        let port = ports.numbers().0;
        let sender = Sender { peer: local, source: None, ports: None };
        datagrams.add(ports, sender, 90_000);
        let interval = datagrams.interval().min(Duration::from_millis(200));
        let count = usize::try_from(interval.as_micros() * 12_500_000 / 1_000_000 / 1400).unwrap();
        let camera = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut packet = [7; 1400];
        for number in 0..count {
            packet[..4].copy_from_slice(&[0x80, 96, number.to_be_bytes()[6], number.to_be_bytes()[7]]);
            camera.send_to(&packet, ("127.0.0.1", port)).unwrap();
        }
        struct Count(usize);
        impl PacketHandler for Count {
            fn rtp(&mut self, _now: MonoTime, _track: usize, _packet: &[u8]) {
                self.0 += 1;
            }
            fn rtcp(&mut self, _now: MonoTime, _track: usize, _packet: &[u8]) {}
            fn idle(&mut self, _now: MonoTime) -> keepwatch_model::Flow {
                keepwatch_model::Flow::Continue
            }
        }
        let mut handler = Count(0);
        let mut buffer = vec![0; 65_536];
        let mut counters = Counters::default();
        datagrams.read(&mut buffer, MonoTime::ZERO, &mut handler, &mut counters, |_, _| {});
        assert_eq!(handler.0, count, "{interval:?}");
    }
}
