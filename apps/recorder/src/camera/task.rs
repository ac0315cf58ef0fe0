//! The task of one camera: runs its [`Session`] machine and carries out what it decides.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use keepwatch_model::{
    EventCode, GapReason, Machine, MonoTime, Subject, TrackConfig, WallTime, duration_from_ticks,
};
use keepwatch_recording::schedule::Schedule;
use keepwatch_recording::session::{Action, Event, Session, State};
use keepwatch_rtsp::client::{self, ClientConfig, ClientError};
use keepwatch_store::Store;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::gather::{Ending, Gather, Output, Signal};
use super::ingest::Ingest;
use super::state::{CameraState, Connection};
use crate::clock::Clock;
use crate::config::CameraSource;
use crate::events::Events;

/// Signals of a session that may wait; they repeat themselves.
const SIGNALS_MAX: usize = 8;
/// Longest sleep without a look at the schedule: a wall clock that is set must not leave a camera unrecorded.
const SCHEDULE_LOOK: Duration = Duration::from_secs(30);

/// Longest farewell to a camera that is hung up.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// A running camera.
pub(crate) struct CameraTask {
    stop: watch::Sender<Option<Ending>>,
    handle: JoinHandle<()>,
}

impl CameraTask {
    /// Starts the camera, behind what is already held of it.
    pub(crate) fn start(camera: Arc<CameraState>, events: Arc<Events>, clock: Clock, store: Store) -> Self {
        let (stop, stopped) = watch::channel(None);
        let handle = tokio::spawn(Driver::new(camera, events, clock, store).run(stopped));
        Self { stop, handle }
    }

    /// Ends the camera; what it has received is queued for the disk when this returns.
    pub(crate) async fn stop(self, ending: Ending) {
        self.stop.send_replace(Some(ending));
        if let Err(error) = self.handle.await {
            tracing::error!(%error, "camera task ended badly");
        }
    }
}

/// What a connection came to.
struct Outcome {
    output: Output,
    reason: GapReason,
    /// In the words of the device or the system; `None` when it was told to end.
    detail: Option<String>,
}

struct Driver {
    camera: Arc<CameraState>,
    events: Arc<Events>,
    clock: Clock,
    schedule: Schedule,
    session: Session,
    store: Store,
    /// `None` while a connection has it.
    output: Option<Output>,
    connection: Option<Dialled>,
    /// The machine asked to dial while the last connection was still closing.
    redial: bool,
    signals: (mpsc::Sender<Signal>, mpsc::Receiver<Signal>),
    durable_seen: Option<MonoTime>,
    /// Since when nothing is recorded, for the event when it is again.
    missing: Option<(WallTime, GapReason)>,
}

struct Dialled {
    /// A task of its own, so that reading a socket several times a second does not look at all the driver waits for.
    task: JoinHandle<Outcome>,
    cancel: watch::Sender<Option<Ending>>,
}

impl Driver {
    fn new(camera: Arc<CameraState>, events: Arc<Events>, clock: Clock, store: Store) -> Self {
        let output = Output::new(&store, &camera);
        let schedule =
            Schedule::new(camera.config().schedule.iter().map(|span| (span.from_minute, span.to_minute)));
        let seed =
            camera.id.as_str().bytes().fold(clock.wall().ticks().cast_unsigned(), |seed, byte| {
                seed.rotate_left(8) ^ u64::from(byte)
            });
        Self {
            camera,
            events,
            clock,
            schedule,
            session: Session::new(seed),
            store,
            output: Some(output),
            connection: None,
            redial: false,
            signals: mpsc::channel(SIGNALS_MAX),
            durable_seen: None,
            missing: None,
        }
    }

