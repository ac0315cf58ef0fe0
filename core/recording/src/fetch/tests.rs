//! A server that is honest about its times and breaks off as it likes, and several that are not.

mod patience;
mod wrong_times;

use keepwatch_media::replay::FrameMark;
use keepwatch_model::SpanSet;
use proptest::prelude::*;

use super::*;

const TICKS_PER_FRAME: i64 = 3_600;
const GROUP: i64 = 25;

fn wall(frame: i64) -> WallTime {
    WallTime::from_ticks(1_700_000_000 * TICKS_PER_SECOND + frame * TICKS_PER_FRAME)
}

fn at(millis: u64) -> MonoTime {
    MonoTime::from_nanos(millis * 1_000_000)
}

/// The range of the frames from `first` up to but not including `end`.
fn frames(first: i64, end: i64) -> Span {
    Span::new(wall(first), wall(end)).unwrap()
}

const VIDEO: FetchTrack = FetchTrack { clock_rate: 90_000, steady: true };

/// A server with footage of one frame each 40 ms, but for its gaps, and what it does wrong.
#[derive(Clone, Debug, Default)]
struct Server {
    /// Frames it has, as half-open ranges in ascending order.
    sections: Vec<(i64, i64)>,
    marks: bool,
    /// Ignores the end of the range.
    endless: bool,
    terminal: bool,
    /// Where there are no marks, says that it begins where it was asked to, and begins at the clean point before.
    imprecise: bool,
    /// Falls silent behind the first section, as if the gap passed in real time.
    one_section: bool,
    /// Pictures shown before the one they depend on are sent after it: 0, 3, 1, 2, 6, 4, 5 and so on.
    bidirectional: bool,
}

impl Server {
    fn with(sections: &[(i64, i64)]) -> Self {
        Self { sections: sections.to_vec(), marks: true, ..Self::default() }
    }

    fn number_of(time: WallTime) -> i64 {
        (time.ticks() - wall(0).ticks()).div_euclid(TICKS_PER_FRAME)
    }

    /// What it sends for a range, in the order of sending.
    fn play(&self, range: ClockRange) -> Vec<FetchFrame> {
        let from = Self::number_of(range.from);
        let to = if self.endless { i64::MAX } else { Self::number_of(range.to.unwrap()) };
        let mut sent = vec![];
        for (first, end) in &self.sections {
            if *end <= from || *first >= to {
                continue;
            }
            let begin = (from.div_euclid(GROUP) * GROUP).max(*first);
            let last = (*end).min(to.saturating_add(1));
            let mut order: Vec<_> = (begin..last).collect();
            if self.bidirectional {
                // A picture of each three comes before the two that it closes.
                order.sort_by_key(|n| {
                    let in_group = n.rem_euclid(GROUP);
                    let closes = (in_group + 2) / 3 * 3;
                    let group = n - in_group;
                    (group, if closes >= GROUP { in_group } else { closes }, in_group != closes, in_group)
                });
            }
            let length = order.len();
            for (position, number) in order.into_iter().enumerate() {
                sent.push(self.frame(number, position == 0, position + 1 == length && *end == last));
            }
            if self.one_section {
                break;
            }
        }
        if let Some(last) = sent.last_mut().filter(|_| self.terminal && self.marks) {
            last.mark.as_mut().unwrap().terminal = true;
        }
        sent
    }

    fn frame(&self, number: i64, discontinuity: bool, ends_section: bool) -> FetchFrame {
        let key = number.rem_euclid(GROUP) == 0;
        let mark = FrameMark {
            time: wall(number),
            clean_point: key,
            ends_section,
            discontinuity,
            terminal: false,
            sequence: 7,
        };
        FetchFrame {
            track: 0,
            mark: self.marks.then_some(mark),
            timestamp: 77 + number * TICKS_PER_FRAME,
            key,
            lost: 0,
        }
    }
}

/// A fetch, its clock, and what it took.
struct Shell {
    fetch: Fetch,
    millis: u64,
    taken: Vec<i64>,
    lead: Vec<i64>,
    out: Vec<Action>,
}

impl Shell {
    fn new(range: Span) -> Self {
        let mut fetch = Fetch::new(range);
        assert!(fetch.describe(&[VIDEO]));
        let mut shell = Self { fetch, millis: 0, taken: vec![], lead: vec![], out: vec![] };
        shell.event(Event::Begin);
        shell
    }

    fn playing(&mut self, from: Option<WallTime>) {
        self.event(Event::Playing { attempt: self.fetch.attempt(), from });
    }

    fn ended(&mut self, loss: Loss) {
        self.event(Event::Ended { attempt: self.fetch.attempt(), loss });
    }

