//! Servers and lines that are slow, and how long they are waited for.

use super::*;

/// A server that plays in real time, or stalls, sends nothing for the whole of a gap.
#[test]
fn footage_behind_a_gap_that_passes_in_real_time_is_asked_for() {
    let server =
        Server { one_section: true, ..Server::with(&[(0, 500), (20_000, 20_500), (60_000, 60_100)]) };
    let mut shell = Shell::new(frames(0, 60_050));
    assert_eq!(shell.run(&server, &[]), End::Complete);
    assert_eq!(shell.taken, (0..500).chain(20_000..20_500).chain(60_000..60_050).collect::<Vec<_>>());
    assert_eq!(shell.fetch.report().holes.spans(), [frames(500, 20_000), frames(20_500, 60_000)]);
}

/// The same of one that says nothing of ends.
#[test]
fn a_server_that_pauses_for_longer_than_it_is_waited_for_loses_nothing() {
    let mut shell = Shell::new(frames(0, 1_000));
    let server = Server::with(&[]);
    for (begin, asked) in [(0, 0), (0, 274), (300, 300)] {
        let Some(Action::Connect { range, .. }) = shell.newest() else { panic!("not asked") };
        // From the clean point of the last second on, and then from behind what is there.
        assert_eq!(Server::number_of(range.from), asked);
        shell.playing(None);
        for number in begin..begin + 300 {
            shell.frame(&server.frame(number, false, false));
        }
        shell.wait();
        assert_eq!(shell.newest(), Some(Action::HangUp));
        shell.wait();
    }
    assert_eq!(shell.taken, (0..600).collect::<Vec<_>>());
}

/// Pictures of `numbers` in real time; whether the fetch was over, or hung up, before they all came.
fn in_real_time(shell: &mut Shell, numbers: std::ops::Range<i64>) -> bool {
    for number in numbers {
        shell.frame(&Server::with(&[]).frame(number, false, false));
        shell.millis += 40;
        shell.fetch.timeout(at(shell.millis), &mut shell.out);
        if shell.newest().is_some() {
            return true;
        }
    }
    false
}

/// The range of the next replay, after the wait for it.
fn asked(shell: &mut Shell) -> i64 {
    for _ in 0..2 {
        if let Some(Action::Connect { range, .. }) = shell.newest() {
            return Server::number_of(range.from);
        }
        shell.wait();
    }
    panic!("not asked: {:?}", shell.out)
}

/// A server that paces itself lets a gap of 20 minutes pass as well, whatever is asked for inside of it.
#[test]
fn a_server_that_plays_in_real_time_is_listened_to_through_a_long_gap() {
    let gap_millis = 20 * 60 * 1_000;
    let behind = 250 + gap_millis / 40;
    let mut shell = Shell::new(frames(0, behind + 100));
    shell.newest();
    shell.playing(None);
    assert!(!in_real_time(&mut shell, 0..250));
    // Two replays are judged after ten seconds; from the third on it is known how the server plays.
    shell.wait();
    assert_eq!(shell.newest(), Some(Action::HangUp));
    assert_eq!(asked(&mut shell), 224);
    shell.playing(None);
    assert!(!in_real_time(&mut shell, 224..250));
    shell.wait();
    assert_eq!(asked(&mut shell), 250);
    shell.playing(None);
    let begun = shell.millis;
    shell.wait();
    assert_eq!(shell.newest(), Some(Action::HangUp));
    assert_eq!(Duration::from_millis(shell.millis - begun), PACED_IDLE_MAX);
    // The rest of the gap, and a bit of what was heard out.
    let from = asked(&mut shell);
    assert_eq!(from, 250 + (15 * 60 - 2) * 25);
    shell.playing(None);
    shell.millis += u64::try_from((behind - from) * 40).unwrap();
    shell.fetch.timeout(at(shell.millis), &mut shell.out);
    assert_eq!(shell.out, [], "it is still listened to");
    assert!(in_real_time(&mut shell, behind..behind + 160));
    assert_eq!(shell.taken, (0..250).chain(behind..behind + 100).collect::<Vec<_>>());
    assert_eq!(shell.fetch.report().holes.spans(), [frames(250, behind)]);
}

