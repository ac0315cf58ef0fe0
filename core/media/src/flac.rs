//! A small FLAC encoder (RFC 9639): 16-bit audio to frames, one at a time, each decodable for itself.
//!
//! It exists because an export must know its length before it reads media: [`Coding::Plain`] frames have a length
//! that follows from the number of samples alone, and blocks may end wherever footage has a gap. The encoders to
//! be had do neither. [`Coding::Packed`] frames are smaller, and their length is known once the samples are.
//! Frames are numbered by sample (variable block size, RFC 9639 §9.1.1), every step is integer arithmetic, and the
//! same samples give the same bytes everywhere. Channels are coded independently.

mod bits;
mod block;
mod crc;
mod predictor;
#[cfg(test)]
mod tests;

use keepwatch_model::CodecKind;

use bits::BitWriter;
pub use block::{Block, G711Frames};
use predictor::{Planner, Subframe};

/// Samples per channel of a block that is not cut short by a gap: half a second of G.711.
pub const BLOCK_SAMPLES: u32 = 4_096;

/// Most samples per channel of any block (RFC 9639 §9.1.1: 65,536 is forbidden).
pub const BLOCK_SAMPLES_MAX: u32 = 65_535;

/// Fewest samples of a block that a decoder must expect; only the last block before a gap may be shorter.
const BLOCK_SAMPLES_MIN: u16 = 16;

/// Most channels (RFC 9639 §9.1.3).
const CHANNELS_MAX: u8 = 8;

/// Bits of one audio sample before prediction.
const SAMPLE_BITS: u32 = 16;

/// First number that a frame header cannot carry (RFC 9639 §9.1.5: 36 bits).
const SAMPLE_NUMBER_END: u64 = 1 << 36;

/// Why audio cannot be coded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlacError {
    /// The track is none that is delivered as FLAC.
    #[error("{0:?} is not delivered as FLAC")]
    Codec(CodecKind),
    /// The clock rate is outside 1 to 65,535 Hz.
    #[error("a sampling rate of {0} Hz is outside 1 to 65535")]
    Rate(u32),
    /// The number of channels is outside 1 to 8.
    #[error("{0} audio channels are outside 1 to 8")]
    Channels(u8),
    /// A block has no sample, too many, or not the same number in each channel.
    #[error("a block of {values} values in {channels} channels is outside 1 to 65535 samples")]
    Block {
        /// Values in all channels.
        values: usize,
        /// Channels.
        channels: u8,
    },
    /// A sample has bits set that the stream promised to be zero.
    #[error("a sample has bits set among its lowest {0}")]
    LowBits(u8),
    /// The stream has more samples than a frame header can count.
    #[error("more than {SAMPLE_NUMBER_END} audio samples in one stream")]
    TooLong,
    /// The bytes handed in are not those that were planned.
    #[error("a block was planned of {planned} bytes and has {given}")]
    Bytes {
        /// Bytes by the index.
        planned: u64,
        /// Bytes handed in.
        given: usize,
    },
}

/// How a frame is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// Verbatim, less the bits that are always zero: the length follows from the number of samples.
    Plain,
    /// Predicted and Rice-coded: smaller, and the length is known after reading the samples.
    Packed,
}

/// What is the same in all frames of a stream: 16-bit audio of some rate and number of channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    rate_hz: u16,
    channels: u8,
    zero_bits: u8,
}

impl Stream {
    /// A stream of `channels` channels at `rate_hz`, in which the lowest `zero_bits` (at most 15) of every sample
    /// are zero.
    pub fn new(rate_hz: u32, channels: u8, zero_bits: u8) -> Result<Self, FlacError> {
        let rate = u16::try_from(rate_hz).ok().filter(|rate| *rate > 0).ok_or(FlacError::Rate(rate_hz))?;
        if !(1..=CHANNELS_MAX).contains(&channels) {
            return Err(FlacError::Channels(channels));
        }
        if zero_bits > 15 {
            return Err(FlacError::LowBits(zero_bits));
        }
        Ok(Self { rate_hz: rate, channels, zero_bits })
    }

