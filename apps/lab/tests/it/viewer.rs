//! A client of virtual cameras: the product's own, with its depacketiser.

use std::time::Duration;

use keepwatch_lab::{FrameStamp, NUMBERS_PER_CAMERA, read_counter, read_jpeg_counter};
use keepwatch_media::depacketize::{Depacketizer, Sample};
use keepwatch_media::replay::{FrameMark, PlayRequest};
use keepwatch_media::rtcp::{self, RtcpPacket};
use keepwatch_media::rtp::RtpPacket;
use keepwatch_model::{CodecKind, Flow, MonoTime, PacketHandler, TrackConfig, WallTime};
use keepwatch_rtsp::client::{
    ClientConfig, ClientError, Described, ReadInterval, Session, SessionEnd, connect,
};
use openh264::decoder::Decoder;
use openh264::formats::YUVSource;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// One access unit as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) stamp: FrameStamp,
    pub(crate) timestamp: i64,
    pub(crate) key: bool,
    pub(crate) lost_packets: u32,
    pub(crate) config_changed: bool,
    pub(crate) mark: Option<FrameMark>,
    pub(crate) data: Vec<u8>,
}

/// What arrives.
#[derive(Debug)]
pub(crate) enum Seen {
    Frame(Frame),
    Sound { timestamp: i64, bytes: usize },
    Document(String),
    Report { track: usize, at: WallTime },
}

/// A connection that plays.
pub(crate) struct Viewer {
    seen: mpsc::UnboundedReceiver<Seen>,
    session: JoinHandle<SessionEnd>,
}

impl Viewer {
    /// Connects and plays all tracks.
    pub(crate) async fn open(url: &str) -> Result<Self, ClientError> {
        Self::open_with(&config(url)).await
    }

    /// Connects in a way of its own and plays all tracks.
    pub(crate) async fn open_with(config: &ClientConfig) -> Result<Self, ClientError> {
        let described = connect(config).await?;
        let (tracks, all) = tracks_of(&described);
        Ok(Self::watch(described.play(&all).await?, &tracks))
    }

    /// Connects and plays what is recorded.
    pub(crate) async fn replay(url: &str, request: &PlayRequest) -> Result<Self, ClientError> {
        let described = connect(&config(url)).await?;
        let (tracks, all) = tracks_of(&described);
        Ok(Self::watch(described.replay(&all, request).await?, &tracks))
    }

    fn watch(session: Session, tracks: &[TrackConfig]) -> Self {
        let (sender, seen) = mpsc::unbounded_channel();
        let depacketizers = tracks.iter().map(|track| Depacketizer::new(track).unwrap()).collect();
        let kinds = tracks.iter().map(|track| track.kind).collect();
        let mut handler = Handler { depacketizers, kinds, sender, lost: 0 };
        let session = tokio::spawn(async move { session.run(&mut handler, || MonoTime::ZERO).await });
        Self { seen, session }
    }

    /// The next of anything; `None` when the session has ended.
    pub(crate) async fn next(&mut self) -> Option<Seen> {
        timeout(PATIENCE, self.seen.recv()).await.expect("something should have come by then")
    }

    /// The next access unit; `None` when the session has ended.
    pub(crate) async fn try_frame(&mut self) -> Option<Frame> {
        loop {
            match self.next().await? {
                Seen::Frame(frame) => return Some(frame),
                Seen::Sound { .. } | Seen::Document(_) | Seen::Report { .. } => {}
            }
        }
    }

    /// The next access unit of a session that goes on.
    pub(crate) async fn frame(&mut self) -> Frame {
        self.try_frame().await.expect("the session should go on")
    }

    /// The next `count` access units.
    pub(crate) async fn frames(&mut self, count: usize) -> Vec<Frame> {
        let mut frames = Vec::new();
        while frames.len() < count {
            frames.push(self.frame().await);
        }
        frames
    }

    /// Access units up to the first that `is_last`, inclusive.
    pub(crate) async fn frames_until(&mut self, is_last: impl Fn(&Frame) -> bool) -> Vec<Frame> {
        let mut frames = vec![self.frame().await];
        while !is_last(frames.last().unwrap()) {
            frames.push(self.frame().await);
        }
        frames
    }

