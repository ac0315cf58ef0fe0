//! What is known of a session: how its tracks began, what happened on the wire, and why it ended.

use std::io;

use keepwatch_media::replay::{ClockRange, Scale};
use keepwatch_media::text::TextError;

/// A track of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionTrack {
    /// Its position among the tracks of the [`Presentation`](keepwatch_media::sdp::Presentation).
    pub offered: usize,
    /// The synchronisation source the server announced; cameras send others all the same.
    pub ssrc: Option<u32>,
    /// The sequence number of the first packet as announced; often wrong.
    pub first_sequence: Option<u16>,
    /// The RTP timestamp that belongs to the start of the session as announced; often wrong.
    pub first_timestamp: Option<u32>,
}

/// What a server said to a `PLAY`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Played {
    /// The `CSeq` of the `PLAY`; its low byte is what the marks of its frames carry.
    pub cseq: u32,
    /// The range it plays, if it said so in absolute time. It begins at a clean point, often before what was asked.
    pub range: Option<ClockRange>,
    /// The speed it plays at, if it said so.
    pub scale: Option<Scale>,
    /// How each track of the session begins, as `RTP-Info` announces it; many servers send none.
    pub starts: Vec<TrackStart>,
}

/// How a track begins, as announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrackStart {
    /// The sequence number of its first packet.
    pub sequence: Option<u16>,
    /// The RTP timestamp that belongs to the beginning of the range.
    pub timestamp: Option<u32>,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum EndReason {
    /// The packet handler asked for it.
    #[error("stopped")]
    Stopped,
    /// The server closed the connection, ended the session, or said goodbye on all tracks.
    #[error("the server ended the session")]
    EndedByServer,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Lost(#[source] io::Error),
    /// The server sent what cannot be followed.
    #[error("the server broke the protocol: {0}")]
    Protocol(#[source] TextError),
}

/// What happened on the wire during a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes read.
    pub bytes: u64,
    /// Frames on channels that belong to no track.
    pub unassigned_frames: u64,
    /// How often the beginning of the next frame had to be searched for.
    pub resynchronisations: u64,
    /// Bytes skipped while searching.
    pub skipped_bytes: u64,
    /// Keepalives sent.
    pub keepalives_sent: u64,
    /// Keepalives answered with an error.
    pub keepalives_refused: u64,
    /// Datagrams that did not come from the camera, and were dropped.
    pub foreign_datagrams: u64,
    /// Datagrams that came before their turn and waited for it.
    pub reordered: u64,
    /// Datagrams that came too late, twice, or out of nowhere, and were dropped.
    pub late: u64,
    /// Receiver reports sent.
    pub reports_sent: u64,
}

/// The end of a session.
#[derive(Debug)]
pub struct SessionEnd {
    /// Why it ended.
    pub reason: EndReason,
    /// What happened until then.
    pub counters: Counters,
}
