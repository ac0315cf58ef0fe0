//! Footage that edge nodes send: what is wanted of them, and the records that come.
//!
//! A transfer is answered when all of it that can be is on a disk here: what the answer does not name is sent again. Only
//! cameras are taken that are configured as the node's, and only what is missing of them.

mod nowhere;
mod taker;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use http_body_util::BodyExt as _;
use keepwatch_model::{CameraId, GapReason, Span, StreamId, TICKS_PER_SECOND, WallTime, ticks_from_duration};
use keepwatch_recording::peer::{
    Arrived, ArrivedRecord, Fate, MissingSpan, WANTED_SPANS_MAX, Wanted, WantedLine,
};
use keepwatch_recording::replenish::StreamKey;
use keepwatch_store::Record;
use keepwatch_web::{Node as Asking, Problem};
use serde::Deserialize;
use tokio::sync::Semaphore;

use self::taker::{Sender, Taker};
use super::missing::{GAP_TICKS_MIN, joined};
use super::wire::{BUSY, Found, Incoming};
use crate::Node;
use crate::camera::StreamState;
use crate::config::CameraSource;
use crate::peers::EdgeNode;

/// Transfers at a time, of all edge nodes.
const TRANSFERS_MAX: usize = 16;
/// Longest wait for a turn.
const TURN_MAX: Duration = Duration::from_secs(30);
/// Longest time from one piece of a transfer to the next.
const PIECE_WAIT_MAX: Duration = Duration::from_secs(60);
/// Most bytes and records of one transfer.
const TRANSFER_BYTES_MAX: usize = 64 << 20;
const TRANSFER_RECORDS_MAX: usize = 1024;
/// Longest record: those of the slowest camera have two pictures ten seconds apart.
const RECORD_TICKS_MAX: i64 = 60 * TICKS_PER_SECOND;
/// How far ahead of this recorder's clock footage may be labelled: what the clocks of two nodes differ while they are compared.
const AHEAD_TICKS_MAX: i64 = 5 * TICKS_PER_SECOND;

/// One record of a stream is taken at a time, whoever sends it.
type Turns = Arc<tokio::sync::Mutex<Taker>>;

/// Who takes what is sent, a taker for each stream.
#[derive(Debug, Default)]
struct Takers(Mutex<BTreeMap<StreamKey, Turns>>);

impl Takers {
    /// The one of `stream`: that of a stream which was removed and added again is another one.
    fn of(&self, stream: &Arc<StreamState>) -> Turns {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || Arc::new(tokio::sync::Mutex::new(Taker::new(Arc::clone(stream))));
        let known = all.entry((stream.camera, stream.id)).or_insert_with(made);
        if known.try_lock().is_ok_and(|taker| !taker.is_of(stream)) {
            *known = made();
        }
        Arc::clone(known)
    }
}

#[derive(Clone)]
struct Door {
    node: Node,
    takers: Arc<Takers>,
    places: Arc<Semaphore>,
}

/// The routes of edge nodes.
pub(super) fn routes(node: Node) -> Router {
    let door = Door { node, takers: Arc::default(), places: Arc::new(Semaphore::new(TRANSFERS_MAX)) };
    Router::new()
        .route("/peer/relay", get(wanted).put(take))
        .route("/peer/relay/nowhere", post(nowhere::nowhere))
        .with_state(door)
}

#[derive(Deserialize)]
struct Clock {
    /// What the clock of who asks shows at the moment.
    clock: WallTime,
}

type Asked = Result<Query<Clock>, QueryRejection>;

/// How many ticks this recorder's clock shows more.
fn ahead(node: &Node, asked: Asked) -> Result<i64, Problem> {
    let Query(Clock { clock }) =
        asked.map_err(|error| Problem::bad_request("query_malformed", error.body_text()))?;
    Ok(node.clock().wall().ticks_since(clock))
}

/// What is wanted of the node that asks.
async fn wanted(
    State(door): State<Door>,
    Extension(asking): Extension<Asking>,
    asked: Asked,
) -> Result<Json<Wanted>, Problem> {
    let node = &door.node;
    let edge = node.edge(&asking)?;
    let ahead_ticks = ahead(node, asked)?;
    let now = node.clock().wall();
    let lines = node.sent_by(&edge).map(|(stream, camera, retention)| {
        let since = retention.map_or(WallTime::MIN, |age| now.plus(-ticks_from_duration(age)));
        line(&stream, camera, (since, now), ahead_ticks)
    });
    Ok(Json(Wanted { started: node.started(), ahead_ticks, lines: lines.collect() }))
}

