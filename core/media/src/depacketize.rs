//! RTP packets into samples: H.264 (RFC 6184) and G.711 (RFC 3551 §4.5.14).
//!
//! One depacketiser per track, live and replay alike. It finds where access units begin and end although cameras set
//! the marker wrongly, drops an access unit in which a packet is missing, and learns parameter sets from the stream.
//! It does not reorder, does not judge timestamps and does not decode. Nothing is allocated per packet: one buffer
//! per track is reused.

mod h264;
mod parameter_sets;
#[cfg(test)]
mod tests;

use keepwatch_model::{CodecKind, TrackConfig};

use crate::h264::{AvccError, SpsError};
use crate::rtp::{RtpPacket, SequenceStep, SequenceTracker, TimestampUnwrapper};
use h264::AccessUnitAssembler;

/// Largest access unit in bytes: twelve times a key frame of a 4K camera at a high bit rate.
pub const ACCESS_UNIT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// One sample of a track, valid while the sink runs.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// NAL units with 4-byte lengths, or G.711 bytes.
    pub data: &'a [u8],
    /// When it is presented, in ticks of the track's clock: the RTP timestamp, extended to 64 bits.
    pub timestamp: i64,
    /// Whether decoding can start here; always for audio.
    pub key: bool,
    /// Packets lost or unusable since the sample before, those of a discarded sample included.
    pub lost_packets: u32,
    /// The configuration from this sample on, where parameter sets in the stream differ from what was known.
    pub config_changed: Option<&'a TrackConfig>,
}

/// Why the configuration of a track cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// That of H.264.
    #[error(transparent)]
    Avcc(#[from] AvccError),
    /// This coding cannot be received.
    #[error("{0:?} cannot be received")]
    Kind(CodecKind),
}

/// Why a packet could not be used. An ordinary event: to be counted, and the next packet pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DepacketizeError {
    /// It came before.
    #[error("packet came twice")]
    Duplicate,
    /// It came after later ones, and was reported as lost.
    #[error("packet came late")]
    Late,
    /// It belongs to something else than the track.
    #[error("packet has payload type {0}, which is not the track's")]
    PayloadType(u8),
    /// It has no payload.
    #[error("packet is empty")]
    Empty,
    /// Its payload is of a kind that is not supported (STAP-B, MTAP, FU-B) or reserved.
    #[error("payload of NAL unit type {0} is not supported")]
    UnitType(u8),
    /// The forbidden bit of a NAL unit is set: the sender knows that it is damaged.
    #[error("NAL unit has the forbidden bit set")]
    Forbidden,
    /// An aggregation packet or a fragment ends too early.
    #[error("payload is cut off")]
    Truncated,
    /// A fragment came whose beginning did not, although no packet was lost.
    #[error("fragment without a beginning")]
    FragmentWithoutStart,
    /// The access unit grew beyond [`ACCESS_UNIT_BYTES_MAX`], or what precedes a picture beyond any sense.
    #[error("access unit is too long")]
    TooLong,
    /// A sequence parameter set cannot be used; the one before stays.
    #[error(transparent)]
    ParameterSet(#[from] SpsError),
    /// A picture came before any parameter sets, and was dropped.
    #[error("picture without parameter sets")]
    ParameterSetsMissing,
}

/// Turns the packets of one track into samples.
///
/// A picture whose slices all came is handed over, also where loss just before it may have cost an SEI unit: to drop
/// a key frame for that would cost all pictures that depend on it. The first samples of a session come one packet
/// late, until the camera's markers have proved right.
#[derive(Debug)]
pub struct Depacketizer {
    payload_type: Option<u8>,
    sequence: SequenceTracker,
    timestamps: TimestampUnwrapper,
    lost: u32,
    config: TrackConfig,
    assembler: Assembler,
}

#[derive(Debug)]
enum Assembler {
    AccessUnits(Box<AccessUnitAssembler>),
    /// Every packet is a sample.
    Packets,
}

