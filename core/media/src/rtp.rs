//! RTP packets (RFC 3550 §5): a view without copies, a header writer, and the two counters of a receiver.
//!
//! The header extension is exposed as it stands, because ONVIF replay carries recording times in it (profile
//! 0xABAC). Nothing is re-ordered here: over TCP packets arrive in order, and a late one is told as such. Datagrams
//! are brought into order by [`reorder`] first.

pub mod reorder;

/// Bytes of an RTP header without contributing sources and extension.
pub const HEADER_BYTES: usize = 12;

/// The furthest forward step of the sequence number that counts as loss; beyond it the sender began anew
/// (`MAX_DROPOUT` in RFC 3550 appendix A.1).
const DROPOUT_MAX: u16 = 3000;

/// The furthest backward step that counts as a late packet; beyond it the sender began anew. RFC 3550 appendix A.1
/// has `MAX_MISORDER` 100; 127 is what the window of received numbers holds.
const MISORDER_MAX: u16 = 127;

/// Why bytes are not an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtpError {
    /// Fewer bytes than its header says.
    #[error("packet of {0} bytes is shorter than its header")]
    Short(usize),
    /// The version is not 2.
    #[error("version {0} instead of 2")]
    Version(u8),
    /// The padding count is zero or more than the payload holds.
    #[error("padding of {0} bytes does not fit")]
    Padding(u8),
}

/// A header extension (RFC 3550 §5.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// The first 16 bits, which say what the data is: 0xABAC for ONVIF replay, 0xBEDE for RFC 8285.
    pub profile: u16,
    /// The data, a multiple of four bytes.
    pub data: &'a [u8],
}

/// One RTP packet in the bytes it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpPacket<'a> {
    /// The marker bit; for video the last packet of an access unit, if the sender is right.
    pub marker: bool,
    /// What the payload is, 0 to 127.
    pub payload_type: u8,
    /// The sequence number.
    pub sequence: u16,
    /// The sampling time in ticks of the track's clock, with an arbitrary start.
    pub timestamp: u32,
    /// The synchronisation source.
    pub ssrc: u32,
    /// The contributing sources, four bytes each.
    pub csrc: &'a [u8],
    /// The header extension, if there is one.
    pub extension: Option<Extension<'a>>,
    /// The payload without padding.
    pub payload: &'a [u8],
}

impl<'a> RtpPacket<'a> {
    /// Reads one packet, which is all of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RtpError> {
        let short = RtpError::Short(bytes.len());
        let (header, mut rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(short)?;
        let [flags, kind, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = *header;
        if flags >> 6 != 2 {
            return Err(RtpError::Version(flags >> 6));
        }
        let csrc;
        (csrc, rest) = rest.split_at_checked(usize::from(flags & 0x0f) * 4).ok_or(short)?;
        let mut extension = None;
        if flags & 0x10 != 0 {
            let ([p0, p1, l0, l1], after) = rest.split_first_chunk::<4>().ok_or(short)?;
            let length = usize::from(u16::from_be_bytes([*l0, *l1])) * 4;
            let data;
            (data, rest) = after.split_at_checked(length).ok_or(short)?;
            extension = Some(Extension { profile: u16::from_be_bytes([*p0, *p1]), data });
        }
        if flags & 0x20 != 0 {
            let padding = rest.last().copied().unwrap_or(0);
            let kept = rest.len().checked_sub(usize::from(padding)).filter(|_| padding > 0);
            rest = kept.and_then(|kept| rest.get(..kept)).ok_or(RtpError::Padding(padding))?;
        }
        Ok(Self {
            marker: kind & 0x80 != 0,
            payload_type: kind & 0x7f,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
            csrc,
            extension,
            payload: rest,
        })
    }
}

/// The header of a packet to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpHeader<'a> {
    /// The marker bit.
    pub marker: bool,
    /// What the payload is; the low seven bits are used.
    pub payload_type: u8,
    /// The sequence number.
    pub sequence: u16,
    /// The sampling time in ticks of the track's clock.
    pub timestamp: u32,
    /// The synchronisation source.
    pub ssrc: u32,
    /// A header extension; its data is cut to whole words, at most 65,535 of them.
    pub extension: Option<Extension<'a>>,
}

impl RtpHeader<'_> {
    /// Appends the header; the payload is what the caller appends next.
    pub fn write(&self, out: &mut Vec<u8>) {
        let flags = if self.extension.is_some() { 0x90 } else { 0x80 };
        out.extend_from_slice(&[flags, (u8::from(self.marker) << 7) | (self.payload_type & 0x7f)]);
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        if let Some(Extension { profile, data }) = self.extension {
            let words = u16::try_from(data.len() / 4).unwrap_or(u16::MAX);
            out.extend_from_slice(&profile.to_be_bytes());
            out.extend_from_slice(&words.to_be_bytes());
            out.extend(data.iter().take(usize::from(words) * 4));
        }
    }
}

