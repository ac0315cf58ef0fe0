//! Access units out of payloads of AAC (RFC 3640 §3.2, modes AAC-hbr and AAC-lbr).
//!
//! The two modes differ in the length of an access unit's header. Which one it is need not be told: only one of them
//! makes the sizes add up to the packet. Interleaving is refused, no camera has a reason for it.

use crate::aac::{AacConfig, AacConfigError};
use crate::replay::FrameMark;
use crate::rtp::RtpPacket;

use super::memory::SampleMemory;
use super::{DepacketizeError, Emission, Output, Sample};

/// Largest access unit in bytes: what 13 bits can say.
const UNIT_BYTES_MAX: usize = 8191;

/// Takes the access units of one track apart.
#[derive(Debug)]
pub(super) struct AacAssembler {
    /// Samples of an access unit, and the rates that its length in ticks follows from.
    unit_samples: u64,
    clock_rate: u64,
    rate_hz: u64,
    /// A packet came that can only be of the high mode.
    high: bool,
    /// An access unit of which fragments came.
    fragments: Option<Fragments>,
    unit: SampleMemory,
}

#[derive(Clone, Copy, Debug)]
struct Fragments {
    size: usize,
    timestamp: i64,
    mark: Option<FrameMark>,
}

/// How long the headers of access units are (RFC 3640 §3.3.5 and §3.3.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// A size of 6 bits and an index of 2.
    Low,
    /// A size of 13 bits and an index of 3.
    High,
}

impl Mode {
    const fn header_bytes(self) -> usize {
        match self {
            Self::Low => 1,
            Self::High => 2,
        }
    }

    /// Size and index of each header in `headers`.
    fn units(self, headers: &[u8]) -> impl Iterator<Item = (usize, u8)> {
        headers.chunks_exact(self.header_bytes()).map(move |header| match *header {
            [low] => (usize::from(low >> 2), low & 3),
            [high, low, ..] => (usize::from(u16::from_be_bytes([high, low]) >> 3), low & 7),
            [] => (0, 0),
        })
    }

    /// Whether the sizes of the units are those of `data`.
    fn fits(self, headers: &[u8], data: &[u8]) -> bool {
        headers.len().is_multiple_of(self.header_bytes())
            && self.units(headers).map(|(size, _)| size).sum::<usize>() == data.len()
    }
}

impl AacAssembler {
    pub(super) fn new(config: &[u8], clock_rate: u32) -> Result<Self, AacConfigError> {
        let config = AacConfig::parse(config)?;
        Ok(Self {
            unit_samples: config.unit_samples.into(),
            clock_rate: clock_rate.into(),
            rate_hz: config.rate_hz.into(),
            high: false,
            fragments: None,
            unit: SampleMemory::default(),
        })
    }

    pub(super) fn buffered_bytes(&self) -> usize {
        self.unit.len()
    }

    pub(super) fn loss<S: FnMut(Sample<'_>)>(
        &mut self,
        _timestamp: Option<i64>,
        _output: &mut Output<'_, S>,
    ) {
        self.drop_fragments();
    }

    pub(super) fn flush<S: FnMut(Sample<'_>)>(&mut self, _output: &mut Output<'_, S>) {
        self.drop_fragments();
    }

    pub(super) fn push<S: FnMut(Sample<'_>)>(
        &mut self,
        packet: &RtpPacket<'_>,
        timestamp: i64,
        output: &mut Output<'_, S>,
    ) -> Result<(), DepacketizeError> {
        let result = self.read(packet, timestamp, output);
        if result.is_err() {
            self.drop_fragments();
            output.lose(1);
        }
        result
    }

    fn read<S: FnMut(Sample<'_>)>(
        &mut self,
        packet: &RtpPacket<'_>,
        timestamp: i64,
        output: &mut Output<'_, S>,
    ) -> Result<(), DepacketizeError> {
        let truncated = DepacketizeError::Truncated;
        let (bits, rest) = packet.payload.split_first_chunk::<2>().ok_or(truncated)?;
        let header_bytes = usize::from(u16::from_be_bytes(*bits)).div_ceil(8);
        let (headers, data) = rest.split_at_checked(header_bytes).ok_or(truncated)?;
        if headers.is_empty() || data.is_empty() {
            return Err(DepacketizeError::Empty);
        }
        // What is left of an access unit may by chance have the length of two of the low mode.
        let awaited = self.fragments.is_some_and(|begun| {
            let size = Mode::High.units(headers).next().map(|(size, _)| size);
            headers.len() == 2 && begun.timestamp == timestamp && size == Some(begun.size)
        });
        let fitting = |mode: &Mode| mode.fits(headers, data);
        let modes: &[Mode] = if self.high { &[Mode::High] } else { &[Mode::High, Mode::Low] };
        let Some(mode) = modes.iter().copied().find(fitting).filter(|_| !awaited) else {
            return self.fragment(headers, data, packet, timestamp, output);
        };
        self.high |= mode == Mode::High && !Mode::Low.fits(headers, data);
        self.drop_fragments();
        if mode.units(headers).any(|(_, index)| index != 0) {
            return Err(DepacketizeError::Interleaved);
        }
        let (mut rest, mut mark) = (data, FrameMark::of(packet));
        for ((size, _), position) in mode.units(headers).zip(0u64..) {
            let (unit, after) = rest.split_at_checked(size).ok_or(truncated)?;
            rest = after;
            if !unit.is_empty() {
                let timestamp = timestamp.saturating_add(self.ticks(position));
                let mark = mark.take();
                output.emit(Emission { data: unit, timestamp, key: true, mark, config_changed: false });
            }
        }
        Ok(())
    }

    /// A part of one access unit (§3.2.3): its header tells the size of the whole.
    fn fragment<S: FnMut(Sample<'_>)>(
        &mut self,
        headers: &[u8],
        data: &[u8],
        packet: &RtpPacket<'_>,
        timestamp: i64,
        output: &mut Output<'_, S>,
    ) -> Result<(), DepacketizeError> {
        let mut units = Mode::High.units(headers);
        let (Some((size, 0)), None) = (units.next(), units.next()) else {
            return Err(DepacketizeError::Truncated);
        };
        if size < data.len() || headers.len() != Mode::High.header_bytes() {
            return Err(DepacketizeError::Truncated);
        }
        let begun = self.fragments.filter(|begun| begun.size == size && begun.timestamp == timestamp);
        if begun.is_none() {
            self.unit.clear();
        }
        let begun = begun.unwrap_or(Fragments { size, timestamp, mark: FrameMark::of(packet) });
        if data.len() > begun.size.min(UNIT_BYTES_MAX).saturating_sub(self.unit.len()) {
            return Err(DepacketizeError::TooLong);
        }
        self.unit.append(data);
        self.fragments = Some(begun);
        if self.unit.len() == begun.size {
            let Fragments { timestamp, mark, .. } = begun;
            output.emit(Emission {
                data: self.unit.bytes(),
                timestamp,
                key: true,
                mark,
                config_changed: false,
            });
            self.unit.sent();
            self.fragments = None;
        }
        Ok(())
    }

    fn drop_fragments(&mut self) {
        self.fragments = None;
        self.unit.clear();
    }

    /// How long after the first access unit of a packet the one at `position` sounds.
    fn ticks(&self, position: u64) -> i64 {
        let samples = position.saturating_mul(self.unit_samples);
        i64::try_from(samples.saturating_mul(self.clock_rate) / self.rate_hz.max(1)).unwrap_or(i64::MAX)
    }
}
