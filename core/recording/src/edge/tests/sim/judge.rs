//! What is true in the site, and whether what the machine says and has done agrees with it.

use std::collections::BTreeMap;
use std::time::Duration;

use keepwatch_model::{Span, SpanSet, TICKS_PER_SECOND};

use super::super::limit::SpeedLimit;
use super::super::{Action, Case, Condition, Delay, Event, Lane, Place, Send};
use super::site::{Millis, label, overlap};

/// As far ahead of its limit a line may be: what was not used is used later.
const CREDIT_S: f64 = 2.0;
/// What a record may be late beyond the window of the relay: its own length, the look, a record of replenishment in front of it, the way.
const LATE: Millis = 15_000;

/// Lets an amount through at a rate, and says how far ahead of it is what left.
#[derive(Debug, Default)]
struct Bucket {
    ahead: f64,
    at: Millis,
}

impl Bucket {
    fn drain(&mut self, now: Millis, rate: f64) {
        self.ahead = (self.ahead - rate * seconds(now - self.at)).max(0.0);
        self.at = now;
    }
}

#[expect(clippy::cast_precision_loss, reason = "a site runs for an hour")]
fn seconds(millis: Millis) -> f64 {
    millis as f64 / 1_000.0
}

/// One line.
#[derive(Debug)]
pub(super) struct Truth {
    /// What was on any storage at any time.
    pub(super) footage: SpanSet,
    /// What is outside.
    pub(super) outside: SpanSet,
    /// What the machine was told that it is at a place, and not that it is outside.
    told: BTreeMap<Place, SpanSet>,
    /// What the machine was told to be on its way.
    flying: SpanSet,
    /// What was on its way when that was cut, until all is compared.
    doubtful: SpanSet,
    /// What the machine named as lost: ever, and since it began.
    named: SpanSet,
    named_by_this: SpanSet,
    /// What was lost where no machine could know it: the memory of one that was killed, footage that it was not told of.
    excused: SpanSet,
    /// What came back with a storage that had been named as lost.
    returned: SpanSet,
    limit: SpeedLimit,
    /// The largest data rate that was ever set; `None` once there was none.
    bits_per_second_max: Option<u64>,
    footage_left: Bucket,
    bits_left: Bucket,
    /// The largest record.
    largest: (i64, u64),
}

#[derive(Debug)]
pub(super) struct Judge {
    pub(super) lines: Vec<Truth>,
    delay: Delay,
    /// What the machine was told of the storages.
    internal: Condition,
    second: Option<Condition>,
    external: Option<bool>,
    throttle: u64,
    node_left: Bucket,
    case: Case,
    writes_to: Place,
    /// From here on nothing failed, and all limits leave the relay what it needs.
    pub(super) calm_since: Option<Millis>,
}

impl Judge {
    pub(super) fn new(lines: usize, delay: Delay) -> Self {
        let truth = || Truth {
            footage: SpanSet::new(),
            outside: SpanSet::new(),
            told: BTreeMap::new(),
            flying: SpanSet::new(),
            doubtful: SpanSet::new(),
            named: SpanSet::new(),
            named_by_this: SpanSet::new(),
            excused: SpanSet::new(),
            returned: SpanSet::new(),
            limit: SpeedLimit::default(),
            bits_per_second_max: Some(0),
            footage_left: Bucket::default(),
            bits_left: Bucket::default(),
            largest: (0, 0),
        };
        Self {
            lines: (0..lines).map(|_| truth()).collect(),
            delay,
            internal: Condition::Writable,
            second: None,
            external: None,
            throttle: 0,
            node_left: Bucket::default(),
            case: Case::Normal,
            writes_to: Place::Internal,
            calm_since: None,
        }
    }

    /// The machine is no more, and the next one knows nothing.
    pub(super) fn machine_ended(&mut self) {
        for line in &mut self.lines {
            line.told.clear();
            (line.flying, line.doubtful) = (SpanSet::new(), SpanSet::new());
            line.named_by_this = SpanSet::new();
            line.footage_left.ahead = 0.0;
            line.bits_left.ahead = 0.0;
        }
        self.node_left.ahead = 0.0;
        (self.internal, self.second, self.external) = (Condition::Writable, None, None);
        (self.throttle, self.case, self.writes_to) = (0, Case::Normal, Place::Internal);
    }

