//! What is known of every second of one camera: held, missing and why, expired, not asked for, not known.
//!
//! The ledger is a function from labels to [`State`]: every label has exactly one state, so no answer can have a
//! hole. It is kept as the labels at which the state changes, and the last state goes on for ever: the *tail*.
//! The shell tells it what became durable, what was lost and why; it reads no disk and no clock.

mod aside;

use std::collections::BTreeMap;

use keepwatch_model::{
    Backfill, CoverageItem, GapReason, Span, SpanSet, State, TICKS_PER_SECOND, UnknownReason, WallTime,
};

use crate::schedule::Schedule;

/// The coverage of one camera's stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// What is from each label until the next; before the first, the camera was not configured.
    steps: BTreeMap<WallTime, Step>,
    /// First label whose step differs from what was last taken by [`changed_rows`](Self::changed_rows).
    changed_from: Option<WallTime>,
    /// First label at which a held span grew since then: read from the disks after a crash, and stored together with
    /// the next change.
    grown_from: Option<WallTime>,
    /// End of the latest held span.
    held_until: Option<WallTime>,
    /// The recorder was down up to here by its labels, which were ahead of the clock when it died; `None` when they were not,
    /// and once footage is recorded again.
    down_until: Option<WallTime>,
}

/// What is known from a label on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    state: State,
    backfill: Option<Backfill>,
}

impl From<State> for Step {
    fn from(state: State) -> Self {
        Self { state, backfill: None }
    }
}

/// Footage that is missing and might be had from elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Which labels.
    pub span: Span,
    /// Why it is missing.
    pub reason: GapReason,
    /// How far it is fetched; `None` when nobody has looked at it.
    pub backfill: Option<Backfill>,
}

/// One step of a ledger as it is stored: from `from` on, until the next row, the state is `state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// First label of the state.
    pub from: WallTime,
    /// The state.
    pub state: State,
    /// How far a gap is fetched from elsewhere, or that what is held was.
    pub backfill: Option<Backfill>,
}

/// A stretch of an overview.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Which labels.
    pub span: Span,
    /// Ticks of it that are held.
    pub held_ticks: i64,
    /// The state that matters most in it: a gap before what is unknown, that before what is held.
    pub state: State,
}

/// What follows a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// Footage that is held, from this label on.
    Held(WallTime),
    /// No footage is held, but frames are on their way to the disk from this label on.
    OnItsWay(WallTime),
    /// Neither.
    Nothing,
}

const NOT_CONFIGURED: State = State::Unknown { reason: UnknownReason::NotConfigured };
/// Longest time that a recorder counts as down where its labels are ahead of the clock: they are by a moment, when a camera's
/// first pictures came late. By more they are only after the clock was set, and then it says nothing of how long that was.
const DOWN_AHEAD_TICKS_MAX: i64 = 2 * TICKS_PER_SECOND;
const BEFORE_ALL: Step = Step { state: NOT_CONFIGURED, backfill: None };
const NOT_YET: State = State::Unknown { reason: UnknownReason::NotYet };

