//! RTP and RTCP in datagrams (RFC 2326 §10.4, RFC 3550 §11): a pair of ports for each track, sent evenly.
//!
//! Packets arrive framed as for the connection, with the channel saying which socket is meant, so that they are made
//! in one way for both. They are only ever sent to the address of the RTSP connection: whoever names another
//! `destination` cannot turn the server on it. A datagram that the network does not take is lost, as is its nature.

mod link;

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use keepwatch_media::text::INTERLEAVED_HEADER_BYTES;
use tokio::time::Instant;

use super::quirks::{Disturbance, Quirks};

pub(super) use link::Link;

/// How fast live media go out: 200 Mbit/s lets a large key frame out in milliseconds, and leaves a receiver with the
/// usual 208 KiB of buffer the time to read.
pub(super) const LIVE_BYTES_PER_SECOND: u64 = 25_000_000;

/// How fast recorded media go out when the client sets the pace, which over UDP it cannot: eight times a usual
/// camera, so that a receiver that reads every 200 ms into 1 MiB loses nothing.
pub(super) const FREE_BYTES_PER_SECOND: u64 = 4_000_000;

/// Bytes that may go out at once.
const BURST_BYTES: u64 = 32 * 1024;

/// How long a send buffer that is full is waited for.
const FULL_WAIT: Duration = Duration::from_millis(1);

/// Room that is kept between access units.
const KEPT_BYTES: usize = 64 * 1024;

/// How far sending got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// All is sent.
    Done,
    /// It goes on then.
    Until(Instant),
}

/// The datagrams of one session.
#[derive(Debug)]
pub(super) struct Datagrams {
    /// By the position of the track.
    links: Vec<Option<Link>>,
    /// Framed packets, of which those before `at` are sent.
    packets: Vec<u8>,
    at: usize,
    /// When all that was sent is paid for at the rate.
    paid_at: Instant,
    disturbance: Disturbance,
}

impl Datagrams {
    /// Nothing to send, for a source with so many tracks.
    pub(super) fn new(tracks: usize) -> Self {
        Self {
            links: (0..tracks).map(|_| None).collect(),
            packets: Vec::new(),
            at: 0,
            paid_at: Instant::now(),
            disturbance: Disturbance::default(),
        }
    }

    /// Sends the track at `position` over `link` from here on.
    pub(super) fn set_link(&mut self, position: usize, link: Link) {
        if let Some(place) = self.links.get_mut(position) {
            *place = Some(link);
        }
    }

    /// The channels that stand for the sockets of the track at `position`.
    pub(super) fn channels(position: usize) -> (u8, u8) {
        let rtp = u8::try_from(position * 2).unwrap_or(u8::MAX - 1);
        (rtp, rtp + 1)
    }

    /// Where packets are appended, framed for the connection, when all before them are sent.
    pub(super) fn packets(&mut self) -> &mut Vec<u8> {
        &mut self.packets
    }

    /// Whether all is sent.
    pub(super) fn is_idle(&self) -> bool {
        self.at >= self.packets.len()
    }

    /// Sends what `bytes_per_second` allows at `now`.
    pub(super) fn send(&mut self, now: Instant, bytes_per_second: u64, quirks: &Quirks) -> Progress {
        let burst = cost(BURST_BYTES, bytes_per_second);
        while let Some((channel, end)) = self.next_frame() {
            if self.paid_at > now + burst {
                return Progress::Until(self.paid_at - burst);
            }
            let Self { links, packets, at, disturbance, .. } = self;
            let packet = packets.get(*at + INTERLEAVED_HEADER_BYTES..end).unwrap_or_default();
            let link = links.get(usize::from(channel / 2)).and_then(Option::as_ref);
            let sent = if channel % 2 == 0 {
                disturbance.pass(quirks, channel, packet, |channel, packet| {
                    let link = links.get(usize::from(channel / 2)).and_then(Option::as_ref);
                    link.is_none_or(|link| link.send_rtp(packet))
                })
            } else {
                link.is_none_or(|link| link.send_rtcp(packet))
            };
            if !sent {
                return Progress::Until(now + FULL_WAIT);
            }
            let bytes = u64::try_from(packet.len()).unwrap_or(u64::MAX);
            self.paid_at = self.paid_at.max(now) + cost(bytes, bytes_per_second);
            self.at = end;
        }
        self.packets.clear();
        self.packets.shrink_to(KEPT_BYTES);
        self.at = 0;
        Progress::Done
    }

    /// The channel of the next packet, and where it ends.
    fn next_frame(&self) -> Option<(u8, usize)> {
        let ([_, channel, l0, l1], _) =
            self.packets.get(self.at..)?.split_first_chunk::<INTERLEAVED_HEADER_BYTES>()?;
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        let end = self.at + INTERLEAVED_HEADER_BYTES + length;
        (end <= self.packets.len()).then_some((*channel, end))
    }

    /// Waits until the client shows that it lives.
    pub(super) async fn heard(&self) {
        poll_fn(|context| {
            let mut heard = Poll::Pending;
            for link in self.links.iter().flatten() {
                if link.poll_heard(context).is_ready() {
                    heard = Poll::Ready(());
                }
            }
            heard
        })
        .await;
    }
}

/// The time that `bytes` take at a rate.
fn cost(bytes: u64, bytes_per_second: u64) -> Duration {
    Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / bytes_per_second.max(1))
}

#[cfg(test)]
mod tests;
