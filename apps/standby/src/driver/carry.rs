//! Carries out what the machine decides. Nothing is waited for.

use std::sync::Arc;

use keepwatch_model::{EventCode, MonoTime, RoleId, Subject};
use keepwatch_recording::failover::{Action, Event};

use super::{Driver, Fetched, Input};

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
                let (recorder, inputs) = (Arc::clone(&self.tools.recorder), self.tools.inputs.clone());
                self.tries.spawn(async move {
                    let received = recorder.try_guest(role, camera).await;
                    // Whoever ends needs no news.
                    let _ = inputs.send(Input::Happened(Event::Tried { role, camera, received })).await;
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
        let view = self.machine.monitoring().find(|view| view.role == role);
        let Some(view) = view else {
            self.writing.primary(None, role);
            self.tools.claims.release(role);
            if let Some(primary) = self.primaries.remove(&role) {
                let (lines, row) = (Arc::clone(&self.tools.lines), primary.row.clone());
                self.tools.recorder.add_event(
                    EventCode::PrimaryRemoved,
                    Subject::Node,
                    format!("recorder {:?} at {} is watched no more", row.name, row.address),
                );
                primary.dismiss();
                // Best told; one that is gone for good never hears it.
                self.tries.spawn(async move {
                    if let Err(failure) = lines.deregister(&row).await {
                        tracing::info!(
                            why = failure.text,
                            "a recorder was not told that it is watched no more"
                        );
                    }
                });
            }
            self.tell_watched();
            return;
        };
        let covered = self.machine.covered(role);
        let wall = self.tools.clock.wall();
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        primary.row.automatic = view.mode == keepwatch_recording::failover::Mode::Auto;
        primary.row.epoch = view.epoch;
        primary.row.covered_since = match (covered.is_empty(), primary.row.covered_since) {
            (true, _) => None,
            (false, since) => since.or(Some(wall)),
        };
        primary.row.covered = covered;
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
                primary.backed_up(*fetched, &covered);
                self.writing.primary(Some(&primary.row), role);
                self.told_of_backup(role, number, changed, before.as_deref());
                self.tell(now, Event::BackedUp { role, cameras });
            }
            Err(why) => {
                let news = primary.backup_problem.as_ref() != Some(&why);
                primary.backup_problem = Some(why.clone());
                // One that does not answer is told of as such.
                if news && primary.detail.is_none() {
                    self.told_of_backup_failure(role, &why);
                }
            }
        }
    }
}
