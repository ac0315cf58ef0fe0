//! What operators ask for: carried out, or refused with the reason.

use keepwatch_model::{CameraId, MonoTime, RoleId};

use super::action::{Action, Ended, Told};
use super::cover::{Cause, Phase};
use super::event::{Command, Refusal};
use super::setup::Mode;
use super::standby::Standby;
use super::watch::Health;

impl Standby {
    /// Carries out what an operator asks for, or says why not.
    pub fn command(&mut self, now: MonoTime, command: Command, out: &mut Vec<Action>) -> Result<(), Refusal> {
        let (Command::Deregister(role)
        | Command::Choose(role, _)
        | Command::Failover(role)
        | Command::Stop(role)
        | Command::Failback(role)
        | Command::Replace(role)) = command;
        let primary = self.primaries.get_mut(&role).ok_or(Refusal::Unknown)?;
        let runs = primary.cover.is_some() || !primary.alone.is_empty();
        match command {
            Command::Deregister(_) if runs => return Err(Refusal::Running),
            // Whoever takes the role would be watched by nobody.
            Command::Deregister(_) if primary.replacing => return Err(Refusal::UnderWay),
            Command::Deregister(_) => {
                self.primaries.remove(&role);
                out.push(Action::Keep(role));
            }
            Command::Choose(_, mode) if mode == primary.mode => {}
            Command::Choose(..) if runs => return Err(Refusal::Running),
            Command::Choose(_, mode) => {
                primary.mode = mode;
                primary.waits = false;
                primary.take_back();
                out.extend([Action::Keep(role), Action::Tell(role, Told::ModeIs(mode))]);
            }
            Command::Failover(_) => self.fail_over(now, role, out)?,
            Command::Stop(_) if !runs => return Err(Refusal::NotRunning),
            Command::Stop(_) => {
                self.rest(role, Ended::Stopped, out);
                if let Some(primary) = self.primaries.get_mut(&role) {
                    primary.mode = Mode::Manual;
                    out.push(Action::Tell(role, Told::ModeIs(Mode::Manual)));
                }
            }
            Command::Failback(_) => {
                let repaired = primary.watch.health == Health::Normal;
                let cover = primary.cover.as_mut().ok_or(Refusal::NotRunning)?;
                if primary.replacing || cover.phase != Phase::Running {
                    return Err(Refusal::UnderWay);
                }
                if !repaired {
                    return Err(Refusal::NotRepaired);
                }
                cover.phase = Phase::Returning(Ended::FailedBack);
                self.give_back(now, role, out);
            }
            Command::Replace(_) if primary.replacing => return Err(Refusal::UnderWay),
            Command::Replace(_) if primary.cover.is_none() && primary.watch.health.answers() => {
                return Err(Refusal::Normal);
            }
            Command::Replace(_) => primary.replacing = true,
        }
        self.start_due(now, out);
        Ok(())
    }

    /// Starts a failover by hand: of all cameras when the primary failed, else of those that it does not record.
    fn fail_over(&mut self, now: MonoTime, role: RoleId, out: &mut Vec<Action>) -> Result<(), Refusal> {
        let threshold = self.setup.auto_failover_threshold();
        let primary = self.primaries.get_mut(&role).ok_or(Refusal::Unknown)?;
        if primary.cover.is_some() {
            return Err(Refusal::Running);
        }
        primary.take_back();
        let missing: Vec<CameraId> = (primary.watch.cameras.iter())
            .filter(|(camera, known)| known.is_missing(threshold) && !primary.is_covered(**camera))
            .map(|(camera, _)| *camera)
            .collect();
        let answers = primary.watch.health.answers();
        if answers && missing.is_empty() {
            return Err(Refusal::Normal);
        }
        let covers = if !answers || primary.watch.health.failed_since().is_some() {
            self.begin(now, role, Cause::Operator, out)
        } else {
            missing.iter().filter(|camera| self.cover_alone(now, role, **camera, out)).count() > 0
        };
        if covers { Ok(()) } else { Err(Refusal::Full) }
    }
}