impl Ledger {
    /// The ledger of a camera of which nothing is known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The ledger that a recorder left behind, taken up again at `now`.
    ///
    /// `rows` were stored, `held` is what the disks hold in addition, `alive` is when the recorder is known to have
    /// run last. What was being recorded then and is not held, and all time since, is missing because the recorder
    /// was down, except where the schedule did not ask for it.
    pub fn restore(
        rows: impl IntoIterator<Item = Row>,
        held: impl IntoIterator<Item = (Span, State)>,
        alive: Option<WallTime>,
        now: WallTime,
        schedule: &Schedule,
    ) -> Self {
        let mut ledger = Self::new();
        let step = |row: Row| {
            // What was being fetched when the recorder ended is fetched no more.
            let backfill = match row.backfill {
                Some(Backfill::Running) => Some(Backfill::Pending),
                other => other,
            };
            (row.from, Step { state: row.state, backfill })
        };
        ledger.steps = rows.into_iter().map(step).collect();
        for (span, state) in held {
            ledger.set(span, state);
        }
        ledger.held_until = ledger.scan_held_until();
        let Some(tail) = ledger.tail_from() else {
            return ledger;
        };
        let down = State::Gap { reason: GapReason::RecorderDown };
        // Queued when the recorder died and never written.
        let pending: Vec<Span> =
            ledger.spans_of(NOT_YET).filter_map(|span| Span::new(span.from, span.to.min(now))).collect();
        for span in pending {
            ledger.set(span, down);
        }
        let died = alive.unwrap_or(tail).max(tail).max(ledger.held_until.unwrap_or(tail)).min(now.max(tail));
        // Labels that were ahead of the clock leave no time between them and now, in which it was down all the same.
        let silent_ticks = alive.map_or(0, |alive| now.ticks_since(alive)).clamp(0, DOWN_AHEAD_TICKS_MAX);
        let ahead = silent_ticks > 0 && ledger.held_until > Some(now);
        let risen = if ahead { died.plus(silent_ticks) } else { now };
        if let Some(dead) = Span::new(died, risen) {
            for span in schedule.within(dead).spans() {
                ledger.set(*span, down);
            }
            for span in schedule.within(dead).missing(dead).spans() {
                ledger.set(*span, State::Unscheduled);
            }
        }
        ledger.tail(risen, if schedule.is_open(risen) { down } else { State::Unscheduled });
        ledger.down_until = ahead.then_some(risen);
        ledger.changed_from = ledger.steps.keys().next().copied();
        ledger
    }

    /// From `at` on, until told otherwise, footage is missing for `reason`. An `at` inside what is already settled
    /// counts from its end.
    pub fn missing_from(&mut self, at: WallTime, reason: GapReason) {
        let at = self.down_until.map_or(at, |until| at.max(until));
        self.tail(at, State::Gap { reason });
    }

    /// Footage is missing since `from`, before anything that is known here, for who was to record it was down: this recorder took
    /// that one's role at `now`. What is known already stays as it is.
    pub fn missed_since(&mut self, from: WallTime, now: WallTime, schedule: &Schedule) {
        let down = State::Gap { reason: GapReason::RecorderDown };
        if self.steps.is_empty() {
            self.tail(now, if schedule.is_open(now) { down } else { State::Unscheduled });
        }
        let first = self.steps.keys().next().copied().unwrap_or(now);
        let Some(dead) = Span::new(from, first) else { return };
        let asked = schedule.within(dead);
        for span in asked.spans() {
            self.set(*span, down);
        }
        for span in asked.missing(dead).spans() {
            self.set(*span, State::Unscheduled);
        }
    }

    /// From `at` on, recording is not asked for.
    pub fn unscheduled_from(&mut self, at: WallTime) {
        self.tail(at, State::Unscheduled);
    }

    /// From `at` on, the camera is received and waits for an alarm.
    pub fn no_alarm_from(&mut self, at: WallTime) {
        self.tail(at, State::NoAlarm);
    }

    /// From `at` on, until recording goes on, time did not pass: the recorder's clock was set forward over it.
    pub fn clock_stepped_from(&mut self, at: WallTime) {
        self.tail(at, State::Unknown { reason: UnknownReason::ClockStepped });
    }

    /// From `at` on, frames are on their way to the disk.
    pub fn recording_from(&mut self, at: WallTime) {
        self.down_until = None;
        self.tail(at, NOT_YET);
    }

    /// `span` is on disk.
    pub fn held(&mut self, span: Span, state: State) {
        let extends = self.held_until == Some(span.from) && self.state_at(span.to) == NOT_YET;
        let before = self.changed_from;
        self.set(span, state);
        self.held_until = self.held_until.max(Some(span.to));
        if extends {
            // The growth of a held span is read from the disk again after a crash; it need not be stored at once.
            self.changed_from = before;
            self.grown_from = Some(self.grown_from.map_or(span.from, |from| from.min(span.from)));
        }
    }

    /// `span` was on its way and is lost for `reason`.
    pub fn lost(&mut self, span: Span, reason: GapReason) {
        self.set(span, State::Gap { reason });
        self.held_until = self.scan_held_until();
    }

