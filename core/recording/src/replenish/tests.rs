use super::*;
use keepwatch_model::{TICKS_PER_SECOND, WallTime};
use proptest::prelude::*;

const STANDBY: Source = Source::Recorder(RoleId([1; 16]));
const OTHER: Source = Source::Recorder(RoleId([2; 16]));

fn stream(name: &str) -> StreamKey {
    (name.parse().unwrap(), StreamId::MAIN)
}

fn card() -> Source {
    Source::Card("gate".parse().unwrap())
}

fn span(from: i64, to: i64) -> Span {
    let at = |seconds: i64| WallTime::from_ticks(seconds * TICKS_PER_SECOND);
    Span { from: at(from), to: at(to) }
}

fn second(seconds: u64) -> MonoTime {
    MonoTime::ZERO + Duration::from_secs(seconds)
}

/// A recorder with one machine, whose gaps the test fills.
#[derive(Default)]
struct Site {
    machine: Replenish,
    out: Vec<Action>,
}

impl Site {
    fn missing(&mut self, now: u64, name: &str, gaps: &[Span], sources: &[Source]) {
        let event = Event::Missing {
            stream: stream(name),
            since: WallTime::MIN,
            gaps: gaps.to_vec(),
            sources: sources.to_vec(),
        };
        self.machine.handle(second(now), event, &mut self.out);
    }

    fn ended(&mut self, now: u64, job: Job, end: JobEnd) {
        self.machine.handle(second(now), Event::Ended { job: job.id, end }, &mut self.out);
    }

    /// What was begun since the last look.
    fn begun(&mut self) -> Vec<Job> {
        let jobs = self.out.iter().filter_map(|action| match action {
            Action::Fetch(job) => Some(*job),
            Action::Cancel(_) | Action::Mark { .. } => None,
        });
        let jobs = jobs.collect();
        self.out.retain(|action| !matches!(action, Action::Fetch(_)));
        jobs
    }

    fn marks(&mut self) -> Vec<(Span, Option<Backfill>)> {
        let marks = self.out.iter().filter_map(|action| match action {
            Action::Mark { span, backfill, .. } => Some((*span, *backfill)),
            Action::Fetch(_) | Action::Cancel(_) => None,
        });
        let marks = marks.collect();
        self.out.clear();
        marks
    }

    /// Lets time pass up to the next thing that is awaited.
    fn wait(&mut self) -> u64 {
        let (at, _) = self.machine.deadline().expect("something is awaited");
        self.machine.timeout(at, &mut self.out);
        at.as_nanos() / 1_000_000_000
    }
}

#[test]
fn the_oldest_gap_comes_first_and_what_a_source_has_not_is_asked_of_the_next() {
    let mut site = Site::default();
    site.missing(0, "gate", &[span(100, 160), span(500, 520)], &[STANDBY, card()]);
    let first = site.begun()[0];
    assert_eq!((first.source, first.span), (STANDBY, span(100, 160)));
    assert_eq!(
        site.marks(),
        [(span(100, 160), Some(Backfill::Running)), (span(500, 520), Some(Backfill::Pending))]
    );
    // It had a part.
    site.missing(1, "gate", &[span(130, 160), span(500, 520)], &[STANDBY, card()]);
    assert!(site.begun().is_empty(), "one at a time for a stream");
    site.ended(2, first, JobEnd::Over);
    let second = site.begun()[0];
    assert_eq!((second.source, second.span), (STANDBY, span(500, 520)));
    site.missing(3, "gate", &[span(130, 160)], &[STANDBY, card()]);
    site.ended(3, second, JobEnd::Over);
    assert!(site.begun().is_empty(), "the standby may have the rest on its way to its disk");
    for again in [32, 632] {
        assert_eq!(site.wait(), again);
        let job = site.begun()[0];
        assert_eq!((job.source, job.span), (STANDBY, span(130, 160)));
        site.ended(again, job, JobEnd::Over);
    }
    let from_card = site.begun()[0];
    assert_eq!((from_card.source, from_card.span), (card(), span(130, 160)));
    site.ended(700, from_card, JobEnd::Over);
    assert!(site.machine.settled(stream("gate")).is_empty(), "the card is asked once more");
    site.wait();
    let from_card = site.begun()[0];
    site.ended(2_000, from_card, JobEnd::Over);
    assert_eq!(site.marks().last(), Some(&(span(130, 160), Some(Backfill::Done))));
    assert_eq!(site.machine.settled(stream("gate")).spans(), [span(130, 160)]);
    assert_eq!(site.machine.deadline(), None);
}

