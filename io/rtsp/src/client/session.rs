//! The session while media flows: a loop that costs as little as it can.
//!
//! A live session's sockets are taken out of the runtime's readiness queue and read on a timer, all sessions of a
//! process at the same moment: one wake-up and one system call bring in several access units. A replay, which comes
//! as fast as it is read, is read when there is something to read and its [`Remote`] allows. Bytes are framed where
//! the kernel put them, in the thread's buffer; a session keeps only the beginning of a frame whose rest is still on
//! its way. Packets go straight to the handler. Nothing is decided about silence or loss.

use std::io;
use std::ops::RangeInclusive;
use std::time::Duration;

use keepwatch_media::rtcp::{self, RtcpPacket};
use keepwatch_media::rtsp::{Method, Response};
use keepwatch_media::text::{Frame, Framer, Message};
use keepwatch_model::{Flow, MonoTime, PacketHandler};
use tokio::time::{Instant, Sleep, sleep_until};

use super::ReadInterval;
use super::config::ClientConfig;
use super::dialogue::{Dialogue, Incoming};
use super::error::ClientError;
use super::keepalive::Keepalive;
use super::link::Link;
use super::orders::{Answered, Orders, Pending};
use super::outcome::{Counters, EndReason, Played, SessionEnd, SessionTrack};
use super::remote::{Command, Order, Remote};
use super::setup::Addresses;
use super::throttle::Throttle;
use super::udp::Datagrams;
use crate::scratch;

/// How long the answer to `TEARDOWN` is waited for: it only matters to cameras that would otherwise count the
/// session against their limit, and they answer at once.
const TEARDOWN_WAIT: Duration = Duration::from_secs(1);

/// How often the socket is read while waiting for that answer.
const TEARDOWN_INTERVAL: Duration = Duration::from_millis(10);

/// How often a replay's handler is called at least, and its keepalives looked at.
const REPLAY_INTERVAL: Duration = Duration::from_millis(200);

/// How long a track must be silent after its goodbye (RFC 3550 §6.6) to be over: cameras say goodbye for a source and
/// go on with another.
const GOODBYE_GRACE: Duration = Duration::from_secs(1);

/// What the kernel may hold of a replay that is limited from its beginning: what is read in a second. Left to itself it
/// holds megabytes, and servers see nothing taken for so long that they give the client up.
const UNREAD_TIME: Duration = Duration::from_secs(1);

/// Within these bounds: less would slow down what comes in bursts, more is not needed at any limit that is one.
const UNREAD_BYTES: RangeInclusive<u64> = 32 * 1024..=1024 * 1024;

/// The least limit for which that is done. Below it no buffer is read out before a server loses patience.
const UNREAD_RATE_MIN: u64 = 8 * 1024;

/// What comes on a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channel {
    /// RTP of a track, by its position in the session.
    Rtp(usize),
    /// RTCP of a track.
    Rtcp(usize),
}

/// When a session reads.
#[derive(Debug)]
pub(super) enum Pace {
    /// Live: on a timer that all sessions share.
    Timed(ReadInterval),
    /// Replay: when something has come and may be read.
    Ready(Throttle),
}

/// A session whose media flows. Dropping it closes the connection.
#[derive(Debug)]
pub struct Session {
    pub(super) link: Link,
    pub(super) framer: Framer,
    /// Bytes that were read and not yet framed.
    pub(super) tail: Vec<u8>,
    pub(super) dialogue: Dialogue,
    pub(super) keepalive: Keepalive,
    /// Which channel carries what, few enough to be searched.
    pub(super) channels: Vec<(u8, Channel)>,
    /// The media, where they come in datagrams.
    pub(super) datagrams: Option<Box<Datagrams>>,
    pub(super) tracks: Vec<SessionTrack>,
    pub(super) pace: Pace,
    pub(super) counters: Counters,
    pub(super) remote: Remote,
    pub(super) addresses: Box<Addresses>,
    pub(super) played: Played,
    pub(super) wire: Wire,
}

/// What the loop of a session keeps in mind.
#[derive(Debug, Default)]
pub(super) struct Wire {
    /// When each track said goodbye, if nothing came of it since.
    goodbyes: Vec<Option<MonoTime>>,
    orders: Orders,
    /// Whether the configuration says what the kernel may hold.
    has_receive_buffer: bool,
    teardown: Option<Teardown>,
    /// Whether the server knows, or cannot be told, that the session is over.
    over: bool,
}