    fn event(&mut self, event: Event) {
        self.fetch.handle(at(self.millis), event, &mut self.out);
    }

    fn frame(&mut self, frame: &FetchFrame) -> Verdict {
        let verdict = self.fetch.frame(at(self.millis), frame);
        match verdict {
            Verdict::Take { time } => self.taken.push(Server::number_of(time)),
            Verdict::Lead { time } => self.lead.push(Server::number_of(time)),
            Verdict::Repeated | Verdict::Beyond | Verdict::Ignored => {}
        }
        verdict
    }

    /// The newest action, and none of the older ones.
    fn newest(&mut self) -> Option<Action> {
        std::mem::take(&mut self.out).pop()
    }

    /// Lets time pass until the next deadline, if there is one.
    fn wait(&mut self) {
        if let Some((deadline, _)) = self.fetch.deadline() {
            self.millis = self.millis.max(deadline.as_nanos().div_ceil(1_000_000));
            self.fetch.timeout(at(self.millis), &mut self.out);
        }
    }

    /// Serves the next connection with `server`, which breaks off after `cut` frames; whether the fetch is over.
    fn serve(&mut self, server: &Server, cut: usize) -> bool {
        let range = loop {
            match self.newest() {
                Some(Action::Connect { range, .. }) => break range,
                Some(Action::Over(end)) => {
                    self.out.push(Action::Over(end));
                    return true;
                }
                Some(Action::HangUp) | None => self.wait(),
            }
        };
        let sent = server.play(range);
        let begins = sent.first().map(|frame| wall((frame.timestamp - 77) / TICKS_PER_FRAME));
        let begins = if server.imprecise { Some(range.from) } else { begins };
        self.playing(begins.filter(|_| !server.marks));
        for (number, frame) in sent.iter().enumerate() {
            if number == cut {
                self.ended(Loss::Connection);
                return false;
            }
            self.frame(frame);
            self.millis += 1;
            if self.fetch.deadline().is_some_and(|(deadline, _)| deadline <= at(self.millis)) {
                self.fetch.timeout(at(self.millis), &mut self.out);
                break;
            }
        }
        false
    }

    /// Serves until the fetch is over; connection `n` breaks off after `cuts[n]` frames.
    fn run(&mut self, server: &Server, cuts: &[usize]) -> End {
        let mut cuts = cuts.iter().copied();
        for _ in 0..1_000 {
            if self.serve(server, cuts.next().unwrap_or(usize::MAX)) {
                let Some(Action::Over(end)) = self.out.last() else { panic!("{:?}", self.out) };
                return *end;
            }
        }
        panic!("it never ends")
    }
}

fn sorted(mut numbers: Vec<i64>) -> Vec<i64> {
    numbers.sort_unstable();
    numbers
}

#[test]
fn a_range_is_taken_whole_without_what_precedes_and_follows_it() {
    let server = Server::with(&[(0, 1_000)]);
    let mut shell = Shell::new(frames(110, 310));
    assert_eq!(shell.run(&server, &[]), End::Complete);
    assert_eq!(shell.taken, (110..310).collect::<Vec<_>>());
    assert_eq!(shell.lead, (100..110).collect::<Vec<_>>(), "from the clean point on");
    let report = shell.fetch.report();
    assert_eq!(
        (report.taken, report.beyond, report.attempts),
        (200, 17, 1),
        "to the frame behind a clean point"
    );
    assert!(report.holes.is_empty(), "{report:?}");
    assert!(shell.millis < 1_000, "nothing was waited for");
}

#[test]
fn what_was_asked_for_is_written_in_whole_milliseconds_and_wider() {
    let range = Span::new(WallTime::from_ticks(1_000_001), WallTime::from_ticks(2_000_001)).unwrap();
    let shell = Shell::new(range);
    let Some(Action::Connect { range: asked, .. }) = shell.out.first() else { panic!("{:?}", shell.out) };
    assert_eq!(asked.from.ticks() % 90, 0);
    assert!(asked.from <= range.from && asked.to.unwrap() > range.to);
}

#[test]
fn twenty_drops_in_an_hour_with_a_gap_miss_nothing_and_double_nothing() {
    let server = Server::with(&[(0, 40_000), (55_000, 90_000)]);
    for cuts in [vec![3_700; 20], vec![1, 2, 3, 30, 31, 60, 10_000, 0, 1], (1..20).map(|n| n * 97).collect()]
    {
        let mut shell = Shell::new(frames(7, 89_990));
        assert_eq!(shell.run(&server, &cuts), End::Complete);
        let expected: Vec<_> = (7..40_000).chain(55_000..89_990).collect();
        assert_eq!(shell.taken, expected, "{cuts:?}");
        assert_eq!(shell.fetch.report().holes.spans(), [frames(40_000, 55_000)]);
        assert_eq!(shell.fetch.report().attempts, u64::try_from(cuts.len()).unwrap() + 1);
    }
}

