//! The task that owns the machine: tells it what was recorded and what is outside, and carries out what it decides.

mod found;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use keepwatch_model::{
    CameraId, EventCode, Machine as _, MonoTime, Place, Span, SpanSet, State, Subject, TICKS_PER_SECOND,
    WallTime, duration_from_ticks,
};
use keepwatch_recorder::{Node, StreamState};
use keepwatch_recording::edge::health::Health;
use keepwatch_recording::edge::limit::SpeedLimit;
use keepwatch_recording::edge::{Action, Case, Edge, Event, Send};
use keepwatch_recording::peer::{Fate, Nowhere, Wanted};
use keepwatch_recording::replenish::StreamKey;
use keepwatch_store::GaveUp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use self::found::Reckoned;
use crate::alarms::Alarms;
use crate::config::EdgeConfig;
use crate::kept::Limits;
use crate::nowhere::{self, HOLE_TICKS_MIN};
use crate::outside::{FLYING_RECORDS_MAX, Landed, Question, Senders, Storage};
use crate::reading::{self, Ahead, Read};
use crate::standing::{Contact, Fill, LineStanding, Standing};
use crate::storages::{Storages, places};
use crate::window::Window;

/// Between two looks at what was recorded.
const LOOK: Duration = Duration::from_millis(500);
/// So many looks later it is shown again.
const LOOKS_SHOWN: u32 = 2;
/// After so long all is compared again: what the recorder lost since is sent once more.
const COMPARED_MAX: Duration = Duration::from_secs(600);
/// Records that are read at a time.
const READS_MAX: usize = 2;
/// What was lost is told this long after the last comparison at the earliest.
const LOST_TOLD: Duration = Duration::from_secs(30);
/// How long the external storage is left alone that did not take what was sent.
const REST: Duration = Duration::from_secs(5);
/// What lies so near to what is missing is sent as well: the two clocks may have drifted since it was recorded, and what is there
/// already is recognised.
const BESIDE_TICKS: i64 = 5 * TICKS_PER_SECOND;
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

/// A read that is over.
struct Finished {
    key: StreamKey,
    send: Send,
    read: Read,
    ahead: Ahead,
    /// How long it waited for reads of others.
    waited: Duration,
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

    fn look_at_storages(&mut self) {
        let changed = self.storages.look(self.node.store());
        if !changed.is_empty() {
            // What came back may hold what the recorder lacks.
            self.compared = None;
            self.lines.values_mut().for_each(|line| line.lost = SpanSet::new());
        }
        for event in changed {
            self.tell(event);
        }
        for GaveUp { camera, stream, span, place } in self.node.take_given_up() {
            self.tell(Event::GaveUp { line: (camera, stream), place, span });
        }
    }

    /// What was closed. It is in memory as soon as it is, and on a disk a moment later.
    fn look_at_memory(&mut self) {
        let mut closed: Vec<(StreamKey, Span)> = Vec::new();
        for (key, line) in &mut self.lines {
            let labels = self.node.store().tail_labels(key.0, key.1, line.seen_in_memory);
            let Some(last) = labels.last() else { continue };
            line.seen_in_memory = last.to;
            if line.wanted {
                closed.extend(labels.into_iter().map(|label| (*key, label)));
            }
        }
        for (line, span) in closed {
            self.tell(Event::Recorded { line, place: Place::Memory, span });
        }
    }

    fn look_at_disks(&mut self) {
        let recorded: Vec<(StreamKey, WallTime)> = self
            .lines
            .iter()
            .filter_map(|(key, line)| {
                let until = line.stream.ledger().held_until()?;
                (until > line.seen).then_some((*key, until))
            })
            .collect();
        for (key, until) in recorded {
            let Some(line) = self.lines.get_mut(&key) else { continue };
            let Some(news) = Span::new(std::mem::replace(&mut line.seen, until), until) else { continue };
            let wanted = line.wanted;
            let held = held(&line.stream, news);
            // What is wanted is not known before the first answer.
            if wanted || (self.compared.is_none() && self.question.is_some()) {
                held.iter().for_each(|span| self.node.store().keep(key.0, key.1, *span));
            }
            if wanted {
                let on_disks: Vec<(Place, Span)> =
                    held.into_iter().flat_map(|span| places(self.node.store(), key, span)).collect();
                for (place, span) in on_disks {
                    self.tell(Event::Recorded { line: key, place, span });
                }
            }
        }
    }

