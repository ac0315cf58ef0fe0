use super::*;

const POST: Duration = Duration::from_secs(30);
const MOTION: &str = "VideoSource/MotionAlarm Source=eye";

fn at(seconds: u64) -> MonoTime {
    MonoTime::from_nanos(seconds * 1_000_000_000)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A camera whose first half minute is over, and what was asked for since, by the second.
struct Watched {
    alarms: Alarms,
    now: u64,
    asked: Vec<(u64, &'static str)>,
}

impl Watched {
    fn new() -> Self {
        let mut watched = Self { alarms: Alarms::new(at(0), POST), now: 0, asked: Vec::new() };
        watched.run_to(30);
        assert_eq!(watched.take(), [(30, "end")]);
        watched
    }

    /// Runs every timer that is due up to then.
    fn run_to(&mut self, second: u64) {
        while let Some((due, _)) = self.alarms.deadline().filter(|(due, _)| *due <= at(second)) {
            self.now = due.as_nanos() / 1_000_000_000;
            let mut out = Vec::new();
            self.alarms.timeout(due, &mut out);
            self.note(out);
        }
        self.now = second;
    }

    fn event(&mut self, second: u64, event: Event) {
        self.run_to(second);
        let mut out = Vec::new();
        self.alarms.handle(at(second), event, &mut out);
        self.note(out);
    }

    fn told(&mut self, second: u64, name: &str, condition: Condition) {
        self.event(second, Event::Told { name: name.to_owned(), condition });
    }

    fn raised(&mut self, second: u64, lasts: Duration) {
        self.event(second, Event::Raised { words: "guard".to_owned(), lasts });
    }

    fn note(&mut self, out: Vec<Action>) {
        self.asked.extend(out.into_iter().map(|action| match action {
            Action::Begin(_) => (self.now, "begin"),
            Action::End(_) => (self.now, "end"),
        }));
    }

    fn take(&mut self) -> Vec<(u64, &'static str)> {
        std::mem::take(&mut self.asked)
    }
}

#[test]
fn a_moment_is_recorded_for_the_time_behind_it_and_another_one_extends_it() {
    let mut camera = Watched::new();
    camera.told(100, "line crossed", Condition::Momentary);
    camera.told(120, "line crossed", Condition::Momentary);
    camera.run_to(1_000);
    assert_eq!(camera.take(), [(100, "begin"), (150, "end")]);
    assert_eq!(camera.alarms.standing(), Standing::Waiting);
    assert_eq!(camera.alarms.deadline(), None);
}

#[test]
fn a_state_is_recorded_for_as_long_as_it_lasts_and_the_time_behind_its_end() {
    let mut camera = Watched::new();
    camera.told(100, MOTION, Condition::Active);
    // For hours, and said again and again.
    for minute in 1..600 {
        camera.told(100 + 60 * minute, MOTION, Condition::Active);
    }
    let cause = Cause::Trigger(MOTION.to_owned());
    let standing = camera.alarms.standing();
    assert_eq!(standing, Standing::Alarm { cause: &cause, kept_by: Some(cause.clone()) });
    camera.told(40_000, MOTION, Condition::Inactive);
    assert_eq!(camera.alarms.standing(), Standing::Alarm { cause: &cause, kept_by: None });
    camera.run_to(100_000);
    assert_eq!(camera.take(), [(100, "begin"), (40_030, "end")]);
}

#[test]
fn what_ends_while_another_lasts_ends_nothing_and_what_never_began_begins_nothing() {
    let mut camera = Watched::new();
    camera.told(90, "input", Condition::Inactive);
    camera.told(100, "input", Condition::Active);
    camera.told(110, MOTION, Condition::Active);
    camera.told(120, "input", Condition::Inactive);
    camera.run_to(500);
    assert_eq!(camera.take(), [(100, "begin")]);
    camera.told(500, MOTION, Condition::Inactive);
    camera.run_to(1_000);
    assert_eq!(camera.take(), [(530, "end")]);
}

#[test]
fn a_call_lasts_as_long_as_it_says_but_not_for_ever_and_a_shorter_one_does_not_cut_it() {
    let mut camera = Watched::new();
    camera.raised(100, secs(600));
    camera.raised(200, secs(10));
    camera.raised(300, Duration::ZERO);
    camera.run_to(2_000);
    assert_eq!(camera.take(), [(100, "begin"), (730, "end")]);
    camera.raised(2_000, Duration::MAX);
    camera.run_to(2_000 + 10 * 86_400);
    assert_eq!(camera.take(), [(2_000, "begin"), (2_000 + 86_400 + 30, "end")]);
}

#[test]
fn a_camera_whose_triggers_cannot_be_heard_is_recorded() {
    let mut camera = Watched::new();
    camera.event(100, Event::Unheard);
    camera.event(200, Event::Unheard);
    assert_eq!(
        camera.alarms.standing(),
        Standing::Alarm { cause: &Cause::Unheard, kept_by: Some(Cause::Unheard) }
    );
    camera.run_to(10_000);
    camera.event(10_000, Event::Heard);
    camera.event(10_010, Event::Heard);
    camera.run_to(20_000);
    assert_eq!(camera.take(), [(100, "begin"), (10_030, "end")]);
}

/// The end of a state may be what was not heard.
#[test]
fn a_state_that_lasted_before_the_silence_counts_only_if_it_is_told_again() {
    let mut camera = Watched::new();
    camera.told(100, MOTION, Condition::Active);
    camera.told(101, "input", Condition::Active);
    camera.event(200, Event::Unheard);
    camera.event(300, Event::Heard);
    camera.told(302, MOTION, Condition::Active);
    camera.run_to(1_000);
    assert_eq!(camera.take(), [(100, "begin")], "motion was told again");
    camera.told(1_000, MOTION, Condition::Inactive);
    camera.run_to(2_000);
    assert_eq!(camera.take(), [(1_030, "end")]);

    camera.told(2_000, MOTION, Condition::Active);
    camera.event(2_100, Event::Unheard);
    camera.event(2_200, Event::Heard);
    camera.run_to(3_000);
    let end = 2_200 + TOLD_AGAIN_MAX.as_secs() + POST.as_secs();
    assert_eq!(camera.take(), [(2_000, "begin"), (end, "end")]);
}

#[test]
fn a_start_in_the_middle_of_an_alarm_is_an_alarm() {
    let mut alarms = Alarms::new(at(1_000), POST);
    assert_eq!(alarms.standing(), Standing::Alarm { cause: &Cause::Started, kept_by: None });
    let mut out = Vec::new();
    alarms.handle(at(1_000), Event::Unheard, &mut out);
    alarms.handle(at(1_003), Event::Heard, &mut out);
    // What lasts is told to who begins to listen.
    let motion = Event::Told { name: MOTION.to_owned(), condition: Condition::Active };
    alarms.handle(at(1_003), motion, &mut out);
    alarms.timeout(at(9_000), &mut out);
    assert!(out.is_empty(), "the recording that runs goes on: {out:?}");
    let over = Event::Told { name: MOTION.to_owned(), condition: Condition::Inactive };
    alarms.handle(at(9_000), over, &mut out);
    alarms.timeout(at(9_030), &mut out);
    let ended = Ended { cause: Cause::Started, lasted: secs(8_030), triggers: 2 };
    assert_eq!(out, [Action::End(ended)]);
}

/// More names than any camera has, each of which says that it lasts and never that it ended.
#[test]
fn a_storm_of_triggers_is_one_alarm_and_takes_no_more_than_so_much_memory() {
    let mut camera = Watched::new();
    for number in 0..50_000_u64 {
        camera.told(100 + number / 500, &format!("object {number}"), Condition::Active);
    }
    assert_eq!(camera.alarms.active.len(), ACTIVE_MAX);
    for number in 0..50_000_u64 {
        camera.told(200 + number / 500, &format!("object {number}"), Condition::Inactive);
    }
    camera.run_to(1_000);
    assert_eq!(camera.take().len(), 2);
    // Flickering for a day is one alarm, too.
    for second in 1_000..87_400 {
        let condition = if second % 2 == 0 { Condition::Active } else { Condition::Inactive };
        camera.told(second, MOTION, condition);
    }
    camera.run_to(100_000);
    assert_eq!(camera.take(), [(1_000, "begin"), (87_429, "end")]);
}

#[test]
fn a_late_look_ends_an_alarm_before_the_trigger_that_came_behind_it() {
    let mut alarms = Alarms::new(at(0), POST);
    let mut out = Vec::new();
    // Nobody looked for an hour: the machine slept, or was stopped.
    let moment = Event::Told { name: "line".to_owned(), condition: Condition::Momentary };
    alarms.handle(at(3_600), moment, &mut out);
    let began = Action::Begin(Cause::Trigger("line".to_owned()));
    assert!(matches!(&out[..], [Action::End(_), begun] if *begun == began), "{out:?}");
}

#[test]
fn another_time_behind_holds_for_the_alarm_that_runs() {
    let mut camera = Watched::new();
    camera.told(100, "line", Condition::Momentary);
    camera.alarms.set_post(secs(5));
    camera.run_to(200);
    assert_eq!(camera.take(), [(100, "begin"), (105, "end")]);
}