    async fn run(mut self, mut stopped: watch::Receiver<Option<Ending>>) {
        self.follow_schedule();
        if self.session.state() == State::Unwanted {
            self.camera.ledger().unscheduled_from(self.clock.wall());
        }
        loop {
            let wake = self.next_wake();
            tokio::select! {
                changed = stopped.changed() => {
                    let ending = stopped.borrow().unwrap_or(Ending::Missing(GapReason::RecorderDown));
                    let _ = changed;
                    return self.stop(ending).await;
                }
                outcome = finished(&mut self.connection) => self.connection_ended(outcome),
                Some(signal) = self.signals.1.recv() => self.signal(signal),
                () = self.camera.progressed() => self.look_at_progress(),
                () = tokio::time::sleep_until(wake.into()) => {
                    self.look_at_progress();
                    self.follow_schedule();
                    self.step(|session, now, out| session.timeout(now, out));
                }
            }
        }
    }

    /// Hangs up and waits until what was received is queued.
    async fn stop(mut self, ending: Ending) {
        if self.connection.is_some() {
            self.cancel(ending);
            finished(&mut self.connection).await;
        } else {
            ending.enter(&self.camera, self.clock.wall());
        }
    }

    fn next_wake(&self) -> Instant {
        let now = self.clock.mono();
        let mut wait = SCHEDULE_LOOK;
        if let Some((at, _)) = self.session.deadline() {
            wait = wait.min(at.since(now));
        }
        let wall = self.clock.wall();
        if let Some(change) = self.schedule.next_change(wall) {
            wait = wait.min(duration_from_ticks(change.ticks_since(wall)));
        }
        self.clock.instant(now + wait)
    }

    fn follow_schedule(&mut self) {
        let wanted = self.schedule.is_open(self.clock.wall());
        if wanted == (self.session.state() == State::Unwanted) {
            let event = if wanted { Event::Wanted } else { Event::Unwanted };
            if wanted {
                // Until the first picture. Nobody is told of the time a dial takes, only of one that fails.
                self.camera.ledger().missing_from(self.clock.wall(), GapReason::ConnectionLost);
            }
            self.step(|session, now, out| session.handle(now, event, out));
        }
    }

    fn signal(&mut self, signal: Signal) {
        let event = match signal {
            Signal::Connected => Event::Connected,
            Signal::KeyFrameMissing => Event::KeyFrameMissing,
            Signal::StoreRefused(reason) => Event::StoreRefused(reason),
        };
        self.step(|session, now, out| session.handle(now, event, out));
    }

    /// Tells the machine of records that reached the disk, or that wait for it too long.
    fn look_at_progress(&mut self) {
        let durable = self.camera.durable_at();
        if durable > self.durable_seen {
            self.durable_seen = durable;
            self.step(|session, now, out| session.handle(now, Event::Durable, out));
        } else if self.camera.pending() > 0
            && self.session.deadline().is_some_and(|(at, _)| at <= self.clock.mono())
        {
            // The camera does its part: its records wait for the disk.
            let event = Event::StoreRefused(GapReason::DiskSlow);
            self.step(|session, now, out| session.handle(now, event, out));
        }
    }

    fn connection_ended(&mut self, outcome: Option<Outcome>) {
        // A fault in handling one session must not cost the camera: it begins anew behind what is held.
        let outcome = outcome.unwrap_or_else(|| Outcome {
            output: Output::new(&self.store, &self.camera),
            reason: GapReason::StreamUnusable,
            detail: Some("the session ended by a fault of the recorder; its log says more".to_owned()),
        });
        let cancelled = self.connection.take().is_some_and(|dialled| dialled.cancel.borrow().is_some());
        self.output = Some(outcome.output);
        if let Some(detail) = outcome.detail {
            tracing::info!(camera = %self.camera.id, reason = ?outcome.reason, "{detail}");
            self.camera.set_detail(detail);
        }
        if !cancelled {
            let event = Event::Ended(outcome.reason);
            self.step(|session, now, out| session.handle(now, event, out));
        }
        if std::mem::take(&mut self.redial) {
            self.dial();
        }
    }

