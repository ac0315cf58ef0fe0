use super::*;
use keepwatch_model::{Origin, RoleId};
use proptest::prelude::*;

const HELD: State = State::Held { origin: Origin::Primary, recorder: RoleId([1; 16]), replaces: None };

fn at(second: i64) -> WallTime {
    WallTime::from_ticks(second * TICKS_PER_SECOND)
}

fn span(from: i64, to: i64) -> Span {
    Span { from: at(from), to: at(to) }
}

fn gap(reason: GapReason) -> State {
    State::Gap { reason }
}

/// The states of `window` as (from, to, state) in seconds, seen at `now`.
fn seen(ledger: &Ledger, window: Span, now: i64) -> Vec<(i64, i64, State)> {
    let seconds = |label: WallTime| label.ticks() / TICKS_PER_SECOND;
    ledger
        .items(window, at(now), &SpanSet::new())
        .into_iter()
        .map(|item| (seconds(item.span.from), seconds(item.span.to), item.state))
        .collect()
}

/// A camera that is connected, recorded, lost, and recorded again.
fn reconnected() -> Ledger {
    let mut ledger = Ledger::new();
    ledger.missing_from(at(100), GapReason::ConnectionLost);
    ledger.recording_from(at(102));
    ledger.held(span(102, 104), HELD);
    ledger.held(span(104, 106), HELD);
    // The connection breaks; the last record is queued and becomes durable a moment later.
    ledger.missing_from(at(107), GapReason::ConnectionLost);
    ledger.held(span(106, 107), HELD);
    ledger.missing_from(at(109), GapReason::ConnectionRefused);
    ledger.recording_from(at(112));
    ledger.held(span(112, 114), HELD);
    ledger
}

#[test]
fn every_second_has_one_state_and_every_gap_a_reason() {
    assert_eq!(
        seen(&reconnected(), span(90, 130), 115),
        [
            (90, 100, NOT_CONFIGURED),
            (100, 102, gap(GapReason::ConnectionLost)),
            (102, 107, HELD),
            (107, 109, gap(GapReason::ConnectionLost)),
            (109, 112, gap(GapReason::ConnectionRefused)),
            (112, 114, HELD),
            (114, 130, NOT_YET),
        ]
    );
    assert_eq!(reconnected().held_until(), Some(at(114)));
}

#[test]
fn an_open_gap_ends_at_the_present() {
    let mut ledger = reconnected();
    ledger.missing_from(at(114), GapReason::CameraSilent);
    assert_eq!(
        seen(&ledger, span(112, 130), 120),
        [(112, 114, HELD), (114, 120, gap(GapReason::CameraSilent)), (120, 130, NOT_YET)]
    );
}

#[test]
fn the_time_the_recorder_was_dead_is_a_gap_with_that_reason() {
    let mut before = reconnected();
    let (_, rows) = before.changed_rows().unwrap();
    // Two more seconds reached the disk after the rows were stored.
    let after = Ledger::restore(rows, [(span(114, 116), HELD)], Some(at(118)), at(150), &Schedule::default());
    assert_eq!(
        seen(&after, span(112, 160), 151),
        [(112, 116, HELD), (116, 151, gap(GapReason::RecorderDown)), (151, 160, NOT_YET)]
    );
}

#[test]
fn a_gap_that_was_open_when_the_recorder_died_keeps_its_reason_up_to_then() {
    let mut before = reconnected();
    before.missing_from(at(114), GapReason::ConnectionLost);
    let (_, rows) = before.changed_rows().unwrap();
    let after = Ledger::restore(rows, [], Some(at(118)), at(150), &Schedule::default());
    assert_eq!(
        seen(&after, span(112, 150), 150),
        [
            (112, 114, HELD),
            (114, 118, gap(GapReason::ConnectionLost)),
            (118, 150, gap(GapReason::RecorderDown)),
        ]
    );
}

#[test]
fn a_dead_recorder_owes_nothing_outside_the_schedule() {
    // 1970-01-05 00:00 was a Monday: minute 0 of the week.
    let monday = 4 * 86_400;
    let schedule = Schedule::new([(1, 2)]);
    let mut before = Ledger::new();
    before.unscheduled_from(at(monday));
    let (_, rows) = before.changed_rows().unwrap();
    let after = Ledger::restore(rows, [], Some(at(monday + 10)), at(monday + 180), &schedule);
    assert_eq!(
        seen(&after, span(monday, monday + 180), monday + 180),
        [
            (monday, monday + 60, State::Unscheduled),
            (monday + 60, monday + 120, gap(GapReason::RecorderDown)),
            (monday + 120, monday + 180, State::Unscheduled),
        ]
    );
}

