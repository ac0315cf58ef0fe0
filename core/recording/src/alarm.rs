//! When a camera that is recorded on alarm is recorded: from a trigger on, until so long after the last one.
//!
//! A trigger is told, with a name, by whoever hears it; that it lasts is a state, that it happened is a moment. Where triggers
//! cannot be heard the camera is recorded: nobody knows what is missed. What was before an alarm waits in memory and is no matter
//! of this. Wall clocks are not asked, so none that is set begins or ends an alarm.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use keepwatch_model::{Machine, MonoTime};

use crate::notices::Condition;

/// Triggers of one camera that last at the same time. Cameras have some ten rules; names come from outside, some with the number
/// of each object that walks by. Of more, each counts as a moment.
const ACTIVE_MAX: usize = 64;
/// A state that lasted when triggers were not heard any more is told again so soon after they are, or it ended meanwhile: a camera
/// tells all states to who begins to listen, and a pull waits twenty seconds at most.
pub const TOLD_AGAIN_MAX: Duration = Duration::from_secs(30);
/// Longest that an alarm which somebody raises lasts by one call.
pub const RAISED_MAX: Duration = Duration::from_secs(24 * 3_600);

/// Why a camera is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// This trigger: its topic and source.
    Trigger(String),
    /// Somebody raised an alarm, in these words.
    Raised(String),
    /// Its triggers cannot be heard.
    Unheard,
    /// The recorder began to look after it, and cannot know what was before.
    Started,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trigger(name) => write!(f, "the camera reports {name}"),
            Self::Raised(words) => f.write_str(words),
            Self::Unheard => f.write_str("its triggers cannot be heard"),
            Self::Started => f.write_str("the recorder has just begun to look after it"),
        }
    }
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A trigger was told.
    Told {
        /// What tells it from others: topic and source.
        name: String,
        /// What is said of it.
        condition: Condition,
    },
    /// Somebody raised an alarm.
    Raised {
        /// Who, and why.
        words: String,
        /// How long it lasts; zero for a moment.
        lasts: Duration,
    },
    /// Triggers are heard. Told again it says nothing.
    Heard,
    /// Triggers cannot be heard. Told again it says nothing.
    Unheard,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Record, with what waits of the time before.
    Begin(Cause),
    /// Record no more.
    End(Ended),
}

/// An alarm that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// What began it.
    pub cause: Cause,
    /// How long the camera was recorded for it, without the time before.
    pub lasted: Duration,
    /// Triggers that were told in it, also of what lasted already.
    pub triggers: u64,
}

/// How the alarms of a camera stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing<'a> {
    /// There is none.
    Waiting,
    /// There is one.
    Alarm {
        /// What began it.
        cause: &'a Cause,
        /// What keeps it up; `None` when nothing does, and it ends by itself.
        kept_by: Option<Cause>,
    },
}

/// The alarms of one camera.
///
/// ```text
///            a trigger, a call, triggers not heard
///  Waiting ─────────────────────────────────────────► Alarm ◄─┐ any of these again
///     ▲                                                 │ └───┘
///     └─────────────────────────────────────────────────┘
///          nothing lasts, and the last was `post` ago
/// ```
#[derive(Debug)]
pub struct Alarms {
    post: Duration,
    state: State,
    /// States that last, by their names. Followed while nothing is recorded, too: there is no such time.
    active: BTreeMap<String, Active>,
    /// A raised alarm lasts until then, with its words.
    raised: Option<(MonoTime, String)>,
    heard: bool,
}

#[derive(Debug)]
enum State {
    Waiting,
    Alarm {
        since: MonoTime,
        cause: Cause,
        /// When something last was so.
        last: MonoTime,
        triggers: u64,
    },
}

/// A state that lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Active {
    /// It was told, and triggers have been heard since.
    Told,
    /// It lasted when triggers were not heard any more; it counts until then, unless it is told again.
    Doubted(MonoTime),
}

impl Alarms {
    /// Those of a camera that is looked after from `now` on, each kept up until `post` after its last trigger. What was before
    /// `now` is not known, so there is an alarm.
    pub fn new(now: MonoTime, post: Duration) -> Self {
        let state = State::Alarm { since: now, cause: Cause::Started, last: now, triggers: 0 };
        Self { post, state, active: BTreeMap::new(), raised: None, heard: true }
    }

    /// From now on an alarm is kept up until `post` after its last trigger.
    pub fn set_post(&mut self, post: Duration) {
        self.post = post;
    }

