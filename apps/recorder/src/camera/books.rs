//! The books of a stream: its ledger, and an account aside while nobody asks for its footage to be kept.
//!
//! A session tells what it sees into the account that counts. As long as footage only waits in memory that is the one aside,
//! and the ledger says that nothing is asked for; when the footage is needed, the ledger takes over what was told since the
//! first of it. Of a camera that waits for an alarm the ledger says so only while the camera is received: what was not received
//! could not have been recorded, and is a gap.

use std::ops::{Deref, DerefMut};
use std::sync::MutexGuard;

use keepwatch_model::{GapReason, State, TICKS_PER_SECOND, UnknownReason, WallTime};
use keepwatch_recording::ledger::Ledger;

/// How far an account aside reaches back: further than anything waits in memory. Bounds what a camera makes of it that comes
/// and goes for months.
const ASIDE_TICKS: i64 = 3_600 * TICKS_PER_SECOND;

/// What footage waits for that nobody asks to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitsFor {
    /// The recorder of the camera to fail: it answers for all until then.
    Failover,
    /// An alarm.
    Alarm,
}

/// The books of a stream.
#[derive(Debug)]
pub(crate) struct Books {
    pub(super) ledger: Ledger,
    /// `None` while its footage is asked for, or there is no session.
    aside: Option<Ledger>,
    /// What the footage of the account aside waits for.
    waits_for: WaitsFor,
    /// Where the last record ends that was closed.
    reached: Option<WallTime>,
}

impl Books {
    pub(super) const fn new(ledger: Ledger) -> Self {
        Self { ledger, aside: None, waits_for: WaitsFor::Failover, reached: None }
    }

    /// A record was closed that ends here.
    pub(super) fn reach(&mut self, until: WallTime) {
        self.reached = Some(until);
        if let Some(aside) = &mut self.aside {
            aside.forget_before(until.plus(-ASIDE_TICKS));
        }
    }

    /// Whether what is told goes aside.
    pub(super) const fn are_aside(&self) -> bool {
        self.aside.is_some()
    }

    /// From now on nobody asks for footage, though it comes. What was closed before was asked for.
    pub(super) fn put_aside(&mut self, now: WallTime, waits_for: WaitsFor) {
        if self.aside.is_some() {
            return;
        }
        let from = Self::end(&self.ledger, self.reached, now);
        self.aside = Some(self.ledger.aside_from(from));
        self.waits_for = waits_for;
        match waits_for {
            WaitsFor::Failover => self.ledger.unscheduled_from(from),
            WaitsFor::Alarm => self.account_for_waiting(),
        }
    }

    /// Has the ledger say of a camera that waits for an alarm whether it is received.
    fn account_for_waiting(&mut self) {
        let Some((from, state)) = self.aside.as_ref().and_then(Ledger::last) else { return };
        let received = state == State::Unknown { reason: UnknownReason::NotYet };
        let state = if received { State::NoAlarm } else { state };
        let told = self.ledger.last().map(|(_, told)| told);
        if self.waits_for != WaitsFor::Alarm || told == Some(state) {
            return;
        }
        match state {
            State::NoAlarm => self.ledger.no_alarm_from(from),
            // The next picture is a moment away; of what nobody asked for it is not missed.
            State::Gap { reason: GapReason::PacketsLost } => {}
            State::Gap { reason } => self.ledger.missing_from(from, reason),
            State::Unscheduled => self.ledger.unscheduled_from(from),
            State::Unknown { reason: UnknownReason::ClockStepped } => self.ledger.clock_stepped_from(from),
            // Nothing is recorded into the account aside.
            State::Held { .. } | State::Expired | State::Unknown { .. } => {}
        }
    }

    /// Footage is asked for again, from `first` on: the first that waited; `None` when nothing did.
    pub(super) fn take_up(&mut self, first: Option<WallTime>, now: WallTime) {
        let Some(aside) = self.aside.take() else { return };
        let from = first.unwrap_or_else(|| Self::end(&aside, self.reached, now));
        self.ledger.take_over(&aside, from);
    }

    /// Nothing comes any more that anybody would ask for.
    pub(super) fn forget_aside(&mut self) {
        self.aside = None;
    }

    /// Where what is closed ends, while frames come: those of the open record count as later. Else now.
    fn end(account: &Ledger, reached: Option<WallTime>, now: WallTime) -> WallTime {
        match account.last() {
            Some((from, _)) if account.is_recording() => reached.map_or(from, |reached| reached.max(from)),
            Some(_) | None => now,
        }
    }
}