    /// What was held in `span` was overwritten because space ran out. It counts as expired where that is all the
    /// retention there is, else as a gap.
    pub fn overwritten(&mut self, span: Span, state: State) {
        let held: Vec<Span> =
            self.pieces(span).filter(|piece| is_held(piece.state)).map(|piece| piece.span).collect();
        for span in held {
            self.set(span, state);
        }
        self.held_until = self.scan_held_until();
        // Where space is the retention, gaps older than all that is held have expired with it: the ledger must not
        // grow for ever.
        let first_held = self.steps.iter().find(|(_, step)| is_held(step.state)).map(|(label, _)| *label);
        if state == State::Expired && first_held.is_none_or(|first| first >= span.to) {
            self.expire(span.to);
        }
    }

    /// What counts as held and is not among `on_disk`, all that the disks hold: given up just before the recorder died,
    /// and not yet entered here. Whoever asks must know that no disk is away.
    pub fn held_beyond(&self, on_disk: &SpanSet) -> Vec<Span> {
        self.pieces(Span { from: WallTime::MIN, to: WallTime::MAX })
            .filter(|piece| is_held(piece.state))
            .flat_map(|piece| on_disk.missing(piece.span).spans().to_vec())
            .collect()
    }

    /// All of `span` was held and then overwritten, although part of it was never entered as held.
    pub fn given_up(&mut self, span: Span, state: State) {
        self.set(span, state);
        self.overwritten(span, state);
    }

    /// Everything before `label` has reached the end of its retention.
    pub fn expire(&mut self, label: WallTime) {
        let Some((&first, _)) = self.steps.iter().find(|(_, step)| step.state != NOT_CONFIGURED) else {
            return;
        };
        let settled = self.tail_from().unwrap_or(label);
        if let Some(span) = Span::new(first, label.min(settled))
            && self.pieces(span).any(|piece| piece.state != State::Expired)
        {
            self.set(span, State::Expired);
            self.held_until = self.scan_held_until();
        }
    }

    /// Whether frames are on their way to the disk, for all that was told.
    pub fn is_recording(&self) -> bool {
        self.steps.values().next_back().is_some_and(|step| step.state == NOT_YET)
    }

    /// End of the latest held span: all before is settled.
    pub fn held_until(&self) -> Option<WallTime> {
        self.held_until
    }

    /// State of `label`.
    pub fn state_at(&self, label: WallTime) -> State {
        self.step_at(label).state
    }

    fn step_at(&self, label: WallTime) -> Step {
        self.steps.range(..=label).next_back().map_or(BEFORE_ALL, |(_, step)| *step)
    }

    /// What is missing in `window` and might be had from elsewhere, in order. Where the end of the last one is the end of the
    /// window, it may go on. What was deleted early to make room is not among it: there is none.
    pub fn gaps(&self, window: Span) -> Vec<Gap> {
        let gap = |piece: CoverageItem| match piece.state {
            State::Gap { reason: GapReason::Overwritten }
            | State::Held { .. }
            | State::Expired
            | State::Unscheduled
            | State::NoAlarm
            | State::Unknown { .. } => None,
            State::Gap { reason } => Some(Gap { span: piece.span, reason, backfill: piece.backfill }),
        };
        self.pieces(window).filter_map(gap).collect()
    }

    /// Notes how far the gaps inside `span` are fetched from elsewhere.
    pub fn backfill(&mut self, span: Span, backfill: Option<Backfill>) {
        for gap in self.gaps(span) {
            if gap.backfill != backfill {
                let state = State::Gap { reason: gap.reason };
                self.set(gap.span, Step { state, backfill });
            }
        }
    }

    /// `span` was fetched from elsewhere and is on disk: where it was a gap, it is held from now on.
    pub fn filled(&mut self, span: Span, state: State) {
        let gaps: Vec<Span> = self
            .pieces(span)
            .filter(|piece| matches!(piece.state, State::Gap { .. }))
            .map(|piece| piece.span)
            .collect();
        for gap in gaps {
            self.set(gap, Step { state, backfill: Some(Backfill::Done) });
        }
        self.held_until = self.scan_held_until();
    }

    /// Whoever was to send `span` has nothing of it: where it is missing here, that is why. Of a state that is neither a gap nor
    /// unscheduled or without an alarm nothing is entered.
    pub fn nowhere(&mut self, span: Span, state: State) {
        if !matches!(state, State::Gap { .. } | State::Unscheduled | State::NoAlarm) {
            return;
        }
        for gap in self.gaps(span) {
            if (State::Gap { reason: gap.reason }) != state {
                self.set(gap.span, state);
            }
        }
    }