impl Depacketizer {
    /// A depacketiser for a track; an H.264 configuration may be empty, and is then learned from the stream.
    pub fn new(config: &TrackConfig) -> Result<Self, ConfigError> {
        let assembler = match config.kind {
            CodecKind::H264 => Assembler::AccessUnits(Box::new(AccessUnitAssembler::new(&config.config)?)),
            CodecKind::Pcmu | CodecKind::Pcma => Assembler::Packets,
            kind @ (CodecKind::H265 | CodecKind::Jpeg | CodecKind::Aac | CodecKind::Metadata) => {
                return Err(ConfigError::Kind(kind));
            }
        };
        Ok(Self {
            payload_type: None,
            sequence: SequenceTracker::new(),
            timestamps: TimestampUnwrapper::new(),
            lost: 0,
            config: config.clone(),
            assembler,
        })
    }

    /// Only packets of `payload_type` are the track's; others are counted as received and passed over. Cameras put
    /// comfort noise and private data on the channel of a track.
    #[must_use]
    pub const fn with_payload_type(mut self, payload_type: u8) -> Self {
        self.payload_type = Some(payload_type);
        self
    }

    /// Takes the next packet and hands every sample that is then complete to `sink`.
    pub fn push(
        &mut self,
        packet: &RtpPacket<'_>,
        sink: &mut impl FnMut(Sample<'_>),
    ) -> Result<(), DepacketizeError> {
        let lost = match self.sequence.push(packet.sequence) {
            SequenceStep::InOrder => 0,
            SequenceStep::Lost(lost) => u32::from(lost),
            // How many were lost cannot be known, that none was cannot be assumed.
            SequenceStep::Restarted => 1,
            SequenceStep::Duplicate => return Err(DepacketizeError::Duplicate),
            SequenceStep::Late => return Err(DepacketizeError::Late),
        };
        let foreign = self.payload_type.is_some_and(|payload_type| payload_type != packet.payload_type);
        // A stray timestamp of a foreign packet must not move the track's.
        let timestamp = (!foreign).then(|| self.timestamps.unwrap(packet.timestamp));
        let mut output = Output { lost: &mut self.lost, config: &mut self.config, sink };
        if lost > 0 {
            if let Assembler::AccessUnits(assembler) = &mut self.assembler {
                assembler.loss(timestamp, &mut output);
            }
            output.lose(lost);
        }
        let Some(timestamp) = timestamp else {
            return Err(DepacketizeError::PayloadType(packet.payload_type));
        };
        match &mut self.assembler {
            Assembler::AccessUnits(assembler) => assembler.push(packet, timestamp, &mut output),
            Assembler::Packets if packet.payload.is_empty() => Err(DepacketizeError::Empty),
            Assembler::Packets => {
                output.emit(packet.payload, timestamp, true, false);
                Ok(())
            }
        }
    }

    /// Ends the session: hands over the access unit that was complete but for its marker.
    pub fn flush(&mut self, sink: &mut impl FnMut(Sample<'_>)) {
        let mut output = Output { lost: &mut self.lost, config: &mut self.config, sink };
        match &mut self.assembler {
            Assembler::AccessUnits(assembler) => assembler.flush(&mut output),
            Assembler::Packets => {}
        }
    }

    /// The configuration as it is known; for H.264 empty until the first parameter sets came.
    pub const fn config(&self) -> &TrackConfig {
        &self.config
    }

    /// What the sequence numbers told so far.
    pub const fn sequence(&self) -> &SequenceTracker {
        &self.sequence
    }

    /// Bytes of the access unit that is not yet complete.
    pub fn buffered_bytes(&self) -> usize {
        match &self.assembler {
            Assembler::AccessUnits(assembler) => assembler.buffered_bytes(),
            Assembler::Packets => 0,
        }
    }
}

/// Where samples go, with what goes with them.
struct Output<'a, S> {
    lost: &'a mut u32,
    config: &'a mut TrackConfig,
    sink: &'a mut S,
}

impl<S: FnMut(Sample<'_>)> Output<'_, S> {
    const fn lose(&mut self, packets: u32) {
        *self.lost = self.lost.saturating_add(packets);
    }

    fn emit(&mut self, data: &[u8], timestamp: i64, key: bool, config_changed: bool) {
        let config_changed = config_changed.then_some(&*self.config);
        (self.sink)(Sample { data, timestamp, key, lost_packets: std::mem::take(self.lost), config_changed });
    }
}
