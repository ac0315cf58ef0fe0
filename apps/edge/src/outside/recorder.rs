//! The external storage as a recorder: a connection between nodes, by which it is asked what it wants and sent records.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use keepwatch_model::{Span, StreamId};
use keepwatch_recorder::{Node, head, peers};
use keepwatch_recording::peer::{ArrivedRecord, Fate, Nowhere, Wanted};
use keepwatch_recording::replenish::StreamKey;
use keepwatch_store::Record;
use keepwatch_tls::{NodeKey, NodePublicKey, peer};
use keepwatch_web::NodeClient;

use super::{Arrival, Parcel};
use crate::kept::Recorder;

/// How long a recorder may take to say what it wants.
const ASK_PATIENCE: Duration = Duration::from_secs(10);
/// How long it may take until a transfer is on its disks: it lets its own cameras go first.
const SEND_PATIENCE: Duration = Duration::from_secs(120);

/// A connection to a recorder, made when it is needed and kept.
pub(super) struct Connection {
    node: Node,
    recorder: Recorder,
    kept: Option<NodeClient>,
}

impl Connection {
    pub(super) const fn new(node: Node, recorder: Recorder) -> Self {
        Self { node, recorder, kept: None }
    }

    /// Asks what is wanted.
    pub(super) async fn wanted(&mut self) -> Result<Wanted, String> {
        let now = self.node.clock().wall();
        peers::wanted(self.client().await?, now, ASK_PATIENCE).await.map_err(|error| error.to_string())
    }

    /// Tells what is not here.
    pub(super) async fn tell(&mut self, nowhere: &Nowhere) {
        let now = self.node.clock().wall();
        let told = match self.client().await {
            Ok(client) => {
                peers::nowhere(client, nowhere, now, ASK_PATIENCE).await.map_err(|error| error.to_string())
            }
            Err(why) => Err(why),
        };
        if let Err(why) = told {
            tracing::info!(recorder = %self.recorder.name, %why, "the recorder was not told what is missing here");
        }
    }

    /// Sends one transfer; what of it is there, and why that is not all.
    pub(super) async fn transfer(&mut self, transfer: Vec<Parcel>) -> Arrival {
        let sent = transfer.len();
        let pieces = transfer.into_iter().flat_map(|Parcel { record, .. }| {
            let head = Bytes::copy_from_slice(&head(record.as_bytes()));
            [head, Bytes::from_owner(Sent(record))]
        });
        let (pieces, now) = (pieces.collect(), self.node.clock().wall());
        let answer = match self.client().await {
            Ok(client) => {
                peers::relay(client, pieces, now, SEND_PATIENCE).await.map_err(|error| error.to_string())
            }
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

    async fn client(&mut self) -> Result<&mut NodeClient, String> {
        if self.kept.is_none() {
            let unusable = |error| format!("the key of this node cannot be used: {error}");
            let key: Arc<NodeKey> = self.node.node_key().await.map_err(unusable)?;
            let public = NodePublicKey::new(self.recorder.key.0);
            let tls = peer::client_config(&key, Some(public)).map_err(unusable)?;
            self.kept = Some(NodeClient::new(self.recorder.address, tls));
        }
        self.kept.as_mut().ok_or_else(|| "no connection".to_owned())
    }
}

fn named(record: ArrivedRecord) -> Option<(StreamKey, Span, Fate)> {
    let key = (record.camera, StreamId(record.stream));
    Some((key, Span::new(record.from, record.to)?, record.fate))
}

/// A record whose bytes are sent without a copy.
struct Sent(Arc<Record>);

impl AsRef<[u8]> for Sent {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}
