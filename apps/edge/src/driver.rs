//! The task that owns the machine: tells it what was recorded and what is outside, and carries out what it decides.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use keepwatch_model::{
    EventCode, Machine as _, MonoTime, Span, State, Subject, WallTime, duration_from_ticks,
};
use keepwatch_recorder::{Node, StreamState};
use keepwatch_recording::edge::{Action, Case, Edge, Event, Place, Send};
use keepwatch_recording::peer::{Fate, Wanted};
use keepwatch_recording::replenish::StreamKey;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::config::EdgeConfig;
use crate::outside::{FLYING_RECORDS_MAX, Landed, Question, Senders, Storage};
use crate::reading::{self, Ahead, Read};
use crate::standing::{Contact, LineStanding, Standing};
use crate::window::Window;

/// Between two looks at what was recorded.
const LOOK: Duration = Duration::from_millis(500);
/// So many looks later it is shown again.
const LOOKS_SHOWN: u32 = 2;
/// After so long all is compared again: what the recorder lost since is sent once more.
const COMPARED_MAX: Duration = Duration::from_secs(600);
/// Records that are read at a time.
const READS_MAX: usize = 2;
/// How long the external storage is left alone that did not take what was sent.
const REST: Duration = Duration::from_secs(5);
/// What lies so near to what is missing is sent as well: the two clocks may have drifted since it was recorded, and what is there
/// already is recognised.
const BESIDE_TICKS: i64 = 5 * keepwatch_model::TICKS_PER_SECOND;
const EVER: Span = Span { from: WallTime::MIN, to: WallTime::MAX };
/// A hole of what is held that is shorter holds no picture.
const HOLE_TICKS_MIN: i64 = keepwatch_model::TICKS_PER_SECOND / 2;

/// What the driver is told.
#[derive(Debug)]
pub(crate) enum Change {
    /// Another configuration.
    Config(EdgeConfig),
    /// Another external storage, or none.
    Storage(Option<Storage>),
}

/// A line as the shell knows it.
struct Line {
    stream: Arc<StreamState>,
    /// All records that end here or before were told.
    seen: WallTime,
    ahead: Ahead,
    /// Whether the external storage wants it.
    wanted: bool,
    bytes: u64,
    records: u64,
    /// Footage that was given up before it was outside, in ticks.
    lost_ticks: i64,
}

pub(crate) struct Driver {
    node: Node,
    config: EdgeConfig,
    machine: Edge,
    lines: BTreeMap<StreamKey, Line>,
    question: Option<Question>,
    /// `None` when there is no external storage.
    senders: Option<Senders>,
    contact: Contact,
    /// The start of the recorder that all was compared with, and when.
    compared: Option<(WallTime, MonoTime)>,
    /// Until when nothing is sent, after it was not taken.
    rests_until: Option<MonoTime>,
    /// What is to be read, in the order in which it was decided.
    to_read: VecDeque<(StreamKey, Send)>,
    reads: JoinSet<(StreamKey, Send, Read, Ahead)>,
    /// Records and bytes that are on their way.
    flying: (usize, usize),
    window: Window,
    looks: u32,
    shown: watch::Sender<Arc<Standing>>,
    out: Vec<Action>,
}

