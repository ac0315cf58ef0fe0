//! The books of a stream: its ledger, and an account aside while nobody asks for its footage to be kept.
//!
//! A session tells what it sees into the account that counts. As long as footage only waits in memory that is the one aside,
//! and the ledger says that nothing is asked for; when the footage is needed, the ledger takes over what was told since the
//! first of it.

use std::ops::{Deref, DerefMut};
use std::sync::MutexGuard;

use keepwatch_model::{TICKS_PER_SECOND, WallTime};
use keepwatch_recording::ledger::Ledger;

/// How far an account aside reaches back: further than anything waits in memory. Bounds what a camera makes of it that comes
/// and goes for months.
const ASIDE_TICKS: i64 = 3_600 * TICKS_PER_SECOND;

/// The books of a stream.
#[derive(Debug)]
pub(crate) struct Books {
    pub(super) ledger: Ledger,
    /// `None` while its footage is asked for, or there is no session.
    aside: Option<Ledger>,
    /// Where the last record ends that was closed.
    reached: Option<WallTime>,
}

impl Books {
    pub(super) const fn new(ledger: Ledger) -> Self {
        Self { ledger, aside: None, reached: None }
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
    pub(super) fn put_aside(&mut self, now: WallTime) {
        if self.aside.is_some() {
            return;
        }
        let from = Self::end(&self.ledger, self.reached, now);
        self.aside = Some(self.ledger.aside_from(from));
        self.ledger.unscheduled_from(from);
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
