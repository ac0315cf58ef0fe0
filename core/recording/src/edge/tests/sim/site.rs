//! The site: cameras, storages, the shell of the machine, and the line to the outside, in virtual time.
//!
//! The shell does what an edge node's does: it tells what was recorded at each look, reads a record for each question, notices a
//! little late what is the matter with a storage, compares all that it holds with what is wanted outside before it says that
//! footage is taken again, and tells of everything that is not wanted as outside.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use keepwatch_model::{Machine as _, MonoTime, Span, SpanSet, StreamId, WallTime};

use super::super::limit::SpeedLimit;
use super::super::{Action, Condition, Delay, Edge, Event, Place, Send};
use super::chance::Chance;
use super::judge::Judge;
use crate::replenish::StreamKey;

/// Since the site began. The clocks agree: it is the label as well.
pub(super) type Millis = u64;

/// Between two looks at what was recorded.
const LOOK: Millis = 500;
/// Between two questions for what is wanted outside.
const ASK: Millis = 2_000;
/// How long the outside is left alone that did not take what was sent.
const REST: Millis = 5_000;
/// After so long all is compared again.
const COMPARED_MAX: Millis = 600_000;
/// Records that are read at a time, and on their way.
const READS_MAX: usize = 2;
const FLYING_MAX: usize = 8;

pub(super) fn label(millis: Millis) -> WallTime {
    WallTime::from_ticks(i64::try_from(millis * 90).unwrap())
}

pub(super) fn overlap(one: &SpanSet, other: &SpanSet) -> SpanSet {
    one.spans().iter().flat_map(|span| other.within(*span).spans().to_vec()).collect()
}

fn remove_all(from: &mut SpanSet, what: &SpanSet) {
    what.spans().iter().for_each(|span| from.remove(*span));
}

/// The records that have anything of `span`: storages lose whole ones.
fn records_in(records: &BTreeMap<WallTime, (Span, u64)>, span: Span) -> SpanSet {
    let first = records.range(..=span.from).next_back().map_or(span.from, |(from, _)| *from);
    let all = records.range(first..span.to).map(|(_, (record, _))| *record);
    all.filter(|record| record.to > span.from).collect()
}

/// Something that happens later. What belongs to a process or a connection that is no more does not happen.
#[derive(Debug)]
enum Happening {
    Close { line: usize },
    Durable { process: u32, line: usize, span: Span },
    Look { process: u32 },
    Notice { process: u32, place: Place },
    Ask { process: u32 },
    Answer { connection: u32, outside: Vec<SpanSet> },
    Read { connection: u32, line: usize, send: Send },
    Arrive { connection: u32, line: usize, span: Span },
    Landed { connection: u32, line: usize, span: Span },
    Start,
}

#[derive(Debug)]
pub(super) struct Camera {
    pub(super) key: StreamKey,
    /// How long its records are.
    record: Millis,
    pub(super) bits_per_second: u64,
    pub(super) on: bool,
    /// Whether it is wanted outside.
    pub(super) wanted: bool,
    /// The line was told of.
    known: bool,
    begun: Millis,
    records: BTreeMap<WallTime, (Span, u64)>,
    /// What was recorded and not told yet.
    news: BTreeMap<Place, SpanSet>,
}

#[derive(Debug)]
pub(super) struct Storage {
    pub(super) condition: Condition,
    noticed: Condition,
    /// Another one than the machine was told of.
    swapped: bool,
    pub(super) held: Vec<SpanSet>,
    /// What is in the tables, and cannot be read.
    pub(super) rotten: Vec<SpanSet>,
    /// What it holds of each line before it overwrites.
    room_ticks: i64,
    /// Those that were taken out and may come back.
    pub(super) drawer: Vec<(Vec<SpanSet>, Vec<SpanSet>)>,
}

impl Storage {
    pub(super) fn new(lines: usize, room: Millis) -> Self {
        Self {
            condition: Condition::Writable,
            noticed: Condition::Writable,
            swapped: false,
            held: vec![SpanSet::new(); lines],
            rotten: vec![SpanSet::new(); lines],
            room_ticks: i64::try_from(room * 90).unwrap(),
            drawer: Vec::new(),
        }
    }

