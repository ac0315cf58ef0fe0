//! What stands on the disks outside, and what is on its way there: so that nothing is asked for, or written, twice.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use keepwatch_model::{GapReason, Span, SpanSet, TICKS_PER_SECOND, WallTime};
use keepwatch_recording::peer::WantedLine;
use keepwatch_recording::replenish::StreamKey;
use keepwatch_store::Lane;
use tokio::sync::oneshot;

/// Shorter gaps hold no picture.
const GAP_TICKS_MIN: i64 = TICKS_PER_SECOND / 50;

/// What is queued for so long is stuck: the disks hang. A slow one is given less at a time.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// What became of a record that was queued: it is durable, or no disk took it.
pub(super) type Outcome = Result<(), GapReason>;

/// How a record stands outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// All of it is durable.
    Held,
    /// It is queued.
    OnItsWay,
    /// It is not there, and goes there by this lane.
    Missing(Lane),
}

/// The books of the store outside.
#[derive(Debug, Default)]
pub(super) struct Books {
    held: BTreeMap<StreamKey, SpanSet>,
    /// Records that are queued.
    flights: BTreeMap<(StreamKey, Span), Flight>,
    /// Where the live lane of a stream ends: what begins before goes by the other, as its extents are in order of label.
    reach: BTreeMap<StreamKey, WallTime>,
    /// What changed since the index is being read.
    since: Option<Vec<(StreamKey, Span, Change)>>,
}

/// A record that is queued.
#[derive(Debug)]
struct Flight {
    since: Instant,
    /// Who is to be told of it.
    waiting: Vec<oneshot::Sender<Outcome>>,
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Durable,
    Reclaimed,
}

impl Books {
    /// The index is going to be read: what changes meanwhile is entered on top of what it says.
    pub(super) fn begin(&mut self) {
        self.since = Some(Vec::new());
    }

    /// The index was read.
    pub(super) fn enter(&mut self, held: BTreeMap<StreamKey, SpanSet>) {
        for (key, spans) in &held {
            let end = spans.spans().last().map_or(WallTime::MIN, |last| last.to);
            let reach = self.reach.entry(*key).or_insert(end);
            *reach = end.max(*reach);
        }
        self.held = held;
        for (key, span, change) in self.since.take().unwrap_or_default() {
            self.change(key, span, change);
        }
    }

    /// How the record of these labels stands.
    pub(super) fn look(&self, key: StreamKey, label: Span) -> Standing {
        if self.flights.contains_key(&(key, label)) {
            return Standing::OnItsWay;
        }
        let missing = |held: &SpanSet| held.missing(label).ticks() >= GAP_TICKS_MIN.min(label.ticks());
        if !self.held.get(&key).is_none_or(missing) {
            return Standing::Held;
        }
        let goes_on = self.reach.get(&key).is_none_or(|reach| label.from >= *reach);
        Standing::Missing(if goes_on { Lane::Live } else { Lane::Backfill })
    }

    /// A record is about to be queued, or is: what becomes of it is told.
    pub(super) fn follow(&mut self, now: Instant, key: StreamKey, label: Span) -> oneshot::Receiver<Outcome> {
        let (tell, told) = oneshot::channel();
        let flight = || Flight { since: now, waiting: Vec::new() };
        let Flight { waiting, .. } = self.flights.entry((key, label)).or_insert_with(flight);
        // Who gave up waiting was sent away with its transfer.
        waiting.retain(|waiting| !waiting.is_closed());
        waiting.push(tell);
        told
    }

    /// A record was queued by this lane.
    pub(super) fn queued(&mut self, key: StreamKey, label: Span, lane: Lane) {
        if lane == Lane::Live {
            let reach = self.reach.entry(key).or_insert(label.to);
            *reach = label.to.max(*reach);
        }
    }

    /// For how long the disks have not written what they were given; `None` while they do.
    pub(super) fn stuck(&self, now: Instant) -> Option<Duration> {
        let first = self.flights.values().map(|flight| flight.since).min()?;
        Some(now.saturating_duration_since(first)).filter(|waits| *waits >= STUCK_AFTER)
    }

    /// It could not be queued after all.
    pub(super) fn stays(&mut self, key: StreamKey, label: Span) {
        self.flights.remove(&(key, label));
    }

    /// A record is on a disk.
    pub(super) fn durable(&mut self, key: StreamKey, label: Span) {
        self.change(key, label, Change::Durable);
        self.land(key, label, Ok(()));
    }

    /// A record was queued, and no disk took it.
    pub(super) fn lost(&mut self, key: StreamKey, label: Span, reason: GapReason) {
        self.land(key, label, Err(reason));
    }

    /// Footage is not there any more.
    pub(super) fn reclaimed(&mut self, key: StreamKey, span: Span) {
        self.change(key, span, Change::Reclaimed);
    }

    /// What is missing of a stream from `since` on.
    pub(super) fn wanted(&self, key: StreamKey, since: WallTime) -> WantedLine {
        let nothing = SpanSet::new();
        let held = self.held.get(&key).unwrap_or(&nothing);
        let end = held.spans().last().map_or(since, |last| last.to.max(since));
        let gaps = Span::new(since, end).map(|window| held.missing(window)).unwrap_or_default();
        let long = gaps.spans().iter().filter(|gap| gap.ticks() >= GAP_TICKS_MIN);
        WantedLine {
            camera: key.0,
            stream: key.1.0,
            missing: long.map(|gap| (*gap).into()).collect(),
            missing_from: end,
        }
    }