    /// What the first footage at or after `label` is.
    pub fn ahead(&self, label: WallTime) -> Ahead {
        let holds = |from, state| {
            if is_held(state) {
                Some(Ahead::Held(from))
            } else {
                (state == NOT_YET).then_some(Ahead::OnItsWay(from))
            }
        };
        let mut later = self.steps.range(label..);
        holds(label, self.state_at(label))
            .or_else(|| later.find_map(|(from, step)| holds(*from, step.state)))
            .unwrap_or(Ahead::Nothing)
    }

    /// Where the last footage before `label` ends, at `label` at the latest; `None` where there is none.
    pub fn held_before(&self, label: WallTime) -> Option<WallTime> {
        let mut end = self.held_until?.min(label);
        for (from, step) in self.steps.range(..end).rev() {
            if is_held(step.state) {
                return Some(end);
            }
            end = *from;
        }
        None
    }

    /// State of the label right before `label`.
    pub fn state_before(&self, label: WallTime) -> State {
        self.state_at(label.plus(-1))
    }

    /// All of `window` at `now`, in order and without holes. What is held on disks that are not there, `absent`, is
    /// unknown.
    pub fn items(&self, window: Span, now: WallTime, absent: &SpanSet) -> Vec<CoverageItem> {
        let mut items: Vec<CoverageItem> = Vec::new();
        self.visit(window, now, absent, |span, state, backfill| match items.last_mut() {
            Some(last) if last.state == state && last.backfill == backfill => last.span.to = span.to,
            _ => items.push(CoverageItem { span, state, backfill }),
        });
        items
    }

    /// An overview of `window` in at most `buckets` stretches (at least one) of equal length; equal neighbours that
    /// are the same throughout are joined.
    pub fn buckets(&self, window: Span, now: WallTime, absent: &SpanSet, buckets: u32) -> Vec<Bucket> {
        let buckets = i128::from(buckets.max(1));
        let edge = |number: i128| {
            let ticks = i128::from(window.ticks()) * number / buckets;
            window.from.plus(i64::try_from(ticks).unwrap_or(i64::MAX))
        };
        let mut overview: Vec<Bucket> = Vec::new();
        for number in 0..buckets {
            let Some(span) = Span::new(edge(number), edge(number + 1)) else { continue };
            let mut bucket: Option<Bucket> = None;
            self.visit(span, now, absent, |piece, state, _| {
                let held_ticks = if is_held(state) { piece.ticks() } else { 0 };
                match &mut bucket {
                    None => bucket = Some(Bucket { span, held_ticks, state }),
                    Some(bucket) => {
                        bucket.held_ticks += held_ticks;
                        if weight(state) > weight(bucket.state) {
                            bucket.state = state;
                        }
                    }
                }
            });
            let Some(bucket) = bucket else { continue };
            match overview.last_mut() {
                Some(last) if uniform(last) && uniform(&bucket) && last.state == bucket.state => {
                    last.span.to = bucket.span.to;
                    last.held_ticks += bucket.held_ticks;
                }
                _ => overview.push(bucket),
            }
        }
        overview
    }

    /// Rows that must be stored, with the label from which they replace what is stored; `None` when nothing changed
    /// since the last call.
    pub fn changed_rows(&mut self) -> Option<(WallTime, Vec<Row>)> {
        let from = self.changed_from.take()?;
        let from = self.grown_from.take().map_or(from, |grown| grown.min(from));
        // The step in force at `from` may have begun earlier.
        let from = self.steps.range(..=from).next_back().map_or(from, |(label, _)| *label);
        Some((
            from,
            self.steps
                .range(from..)
                .map(|(from, step)| Row { from: *from, state: step.state, backfill: step.backfill })
                .collect(),
        ))
    }

    fn tail(&mut self, at: WallTime, state: State) {
        let step = Step::from(state);
        let at = self.tail_from().map_or(at, |settled| at.max(settled));
        self.steps.split_off(&at);
        self.put(at, step);
        self.touched(at);
    }

