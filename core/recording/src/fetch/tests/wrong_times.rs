//! Frames whose times are wrong, or right and unlikely.

use super::*;

/// A frame whose mark says the time of another.
fn marked(number: i64, says: i64) -> FetchFrame {
    let mut frame = Server::with(&[]).frame(number, false, false);
    frame.mark.as_mut().unwrap().time = wall(says).plus(1_000);
    frame
}

fn playing(range: Span) -> Shell {
    let mut shell = Shell::new(range);
    shell.out.clear();
    shell.playing(None);
    shell
}

/// Where the next replay is asked from, when this one breaks off.
fn asked_after_a_drop(shell: &mut Shell) -> i64 {
    shell.ended(Loss::Connection);
    shell.wait();
    let Some(Action::Connect { range, .. }) = shell.newest() else { panic!("not asked again") };
    Server::number_of(range.from)
}

/// One or more of them in a row inside the range, in the middle or at its beginning, drops anywhere behind.
#[test]
fn wrong_times_ahead_lose_nothing_and_no_hole_stays() {
    let server = Server::with(&[(0, 3_000)]);
    for (first, lies) in [(1_000, 1), (1_000, 2), (1_000, 3), (1_001, 5), (0, 1), (0, 2), (1, 2), (2_400, 2)]
    {
        for drop in [0, 1, 2, 3, 30, 500] {
            let mut shell = playing(frames(0, 3_000));
            let mut wrong = vec![];
            for number in 0..first + lies + drop {
                if (first..first + lies).contains(&number) {
                    let says = 2_900 + 30 * (number - first);
                    let mut frame = marked(number, says);
                    frame.key = true;
                    assert!(matches!(shell.frame(&frame), Verdict::Take { .. } | Verdict::Beyond));
                    wrong.extend((says < 3_000).then_some(says));
                } else {
                    shell.frame(&server.frame(number, false, false));
                }
            }
            if drop > 0 {
                let from = asked_after_a_drop(&mut shell);
                assert!(from <= first + lies + drop, "asked from {from} after {first}+{lies}+{drop}");
                shell.playing(None);
                let sent = server.play(ClockRange { from: wall(from), to: Some(wall(3_050)) });
                sent.iter().for_each(|frame| {
                    shell.frame(frame);
                });
                let begun = from.div_euclid(GROUP) * GROUP;
                let true_ones = (0..3_000).filter(|n| !(first..first + lies).contains(n) || *n >= begun);
                assert_eq!(sorted(shell.taken), sorted(true_ones.chain(wrong).collect()));
                assert_eq!(shell.fetch.report().holes.spans(), [], "{first}+{lies}+{drop}");
            } else if lies < 2 {
                assert!(asked_after_a_drop(&mut shell) <= first, "nothing confirmed it");
            }
        }
    }
}

/// Behind wrong times, what is really missing is told.
#[test]
fn a_hole_that_wrong_times_hid_is_told() {
    let server = Server::with(&[(0, 1_000), (2_000, 3_000)]);
    let mut shell = playing(frames(0, 3_000));
    for frame in server.play(ClockRange { from: wall(0), to: Some(wall(3_050)) }) {
        if shell.taken.len() == 500 {
            shell.frame(&marked(499, 2_500));
            shell.frame(&marked(499, 2_525));
        }
        shell.frame(&frame);
    }
    shell.wait();
    assert_eq!(shell.fetch.report().holes.spans(), [frames(1_000, 2_000)]);
}

/// A frame alone behind a gap is the last one: nothing confirms it, and it is no mistake.
#[test]
fn a_single_last_frame_behind_a_gap_is_believed() {
    for ends in [2_000, 2_001] {
        let server = Server::with(&[(0, 1_000), (1_999, 2_000)]);
        let mut shell = Shell::new(frames(0, ends));
        assert_eq!(shell.run(&server, &[]), End::Complete);
        assert_eq!(shell.taken.len(), 1_001);
        assert_eq!(shell.fetch.report().holes.spans(), [frames(1_000, 1_999)], "{ends}");
    }
}

