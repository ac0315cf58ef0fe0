//! The session while media flows: a loop that costs as little as it can.
//!
//! The socket is taken out of the runtime's readiness queue and read on a timer, all sessions of a process at the
//! same moment: one wake-up and one system call bring in several access units. Bytes are framed where the
//! kernel put them, in the thread's buffer; a session keeps only the beginning of a frame whose rest is still on
//! its way. Packets go straight to the handler. Nothing is decided about silence or loss.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use keepwatch_media::text::{Frame, Framer, Message, TextError};
use keepwatch_model::{Flow, MonoTime, PacketHandler};
use tokio::time::{Instant, sleep_until};

use super::ReadInterval;
use super::dialogue::{Dialogue, Incoming};
use super::keepalive::Keepalive;
use crate::scratch;

/// How long the answer to `TEARDOWN` is waited for: it only matters to cameras that would otherwise count the
/// session against their limit, and they answer at once.
const TEARDOWN_WAIT: Duration = Duration::from_secs(1);

/// How often the socket is read while waiting for that answer.
const TEARDOWN_INTERVAL: Duration = Duration::from_millis(10);

/// Bytes that may wait to be sent before further keepalives and answers are left out: a server that takes no
/// requests is not to be helped by more of them.
const UNSENT_BYTES_MAX: usize = 16 * 1024;

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

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum EndReason {
    /// The packet handler asked for it.
    #[error("stopped")]
    Stopped,
    /// The server closed the connection or ended the session.
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
}

/// The end of a session.
#[derive(Debug)]
pub struct SessionEnd {
    /// Why it ended.
    pub reason: EndReason,
    /// What happened until then.
    pub counters: Counters,
}

/// What comes on a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channel {
    /// RTP of a track, by its position in the session.
    Rtp(usize),
    /// RTCP of a track.
    Rtcp(usize),
}

/// A session whose media flows. Dropping it closes the connection.
#[derive(Debug)]
pub struct Session {
    pub(super) stream: TcpStream,
    pub(super) framer: Framer,
    /// Bytes that were read and not yet framed.
    pub(super) tail: Vec<u8>,
    /// Bytes that the socket did not take yet.
    pub(super) unsent: Vec<u8>,
    pub(super) dialogue: Dialogue,
    pub(super) keepalive: Keepalive,
    /// Which channel carries what, few enough to be searched.
    pub(super) channels: Vec<(u8, Channel)>,
    pub(super) tracks: Vec<SessionTrack>,
    pub(super) read_interval: ReadInterval,
    pub(super) counters: Counters,
    /// The sequence number of the `TEARDOWN` that was sent.
    pub(super) teardown: Option<u32>,
    /// Whether the server knows, or cannot be told, that the session is over.
    pub(super) over: bool,
}

/// How one read ended.
enum Round {
    /// All that had arrived is handled.
    Drained,
    /// There may be more.
    More,
}

impl Session {
    /// Its tracks, in the order they were asked for: what [`PacketHandler`] calls `track` is a position here.
    pub fn tracks(&self) -> &[SessionTrack] {
        &self.tracks
    }

    /// Hands packets to `handler` until it says [`Flow::Stop`] or the connection ends.
    ///
    /// `clock` is read once per read of the socket. The future may be dropped at any time; the connection is
    /// then closed.
    pub async fn run<H: PacketHandler>(
        mut self,
        handler: &mut H,
        clock: impl Fn() -> MonoTime,
    ) -> SessionEnd {
        let mut timer = std::pin::pin!(sleep_until(Instant::now()));
        let reason = loop {
            let now = clock();
            let round = scratch::with_read(|buffer| self.read_once(buffer, now, handler));
            let flow = handler.idle(now);
            let round = match (round, flow) {
                (Err(reason), _) => break reason,
                (Ok(_), Flow::Stop) => {
                    self.tear_down(now).await;
                    break EndReason::Stopped;
                }
                (Ok(round), Flow::Continue) => round,
            };
            let now = Instant::now();
            if let Some(method) = self.keepalive.poll(now)
                && self.unsent.len() <= UNSENT_BYTES_MAX
            {
                self.dialogue.write_keepalive(method, &mut self.unsent);
            }
            if let Err(error) = self.flush() {
                break EndReason::Lost(error);
            }
            match round {
                Round::Drained => {
                    timer.as_mut().reset(self.read_interval.next_after(now));
                    timer.as_mut().await;
                }
                Round::More => tokio::task::yield_now().await,
            }
        };
        self.over = true;
        SessionEnd { reason, counters: self.counters() }
    }

