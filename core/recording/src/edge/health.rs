//! What an operator is to know of an edge node: how full it is and for how long it lasts, whether each line keeps up, and the clocks.
//!
//! Looked at once a second; what is raised stays raised until it is well away, so that nobody is woken twice for the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use keepwatch_model::{MonoTime, TICKS_PER_SECOND, duration_from_ticks};

use super::fill::{Crossing, Flow, Thresholds, Warning};
use super::limit::SpeedLimit;
use super::overload::{Cause, Load, Overload, Wait};
use super::rate::{Mean, Rate};
use crate::replenish::StreamKey;

/// Clocks of the node and of the external storage that differ by so much are told, and by less than this no more.
const CLOCK_TICKS: i64 = 30 * TICKS_PER_SECOND;
const CLOCK_CLEAR_TICKS: i64 = 20 * TICKS_PER_SECOND;
/// Footage that is overwritten within this time before it is outside is told; and no more, when it is twice as far.
const OVERFLOW_AHEAD: Duration = Duration::from_secs(3_600);

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Alarm {
    /// Local storage is fuller of what is not outside than the warning.
    Fill,
    /// At the present rates footage is overwritten soon that is not outside.
    OverflowAhead,
    /// The clock of the external storage shows another time.
    Clock,
    /// A line falls behind.
    Overload(StreamKey),
    /// With the limit of a line, what it is behind with never leaves.
    NeverDepletes(StreamKey),
}

/// An alarm that was raised, or is clear again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub alarm: Alarm,
    /// It was raised.
    pub on: bool,
}

/// A node, as it is found at one look.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Footage that is not outside, where recorder 2 writes.
    pub waiting_bytes: u64,
    /// What that place holds before it overwrites.
    pub room_bytes: u64,
    /// The external storage takes records.
    pub takes: bool,
    /// Its clock shows so many ticks more; `None` before it answered.
    pub ahead_ticks: Option<i64>,
    /// What the write throttle lets through in a second, in bits; 0 is all.
    pub throttle_bits_per_second: u64,
    /// Somebody plays footage of this node.
    pub playing: bool,
    /// More is ready to run than there are processors.
    pub processor_busy: bool,
    /// The lines that the external storage wants.
    pub lines: BTreeMap<StreamKey, FoundLine>,
}

/// A line, as it is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FoundLine {
    /// Recorded in a second, in bits.
    pub recorded_bits_per_second: u64,
    /// Sent since the start.
    pub sent_bytes: u64,
    /// What the relay left out.
    pub backlog_ticks: i64,
    /// What it waits for.
    pub waits: Option<Wait>,
    /// What is set.
    pub limit: SpeedLimit,
}

/// How a line does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineHealth {
    /// Recorded in a second, in bits.
    pub recorded_bits_per_second: u64,
    /// Sent in a second, in bits.
    pub sent_bits_per_second: u64,
    /// How long it takes until nothing is left out any more, once the external storage takes it; `None` when it never comes to that.
    pub depletes_in: Option<Duration>,
    /// Why it falls behind; `None` while it keeps up.
    pub cause: Option<Cause>,
}

struct Line {
    rate: Rate,
    mean: Mean,
    overload: Overload,
    health: LineHealth,
}

/// Watches a node.
#[derive(Default)]
pub struct Health {
    fill: Warning,
    raised: BTreeSet<Alarm>,
    lines: BTreeMap<StreamKey, Line>,
    overflows_in: Option<Duration>,
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Health").field("raised", &self.raised).finish_non_exhaustive()
    }
}

impl Health {
    /// How a line does.
    pub fn line(&self, line: &StreamKey) -> LineHealth {
        self.lines.get(line).map_or_else(LineHealth::default, |line| line.health)
    }

    /// When footage is overwritten that is not outside, at the present rates; `None` when it never is.
    pub const fn overflows_in(&self) -> Option<Duration> {
        self.overflows_in
    }

    /// Whether it has been warned of how full local storage is.
    pub const fn is_warned(&self) -> bool {
        self.fill.is_on()
    }

