//! What the tests send: a synthetic H.264 track and two G.711 tracks, and a service that offers them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use keepwatch_media::depacketize::{Depacketizer, Sample};
use keepwatch_media::rtcp::{self, RtcpPacket, SenderReport};
use keepwatch_media::rtp::RtpPacket;
use keepwatch_model::{CodecKind, Flow, MonoTime, PacketHandler, TrackConfig, WallTime};
use keepwatch_rtsp::Secret;
use keepwatch_rtsp::client::{ClientConfig, SessionEnd, connect};
use keepwatch_rtsp::server::{Media, NextMedia, OpenRequest, Refusal, Server, Service, Source};
use keepwatch_tls::{Identity, Names};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Frames in a group of pictures.
pub(crate) const GROUP: u32 = 10;

/// Prefixes `units` with their lengths, as samples are kept.
pub(crate) fn length_prefixed(units: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for unit in units {
        out.extend_from_slice(&u32::try_from(unit.len()).unwrap().to_be_bytes());
        out.extend_from_slice(unit);
    }
    out
}

/// `length` bytes that differ from frame to frame and hold nothing that looks like a start code.
fn noise(seed: u32, length: usize) -> impl Iterator<Item = u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1] | 0x04
    })
    .take(length)
}

/// The parameter sets of a 640x480 baseline stream.
pub(crate) const SPS: &[u8] = &[
    0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x03, 0xc5, 0x68, 0x40, 0x00, 0x00, 0x03, 0x00, 0x40, 0x00, 0x00, 0x0c,
    0x03, 0xc5, 0x8b, 0x92,
];
/// Its picture parameter set.
pub(crate) const PPS: &[u8] = &[0x68, 0xcb, 0x8c, 0xb2];

/// Video, µ-law and A-law.
pub(crate) fn tracks() -> Vec<TrackConfig> {
    let mut config = vec![1, SPS[1], SPS[2], SPS[3], 0xff, 0xe1, 0, u8::try_from(SPS.len()).unwrap()];
    config.extend_from_slice(SPS);
    config.extend_from_slice(&[1, 0, u8::try_from(PPS.len()).unwrap()]);
    config.extend_from_slice(PPS);
    vec![
        TrackConfig { kind: CodecKind::H264, clock_rate: 90_000, channels: 0, config },
        TrackConfig { kind: CodecKind::Pcmu, clock_rate: 8_000, channels: 1, config: vec![] },
        TrackConfig { kind: CodecKind::Pcma, clock_rate: 8_000, channels: 1, config: vec![] },
    ]
}

/// Frame `number` of the video track: small ones, large ones, several units; an SEI unit as the prefix.
pub(crate) fn video(number: u32) -> Media {
    let key = number.is_multiple_of(GROUP);
    let length = match number % 4 {
        _ if key => 60_000,
        0 => 9,
        1 => 1_400,
        2 => 1_401,
        _ => 5_000,
    };
    let mut slice = vec![if key { 0x65 } else { 0x41 }];
    slice.extend(noise(number, length));
    let sei: Vec<u8> = [0x06, 0x05, 0x14].into_iter().chain(noise(!number, 20)).chain([0x80]).collect();
    let data = if key { length_prefixed(&[SPS, PPS, &slice]) } else { length_prefixed(&[&slice]) };
    Media {
        track: 0,
        timestamp: 4_294_900_000u32.wrapping_add(number * 3_600),
        capture: WallTime::from_ticks(1_000_000 + i64::from(number) * 3_600),
        key,
        data: data.into(),
        prefix: length_prefixed(&[&sei]).into(),
        lost_packets: 0,
        mark: None,
    }
}

/// Packet `number` of an audio track: 40 ms.
pub(crate) fn audio(track: usize, number: u32) -> Media {
    Media {
        track,
        timestamp: 77 + number * 320,
        capture: WallTime::from_ticks(1_000_000 + i64::from(number) * 3_600),
        key: true,
        data: noise(number + 1_000 * u32::try_from(track).unwrap(), 320).collect::<Vec<_>>().into(),
        prefix: Bytes::new(),
        lost_packets: 0,
        mark: None,
    }
}

/// `frames` of each track in sending order.
pub(crate) fn program(frames: u32) -> Vec<Media> {
    (0..frames).flat_map(|number| [video(number), audio(1, number), audio(2, number)]).collect()
}

/// The bytes of a sample as a receiver must see them.
pub(crate) fn sample(media: &Media) -> Vec<u8> {
    [&media.prefix[..], &media.data[..]].concat()
}

/// Plays a list, then waits or ends.
struct List {
    left: std::vec::IntoIter<Media>,
    then_end: bool,
}

impl Source for List {
    fn tracks(&self) -> Vec<TrackConfig> {
        tracks()
    }

    fn next(&mut self) -> NextMedia<'_> {
        Box::pin(async {
            match self.left.next() {
                Some(media) => Some(media),
                None if self.then_end => None,
                None => std::future::pending().await,
            }
        })
    }
}

/// Offers the program at `/live/main`.
pub(crate) struct Studio {
    /// What is played to each client.
    pub(crate) program: Vec<Media>,
    /// Whether the sessions end after the program.
    pub(crate) then_end: bool,
    /// Whether `operator` must log in with [`PASSWORD`].
    pub(crate) login: bool,
    /// Whether anybody asked for a password.
    pub(crate) asked: AtomicBool,
}

/// The password of `operator`.
pub(crate) const PASSWORD: &str = "p@ss: \"word\"";

impl Studio {
    /// `frames` of each track and then silence, without login.
    pub(crate) fn new(frames: u32) -> Self {
        Self { program: program(frames), then_end: false, login: false, asked: AtomicBool::new(false) }
    }
}