    /// Whether nothing comes for `silence`; takes what came before, and nothing after.
    pub(crate) async fn falls_silent_for(&mut self, silence: Duration) -> bool {
        loop {
            match timeout(silence, self.seen.recv()).await {
                Err(_) => return true,
                Ok(Some(_)) => {}
                Ok(None) => return false,
            }
        }
    }
}

/// How a camera is reached unless a test says otherwise.
pub(crate) fn config(url: &str) -> ClientConfig {
    let mut config = ClientConfig::new(url.parse().unwrap());
    config.read_interval = ReadInterval::new(Duration::from_millis(5));
    config
}

fn tracks_of(described: &Described) -> (Vec<TrackConfig>, Vec<usize>) {
    let tracks = described.presentation().tracks.iter();
    let tracks: Vec<TrackConfig> = tracks.map(|track| track.config.clone().unwrap()).collect();
    let all = (0..tracks.len()).collect();
    (tracks, all)
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.session.abort();
    }
}

struct Handler {
    depacketizers: Vec<Depacketizer>,
    kinds: Vec<CodecKind>,
    sender: mpsc::UnboundedSender<Seen>,
    /// Packets that were lost with the stamps of their frames.
    lost: u32,
}

impl PacketHandler for Handler {
    fn rtp(&mut self, _now: MonoTime, track: usize, packet: &[u8]) {
        let packet = RtpPacket::parse(packet).unwrap();
        let (sender, lost) = (&self.sender, &mut self.lost);
        let kind = self.kinds[track];
        let mut sink = |sample: Sample<'_>| {
            let seen = match kind {
                CodecKind::H264 | CodecKind::H265 | CodecKind::Jpeg => {
                    let Some(stamp) = stamp_of(kind, sample.data) else {
                        // The stamp is a packet of its own, and can be the one that was lost.
                        assert!(sample.lost_packets > 0, "every access unit has a stamp");
                        *lost += sample.lost_packets;
                        return;
                    };
                    Seen::Frame(Frame {
                        stamp,
                        timestamp: sample.timestamp,
                        key: sample.key,
                        lost_packets: sample.lost_packets + std::mem::take(lost),
                        config_changed: sample.config_changed.is_some(),
                        mark: sample.mark,
                        data: sample.data.to_vec(),
                    })
                }
                CodecKind::Pcmu | CodecKind::Pcma | CodecKind::Aac => {
                    Seen::Sound { timestamp: sample.timestamp, bytes: sample.data.len() }
                }
                CodecKind::Metadata => Seen::Document(String::from_utf8(sample.data.to_vec()).unwrap()),
            };
            let _ = sender.send(seen);
        };
        self.depacketizers[track].push(&packet, &mut sink).unwrap();
    }

    fn rtcp(&mut self, _now: MonoTime, track: usize, packet: &[u8]) {
        for packet in rtcp::packets(packet).map_while(Result::ok) {
            if let RtcpPacket::SenderReport(report) = packet
                && let Some(at) = report.ntp.to_wall()
            {
                let _ = self.sender.send(Seen::Report { track, at });
            }
        }
    }

    fn idle(&mut self, _now: MonoTime) -> Flow {
        Flow::Continue
    }
}

/// The stamp of a frame; of JPEG, which has none, the number that the picture of the first camera shows.
fn stamp_of(kind: CodecKind, data: &[u8]) -> Option<FrameStamp> {
    if kind != CodecKind::Jpeg {
        return FrameStamp::find(data);
    }
    let number = NUMBERS_PER_CAMERA + u64::from(read_jpeg_counter(data)?);
    Some(FrameStamp { camera: "cam1".parse().unwrap(), number, capture: WallTime::MIN })
}

/// The counters in the pictures of `frames`, which begin with a key frame.
pub(crate) fn counters(frames: &[Frame]) -> Vec<Option<u32>> {
    let mut decoder = Decoder::new().unwrap();
    let mut counters = Vec::new();
    for frame in frames {
        let mut annex_b = Vec::new();
        for unit in keepwatch_media::h264::units(&frame.data) {
            annex_b.extend_from_slice(&[0, 0, 0, 1]);
            annex_b.extend_from_slice(unit.unwrap());
        }
        counters.push(decoder.decode(&annex_b).unwrap().and_then(|picture| {
            let (width, height) = picture.dimensions();
            read_counter(picture.y(), picture.strides().0, width, height)
        }));
    }
    counters
}