/// Nothing comes of it any more. The rest of the range would take so long in real time, and no longer is waited for.
#[test]
fn a_server_that_played_in_real_time_and_stopped_is_waited_for_no_longer_than_the_range_lasts() {
    let mut shell = Shell::new(frames(0, 250 + 60 * 60 * 25));
    shell.newest();
    shell.playing(None);
    assert!(!in_real_time(&mut shell, 0..250));
    let silent = shell.millis;
    let mut replays = 0;
    let end = loop {
        shell.wait();
        match shell.newest() {
            Some(Action::Connect { .. }) => {
                replays += 1;
                shell.playing(None);
            }
            Some(Action::Over(end)) => break end,
            Some(Action::HangUp) | None => {}
        }
    };
    assert_eq!(end, End::Silent);
    assert!((6..=8).contains(&replays), "{replays}");
    assert!(shell.millis - silent < 62 * 60 * 1_000, "{}", shell.millis - silent);
}

#[test]
fn a_server_that_says_where_it_has_more_is_asked_for_that_when_it_falls_silent() {
    // It goes on behind no gap of its own accord, wherever it is asked inside of it.
    let server =
        Server { one_section: true, ..Server::with(&[(0, 500), (20_000, 20_500), (60_000, 60_100)]) };
    let plays = |range: ClockRange| {
        let from = Server::number_of(range.from);
        server.sections.iter().any(|(first, end)| (*first..*end).contains(&from))
    };
    let mut shell = Shell::new(frames(0, 90_000));
    let told = [frames(0, 500), frames(5_000, 5_100), frames(20_000, 20_500), frames(60_000, 60_100)];
    shell.fetch.expect(told.into_iter().collect());
    let end = loop {
        match shell.newest() {
            Some(Action::Connect { range, attempt }) => {
                shell.event(Event::Playing { attempt, from: None });
                for frame in if plays(range) { server.play(range) } else { vec![] } {
                    shell.frame(&frame);
                }
            }
            Some(Action::Over(end)) => break end,
            Some(Action::HangUp) | None => shell.wait(),
        }
    };
    assert_eq!(end, End::Complete, "it says that it has no more");
    assert_eq!(shell.taken, (0..500).chain(20_000..20_500).chain(60_000..60_100).collect::<Vec<_>>());
    let holes = [frames(500, 20_000), frames(20_500, 60_000), frames(60_100, 90_000)];
    assert_eq!(
        shell.fetch.report().holes.spans(),
        holes,
        "what it said to have between them and did not send, too"
    );
}

#[test]
fn a_server_that_boasts_of_sections_without_end_is_not_asked_for_all_of_them() {
    let mut shell = Shell::new(frames(0, 1_000_000));
    shell.fetch.expect((0..900).map(|n| frames(n * 1_000, n * 1_000 + 500)).collect());
    let mut replays = 0;
    let end = loop {
        match shell.newest() {
            Some(Action::Connect { attempt, .. }) => {
                replays += 1;
                shell.event(Event::Playing { attempt, from: None });
            }
            Some(Action::Over(end)) => break end,
            Some(Action::HangUp) | None => shell.wait(),
        }
    };
    assert_eq!((end, replays), (End::Silent, 17));
}

#[test]
fn the_end_of_a_section_is_no_reason_for_haste() {
    let mut shell = Shell::new(frames(0, 1_000));
    shell.playing(None);
    shell.frame(&Server::with(&[]).frame(0, false, true));
    assert_eq!(shell.fetch.deadline().unwrap().0, at(0) + IDLE_MAX);
    for number in 1..980 {
        shell.frame(&Server::with(&[]).frame(number, false, false));
    }
    assert_eq!(shell.fetch.deadline().unwrap().0, at(0) + END_IDLE_MAX);
}

/// What the server says after it was asked behind its last frame is its last word.
#[test]
fn nothing_behind_the_last_frame_is_known_from_the_server_itself() {
    let server = Server::with(&[(0, 200)]);
    let mut shell = Shell::new(frames(0, 300));
    for _ in 0..2 {
        assert!(!shell.serve(&server, usize::MAX));
        shell.wait();
    }
    shell.wait();
    let Some(Action::Connect { range, .. }) = shell.newest() else { panic!("not asked ahead") };
    assert_eq!(range.from, wall(200));
    shell.ended(Loss::NoFootage);
    assert_eq!(shell.newest(), Some(Action::Over(End::NoFootage)));
    assert_eq!(shell.fetch.report().holes.spans(), [frames(200, 300)]);
}

