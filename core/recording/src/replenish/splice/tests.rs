use super::*;
use proptest::prelude::*;

const FRAME: i64 = 3_600;
/// The camera's clock is years behind.
const CAMERA: i64 = -1_000_000_000;

fn at(number: i64) -> WallTime {
    WallTime::from_ticks(number * FRAME)
}

/// Frame `number` as a recorder saw it whose clock is `ahead` ticks ahead.
fn frame(number: i64, ahead: i64, tells_time: bool) -> Frame {
    Frame {
        label: at(number).plus(ahead),
        camera_time: tells_time.then(|| at(number).plus(CAMERA)),
        key: number % 25 == 0,
        hash: number.unsigned_abs() * 0x9e37_79b9,
    }
}

fn frames(numbers: std::ops::Range<i64>, ahead: i64) -> Vec<Frame> {
    numbers.map(|number| frame(number, ahead, true)).collect()
}

/// Every packet of this recorder's was late before the gap, and none behind it.
#[test]
fn a_frame_that_is_labelled_behind_the_gap_fills_it_if_what_is_held_there_comes_later() {
    let late = |numbers, ticks: i64| -> Vec<Frame> {
        frames(numbers, 0)
            .into_iter()
            .map(|frame| Frame { label: frame.label.plus(ticks), ..frame })
            .collect()
    };
    let gap = Span { from: at(60).plus(FRAME), to: at(100) };
    let mut splice = Splice::new(gap, FRAME / 2, late(50..60, FRAME), frames(100..125, 0));
    let verdicts: Vec<(i64, Verdict)> =
        (55..103).map(|number| (number, splice.judge(&frame(number, 0, true)))).collect();
    let of = |wanted: Verdict| -> Vec<i64> {
        verdicts.iter().filter(|(_, verdict)| *verdict == wanted).map(|(number, _)| *number).collect()
    };
    assert_eq!(of(Verdict::Take), (60..99).collect::<Vec<_>>());
    assert_eq!(of(Verdict::Late), [99]);
    assert_eq!(of(Verdict::Beyond), [100, 101, 102]);
    assert!(splice.is_joined());
    // It is a part of a longer gap, behind which frames are held: its label counts.
    let mut splice = Splice::new(gap, FRAME / 2, late(50..60, FRAME), frames(110..125, 0));
    let last = (55..112).map(|number| (number, splice.judge(&frame(number, 0, true))));
    let last: Vec<i64> =
        last.filter(|(_, verdict)| *verdict != Verdict::Beyond).map(|(number, _)| number).collect();
    assert_eq!(last.last(), Some(&98));
    // Nothing is held behind it that could be recognised: its label counts.
    let mut splice = Splice::new(gap, FRAME / 2, late(50..60, FRAME), Vec::new());
    let taken = (55..99).filter(|number| splice.judge(&frame(*number, 0, true)) == Verdict::Take);
    assert_eq!(taken.count(), 99 - 60);
    assert_eq!(splice.judge(&frame(99, 0, true)), Verdict::Beyond);
}

fn taken(splice: &mut Splice, numbers: std::ops::Range<i64>, ahead: i64) -> Vec<i64> {
    numbers.filter(|number| splice.judge(&frame(*number, ahead, true)) == Verdict::Take).collect()
}

#[test]
fn frames_join_on_both_sides_in_the_middle_of_a_group_whatever_the_clocks_say() {
    for ahead in [0, 7_777, -90_000 * 86_400] {
        let gap = Span { from: at(60), to: at(100) };
        let mut splice = Splice::new(gap, FRAME / 2, frames(50..60, 0), frames(100..125, 0));
        assert_eq!(taken(&mut splice, 25..130, ahead), (60..100).collect::<Vec<_>>(), "{ahead}");
        assert!(splice.is_joined());
        assert_eq!(splice.shift_ticks(), -ahead);
    }
}

#[test]
fn without_a_common_frame_filling_begins_at_a_key_frame() {
    let gap = Span { from: at(60), to: at(100) };
    let mut splice = Splice::new(gap, FRAME / 2, frames(50..60, 0), Vec::new());
    assert_eq!(taken(&mut splice, 62..130, 4_000), (75..100).collect::<Vec<_>>());
}