    /// Reads once, as much as fits, and hands over all whole frames.
    fn read_once(
        &mut self,
        buffer: &mut [u8],
        now: MonoTime,
        handler: &mut impl PacketHandler,
    ) -> Result<Round, EndReason> {
        // What framing leaves over is shorter than the longest frame, so room is always left.
        let kept = self.tail.len();
        let (begin, room) = buffer.split_at_mut(kept);
        begin.copy_from_slice(&self.tail);
        let room_bytes = room.len();
        let (read, then) = match (&self.stream).read(room) {
            Ok(0) => (0, Err(EndReason::EndedByServer)),
            // A read that left room has drained the socket: asking again would only be told so.
            Ok(read) => (read, Ok(if read == room_bytes { Round::More } else { Round::Drained })),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => (0, Ok(Round::Drained)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (0, Ok(Round::More)),
            Err(error) => (0, Err(EndReason::Lost(error))),
        };
        if kept + read == 0 {
            return then;
        }
        self.counters.bytes = self.counters.bytes.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        let filled = buffer.get(..kept + read).unwrap_or_default();
        let framed = self.hand_over(filled, now, handler)?;
        self.tail.clear();
        self.tail.extend_from_slice(filled.get(framed..).unwrap_or_default());
        then
    }

    /// Frames `bytes`; returns how many of them are done with.
    fn hand_over(
        &mut self,
        bytes: &[u8],
        now: MonoTime,
        handler: &mut impl PacketHandler,
    ) -> Result<usize, EndReason> {
        let mut at = 0;
        while let Some(frame) = self.framer.next(bytes, &mut at).map_err(EndReason::Protocol)? {
            match frame {
                Frame::Interleaved { channel, data } => {
                    match self.channels.iter().find(|(number, _)| *number == channel) {
                        Some((_, Channel::Rtp(track))) => handler.rtp(now, *track, data),
                        Some((_, Channel::Rtcp(track))) => handler.rtcp(now, *track, data),
                        None => {
                            self.counters.unassigned_frames =
                                self.counters.unassigned_frames.saturating_add(1);
                        }
                    }
                }
                Frame::Text(message) => self.take_message(message)?,
            }
        }
        Ok(at)
    }

    /// Takes a response to a keepalive, or a request of the server.
    fn take_message(&mut self, message: Message) -> Result<(), EndReason> {
        match self.dialogue.take(message) {
            Incoming::Response(response) => {
                self.keepalive.answered(response.status);
                if response.status == 401 {
                    // The nonce grew old. The next keepalive uses the one that came with the refusal.
                    let _ = self.dialogue.take_challenge(&response, false);
                }
                if self.teardown.is_some() && response.cseq() == self.teardown {
                    self.over = true;
                }
            }
            Incoming::Request { answer, ends_session } => {
                if self.unsent.len() <= UNSENT_BYTES_MAX {
                    self.unsent.extend_from_slice(&answer);
                }
                if ends_session {
                    // The answer is a courtesy; what the socket does not take at once is not waited for.
                    let _ = self.flush();
                    return Err(EndReason::EndedByServer);
                }
            }
            // A message that is neither is as good as none: only the media tell whether the session lives.
            Incoming::Neither => {}
        }
        Ok(())
    }

    /// Writes what the socket takes.
    fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match (&self.stream).write(&self.unsent) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.unsent.drain(..written.min(self.unsent.len()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Tells the server that the session is over and waits, but not long, for its answer.
    async fn tear_down(&mut self, now: MonoTime) {
        self.teardown = Some(self.dialogue.write_teardown(&mut self.unsent));
        let deadline = Instant::now() + TEARDOWN_WAIT;
        while !self.over && Instant::now() < deadline {
            let read = scratch::with_read(|buffer| self.read_once(buffer, now, &mut Nobody));
            if read.is_err() || self.flush().is_err() {
                break;
            }
            if !self.over {
                sleep_until(Instant::now() + TEARDOWN_INTERVAL).await;
            }
        }
        self.over = true;
    }

    /// What happened until now.
    fn counters(&self) -> Counters {
        Counters {
            resynchronisations: self.framer.resynchronisations(),
            skipped_bytes: self.framer.skipped_bytes(),
            keepalives_sent: self.keepalive.sent,
            keepalives_refused: self.keepalive.refused,
            ..self.counters
        }
    }
}

impl Drop for Session {
    /// Some servers keep a session, and count it against their limit, until it is torn down or times out.
    fn drop(&mut self) {
        if !self.over && self.teardown.is_none() {
            self.dialogue.write_teardown(&mut self.unsent);
            let _ = self.flush();
        }
    }
}

/// Takes what is still on its way after the end.
struct Nobody;

impl PacketHandler for Nobody {
    fn rtp(&mut self, _now: MonoTime, _track: usize, _packet: &[u8]) {}

    fn rtcp(&mut self, _now: MonoTime, _track: usize, _packet: &[u8]) {}

    fn idle(&mut self, _now: MonoTime) -> Flow {
        Flow::Continue
    }
}