#[test]
fn a_source_that_is_away_is_asked_again_later_and_later_and_the_next_one_meanwhile() {
    let mut site = Site::default();
    site.missing(0, "gate", &[span(0, 60)], &[STANDBY, card()]);
    let mut now = 0;
    for rest in [5, 10] {
        let job = site.begun()[0];
        assert_eq!(job.source, STANDBY);
        site.ended(now, job, JobEnd::Unreachable);
        assert!(site.begun().is_empty());
        assert_eq!(site.wait(), now + rest);
        now += rest;
    }
    let job = site.begun()[0];
    site.ended(now, job, JobEnd::Unreachable);
    let job = site.begun()[0];
    assert_eq!(job.source, card(), "the standby has been away for long");
    site.ended(now, job, JobEnd::Cancelled);
}

/// A record there is damaged so that the source breaks off at it each time, or it sends what cannot be used.
#[test]
fn a_gap_at_which_its_source_breaks_off_has_its_turn_behind_all_others() {
    let mut site = Site::default();
    site.missing(0, "gate", &[span(0, 60), span(500, 520)], &[STANDBY]);
    site.missing(0, "yard", &[span(100, 160)], &[STANDBY]);
    let mut now = 0;
    let mut asked = Vec::new();
    let mut missing = vec![span(0, 60), span(500, 520)];
    for _ in 0..6 {
        let job = site.begun()[0];
        asked.push((job.stream, job.span));
        if job.span == span(0, 60) {
            site.ended(now, job, JobEnd::Unreachable);
            now = site.wait();
            continue;
        }
        missing.retain(|gap| *gap != job.span);
        let others = if job.stream == stream("gate") { &missing[..] } else { &[] };
        site.missing(now, &job.stream.0.to_string(), others, &[STANDBY]);
        site.ended(now, job, JobEnd::Over);
    }
    let (gate, yard) = (stream("gate"), stream("yard"));
    let expected = [(gate, span(0, 60)), (yard, span(100, 160)), (gate, span(500, 520))];
    assert_eq!(asked[..3], expected);
    assert!(asked[3..].iter().all(|asked| *asked == expected[0]), "nothing else is missing: {asked:?}");
}

/// All others come through, so that the source itself never seems to be away.
#[test]
fn what_one_source_never_brings_is_asked_of_the_next() {
    let mut site = Site::default();
    let mut now = 0;
    for second in 1..20 {
        let others = span(1_000 * second, 1_000 * second + 10);
        site.missing(now, "gate", &[span(0, 60), others], &[STANDBY, OTHER]);
        let mut jobs = site.begun();
        while let Some(job) = jobs.pop() {
            if job.span == others {
                site.missing(now, "gate", &[span(0, 60)], &[STANDBY, OTHER]);
                site.ended(now, job, JobEnd::Over);
            } else if job.source == STANDBY {
                site.ended(now, job, JobEnd::Unreachable);
                now = site.wait();
            } else {
                assert_eq!(job.span, span(0, 60));
                return;
            }
            jobs.extend(site.begun());
        }
    }
    panic!("the other source is never asked");
}

