//! An account beside the ledger: what a session tells of footage that nobody asked to be kept.
//!
//! A guest whose footage only waits in memory is not missed when it does not come. Its session tells of gaps and frames all
//! the same, into a ledger of its own; when the footage is needed, the real one takes over what that says from there on.

use keepwatch_model::{GapReason, State, WallTime};

use super::{Ledger, NOT_CONFIGURED};

impl Ledger {
    /// The last state and from when on it is; `None` when nothing is known.
    pub fn last(&self) -> Option<(WallTime, State)> {
        self.steps.last_key_value().map(|(label, step)| (*label, step.state))
    }

    /// An account that begins at `at` with the last state of this ledger.
    pub fn aside_from(&self, at: WallTime) -> Self {
        let mut aside = Self::new();
        let state = self.last().map_or(NOT_CONFIGURED.into(), |(_, state)| state.into());
        aside.put(at, state);
        aside
    }

    /// From `from` on all is as `aside` says. What is held stays held.
    pub fn take_over(&mut self, aside: &Self, from: WallTime) {
        let from = self.held_until.map_or(from, |held| from.max(held));
        self.steps.split_off(&from);
        self.put(from, aside.step_at(from));
        for (label, step) in aside.steps.range(from..).filter(|(label, _)| **label > from) {
            self.steps.insert(*label, *step);
        }
        self.touched(from);
    }

    /// Forgets what was before `label`; what is from there on stays as it is.
    pub fn forget_before(&mut self, label: WallTime) {
        let step = self.step_at(label);
        self.steps = self.steps.split_off(&label);
        self.steps.entry(label).or_insert(step);
    }

    /// Since when footage has been missing without a break right before `until`, and for what reason at first; `None` when it
    /// was not.
    pub fn missing_since(&self, until: WallTime) -> Option<(WallTime, GapReason)> {
        let before = self.steps.range(..until).rev();
        let gap = before.map_while(|(label, step)| match step.state {
            State::Gap { reason } => Some((*label, reason)),
            State::Held { .. }
            | State::Expired
            | State::Unscheduled
            | State::NoAlarm
            | State::Unknown { .. } => None,
        });
        gap.last()
    }
}

#[cfg(test)]
mod tests {
    use keepwatch_model::{Origin, RoleId, Span, SpanSet, UnknownReason};

    use super::*;

    const HELD: State =
        State::Held { origin: Origin::Standby, recorder: RoleId([1; 16]), replaces: Some(RoleId([2; 16])) };
    const LOST: GapReason = GapReason::PacketsLost;
    const NOT_YET: State = State::Unknown { reason: UnknownReason::NotYet };

    fn at(second: i64) -> WallTime {
        WallTime::from_ticks(second * 90_000)
    }

    fn span(from: i64, to: i64) -> Span {
        Span { from: at(from), to: at(to) }
    }

    /// The states of the first hundred seconds and where each begins.
    fn told(ledger: &Ledger) -> Vec<(i64, State)> {
        let items = ledger.items(span(0, 100), at(100), &SpanSet::new());
        items.into_iter().map(|item| (item.span.from.ticks() / 90_000, item.state)).collect()
    }

    #[test]
    fn what_was_told_aside_counts_from_where_it_is_taken_over() {
        let mut ledger = Ledger::new();
        ledger.unscheduled_from(at(0));
        let mut aside = ledger.aside_from(at(10));
        assert_eq!(aside.last(), Some((at(10), State::Unscheduled)));
        aside.missing_from(at(10), GapReason::ConnectionLost);
        aside.recording_from(at(12));
        aside.missing_from(at(30), LOST);
        aside.recording_from(at(31));
        ledger.take_over(&aside, at(25));
        for from in 25..40 {
            let held = if from == 30 { continue } else { span(from, from + 1) };
            ledger.held(held, HELD);
        }
        let expected = [
            (0, State::Unscheduled),
            (25, HELD),
            (30, State::Gap { reason: LOST }),
            (31, HELD),
            (40, NOT_YET),
        ];
        assert_eq!(told(&ledger), expected);
    }

    #[test]
    fn taking_over_leaves_what_is_held_and_forgetting_leaves_what_is_later() {
        let mut ledger = Ledger::new();
        ledger.recording_from(at(0));
        ledger.held(span(0, 50), HELD);
        ledger.unscheduled_from(at(50));
        let mut aside = ledger.aside_from(at(50));
        aside.recording_from(at(50));
        ledger.take_over(&aside, at(40));
        assert_eq!(told(&ledger), [(0, HELD), (50, NOT_YET)]);

        ledger.forget_before(at(45));
        assert_eq!((ledger.state_at(at(44)), ledger.state_at(at(45))), (NOT_CONFIGURED, HELD));
        assert_eq!(ledger.state_at(at(60)), NOT_YET);
    }

    #[test]
    fn a_gap_begins_where_footage_was_asked_for() {
        let mut ledger = Ledger::new();
        ledger.recording_from(at(0));
        ledger.held(span(0, 10), HELD);
        ledger.unscheduled_from(at(10));
        assert_eq!(ledger.missing_since(at(50)), None);
        ledger.missing_from(at(50), GapReason::ConnectionLost);
        ledger.missing_from(at(52), GapReason::LoginRefused);
        assert_eq!(ledger.missing_since(at(55)), Some((at(50), GapReason::ConnectionLost)));
    }
}
