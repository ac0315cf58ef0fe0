//! Samples into RTP packets (RFC 6184, RFC 7798, RFC 2435, RFC 3640, RFC 3551 §4.5.14), framed for the RTSP connection
//! in place, so that a server sends one access unit with one write.
//!
//! H.264 and H.265 go as single NAL units and fragments. Aggregation is left out: it saves a few bytes per key frame
//! and is what receivers get wrong. AAC goes as one access unit in a packet, for the same reason.

mod aac;
mod jpeg;
mod nal;
#[cfg(test)]
mod tests;

use keepwatch_model::CodecKind;

use crate::jpeg::FileError;
use crate::rtcp::{NtpTime, SenderReport};
use crate::rtp::{Extension, RtpHeader};
use crate::text::write_interleaved;

/// Longest payload in bytes: with all headers it fits an Ethernet frame, which cameras' receivers are tested with.
pub const PAYLOAD_BYTES_MAX: usize = 1400;

/// Why a sample cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketizeError {
    /// The sample ends within a NAL unit.
    #[error(transparent)]
    Truncated(#[from] crate::nal::TruncatedUnit),
    /// The sample holds a NAL unit of a type that only RTP uses.
    #[error("NAL unit with first byte {0:#04x} cannot be sent")]
    Unit(u8),
    /// The sample is no JPEG file of one baseline picture.
    #[error(transparent)]
    Jpeg(#[from] FileError),
    /// The headers of the JPEG file do not fit into a packet.
    #[error("headers of {0} bytes in a JPEG file do not fit into a packet")]
    JpegHeaders(usize),
    /// The access unit of AAC is longer than its header can say.
    #[error("access unit of AAC of {0} bytes is longer than 8191")]
    AacUnit(usize),
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
    /// units for H.264 and H.265). On an error nothing is appended and no sequence number used.
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
        let mut packet =
            PacketWriter { packetizer: self, timestamp, extension, jpeg_extension: Vec::new(), out };
        let result = match packet.packetizer.config.kind {
            CodecKind::H264 => packet.nal_units(&nal::H264, parts),
            CodecKind::H265 => packet.nal_units(&nal::H265, parts),
            CodecKind::Jpeg => packet.jpeg(parts),
            CodecKind::Aac => packet.aac(parts),
            CodecKind::Metadata => packet.document(parts),
            CodecKind::Pcmu | CodecKind::Pcma => packet.audio(parts),
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
    /// Headers of a JPEG file that RFC 2435 has no place for; empty for all else.
    jpeg_extension: Vec<u8>,
    out: &'a mut Vec<u8>,
}

impl PacketWriter<'_, '_> {
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

    /// A document in parts, the last with the marker (ONVIF Streaming, "RTP for Metadata stream").
    fn document(&mut self, parts: &[&[u8]]) -> Result<(), PacketizeError> {
        let mut previous = None;
        for payload in parts.iter().flat_map(|part| part.chunks(PAYLOAD_BYTES_MAX)) {
            if let Some(previous) = previous.replace(payload) {
                self.packet(false, &[], previous);
            }
        }
        self.packet(true, &[], previous.ok_or(PacketizeError::Empty)?);
        Ok(())
    }

    fn packet(&mut self, marker: bool, payload_header: &[u8], payload: &[u8]) {
        let jpeg_extension = std::mem::take(&mut self.jpeg_extension);
        let PacketizerConfig { interleaved_channel, payload_type, ssrc, .. } = self.packetizer.config;
        let header = RtpHeader {
            marker,
            payload_type,
            sequence: self.packetizer.sequence,
            timestamp: self.timestamp,
            ssrc,
            extension: jpeg::extension(self.extension.take(), &jpeg_extension),
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