    /// The machine is told this.
    pub(super) fn told(
        &mut self,
        now: Millis,
        event: Event,
        number: impl Fn(&crate::replenish::StreamKey) -> usize,
    ) {
        match event {
            Event::Line(key, limit) => self.limited(now, number(&key), limit),
            Event::LineGone(key) => {
                let line = &mut self.lines[number(&key)];
                line.told.clear();
                (line.flying, line.doubtful) = (SpanSet::new(), SpanSet::new());
                line.named_by_this = SpanSet::new();
                line.footage_left.ahead = 0.0;
                line.bits_left.ahead = 0.0;
            }
            Event::Storage { place, condition, replaced } => {
                match place {
                    Place::Memory => {}
                    Place::Internal => self.internal = condition,
                    Place::Second => self.second = Some(condition),
                }
                if replaced {
                    self.lines.iter_mut().for_each(|line| drop(line.told.remove(&place)));
                }
            }
            Event::External { takes } => {
                self.external = Some(takes);
                for line in &mut self.lines {
                    if takes {
                        line.doubtful = SpanSet::new();
                    } else {
                        let cut = std::mem::take(&mut line.flying);
                        cut.spans().iter().for_each(|span| line.doubtful.insert(*span));
                    }
                }
            }
            Event::Recorded { line, place, span } => {
                self.lines[number(&line)].told.entry(place).or_default().insert(span);
            }
            Event::Found { line, place, span } => {
                let line = &mut self.lines[number(&line)];
                line.told.entry(place).or_default().insert(span);
                line.named_by_this.remove(span);
            }
            Event::Taken { line, span, bytes } => self.left(number(&line), span, bytes),
            Event::Outside { line, span } => {
                let line = &mut self.lines[number(&line)];
                line.told.values_mut().for_each(|held| held.remove(span));
                line.flying.remove(span);
                line.named_by_this.remove(span);
            }
            Event::GaveUp { line, place, span } => {
                if let Some(held) = self.lines[number(&line)].told.get_mut(&place) {
                    held.remove(span);
                }
            }
            Event::Nothing { .. } => {}
            Event::Throttle(bits_per_second) => {
                self.node_left.drain(now, rate(self.throttle));
                let owed = (self.node_left.ahead - rate(self.throttle) * CREDIT_S).max(0.0);
                let owed = if self.throttle == 0 || bits_per_second == 0 { 0.0 } else { owed };
                self.node_left.ahead = self.node_left.ahead.min(rate(bits_per_second) * CREDIT_S + owed);
                self.throttle = bits_per_second;
            }
        }
    }

    fn limited(&mut self, now: Millis, number: usize, limit: SpeedLimit) {
        let line = &mut self.lines[number];
        line.footage_left.drain(now, f64::from(line.limit.percent) / 100.0);
        // What was not used before is not used later, and what left ahead of the one is waited for at the other.
        let credit = |percent: u32| f64::from(percent) / 100.0 * CREDIT_S;
        let owed = (line.footage_left.ahead - credit(line.limit.percent)).max(0.0);
        let owed = if line.limit.percent == 0 || limit.percent == 0 { 0.0 } else { owed };
        line.footage_left.ahead = line.footage_left.ahead.min(credit(limit.percent) + owed);
        line.limit = limit;
        line.bits_per_second_max = match (line.bits_per_second_max, limit.bits_per_second) {
            (None, _) | (_, 0) => None,
            (Some(most), set) => Some(most.max(set)),
        };
    }

    /// A record leaves.
    fn left(&mut self, number: usize, span: Span, bytes: u64) {
        let line = &mut self.lines[number];
        line.flying.insert(span);
        line.largest = (line.largest.0.max(span.ticks()), line.largest.1.max(bytes));
        line.footage_left.ahead += seconds(Millis::try_from(span.ticks() / 90).unwrap());
        line.bits_left.ahead += rate(bytes * 8);
        self.node_left.ahead += rate(bytes * 8);
    }

