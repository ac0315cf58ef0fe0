//! What happens to a standby, and when it must look by itself.

use keepwatch_model::{Machine, MonoTime, RoleId};

use super::action::{Action, Ended};
use super::cover::Phase;
use super::event::{Event, Missed};
use super::standby::{Primary, Standby};
use super::watch::Health;

impl Machine for Standby {
    type Event = Event;
    type Action = Action;

    fn handle(&mut self, now: MonoTime, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::Answered { role, check, report } => {
                let Some(primary) = self.primaries.get_mut(&role) else { return };
                if !primary.watch.ends(check) {
                    return;
                }
                if report.epoch < primary.epoch {
                    self.missed(now, role, Missed::Superseded, out);
                } else {
                    self.answered(now, role, &report, out);
                }
            }
            Event::Missed { role, check, why } => {
                if self.primaries.get_mut(&role).is_some_and(|primary| primary.watch.ends(check)) {
                    self.missed(now, role, why, out);
                }
            }
            Event::BackedUp { role, cameras } => {
                if let Some(primary) = self.primaries.get_mut(&role) {
                    let covered = primary.cover.is_some();
                    primary.watch.backed_up(now, &cameras, covered);
                }
            }
            Event::NotBackedUp { role } => {
                let soon = now + self.setup.backup_retry();
                if let Some(primary) = self.primaries.get_mut(&role) {
                    primary.watch.backup_at = primary.watch.backup_at.min(soon);
                }
            }
            Event::Tried { role, camera, received } => {
                let Some(primary) = self.primaries.get_mut(&role) else { return };
                if let Some(known) = primary.watch.cameras.get_mut(&camera) {
                    known.tried(now, received);
                }
                self.look(now, role, out);
                self.start_due(now, out);
            }
            Event::Durable { role, camera, until } => {
                // Every second for every camera: others are looked at only when there is room for them.
                if self.durable(now, role, camera, until, out) {
                    self.start_due(now, out);
                }
            }
            Event::Claimed { role } => self.claimed(now, role, out),
            Event::Unclaimable { role } => self.unclaimable(now, role, out),
            Event::HeldByOther { role } => self.held_by_other(now, role, out),
            Event::Unscheduled { role, cameras } => {
                let Some(primary) = self.primaries.get_mut(&role) else { return };
                let before = std::mem::replace(&mut primary.unscheduled, cameras);
                let covered = primary.cover.iter_mut().flat_map(|cover| &mut cover.cameras);
                let begins = covered
                    .filter(|(camera, _)| before.contains(camera) && !primary.unscheduled.contains(camera));
                begins.for_each(|(_, covered)| covered.begin_anew(now));
            }
            Event::Measured(capacity) => {
                self.capacity = capacity;
                self.start_due(now, out);
            }
            Event::Registered(registration) => self.register(now, registration, out),
            Event::SetUp(setup) => {
                self.setup = setup;
                for primary in self.primaries.values_mut() {
                    let watch = &mut primary.watch;
                    watch.check_at = watch.check_at.min(now + setup.check_interval());
                    watch.backup_at = watch.backup_at.min(now + setup.setup_backup_interval());
                }
            }
            Event::Replaced { role, epoch } => {
                let Some(primary) = self.primaries.get_mut(&role) else { return };
                primary.replacing = false;
                primary.epoch = primary.epoch.max(epoch);
                primary.watch.begin_anew(now);
                if let Some(cover) = &mut primary.cover {
                    cover.phase = Phase::Returning(Ended::Replaced);
                }
                out.push(Action::Keep(role));
            }
            Event::NotReplaced { role } => {
                if let Some(primary) = self.primaries.get_mut(&role) {
                    primary.replacing = false;
                }
            }
        }
    }

    fn deadline(&self) -> Option<(MonoTime, &'static str)> {
        let of = |primary: &Primary| {
            let claim = primary.claim_at.map(|at| (at, "look at the claim"));
            [(primary.watch.check_at, "check"), (primary.watch.backup_at, "back up the setup")]
                .into_iter()
                .chain(claim)
                .min()
        };
        self.primaries.values().filter_map(of).min()
    }

    fn timeout(&mut self, now: MonoTime, out: &mut Vec<Action>) {
        let check = self.setup.check_interval();
        let roles: Vec<RoleId> = self.primaries.keys().copied().collect();
        for role in roles {
            let Some(primary) = self.primaries.get_mut(&role) else { continue };
            if primary.claim_at.is_some_and(|at| at <= now) {
                self.look_at_claim(now, role, out);
            }
            let Some(primary) = self.primaries.get_mut(&role) else { continue };
            if primary.watch.backup_at <= now {
                let asks = primary.watch.health.answers() || primary.watch.health == Health::Unheard;
                let (interval, retry) = (self.setup.setup_backup_interval(), self.setup.backup_retry());
                primary.watch.backup_at = now + if asks { interval } else { retry };
                if asks {
                    out.push(Action::BackUp(role));
                }
            }
            let due = primary.watch.check_at;
            if due <= now {
                self.checks += 1;
                let late = primary.watch.ask(self.checks, now + check);
                out.push(Action::Check { role, check: self.checks });
                // A standby that slept itself did not hear: it must not call all of its primaries dead.
                if late && now.since(due) < check {
                    self.missed(now, role, Missed::Late, out);
                }
            }
        }
        self.start_due(now, out);
    }
}
