//! Misbehaviour on purpose: what cameras in the field do to the protocol, so that a virtual camera can do it too.
//!
//! None by default, and then it costs nothing for each packet. Misbehaviour of the media themselves is the source's.

use std::num::NonZeroU16;

use keepwatch_media::rtsp::LowerTransport;

/// What becomes of requests that a client sends within a session only to keep it: `OPTIONS`, `GET_PARAMETER` and
/// `SET_PARAMETER`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keepalives {
    /// They are answered.
    #[default]
    Answered,
    /// They are answered with another sequence number than they have.
    WrongSequence,
    /// They are answered with 400.
    BadRequest,
    /// They are not answered, but keep the session.
    Silent,
}

/// How media are sent; what a client asks for otherwise is refused with 461.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transports {
    /// As the client asks.
    #[default]
    Any,
    /// In the connection only.
    Tcp,
    /// In datagrams only.
    Udp,
}

impl Transports {
    /// Whether media are sent this way.
    pub(super) const fn include(self, lower: LowerTransport) -> bool {
        match self {
            Self::Any => true,
            Self::Tcp => matches!(lower, LowerTransport::Tcp),
            Self::Udp => matches!(lower, LowerTransport::Udp),
        }
    }
}

/// How a server misbehaves under one path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quirks {
    /// What becomes of keepalives.
    pub keepalives: Keepalives,
    /// Refuses with 453 each session that would make as many at the same time: `1` refuses all, `2` the second.
    pub refuse_session: Option<NonZeroU16>,
    /// Of RTP over UDP, leaves out every so many-th packet.
    pub udp_loss: Option<NonZeroU16>,
    /// Of RTP over UDP, sends one packet in eight behind so many that follow it, at most
    /// [`REORDER_MAX`](Self::REORDER_MAX).
    pub udp_reorder: Option<NonZeroU16>,
    /// Of RTP over UDP, sends every so many-th packet twice.
    pub udp_duplicate: Option<NonZeroU16>,
    /// How media are sent.
    pub transports: Transports,
}

impl Quirks {
    /// The longest distance of [`udp_reorder`](Self::udp_reorder).
    pub const REORDER_MAX: u16 = 64;
}

/// Of how many RTP packets one is held back by [`Quirks::udp_reorder`].
const REORDER_EVERY: u64 = 8;

/// Loses, reorders and repeats RTP packets as [`Quirks`] have it.
#[derive(Debug, Default)]
pub(super) struct Disturbance {
    /// Packets that passed.
    count: u64,
    held: Option<Held>,
}

/// A packet that is sent behind later ones.
#[derive(Debug)]
struct Held {
    channel: u8,
    packet: Vec<u8>,
    /// Packets that go before it.
    behind: u16,
}

impl Disturbance {
    /// Passes on a packet, or not, or another one as well; `send` says `false` for a socket that is full. Returns
    /// `false` when the packet must be tried again.
    pub(super) fn pass(
        &mut self,
        quirks: &Quirks,
        channel: u8,
        packet: &[u8],
        mut send: impl FnMut(u8, &[u8]) -> bool,
    ) -> bool {
        if *quirks == Quirks::default() && self.held.is_none() {
            return send(channel, packet);
        }
        let count = self.count.wrapping_add(1);
        let lost = quirks.udp_loss.is_some_and(|every| count.is_multiple_of(u64::from(every.get())));
        let holds = quirks.udp_reorder.filter(|_| self.held.is_none() && count.is_multiple_of(REORDER_EVERY));
        match holds {
            Some(distance) if !lost => {
                let behind = distance.get().min(Quirks::REORDER_MAX);
                self.held = Some(Held { channel, packet: packet.to_vec(), behind });
            }
            Some(_) | None => {
                if !lost && !send(channel, packet) {
                    return false;
                }
                let repeats =
                    quirks.udp_duplicate.is_some_and(|every| count.is_multiple_of(u64::from(every.get())));
                if !lost && repeats {
                    // One that the socket has no room for is not missed.
                    send(channel, packet);
                }
                self.let_go(quirks, &mut send);
            }
        }
        self.count = count;
        true
    }

    /// Sends the packet that was held back when enough have passed it.
    fn let_go(&mut self, quirks: &Quirks, send: &mut impl FnMut(u8, &[u8]) -> bool) {
        let Some(mut held) = self.held.take() else { return };
        held.behind = if quirks.udp_reorder.is_some() { held.behind.saturating_sub(1) } else { 0 };
        if held.behind > 0 || !send(held.channel, &held.packet) {
            self.held = Some(held);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is sent of packets 1 to `count`.
    fn passed(quirks: Quirks, count: u8) -> Vec<u8> {
        let (mut disturbance, mut sent) = (Disturbance::default(), Vec::new());
        for number in 1..=count {
            assert!(disturbance.pass(&quirks, 0, &[number], |_, packet| {
                sent.push(packet[0]);
                true
            }));
        }
        sent
    }

    #[test]
    fn without_quirks_every_packet_passes_in_order() {
        assert_eq!(passed(Quirks::default(), 9), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn every_nth_packet_is_lost() {
        let quirks = Quirks { udp_loss: NonZeroU16::new(3), ..Quirks::default() };
        assert_eq!(passed(quirks, 8), [1, 2, 4, 5, 7, 8]);
    }

    #[test]
    fn a_packet_goes_behind_as_many_as_asked_for() {
        let quirks = Quirks { udp_reorder: NonZeroU16::new(2), ..Quirks::default() };
        assert_eq!(passed(quirks, 12), [1, 2, 3, 4, 5, 6, 7, 9, 10, 8, 11, 12]);
    }

    #[test]
    fn every_nth_packet_is_sent_twice() {
        let quirks = Quirks { udp_duplicate: NonZeroU16::new(3), ..Quirks::default() };
        assert_eq!(passed(quirks, 7), [1, 2, 3, 3, 4, 5, 6, 6, 7]);
    }

    #[test]
    fn a_full_socket_loses_nothing() {
        let quirks = Quirks { udp_reorder: NonZeroU16::new(1), ..Quirks::default() };
        let (mut disturbance, mut sent) = (Disturbance::default(), Vec::new());
        let mut full = false;
        for number in 1..=20 {
            loop {
                full = !full;
                let done = disturbance.pass(&quirks, 0, &[number], |_, packet| {
                    if !full {
                        sent.push(packet[0]);
                    }
                    !full
                });
                if done {
                    break;
                }
            }
        }
        sent.sort_unstable();
        assert!(
            sent.iter().copied().eq(1..=20) || sent.iter().copied().eq((1..=20).filter(|n| *n != 16)),
            "{sent:?}"
        );
    }
}
