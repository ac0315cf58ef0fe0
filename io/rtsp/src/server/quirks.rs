//! Misbehaviour on purpose: what cameras in the field do to the protocol, so that a virtual camera can do it too.
//!
//! None by default, and then it costs nothing for each packet. Misbehaviour of the media themselves is the source's.

use std::num::NonZeroU16;

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
}

impl Quirks {
    /// The longest distance of [`udp_reorder`](Self::udp_reorder).
    pub const REORDER_MAX: u16 = 64;
}