#[test]
fn drops_of_a_server_without_marks_that_says_to_begin_where_it_was_asked_double_nothing() {
    let server = Server { marks: false, imprecise: true, ..Server::with(&[(0, 40_000), (55_000, 90_000)]) };
    for cuts in [vec![3_700; 20], vec![90; 20], vec![60, 61, 62, 10_000, 77]] {
        let mut shell = Shell::new(frames(25, 89_990));
        assert_eq!(shell.run(&server, &cuts), End::Complete);
        let expected: Vec<_> = (25..40_000).chain(55_000..89_990).collect();
        assert_eq!(shell.taken, expected, "{cuts:?}");
    }
}

/// Bits that are not there, ends that are ignored, silence where others say goodbye.
#[test]
fn every_way_to_end_is_understood() {
    let whole = Server::with(&[(0, 1_000)]);
    let ends_inside = Server::with(&[(0, 200)]);
    let servers = [
        (whole.clone(), 300, End::Complete, 300),
        (Server { endless: true, ..whole.clone() }, 300, End::Complete, 300),
        (Server { marks: false, ..whole }, 300, End::Complete, 300),
        (Server { terminal: true, ..ends_inside.clone() }, 300, End::Complete, 200),
        (ends_inside.clone(), 300, End::Complete, 200),
        (ends_inside.clone(), 200, End::Complete, 200),
        (Server { marks: false, ..ends_inside.clone() }, 200, End::Complete, 200),
        (Server { marks: false, ..ends_inside }, 300, End::Silent, 200),
        (Server::default(), 300, End::Silent, 0),
    ];
    for (server, to, end, taken) in servers {
        let mut shell = Shell::new(frames(0, to));
        assert_eq!(shell.run(&server, &[]), end, "{server:?}");
        assert_eq!(shell.taken, (0..taken).collect::<Vec<_>>(), "{server:?}");
        let holes = shell.fetch.report().holes.spans();
        if end == End::Complete && taken < to {
            assert_eq!(holes, [frames(taken, to)], "{server:?}");
        } else {
            assert_eq!(holes, [], "{server:?}");
        }
    }
}

#[test]
fn a_server_that_closes_at_the_end_of_its_footage_is_asked_twice_more_and_believed() {
    let server = Server::with(&[(0, 200)]);
    let mut shell = Shell::new(frames(0, 300));
    for closes in 1..=3 {
        assert!(!shell.serve(&server, usize::MAX));
        shell.ended(Loss::Closed);
        assert_eq!(shell.out.last() == Some(&Action::Over(End::Complete)), closes == 3);
        if closes < 3 {
            shell.wait();
        }
    }
    assert_eq!(shell.taken, (0..200).collect::<Vec<_>>());
}

#[test]
fn a_server_without_footage_or_without_replay_is_told_apart_from_one_that_is_away() {
    for (loss, end) in [(Loss::NoFootage, End::NoFootage), (Loss::Refused, End::GivenUp(GiveUp::Refused))] {
        let mut shell = Shell::new(frames(0, 100));
        shell.ended(loss);
        assert_eq!(shell.out.last(), Some(&Action::Over(end)));
    }
    let mut shell = Shell::new(frames(0, 100));
    let mut waits = vec![];
    while !matches!(shell.out.last(), Some(Action::Over(_))) {
        shell.ended(Loss::Connection);
        let before = shell.millis;
        shell.wait();
        waits.push(shell.millis - before);
    }
    assert_eq!(shell.out.last(), Some(&Action::Over(End::GivenUp(GiveUp::Connection))));
    assert_eq!(waits, [1_000, 2_000, 4_000, 8_000, 0]);
    assert!(shell.fetch.report().holes.is_empty(), "nothing is known of what was not reached");
}