impl Service for Studio {
    fn password(&self, user: &str) -> Option<Secret> {
        self.asked.store(true, Ordering::Relaxed);
        (user == "operator").then(|| PASSWORD.into())
    }

    fn needs_login(&self) -> bool {
        self.login
    }

    fn open(&self, request: &OpenRequest<'_>) -> Result<Box<dyn Source>, Refusal> {
        if request.path != "/live/main" {
            return Err(Refusal::NotFound);
        }
        Ok(Box::new(List { left: self.program.clone().into_iter(), then_end: self.then_end }))
    }
}

/// A server that ends with the test.
pub(crate) struct Running {
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    task: JoinHandle<()>,
}

impl Running {
    /// Runs `server`.
    pub(crate) fn new(server: Server) -> Self {
        Self { addr: server.local_addr(), task: tokio::spawn(server.run()) }
    }

    /// Ends it; when this returns, nothing listens any more.
    pub(crate) async fn stop(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts a server for `studio` on an IPv6 or IPv4 loopback address.
pub(crate) async fn serve(ip: &str, studio: Arc<Studio>) -> Running {
    let addr = SocketAddr::new(ip.parse().unwrap(), 0);
    Running::new(Server::bind(addr, studio).await.unwrap())
}

/// A client configuration with short waits for `path` at `addr`.
pub(crate) fn config(addr: SocketAddr, path: &str) -> ClientConfig {
    let mut config = ClientConfig::new(format!("rtsp://{addr}{path}").parse().unwrap());
    config.timeout = Duration::from_secs(20);
    config.read_interval.set(Duration::from_millis(5));
    config
}

/// What a server shows over TLS. Its dates fit nothing.
pub(crate) fn identity() -> Identity {
    Identity::make(&Names::local(), "1999-01-01T00:00:00Z".parse().unwrap()).unwrap()
}

/// A clock for sessions.
pub(crate) fn clock() -> impl Fn() -> MonoTime {
    let start = Instant::now();
    move || MonoTime::from_nanos(u64::try_from(start.elapsed().as_nanos()).unwrap())
}

/// One sample as a client received it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// The position among the session's tracks.
    pub(crate) track: usize,
    /// The unwrapped RTP timestamp.
    pub(crate) timestamp: i64,
    /// Whether decoding can start here.
    pub(crate) key: bool,
    /// Packets lost before it.
    pub(crate) lost: u32,
    /// Its bytes.
    pub(crate) data: Vec<u8>,
}

/// Puts samples together until it has enough of them.
pub(crate) struct Collector {
    depacketizers: Vec<Depacketizer>,
    /// What came.
    pub(crate) samples: Vec<Received>,
    /// The order of packets: track and whether it was RTCP.
    pub(crate) order: Vec<(usize, bool)>,
    /// Sender reports by track.
    pub(crate) reports: Vec<(usize, SenderReport)>,
    enough: usize,
}

impl Collector {
    /// A collector for tracks with `configs` that stops the session after `enough` samples.
    pub(crate) fn new(configs: &[TrackConfig], enough: usize) -> Self {
        let depacketizers = configs.iter().map(|config| Depacketizer::new(config).unwrap()).collect();
        Self { depacketizers, samples: vec![], order: vec![], reports: vec![], enough }
    }

    /// Takes what was complete but for the proof that nothing follows.
    fn flush(&mut self) {
        for (track, depacketizer) in self.depacketizers.iter_mut().enumerate() {
            depacketizer.flush(&mut |sample| self.samples.push(received(track, &sample)));
        }
    }

    /// The data of a track's samples in order.
    pub(crate) fn of_track(&self, track: usize) -> Vec<&[u8]> {
        self.samples.iter().filter(|sample| sample.track == track).map(|sample| &sample.data[..]).collect()
    }
}

fn received(track: usize, sample: &Sample<'_>) -> Received {
    Received {
        track,
        timestamp: sample.timestamp,
        key: sample.key,
        lost: sample.lost_packets,
        data: sample.data.to_vec(),
    }
}

impl PacketHandler for Collector {
    fn rtp(&mut self, _now: MonoTime, track: usize, packet: &[u8]) {
        self.order.push((track, false));
        let Ok(packet) = RtpPacket::parse(packet) else { return };
        // What does not fit together shows in what is missing from the samples.
        let _ = self.depacketizers[track]
            .push(&packet, &mut |sample| self.samples.push(received(track, &sample)));
    }

    fn rtcp(&mut self, _now: MonoTime, track: usize, packet: &[u8]) {
        self.order.push((track, true));
        for packet in rtcp::packets(packet).flatten() {
            if let RtcpPacket::SenderReport(report) = packet {
                self.reports.push((track, report));
            }
        }
    }

    fn idle(&mut self, _now: MonoTime) -> Flow {
        if self.samples.len() < self.enough { Flow::Continue } else { Flow::Stop }
    }
}

/// Waits for what must come to an end.
pub(crate) async fn within<T>(end: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), end).await.unwrap()
}

/// Plays `tracks` with `config` until `enough` samples came or the session ended.
pub(crate) async fn collect(
    config: &ClientConfig,
    tracks: &[usize],
    enough: usize,
) -> (Collector, SessionEnd) {
    let described = connect(config).await.unwrap();
    let offered = &described.presentation().tracks;
    let configs: Vec<_> = tracks.iter().map(|track| offered[*track].config.clone().unwrap()).collect();
    let mut collector = Collector::new(&configs, enough);
    let session = described.play(tracks).await.unwrap();
    let end = within(session.run(&mut collector, clock())).await;
    collector.flush();
    (collector, end)
}