    /// What of a line can be read.
    fn readable(&self, line: usize) -> SpanSet {
        let mut held = self.held[line].clone();
        remove_all(&mut held, &self.rotten[line]);
        if self.condition == Condition::Gone { SpanSet::new() } else { held }
    }
}

/// The way to the external storage.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) up: bool,
    /// 0 is as much as one likes.
    pub(super) bits_per_second: u64,
    pub(super) free_at: Millis,
    connection: u32,
    /// Something on its way was lost, and the shell has not noticed.
    pub(super) broken: bool,
    flying: usize,
    rests_until: Millis,
    compared_at: Option<Millis>,
    /// What landed since it was asked what is wanted: an answer may not know of it.
    landed: Vec<(usize, Span)>,
}

#[derive(Debug)]
pub(super) struct Site {
    pub(super) chance: Chance,
    pub(super) now: Millis,
    later: BTreeMap<(Millis, u64), Happening>,
    count: u64,
    machine: Edge,
    delay: Delay,
    /// Counts the processes of the node; `running` says whether there is one.
    process: u32,
    pub(super) running: bool,
    pub(super) cameras: Vec<Camera>,
    pub(super) memory: Storage,
    pub(super) internal: Storage,
    pub(super) second: Option<Storage>,
    writes_to: Place,
    gave_up: Vec<(usize, Place, Span)>,
    pub(super) limits: Vec<SpeedLimit>,
    pub(super) throttle: u64,
    pub(super) way: Way,
    /// A data rate was set while it ran: which one holds is known to the backups only.
    pub(super) was_bound: bool,
    to_read: VecDeque<(usize, Send)>,
    reads: usize,
    pub(super) judge: Judge,
}

