//! The task that owns the machine: tells it what was recorded and what is outside, and carries out what it decides.

mod comparing;
mod found;
mod leaving;
mod recorded;
mod telling;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use keepwatch_model::{CameraId, Machine as _, MonoTime, Span, SpanSet, WallTime};
use keepwatch_recorder::{Node, StreamState};
use keepwatch_recording::edge::health::Health;
use keepwatch_recording::edge::limit::SpeedLimit;
use keepwatch_recording::edge::{Action, Edge, Event, Send};
use keepwatch_recording::peer::Wanted;
use keepwatch_recording::replenish::StreamKey;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use self::found::Reckoned;
use self::leaving::Finished;
use crate::alarms::Alarms;
use crate::config::EdgeConfig;
use crate::kept::Limits;
use crate::nowhere::HOLE_TICKS_MIN;
use crate::outside::{Landed, Question, Senders, Storage};
use crate::reading::Ahead;
use crate::standing::{Contact, Standing};
use crate::storages::Storages;
use crate::window::Window;

/// Between two looks at what was recorded.
const LOOK: Duration = Duration::from_millis(500);
/// So many looks later it is shown again.
const LOOKS_SHOWN: u32 = 2;
/// What was lost is told this long after the last comparison at the earliest.
const LOST_TOLD: Duration = Duration::from_secs(30);
const EVER: Span = Span { from: WallTime::MIN, to: WallTime::MAX };

/// What the driver is told.
#[derive(Debug)]
pub(crate) enum Change {
    /// Another configuration.
    Config(EdgeConfig),
    /// Other limits of single cameras, in place of those of the configuration.
    Limits(Limits),
    /// Another external storage, or none.
    Storage(Option<Storage>),
}

/// A line as the shell knows it.
struct Line {
    stream: Arc<StreamState>,
    /// All records on disks that end here or before were told.
    seen: WallTime,
    /// The same of those in memory.
    seen_in_memory: WallTime,
    ahead: Ahead,
    /// Whether the external storage wants it.
    wanted: bool,
    bytes: u64,
    records: u64,
    /// Footage that went before it was outside, of all storages that were there since they last changed.
    lost: SpanSet,
    /// What of it is to be told.
    to_tell: SpanSet,
    /// Such footage since the start, in ticks.
    lost_ticks: i64,
}

pub(crate) struct Driver {
    node: Node,
    config: EdgeConfig,
    limits: Limits,
    machine: Edge,
    lines: BTreeMap<StreamKey, Line>,
    question: Option<Question>,
    /// `None` when there is no external storage.
    senders: Option<Senders>,
    contact: Contact,
    storages: Storages,
    /// The start of the recorder that all was compared with, and when.
    compared: Option<(WallTime, MonoTime)>,
    /// Until when nothing is sent, after it was not taken.
    rests_until: Option<MonoTime>,
    /// What is to be read, in the order in which it was decided.
    to_read: VecDeque<(StreamKey, Send)>,
    reads: JoinSet<Finished>,
    /// Records and bytes that are on their way.
    flying: (usize, usize),
    window: Window,
    looks: u32,
    lost_told: Option<MonoTime>,
    health: Health,
    alarms: Alarms,
    reckoned: Reckoned,
    /// When the node was last looked at as a whole, and how long reads waited since for those of others.
    found_at: MonoTime,
    waited_for_others: Duration,
    shown: watch::Sender<Arc<Standing>>,
    out: Vec<Action>,
}

impl Driver {
    pub(crate) fn new(
        node: Node,
        config: EdgeConfig,
        storage: Option<Storage>,
        limits: Limits,
        shown: watch::Sender<Arc<Standing>>,
    ) -> Self {
        let found_at = node.clock().mono();
        let machine = Edge::new(config.delay, found_at);
        node.store().set_tail_bytes_max(config.memory_bytes);
        let senders = storage.as_ref().map(|storage| Senders::new(&node, storage));
        let question = storage.map(|storage| Question::new(&node, storage));
        Self {
            contact: Contact::default(),
            node,
            config,
            limits,
            machine,
            lines: BTreeMap::new(),
            question,
            senders,
            storages: Storages::default(),
            compared: None,
            rests_until: None,
            to_read: VecDeque::new(),
            reads: JoinSet::new(),
            flying: (0, 0),
            window: Window::default(),
            looks: 0,
            lost_told: None,
            health: Health::default(),
            alarms: Alarms::default(),
            reckoned: Reckoned::default(),
            found_at,
            waited_for_others: Duration::ZERO,
            shown,
            out: Vec::new(),
        }
    }