/// Pictures end before the sound that was recorded with them came.
#[test]
fn sound_behind_the_last_picture_is_waited_for_but_not_for_ever() {
    let sound = FetchTrack { clock_rate: 8_000, steady: false };
    for sounds in [0, 48, 53] {
        let mut fetch = Fetch::new(frames(0, 50));
        fetch.describe(&[VIDEO, sound]);
        let mut out = vec![];
        fetch.handle(at(0), Event::Begin, &mut out);
        fetch.handle(at(0), Event::Playing { attempt: fetch.attempt(), from: None }, &mut out);
        let server = Server::with(&[]);
        let sound =
            |number| FetchFrame { track: 1, timestamp: number * 320, ..server.frame(number, false, false) };
        for number in 0..53 {
            fetch.frame(at(100), &server.frame(number, false, false));
            // It comes 40 pictures late.
            if (40..40 + sounds).contains(&number) {
                fetch.frame(at(100), &sound(number - 40));
            }
        }
        for number in 13..sounds {
            fetch.frame(at(200), &sound(number));
        }
        let (deadline, _) = fetch.deadline().unwrap();
        // Without sound nothing is known to be missing; with all of it nothing is; else it is waited for.
        let expected = match sounds {
            48 => at(200) + SETTLE_MAX,
            53 => at(200),
            _ => at(100),
        };
        assert_eq!(deadline, expected, "{sounds}");
        fetch.timeout(deadline, &mut out);
        assert_eq!(out[1..], [Action::HangUp, Action::Over(End::Complete)]);
        assert_eq!(fetch.report().taken, 50 + u64::try_from(sounds).unwrap().min(50));
    }
}

#[test]
fn footage_that_repeats_for_ever_ends() {
    let mut shell = Shell::new(frames(0, 10_000));
    let mut sent = 0_u64;
    while !matches!(shell.out.last(), Some(Action::Over(_))) {
        match shell.newest() {
            Some(Action::Connect { .. }) => shell.playing(None),
            Some(Action::HangUp | Action::Over(_)) | None => {}
        }
        for number in 0..100 {
            shell.frame(&Server::with(&[]).frame(number, false, false));
            sent += 1;
        }
        shell.wait();
        assert!(sent < 1_000_000, "it never ends");
    }
    assert_eq!(shell.taken, (0..100).collect::<Vec<_>>());
    let end = shell.out.last();
    assert!(
        matches!(end, Some(Action::Over(End::GivenUp(GiveUp::TimesGoBack) | End::Silent))),
        "{end:?} after {sent}"
    );
}

#[test]
fn live_pictures_instead_of_recorded_ones_are_not_taken() {
    let mut shell = Shell::new(frames(0, 100));
    let far = Server::with(&[]);
    shell.out.clear();
    shell.playing(None);
    for number in [-90_000, -89_999, 50, -89_998, 51] {
        shell.frame(&far.frame(number, false, false));
    }
    assert_eq!(shell.taken, [50, 51]);
    for number in 0..=i64::from(UNWANTED_MAX) {
        shell.frame(&far.frame(number - 90_000, false, false));
    }
    shell.wait();
    assert_eq!(shell.out, [Action::HangUp]);
}

#[test]
fn one_wrong_time_ends_nothing() {
    let server = Server::with(&[]);
    let mut shell = Shell::new(frames(0, 100));
    shell.playing(None);
    for number in 0..100 {
        shell.frame(&server.frame(number, false, false));
        if number % 10 == 5 {
            assert_eq!(shell.frame(&server.frame(900_000_000, false, false)), Verdict::Beyond);
        }
    }
    assert_eq!(shell.taken, (0..100).collect::<Vec<_>>());
}

#[test]
fn a_cancelled_fetch_hangs_up_and_takes_nothing_more() {
    let mut shell = Shell::new(frames(0, 100));
    shell.playing(None);
    shell.event(Event::Cancel);
    assert_eq!(shell.out[1..], [Action::HangUp, Action::Over(End::Cancelled)]);
    assert_eq!(shell.frame(&Server::with(&[]).frame(1, false, false)), Verdict::Ignored);
    assert_eq!(shell.fetch.deadline(), None);
}

#[test]
fn late_news_of_a_replay_that_was_hung_up_does_not_end_the_next() {
    let mut shell = Shell::new(frames(0, 100));
    let Some(Action::Connect { attempt: first, .. }) = shell.newest() else { panic!("not asked") };
    shell.playing(None);
    shell.wait();
    assert_eq!(shell.newest(), Some(Action::HangUp));
    shell.wait();
    let Some(Action::Connect { attempt: second, .. }) = shell.newest() else { panic!("not asked again") };
    assert_ne!(first, second);
    shell.event(Event::Ended { attempt: first, loss: Loss::Refused });
    shell.event(Event::Playing { attempt: first, from: Some(wall(90)) });
    assert_eq!(shell.frame(&Server::with(&[]).frame(1, false, false)), Verdict::Ignored, "not playing yet");
    shell.event(Event::Playing { attempt: second, from: None });
    shell.event(Event::Ended { attempt: first, loss: Loss::Refused });
    assert_eq!((shell.newest(), shell.fetch.deadline().is_some()), (None, true));
    assert!(matches!(shell.frame(&Server::with(&[]).frame(1, false, false)), Verdict::Take { .. }));
}

