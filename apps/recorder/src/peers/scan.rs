//! *Scan*: which recorders are there. Those that announce themselves, and those at addresses that are asked one by one.
//!
//! Anybody can announce anything, so nothing of that counts but addresses. Who is behind an address is asked there, over a
//! connection that proves the key of who answers; what is no node, or another product, is not listed.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use keepwatch_announce::{BrowseOptions, browse};
use keepwatch_onvif::discovery::AddressRange;
use keepwatch_recording::peer::{Hello, NodePublic};
use keepwatch_tls::NodeKey;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::client::{RegisterError, ask_hello};

/// Addresses that are asked at a time: most of a range are nobody's, and each of these is waited for.
const ASKED_AT_ONCE: usize = 128;
/// How long an address may take to say who it is: a recorder of the same site takes a few milliseconds.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Most recorders of one scan.
const FOUND_MAX: usize = 256;
/// Announced addresses that wait to be asked; more are announced again.
const ANNOUNCED_MAX: usize = 1024;

/// What to look for.
#[derive(Clone, Debug)]
pub struct ScanWish {
    /// Interfaces to listen for announcements by, all but loopback when empty; `None` asks single addresses only.
    pub announced: Option<Vec<String>>,
    /// The port of multicast DNS; another one only in tests.
    pub announced_port: u16,
    /// Addresses to ask one by one.
    pub ranges: Vec<AddressRange>,
    /// The port at which they are asked.
    pub port: u16,
    /// The scan ends after so long, whatever was found.
    pub time_max: Duration,
}

/// A recorder that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundNode {
    /// Where it answered.
    pub address: SocketAddr,
    /// Who it is.
    pub hello: Hello,
}

/// How far a scan is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanProgress {
    /// Single addresses that were asked.
    pub asked: usize,
    /// How many there are to be asked.
    pub all: usize,
    /// Why announcements cannot be heard; `None` when they can, or are not wanted.
    pub failed: Option<String>,
    /// It is over.
    pub ended: bool,
}

/// A scan that runs; it ends when this is dropped.
#[derive(Debug)]
pub struct Scan {
    found: mpsc::Receiver<FoundNode>,
    progress: watch::Receiver<ScanProgress>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Scan {
    /// Begins to look, as the node of `key`, which is not found itself.
    pub fn begin(key: Arc<NodeKey>, wish: ScanWish) -> Self {
        let (told, found) = mpsc::channel(FOUND_MAX);
        let (going, progress) = watch::channel(ScanProgress::default());
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            run(key, wish, &told, &going, stopped).await;
            going.send_modify(|progress| progress.ended = true);
        });
        Self { found, progress, stop, task }
    }

    /// The next recorder, each once, at the address at which it answered first; `None` when the scan is over.
    pub async fn next(&mut self) -> Option<FoundNode> {
        self.found.recv().await
    }

    /// How far it is.
    pub fn progress(&self) -> ScanProgress {
        self.progress.borrow().clone()
    }

    /// How far it is, from here on: also while nothing is found.
    pub fn watch(&self) -> watch::Receiver<ScanProgress> {
        self.progress.clone()
    }

    /// Ends it; what was found can still be taken.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(
    key: Arc<NodeKey>,
    wish: ScanWish,
    told: &mpsc::Sender<FoundNode>,
    going: &watch::Sender<ScanProgress>,
    mut stopped: watch::Receiver<bool>,
) {
    let deadline = Instant::now() + wish.time_max;
    let single: Vec<SocketAddr> = wish
        .ranges
        .iter()
        .flat_map(|range| range.addresses())
        .map(|ip| SocketAddr::new(ip, wish.port))
        .collect();
    going.send_modify(|progress| progress.all = single.len());
    let mut single: VecDeque<SocketAddr> = single.into();
    let (heard, mut announced) = mpsc::channel(ANNOUNCED_MAX);
    let mut listens = wish.announced.is_some();
    let listening = async {
        let Some(interfaces) = wish.announced else { return std::future::pending().await };
        let options = BrowseOptions { interfaces, port: wish.announced_port };
        // What does not fit is announced again.
        browse(&options, move |address| _ = heard.try_send(address)).await
    };
    tokio::pin!(listening);
    let mut seen = Seen::new(&key);
    let mut waiting = VecDeque::new();
    let mut asking: JoinSet<(SocketAddr, Result<Hello, RegisterError>)> = JoinSet::new();
    loop {
        while asking.len() < ASKED_AT_ONCE {
            let Some(address) = waiting.pop_front().or_else(|| {
                let address = single.pop_front()?;
                going.send_modify(|progress| progress.asked = progress.asked.saturating_add(1));
                Some(address)
            }) else {
                break;
            };
            if seen.addresses.insert(address) {
                let key = Arc::clone(&key);
                asking.spawn(async move { (address, ask_hello(&key, address, PATIENCE).await) });
            }
        }
        if asking.is_empty() && waiting.is_empty() && single.is_empty() && !listens {
            return;
        }
        tokio::select! {
            () = sleep_until(deadline) => return,
            // An error means that nobody wants to know any more.
            () = async { _ = stopped.wait_for(|stop| *stop).await } => return,
            ended = &mut listening, if listens => {
                listens = false;
                going.send_modify(|progress| progress.failed = ended.err().map(|error| error.to_string()));
            }
            Some(address) = announced.recv(), if listens && asking.len() < ASKED_AT_ONCE => waiting.push_back(address),
            Some(asked) = asking.join_next() => {
                if let Ok((address, Ok(hello))) = asked
                    && seen.is_new(&hello)
                {
                    // It has room for all that a scan finds.
                    let _ = told.try_send(FoundNode { address, hello });
                }
            }
        }
    }
}

/// Who was asked and found.
struct Seen {
    addresses: BTreeSet<SocketAddr>,
    nodes: BTreeSet<NodePublic>,
}

impl Seen {
    /// Nobody but the node of `key` itself.
    fn new(key: &NodeKey) -> Self {
        let own = key.public().ok().map(super::public);
        Self { addresses: BTreeSet::new(), nodes: own.into_iter().collect() }
    }

    /// Whether a node was not found before.
    fn is_new(&mut self, hello: &Hello) -> bool {
        self.nodes.len() <= FOUND_MAX && self.nodes.insert(hello.key)
    }
}
