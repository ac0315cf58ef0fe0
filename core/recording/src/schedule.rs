//! When a camera is to be recorded: spans of the week in UTC.
//!
//! A schedule decides between *gap* and *unscheduled*; it starts and ends sessions. It knows no time zones.

use keepwatch_model::{Span, SpanSet, TICKS_PER_SECOND, WallTime};

const MINUTE: i64 = 60 * TICKS_PER_SECOND;
const WEEK_MINUTES: i64 = 7 * 24 * 60;
/// 1970-01-05, the first Monday of the epoch, in minutes.
const FIRST_MONDAY: i64 = 4 * 24 * 60;

/// A weekly schedule in UTC; the empty one means always.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// Minutes of the week, ascending, disjoint, not touching.
    spans: Vec<(i64, i64)>,
}

impl Schedule {
    /// The schedule of these `(first minute, minute after)` pairs, counted from Monday 00:00 UTC; pairs that are
    /// empty or outside the week are ignored.
    pub fn new(minutes: impl IntoIterator<Item = (u32, u32)>) -> Self {
        let set: SpanSet = minutes
            .into_iter()
            .map(|(from, to)| (i64::from(from), i64::from(to).min(WEEK_MINUTES)))
            .filter_map(|(from, to)| Span::new(WallTime::from_ticks(from), WallTime::from_ticks(to)))
            .collect();
        Self { spans: set.spans().iter().map(|span| (span.from.ticks(), span.to.ticks())).collect() }
    }

    /// The schedule that never asks for recording.
    pub fn never() -> Self {
        Self { spans: vec![(0, 0)] }
    }

    /// Whether it asks for recording at `label`.
    pub fn is_open(&self, label: WallTime) -> bool {
        let minute = minute_of_week(label);
        self.is_always() || self.spans.iter().any(|(from, to)| (*from..*to).contains(&minute))
    }

    /// The first label after `label` at which the answer of [`is_open`](Self::is_open) changes; `None` when never.
    pub fn next_change(&self, label: WallTime) -> Option<WallTime> {
        if self.is_always() || self.spans.as_slice() == [(0, WEEK_MINUTES)] {
            return None;
        }
        let minute = minute_of_week(label);
        let start = label.ticks().div_euclid(MINUTE) * MINUTE;
        let edges = self.spans.iter().flat_map(|(from, to)| [*from, *to]);
        let ahead = edges.map(|edge| match (edge - minute).rem_euclid(WEEK_MINUTES) {
            0 => WEEK_MINUTES,
            minutes => minutes,
        });
        // Sunday's end touching Monday's start is no change.
        let mut candidates: Vec<i64> = ahead.collect();
        candidates.sort_unstable();
        candidates
            .into_iter()
            .map(|minutes| WallTime::from_ticks(start).plus(minutes * MINUTE))
            .find(|change| self.is_open(*change) != self.is_open(label))
    }

    /// The parts of `window` in which recording is asked for.
    pub fn within(&self, window: Span) -> SpanSet {
        let mut open = SpanSet::new();
        let mut from = window.from;
        while from < window.to {
            let to = self.next_change(from).unwrap_or(window.to).min(window.to);
            if self.is_open(from) {
                open.insert(Span { from, to });
            }
            from = to;
        }
        open
    }

    fn is_always(&self) -> bool {
        self.spans.is_empty()
    }
}

fn minute_of_week(label: WallTime) -> i64 {
    (label.ticks().div_euclid(MINUTE) - FIRST_MONDAY).rem_euclid(WEEK_MINUTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> WallTime {
        text.parse().unwrap()
    }

    #[test]
    fn office_hours_open_and_close() {
        // Monday 07:00-19:00; 2026-11-23 is a Monday.
        let office = Schedule::new([(7 * 60, 19 * 60)]);
        assert!(!office.is_open(at("2026-11-23T06:59:59Z")));
        assert!(office.is_open(at("2026-11-23T07:00:00Z")));
        assert_eq!(office.next_change(at("2026-11-23T07:00:30Z")), Some(at("2026-11-23T19:00:00Z")));
        assert_eq!(office.next_change(at("2026-11-23T19:00:00Z")), Some(at("2026-11-30T07:00:00Z")));
        let week = Span { from: at("2026-11-20T00:00:00Z"), to: at("2026-11-27T00:00:00Z") };
        assert_eq!(office.within(week).ticks(), 12 * 60 * MINUTE);
    }

    #[test]
    fn the_empty_schedule_and_the_full_week_never_close() {
        let window = Span { from: at("2026-11-20T00:00:00Z"), to: at("2026-11-27T00:00:00Z") };
        for always in [Schedule::default(), Schedule::new([(0, 10_080)])] {
            assert_eq!(always.next_change(window.from), None);
            assert_eq!(always.within(window).ticks(), window.ticks());
        }
    }

    #[test]
    fn a_span_over_the_end_of_the_week_has_no_seam() {
        // Sunday 20:00 to Monday 06:00, written as two spans.
        let night = Schedule::new([(6 * 1440 + 20 * 60, 10_080), (0, 6 * 60)]);
        assert_eq!(night.next_change(at("2026-11-22T21:00:00Z")), Some(at("2026-11-23T06:00:00Z")));
    }
}
