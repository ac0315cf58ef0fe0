//! Begins the driver, and begins it anew when it panics, with what is kept: as after a restart of the process, but that what is
//! recorded goes on meanwhile.

use std::sync::Arc;

use keepwatch_model::{EventCode, Subject};
use keepwatch_recording::failover::Standby;
use keepwatch_recording::peer::own_version;
use keepwatch_settings::standby::{BookError, StandbyBook};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::sleep;

use super::{Driver, Input, Tools, Writing};
use crate::lists::Lists;
use crate::opened::Kept;
use crate::tasks::AGAIN_AFTER;

/// What a driver is begun with.
pub(crate) struct Beginning {
    pub(crate) tools: Tools,
    pub(crate) book: StandbyBook,
    /// Where the lists are told; what they say of setup and capacity is in force.
    pub(crate) lists: Arc<watch::Sender<Arc<Lists>>>,
}

impl Beginning {
    /// A driver that watches all primaries that are kept, and goes on with their failovers.
    pub(crate) async fn driver(&self) -> Result<Driver, BookError> {
        let (book, keeper) = (self.book.clone(), self.tools.keeper.clone());
        let kept = tokio::task::spawn_blocking(move || Kept::read(&book, &keeper)).await;
        // A task of reading ends otherwise only with the process, or by a fault of ours: nothing is known then.
        let kept =
            kept.unwrap_or_else(|error| Ok(Kept { problems: vec![error.to_string()], ..Kept::default() }))?;
        let recorder = &self.tools.recorder;
        for why in kept.problems {
            let text = format!("what the standby kept cannot be used in full: {why}");
            recorder.add_event(EventCode::SetupBackupFailed, Subject::Node, text);
        }
        let before = Arc::clone(&self.lists.borrow());
        let machine = Standby::new(own_version(), before.setup, before.capacity);
        let writing = Writing::new(self.book.clone(), kept.last_report);
        let lists = Arc::clone(&self.lists);
        let mut driver =
            Driver::new(self.tools.clone(), machine, before.capacity, before.edited, writing, lists);
        driver.set_drills(before.drill_every);
        driver.take_up(kept.primaries).await;
        driver.tell_watched();
        Ok(driver)
    }

    /// Runs `driver` until `stopped`, and others after it when it panics.
    pub(crate) async fn supervise(
        self,
        driver: Driver,
        inputs: mpsc::Receiver<Input>,
        mut stopped: watch::Receiver<bool>,
    ) {
        let inputs = Arc::new(Mutex::new(inputs));
        let mut next = Some(driver);
        while !*stopped.borrow() {
            if let Some(driver) = next.take() {
                let Err(error) = tokio::spawn(driver.run(Arc::clone(&inputs), stopped.clone())).await else {
                    return;
                };
                let text = format!(
                    "the standby ended badly and begins anew; what it records goes on: {error}; please report this"
                );
                self.tools.recorder.add_event(EventCode::StandbyUnusable, Subject::Node, text);
            }
            tokio::select! {
                () = sleep(AGAIN_AFTER) => {}
                _ = stopped.wait_for(|stopped| *stopped) => return,
            }
            match self.driver().await {
                Ok(driver) => next = Some(driver),
                Err(error) => {
                    tracing::error!(%error, "what the standby keeps cannot be read, and is tried again")
                }
            }
        }
    }
}