    /// What is asked for is within all limits.
    fn limits_hold(&mut self, now: Millis, number: usize) {
        let largest = self.lines.iter().map(|line| line.largest.1).max().unwrap_or(0);
        let lines = self.lines.len();
        let line = &mut self.lines[number];
        let speed = f64::from(line.limit.percent) / 100.0;
        line.footage_left.drain(now, speed);
        let ahead = line.footage_left.ahead;
        assert!(ahead <= speed * CREDIT_S + 0.001, "line {number} is {ahead} s ahead at {speed}");
        if let Some(most) = line.bits_per_second_max {
            line.bits_left.drain(now, rate(most));
            let ahead = line.bits_left.ahead;
            assert!(
                ahead <= rate(most) * CREDIT_S + 1.0,
                "line {number} is {ahead} bit ahead of {most} bit/s"
            );
        }
        self.node_left.drain(now, rate(self.throttle));
        // One record of each line may have been asked for already.
        let most = rate(self.throttle) * CREDIT_S + rate(largest * 8 * lines as u64);
        let ahead = self.node_left.ahead;
        assert!(
            self.throttle == 0 || ahead <= most,
            "the node is {ahead} bit ahead of {} bit/s",
            self.throttle
        );
    }

    /// The machine says this.
    pub(super) fn said(
        &mut self,
        now: Millis,
        action: Action,
        number: impl Fn(&crate::replenish::StreamKey) -> usize,
    ) {
        match action {
            Action::Send(key, send) => {
                self.limits_hold(now, number(&key));
                self.asks(now, number(&key), send);
            }
            Action::WriteTo(place) => self.writes_to = place,
            Action::Tell(case) => self.case = case,
            Action::Lost(key, span) => {
                let line = &mut self.lines[number(&key)];
                let twice = line.named_by_this.within(span);
                assert!(twice.is_empty(), "{key:?} {twice:?} is named twice");
                line.named.insert(span);
                line.named_by_this.insert(span);
            }
        }
    }

    fn asks(&self, now: Millis, number: usize, send: Send) {
        let line = &self.lines[number];
        assert_eq!(self.external, Some(true), "line {number} is sent while nothing is taken");
        assert!(line.limit.percent > 0, "line {number} is sent while it is stopped");
        assert!(!line.flying.touches(send.span), "line {number}: {send:?} is on its way already");
        let held = line.told.get(&send.place).is_some_and(|held| held.missing(send.span).is_empty());
        assert!(held, "line {number}: {send:?} is not there, or is outside");
        let condition = match send.place {
            Place::Memory => Condition::Writable,
            Place::Internal => self.internal,
            Place::Second => self.second.unwrap_or(Condition::Gone),
        };
        assert_ne!(condition, Condition::Gone, "line {number}: {send:?} cannot be read");
        let direct = matches!(self.case_by_rule(), Case::LocalReadOnly | Case::LocalGone);
        if send.lane == Lane::Relay && !direct {
            let begun = label(now - millis(self.delay.start).min(now));
            assert!(
                send.span.from <= begun,
                "line {number}: the relay is ahead of its window: {send:?} at {now} ms"
            );
        }
    }

    /// The case, by the table of the requirement.
    fn case_by_rule(&self) -> Case {
        let second = self.second.unwrap_or(Condition::Gone);
        match (self.internal, second, self.external) {
            (Condition::Writable, _, Some(false)) => Case::ExternalAway,
            (Condition::Writable, _, Some(true) | None) => Case::Normal,
            (_, Condition::Writable, _) => Case::Second,
            (Condition::ReadOnly, _, _) | (_, Condition::ReadOnly, _) => Case::LocalReadOnly,
            (Condition::Gone, Condition::Gone, _) => Case::LocalGone,
        }
    }

    /// What holds whenever the machine has been told something.
    pub(super) fn settled(&self) {
        assert_eq!(self.case, self.case_by_rule(), "the case");
        let writes_to = match (self.internal, self.second) {
            (Condition::Writable, _) => Place::Internal,
            (_, Some(Condition::Writable)) => Place::Second,
            (_, _) => Place::Memory,
        };
        assert_eq!(self.writes_to, writes_to, "where recorder 2 writes");
    }

