//! The task that fills gaps: looks at the ledgers, lets the machine decide, and carries it out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keepwatch_model::{
    EventCode, Machine as _, MonoTime, Span, TICKS_PER_SECOND, WallTime, ticks_from_duration,
};
use keepwatch_recording::replenish::{
    Action, Event, Job, JobEnd, JobId, Progress, Replenish, Source, StreamKey,
};
use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinSet};

use super::edges::Edges;
use super::import::Import;
use super::limit::Limit;
use super::receive::receive;
use crate::Node;
use crate::camera::StreamState;

/// Time between two looks at the ledgers.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// A gap that ended less than this ago may not be entered to its end.
const SETTLED_TICKS: i64 = 2 * TICKS_PER_SECOND;
/// A gap that goes on is filled up to a whole minute, one ago, so that it is not asked for second by second.
const MINUTE_TICKS: i64 = 60 * TICKS_PER_SECOND;
/// Shorter gaps hold no picture.
const GAP_TICKS_MIN: i64 = TICKS_PER_SECOND / 50;
/// Most gaps of a stream that are looked at, the oldest first: the others come after them.
const GAPS_MAX: usize = 256;
/// Longest wait for records to reach the disk at the end of a fetch.
const SETTLE_MAX: Duration = Duration::from_secs(60);

/// How gaps are filled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplenishSettings {
    /// Nothing is fetched.
    pub paused: bool,
    /// Most bits in a second, of all that is fetched together; `None` is as fast as it comes.
    pub bits_per_second_max: Option<u64>,
}

/// Steers how gaps are filled, and shows how far it is.
#[derive(Debug, Default)]
pub struct Replenishing {
    settings: watch::Sender<ReplenishSettings>,
    progress: Mutex<Progress>,
}

impl Replenishing {
    /// How gaps are filled from now on. What is being fetched goes on under the old limit.
    pub fn set(&self, settings: ReplenishSettings) {
        self.settings.send_if_modified(|old| std::mem::replace(old, settings) != settings);
    }

    /// How gaps are filled.
    pub fn settings(&self) -> ReplenishSettings {
        *self.settings.borrow()
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Fills gaps until `stopped`.
pub(crate) async fn run(node: Node, mut stopped: watch::Receiver<bool>) {
    let mut settings = node.replenishing().settings.subscribe();
    let mut filling = Filling {
        limit: Arc::new(Limit::new(settings.borrow().bits_per_second_max)),
        node: node.clone(),
        machine: Replenish::default(),
        streams: BTreeMap::new(),
        jobs: JoinSet::new(),
        running: BTreeMap::new(),
        out: Vec::new(),
    };
    filling.tell(Event::Paused(settings.borrow_and_update().paused));
    loop {
        tokio::select! {
            _ = stopped.changed() => return,
            changed = settings.changed() => {
                // The sender is the node's, which is held here.
                if changed.is_err() { return }
                let settings = *settings.borrow_and_update();
                filling.limit = Arc::new(Limit::new(settings.bits_per_second_max));
                filling.tell(Event::Paused(settings.paused));
            }
            Some(ended) = filling.jobs.join_next_with_id() => filling.ended(ended),
            () = tokio::time::sleep(LOOK_INTERVAL) => filling.look(),
        }
        *node.replenishing().progress.lock().unwrap_or_else(PoisonError::into_inner) =
            filling.machine.progress();
    }
}

struct Filling {
    node: Node,
    machine: Replenish,
    /// What was last told of each stream.
    streams: BTreeMap<StreamKey, (Vec<Span>, Vec<Source>)>,
    jobs: JoinSet<JobEnd>,
    running: BTreeMap<Id, (JobId, AbortHandle)>,
    limit: Arc<Limit>,
    out: Vec<Action>,
}

impl Filling {
    fn now(&self) -> MonoTime {
        self.node.clock().mono()
    }

    fn tell(&mut self, event: Event) {
        self.machine.handle(self.now(), event, &mut self.out);
        self.carry_out();
    }

    /// Looks at the ledgers, and at the time.
    fn look(&mut self) {
        let sources: Vec<Source> =
            self.node.peers().standbys().iter().map(|standby| Source::Recorder(standby.role)).collect();
        let now = self.node.clock().wall();
        let mut known = std::mem::take(&mut self.streams);
        for id in self.node.own_cameras() {
            let Some(camera) = self.node.camera(id) else { continue };
            let oldest = camera.config().retention.map(|age| now.plus(-ticks_from_duration(age)));
            for stream in camera.streams() {
                let key = (stream.camera, stream.id);
                let told = (gaps(stream, oldest, now), sources.clone());
                if known.remove(&key).as_ref() != Some(&told) {
                    let (gaps, sources) = told.clone();
                    self.machine.handle(
                        self.now(),
                        Event::Missing { stream: key, gaps, sources },
                        &mut self.out,
                    );
                }
                self.streams.insert(key, told);
            }
        }
        for gone in known.into_keys() {
            self.machine.handle(self.now(), Event::Gone(gone), &mut self.out);
        }
        let now = self.now();
        if self.machine.deadline().is_some_and(|(at, _)| at <= now) {
            self.machine.timeout(now, &mut self.out);
        }
        self.carry_out();
    }

    fn carry_out(&mut self) {
        for action in std::mem::take(&mut self.out) {
            tracing::debug!(?action, "replenishment");
            match action {
                Action::Fetch(job) => {
                    let fetched = fetch(self.node.clone(), job, Arc::clone(&self.limit));
                    let handle = self.jobs.spawn(fetched);
                    self.running.insert(handle.id(), (job.id, handle));
                }
                Action::Cancel(job) => {
                    for (_, handle) in self.running.values().filter(|(id, _)| *id == job) {
                        handle.abort();
                    }
                }
                Action::Mark { stream: (camera, stream), span, backfill } => {
                    if let Some(camera) = self.node.camera(camera)
                        && let Some(stream) = camera.stream(stream)
                    {
                        stream.ledger().backfill(span, backfill);
                    }
                }
            }
        }
    }

    fn ended(&mut self, ended: Result<(Id, JobEnd), tokio::task::JoinError>) {
        let (id, end) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                if error.is_panic() {
                    tracing::error!(%error, "filling a gap ended badly");
                }
                (error.id(), if error.is_panic() { JobEnd::Refused } else { JobEnd::Cancelled })
            }
        };
        let Some((job, _)) = self.running.remove(&id) else { return };
        // What came is entered first, so that it is not asked for again.
        self.look();
        self.tell(Event::Ended { job, end });
    }
}

