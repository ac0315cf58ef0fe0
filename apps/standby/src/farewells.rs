//! Recorders that are just being told that they are watched no more. Whoever registers one waits for these: told late, a recorder
//! that was registered again would take the farewell for one of now.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// A farewell takes no longer, see the lines.
const PATIENCE: Duration = Duration::from_secs(10);

/// The farewells that are under way; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Farewells(Arc<watch::Sender<usize>>);

/// One of them; it is under way until this is dropped.
#[derive(Debug)]
pub(crate) struct Farewell(Farewells);

impl Farewells {
    /// One begins.
    pub(crate) fn begin(&self) -> Farewell {
        self.0.send_modify(|count| *count = count.saturating_add(1));
        Farewell(self.clone())
    }

    /// Waits until all have ended that are under way.
    pub(crate) async fn ended(&self) {
        let mut count = self.0.subscribe();
        // The sender is here, and one that hangs holds up nobody for long.
        let _ = tokio::time::timeout(PATIENCE, count.wait_for(|count| *count == 0)).await;
    }
}

impl Drop for Farewell {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}