/// It has its turn when those before it are done, and is no worse for having waited.
#[test]
fn a_source_that_is_busy_is_asked_again_soon_however_often() {
    let mut site = Site::default();
    site.missing(0, "gate", &[span(0, 60)], &[STANDBY, card()]);
    for turn in 0..20 {
        let job = site.begun()[0];
        assert_eq!(job.source, STANDBY, "nobody else is asked");
        site.ended(5 * turn, job, JobEnd::Busy);
        assert!(site.begun().is_empty());
        assert_eq!(site.wait(), 5 * turn + 5);
    }
}

#[test]
fn what_is_marked_is_marked_no_more_when_nobody_can_be_asked() {
    let mut site = Site::default();
    let gaps = [span(0, 60), span(500, 520)];
    site.missing(0, "gate", &gaps, &[STANDBY]);
    let job = site.begun()[0];
    site.out.clear();
    site.missing(1, "gate", &gaps, &[]);
    assert_eq!(site.marks(), [(gaps[1], None)]);
    site.ended(2, job, JobEnd::Refused);
    assert_eq!(site.marks(), [(gaps[0], None)]);
    // Once is enough.
    site.missing(3, "gate", &gaps, &[]);
    assert!(site.marks().is_empty());
    // What no source had is told anew when the last one is gone.
    site.missing(3, "gate", &[span(0, 90), gaps[1]], &[]);
    assert_eq!(site.marks(), [(span(0, 90), None)]);
    // What an earlier process entered, from a standby that was removed since.
    site.missing(4, "yard", &gaps, &[]);
    assert_eq!(site.marks(), [(gaps[0], None), (gaps[1], None)]);
}

#[test]
fn long_gaps_are_asked_for_piece_by_piece_and_no_more_than_two_at_a_time() {
    let mut site = Site::default();
    for (name, source) in [("a", STANDBY), ("b", STANDBY), ("c", OTHER), ("d", card())] {
        site.missing(0, name, &[span(0, 7_200)], &[source]);
    }
    let begun = site.begun();
    assert_eq!(begun.iter().map(|job| job.source).collect::<Vec<_>>(), [STANDBY, OTHER]);
    assert!(begun.iter().all(|job| job.span == span(0, 900)));
    site.machine.handle(second(1), Event::Paused(true), &mut site.out);
    assert_eq!(
        site.out.iter().filter(|action| matches!(action, Action::Cancel(_))).count(),
        2,
        "an operator's pause ends what runs"
    );
    for job in begun {
        site.ended(2, job, JobEnd::Cancelled);
    }
    assert!(site.begun().is_empty());
    site.machine.handle(second(3), Event::Paused(false), &mut site.out);
    assert_eq!(site.begun().len(), 2);
}

#[test]
fn disks_that_take_nothing_are_left_alone_for_a_while() {
    let mut site = Site::default();
    site.missing(0, "gate", &[span(0, 60)], &[STANDBY]);
    let job = site.begun()[0];
    site.ended(1, job, JobEnd::NoRoom);
    assert!(site.begun().is_empty());
    assert_eq!(site.wait(), 61);
    assert_eq!(site.begun().len(), 1);
}

/// The disks are full of newer footage: the oldest gap must not stand in the way of all others.
#[test]
fn what_the_disks_have_no_place_for_is_given_up_and_the_others_come_next() {
    let mut site = Site::default();
    site.missing(0, "gate", &[span(0, 60), span(500, 520)], &[STANDBY, card()]);
    let job = site.begun()[0];
    site.ended(1, job, JobEnd::NotTaken { until: span(20, 30).from });
    let rest = site.begun()[0];
    assert_eq!((rest.source, rest.span), (STANDBY, span(20, 60)));
    assert_eq!(site.machine.settled(stream("gate")).spans(), [span(0, 20)]);
    // A record that is refused without a later label to go on from ends it.
    site.ended(2, rest, JobEnd::NotTaken { until: span(20, 30).from });
    let next = site.begun()[0];
    assert_eq!((next.source, next.span), (STANDBY, span(500, 520)));
    assert_eq!(site.machine.settled(stream("gate")).spans(), [span(0, 60)]);
    // Who asks leaves out what is settled; it is remembered until its time is over.
    site.missing(3, "gate", &[span(500, 520)], &[STANDBY, card()]);
    assert_eq!(site.machine.settled(stream("gate")).spans(), [span(0, 60)]);
    // Another source may have it.
    site.missing(4, "gate", &[span(0, 60), span(500, 520)], &[OTHER, STANDBY, card()]);
    assert!(site.machine.settled(stream("gate")).is_empty());
    let asked = site.begun();
    assert!(asked.is_empty(), "one at a time for a stream: {asked:?}");
}

