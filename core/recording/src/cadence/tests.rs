use super::*;
use keepwatch_model::TICKS_PER_SECOND;
use proptest::prelude::*;

/// Feeds pictures at these milliseconds; returns between which of them time is missing, as milliseconds of the last picture
/// before and the first behind. At the end no picture can tell any more.
fn pauses(usual_ms: Option<i64>, pictures_ms: &[i64]) -> Vec<(i64, i64)> {
    let mut cadence = Cadence::new(usual_ms.map(|milliseconds| milliseconds * 90));
    let mut pauses = Vec::new();
    let (mut doubted, mut last) = (None, 0);
    for &at in pictures_ms {
        if cadence.confirm(at * 90) {
            pauses.extend(doubted.take());
        }
        let before = cadence.look(at * 90);
        match before {
            Before::Nothing => {}
            Before::Pause => pauses.push((last, at)),
            Before::Doubt => doubted = Some((last, at)),
        }
        cadence.advance(at * 90, before);
        last = last.max(at);
    }
    if cadence.settle() {
        pauses.extend(doubted);
    }
    pauses
}

/// So many pictures from `from` on, so many milliseconds apart.
fn every(milliseconds: i64, from: i64, count: i64) -> Vec<i64> {
    (0..count).map(|picture| from + picture * milliseconds).collect()
}

#[test]
fn a_pause_of_a_fast_camera_is_one_from_its_second_picture_on() {
    for begin in 1..10 {
        for pause in [1_600, 4_000, 8_000, 11_000, 11_600, 60_000] {
            let before = every(40, 0, begin);
            let last = *before.last().unwrap();
            let pictures = [before, every(40, last + pause, 5)].concat();
            assert_eq!(pauses(None, &pictures), [(last, last + pause)], "{pause} ms after picture {begin}");
        }
    }
}

#[test]
fn the_table() {
    let second = |at: i64| at * 1_000;
    let slow: Vec<i64> = (0..20).map(|picture| picture * 10_000 + picture % 3 * 100).collect();
    let slowed = [vec![0, 300], every(10_000, 8_000, 8)].concat();
    // Shown in another order than they are sent: I P B B, after a pause too.
    let reordered = [0, 120, 40, 80, 8_120, 8_040, 8_080, 8_240, 8_160, 8_200];
    for (what, usual_ms, pictures, expected) in [
        ("the slowest camera", None, slow.clone(), vec![]),
        ("the slowest camera, as the session before knew it", Some(10_000), slow, vec![]),
        ("one picture in two seconds", None, every(2_000, 0, 10), vec![]),
        ("it answers with a picture at once, and is slow", None, slowed, vec![]),
        ("a single picture", Some(40), vec![0], vec![]),
        ("two pictures, nothing known", None, vec![0, 8_000], vec![]),
        ("two pictures of a fast camera", Some(40), vec![0, 8_000], vec![(0, 8_000)]),
        ("two pictures of a slow camera", Some(5_000), vec![0, 8_000], vec![]),
        ("fast before, slow since", Some(40), every(5_000, 0, 10), vec![]),
        ("slow before, fast since", Some(10_000), vec![0, 8_000, 8_040, 8_080], vec![(0, 8_000)]),
        ("pictures in another order", None, reordered.to_vec(), vec![(120, 8_120)]),
        ("two pauses", None, vec![0, 8_000, 8_040, 12_040, 12_080], vec![(0, 8_000), (8_040, 12_040)]),
        ("slower than any camera", None, vec![0, second(12)], vec![(0, 12_000)]),
    ] {
        assert_eq!(pauses(usual_ms, &pictures), expected, "{what}");
    }
}

/// A session that ends before the next picture tells believes the one before, and only once: the camera may be slower now.
#[test]
fn the_session_before_is_believed_once() {
    let mut cadence = Cadence::new(Some(3_600));
    let five = 5 * TICKS_PER_SECOND;
    cadence.advance(0, Before::Nothing);
    for picture in 1..10 {
        let pts = picture * five;
        cadence.confirm(pts);
        let before = cadence.look(pts);
        cadence.advance(pts, before);
        // A slow camera's record is closed before its next picture comes.
        assert_eq!(cadence.settle(), picture == 1, "picture {picture}");
    }
    assert_eq!(cadence.usual_ticks(), Some(five));
}

#[test]
fn what_is_known_is_left_for_the_next_session_and_survives_a_jump_of_times() {
    let mut cadence = Cadence::new(None);
    for picture in 0..4 {
        cadence.advance(picture * 3_600, Before::Nothing);
        assert_eq!(cadence.usual_ticks(), None, "three distances are too few");
    }
    cadence.advance(4 * 3_600, Before::Nothing);
    cadence.forget_times();
    assert_eq!((cadence.pace(), cadence.usual_ticks()), (None, Some(3_600)));
}

proptest! {
    /// Whatever times come: a camera whose distances differ by less than four has no pause, and none panics.
    #[test]
    fn a_steady_camera_never_pauses(
        frame_ms in 20_i64..2_800,
        jitter in prop::collection::vec(0_i64..4, 2..60),
        usual_ms in prop::option::of(20_i64..2_800),
    ) {
        let mut at = 0;
        let pictures: Vec<i64> = jitter.iter().map(|jitter| { at += frame_ms + frame_ms * jitter; at }).collect();
        let told = pauses(None, &pictures);
        prop_assert!(told.is_empty(), "{told:?}");
        // A wrong belief costs one.
        prop_assert!(pauses(usual_ms, &pictures).len() <= 1);
    }

    #[test]
    fn absurd_times_do_not_panic(times in prop::collection::vec(any::<i64>(), 0..20), usual in any::<Option<i64>>()) {
        let mut cadence = Cadence::new(usual);
        for pts in times {
            cadence.confirm(pts);
            let before = cadence.look(pts);
            cadence.advance(pts, before);
        }
        cadence.settle();
    }
}
