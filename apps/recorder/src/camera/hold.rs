//! Footage that waits in memory, of a guest or of a camera that is recorded on alarm, and the books of it: both change together,
//! whatever the session does meanwhile.

use std::sync::atomic::Ordering;

use keepwatch_model::{MonoTime, Span, WallTime};
use keepwatch_store::{Hold, HoldLimits, HoldView, Loss, Release, Store, StreamWriter};

use super::books::WaitsFor;
use super::stream::StreamState;

impl StreamState {
    /// Where its closed records may wait; `None` for a camera of this recorder that was never recorded on alarm.
    fn hold(&self) -> Option<&Hold> {
        self.guest().map(|guest| guest.hold(self.id)).or_else(|| self.alarm_hold().get())
    }

    /// From the next writer on its closed records can wait.
    pub(super) fn may_wait(&self, store: &Store) {
        self.alarm_hold().get_or_init(|| store.hold(self.camera, self.id));
    }

    /// A writer of it, at most one at a time.
    pub(super) fn writer(&self, store: &Store) -> StreamWriter {
        match self.hold() {
            Some(hold) => store.writer_behind(hold.clone()),
            None => store.writer(self.camera, self.id),
        }
    }

    /// Whether its footage only waits in memory.
    pub fn is_buffered(&self) -> bool {
        self.books().are_aside()
    }

    /// Whether it is another recorder's to tell what happens to it.
    pub(crate) fn is_quiet(&self) -> bool {
        self.guest().is_some() && self.is_buffered()
    }

    /// What of it waits in memory.
    pub(crate) fn held_back(&self) -> HoldView {
        self.hold().map(Hold::view).unwrap_or_default()
    }

    /// From now on its footage waits in memory, at most so much.
    pub(crate) fn hold_back(&self, limits: HoldLimits, now: WallTime) {
        let Some(hold) = self.hold() else { return };
        let waits_for = if self.guest().is_some() { WaitsFor::Failover } else { WaitsFor::Alarm };
        let mut books = self.books();
        hold.keep(limits);
        books.put_aside(now, waits_for);
    }

    /// Its footage goes to the disk, first what of that which waits is needed. Returns how much that is.
    pub(crate) fn let_through(&self, store: &Store, release: Release, now: WallTime) -> Option<Span> {
        let hold = self.hold().filter(|_| self.is_buffered())?;
        let mut queued: Option<Span> = None;
        // Locked until the ledger knows: a record is on the disk sooner than one thinks.
        let mut books = self.books();
        let lost = store.release_held(hold, release, &mut |info| {
            self.queue_one();
            queued = Some(Span { from: queued.map_or(info.label.from, |span| span.from), to: info.label.to });
        });
        books.take_up(queued.map(|span| span.from), now);
        for loss in &lost {
            books.ledger.lost(loss.info.label, loss.reason);
        }
        drop(books);
        lost.iter().for_each(|_| self.unqueued());
        queued
    }

    /// Brings to the disk what of `span`, in camera time, waits; the rest waits on.
    pub(crate) fn save(&self, store: &Store, span: Span) {
        let Some(hold) = self.hold() else { return };
        let lost: Vec<Loss> = store.save_held(hold, span, &mut |_| self.queue_one());
        lost.iter().for_each(|loss| self.lost(loss));
    }

    /// Lets go of what waits and ends before `until`, in camera time.
    pub(crate) fn trim(&self, until: WallTime) {
        if let Some(hold) = self.hold() {
            hold.trim(until);
        }
    }

    /// Lets go of all that waits; there is no session any more.
    pub(crate) fn let_go(&self) {
        if let Some(hold) = self.hold() {
            let mut books = self.books();
            hold.clear();
            books.forget_aside();
        }
    }

    /// The record that was just counted waits in memory.
    pub(super) fn waits(&self, now: MonoTime) {
        self.stands_in_memory(now);
        self.unqueued();
    }

    /// The record that was just counted stands in memory, and goes to a disk when one takes it.
    pub(super) fn stands_in_memory(&self, now: MonoTime) {
        self.held_at_ns().store(now.as_nanos().max(1), Ordering::Relaxed);
    }
}
