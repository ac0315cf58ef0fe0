//! What a track is, and the hot-loop handler through which its packets flow.

use crate::MonoTime;

/// A coding of media that is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CodecKind {
    /// H.264 video (ITU-T H.264); a sample is an access unit of NAL units with 4-byte lengths.
    H264,
    /// G.711 µ-law audio; a sample is the payload of one packet, one byte per audio sample.
    Pcmu,
    /// G.711 A-law audio, as [`Pcmu`](Self::Pcmu).
    Pcma,
}

impl CodecKind {
    /// The code on disk; never reused.
    pub const fn code(self) -> u8 {
        match self {
            Self::H264 => 1,
            Self::Pcmu => 16,
            Self::Pcma => 17,
        }
    }

    /// The codec of a code on disk; `None` when this version does not know it.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::H264),
            16 => Some(Self::Pcmu),
            17 => Some(Self::Pcma),
            _ => None,
        }
    }

    /// Whether it is video.
    pub const fn is_video(self) -> bool {
        matches!(self, Self::H264)
    }
}

/// All that a reader must know of a track before its first sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackConfig {
    /// The coding.
    pub kind: CodecKind,
    /// Ticks of the track's RTP clock in one second: 90,000 for video, 8,000 for G.711.
    pub clock_rate: u32,
    /// Audio channels; 0 for video.
    pub channels: u8,
    /// Out-of-band configuration: an `AVCDecoderConfigurationRecord` for H.264 (ISO/IEC 14496-15 §5.3.3.1),
    /// empty for G.711.
    pub config: Vec<u8>,
}

/// Whether a hot loop goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// End the session.
    Stop,
}

/// Takes the packets of one session as they arrive, without a detour through queues.
///
/// `track` is the position in the list of tracks that were set up. Packets are untrusted.
pub trait PacketHandler {
    /// An RTP packet (RFC 3550 §5.1) came at `now`.
    fn rtp(&mut self, now: MonoTime, track: usize, packet: &[u8]);

    /// A compound RTCP packet (RFC 3550 §6) came at `now`.
    fn rtcp(&mut self, now: MonoTime, track: usize, packet: &[u8]);

    /// All that had arrived by `now` was handed over; called also when nothing came, at least four times a second.
    fn idle(&mut self, now: MonoTime) -> Flow;
}