    /// The newest of a line stays in memory until it is outside, as far as there is room.
    fn keep_tail(&self, key: StreamKey) {
        if self.question.is_some() {
            self.node.store().keep_tail(key.0, key.1);
        }
    }

    /// Nobody wants a line: nothing of it is kept for longer than any other footage.
    fn unwanted(&mut self, key: StreamKey) {
        self.node.store().outside(key.0, key.1, EVER);
        self.node.store().end_tail(key.0, key.1);
        if let Some(line) = self.lines.get_mut(&key) {
            line.wanted = false;
        }
        self.tell(Event::LineGone(key));
    }

    /// Lines come and go with cameras.
    fn take_up_lines(&mut self) {
        let mut gone: Vec<StreamKey> = self.lines.keys().copied().collect();
        for camera in self.node.own_cameras().into_iter().filter_map(|id| self.node.camera(id)) {
            if camera.config().source.edge_node().is_some() {
                continue;
            }
            for stream in camera.streams().filter(|stream| camera.wants(stream.id)) {
                let key = (stream.camera, stream.id);
                gone.retain(|known| *known != key);
                let known = self.lines.get(&key).is_some_and(|line| Arc::ptr_eq(&line.stream, stream));
                if !known {
                    let seen = stream.ledger().held_until().unwrap_or(WallTime::MIN);
                    let line = Line {
                        stream: Arc::clone(stream),
                        seen,
                        seen_in_memory: WallTime::MIN,
                        ahead: Ahead::default(),
                        wanted: false,
                        bytes: 0,
                        records: 0,
                        lost: SpanSet::new(),
                        to_tell: SpanSet::new(),
                        lost_ticks: 0,
                    };
                    self.lines.insert(key, line);
                    self.keep_tail(key);
                    // It is compared with what is outside at the next answer.
                    self.compared = None;
                }
            }
        }
        for key in gone {
            self.unwanted(key);
            self.lines.remove(&key);
        }
    }

    fn wanted(&mut self, wanted: &Wanted) {
        self.contact.answered(self.node.clock().wall(), wanted.ahead_ticks);
        if self.rests_until.is_some() {
            return;
        }
        let now = self.now();
        let is_known = self.compared.is_some_and(|(started, at)| {
            started == wanted.started && now.since(at) < COMPARED_MAX && self.wants(wanted)
        });
        if !self.machine.external_takes() || !is_known {
            self.compare(wanted);
        }
        self.tell(Event::External { takes: true });
    }

    /// Whether exactly those lines are sent that the recorder wants: cameras are added there and removed.
    fn wants(&self, wanted: &Wanted) -> bool {
        let is_wanted = |key: &StreamKey| wanted.lines.iter().any(|line| line.key() == *key);
        self.lines.iter().all(|(key, line)| line.wanted == is_wanted(key))
    }

    fn landed(&mut self, landed: Landed) {
        let Landed { records, bytes, took, settled, refused } = landed;
        self.flying = (self.flying.0.saturating_sub(records), self.flying.1.saturating_sub(bytes));
        if refused.is_none() {
            self.window.landed(took);
        }
        for (key, span, fate) in settled {
            if fate == Fate::Refused {
                tracing::warn!(camera = %key.0, from = %span.from, "the external storage has no place for a record");
            }
            self.outside(key, span);
        }
        if let Some(why) = refused {
            self.rests_until = Some(self.now() + REST);
            self.away(why);
        }
    }

    /// The external storage takes nothing. What is on its way is sent again, unless it is found there.
    fn away(&mut self, why: String) {
        self.contact.failed(self.node.clock().wall(), why);
        if self.ground() {
            self.senders = self.question.as_ref().map(|question| Senders::new(&self.node, &question.storage));
        }
        self.tell(Event::External { takes: false });
    }

