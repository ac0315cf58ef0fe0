//! Edge recording with automatic network replenishment: when what was recorded on local storage leaves for the external storage.
//!
//! Recorder 2, which writes local storage, is the recorder itself; this is recorder 1. Each line (a stream of a camera) has two lanes:
//! the *relay* carries what is a minute or two old, the *replenishment* what the relay had to leave out, with what the limits leave
//! over. The shell reads one record for each [`Action::Send`] and says what it was ([`Event::Taken`]); what is on a disk outside, it
//! says later. `docs/design/edge.md` has the cases and the reasons.

pub mod fill;
pub mod health;
pub mod limit;
mod line;
pub mod overload;
pub mod plan;
pub mod rate;

use std::collections::BTreeMap;
use std::time::Duration;

use keepwatch_model::{Condition, Machine, MonoTime, Place, Span, SpanSet};

use self::limit::{NodeLimit, SpeedLimit};
use self::line::Line;
use self::overload::Wait;
use crate::replenish::StreamKey;

/// How far the relay is behind the recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    /// A record leaves when it is so old.
    pub start: Duration,
    /// Beyond this, the relay leaves out what it is behind with.
    pub most: Duration,
}

impl Default for Delay {
    fn default() -> Self {
        Self { start: Duration::from_secs(100), most: Duration::from_secs(120) }
    }
}

/// By which lane footage leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// What is a minute or two old.
    Relay,
    /// What the relay left out.
    Replenishment,
}

/// The cases of failure, by the number that operators know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// Nothing failed.
    Normal,
    /// 1: the external storage takes nothing; local storage fills.
    ExternalAway,
    /// 2: local storage can be read and not written: it is drained, and the stream goes out directly.
    LocalReadOnly,
    /// 3: local storage can neither be written nor read: the stream goes out directly.
    LocalGone,
    /// 4: the second local storage takes the place of the internal one.
    Second,
}

impl Case {
    /// Its number; 0 when nothing failed.
    pub const fn number(self) -> u8 {
        match self {
            Self::Normal => 0,
            Self::ExternalAway => 1,
            Self::LocalReadOnly => 2,
            Self::LocalGone => 3,
            Self::Second => 4,
        }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A line is recorded from here on, with this limit; or its limit is another.
    Line(StreamKey, SpeedLimit),
    /// A line is not recorded any more, and what of it is here is not wanted outside.
    LineGone(StreamKey),
    /// What can be done with a local storage.
    Storage {
        /// Which of both.
        place: Place,
        /// What can be done.
        condition: Condition,
        /// It is another one than before: what was on that one is not on this.
        replaced: bool,
    },
    /// Whether the external storage takes records. What was on its way when it did not has not arrived. Before it is said to take
    /// records again, all was compared: all that is there was told as [`Event::Outside`], whether it is still here or not, and what
    /// is here and missing there as [`Event::Found`].
    External {
        /// It does.
        takes: bool,
    },
    /// A record was closed; or one that was told of before is at another place as well.
    Recorded {
        /// Of which line.
        line: StreamKey,
        /// Where it is.
        place: Place,
        /// Its labels.
        span: Span,
    },
    /// What was recorded before this process began, and is not outside.
    Found {
        /// Of which line.
        line: StreamKey,
        /// Where it is.
        place: Place,
        /// Its labels.
        span: Span,
    },
    /// A record was read and is on its way.
    Taken {
        /// Of which line.
        line: StreamKey,
        /// Its labels.
        span: Span,
        /// Its size.
        bytes: u64,
    },
    /// Of what was to be sent, this first part cannot be read, or is not there. When that is because the whole storage is gone, that
    /// is told first ([`Event::Storage`]): what such a storage has is not known, and not lost yet.
    Nothing {
        /// Of which line.
        line: StreamKey,
        /// The part.
        span: Span,
    },
    /// Footage is outside, on a disk there.
    Outside {
        /// Of which line.
        line: StreamKey,
        /// Its labels.
        span: Span,
    },
    /// A place that can be read gave footage up for newer footage.
    GaveUp {
        /// Of which line.
        line: StreamKey,
        /// Which place.
        place: Place,
        /// Its labels.
        span: Span,
    },
    /// What may be written in all, in bits per second; 0 is no limit.
    Throttle(u64),
}

/// A record that is to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Send {
    /// By which lane.
    pub lane: Lane,
    /// From where.
    pub place: Place,
    /// The first record that begins in here.
    pub span: Span,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read a record of a line and send it, then say [`Event::Taken`] or [`Event::Nothing`].
    Send(StreamKey, Send),
    /// Recorder 2 writes there from here on; to memory only, when nothing else takes it.
    WriteTo(Place),
    /// Tell that the case is another one, and whether the external storage takes records.
    Tell(Case),
    /// Enter into the ledger that footage was lost before it was outside. It is told once, unless it is found again.
    Lost(StreamKey, Span),
}

