//! What a receiver counts of one source, for its reports (RFC 3550 §6.4.1, appendices A.3 and A.8).

use keepwatch_model::MonoTime;

use super::{ReportBlock, SenderReport};
use crate::rtp::{RtpPacket, SequenceTracker};

/// The statistics of one source as it arrives, before packets are brought into order.
#[derive(Clone, Debug)]
pub struct Reception {
    clock_rate: u32,
    ssrc: u32,
    sequence: SequenceTracker,
    /// Arrival less RTP time of the packet before, in ticks, modulo 2^32.
    transit: Option<u32>,
    /// The jitter in sixteenths of a tick.
    jitter: u32,
    /// Packets expected and received at the last report.
    reported: (u64, u64),
    /// The middle of the NTP time in the last sender report, and when that came.
    sender_report: Option<(u32, MonoTime)>,
}

impl Reception {
    /// Nothing received yet of a track with so many ticks in a second.
    pub const fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate,
            ssrc: 0,
            sequence: SequenceTracker::new(),
            transit: None,
            jitter: 0,
            reported: (0, 0),
            sender_report: None,
        }
    }

    /// Takes note of a packet that came at `now`.
    pub fn packet(&mut self, now: MonoTime, packet: &RtpPacket<'_>) {
        self.ssrc = packet.ssrc;
        self.sequence.push(packet.sequence);
        let ticks = u128::from(now.as_nanos()).saturating_mul(u128::from(self.clock_rate)) / 1_000_000_000;
        let arrival = u32::try_from(ticks & 0xffff_ffff).unwrap_or(0);
        let transit = arrival.wrapping_sub(packet.timestamp);
        if let Some(before) = self.transit.replace(transit) {
            // RFC 3550 §6.4.1. Of a jump in the timestamps no more is believed than a second.
            let deviation =
                transit.wrapping_sub(before).cast_signed().unsigned_abs().min(self.clock_rate.min(1 << 24));
            let fade = self.jitter.saturating_add(8) >> 4;
            self.jitter = self.jitter.saturating_add(deviation).saturating_sub(fade);
        }
    }

    /// Takes note of a sender report that came at `now`.
    pub fn sender_report(&mut self, now: MonoTime, report: &SenderReport) {
        let middle = u32::try_from((report.ntp.0 >> 16) & 0xffff_ffff).unwrap_or(0);
        self.sender_report = Some((middle, now));
    }

    /// What is to be reported at `now`; `None` before the first packet. The next report counts from here.
    pub fn report(&mut self, now: MonoTime) -> Option<ReportBlock> {
        let received = self.sequence.received();
        if received == 0 {
            return None;
        }
        let expected =
            received.saturating_sub(self.sequence.duplicates()).saturating_add(self.sequence.lost());
        let (expected_before, received_before) = std::mem::replace(&mut self.reported, (expected, received));
        let expected_since = expected.saturating_sub(expected_before);
        let lost_since = expected_since.saturating_sub(received.saturating_sub(received_before));
        // Appendix A.3: what duplicates make up for is not lost, and never less than nothing.
        let fraction = (lost_since << 8).checked_div(expected_since).unwrap_or(0);
        let low = |value: u64| u32::try_from(value & 0xffff_ffff).unwrap_or(0);
        let (last_sender_report, delay_since) = self.sender_report.map_or((0, 0), |(middle, arrived)| {
            let delay = now.since(arrived).as_micros().saturating_mul(65_536) / 1_000_000;
            (middle, u32::try_from(delay).unwrap_or(u32::MAX))
        });
        Some(ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            lost: u32::try_from(expected.saturating_sub(received)).unwrap_or(u32::MAX),
            highest_sequence: low(self.sequence.extended_highest()),
            jitter: self.jitter >> 4,
            last_sender_report,
            delay_since,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::NtpTime;

    fn at(millis: u64) -> MonoTime {
        MonoTime::from_nanos(millis * 1_000_000)
    }

    fn receive(reception: &mut Reception, now: MonoTime, sequence: u16, timestamp: u32) {
        let packet = RtpPacket {
            marker: false,
            payload_type: 96,
            sequence,
            timestamp,
            ssrc: 7,
            csrc: &[],
            extension: None,
            payload: &[1],
        };
        reception.packet(now, &packet);
    }

    #[test]
    fn loss_is_told_since_the_last_report_and_in_all() {
        let mut reception = Reception::new(90_000);
        assert_eq!(reception.report(at(0)), None);
        // Ten expected, two of them lost, one twice.
        for sequence in [65_530, 65_531, 65_532, 65_533, 65_533, 0, 1, 2, 3] {
            receive(&mut reception, at(0), sequence, 0);
        }
        let first = reception.report(at(0)).unwrap();
        assert_eq!((first.ssrc, first.highest_sequence), (7, 65_536 + 3));
        assert_eq!((first.lost, first.fraction_lost), (1, 25), "a duplicate makes up for one of the two");
        for sequence in 4..=10 {
            receive(&mut reception, at(0), sequence, 0);
        }
        let second = reception.report(at(0)).unwrap();
        assert_eq!((second.lost, second.fraction_lost), (1, 0));
        for sequence in [12, 14] {
            receive(&mut reception, at(0), sequence, 0);
        }
        assert_eq!(reception.report(at(0)).unwrap().fraction_lost, 128);
    }

    /// RFC 3550 appendix A.8: with packets that deviate by the same amount each time, jitter comes near to it.
    #[test]
    fn jitter_is_the_mean_deviation_in_ticks() {
        let mut even = Reception::new(90_000);
        let mut uneven = Reception::new(90_000);
        for number in 0..500u16 {
            let timestamp = u32::from(number) * 3_600;
            let due = u64::from(number) * 40;
            receive(&mut even, at(due + 5), number, timestamp);
            receive(&mut uneven, at(due + 10 * u64::from(number % 2)), number, timestamp);
        }
        assert_eq!(even.report(at(0)).unwrap().jitter, 0);
        let jitter = uneven.report(at(0)).unwrap().jitter;
        assert!((880..=900).contains(&jitter), "{jitter}");
    }

    #[test]
    fn the_last_sender_report_and_its_age_are_repeated() {
        let mut reception = Reception::new(8_000);
        receive(&mut reception, at(0), 1, 0);
        let report = SenderReport { ntp: NtpTime(0x1111_2222_3333_4444), ..SenderReport::default() };
        reception.sender_report(at(1_000), &report);
        let block = reception.report(at(3_500)).unwrap();
        assert_eq!((block.last_sender_report, block.delay_since), (0x2222_3333, 65_536 * 5 / 2));
    }
}
