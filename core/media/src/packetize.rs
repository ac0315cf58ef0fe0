//! Samples into RTP packets (RFC 6184 §5.6 and §5.8, RFC 3551 §4.5.14), framed for the RTSP connection in place, so
//! that a server sends one access unit with one write.
//!
//! H.264 goes as single NAL units and FU-A fragments. Aggregation (STAP-A) is left out: it saves a few bytes per
//! key frame and is what receivers get wrong.

use keepwatch_model::CodecKind;

use crate::h264::{UnitKind, units};
use crate::rtcp::{NtpTime, SenderReport};
use crate::rtp::{Extension, RtpHeader};
use crate::text::write_interleaved;

/// Longest payload in bytes: with all headers it fits an Ethernet frame, which cameras' receivers are tested with.
pub const PAYLOAD_BYTES_MAX: usize = 1400;

/// FU-A (RFC 6184 §5.8): type, start bit, end bit.
const FU_A: u8 = 28;
const FU_START: u8 = 0x80;
const FU_END: u8 = 0x40;

/// Why a sample cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketizeError {
    /// The sample ends within a NAL unit.
    #[error(transparent)]
    Truncated(#[from] crate::h264::TruncatedUnit),
    /// The sample holds a NAL unit of a type that only RTP uses.
    #[error("NAL unit with first byte {0:#04x} cannot be sent")]
    Unit(u8),
    /// This coding cannot be sent.
    #[error("{0:?} cannot be sent")]
    Kind(CodecKind),
    /// The sample is empty.
    #[error("sample is empty")]
    Empty,
}

/// Which stream is packetised, and whither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketizerConfig {
    /// The coding.
    pub kind: CodecKind,
    /// Audio channels, at least 1 for audio; 0 for video.
    pub channels: u8,
    /// The channel of RTP on the connection.
    pub interleaved_channel: u8,
    /// The payload type, 0 to 127.
    pub payload_type: u8,
    /// The synchronisation source.
    pub ssrc: u32,
    /// The sequence number of the first packet.
    pub first_sequence: u16,
}

/// Turns the samples of one track into packets.
#[derive(Clone, Debug)]
pub struct Packetizer {
    config: PacketizerConfig,
    sequence: u16,
    packets: u32,
    bytes: u32,
}

impl Packetizer {
    /// A packetiser that has sent nothing.
    pub const fn new(config: PacketizerConfig) -> Self {
        Self { config, sequence: config.first_sequence, packets: 0, bytes: 0 }
    }

    /// The sequence number of the packet that is sent next.
    pub const fn next_sequence(&self) -> u16 {
        self.sequence
    }

    /// A report on what was sent, `rtp_timestamp` being the track's clock at `ntp`.
    pub const fn sender_report(&self, ntp: NtpTime, rtp_timestamp: u32) -> SenderReport {
        SenderReport { ssrc: self.config.ssrc, ntp, rtp_timestamp, packets: self.packets, bytes: self.bytes }
    }

    /// Appends the packets of one sample, whose bytes are those of `parts` one behind the other (each of whole NAL
    /// units for video). On an error nothing is appended and no sequence number used.
    pub fn push(&mut self, timestamp: u32, parts: &[&[u8]], out: &mut Vec<u8>) -> Result<(), PacketizeError> {
        self.push_extended(timestamp, None, parts, out)
    }

    /// As [`push`](Self::push), with a header extension on the first packet.
    pub fn push_extended(
        &mut self,
        timestamp: u32,
        extension: Option<Extension<'_>>,
        parts: &[&[u8]],
        out: &mut Vec<u8>,
    ) -> Result<(), PacketizeError> {
        let (before, begin) = (self.clone(), out.len());
        let mut packet = PacketWriter { packetizer: self, timestamp, extension, out };
        let result = match packet.packetizer.config.kind {
            CodecKind::H264 => packet.video(parts),
            CodecKind::Pcmu | CodecKind::Pcma => packet.audio(parts),
            kind @ (CodecKind::H265 | CodecKind::Jpeg | CodecKind::Aac | CodecKind::Metadata) => {
                Err(PacketizeError::Kind(kind))
            }
        };
        if result.is_err() {
            *self = before;
            out.truncate(begin);
        }
        result
    }
}

struct PacketWriter<'a, 'e> {
    packetizer: &'a mut Packetizer,
    timestamp: u32,
    extension: Option<Extension<'e>>,
    out: &'a mut Vec<u8>,
}

impl PacketWriter<'_, '_> {
    fn video(&mut self, parts: &[&[u8]]) -> Result<(), PacketizeError> {
        let mut previous: Option<&[u8]> = None;
        for unit in parts.iter().flat_map(|part| units(part)) {
            let unit = unit?;
            match UnitKind::of(unit) {
                None => continue,
                Some(UnitKind::Outside) => {
                    return Err(PacketizeError::Unit(unit.first().copied().unwrap_or(0)));
                }
                Some(_) => {}
            }
            if let Some(previous) = previous.replace(unit) {
                self.unit(previous, false);
            }
        }
        self.unit(previous.ok_or(PacketizeError::Empty)?, true);
        Ok(())
    }

    fn unit(&mut self, unit: &[u8], last: bool) {
        let Some((header, body)) = unit.split_first().filter(|_| unit.len() > PAYLOAD_BYTES_MAX) else {
            return self.packet(last, &[], unit);
        };
        let fragments = body.chunks(PAYLOAD_BYTES_MAX - 2);
        let end = fragments.len() - 1;
        for (position, fragment) in fragments.enumerate() {
            let flags = if position == 0 { FU_START } else { 0 } | if position == end { FU_END } else { 0 };
            self.packet(last && position == end, &[header & 0xe0 | FU_A, flags | header & 0x1f], fragment);
        }
    }

    fn audio(&mut self, parts: &[&[u8]]) -> Result<(), PacketizeError> {
        if parts.iter().all(|part| part.is_empty()) {
            return Err(PacketizeError::Empty);
        }
        let channels = u32::from(self.packetizer.config.channels.max(1));
        for payload in parts.iter().flat_map(|part| part.chunks(PAYLOAD_BYTES_MAX)) {
            self.packet(false, &[], payload);
            let ticks = u32::try_from(payload.len()).unwrap_or(0) / channels;
            self.timestamp = self.timestamp.wrapping_add(ticks);
        }
        Ok(())
    }

    fn packet(&mut self, marker: bool, payload_header: &[u8], payload: &[u8]) {
        let PacketizerConfig { interleaved_channel, payload_type, ssrc, .. } = self.packetizer.config;
        let header = RtpHeader {
            marker,
            payload_type,
            sequence: self.packetizer.sequence,
            timestamp: self.timestamp,
            ssrc,
            extension: self.extension.take(),
        };
        write_interleaved(self.out, interleaved_channel, |out| {
            header.write(out);
            out.extend_from_slice(payload_header);
            out.extend_from_slice(payload);
        });
        let bytes = u32::try_from(payload_header.len() + payload.len()).unwrap_or(0);
        self.packetizer.sequence = self.packetizer.sequence.wrapping_add(1);
        self.packetizer.packets = self.packetizer.packets.wrapping_add(1);
        self.packetizer.bytes = self.packetizer.bytes.wrapping_add(bytes);
    }
}

#[cfg(test)]
mod tests;
