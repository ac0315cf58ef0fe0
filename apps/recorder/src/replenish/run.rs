//! The task that fills gaps: looks at the ledgers, lets the machine decide, and carries it out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use keepwatch_model::{
    Backfill, CameraId, Machine as _, MonoTime, Span, StreamId, WallTime, ticks_from_duration,
};
use keepwatch_recording::edge::limit::SpeedLimit;
use keepwatch_recording::replenish::bearing::Bearing;
use keepwatch_recording::replenish::{Action, Event, Job, JobEnd, Replenish, Source, StreamKey};
use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use super::card_pace::{CardLimits, CardPace};
use super::course::{Course, Passage};
use super::job::{self, Brought};
use super::limit::Limit;
use super::missing::{Missing, missing};
use super::standing::{EndedJob, RunningJob, SourceStanding, StreamStanding};
use crate::Node;
use crate::camera::{CameraState, StreamState};
use crate::config::CameraSource;

/// Time between two looks at the ledgers.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// How gaps are filled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplenishSettings {
    /// Nothing is fetched.
    pub paused: bool,
    /// Most bits in a second, of all that is fetched together; `None` is as fast as it comes.
    pub bits_per_second_max: Option<u64>,
    /// Cameras given by their ONVIF address are asked for what their own card holds, after all recorders.
    pub cards: bool,
}

/// Steers how gaps are filled, and shows how far it is.
#[derive(Debug, Default)]
pub struct Replenishing {
    settings: watch::Sender<ReplenishSettings>,
    standing: Mutex<BTreeMap<StreamKey, StreamStanding>>,
    card_limits: Mutex<CardLimits>,
}

impl Replenishing {
    /// How gaps are filled from now on.
    pub fn set(&self, settings: ReplenishSettings) {
        self.change(|old| *old = settings);
    }

    /// Changes how gaps are filled; returns how that is from now on.
    pub fn change(&self, change: impl FnOnce(&mut ReplenishSettings)) -> ReplenishSettings {
        let mut now = ReplenishSettings::default();
        self.settings.send_if_modified(|settings| {
            let before = *settings;
            change(settings);
            now = *settings;
            *settings != before
        });
        now
    }

    /// How gaps are filled.
    pub fn settings(&self) -> ReplenishSettings {
        *self.settings.borrow()
    }