/// 16 kB in a second, of 4 Mbit/s: two seconds before the range take longer than patience lasts.
#[test]
fn slow_reading_of_what_precedes_the_range_is_not_other_footage() {
    let mut shell = Shell::new(frames(50, 100));
    shell.out.clear();
    shell.playing(None);
    for number in 0..60 {
        shell.millis += 2_000;
        shell.fetch.timeout(at(shell.millis), &mut shell.out);
        shell.frame(&Server::with(&[]).frame(number, false, false));
    }
    assert_eq!(shell.out, []);
    // The same again after a drop, when all of it was taken.
    shell.ended(Loss::Connection);
    shell.wait();
    shell.playing(None);
    shell.out.clear();
    for number in 0..60 {
        shell.millis += 2_000;
        shell.fetch.timeout(at(shell.millis), &mut shell.out);
        shell.frame(&Server::with(&[]).frame(number, false, false));
    }
    assert_eq!((shell.out.len(), shell.taken.len()), (0, 10));
}

#[test]
fn frames_that_come_no_nearer_are_not_read_for_ever() {
    let mut shell = Shell::new(frames(50, 100));
    shell.out.clear();
    shell.playing(None);
    let begun = shell.millis;
    while shell.out.is_empty() && shell.millis < 200_000 {
        shell.millis += 1_000;
        shell.frame(&Server::with(&[]).frame(7, false, false));
        shell.fetch.timeout(at(shell.millis), &mut shell.out);
    }
    assert_eq!(shell.out, [Action::HangUp]);
    assert_eq!(shell.millis - begun, 61_000, "the first of them came nearer");
}

const SOUND: FetchTrack = FetchTrack { clock_rate: 8_000, steady: false };

/// A fetch of 50 pictures whose pictures are over, and whose sound is not.
fn settling() -> (Fetch, Vec<Action>) {
    let mut fetch = Fetch::new(frames(0, 50));
    fetch.describe(&[VIDEO, SOUND]);
    let mut out = vec![];
    fetch.handle(at(0), Event::Begin, &mut out);
    fetch.handle(at(0), Event::Playing { attempt: fetch.attempt(), from: None }, &mut out);
    out.clear();
    let server = Server::with(&[]);
    fetch.frame(at(0), &sound(0));
    for number in 0..53 {
        fetch.frame(at(0), &server.frame(number, false, false));
    }
    (fetch, out)
}

fn sound(number: i64) -> FetchFrame {
    FetchFrame { track: 1, timestamp: number * 320, ..Server::with(&[]).frame(number, false, false) }
}

#[test]
fn sound_is_waited_for_as_long_as_bytes_come() {
    let (mut fetch, mut out) = settling();
    for millis in (0..16_000).step_by(500) {
        fetch.stir(at(millis));
        fetch.timeout(at(millis), &mut out);
    }
    assert_eq!(out, []);
    assert!(matches!(fetch.frame(at(16_000), &sound(49)), Verdict::Take { .. }));
    // But bytes that never become a frame are not waited for.
    for millis in (16_000..200_000).step_by(500) {
        fetch.stir(at(millis));
        fetch.timeout(at(millis), &mut out);
    }
    assert_eq!(out, [Action::HangUp, Action::Over(End::Complete)]);
}

#[test]
fn a_server_that_goes_on_for_ever_does_not_make_its_sound_waited_for() {
    let (mut fetch, mut out) = settling();
    let mut number = 53;
    while out.is_empty() && number < 1_000 {
        fetch.frame(at(1), &Server::with(&[]).frame(number, false, false));
        fetch.timeout(at(1), &mut out);
        number += 1;
    }
    assert_eq!(out, [Action::HangUp, Action::Over(End::Complete)]);
    assert_eq!(number, 50 + 50 + 1 + 3, "two seconds behind the range, and three frames");
}
