//! The lists that operators see, made of what the machine and the driver know.

use std::collections::BTreeMap;
use std::sync::Arc;

use keepwatch_model::{MonoTime, WallTime};
use keepwatch_recording::failover::Health;

use super::Driver;
use crate::lists::{Cover, Lists, Monitored};

impl Driver {
    /// Tells the lists.
    pub(super) fn show(&mut self) {
        self.show_at = None;
        let lists = self.make();
        self.lists.send_if_modified(|told| {
            let news = **told != lists;
            if news {
                *told = Arc::new(lists);
            }
            news
        });
    }

    fn make(&mut self) -> Lists {
        let clock = self.tools.clock;
        let (mono, wall) = (clock.mono(), clock.wall());
        let setup = self.machine.setup();
        let covers: BTreeMap<_, _> = self.machine.failovers().map(|cover| (cover.role, cover)).collect();
        let mut primaries = Vec::new();
        for view in self.machine.monitoring() {
            let Some(primary) = self.primaries.get_mut(&view.role) else { continue };
            let cover = covers.get(&view.role).cloned();
            let failed = match view.health {
                Health::Failed { since, .. } | Health::RecordsNothing { since } => Some(since),
                Health::Unheard | Health::Normal | Health::Missed { .. } => None,
            };
            let begun = cover.as_ref().map(|cover| cover.since);
            let shown: Vec<MonoTime> = [failed, begun].into_iter().flatten().collect();
            primary.instants.retain(|at, _| shown.contains(at));
            let mut when =
                |at: MonoTime| *primary.instants.entry(at).or_insert_with(|| before(wall, mono, at));
            let since = failed.map(&mut when);
            let cover = cover.map(|view| Cover {
                // A failover that ran before a restart began before it.
                since: primary.row.covered_since.unwrap_or_else(|| when(view.since)),
                view,
            });
            let begun = cover.as_ref().map(|cover| cover.since);
            // What happened before this process began to watch is known by the last configuration that was fetched.
            let last = primary.backup.as_ref().filter(|_| !primary.heard).map(|backup| backup.checked);
            let lacking_since = match view.health.answers() && cover.is_none() {
                true => primary.recorded_since,
                false => [since, begun, primary.recorded_since, last].into_iter().flatten().min(),
            };
            primaries.push(Monitored {
                since,
                lacking_since,
                cover,
                name: primary.row.name.clone(),
                address: primary.row.address,
                mac: primary.row.mac.clone(),
                priority: primary.row.priority,
                version: primary.row.version.clone(),
                prebuffer: primary.row.prebuffer,
                prebuffer_bytes: primary.prebuffer_bytes(&setup),
                bits_per_second: primary.demands().iter().map(|(_, demand)| demand.bits_per_second).sum(),
                backup: primary.backup.clone(),
                backup_problem: primary.backup_problem.clone(),
                detail: primary.detail.clone(),
                drilling: primary.drill.is_some(),
                drilled: primary.drilled.clone(),
                view,
            });
        }
        Lists {
            setup,
            edited: self.edited,
            capacity: self.capacity,
            coordinator: self.tools.coordination.coordinator(),
            drill_every: self.drills.every,
            primaries,
        }
    }
}

/// The wall clock at a moment that has passed.
pub(super) fn before(wall: WallTime, mono: MonoTime, at: MonoTime) -> WallTime {
    wall.plus(-keepwatch_model::ticks_from_duration(mono.since(at)))
}
