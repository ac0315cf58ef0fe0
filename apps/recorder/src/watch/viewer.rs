//! One client of the live WebSocket (RFC 6455).
//!
//! It has a place in the ring of pieces and no queue. A client that takes what comes slowly goes on at a later key frame
//! and is told; one from which nothing is heard is hung up. It may say once what it can play, and nothing else.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use keepwatch_model::{CodecKind, GapReason, WallTime};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};

use super::Watch;
use super::cast::Cast;
use super::muxer::{Init, Piece};
use super::ring::{Position, Skipped};
use crate::camera::codec_name;
use crate::{Clock, Connection, StreamState};

/// A page says at once what it can play; one that does not is taken to play all.
const PLAYABLE_WAIT: Duration = Duration::from_millis(250);
/// Time between two looks at what is not told by pieces.
const LOOK: Duration = Duration::from_secs(1);
/// Looks from one ping to the next.
const PING_LOOKS: u32 = 10;
/// A client that answers nothing, or takes nothing, for so long is gone.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// A stream of which nothing came for so long is waited for, whatever its connection says: longer than any camera takes
/// from one picture to the next.
const SILENT: Duration = Duration::from_secs(12);
/// Largest message of a client: a list of codecs.
pub(crate) const MESSAGE_BYTES_MAX: usize = 1_024;
/// What is read of a client at once: it says next to nothing, and each viewer keeps a buffer of this size.
pub(crate) const READ_BYTES: usize = 4 << 10;
/// Most that waits to be sent: two pieces of the largest kind.
pub(crate) const UNSENT_BYTES_MAX: usize = 64 << 20;

/// What a viewer is given.
pub(crate) struct Viewing {
    pub(crate) watch: Arc<Watch>,
    pub(crate) clock: Clock,
    pub(crate) stream: Arc<StreamState>,
    /// Whether the page wants sound.
    pub(crate) with_sound: bool,
    /// Returns when the right to watch is lost.
    pub(crate) lost: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Returns when the node ends, or its server; holds the connection's place until then.
    pub(crate) ending: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Whether the stream is still there.
    pub(crate) exists: Box<dyn Fn() -> bool + Send>,
    /// Its place among the viewers.
    pub(crate) place: OwnedSemaphorePermit,
}

/// One client.
pub(crate) struct Viewer {
    viewing: Viewing,
    /// What it can play, in lower case; `None` when it did not say.
    playable: Option<Vec<String>>,
    heard: Instant,
    init: Option<Arc<Init>>,
    /// When the last piece was sent or was there to be sent.
    last_piece: Instant,
    /// End of the last piece that was sent.
    until: Option<WallTime>,
    /// What it was last told to wait for.
    waiting: Option<(WallTime, Option<GapReason>)>,
    unplayable: Option<String>,
}

/// What a client is told.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Told<'a> {
    /// The initialisation segment follows.
    Init { mime: &'a str, stream: String, codec: &'a str, width: u16, height: u16, start: WallTime },
    /// It was too slow, and goes on at a later key frame.
    Skipped { from: WallTime, to: WallTime, frames: u64 },
    /// Nothing comes.
    Waiting { since: WallTime, reason: Option<GapReason>, detail: String },
    /// What comes cannot be played.
    Unplayable { codec: &'a str, detail: String },
    /// Up to which label it was sent, and when.
    Time { label: WallTime, sent: WallTime },
    /// That the node is there, in every second in which it has no time to tell: a page cannot see pings.
    Alive { now: WallTime },
}

/// What a client may say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    playable: Vec<String>,
}

