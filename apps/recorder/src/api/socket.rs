//! The status socket: how the node and its cameras stand, as it changes.
//!
//! One computation serves all sockets: while there is one, the state is made four times a second, and what differs from
//! the one before is told. What only counts up, such as frames, is told once a second. A socket is given the difference to
//! what it was given last, so one that is slow skips what lay between and holds nothing up; one that takes nothing for
//! ten seconds is closed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use keepwatch_model::{CameraId, WallTime};
use keepwatch_web::{Caller, Identity, Place, Problem};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::{Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use utoipa::ToSchema;

use super::cameras::{Camera, show};
use super::query;
use super::status::{Sight, Status, node_status};
use crate::Node;

/// Time between two looks at what changed.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// Looks between two that tell of counters, too.
const LOOKS_PER_COUNT: u32 = 4;
/// Time between two signs of life, by which a page knows how old its picture is.
const ALIVE_INTERVAL: Duration = Duration::from_secs(2);
/// A client that takes nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// Status sockets at a time: a console has one in each tab.
pub(crate) const SOCKETS_MAX: usize = 256;
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
    /// What changed: `["node"]` or `["cameras", ID]`; only of a change.
    path: Option<Vec<String>>,
    /// Of a snapshot all, as `StatusSnapshot`; of a change what stands at `path` now, a `Status` or a `Camera`, `null` when it
    /// is gone.
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
}

/// A part of the state, as it is told.
struct Part {
    text: Arc<RawValue>,
    /// Without what counts up all the time.
    still: String,
}

/// What all sockets are told from.
struct State {
    /// The node, for who may see the machine.
    node: Part,
    cameras: BTreeMap<CameraId, Part>,
}

/// What the sockets of a node share.
pub(crate) struct Feed {
    states: watch::Sender<Option<Arc<State>>>,
    running: Mutex<bool>,
    places: Arc<Semaphore>,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            states: watch::Sender::default(),
            running: Mutex::default(),
            places: Arc::new(Semaphore::new(SOCKETS_MAX)),
        }
    }
}

impl Feed {
    /// Every state from now on; begins to make them if nobody listened until now.
    fn listen(&self, node: &Node) -> watch::Receiver<Option<Arc<State>>> {
        let states = self.states.subscribe();
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if !*running {
            *running = true;
            self.states.send_replace(None);
            tokio::spawn(make_states(node.clone()));
        }
        states
    }

    /// Ends the making of states if nobody listens; says whether it did.
    fn rest(&self) -> bool {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that nobody begins to listen between the look and the end.
        if self.states.receiver_count() == 0 {
            *running = false;
            self.states.send_replace(None);
        }
        !*running
    }
}

/// Makes states while somebody listens.
async fn make_states(node: Node) {
    let mut ticks = interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last: Option<Arc<State>> = None;
    for look in (0..LOOKS_PER_COUNT).cycle() {
        ticks.tick().await;
        if node.feed().rest() {
            return;
        }
        let counts = look == 0;
        let Some(state) = State::next(&node, last.as_deref(), counts) else { continue };
        let state = Arc::new(state);
        last = Some(Arc::clone(&state));
        node.feed().states.send_replace(Some(state));
    }
}

impl State {
    /// The state of this moment; `None` when it is as it was. Without `counts`, what only counted up is as it was, too.
    fn next(node: &Node, last: Option<&Self>, counts: bool) -> Option<Self> {
        let cameras = node.cameras();
        let status = node_status(node, &cameras, Sight::Machine);
        let still = text(&status.still());
        let (node_part, mut changed) =
            part(last.map(|last| &last.node), still, counts, || text(&status.untimed()));
        let mut parts = BTreeMap::new();
        for camera in &cameras {
            let shown = show(node, camera);
            let still = text(&shown.clone().still());
            let before = last.and_then(|last| last.cameras.get(&camera.id));
            let (part, differs) = part(before, still, counts, || text(&shown));
            changed |= differs;
            parts.insert(camera.id, part);
        }
        changed |= last.is_none_or(|last| last.cameras.len() != parts.len());
        changed.then_some(Self { node: node_part, cameras: parts })
    }
}