    /// Looks at the node; returns what was raised and what is clear again.
    pub fn look(&mut self, now: MonoTime, thresholds: Thresholds, found: &Found) -> Vec<Change> {
        let mut out = Vec::new();
        self.lines.retain(|key, _| found.lines.contains_key(key));
        for (key, line) in &found.lines {
            self.look_at_line(now, *key, line, found);
        }
        match self.fill.look(thresholds, found.waiting_bytes, found.room_bytes) {
            Some(Crossing::Warning) => self.set(Alarm::Fill, true, &mut out),
            Some(Crossing::AllClear) => self.set(Alarm::Fill, false, &mut out),
            None => {}
        }
        self.forecast(found, &mut out);
        if let Some(ahead) = found.ahead_ticks.map(i64::saturating_abs) {
            let was = self.raised.contains(&Alarm::Clock);
            self.set(Alarm::Clock, ahead >= if was { CLOCK_CLEAR_TICKS } else { CLOCK_TICKS }, &mut out);
        }
        for (key, line) in &found.lines {
            let cause = self.line(key).cause;
            self.set(Alarm::Overload(*key), cause.is_some(), &mut out);
            let depletes = depletes_in(*line, found).is_some();
            self.set(Alarm::NeverDepletes(*key), !depletes && line.recorded_bits_per_second > 0, &mut out);
        }
        let gone = |alarm: &Alarm| match alarm {
            Alarm::Overload(key) | Alarm::NeverDepletes(key) => !found.lines.contains_key(key),
            Alarm::Fill | Alarm::OverflowAhead | Alarm::Clock => false,
        };
        let gone: Vec<Alarm> = self.raised.iter().copied().filter(gone).collect();
        for alarm in gone {
            self.set(alarm, false, &mut out);
        }
        out
    }

    fn set(&mut self, alarm: Alarm, on: bool, out: &mut Vec<Change>) {
        let changed = if on { self.raised.insert(alarm) } else { self.raised.remove(&alarm) };
        if changed {
            out.push(Change { alarm, on });
        }
    }

    fn look_at_line(&mut self, now: MonoTime, key: StreamKey, found: &FoundLine, node: &Found) {
        let line = self.lines.entry(key).or_insert_with(|| Line {
            rate: Rate::default(),
            mean: Mean::default(),
            overload: Overload::new(now),
            health: LineHealth::default(),
        });
        line.rate.look(now, found.sent_bytes);
        let recorded = found.recorded_bits_per_second;
        let load = Load {
            encoder_high: line.mean.is_exceeded_by(recorded),
            playing: node.playing,
            processor_busy: node.processor_busy,
        };
        line.mean.look(now, recorded);
        if node.takes {
            line.overload.look(now, found.backlog_ticks, found.waits, load);
        } else {
            line.overload.pause(now, found.backlog_ticks);
        }
        line.health = LineHealth {
            recorded_bits_per_second: recorded,
            sent_bits_per_second: line.rate.bits_per_second(),
            depletes_in: if found.backlog_ticks > 0 {
                depletes_in(*found, node)
            } else {
                Some(Duration::ZERO)
            },
            cause: line.overload.cause(),
        };
    }

    /// While nothing leaves, all that is recorded fills local storage; while it does, what of it leaves more slowly than it comes.
    fn forecast(&mut self, found: &Found, out: &mut Vec<Change>) {
        let behind = !found.takes || found.lines.values().any(|line| line.backlog_ticks > 0);
        let sum = |of: fn(&LineHealth) -> u64| self.lines.values().map(|line| of(&line.health)).sum();
        let flow = Flow {
            in_bits_per_second: sum(|line| line.recorded_bits_per_second),
            out_bits_per_second: if found.takes { sum(|line| line.sent_bits_per_second) } else { 0 },
        };
        let free = found.room_bytes.saturating_sub(found.waiting_bytes);
        self.overflows_in = if behind { flow.fills_in(free) } else { None };
        let limit =
            if self.raised.contains(&Alarm::OverflowAhead) { OVERFLOW_AHEAD * 2 } else { OVERFLOW_AHEAD };
        self.set(Alarm::OverflowAhead, self.overflows_in.is_some_and(|within| within <= limit), out);
    }
}