/// The `TEARDOWN` that was sent.
#[derive(Clone, Copy, Debug)]
struct Teardown {
    cseq: u32,
    /// Whether it was repeated with another login.
    repeated: bool,
}

/// How one read ended.
enum Round {
    /// All that had arrived is handled.
    Drained,
    /// There may be more.
    More,
}

impl Wire {
    /// A session of so many tracks that has just begun.
    pub(super) fn new(tracks: usize, config: &ClientConfig) -> Self {
        Self {
            goodbyes: vec![None; tracks],
            orders: Orders::new(config.timeout),
            has_receive_buffer: config.receive_buffer_bytes.is_some(),
            ..Self::default()
        }
    }
}

impl Session {
    /// Its tracks, in the order they were asked for: what [`PacketHandler`] calls `track` is a position here.
    pub fn tracks(&self) -> &[SessionTrack] {
        &self.tracks
    }

    /// What the server said to the `PLAY` that started it.
    pub const fn played(&self) -> &Played {
        &self.played
    }

    /// What steers it from outside its loop.
    pub fn remote(&self) -> Remote {
        self.remote.clone()
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
        let reason = self.receive(handler, &clock).await;
        let now = clock();
        if let Some(datagrams) = &mut self.datagrams {
            // Whatever ended it, what has come and only waits for its turn is handed over.
            datagrams.end(now, handler);
        }
        if matches!(reason, EndReason::Stopped) {
            self.tear_down(now).await;
        }
        self.wire.over = true;
        SessionEnd { reason, counters: self.counters() }
    }

    /// Reads and hands over until there is a reason to end.
    async fn receive<H: PacketHandler>(
        &mut self,
        handler: &mut H,
        clock: &impl Fn() -> MonoTime,
    ) -> EndReason {
        let mut timer = std::pin::pin!(sleep_until(Instant::now()));
        self.bound_unread();
        if let Err(reason) = self.hand_over_early(clock(), handler) {
            return reason;
        }
        loop {
            let now = clock();
            let round = scratch::with_read(|buffer| self.read_round(buffer, now, handler));
            let flow = handler.idle(now);
            let round = match (round, flow) {
                (Err(reason), _) => return reason,
                (Ok(_), Flow::Stop) => return EndReason::Stopped,
                (Ok(round), Flow::Continue) => round,
            };
            if let Err(error) = self.speak(now) {
                return EndReason::Lost(error);
            }
            match round {
                Round::Drained => self.wait(timer.as_mut()).await,
                Round::More => tokio::task::yield_now().await,
            }
        }
    }

    /// Has the kernel hold little of a replay that is limited. Once it holds much, to allow less would only make the
    /// server wait until all of that is read; so this is for the beginning.
    fn bound_unread(&self) {
        let Some(rate) = self.remote.rate().filter(|rate| *rate >= UNREAD_RATE_MIN) else { return };
        if matches!(self.pace, Pace::Ready(_)) && !self.wire.has_receive_buffer {
            let bytes = rate.saturating_mul(UNREAD_TIME.as_secs());
            let bytes = bytes.clamp(*UNREAD_BYTES.start(), *UNREAD_BYTES.end());
            // Without it the replay goes on, and at worst has to be asked for again.
            let _ = self.link.bound_unread(usize::try_from(bytes).unwrap_or(usize::MAX));
        }
    }

    /// Hands over what came before the answer to `PLAY`, which may be more than the thread's buffer holds.
    fn hand_over_early(&mut self, now: MonoTime, handler: &mut impl PacketHandler) -> Result<(), EndReason> {
        let early = std::mem::take(&mut self.tail);
        let framed = self.hand_over(&early, now, handler)?;
        self.tail = early.get(framed..).unwrap_or_default().to_vec();
        Ok(())
    }

    /// Waits until there is something to do.
    async fn wait(&self, mut timer: std::pin::Pin<&mut Sleep>) {
        let now = Instant::now();
        match &self.pace {
            Pace::Timed(interval) => {
                let longest = self.datagrams.as_ref().map_or(Duration::MAX, |datagrams| datagrams.interval());
                timer.as_mut().reset(interval.next_after(now, longest));
                timer.await;
            }
            Pace::Ready(throttle) => {
                timer.as_mut().reset(now + REPLAY_INTERVAL);
                let ready = throttle.ready();
                let readable = async {
                    if ready > now {
                        sleep_until(ready).await;
                    }
                    self.link.readable().await
                };
                // Whichever it was, and if the socket broke: the next round finds out.
                tokio::select! {
                    _ = readable => {}
                    _ = self.link.writable(), if self.link.has_unsent() => {}
                    () = self.remote.changed() => {}
                    () = timer => {}
                }
            }
        }
    }

