use super::*;

fn at(ms: u64) -> MonoTime {
    MonoTime::from_nanos(ms * 1_000_000)
}

fn camera(seconds: i64) -> WallTime {
    WallTime::from_ticks(160_000_000_000_000 + seconds * 90_000)
}

/// What is said at `ms` of something that became so at `seconds` by the camera's clock.
fn say(
    notices: &mut Notices,
    ms: u64,
    subject: Subject,
    name: &str,
    condition: Condition,
    seconds: i64,
) -> Option<Line> {
    notices.look(at(ms), &Notice { subject, name, condition, camera_time: camera(seconds) })
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
        let seconds = i64::try_from(ms / 1_000).unwrap();
        let line = say(&mut notices, ms, Subject::Motion, "Motion 1", condition, seconds);
        assert_eq!(line.is_some(), told, "{ms} ms");
    }
    let other = say(&mut notices, 7_000, Subject::Motion, "Motion 2", Condition::Active, 7);
    assert!(other.is_some(), "another source");
}

/// The metadata track tells at once, the pull point after the state is over.
#[test]
fn a_state_that_is_told_late_by_a_second_way_is_not_told_again() {
    use Condition::{Active, Inactive};
    let mut notices = Notices::default();
    let mut told = |ms, condition, seconds| {
        say(&mut notices, ms, Subject::Camera, "Tamper", condition, seconds).is_some()
    };
    assert!(told(1_000, Active, 1) && told(3_000, Inactive, 3));
    assert!(!told(9_000, Active, 1) && !told(9_000, Inactive, 3), "the pull point");
    // Within one second by a clock that tells no less.
    assert!(told(20_000, Active, 20) && told(20_400, Inactive, 20));
    assert!(!told(29_000, Active, 20) && !told(29_000, Inactive, 20), "the pull point");
    // The camera's clock is set back by an hour: it is believed again after a while.
    assert!(!told(30_000, Active, -3_600));
    assert!(told(90_000, Active, -3_540));
}

#[test]
fn an_event_is_told_once_though_it_comes_twice() {
    let mut notices = Notices::default();
    let mut told = |ms| say(&mut notices, ms, Subject::Other, "Crossed", Condition::Momentary, 0).is_some();
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
            if let Some(line) = say(&mut notices, tenth * 100, Subject::Other, &name, condition, 0) {
                told += 1;
                left_out += line.left_out;
            }
        }
    }
    assert!((14_000..14_500).contains(&told), "{told}");
    assert!(told + left_out > 1_700_000, "{left_out}");
    let other = &notices.subjects[&Subject::Other];
    assert!(other.states.len() <= STATES_MAX && other.recent.len() <= RECENT_MAX);
    let tampered = say(&mut notices, 86_400_000, Subject::Camera, "Tamper", Condition::Active, 0);
    assert_eq!(tampered, Some(Line { left_out: 0 }), "what matters is told all the same");
}

/// Each object that walks by has a name of its own, and some never leave.
#[test]
fn new_states_are_told_however_many_there_were() {
    let mut notices = Notices::default();
    let beginnings = |notices: &mut Notices, number: i64| {
        let ms = u64::try_from(number).unwrap() * 20_000;
        let name = format!("Object {number}");
        let told = say(notices, ms, Subject::Other, &name, Condition::Active, number * 20).is_some();
        if number % 2 == 0 {
            let over = say(notices, ms + 500, Subject::Other, &name, Condition::Inactive, number * 20 + 1);
            assert!(over.is_some(), "the end of object {number}");
        }
        told
    };
    assert!((0..2_000).all(|number| beginnings(&mut notices, number)));
    assert!(notices.subjects[&Subject::Other].states.len() <= STATES_MAX);
}

#[test]
fn a_change_that_was_left_out_is_told_later() {
    let mut notices = Notices::default();
    for number in 0..BURST_MAX {
        let name = number.to_string();
        assert!(say(&mut notices, 0, Subject::Camera, &name, Condition::Momentary, 0).is_some());
    }
    assert_eq!(say(&mut notices, 0, Subject::Camera, "Tamper", Condition::Active, 0), None);
    let later = say(&mut notices, 7_000, Subject::Camera, "Tamper", Condition::Active, 0);
    assert_eq!(later, Some(Line { left_out: 1 }));
}