/// What is missing of `stream` in `since` to `now`, by a clock that this one is ahead of.
fn line(
    stream: &StreamState,
    camera: CameraId,
    (since, now): (WallTime, WallTime),
    ahead_ticks: i64,
) -> WantedLine {
    let theirs = |label: WallTime| label.plus(ahead_ticks.saturating_neg());
    let parts = Span::new(since, now).map(|window| stream.ledger().gaps(window)).unwrap_or_default();
    let mut gaps = joined(&parts).spans().to_vec();
    let goes_on = gaps.pop_if(|last| last.to == now).map_or(now, |last| last.from);
    gaps.retain(|gap| gap.ticks() >= GAP_TICKS_MIN);
    if gaps.len() > WANTED_SPANS_MAX {
        // What the node has said to have nothing of does not stand in the way of later gaps.
        let open = joined(parts.iter().filter(|part| may_be_there(part.reason)));
        gaps.sort_by_key(|gap| !open.touches(*gap));
        gaps.truncate(WANTED_SPANS_MAX);
        gaps.sort_unstable();
    }
    let missing = gaps.into_iter().map(|gap| MissingSpan { from: theirs(gap.from), to: theirs(gap.to) });
    WantedLine { camera, stream: stream.id.0, missing: missing.collect(), missing_from: theirs(goes_on) }
}

/// Whether footage may be at its edge node that is missing here for this reason: not, when the reason is the node's own.
const fn may_be_there(reason: GapReason) -> bool {
    matches!(
        reason,
        GapReason::NotSent
            | GapReason::RecorderDown
            | GapReason::DiskFull
            | GapReason::DiskGone
            | GapReason::DiskSlow
            | GapReason::Damaged
    )
}

/// Takes records.
async fn take(
    State(door): State<Door>,
    Extension(asking): Extension<Asking>,
    asked: Asked,
    body: Body,
) -> Result<Json<Arrived>, Problem> {
    let edge = door.node.edge(&asking)?;
    let ahead_ticks = ahead(&door.node, asked)?;
    let turn = tokio::time::timeout(TURN_MAX, Arc::clone(&door.places).acquire_owned()).await;
    let _place = turn.ok().and_then(Result::ok).ok_or_else(|| {
        Problem::unavailable(BUSY, format!("{TRANSFERS_MAX} transfers run already; send again at once"))
    })?;
    // Who hangs up in the middle must not leave half of a record on its way.
    let taking = tokio::spawn(receive(door, Sender { edge, ahead_ticks }, body));
    let arrived = taking.await.map_err(|error| Problem::internal(error.to_string()))??;
    Ok(Json(arrived))
}

