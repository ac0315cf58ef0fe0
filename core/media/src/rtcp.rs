//! RTCP (RFC 3550 §6): sender reports and goodbyes out of compound packets, and writers for both ends.
//!
//! What is not needed to record (descriptions, feedback, extended reports) is stepped over, not parsed.

mod reception;

use keepwatch_model::{TICKS_PER_SECOND, WallTime};

pub use reception::Reception;

/// Seconds from the NTP epoch (1900) to the Unix epoch (1970).
const NTP_TO_UNIX_SECONDS: i64 = 2_208_988_800;

/// Most packets read out of one compound packet: a datagram cannot sensibly hold more, a hostile one can.
const PACKETS_MAX: usize = 64;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;

/// Why bytes are not a compound RTCP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtcpError {
    /// Fewer bytes than a header says or its type needs.
    #[error("packet of {0} bytes is shorter than its header says")]
    Short(usize),
    /// The version is not 2.
    #[error("version {0} instead of 2")]
    Version(u8),
    /// More packets in one compound than any sender has a reason for.
    #[error("more than {PACKETS_MAX} packets in one compound")]
    TooMany,
}

/// A 64-bit NTP timestamp: seconds since 1900 in the upper half, fractions of a second in the lower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NtpTime(pub u64);

impl NtpTime {
    /// The label it stands for; `None` for zero, which says that the sender knows no time.
    ///
    /// Seconds with the top bit clear count from 2036-02-07 (RFC 4330 §3).
    pub fn to_wall(self) -> Option<WallTime> {
        if self.0 == 0 {
            return None;
        }
        let seconds = i64::try_from(self.0 >> 32).unwrap_or(0);
        let era = if seconds & 0x8000_0000 == 0 { 1 << 32 } else { 0 };
        let fraction = i64::try_from(self.0 & 0xffff_ffff).unwrap_or(0);
        let ticks = (fraction * TICKS_PER_SECOND + (1 << 31)) >> 32;
        Some(WallTime::from_ticks((seconds + era - NTP_TO_UNIX_SECONDS) * TICKS_PER_SECOND + ticks))
    }

    /// The timestamp of a label; labels outside 1968 to 2104 wrap, as NTP does.
    pub fn from_wall(label: WallTime) -> Self {
        let seconds = label.ticks().div_euclid(TICKS_PER_SECOND).wrapping_add(NTP_TO_UNIX_SECONDS);
        // Rounded up, so that `to_wall` gives the same tick back.
        let fraction =
            ((label.ticks().rem_euclid(TICKS_PER_SECOND) << 32) + TICKS_PER_SECOND - 1) / TICKS_PER_SECOND;
        Self(((seconds & 0xffff_ffff) << 32 | (fraction & 0xffff_ffff)).cast_unsigned())
    }
}

/// What a sender says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderReport {
    /// The synchronisation source of the sender.
    pub ssrc: u32,
    /// Wall-clock time of the report.
    pub ntp: NtpTime,
    /// The same moment on the RTP clock of the track.
    pub rtp_timestamp: u32,
    /// RTP packets sent so far, modulo 2^32.
    pub packets: u32,
    /// Payload bytes sent so far, modulo 2^32.
    pub bytes: u32,
}

/// What a receiver says of one source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// The source reported on.
    pub ssrc: u32,
    /// Packets lost since the last report, in 256ths of those expected.
    pub fraction_lost: u8,
    /// Packets lost since the beginning; only 24 bits are sent, larger values saturate.
    pub lost: u32,
    /// The highest sequence number with its wraps.
    pub highest_sequence: u32,
    /// Mean deviation of the inter-arrival times in ticks of the track's clock.
    pub jitter: u32,
    /// The middle 32 bits of the NTP time in the last sender report; 0 when there was none.
    pub last_sender_report: u32,
    /// Time since that report in 65,536ths of a second.
    pub delay_since: u32,
}

/// One packet of a compound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtcpPacket {
    /// A sender report.
    SenderReport(SenderReport),
    /// A receiver report from this source; its blocks are not read.
    ReceiverReport {
        /// Who reports.
        ssrc: u32,
    },
    /// The source ends; `None` when the packet names no source.
    Bye {
        /// The first source named.
        ssrc: Option<u32>,
    },
    /// Anything else.
    Other {
        /// Its type.
        packet_type: u8,
    },
}

