//! RTP packets into samples: H.264 (RFC 6184), H.265 (RFC 7798), JPEG (RFC 2435), AAC (RFC 3640), G.711 (RFC 3551
//! §4.5.14), ONVIF metadata.
//!
//! One depacketiser per track, live and replay alike. It finds where access units begin and end although cameras set
//! the marker wrongly, drops an access unit in which a packet is missing, and learns parameter sets from the stream.
//! It does not reorder, does not judge timestamps and does not decode. Nothing is allocated per packet: one buffer
//! per track is reused.

mod aac;
mod access_unit;
mod h264;
mod h265;
mod jpeg;
mod memory;
mod metadata;
mod sets;
#[cfg(test)]
mod tests;

use keepwatch_model::{CodecKind, TrackConfig};

use crate::aac::AacConfigError;
use crate::nal::{DecoderConfigError, SpsError};
use crate::replay::FrameMark;
use crate::rtp::{RtpPacket, SequenceStep, SequenceTracker, TimestampUnwrapper};
use aac::AacAssembler;
use access_unit::AccessUnitAssembler;
use h264::H264;
use h265::H265;
use jpeg::JpegAssembler;
pub use metadata::DOCUMENT_BYTES_MAX;
use metadata::DocumentAssembler;

/// Largest access unit in bytes: twelve times a key frame of a 4K camera at a high bit rate.
pub const ACCESS_UNIT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// One sample of a track, valid while the sink runs.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// What [`CodecKind`] says of the coding.
    pub data: &'a [u8],
    /// When it is presented, in ticks of the track's clock: the RTP timestamp, extended to 64 bits.
    pub timestamp: i64,
    /// Whether decoding can start here; always for JPEG, audio and metadata.
    pub key: bool,
    /// Packets lost or unusable since the sample before, those of a discarded sample included.
    pub lost_packets: u32,
    /// The configuration from this sample on, where parameter sets in the stream differ from what was known.
    pub config_changed: Option<&'a TrackConfig>,
    /// What a replay server says of it in the header extension of its first packet; `None` on a live stream.
    pub mark: Option<FrameMark>,
}

