//! Begins the driver, and begins it anew when it panics, with what is kept: as after a restart of the process, but that what is
//! recorded goes on meanwhile. A primary at which it panics each time is left out, so that the others are watched.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keepwatch_model::{EventCode, RoleId, Subject};
use keepwatch_recording::failover::Standby;
use keepwatch_recording::peer::own_version;
use keepwatch_settings::standby::{BookError, PrimaryRow, StandbyBook};
use tokio::sync::{Mutex as AsyncMutex, mpsc, watch};
use tokio::time::sleep;

use super::{Driver, Input, Tools, Writing};
use crate::lists::Lists;
use crate::opened::Kept;
use crate::tasks::AGAIN_AFTER;

/// The primary that is taken up at this moment, with its name.
#[derive(Debug, Default)]
pub(crate) struct TakingUp(Mutex<Option<(RoleId, String)>>);

impl TakingUp {
    pub(super) fn begin(&self, row: &PrimaryRow) {
        *self.is() = Some((row.role, row.name.clone()));
    }

    pub(super) fn end(&self) {
        *self.is() = None;
    }

    fn is(&self) -> MutexGuard<'_, Option<(RoleId, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a driver is begun with.
pub(crate) struct Beginning {
    tools: Tools,
    book: StandbyBook,
    /// Where the lists are told; what they say of setup and capacity is in force.
    lists: Arc<watch::Sender<Arc<Lists>>>,
    taking_up: TakingUp,
    /// Primaries at which the driver panicked; the next process tries them again.
    left_out: Mutex<BTreeSet<RoleId>>,
}

/// Why there is no driver.
enum NoDriver {
    /// What is kept cannot be read.
    Book(BookError),
    /// A fault of ours.
    Panicked(String),
}

impl Beginning {
    pub(crate) fn new(tools: Tools, book: StandbyBook, lists: Arc<watch::Sender<Arc<Lists>>>) -> Self {
        Self { tools, book, lists, taking_up: TakingUp::default(), left_out: Mutex::default() }
    }

    /// The first driver; `None` when there is none because of a fault of ours, and it is to be tried again.
    ///
    /// # Errors
    /// When what is kept cannot be read.
    pub(crate) async fn first(self: &Arc<Self>) -> Result<Option<Driver>, BookError> {
        match self.driver().await {
            Ok(driver) => Ok(Some(driver)),
            Err(NoDriver::Book(error)) => Err(error),
            Err(NoDriver::Panicked(why)) => {
                self.tell_unusable(&why);
                Ok(None)
            }
        }
    }

    /// A driver that watches all primaries that are kept, and goes on with their failovers. What panics here ends nothing else.
    async fn driver(self: &Arc<Self>) -> Result<Driver, NoDriver> {
        loop {
            let this = Arc::clone(self);
            let error = match tokio::spawn(async move { this.make().await }).await {
                Ok(made) => return made,
                Err(error) => error.to_string(),
            };
            let Some((role, name)) = self.taking_up.is().take() else {
                return Err(NoDriver::Panicked(error));
            };
            self.left_out().insert(role);
            let text = format!(
                "primary {name:?} is not watched until this node is restarted, for what is kept of it ends the standby badly: \
                 {error}; please report this"
            );
            self.tools.recorder.add_event(EventCode::StandbyUnusable, Subject::Node, text);
        }
    }

    async fn make(&self) -> Result<Driver, NoDriver> {
        let (book, keeper) = (self.book.clone(), self.tools.keeper.clone());
        let kept = tokio::task::spawn_blocking(move || Kept::read(&book, &keeper)).await;
        // A task of reading ends otherwise only with the process, or by a fault of ours: it is tried again, for a driver that knows nobody
        // would take from all of them what was recorded for them.
        let kept = kept.map_err(|error| NoDriver::Panicked(error.to_string()))?;
        let mut kept = kept.map_err(NoDriver::Book)?;
        let recorder = &self.tools.recorder;
        for why in kept.problems {
            let text = format!("what the standby kept cannot be used in full: {why}");
            recorder.add_event(EventCode::StandbyBookDamaged, Subject::Node, text);
        }
        kept.primaries.retain(|known| !self.left_out().contains(&known.row.role));
        let before = Arc::clone(&self.lists.borrow());
        let machine = Standby::new(own_version(), before.setup, before.capacity.capacity);
        let writing = Writing::new(self.book.clone(), kept.last_report);
        let lists = Arc::clone(&self.lists);
        let mut driver =
            Driver::new(self.tools.clone(), machine, before.capacity, before.edited, writing, lists);
        driver.set_drills(before.drill_every);
        driver.take_up(kept.primaries, &self.taking_up).await;
        driver.tell_watched();
        Ok(driver)
    }

    /// Runs `driver` until `stopped`, and others after it when it panics, or when there is none yet.
    pub(crate) async fn supervise(
        self: Arc<Self>,
        driver: Option<Driver>,
        inputs: mpsc::Receiver<Input>,
        mut stopped: watch::Receiver<bool>,
    ) {
        let inputs = Arc::new(AsyncMutex::new(inputs));
        let (mut next, mut told) = (driver, None);
        while !*stopped.borrow() {
            if let Some(driver) = next.take() {
                let Err(error) = tokio::spawn(driver.run(Arc::clone(&inputs), stopped.clone())).await else {
                    return;
                };
                self.tell_unusable(&error.to_string());
            }
            tokio::select! {
                () = sleep(AGAIN_AFTER) => {}
                _ = stopped.wait_for(|stopped| *stopped) => return,
            }
            let why = match self.driver().await {
                Ok(driver) => {
                    (next, told) = (Some(driver), None);
                    continue;
                }
                Err(NoDriver::Book(error)) => format!("what it keeps cannot be read: {error}"),
                Err(NoDriver::Panicked(why)) => why,
            };
            // The same each second is told once.
            if told.as_ref() != Some(&why) {
                self.tell_unusable(&why);
                told = Some(why);
            }
        }
    }

    fn left_out(&self) -> MutexGuard<'_, BTreeSet<RoleId>> {
        self.left_out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_unusable(&self, why: &str) {
        let text = format!(
            "the standby ended badly and begins anew; what it records goes on: {why}; please report this"
        );
        self.tools.recorder.add_event(EventCode::StandbyUnusable, Subject::Node, text);
    }
}