/// Why a conversation ends: the code and the reason that the client is told; `None` when there is nobody to tell.
type Ending = Option<(u16, &'static str)>;

impl Viewer {
    /// The client of a WebSocket.
    pub(crate) fn new(viewing: Viewing) -> Self {
        let now = Instant::now();
        Self {
            viewing,
            playable: None,
            heard: now,
            init: None,
            last_piece: now,
            until: None,
            waiting: None,
            unplayable: None,
        }
    }

    /// Shows the stream until either side ends.
    pub(crate) async fn run(mut self, mut socket: WebSocket) {
        let Err(ending) = self.converse(&mut socket).await;
        if let Some((code, reason)) = ending {
            let frame = CloseFrame { code, reason: reason.into() };
            // Its place is kept until then: it is still a connection.
            let _ = timeout(FAREWELL, socket.send(Message::Close(Some(frame)))).await;
        }
        drop(self.viewing.place);
    }

    async fn converse(&mut self, socket: &mut WebSocket) -> Result<std::convert::Infallible, Ending> {
        if let Ok(message) = timeout(PLAYABLE_WAIT, socket.recv()).await {
            self.hear(message)?;
        }
        let (mut cast, mut with_sound) = self.join();
        let mut news = cast.news();
        let mut position = cast.position();
        let mut looks: Interval = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut number = 0u32;
        loop {
            let idle = !self.show(socket, &cast, &mut position).await?;
            tokio::select! {
                biased;
                () = &mut self.viewing.lost => return Err(Some(RIGHT_LOST)),
                () = &mut self.viewing.ending => return Err(Some(NODE_ENDS)),
                message = socket.recv() => {
                    self.hear(message)?;
                    if self.wants_sound() != with_sound {
                        (cast, with_sound) = self.join();
                        (news, position) = (cast.news(), cast.position());
                    }
                }
                _ = looks.tick() => {
                    number = number.wrapping_add(1);
                    self.look(socket, &cast, number).await?;
                }
                // It never ends before the cast, which is held.
                _ = news.changed(), if idle => {}
                () = std::future::ready(()), if !idle => {}
            }
        }
    }

    fn join(&self) -> (Arc<Cast>, bool) {
        let with_sound = self.wants_sound();
        (self.viewing.watch.casts.join(&self.viewing.stream, with_sound), with_sound)
    }

    /// Whether sound is wanted and, as far as the client said, can be played: a list without any name of sound says
    /// nothing about it.
    fn wants_sound(&self) -> bool {
        let Some(playable) = self.playable.as_ref().filter(|_| self.viewing.with_sound) else {
            return self.viewing.with_sound;
        };
        let plays = |name: &str| playable.iter().any(|codec| codec.starts_with(name));
        if !plays("mp4a") && !plays("flac") {
            return true;
        }
        let tracks = self.viewing.stream.hub().tracks();
        let kind = tracks.as_deref().and_then(|tracks| tracks.iter().find(|track| track.kind.is_audio()));
        match kind.map(|track| track.kind) {
            Some(CodecKind::Aac) => plays("mp4a"),
            Some(CodecKind::Pcmu | CodecKind::Pcma) => plays("flac"),
            _ => true,
        }
    }

    /// Sends what there is; returns whether there was anything.
    async fn show(
        &mut self,
        socket: &mut WebSocket,
        cast: &Cast,
        position: &mut Position,
    ) -> Result<bool, Ending> {
        let taken = cast.take(position);
        // Also when nothing comes with it: where no key frame is held, the next may be far off.
        if let Some(Skipped { from, to, frames }) = taken.skipped {
            self.tell(socket, &Told::Skipped { from, to, frames }).await?;
        }
        if taken.pieces.is_empty() {
            return Ok(false);
        }
        self.last_piece = Instant::now();
        self.waiting = None;
        for piece in taken.pieces {
            self.send_piece(socket, &piece).await?;
        }
        Ok(true)
    }

    async fn send_piece(&mut self, socket: &mut WebSocket, piece: &Piece) -> Result<(), Ending> {
        let known = self.init.as_ref().is_some_and(|init| Arc::ptr_eq(init, &piece.init));
        if !known {
            self.init = Some(Arc::clone(&piece.init));
            let Init { mime, codec, size: (width, height), start, bytes } = &*piece.init;
            self.unplayable = None;
            if !self.plays(codec) {
                let detail = format!(
                    "this page cannot play {codec}; watch the sub stream, or set the camera to H.264"
                );
                return self.tell_unplayable(socket, codec, detail).await;
            }
            let stream = self.viewing.stream.id.to_string();
            let told = Told::Init { mime, stream, codec, width: *width, height: *height, start: *start };
            self.tell(socket, &told).await?;
            if !bytes.is_empty() {
                self.send(socket, Message::Binary(bytes.clone())).await?;
            }
        }
        if self.unplayable.is_some() {
            return Ok(());
        }
        self.until = Some(piece.to);
        if piece.init.bytes.is_empty() {
            // A JPEG file says nothing of its time.
            let sent = self.viewing.clock.wall();
            self.tell(socket, &Told::Time { label: piece.from, sent }).await?;
        }
        self.send(socket, Message::Binary(piece.bytes.clone())).await
    }

    /// Whether the client plays pictures of a coding, as far as it said.
    fn plays(&self, codec: &str) -> bool {
        let name = match codec {
            "h264" => "avc1",
            "h265" => "hvc1",
            _ => return true,
        };
        self.playable.as_ref().is_none_or(|playable| playable.iter().any(|codec| codec.starts_with(name)))
    }

    /// Once a second: what is not told by pieces.
    async fn look(&mut self, socket: &mut WebSocket, cast: &Cast, number: u32) -> Result<(), Ending> {
        if self.heard.elapsed() > PATIENCE {
            return Err(None);
        }
        if !(self.viewing.exists)() {
            return Err(Some((close_code::AWAY, "the camera is not configured any more")));
        }
        if number.is_multiple_of(PING_LOOKS) {
            self.send(socket, Message::Ping(axum::body::Bytes::new())).await?;
        }
        if let Some(detail) = cast.refused() {
            let tracks = self.viewing.stream.hub().tracks();
            let video =
                tracks.as_deref().and_then(|tracks| tracks.iter().find(|track| track.kind.is_video()));
            let codec = video.map_or("unknown", |track| codec_name(track.kind));
            self.tell_unplayable(socket, codec, detail).await?;
        }
        self.tell_time(socket).await?;
        self.tell_waiting(socket).await
    }

    /// Tells the time, or at least that the node is there: a page gives up a socket that is silent.
    async fn tell_time(&mut self, socket: &mut WebSocket) -> Result<(), Ending> {
        let now = self.viewing.clock.wall();
        let flows = self.last_piece.elapsed() < 2 * LOOK && self.unplayable.is_none();
        let is_film = self.init.as_ref().is_some_and(|init| !init.bytes.is_empty());
        let told = match self.until.filter(|_| flows && is_film) {
            Some(label) => Told::Time { label, sent: now },
            None => Told::Alive { now },
        };
        self.tell(socket, &told).await
    }

    /// Tells what nothing comes for, once for each cause.
    async fn tell_waiting(&mut self, socket: &mut WebSocket) -> Result<(), Ending> {
        let (connection, since, words) = self.viewing.stream.connection();
        let silent = self.last_piece.elapsed() > SILENT;
        let (reason, sentence) = match connection {
            Connection::Unwanted => (None, "the schedule does not ask for this camera at the moment"),
            Connection::Connecting => (None, "the camera is being connected to"),
            Connection::Waiting(reason) => (Some(reason), reason.sentence()),
            Connection::Relayed => (
                None,
                "an edge node records this camera and sends it a minute or two later: watch it live there",
            ),
            Connection::Connected(_) | Connection::Recording | Connection::Buffered | Connection::Armed
                if !silent =>
            {
                return Ok(());
            }
            Connection::Connected(_) | Connection::Recording | Connection::Buffered | Connection::Armed => {
                (Some(GapReason::CameraSilent), GapReason::CameraSilent.sentence())
            }
        };
        if self.waiting == Some((since, reason)) {
            return Ok(());
        }
        self.waiting = Some((since, reason));
        let detail = match words {
            Some(words) if reason.is_some() => format!("{sentence}: {words}"),
            _ => sentence.to_owned(),
        };
        self.tell(socket, &Told::Waiting { since, reason, detail }).await
    }

    /// Tells that what comes cannot be played, once.
    async fn tell_unplayable(
        &mut self,
        socket: &mut WebSocket,
        codec: &str,
        detail: String,
    ) -> Result<(), Ending> {
        if self.unplayable.as_ref() == Some(&detail) {
            return Ok(());
        }
        self.unplayable = Some(detail.clone());
        self.tell(socket, &Told::Unplayable { codec, detail }).await
    }

    /// Takes what the client said, or that it is gone.
    fn hear(&mut self, message: Option<Result<Message, axum::Error>>) -> Result<(), Ending> {
        let message = match message {
            None => return Err(None),
            // Larger than it may be, or no WebSocket any more.
            Some(Err(_)) => return Err(Some((close_code::POLICY, "a message that is not understood"))),
            Some(Ok(message)) => message,
        };
        self.heard = Instant::now();
        match message {
            Message::Text(text) if self.playable.is_none() => {
                let said: Said = serde_json::from_str(text.as_str()).map_err(|_| {
                    Some((close_code::POLICY, "send {\"playable\": [\"avc1\", ...]} or nothing"))
                })?;
                self.playable = Some(said.playable.iter().map(|codec| codec.to_ascii_lowercase()).collect());
                Ok(())
            }
            Message::Text(_) | Message::Binary(_) => {
                Err(Some((close_code::POLICY, "nothing is to be sent after what can be played")))
            }
            Message::Close(_) => Err(None),
            Message::Ping(_) | Message::Pong(_) => Ok(()),
        }
    }

    async fn tell(&mut self, socket: &mut WebSocket, told: &Told<'_>) -> Result<(), Ending> {
        let text = serde_json::to_string(told).map_err(|_| None)?;
        self.send(socket, Message::Text(text.into())).await
    }

    /// Sends a message; ends when the client takes nothing, or it may not have it any more.
    async fn send(&mut self, socket: &mut WebSocket, message: Message) -> Result<(), Ending> {
        tokio::select! {
            biased;
            () = &mut self.viewing.lost => Err(Some(RIGHT_LOST)),
            () = &mut self.viewing.ending => Err(Some(NODE_ENDS)),
            sent = timeout(PATIENCE, socket.send(message)) => match sent {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) | Err(_) => Err(None),
            },
        }
    }
}

/// The right to watch was lost.
const RIGHT_LOST: (u16, &str) = (close_code::POLICY, "the right to watch this camera was lost");
/// The node ends.
const NODE_ENDS: (u16, &str) = (close_code::AWAY, "the node ends");

#[cfg(test)]
mod tests;