    /// How they stand.
    pub fn standing(&self) -> Standing<'_> {
        match &self.state {
            State::Waiting => Standing::Waiting,
            State::Alarm { cause, .. } => Standing::Alarm { cause, kept_by: self.kept_by() },
        }
    }

    /// What lasts.
    fn kept_by(&self) -> Option<Cause> {
        let told = self.active.keys().next().map(|name| Cause::Trigger(name.clone()));
        let raised = || self.raised.as_ref().map(|(_, words)| Cause::Raised(words.clone()));
        told.or_else(raised).or_else(|| (!self.heard).then_some(Cause::Unheard))
    }

    fn lasts(&self) -> bool {
        !self.active.is_empty() || self.raised.is_some() || !self.heard
    }

    fn told(&mut self, now: MonoTime, name: String, condition: Condition, out: &mut Vec<Action>) {
        match condition {
            Condition::Active => {
                if self.active.contains_key(&name) || self.active.len() < ACTIVE_MAX {
                    self.active.insert(name.clone(), Active::Told);
                }
                self.triggered(now, Cause::Trigger(name), out);
            }
            Condition::Momentary => self.triggered(now, Cause::Trigger(name), out),
            Condition::Inactive => {
                // What was not known to be so says nothing.
                if self.active.remove(&name).is_some() {
                    self.was_so(now);
                }
            }
        }
    }

    /// Begins an alarm, or keeps it up.
    fn triggered(&mut self, now: MonoTime, by: Cause, out: &mut Vec<Action>) {
        match &mut self.state {
            State::Waiting => {
                self.state = State::Alarm { since: now, cause: by.clone(), last: now, triggers: 1 };
                out.push(Action::Begin(by));
            }
            State::Alarm { last, triggers, .. } => {
                *last = now;
                *triggers = triggers.saturating_add(1);
            }
        }
    }

    /// Something that lasted was so up to `now`.
    fn was_so(&mut self, now: MonoTime) {
        match &mut self.state {
            State::Alarm { last, .. } => *last = (*last).max(now),
            // What lasts keeps an alarm up, so it lasted in none.
            State::Waiting => {}
        }
    }

    /// When the next thing that lasts ends by itself.
    fn runs_out(&self) -> Option<MonoTime> {
        let doubted = self.active.values().filter_map(|active| match active {
            Active::Told => None,
            Active::Doubted(until) => Some(*until),
        });
        doubted.chain(self.raised.as_ref().map(|(until, _)| *until)).min()
    }

    /// Lets go of all that ended by itself.
    fn run_out(&mut self, now: MonoTime) {
        while let Some(at) = self.runs_out().filter(|at| *at <= now) {
            self.active.retain(|_, active| *active != Active::Doubted(at));
            if self.raised.as_ref().is_some_and(|(until, _)| *until == at) {
                self.raised = None;
            }
            self.was_so(at);
        }
    }
}

impl Machine for Alarms {
    type Event = Event;
    type Action = Action;

    fn handle(&mut self, now: MonoTime, event: Event, out: &mut Vec<Action>) {
        self.timeout(now, out);
        match event {
            Event::Told { name, condition } => self.told(now, name, condition, out),
            Event::Raised { words, lasts } => {
                let until = now + lasts.min(RAISED_MAX);
                if until > now && self.raised.as_ref().is_none_or(|(before, _)| *before < until) {
                    self.raised = Some((until, words.clone()));
                }
                self.triggered(now, Cause::Raised(words), out);
            }
            Event::Unheard if self.heard => {
                self.heard = false;
                self.triggered(now, Cause::Unheard, out);
            }
            Event::Heard if !self.heard => {
                self.heard = true;
                self.was_so(now);
                for active in self.active.values_mut() {
                    *active = Active::Doubted(now + TOLD_AGAIN_MAX);
                }
            }
            // Nothing changed.
            Event::Heard | Event::Unheard => {}
        }
    }

    fn deadline(&self) -> Option<(MonoTime, &'static str)> {
        let ends = match &self.state {
            State::Alarm { last, .. } if !self.lasts() => Some((*last + self.post, "the alarm is over")),
            State::Alarm { .. } | State::Waiting => None,
        };
        ends.or_else(|| self.runs_out().map(|at| (at, "what lasted ends")))
    }

    fn timeout(&mut self, now: MonoTime, out: &mut Vec<Action>) {
        self.run_out(now);
        if self.lasts() {
            return;
        }
        match &self.state {
            State::Alarm { since, cause, last, triggers } if *last + self.post <= now => {
                let (cause, lasted) = (cause.clone(), now.since(*since));
                out.push(Action::End(Ended { cause, lasted, triggers: *triggers }));
                self.state = State::Waiting;
            }
            State::Alarm { .. } | State::Waiting => {}
        }
    }
}

#[cfg(test)]
mod tests;
