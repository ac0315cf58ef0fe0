//! The external storage behind one interface: it is asked again and again what it wants, and takes records, which it says later
//! to be on disk. What it is - a recorder behind the network, or disks of this node - is a matter of the module of that kind.

mod disks;
mod recorder;

use std::sync::Arc;
use std::time::{Duration, Instant};

use keepwatch_model::Span;
use keepwatch_recorder::Node;
use keepwatch_recording::peer::{Fate, Nowhere, Wanted};
use keepwatch_recording::replenish::StreamKey;
use keepwatch_store::Record;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub(crate) use self::disks::Disks;
use crate::kept::Recorder;

/// Between two questions.
const ASK_INTERVAL: Duration = Duration::from_secs(2);
/// Ways that records leave by; each stream has one, so that its records arrive in order.
const WAYS: usize = 2;
/// Most records on their way.
pub(crate) const FLYING_RECORDS_MAX: usize = 1024;
/// Records and bytes of one transfer.
const TRANSFER_RECORDS_MAX: usize = 256;
const TRANSFER_BYTES_MAX: usize = 16 << 20;

/// The external storage.
#[derive(Clone, Debug)]
pub(crate) enum Storage {
    /// A recorder that this node is registered at.
    Recorder(Recorder),
    /// Disks of this node.
    Disks(Disks),
}

/// A record that leaves.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) line: StreamKey,
    pub(crate) label: Span,
    pub(crate) record: Arc<Record>,
}

impl Parcel {
    pub(crate) fn bytes(&self) -> usize {
        self.record.as_bytes().len()
    }
}

/// What became of a transfer.
#[derive(Debug)]
pub(crate) struct Landed {
    /// So many records are not on their way any more.
    pub(crate) records: usize,
    /// So many bytes.
    pub(crate) bytes: usize,
    /// From the first byte that left to the answer.
    pub(crate) took: Duration,
    /// Records that are there, or need not be sent again.
    pub(crate) settled: Vec<(StreamKey, Span, Fate)>,
    /// Why that is not all of them.
    pub(crate) refused: Option<String>,
}

/// Records that are outside or need not be sent again, and why that is not all of a transfer.
type Arrival = (Vec<(StreamKey, Span, Fate)>, Option<String>);

/// One way to the external storage, which keeps what it needs between questions and transfers.
enum Way {
    Recorder(Box<recorder::Connection>),
    Disks(Disks),
}

impl Way {
    fn to(node: &Node, storage: &Storage) -> Self {
        match storage {
            Storage::Recorder(recorder) => {
                let connection = recorder::Connection::new(node.clone(), recorder.clone());
                Self::Recorder(Box::new(connection))
            }
            Storage::Disks(disks) => Self::Disks(disks.clone()),
        }
    }

    /// What is wanted; a sentence says why there is no answer.
    async fn wanted(&mut self) -> Result<Wanted, String> {
        match self {
            Self::Recorder(connection) => connection.wanted().await,
            Self::Disks(disks) => disks.wanted(),
        }
    }

    /// Sends one transfer, and returns when it is known what became of it.
    async fn transfer(&mut self, transfer: Vec<Parcel>) -> Arrival {
        match self {
            Self::Recorder(connection) => connection.transfer(transfer).await,
            Self::Disks(disks) => disks.transfer(transfer).await,
        }
    }

    /// Tells what is not here. What does not arrive is told again with the next comparison.
    async fn tell(&mut self, nowhere: &Nowhere) {
        match self {
            Self::Recorder(connection) => connection.tell(nowhere).await,
            // A record says itself which gap ends where it begins.
            Self::Disks(_) => {}
        }
    }
}

/// The external storage that is asked; it is left alone when this is dropped.
pub(crate) struct Question {
    pub(crate) storage: Storage,
    pub(crate) answers: mpsc::Receiver<Result<Wanted, String>>,
    tell: mpsc::Sender<Nowhere>,
    _task: JoinSet<()>,
}

impl Question {
    pub(crate) fn new(node: &Node, storage: Storage) -> Self {
        let (answer, answers) = mpsc::channel(1);
        let (tell, told) = mpsc::channel(1);
        let mut task = JoinSet::new();
        task.spawn(ask(Way::to(node, &storage), answer, told));
        Self { storage, answers, tell, _task: task }
    }

    /// Tells what is wanted and is not here.
    pub(crate) fn tell(&self, nowhere: Nowhere) {
        // While one is on its way the next waits for the next comparison.
        let _ = self.tell.try_send(nowhere);
    }
}

/// The ways that records leave by; what is on its way when this is dropped may arrive or not.
pub(crate) struct Senders {
    parcels: Vec<mpsc::Sender<Parcel>>,
    pub(crate) landed: mpsc::Receiver<Landed>,
    _tasks: JoinSet<()>,
}

impl Senders {
    pub(crate) fn new(node: &Node, storage: &Storage) -> Self {
        let (tell, landed) = mpsc::channel(WAYS);
        let mut tasks = JoinSet::new();
        let mut open = |_| {
            let (parcels, taken) = mpsc::channel(FLYING_RECORDS_MAX);
            tasks.spawn(send(Way::to(node, storage), taken, tell.clone()));
            parcels
        };
        Self { parcels: (0..WAYS).map(&mut open).collect(), landed, _tasks: tasks }
    }

    /// Has a record leave, behind those of its line. Whether it does.
    pub(crate) fn send(&self, parcel: Parcel) -> bool {
        let (camera, stream) = parcel.line;
        let bytes = camera.as_str().bytes().chain([stream.0]);
        let sum = bytes.fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
        self.parcels.get(sum % WAYS).is_some_and(|way| way.try_send(parcel).is_ok())
    }
}

/// Asks what is wanted, again and again, and tells what is not here.
async fn ask(mut way: Way, answers: mpsc::Sender<Result<Wanted, String>>, mut told: mpsc::Receiver<Nowhere>) {
    loop {
        if answers.send(way.wanted().await).await.is_err() {
            return;
        }
        tokio::select! {
            Some(nowhere) = told.recv() => way.tell(&nowhere).await,
            () = tokio::time::sleep(ASK_INTERVAL) => {}
        }
    }
}

/// Sends what comes out of `parcels`, as much at a time as is there, until nothing comes any more.
async fn send(mut way: Way, mut parcels: mpsc::Receiver<Parcel>, landed: mpsc::Sender<Landed>) {
    let mut next = None;
    loop {
        let first = match next.take() {
            Some(parcel) => parcel,
            None => match parcels.recv().await {
                Some(parcel) => parcel,
                None => return,
            },
        };
        let mut transfer = vec![first];
        let mut bytes = transfer.iter().map(Parcel::bytes).sum::<usize>();
        while transfer.len() < TRANSFER_RECORDS_MAX
            && let Ok(parcel) = parcels.try_recv()
        {
            if bytes.saturating_add(parcel.bytes()) > TRANSFER_BYTES_MAX {
                next = Some(parcel);
                break;
            }
            bytes += parcel.bytes();
            transfer.push(parcel);
        }
        let (records, begun) = (transfer.len(), Instant::now());
        let (settled, refused) = way.transfer(transfer).await;
        if landed.send(Landed { records, bytes, took: begun.elapsed(), settled, refused }).await.is_err() {
            return;
        }
    }
}
