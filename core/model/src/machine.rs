//! The one shape of every decision: events in, actions out.

use crate::MonoTime;

/// A state machine that never blocks, never reads a clock and never draws chance.
///
/// Actions are returned by the call that causes them, so a caller cannot forget to drain them. Media never
/// passes through: a machine decides that a session starts or ends, the bytes of the session flow past it.
pub trait Machine {
    /// What can happen to it.
    type Event;
    /// What it asks its shell to do.
    type Action;

    /// Applies one event that happened at `now`.
    fn handle(&mut self, now: MonoTime, event: Self::Event, out: &mut Vec<Self::Action>);

    /// When [`timeout`](Self::timeout) must next be called, and why; `None` when nothing is awaited.
    fn deadline(&self) -> Option<(MonoTime, &'static str)>;

    /// Applies every timer that is due at `now`.
    fn timeout(&mut self, now: MonoTime, out: &mut Vec<Self::Action>);
}