#[test]
fn records_that_the_store_lost_are_a_gap() {
    let mut ledger = reconnected();
    ledger.lost(span(114, 116), GapReason::DiskGone);
    ledger.held(span(116, 118), HELD);
    assert_eq!(
        seen(&ledger, span(112, 120), 120),
        [(112, 114, HELD), (114, 116, gap(GapReason::DiskGone)), (116, 118, HELD), (118, 120, NOT_YET)]
    );
}

#[test]
fn what_is_overwritten_or_expired_says_so_and_gaps_stay_what_they_are() {
    let mut ledger = reconnected();
    ledger.overwritten(span(100, 105), gap(GapReason::Overwritten));
    assert_eq!(
        seen(&ledger, span(100, 107), 120),
        [
            (100, 102, gap(GapReason::ConnectionLost)),
            (102, 105, gap(GapReason::Overwritten)),
            (105, 107, HELD),
        ]
    );
    ledger.expire(at(110));
    assert_eq!(
        seen(&ledger, span(90, 114), 120),
        [
            (90, 100, NOT_CONFIGURED),
            (100, 110, State::Expired),
            (110, 112, gap(GapReason::ConnectionRefused)),
            (112, 114, HELD),
        ]
    );
}

#[test]
fn gaps_older_than_all_footage_expire_with_it() {
    let mut ledger = reconnected();
    ledger.overwritten(span(102, 107), State::Expired);
    assert_eq!(
        seen(&ledger, span(99, 108), 120),
        [(99, 100, NOT_CONFIGURED), (100, 107, State::Expired), (107, 108, gap(GapReason::ConnectionLost)),]
    );
}

#[test]
fn footage_on_an_absent_disk_is_unknown_never_a_gap() {
    let absent: SpanSet = [span(103, 105)].into_iter().collect();
    let items = reconnected().items(span(102, 108), at(120), &absent);
    let states: Vec<State> = items.iter().map(|item| item.state).collect();
    let unknown = State::Unknown { reason: UnknownReason::DiskAbsent };
    assert_eq!(states, [HELD, unknown, HELD, gap(GapReason::ConnectionLost)]);
}

#[test]
fn a_long_day_makes_few_buckets_and_a_short_gap_still_shows() {
    let mut ledger = Ledger::new();
    ledger.recording_from(at(0));
    ledger.held(span(0, 40_000), HELD);
    ledger.lost(span(20_000, 20_001), GapReason::PacketsLost);
    let overview = ledger.buckets(span(0, 40_000), at(40_000), &SpanSet::new(), 2_000);
    assert_eq!(overview.len(), 3);
    assert_eq!(overview[1].state, gap(GapReason::PacketsLost));
    assert_eq!(overview[1].held_ticks, 19 * TICKS_PER_SECOND);
    assert_eq!(overview.iter().map(|bucket| bucket.span.ticks()).sum::<i64>(), 40_000 * TICKS_PER_SECOND);
}

#[test]
fn a_growing_held_span_is_not_stored_again_and_again() {
    let mut ledger = reconnected();
    assert!(ledger.changed_rows().is_some());
    ledger.held(span(114, 116), HELD);
    ledger.held(span(116, 118), HELD);
    assert_eq!(ledger.changed_rows(), None);
    ledger.missing_from(at(118), GapReason::CameraSilent);
    let (from, rows) = ledger.changed_rows().unwrap();
    // With the step that grew since: what was stored must not say "on its way" of what is held.
    assert_eq!((from, rows.len()), (at(112), 2));
}