    /// Samples per second.
    pub const fn rate_hz(self) -> u16 {
        self.rate_hz
    }

    /// Channels, 1 to 8.
    pub const fn channels(self) -> u8 {
        self.channels
    }

    /// The STREAMINFO metadata block without its header (RFC 9639 §8.2), `samples` per channel in all; 0 when
    /// not known. Frame sizes and the MD5 sum are given as unknown, since they are not before all is coded.
    pub fn info(self, samples: u64) -> StreamInfo {
        StreamInfo {
            block_samples_min: BLOCK_SAMPLES_MIN,
            block_samples_max: u16::try_from(BLOCK_SAMPLES_MAX).unwrap_or(u16::MAX),
            rate_hz: self.rate_hz,
            channels: self.channels,
            samples: if samples < SAMPLE_NUMBER_END { samples } else { 0 },
        }
    }

    /// Bytes of a [`Coding::Plain`] frame of `samples` per channel whose first sample is number `first_sample`
    /// of the stream.
    pub fn plain_bytes(self, first_sample: u64, samples: u32) -> u32 {
        let subframe = subframe_header_bits(u32::from(self.zero_bits))
            + u64::from(samples) * u64::from(SAMPLE_BITS - u32::from(self.zero_bits));
        frame_bytes(self, first_sample, u64::from(self.channels) * subframe)
    }
}

/// What a decoder must know before the first frame (RFC 9639 §8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// Fewest samples per channel in a block, the last before a gap excepted.
    pub block_samples_min: u16,
    /// Most samples per channel in a block.
    pub block_samples_max: u16,
    /// Samples per second.
    pub rate_hz: u16,
    /// Channels.
    pub channels: u8,
    /// Samples per channel in all; 0 when not known.
    pub samples: u64,
}

impl StreamInfo {
    /// The 34 bytes of the block; the frame sizes and the MD5 sum are 0, which means unknown.
    pub fn to_bytes(self) -> [u8; 34] {
        let rate = u64::from(self.rate_hz) << 44;
        let channels = u64::from(self.channels.saturating_sub(1) & 7) << 41;
        let bits = u64::from(SAMPLE_BITS - 1) << 36;
        let rate_channels_bits_samples = rate | channels | bits | (self.samples % SAMPLE_NUMBER_END);
        let mut bytes = [0; 34];
        let fields = self
            .block_samples_min
            .to_be_bytes()
            .into_iter()
            .chain(self.block_samples_max.to_be_bytes())
            .chain([0; 6])
            .chain(rate_channels_bits_samples.to_be_bytes());
        bytes.iter_mut().zip(fields).for_each(|(place, byte)| *place = byte);
        bytes
    }
}

/// Codes the frames of one stream; holds scratch memory, and no state that changes what comes out.
#[derive(Debug)]
pub struct Encoder {
    stream: Stream,
    channel: Vec<i32>,
    planner: Planner,
}

impl Encoder {
    /// An encoder of `stream`.
    pub fn new(stream: Stream) -> Self {
        Self { stream, channel: Vec::new(), planner: Planner::default() }
    }

    /// The stream it codes.
    pub const fn stream(&self) -> Stream {
        self.stream
    }

    /// Bytes that [`encode`](Self::encode) would append.
    pub fn encoded_bytes(
        &mut self,
        coding: Coding,
        first_sample: u64,
        samples: &[i16],
    ) -> Result<u32, FlacError> {
        let count = self.check(first_sample, samples)?;
        match coding {
            Coding::Plain => Ok(self.stream.plain_bytes(first_sample, count)),
            Coding::Packed => {
                let mut bits = 0u64;
                for channel in 0..self.stream.channels {
                    self.separate(channel, samples);
                    bits += self.planner.plan(&mut self.channel).bits();
                }
                Ok(frame_bytes(self.stream, first_sample, bits))
            }
        }
    }