/// An edge node sends the newest first, from the middle of a group on, and what was before it afterwards.
#[test]
fn of_a_source_that_sends_all_any_frame_is_taken() {
    let gap = Span { from: at(60), to: at(100) };
    let mut splice = Splice::new(gap, FRAME / 2, frames(50..60, 0), Vec::new());
    splice.begin_at_any_frame();
    assert_eq!(taken(&mut splice, 62..130, 0), (62..100).collect::<Vec<_>>());
}

/// The card holds another coding of the same scene: a picture of it cannot be decoded behind one of this.
#[test]
fn another_coding_is_not_spliced_within_a_group() {
    let gap = Span { from: at(60), to: at(100) };
    let mut before = frames(50..60, 0);
    before.iter_mut().for_each(|frame| frame.hash ^= 1);
    let mut splice = Splice::new(gap, FRAME / 2, before, Vec::new());
    assert_eq!(taken(&mut splice, 25..130, 0), (75..100).collect::<Vec<_>>());
}

/// A scene that does not move: the same picture again and again is told apart by the camera's time.
#[test]
fn equal_pictures_of_other_times_are_other_frames() {
    let still = |number| Frame { hash: 5, ..frame(number, 0, true) };
    let gap = Span { from: at(60), to: at(100) };
    let mut splice =
        Splice::new(gap, FRAME / 2, (50..60).map(still).collect(), (100..125).map(still).collect());
    let taken: Vec<i64> = (25..130).filter(|number| splice.judge(&still(*number)) == Verdict::Take).collect();
    assert_eq!(taken, (60..100).collect::<Vec<_>>());
}

#[test]
fn a_camera_that_tells_no_time_is_recognised_by_its_pictures() {
    let gap = Span { from: at(60), to: at(100) };
    let held = |numbers: std::ops::Range<i64>| -> Vec<Frame> {
        numbers.map(|number| frame(number, 0, false)).collect()
    };
    let mut splice = Splice::new(gap, FRAME / 2, held(50..60), held(100..125));
    let theirs = |number| frame(number, 3_000, false);
    let taken: Vec<i64> =
        (25..130).filter(|number| splice.judge(&theirs(*number)) == Verdict::Take).collect();
    assert_eq!(taken, (60..100).collect::<Vec<_>>());
}

fn timeless(numbers: std::ops::Range<i64>, ahead: i64) -> Vec<Frame> {
    numbers.map(|number| frame(number, ahead, false)).collect()
}

fn judged(splice: &mut Splice, frames: &[Frame]) -> Vec<i64> {
    let mut taken = Vec::new();
    for frame in frames {
        if splice.judge(frame) == Verdict::Take {
            taken.push((frame.label.plus(splice.shift_ticks()).ticks() + FRAME / 2) / FRAME);
        }
    }
    taken
}

/// Neither recorder has had a sender report, and their clocks differ by an hour: the two can tell by how much.
#[test]
fn before_the_first_sender_report_the_difference_of_the_clocks_counts() {
    let hour = 3_600 * TICKS_PER_SECOND;
    for (ahead, said) in [(hour, hour), (-hour, -hour + TICKS_PER_SECOND / 10)] {
        let gap = Span { from: at(60), to: at(100) };
        let mut splice = Splice::new(gap, FRAME / 2, timeless(50..60, 0), timeless(100..125, 0));
        splice.compare_clocks(-said);
        assert_eq!(judged(&mut splice, &timeless(25..130, ahead)), (60..100).collect::<Vec<_>>());
        assert!(splice.is_joined());
        // Nothing that both hold: from a key frame on, by the clocks.
        let mut splice = Splice::new(gap, FRAME / 2, timeless(50..60, 0), Vec::new());
        splice.compare_clocks(-ahead);
        assert_eq!(judged(&mut splice, &timeless(62..130, ahead)), (75..100).collect::<Vec<_>>());
    }
}