/// Recorder 1 of a node.
#[derive(Debug)]
pub struct Edge {
    delay: Delay,
    lines: BTreeMap<StreamKey, Line>,
    internal: Condition,
    /// `None` when there is none.
    second: Option<Condition>,
    /// Whether the external storage takes records; `None` while it was not tried.
    external: Option<bool>,
    node: NodeLimit,
    told: Case,
    writes_to: Place,
}

impl Edge {
    /// A node whose storages are not known yet.
    pub const fn new(delay: Delay, now: MonoTime) -> Self {
        Self {
            delay,
            lines: BTreeMap::new(),
            internal: Condition::Writable,
            second: None,
            external: None,
            node: NodeLimit::new(now),
            told: Case::Normal,
            writes_to: Place::Internal,
        }
    }

    /// The case. A failure of local storage counts before one of the external storage, which [`external_takes`](Self::external_takes)
    /// tells beside it.
    pub fn case(&self) -> Case {
        match (self.internal, self.second) {
            (Condition::Writable, _) if self.external == Some(false) => Case::ExternalAway,
            (Condition::Writable, _) => Case::Normal,
            (_, Some(Condition::Writable)) => Case::Second,
            (Condition::ReadOnly, _) => Case::LocalReadOnly,
            (Condition::Gone, Some(Condition::ReadOnly)) => Case::LocalReadOnly,
            (Condition::Gone, Some(Condition::Gone) | None) => Case::LocalGone,
        }
    }

    /// Whether the external storage takes records.
    pub fn external_takes(&self) -> bool {
        self.external == Some(true)
    }

    /// How much of a line the relay left out, in ticks.
    pub fn backlog_ticks(&self, line: &StreamKey) -> i64 {
        self.lines.get(line).map_or(0, Line::backlog_ticks)
    }

    /// What of a line is at a place and not outside.
    pub fn waiting_at(&self, line: &StreamKey, place: Place) -> &[Span] {
        self.lines.get(line).map(|line| line.at(place)).unwrap_or_default()
    }

    /// What a line waits for before its next record leaves; `None` when that is nothing that is decided here.
    pub fn waits_for(&self, now: MonoTime, line: &StreamKey) -> Option<Wait> {
        match self.lines.get(line)?.limit.ready_at() {
            None => Some(Wait::Stopped),
            Some(ready_at) if ready_at > now => Some(Wait::Limit),
            Some(_) => (self.node.ready_at() > now).then_some(Wait::Throttle),
        }
    }

    /// How far the relay of a line is behind the recording; `None` when there is nothing to relay.
    pub fn behind(&self, now: MonoTime, line: &StreamKey) -> Option<Duration> {
        Some(now.since(self.lines.get(line)?.relay_closed()?))
    }

    /// Directly, the stream leaves as it comes.
    fn delay(&self) -> Duration {
        match self.case() {
            Case::LocalReadOnly | Case::LocalGone => Duration::ZERO,
            Case::Normal | Case::ExternalAway | Case::Second => self.delay.start,
        }
    }

    /// Where recorder 2 writes.
    pub fn writes_to(&self) -> Place {
        match (self.internal, self.second) {
            (Condition::Writable, _) => Place::Internal,
            (_, Some(Condition::Writable)) => Place::Second,
            (_, _) => Place::Memory,
        }
    }

    /// Which places can be read.
    fn readable(&self) -> impl Fn(Place) -> bool + use<> {
        let (internal, second) = (self.internal, self.second.unwrap_or(Condition::Gone));
        move |place| match place {
            Place::Memory => true,
            Place::Internal => internal != Condition::Gone,
            Place::Second => second != Condition::Gone,
        }
    }

    fn storage(&mut self, place: Place, condition: Condition, replaced: bool, out: &mut Vec<Action>) {
        match place {
            Place::Memory => return,
            Place::Internal => self.internal = condition,
            Place::Second => self.second = Some(condition),
        }
        if replaced {
            for (key, line) in &mut self.lines {
                for span in line.at(place).to_vec() {
                    lose(*key, line, place, span, out);
                }
            }
        }
    }

