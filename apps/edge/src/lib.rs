//! The edge role: recorder 1 of a node, which sends what recorder 2 - the recorder beside it - wrote to local storage.
//!
//! [`keepwatch_recording::edge`] decides what leaves when; this is its shell. One task owns the machine (`driver`), reads what it
//! asks for (`reading`) and hands it to the external storage (`outside`). Which recorder that is, is kept in `edge.json`.

mod alarms;
pub mod api;
mod config;
mod driver;
mod kept;
mod nowhere;
mod outside;
mod reading;
mod standing;
mod storages;
mod window;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keepwatch_model::{CameraId, EventCode, Place, Subject};
use keepwatch_recorder::Node;
use keepwatch_recorder::peers::{self, Approach, Introduction, RegisterError};
use keepwatch_recording::edge::Case;
use keepwatch_recording::edge::fill::Flow;
use keepwatch_recording::edge::limit::SpeedLimit;
use keepwatch_recording::peer::NodeDuty;
use keepwatch_tls::{NodePublicKey, peer};
use keepwatch_web::NodeClient;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

pub use crate::config::{EdgeConfig, MEMORY_BYTES_DEFAULT, SPEED_PERCENT_MAX};

use crate::driver::{Change, Driver};
use crate::kept::{EdgeFile, Kept, Recorder};
use crate::outside::{Disks, Storage};
use crate::standing::{Contact, Fill, Standing};

/// Changes that wait for the driver.
const CHANGES_MAX: usize = 16;
/// How long a recorder may take that is told that nothing more is sent.
const FAREWELL_PATIENCE: Duration = Duration::from_secs(5);

/// Why the role cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// What it keeps cannot be read.
    #[error("{0}")]
    Kept(String),
    /// The system has no thread for its disks.
    #[error("its disks cannot be opened: {0}")]
    Thread(std::io::Error),
    /// Reading was interrupted.
    #[error("the start of the edge role was interrupted")]
    Interrupted,
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// The recorder does not let this node in.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// It cannot be kept.
    #[error("what is sent where cannot be kept: {0}")]
    Kept(#[from] std::io::Error),
    /// There is no such camera here.
    #[error("this node records no camera {0}; GET /api/v1/edge lists them")]
    NoCamera(CameraId),
    /// With this limit, footage that was left out never leaves, and nobody confirmed that.
    #[error("{0}; nothing was changed: confirm it (--confirm, \"confirm\": true) if that is meant")]
    NeverDepletes(String),
    /// There are disks for it.
    #[error(
        "footage goes to the disks of [edge]; to send it to a recorder, take them out of the configuration and restart the node"
    )]
    Disks,
    /// There is no recorder.
    #[error("nothing is sent anywhere: no recorder is registered")]
    NoRecorder,
    /// The node ends.
    #[error("the node ends")]
    Ending,
}

/// The running role; cheap to clone.
#[derive(Clone)]
pub struct Relay {
    inner: Arc<Inner>,
}

struct Inner {
    node: Node,
    file: EdgeFile,
    /// The external storage, when that is disks; what is registered is not sent to then.
    disks: Option<Disks>,
    /// What stands in the file; held while it is changed, so that changes come one after another.
    kept: tokio::sync::Mutex<Kept>,
    changes: mpsc::Sender<Change>,
    shown: watch::Receiver<Arc<Standing>>,
    stop: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("node", &self.inner.node.name()).finish_non_exhaustive()
    }
}