/// The camera has been dead for a year, and the standby with it.
#[test]
fn a_gap_that_goes_on_for_long_costs_no_more_than_a_short_one() {
    let mut site = Site::default();
    let mut now = 0;
    for minute in 1..3_000 {
        let gap = span(0, 60 * minute);
        let settled = site.machine.settled(stream("gate"));
        site.missing(now, "gate", settled.missing(gap).spans(), &[STANDBY]);
        for _ in 0..8 {
            for job in site.begun() {
                site.ended(now, job, JobEnd::Over);
            }
        }
        now += 60;
        site.machine.timeout(second(now), &mut site.out);
        site.out.retain(|action| !matches!(action, Action::Mark { .. }));
        let stream = &site.machine.streams[&stream("gate")];
        assert!(stream.asked_again() < 32, "in minute {minute}");
    }
    assert_eq!(site.machine.settled(stream("gate")).spans().len(), 1);
}

#[test]
fn a_camera_that_goes_takes_its_jobs_along() {
    let mut site = Site::default();
    site.missing(0, "gate", &[span(0, 60)], &[STANDBY]);
    let job = site.begun()[0];
    site.machine.handle(second(1), Event::Gone(stream("gate")), &mut site.out);
    assert!(site.out.contains(&Action::Cancel(job.id)));
    site.ended(2, job, JobEnd::Cancelled);
    assert!(site.begun().is_empty() && site.machine.deadline().is_none());
}

proptest! {
    /// Whatever sources have, and however often they fail: what somebody has is fetched in the end, and asking ends.
    #[test]
    fn everything_that_somebody_has_is_fetched_and_asking_ends(
        gaps in prop::collection::vec((0i64..2_000, 1i64..400), 1..5),
        has in prop::collection::vec((0i64..2_000, 1i64..800), 0..4),
        failures in prop::collection::vec(any::<bool>(), 0..12),
    ) {
        let mut missing: SpanSet = gaps.iter().map(|(from, length)| span(*from, from + length)).collect();
        let has: SpanSet = has.iter().map(|(from, length)| span(*from, from + length)).collect();
        let mut failures = failures.into_iter();
        let mut site = Site::default();
        let mut now = 0;
        for _ in 0..400 {
            site.missing(now, "gate", missing.spans(), &[STANDBY]);
            let mut begun = site.begun();
            if begun.is_empty() {
                if site.machine.deadline().is_none() { break }
                now = site.wait().max(now);
                begun = site.begun();
            }
            for job in begun {
                now += 1;
                if failures.next() == Some(true) {
                    site.ended(now, job, JobEnd::Unreachable);
                    continue;
                }
                for span in has.within(job.span).spans() {
                    missing.remove(*span);
                }
                site.missing(now, "gate", missing.spans(), &[STANDBY]);
                site.ended(now, job, JobEnd::Over);
            }
        }
        prop_assert!(missing.spans().iter().all(|gap| has.within(*gap).is_empty()), "{missing:?}");
        let settled = site.machine.settled(stream("gate"));
        prop_assert!(missing.spans().iter().all(|gap| settled.missing(*gap).is_empty()), "{missing:?}");
    }
}
