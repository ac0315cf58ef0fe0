//! The status socket: how the node, its cameras, exports and scans stand, as it changes.
//!
//! One computation serves all sockets ([`feed`]): while there is one, the state is made four times a second, and what
//! differs from the one before is told. What only counts up, such as frames, is told once a second. A socket is given the
//! difference to what it was given last, so one that is slow skips what lay between and holds nothing up; one that takes
//! nothing for ten seconds is closed.

mod feed;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use keepwatch_model::WallTime;
use keepwatch_web::{Caller, Identity, Place as Connection, Problem};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::{MissedTickBehavior, interval, timeout};
use utoipa::ToSchema;

pub(crate) use self::feed::Feed;
use self::feed::{Place, SOCKETS_MAX, State, raw, text};
use super::cameras::Camera;
use super::exports::Line;
use super::query;
use super::scans::Scan;
use super::status::{Sight, Status, node_status};
use crate::Node;

/// Time between two signs of life, by which a page knows how old its picture is.
const ALIVE_INTERVAL: Duration = Duration::from_secs(2);
/// A client that takes nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// Largest message of a client, which has nothing to say.
const MESSAGE_BYTES_MAX: usize = 1024;

/// A message of the status socket: first a snapshot, then changes. Who misses a number of `seq` connects again.
#[derive(ToSchema)]
#[schema(example = json!({"seq": 2, "type": "change", "path": ["cameras", "gate"], "value": null}))]
#[expect(dead_code, reason = "it describes what is written below")]
pub(super) struct StatusMessage {
    /// Counts messages from 1.
    seq: u64,
    /// What it is.
    r#type: MessageKind,
    /// What changed: `["node"]`, `["failover"]`, or `cameras`, `exports` or `scans` and an id; only of a change.
    path: Option<Vec<String>>,
    /// Of a snapshot all, as `StatusSnapshot`; of a change what stands at `path` now, a `Status`, a `Camera`, an `Export`, a
    /// `Scan` or a `Failover`, `null` when it is gone.
    value: Option<StatusSnapshot>,
    /// The node's idea of the time; only of a sign of life.
    #[schema(value_type = Option<String>, format = DateTime)]
    now: Option<WallTime>,
}

/// What a message of the status socket is.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "it describes what is written below")]
pub(super) enum MessageKind {
    /// All that the user may see.
    Snapshot,
    /// What changed.
    Change,
    /// A sign of life, every two seconds.
    Alive,
}

/// All that the status socket shows.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what is written below")]
pub(super) struct StatusSnapshot {
    /// The node.
    node: Status,
    /// The cameras by their ids.
    cameras: BTreeMap<String, Camera>,
    /// The export jobs by their ids, as far as one is operator at all of their cameras.
    exports: BTreeMap<String, Line>,
    /// The last scan by its id, for administrators.
    scans: BTreeMap<String, Scan>,
}

