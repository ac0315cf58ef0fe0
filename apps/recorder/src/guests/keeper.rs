//! The task that keeps one guest: begins and ends its recording as it is wished, one thing after another.
//!
//! A wish is left behind in no time and carried out at once; only a session that is just being ended is waited for, which
//! takes the camera's farewell. Nothing of it touches other cameras.

use std::sync::Arc;

use keepwatch_model::WallTime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Duty;
use crate::camera::{CameraState, CameraTask, Connection, Context, Ending, Outputs};
use crate::config::CameraConfig;
use crate::node::settle;

/// How a guest is to be kept.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) duty: Duty,
    pub(crate) config: Arc<CameraConfig>,
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
        if *self.camera.config() != *wish.config {
            self.camera.configure((*wish.config).clone());
        }
        match (self.running.take(), wish.duty) {
            (None, Duty::Rest | Duty::Buffer) => {}
            (None, Duty::Record) => {
                let left = std::mem::take(&mut self.left);
                let task = CameraTask::resume(&self.context, &self.camera, left);
                self.running = Some((task, Arc::clone(&wish.config)));
            }
            (Some((task, before)), Duty::Record) => {
                let task = if before == wish.config {
                    task
                } else {
                    task.change(&self.context, &self.camera, &before).await.0
                };
                self.running = Some((task, Arc::clone(&wish.config)));
            }
            (Some((task, _)), Duty::Rest | Duty::Buffer) => self.stop(task, Ending::Unscheduled).await,
        }
    }

    async fn stop(&mut self, task: CameraTask, ending: Ending) {
        self.left = task.stop(ending).await;
        let now: WallTime = self.context.clock.wall();
        self.camera.set_listening(None);
        for stream in self.camera.streams() {
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