/// A part of the state, and whether it differs from what it was.
fn part(before: Option<&Part>, still: String, counts: bool, full: impl FnOnce() -> String) -> (Part, bool) {
    if let Some(before) = before
        && !counts
        && before.still == still
    {
        return (Part { text: Arc::clone(&before.text), still }, false);
    }
    let full = full();
    match before {
        Some(before) if before.text.get() == full => (Part { text: Arc::clone(&before.text), still }, false),
        Some(_) | None => (Part { text: raw(full), still }, true),
    }
}

fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts and numbers have a JSON form")
}

fn raw(text: String) -> Arc<RawValue> {
    Arc::from(RawValue::from_string(text).expect("it was written as JSON"))
}

/// Takes up a status socket.
pub(super) fn serve(
    node: Node,
    caller: Caller,
    connection: Option<Place>,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Problem> {
    let place = Arc::clone(&node.feed().places).try_acquire_owned().map_err(|_| {
        let detail =
            format!("{SOCKETS_MAX} status sockets are open; close some, or ask for GET /api/v1/status");
        Problem::unavailable("sockets_busy", detail).retry_after(Duration::from_secs(10))
    })?;
    let upgrade = upgrade.max_message_size(MESSAGE_BYTES_MAX).max_frame_size(MESSAGE_BYTES_MAX);
    Ok(upgrade.on_upgrade(async move |socket| {
        let mut client = Client { socket, seq: 0, given: Given::default() };
        let why = client.run(&node, &caller, connection).await;
        if let Some((code, reason)) = why {
            let farewell = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
            // Who does not take the farewell has gone.
            let _ = timeout(PATIENCE, client.socket.send(farewell)).await;
        }
        drop(place);
    }))
}

/// What a client was given last.
#[derive(Default)]
struct Given {
    node: Option<Arc<RawValue>>,
    cameras: BTreeMap<CameraId, Arc<RawValue>>,
}

struct Client {
    socket: WebSocket,
    seq: u64,
    given: Given,
}

/// Why a socket is closed: a code (RFC 6455 §7.4.1) and a sentence; `None` when the client is gone.
type End = Option<(u16, &'static str)>;

#[derive(Serialize)]
#[serde(rename_all = "snake_case", tag = "type")]
enum Told<'a> {
    Snapshot { value: Snapshot<'a> },
    Change { path: Vec<&'a str>, value: Option<&'a RawValue> },
    Alive { now: WallTime },
}

#[derive(Serialize)]
struct Snapshot<'a> {
    node: &'a RawValue,
    cameras: BTreeMap<CameraId, &'a RawValue>,
}

#[derive(Serialize)]
struct Numbered<'a> {
    seq: u64,
    #[serde(flatten)]
    told: Told<'a>,
}

impl Client {
    async fn run(&mut self, node: &Node, caller: &Caller, connection: Option<Place>) -> End {
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
        let node_text = match Sight::of(identity) {
            Sight::Machine => Arc::clone(&state.node.text),
            Sight::Cameras => {
                let cameras = query::cameras(node, identity);
                let text = text(&node_status(node, &cameras, Sight::Cameras).untimed());
                match &self.given.node {
                    Some(given) if given.get() == text => Arc::clone(given),
                    Some(_) | None => raw(text),
                }
            }
        };
        let visible = state.cameras.iter().filter(|(id, _)| identity.at(id.as_str()).is_some());
        let now = Given {
            node: Some(node_text),
            cameras: visible.map(|(id, part)| (*id, Arc::clone(&part.text))).collect(),
        };
        let before = std::mem::replace(&mut self.given, now);
        let now = Given { node: self.given.node.clone(), cameras: self.given.cameras.clone() };
        let Some(node_text) = &now.node else { return Ok(()) };
        if before.node.is_none() {
            let cameras = now.cameras.iter().map(|(id, text)| (*id, &**text)).collect();
            return self.tell(Told::Snapshot { value: Snapshot { node: node_text, cameras } }).await;
        }
        if before.node.as_ref().is_none_or(|before| !Arc::ptr_eq(before, node_text)) {
            self.tell(Told::Change { path: vec!["node"], value: Some(node_text) }).await?;
        }
        for (id, text) in &now.cameras {
            if before.cameras.get(id).is_none_or(|before| !Arc::ptr_eq(before, text)) {
                self.tell(Told::Change { path: vec!["cameras", id.as_str()], value: Some(text) }).await?;
            }
        }
        for id in before.cameras.keys().filter(|id| !now.cameras.contains_key(id)) {
            self.tell(Told::Change { path: vec!["cameras", id.as_str()], value: None }).await?;
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
