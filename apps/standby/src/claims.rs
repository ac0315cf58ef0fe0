//! Claims: which of several standbys covers a primary. Asked for while it is recorded already, kept alive while it is covered.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keepwatch_cluster::{AcquireError, Coord, Lease};
use keepwatch_model::RoleId;
use keepwatch_recording::failover::Event;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::driver::Input;

/// How long a claim outlives its standby: the next one waits so long before it takes over.
const TTL: Duration = Duration::from_secs(10);
/// How often it is renewed: twice may fail.
const RENEW_INTERVAL: Duration = Duration::from_secs(3);
/// The coordination gives no answer when it takes longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The claims of this standby; cheap to clone.
#[derive(Clone)]
pub(crate) struct Claims {
    coord: Arc<dyn Coord>,
    holder: RoleId,
    inputs: mpsc::Sender<Input>,
    running: Arc<Mutex<BTreeMap<RoleId, Running>>>,
}

#[derive(Debug)]
struct Running {
    task: AbortHandle,
    lease: Arc<Mutex<Option<Lease>>>,
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims").field("coord", &self.coord).finish_non_exhaustive()
    }
}

impl Claims {
    /// Claims in the name of `holder`; answers are told to `inputs`.
    pub(crate) fn new(coord: Arc<dyn Coord>, holder: RoleId, inputs: mpsc::Sender<Input>) -> Self {
        Self { coord, holder, inputs, running: Arc::default() }
    }

    /// Asks for the cover of `role`, and keeps it once it is had.
    pub(crate) fn claim(&self, role: RoleId) {
        let lease = Arc::default();
        let task = tokio::spawn(self.clone().hold(role, Arc::clone(&lease))).abort_handle();
        if let Some(before) = self.running().insert(role, Running { task, lease }) {
            before.task.abort();
        }
    }

    /// Gives the cover of `role` back.
    pub(crate) fn release(&self, role: RoleId) {
        let Some(running) = self.running().remove(&role) else { return };
        running.task.abort();
        let lease = running.lease.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(lease) = lease {
            let coord = Arc::clone(&self.coord);
            // What is not given back runs out by itself.
            drop(tokio::spawn(async move {
                if let Ok(Err(error)) = tokio::time::timeout(PATIENCE, coord.release(lease)).await {
                    tracing::debug!(%error, "a claim was not given back");
                }
            }));
        }
    }

    async fn hold(self, role: RoleId, held: Arc<Mutex<Option<Lease>>>) {
        let asked = tokio::time::timeout(PATIENCE, self.coord.acquire(role, self.holder, TTL)).await;
        let (lease, event) = match asked {
            Ok(Ok(lease)) => (Some(lease), Event::Claimed { role }),
            Ok(Err(AcquireError::Held { .. })) => (None, Event::HeldByOther { role }),
            Ok(Err(AcquireError::Unavailable(_))) | Err(_) => (None, Event::Unclaimable { role }),
        };
        *held.lock().unwrap_or_else(PoisonError::into_inner) = lease;
        if self.inputs.send(Input::Happened(event)).await.is_err() {
            return;
        }
        let Some(lease) = lease else { return };
        loop {
            tokio::time::sleep(RENEW_INTERVAL).await;
            match tokio::time::timeout(PATIENCE, self.coord.renew(lease)).await {
                Ok(Ok(())) => {}
                // Lost, or nobody knows: the machine asks again.
                Ok(Err(_)) | Err(_) => break,
            }
        }
        *held.lock().unwrap_or_else(PoisonError::into_inner) = None;
        // Whoever ends needs no news.
        let _ = self.inputs.send(Input::Happened(Event::Unclaimable { role })).await;
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<RoleId, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
