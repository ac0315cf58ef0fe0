//! G.711 packets joined into FLAC blocks, from the index of a recording alone.
//!
//! A block is a run of whole packets that follow each other without a gap, up to [`BLOCK_SAMPLES`]. The same
//! packets give the same blocks, so an exporter plans once for the file's header and once more, record by record,
//! while it writes. It never holds more than one block of audio.

use std::ops::Range;

use keepwatch_model::{TICKS_PER_SECOND, TrackConfig, WallTime};

use super::{BLOCK_SAMPLES, Coding, Encoder, FlacError, Stream};
use crate::g711::Law;
use crate::mp4::SampleInfo;

/// How far a packet's label may be from where the packet before it ends, in 90 kHz ticks: 5 ms. The shortest
/// packets in use hold 10 ms, so a lost one is always seen; the slewing of labels stays far below.
const JOIN_TICKS_MAX: i64 = TICKS_PER_SECOND / 200;

/// Packets that become one FLAC frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Label of its first audio sample.
    pub pts: WallTime,
    /// Which of the packets that were planned.
    pub packets: Range<usize>,
    /// Bytes of these packets.
    pub packet_bytes: u32,
    /// Audio samples per channel.
    pub samples: u32,
    /// Number of its first audio sample in the stream.
    pub first_sample: u64,
}

/// Plans and codes the FLAC frames of one G.711 track, in order.
#[derive(Debug)]
pub struct G711Frames {
    law: Law,
    encoder: Encoder,
    linear: Vec<i16>,
    next_sample: u64,
}

impl G711Frames {
    /// Frames of the track that `config` describes, beginning at sample 0.
    pub fn new(config: &TrackConfig) -> Result<Self, FlacError> {
        let law = Law::of(config.kind).ok_or(FlacError::Codec(config.kind))?;
        let stream = Stream::new(config.clock_rate, config.channels, law.zero_bits())?;
        Ok(Self { law, encoder: Encoder::new(stream), linear: Vec::new(), next_sample: 0 })
    }

    /// The stream of its frames.
    pub const fn stream(&self) -> Stream {
        self.encoder.stream()
    }

    /// Numbers what is planned from here on from `first_sample`. Players take the time of a frame from what it is in, so
    /// that a number may come from elsewhere: from the time itself, where the same frame is to be the same in any file.
    pub fn number_from(&mut self, first_sample: u64) {
        self.next_sample = first_sample;
    }

    /// Appends to `blocks` those of the next `packets`, numbered on from those planned before. A block never
    /// spans two calls. Packets without a whole audio sample give none.
    pub fn plan(&mut self, packets: &[SampleInfo], blocks: &mut Vec<Block>) -> Result<(), FlacError> {
        let mut open: Option<Block> = None;
        for (position, packet) in packets.iter().enumerate() {
            match &mut open {
                Some(block) if self.continues(block, packet) => {
                    block.packets.end = position + 1;
                    block.packet_bytes = block.packet_bytes.saturating_add(packet.size_bytes);
                }
                _ => {
                    self.close(open.take(), blocks)?;
                    open = Some(Block {
                        pts: packet.pts,
                        packets: position..position + 1,
                        packet_bytes: packet.size_bytes,
                        samples: 0,
                        first_sample: 0,
                    });
                }
            }
        }
        self.close(open, blocks)
    }

    /// What the file's index says of the frame of `block`, when it is coded plainly.
    pub fn plain_sample(&self, block: &Block) -> SampleInfo {
        self.sample(block, self.stream().plain_bytes(block.first_sample, block.samples))
    }

    /// What the file's index says of the frame of `block`, when it is packed; `g711` is the data of its packets.
    pub fn packed_sample(&mut self, block: &Block, g711: &[u8]) -> Result<SampleInfo, FlacError> {
        self.decode(block, g711)?;
        let size_bytes = self.encoder.encoded_bytes(Coding::Packed, block.first_sample, &self.linear)?;
        Ok(self.sample(block, size_bytes))
    }

    /// Appends the frame of `block` to `out`; `g711` is the data of its packets.
    pub fn encode(
        &mut self,
        coding: Coding,
        block: &Block,
        g711: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), FlacError> {
        self.decode(block, g711)?;
        self.encoder.encode(coding, block.first_sample, &self.linear, out)
    }

    fn sample(&self, block: &Block, size_bytes: u32) -> SampleInfo {
        let duration_ticks = u32::try_from(self.ticks(block.samples)).unwrap_or(u32::MAX);
        SampleInfo { size_bytes, pts: block.pts, duration_ticks, key: true }
    }

    fn continues(&self, block: &Block, packet: &SampleInfo) -> bool {
        let samples = self.samples(block.packet_bytes);
        let off = packet.pts.ticks_since(block.pts.plus(self.ticks(samples)));
        samples.saturating_add(self.samples(packet.size_bytes)) <= BLOCK_SAMPLES
            && off.unsigned_abs() <= JOIN_TICKS_MAX.unsigned_abs()
    }

    fn close(&mut self, open: Option<Block>, blocks: &mut Vec<Block>) -> Result<(), FlacError> {
        let Some(mut block) = open else { return Ok(()) };
        block.samples = self.samples(block.packet_bytes);
        block.first_sample = self.next_sample;
        if block.samples > super::BLOCK_SAMPLES_MAX {
            let values = usize::try_from(block.packet_bytes).unwrap_or(usize::MAX);
            return Err(FlacError::Block { values, channels: self.stream().channels() });
        }
        self.next_sample = self.next_sample.saturating_add(u64::from(block.samples));
        if self.next_sample >= super::SAMPLE_NUMBER_END {
            return Err(FlacError::TooLong);
        }
        if block.samples > 0 {
            blocks.push(block);
        }
        Ok(())
    }

    /// Decodes a block's packets; an incomplete audio sample at its end is left out, as it was when planned.
    fn decode(&mut self, block: &Block, g711: &[u8]) -> Result<(), FlacError> {
        let wrong = FlacError::Bytes { planned: block.packet_bytes.into(), given: g711.len() };
        if u32::try_from(g711.len()) != Ok(block.packet_bytes) {
            return Err(wrong);
        }
        let values = usize::try_from(block.samples).unwrap_or(usize::MAX);
        let values = values.saturating_mul(usize::from(self.stream().channels()));
        self.linear.clear();
        self.law.decode_into(g711.get(..values).ok_or(wrong)?, &mut self.linear);
        Ok(())
    }

    /// Audio samples per channel in `bytes` of G.711.
    fn samples(&self, bytes: u32) -> u32 {
        bytes / u32::from(self.stream().channels())
    }

    /// 90 kHz ticks of `samples`, rounded up.
    fn ticks(&self, samples: u32) -> i64 {
        (i64::from(samples) * TICKS_PER_SECOND + i64::from(self.stream().rate_hz()) - 1)
            / i64::from(self.stream().rate_hz())
    }
}
