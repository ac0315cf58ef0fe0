//! The task that keeps one guest: begins and ends its recording as it is wished, one thing after another.
//!
//! A wish is left behind in no time and carried out at once; only a session that is just being ended is waited for, which
//! takes the camera's farewell. Nothing of it touches other cameras.

use std::sync::Arc;
use std::time::Duration;

use keepwatch_model::{EventCode, StreamId, WallTime};
use keepwatch_store::{HoldLimits, Release};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{BufferLimits, Duty};
use crate::camera::{CameraState, CameraTask, Connection, Context, Ending, Outputs};
use crate::config::CameraConfig;
use crate::node::settle;

/// What is this much older than it should be may still be needed: a record may stay open so long, and be on its way.
const SPARE: Duration = Duration::from_secs(3);

/// How a guest is to be kept.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) duty: Duty,
    pub(crate) config: Arc<CameraConfig>,
    /// How much waits in memory under [`Duty::Buffer`]; `None` for nothing.
    pub(crate) buffer: Option<BufferLimits>,
    /// It is to be kept no more, and this follows.
    pub(crate) end: Option<Ending>,
}

/// The handle on the task.
#[derive(Debug)]
pub(crate) struct Keeper {
    wishes: watch::Sender<Wish>,
    handle: JoinHandle<()>,
}

impl Keeper {
    /// Keeps `camera` as `wish` says.
    pub(crate) fn start(context: Context, camera: Arc<CameraState>, wish: Wish) -> Self {
        let (wishes, wished) = watch::channel(wish);
        let handle =
            tokio::spawn(Keeping { context, camera, running: None, left: Outputs::default() }.run(wished));
        Self { wishes, handle }
    }

    /// Changes what is wished; what is the same already wakes nobody.
    pub(crate) fn wish(&self, change: impl FnOnce(&mut Wish) -> bool) {
        self.wishes.send_if_modified(change);
    }

    /// What it is told to do.
    pub(crate) fn duty(&self) -> Duty {
        self.wishes.borrow().duty
    }

    /// Keeps it no more. What was received is on disk, or given up, when this returns.
    pub(crate) async fn end(self, ending: Ending) {
        self.wishes.send_modify(|wish| wish.end = Some(ending));
        if let Err(error) = self.handle.await {
            tracing::error!(%error, "the task that keeps a guest ended badly");
        }
    }
}

/// Where footage is to go.
enum Asked {
    Nothing,
    Memory(BufferLimits),
    Disk,
}

impl Asked {
    fn of(wish: &Wish) -> Self {
        match (wish.duty, wish.buffer) {
            (Duty::Rest, _) | (Duty::Buffer, None) => Self::Nothing,
            (Duty::Buffer, Some(limits)) => Self::Memory(limits),
            (Duty::Record, _) => Self::Disk,
        }
    }
}

struct Keeping {
    context: Context,
    camera: Arc<CameraState>,
    /// The recording, and the configuration that it runs under.
    running: Option<(CameraTask, Arc<CameraConfig>)>,
    /// Where the last one left off.
    left: Outputs,
}

impl Keeping {
    async fn run(mut self, mut wished: watch::Receiver<Wish>) {
        loop {
            let wish = wished.borrow_and_update().clone();
            if let Some(ending) = wish.end {
                // An order to record that came just before is carried out as far as it can be.
                if wish.duty == Duty::Record {
                    self.let_through(&wish);
                }
                return self.end(ending).await;
            }
            self.carry_out(&wish).await;
            // Without its handle nobody can wish it to record any more.
            if wished.changed().await.is_err() {
                return self.end(Ending::Unscheduled).await;
            }
        }
    }

    async fn carry_out(&mut self, wish: &Wish) {
        let (running, duty) = (self.running.take(), Asked::of(wish));
        match (running, duty) {
            (None, Asked::Nothing) => self.configure(wish),
            (None, Asked::Memory(limits)) => {
                self.configure(wish);
                self.hold_back(limits);
                self.start(wish);
            }
            (None, Asked::Disk) => {
                self.configure(wish);
                self.start(wish);
            }
            (Some(running), Asked::Memory(limits)) => {
                self.configure(wish);
                self.hold_back(limits);
                self.go_on(running, wish).await;
            }
            (Some(running), Asked::Disk) => {
                // What waits is the first to be written: it is what nobody else has.
                self.let_through(wish);
                self.configure(wish);
                self.go_on(running, wish).await;
            }
            (Some((task, _)), Asked::Nothing) => {
                self.stop(task, Ending::Unscheduled).await;
                self.configure(wish);
            }
        }
    }

    fn configure(&self, wish: &Wish) {
        if *self.camera.config() != *wish.config {
            self.camera.configure((*wish.config).clone());
        }
    }

    fn start(&mut self, wish: &Wish) {
        let left = std::mem::take(&mut self.left);
        let task = CameraTask::resume(&self.context, &self.camera, left);
        self.running = Some((task, Arc::clone(&wish.config)));
    }

    /// Goes on with what runs, under a configuration that may have changed.
    async fn go_on(&mut self, (task, before): (CameraTask, Arc<CameraConfig>), wish: &Wish) {
        let mut task = if before == wish.config {
            task
        } else {
            task.change(&self.context, &self.camera, &before).await.0
        };
        task.listen(&self.context, &self.camera).await;
        self.running = Some((task, Arc::clone(&wish.config)));
    }

    /// What comes waits in memory from now on.
    fn hold_back(&self, limits: BufferLimits) {
        let BufferLimits { bytes_max, age_max } = limits;
        for stream in self.camera.streams() {
            stream.hold_back(HoldLimits { bytes_max, age_max }, self.context.clock.wall());
        }
    }

    /// What waits goes to the disk, and what comes later with it.
    fn let_through(&self, wish: &Wish) {
        let now = self.context.clock.wall();
        let age_max = wish.buffer.map_or(Duration::MAX, |limits| limits.age_max.saturating_add(SPARE));
        let release = Release { age_max, newest: false };
        for stream in self.camera.streams().filter(|stream| stream.is_buffered()) {
            let span = stream.let_through(&self.context.store, release, now);
            let (connection, _, _) = stream.connection();
            let (code, text) = match (connection, span) {
                (Connection::Waiting(reason), _) => (
                    EventCode::RecordingStopped,
                    format!(
                        "it is to be recorded here and cannot be: {}; {}",
                        reason.sentence(),
                        reason.remedy()
                    ),
                ),
                (_, Some(span)) => (
                    EventCode::RecordingStarted,
                    format!("recorded, with what waited in memory since {}", span.from),
                ),
                (_, None) => (EventCode::RecordingStarted, "recorded".to_owned()),
            };
            if stream.id == StreamId::MAIN {
                self.context.tell(stream, now, code, text);
            }
        }
    }

    async fn stop(&mut self, task: CameraTask, ending: Ending) {
        self.left = task.stop(ending).await;
        let now: WallTime = self.context.clock.wall();
        self.camera.set_listening(None);
        for stream in self.camera.streams() {
            stream.let_go();
            stream.set_connection(Connection::Unwanted, now);
        }
    }

    /// Ends the recording, and waits for the disk.
    async fn end(mut self, ending: Ending) {
        if let Some((task, _)) = self.running.take() {
            self.stop(task, ending).await;
        }
        settle(&self.camera.streams().cloned().collect::<Vec<_>>()).await;
    }
}