impl Driver {
    pub(crate) fn new(
        node: Node,
        config: EdgeConfig,
        storage: Option<Storage>,
        shown: watch::Sender<Arc<Standing>>,
    ) -> Self {
        let machine = Edge::new(config.delay, node.clock().mono());
        let senders = storage.as_ref().map(|storage| Senders::new(&node, storage));
        let question = storage.map(|storage| Question::new(&node, storage));
        Self {
            contact: Contact::default(),
            node,
            config,
            machine,
            lines: BTreeMap::new(),
            question,
            senders,
            compared: None,
            rests_until: None,
            to_read: VecDeque::new(),
            reads: JoinSet::new(),
            flying: (0, 0),
            window: Window::default(),
            looks: 0,
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
                let wanted: Vec<StreamKey> =
                    self.lines.iter().filter(|(_, line)| line.wanted).map(|(key, _)| *key).collect();
                for key in wanted {
                    self.tell(Event::Line(key, self.config.limit_of(key.0)));
                }
            }
            Change::Storage(storage) => {
                // Nothing is known of it, and what was outside is outside no more.
                self.machine = Edge::new(self.config.delay, self.now());
                self.question = storage.map(|storage| Question::new(&self.node, storage));
                self.contact = Contact::default();
                self.window = Window::default();
                self.rests_until = None;
                self.ground();
                self.senders =
                    self.question.as_ref().map(|question| Senders::new(&self.node, &question.storage));
                let keys: Vec<StreamKey> = self.lines.keys().copied().collect();
                for key in keys {
                    self.node.store().outside(key.0, key.1, EVER);
                    if let Some(line) = self.lines.get_mut(&key) {
                        line.wanted = false;
                    }
                }
            }
        }
    }

    /// Looks at what was recorded since the last look.
    fn look(&mut self) {
        self.take_up_lines();
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
                for span in held {
                    self.tell(Event::Recorded { line: key, place: Place::Internal, span });
                }
            }
        }
        let recorded: u64 = self.lines.values().map(|line| line.stream.bits_per_second()).sum();
        self.tell(Event::Throttle(self.config.throttle.target(recorded)));
        if self.rests_until.is_some_and(|until| until <= self.now()) {
            self.rests_until = None;
        }
        self.looks = self.looks.wrapping_add(1);
        if self.looks.is_multiple_of(LOOKS_SHOWN) {
            self.show();
        }
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
                        ahead: Ahead::default(),
                        wanted: false,
                        bytes: 0,
                        records: 0,
                        lost_ticks: 0,
                    };
                    self.lines.insert(key, line);
                    // It is compared with what is outside at the next answer.
                    self.compared = None;
                }
            }
        }
        for key in gone {
            self.lines.remove(&key);
            self.tell(Event::LineGone(key));
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
        self.compared = Some((wanted.started, self.now()));
        let keys: Vec<StreamKey> = self.lines.keys().copied().collect();
        for key in keys {
            let of_it = wanted.lines.iter().find(|line| line.key() == key);
            let Some(line) = self.lines.get_mut(&key) else { continue };
            line.wanted = of_it.is_some();
            let Some(of_it) = of_it else {
                self.node.store().outside(key.0, key.1, EVER);
                self.tell(Event::LineGone(key));
                continue;
            };
            let all = Span { from: WallTime::MIN, to: line.seen };
            let held = if line.seen > all.from { held(&line.stream, all) } else { Vec::new() };
            self.tell(Event::Line(key, self.config.limit_of(key.0)));
            let wider = |missing: Span| Span {
                from: missing.from.plus(-BESIDE_TICKS),
                to: missing.to.plus(BESIDE_TICKS),
            };
            let missing: keepwatch_model::SpanSet = of_it.spans().map(wider).collect();
            for span in held {
                let lacks = missing.within(span);
                for there in lacks.missing(span).spans() {
                    self.outside(key, *there);
                }
                for span in lacks.spans() {
                    self.node.store().keep(key.0, key.1, *span);
                    self.tell(Event::Found { line: key, place: Place::Internal, span: *span });
                }
            }
        }
    }

    /// Footage is at the recorder, or need not be: it is kept here no longer than any other.
    fn outside(&mut self, key: StreamKey, span: Span) {
        self.node.store().outside(key.0, key.1, span);
        self.tell(Event::Outside { line: key, span });
    }

    fn carry_out(&mut self) {
        for action in std::mem::take(&mut self.out) {
            match action {
                Action::Send(key, send) => self.to_read.push_back((key, send)),
                Action::WriteTo(place) => tracing::debug!(?place, "recorder 2 writes elsewhere"),
                Action::Tell(case) => self.tell_case(case),
                Action::Lost(key, span) => {
                    if let Some(line) = self.lines.get_mut(&key)
                        && span.ticks() >= HOLE_TICKS_MIN
                    {
                        line.lost_ticks = line.lost_ticks.saturating_add(span.ticks());
                        tracing::warn!(camera = %key.0, from = %span.from, to = %span.to, "footage went before it was sent");
                    }
                }
            }
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
                let (read, ahead) = reading::read(&node, key, send.span, ahead).await;
                (key, send, read, ahead)
            });
        }
    }

    fn was_read(&mut self, (key, send, read, ahead): (StreamKey, Send, Read, Ahead)) {
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

    fn show(&self) {
        let now = self.now();
        let lines = self.lines.iter().map(|(key, line)| LineStanding {
            key: *key,
            wanted: line.wanted,
            behind: self.machine.behind(now, key),
            backlog: duration_from_ticks(self.machine.backlog_ticks(key)),
            bytes: line.bytes,
            records: line.records,
            lost: duration_from_ticks(line.lost_ticks),
            limit: self.config.limit_of(key.0),
        });
        let standing = Standing {
            case: self.machine.case(),
            takes: self.machine.external_takes(),
            storage: self.question.as_ref().map(|question| question.storage.clone()),
            contact: self.contact.clone(),
            lines: lines.collect(),
        };
        self.shown.send_replace(Arc::new(standing));
    }
}

/// What is on the disks of a stream within `window`.
fn held(stream: &StreamState, window: Span) -> Vec<Span> {
    let items = stream.ledger().items(window, window.to, &keepwatch_model::SpanSet::new());
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
