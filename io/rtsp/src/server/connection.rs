//! One client's connection: reads requests, pulls media from the source, writes.
//!
//! Writing never waits while there is something to read or to pull: what the socket does not take is kept, media in
//! a bounded [`Queue`]. An access unit is turned into packets in the thread's buffer when the socket can take
//! it, so that an idle client costs no memory beyond its state.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use keepwatch_media::rtsp::{Request, Response, RtspMessage};
use keepwatch_media::text::{Frame, Framer, Message, TextError};
use keepwatch_model::WallTime;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::conversation::{Conversation, Effect};
use super::queue::{Queue, Queued};
use super::sender::Sender;
use super::{Media, Service, Source};
use crate::{scratch, socket};

/// How long a client may be idle while nothing plays.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// How long a client that vanished is held for living.
const DEAD_PEER_TIMEOUT: Duration = Duration::from_secs(20);

/// How long the last bytes to a client may take.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// Unsent bytes above which no further requests are read.
const UNSENT_BYTES_MAX: usize = 64 * 1024;

/// Bytes read at a time: requests and receiver reports are short.
const READ_BYTES: usize = 4 * 1024;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum End {
    /// The client closed it.
    #[error("closed by the client")]
    Client,
    /// All is said: the source ended, or too many logins failed.
    #[error("closed by the server")]
    Server,
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

/// Media on their way to the client.
struct Playing {
    source: Box<dyn Source>,
    /// For each track of the source its sender, if it was asked for.
    senders: Vec<Option<Sender>>,
    queue: Queue,
    /// The capture time of the first media sent.
    began: Option<WallTime>,
    /// Whether the source has no more.
    ended: bool,
}

/// A connection.
struct Connection {
    stream: TcpStream,
    service: Arc<dyn Service>,
    conversation: Conversation,
    framer: Framer,
    /// Bytes read and not yet framed.
    tail: Vec<u8>,
    /// Bytes that go out before anything else.
    unsent: Vec<u8>,
    playing: Option<Playing>,
    /// Whether the connection ends when all is sent.
    closing: bool,
}

/// Serves one client until the connection ends.
pub(super) async fn serve(stream: TcpStream, peer: SocketAddr, service: Arc<dyn Service>) {
    let mut connection = Connection {
        stream,
        service,
        conversation: Conversation::new(peer, false),
        framer: Framer::new(),
        tail: Vec::new(),
        unsent: Vec::new(),
        playing: None,
        closing: false,
    };
    let end = match socket::prepare(&connection.stream, DEAD_PEER_TIMEOUT) {
        Ok(()) => connection.run().await,
        Err(error) => End::Broken(error),
    };
    let dropped = connection.playing.as_ref().map_or(0, |playing| playing.queue.dropped());
    debug!(%peer, %end, dropped, "connection ended");
}

/// What happened next.
enum Event {
    Readable,
    Writable,
    Media(Option<Media>),
    Idle,
}

impl Connection {
    /// Runs until the connection ends.
    async fn run(&mut self) -> End {
        let mut idle = std::pin::pin!(sleep_until(Instant::now() + IDLE_MAX));
        loop {
            if self.closing && self.unsent.is_empty() {
                let _ = tokio::time::timeout(CLOSE_WAIT, self.stream.shutdown()).await;
                return End::Server;
            }
            // A source that always has media would otherwise never let go of the thread.
            tokio::task::coop::consume_budget().await;
            let idle_now = self.playing.is_none();
            let has_room = self.unsent.len() < UNSENT_BYTES_MAX;
            let event = tokio::select! {
                ready = self.stream.readable(), if has_room => match ready {
                    Ok(()) => Event::Readable,
                    Err(error) => return End::Broken(error),
                },
                ready = self.stream.writable(), if !self.unsent.is_empty() => match ready {
                    Ok(()) => Event::Writable,
                    Err(error) => return End::Broken(error),
                },
                media = next_media(&mut self.playing) => Event::Media(media),
                () = idle.as_mut(), if idle_now => Event::Idle,
            };
            let done = match event {
                Event::Readable => {
                    idle.as_mut().reset(Instant::now() + IDLE_MAX);
                    self.read()
                }
                Event::Writable => Ok(()),
                Event::Media(media) => {
                    self.take_media(media);
                    Ok(())
                }
                Event::Idle => Err(End::Idle),
            };
            if let Err(end) = done.and_then(|()| self.flush()) {
                return end;
            }
        }
    }

    /// Reads what there is and answers the requests in it.
    fn read(&mut self) -> Result<(), End> {
        let mut buffer = [0; READ_BYTES];
        match self.stream.try_read(&mut buffer) {
            Ok(0) => return Err(End::Client),
            Ok(read) => self.tail.extend_from_slice(buffer.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(End::Broken(error)),
        }
        let mut at = 0;
        let mut messages = Vec::new();
        let framed = loop {
            match self.framer.next(&self.tail, &mut at) {
                Ok(Some(Frame::Text(message))) => messages.push(message),
                // Receiver reports: what they tell, TCP sees to.
                Ok(Some(Frame::Interleaved { .. })) => {}
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.tail.drain(..at.min(self.tail.len()));
        for message in messages {
            self.answer(message);
        }
        framed.map_err(End::Protocol)
    }

    /// Answers one message.
    fn answer(&mut self, message: Message) {
        let request = match RtspMessage::try_from(message) {
            Ok(RtspMessage::Request(request)) => request,
            // Nothing was asked of the client, so it has nothing to answer.
            Ok(RtspMessage::Response(_)) => return,
            Err(_) => return Response::new(400, None).write(&mut self.unsent),
        };
        let Request { method, uri, .. } = &request;
        let outcome = self.conversation.handle(&request, self.service.as_ref());
        debug!(method = method.as_str(), uri, status = outcome.response.status, "request");
        outcome.response.write(&mut self.unsent);
        match outcome.effect {
            Effect::None => {}
            Effect::Play { source, tracks, senders } => {
                let queue = Queue::new(&tracks);
                self.playing = Some(Playing { source, senders, queue, began: None, ended: false });
            }
            Effect::Stop => self.playing = None,
            Effect::Close => self.closing = true,
        }
    }

    /// Queues what the source gave.
    fn take_media(&mut self, media: Option<Media>) {
        let Some(playing) = &mut self.playing else { return };
        match media {
            Some(media) => {
                if playing.senders.get(media.track).is_some_and(Option::is_some) {
                    playing.queue.push(media);
                }
            }
            None => playing.ended = true,
        }
    }

    /// Writes what the socket takes: unsent bytes, then queued media.
    fn flush(&mut self) -> Result<(), End> {
        loop {
            if !self.unsent.is_empty() {
                let written = write(&self.stream, &self.unsent)?;
                self.unsent.drain(..written.min(self.unsent.len()));
                if !self.unsent.is_empty() {
                    return Ok(());
                }
                // What one large access unit needed must not stay with every client.
                self.unsent.shrink_to(UNSENT_BYTES_MAX);
            }
            let Some(playing) = &mut self.playing else { return Ok(()) };
            let Some(queued) = playing.queue.pop() else {
                if playing.ended && !self.closing {
                    playing.say_goodbye(&mut self.unsent);
                    self.closing = true;
                    continue;
                }
                return Ok(());
            };
            scratch::with_write(|packets| {
                playing.packetize(&queued, packets);
                let written = write(&self.stream, packets)?;
                self.unsent.extend_from_slice(packets.get(written..).unwrap_or_default());
                Ok::<(), End>(())
            })?;
        }
    }
}

impl Playing {
    /// Appends the packets of one access unit; what cannot be sent is left out.
    fn packetize(&mut self, queued: &Queued, out: &mut Vec<u8>) {
        let began = *self.began.get_or_insert(queued.media.capture);
        if let Some(Some(sender)) = self.senders.get_mut(queued.media.track)
            && let Err(error) = sender.push(Instant::now(), began, queued, out)
        {
            debug!(track = queued.media.track, %error, "the source gave what cannot be sent");
        }
    }

    /// Appends the end of every track.
    fn say_goodbye(&self, out: &mut Vec<u8>) {
        for sender in self.senders.iter().flatten() {
            sender.bye(out);
        }
    }
}

/// The next media; never ready while nothing plays.
async fn next_media(playing: &mut Option<Playing>) -> Option<Media> {
    match playing {
        Some(playing) if !playing.ended => playing.source.next().await,
        Some(_) | None => std::future::pending().await,
    }
}

/// Writes once; returns how much the socket took.
fn write(stream: &TcpStream, bytes: &[u8]) -> Result<usize, End> {
    match stream.try_write(bytes) {
        Ok(written) => Ok(written),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        Err(error) => Err(End::Broken(error)),
    }
}