#[derive(Clone, Debug)]
enum Step {
    Missing(i64),
    Recording(i64),
    Held(i64, i64),
    Lost(i64, i64),
    Overwritten(i64, i64),
    Filled(i64, i64),
    Backfill(i64, i64),
    Expire(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let label = 0i64..60;
    prop_oneof![
        label.clone().prop_map(Step::Missing),
        label.clone().prop_map(Step::Recording),
        (label.clone(), 1i64..9).prop_map(|(from, length)| Step::Held(from, from + length)),
        (label.clone(), 1i64..9).prop_map(|(from, length)| Step::Lost(from, from + length)),
        (label.clone(), 1i64..9).prop_map(|(from, length)| Step::Overwritten(from, from + length)),
        (label.clone(), 1i64..9).prop_map(|(from, length)| Step::Filled(from, from + length)),
        (label.clone(), 1i64..9).prop_map(|(from, length)| Step::Backfill(from, from + length)),
        label.prop_map(Step::Expire),
    ]
}

proptest! {
    /// Whatever is told in whatever order, an answer covers its window without holes or overlaps, buckets add up to
    /// what the items say, and stored rows bring the same ledger back.
    #[test]
    fn answers_have_no_holes_and_rows_bring_it_back(steps in prop::collection::vec(step(), 0..40), buckets in 1u32..50) {
        let mut ledger = Ledger::new();
        let mut stored: BTreeMap<WallTime, super::Step> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Missing(from) => ledger.missing_from(at(from), GapReason::CameraSilent),
                Step::Recording(from) => ledger.recording_from(at(from)),
                Step::Held(from, to) => ledger.held(span(from, to), HELD),
                Step::Lost(from, to) => ledger.lost(span(from, to), GapReason::DiskSlow),
                Step::Overwritten(from, to) => ledger.overwritten(span(from, to), State::Expired),
                Step::Filled(from, to) => {
                    let held = |ledger: &Ledger| ledger.items(span(0, 80), at(40), &SpanSet::new()).into_iter()
                        .filter(|item| is_held(item.state)).map(|item| item.span).collect::<SpanSet>();
                    let before = held(&ledger);
                    ledger.filled(span(from, to), FETCHED);
                    // Nothing that was held is touched, and nothing outside.
                    let gained = held(&ledger);
                    prop_assert!(before.spans().iter().all(|span| gained.missing(*span).is_empty()));
                }
                Step::Backfill(from, to) => ledger.backfill(span(from, to), Some(Backfill::Running)),
                Step::Expire(before) => ledger.expire(at(before)),
            }
            if let Some((from, rows)) = ledger.changed_rows() {
                stored.split_off(&from);
                let step = |row: &Row| super::Step { state: row.state, backfill: row.backfill };
                stored.extend(rows.iter().map(|row| (row.from, step(row))));
                prop_assert_eq!(&stored, &ledger.steps, "what is stored is whole whenever something is stored");
            }
            let window = span(-5, 75);
            let items = ledger.items(window, at(40), &SpanSet::new());
            prop_assert_eq!(items.first().unwrap().span.from, window.from);
            prop_assert_eq!(items.last().unwrap().span.to, window.to);
            for pair in items.windows(2) {
                prop_assert_eq!(pair[0].span.to, pair[1].span.from);
                prop_assert_ne!((pair[0].state, pair[0].backfill), (pair[1].state, pair[1].backfill));
            }
            let held = |items: &[CoverageItem]| -> i64 {
                items.iter().filter(|item| is_held(item.state)).map(|item| item.span.ticks()).sum()
            };
            let overview = ledger.buckets(window, at(40), &SpanSet::new(), buckets);
            prop_assert!(overview.len() <= buckets as usize);
            prop_assert_eq!(overview.iter().map(|bucket| bucket.held_ticks).sum::<i64>(), held(&items));
            prop_assert_eq!(ledger.held_until(), ledger.scan_held_until());
            // Growth of a held span may be unstored; everything else is.
            let mut again = Ledger { steps: stored.clone(), ..Ledger::default() };
            for item in ledger.items(span(-5, 200), at(200), &SpanSet::new()) {
                if is_held(item.state) {
                    again.set(item.span, super::Step { state: item.state, backfill: item.backfill });
                }
            }
            prop_assert_eq!(&again.steps, &ledger.steps);
        }
    }
}

#[test]
fn what_was_given_up_right_before_a_crash_does_not_come_back_as_held() {
    let mut ledger = Ledger::new();
    ledger.missing_from(at(0), GapReason::ConnectionLost);
    ledger.recording_from(at(10));
    ledger.held(span(10, 20), HELD);
    ledger.held(span(40, 50), HELD);
    let mut on_disk = SpanSet::default();
    on_disk.insert(span(40, 50));
    assert_eq!(ledger.held_beyond(&on_disk), [span(10, 20)]);
    // It had grown up to what is held, which was not entered when the recorder died.
    ledger.given_up(span(10, 40), State::Expired);
    assert_eq!(ledger.held_beyond(&on_disk), []);
    let items = ledger.items(span(0, 50), at(60), &SpanSet::default());
    let states: Vec<_> = items.iter().map(|item| (item.span, item.state)).collect();
    assert_eq!(states, [(span(0, 40), State::Expired), (span(40, 50), HELD)]);
}