/// Takes up a status socket.
pub(super) fn serve(
    node: Node,
    caller: Caller,
    connection: Option<Connection>,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Problem> {
    let place = node.feed().place().ok_or_else(|| {
        let detail =
            format!("{SOCKETS_MAX} status sockets are open; close some, or ask for GET /api/v1/status");
        Problem::unavailable("sockets_busy", detail).retry_after(Duration::from_secs(10))
    })?;
    let upgrade = upgrade.max_message_size(MESSAGE_BYTES_MAX).max_frame_size(MESSAGE_BYTES_MAX);
    Ok(upgrade.on_upgrade(async move |socket| {
        let mut client = Client { socket, seq: 0, given: BTreeMap::new() };
        let why = client.run(&node, &caller, connection).await;
        if let Some((code, reason)) = why {
            let farewell = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
            // Who does not take the farewell has gone.
            let _ = timeout(PATIENCE, client.socket.send(farewell)).await;
        }
        drop(place);
    }))
}

struct Client {
    socket: WebSocket,
    seq: u64,
    /// What it was given last.
    given: BTreeMap<Place, Arc<RawValue>>,
}

/// Why a socket is closed: a code (RFC 6455 §7.4.1) and a sentence; `None` when the client is gone.
type End = Option<(u16, &'static str)>;

#[derive(Serialize)]
#[serde(rename_all = "snake_case", tag = "type")]
enum Told<'a> {
    Snapshot { value: Snapshot<'a> },
    Change { path: Vec<String>, value: Option<&'a RawValue> },
    Alive { now: WallTime },
}

/// All that stands in one folder, by name.
type Folder<'a> = BTreeMap<String, &'a RawValue>;

#[derive(Default, Serialize)]
struct Snapshot<'a> {
    node: Option<&'a RawValue>,
    cameras: Folder<'a>,
    exports: Folder<'a>,
    scans: Folder<'a>,
    /// What other roles show.
    #[serde(flatten)]
    parts: Folder<'a>,
}

impl<'a> Snapshot<'a> {
    fn of(given: &'a BTreeMap<Place, Arc<RawValue>>) -> Self {
        let mut snapshot = Self::default();
        for (place, text) in given {
            let folder = match place {
                Place::Node => {
                    snapshot.node = Some(text);
                    continue;
                }
                Place::Camera(_) => &mut snapshot.cameras,
                Place::Export(_) => &mut snapshot.exports,
                Place::Scan(_) => &mut snapshot.scans,
                Place::Part(name) => {
                    snapshot.parts.insert((*name).to_owned(), text);
                    continue;
                }
            };
            folder.extend(place.name().map(|name| (name, &**text)));
        }
        snapshot
    }
}

#[derive(Serialize)]
struct Numbered<'a> {
    seq: u64,
    #[serde(flatten)]
    told: Told<'a>,
}

impl Client {
    async fn run(&mut self, node: &Node, caller: &Caller, connection: Option<Connection>) -> End {
        let mut states = node.feed().listen(node);
        let right = caller.right();
        let lost = right.lost();
        let ending = async {
            match &connection {
                Some(connection) => connection.ending().await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(lost, ending);
        let mut alive = interval(ALIVE_INTERVAL);
        alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        states.mark_changed();
        loop {
            let given = tokio::select! {
                () = &mut lost => return Some((close_code::POLICY, "the right to this has ended; log in again")),
                () = &mut ending => return Some((close_code::AWAY, "the node ends")),
                changed = states.changed() => {
                    if changed.is_err() {
                        return Some((close_code::AWAY, "the node ends"));
                    }
                    let state = states.borrow_and_update().clone();
                    match state {
                        Some(state) => self.give(node, &caller.identity, &state).await,
                        None => Ok(()),
                    }
                }
                _ = alive.tick(), if self.seq > 0 => self.tell(Told::Alive { now: node.clock().wall() }).await,
                message = self.socket.recv() => match message {
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                    Some(Ok(Message::Text(_) | Message::Binary(_))) => {
                        return Some((close_code::POLICY, "a client has nothing to say here"));
                    }
                },
            };
            if let Err(Gone) = given {
                return None;
            }
        }
    }

    /// Tells the difference between what was given last and `state`, as far as `identity` may see it.
    async fn give(&mut self, node: &Node, identity: &Identity, state: &State) -> Result<(), Gone> {
        let mut now = state.visible_to(identity);
        if Sight::of(identity) == Sight::Cameras {
            let cameras = query::cameras(node, identity);
            let text = text(&node_status(node, &cameras, Sight::Cameras).untimed());
            let given = self.given.get(&Place::Node).filter(|given| given.get() == text);
            now.insert(Place::Node, given.cloned().unwrap_or_else(|| raw(text)));
        }
        let before = std::mem::replace(&mut self.given, now.clone());
        if before.is_empty() {
            return self.tell(Told::Snapshot { value: Snapshot::of(&now) }).await;
        }
        for (place, text) in &now {
            if before.get(place).is_none_or(|before| !Arc::ptr_eq(before, text)) {
                self.tell(Told::Change { path: place.path(), value: Some(text) }).await?;
            }
        }
        for place in before.keys().filter(|place| !now.contains_key(place)) {
            self.tell(Told::Change { path: place.path(), value: None }).await?;
        }
        Ok(())
    }

    async fn tell(&mut self, told: Told<'_>) -> Result<(), Gone> {
        self.seq = self.seq.saturating_add(1);
        let text = text(&Numbered { seq: self.seq, told });
        match timeout(PATIENCE, self.socket.send(Message::Text(text.into()))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }
}

/// The client takes nothing any more.
struct Gone;
