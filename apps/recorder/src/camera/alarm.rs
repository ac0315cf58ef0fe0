//! Recording on alarm: what of a camera waits in memory, and goes to the disk when there is an alarm.
//!
//! Whether there is one is decided by [`keepwatch_recording::alarm`]. Triggers come by the pull point, in the metadata and over
//! the API, each from a task of its own, and are told there at once; one task for each camera carries out what is decided.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use keepwatch_model::{EventCode, Machine, MonoTime, Span, WallTime};
use keepwatch_onvif::notification::Notification;
use keepwatch_recording::alarm::{Action, Alarms as Decisions, Cause, Ended, Event, Standing};
use keepwatch_recording::notices::Condition;
use keepwatch_store::{HoldLimits, Release};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::context::Context;
use super::listen::Listening;
use super::state::CameraState;
use super::stream::Connection;
use crate::clock::Clock;
use crate::config::{AlarmConfig, CameraConfig, CameraSource, camera};

/// Time between two looks at whether triggers are heard.
const LOOK: Duration = Duration::from_secs(1);
/// What is this much older than it should be may still be needed: a record may stay open so long, and be on its way.
const SPARE: Duration = Duration::from_secs(3);
/// Triggers that are not heard for so long are worth telling: a camera that was restarted is back before.
const UNHEARD_TOLD: Duration = Duration::from_secs(30);

/// Whether a camera is recorded on alarm, and how its alarms stand.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    /// `None` while it is recorded all the time.
    armed: Mutex<Option<Armed>>,
    changed: Notify,
}

#[derive(Debug)]
struct Armed {
    config: AlarmConfig,
    decisions: Decisions,
    /// What is to be carried out; a beginning and an end at most, as nothing ends unless the task looks.
    actions: Vec<Action>,
    /// Since when there is an alarm, or none.
    since: WallTime,
    /// Whether triggers are heard; `None` where only a call is one.
    heard: Option<bool>,
}

/// How the alarms of a camera stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmView {
    /// Since when it is so.
    pub since: WallTime,
    /// The alarm that there is.
    pub alarm: Option<Alarm>,
    /// Whether triggers are heard; `None` where only a call is one.
    pub heard: Option<bool>,
}

/// An alarm that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// What began it.
    pub cause: Cause,
    /// What keeps it up; `None` when nothing does, and it ends by itself.
    pub kept_by: Option<Cause>,
}

/// Why nobody can raise an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RaiseError {
    /// It is recorded all the time.
    #[error("the camera is recorded all the time: an alarm would change nothing")]
    Continuous,
    /// `alarm_on` does not name the API.
    #[error("the camera takes no alarms from outside: alarm_on does not name \"api\"")]
    NotTaken,
}

impl Alarms {
    /// Whether the camera is recorded on alarm.
    pub(super) fn are_armed(&self) -> bool {
        self.armed().is_some()
    }

    /// How they stand; `None` for a camera that is recorded all the time.
    pub(crate) fn view(&self) -> Option<AlarmView> {
        let armed = self.armed();
        let Armed { decisions, since, heard, .. } = armed.as_ref()?;
        let alarm = match decisions.standing() {
            Standing::Waiting => None,
            Standing::Alarm { cause, kept_by } => Some(Alarm { cause: cause.clone(), kept_by }),
        };
        Some(AlarmView { since: *since, alarm, heard: *heard })
    }

    /// The camera says something, which has this name and condition.
    pub(super) fn told(&self, clock: Clock, notification: &Notification, name: &str, condition: Condition) {
        self.act(|armed| {
            if armed.config.is_triggered_by(notification) {
                armed.decide(clock, Event::Told { name: name.to_owned(), condition });
            }
        });
    }

    /// Somebody raises an alarm that lasts so long, zero for a moment, and says who and why in `words`.
    ///
    /// # Errors
    /// When it would trigger nothing.
    pub(crate) fn raise(&self, clock: Clock, words: String, lasts: Duration) -> Result<(), RaiseError> {
        let raised = self.act(|armed| {
            if !armed.config.takes_calls() {
                return Err(RaiseError::NotTaken);
            }
            armed.decide(clock, Event::Raised { words, lasts });
            Ok(())
        });
        raised.unwrap_or(Err(RaiseError::Continuous))
    }