    /// Lets the machine decide, carries out its actions and shows where it stands.
    fn step(&mut self, decide: impl FnOnce(&mut Session, MonoTime, &mut Vec<Action>)) {
        let mut actions = Vec::new();
        decide(&mut self.session, self.clock.mono(), &mut actions);
        for action in actions {
            tracing::debug!(camera = %self.camera.id, ?action, "session");
            self.carry_out(action);
        }
        self.show();
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Connect => self.dial(),
            Action::Disconnect(reason) => {
                self.redial = false;
                self.cancel(reason.map_or(Ending::Unscheduled, Ending::Missing));
            }
            Action::Missing(reason) => self.missing_for(reason),
            Action::NotWanted => {
                // A connection that is being closed tells the ledger from when on, itself.
                if self.connection.is_none() {
                    self.camera.ledger().unscheduled_from(self.clock.wall());
                }
                self.missing = None;
            }
            Action::Recording => self.recording(),
        }
    }

    fn missing_for(&mut self, reason: GapReason) {
        let now = self.clock.wall();
        {
            let mut ledger = self.camera.ledger();
            // While frames are on their way, the end of the session settles from when on they are missing.
            if !ledger.is_recording() {
                ledger.missing_from(now, reason);
            }
        }
        let since = match self.missing {
            Some((since, _)) => since,
            None => now,
        };
        self.missing = Some((since, reason));
        let text = format!(
            "{}; footage is missing since {since}, until it can be recorded again; {}",
            reason.sentence(),
            reason.remedy()
        );
        self.event(EventCode::RecordingStopped, text);
    }

    fn recording(&mut self) {
        let text = match self.missing.take() {
            Some((since, reason)) => {
                let seconds = self.clock.wall().ticks_since(since) / keepwatch_model::TICKS_PER_SECOND;
                format!("recorded again after {seconds} s: {}", reason.sentence())
            }
            None => "recorded".to_owned(),
        };
        self.event(EventCode::RecordingStarted, text);
    }

    fn event(&self, code: EventCode, text: String) {
        tracing::info!(camera = %self.camera.id, %code, "{text}");
        self.events.add(self.clock.wall(), code, Subject::Camera(self.camera.id), text);
    }

    fn show(&self) {
        let reason = self.missing.map_or(GapReason::ConnectionLost, |(_, reason)| reason);
        let connection = match self.session.state() {
            State::Unwanted => Connection::Unwanted,
            State::Waiting { .. } => Connection::Waiting(reason),
            State::Connecting { .. } => Connection::Connecting,
            State::Connected { .. } => Connection::Connected(reason),
            State::Recording { .. } => Connection::Recording,
        };
        self.camera.set_connection(connection, self.clock.wall());
    }

    fn cancel(&self, ending: Ending) {
        if let Some(dialled) = &self.connection {
            dialled.cancel.send_replace(Some(ending));
        }
    }

    fn dial(&mut self) {
        let Some(output) = self.output.take() else {
            self.redial = true;
            return;
        };
        let (cancel, cancelled) = watch::channel(None);
        let camera = Arc::clone(&self.camera);
        let events = Arc::clone(&self.events);
        let task =
            tokio::spawn(connect(camera, events, self.clock, output, cancelled, self.signals.0.clone()));
        self.connection = Some(Dialled { task, cancel });
    }
}

/// Waits for the end of the connection; for ever when there is none. `None` when its task broke down.
async fn finished(connection: &mut Option<Dialled>) -> Option<Outcome> {
    match connection {
        Some(dialled) => (&mut dialled.task)
            .await
            .inspect_err(|error| tracing::error!(%error, "a camera's connection ended badly"))
            .ok(),
        None => std::future::pending().await,
    }
}