    /// A place has footage of a line no more, though nobody said so yet.
    pub(super) fn lose(&mut self, number: usize, place: Place, lost: &SpanSet) {
        let line = &mut self.lines[number];
        for span in lost.spans() {
            let told = line.told.get(&place).map_or_else(SpanSet::new, |told| told.within(*span));
            for unknown in told.missing(*span).spans() {
                line.excused.insert(*unknown);
            }
        }
    }

    /// What nobody could name: it was in the memory of a node that was killed.
    pub(super) fn excuse(&mut self, number: usize, lost: &SpanSet) {
        lost.spans().iter().for_each(|span| self.lines[number].excused.insert(*span));
    }

    /// A storage came back with footage, after another had been in its place.
    pub(super) fn returned(&mut self, number: usize, held: &SpanSet) {
        held.spans().iter().for_each(|span| self.lines[number].returned.insert(*span));
    }

    /// What the machine knows of a line, as far as it is not outside.
    pub(super) fn known(&self, number: usize) -> SpanSet {
        let line = &self.lines[number];
        line.told
            .values()
            .chain([&line.flying, &line.doubtful])
            .flat_map(|set| set.spans().to_vec())
            .collect()
    }

    /// What was told to be at a place and not outside.
    pub(super) fn kept(&self, number: usize, place: Place) -> SpanSet {
        self.lines[number].told.get(&place).cloned().unwrap_or_default()
    }

    /// While nothing fails and the limits leave room, what is recorded is outside when it is as old as the relay may be behind.
    pub(super) fn relay_in_window(&self, now: Millis, number: usize, held: &SpanSet) {
        let Some(since) = self.calm_since else { return };
        let until = now.saturating_sub(millis(self.delay.most) + LATE);
        let Some(window) = Span::new(label(since), label(until)) else { return };
        let late: SpanSet = self.lines[number].outside.missing(window).spans().iter().copied().collect();
        let late = overlap(&late, held);
        let all = self.lines[number].told.iter().map(|(place, told)| (place, told.within(window)));
        assert!(
            late.is_empty(),
            "line {number}: the relay is behind its window at {now} ms, calm since {since}: {late:?}; {:?}",
            all.collect::<Vec<_>>()
        );
    }

    /// All that `held` says to be readable somewhere is outside, up to the window of the relay.
    pub(super) fn waits(&self, now: Millis, number: usize, held: &SpanSet) -> SpanSet {
        let all = Span { from: label(0), to: label(now.saturating_sub(millis(self.delay.most) + LATE)) };
        overlap(&self.lines[number].outside.missing(all), held)
    }

    /// In the end: what is missing was named or could not be known, and what was named is missing.
    pub(super) fn finish(&self, now: Millis) {
        assert_eq!(self.case, Case::Normal);
        let all = Span { from: label(0), to: label(now - millis(self.delay.most) - LATE) };
        for (number, line) in self.lines.iter().enumerate() {
            let mut unnamed = overlap(&line.outside.missing(all), &line.footage);
            for span in line.named.spans().iter().chain(line.excused.spans()) {
                unnamed.remove(*span);
            }
            assert!(unnamed.is_empty(), "line {number}: {unnamed:?} is lost, and nobody said so");
            let mut wrongly = overlap(&line.named, &line.outside);
            line.returned.spans().iter().for_each(|span| wrongly.remove(*span));
            assert!(wrongly.is_empty(), "line {number}: {wrongly:?} was named as lost, and is outside");
            let never =
                line.named.spans().iter().flat_map(|span| line.footage.missing(*span).spans().to_vec());
            let never: Vec<Span> = never.filter(|span| span.ticks() > TICKS_PER_SECOND / 100).collect();
            assert!(never.is_empty(), "line {number}: {never:?} was named as lost, and never was");
        }
    }
}

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap()
}

#[expect(clippy::cast_precision_loss, reason = "rates of a site are far below 2^53")]
fn rate(bits_per_second: u64) -> f64 {
    bits_per_second as f64
}