#[test]
fn what_lies_ahead_is_what_is_held_or_on_its_way() {
    let mut ledger = Ledger::new();
    ledger.recording_from(at(102));
    ledger.held(span(102, 106), HELD);
    ledger.missing_from(at(106), GapReason::ConnectionLost);
    ledger.recording_from(at(112));
    assert_eq!(ledger.ahead(WallTime::MIN), Ahead::Held(at(102)));
    assert_eq!(ledger.ahead(at(103)), Ahead::Held(at(103)));
    assert_eq!(ledger.ahead(at(108)), Ahead::OnItsWay(at(112)));
    assert_eq!(ledger.ahead(at(500)), Ahead::OnItsWay(at(500)));
    ledger.missing_from(at(114), GapReason::ConnectionLost);
    assert_eq!(ledger.ahead(at(113)), Ahead::OnItsWay(at(113)), "queued, and not yet on disk");
    assert_eq!(ledger.ahead(at(114)), Ahead::Nothing);
    assert_eq!(Ledger::new().ahead(at(0)), Ahead::Nothing);
}

#[test]
fn what_lies_behind_is_what_is_held() {
    let mut ledger = Ledger::new();
    assert_eq!(ledger.held_before(WallTime::MAX), None);
    ledger.recording_from(at(102));
    ledger.held(span(102, 106), HELD);
    ledger.missing_from(at(106), GapReason::ConnectionLost);
    ledger.recording_from(at(112));
    ledger.held(span(112, 114), HELD);
    for (label, end) in [
        (500, Some(114)),
        (114, Some(114)),
        (113, Some(113)),
        (112, Some(106)),
        (103, Some(103)),
        (102, None),
    ] {
        assert_eq!(ledger.held_before(at(label)), end.map(at), "{label}");
    }
}

const FETCHED: State =
    State::Held { origin: Origin::Standby, recorder: RoleId([9; 16]), replaces: Some(RoleId([1; 16])) };

fn lines(ledger: &Ledger, from: i64, to: i64) -> Vec<(i64, i64, State, Option<Backfill>)> {
    let items = ledger.items(span(from, to), at(1_000_000), &SpanSet::new());
    let second = |label: WallTime| label.ticks() / TICKS_PER_SECOND;
    items
        .iter()
        .map(|item| (second(item.span.from), second(item.span.to), item.state, item.backfill))
        .collect()
}

#[test]
fn a_gap_is_filled_piece_by_piece_and_says_how_far_it_is() {
    let down = State::Gap { reason: GapReason::RecorderDown };
    let mut ledger = Ledger::new();
    ledger.recording_from(at(0));
    ledger.held(span(0, 10), HELD);
    ledger.missing_from(at(10), GapReason::RecorderDown);
    ledger.recording_from(at(30));
    ledger.held(span(30, 40), HELD);
    let missing =
        |from, to, backfill| Gap { span: span(from, to), reason: GapReason::RecorderDown, backfill };
    assert_eq!(ledger.gaps(span(0, 40)), [missing(10, 30, None)]);
    ledger.backfill(span(0, 40), Some(Backfill::Pending));
    ledger.backfill(span(10, 20), Some(Backfill::Running));
    ledger.filled(span(12, 15), FETCHED);
    let expected = [
        (0, 10, HELD, None),
        (10, 12, down, Some(Backfill::Running)),
        (12, 15, FETCHED, Some(Backfill::Done)),
        (15, 20, down, Some(Backfill::Running)),
        (20, 30, down, Some(Backfill::Pending)),
        (30, 40, HELD, None),
    ];
    assert_eq!(lines(&ledger, 0, 40), expected);
    assert_eq!(ledger.held_until(), Some(at(40)));

    // It survives a restart; what was being fetched is not any more.
    let (_, rows) = ledger.changed_rows().unwrap();
    let always = Schedule::new([]);
    let mut again = Ledger::restore(rows, [], Some(at(50)), at(50), &always);
    assert_eq!(again.gaps(span(0, 40))[0], missing(10, 12, Some(Backfill::Pending)));
    // What is held is never touched, and nothing is twice.
    again.filled(span(0, 40), FETCHED);
    assert_eq!(
        lines(&again, 0, 40),
        [(0, 10, HELD, None), (10, 30, FETCHED, Some(Backfill::Done)), (30, 40, HELD, None)]
    );
    // Overwritten early, it is a gap as any other, and is not fetched again.
    again.overwritten(span(10, 30), State::Gap { reason: GapReason::Overwritten });
    assert_eq!(again.gaps(span(0, 40)), []);
}

