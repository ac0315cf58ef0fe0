//! Footage for other recorders: closed records of a camera, one after the other, behind all who watch and all that is
//! recorded.
//!
//! A recorder that is watched from here gets what was recorded in its place; nobody else gets anything. It can go on behind any
//! record.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, FromRef, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use axum::routing::get;
use keepwatch_model::{CameraId, RoleId, Span, StreamId, TICKS_PER_SECOND, WallTime};
use keepwatch_store::{DiskStatus, RecordRef, RunId};
use keepwatch_web::{Node as Asking, Problem};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::wire::{BUSY, CLOCK_AHEAD, END, head};
use crate::Node;
use crate::api::Pieces;
use crate::peers::Known;

/// Recorders that are sent footage at a time.
const SENT_MAX: usize = 4;
/// How long a recorder waits for its turn, in the order of asking: it asks again at once, and has waited nearly always.
const TURN_MAX: Duration = Duration::from_secs(30);
/// Longest window of one request.
const WINDOW_TICKS_MAX: i64 = 24 * 3_600 * TICKS_PER_SECOND;
/// As much of the window is looked up at a time.
const LOOK_TICKS: i64 = 600 * TICKS_PER_SECOND;
/// Pieces that wait for a slow recorder; a piece is a record.
const PIECES_MAX: usize = 1;
/// How long disks that do not keep up are waited for, and at most.
const BEHIND_PAUSE: Duration = Duration::from_millis(200);
const BEHIND_PAUSES_MAX: u32 = 100;
/// A disk with so many bytes to write for live footage reads none for others.
const QUEUED_BYTES_MAX: u64 = 32 << 20;

#[derive(Clone)]
struct Door {
    node: Node,
    places: Arc<Semaphore>,
}

impl FromRef<Door> for Node {
    fn from_ref(door: &Door) -> Self {
        door.node.clone()
    }
}

/// The routes of footage for other nodes.
pub(super) fn routes(node: Node) -> Router {
    let places = Arc::new(Semaphore::new(SENT_MAX));
    Router::new().route("/peer/records", get(records)).with_state(Door { node, places })
}

#[derive(Deserialize)]
struct RecordsQuery {
    /// The camera's id at the recorder that asks.
    camera: CameraId,
    /// 0 is the main stream.
    stream: u8,
    /// Which labels, by the clock of who asks.
    from: WallTime,
    to: WallTime,
    /// What that clock shows at the moment.
    clock: WallTime,
    /// Label and run of the last record that came, as `ticks.run`.
    after: Option<String>,
}

/// What is sent.
struct Order {
    camera: CameraId,
    stream: StreamId,
    window: Span,
    /// What was recorded in the place of this recorder.
    replaces: RoleId,
    after: Option<(WallTime, RunId)>,
}

async fn records(
    State(Door { node, places }): State<Door>,
    Extension(asking): Extension<Asking>,
    query: Result<Query<RecordsQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let known = node.asking(&asking)?;
    let Query(query) = query.map_err(|error| Problem::bad_request("query_malformed", error.body_text()))?;
    // The window is by the clock of who asks, labels are by this recorder's.
    let ahead = node.clock().wall().ticks_since(query.clock);
    let order = order(&node, known, &query, ahead)?;
    let place = turn(places).await?;
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    // It ends when all was sent or nobody takes it any more.
    drop(tokio::spawn(send(node, order, sender, place)));
    let mut response = Response::new(Body::new(Pieces::new(receiver)));
    let kind = axum::http::HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    // Where no camera's time tells, labels are compared by it.
    response.headers_mut().insert(CLOCK_AHEAD, axum::http::HeaderValue::from(ahead));
    Ok(response)
}

