//! When a camera is connected, given up and tried again: for ever.
//!
//! It decides; the shell dials, reads and hangs up. The watchdog looks at *durable* footage, not at the socket:
//! a camera that is connected but whose pictures do not reach the disk is not being recorded.

use std::time::Duration;

use keepwatch_model::{GapReason, Machine, MonoTime, TICKS_PER_SECOND};

use crate::pace::FRAME_TICKS_MAX;
use crate::slicer::RECORD_AGE_MAX;

/// A dial that takes longer has failed, whatever the layers below still hope for.
pub const CONNECT_MAX: Duration = Duration::from_secs(15);
/// A connected camera without a new durable record for so long is hung up and dialled anew. The slowest camera's next
/// picture, the time that its record stays open, and the way to the disk fit in; a dead peer is noticed later.
pub const SILENCE_MAX: Duration = Duration::from_secs(12);
const _: () = assert!(
    SILENCE_MAX.as_millis()
        >= RECORD_AGE_MAX.as_millis()
            + 500
            + (1_000 * FRAME_TICKS_MAX / TICKS_PER_SECOND).unsigned_abs() as u128,
    "a slow camera would be hung up after each picture"
);
/// First wait before dialling again: a camera that only dropped the connection is back at once.
pub const BACKOFF_MIN: Duration = Duration::from_millis(500);
/// Longest wait: a camera that was away for a day is recorded again within this.
pub const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// First and longest wait after a refused login: many cameras lock an account after five failures.
pub const LOGIN_BACKOFF_MIN: Duration = Duration::from_secs(10);
/// See [`LOGIN_BACKOFF_MIN`].
pub const LOGIN_BACKOFF_MAX: Duration = Duration::from_secs(120);

/// What can happen to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The schedule or the operator asks for recording.
    Wanted,
    /// The schedule or the operator no longer asks for it.
    Unwanted,
    /// The dial succeeded and pictures were asked for.
    Connected,
    /// A record of this session is on disk.
    Durable,
    /// Pictures came for a while, but none to start decoding at.
    KeyFrameMissing,
    /// Pictures come, and the store does not take them or does not bring them to the disk. Told again while it lasts.
    StoreRefused(GapReason),
    /// The dial failed or the session ended.
    Ended(GapReason),
}

/// What a session asks of its shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Dial the camera.
    Connect,
    /// Hang up, or give up the dial; what follows is missing for this reason, or not wanted.
    Disconnect(Option<GapReason>),
    /// From here on, what is missing is missing for this reason.
    Missing(GapReason),
    /// From here on, nothing is missing: recording is not asked for.
    NotWanted,
    /// The first record of this session is on disk.
    Recording,
}

/// Where a session stands.
///
/// ```text
///            Wanted            Connected           Durable
///  Unwanted ───────► Connecting ───────► Connected ───────► Recording
///     ▲                ▲   │ Ended, late     │ Ended, silent    │ Ended, silent
///     │ Unwanted       │   ▼                 ▼                  ▼
///     └── from all     └─ Waiting ◄──────────┴──────────────────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Recording is not asked for.
    Unwanted,
    /// Until the next dial.
    Waiting {
        /// When to dial.
        until: MonoTime,
    },
    /// A dial is under way.
    Connecting {
        /// Since when.
        since: MonoTime,
    },
    /// Connected; nothing of this session is on disk.
    Connected {
        /// Since when, or since the store last held it up.
        since: MonoTime,
    },
    /// Footage of this session reaches the disk.
    Recording {
        /// When the last record became durable.
        durable: MonoTime,
    },
}

/// The supervision of one camera.
#[derive(Debug)]
pub struct Session {
    state: State,
    /// Dials since the last durable record.
    attempts: u32,
    /// The reason last told, so that it is told once.
    missing: Option<GapReason>,
    /// State of the xorshift that spreads the waits, so that a switch's return is not answered by all at once.
    jitter: u64,
}

impl Session {
    /// A session that waits to be wanted; `seed` spreads its waits.
    pub fn new(seed: u64) -> Self {
        Self { state: State::Unwanted, attempts: 0, missing: None, jitter: seed | 1 }
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    fn dial(&mut self, now: MonoTime, out: &mut Vec<Action>) {
        self.attempts = self.attempts.saturating_add(1);
        self.state = State::Connecting { since: now };
        out.push(Action::Connect);
    }

    fn retry(&mut self, now: MonoTime, reason: GapReason, out: &mut Vec<Action>) {
        let doublings = self.attempts.saturating_sub(1).min(8);
        let (min, max) = if reason == GapReason::LoginRefused {
            (LOGIN_BACKOFF_MIN, LOGIN_BACKOFF_MAX)
        } else {
            (BACKOFF_MIN, BACKOFF_MAX)
        };
        let wait = min.saturating_mul(1 << doublings).min(max);
        self.state = State::Waiting { until: now + self.spread(wait) };
        self.tell(reason, out);
    }

    /// Between three quarters of `wait` and all of it.
    fn spread(&mut self, wait: Duration) -> Duration {
        self.jitter ^= self.jitter << 13;
        self.jitter ^= self.jitter >> 7;
        self.jitter ^= self.jitter << 17;
        let quarter = wait / 4;
        wait - quarter.mul_f64((self.jitter >> 40) as f64 / (1u64 << 24) as f64)
    }

    fn tell(&mut self, reason: GapReason, out: &mut Vec<Action>) {
        if self.missing != Some(reason) {
            self.missing = Some(reason);
            out.push(Action::Missing(reason));
        }
    }

    fn hang_up(&mut self, now: MonoTime, reason: GapReason, out: &mut Vec<Action>) {
        out.push(Action::Disconnect(Some(reason)));
        self.retry(now, reason, out);
    }
}

impl Machine for Session {
    type Event = Event;
    type Action = Action;

