//! The node's event log as the recorder writes it.

use keepwatch_model::{Event, EventCode, Subject, WallTime};
use keepwatch_store::EventLog;

/// Takes events from everywhere; never blocks.
pub(crate) struct Events {
    log: EventLog,
}

impl Events {
    /// Events into `log`.
    pub(crate) const fn new(log: EventLog) -> Self {
        Self { log }
    }

    /// Adds a line. A full queue drops it; the log counts what it dropped.
    pub(crate) fn add(&self, at: WallTime, code: EventCode, subject: Subject, text: String) {
        if !self.log.append(Event { at, code, subject, text }) {
            tracing::warn!(%code, "event log is behind, an event was dropped");
        }
    }

    /// The log, to read.
    pub(crate) fn log(&self) -> &EventLog {
        &self.log
    }
}