    fn tail_from(&self) -> Option<WallTime> {
        self.steps.keys().next_back().copied()
    }

    fn set(&mut self, span: Span, step: impl Into<Step>) {
        let after = self.step_at(span.to);
        let inside: Vec<WallTime> = self.steps.range(span.from..=span.to).map(|(label, _)| *label).collect();
        for label in inside {
            self.steps.remove(&label);
        }
        self.put(span.from, step.into());
        self.put(span.to, after);
        self.touched(span.from);
    }

    /// Notes that it is `step` from `at` on, unless it already is.
    fn put(&mut self, at: WallTime, step: Step) {
        let before = self.steps.range(..at).next_back().map_or(BEFORE_ALL, |(_, step)| *step);
        if before == step {
            self.steps.remove(&at);
        } else {
            self.steps.insert(at, step);
        }
    }

    /// Notes that what is from `at` on must be stored: it changed, or could not be stored before.
    pub fn touched(&mut self, at: WallTime) {
        self.changed_from = Some(self.changed_from.map_or(at, |from| from.min(at)));
    }

    fn scan_held_until(&self) -> Option<WallTime> {
        let mut after = None;
        for (label, step) in self.steps.iter().rev() {
            if is_held(step.state) {
                return after;
            }
            after = Some(*label);
        }
        None
    }

    fn spans_of(&self, state: State) -> impl Iterator<Item = Span> {
        self.pieces(Span { from: WallTime::MIN, to: WallTime::MAX })
            .filter(move |piece| piece.state == state)
            .map(|piece| piece.span)
    }

    /// The steps inside `window` as spans, in order, covering all of it.
    fn pieces(&self, window: Span) -> impl Iterator<Item = CoverageItem> {
        let first = (window.from, self.step_at(window.from));
        let later = self
            .steps
            .range(window.from..window.to)
            .map(|(label, step)| (*label, *step))
            .filter(move |(label, _)| *label > window.from);
        let starts = std::iter::once(first).chain(later);
        let ends = self
            .steps
            .range(window.from..window.to)
            .map(|(label, _)| *label)
            .filter(move |label| *label > window.from)
            .chain(std::iter::once(window.to));
        starts.zip(ends).map(|((from, step), to)| CoverageItem {
            span: Span { from, to },
            state: step.state,
            backfill: step.backfill,
        })
    }

    /// The pieces of `window` as they are seen at `now` with the disks of `absent` away.
    fn visit(
        &self,
        window: Span,
        now: WallTime,
        absent: &SpanSet,
        mut visit: impl FnMut(Span, State, Option<Backfill>),
    ) {
        for piece in self.pieces(window) {
            if is_held(piece.state) && !absent.is_empty() {
                let away = absent.within(piece.span);
                let mut from = piece.span.from;
                for span in away.spans() {
                    if let Some(there) = Span::new(from, span.from) {
                        visit(there, piece.state, piece.backfill);
                    }
                    visit(*span, State::Unknown { reason: UnknownReason::DiskAbsent }, None);
                    from = span.to;
                }
                if let Some(there) = Span::new(from, piece.span.to) {
                    visit(there, piece.state, piece.backfill);
                }
            } else if piece.span.to <= now || is_held(piece.state) {
                visit(piece.span, piece.state, piece.backfill);
            } else {
                // What is to come is not known, whatever is the case at this moment.
                let settled = piece.span.from.max(now.min(piece.span.to));
                if let Some(past) = Span::new(piece.span.from, settled) {
                    visit(past, piece.state, piece.backfill);
                }
                if let Some(future) = Span::new(settled, piece.span.to) {
                    visit(future, NOT_YET, None);
                }
            }
        }
    }
}

fn is_held(state: State) -> bool {
    matches!(state, State::Held { .. })
}

fn uniform(bucket: &Bucket) -> bool {
    bucket.held_ticks == 0 || bucket.held_ticks == bucket.span.ticks()
}

fn weight(state: State) -> u8 {
    match state {
        State::Unscheduled => 0,
        State::NoAlarm => 1,
        State::Expired => 2,
        State::Held { .. } => 3,
        State::Unknown { .. } => 4,
        State::Gap { .. } => 5,
    }
}

#[cfg(test)]
mod tests;