/// The source's session began without a report: what its first frames are labelled by must not outlive them.
#[test]
fn the_first_frame_with_the_cameras_time_tells_better_than_the_clocks() {
    let gap = Span { from: at(60), to: at(100) };
    let mut splice = Splice::new(gap, FRAME / 2, Vec::new(), frames(100..125, 0));
    // The clocks say that it is an hour off, which it is not.
    splice.compare_clocks(-3_600 * TICKS_PER_SECOND);
    let fetched: Vec<Frame> = (50..130).map(|number| frame(number, 0, number >= 62)).collect();
    assert_eq!(judged(&mut splice, &fetched), (75..100).collect::<Vec<_>>());
}

/// A camera that shows a test picture, or the same group of pictures again and again, and tells no time.
#[test]
fn equal_pictures_without_times_are_told_apart_by_the_clocks() {
    for period in [1, 25] {
        let again =
            |number: i64| Frame { hash: number.rem_euclid(period).unsigned_abs(), ..frame(number, 0, false) };
        let all = |numbers: std::ops::Range<i64>| numbers.map(again).collect::<Vec<_>>();
        let gap = Span { from: at(60), to: at(200) };
        let mut splice = Splice::new(gap, FRAME / 2, all(50..60), all(200..225));
        let taken = judged(&mut splice, &all(0..230));
        // Up to a group of pictures is given up, and none is there twice.
        let first = taken.first().copied().unwrap_or_default();
        assert!((60..=75).contains(&first), "{period}: {taken:?}");
        assert_eq!(taken, (first..200).collect::<Vec<_>>(), "{period}");
    }
}

/// Frames are missing between what is held and the gap that is filled, and the source has them: what refers to them cannot
/// be decoded here.
#[test]
fn what_does_not_follow_the_last_frame_held_begins_at_a_key_frame() {
    let gap = Span { from: at(60), to: at(100) };
    let mut splice = Splice::new(gap, FRAME / 2, frames(50..56, 0), Vec::new());
    assert_eq!(taken(&mut splice, 25..130, 0), (75..100).collect::<Vec<_>>());
    // The source misses the last one only, which is here.
    let mut splice = Splice::new(gap, FRAME / 2, frames(50..60, 0), Vec::new());
    let fetched: Vec<Frame> = frames(25..130, 0).into_iter().filter(|held| held.label != at(59)).collect();
    assert_eq!(judged(&mut splice, &fetched), (60..100).collect::<Vec<_>>());
}

/// The source's clock was set between two of its runs, and has not been since.
#[test]
fn another_run_has_another_clock() {
    let gap = Span { from: at(60), to: at(100) };
    let mut splice = Splice::new(gap, FRAME / 2, frames(50..60, 0), frames(100..125, 0));
    splice.compare_clocks(-90_000_000);
    splice.enter(1, Span { from: at(50), to: at(70) });
    assert_eq!(judged(&mut splice, &frames(50..70, 0)), (60..70).collect::<Vec<_>>());
    splice.enter(2, Span { from: at(75).plus(90_000_000), to: at(110).plus(90_000_000) });
    let later = frames(75..110, 90_000_000);
    assert_eq!(judged(&mut splice, &later), (75..100).collect::<Vec<_>>());
    assert!(splice.is_joined());
}

/// Seconds by which a camera's clock may be set: by its server, or back to 1970 when it was switched off.
const SET: [i64; 5] = [1, -1, 8, -8, -56 * 365 * 86_400];

fn set(numbers: std::ops::Range<i64>, ahead: i64, seconds: i64) -> Vec<Frame> {
    let later = |frame: Frame| Frame {
        camera_time: frame.camera_time.map(|time| time.plus(seconds * TICKS_PER_SECOND)),
        ..frame
    };
    frames(numbers, ahead).into_iter().map(later).collect()
}

/// In the middle of a session: the source's next run begins where the last one ended.
#[test]
fn a_camera_whose_clock_is_set_loses_no_frame_and_none_is_placed_elsewhere() {
    for seconds in SET {
        for after in [Vec::new(), set(400..425, 0, seconds)] {
            let gap = Span { from: at(60), to: at(400) };
            let mut splice = Splice::new(gap, FRAME / 2, frames(50..60, 0), after);
            splice.compare_clocks(-7_000);
            splice.enter(1, Span { from: at(50).plus(7_777), to: at(210).plus(7_777) });
            let mut taken = judged(&mut splice, &frames(50..210, 7_777));
            // In the middle of a group of pictures.
            splice.enter(2, Span { from: at(210).plus(7_777), to: at(430).plus(7_777) });
            taken.extend(judged(&mut splice, &set(210..430, 7_777, seconds)));
            assert_eq!(taken, (60..400).collect::<Vec<_>>(), "{seconds}");
            assert_eq!(splice.shift_ticks(), -7_777, "{seconds}");
        }
    }
}

