//! What is missing of a stream and worth asking for.

use keepwatch_model::{Span, SpanSet, TICKS_PER_SECOND, WallTime};
use keepwatch_recording::ledger::Gap;

use crate::camera::StreamState;

/// A gap that ended less than this ago may not be entered to its end.
const SETTLED_TICKS: i64 = 2 * TICKS_PER_SECOND;
/// A gap that goes on is filled up to a whole step, a minute ago, so that it is not asked for second by second. Steps grow with
/// it: for gaps up to so long, such steps.
const STEPS: [(i64, i64); 2] =
    [(900 * TICKS_PER_SECOND, MINUTE_TICKS), (7_200 * TICKS_PER_SECOND, 5 * MINUTE_TICKS)];
const STEP_TICKS_MAX: i64 = 15 * MINUTE_TICKS;
const MINUTE_TICKS: i64 = 60 * TICKS_PER_SECOND;
/// Shorter gaps hold no picture.
pub(super) const GAP_TICKS_MIN: i64 = TICKS_PER_SECOND / 50;
/// Most gaps of a stream that are asked for, the oldest first: the others come when those are settled.
const GAPS_MAX: usize = 256;

/// What a stream misses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Missing {
    /// What is asked for, in order.
    pub(super) open: Vec<Span>,
    /// Ticks of all gaps.
    pub(super) ticks: i64,
    /// Ticks of those that nobody has, or for which there is no room.
    pub(super) nowhere_ticks: i64,
}

/// Looks for what `stream` misses `since` a label, at `now`. There is room from `room_from` on; what is `settled` is asked for no
/// more.
pub(super) fn missing(
    stream: &StreamState,
    (since, room_from, now): (WallTime, Option<WallTime>, WallTime),
    settled: &SpanSet,
) -> Missing {
    let end = now.plus(-SETTLED_TICKS);
    let Some(window) = Span::new(since, end) else { return Missing::default() };
    open(joined(&stream.ledger().gaps(window)).spans(), end, room_from, settled)
}

/// Gaps that are neighbours are one to fill, whatever the reasons of each.
pub(super) fn joined<'g>(gaps: impl IntoIterator<Item = &'g Gap>) -> SpanSet {
    gaps.into_iter().map(|gap| gap.span).collect()
}

fn open(gaps: &[Span], end: WallTime, room_from: Option<WallTime>, settled: &SpanSet) -> Missing {
    let mut found = Missing::default();
    for gap in gaps {
        found.ticks = found.ticks.saturating_add(gap.ticks());
        let has_room = Span::new(room_from.map_or(gap.from, |from| from.max(gap.from)), gap.to);
        let open = has_room.map(|gap| settled.missing(gap)).unwrap_or_default();
        found.nowhere_ticks = found.nowhere_ticks.saturating_add(gap.ticks().saturating_sub(open.ticks()));
        for span in open.spans() {
            let goes_on = span.to == end;
            let asked = if goes_on { Span::new(span.from, step(gap.from, end)) } else { Some(*span) };
            let asked = asked.and_then(|asked| asked.intersection(*span));
            if found.open.len() < GAPS_MAX {
                found.open.extend(asked.filter(|asked| asked.ticks() >= GAP_TICKS_MIN));
            }
        }
    }
    found
}

/// Up to where a gap is asked for that began at `from` and goes on at `end`.
fn step(from: WallTime, end: WallTime) -> WallTime {
    let length = end.ticks_since(from);
    let step = STEPS.iter().find(|(longest, _)| length <= *longest).map_or(STEP_TICKS_MAX, |(_, step)| *step);
    let ago = end.ticks().saturating_sub(MINUTE_TICKS);
    WallTime::from_ticks(ago.div_euclid(step) * step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> WallTime {
        WallTime::from_ticks(second * TICKS_PER_SECOND)
    }

    fn span(from: i64, to: i64) -> Span {
        Span { from: at(from), to: at(to) }
    }

    /// A thousand times a minute is missing that nobody has; what somebody has comes behind.
    #[test]
    fn gaps_that_nobody_has_do_not_stand_in_the_way_of_later_ones() {
        let gaps: Vec<Span> = (0..1_000).map(|number| span(number * 100, number * 100 + 60)).collect();
        let found = open(&gaps, at(1_000_000), None, &SpanSet::new());
        assert_eq!((found.open.len(), found.nowhere_ticks), (GAPS_MAX, 0));
        let settled: SpanSet = gaps.iter().take(900).copied().collect();
        let found = open(&gaps, at(1_000_000), None, &settled);
        assert_eq!(found.open, gaps.split_at(900).1);
        assert_eq!(found.nowhere_ticks, 900 * 60 * TICKS_PER_SECOND);
        assert_eq!(found.ticks, 1_000 * 60 * TICKS_PER_SECOND);
    }

    #[test]
    fn what_is_older_than_all_that_full_disks_hold_is_not_asked_for() {
        let found = open(&[span(0, 60), span(100, 160)], at(1_000), Some(at(130)), &SpanSet::new());
        assert_eq!(found.open, [span(130, 160)]);
        assert_eq!(found.nowhere_ticks, 90 * TICKS_PER_SECOND);
    }

    #[test]
    fn a_gap_that_goes_on_is_asked_for_in_steps_that_grow() {
        let asked = |length: i64| {
            let end = 1_000_000 + length;
            let found = open(&[span(1_000_000, end)], at(end), None, &SpanSet::new());
            found.open.first().map(|asked| (end - asked.to.ticks() / TICKS_PER_SECOND, *asked))
        };
        assert_eq!(asked(30), None, "it may end at any moment");
        let lags = |length| asked(length).unwrap().0;
        assert!((60..120).contains(&lags(600)), "{}", lags(600));
        assert!((60..360).contains(&lags(3_600)), "{}", lags(3_600));
        assert!((60..960).contains(&lags(86_400)), "{}", lags(86_400));
        // One that has ended is asked for to its end.
        let found = open(&[span(0, 600)], at(700), None, &SpanSet::new());
        assert_eq!(found.open, [span(0, 600)]);
    }
}