    /// How fast the cards of cameras are read from now on.
    pub fn set_card_limits(&self, limits: CardLimits) {
        *self.card_limits.lock().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    fn card_limit(&self, camera: CameraId) -> Option<SpeedLimit> {
        self.card_limits.lock().unwrap_or_else(PoisonError::into_inner).get(&camera).copied()
    }

    /// How each stream stands that misses something, or did since the start.
    pub fn standing(&self) -> Vec<StreamStanding> {
        self.streams().values().cloned().collect()
    }

    fn streams(&self) -> std::sync::MutexGuard<'_, BTreeMap<StreamKey, StreamStanding>> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fills gaps until `stopped`.
pub(crate) async fn run(node: Node, mut stopped: watch::Receiver<bool>) {
    let mut settings = node.replenishing().settings.subscribe();
    let mut filling = Filling {
        limit: Arc::new(Limit::new(settings.borrow().bits_per_second_max)),
        node: node.clone(),
        machine: Replenish::default(),
        told: BTreeMap::new(),
        jobs: JoinSet::new(),
        running: BTreeMap::new(),
        bearings: BTreeMap::new(),
        out: Vec::new(),
    };
    filling.tell(Event::Paused(settings.borrow_and_update().paused));
    loop {
        tokio::select! {
            // A pause comes before anything else begins.
            biased;
            _ = stopped.changed() => return,
            changed = settings.changed() => {
                // The sender is the node's, which is held here.
                if changed.is_err() { return }
                let settings = *settings.borrow_and_update();
                filling.limit.set(settings.bits_per_second_max);
                filling.tell(Event::Paused(settings.paused));
            }
            Some(ended) = filling.jobs.join_next_with_id() => filling.ended(ended),
            () = tokio::time::sleep(LOOK_INTERVAL) => filling.look(),
        }
        filling.show();
    }
}

struct Filling {
    node: Node,
    machine: Replenish,
    /// What was last told of each stream.
    told: BTreeMap<StreamKey, (Vec<Span>, Vec<Source>)>,
    jobs: JoinSet<Brought>,
    running: BTreeMap<Id, Running>,
    limit: Arc<Limit>,
    /// How cameras bear that their cards are read; one for each that broke off.
    bearings: BTreeMap<CameraId, Bearing>,
    out: Vec<Action>,
}

/// A job that runs.
struct Running {
    job: Job,
    handle: AbortHandle,
    course: Arc<Course>,
    /// How fast it reads, where it reads a card.
    card: Option<Arc<CardPace>>,
    since: WallTime,
    begun: Instant,
    /// When the rate was measured, what had come by then, and the rate.
    rate: (Instant, u64, u64),
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
        for running in self.running.values() {
            if let (Source::Card(camera), Some(pace)) = (running.job.source, &running.card) {
                pace.set(self.card_limit(camera), tokio::time::Instant::now());
            }
        }
        let standbys = self.node.peers().standbys();
        let recorders: Vec<Source> = standbys.iter().map(|standby| Source::Recorder(standby.role)).collect();
        let names: BTreeMap<Source, String> =
            standbys.into_iter().map(|standby| (Source::Recorder(standby.role), standby.name)).collect();
        let (now, room_from) = (self.node.clock().wall(), self.node.store().backfill_from());
        let mut known = std::mem::take(&mut self.told);
        for id in self.node.own_cameras() {
            let Some(camera) = self.node.camera(id) else { continue };
            // What an edge node has is sent by it, and nobody else has it.
            if camera.config().source.edge_node().is_some() {
                continue;
            }
            let oldest = camera.config().retention.map(|age| now.plus(-ticks_from_duration(age)));
            let since = oldest.unwrap_or(WallTime::MIN);
            for stream in camera.streams() {
                let key = (stream.camera, stream.id);
                let sources = self.sources(&camera, stream.id, &recorders);
                let found = missing(stream, (since, room_from, now), &self.machine.settled(key));
                self.stand(key, &found, &sources, &names);
                give_up_what_has_no_room(stream, since, room_from.filter(|_| !sources.is_empty()));
                let told = (found.open, sources);
                if known.remove(&key).as_ref() != Some(&told) {
                    let (gaps, sources) = told.clone();
                    let since = room_from.map_or(since, |from| from.max(since));
                    let event = Event::Missing { stream: key, since, gaps, sources };
                    self.machine.handle(self.now(), event, &mut self.out);
                }
                self.told.insert(key, told);
            }
        }
        for gone in known.into_keys() {
            self.machine.handle(self.now(), Event::Gone(gone), &mut self.out);
            self.node.replenishing().streams().remove(&gone);
        }
        let now = self.now();
        if self.machine.deadline().is_some_and(|(at, _)| at <= now) {
            self.machine.timeout(now, &mut self.out);
        }
        self.carry_out();
    }

    /// Who may have what is missing of a stream, the likeliest first.
    fn sources(&self, camera: &CameraState, stream: StreamId, recorders: &[Source]) -> Vec<Source> {
        // At 0 % it is left alone, and asked when that is another value.
        let is_stopped =
            self.node.replenishing().card_limit(camera.id).is_some_and(|limit| limit.percent == 0);
        let has_card = self.node.replenishing().settings().cards
            && !is_stopped
            && stream == StreamId::MAIN
            && matches!(camera.config().source, CameraSource::Onvif { .. });
        recorders.iter().copied().chain(has_card.then_some(Source::Card(camera.id))).collect()
    }

    fn carry_out(&mut self) {
        for action in std::mem::take(&mut self.out) {
            tracing::debug!(?action, "replenishment");
            match action {
                Action::Fetch(job) => self.begin(job),
                Action::Cancel(job) => {
                    for running in self.running.values().filter(|running| running.job.id == job) {
                        running.handle.abort();
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

    /// How fast the card of a camera is read: as it is set, and no faster than the camera bears.
    fn card_limit(&self, camera: CameraId) -> Option<SpeedLimit> {
        let set = self.node.replenishing().card_limit(camera);
        self.bearings.get(&camera).copied().unwrap_or_default().limit(set)
    }

    /// A camera broke off while its card was read.
    fn broke_off(&mut self, camera: CameraId) {
        let set = self.node.replenishing().card_limit(camera);
        if let Some(percent) = self.bearings.entry(camera).or_default().broke_off(set) {
            tracing::warn!(%camera, percent, "the camera broke off while its card was read; it is read slower from here on");
        }
    }

    fn begin(&mut self, job: Job) {
        let course = Arc::new(Course::default());
        let card = match job.source {
            Source::Card(camera) => {
                let limit = self.card_limit(camera);
                Some(Arc::new(CardPace::new(limit, tokio::time::Instant::now())))
            }
            Source::Recorder(_) => None,
        };
        let passage =
            Passage { limit: Arc::clone(&self.limit), card: card.clone(), course: Arc::clone(&course) };
        let handle = self.jobs.spawn(job::run(self.node.clone(), job, passage));
        let begun = Instant::now();
        let since = self.node.clock().wall();
        let running = Running { job, handle, course, card, since, begun, rate: (begun, 0, 0) };
        self.running.insert(running.handle.id(), running);
    }

    fn ended(&mut self, ended: Result<(Id, Brought), JoinError>) {
        let (id, brought) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                if error.is_panic() {
                    tracing::error!(%error, "filling a gap ended badly");
                }
                let end = if error.is_panic() { JobEnd::Refused } else { JobEnd::Cancelled };
                (error.id(), end.into())
            }
        };
        let Some(running) = self.running.remove(&id) else { return };
        let Running { job, course, begun, .. } = running;
        if let Source::Card(camera) = job.source
            && brought.end == JobEnd::Unreachable
            && course.bytes() > 0
        {
            self.broke_off(camera);
        }
        let ended = EndedJob {
            source: job.source,
            span: job.span,
            at: self.node.clock().wall(),
            end: brought.end,
            trouble: course.last_trouble(),
            filled_ticks: brought.ticks,
            bytes: course.bytes(),
            bits_per_second: course.bits_per_second(),
            took: begun.elapsed(),
        };
        if let Some(standing) = self.node.replenishing().streams().get_mut(&job.stream) {
            standing.last = Some(ended);
        }
        // What came is entered first, so that it is not asked for again.
        self.look();
        self.tell(Event::Ended { job: job.id, end: brought.end });
    }

    /// Notes how a stream stands, if it misses anything or did.
    fn stand(&self, key: StreamKey, found: &Missing, sources: &[Source], names: &BTreeMap<Source, String>) {
        let mut streams = self.node.replenishing().streams();
        let is_running = self.running.values().any(|running| running.job.stream == key);
        let was_told = streams.get(&key).is_some_and(|standing| standing.last.is_some());
        if found.ticks == 0 && !is_running && !was_told {
            streams.remove(&key);
            return;
        }
        let now = self.now();
        let wall = |at: MonoTime| self.node.clock().wall().plus(ticks_from_duration(at.since(now)));
        let source = |source: &Source| SourceStanding {
            source: *source,
            name: names.get(source).cloned().unwrap_or_else(|| key.0.to_string()),
            rests_until: self.machine.rests_until(*source).map(wall),
        };
        let last = streams.remove(&key).and_then(|standing| standing.last);
        let nowhere_ticks = if sources.is_empty() { found.ticks } else { found.nowhere_ticks };
        let standing = StreamStanding {
            stream: key,
            missing_ticks: found.ticks,
            nowhere_ticks,
            running: None,
            sources: sources.iter().map(source).collect(),
            last,
        };
        streams.insert(key, standing);
    }

    /// Makes known how far it is.
    fn show(&mut self) {
        let mut streams = self.node.replenishing().streams();
        streams.values_mut().for_each(|standing| standing.running = None);
        for running in self.running.values_mut() {
            let bytes = running.course.bytes();
            let (measured, before, _) = running.rate;
            let passed = measured.elapsed();
            if passed >= LOOK_INTERVAL {
                let bits = u128::from(bytes.saturating_sub(before)).saturating_mul(8_000);
                let per_second = bits / passed.as_millis().max(1);
                running.rate = (Instant::now(), bytes, u64::try_from(per_second).unwrap_or(u64::MAX));
            }
            if let Some(standing) = streams.get_mut(&running.job.stream) {
                standing.running = Some(RunningJob {
                    source: running.job.source,
                    span: running.job.span,
                    since: running.since,
                    bytes,
                    bits_per_second: running.rate.2,
                });
            }
        }
    }
}

/// What is older than all that full disks hold is fetched no more: the ledger says so.
fn give_up_what_has_no_room(stream: &StreamState, since: WallTime, room_from: Option<WallTime>) {
    if let Some(gone) = room_from.and_then(|from| Span::new(since, from)) {
        stream.ledger().backfill(gone, Some(Backfill::Done));
    }
}
