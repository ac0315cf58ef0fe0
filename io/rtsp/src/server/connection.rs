//! One client's connection: reads requests, pulls media from the source, writes.
//!
//! Writing never waits while there is something to read or to pull: what the socket does not take is kept, live media
//! in a bounded queue, of recorded media one access unit. It is turned into packets in the thread's buffer when the
//! socket can take it, so that an idle client costs no memory beyond its state.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use keepwatch_media::rtsp::{Request, Response, RtspMessage, ShownAddress};
use keepwatch_media::text::{Frame, Framer, Message, TextError};
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::debug;

use super::books::{Books, Stranger};
use super::conversation::{Conversation, Ends, SESSION_TIMEOUT_S};
use super::session::{Happened, Session, State, next_event};
use super::stream::{Side, Stream};
use super::udp::{Datagrams, Progress};
use super::{Delivery, Service};
use crate::{scratch, socket};

/// How long a client may be idle while nothing plays, and how long a session over UDP lasts without a sign of life:
/// what clients are told, and the time that their last sign may take.
const IDLE_MAX: Duration = Duration::from_secs(SESSION_TIMEOUT_S as u64 + 5);

/// How long encryption may take to agree on.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// How long a client that vanished is held for living.
const DEAD_PEER_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a client to which recorded media are delivered may take none of them, if it says meanwhile that it lives:
/// it sets its pace by not reading, and stands still while its own disk or its own reader does. One that is silent has
/// [`IDLE_MAX`].
const UNREAD_MAX: Duration = Duration::from_secs(5 * 60);

/// How long a client may take to log in, from its first byte or none on.
const LOGIN_MAX: Duration = Duration::from_secs(15);