    fn act<T>(&self, act: impl FnOnce(&mut Armed) -> T) -> Option<T> {
        let acted = self.armed().as_mut().map(act);
        self.changed.notify_one();
        acted
    }

    fn armed(&self) -> MutexGuard<'_, Option<Armed>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Armed {
    fn decide(&mut self, clock: Clock, event: Event) {
        let before = self.actions.len();
        self.decisions.handle(clock.mono(), event, &mut self.actions);
        if self.actions.len() > before {
            self.since = clock.wall();
        }
    }
}

/// The task that records a camera on alarm.
pub(super) struct Guard {
    camera: Arc<CameraState>,
    stop: watch::Sender<bool>,
    handle: JoinHandle<()>,
}

impl Guard {
    /// Looks after `camera` if it is to be recorded on alarm. Before its streams are started: they are to be able to wait.
    pub(super) fn start(context: &Context, camera: &Arc<CameraState>) -> Option<Self> {
        let config = camera.config().alarm.clone().filter(|_| camera.guest_of().is_none())?;
        prepare(context, camera);
        let now = context.clock.wall();
        let decisions = Decisions::new(context.clock.mono(), config.post);
        *camera.alarms().armed() =
            Some(Armed { config, decisions, actions: Vec::new(), since: now, heard: None });
        let (stop, stopped) = watch::channel(false);
        let guarding = Guarding {
            context: context.clone(),
            camera: Arc::clone(camera),
            unheard_since: None,
            unheard_told: false,
        };
        Some(Self { camera: Arc::clone(camera), stop, handle: tokio::spawn(guarding.run(stopped)) })
    }

    /// Ends it. What waits stays where it is.
    pub(super) async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.handle.await {
            tracing::error!(%error, "the task that records a camera on alarm ended badly");
        }
        *self.camera.alarms().armed() = None;
    }
}

/// Makes the streams of a camera that is recorded on alarm able to wait in memory.
pub(super) fn prepare(context: &Context, camera: &CameraState) {
    if camera.config().alarm.is_some() && camera.guest_of().is_none() {
        camera.streams().for_each(|stream| stream.may_wait(&context.store));
    }
}

/// All that comes of a camera goes to the disk again, first what waits.
pub(super) fn record_always(context: &Context, camera: &CameraState, before: &AlarmConfig) {
    let now = context.clock.wall();
    for stream in camera.streams() {
        let sends = stream.account().is_recording();
        let _ = stream.let_through(&context.store, needed(before, sends), now);
    }
}

/// What of the time before an alarm goes to the disk. A camera that sends, and seldom a picture, has one all the same.
const fn needed(config: &AlarmConfig, sends: bool) -> Release {
    Release { age_max: config.pre, newest: sends }
}

/// Whether what a camera says to trigger an alarm is heard; `None` where only a call is one.
fn hears(camera: &CameraState, config: &CameraConfig) -> Option<bool> {
    config.alarm.as_ref().filter(|alarm| alarm.listens())?;
    if !camera::hears(&config.source, config.metadata) {
        return None;
    }
    if matches!(config.source, CameraSource::Onvif { events: true, .. }) {
        return Some(camera.listening() == Some(Listening::Heard));
    }
    let main = camera.main();
    Some(match main.connection().0 {
        // Nothing is to be recorded, so nothing is to be heard.
        Connection::Unwanted => true,
        Connection::Waiting(_) | Connection::Connecting | Connection::Relayed => false,
        Connection::Connected(_) | Connection::Recording | Connection::Buffered | Connection::Armed => {
            main.learned().tracks.contains(&"metadata")
        }
    })
}

struct Guarding {
    context: Context,
    camera: Arc<CameraState>,
    /// Since when triggers are not heard.
    unheard_since: Option<(MonoTime, WallTime)>,
    unheard_told: bool,
}

