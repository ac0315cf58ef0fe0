//! What a track is, and the hot-loop handler through which its packets flow.

use crate::MonoTime;

/// A coding of media that is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CodecKind {
    /// H.264 video (ITU-T H.264); a sample is an access unit of NAL units with 4-byte lengths.
    H264,
    /// H.265 video (ITU-T H.265); a sample is as that of [`H264`](Self::H264).
    H265,
    /// Motion JPEG; a sample is one whole JPEG file (ITU-T T.81).
    Jpeg,
    /// G.711 µ-law audio; a sample is the payload of one packet, one byte per audio sample.
    Pcmu,
    /// G.711 A-law audio, as [`Pcmu`](Self::Pcmu).
    Pcma,
    /// AAC audio (ISO/IEC 14496-3); a sample is one raw access unit, without a header.
    Aac,
    /// ONVIF metadata: analytics, events, PTZ; a sample is one whole XML document.
    Metadata,
}

impl CodecKind {
    /// The code on disk; never reused. Video is below 16, audio from 16, all else from 32.
    pub const fn code(self) -> u8 {
        match self {
            Self::H264 => 1,
            Self::H265 => 2,
            Self::Jpeg => 3,
            Self::Pcmu => 16,
            Self::Pcma => 17,
            Self::Aac => 18,
            Self::Metadata => 32,
        }
    }

    /// The codec of a code on disk; `None` when this version does not know it.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::H264),
            2 => Some(Self::H265),
            3 => Some(Self::Jpeg),
            16 => Some(Self::Pcmu),
            17 => Some(Self::Pcma),
            18 => Some(Self::Aac),
            32 => Some(Self::Metadata),
            _ => None,
        }
    }

    /// Whether it is video.
    pub const fn is_video(self) -> bool {
        matches!(self, Self::H264 | Self::H265 | Self::Jpeg)
    }

    /// Whether it is audio.
    pub const fn is_audio(self) -> bool {
        matches!(self, Self::Pcmu | Self::Pcma | Self::Aac)
    }
}

/// All that a reader must know of a track before its first sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackConfig {
    /// The coding.
    pub kind: CodecKind,
    /// Ticks of the track's RTP clock in one second: 90,000 for video and metadata, 8,000 for G.711, mostly the
    /// sampling rate for AAC.
    pub clock_rate: u32,
    /// Audio channels; 0 for video and metadata.
    pub channels: u8,
    /// Out-of-band configuration:
    /// - H.264: an `AVCDecoderConfigurationRecord` (ISO/IEC 14496-15 §5.3.3.1);
    /// - H.265: an `HEVCDecoderConfigurationRecord` (ISO/IEC 14496-15 §8.3.3.1);
    /// - JPEG: width and height in pixels, two bytes each, most significant first;
    /// - AAC: an `AudioSpecificConfig` (ISO/IEC 14496-3 §1.6.2.1);
    /// - G.711 and metadata: empty.
    ///
    /// That of video may be empty, and is then learned from the stream.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_on_disk_are_what_they_were_and_say_the_kind_of_media() {
        use CodecKind::{Aac, H264, H265, Jpeg, Metadata, Pcma, Pcmu};
        let codes = [(H264, 1), (H265, 2), (Jpeg, 3), (Pcmu, 16), (Pcma, 17), (Aac, 18), (Metadata, 32)];
        for (kind, code) in codes {
            assert_eq!((kind.code(), CodecKind::from_code(code)), (code, Some(kind)));
            assert_eq!(kind.is_video(), code < 16);
            assert_eq!(kind.is_audio(), (16..32).contains(&code));
        }
        let known = (0..=u8::MAX).filter(|code| CodecKind::from_code(*code).is_some());
        assert_eq!(known.count(), codes.len());
    }
}