impl Relay {
    /// Starts the role beside `node`. Without a recorder that it is registered at it waits for one.
    ///
    /// # Errors
    /// When what it keeps cannot be read; recording does not depend on it.
    pub async fn start(node: Node, config: EdgeConfig) -> Result<Self, StartError> {
        let file = EdgeFile::new(&node.data());
        let reading = file.clone();
        let kept = tokio::task::spawn_blocking(move || reading.read());
        let kept = kept.await.map_err(|_| StartError::Interrupted)?.map_err(StartError::Kept)?;
        let recorder = kept.recorder.clone();
        let disks = match config.disks.is_empty() {
            true => None,
            false => Some(
                Disks::start(&node, config.disks.clone(), recorder.clone()).map_err(StartError::Thread)?,
            ),
        };
        if let (Some(_), Some(recorder)) = (&disks, &recorder) {
            let text = format!(
                "nothing is sent to {}, where this node is registered: footage goes to the disks of [edge]; deregister there (keepwatch edge deregister), or take the disks out",
                recorder.name
            );
            tracing::warn!("{text}");
            node.add_event(EventCode::EdgeUnusable, Subject::Node, text);
        }
        let storage = match &disks {
            Some(disks) => Some(Storage::Disks(disks.clone())),
            None => recorder.map(Storage::Recorder),
        };
        let first = Standing {
            case: Case::Normal,
            takes: false,
            storage: storage.clone(),
            contact: Contact::default(),
            storages: Vec::new(),
            writes_to: Place::Internal,
            fill: Fill::default(),
            memory: (0, config.memory_bytes),
            throttle_bits_per_second: 0,
            alarms: Vec::new(),
            lines: Vec::new(),
        };
        let (show, shown) = watch::channel(Arc::new(first));
        let (changes, changed) = mpsc::channel(CHANGES_MAX);
        let (stop, stopped) = watch::channel(false);
        let driver = Driver::new(node.clone(), config, storage, kept.limits.clone(), show);
        let task = tokio::spawn(driver.run(changed, stopped));
        let told = shown.clone();
        node.show_in_status("edge", move || api::text(&told.borrow()));
        let inner = Inner {
            node,
            file,
            disks,
            kept: tokio::sync::Mutex::new(kept),
            changes,
            shown,
            stop,
            task: Mutex::new(Some(task)),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Takes up a changed configuration.
    ///
    /// # Errors
    /// When the node ends.
    pub async fn apply(&self, config: EdgeConfig) -> Result<(), EdgeError> {
        self.inner.changes.send(Change::Config(config)).await.map_err(|_| EdgeError::Ending)
    }

    /// Ends it. What is on its way is sent again after the next start, unless it is found there.
    pub async fn stop(self) {
        self.inner.stop.send_replace(true);
        let task = self.inner.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the relay ended badly");
        }
        if let Some(disks) = &self.inner.disks {
            disks.stop().await;
        }
    }

    pub(crate) fn standing(&self) -> Arc<Standing> {
        Arc::clone(&self.inner.shown.borrow())
    }

    /// Registers this node at the recorder at `address`, and sends there from now on. Returns its name.
    pub(crate) async fn register(
        &self,
        address: SocketAddr,
        approach: &Approach,
    ) -> Result<String, EdgeError> {
        let mut kept = self.inner.kept.lock().await;
        if self.inner.disks.is_some() {
            return Err(EdgeError::Disks);
        }
        let node = &self.inner.node;
        let key = node.node_key().await.map_err(RegisterError::from)?;
        let (role, _) = node.peers().role();
        let own = Introduction { name: node.name(), role, port: 0, duty: NodeDuty::Edge };
        let registered = peers::register(&key, &own, address, approach).await?;
        let recorder = Recorder {
            key: registered.key,
            name: registered.hello.name,
            address,
            since: node.clock().wall(),
        };
        let name = recorder.name.clone();
        let changed = Kept { recorder: Some(recorder.clone()), ..kept.clone() };
        self.keep(&mut kept, changed).await?;
        self.change(Change::Storage(Some(Storage::Recorder(recorder)))).await?;
        Ok(name)
    }

    /// Sends nowhere from now on; the recorder is told, if it can be reached. Returns its name.
    pub(crate) async fn deregister(&self) -> Result<String, EdgeError> {
        let mut kept = self.inner.kept.lock().await;
        let before = kept.recorder.clone().ok_or(EdgeError::NoRecorder)?;
        let changed = Kept { recorder: None, ..kept.clone() };
        self.keep(&mut kept, changed).await?;
        match &self.inner.disks {
            Some(disks) => disks.set_unused(None),
            None => self.change(Change::Storage(None)).await?,
        }
        let key = self.inner.node.node_key().await.map_err(RegisterError::from)?;
        if let Ok(tls) = peer::client_config(&key, Some(NodePublicKey::new(before.key.0))) {
            let mut client = NodeClient::new(before.address, tls);
            if let Err(error) = peers::deregister(&mut client, FAREWELL_PATIENCE).await {
                tracing::info!(%error, recorder = %before.name, "the recorder was not told that nothing more is sent");
            }
        }
        Ok(before.name)
    }

    /// Sets the limit of a camera from now on, also after a restart; `None` is what the configuration says. Unless it is
    /// `confirmed`, one is refused with which footage that was left out never leaves.
    pub(crate) async fn set_limit(
        &self,
        camera: CameraId,
        limit: Option<SpeedLimit>,
        confirmed: bool,
    ) -> Result<(), EdgeError> {
        let mut kept = self.inner.kept.lock().await;
        let standing = self.standing();
        let lines: Vec<_> = standing.lines.iter().filter(|line| line.key.0 == camera).collect();
        // One that was removed may still have a limit.
        if lines.is_empty() && (limit.is_some() || !kept.limits.contains_key(&camera)) {
            return Err(EdgeError::NoCamera(camera));
        }
        if let (Some(limit), false) = (limit, confirmed) {
            let recorded = lines.iter().map(|line| line.health.recorded_bits_per_second).max();
            never_depletes(limit, recorded.unwrap_or(0))?;
        }
        let mut limits = kept.limits.clone();
        match limit {
            Some(limit) => drop(limits.insert(camera, limit)),
            None => drop(limits.remove(&camera)),
        }
        let changed = Kept { limits: limits.clone(), ..kept.clone() };
        self.keep(&mut kept, changed).await?;
        self.change(Change::Limits(limits)).await
    }

    /// Writes what is kept.
    async fn keep(&self, kept: &mut Kept, changed: Kept) -> Result<(), EdgeError> {
        let (file, written) = (self.inner.file.clone(), changed.clone());
        let written = tokio::task::spawn_blocking(move || file.write(&written)).await;
        written.map_err(|error| std::io::Error::other(error.to_string()))??;
        *kept = changed;
        Ok(())
    }

    async fn change(&self, change: Change) -> Result<(), EdgeError> {
        self.inner.changes.send(change).await.map_err(|_| EdgeError::Ending)
    }
}

/// Refuses a limit with which no more leaves than is recorded, and says by how much.
fn never_depletes(limit: SpeedLimit, recorded_bits_per_second: u64) -> Result<(), EdgeError> {
    // Before anything was recorded, only the speed can be judged.
    let (recorded, rate) = match recorded_bits_per_second {
        0 => (100, 0),
        recorded => (recorded, limit.bits_per_second),
    };
    let flow = Flow::limited(recorded, limit.percent, rate, 0);
    if flow.depletes_in(1).is_some() {
        return Ok(());
    }
    let kilobits = |bits: u64| bits / 1_000;
    let why = match limit.percent {
        0 => "at 0 % nothing leaves: local storage fills, and overwrites footage that is not outside"
            .to_owned(),
        1..=100 => format!(
            "at {} % footage that was left out is never made up for: the newest takes all that leaves",
            limit.percent
        ),
        _ => format!(
            "{} kbit/s are recorded and {} kbit/s leave at most: local storage fills, and overwrites footage that is not outside",
            kilobits(flow.in_bits_per_second),
            kilobits(flow.out_bits_per_second)
        ),
    };
    Err(EdgeError::NeverDepletes(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_never_depletes_says_so_with_its_numbers() {
        let told = |percent, bits_per_second| {
            never_depletes(SpeedLimit { percent, bits_per_second }, 4_000_000)
                .map_err(|error| error.to_string())
        };
        assert_eq!(told(200, 0), Ok(()));
        assert!(
            never_depletes(SpeedLimit { percent: 101, bits_per_second: 1 }, 0).is_ok(),
            "nothing is known yet"
        );
        assert_eq!(told(101, 5_000_000), Ok(()));
        assert!(told(0, 0).unwrap_err().starts_with("at 0 % nothing leaves"));
        assert!(told(100, 0).unwrap_err().starts_with("at 100 %"));
        assert!(
            told(200, 3_000_000).unwrap_err().starts_with("4000 kbit/s are recorded and 3000 kbit/s leave")
        );
    }
}
