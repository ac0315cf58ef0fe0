//! Looking for recorders in the network: the one scan of this standby that operators see, running or over.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keepwatch_model::WallTime;
use keepwatch_recorder::peers::{FoundNode, Scan, ScanWish};
use keepwatch_tls::NodeKey;
use tokio::sync::watch;

/// How a scan stands.
#[derive(Clone, Debug)]
pub(crate) struct ScanState {
    /// Its number, from 1.
    pub(crate) id: u64,
    /// When it began.
    pub(crate) since: WallTime,
    /// When it ended; `None` while it runs.
    pub(crate) ended: Option<WallTime>,
    /// The recorders found until now.
    pub(crate) found: Vec<FoundNode>,
    /// Single addresses that were asked, of how many.
    pub(crate) asked: (usize, usize),
    /// Why announcements cannot be heard.
    pub(crate) failed: Option<String>,
}

/// The scan that runs, or the last one.
#[derive(Debug, Default)]
pub(crate) struct Scans {
    last: Mutex<Option<Job>>,
}

#[derive(Debug)]
struct Job {
    state: Arc<Mutex<ScanState>>,
    /// Set or dropped, it ends the scan.
    stop: watch::Sender<bool>,
}

impl Scans {
    /// Begins a scan as the node of `key`; `Err` with the number of the one that runs. `wall` tells the time.
    pub(crate) fn begin(
        &self,
        key: Arc<NodeKey>,
        wish: ScanWish,
        wall: impl Fn() -> WallTime + Send + 'static,
    ) -> Result<u64, u64> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let before = last.as_ref().map(|job| lock(&job.state).clone());
        if let Some(running) = before.as_ref().filter(|before| before.ended.is_none()) {
            return Err(running.id);
        }
        let id = before.map_or(0, |before| before.id) + 1;
        let state =
            ScanState { id, since: wall(), ended: None, found: Vec::new(), asked: (0, 0), failed: None };
        let state = Arc::new(Mutex::new(state));
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(run(Scan::begin(key, wish), Arc::clone(&state), stopped, wall));
        *last = Some(Job { state, stop });
        Ok(id)
    }

    /// How a scan stands; only the last one is known.
    pub(crate) fn state(&self, id: u64) -> Option<ScanState> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().map(|job| lock(&job.state).clone()).filter(|state| state.id == id)
    }

    /// Ends a scan; what it found stays. Whether there is such a scan.
    pub(crate) fn stop(&self, id: u64) -> bool {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let job = last.as_ref().filter(|job| lock(&job.state).id == id);
        job.is_some_and(|job| {
            job.stop.send_replace(true);
            true
        })
    }
}

async fn run(
    mut scan: Scan,
    state: Arc<Mutex<ScanState>>,
    mut stopped: watch::Receiver<bool>,
    wall: impl Fn() -> WallTime,
) {
    let mut stopping = false;
    loop {
        tokio::select! {
            found = scan.next() => match found {
                Some(found) => {
                    let progress = scan.progress();
                    let mut state = lock(&state);
                    state.found.push(found);
                    state.asked = (progress.asked, progress.all);
                }
                None => break,
            },
            // Dropped is stopped, too.
            _ = stopped.wait_for(|stopped| *stopped), if !stopping => {
                stopping = true;
                scan.stop();
            }
        }
    }
    let progress = scan.progress();
    let mut state = lock(&state);
    state.asked = (progress.asked, progress.all);
    state.failed = progress.failed;
    state.ended = Some(wall());
}

fn lock(state: &Mutex<ScanState>) -> MutexGuard<'_, ScanState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