/// The ledger of a stream, locked.
#[derive(Debug)]
pub struct LedgerGuard<'a>(pub(super) MutexGuard<'a, Books>);

impl Deref for LedgerGuard<'_> {
    type Target = Ledger;

    fn deref(&self) -> &Ledger {
        &self.0.ledger
    }
}

impl DerefMut for LedgerGuard<'_> {
    fn deref_mut(&mut self) -> &mut Ledger {
        &mut self.0.ledger
    }
}

/// What a session tells into, locked.
#[derive(Debug)]
pub(crate) struct AccountGuard<'a>(pub(super) MutexGuard<'a, Books>);

impl Deref for AccountGuard<'_> {
    type Target = Ledger;

    fn deref(&self) -> &Ledger {
        self.0.aside.as_ref().unwrap_or(&self.0.ledger)
    }
}

impl DerefMut for AccountGuard<'_> {
    fn deref_mut(&mut self) -> &mut Ledger {
        let Books { ledger, aside, .. } = &mut *self.0;
        aside.as_mut().unwrap_or(ledger)
    }
}

impl Drop for AccountGuard<'_> {
    fn drop(&mut self) {
        self.0.account_for_waiting();
    }
}

#[cfg(test)]
mod tests {
    use keepwatch_model::{Origin, RoleId, Span, SpanSet};

    use super::*;

    const HELD: State = State::Held { origin: Origin::Primary, recorder: RoleId([1; 16]), replaces: None };
    const NOT_YET: State = State::Unknown { reason: UnknownReason::NotYet };
    const LOST: State = State::Gap { reason: GapReason::ConnectionLost };

    fn at(second: i64) -> WallTime {
        WallTime::from_ticks(second * TICKS_PER_SECOND)
    }

    fn told(ledger: &Ledger, until: i64) -> Vec<(i64, State)> {
        let items = ledger.items(Span { from: at(0), to: at(until) }, at(until), &SpanSet::new());
        items.into_iter().map(|item| (item.span.from.ticks() / TICKS_PER_SECOND, item.state)).collect()
    }

    /// Tells into the account, as a session does.
    fn tell(books: &mut Books, tell: impl FnOnce(&mut Ledger)) {
        tell(books.aside.as_mut().unwrap_or(&mut books.ledger));
        books.account_for_waiting();
    }

    #[test]
    fn time_without_an_alarm_is_told_from_time_in_which_none_could_have_been_recorded() {
        let mut books = Books::new(Ledger::new());
        books.ledger.recording_from(at(0));
        books.ledger.held(Span { from: at(0), to: at(10) }, HELD);
        books.reach(at(10));
        books.put_aside(at(10), WaitsFor::Alarm);
        tell(&mut books, |account| account.missing_from(at(15), GapReason::PacketsLost));
        tell(&mut books, |account| account.recording_from(at(16)));
        tell(&mut books, |account| account.missing_from(at(20), GapReason::ConnectionLost));
        tell(&mut books, |account| account.recording_from(at(30)));
        tell(&mut books, |account| account.unscheduled_from(at(40)));
        tell(&mut books, |account| account.missing_from(at(50), GapReason::ConnectionLost));
        tell(&mut books, |account| account.recording_from(at(51)));
        let waiting = [
            (0, HELD),
            (10, State::NoAlarm),
            (20, LOST),
            (30, State::NoAlarm),
            (40, State::Unscheduled),
            (50, LOST),
            (51, State::NoAlarm),
        ];
        assert_eq!(told(&books.ledger, 60), waiting);
        // An alarm, and what waits reaches back over both.
        books.take_up(Some(at(35)), at(60));
        let taken =
            [&waiting[..4], &[(35, NOT_YET), (40, State::Unscheduled), (50, LOST), (51, NOT_YET)]].concat();
        assert_eq!(told(&books.ledger, 60), taken);
    }

    #[test]
    fn a_camera_that_is_away_when_its_alarm_ends_is_missed_until_it_is_back() {
        let mut books = Books::new(Ledger::new());
        books.ledger.missing_from(at(0), GapReason::ConnectionLost);
        books.put_aside(at(10), WaitsFor::Alarm);
        assert_eq!(told(&books.ledger, 20), [(0, LOST)]);
        tell(&mut books, |account| account.recording_from(at(12)));
        assert_eq!(told(&books.ledger, 20), [(0, LOST), (12, State::NoAlarm)]);
    }
}