/// What is missing of a stream and worth asking for.
fn gaps(stream: &StreamState, oldest: Option<WallTime>, now: WallTime) -> Vec<Span> {
    let settled = now.plus(-SETTLED_TICKS);
    let Some(window) = Span::new(oldest.unwrap_or(WallTime::MIN), settled) else { return Vec::new() };
    let minute = WallTime::from_ticks((now.ticks() - MINUTE_TICKS) / MINUTE_TICKS * MINUTE_TICKS);
    let mut gaps: Vec<Span> = Vec::new();
    for gap in stream.ledger().gaps(window) {
        // Neighbours of other reasons are one to fetch.
        match gaps.last_mut() {
            Some(last) if last.to == gap.span.from => last.to = gap.span.to,
            Some(_) | None => gaps.push(gap.span),
        }
    }
    let ended = |gap: Span| if gap.to == settled { Span::new(gap.from, minute) } else { Some(gap) };
    gaps.into_iter().filter_map(ended).filter(|gap| gap.ticks() >= GAP_TICKS_MIN).take(GAPS_MAX).collect()
}

/// Fetches what the source of `job` has of its span.
async fn fetch(node: Node, job: Job, limit: Arc<Limit>) -> JobEnd {
    let (camera, stream) = job.stream;
    let stream = node.camera(camera).and_then(|camera| camera.stream(stream).cloned());
    let Some(stream) = stream else { return JobEnd::Cancelled };
    // What an earlier fetch left on its way must be known before this one looks at what is held.
    if tokio::time::timeout(SETTLE_MAX, stream.intake().settle()).await.is_err() {
        return JobEnd::NoRoom;
    }
    let lost_before = stream.intake().settle().await.lost;
    let (store, key) = (node.store().clone(), job.stream);
    let edges = tokio::task::spawn_blocking(move || Edges::read(&store, key, job.span)).await;
    let edges = match edges {
        Ok(Ok(edges)) => edges,
        Ok(Err(error)) => {
            tracing::error!(%camera, %error, "what is held beside a gap cannot be read");
            return JobEnd::NoRoom;
        }
        Err(_) => return JobEnd::Cancelled,
    };
    let import = Import::new(node.store(), Arc::clone(&stream), edges);
    let (end, import, whence) = match job.source {
        Source::Recorder(role) => {
            let standbys = node.peers().standbys();
            let Some(standby) = standbys.iter().find(|standby| standby.role == role) else {
                return JobEnd::Refused;
            };
            let (end, import) = receive(&node, standby, &stream, (job.span, import), &limit).await;
            (end, import, standby.name.clone())
        }
        // No source is told that is a card.
        Source::Card(_) => return JobEnd::Refused,
    };
    let settled = tokio::time::timeout(SETTLE_MAX, stream.intake().settle()).await;
    let end = match settled {
        Ok(settled) if settled.lost == lost_before => end,
        Ok(_) | Err(_) => JobEnd::NoRoom,
    };
    if import.records > 0 {
        let seconds = import.ticks / TICKS_PER_SECOND;
        let text =
            stream.sentence(format!("{seconds} s of footage that was missing came back from {whence}"));
        node.add_event(EventCode::FootageFilled, stream.subject(), text);
    }
    end
}