/// How long a line takes with its limits until nothing is left out any more: the throttle is shared by the rates of the lines.
fn depletes_in(line: FoundLine, node: &Found) -> Option<Duration> {
    let recorded = line.recorded_bits_per_second.max(1);
    let all: u64 = node.lines.values().map(|line| line.recorded_bits_per_second).sum();
    let share =
        u128::from(node.throttle_bits_per_second) * u128::from(recorded) / u128::from(all.max(recorded));
    let share = u64::try_from(share).unwrap_or(u64::MAX);
    let flow = Flow::limited(recorded, line.limit.percent, line.limit.bits_per_second, share);
    let behind = duration_from_ticks(line.backlog_ticks.max(1)).as_millis();
    let bytes = u128::from(recorded) * behind / 8_000;
    flow.depletes_in(u64::try_from(bytes).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use keepwatch_model::StreamId;

    const MBIT: u64 = 1_000_000;

    fn key() -> StreamKey {
        ("gate".parse().unwrap(), StreamId::MAIN)
    }

    /// A camera of 4 Mbit/s on a card of 3.6 GB, which holds two hours of it.
    fn node(backlog_seconds: i64, takes: bool, percent: u32) -> Found {
        let line = FoundLine {
            recorded_bits_per_second: 4 * MBIT,
            backlog_ticks: backlog_seconds * TICKS_PER_SECOND,
            limit: SpeedLimit { percent, bits_per_second: 0 },
            ..FoundLine::default()
        };
        Found {
            waiting_bytes: u64::try_from(backlog_seconds).unwrap() * 4 * MBIT / 8,
            room_bytes: 7_200 * 4 * MBIT / 8,
            takes,
            lines: BTreeMap::from([(key(), line)]),
            ..Found::default()
        }
    }

    fn at(second: u64) -> MonoTime {
        MonoTime::ZERO + Duration::from_secs(second)
    }

    const fn on(alarm: Alarm) -> Change {
        Change { alarm, on: true }
    }

    const fn off(alarm: Alarm) -> Change {
        Change { alarm, on: false }
    }

    #[test]
    fn an_overflow_is_told_an_hour_before_and_the_warning_at_ninety_percent() {
        let mut health = Health::default();
        let mut told = Vec::new();
        for second in 0..7_200_u64 {
            let found = node(i64::try_from(second).unwrap(), false, 200);
            let changes = health.look(at(second), Thresholds::default(), &found);
            told.extend(changes.into_iter().map(|change| (second, change)));
        }
        assert_eq!(told, [(3_600, on(Alarm::OverflowAhead)), (6_480, on(Alarm::Fill))]);
        assert_eq!(health.overflows_in(), Some(Duration::from_secs(1)));
        // It comes back: all is clear when it is well away, once each.
        let changes = health.look(at(7_200), Thresholds::default(), &node(3_700, true, 200));
        assert!(changes.is_empty(), "{changes:?}");
        let changes = health.look(at(7_201), Thresholds::default(), &node(0, true, 200));
        assert_eq!(changes, [off(Alarm::Fill), off(Alarm::OverflowAhead)]);
        assert!(health.look(at(7_202), Thresholds::default(), &node(0, true, 200)).is_empty());
    }

    #[test]
    fn a_limit_that_never_depletes_stays_alarmed_until_it_is_another() {
        let mut health = Health::default();
        for percent in [0, 50, 100] {
            let never = Alarm::NeverDepletes(key());
            assert_eq!(health.look(at(0), Thresholds::default(), &node(10, true, percent)), [on(never)]);
            assert_eq!(health.line(&key()).depletes_in, None);
            assert!(health.look(at(1), Thresholds::default(), &node(10, true, percent)).is_empty());
            assert_eq!(health.look(at(2), Thresholds::default(), &node(10, true, 200)), [off(never)]);
            assert_eq!(health.line(&key()).depletes_in, Some(Duration::from_secs(10)));
        }
        // What is not wanted any more is alarmed no more.
        health.look(at(3), Thresholds::default(), &node(10, true, 100));
        let nothing = Found { takes: true, ..Found::default() };
        assert_eq!(
            health.look(at(4), Thresholds::default(), &nothing),
            [on(Alarm::Fill), off(Alarm::NeverDepletes(key()))]
        );
    }

    #[test]
    fn a_throttle_below_what_is_recorded_never_depletes_either() {
        let mut health = Health::default();
        let found = Found { throttle_bits_per_second: 4 * MBIT, ..node(10, true, 500) };
        assert_eq!(health.look(at(0), Thresholds::default(), &found), [on(Alarm::NeverDepletes(key()))]);
        let found = Found { throttle_bits_per_second: 8 * MBIT, ..found };
        assert_eq!(health.look(at(1), Thresholds::default(), &found), [off(Alarm::NeverDepletes(key()))]);
        assert_eq!(health.line(&key()).depletes_in, Some(Duration::from_secs(10)));
    }

    #[test]
    fn clocks_that_differ_by_half_a_minute_are_told_once() {
        let mut health = Health::default();
        let mut look = |seconds: i64| {
            let found = Found { ahead_ticks: Some(seconds * TICKS_PER_SECOND), ..node(0, true, 200) };
            health.look(at(0), Thresholds::default(), &found)
        };
        assert!(look(29).is_empty());
        assert_eq!(look(-30), [on(Alarm::Clock)]);
        assert!(look(25).is_empty() && look(30).is_empty());
        assert_eq!(look(19), [off(Alarm::Clock)]);
    }

    #[test]
    fn a_line_that_falls_behind_is_told_with_its_cause() {
        let mut health = Health::default();
        let mut told = Vec::new();
        for second in 0..=60 {
            let mut found = node(second, true, 200);
            found.lines.get_mut(&key()).unwrap().waits = Some(Wait::Network);
            told.extend(health.look(at(u64::try_from(second).unwrap()), Thresholds::default(), &found));
        }
        assert_eq!(told, [on(Alarm::Overload(key()))]);
        assert_eq!(health.line(&key()).cause, Some(Cause::Network));
    }
}