async fn receive(door: Door, sender: Sender, mut body: Body) -> Result<Arrived, Problem> {
    let malformed = |why: String| Problem::bad_request("records_malformed", why);
    let mut transfer = Transfer { door, sender, arrived: Arrived::default(), touched: Vec::new() };
    let mut incoming = Incoming::default();
    let mut bytes = 0_usize;
    let end = loop {
        match incoming.next() {
            Ok(Found::Record(record)) => match transfer.record(&record).await {
                Ok(()) => continue,
                Err(problem) => break Err(problem),
            },
            Ok(Found::End) => break Ok(()),
            Ok(Found::More) => {}
            Err(error) => break Err(malformed(error.to_string())),
        }
        let frame = match tokio::time::timeout(PIECE_WAIT_MAX, body.frame()).await {
            Err(_) => break Err(malformed("nothing came for a minute".to_owned())),
            Ok(None) => break Ok(()),
            Ok(Some(Err(error))) => break Err(malformed(error.to_string())),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(piece) = frame.into_data() else { continue };
        bytes = bytes.saturating_add(piece.len());
        if bytes > TRANSFER_BYTES_MAX {
            break Err(malformed(format!("a transfer has at most {} MiB", TRANSFER_BYTES_MAX >> 20)));
        }
        incoming.push(&piece);
    };
    // What came before something was wrong is looked after all the same.
    let arrived = transfer.settle().await;
    end.map(|()| arrived)
}

/// A transfer that comes in.
struct Transfer {
    door: Door,
    sender: Sender,
    arrived: Arrived,
    /// Streams of which something was taken, each with the records that the disks had lost before.
    touched: Vec<(Arc<StreamState>, u64)>,
}

impl Transfer {
    async fn record(&mut self, record: &Record) -> Result<(), Problem> {
        let index = record.index();
        let label = index.info.label;
        if self.arrived.settled.len() >= TRANSFER_RECORDS_MAX {
            let detail = format!("a transfer has at most {TRANSFER_RECORDS_MAX} records");
            return Err(Problem::bad_request("records_malformed", detail));
        }
        let now = self.door.node.clock().wall();
        let latest = now.plus(AHEAD_TICKS_MAX).plus(self.sender.ahead_ticks.saturating_neg());
        if !(1..=RECORD_TICKS_MAX).contains(&label.ticks()) || label.from > latest {
            let detail = "a record is longer than a minute, or of a time that is still to come";
            return Err(Problem::bad_request("records_malformed", detail));
        }
        let fate = match self.door.node.sent_stream(&self.sender.edge, index.camera, index.stream) {
            None => Fate::Held,
            Some(stream) => {
                if !self.touched.iter().any(|(touched, _)| Arc::ptr_eq(touched, &stream)) {
                    self.touched.push((Arc::clone(&stream), stream.intake().settled().lost));
                }
                let taker = self.door.takers.of(&stream);
                let mut taker = taker.lock().await;
                taker.take(&self.door.node, record, &self.sender).await?
            }
        };
        self.arrived.settled.push(ArrivedRecord {
            camera: index.camera,
            stream: index.stream.0,
            from: label.from,
            to: label.to,
            fate,
        });
        Ok(())
    }

    /// Waits until all is on disk, and leaves out of the answer what is not.
    async fn settle(mut self) -> Arrived {
        for (stream, lost_before) in self.touched {
            let settled = tokio::time::timeout(super::import::SETTLE_MAX, stream.intake().settle()).await;
            if settled.is_ok_and(|settled| settled.lost == lost_before) {
                continue;
            }
            // Which of them is not known. Whoever looks at the ledger next finds what did arrive.
            let theirs = self.door.node.name_at(&self.sender.edge, &stream);
            self.arrived.settled.retain(|record| Some((record.camera, StreamId(record.stream))) != theirs);
            self.door.takers.of(&stream).lock().await.forget();
        }
        self.arrived
    }
}

impl Node {
    /// The edge node that asks.
    fn edge(&self, asking: &Asking) -> Result<EdgeNode, Problem> {
        self.peers().edge(crate::peers::public(asking.0), self.clock().wall())
    }

    /// The streams that `edge` sends, each with the camera's id there and for how long footage is kept.
    fn sent_by(
        &self,
        edge: &EdgeNode,
    ) -> impl Iterator<Item = (Arc<StreamState>, CameraId, Option<Duration>)> {
        let cameras = self.own_cameras().into_iter().filter_map(|id| self.camera(id));
        cameras.flat_map(move |camera| {
            let config = camera.config();
            let theirs = match &config.source {
                CameraSource::Edge { node, camera, .. } if *node == edge.name => Some(*camera),
                CameraSource::Edge { .. } | CameraSource::Rtsp { .. } | CameraSource::Onvif { .. } => None,
            };
            let streams: Vec<_> =
                camera.streams().filter(|stream| camera.wants(stream.id)).cloned().collect();
            let retention = config.retention;
            streams.into_iter().filter_map(move |stream| Some((stream, theirs?, retention)))
        })
    }

    /// The stream that `edge` knows by this camera and number.
    fn sent_stream(&self, edge: &EdgeNode, camera: CameraId, stream: StreamId) -> Option<Arc<StreamState>> {
        let mut all = self.sent_by(edge);
        all.find_map(|(own, theirs, _)| (theirs == camera && own.id == stream).then_some(own))
    }

    /// By what `edge` knows `stream`.
    fn name_at(&self, edge: &EdgeNode, stream: &StreamState) -> Option<(CameraId, StreamId)> {
        let mut all = self.sent_by(edge);
        all.find_map(|(own, theirs, _)| {
            ((own.camera, own.id) == (stream.camera, stream.id)).then_some((theirs, own.id))
        })
    }
}