    fn change(&mut self, key: StreamKey, span: Span, change: Change) {
        if let Some(since) = &mut self.since {
            since.push((key, span, change));
        }
        match change {
            Change::Durable => self.held.entry(key).or_default().insert(span),
            Change::Reclaimed => {
                if let Some(held) = self.held.get_mut(&key) {
                    held.remove(span);
                }
            }
        }
    }

    fn land(&mut self, key: StreamKey, label: Span, outcome: Outcome) {
        for waiting in self.flights.remove(&(key, label)).map(|flight| flight.waiting).unwrap_or_default() {
            // Who gave up waiting asks again.
            let _ = waiting.send(outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keepwatch_model::StreamId;

    fn span(from: i64, to: i64) -> Span {
        let at = |seconds: i64| WallTime::from_ticks(seconds * TICKS_PER_SECOND);
        Span { from: at(from), to: at(to) }
    }

    fn key() -> StreamKey {
        ("gate".parse().unwrap(), StreamId::MAIN)
    }

    fn write(books: &mut Books, label: Span) -> Lane {
        let Standing::Missing(lane) = books.look(key(), label) else { panic!("{label:?} is there") };
        let mut told = books.follow(Instant::now(), key(), label);
        books.queued(key(), label, lane);
        assert_eq!(books.look(key(), label), Standing::OnItsWay);
        books.durable(key(), label);
        assert_eq!(told.try_recv(), Ok(Ok(())));
        assert_eq!(books.look(key(), label), Standing::Held);
        lane
    }

    #[test]
    fn what_goes_on_behind_the_newest_is_live_and_what_belongs_before_is_not() {
        let mut books = Books::default();
        books.enter([(key(), [span(10, 20)].into_iter().collect())].into());
        assert_eq!(books.look(key(), span(12, 13)), Standing::Held);
        assert_eq!(write(&mut books, span(30, 31)), Lane::Live, "the relay goes on after an absence");
        assert_eq!(write(&mut books, span(20, 21)), Lane::Backfill);
        assert_eq!(write(&mut books, span(31, 32)), Lane::Live);
        assert_eq!(write(&mut books, span(21, 22)), Lane::Backfill);
        let wanted = books.wanted(key(), WallTime::MIN);
        let missing: Vec<Span> = wanted.spans().collect();
        let before = Span { from: WallTime::MIN, to: span(10, 11).from };
        let after = Span { from: span(32, 33).from, to: WallTime::MAX };
        assert_eq!(missing, [before, span(22, 30), after]);
        let wanted = books.wanted(key(), span(25, 26).from);
        assert_eq!(
            wanted.spans().collect::<Vec<_>>(),
            [span(25, 30), after],
            "what is too old is not wanted"
        );
        let other = (key().0, StreamId::SUB);
        assert_eq!(
            books.wanted(other, WallTime::MIN).spans().collect::<Vec<_>>(),
            [Span { from: WallTime::MIN, to: WallTime::MAX }]
        );
    }

    #[test]
    fn what_becomes_durable_or_goes_while_the_index_is_read_is_not_forgotten() {
        let mut books = Books::default();
        books.enter([(key(), [span(0, 10)].into_iter().collect())].into());
        books.begin();
        books.durable(key(), span(10, 11));
        books.reclaimed(key(), span(0, 2));
        books.enter([(key(), [span(0, 10)].into_iter().collect())].into());
        assert_eq!(books.look(key(), span(10, 11)), Standing::Held);
        assert_eq!(books.look(key(), span(1, 2)), Standing::Missing(Lane::Backfill));
    }

    #[test]
    fn all_who_wait_for_a_record_hear_of_it_once() {
        let mut books = Books::default();
        let now = Instant::now();
        let mut first = books.follow(now, key(), span(0, 1));
        drop(books.follow(now, key(), span(0, 1)));
        let mut second = books.follow(now + STUCK_AFTER, key(), span(0, 1));
        let waiting: usize = books.flights.values().map(|flight| flight.waiting.len()).sum();
        assert_eq!(waiting, 2, "who gave up is let go");
        assert_eq!(books.stuck(now + STUCK_AFTER / 2), None);
        assert_eq!(books.stuck(now + STUCK_AFTER), Some(STUCK_AFTER), "since it was queued first");
        books.lost(key(), span(0, 1), GapReason::DiskGone);
        assert_eq!(first.try_recv(), Ok(Err(GapReason::DiskGone)));
        assert_eq!(second.try_recv(), Ok(Err(GapReason::DiskGone)));
        assert_eq!(books.look(key(), span(0, 1)), Standing::Missing(Lane::Live));
        assert_eq!(books.stuck(now + STUCK_AFTER), None);
        drop(books.follow(now, key(), span(0, 1)));
        books.stays(key(), span(0, 1));
        assert!(books.flights.is_empty());
    }
}