/// Why the configuration of a track cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// That of H.264 or H.265.
    #[error(transparent)]
    ParameterSets(#[from] DecoderConfigError),
    /// That of AAC.
    #[error(transparent)]
    Aac(#[from] AacConfigError),
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
    /// A parameter set cannot be used; the one before stays.
    #[error(transparent)]
    ParameterSet(#[from] SpsError),
    /// Access units of AAC come in another order than they sound.
    #[error("interleaved access units of AAC are not supported")]
    Interleaved,
    /// Motion JPEG of another type than the two that RFC 2435 defines.
    #[error("JPEG of RTP type {0} is not supported")]
    JpegType(u8),
    /// Motion JPEG with a Q that is reserved, or whose tables did not come.
    #[error("JPEG with Q {0} comes without quantization tables")]
    JpegQuantization(u8),
    /// Motion JPEG whose packets do not say how large the picture is: it is larger than 2040 pixels, and the camera does
    /// not send the header extension of ONVIF.
    #[error("JPEG without a picture size; choose a resolution of at most 2040 pixels in the camera")]
    JpegSize,
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
    H264(Box<AccessUnitAssembler<H264>>),
    H265(Box<AccessUnitAssembler<H265>>),
    Jpeg(Box<JpegAssembler>),
    Aac(AacAssembler),
    Metadata(DocumentAssembler),
    Packets(Packets),
}

/// Does the same with the assembler of any coding.
macro_rules! each {
    ($assembler:expr, $held:ident => $body:expr) => {
        match $assembler {
            Assembler::H264($held) => $body,
            Assembler::H265($held) => $body,
            Assembler::Jpeg($held) => $body,
            Assembler::Aac($held) => $body,
            Assembler::Metadata($held) => $body,
            Assembler::Packets($held) => $body,
        }
    };
}

impl Depacketizer {
    /// A depacketiser for a track; an H.264 configuration may be empty, and is then learned from the stream.
    pub fn new(config: &TrackConfig) -> Result<Self, ConfigError> {
        let record = config.config.as_slice();
        let assembler = match config.kind {
            CodecKind::H264 => Assembler::H264(Box::new(AccessUnitAssembler::new(H264::new(record)?))),
            CodecKind::H265 => Assembler::H265(Box::new(AccessUnitAssembler::new(H265::new(record)?))),
            CodecKind::Pcmu | CodecKind::Pcma => Assembler::Packets(Packets),
            CodecKind::Jpeg => Assembler::Jpeg(Box::new(JpegAssembler::new())),
            CodecKind::Aac => Assembler::Aac(AacAssembler::new(record, config.clock_rate)?),
            CodecKind::Metadata => Assembler::Metadata(DocumentAssembler::new()),
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
            each!(&mut self.assembler, assembler => assembler.loss(timestamp, &mut output));
            output.lose(lost);
        }
        let Some(timestamp) = timestamp else {
            return Err(DepacketizeError::PayloadType(packet.payload_type));
        };
        each!(&mut self.assembler, assembler => assembler.push(packet, timestamp, &mut output))
    }

    /// Ends the session: hands over the access unit that was complete but for its marker.
    pub fn flush(&mut self, sink: &mut impl FnMut(Sample<'_>)) {
        let mut output = Output { lost: &mut self.lost, config: &mut self.config, sink };
        each!(&mut self.assembler, assembler => assembler.flush(&mut output));
    }

    /// The configuration as it is known; for video empty until the first parameter sets came.
    pub const fn config(&self) -> &TrackConfig {
        &self.config
    }

    /// What the sequence numbers told so far.
    pub const fn sequence(&self) -> &SequenceTracker {
        &self.sequence
    }

    /// Bytes of the access unit that is not yet complete.
    pub fn buffered_bytes(&self) -> usize {
        each!(&self.assembler, assembler => assembler.buffered_bytes())
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

    fn emit(&mut self, sample: Emission<'_>) {
        let Emission { data, timestamp, key, mark, config_changed } = sample;
        let config_changed = config_changed.then_some(&*self.config);
        let lost_packets = std::mem::take(self.lost);
        (self.sink)(Sample { data, timestamp, key, lost_packets, config_changed, mark });
    }
}

/// A sample as an assembler made it.
struct Emission<'a> {
    data: &'a [u8],
    timestamp: i64,
    key: bool,
    mark: Option<FrameMark>,
    /// The configuration of [`Output`] is another from this sample on.
    config_changed: bool,
}

/// Every packet is a sample.
#[derive(Debug)]
struct Packets;

impl Packets {
    #[expect(clippy::unused_self, reason = "all assemblers are used alike")]
    fn loss<S: FnMut(Sample<'_>)>(&self, _timestamp: Option<i64>, _output: &mut Output<'_, S>) {}

    #[expect(clippy::unused_self, reason = "all assemblers are used alike")]
    fn push<S: FnMut(Sample<'_>)>(
        &self,
        packet: &RtpPacket<'_>,
        timestamp: i64,
        output: &mut Output<'_, S>,
    ) -> Result<(), DepacketizeError> {
        if packet.payload.is_empty() {
            return Err(DepacketizeError::Empty);
        }
        let mark = FrameMark::of(packet);
        output.emit(Emission { data: packet.payload, timestamp, key: true, mark, config_changed: false });
        Ok(())
    }

    #[expect(clippy::unused_self, reason = "all assemblers are used alike")]
    fn flush<S: FnMut(Sample<'_>)>(&self, _output: &mut Output<'_, S>) {}

    #[expect(clippy::unused_self, reason = "all assemblers are used alike")]
    const fn buffered_bytes(&self) -> usize {
        0
    }
}