    /// Nothing is read or on its way any more. Whether something was.
    fn ground(&mut self) -> bool {
        self.compared = None;
        self.to_read.clear();
        self.reads = JoinSet::new();
        std::mem::take(&mut self.flying) != (0, 0)
    }

    /// Compares all that is held with what the recorder wants.
    fn compare(&mut self, wanted: &Wanted) {
        let mut told = Nowhere::default();
        self.compared = Some((wanted.started, self.now()));
        let keys: Vec<StreamKey> = self.lines.keys().copied().collect();
        for key in keys {
            let of_it = wanted.lines.iter().find(|line| line.key() == key);
            let Some(of_it) = of_it else {
                self.unwanted(key);
                continue;
            };
            self.keep_tail(key);
            let Some(line) = self.lines.get_mut(&key) else { continue };
            line.wanted = true;
            told.lines.extend(nowhere::of(of_it, &line.stream, &line.lost));
            let all = Span { from: WallTime::MIN, to: line.seen };
            let held = if line.seen > all.from { held(&line.stream, all) } else { Vec::new() };
            let lost = std::mem::take(&mut line.lost);
            self.tell(Event::Line(key, self.limit_of(key.0)));
            let wider = |missing: Span| Span {
                from: missing.from.plus(-BESIDE_TICKS),
                to: missing.to.plus(BESIDE_TICKS),
            };
            let missing: SpanSet = of_it.spans().map(wider).collect();
            for span in held.into_iter().flat_map(|span| lost.missing(span).spans().to_vec()) {
                let lacks = missing.within(span);
                for there in lacks.missing(span).spans() {
                    self.outside(key, *there);
                }
                for span in lacks.spans() {
                    self.node.store().keep(key.0, key.1, *span);
                    for (place, span) in places(self.node.store(), key, *span) {
                        self.tell(Event::Found { line: key, place, span });
                    }
                }
            }
            for label in self.node.store().tail_labels(key.0, key.1, WallTime::MIN) {
                for span in missing.within(label).spans() {
                    self.tell(Event::Found { line: key, place: Place::Memory, span: *span });
                }
            }
            if let Some(line) = self.lines.get_mut(&key) {
                line.lost = lost;
            }
        }
        if !told.lines.is_empty()
            && let Some(question) = &self.question
        {
            question.tell(told);
        }
    }