/// Reads the packets of a compound; the first error ends the iteration.
pub fn packets(bytes: &[u8]) -> impl Iterator<Item = Result<RtcpPacket, RtcpError>> {
    let mut rest = bytes;
    let mut count = 0;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        count += 1;
        let next = if count > PACKETS_MAX { Err(RtcpError::TooMany) } else { split_packet(rest) };
        Some(match next {
            Ok((packet, after)) => {
                rest = after;
                Ok(packet)
            }
            Err(error) => {
                rest = &[];
                Err(error)
            }
        })
    })
}

fn split_packet(bytes: &[u8]) -> Result<(RtcpPacket, &[u8]), RtcpError> {
    let short = RtcpError::Short(bytes.len());
    let ([flags, packet_type, l0, l1], body) = bytes.split_first_chunk::<4>().ok_or(short)?;
    if flags >> 6 != 2 {
        return Err(RtcpError::Version(flags >> 6));
    }
    let length = usize::from(u16::from_be_bytes([*l0, *l1])) * 4;
    let (body, after) = body.split_at_checked(length).ok_or(short)?;
    let mut words = body.chunks_exact(4).map(|word| word.try_into().map_or(0, u32::from_be_bytes));
    let mut word = || words.next().ok_or(short);
    let packet = match *packet_type {
        SENDER_REPORT => RtcpPacket::SenderReport(SenderReport {
            ssrc: word()?,
            ntp: NtpTime(u64::from(word()?) << 32 | u64::from(word()?)),
            rtp_timestamp: word()?,
            packets: word()?,
            bytes: word()?,
        }),
        RECEIVER_REPORT => RtcpPacket::ReceiverReport { ssrc: word()? },
        GOODBYE => RtcpPacket::Bye { ssrc: word().ok().filter(|_| flags & 0x1f != 0) },
        packet_type => RtcpPacket::Other { packet_type },
    };
    Ok((packet, after))
}

/// Appends a compound of a sender report and the source description that RFC 3550 §6.1 demands with it.
///
/// `cname` is the canonical name, cut to 255 bytes.
pub fn write_sender_report(out: &mut Vec<u8>, report: &SenderReport, cname: &str) {
    header(out, 0, SENDER_REPORT, 6);
    out.extend_from_slice(&report.ssrc.to_be_bytes());
    out.extend_from_slice(&report.ntp.0.to_be_bytes());
    for word in [report.rtp_timestamp, report.packets, report.bytes] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    description(out, report.ssrc, cname);
}

/// Appends a compound of a receiver report on at most one source and a source description.
pub fn write_receiver_report(out: &mut Vec<u8>, ssrc: u32, block: Option<&ReportBlock>, cname: &str) {
    header(out, u8::from(block.is_some()), RECEIVER_REPORT, if block.is_some() { 7 } else { 1 });
    out.extend_from_slice(&ssrc.to_be_bytes());
    if let Some(block) = block {
        let lost = block.lost.min(0x7f_ffff) | u32::from(block.fraction_lost) << 24;
        for word in [
            block.ssrc,
            lost,
            block.highest_sequence,
            block.jitter,
            block.last_sender_report,
            block.delay_since,
        ] {
            out.extend_from_slice(&word.to_be_bytes());
        }
    }
    description(out, ssrc, cname);
}

/// Appends a goodbye of one source; to be sent behind a report, as RFC 3550 §6.1 wants every compound to begin.
pub fn write_bye(out: &mut Vec<u8>, ssrc: u32) {
    header(out, 1, GOODBYE, 1);
    out.extend_from_slice(&ssrc.to_be_bytes());
}

fn header(out: &mut Vec<u8>, count: u8, packet_type: u8, words: u16) {
    out.extend_from_slice(&[0x80 | (count & 0x1f), packet_type]);
    out.extend_from_slice(&words.to_be_bytes());
}

fn description(out: &mut Vec<u8>, ssrc: u32, cname: &str) {
    const CNAME: u8 = 1;
    let length = u8::try_from(cname.len()).unwrap_or(u8::MAX);
    // Source, item header, name, and one to four zero bytes that end the list and fill the word.
    let words = 1 + (2 + u16::from(length)) / 4 + 1;
    header(out, 1, SOURCE_DESCRIPTION, words);
    out.extend_from_slice(&ssrc.to_be_bytes());
    out.extend_from_slice(&[CNAME, length]);
    out.extend(cname.bytes().take(usize::from(length)));
    let zeros = 4 - (2 + usize::from(length)) % 4;
    out.extend(std::iter::repeat_n(0, zeros));
}

#[cfg(test)]
mod tests;