impl Site {
    pub(super) fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let lines = chance.of(&[1, 1, 2, 3]);
        let delay = if chance.one_in(4) {
            Delay { start: Duration::from_secs(60), most: Duration::from_secs(120) }
        } else {
            Delay::default()
        };
        let cameras = (0..lines).map(|line| Camera {
            key: (format!("cam{line}").parse().unwrap(), StreamId::MAIN),
            record: chance.between(10, 41) * 100,
            bits_per_second: chance.between(5, 80) * 100_000,
            on: true,
            wanted: true,
            known: false,
            begun: 0,
            records: BTreeMap::new(),
            news: BTreeMap::new(),
        });
        let cameras: Vec<Camera> = cameras.collect();
        // Without a tail, with one that is shorter than the delay, and with one that is longer.
        let tail = chance.of(&[0, 30_000, 130_000, 180_000]);
        let room = chance.of(&[300_000, 1_200_000, 100_000_000, 100_000_000]);
        let second = chance.one_in(2).then(|| Storage::new(lines, chance.of(&[300_000, 100_000_000])));
        let limit = |chance: &mut Chance, bits_per_second: u64| SpeedLimit {
            percent: chance.of(&[150, 200, 200, 500]),
            bits_per_second: chance.of(&[0, 0, bits_per_second * 3]),
        };
        let limits = cameras.iter().map(|camera| limit(&mut chance, camera.bits_per_second)).collect();
        let mut site = Self {
            machine: Edge::new(delay, MonoTime::ZERO),
            delay,
            judge: Judge::new(lines, delay),
            memory: Storage::new(lines, tail),
            internal: Storage::new(lines, room),
            second,
            cameras,
            limits,
            chance,
            now: 0,
            later: BTreeMap::new(),
            count: 0,
            process: 0,
            running: false,
            writes_to: Place::Internal,
            gave_up: Vec::new(),
            throttle: 0,
            was_bound: false,
            way: Way {
                up: true,
                bits_per_second: 0,
                free_at: 0,
                connection: 0,
                broken: false,
                flying: 0,
                rests_until: 0,
                compared_at: None,
                landed: Vec::new(),
            },
            to_read: VecDeque::new(),
            reads: 0,
        };
        for line in 0..lines {
            let at = site.chance.between(0, site.cameras[line].record);
            site.cameras[line].begun = at;
            site.after(at + site.cameras[line].record, Happening::Close { line });
        }
        site.start();
        site
    }

    pub(super) fn storage(&mut self, place: Place) -> Option<&mut Storage> {
        match place {
            Place::Memory => Some(&mut self.memory),
            Place::Internal => Some(&mut self.internal),
            Place::Second => self.second.as_mut(),
        }
    }

    fn after(&mut self, millis: Millis, happening: Happening) {
        self.count += 1;
        self.later.insert((self.now + millis, self.count), happening);
    }

    pub(super) fn mono(&self) -> MonoTime {
        MonoTime::ZERO + Duration::from_millis(self.now)
    }

    fn tell(&mut self, event: Event) {
        let (now, mut out) = (self.mono(), Vec::new());
        let number = |key: &StreamKey| self.cameras.iter().position(|camera| camera.key == *key).unwrap();
        self.judge.told(self.now, event, number);
        self.machine.handle(now, event, &mut out);
        self.carry_out(out);
    }

    fn carry_out(&mut self, out: Vec<Action>) {
        for action in out {
            let number = |key: &StreamKey| self.cameras.iter().position(|camera| camera.key == *key).unwrap();
            self.judge.said(self.now, action, number);
            match action {
                Action::Send(key, send) => self.to_read.push_back((number(&key), send)),
                Action::WriteTo(place) => self.writes_to = place,
                Action::Tell(_) | Action::Lost(..) => {}
            }
        }
        self.judge.settled();
        self.read_on();
    }

    /// Lets time pass until `end`.
    pub(super) fn run_until(&mut self, end: Millis) {
        loop {
            let next = self.later.first_key_value().map(|((at, _), _)| *at).filter(|at| *at <= end);
            let due = self.machine.deadline().filter(|_| self.running);
            // A deadline that is no whole millisecond is kept after it.
            let due =
                due.map(|(at, _)| at.as_nanos().div_ceil(1_000_000).max(self.now)).filter(|at| *at <= end);
            match (next, due) {
                (next, Some(due)) if next.is_none_or(|next| due < next) => {
                    self.now = due;
                    let mut out = Vec::new();
                    self.machine.timeout(self.mono(), &mut out);
                    let turns = self.machine.deadline().is_some_and(|(at, _)| at <= self.mono());
                    assert!(!out.is_empty() || !turns, "it turns without end at {due} ms");
                    self.carry_out(out);
                }
                (Some(_), _) => {
                    let ((at, _), happening) = self.later.pop_first().unwrap();
                    self.now = at;
                    self.happen(happening);
                }
                (None, _) => break,
            }
        }
        self.now = end;
    }

    fn happen(&mut self, happening: Happening) {
        let alive = |process| self.running && self.process == process;
        match happening {
            Happening::Close { line } => self.close(line),
            Happening::Start => self.start(),
            Happening::Durable { process, line, span } if alive(process) => self.write(line, span),
            Happening::Look { process } if alive(process) => self.look(),
            Happening::Notice { process, place } if alive(process) => self.notice(place),
            Happening::Ask { process } if alive(process) => self.ask(),
            Happening::Answer { connection, mut outside } if connection == self.way.connection => {
                for (line, span) in &self.way.landed {
                    outside[*line].insert(*span);
                }
                self.answered(&outside);
            }
            Happening::Read { connection, line, send } if connection == self.way.connection => {
                self.reads -= 1;
                self.was_read(line, send);
                self.read_on();
            }
            Happening::Arrive { connection, line, span } if connection == self.way.connection => {
                if self.way.up {
                    self.judge.lines[line].outside.insert(span);
                    let back = self.chance.between(1, 200);
                    self.after(back, Happening::Landed { connection, line, span });
                } else {
                    self.way.broken = true;
                }
            }
            Happening::Landed { connection, line, span } if connection == self.way.connection => {
                if self.way.up {
                    self.way.flying -= 1;
                    self.way.landed.push((line, span));
                    self.outside(line, span);
                    self.read_on();
                } else {
                    self.way.broken = true;
                }
            }
            // Of a process or a connection that is no more.
            Happening::Durable { .. }
            | Happening::Look { .. }
            | Happening::Notice { .. }
            | Happening::Ask { .. }
            | Happening::Answer { .. }
            | Happening::Read { .. }
            | Happening::Arrive { .. }
            | Happening::Landed { .. } => {}
        }
    }

    // Recorder 2.

    fn close(&mut self, line: usize) {
        let camera = &mut self.cameras[line];
        let span = Span { from: label(camera.begun), to: label(self.now) };
        camera.begun = self.now;
        let record = camera.record;
        if self.running && camera.on {
            // Bytes of a scene that moves now and then.
            let bytes = camera.bits_per_second * record / 8_000 * self.chance.between(50, 150) / 100;
            camera.records.insert(span.from, (span, bytes));
            let process = self.process;
            if self.memory.room_ticks > 0 {
                self.judge.lines[line].footage.insert(span);
                self.put(line, Place::Memory, span);
            }
            let wait = self.chance.between(10, 900);
            self.after(wait, Happening::Durable { process, line, span });
        }
        self.after(record, Happening::Close { line });
    }

    /// A record is written where recorder 2 writes, or waits until that is another place.
    fn write(&mut self, line: usize, span: Span) {
        let place = self.writes_to;
        let Some(storage) = self.storage(place).filter(|_| place != Place::Memory) else { return };
        if storage.condition != Condition::Writable {
            let process = self.process;
            // What waits in the queue of the disk is not written for ever.
            if label(self.now).ticks_since(span.to) < 10_000 * 90 {
                self.after(200, Happening::Durable { process, line, span });
            }
            return;
        }
        if storage.swapped {
            // It is looked at before it is written to.
            self.notice(place);
            return self.write(line, span);
        }
        self.judge.lines[line].footage.insert(span);
        self.put(line, place, span);
    }

    fn put(&mut self, line: usize, place: Place, span: Span) {
        self.cameras[line].news.entry(place).or_default().insert(span);
        let kept = self.judge.kept(line, place);
        let news = self.cameras[line].news[&place].clone();
        let storage = match place {
            Place::Memory => &mut self.memory,
            Place::Internal => &mut self.internal,
            Place::Second => match &mut self.second {
                Some(second) => second,
                None => return,
            },
        };
        storage.held[line].insert(span);
        let mut lost = SpanSet::new();
        while storage.held[line].ticks() > storage.room_ticks {
            let held = &storage.held[line];
            // What is outside goes first; memory keeps the newest.
            let mut free = held.clone();
            remove_all(&mut free, &kept);
            remove_all(&mut free, &news);
            let oldest = free.spans().first().or(held.spans().first()).copied().unwrap();
            let over = held.ticks() - storage.room_ticks;
            let part = Span { from: oldest.from, to: oldest.to.min(oldest.from.plus(over)) };
            let whole = records_in(&self.cameras[line].records, part);
            remove_all(&mut storage.held[line], &whole);
            whole.spans().iter().for_each(|span| lost.insert(*span));
        }
        self.judge.lose(line, place, &lost);
        self.gave_up.extend(lost.spans().iter().map(|span| (line, place, *span)));
    }

    // The shell.

    pub(super) fn kill(&mut self) {
        self.running = false;
        self.process += 1;
        self.ground();
        for line in 0..self.cameras.len() {
            let lost = std::mem::take(&mut self.memory.held[line]);
            self.judge.excuse(line, &lost);
            self.forget(line);
            self.cameras[line].news.clear();
            self.cameras[line].known = false;
        }
        self.gave_up.clear();
        self.judge.machine_ended();
        let down = self.chance.between(500, 20_000);
        self.after(down, Happening::Start);
    }

    /// A line is known no more: of what it has not said of it yet the machine says nothing.
    fn forget(&mut self, line: usize) {
        let (mut unsaid, here) = (self.judge.known(line), self.everywhere(line));
        remove_all(&mut unsaid, &here);
        self.judge.excuse(line, &unsaid);
    }

    fn start(&mut self) {
        if self.running {
            return;
        }
        (self.running, self.writes_to) = (true, Place::Internal);
        self.machine = Edge::new(self.delay, self.mono());
        self.judge.machine_ended();
        self.way.rests_until = 0;
        let process = self.process;
        for place in [Place::Internal, Place::Second] {
            let Some(storage) = self.storage(place) else { continue };
            (storage.noticed, storage.swapped) = (storage.condition, false);
            let condition = storage.condition;
            self.tell(Event::Storage { place, condition, replaced: false });
        }
        self.tell(Event::Throttle(self.throttle));
        self.after(0, Happening::Look { process });
        self.after(0, Happening::Ask { process });
    }

    fn look(&mut self) {
        for line in 0..self.cameras.len() {
            let camera = &mut self.cameras[line];
            let (key, wanted, news) = (camera.key, camera.known, std::mem::take(&mut camera.news));
            for (place, spans) in news {
                for span in spans.spans().iter().filter(|_| wanted) {
                    self.tell(Event::Recorded { line: key, place, span: *span });
                }
            }
        }
        for (line, place, span) in std::mem::take(&mut self.gave_up) {
            let line = self.cameras[line].key;
            self.tell(Event::GaveUp { line, place, span });
        }
        let process = self.process;
        self.after(LOOK, Happening::Look { process });
    }

    /// Something is the matter with a storage; the shell notices it a little later.
    pub(super) fn changed(&mut self, place: Place) {
        let (process, wait) = (self.process, self.chance.between(0, 3_000));
        self.after(wait, Happening::Notice { process, place });
    }

    fn notice(&mut self, place: Place) {
        let Some(storage) = self.storage(place) else { return };
        let (condition, replaced) = (storage.condition, storage.swapped);
        // A storage that is taken out is not known to be another before that one is there.
        let replaced = replaced && condition != Condition::Gone;
        if !replaced && condition == storage.noticed {
            return;
        }
        storage.noticed = condition;
        if replaced {
            storage.swapped = false;
        }
        // What it holds is compared with what is wanted.
        self.way.compared_at = None;
        self.tell(Event::Storage { place, condition, replaced });
    }

    /// Another storage is put into the place of one.
    pub(super) fn swap(&mut self, place: Place, back: bool) {
        let lines = self.cameras.len();
        for line in 0..lines {
            let Some(storage) = self.storage(place) else { return };
            let held = storage.held[line].clone();
            self.judge.lose(line, place, &held);
            self.cameras[line].news.remove(&place);
        }
        self.gave_up.retain(|(_, of, _)| *of != place);
        let Some(storage) = self.storage(place) else { return };
        let empty = || vec![SpanSet::new(); lines];
        let before = if back { storage.drawer.pop() } else { None };
        let (held, rotten) = before.unwrap_or_else(|| (empty(), empty()));
        let out =
            (std::mem::replace(&mut storage.held, held), std::mem::replace(&mut storage.rotten, rotten));
        storage.drawer.push(out);
        storage.swapped = true;
        let held = storage.held.clone();
        for (line, held) in held.iter().enumerate() {
            self.judge.returned(line, held);
        }
        self.changed(place);
    }

    fn ask(&mut self) {
        let (process, connection) = (self.process, self.way.connection);
        self.after(ASK, Happening::Ask { process });
        if self.way.rests_until > self.now {
            return;
        }
        if !self.way.up || self.way.broken {
            return self.away();
        }
        self.way.landed.clear();
        let outside = self.judge.lines.iter().map(|line| line.outside.clone()).collect();
        let wait = self.chance.between(1, 200);
        self.after(wait, Happening::Answer { connection, outside });
    }

    /// Nothing is taken outside. What was on its way is sent again, unless it is found there.
    fn away(&mut self) {
        self.ground();
        self.way.rests_until = self.now + REST;
        self.tell(Event::External { takes: false });
    }

    fn ground(&mut self) {
        self.way.connection += 1;
        (self.way.flying, self.way.broken, self.way.compared_at) = (0, false, None);
        self.way.free_at = self.now;
        self.to_read.clear();
        self.reads = 0;
    }

    fn answered(&mut self, outside: &[SpanSet]) {
        if !self.way.up {
            return self.away();
        }
        let lately = self.way.compared_at.is_some_and(|at| self.now - at < COMPARED_MAX);
        let as_known = self.cameras.iter().all(|camera| camera.known == camera.wanted);
        if !lately || !as_known {
            self.compare(outside);
        }
        self.tell(Event::External { takes: true });
    }

    fn compare(&mut self, outside: &[SpanSet]) {
        self.way.compared_at = Some(self.now);
        for (line, outside) in outside.iter().enumerate() {
            let camera = &mut self.cameras[line];
            let key = camera.key;
            camera.known = camera.wanted;
            if !camera.wanted {
                self.forget(line);
                self.tell(Event::LineGone(key));
                continue;
            }
            self.tell(Event::Line(key, self.limits[line]));
            for span in outside.spans() {
                self.tell(Event::Outside { line: key, span: *span });
            }
            for place in [Place::Memory, Place::Internal, Place::Second] {
                let Some(storage) = self.storage(place) else { continue };
                if storage.condition == Condition::Gone || storage.swapped {
                    continue;
                }
                let mut held = storage.held[line].clone();
                if let Some(news) = self.cameras[line].news.get(&place) {
                    remove_all(&mut held, news);
                }
                remove_all(&mut held, outside);
                for span in held.spans() {
                    self.tell(Event::Found { line: key, place, span: *span });
                }
            }
        }
    }

    /// A record is outside, on a disk; memory need not keep it.
    fn outside(&mut self, line: usize, span: Span) {
        self.memory.held[line].remove(span);
        self.tell(Event::Outside { line: self.cameras[line].key, span });
    }

    fn read_on(&mut self) {
        while self.reads < READS_MAX && self.way.flying + self.reads < FLYING_MAX {
            let Some((line, send)) = self.to_read.pop_front() else { return };
            self.reads += 1;
            let (connection, wait) = (self.way.connection, self.chance.between(1, 30));
            self.after(wait, Happening::Read { connection, line, send });
        }
    }

    fn was_read(&mut self, line: usize, send: Send) {
        let (key, place) = (self.cameras[line].key, send.place);
        let Some(storage) = self.storage(place) else { return };
        // Before a record is said not to be there: the storage may not be.
        if storage.condition != storage.noticed || storage.swapped {
            self.notice(place);
        }
        let Some(storage) = self.storage(place) else { return };
        let (held, rotten) = (storage.readable(line), storage.rotten[line].clone());
        let records = &self.cameras[line].records;
        let first = records.range(..=send.span.from).next_back().map_or(send.span.from, |(from, _)| *from);
        let record = records.range(first..send.span.to).map(|(_, record)| *record);
        let found = record
            .filter(|(span, _)| span.to > send.span.from)
            .find(|(span, _)| held.missing(*span).is_empty());
        let Some((span, bytes)) = found else {
            let part =
                rotten.within(send.span).spans().first().filter(|part| part.from == send.span.from).copied();
            self.tell(Event::Nothing { line: key, span: part.unwrap_or(send.span) });
            return;
        };
        if let Some(hole) = Span::new(send.span.from, span.from) {
            self.tell(Event::GaveUp { line: key, place, span: hole });
        }
        self.way.flying += 1;
        let carried = (bytes * 8_000).checked_div(self.way.bits_per_second).unwrap_or(0);
        self.way.free_at = self.way.free_at.max(self.now) + carried;
        let arrives = self.way.free_at - self.now + self.chance.between(5, 50);
        let connection = self.way.connection;
        self.after(arrives, Happening::Arrive { connection, line, span });
        self.tell(Event::Taken { line: key, span, bytes });
    }

    // What is asked of the site.

    /// What of a line is on any storage that is here.
    pub(super) fn everywhere(&self, line: usize) -> SpanSet {
        let places = [Some(&self.memory), Some(&self.internal), self.second.as_ref()];
        places.into_iter().flatten().flat_map(|storage| storage.held[line].spans().to_vec()).collect()
    }

    /// The whole records of a line that have anything of `span`.
    pub(super) fn records(&self, line: usize, span: Span) -> SpanSet {
        records_in(&self.cameras[line].records, span)
    }

    /// What of a line can be read somewhere.
    pub(super) fn readable(&self, line: usize) -> SpanSet {
        let places = [Some(&self.memory), Some(&self.internal), self.second.as_ref()];
        places.into_iter().flatten().flat_map(|storage| storage.readable(line).spans().to_vec()).collect()
    }

    /// Has a limit that was set hold.
    pub(super) fn limit(&mut self, line: usize, limit: SpeedLimit) {
        self.limits[line] = limit;
        if self.running && self.cameras[line].known {
            self.tell(Event::Line(self.cameras[line].key, limit));
        }
    }

    /// Has the write throttle that was set hold.
    pub(super) fn throttle(&mut self, bits_per_second: u64) {
        self.throttle = bits_per_second;
        if self.running {
            self.tell(Event::Throttle(bits_per_second));
        }
    }

    /// Recorder 2 and the machine, as they stand in the end.
    pub(super) fn machine(&self) -> &Edge {
        &self.machine
    }
}