    /// Says what there is to say: orders, a keepalive, receiver reports.
    fn speak(&mut self, now: MonoTime) -> io::Result<()> {
        let instant = Instant::now();
        self.wire.orders.expire(instant);
        while self.wire.orders.has_room()
            && let Some(command) = self.remote.next()
        {
            self.give_order(command, false, self.wire.orders.deadline(instant));
        }
        if let Some(method) = self.keepalive.poll(instant)
            && !self.link.is_congested()
        {
            self.dialogue.write_keepalive(method, self.link.outbox());
        }
        if let Some(datagrams) = &mut self.datagrams {
            datagrams.report(instant, now, &mut self.counters);
        }
        self.link.flush().map(|_| ())
    }

    /// Writes the request of an order.
    fn give_order(&mut self, command: Command, repeated: bool, deadline: Instant) {
        let (method, headers) = match command.order {
            Order::Play(request) => (Method::Play, request.headers()),
            Order::Pause => (Method::Pause, Vec::new()),
        };
        let is_play = method == Method::Play;
        let cseq = self.dialogue.write_aggregate(method, &headers, self.link.outbox());
        if is_play {
            self.remote.note_play(cseq);
        }
        self.wire.orders.push(Pending { cseq, command, repeated, deadline });
    }

    /// Reads once whatever the session has, and hands over all that is whole.
    fn read_round(
        &mut self,
        buffer: &mut [u8],
        now: MonoTime,
        handler: &mut impl PacketHandler,
    ) -> Result<Round, EndReason> {
        if let Some(datagrams) = &mut self.datagrams {
            let goodbyes = &mut self.wire.goodbyes;
            datagrams.read(buffer, now, handler, &mut self.counters, |track, report| {
                note_goodbye(goodbyes, track, report, now);
            });
        }
        let limit = match &mut self.pace {
            Pace::Timed(_) => usize::MAX,
            Pace::Ready(throttle) => throttle.allowance(Instant::now(), self.remote.rate()),
        };
        let round = if limit > 0 { self.read_link(buffer, limit, now, handler)? } else { Round::Drained };
        let goodbyes = &self.wire.goodbyes;
        let over = |goodbye: &Option<MonoTime>| goodbye.is_some_and(|at| now.since(at) >= GOODBYE_GRACE);
        if !goodbyes.is_empty() && goodbyes.iter().all(over) {
            return Err(EndReason::EndedByServer);
        }
        Ok(round)
    }