impl Guarding {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        if let Some(AlarmView { alarm: Some(alarm), .. }) = self.camera.alarms().view() {
            self.tell(EventCode::AlarmBegan, format!("recorded at first: {}", alarm.cause));
        }
        loop {
            let wake = self.look();
            tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => return,
                () = self.camera.alarms().changed.notified() => {}
                () = tokio::time::sleep_until(wake.into()) => {}
            }
        }
    }

    /// Takes up what changed and carries out what is decided; returns when to look again.
    fn look(&mut self) -> Instant {
        let config = self.camera.config();
        let now = self.context.clock.mono();
        let heard = hears(&self.camera, &config);
        let mut actions = Vec::new();
        let mut wake = now + LOOK;
        let mut changed = false;
        // A change that takes the alarms away ends this task; until then those before hold.
        let armed = config.alarm.as_ref().zip(self.camera.alarms().armed().as_mut()).map(|(alarm, armed)| {
            if armed.config != *alarm {
                armed.config = alarm.clone();
                armed.decisions.set_post(alarm.post);
                changed = true;
            }
            armed.heard = heard;
            // Whatever is due is done with it.
            armed
                .decide(self.context.clock, if heard == Some(false) { Event::Unheard } else { Event::Heard });
            std::mem::swap(&mut actions, &mut armed.actions);
            if let Some((at, _)) = armed.decisions.deadline() {
                wake = wake.min(at);
            }
            armed.config.clone()
        });
        if let Some(alarm) = armed {
            actions.into_iter().for_each(|action| self.carry_out(&alarm, action));
            // Also a sub stream that was added while the camera waits.
            if self.camera.is_buffered()
                && (changed || !self.camera.streams().all(|stream| stream.is_buffered()))
            {
                self.wait(&alarm);
            }
        }
        self.look_at_silence(now, heard);
        self.context.clock.instant(wake)
    }

    fn carry_out(&self, alarm: &AlarmConfig, action: Action) {
        tracing::debug!(camera = %self.camera.id, ?action, "alarm");
        match action {
            Action::Begin(cause) => {
                let first = self.record(alarm).map_or_else(String::new, |span| {
                    format!("; what waited in memory since {} is recorded with it", span.from)
                });
                self.tell(EventCode::AlarmBegan, format!("an alarm began: {cause}{first}"));
            }
            Action::End(Ended { cause, lasted, triggers }) => {
                self.wait(alarm);
                let text = format!(
                    "an alarm ended after {} s and {triggers} triggers: {cause}; the camera waits for the next",
                    lasted.as_secs()
                );
                self.tell(EventCode::AlarmEnded, text);
            }
        }
    }

    /// What waits goes to the disk, and what comes later with it. Returns what waited of the main stream.
    fn record(&self, alarm: &AlarmConfig) -> Option<Span> {
        let now = self.context.clock.wall();
        let mut waited = None;
        for stream in self.camera.streams() {
            let sends = stream.account().is_recording();
            let span = stream.let_through(&self.context.store, needed(alarm, sends), now);
            if stream.id == self.camera.main().id {
                waited = span;
            }
        }
        waited
    }

    /// What comes waits in memory from now on.
    fn wait(&self, alarm: &AlarmConfig) {
        for stream in self.camera.streams() {
            stream.hold_back(limits(alarm), self.context.clock.wall());
        }
    }

    /// Tells of triggers that are not heard, and when they are again.
    fn look_at_silence(&mut self, now: MonoTime, heard: Option<bool>) {
        if heard != Some(false) {
            self.unheard_since = None;
            if std::mem::take(&mut self.unheard_told) {
                self.tell(EventCode::AlarmHeard, "what triggers its alarms is heard again".to_owned());
            }
            return;
        }
        let (since, at) = *self.unheard_since.get_or_insert((now, self.context.clock.wall()));
        if !self.unheard_told && now.since(since) >= UNHEARD_TOLD {
            self.unheard_told = true;
            let why = match self.camera.listening() {
                Some(Listening::Waiting(why)) => why,
                Some(Listening::Heard) | None => "its metadata does not come".to_owned(),
            };
            let text = format!(
                "what triggers its alarms cannot be heard since {at}: {why}; it is recorded all the time until it can, which \
                 takes more room; look whether the camera reports events to this user, or set alarm_on = [\"api\"]"
            );
            self.tell(EventCode::AlarmUnheard, text);
        }
    }

    fn tell(&self, code: EventCode, text: String) {
        let now = self.context.clock.wall();
        // Outside of its schedule nothing is recorded, whatever happens.
        if self.camera.config().timetable().is_open(now) {
            self.context.tell(self.camera.main(), now, code, text);
        }
    }
}

/// How much waits. What all cameras together may take is bounded by the store; the oldest of all gives way.
fn limits(alarm: &AlarmConfig) -> HoldLimits {
    HoldLimits { bytes_max: u64::MAX, age_max: alarm.pre.saturating_add(SPARE) }
}

#[cfg(test)]
mod tests;
