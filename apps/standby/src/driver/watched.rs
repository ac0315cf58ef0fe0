//! Who is watched: recorders that let this standby in, that play another one's role, or that are watched no more.

use std::sync::Arc;

use keepwatch_model::{CameraId, EventCode, MonoTime, RoleId, Subject};
use keepwatch_recording::failover::{Demand, Event, Mode, Registration};
use keepwatch_settings::standby::{BookError, PRIMARIES_MAX, PrimaryRow};
use tokio::sync::oneshot;

use super::Driver;
use super::primary::Primary;
use crate::world::RegisterRefusal;

/// What the machine is told of a primary as it is kept, with the cameras of its last backup; what of it runs is left out.
pub(super) fn registration(row: &PrimaryRow, cameras: Vec<(CameraId, Demand)>) -> Registration {
    Registration {
        role: row.role,
        epoch: row.epoch,
        mode: if row.automatic { Mode::Auto } else { Mode::Manual },
        priority: row.priority,
        cameras,
        covered: Vec::new(),
        alone: Vec::new(),
    }
}

impl Driver {
    /// A recorder let this standby in; `answer` is told when that is kept.
    pub(super) fn registered(
        &mut self,
        now: MonoTime,
        row: PrimaryRow,
        answer: oneshot::Sender<Result<(), RegisterRefusal>>,
    ) {
        let role = row.role;
        if let Err(refusal) = self.admits(&row) {
            // One that was replaced is told so, over what it let in; another one is let go.
            if !self.primaries.contains_key(&role) {
                self.say_farewell(row);
            }
            // Whoever asked may have gone.
            let _ = answer.send(Err(refusal));
            return;
        }
        match self.primaries.get_mut(&role) {
            // What runs goes on as it does; only where and by which key it is reached may have changed.
            Some(primary) => {
                primary.registered_again(row, &self.tools);
                primary.wire.back_up();
            }
            None => {
                let registration = registration(&row, Vec::new());
                self.primaries.insert(role, Primary::new(row, &self.machine.setup(), &self.tools));
                self.tell(now, Event::Registered(registration));
            }
        }
        if let Some(primary) = self.primaries.get(&role) {
            self.writing.primary(Some(&primary.row), role);
        }
        let (confirm, confirmed) = oneshot::channel();
        self.writing.confirm(confirm);
        self.tasks.spawn(async move {
            let kept = confirmed.await.unwrap_or_else(|_| Err("it was interrupted".to_owned()));
            let unkept = |why| {
                let detail =
                    format!("it is watched, but not known after a restart yet: {why}; that is tried again");
                crate::refusal("unkept", detail)
            };
            let _ = answer.send(kept.map_err(unkept));
        });
        self.tell_watched();
        self.show();
    }

    /// Whether a recorder that let this standby in is to be watched.
    fn admits(&self, row: &PrimaryRow) -> Result<(), RegisterRefusal> {
        match self.primaries.get(&row.role) {
            Some(known) if row.epoch < known.row.epoch => {
                let detail = format!(
                    "it was replaced: {:?} plays its role, in epoch {}; give it an empty data directory to begin anew",
                    known.row.name, known.row.epoch
                );
                Err(crate::refusal("superseded", detail))
            }
            Some(_) => Ok(()),
            None if self.primaries.len() >= PRIMARIES_MAX => {
                Err(crate::refusal("primaries_full", BookError::Full.to_string()))
            }
            None => Ok(()),
        }
    }

    /// Another recorder plays a role, and is watched in the place of who played it.
    pub(super) fn replaced(&mut self, now: MonoTime, row: PrimaryRow) {
        let (role, epoch) = (row.role, row.epoch);
        let Some(primary) = self.primaries.get_mut(&role) else {
            let text = format!(
                "recorder {:?} at {} took a role that is watched no more; register it to have it watched",
                row.name, row.address
            );
            self.tools.recorder.add_event(EventCode::PrimaryRemoved, Subject::Node, text);
            return;
        };
        primary.registered_again(row, &self.tools);
        self.writing.primary(Some(&primary.row), role);
        primary.wire.back_up();
        self.tell_watched();
        self.tell(now, Event::Replaced { role, epoch });
        self.show();
    }

    /// A primary is watched no more.
    pub(super) fn remove(&mut self, role: RoleId) {
        self.writing.primary(None, role);
        self.tools.claims.release(role);
        if let Some(primary) = self.primaries.remove(&role) {
            let row = primary.row.clone();
            self.tools.recorder.add_event(
                EventCode::PrimaryRemoved,
                Subject::Node,
                format!("recorder {:?} at {} is watched no more", row.name, row.address),
            );
            primary.dismiss();
            self.say_farewell(row);
        }
        self.tell_watched();
    }

    /// Tells a recorder that it is watched no more, as far as it can be told; one that is gone for good never hears it.
    fn say_farewell(&mut self, row: PrimaryRow) {
        let (lines, farewell) = (Arc::clone(&self.tools.lines), self.tools.farewells.begin());
        self.tasks.spawn(async move {
            if let Err(failure) = lines.deregister(&row).await {
                tracing::info!(why = failure.text, "a recorder was not told that it is watched no more");
            }
            drop(farewell);
        });
    }

    /// Tells the recorder beside it which ones are watched.
    pub(crate) fn tell_watched(&self) {
        let keys = self
            .primaries
            .values()
            .filter_map(|primary| Some((primary.row.key.parse().ok()?, primary.row.role)));
        self.tools.recorder.set_watched(keys.collect());
        self.tools.coordination.set_watched(self.primaries.values().map(|primary| &primary.row));
    }
}
