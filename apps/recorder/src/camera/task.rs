//! The task of one stream: runs its [`Session`] machine and carries out what it decides.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use keepwatch_model::{EventCode, GapReason, Machine, MonoTime, StreamId, WallTime, duration_from_ticks};
use keepwatch_recording::schedule::Schedule;
use keepwatch_recording::session::{Action, Event, Session, State};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::connect::{Outcome, connect};
use super::context::Context;
use super::gather::{Ending, Output, Signal};
use super::sent;
use super::state::CameraState;
use super::stream::{Connection, StreamState};

/// Signals of a session that may wait; they repeat themselves.
const SIGNALS_MAX: usize = 8;
/// Longest sleep without a look at the schedule: a wall clock that is set must not leave a camera unrecorded.
const SCHEDULE_LOOK: Duration = Duration::from_secs(30);

/// What is said of a camera that plays over UDP and of which no picture comes: the answer to `PLAY` came by TCP.
const NO_DATAGRAMS: &str = "no picture came over UDP: look whether a firewall between camera and recorder stops it, or set \
                            transport = \"tcp\"";

/// A running stream.
pub(crate) struct StreamTask {
    stop: watch::Sender<Option<Ending>>,
    handle: JoinHandle<Option<Output>>,
}

impl StreamTask {
    /// Starts `stream` of `camera` behind what is already held of it, or where a task left its `output` a moment ago:
    /// what that queued is not all held yet.
    pub(crate) fn start(
        context: Context,
        camera: Arc<CameraState>,
        stream: Arc<StreamState>,
        output: Option<Output>,
    ) -> Self {
        let (stop, stopped) = watch::channel(None);
        let handle = match camera.config().source.edge_node() {
            Some(node) => tokio::spawn(sent::follow(context, stream, node.to_owned(), stopped)),
            None => tokio::spawn(Driver::new(context, camera, stream, output).run(stopped)),
        };
        Self { stop, handle }
    }

    /// Ends the stream; what it has received is queued for the disk when this returns. Returns where it left off, for a
    /// task that goes on there.
    pub(crate) async fn stop(self, ending: Ending) -> Option<Output> {
        self.stop.send_replace(Some(ending));
        match self.handle.await {
            Ok(output) => output,
            Err(error) => {
                tracing::error!(%error, "the task of a stream ended badly");
                None
            }
        }
    }
}

struct Driver {
    context: Context,
    camera: Arc<CameraState>,
    stream: Arc<StreamState>,
    schedule: Schedule,
    session: Session,
    /// `None` while a connection has it.
    output: Option<Output>,
    connection: Option<Dialled>,
    /// The machine asked to dial while the last connection was still closing.
    redial: bool,
    signals: (mpsc::Sender<Signal>, mpsc::Receiver<Signal>),
    /// Pictures that were recorded before the session that stands.
    frames_before: u64,
    /// When the last record that the machine heard of, or that was there before it, became durable.
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
    fn new(
        context: Context,
        camera: Arc<CameraState>,
        stream: Arc<StreamState>,
        output: Option<Output>,
    ) -> Self {
        let output = match output {
            // What comes may have to wait from here on.
            Some(output) => Output { writer: stream.writer(&context.store), ..output },
            None => Output::new(&context.store, &stream),
        };
        // What a task before this one recorded says nothing of the sessions of this one.
        let durable_seen = stream.progress_at();
        let schedule = camera.config().timetable();
        let seed = camera
            .id
            .as_str()
            .bytes()
            .chain([stream.id.0])
            .fold(context.clock.wall().ticks().cast_unsigned(), |seed, byte| {
                seed.rotate_left(8) ^ u64::from(byte)
            });
        Self {
            context,
            camera,
            stream,
            schedule,
            session: Session::new(seed),
            output: Some(output),
            connection: None,
            redial: false,
            signals: mpsc::channel(SIGNALS_MAX),
            frames_before: 0,
            durable_seen,
            missing: None,
        }
    }