    /// Footage is at the recorder, or need not be: it is kept here no longer than any other.
    fn outside(&mut self, key: StreamKey, span: Span) {
        self.node.store().outside(key.0, key.1, span);
        self.tell(Event::Outside { line: key, span });
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

    /// Tells what was lost, not record by record.
    fn tell_lost(&mut self, now: MonoTime) {
        if self.lost_told.is_some_and(|told| now.since(told) < LOST_TOLD) {
            return;
        }
        for (key, line) in &mut self.lines {
            let lost = std::mem::take(&mut line.to_tell);
            let (Some(first), Some(last)) = (lost.spans().first(), lost.spans().last()) else { continue };
            self.lost_told = Some(now);
            let text = format!(
                "{} s of footage from {} to {} went before they were outside: local storage overwrote them or lost them; the recorder is told",
                lost.ticks() / TICKS_PER_SECOND,
                first.from,
                last.to
            );
            self.node.add_event(EventCode::EdgeFootageLost, Subject::Camera(key.0), text);
        }
    }

    fn tell_case(&self, case: Case) {
        let text = match case {
            Case::Normal => "footage leaves for the external storage again".to_owned(),
            Case::ExternalAway => {
                let why = self.contact.trouble.as_deref().unwrap_or("it gives no answer");
                format!("the external storage takes nothing: {why}; local storage fills until it does")
            }
            Case::LocalReadOnly => "local storage takes no more footage: what it holds is sent".to_owned(),
            Case::LocalGone => "local storage is gone: footage is sent as it comes".to_owned(),
            Case::Second => "the second local storage takes the footage".to_owned(),
        };
        self.node.add_event(EventCode::EdgeCase, Subject::Node, format!("case {}: {text}", case.number()));
    }

    /// Reads what is to leave, as far as there is room on the way.
    fn read_on(&mut self) {
        while self.reads.len() < READS_MAX
            && self.flying.0 < FLYING_RECORDS_MAX
            && self.flying.1 < self.window.bytes()
        {
            let Some((key, send)) = self.to_read.pop_front() else { return };
            let Some(line) = self.lines.get_mut(&key) else { continue };
            let (node, ahead) = (self.node.clone(), std::mem::take(&mut line.ahead));
            self.reads.spawn(async move {
                let (read, ahead, waited) = reading::read(&node, key, send, ahead).await;
                Finished { key, send, read, ahead, waited }
            });
        }
    }

    fn was_read(&mut self, Finished { key, send, read, ahead, waited }: Finished) {
        self.waited_for_others += waited;
        let Some(line) = self.lines.get_mut(&key) else { return };
        line.ahead = ahead;
        let parcel = match read {
            Read::Nothing(span) => return self.tell(Event::Nothing { line: key, span }),
            Read::Record(parcel) => parcel,
        };
        let (label, size) = (parcel.label, parcel.bytes());
        let bytes = u64::try_from(size).unwrap_or(u64::MAX);
        (line.bytes, line.records) = (line.bytes.saturating_add(bytes), line.records + 1);
        // Before what was asked for is answered, so that this is not asked for next.
        if let Some(hole) = Span::new(send.span.from, label.from) {
            self.tell(Event::GaveUp { line: key, place: send.place, span: hole });
        }
        self.flying = (self.flying.0 + 1, self.flying.1.saturating_add(size));
        if self.senders.as_ref().is_some_and(|senders| senders.send(parcel)) {
            self.tell(Event::Taken { line: key, span: label, bytes });
        } else {
            self.away("what was to be sent found no connection".to_owned());
        }
    }

    fn show(&mut self) {
        let (now, wall) = (self.now(), self.node.clock().wall());
        let found = self.found();
        let changes = self.health.look(now, self.config.thresholds, &found);
        for (code, subject, text) in self.alarms.take(wall, &changes, &found, &self.health) {
            self.node.add_event(code, subject, text);
        }
        self.tell_lost(now);
        let lines = self.lines.iter().map(|(key, line)| LineStanding {
            key: *key,
            wanted: line.wanted,
            behind: self.machine.behind(now, key),
            backlog: duration_from_ticks(self.machine.backlog_ticks(key)),
            waiting_bytes: self.reckoned.bytes_of(key),
            bytes: line.bytes,
            records: line.records,
            lost: duration_from_ticks(line.lost_ticks),
            limit: self.limit_of(key.0),
            limit_is_set: self.limits.contains_key(&key.0),
            health: self.health.line(key),
        });
        let standing = Standing {
            case: self.machine.case(),
            takes: self.machine.external_takes(),
            storage: self.question.as_ref().map(|question| question.storage.clone()),
            contact: self.contact.clone(),
            storages: self.storages.conditions(),
            writes_to: self.machine.writes_to(),
            fill: Fill {
                bytes: found.waiting_bytes,
                room_bytes: found.room_bytes,
                thresholds: self.config.thresholds,
                warned: self.health.is_warned(),
                overflows_in: self.health.overflows_in(),
            },
            memory: (self.node.store().tail().bytes, self.config.memory_bytes),
            throttle_bits_per_second: found.throttle_bits_per_second,
            alarms: self.alarms.standing(&found, &self.health),
            lines: lines.collect(),
        };
        self.shown.send_replace(Arc::new(standing));
    }
}

/// What is on the disks of a stream within `window`.
fn held(stream: &StreamState, window: Span) -> Vec<Span> {
    let items = stream.ledger().items(window, window.to, &SpanSet::new());
    let held = items.into_iter().filter(|item| matches!(item.state, State::Held { .. }));
    held.map(|item| item.span).collect()
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
