//! Footage from another recorder: asked for, received record by record, and written.

use std::sync::Arc;
use std::time::Duration;

use keepwatch_model::{Span, TICKS_PER_SECOND, WallTime};
use keepwatch_recording::replenish::JobEnd;
use keepwatch_store::{Record, RunId};
use keepwatch_tls::{NodePublicKey, peer};
use keepwatch_web::{NodeClient, NodeError, NodeStream};

use super::import::{Import, NotWritten};
use super::limit::Limit;
use super::piece::Piece;
use super::wire::{Found, Incoming};
use crate::Node;
use crate::camera::StreamState;
use crate::peers::Standby;

/// How long the other recorder may take to begin, and from one piece to the next: it lets its own cameras and viewers go
/// first.
const PATIENCE: Duration = Duration::from_secs(60);
/// Footage around the gap that is asked for: in which frames are found that both hold.
const AROUND_TICKS: i64 = 15 * TICKS_PER_SECOND;
/// How often a transfer goes on behind the last record before it counts as broken off.
const RESUMES_MAX: u32 = 3;
/// Longest wait until fetched records reach the disk.
const SETTLE_MAX: Duration = Duration::from_secs(60);

/// A record that came last, behind which the other recorder goes on.
type Behind = Option<(WallTime, RunId)>;

/// Fetches what `standby` has for the gap that `import` fills.
pub(super) async fn receive(
    node: &Node,
    standby: &Standby,
    stream: &Arc<StreamState>,
    (gap, mut import): (Span, Import),
    limit: &Limit,
) -> (JobEnd, Import) {
    let mut behind = None;
    let mut resumes = 0;
    let end = loop {
        let before = behind;
        let end = transfer(node, standby, stream, (gap, &mut import), limit, &mut behind).await;
        // What broke off goes on behind the last record, as long as that brings more.
        resumes += 1;
        if end != JobEnd::Unreachable || behind == before || resumes > RESUMES_MAX {
            break end;
        }
    };
    (end, import)
}

async fn transfer(
    node: &Node,
    standby: &Standby,
    stream: &Arc<StreamState>,
    (gap, import): (Span, &mut Import),
    limit: &Limit,
    behind: &mut Behind,
) -> JobEnd {
    let mut answer = match ask(node, standby, stream, gap, *behind).await {
        Ok(answer) => answer,
        Err(end) => return end,
    };
    let mut incoming = Incoming::default();
    loop {
        match incoming.next() {
            Ok(Found::More) => {}
            Ok(Found::End) => return JobEnd::Over,
            Ok(Found::Record(record)) => {
                let info = record.index().info;
                *behind = Some((info.label.from, info.run));
                match put(stream, import, &record).await {
                    Ok(true) => continue,
                    Ok(false) => return JobEnd::Over,
                    Err(end) => return end,
                }
            }
            Err(error) => {
                tracing::warn!(standby = %standby.name, %error, "footage came that is none");
                return JobEnd::Unreachable;
            }
        }
        match answer.piece(PATIENCE).await {
            Ok(Some(piece)) => {
                limit.pass(piece.len()).await;
                incoming.push(&piece);
            }
            // Without the mark of the end it is not all.
            Ok(None) => return JobEnd::Unreachable,
            Err(error) => {
                tracing::debug!(standby = %standby.name, %error, "footage broke off");
                return JobEnd::Unreachable;
            }
        }
    }
}

async fn ask(
    node: &Node,
    standby: &Standby,
    stream: &StreamState,
    gap: Span,
    behind: Behind,
) -> Result<NodeStream, JobEnd> {
    let unusable = |error: keepwatch_tls::IdentityError| {
        tracing::error!(%error, "the key of this node cannot be used");
        JobEnd::Refused
    };
    let key = node.node_key().await.map_err(unusable)?;
    let tls = peer::client_config(&key, Some(NodePublicKey::new(standby.key.0))).map_err(unusable)?;
    let mut target = format!(
        "/peer/records?camera={}&stream={}&from={}&to={}&clock={}",
        stream.camera,
        stream.id.0,
        gap.from.plus(-AROUND_TICKS),
        gap.to.plus(AROUND_TICKS),
        node.clock().wall(),
    );
    if let Some((label, run)) = behind {
        target.push_str(&format!("&after={}.{}", label.ticks(), run.0));
    }
    let mut client = NodeClient::new(standby.address, tls);
    client.stream(&target, PATIENCE).await.map_err(|error| {
        tracing::debug!(standby = %standby.name, %error, "no footage is given");
        match error {
            NodeError::Refused { code, .. } if code == "camera_unknown" => JobEnd::Over,
            NodeError::Refused { .. }
            | NodeError::Other(_)
            | NodeError::NoNode
            | NodeError::Unexpected(_) => JobEnd::Refused,
            NodeError::Unreachable(_) | NodeError::Late | NodeError::Broken(_) => JobEnd::Unreachable,
        }
    })
}

/// Writes what of `record` fills the gap; whether more is wanted.
async fn put(stream: &StreamState, import: &mut Import, record: &Record) -> Result<bool, JobEnd> {
    let piece = Piece::of(record);
    let judged = import.judge(&piece);
    let mut settled = stream.intake().follow();
    loop {
        match import.write(&piece, &judged) {
            Ok(()) => return Ok(!judged.is_last),
            Err(NotWritten::NoDisk) => return Err(JobEnd::NoRoom),
            Err(NotWritten::Full) => {
                // The buffer holds what is on its way; it is never held by anything else for long.
                if tokio::time::timeout(SETTLE_MAX, settled.changed()).await.is_err() {
                    return Err(JobEnd::NoRoom);
                }
            }
        }
    }
}