    /// Runs until it is told to stop; returns the output, unless a fault took it along.
    async fn run(mut self, mut stopped: watch::Receiver<Option<Ending>>) -> Option<Output> {
        self.follow_schedule();
        if self.session.state() == State::Unwanted {
            self.stream.account().unscheduled_from(self.context.clock.wall());
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
                () = self.stream.progressed() => self.look_at_progress(),
                () = tokio::time::sleep_until(wake.into()) => {
                    self.look_at_progress();
                    self.follow_schedule();
                    self.step(|session, now, out| session.timeout(now, out));
                }
            }
        }
    }

    /// Hangs up and waits until what was received is queued.
    async fn stop(mut self, ending: Ending) -> Option<Output> {
        self.cancel(ending);
        let mut obeyed = false;
        if self.connection.is_some()
            && let Some(outcome) = finished(&mut self.connection).await
        {
            obeyed = outcome.was_told();
            self.output = Some(outcome.output);
        }
        // A connection that ended by itself at the same moment knew nothing of this ending.
        if !obeyed {
            ending.enter(&self.stream, self.context.clock.wall());
        }
        self.output
    }

    fn next_wake(&self) -> Instant {
        let now = self.context.clock.mono();
        let mut wait = SCHEDULE_LOOK;
        if let Some((at, _)) = self.session.deadline() {
            wait = wait.min(at.since(now));
        }
        let wall = self.context.clock.wall();
        if let Some(change) = self.schedule.next_change(wall) {
            wait = wait.min(duration_from_ticks(change.ticks_since(wall)));
        }
        self.context.clock.instant(now + wait)
    }

    fn follow_schedule(&mut self) {
        let wanted = self.schedule.is_open(self.context.clock.wall());
        if wanted == (self.session.state() == State::Unwanted) {
            let event = if wanted { Event::Wanted } else { Event::Unwanted };
            if wanted {
                // Until the first picture. Nobody is told of the time a dial takes, only of one that fails.
                self.stream.account().missing_from(self.context.clock.wall(), GapReason::ConnectionLost);
            }
            self.step(|session, now, out| session.handle(now, event, out));
        }
    }

    fn signal(&mut self, signal: Signal) {
        let event = match signal {
            Signal::Connected => {
                self.frames_before = self.frames();
                Event::Connected
            }
            Signal::KeyFrameMissing => Event::KeyFrameMissing,
            Signal::StoreRefused(reason) => Event::StoreRefused(reason),
        };
        self.step(|session, now, out| session.handle(now, event, out));
    }

    /// Tells the machine of records that reached the disk, or that wait for it too long.
    fn look_at_progress(&mut self) {
        let durable = self.stream.progress_at();
        if durable > self.durable_seen {
            self.durable_seen = durable;
            self.step(|session, now, out| session.handle(now, Event::Durable, out));
        } else if self.stream.pending() > 0
            && self.session.deadline().is_some_and(|(at, _)| at <= self.context.clock.mono())
        {
            // The camera does its part: its records wait for the disk.
            let event = Event::StoreRefused(GapReason::DiskSlow);
            self.step(|session, now, out| session.handle(now, event, out));
        }
    }

    fn connection_ended(&mut self, outcome: Option<Outcome>) {
        // A fault in handling one session must not cost the camera: it begins anew behind what is held.
        let outcome = outcome.unwrap_or_else(|| Outcome {
            output: Output::new(&self.context.store, &self.stream),
            reason: GapReason::StreamUnusable,
            detail: Some("the session ended by a fault of the recorder; its log says more".to_owned()),
        });
        let cancelled = self.connection.take().and_then(|dialled| *dialled.cancel.borrow());
        if let (Some(ending), false) = (cancelled, outcome.was_told()) {
            // It ended by itself at the moment it was told to.
            ending.enter(&self.stream, self.context.clock.wall());
        }
        self.output = Some(outcome.output);
        if let Some(detail) = outcome.detail {
            tracing::info!(camera = %self.camera.id, stream = %self.stream.id, reason = ?outcome.reason, "{detail}");
            self.stream.set_detail(detail);
        }
        if cancelled.is_none() {
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
        decide(&mut self.session, self.context.clock.mono(), &mut actions);
        for action in actions {
            tracing::debug!(camera = %self.camera.id, stream = %self.stream.id, ?action, "session");
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
                    self.stream.account().unscheduled_from(self.context.clock.wall());
                }
                self.missing = None;
            }
            Action::Recording => self.recording(),
        }
    }

    /// Pictures that were recorded since the start.
    fn frames(&self) -> u64 {
        self.stream.counters().frames.load(Ordering::Relaxed)
    }

    /// What this camera's case says of `reason`; else what can be done about it in general.
    fn remedy(&self, reason: GapReason) -> &'static str {
        let unheard = reason == GapReason::CameraSilent
            && self.stream.learned().transport == Some("udp")
            && self.frames() == self.frames_before;
        if unheard { NO_DATAGRAMS } else { reason.remedy() }
    }

    fn missing_for(&mut self, reason: GapReason) {
        let now = self.context.clock.wall();
        let remedy = self.remedy(reason);
        if remedy == NO_DATAGRAMS {
            self.stream.set_detail(NO_DATAGRAMS.to_owned());
        }
        {
            let mut ledger = self.stream.account();
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
            remedy
        );
        let code = match self.stream.id {
            StreamId::MAIN => EventCode::RecordingStopped,
            StreamId(_) => EventCode::SubStreamStopped,
        };
        self.event(code, text);
    }

    fn recording(&mut self) {
        self.camera.locator().trust(self.stream.id);
        let text = match self.missing.take() {
            Some((since, reason)) => {
                let seconds =
                    self.context.clock.wall().ticks_since(since) / keepwatch_model::TICKS_PER_SECOND;
                let word = if self.stream.is_buffered() { "received" } else { "recorded" };
                format!("{word} again after {seconds} s: {}", reason.sentence())
            }
            None if self.stream.is_buffered() => "received; it waits for an alarm".to_owned(),
            None => "recorded".to_owned(),
        };
        let code = match self.stream.id {
            StreamId::MAIN => EventCode::RecordingStarted,
            StreamId(_) => EventCode::SubStreamStarted,
        };
        self.event(code, text);
    }

    fn event(&self, code: EventCode, text: String) {
        self.context.tell(&self.stream, self.context.clock.wall(), code, text);
    }

    fn show(&self) {
        let reason = self.missing.map_or(GapReason::ConnectionLost, |(_, reason)| reason);
        let connection = match self.session.state() {
            State::Unwanted => Connection::Unwanted,
            State::Waiting { .. } => Connection::Waiting(reason),
            State::Connecting { .. } => Connection::Connecting,
            State::Connected { .. } => Connection::Connected(reason),
            State::Recording { .. } if self.stream.is_quiet() => Connection::Buffered,
            State::Recording { .. } if self.stream.is_buffered() => Connection::Armed,
            State::Recording { .. } => Connection::Recording,
        };
        self.stream.set_connection(connection, self.context.clock.wall());
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
        let dial = connect(
            self.context.clone(),
            Arc::clone(&self.camera),
            Arc::clone(&self.stream),
            output,
            cancelled,
            self.signals.0.clone(),
        );
        let task = tokio::spawn(dial);
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

#[cfg(test)]
mod tests;