    /// Runs until `stopped`.
    pub(crate) async fn run(
        mut self,
        mut changes: mpsc::Receiver<Change>,
        mut stopped: watch::Receiver<bool>,
    ) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let wake = self.wake();
            tokio::select! {
                _ = stopped.changed() => return,
                Some(change) = changes.recv() => self.change(change),
                Some(answer) = answered(&mut self.question) => match answer {
                    Ok(wanted) => self.wanted(&wanted),
                    Err(why) => self.away(why),
                },
                Some(landed) = landed(&mut self.senders) => self.landed(landed),
                Some(read) = self.reads.join_next() => match read {
                    Ok(read) => self.was_read(read),
                    Err(error) if error.is_panic() => self.away(format!("reading failed: {error}")),
                    // It was given up.
                    Err(_) => {}
                },
                _ = look.tick() => self.look(),
                () = tokio::time::sleep_until(wake.into()) => {
                    let now = self.now();
                    self.machine.timeout(now, &mut self.out);
                }
            }
            self.carry_out();
            self.read_on();
        }
    }

    fn now(&self) -> MonoTime {
        self.node.clock().mono()
    }

    /// When the machine wants to be woken. What cannot leave as too much is on its way needs none.
    fn wake(&self) -> std::time::Instant {
        let now = self.now();
        let at = self.machine.deadline().map_or(now + LOOK, |(at, _)| at.min(now + LOOK));
        self.node.clock().instant(at)
    }

    fn tell(&mut self, event: Event) {
        let now = self.now();
        self.machine.handle(now, event, &mut self.out);
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Config(config) => {
                self.config = config;
                self.node.store().set_tail_bytes_max(self.config.memory_bytes);
                self.tell_limits();
            }
            Change::Limits(limits) => {
                self.limits = limits;
                self.tell_limits();
            }
            Change::Storage(storage) => {
                // Nothing is known of it, and what was outside is outside no more.
                self.machine = Edge::new(self.config.delay, self.now());
                self.storages = Storages::default();
                self.question = storage.map(|storage| Question::new(&self.node, storage));
                self.contact = Contact::default();
                self.window = Window::default();
                self.rests_until = None;
                self.ground();
                self.senders =
                    self.question.as_ref().map(|question| Senders::new(&self.node, &question.storage));
                let keys: Vec<StreamKey> = self.lines.keys().copied().collect();
                for key in keys {
                    self.unwanted(key);
                    self.keep_tail(key);
                }
            }
        }
    }

    /// Looks at the storages, and at what was recorded since the last look.
    fn look(&mut self) {
        self.look_at_storages();
        self.take_up_lines();
        self.look_at_memory();
        self.look_at_disks();
        self.tell(Event::Throttle(self.throttle_bits_per_second()));
        if self.rests_until.is_some_and(|until| until <= self.now()) {
            self.rests_until = None;
        }
        self.looks = self.looks.wrapping_add(1);
        if self.looks.is_multiple_of(LOOKS_SHOWN) {
            self.show();
        }
    }

    /// What may be sent in a second, in bits; 0 is no limit.
    fn throttle_bits_per_second(&self) -> u64 {
        let recorded = self.lines.values().map(|line| line.stream.bits_per_second()).sum();
        self.config.throttle.target(recorded)
    }

    fn limit_of(&self, camera: CameraId) -> SpeedLimit {
        self.limits.get(&camera).copied().unwrap_or_else(|| self.config.limit_of(camera))
    }

    fn tell_limits(&mut self) {
        let wanted: Vec<StreamKey> =
            self.lines.iter().filter(|(_, line)| line.wanted).map(|(key, _)| *key).collect();
        for key in wanted {
            self.tell(Event::Line(key, self.limit_of(key.0)));
        }
    }

    fn carry_out(&mut self) {
        let now = self.now();
        for action in std::mem::take(&mut self.out) {
            match action {
                Action::Send(key, send) => self.to_read.push_back((key, send)),
                Action::WriteTo(place) => tracing::debug!(?place, "recorder 2 writes elsewhere"),
                Action::Tell(case) => self.tell_case(case),
                Action::Lost(key, span) => {
                    if let Some(line) = self.lines.get_mut(&key)
                        && span.ticks() >= HOLE_TICKS_MIN
                    {
                        line.lost.insert(span);
                        line.lost_ticks = line.lost_ticks.saturating_add(span.ticks());
                        line.to_tell.insert(span);
                        // The recorder is to know that it need not wait for it, though not record by record.
                        self.compared.take_if(|(_, at)| now.since(*at) >= LOST_TOLD);
                    }
                }
            }
        }
    }
}

/// What the external storage wants; nothing when there is none.
async fn answered(question: &mut Option<Question>) -> Option<Result<Wanted, String>> {
    match question {
        Some(question) => question.answers.recv().await,
        None => std::future::pending().await,
    }
}

/// What became of a transfer; nothing when there is no external storage.
async fn landed(senders: &mut Option<Senders>) -> Option<Landed> {
    match senders {
        Some(senders) => senders.landed.recv().await,
        None => std::future::pending().await,
    }
}
