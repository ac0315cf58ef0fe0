//! What becomes of fetched records on their way to the disk, told to whoever fetches them.

use keepwatch_model::GapReason;
use tokio::sync::watch;

/// Follows the fetched records of one stream.
#[derive(Debug, Default)]
pub(crate) struct Intake(watch::Sender<Settled>);

/// What became of them since the recorder started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    /// Records that are on disk.
    pub(crate) durable: u64,
    /// Records that no disk took.
    pub(crate) lost: u64,
    /// Why the last one was not taken.
    pub(crate) reason: Option<GapReason>,
}

impl Intake {
    /// A record is on disk.
    pub(crate) fn durable(&self) {
        self.0.send_modify(|settled| settled.durable = settled.durable.saturating_add(1));
    }

    /// No disk took a record.
    pub(crate) fn lost(&self, reason: GapReason) {
        self.0.send_modify(|settled| {
            settled.lost = settled.lost.saturating_add(1);
            settled.reason = Some(reason);
        });
    }
}
