//! Carries out what the machine decides. Nothing is waited for.

use std::sync::Arc;
use std::time::Duration;

use keepwatch_model::{CameraId, MonoTime, RoleId};
use keepwatch_recording::failover::{Action, Event};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Driver, Fetched, Input};

/// Longest attempt to receive a camera, with its wait for others; the machine counts on it being less than two minutes.
const TRY_PATIENCE: Duration = Duration::from_secs(60);

/// An attempt to receive a camera. Whatever becomes of it, the machine hears that it ended.
pub(super) struct Attempt {
    pub(super) role: RoleId,
    pub(super) camera: CameraId,
    pub(super) inputs: mpsc::Sender<Input>,
    pub(super) told: bool,
}

impl Attempt {
    fn ended(&self, received: bool) -> Input {
        let Self { role, camera, .. } = *self;
        Input::Happened(Event::Tried { role, camera, received })
    }

    async fn tell(mut self, received: bool) {
        self.told = true;
        // Whoever ends needs no news.
        let _ = self.inputs.send(self.ended(received)).await;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.told {
            // When there is no room for it, the machine tries again after a while.
            let _ = self.inputs.try_send(self.ended(false));
        }
    }
}

impl Driver {
    /// Carries out all that was decided.
    pub(super) fn carry_out(&mut self, now: MonoTime) {
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            tracing::debug!(?action, "standby");
            self.carry_out_one(now, action);
        }
        self.actions = actions;
    }

    fn carry_out_one(&mut self, now: MonoTime, action: Action) {
        match action {
            Action::Check { role, check } => {
                let patience = self.machine.setup().check_interval();
                if let Some(primary) = self.primaries.get(&role) {
                    primary.wire.check(check, patience);
                }
            }
            Action::BackUp(role) => {
                if let Some(primary) = self.primaries.get(&role) {
                    primary.wire.back_up();
                }
            }
            Action::Try { role, camera } => {
                let recorder = Arc::clone(&self.tools.recorder);
                let attempt = Attempt { role, camera, inputs: self.tools.inputs.clone(), told: false };
                self.tasks.spawn(async move {
                    let received = timeout(TRY_PATIENCE, recorder.try_guest(role, camera)).await;
                    attempt.tell(received.unwrap_or(false)).await;
                });
            }
            Action::Record { role, camera } => {
                let held = self.machine.held_until(role, camera);
                let Some(primary) = self.primaries.get_mut(&role) else { return };
                primary.set_recorded(camera, true);
                if let Some(report) = &mut primary.report {
                    report.covered(camera, held);
                    self.writing.report(report);
                }
            }
            Action::Rest { role, camera } => {
                if let Some(primary) = self.primaries.get(&role) {
                    primary.set_recorded(camera, false);
                }
            }
            Action::Save { role, camera, span } => {
                if self.prebuffers(role) {
                    self.tools.recorder.save(role, camera, span);
                }
            }
            Action::Trim { role, camera, until } => {
                if self.prebuffers(role) {
                    self.tools.recorder.trim(role, camera, until);
                }
            }
            Action::Claim(role) => self.tools.claims.claim(role),
            Action::Release(role) => self.tools.claims.release(role),
            Action::Keep(role) => self.keep(role),
            Action::Tell(role, told) => self.told(now, role, told),
        }
    }

    /// Whether the cameras of a primary are received ahead of a failover.
    fn prebuffers(&self, role: RoleId) -> bool {
        self.primaries.get(&role).is_some_and(|primary| primary.row.prebuffer)
    }

    /// Keeps what the machine knows of a primary for the next start.
    fn keep(&mut self, role: RoleId) {
        let Some(view) = self.machine.monitoring().find(|view| view.role == role) else {
            self.remove(role);
            return;
        };
        let (covered, alone) = (self.machine.covered(role), view.covered_alone);
        let wall = self.tools.clock.wall();
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        primary.row.automatic = view.mode == keepwatch_recording::failover::Mode::Auto;
        primary.row.epoch = view.epoch;
        primary.row.covered_since = match (covered.is_empty(), primary.row.covered_since) {
            (true, _) => None,
            (false, since) => since.or(Some(wall)),
        };
        primary.recorded_since = match covered.is_empty() && alone.is_empty() {
            true => None,
            false => primary.recorded_since.or(Some(wall)),
        };
        (primary.row.covered, primary.row.alone) = (covered, alone);
        self.writing.primary(Some(&primary.row), role);
    }

    /// A configuration was fetched, or could not be.
    pub(super) fn backed_up(&mut self, now: MonoTime, role: RoleId, result: Result<Box<Fetched>, String>) {
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        match result {
            Ok(fetched) => {
                let cameras = fetched.demands.clone();
                let mut covered = self.machine.covered(role);
                let alone = self.machine.monitoring().find(|view| view.role == role);
                covered.extend(alone.into_iter().flat_map(|view| view.covered_alone));
                let (number, changed) = (fetched.line.number, fetched.changed);
                let before = primary.backup_problem.clone();
                let renamed = primary.row.name != fetched.name;
                primary.backed_up(*fetched, &covered);
                self.writing.primary(Some(&primary.row), role);
                self.told_of_backup(role, number, changed, before.as_deref());
                self.tell(now, Event::BackedUp { role, cameras });
                self.look_at_schedules(now);
                if renamed {
                    self.tell_watched();
                }
            }
            Err(why) => {
                let news = primary.backup_problem.as_ref() != Some(&why);
                primary.backup_problem = Some(why.clone());
                // One that does not answer is told of as such.
                if news && primary.detail.is_none() {
                    self.told_of_backup_failure(role, &why);
                }
                self.tell(now, Event::NotBackedUp { role });
            }
        }
    }
}