/// Returns when it is the turn of who asks, in the order of asking.
async fn turn(places: Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Problem> {
    let turn = tokio::time::timeout(TURN_MAX, places.acquire_owned()).await;
    turn.ok().and_then(Result::ok).ok_or_else(|| {
        Problem::unavailable(
            BUSY,
            format!("{SENT_MAX} recorders are sent footage already; ask again at once"),
        )
    })
}

fn order(node: &Node, known: Known, query: &RecordsQuery, ahead: i64) -> Result<Order, Problem> {
    let unknown = || Problem::camera_unknown(query.camera.as_str());
    let replaces = match known {
        Known::Primary(role) => role,
        // A standby has what it needs of its primary in the backup. One that is not watched here is told so, rather than that there
        // is no such camera: it asks again, and may be watched by then.
        Known::Standby | Known::Edge => {
            return Err(Problem::forbidden("not_registered", "this node does not watch that one"));
        }
    };
    let camera = node.guest(replaces, query.camera).ok_or_else(unknown)?.local;
    let window = Span::new(query.from.plus(ahead), query.to.plus(ahead));
    let window = window
        .filter(|window| window.ticks() <= WINDOW_TICKS_MAX)
        .ok_or_else(|| Problem::bad_request("window_invalid", "from must be before to, by at most a day"))?;
    let after = match &query.after {
        None => None,
        Some(text) => Some(after(text).ok_or_else(|| {
            Problem::bad_request("after_invalid", "after must be the ticks of a label, a point, and a run")
        })?),
    };
    Ok(Order { camera, stream: StreamId(query.stream), window, replaces, after })
}

fn after(text: &str) -> Option<(WallTime, RunId)> {
    let (label, run) = text.split_once('.')?;
    Some((WallTime::from_ticks(label.parse().ok()?), RunId(run.parse().ok()?)))
}

type Pipe = mpsc::Sender<io::Result<Bytes>>;

async fn send(node: Node, order: Order, pipe: Pipe, _place: OwnedSemaphorePermit) {
    let mut after = order.after;
    let mut from = order.window.from;
    while from < order.window.to {
        let span = Span { from, to: order.window.to.min(from.plus(LOOK_TICKS)) };
        let (store, camera, stream) = (node.store().clone(), order.camera, order.stream);
        let found = tokio::task::spawn_blocking(move || store.records(camera, stream, span)).await;
        let Ok(Ok(found)) = found else {
            let _ = pipe.send(Err(io::Error::other("the index cannot be read"))).await;
            return;
        };
        for record in found {
            let place = (record.info.label.from, record.info.run);
            let wanted =
                after.is_none_or(|after| place > after) && record.info.replaces == Some(order.replaces);
            if !wanted {
                continue;
            }
            after = Some(place);
            if let Some(bytes) = read(&node, record).await {
                let head = Bytes::copy_from_slice(&head(&bytes));
                if pipe.send(Ok(head)).await.is_err() || pipe.send(Ok(bytes)).await.is_err() {
                    return;
                }
            }
        }
        from = span.to;
    }
    // Nobody may be there any more.
    let _ = pipe.send(Ok(Bytes::from_static(&END))).await;
}

/// The bytes of a record, when the disks have time for it; `None` when it was overwritten or is damaged.
async fn read(node: &Node, record: RecordRef) -> Option<Bytes> {
    for _ in 0..BEHIND_PAUSES_MAX {
        if !node.store().disks().iter().any(is_behind) {
            break;
        }
        tokio::time::sleep(BEHIND_PAUSE).await;
    }
    let _place = node.read_place().await?;
    let store = node.store().clone();
    let read = tokio::task::spawn_blocking(move || store.read(&record)).await.ok()?;
    match read {
        Ok(read) => Some(Bytes::copy_from_slice(read.as_bytes())),
        Err(error) => {
            tracing::debug!(camera = %record.camera, %error, "a record is not sent");
            None
        }
    }
}

fn is_behind(disk: &DiskStatus) -> bool {
    disk.slow || disk.queued_bytes > QUEUED_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_place_has_it_before_who_asks_later_and_not_for_ever() {
        let places = Arc::new(Semaphore::new(1));
        let first = turn(Arc::clone(&places)).await.unwrap();
        let second = tokio::spawn(turn(Arc::clone(&places)));
        tokio::task::yield_now().await;
        let third = tokio::spawn(turn(Arc::clone(&places)));
        tokio::task::yield_now().await;
        // Whoever has had it asks again at once, and comes last.
        drop(first);
        let again = tokio::spawn(turn(Arc::clone(&places)));
        let second = second.await.unwrap().unwrap();
        assert!(!third.is_finished() && !again.is_finished());
        drop(second);
        let _third = third.await.unwrap().unwrap();
        assert!(again.await.unwrap().is_err());
    }
}
