//! The way of a session's packets to the disk: parsed, depacketised, handed to [`Gather`].
//!
//! This is the hot loop's handler: a packet costs a parse and a copy, a sample one more copy. A packet that cannot
//! be understood is counted and forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keepwatch_media::depacketize::{ConfigError, Depacketizer};
use keepwatch_media::rtcp::{self, RtcpPacket};
use keepwatch_media::rtp::RtpPacket;
use keepwatch_model::{Flow, MonoTime, PacketHandler, TrackConfig};

use super::gather::{Ending, Gather};

/// The handler of one session.
pub(crate) struct Ingest<'a> {
    depacketizers: Vec<Depacketizer>,
    gather: Gather<'a>,
    stop: Arc<AtomicBool>,
}

impl<'a> Ingest<'a> {
    /// The handler of a session with these tracks, in the order they were set up.
    pub(crate) fn new(tracks: &[TrackConfig], gather: Gather<'a>) -> Result<Self, ConfigError> {
        let depacketizers = tracks.iter().map(Depacketizer::new).collect::<Result<_, _>>()?;
        Ok(Self { depacketizers, gather, stop: Arc::default() })
    }

    /// Setting it ends the session at the next look, with a farewell to the camera.
    pub(crate) fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// Ends the session: what arrived is closed and queued at once.
    pub(crate) fn finish(mut self, now: MonoTime, ending: Ending) {
        for (track, depacketizer) in self.depacketizers.iter_mut().enumerate() {
            depacketizer.flush(&mut |sample| self.gather.sample(now, track, &sample));
        }
        self.gather.finish(ending);
    }

    fn count_bad_packet(&self) {
        self.gather.stream().counters().bad_packets.fetch_add(1, Ordering::Relaxed);
    }
}

impl PacketHandler for Ingest<'_> {
    fn rtp(&mut self, now: MonoTime, track: usize, packet: &[u8]) {
        let Some(depacketizer) = self.depacketizers.get_mut(track) else { return };
        let Ok(packet) = RtpPacket::parse(packet) else { return self.count_bad_packet() };
        if depacketizer.push(&packet, &mut |sample| self.gather.sample(now, track, &sample)).is_err() {
            self.count_bad_packet();
        }
    }

    fn rtcp(&mut self, now: MonoTime, track: usize, packet: &[u8]) {
        for part in rtcp::packets(packet) {
            match part {
                Ok(RtcpPacket::SenderReport(report)) => {
                    // RFC 3550 §6.4.1: a sender without a clock reports zero.
                    if let Some(camera_time) = report.ntp.to_wall() {
                        self.gather.sender_report(now, track, report.rtp_timestamp, camera_time);
                    }
                }
                Ok(_) => {}
                Err(_) => return self.count_bad_packet(),
            }
        }
    }

    fn idle(&mut self, now: MonoTime) -> Flow {
        self.gather.idle(now);
        if self.stop.load(Ordering::Relaxed) { Flow::Stop } else { Flow::Continue }
    }
}