/// How long the last bytes to a client may take.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// Unsent answers above which no further requests are read.
const UNSENT_BYTES_MAX: usize = 64 * 1024;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum End {
    /// The client closed it.
    #[error("closed by the client")]
    Client,
    /// All is said: the source ended, or too many logins failed.
    #[error("closed by the server")]
    Server,
    /// The source broke off.
    #[error("broken off by the source")]
    Source,
    /// Nothing was asked for a long time.
    #[error("idle")]
    Idle,
    /// It broke.
    #[error(transparent)]
    Broken(#[from] io::Error),
    /// The client does not speak RTSP.
    #[error(transparent)]
    Protocol(#[from] TextError),
}

/// A connection.
struct Connection {
    stream: Stream,
    service: Arc<dyn Service>,
    conversation: Conversation,
    framer: Framer,
    /// Bytes read and not yet framed.
    tail: Vec<u8>,
    /// Bytes that go out before anything else.
    unsent: Vec<u8>,
    /// Requests are read while less than this is unsent: [`UNSENT_BYTES_MAX`] beside the access unit that waits, so
    /// that a client that does not take it is heard all the same.
    unsent_bytes_max: usize,
    /// When datagrams go on.
    datagrams_due: Option<Instant>,
    /// When the client last showed that it lives: by what it said, or by what it made room for.
    alive: Instant,
    /// Since when it stands.
    accepted: Instant,
    /// How long it may be silent: [`IDLE_MAX`].
    idle_max: Duration,
    /// How long the client may take nothing.
    unread_max: Duration,
    /// Counts a client that has not logged in; `None` for one that has, or need not.
    stranger: Option<Stranger>,
    /// Whether the connection ends when all is sent.
    closing: bool,
}

/// Serves one client until the connection ends; encrypted when there is a `config`.
pub(super) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    config: Option<Arc<ServerConfig>>,
    service: Arc<dyn Service>,
    books: Books,
    stranger: Option<Stranger>,
) {
    let mut connection = match Connection::new(stream, peer, config, service, books, stranger) {
        Ok(connection) => connection,
        Err(error) => return debug!(%peer, %error, "connection ended before it began"),
    };
    let end = connection.run().await;
    let dropped = connection.conversation.session().map_or(0, Session::dropped);
    debug!(%peer, %end, dropped, "connection ended");
}

/// What happened next.
enum Event {
    Readable,
    Writable,
    Session(Happened),
    /// What is held is due, or datagrams go on.
    Due,
    /// It may be that the client has gone.
    Idle,
}

impl Connection {
    fn new(
        stream: TcpStream,
        peer: SocketAddr,
        config: Option<Arc<ServerConfig>>,
        service: Arc<dyn Service>,
        books: Books,
        stranger: Option<Stranger>,
    ) -> io::Result<Self> {
        socket::prepare(&stream, DEAD_PEER_TIMEOUT)?;
        let now = Instant::now();
        let ends = Ends { peer, local: stream.local_addr()?, secure: config.is_some() };
        Ok(Self {
            stream: Stream::new(stream, config)?,
            service,
            conversation: Conversation::new(ends, books),
            framer: Framer::new(),
            tail: Vec::new(),
            unsent: Vec::new(),
            unsent_bytes_max: UNSENT_BYTES_MAX,
            datagrams_due: None,
            alive: now,
            accepted: now,
            idle_max: IDLE_MAX,
            unread_max: DEAD_PEER_TIMEOUT,
            stranger,
            closing: false,
        })
    }

    /// Runs until the connection ends.
    async fn run(&mut self) -> End {
        let mut idle = pin!(sleep_until(self.idle_deadline()));
        let mut due_timer = pin!(sleep_until(self.alive));
        loop {
            if self.closing && self.is_all_sent() {
                let _ = tokio::time::timeout(CLOSE_WAIT, self.stream.close()).await;
                return End::Server;
            }
            // A source that always has media would otherwise never let go of the thread.
            tokio::task::coop::consume_budget().await;
            let has_room = self.unsent.len() < self.unsent_bytes_max;
            let taken = self.is_taken();
            let may_idle = self.may_idle(taken);
            let due = self.due(taken);
            if let Some(due) = due.filter(|due| due_timer.deadline() != *due) {
                due_timer.as_mut().reset(due);
            }
            let session = if self.closing { None } else { self.conversation.session_mut() };
            let event = tokio::select! {
                ready = self.stream.socket().readable(), if has_room => match ready {
                    Ok(()) => Event::Readable,
                    Err(error) => return End::Broken(error),
                },
                ready = self.stream.socket().writable(), if !taken => match ready {
                    Ok(()) => Event::Writable,
                    Err(error) => return End::Broken(error),
                },
                happened = next_event(session, taken) => Event::Session(happened),
                () = due_timer.as_mut(), if due.is_some() => Event::Due,
                () = idle.as_mut(), if may_idle => Event::Idle,
            };
            let done = match event {
                Event::Readable => self.read().await,
                Event::Writable | Event::Due => Ok(()),
                Event::Session(happened) => {
                    self.take(happened);
                    let broken = self.conversation.session().is_some_and(Session::is_broken);
                    if broken { Err(End::Source) } else { Ok(()) }
                }
                Event::Idle => self.check_idle(idle.as_mut()),
            };
            if let Err(end) = done.and_then(|()| self.flush()) {
                return end;
            }
        }
    }

    /// Whether the client has taken all that was sent over the connection.
    fn is_taken(&self) -> bool {
        self.unsent.is_empty() && !self.stream.is_pending()
    }

    /// Whether the client has taken all, datagrams included.
    fn is_all_sent(&self) -> bool {
        let datagrams = self.conversation.session().and_then(Session::datagrams);
        self.is_taken() && datagrams.is_none_or(Datagrams::is_idle)
    }

    /// Whether a client that says nothing may have gone unnoticed. Where media flow over the connection, the
    /// connection itself tells; where they are not `taken`, one of recorded media is waited for.
    fn may_idle(&self, taken: bool) -> bool {
        self.conversation.session().is_none_or(|session| {
            let waits = !taken && session.delivery() == Delivery::Complete;
            waits || session.state() == State::Ready || session.datagrams().is_some() || session.has_ended()
        })
    }

    /// When a client that says nothing until then has been silent for too long.
    fn idle_deadline(&self) -> Instant {
        if self.stream.is_handshaking() {
            self.accepted + HANDSHAKE_MAX.min(self.idle_max)
        } else if self.stranger.is_some() {
            // What it says meanwhile does not help it: a stranger costs as much as a client.
            self.accepted + LOGIN_MAX.min(self.idle_max)
        } else {
            self.alive + self.idle_max
        }
    }

    /// Gives a client of recorded media the time that it takes them in, and any other as long as one that is dead.
    fn set_patience(&mut self) {
        let complete = |session: &Session| session.delivery() == Delivery::Complete;
        let patient = self.conversation.session().is_some_and(complete);
        let unread_max = if patient { UNREAD_MAX } else { DEAD_PEER_TIMEOUT };
        if unread_max != self.unread_max && socket::bound_unsent(self.stream.socket(), unread_max).is_ok() {
            self.unread_max = unread_max;
        }
    }

    /// Ends the connection when the client was silent for too long, or sets the timer anew.
    fn check_idle(&self, timer: Pin<&mut Sleep>) -> Result<(), End> {
        let deadline = self.idle_deadline();
        if deadline <= Instant::now() {
            return Err(End::Idle);
        }
        timer.reset(deadline);
        Ok(())
    }

    /// When there is something to send that is not sent yet; `taken` as of [`is_taken`](Self::is_taken).
    fn due(&self, taken: bool) -> Option<Instant> {
        self.datagrams_due.or_else(|| self.conversation.session().filter(|_| taken)?.due())
    }

    /// Takes what the session gave.
    fn take(&mut self, happened: Happened) {
        let now = Instant::now();
        match (happened, self.conversation.session_mut()) {
            (Happened::Media(media), Some(session)) => {
                if media.is_none() {
                    // Nothing tells of it from here on, and it was not asked to say anything until here.
                    self.alive = now;
                }
                session.take(now, media);
            }
            (Happened::Heard, Some(_)) => self.alive = now,
            (Happened::Media(_) | Happened::Heard, None) => {}
        }
    }

    /// Reads what there is and answers the requests in it.
    async fn read(&mut self) -> Result<(), End> {
        let side = self.stream.read(&mut self.tail)?;
        let mut at = 0;
        let mut messages = Vec::new();
        let framed = loop {
            match self.framer.next(&self.tail, &mut at) {
                Ok(Some(Frame::Text(message))) => messages.push(message),
                // Receiver reports: that they come is all that matters.
                Ok(Some(Frame::Interleaved { .. })) => self.alive = Instant::now(),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.tail.drain(..at.min(self.tail.len()));
        for message in messages {
            self.answer(message).await;
        }
        match (framed, side) {
            (Err(error), _) => Err(End::Protocol(error)),
            (Ok(()), Side::Closed) => Err(End::Client),
            (Ok(()), Side::Open) => Ok(()),
        }
    }

    /// Answers one message.
    async fn answer(&mut self, message: Message) {
        let now = Instant::now();
        self.alive = now;
        let request = match RtspMessage::try_from(message) {
            Ok(RtspMessage::Request(request)) => request,
            // Nothing was asked of the client, so it has nothing to answer.
            Ok(RtspMessage::Response(_)) => return,
            Err(_) => return Response::new(400, None).write(&mut self.unsent),
        };
        let Request { method, uri, .. } = &request;
        let outcome = self.conversation.handle(now, &request, self.service.as_ref()).await;
        let status = outcome.response.as_ref().map(|response| response.status);
        debug!(method = method.as_str(), uri = %ShownAddress(uri), status, "request");
        if let Some(response) = outcome.response {
            response.write(&mut self.unsent);
        }
        self.closing |= outcome.closes;
        if self.conversation.is_known() {
            self.stranger = None;
        }
        self.set_patience();
    }

    /// Writes what the socket takes: unsent bytes, then media.
    fn flush(&mut self) -> Result<(), End> {
        let now = Instant::now();
        self.datagrams_due = None;
        let over_udp = self.conversation.session().filter(|session| session.datagrams().is_some());
        let quirks = over_udp.map(|session| self.service.quirks(&session.identity.path));
        loop {
            self.stream.flush()?;
            if !self.unsent.is_empty() {
                let written = self.stream.write(&self.unsent)?;
                if written > 0 {
                    self.alive = now;
                }
                self.unsent.drain(..written.min(self.unsent.len()));
                if !self.unsent.is_empty() {
                    return Ok(());
                }
                // What one large access unit needed must not stay with every client.
                self.unsent.shrink_to(UNSENT_BYTES_MAX);
                self.unsent_bytes_max = UNSENT_BYTES_MAX;
            }
            if self.stream.is_pending() {
                return Ok(());
            }
            let Some(session) = self.conversation.session_mut() else { return Ok(()) };
            if let Some(quirks) = &quirks
                && let Progress::Until(then) = session.send_datagrams(now, quirks)
            {
                self.datagrams_due = Some(then);
                return Ok(());
            }
            let Some((queued, timing)) = session.pop(now) else {
                if session.is_over() && !self.closing {
                    session.say_goodbye(&mut self.unsent);
                    self.closing = true;
                    continue;
                }
                return Ok(());
            };
            if quirks.is_some() {
                session.packetize_datagrams(now, &queued, timing);
                continue;
            }
            scratch::with_write(|packets| {
                session.packetize(now, &queued, timing, packets);
                let written = self.stream.write(packets)?;
                if written > 0 {
                    self.alive = now;
                }
                self.unsent.extend_from_slice(packets.get(written..).unwrap_or_default());
                self.unsent_bytes_max = self.unsent.len().saturating_add(UNSENT_BYTES_MAX);
                Ok::<(), End>(())
            })?;
        }
    }
}

#[cfg(test)]
mod tests;