/// Dials, plays and records until the session ends or is cancelled.
async fn connect(
    camera: Arc<CameraState>,
    events: Arc<Events>,
    clock: Clock,
    mut output: Output,
    mut cancelled: watch::Receiver<Option<Ending>>,
    signals: mpsc::Sender<Signal>,
) -> Outcome {
    let dialled = tokio::select! {
        dialled = dial(&camera) => dialled,
        ending = cancellation(&mut cancelled) => {
            ending.enter(&camera, clock.wall());
            return Outcome { output, reason: reason_of(ending), detail: None };
        }
    };
    let (session, tracks, video) = match dialled {
        Ok(dialled) => dialled,
        Err((reason, detail)) => return Outcome { output, reason, detail: Some(detail) },
    };
    camera.counters().sessions.fetch_add(1, Ordering::Relaxed);
    let _ = signals.send(Signal::Connected).await;
    let gather = Gather::new(&camera, &events, clock, &mut output, signals, &tracks, video);
    let mut ingest = match Ingest::new(&tracks, gather) {
        Ok(ingest) => ingest,
        Err(error) => {
            return Outcome { output, reason: GapReason::StreamUnusable, detail: Some(error.to_string()) };
        }
    };
    let stop = ingest.stop_flag();
    let (ending, detail) = {
        let run = session.run(&mut ingest, || clock.mono());
        tokio::pin!(run);
        tokio::select! {
            end = &mut run => (Ending::Missing(GapReason::ConnectionLost), Some(end.reason.to_string())),
            ending = cancellation(&mut cancelled) => {
                // The camera is told, so that it has a session free again; one that does not listen is left.
                stop.store(true, Ordering::Relaxed);
                let _ = tokio::time::timeout(FAREWELL_MAX, run).await;
                (ending, None)
            }
        }
    };
    ingest.finish(clock.mono(), ending);
    Outcome { output, reason: reason_of(ending), detail }
}

/// Connects and asks for pictures. Returns the session, its tracks and which of them is the video.
async fn dial(
    camera: &CameraState,
) -> Result<(client::Session, Vec<TrackConfig>, usize), (GapReason, String)> {
    let Some(config) = client_config(camera) else {
        let detail = "the camera has not told where its streams are".to_owned();
        return Err((GapReason::ConnectionLost, detail));
    };
    let fail = |error: ClientError| (reason_of_error(&error), error.to_string());
    let described = client::connect(&config).await.map_err(fail)?;
    let offered = &described.presentation().tracks;
    let first = |video: bool| {
        offered
            .iter()
            .position(|track| track.config.as_ref().is_ok_and(|config| config.kind.is_video() == video))
    };
    let Some(video) = first(true) else {
        let detail = "the camera offers no H.264 video; set it to H.264".to_owned();
        return Err((GapReason::StreamUnusable, detail));
    };
    let audio = first(false).filter(|_| camera.config().audio);
    let chosen: Vec<usize> = std::iter::once(video).chain(audio).collect();
    let tracks = chosen.iter().filter_map(|track| offered.get(*track)?.config.clone().ok()).collect();
    let session = described.play(&chosen).await.map_err(fail)?;
    Ok((session, tracks, 0))
}

async fn cancellation(cancelled: &mut watch::Receiver<Option<Ending>>) -> Ending {
    match cancelled.wait_for(Option::is_some).await.map(|ending| *ending) {
        Ok(Some(ending)) => ending,
        // The driver is gone: the recorder ends.
        Ok(None) | Err(_) => Ending::Missing(GapReason::RecorderDown),
    }
}

fn reason_of(ending: Ending) -> GapReason {
    match ending {
        Ending::Missing(reason) => reason,
        Ending::Unscheduled => GapReason::ConnectionLost,
    }
}

fn client_config(camera: &CameraState) -> Option<ClientConfig> {
    let config = camera.config();
    let url = match &config.source {
        CameraSource::Rtsp { url, .. } => url.clone(),
        CameraSource::Onvif { .. } => return None,
    };
    Some(ClientConfig {
        user: config.user.clone(),
        password: config.password.clone(),
        ..ClientConfig::new(url)
    })
}

fn reason_of_error(error: &ClientError) -> GapReason {
    match error {
        ClientError::Unreachable(_) | ClientError::TimedOut(_) | ClientError::Ended { .. } => {
            GapReason::ConnectionLost
        }
        ClientError::Refused { .. } | ClientError::Redirected { .. } | ClientError::Url(_) => {
            GapReason::ConnectionRefused
        }
        ClientError::Unauthorized(_) => GapReason::LoginRefused,
        ClientError::Protocol { .. } | ClientError::NoUsableTrack(_) => GapReason::StreamUnusable,
    }
}
