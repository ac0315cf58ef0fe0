//! One track on its way to one client: RTP numbering, sender reports, packets.

use std::time::Duration;

use keepwatch_media::packetize::{PacketizeError, Packetizer, PacketizerConfig};
use keepwatch_media::replay::EXTENSION_PROFILE;
use keepwatch_media::rtcp::{NtpTime, write_bye, write_sender_report};
use keepwatch_media::rtp::Extension;
use keepwatch_media::text::write_interleaved;
use keepwatch_model::{TICKS_PER_SECOND, TrackConfig, WallTime};
use tokio::time::Instant;

use super::Media;
use super::queue::Queued;

/// Between sender reports: RFC 3550 §6.2 allows no less.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// The canonical name in sender reports (RFC 3550 §6.5.1): says nothing of the host, binds the tracks together.
const CNAME: &str = "keepwatch";

/// The numbers that RTP wants to begin at random.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    /// The synchronisation source.
    pub(super) ssrc: u32,
    /// The sequence number of the first packet.
    pub(super) sequence: u16,
    /// The RTP timestamp of the session's start.
    pub(super) timestamp: u32,
}

/// A track that was set up.
pub(super) struct Sender {
    config: PacketizerConfig,
    packetizer: Packetizer,
    report_channel: u8,
    clock_rate: u32,
    start: Start,
    /// From the source's timestamps to those sent; known from the first media on.
    offset: Option<u32>,
    report_due: Option<Instant>,
    /// The capture time and sent timestamp of the last media.
    last: (WallTime, u32),
    /// Packets and bytes sent before the last gap.
    before_gap: (u32, u32),
}

impl Sender {
    /// A sender on interleaved `channels`, for RTP and for RTCP.
    pub(super) fn new(track: &TrackConfig, payload_type: u8, channels: (u8, u8), start: Start) -> Self {
        let config = PacketizerConfig {
            kind: track.kind,
            channels: track.channels,
            interleaved_channel: channels.0,
            payload_type,
            ssrc: start.ssrc,
            first_sequence: start.sequence,
        };
        Self {
            config,
            packetizer: Packetizer::new(config),
            report_channel: channels.1,
            clock_rate: track.clock_rate,
            start,
            offset: None,
            report_due: None,
            last: (WallTime::default(), start.timestamp),
            before_gap: (0, 0),
        }
    }

    /// Its interleaved channels, for RTP and for RTCP.
    pub(super) fn channels(&self) -> (u8, u8) {
        (self.config.interleaved_channel, self.report_channel)
    }

    /// The numbers it begins with, for `RTP-Info`.
    pub(super) fn start(&self) -> Start {
        self.start
    }

    /// Appends one access unit, after a sender report when one is due. `began` is the capture time at which the
    /// session began, the same for all its tracks.
    pub(super) fn push(
        &mut self,
        now: Instant,
        began: WallTime,
        queued: &Queued,
        out: &mut Vec<u8>,
    ) -> Result<(), PacketizeError> {
        let Queued { media, skip } = queued;
        if *skip > 0 {
            self.leave_gap(*skip);
        }
        let timestamp = media.timestamp.wrapping_add(self.offset(began, media));
        self.last = (media.capture, timestamp);
        if self.report_due.is_none_or(|due| due <= now) {
            self.report_due = Some(now + REPORT_INTERVAL);
            write_interleaved(out, self.report_channel, |out| self.report(out));
        }
        let words = media.mark.map(|mark| mark.to_words());
        let extension = words.as_ref().map(|data| Extension { profile: EXTENSION_PROFILE, data });
        if self.config.kind.is_video() {
            self.packetizer.push_extended(timestamp, extension, &[&media.prefix, &media.data], out)
        } else {
            self.packetizer.push_extended(timestamp, extension, &[&media.data], out)
        }
    }

    /// Appends a goodbye (RFC 3550 §6.6).
    pub(super) fn bye(&self, out: &mut Vec<u8>) {
        write_interleaved(out, self.report_channel, |out| {
            self.report(out);
            write_bye(out, self.start.ssrc);
        });
    }

    /// The offset of this session. All tracks get the RTP time of the same moment told in `RTP-Info`, before any
    /// media is known; so the first media's distance from that moment is what its timestamp shows.
    fn offset(&mut self, began: WallTime, media: &Media) -> u32 {
        let Self { start, clock_rate, .. } = *self;
        *self.offset.get_or_insert_with(|| {
            let ticks = i128::from(media.capture.ticks_since(began)) * i128::from(clock_rate);
            let ticks = ticks.div_euclid(i128::from(TICKS_PER_SECOND)).rem_euclid(1 << 32);
            let since_start = u32::try_from(ticks).unwrap_or(0);
            start.timestamp.wrapping_add(since_start).wrapping_sub(media.timestamp)
        })
    }

    /// Jumps ahead in the sequence numbers, so that what was left out shows as lost.
    fn leave_gap(&mut self, packets: u16) {
        let sent = self.packetizer.sender_report(NtpTime::default(), 0);
        let (packets_before, bytes_before) = self.before_gap;
        self.before_gap = (packets_before.wrapping_add(sent.packets), bytes_before.wrapping_add(sent.bytes));
        let first_sequence = self.packetizer.next_sequence().wrapping_add(packets);
        self.packetizer = Packetizer::new(PacketizerConfig { first_sequence, ..self.config });
    }

    /// Appends a sender report.
    fn report(&self, out: &mut Vec<u8>) {
        let (capture, timestamp) = self.last;
        let mut report = self.packetizer.sender_report(NtpTime::from_wall(capture), timestamp);
        report.packets = report.packets.wrapping_add(self.before_gap.0);
        report.bytes = report.bytes.wrapping_add(self.before_gap.1);
        write_sender_report(out, &report, CNAME);
    }
}

#[cfg(test)]
mod tests;
