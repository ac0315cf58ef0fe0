//! What befalls a site, and how it becomes well again.

use std::time::Duration;

use keepwatch_model::Span;

use super::super::limit::SpeedLimit;
use super::super::{Case, Condition, Place};
use super::site::{Millis, Site, label};

/// From all being well until the relay of every line must have its window.
const SETTLES: Millis = 300_000;
/// How long a record may wait for a storage to take it, so that it is told out of order.
const QUEUED: Millis = 15_000;
/// Footage of which less is left is no record.
const WAITS_TICKS_MIN: i64 = 900;

impl Site {
    /// Faults, one after the other, and time between them.
    pub(super) fn run_through_faults(&mut self) {
        let end = self.chance.between(300_000, 1_500_000);
        while self.now < end {
            let longest = self.chance.of(&[3_000, 60_000, 60_000, 300_000]);
            let pause = self.chance.between(200, longest);
            self.pass(pause);
            self.befall();
            self.judge.calm_since = self.is_roomy().then_some(self.now + QUEUED);
        }
    }

    /// Lets time pass; each second what must hold at any time is looked at.
    fn pass(&mut self, millis: Millis) {
        let end = self.now + millis;
        while self.now < end {
            self.run_until((self.now + 1_000).min(end));
            for line in 0..self.cameras.len() {
                self.judge.relay_in_window(self.now, line, &self.readable(line));
            }
        }
    }

    /// Whether all is well enough for the relay to be in its window soon.
    fn is_roomy(&self) -> bool {
        let writes = self.internal.condition == Condition::Writable
            || self.second.as_ref().is_some_and(|second| second.condition == Condition::Writable);
        let recorded: u64 = self.cameras.iter().map(|camera| camera.bits_per_second).sum();
        let room = |limit: u64| limit == 0 || limit >= recorded * 2;
        let fast = |limit: &SpeedLimit| limit.percent >= 150;
        // A data rate that was set may hold only later, or not any more.
        let unbound = self.limits.iter().zip(&self.cameras).all(|(limit, camera)| {
            limit.bits_per_second == 0 || limit.bits_per_second >= camera.bits_per_second * 3
        });
        let cameras = self.cameras.iter().all(|camera| camera.on && camera.wanted);
        self.running
            && self.way.up
            && writes
            && cameras
            && unbound
            && !self.was_bound
            && self.limits.iter().all(fast)
            && room(self.throttle)
            && room(self.way.bits_per_second)
            && self.way.free_at <= self.now + 1_000
    }

    fn befall(&mut self) {
        let line = self.chance.index(self.cameras.len());
        match self.chance.between(0, 24) {
            0..=4 => self.way.up = !self.way.up,
            // Shorter than anybody notices, but for what is on its way.
            5 => {
                let up = std::mem::replace(&mut self.way.up, false);
                let wait = self.chance.between(50, 1_500);
                self.pass(wait);
                self.way.up = up;
            }
            6 => self.way.broken = true,
            7..=8 if self.running => self.kill(),
            9 => self.lose_outside(line),
            10..=13 => {
                let place = self.chance.of(&[Place::Internal, Place::Internal, Place::Second]);
                let condition = self.chance.of(&[Condition::Writable, Condition::ReadOnly, Condition::Gone]);
                self.set(place, condition);
            }
            14..=15 => {
                let place = self.chance.of(&[Place::Internal, Place::Internal, Place::Second]);
                let back = self.chance.one_in(3);
                self.swap(place, back);
            }
            16..=17 => {
                let percent = self.chance.of(&[0, 50, 100, 150, 200, 500, 1_000]);
                let own = self.cameras[line].bits_per_second;
                let bits_per_second = self.chance.of(&[0, 0, own / 2, own * 3 / 2, own * 4]);
                self.was_bound |= bits_per_second != 0;
                self.limit(line, SpeedLimit { percent, bits_per_second });
            }
            18 => {
                let recorded: u64 = self.cameras.iter().map(|camera| camera.bits_per_second).sum();
                let throttle = self.chance.of(&[0, recorded / 2, recorded * 2, recorded * 3]);
                self.throttle(throttle);
            }
            19 => {
                let recorded: u64 = self.cameras.iter().map(|camera| camera.bits_per_second).sum();
                self.way.bits_per_second = self.chance.of(&[0, recorded / 2, recorded * 2, recorded * 4]);
            }
            20 => self.rot(line),
            21 => self.cameras[line].on = !self.cameras[line].on,
            22 => self.cameras[line].wanted = !self.cameras[line].wanted,
            _ => self.cameras[line].bits_per_second = self.chance.between(5, 80) * 100_000,
        }
    }

