//! One line: what of it is not outside yet, where that is, and what leaves next.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use keepwatch_model::{MonoTime, Place, Span, SpanSet, WallTime};

use super::limit::{LineLimit, SpeedLimit};
use super::{Lane, Send};

/// Separate spans that are remembered of what arrived, and of what was told to be lost: far more than there are without losing all,
/// and small.
const SPANS_MAX: usize = 1_024;

/// A stream of a camera, as far as it is not outside.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) limit: LineLimit,
    /// What is not known to be outside, by where it is.
    held: BTreeMap<Place, SpanSet>,
    /// What is on its way.
    flying: SpanSet,
    /// What was on its way when that was cut: it may have arrived.
    doubtful: SpanSet,
    /// What was on its way, or doubtful, when the last place that had it lost it: whether it arrived is known when that is said, or
    /// when all was compared.
    orphans: SpanSet,
    /// What this machine sent, and is outside: it may be told late that another place has it too.
    arrived: SpanSet,
    /// What was told to be lost, and did not turn out to be outside: it is told once, unless it is found again.
    named: SpanSet,
    /// What the relay is to carry, the oldest first, each with when it was closed.
    tail: VecDeque<(MonoTime, Span)>,
    /// What the shell was asked to send and has not answered.
    asked: Option<Send>,
    /// A backup is under way.
    replenishing: bool,
}

impl Line {
    pub(super) fn new(limit: SpeedLimit, now: MonoTime) -> Self {
        Self {
            limit: LineLimit::new(limit, now),
            held: BTreeMap::new(),
            flying: SpanSet::new(),
            doubtful: SpanSet::new(),
            orphans: SpanSet::new(),
            arrived: SpanSet::new(),
            named: SpanSet::new(),
            tail: VecDeque::new(),
            asked: None,
            replenishing: false,
        }
    }

    /// A record was closed, or one of before is at another place as well.
    pub(super) fn recorded(&mut self, now: MonoTime, place: Place, span: Span) {
        let held = self.held.entry(place).or_default();
        for span in self.arrived.missing(span).spans() {
            held.insert(*span);
            self.orphans.remove(*span);
        }
        if self.tail.back().is_none_or(|(_, last)| last.to <= span.from) {
            self.tail.push_back((now, span));
        }
    }

    /// What was recorded before this process began, and is not outside.
    pub(super) fn found(&mut self, place: Place, span: Span) {
        self.held.entry(place).or_default().insert(span);
        self.arrived.remove(span);
        self.orphans.remove(span);
        self.named.remove(span);
    }

    /// Footage is at a place no more; what of it is nowhere else, not on its way, and was not told to be lost before.
    pub(super) fn gone(&mut self, place: Place, span: Span) -> SpanSet {
        let Some(held) = self.held.get_mut(&place) else { return SpanSet::new() };
        let went = held.within(span);
        held.remove(span);
        let elsewhere = |part: Span| self.held.values().map(move |held| held.within(part));
        let lost = went.spans().iter().flat_map(|part| {
            let mut lost: SpanSet = [*part].into_iter().collect();
            for kept in elsewhere(*part).flat_map(|kept| kept.spans().to_vec()) {
                lost.remove(kept);
            }
            lost.spans().to_vec()
        });
        let lost = lost.collect();
        self.lost(&lost)
    }

    /// Of footage that is nowhere here: what is not on its way either, and was not told to be lost before.
    fn lost(&mut self, nowhere: &SpanSet) -> SpanSet {
        let mut lost = nowhere.clone();
        for part in nowhere.spans() {
            for sent in self.flying.within(*part).spans().iter().chain(self.doubtful.within(*part).spans()) {
                self.orphans.insert(*sent);
                lost.remove(*sent);
            }
            self.named.within(*part).spans().iter().for_each(|named| lost.remove(*named));
        }
        lost.spans().iter().for_each(|span| self.named.insert(*span));
        bound(&mut self.named);
        lost
    }

    /// All was compared with what is outside: what was sent, and is neither there nor here, nor on its way, is lost.
    pub(super) fn compared(&mut self) -> SpanSet {
        self.doubtful = SpanSet::new();
        let orphans = std::mem::take(&mut self.orphans);
        self.lost(&orphans)
    }

    /// All that is at a place.
    pub(super) fn at(&self, place: Place) -> &[Span] {
        self.held.get(&place).map(SpanSet::spans).unwrap_or_default()
    }

    /// Footage is outside, on a disk there.
    pub(super) fn outside(&mut self, span: Span) {
        for held in self.held.values_mut() {
            held.remove(span);
        }
        for sent in [&self.flying, &self.doubtful] {
            sent.within(span).spans().iter().for_each(|sent| self.arrived.insert(*sent));
        }
        bound(&mut self.arrived);
        self.flying.remove(span);
        self.orphans.remove(span);
        self.named.remove(span);
    }

    /// What was asked for is on its way.
    pub(super) fn taken(&mut self, now: MonoTime, span: Span, bytes: u64) {
        self.asked = None;
        self.flying.insert(span);
        self.limit.spend(now, span.ticks(), bytes);
    }

    /// What was asked for is not where it was thought to be: where that was, and what.
    pub(super) fn refused(&mut self) -> Option<Send> {
        self.asked.take()
    }

    /// What was on its way did not arrive, and a backup ends.
    pub(super) fn grounded(&mut self) {
        self.asked = None;
        std::mem::take(&mut self.flying).spans().iter().for_each(|span| self.doubtful.insert(*span));
        self.replenishing = false;
    }