/// It was started anew: frames are missing between the two runs. Or it was before the source had any of its frames.
#[test]
fn a_camera_that_returns_with_another_time_is_placed_by_what_the_clocks_showed_before() {
    for seconds in SET {
        let gap = Span { from: at(60), to: at(400) };
        let mut splice = Splice::new(gap, FRAME / 2, frames(50..60, 0), Vec::new());
        splice.compare_clocks(-7_000);
        splice.enter(1, Span { from: at(50).plus(7_777), to: at(210).plus(7_777) });
        let mut taken = judged(&mut splice, &frames(50..210, 7_777));
        splice.enter(2, Span { from: at(230).plus(7_777), to: at(430).plus(7_777) });
        taken.extend(judged(&mut splice, &set(230..430, 7_777, seconds)));
        assert_eq!(taken, (60..210).chain(250..400).collect::<Vec<_>>(), "{seconds}");

        let after = set(400..425, 0, seconds);
        let mut splice = Splice::new(gap, FRAME / 2, frames(50..60, 0), after);
        splice.compare_clocks(-7_000);
        splice.enter(1, Span { from: at(230).plus(7_777), to: at(430).plus(7_777) });
        let taken = judged(&mut splice, &set(230..430, 7_777, seconds));
        assert_eq!(taken, (250..400).collect::<Vec<_>>(), "{seconds}");
        assert!(splice.is_joined(), "{seconds}");
    }
    // Its clock was never set before it was switched off, nor since.
    let never = -56 * 365 * 86_400;
    let gap = Span { from: at(60), to: at(400) };
    let mut splice = Splice::new(gap, FRAME / 2, frames(50..60, 0), Vec::new());
    splice.compare_clocks(-7_777);
    splice.enter(1, Span { from: at(230).plus(7_777), to: at(430).plus(7_777) });
    let taken = judged(&mut splice, &set(230..430, 7_777, never));
    assert_eq!(taken, (250..400).collect::<Vec<_>>());
}

/// A record of the source was overwritten, or cannot be read.
#[test]
fn behind_a_hole_in_a_run_filling_begins_at_a_key_frame() {
    let gap = Span { from: at(60), to: at(400) };
    let mut splice = Splice::new(gap, FRAME / 2, frames(50..60, 0), frames(400..425, 0));
    splice.enter(1, Span { from: at(50), to: at(90) });
    let mut taken = judged(&mut splice, &frames(50..90, 0));
    splice.enter(1, Span { from: at(115), to: at(430) });
    taken.extend(judged(&mut splice, &frames(115..430, 0)));
    assert_eq!(taken, (60..90).chain(125..400).collect::<Vec<_>>());
}

proptest! {
    /// Whatever the source has, and whatever the clocks say: each frame is there once, and none is invented.
    #[test]
    fn no_frame_is_there_twice(
        from in 20i64..80, length in 1i64..80, begins in 0i64..120, ends in 0i64..200, ahead in -100_000i64..100_000,
    ) {
        let gap = Span { from: at(from), to: at(from + length) };
        let before = frames(from - 15..from, 0);
        let mut splice = Splice::new(gap, FRAME / 2, before, frames(from + length..from + length + 25, 0));
        let taken = taken(&mut splice, begins..ends.max(begins), ahead);
        prop_assert!(taken.iter().all(|number| (from..from + length).contains(number)));
        prop_assert!(taken.windows(2).all(|pair| pair[1] == pair[0] + 1));
        // All that the source has is taken from the first frame on that can be decoded.
        let first = if begins < from { from } else { (begins + 24) / 25 * 25 };
        let expected = (from + length).min(ends.max(begins)) - first;
        prop_assert_eq!(taken.len(), usize::try_from(expected.max(0)).unwrap());
    }
}