    /// Tells what changed, and has sent whatever is due.
    fn settle(&mut self, now: MonoTime, out: &mut Vec<Action>) {
        let (case, writes_to) = (self.case(), self.writes_to());
        if writes_to != self.writes_to {
            self.writes_to = writes_to;
            out.push(Action::WriteTo(writes_to));
        }
        if case != self.told {
            self.told = case;
            out.push(Action::Tell(case));
        }
        let (readable, takes) = (self.readable(), self.external_takes());
        for line in self.lines.values_mut() {
            line.tidy(&readable);
            line.shed(now, self.delay.start, self.delay.most);
            if takes {
                line.begin(now, &readable);
            }
        }
        // The relay of every line comes before the replenishment of any.
        for lane in [Lane::Relay, Lane::Replenishment] {
            self.send(now, lane, out);
        }
    }

    fn send(&mut self, now: MonoTime, lane: Lane, out: &mut Vec<Action>) {
        if !self.external_takes() || self.node.ready_at() > now {
            return;
        }
        let (delay, readable) = (self.delay(), self.readable());
        for (key, line) in &mut self.lines {
            let next = line.next(now, delay, &readable);
            if let Some((_, send)) = next.filter(|(at, send)| *at <= now && send.lane == lane) {
                line.ask(send);
                out.push(Action::Send(*key, send));
            }
        }
    }
}

impl Machine for Edge {
    type Event = Event;
    type Action = Action;

    fn handle(&mut self, now: MonoTime, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::Line(key, limit) => match self.lines.get_mut(&key) {
                Some(line) => line.limited(now, limit),
                None => drop(self.lines.insert(key, Line::new(limit, now))),
            },
            Event::LineGone(key) => drop(self.lines.remove(&key)),
            Event::Storage { place, condition, replaced } => self.storage(place, condition, replaced, out),
            Event::External { takes } => {
                self.external = Some(takes);
                for (key, line) in &mut self.lines {
                    if takes {
                        tell_lost(*key, &line.compared(), out);
                    } else {
                        line.grounded();
                    }
                }
            }
            Event::Throttle(bits_per_second) => self.node.set(now, bits_per_second),
            Event::Recorded { line, place, span } => {
                if let Some(line) = self.lines.get_mut(&line) {
                    line.recorded(now, place, span);
                }
            }
            Event::Found { line, place, span } => {
                if let Some(line) = self.lines.get_mut(&line) {
                    line.found(place, span);
                }
            }
            Event::Taken { line, span, bytes } => {
                if let Some(line) = self.lines.get_mut(&line) {
                    line.taken(now, span, bytes);
                    self.node.spend(now, bytes);
                }
            }
            Event::Nothing { line: key, span } => {
                let readable = self.readable();
                if let Some(line) = self.lines.get_mut(&key)
                    && let Some(Send { place, .. }) = line.refused()
                    && readable(place)
                {
                    lose(key, line, place, span, out);
                }
            }
            Event::Outside { line, span } => {
                if let Some(line) = self.lines.get_mut(&line) {
                    line.outside(span);
                }
            }
            Event::GaveUp { line: key, place, span } => {
                let readable = self.readable();
                if let Some(line) = self.lines.get_mut(&key)
                    && readable(place)
                {
                    lose(key, line, place, span, out);
                }
            }
        }
        self.settle(now, out);
    }

    fn deadline(&self) -> Option<(MonoTime, &'static str)> {
        if !self.external_takes() {
            return None;
        }
        let (delay, readable) = (self.delay(), self.readable());
        // What is due is asked for when it is; so only times to come are left, and that of a relay counts beside a backlog that waits for
        // its limit.
        let at = self.lines.values().filter_map(|line| line.wakes_at(delay, &readable)).min()?;
        Some((at.max(self.node.ready_at()), "a record leaves"))
    }

    fn timeout(&mut self, now: MonoTime, out: &mut Vec<Action>) {
        self.settle(now, out);
    }
}

/// Footage is at a place no more; of what is nowhere else the ledger is told.
fn lose(key: StreamKey, line: &mut Line, place: Place, span: Span, out: &mut Vec<Action>) {
    tell_lost(key, &line.gone(place, span), out);
}

fn tell_lost(key: StreamKey, lost: &SpanSet, out: &mut Vec<Action>) {
    out.extend(lost.spans().iter().map(|span| Action::Lost(key, *span)));
}

#[cfg(test)]
mod tests;