#[test]
fn sound_is_taken_once_too_and_holds_nothing_up() {
    let sound = FetchTrack { clock_rate: 8_000, steady: false };
    let mut fetch = Fetch::new(frames(0, 100));
    assert!(fetch.describe(&[VIDEO, sound]) && fetch.describe(&[VIDEO, sound]));
    assert!(!fetch.describe(&[VIDEO]) && !fetch.describe(&[sound, VIDEO]));
    let mut out = vec![];
    let mut taken = 0;
    fetch.handle(at(0), Event::Begin, &mut out);
    for _ in 0..3 {
        fetch.handle(at(0), Event::Playing { attempt: fetch.attempt(), from: None }, &mut out);
        for number in 0..50 {
            let frame = Server::with(&[]).frame(number, false, false);
            fetch.frame(at(0), &frame);
            let packet = FetchFrame { track: 1, key: true, timestamp: number * 320, ..frame };
            taken += i32::from(matches!(fetch.frame(at(0), &packet), Verdict::Take { .. }));
        }
        fetch.handle(at(0), Event::Ended { attempt: fetch.attempt(), loss: Loss::Connection }, &mut out);
        let (deadline, _) = fetch.deadline().unwrap();
        fetch.timeout(deadline, &mut out);
    }
    assert_eq!((taken, fetch.report().taken), (50, 100));
}

proptest! {
    /// Any footage, any range, any drops.
    #[test]
    fn every_frame_is_taken_exactly_once(
        lengths in prop::collection::vec((1i64..400, 0i64..300), 1..6),
        from in 0i64..400, length in 1i64..900,
        cuts in prop::collection::vec(0usize..200, 0..12),
        marks: bool, endless: bool, terminal: bool, bidirectional: bool,
    ) {
        let mut sections = vec![];
        let mut position = 0;
        for (have, gap) in lengths {
            sections.push((position, position + have));
            position += have + gap;
        }
        let server = Server { sections: sections.clone(), marks: true, endless, terminal: terminal && !endless, one_section: false, bidirectional, imprecise: false };
        let server = Server { marks: marks || cuts.iter().any(|cut| *cut < 200) || sections.len() > 1, ..server };
        let range = frames(from, from + length);
        let mut shell = Shell::new(range);
        // Five fruitless drops in a row are given up, rightly: between them is always progress.
        let cuts: Vec<_> = cuts.iter().flat_map(|cut| [*cut, cut + 260]).collect();
        shell.run(&server, &cuts);
        let expected: Vec<_> = (from..from + length)
            .filter(|number| sections.iter().any(|(first, end)| first <= number && number < end))
            .collect();
        prop_assert_eq!(sorted(shell.taken), expected);
        for hole in shell.fetch.report().holes.spans() {
            for (first, end) in &sections {
                let inside = hole.intersection(frames(*first, *end));
                prop_assert!(inside.is_none_or(|inside| inside.ticks() < 2 * TICKS_PER_FRAME), "{:?}", hole);
            }
        }
    }

    /// A server that lies in every way.
    #[test]
    fn lies_are_bounded(
        times in prop::collection::vec(
            (
                prop_oneof![any::<i64>(), -100i64 * TICKS_PER_FRAME..1_100 * TICKS_PER_FRAME],
                any::<[bool; 5]>(),
                0u64..3_000,
            ),
            1..400,
        ),
    ) {
        let mut shell = Shell::new(frames(0, 1_000));
        for (ticks, [marked, clean_point, ends_section, discontinuity, terminal], millis) in times {
            if matches!(shell.newest(), Some(Action::Connect { .. })) {
                shell.playing(Some(WallTime::from_ticks(ticks)));
            }
            let time = wall(0).plus(ticks);
            let mark = FrameMark { time, clean_point, ends_section, discontinuity, terminal, sequence: 0 };
            let mark = marked.then_some(mark);
            let frame =
                FetchFrame { track: (millis % 2) as usize, mark, timestamp: ticks, key: clean_point, lost: 1 };
            shell.fetch.frame(at(shell.millis), &frame);
            shell.millis += millis;
            shell.fetch.timeout(at(shell.millis), &mut shell.out);
            let report = shell.fetch.report();
            prop_assert_eq!(report.holes.within(frames(0, 1_000)), report.holes.clone());
            prop_assert!(shell.fetch.reached().is_none_or(|reached| reached > wall(0) && reached <= wall(1_000)));
        }
    }
}
