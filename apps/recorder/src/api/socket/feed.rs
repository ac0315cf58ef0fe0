//! The state that all status sockets are told from, made once for all of them while somebody listens.
//!
//! A part has a place (the node, a camera, an export, a scan, what another role shows), a text, and says who may see it. What only counts up, such as
//! frames, is left out of the comparison but once a second.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keepwatch_model::CameraId;
use keepwatch_web::{Identity, Role};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::super::cameras::show;
use super::super::status::{Sight, node_status};
use super::super::{exports, scans};
use crate::Node;
use crate::jobs::Job;

/// Time between two looks at what changed.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// Looks between two that tell of counters, too.
const LOOKS_PER_COUNT: u32 = 4;
/// Status sockets at a time: a console has one in each tab.
pub(crate) const SOCKETS_MAX: usize = 256;

/// Where a part stands, in the order in which parts are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// The node.
    Node,
    /// A camera.
    Camera(CameraId),
    /// An export job.
    Export(u64),
    /// A scan.
    Scan(u64),
    /// What another role shows.
    Part(&'static str),
}

impl Place {
    /// Its name among its like; the node and what other roles show stand alone.
    pub(super) fn name(self) -> Option<String> {
        match self {
            Self::Node | Self::Part(_) => None,
            Self::Camera(id) => Some(id.to_string()),
            Self::Export(id) | Self::Scan(id) => Some(id.to_string()),
        }
    }

    /// Where it stands in a snapshot.
    pub(super) fn path(self) -> Vec<String> {
        let folder = match self {
            Self::Node => "node",
            Self::Camera(_) => "cameras",
            Self::Export(_) => "exports",
            Self::Scan(_) => "scans",
            Self::Part(name) => name,
        };
        std::iter::once(folder.to_owned()).chain(self.name()).collect()
    }
}

/// Who is shown a part.
#[derive(Clone, Debug)]
enum Audience {
    /// Who may see the machine; others are shown a node of their own.
    Machine,
    /// Who has a role at a camera.
    Camera(CameraId),
    /// Who may have the footage of a job.
    Job(Arc<Job>),
    /// Who may add cameras.
    Administrators,
}

impl Audience {
    fn includes(&self, identity: &Identity) -> bool {
        match self {
            Self::Machine => Sight::of(identity) == Sight::Machine,
            Self::Camera(id) => identity.at(id.as_str()).is_some(),
            Self::Job(job) => exports::may_see(identity, job),
            Self::Administrators => identity.require(Role::Administrator).is_ok(),
        }
    }
}

/// A part of the state, as it is told.
struct Part {
    text: Arc<RawValue>,
    /// Without what counts up all the time.
    still: String,
    audience: Audience,
}

/// What all sockets are told from.
pub(super) struct State {
    parts: BTreeMap<Place, Part>,
}

/// Something that another role shows, by its name.
type Shown = (&'static str, Arc<dyn Fn() -> String + Send + Sync>);

/// What the sockets of a node share.
pub(crate) struct Feed {
    parts: Mutex<Vec<Shown>>,
    states: watch::Sender<Option<Arc<State>>>,
    running: Mutex<bool>,
    places: Arc<Semaphore>,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            parts: Mutex::default(),
            states: watch::Sender::default(),
            running: Mutex::default(),
            places: Arc::new(Semaphore::new(SOCKETS_MAX)),
        }
    }
}

impl Feed {
    /// Shows what `state` returns, which is JSON, under `name`.
    pub(crate) fn add(&self, name: &'static str, state: impl Fn() -> String + Send + Sync + 'static) {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).push((name, Arc::new(state)));
    }

    /// What other roles show.
    fn parts(&self) -> Vec<Shown> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A place among the sockets; `None` when all are taken.
    pub(super) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// Every state from now on; begins to make them if nobody listened until now.
    pub(super) fn listen(&self, node: &Node) -> watch::Receiver<Option<Arc<State>>> {
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
        let mut making = Making { last, counts, parts: BTreeMap::new(), changed: false };
        let cameras = node.cameras();
        let status = node_status(node, &cameras, Sight::Machine);
        making.add(Place::Node, Audience::Machine, text(&status.still()), || text(&status.untimed()));
        for camera in &cameras {
            let shown = show(node, camera);
            let still = text(&shown.clone().still());
            making.add(Place::Camera(camera.id), Audience::Camera(camera.id), still, || text(&shown));
        }
        for job in node.jobs().all() {
            let shown = exports::Line::from(job.as_ref());
            let place = Place::Export(job.id());
            making.add(place, Audience::Job(job), text(&shown.still()), || text(&shown));
        }
        if let Some(scan) = node.scans().newest() {
            let still = text(&scans::still(&scan));
            let place = Place::Scan(scan.id);
            making.add(place, Audience::Administrators, still, || text(&scans::show(node, scan)));
        }
        for (name, state) in node.feed().parts() {
            let text = state();
            making.add(Place::Part(name), Audience::Machine, text.clone(), || text);
        }
        let Making { parts, mut changed, .. } = making;
        changed |= last.is_none_or(|last| !last.parts.keys().eq(parts.keys()));
        changed.then_some(Self { parts })
    }

    /// What somebody may see.
    pub(super) fn visible_to(&self, identity: &Identity) -> BTreeMap<Place, Arc<RawValue>> {
        let visible = self.parts.iter().filter(|(_, part)| part.audience.includes(identity));
        visible.map(|(place, part)| (*place, Arc::clone(&part.text))).collect()
    }
}

/// A state that is being made.
struct Making<'a> {
    last: Option<&'a State>,
    /// Whether what only counts up is told, too.
    counts: bool,
    parts: BTreeMap<Place, Part>,
    changed: bool,
}

impl Making<'_> {
    /// Adds a part, with the text that it had if it is as it was.
    fn add(&mut self, place: Place, audience: Audience, still: String, full: impl FnOnce() -> String) {
        let before = self.last.and_then(|last| last.parts.get(&place));
        let text = match before {
            Some(before) if !self.counts && before.still == still => Arc::clone(&before.text),
            Some(_) | None => {
                let full = full();
                match before {
                    Some(before) if before.text.get() == full => Arc::clone(&before.text),
                    Some(_) | None => {
                        self.changed = true;
                        raw(full)
                    }
                }
            }
        };
        self.parts.insert(place, Part { text, still, audience });
    }
}

pub(super) fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts and numbers have a JSON form")
}

pub(super) fn raw(text: String) -> Arc<RawValue> {
    Arc::from(RawValue::from_string(text).expect("it was written as JSON"))
}