    fn set(&mut self, place: Place, condition: Condition) {
        let Some(storage) = self.storage(place) else { return };
        let before = std::mem::replace(&mut storage.condition, condition);
        if before == Condition::Gone {
            // A node that began while it was gone did not know what it has.
            for (line, held) in storage.held.clone().iter().enumerate() {
                self.judge.returned(line, held);
            }
        }
        self.changed(place);
    }

    fn any_span(&mut self) -> Span {
        let from = self.chance.between(0, self.now + 1);
        let length = self.chance.between(1_000, 60_000);
        Span { from: label(from), to: label(from + length) }
    }

    /// The external storage loses footage, and says that it began anew.
    fn lose_outside(&mut self, line: usize) {
        let span = self.any_span();
        let lost = self.records(line, span);
        let here = self.everywhere(line);
        for lost in lost.spans() {
            self.judge.lines[line].outside.remove(*lost);
            let nowhere = here.missing(*lost);
            self.judge.excuse(line, &nowhere);
        }
        self.way.broken = true;
    }

    /// A storage cannot read a part of what it holds.
    fn rot(&mut self, line: usize) {
        let span = self.any_span();
        let place = self.chance.of(&[Place::Internal, Place::Second]);
        let records = self.records(line, span);
        if let Some(storage) = self.storage(place) {
            let rotten = super::site::overlap(&storage.held[line], &records);
            rotten.spans().iter().for_each(|span| storage.rotten[line].insert(*span));
        }
    }

    /// All is well again: storages, line, cameras; and the limits leave room.
    pub(super) fn heal(&mut self) {
        self.way.up = true;
        // What crept over a narrow line goes over another.
        (self.way.bits_per_second, self.way.broken) = (0, true);
        for place in [Place::Internal, Place::Second] {
            self.set(place, Condition::Writable);
        }
        for camera in &mut self.cameras {
            (camera.on, camera.wanted) = (true, true);
        }
        self.throttle(0);
        for line in 0..self.cameras.len() {
            // A data rate holds from the next backup on: one that is stopped ends.
            self.limit(line, SpeedLimit { percent: 0, bits_per_second: 0 });
            self.limit(line, SpeedLimit { percent: 500, bits_per_second: 0 });
        }
        // A node that was killed comes back, and the storages are noticed.
        self.judge.calm_since = None;
        self.pass(25_000);
        self.judge.calm_since = Some(self.now);
    }

    /// What was left out is replenished in the time that the speed gives, the relay is in its window all the while, and what is lost
    /// was named.
    pub(super) fn recover(&mut self) {
        let end = self.now + self.now / 4 + SETTLES;
        while self.lines().any(|line| self.waits(line) > WAITS_TICKS_MIN) {
            assert!(self.now < end, "it is not outside by {end} ms: {:?}", self.left());
            self.pass(1_000);
        }
        self.pass(SETTLES);
        assert!(self.lines().all(|line| self.waits(line) <= WAITS_TICKS_MIN), "{:?}", self.left());
        self.judge.finish(self.now);
        let now = self.mono();
        for camera in &self.cameras {
            let machine = self.machine();
            assert_eq!((machine.case(), machine.backlog_ticks(&camera.key)), (Case::Normal, 0));
            let behind = machine.behind(now, &camera.key);
            assert!(behind.is_some_and(|behind| behind <= Duration::from_secs(120)), "{behind:?}");
        }
    }

    fn lines(&self) -> std::ops::Range<usize> {
        0..self.cameras.len()
    }

    fn waits(&self, line: usize) -> i64 {
        self.judge.waits(self.now, line, &self.readable(line)).ticks()
    }

    fn left(&self) -> Vec<keepwatch_model::SpanSet> {
        self.lines().map(|line| self.judge.waits(self.now, line, &self.readable(line))).collect()
    }
}
