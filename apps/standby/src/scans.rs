//! Looking for recorders in the network: the one scan of this standby that operators see, running or over.

use std::sync::Arc;

use keepwatch_model::WallTime;
use keepwatch_recorder::peers::{FoundNode, Scan, ScanProgress, ScanWish};
use keepwatch_recorder::searches::{Notes, Searches, Stopped};
use keepwatch_tls::NodeKey;
use tokio::sync::watch;

/// What a scan found until now.
#[derive(Clone, Debug)]
pub(crate) struct FoundRecorders {
    /// The recorders.
    pub(crate) nodes: Vec<FoundNode>,
    progress: watch::Receiver<ScanProgress>,
}

impl FoundRecorders {
    /// Single addresses that were asked, of how many, and why announcements cannot be heard.
    pub(crate) fn progress(&self) -> ScanProgress {
        self.progress.borrow().clone()
    }
}

/// Begins a scan as the node of `key`; `Err` with the number of the one that runs. `wall` tells the time.
pub(crate) fn begin(
    scans: &Searches<FoundRecorders>,
    key: Arc<NodeKey>,
    wish: ScanWish,
    wall: impl Fn() -> WallTime + Send + 'static,
) -> Result<u64, u64> {
    scans.begin(wall, || {
        let scan = Scan::begin(key, wish);
        let found = FoundRecorders { nodes: Vec::new(), progress: scan.watch() };
        (found, |notes, stopped| run(scan, notes, stopped))
    })
}

async fn run(mut scan: Scan, notes: Notes<FoundRecorders>, mut stopped: Stopped) {
    let mut stopping = false;
    loop {
        tokio::select! {
            found = scan.next() => match found {
                Some(node) => notes.note(|found| found.nodes.push(node)),
                None => break,
            },
            () = stopped.wait(), if !stopping => {
                stopping = true;
                scan.stop();
            }
        }
    }
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
        let scans = Searches::default();
        let id = begin(&scans, key, wish, || WallTime::from_ticks(0)).unwrap();
        let state = || scans.state(id).unwrap();
        let began = async {
            while state().found.progress().all == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), began).await.unwrap();
        assert_eq!((state().ended, state().found.progress().all), (None, 1));
        let ended = async {
            while state().ended.is_none() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap();
        assert_eq!(
            (state().found.progress().asked, state().found.progress().all, state().found.nodes.len()),
            (1, 1, 0)
        );
        drop(silent);
    }
}
