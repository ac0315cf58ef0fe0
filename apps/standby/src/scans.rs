//! Looking for recorders in the network: the one scan of this standby that operators see, running or over.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keepwatch_model::WallTime;
use keepwatch_recorder::peers::{FoundNode, Scan, ScanProgress, ScanWish};
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
    /// Single addresses that were asked, of how many, and why announcements cannot be heard.
    pub(crate) progress: ScanProgress,
}

/// The scan that runs, or the last one.
#[derive(Debug, Default)]
pub(crate) struct Scans {
    last: Mutex<Option<Job>>,
}

#[derive(Debug)]
struct Job {
    state: Arc<Mutex<ScanState>>,
    progress: watch::Receiver<ScanProgress>,
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
        let scan = Scan::begin(key, wish);
        let progress = scan.watch();
        let known = progress.borrow().clone();
        let state = ScanState { id, since: wall(), ended: None, found: Vec::new(), progress: known };
        let state = Arc::new(Mutex::new(state));
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(run(scan, Arc::clone(&state), stopped, wall));
        *last = Some(Job { state, progress, stop });
        Ok(id)
    }

    /// How a scan stands; only the last one is known.
    pub(crate) fn state(&self, id: u64) -> Option<ScanState> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let job = last.as_ref().filter(|job| lock(&job.state).id == id)?;
        let progress = job.progress.borrow().clone();
        Some(ScanState { progress, ..lock(&job.state).clone() })
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
                Some(found) => lock(&state).found.push(found),
                None => break,
            },
            // Dropped is stopped, too.
            _ = stopped.wait_for(|stopped| *stopped), if !stopping => {
                stopping = true;
                scan.stop();
            }
        }
    }
    lock(&state).ended = Some(wall());
}

fn lock(state: &Mutex<ScanState>) -> MutexGuard<'_, ScanState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Most addresses of a network are nobody's, and asking them takes a while.
    #[tokio::test]
    async fn a_scan_says_how_far_it_is_while_it_has_found_nothing() {
        let data = tempfile::tempdir().unwrap();
        let key = Arc::new(NodeKey::keep(data.path()).unwrap().0);
        // It accepts whoever comes, and says nothing.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let wish = ScanWish {
            announced: None,
            announced_port: 0,
            ranges: vec!["127.0.0.1".parse().unwrap()],
            port: silent.local_addr().unwrap().port(),
            time_max: Duration::from_secs(15),
        };
        let scans = Scans::default();
        let id = scans.begin(key, wish, || WallTime::from_ticks(0)).unwrap();
        let state = || scans.state(id).unwrap();
        let began = async {
            while state().progress.all == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), began).await.unwrap();
        assert_eq!((state().ended, state().progress.all), (None, 1));
        let ended = async {
            while state().ended.is_none() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap();
        assert_eq!((state().progress.asked, state().progress.all, state().found.len()), (1, 1, 0));
        drop(silent);
    }
}
