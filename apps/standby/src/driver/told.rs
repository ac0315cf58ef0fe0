//! What operators are told: a sentence in the event log for everything that the machine tells, and the report of a failover.

use keepwatch_model::{CameraId, EventCode, MonoTime, RoleId, Subject};
use keepwatch_recording::failover::{Cause, Claim, Ended, Missed, Mode, Told};

use super::Driver;
use super::show::before;
use crate::report::Report;

/// Cameras that a sentence names.
const NAMES_MAX: usize = 8;

impl Driver {
    /// Tells operators what the machine tells.
    pub(super) fn told(&mut self, now: MonoTime, role: RoleId, told: Told) {
        self.enter_in_report(now, role, &told);
        let Some(primary) = self.primaries.get(&role) else { return };
        let name = format!("primary {:?}", primary.row.name);
        let subject = |camera: CameraId| primary.local(camera).map_or(Subject::Node, Subject::Camera);
        let here = |camera: CameraId| match primary.local(camera) {
            Some(local) if local != camera => format!("camera {camera} of {name}, here {local},"),
            Some(_) | None => format!("camera {camera} of {name}"),
        };
        let detail = primary.detail.as_deref().unwrap_or("no answer");
        let (code, subject, text) = match told {
            Told::Failed(why) => {
                (EventCode::PrimaryFailed, Subject::Node, format!("{name} {}: {detail}", missed(why)))
            }
            Told::RecordsNothing => {
                let text = format!("{name} answers, and records none of the cameras that are received here");
                (EventCode::PrimaryFailed, Subject::Node, text)
            }
            Told::Returned => (EventCode::PrimaryReturned, Subject::Node, format!("{name} answers again")),
            Told::VersionDiffers => {
                let text = format!(
                    "{name} has version {}, this standby {}: it is covered as before, and cannot be replaced or restored; \
                     install the same version on both",
                    primary.row.version,
                    env!("CARGO_PKG_VERSION")
                );
                (EventCode::PrimaryVersionDiffers, Subject::Node, text)
            }
            Told::VersionAgrees => {
                let text = format!("{name} has the version of this standby again");
                (EventCode::PrimaryVersionAgrees, Subject::Node, text)
            }
            Told::Began(cause) => {
                let text = format!("this standby records the cameras of {name}, {}", began(cause));
                (EventCode::FailoverStarted, Subject::Node, text)
            }
            Told::Waits => {
                let text = format!(
                    "a failover of {name} is due, and this standby can record no more: Stop another failover, or add a standby"
                );
                (EventCode::FailoverWaits, Subject::Node, text)
            }
            Told::ClaimIs(Claim::Unconfirmed) => {
                let text = format!(
                    "nobody can be asked whether another standby covers {name}; it is recorded all the same"
                );
                (EventCode::FailoverUnconfirmed, Subject::Node, text)
            }
            Told::ClaimIs(Claim::Incomplete) => {
                let cover = self.machine.failovers().find(|cover| cover.role == role);
                let lacks = cover.map(|cover| cover.lacks).unwrap_or_default();
                let text = if lacks.is_empty() {
                    format!("no camera of {name} is known here; see its backups")
                } else {
                    format!(
                        "not all cameras of {name} are recorded here: {} missing; a standby that records all of them takes the \
                         cover, and until then this one goes on",
                        listed(&lacks)
                    )
                };
                (EventCode::FailoverIncomplete, Subject::Node, text)
            }
            Told::ClaimIs(Claim::Held | Claim::Asked) => {
                let text = format!("this standby is the one that covers {name}");
                (EventCode::FailoverConfirmed, Subject::Node, text)
            }
            Told::LeftToOther => (
                EventCode::FailoverLeft,
                Subject::Node,
                format!("another standby covers {name}; this one rests"),
            ),
            Told::Ended(why) => {
                let text = format!("{name} is covered no more: {}", ended(why));
                (EventCode::FailoverEnded, Subject::Node, text)
            }
            Told::CameraCovered(camera) => {
                let text =
                    format!("{} is recorded by this standby, because its recorder does not", here(camera));
                (EventCode::CameraCovered, subject(camera), text)
            }
            Told::CameraReturned(camera) => {
                let text = format!("{} is recorded by its recorder again", here(camera));
                (EventCode::CameraReturned, subject(camera), text)
            }
            Told::ModeIs(mode) => {
                let who = match mode {
                    Mode::Auto => "by this standby, after the threshold (Auto)",
                    Mode::Manual => "by an operator only (Manual)",
                };
                (
                    EventCode::FailoverModeChanged,
                    Subject::Node,
                    format!("a failover of {name} is started {who}"),
                )
            }
        };
        self.tools.recorder.add_event(code, subject, text);
    }

