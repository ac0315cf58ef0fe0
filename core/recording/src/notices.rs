//! Which of the things that a camera notices are told: a state when it changes, an event when it happens, and never more
//! than an operator can read.
//!
//! A camera may tell the same by several ways at once, repeat what it said, or chatter. Only names, conditions and times
//! come in here, no messages.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use keepwatch_model::MonoTime;

/// Most states that are followed of one camera: cameras have some ten rules, and names come from outside.
const STATES_MAX: usize = 256;
/// Most lines of one camera that are told at once.
const BURST_MAX: u32 = 20;
/// Time after which one line more may be told: ten in a minute, 14,400 in a day of a camera that never rests.
const LINE_INTERVAL: Duration = Duration::from_secs(6);
/// The same event within this time was told twice: by a pull point and in the metadata track.
const TWICE_WITHIN: Duration = Duration::from_secs(3);
/// Events that are remembered for that.
const RECENT_MAX: usize = 32;

/// What is said of something noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It is so.
    Active,
    /// It is not so, or not any more.
    Inactive,
    /// It happened, and has no end.
    Momentary,
}

/// A line to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Lines that were not told since the last one, because there were too many.
    pub left_out: u32,
}

/// What one camera noticed.
#[derive(Debug)]
pub struct Notices {
    /// By name, the state that was last told.
    states: BTreeMap<String, bool>,
    /// Events that happened lately.
    recent: VecDeque<(MonoTime, String)>,
    lines: u32,
    refilled: MonoTime,
    left_out: u32,
}

impl Default for Notices {
    fn default() -> Self {
        Self {
            states: BTreeMap::new(),
            recent: VecDeque::new(),
            lines: BURST_MAX,
            refilled: MonoTime::ZERO,
            left_out: 0,
        }
    }
}

impl Notices {
    /// Takes what a camera says at `now` of what `name` stands for; returns the line to tell, if it is one.
    pub fn look(&mut self, now: MonoTime, name: &str, condition: Condition) -> Option<Line> {
        let active = match condition {
            Condition::Momentary => return self.happened(now, name),
            Condition::Active => true,
            Condition::Inactive => false,
        };
        // What was never active need not be said to be inactive.
        let told = self.states.get(name).copied().unwrap_or(false);
        if told == active {
            return None;
        }
        if !self.states.contains_key(name) && self.states.len() >= STATES_MAX {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        // A change that there is no line for is not noted: it is told when it is said again.
        let line = self.line(now)?;
        self.states.insert(name.to_owned(), active);
        Some(line)
    }

    fn happened(&mut self, now: MonoTime, name: &str) -> Option<Line> {
        while self.recent.front().is_some_and(|(at, _)| now.since(*at) >= TWICE_WITHIN) {
            self.recent.pop_front();
        }
        if self.recent.iter().any(|(_, recent)| recent == name) {
            return None;
        }
        let line = self.line(now)?;
        if self.recent.len() >= RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back((now, name.to_owned()));
        Some(line)
    }

    fn line(&mut self, now: MonoTime) -> Option<Line> {
        while self.lines < BURST_MAX && now.since(self.refilled) >= LINE_INTERVAL {
            self.lines += 1;
            self.refilled = self.refilled + LINE_INTERVAL;
        }
        if self.lines == BURST_MAX {
            self.refilled = now;
        }
        if self.lines == 0 {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.lines -= 1;
        Some(Line { left_out: std::mem::take(&mut self.left_out) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> MonoTime {
        MonoTime::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn a_state_is_told_when_it_changes_whoever_says_it() {
        let mut notices = Notices::default();
        for (ms, condition, told) in [
            (0, Condition::Inactive, false),
            (10, Condition::Active, true),
            (15, Condition::Active, false),
            (5_000, Condition::Active, false),
            (6_000, Condition::Inactive, true),
            (6_010, Condition::Inactive, false),
            (7_000, Condition::Active, true),
        ] {
            assert_eq!(notices.look(at(ms), "Motion 1", condition).is_some(), told, "{ms} ms");
        }
        assert!(notices.look(at(7_000), "Motion 2", Condition::Active).is_some(), "another source");
    }

    #[test]
    fn an_event_is_told_once_though_it_comes_twice() {
        let mut notices = Notices::default();
        let mut told = |ms| notices.look(at(ms), "Crossed", Condition::Momentary).is_some();
        assert_eq!([0, 200, 2_900, 3_100, 6_200].map(&mut told), [true, false, false, true, true]);
    }

    /// A camera that reports something else ten times a second for a day.
    #[test]
    fn a_chatty_camera_cannot_flood_the_log() {
        let mut notices = Notices::default();
        let (mut told, mut left_out) = (0_u32, 0_u32);
        for tenth in 0..864_000_u64 {
            let name = format!("Rule {tenth}");
            for condition in [Condition::Momentary, Condition::Active] {
                if let Some(line) = notices.look(at(tenth * 100), &name, condition) {
                    told += 1;
                    left_out += line.left_out;
                }
            }
        }
        assert!((14_000..14_500).contains(&told), "{told}");
        assert!(told + left_out > 1_700_000, "{left_out}");
        assert!(notices.states.len() <= STATES_MAX && notices.recent.len() <= RECENT_MAX);
    }

    #[test]
    fn a_change_that_was_left_out_is_told_later() {
        let mut notices = Notices::default();
        for number in 0..BURST_MAX {
            assert!(notices.look(at(0), &number.to_string(), Condition::Momentary).is_some());
        }
        assert_eq!(notices.look(at(0), "Tamper", Condition::Active), None);
        assert_eq!(notices.look(at(7_000), "Tamper", Condition::Active), Some(Line { left_out: 1 }));
    }
}