/// What the sequence number of a packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SequenceStep {
    /// The first packet, or the one that follows.
    InOrder,
    /// It came, but this many before it have not come (yet).
    Lost(u16),
    /// It came before.
    Duplicate,
    /// It was counted as lost and came late.
    Late,
    /// It stands in no relation to those before: the sender began anew, and what was lost cannot be known.
    Restarted,
}

/// Follows the sequence numbers of one source (RFC 3550 appendix A.1, without the probation of new sources: a
/// track has exactly one).
#[derive(Clone, Debug, Default)]
pub struct SequenceTracker {
    /// Highest number, extended by the count of wraps; `None` before the first packet.
    highest: Option<u64>,
    /// Bit n: the number `highest - n` was received.
    window: u128,
    first: u64,
    received: u64,
    lost: u64,
    duplicates: u64,
    late: u64,
    restarts: u64,
}

impl SequenceTracker {
    /// A tracker that has seen nothing.
    pub const fn new() -> Self {
        Self { highest: None, window: 0, first: 0, received: 0, lost: 0, duplicates: 0, late: 0, restarts: 0 }
    }

    /// Takes the sequence number of the next packet.
    pub fn push(&mut self, sequence: u16) -> SequenceStep {
        self.received = self.received.saturating_add(1);
        let Some(highest) = self.highest else {
            self.begin(u64::from(sequence));
            return SequenceStep::InOrder;
        };
        let low = u16::try_from(highest & 0xffff).unwrap_or(u16::MAX);
        let ahead = sequence.wrapping_sub(low);
        let behind = low.wrapping_sub(sequence);
        if ahead == 0 || (behind <= MISORDER_MAX && self.window & (1 << behind) != 0) {
            self.duplicates += 1;
            return SequenceStep::Duplicate;
        }
        if behind <= MISORDER_MAX && highest.saturating_sub(u64::from(behind)) > self.first {
            self.window |= 1 << behind;
            self.late += 1;
            self.lost = self.lost.saturating_sub(1);
            return SequenceStep::Late;
        }
        if ahead > DROPOUT_MAX {
            self.restarts += 1;
            // The extended number goes on to grow, so that no reader of it sees it fall.
            self.begin(((highest >> 16) + 1) << 16 | u64::from(sequence));
            return SequenceStep::Restarted;
        }
        self.highest = Some(highest + u64::from(ahead));
        self.window = self.window.checked_shl(u32::from(ahead)).unwrap_or(0) | 1;
        let lost = ahead - 1;
        self.lost += u64::from(lost);
        if lost == 0 { SequenceStep::InOrder } else { SequenceStep::Lost(lost) }
    }

    fn begin(&mut self, extended: u64) {
        self.first = extended;
        self.highest = Some(extended);
        self.window = 1;
    }

    /// The highest sequence number with the wraps counted above its 16 bits; 0 before the first packet.
    pub fn extended_highest(&self) -> u64 {
        self.highest.unwrap_or(0)
    }

    /// Packets that came, duplicates and late ones included.
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Packets that did not come.
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Packets that came twice.
    pub const fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Packets that came late; they are not among the lost.
    pub const fn late(&self) -> u64 {
        self.late
    }

    /// How often the sender began anew.
    pub const fn restarts(&self) -> u64 {
        self.restarts
    }
}

/// Extends 32-bit timestamps to 64 bits: each is the one nearest to its predecessor.
///
/// A jump of less than half the range, 6.6 hours at 90 kHz, comes out as it is; whether it is sane is for the caller
/// to judge.
#[derive(Clone, Copy, Debug, Default)]
pub struct TimestampUnwrapper {
    last: Option<i64>,
}

impl TimestampUnwrapper {
    /// An unwrapper that has seen nothing; the first timestamp comes out as it went in.
    pub const fn new() -> Self {
        Self { last: None }
    }

    /// The extended form of `timestamp`.
    pub fn unwrap(&mut self, timestamp: u32) -> i64 {
        let extended = match self.last {
            None => i64::from(timestamp),
            Some(last) => {
                let low = u32::try_from(last & 0xffff_ffff).unwrap_or(0);
                last.saturating_add(i64::from(timestamp.wrapping_sub(low).cast_signed()))
            }
        };
        self.last = Some(extended);
        extended
    }
}

#[cfg(test)]
mod tests;