    /// A configuration was kept.
    pub(super) fn told_of_backup(&self, role: RoleId, number: u64, changed: bool, before: Option<&str>) {
        let Some(primary) = self.primaries.get(&role) else { return };
        let name = &primary.row.name;
        let add = |code, text| self.tools.recorder.add_event(code, Subject::Node, text);
        if changed {
            add(
                EventCode::SetupBackedUp,
                format!("the configuration of primary {name:?} was kept as backup {number}"),
            );
        }
        if let Some(problem) = primary.backup_problem.as_deref()
            && before != Some(problem)
        {
            let text = format!(
                "not all cameras of primary {name:?} can be recorded here by its backup {number}: {problem}"
            );
            add(EventCode::SetupBackupFailed, text);
        }
    }

    /// A configuration could not be fetched or kept.
    pub(super) fn told_of_backup_failure(&self, role: RoleId, why: &str) {
        let Some(primary) = self.primaries.get(&role) else { return };
        let text = format!("the configuration of primary {:?} cannot be backed up: {why}", primary.row.name);
        self.tools.recorder.add_event(EventCode::SetupBackupFailed, Subject::Node, text);
    }

    /// Keeps the report of a failover up to date.
    fn enter_in_report(&mut self, now: MonoTime, role: RoleId, told: &Told) {
        let wall = self.tools.clock.wall();
        let view = self.machine.monitoring().find(|view| view.role == role);
        let failed = view.and_then(|view| view.health.failed_since()).map(|at| before(wall, now, at));
        let Some(primary) = self.primaries.get_mut(&role) else { return };
        match told {
            Told::Began(cause) => {
                self.give_up_drills();
                let Some(primary) = self.primaries.get_mut(&role) else { return };
                let mut report = match (cause, primary.report.take()) {
                    // The one that ran before the restart goes on.
                    (Cause::Restart, Some(report)) => report,
                    (Cause::Restart | Cause::Threshold | Cause::Operator, _) => {
                        let mut left = primary.left_report.take();
                        let left = left.take_if(|report| report.taken_up_again(failed));
                        left.unwrap_or_else(|| {
                            Report::begun(self.writing.next_report(), &primary.row, failed, wall, *cause)
                        })
                    }
                };
                for camera in self.machine.covered(role) {
                    report.covered(camera, self.machine.held_until(role, camera));
                }
                self.writing.report(&report);
                primary.row.report = Some(report.number);
                primary.report = Some(report);
                self.writing.primary(Some(&primary.row), role);
            }
            Told::Ended(why) => {
                primary.row.report = None;
                if let Some(mut report) = primary.report.take() {
                    report.end(wall, *why);
                    self.writing.report(&report);
                    Self::open_account(&mut primary.accounts, report, now);
                }
                self.writing.primary(Some(&primary.row), role);
            }
            Told::LeftToOther => {
                primary.row.report = None;
                if let Some(mut report) = primary.report.take() {
                    report.leave(wall);
                    self.writing.report(&report);
                    primary.left_report = Some(report);
                }
                self.writing.primary(Some(&primary.row), role);
            }
            Told::Failed(_)
            | Told::RecordsNothing
            | Told::Returned
            | Told::VersionDiffers
            | Told::VersionAgrees
            | Told::Waits
            | Told::ClaimIs(_)
            | Told::CameraCovered(_)
            | Told::CameraReturned(_)
            | Told::ModeIs(_) => {}
        }
    }
}

/// Names of cameras, as many as a sentence has room for.
fn listed(cameras: &[CameraId]) -> String {
    let mut names: Vec<String> = cameras.iter().take(NAMES_MAX).map(ToString::to_string).collect();
    let more = cameras.len().saturating_sub(NAMES_MAX);
    names.extend((more > 0).then(|| format!("{more} more")));
    names.join(", ")
}

fn missed(why: Missed) -> &'static str {
    match why {
        Missed::Late => "does not answer in time",
        Missed::Disconnected => "cannot be reached",
        Missed::Unusable => "gives no answer that can be used",
        Missed::Superseded => "was replaced, and plays its role in an earlier epoch",
    }
}

fn began(cause: Cause) -> &'static str {
    match cause {
        Cause::Threshold => "which failed",
        Cause::Operator => "as an operator asked for",
        Cause::Restart => "as it did before it was restarted",
    }
}

fn ended(why: Ended) -> &'static str {
    match why {
        Ended::Stopped => "an operator stopped it, and its mode is Manual from here on",
        Ended::FailedBack => "it records again, and both hold the same second",
        Ended::Replaced => "another recorder plays its role, and both hold the same second",
        Ended::NeverFailed => "it was not heard, and had recorded all the time",
    }
}
