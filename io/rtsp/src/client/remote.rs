//! Steers a running session from outside its loop: hold, play elsewhere, read slower.

use std::collections::VecDeque;
use std::future::Future;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use keepwatch_media::replay::PlayRequest;
use tokio::sync::{Notify, oneshot};

use super::error::{ClientError, Step};
use super::outcome::Played;

/// Requests that may wait for their answers: nobody seeks faster than he looks.
const REQUESTS_MAX: usize = 4;

/// Steers a session; clones steer the same one. Cheap, and usable from within the packet handler.
#[derive(Clone, Debug, Default)]
pub struct Remote(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    inbox: Mutex<Inbox>,
    wake: Notify,
    /// Bytes in a second; 0 for no limit.
    limit: AtomicU64,
    /// The `CSeq` of the newest `PLAY` that was sent.
    played: AtomicU32,
}

#[derive(Debug, Default)]
struct Inbox {
    commands: VecDeque<Command>,
    /// Whether the session is over, so that nobody would take a command out.
    closed: bool,
}

/// What a session is asked to do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    /// To play from elsewhere, or on.
    Play(PlayRequest),
    /// To hold.
    Pause,
}

impl Order {
    /// The step that is then taken.
    pub(super) const fn step(self) -> Step {
        match self {
            Self::Play(_) => Step::Play,
            Self::Pause => Step::Pause,
        }
    }
}

/// An order, and who waits for its answer.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) order: Order,
    pub(super) answer: oneshot::Sender<Result<Played, ClientError>>,
}

impl Remote {
    /// Asks the server to play as `request` says: elsewhere, or on after a pause. The order is given at once; the
    /// returned future is the server's answer and need not be waited for.
    ///
    /// Frames of the `PLAY` before may still come; [`sequence`](Self::sequence) tells them apart. The `cseq` of
    /// `request` is ignored, the session numbers its requests.
    ///
    /// # Errors
    /// As [`ClientError`] says; the session goes on. [`ClientError::Ended`] when it is over.
    pub fn play(
        &self,
        request: PlayRequest,
    ) -> impl Future<Output = Result<Played, ClientError>> + Send + use<> {
        self.give(Order::Play(request))
    }

    /// Asks the server to hold; what is on its way still comes. As [`play`](Self::play) otherwise.
    ///
    /// # Errors
    /// As [`play`](Self::play).
    pub fn pause(&self) -> impl Future<Output = Result<(), ClientError>> + Send + use<> {
        let answer = self.give(Order::Pause);
        async { answer.await.map(|_| ()) }
    }

    /// Limits how many bytes a replay reads in a second, from the next read on; `None` lifts the limit. With
    /// `Rate-Control: no` the server is thereby slowed down. A live session is not limited.
    pub fn limit(&self, bytes_per_s: Option<NonZeroU64>) {
        self.0.limit.store(bytes_per_s.map_or(0, NonZeroU64::get), Ordering::Relaxed);
        self.0.wake.notify_one();
    }

    /// What the marks of the newest `PLAY` carry: the low byte of its `CSeq`. Frames whose mark has another one
    /// belong to an older `PLAY`.
    pub fn sequence(&self) -> u8 {
        self.0.played.load(Ordering::Relaxed).to_be_bytes()[3]
    }

    /// Takes note that a `PLAY` was sent.
    pub(super) fn note_play(&self, cseq: u32) {
        self.0.played.store(cseq, Ordering::Relaxed);
    }

    /// The limit in bytes in a second.
    pub(super) fn rate(&self) -> Option<u64> {
        Some(self.0.limit.load(Ordering::Relaxed)).filter(|rate| *rate > 0)
    }

    /// The next order.
    pub(super) fn next(&self) -> Option<Command> {
        self.0.inbox.lock().unwrap_or_else(PoisonError::into_inner).commands.pop_front()
    }

    /// Takes note that the session is over; who waits is told.
    pub(super) fn close(&self) {
        let mut inbox = self.0.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        inbox.closed = true;
        inbox.commands.clear();
    }

    /// Waits until something was asked or changed.
    pub(super) async fn changed(&self) {
        self.0.wake.notified().await;
    }

    fn give(&self, order: Order) -> impl Future<Output = Result<Played, ClientError>> + Send + use<> {
        let (answer, answered) = oneshot::channel();
        let mut inbox = self.0.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        if inbox.closed {
            drop(answer);
        } else if inbox.commands.len() < REQUESTS_MAX {
            inbox.commands.push_back(Command { order, answer });
            self.0.wake.notify_one();
        } else {
            // Nobody hears it but who waits for it.
            let _ = answer.send(Err(ClientError::Busy));
        }
        async move {
            let over = ClientError::Ended { step: order.step(), source: None };
            answered.await.unwrap_or(Err(over))
        }
    }
}
