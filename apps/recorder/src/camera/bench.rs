//! A camera of nobody, with a store and an event log of its own, for the tests beside.

use std::sync::Arc;
use std::time::Duration;

use keepwatch_model::WallTime;
use keepwatch_recording::ledger::Ledger;
use keepwatch_store::{EventLog, EventQuery, Silent, Store, StoreConfig};
use tempfile::TempDir;

use super::context::Context;
use super::state::CameraState;
use crate::clock::Clock;
use crate::config::CameraConfig;
use crate::events::Events;

/// How long anything may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// A camera and what its streams need.
pub(super) struct Bench {
    pub(super) context: Context,
    pub(super) camera: Arc<CameraState>,
    _directory: TempDir,
}

impl Bench {
    /// A camera that is configured so, and does nothing by itself.
    pub(super) fn new(config: CameraConfig) -> Self {
        let directory = TempDir::new().unwrap();
        std::fs::create_dir(directory.path().join("disk")).unwrap();
        let disk = keepwatch_store::DiskConfig::new(directory.path().join("disk"), Some(128 << 20));
        let (store, _) =
            Store::open(StoreConfig::new(directory.path(), vec![disk]), Arc::new(Silent)).unwrap();
        let events = Arc::new(Events::new(EventLog::open(directory.path()).unwrap()));
        let clock = Clock::new();
        let camera = Arc::new(CameraState::new(config, Ledger::new(), clock.wall()));
        Self { context: Context { clock, store, events }, camera, _directory: directory }
    }

    /// The codes of all events, in order.
    pub(super) fn codes(&self) -> Vec<&'static str> {
        let log = self.context.events.log();
        log.flush();
        let query = EventQuery {
            from: WallTime::MIN,
            to: WallTime::MAX,
            newest_first: false,
            after: None,
            limit: 1_000,
        };
        log.page(&query).unwrap().items.iter().map(|(_, event)| event.code.as_str()).collect()
    }

    /// Waits until the event log holds these codes and no other.
    pub(super) async fn wait_for(&self, codes: &[&str]) {
        let came = async {
            while self.codes() != codes {
                tokio::time::sleep(LOOK).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, came).await;
        assert!(waited.is_ok(), "{:?} instead of {codes:?}", self.codes());
    }

    /// Waits until this is so.
    pub(super) async fn wait_until(&self, is_so: impl Fn() -> bool) {
        let came = async {
            while !is_so() {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, came).await.unwrap();
    }
}