    /// Appends the frame of `samples` (channels interleaved) to `out`; the first is number `first_sample` of the
    /// stream.
    pub fn encode(
        &mut self,
        coding: Coding,
        first_sample: u64,
        samples: &[i16],
        out: &mut Vec<u8>,
    ) -> Result<(), FlacError> {
        let count = self.check(first_sample, samples)?;
        let start = out.len();
        self.frame_header(first_sample, count, out);
        let mut bits = BitWriter::new(out);
        for channel in 0..self.stream.channels {
            self.separate(channel, samples);
            match coding {
                Coding::Plain => {
                    let shift = u32::from(self.stream.zero_bits);
                    self.channel.iter_mut().for_each(|sample| *sample >>= shift);
                    Subframe::verbatim(shift).write(&self.channel, &mut bits);
                }
                Coding::Packed => {
                    let subframe = self.planner.plan(&mut self.channel);
                    subframe.write(&self.channel, &mut bits);
                }
            }
        }
        bits.finish();
        let sum = crc::crc16(out.get(start..).unwrap_or_default());
        out.extend_from_slice(&sum.to_be_bytes());
        Ok(())
    }

    /// Samples per channel, when the block can be coded.
    fn check(&self, first_sample: u64, samples: &[i16]) -> Result<u32, FlacError> {
        let channels = self.stream.channels;
        let wrong = FlacError::Block { values: samples.len(), channels };
        if !samples.len().is_multiple_of(usize::from(channels)) {
            return Err(wrong);
        }
        let count = u32::try_from(samples.len() / usize::from(channels))
            .ok()
            .filter(|count| (1..=BLOCK_SAMPLES_MAX).contains(count))
            .ok_or(wrong)?;
        if first_sample >= SAMPLE_NUMBER_END {
            return Err(FlacError::TooLong);
        }
        let mask = (1i16 << self.stream.zero_bits).wrapping_sub(1);
        if samples.iter().fold(0, |joined, sample| joined | sample) & mask != 0 {
            return Err(FlacError::LowBits(self.stream.zero_bits));
        }
        Ok(count)
    }

    /// Copies one channel out of the interleaved samples.
    fn separate(&mut self, channel: u8, samples: &[i16]) {
        self.channel.clear();
        let every = samples.iter().skip(usize::from(channel)).step_by(usize::from(self.stream.channels));
        self.channel.extend(every.map(|sample| i32::from(*sample)));
    }

    /// RFC 9639 §9.1.
    fn frame_header(&self, first_sample: u64, count: u32, out: &mut Vec<u8>) {
        let start = out.len();
        // Block size 0b0111: 16 bits at the end of the header.
        let rate = rate_code(self.stream.rate_hz);
        // Sample size 0b100: 16 bits.
        out.extend_from_slice(&[0xff, 0xf9, 0x70 | rate, (self.stream.channels - 1) << 4 | 0b1000]);
        bits::write_coded_number(first_sample, out);
        out.extend_from_slice(&u16::try_from(count - 1).unwrap_or(u16::MAX).to_be_bytes());
        if rate == RATE_AT_END {
            out.extend_from_slice(&self.stream.rate_hz.to_be_bytes());
        }
        out.push(crc::crc8(out.get(start..).unwrap_or_default()));
    }
}

/// The rate stands in Hz at the end of the frame header (RFC 9639 §9.1.2).
const RATE_AT_END: u8 = 0b1101;

const fn rate_code(rate_hz: u16) -> u8 {
    match rate_hz {
        8_000 => 0b0100,
        16_000 => 0b0101,
        32_000 => 0b1000,
        44_100 => 0b1001,
        48_000 => 0b1010,
        _ => RATE_AT_END,
    }
}

/// Bits before the content of a subframe: its type, and the number of zero bits in unary (RFC 9639 §9.2.1).
fn subframe_header_bits(zero_bits: u32) -> u64 {
    8 + u64::from(zero_bits)
}

/// Bytes of a frame with `bits` of subframes. Saturates; no block that can be coded comes near.
fn frame_bytes(stream: Stream, first_sample: u64, bits: u64) -> u32 {
    let rate = if rate_code(stream.rate_hz) == RATE_AT_END { 2 } else { 0 };
    let header = 4 + bits::coded_number_bytes(first_sample) + 2 + rate + 1;
    u32::try_from(bits.div_ceil(8)).unwrap_or(u32::MAX).saturating_add(header).saturating_add(2)
}
