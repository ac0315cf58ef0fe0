//! The edge role: recorder 1 of a node, which sends what recorder 2 - the recorder beside it - wrote to local storage.
//!
//! [`keepwatch_recording::edge`] decides what leaves when; this is its shell. One task owns the machine (`driver`), reads what it
//! asks for (`reading`) and hands it to the external storage (`outside`). Which recorder that is, is kept in `edge.json`.

pub mod api;
mod config;
mod driver;
mod kept;
mod outside;
mod reading;
mod standing;
mod window;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keepwatch_recorder::Node;
use keepwatch_recorder::peers::{self, Approach, Introduction, RegisterError};
use keepwatch_recording::edge::Case;
use keepwatch_recording::peer::NodeDuty;
use keepwatch_tls::{NodePublicKey, peer};
use keepwatch_web::NodeClient;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

pub use crate::config::EdgeConfig;

use crate::driver::{Change, Driver};
use crate::kept::{EdgeFile, Recorder};
use crate::outside::Storage;
use crate::standing::{Contact, Standing};

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
    /// Held while another recorder is taken, so that changes come one after another.
    changing: tokio::sync::Mutex<()>,
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
        let recorder = kept.await.map_err(|_| StartError::Interrupted)?.map_err(StartError::Kept)?;
        let storage = recorder.map(Storage::Recorder);
        let first = Standing {
            case: Case::Normal,
            takes: false,
            storage: storage.clone(),
            contact: Contact::default(),
            lines: Vec::new(),
        };
        let (show, shown) = watch::channel(Arc::new(first));
        let (changes, changed) = mpsc::channel(CHANGES_MAX);
        let (stop, stopped) = watch::channel(false);
        let driver = Driver::new(node.clone(), config, storage, show);
        let task = tokio::spawn(driver.run(changed, stopped));
        let told = shown.clone();
        node.show_in_status("edge", move || api::text(&told.borrow()));
        let inner = Inner {
            node,
            file,
            changing: tokio::sync::Mutex::default(),
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
        let _changing = self.inner.changing.lock().await;
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
        self.keep(Some(recorder)).await?;
        Ok(name)
    }

    /// Sends nowhere from now on; the recorder is told, if it can be reached. Returns its name.
    pub(crate) async fn deregister(&self) -> Result<String, EdgeError> {
        let _changing = self.inner.changing.lock().await;
        let before = self.standing().recorder().cloned().ok_or(EdgeError::NoRecorder)?;
        self.keep(None).await?;
        let key = self.inner.node.node_key().await.map_err(RegisterError::from)?;
        if let Ok(tls) = peer::client_config(&key, Some(NodePublicKey::new(before.key.0))) {
            let mut client = NodeClient::new(before.address, tls);
            if let Err(error) = peers::deregister(&mut client, FAREWELL_PATIENCE).await {
                tracing::info!(%error, recorder = %before.name, "the recorder was not told that nothing more is sent");
            }
        }
        Ok(before.name)
    }

    /// Keeps where it is sent to, and sends there.
    async fn keep(&self, recorder: Option<Recorder>) -> Result<(), EdgeError> {
        let (file, kept) = (self.inner.file.clone(), recorder.clone());
        let written = tokio::task::spawn_blocking(move || file.write(kept.as_ref())).await;
        written.map_err(|error| std::io::Error::other(error.to_string()))??;
        let storage = recorder.map(Storage::Recorder);
        self.inner.changes.send(Change::Storage(storage)).await.map_err(|_| EdgeError::Ending)
    }
}
