//! The external storage as a recorder: asked what it wants, and sent records over connections of their own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use keepwatch_model::{Span, StreamId};
use keepwatch_recorder::Node;
use keepwatch_recorder::peers;
use keepwatch_recording::peer::{ArrivedRecord, Fate, Wanted};
use keepwatch_recording::replenish::StreamKey;
use keepwatch_tls::{NodeKey, NodePublicKey, peer};
use keepwatch_web::NodeClient;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::kept::Recorder;

/// How long a recorder may take to say what it wants.
const ASK_PATIENCE: Duration = Duration::from_secs(10);
/// How long it may take until a transfer is on its disks: it lets its own cameras go first.
const SEND_PATIENCE: Duration = Duration::from_secs(120);
/// Between two questions.
const ASK_INTERVAL: Duration = Duration::from_secs(2);
/// Connections that records leave by; each stream has one, so that its records arrive in order.
const CONNECTIONS: usize = 2;
/// Most records on their way.
pub(crate) const FLYING_RECORDS_MAX: usize = 1024;
/// Records and bytes of one transfer.
const TRANSFER_RECORDS_MAX: usize = 256;
const TRANSFER_BYTES_MAX: usize = 16 << 20;

/// A record that leaves.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) line: StreamKey,
    pub(crate) label: Span,
    /// What stands in front of it, and all of it.
    pub(crate) parts: [Bytes; 2],
}

impl Parcel {
    pub(crate) fn bytes(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
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

/// Asks what is wanted, again and again. A sentence says why there is no answer.
async fn ask(node: Node, recorder: Recorder, answers: mpsc::Sender<Result<Wanted, String>>) {
    let mut kept = None;
    loop {
        let answer = wanted(&node, &recorder, &mut kept).await;
        if answers.send(answer).await.is_err() {
            return;
        }
        tokio::time::sleep(ASK_INTERVAL).await;
    }
}

/// The recorder that is asked; it is left alone when this is dropped.
pub(crate) struct Question {
    pub(crate) recorder: Recorder,
    pub(crate) answers: mpsc::Receiver<Result<Wanted, String>>,
    _task: JoinSet<()>,
}

impl Question {
    pub(crate) fn new(node: &Node, recorder: Recorder) -> Self {
        let (tell, answers) = mpsc::channel(1);
        let mut task = JoinSet::new();
        task.spawn(ask(node.clone(), recorder.clone(), tell));
        Self { recorder, answers, _task: task }
    }
}

/// The connections that records leave by; what is on its way when this is dropped may arrive or not.
pub(crate) struct Senders {
    parcels: Vec<mpsc::Sender<Parcel>>,
    pub(crate) landed: mpsc::Receiver<Landed>,
    _tasks: JoinSet<()>,
}

impl Senders {
    pub(crate) fn new(node: &Node, recorder: &Recorder) -> Self {
        let (tell, landed) = mpsc::channel(CONNECTIONS);
        let mut tasks = JoinSet::new();
        let mut connect = |_| {
            let (parcels, taken) = mpsc::channel(FLYING_RECORDS_MAX);
            tasks.spawn(send(node.clone(), recorder.clone(), taken, tell.clone()));
            parcels
        };
        Self { parcels: (0..CONNECTIONS).map(&mut connect).collect(), landed, _tasks: tasks }
    }

    /// Has a record leave, behind those of its line. Whether it does.
    pub(crate) fn send(&self, parcel: Parcel) -> bool {
        let (camera, stream) = parcel.line;
        let bytes = camera.as_str().bytes().chain([stream.0]);
        let sum = bytes.fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
        let connection = self.parcels.get(sum % CONNECTIONS);
        connection.is_some_and(|connection| connection.try_send(parcel).is_ok())
    }
}

async fn wanted(node: &Node, recorder: &Recorder, kept: &mut Option<NodeClient>) -> Result<Wanted, String> {
    let client = client(node, recorder, kept).await?;
    peers::wanted(client, node.clock().wall(), ASK_PATIENCE).await.map_err(|error| error.to_string())
}

/// The connection that is kept, made when it is needed.
async fn client<'k>(
    node: &Node,
    recorder: &Recorder,
    kept: &'k mut Option<NodeClient>,
) -> Result<&'k mut NodeClient, String> {
    if kept.is_none() {
        let unusable = |error| format!("the key of this node cannot be used: {error}");
        let key: Arc<NodeKey> = node.node_key().await.map_err(unusable)?;
        let tls = peer::client_config(&key, Some(NodePublicKey::new(recorder.key.0))).map_err(unusable)?;
        *kept = Some(NodeClient::new(recorder.address, tls));
    }
    kept.as_mut().ok_or_else(|| "no connection".to_owned())
}

/// Sends what comes out of `parcels`, as much at a time as is there, until nothing comes any more.
async fn send(
    node: Node,
    recorder: Recorder,
    mut parcels: mpsc::Receiver<Parcel>,
    landed: mpsc::Sender<Landed>,
) {
    let mut kept = None;
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
        let (settled, refused) = transfer_all(&node, &recorder, &mut kept, transfer).await;
        if landed.send(Landed { records, bytes, took: begun.elapsed(), settled, refused }).await.is_err() {
            return;
        }
    }
}

/// Sends one transfer; what of it is there, and why that is not all.
async fn transfer_all(
    node: &Node,
    recorder: &Recorder,
    kept: &mut Option<NodeClient>,
    transfer: Vec<Parcel>,
) -> (Vec<(StreamKey, Span, Fate)>, Option<String>) {
    let sent = transfer.len();
    let pieces = transfer.into_iter().flat_map(|parcel| parcel.parts).collect();
    let answer = match client(node, recorder, kept).await {
        Ok(client) => peers::relay(client, pieces, node.clock().wall(), SEND_PATIENCE)
            .await
            .map_err(|error| error.to_string()),
        Err(why) => Err(why),
    };
    match answer {
        Err(why) => (Vec::new(), Some(why)),
        Ok(arrived) => {
            let whole = arrived.settled.len() == sent;
            let settled = arrived.settled.into_iter().filter_map(named).collect();
            (settled, (!whole).then(|| "its disks did not take all that was sent".to_owned()))
        }
    }
}

fn named(record: ArrivedRecord) -> Option<(StreamKey, Span, Fate)> {
    let key = (record.camera, StreamId(record.stream));
    Some((key, Span::new(record.from, record.to)?, record.fate))
}