    fn handle(&mut self, now: MonoTime, event: Event, out: &mut Vec<Action>) {
        match (self.state, event) {
            (State::Unwanted, Event::Wanted) => {
                self.attempts = 0;
                self.dial(now, out);
            }
            // Late news of a session that was already given up, or news twice.
            (
                State::Unwanted,
                Event::Unwanted
                | Event::Connected
                | Event::Durable
                | Event::KeyFrameMissing
                | Event::StoreRefused(_)
                | Event::Ended(_),
            )
            | (
                State::Waiting { .. },
                Event::Wanted
                | Event::Connected
                | Event::KeyFrameMissing
                | Event::StoreRefused(_)
                | Event::Ended(_),
            )
            | (State::Connecting { .. }, Event::Wanted | Event::KeyFrameMissing | Event::StoreRefused(_))
            | (State::Connected { .. } | State::Recording { .. }, Event::Wanted | Event::Connected) => {}
            // The last record of the session before, on disk a moment later: it is held, and still no session runs.
            (State::Waiting { .. } | State::Connecting { .. }, Event::Durable) => {}
            (State::Waiting { .. }, Event::Unwanted) => {
                self.state = State::Unwanted;
                self.missing = None;
                out.push(Action::NotWanted);
            }
            (
                State::Connecting { .. } | State::Connected { .. } | State::Recording { .. },
                Event::Unwanted,
            ) => {
                self.state = State::Unwanted;
                self.missing = None;
                out.extend([Action::Disconnect(None), Action::NotWanted]);
            }
            (State::Connecting { .. }, Event::Connected) => {
                // What was missing until now is missing for the same reason until pictures are on disk.
                self.state = State::Connected { since: now };
            }
            (
                State::Connecting { .. } | State::Connected { .. } | State::Recording { .. },
                Event::Ended(reason),
            ) => self.retry(now, reason, out),
            (State::Connected { .. }, Event::Durable) => {
                self.attempts = 0;
                self.missing = None;
                self.state = State::Recording { durable: now };
                out.push(Action::Recording);
            }
            (State::Recording { .. }, Event::Durable) => {
                self.missing = None;
                self.state = State::Recording { durable: now };
            }
            (State::Connected { .. }, Event::KeyFrameMissing) => self.tell(GapReason::KeyFrameMissing, out),
            // Without key frames from the middle on, what comes is still decodable from the key frame before.
            (State::Recording { .. }, Event::KeyFrameMissing) => {}
            // Dialling again would not help: the camera is fine, its pictures have no place to go.
            (State::Connected { .. } | State::Recording { .. }, Event::StoreRefused(reason)) => {
                self.state = State::Connected { since: now };
                self.tell(reason, out);
            }
        }
    }

    fn deadline(&self) -> Option<(MonoTime, &'static str)> {
        match self.state {
            State::Unwanted => None,
            State::Waiting { until } => Some((until, "dial again")),
            State::Connecting { since } => Some((since + CONNECT_MAX, "give up the dial")),
            State::Connected { since } => Some((since + SILENCE_MAX, "nothing durable yet")),
            State::Recording { durable } => Some((durable + SILENCE_MAX, "nothing durable")),
        }
    }

    fn timeout(&mut self, now: MonoTime, out: &mut Vec<Action>) {
        if self.deadline().is_none_or(|(at, _)| now < at) {
            return;
        }
        match self.state {
            State::Unwanted => {}
            State::Waiting { .. } => self.dial(now, out),
            State::Connecting { .. } => self.hang_up(now, GapReason::ConnectionLost, out),
            State::Connected { .. } | State::Recording { .. } => {
                // Dialling anew makes most cameras send a key frame.
                let reason = match self.missing {
                    Some(GapReason::KeyFrameMissing) => GapReason::KeyFrameMissing,
                    Some(_) | None => GapReason::CameraSilent,
                };
                self.hang_up(now, reason, out);
            }
        }
    }
}

#[cfg(test)]
mod tests;