#[test]
fn only_the_frame_that_came_is_taken_out_of_a_hole() {
    let holes = SpanSet::from_iter([frames(0, 100), frames(200, 300)]);
    let mut report = Report { holes, ..Report::default() };
    report.fill(wall(250), TICKS_PER_FRAME);
    report.fill(wall(299), TICKS_PER_FRAME);
    report.fill(wall(150), TICKS_PER_FRAME);
    report.fill(wall(1).plus(-9), TICKS_PER_FRAME);
    assert_eq!(report.holes.spans()[1..], [frames(200, 250), frames(251, 299)]);
    assert_eq!(report.holes.spans()[0].to, wall(100));
    assert!(report.holes.spans()[0].from < wall(2), "a sliver before the frame is no hole");
}

/// Metadata of one picture, or frames of a device that counts seconds, share a time.
#[test]
fn frames_that_share_a_time_are_all_taken_and_each_once() {
    for drop in 0..200 {
        let mut shell = playing(frames(0, 250));
        let sent: Vec<_> = (0..200)
            .map(|number| {
                let mut frame = marked(number, number.div_euclid(GROUP) * GROUP);
                frame.timestamp = number.div_euclid(GROUP);
                frame
            })
            .collect();
        sent.iter().take(drop).for_each(|frame| {
            shell.frame(frame);
        });
        let from = asked_after_a_drop(&mut shell).div_euclid(GROUP) * GROUP;
        shell.playing(None);
        for frame in sent.iter().skip(usize::try_from(from).unwrap()) {
            shell.frame(frame);
        }
        assert_eq!(shell.taken.len(), 200, "a drop after {drop}");
    }
}

/// The clock of the camera was set back by half an hour while it recorded.
#[test]
fn footage_recorded_after_the_clock_was_set_back_is_taken_too() {
    for discontinuity in [false, true] {
        let mut shell = playing(frames(0, 90_000));
        let server = Server::with(&[]);
        for number in 0..45_000 {
            shell.frame(&server.frame(number, false, false));
        }
        for number in 0..45_000 {
            let mut frame = server.frame(number, discontinuity && number == 0, false);
            // Where the server says what happened, its RTP time may be that of the clock; else it goes on.
            frame.timestamp += if discontinuity { 0 } else { 45_000 * TICKS_PER_FRAME };
            shell.frame(&frame);
        }
        assert_eq!(shell.taken.len(), 90_000, "{discontinuity}");
        assert_eq!((shell.fetch.report().steps_back, shell.fetch.report().repeated), (1, 0));
        assert!(shell.fetch.report().holes.is_empty());
    }
}

/// One frame in five seconds, of which the server sends the last before the range, or not.
#[test]
fn a_slow_camera_begins_without_a_hole() {
    let interval = 125;
    for first in [-500, -250, -100, -1, 40, 100] {
        let mut shell = playing(frames(0, 5_000));
        for number in 0..41 {
            shell.frame(&Server::with(&[]).frame(first + number * interval, number == 0, false));
        }
        assert_eq!(shell.fetch.report().holes.spans(), [], "from {first}");
        assert_eq!(
            shell.fetch.reached().map(Server::number_of),
            Some(first + 41 * interval).filter(|n| *n <= 5_000).or(Some(5_000))
        );
    }
}

#[test]
fn a_hole_at_the_beginning_is_told_whatever_the_server_leads_in_with() {
    for lead in [0, 1, 2, 25] {
        let mut shell = playing(frames(0, 5_000));
        for number in (-lead..0).chain(500..600) {
            shell.frame(&Server::with(&[]).frame(number, false, false));
        }
        assert_eq!(shell.fetch.report().holes.spans(), [frames(0, 500)], "{lead} before the range");
    }
}

/// Eight pictures in the order in which a pyramid of them is sent; the range ends before the second.
#[test]
fn pictures_sent_behind_those_beyond_the_range_are_taken() {
    let mut shell = playing(frames(0, 53));
    let server = Server::with(&[]);
    for group in 0..10 {
        for number in [8, 4, 2, 1, 3, 6, 5, 7] {
            let number = group * 8 + number - 5;
            // Clean points depend on nothing, and pictures shown before them may follow.
            shell.frame(&server.frame(number, false, false));
        }
    }
    assert_eq!(sorted(shell.taken.clone()), (0..53).collect::<Vec<_>>());
    for number in 75..80 {
        shell.frame(&server.frame(number, false, false));
    }
    shell.wait();
    assert_eq!(shell.newest(), Some(Action::Over(End::Complete)));
}