    /// Another limit. A transfer that is stopped ends the backup, so that a data rate below that of the recording, with which no
    /// backup ever ends, is not in force for ever.
    pub(super) fn limited(&mut self, now: MonoTime, limit: SpeedLimit) {
        self.limit.set(now, limit);
        if limit.percent == 0 {
            self.replenishing = false;
        }
    }

    /// Leaves to replenishment what the relay is too far behind with: more than `most`, then down to `start`.
    pub(super) fn shed(&mut self, now: MonoTime, start: Duration, most: Duration) {
        let behind = |tail: &VecDeque<(MonoTime, Span)>| tail.front().map(|(closed, _)| now.since(*closed));
        if behind(&self.tail).is_none_or(|behind| behind <= most) {
            return;
        }
        while behind(&self.tail).is_some_and(|behind| behind > start) {
            self.tail.pop_front();
        }
    }

    /// What leaves next, and when at the earliest; `readable` says which places can be read.
    pub(super) fn next(
        &self,
        now: MonoTime,
        delay: Duration,
        readable: impl Fn(Place) -> bool,
    ) -> Option<(MonoTime, Send)> {
        if self.asked.is_some() {
            return None;
        }
        let ready_at = self.limit.ready_at()?;
        let relay = self.relay(delay, &readable);
        let due = relay.filter(|(due, _)| *due <= now);
        let next = due.or_else(|| Some((MonoTime::ZERO, self.backlog(&readable)?))).or(relay);
        next.map(|(due, send)| (due.max(ready_at), send))
    }

    /// When something may leave; `None` while nothing can.
    pub(super) fn wakes_at(&self, delay: Duration, readable: impl Fn(Place) -> bool) -> Option<MonoTime> {
        if self.asked.is_some() {
            return None;
        }
        let ready_at = self.limit.ready_at()?;
        if self.backlog(&readable).is_some() {
            return Some(ready_at);
        }
        self.relay(delay, &readable).map(|(due, _)| due.max(ready_at))
    }

    /// The shell is asked to send.
    pub(super) const fn ask(&mut self, send: Send) {
        self.asked = Some(send);
    }

    /// A backup begins as soon as there is something left to replenish: the data rate that is then set holds. It does not wait for its
    /// first record, as the relay may use up the rate that held before.
    pub(super) fn begin(&mut self, now: MonoTime, readable: impl Fn(Place) -> bool) {
        if !self.replenishing && self.limit.get().percent > 0 && self.backlog(&readable).is_some() {
            self.replenishing = true;
            self.limit.begin(now);
        }
    }

    /// Forgets of the relay what is outside, on its way, or where nothing can be read, which is replenishment's; and that a backup is
    /// under way, when there is nothing left of it.
    pub(super) fn tidy(&mut self, readable: impl Fn(Place) -> bool) {
        while let Some((_, span)) = self.tail.front()
            && self.waits(*span, &readable).is_none()
        {
            self.tail.pop_front();
        }
        if self.replenishing && self.asked.is_none() && self.backlog(&readable).is_none() {
            self.replenishing = false;
        }
    }

    /// What of the line the relay left out, and is not on its way.
    pub(super) fn backlog_ticks(&self) -> i64 {
        let before = Span { from: WallTime::MIN, to: self.relay_from() };
        let all: SpanSet = self.held.values().flat_map(|held| held.within(before).spans().to_vec()).collect();
        all.spans().iter().map(|span| self.flying.missing(*span).ticks()).sum()
    }

    /// When the relay's next record was closed.
    pub(super) fn relay_closed(&self) -> Option<MonoTime> {
        self.tail.front().map(|(closed, _)| *closed)
    }

    /// The first label that is the relay's.
    fn relay_from(&self) -> WallTime {
        self.tail.front().map_or(WallTime::MAX, |(_, span)| span.from)
    }

    fn relay(&self, delay: Duration, readable: &impl Fn(Place) -> bool) -> Option<(MonoTime, Send)> {
        let (closed, span) = *self.tail.front()?;
        let (place, span) = self.waits(span, readable)?;
        Some((closed + delay, Send { lane: Lane::Relay, place, span }))
    }

    /// What only memory has goes first, then what stands on the storage that is to be free again.
    fn backlog(&self, readable: &impl Fn(Place) -> bool) -> Option<Send> {
        let (place, span) = self.waits(Span { from: WallTime::MIN, to: self.relay_from() }, readable)?;
        Some(Send { lane: Lane::Replenishment, place, span })
    }

    /// The first span in `window` that waits somewhere.
    fn waits(&self, window: Span, readable: &impl Fn(Place) -> bool) -> Option<(Place, Span)> {
        let places = [Place::Memory, Place::Second, Place::Internal];
        places
            .into_iter()
            .filter(|place| readable(*place))
            .find_map(|place| Some((place, self.waiting(place, window)?)))
    }

    /// The first span in `window` that is at a place and not on its way.
    fn waiting(&self, place: Place, window: Span) -> Option<Span> {
        let held = self.held.get(&place)?.within(window);
        held.spans().iter().find_map(|span| self.flying.missing(*span).spans().first().copied())
    }
}

/// Forgets the oldest of more than are remembered.
fn bound(spans: &mut SpanSet) {
    while spans.spans().len() > SPANS_MAX {
        spans.remove(spans.spans()[0]);
    }
}
