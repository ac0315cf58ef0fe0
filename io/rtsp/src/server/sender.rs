//! One track on its way to one client: RTP numbering and timestamps, sender reports, packets.

use std::time::{Duration, SystemTime};

use keepwatch_media::packetize::{PacketizeError, Packetizer, PacketizerConfig};
use keepwatch_media::replay::{EXTENSION_PROFILE, FrameMark};
use keepwatch_media::rtcp::{NtpTime, write_bye, write_sender_report};
use keepwatch_media::rtp::Extension;
use keepwatch_media::text::write_interleaved;
use keepwatch_model::{TICKS_PER_SECOND, TrackConfig, WallTime, ticks_from_duration};
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

/// What a media's time on the wire is derived from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Timing {
    /// Live: when it was captured, from this label on, at which the session began.
    Live {
        /// The same for all tracks.
        epoch: WallTime,
    },
    /// Recorded, the client sets the pace: when it was captured, as live.
    Free {
        /// The same for all tracks.
        epoch: WallTime,
    },
    /// Recorded, the server sets the pace: when it is shown (RFC 2326 appendix B), in 90 kHz ticks since the session
    /// began.
    Paced {
        /// When this media is shown.
        ticks: i64,
        /// The present.
        now_ticks: i64,
        /// Whether it is shown as fast as it was captured.
        even: bool,
    },
}

/// A track that was set up.
pub(super) struct Sender {
    config: PacketizerConfig,
    packetizer: Packetizer,
    report_channel: u8,
    clock_rate: u32,
    start: Start,
    /// From the source's timestamps to those sent; known from the first media on, and anew after a discontinuity.
    offset: Option<u32>,
    report_due: Option<Instant>,
    /// What a sender report says: the time and the sent timestamp of the last media.
    last: (NtpTime, u32),
    /// Packets and bytes sent before the last gap.
    before_gap: (u32, u32),
    /// The low byte of the `CSeq` of the `PLAY`, for marks.
    play_sequence: u8,
    /// Whether the next mark tells of a seek.
    sought: bool,
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
            last: (NtpTime::default(), start.timestamp),
            before_gap: (0, 0),
            play_sequence: 0,
            sought: false,
        }
    }

    /// Its interleaved channels, for RTP and for RTCP.
    pub(super) fn channels(&self) -> (u8, u8) {
        (self.config.interleaved_channel, self.report_channel)
    }

    /// The sequence number of the next packet, for `RTP-Info`.
    pub(super) fn next_sequence(&self) -> u16 {
        self.packetizer.next_sequence()
    }

    /// The timestamp of an instant, in 90 kHz ticks since the session began.
    pub(super) fn timestamp_at(&self, ticks: i64) -> u32 {
        let ticks = i128::from(ticks) * i128::from(self.clock_rate);
        let ticks = ticks.div_euclid(i128::from(TICKS_PER_SECOND)).rem_euclid(1 << 32);
        self.start.timestamp.wrapping_add(u32::try_from(ticks).unwrap_or(0))
    }

    /// A `PLAY` with this number begins; `seeks` where it goes to another place.
    pub(super) fn play(&mut self, play_sequence: u8, seeks: bool) {
        self.play_sequence = play_sequence;
        self.offset = None;
        // Reports tell at once of the clock that holds from here on.
        self.report_due = None;
        self.sought |= seeks && self.packetizer.next_sequence() != self.start.sequence;
    }

    /// Sends no report before the next media at `now`.
    pub(super) fn withhold_report(&mut self, now: Instant) {
        self.report_due = Some(now + REPORT_INTERVAL);
    }

    /// Appends one access unit, after a sender report when one is due.
    pub(super) fn push(
        &mut self,
        now: Instant,
        timing: Timing,
        queued: &Queued,
        out: &mut Vec<u8>,
    ) -> Result<(), PacketizeError> {
        let Queued { media, skip } = queued;
        if *skip > 0 {
            self.leave_gap(*skip);
        }
        let mark = media.mark.map(|mark| self.complete(mark));
        if mark.is_some_and(|mark| mark.discontinuity) {
            self.offset = None;
        }
        let timestamp = self.timestamp(timing, media);
        if self.report_due.is_none_or(|due| due <= now) {
            self.report_due = Some(now + REPORT_INTERVAL);
            self.last = self.reported(timing, media, timestamp);
            write_interleaved(out, self.report_channel, |out| self.report(out));
        } else if let Timing::Live { .. } = timing {
            // For the goodbye, which comes without media.
            self.last = (NtpTime::from_wall(media.capture), timestamp);
        }
        let words = mark.map(|mark| mark.to_words());
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

    /// Fills in what the source does not know.
    fn complete(&mut self, mark: FrameMark) -> FrameMark {
        let discontinuity = mark.discontinuity | std::mem::take(&mut self.sought);
        FrameMark { sequence: self.play_sequence, discontinuity, ..mark }
    }

    /// The timestamp of `media`. All tracks get the RTP time of the same moment told in `RTP-Info`, before any media
    /// is known; so the first media's distance from that moment is what its timestamp shows. From there on the
    /// source's own timestamps count, which are exact where captured times are rounded to ticks of 90 kHz.
    fn timestamp(&mut self, timing: Timing, media: &Media) -> u32 {
        let ticks = match timing {
            Timing::Live { epoch } | Timing::Free { epoch } => media.capture.ticks_since(epoch),
            Timing::Paced { ticks, even: true, .. } => ticks,
            Timing::Paced { ticks, even: false, .. } => return self.timestamp_at(ticks),
        };
        let offset = match self.offset {
            Some(offset) => offset,
            None => *self.offset.insert(self.timestamp_at(ticks).wrapping_sub(media.timestamp)),
        };
        media.timestamp.wrapping_add(offset)
    }

    /// What a sender report says beside `media` (ONVIF Streaming, "Use of RTCP": nothing where the client sets the
    /// pace, the present where the server does).
    fn reported(&self, timing: Timing, media: &Media, timestamp: u32) -> (NtpTime, u32) {
        match timing {
            Timing::Live { .. } => (NtpTime::from_wall(media.capture), timestamp),
            Timing::Free { .. } => (NtpTime::default(), 0),
            Timing::Paced { now_ticks, .. } => {
                (NtpTime::from_wall(wall_clock()), self.timestamp_at(now_ticks))
            }
        }
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
        let (ntp, timestamp) = self.last;
        let mut report = self.packetizer.sender_report(ntp, timestamp);
        report.packets = report.packets.wrapping_add(self.before_gap.0);
        report.bytes = report.bytes.wrapping_add(self.before_gap.1);
        write_sender_report(out, &report, CNAME);
    }
}

/// The present.
fn wall_clock() -> WallTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    WallTime::from_ticks(ticks_from_duration(since))
}

#[cfg(test)]
mod tests;