/// The camera is still dead for this recorder, and another covers it.
#[test]
fn a_gap_that_goes_on_is_filled_from_its_beginning() {
    let mut ledger = Ledger::new();
    ledger.missing_from(at(10), GapReason::ConnectionLost);
    ledger.backfill(span(0, 20), Some(Backfill::Running));
    ledger.filled(span(10, 18), FETCHED);
    let open = ledger.gaps(span(0, 60));
    assert_eq!((open[0].span, open[0].backfill), (span(18, 20), Some(Backfill::Running)));
    assert_eq!((open[1].span, open[1].backfill), (span(20, 60), None));
    ledger.recording_from(at(30));
    assert_eq!(ledger.gaps(span(0, 60)).last().unwrap().span, span(20, 30));
    assert_eq!(ledger.state_at(at(17)), FETCHED);
}

/// Replace: what the recorder that had the role did not record is missing here, and nothing that is known is touched.
#[test]
fn a_role_that_was_taken_is_missed_since_its_recorder_failed() {
    let down = GapReason::RecorderDown;
    let mut ledger = Ledger::new();
    ledger.missed_since(at(100), at(160), &Schedule::default());
    assert_eq!(ledger.state_at(at(99)), State::Unknown { reason: UnknownReason::NotConfigured });
    assert_eq!(ledger.state_at(at(200)), State::Gap { reason: down });
    ledger.recording_from(at(163));
    let gaps = ledger.gaps(span(0, 1_000));
    let gaps: Vec<_> = gaps.into_iter().map(|gap| (gap.span, gap.reason)).collect();
    assert_eq!(gaps, [(span(100, 163), down)]);
    // It was asked for twice; the camera had begun before it was said.
    let before = ledger.clone();
    ledger.missed_since(at(120), at(180), &Schedule::default());
    assert_eq!(ledger, before);
    let mut begun = Ledger::new();
    begun.missing_from(at(150), GapReason::ConnectionLost);
    begun.missed_since(at(100), at(160), &Schedule::default());
    assert_eq!(begun.state_at(at(149)), State::Gap { reason: down });
    assert_eq!(begun.state_at(at(150)), State::Gap { reason: GapReason::ConnectionLost });
    // What nobody asked for is not missing.
    let mut never = Ledger::new();
    never.missed_since(at(100), at(160), &Schedule::never());
    assert_eq!(never.gaps(span(0, 1_000)), []);
}

/// Its first pictures came late, so that those behind them have labels ahead of the clock, and it was killed before they were steered
/// back: the recorder is up again at an instant that its footage seems to cover.
#[test]
fn a_recorder_that_died_with_labels_ahead_of_the_clock_was_down_all_the_same() {
    let tenth = |tenths: i64| WallTime::from_ticks(tenths * TICKS_PER_SECOND / 10);
    let rows =
        [Row { from: tenth(0), state: State::Unknown { reason: UnknownReason::NotYet }, backfill: None }];
    // Heard last at 100.0 s, up again at 100.6 s, with footage up to 101.0 s.
    let held = [(Span { from: tenth(0), to: tenth(1_010) }, HELD)];
    let mut ledger = Ledger::restore(rows, held, Some(tenth(1_000)), tenth(1_006), &Schedule::new([]));
    ledger.missing_from(tenth(1_007), GapReason::ConnectionLost);
    ledger.recording_from(tenth(1_019));
    ledger.held(Span { from: tenth(1_019), to: tenth(1_030) }, HELD);
    let gap = |reason| State::Gap { reason };
    let expected = [
        (tenth(0), HELD),
        (tenth(1_010), gap(GapReason::RecorderDown)),
        (tenth(1_016), gap(GapReason::ConnectionLost)),
        (tenth(1_019), HELD),
    ];
    let window = Span { from: tenth(0), to: tenth(1_030) };
    let items = ledger.items(window, tenth(2_000), &SpanSet::new());
    assert_eq!(items.iter().map(|item| (item.span.from, item.state)).collect::<Vec<_>>(), expected);
    // From there on labels count as they come.
    ledger.missing_from(tenth(1_030), GapReason::CameraSilent);
    assert_eq!(ledger.state_at(tenth(1_030)), gap(GapReason::CameraSilent));
}

/// The clock was a day ahead and was set right: nothing says how long it was down.
#[test]
fn a_clock_that_was_set_back_makes_no_long_failure() {
    let day = 86_400;
    let rows =
        [Row { from: at(day), state: State::Unknown { reason: UnknownReason::NotYet }, backfill: None }];
    let held = [(span(day, day + 10), HELD)];
    let mut ledger = Ledger::restore(rows, held, Some(at(100)), at(1_000), &Schedule::new([]));
    ledger.missing_from(at(1_001), GapReason::ConnectionLost);
    assert_eq!(ledger.state_at(at(day + 11)), State::Gap { reason: GapReason::RecorderDown });
    assert_eq!(ledger.state_at(at(day + 12)), State::Gap { reason: GapReason::ConnectionLost });
}