    /// Reads the connection once, as much as fits, and hands over all whole frames.
    fn read_link(
        &mut self,
        buffer: &mut [u8],
        limit: usize,
        now: MonoTime,
        handler: &mut impl PacketHandler,
    ) -> Result<Round, EndReason> {
        // What framing leaves over is shorter than the longest frame, so room is always left.
        let kept = self.tail.len();
        let (begin, room) = buffer.split_at_mut(kept);
        begin.copy_from_slice(&self.tail);
        let (read, then) = match self.link.read(room, limit) {
            Ok(filled) if filled.bytes == 0 => (0, Err(EndReason::EndedByServer)),
            Ok(filled) => (filled.bytes, Ok(if filled.more { Round::More } else { Round::Drained })),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => (0, Ok(Round::Drained)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (0, Ok(Round::More)),
            Err(error) => (0, Err(EndReason::Lost(error))),
        };
        if kept + read == 0 {
            return then;
        }
        if let Pace::Ready(throttle) = &mut self.pace {
            throttle.spend(read);
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
                        Some((_, Channel::Rtp(track))) => {
                            note_goodbye(&mut self.wire.goodbyes, *track, None, now);
                            handler.rtp(now, *track, data);
                        }
                        Some((_, Channel::Rtcp(track))) => {
                            note_goodbye(&mut self.wire.goodbyes, *track, Some(data), now);
                            handler.rtcp(now, *track, data);
                        }
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

    /// Takes a response, or a request of the server.
    fn take_message(&mut self, message: Message) -> Result<(), EndReason> {
        match self.dialogue.take(message) {
            Incoming::Response(response) => self.take_response(&response),
            Incoming::Request { answer, ends_session } => {
                if !self.link.is_congested() {
                    self.link.outbox().extend_from_slice(&answer);
                }
                if ends_session {
                    // The answer is a courtesy; what the socket does not take at once is not waited for.
                    let _ = self.link.flush();
                    return Err(EndReason::EndedByServer);
                }
            }
            // A message that is neither is as good as none: only the media tell whether the session lives.
            Incoming::Neither => {}
        }
        Ok(())
    }

    /// Takes an answer: to an order, to the farewell, or else to a keepalive.
    fn take_response(&mut self, response: &Response) {
        if response.status < 200 {
            return;
        }
        if let Some(teardown) = self.wire.teardown.filter(|sent| response.cseq() == Some(sent.cseq)) {
            return self.take_farewell(response, teardown);
        }
        let now = Instant::now();
        let order = match self.wire.orders.answered(response.cseq(), !self.keepalive.is_awaited(now)) {
            Answered::Order(order) => order,
            Answered::Expired => return,
            Answered::Other => {
                self.keepalive.answered(now, response.status);
                if response.status == 401 {
                    // The nonce grew old. The next keepalive uses the one that came with the refusal.
                    let _ = self.dialogue.take_challenge(response, false);
                }
                return;
            }
        };
        let Pending { cseq, command, repeated, deadline } = order;
        let step = command.order.step();
        let result = match response.status {
            200..=299 => Ok(self.addresses.played(cseq, response)),
            401 => match self.dialogue.take_challenge(response, repeated) {
                Ok(()) => return self.give_order(command, true, deadline),
                Err(problem) => Err(ClientError::Unauthorized(problem)),
            },
            status => Err(ClientError::refused(step, status, response.reason.chars().take(200).collect())),
        };
        // Who does not wait for the answer does not need it.
        let _ = command.answer.send(result);
    }

    /// Takes the answer to `teardown`: a refusal for want of a login, as when the nonce grew old, is answered once.
    fn take_farewell(&mut self, response: &Response, teardown: Teardown) {
        let again = response.status == 401
            && !teardown.repeated
            && self.dialogue.take_challenge(response, false).is_ok();
        if again {
            let cseq = self.dialogue.write_teardown(self.link.outbox());
            self.wire.teardown = Some(Teardown { cseq, repeated: true });
        } else {
            self.wire.over = true;
        }
    }

    /// Tells the server that the session is over and waits, but not long, for its answer.
    async fn tear_down(&mut self, now: MonoTime) {
        self.remote.limit(None);
        let cseq = self.dialogue.write_teardown(self.link.outbox());
        self.wire.teardown = Some(Teardown { cseq, repeated: false });
        let deadline = Instant::now() + TEARDOWN_WAIT;
        while !self.wire.over && Instant::now() < deadline {
            let read = scratch::with_read(|buffer| self.read_round(buffer, now, &mut Nobody));
            if read.is_err() || self.link.flush().is_err() {
                break;
            }
            if !self.wire.over {
                sleep_until(Instant::now() + TEARDOWN_INTERVAL).await;
            }
        }
        self.wire.over = true;
    }

    /// What happened until now.
    fn counters(&self) -> Counters {
        let mut counters = Counters {
            resynchronisations: self.framer.resynchronisations(),
            skipped_bytes: self.framer.skipped_bytes(),
            keepalives_sent: self.keepalive.sent,
            keepalives_refused: self.keepalive.refused,
            ..self.counters
        };
        if let Some(datagrams) = &self.datagrams {
            datagrams.count(&mut counters);
        }
        counters
    }
}

impl Drop for Session {
    /// Some servers keep a session, and count it against their limit, until it is torn down or times out.
    fn drop(&mut self) {
        self.remote.close();
        if !self.wire.over && self.wire.teardown.is_none() {
            self.dialogue.write_teardown(self.link.outbox());
            let _ = self.link.flush();
        }
    }
}

/// Keeps in mind that a track said goodbye, or that something came of it after all. `report` is a compound of RTCP,
/// `None` stands for a packet of media.
fn note_goodbye(goodbyes: &mut [Option<MonoTime>], track: usize, report: Option<&[u8]>, now: MonoTime) {
    let Some(goodbye) = goodbyes.get_mut(track) else { return };
    match report {
        None => *goodbye = None,
        Some(report) => {
            let says_goodbye = |packet: &RtcpPacket| matches!(packet, RtcpPacket::Bye { .. });
            if goodbye.is_none() && rtcp::packets(report).flatten().any(|packet| says_goodbye(&packet)) {
                *goodbye = Some(now);
            }
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
