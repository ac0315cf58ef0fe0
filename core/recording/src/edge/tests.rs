//! The machine against a node whose cameras, storages and line are played by the test.

mod sim;

use keepwatch_model::{SpanSet, StreamId, TICKS_PER_SECOND, WallTime};
use proptest::prelude::*;

use super::*;

const RECORD_BYTES: u64 = 500_000;
/// From sending a record to its being on a disk outside.
const FLIGHT: Duration = Duration::from_millis(200);

fn second(second: i64) -> WallTime {
    WallTime::from_ticks(second * TICKS_PER_SECOND)
}

fn span(from: i64, to: i64) -> Span {
    Span { from: second(from), to: second(to) }
}

/// A node with cameras that close a record each second. The clocks agree: second n of footage is recorded at n.
struct Node {
    machine: Edge,
    now: MonoTime,
    lines: Vec<StreamKey>,
    recorded: i64,
    /// Where records are put, and how long memory keeps them.
    writes_to: Place,
    tail_s: i64,
    /// What each storage has, and what is outside.
    internal: SpanSet,
    second: SpanSet,
    memory: SpanSet,
    outside: Vec<SpanSet>,
    flying: Vec<(MonoTime, usize, Span)>,
    /// The line to the outside is cut.
    cut: bool,
    lost: Vec<(usize, Span)>,
    sent: Vec<(MonoTime, usize, Send)>,
    told: Vec<Case>,
    twice: u32,
}

impl Node {
    fn new(lines: usize, limit: SpeedLimit) -> Self {
        let mut machine = Edge::new(Delay::default(), MonoTime::ZERO);
        let lines: Vec<StreamKey> =
            (0..lines).map(|line| (format!("cam{line}").parse().unwrap(), StreamId::MAIN)).collect();
        let mut out = Vec::new();
        for line in &lines {
            machine.handle(MonoTime::ZERO, Event::Line(*line, limit), &mut out);
        }
        let outside = vec![SpanSet::new(); lines.len()];
        let mut node = Self {
            machine,
            now: MonoTime::ZERO,
            lines,
            recorded: 0,
            writes_to: Place::Internal,
            tail_s: 0,
            internal: SpanSet::new(),
            second: SpanSet::new(),
            memory: SpanSet::new(),
            outside,
            flying: Vec::new(),
            cut: false,
            lost: Vec::new(),
            sent: Vec::new(),
            told: Vec::new(),
            twice: 0,
        };
        node.act(out);
        node.tell(Event::External { takes: true });
        node
    }

    fn tell(&mut self, event: Event) {
        let mut out = Vec::new();
        self.machine.handle(self.now, event, &mut out);
        self.act(out);
    }

    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send(key, send) => self.send(&key, send),
                Action::WriteTo(place) => self.writes_to = place,
                Action::Tell(case) => self.told.push(case),
                Action::Lost(key, span) => self.lost.push((self.number(&key), span)),
            }
        }
    }

    fn number(&self, key: &StreamKey) -> usize {
        self.lines.iter().position(|line| line == key).unwrap()
    }

    fn send(&mut self, key: &StreamKey, send: Send) {
        let line = self.number(key);
        let has = match send.place {
            Place::Memory => &self.memory,
            Place::Internal => &self.internal,
            Place::Second => &self.second,
        };
        let from = send.span.from;
        let record = Span { from, to: from.plus(TICKS_PER_SECOND) };
        if !has.contains(from) {
            self.tell(Event::Nothing { line: *key, span: send.span });
            return;
        }
        self.sent.push((self.now, line, send));
        self.flying.push((self.now + FLIGHT, line, record));
        self.tell(Event::Taken { line: *key, span: record, bytes: RECORD_BYTES });
    }

    /// Lets a second pass: a record is closed at its end.
    fn pass_second(&mut self) {
        let end = MonoTime::ZERO + Duration::from_secs(u64::try_from(self.recorded + 1).unwrap());
        loop {
            let arrival = self.flying.iter().map(|(at, ..)| *at).min();
            let due = self.machine.deadline().map(|(at, _)| at.max(self.now));
            let Some(next) = [arrival, due].into_iter().flatten().min().filter(|at| *at < end) else { break };
            self.now = next;
            if arrival == Some(next) {
                let place = self.flying.iter().position(|(at, ..)| *at == next).unwrap();
                let (_, line, span) = self.flying.remove(place);
                if !self.cut {
                    self.twice += u32::from(!self.outside[line].within(span).is_empty());
                    self.outside[line].insert(span);
                    self.tell(Event::Outside { line: self.lines[line], span });
                }
            } else {
                let mut out = Vec::new();
                self.machine.timeout(self.now, &mut out);
                assert!(
                    !out.is_empty() || self.machine.deadline().is_none_or(|(at, _)| at > self.now),
                    "it turns without end"
                );
                self.act(out);
            }
        }
        self.now = end;
        let record = span(self.recorded, self.recorded + 1);
        self.recorded += 1;
        match self.writes_to {
            Place::Internal => self.internal.insert(record),
            Place::Second => self.second.insert(record),
            Place::Memory => {}
        }
        if self.tail_s > 0 {
            self.memory.insert(record);
        }
        for line in self.lines.clone() {
            if self.tail_s > 0 {
                self.tell(Event::Recorded { line, place: Place::Memory, span: record });
            }
            if self.writes_to != Place::Memory {
                self.tell(Event::Recorded { line, place: self.writes_to, span: record });
            }
            let old = span(0, (self.recorded - self.tail_s).max(1));
            if self.tail_s > 0 && self.recorded > self.tail_s {
                self.memory.remove(old);
                self.tell(Event::GaveUp { line, place: Place::Memory, span: old });
            }
        }
    }

    fn pass(&mut self, seconds: i64) {
        for _ in 0..seconds {
            self.pass_second();
        }
    }

    fn cut(&mut self, cut: bool) {
        self.cut = cut;
        self.tell(Event::External { takes: !cut });
    }

    fn internal(&mut self, condition: Condition, replaced: bool) {
        if condition == Condition::Gone || replaced {
            self.internal = SpanSet::new();
        }
        self.tell(Event::Storage { place: Place::Internal, condition, replaced });
    }

    fn behind_s(&self) -> u64 {
        self.lines
            .iter()
            .filter_map(|line| self.machine.behind(self.now, line))
            .max()
            .map_or(0, |behind| behind.as_secs())
    }

    /// Seconds of a line that are not outside, the last `but` left out.
    fn missing(&self, line: usize, but: i64) -> Vec<Span> {
        self.outside[line].missing(span(0, self.recorded - but)).spans().to_vec()
    }
}

#[test]
fn the_relay_begins_100_s_behind_and_stays_there() {
    let mut node = Node::new(2, SpeedLimit::default());
    node.pass(100);
    assert!(node.sent.is_empty(), "{:?}", node.sent.first());
    node.pass(500);
    assert!((98..=101).contains(&node.behind_s()), "{} s", node.behind_s());
    assert_eq!((node.missing(0, 102), node.missing(1, 102)), (vec![], vec![]));
    assert!(node.sent.iter().all(|(_, _, send)| send.lane == Lane::Relay && send.place == Place::Internal));
    assert_eq!(node.told, [Case::Normal; 0]);
}

/// Until a gap is replenished it takes its length divided by the speed less one: the row of the requirement.
#[test]
fn a_cut_line_is_replenished_in_the_time_that_the_speed_gives() {
    for (percent, times) in [(150, 2.0), (200, 1.0), (500, 0.25)] {
        let mut node = Node::new(1, SpeedLimit { percent, bits_per_second: 0 });
        node.pass(300);
        node.cut(true);
        node.pass(120);
        assert_eq!(node.machine.case(), Case::ExternalAway);
        node.cut(false);
        let mut took = 0;
        // What it relays meanwhile is never beyond its window.
        while !node.missing(0, 122).is_empty() {
            node.pass(1);
            took += 1;
            assert!(node.behind_s() <= 121, "{} s behind after {took} s at {percent} %", node.behind_s());
            assert!(took < 1_000);
        }
        let expected = 120.0 * times;
        assert!(
            (f64::from(took) - expected).abs() <= expected * 0.1 + 3.0,
            "{took} s at {percent} %, not {expected}"
        );
        assert_eq!((node.twice, node.lost.len()), (0, 0));
        assert_eq!(node.told, [Case::ExternalAway, Case::Normal]);
    }
}

#[test]
fn the_newest_footage_leaves_first_when_the_line_is_back() {
    let mut node = Node::new(1, SpeedLimit { percent: 150, bits_per_second: 0 });
    node.pass(300);
    node.cut(true);
    node.pass(3_600);
    node.cut(false);
    node.sent.clear();
    node.pass(60);
    let relayed = node.sent.iter().filter(|(_, _, send)| send.lane == Lane::Relay).count();
    let replenished = node.sent.len() - relayed;
    assert!(relayed >= 58, "{relayed} records relayed in a minute");
    assert!((25..=36).contains(&replenished), "{replenished} replenished");
}

#[test]
fn at_100_percent_nothing_is_caught_up_and_at_0_nothing_leaves() {
    let mut node = Node::new(1, SpeedLimit { percent: 100, bits_per_second: 0 });
    node.pass(200);
    node.cut(true);
    node.pass(300);
    node.cut(false);
    node.pass(600);
    let missing: i64 = node.missing(0, 122).iter().map(|span| span.ticks() / TICKS_PER_SECOND).sum();
    assert!((280..=310).contains(&missing), "{missing} s");
    node.tell(Event::Line(node.lines[0], SpeedLimit { percent: 0, bits_per_second: 0 }));
    let sent = node.sent.len();
    node.pass(60);
    assert_eq!(node.sent.len(), sent);
    node.tell(Event::Line(node.lines[0], SpeedLimit { percent: 500, bits_per_second: 0 }));
    node.pass(300);
    assert_eq!(node.missing(0, 122), []);
}

#[test]
fn a_card_that_can_only_be_read_is_drained_while_the_stream_leaves_directly() {
    let mut node = Node::new(1, SpeedLimit::default());
    node.tail_s = 130;
    node.pass(300);
    node.cut(true);
    node.pass(600);
    node.cut(false);
    node.internal(Condition::ReadOnly, false);
    assert_eq!((node.machine.case(), node.writes_to), (Case::LocalReadOnly, Place::Memory));
    node.pass(900);
    assert!(node.behind_s() <= 2, "directly: {} s behind", node.behind_s());
    assert_eq!((node.missing(0, 3), node.lost.len(), node.twice), (vec![], 0, 0));
    node.internal(Condition::Writable, true);
    assert_eq!((node.machine.case(), node.writes_to), (Case::Normal, Place::Internal));
    node.pass(300);
    assert!((98..=101).contains(&node.behind_s()), "with its delay again: {} s", node.behind_s());
    assert_eq!((node.missing(0, 102), node.lost.len()), (vec![], 0));
}

#[test]
fn a_card_that_dies_alone_costs_nothing_while_memory_holds_the_delay() {
    let mut node = Node::new(1, SpeedLimit::default());
    node.tail_s = 130;
    node.pass(400);
    node.internal(Condition::Gone, false);
    assert_eq!(node.machine.case(), Case::LocalGone);
    node.pass(200);
    assert_eq!((node.missing(0, 3), node.lost.len()), (vec![], 0));
    node.internal(Condition::Writable, true);
    assert_eq!((node.told.clone(), node.lost.len()), (vec![Case::LocalGone, Case::Normal], 0));
}

#[test]
fn a_card_that_dies_with_footage_that_is_nowhere_else_names_just_that() {
    let mut node = Node::new(1, SpeedLimit::default());
    node.tail_s = 130;
    node.pass(300);
    node.cut(true);
    node.pass(600);
    node.internal(Condition::Gone, false);
    node.internal(Condition::Writable, true);
    let named = |node: &Node| node.lost.iter().map(|(_, span)| *span).collect::<SpanSet>();
    let lost = named(&node);
    // Outside was what was older than 100 s at the cut; memory has the last 130 s.
    assert_eq!(lost.spans().len(), 1, "{lost:?}");
    let [from, to] = [lost.spans()[0].from, lost.spans()[0].to].map(|label| label.ticks() / TICKS_PER_SECOND);
    assert!((198..=202).contains(&from) && (769..=772).contains(&to), "{from} to {to}");
    node.cut(false);
    node.pass(400);
    // What memory let go of before it had its turn is named as well.
    assert_eq!(node.missing(0, 102), named(&node).spans());
}

#[test]
fn a_second_storage_takes_over_and_is_drained_first_when_the_card_is_replaced() {
    let mut node = Node::new(1, SpeedLimit { percent: 200, bits_per_second: 0 });
    node.tell(Event::Storage { place: Place::Second, condition: Condition::Writable, replaced: false });
    node.pass(300);
    node.cut(true);
    node.pass(300);
    node.internal(Condition::ReadOnly, false);
    assert_eq!((node.machine.case(), node.writes_to), (Case::Second, Place::Second));
    node.pass(300);
    node.internal(Condition::Writable, false);
    assert_eq!(node.writes_to, Place::Internal, "the one of the higher priority wins back");
    node.pass(120);
    node.sent.clear();
    node.cut(false);
    node.pass(900);
    let places: Vec<Place> = node
        .sent
        .iter()
        .filter(|(_, _, send)| send.lane == Lane::Replenishment)
        .map(|(_, _, send)| send.place)
        .collect();
    let last_of_second = places.iter().rposition(|place| *place == Place::Second).unwrap();
    let first_of_internal = places.iter().position(|place| *place == Place::Internal).unwrap();
    assert!(last_of_second < first_of_internal, "the second storage is drained first");
    assert_eq!((node.missing(0, 102), node.lost.len(), node.twice), (vec![], 0, 0));
}

#[test]
fn the_throttle_of_the_node_leaves_the_relay_of_every_line_what_it_needs() {
    let mut node = Node::new(4, SpeedLimit { percent: 500, bits_per_second: 0 });
    // Four lines of 4 Mbit/s, and 24 for all.
    node.tell(Event::Throttle(24_000_000));
    node.pass(200);
    node.cut(true);
    node.pass(300);
    node.cut(false);
    node.sent.clear();
    node.pass(200);
    for line in 0..4 {
        let relayed =
            node.sent.iter().filter(|(_, of, send)| *of == line && send.lane == Lane::Relay).count();
        assert!(relayed >= 195, "line {line} relayed {relayed} records in 200 s");
    }
    let bits = node.sent.len() as u64 * RECORD_BYTES * 8 / 200;
    assert!(bits.abs_diff(24_000_000) < 1_500_000, "{bits} bit/s");
    assert!(node.behind_s() <= 121);
}

#[test]
fn what_was_recorded_before_a_restart_is_replenished() {
    let mut node = Node::new(1, SpeedLimit::default());
    node.internal.insert(span(-600, 0));
    node.tell(Event::Found { line: node.lines[0], place: Place::Internal, span: span(-600, 0) });
    node.pass(800);
    assert!(node.outside[0].missing(span(-600, 690)).is_empty());
}

#[test]
fn a_record_that_is_not_where_it_was_thought_to_be_is_named_and_holds_up_nothing() {
    let mut node = Node::new(1, SpeedLimit::default());
    node.pass(50);
    node.internal.remove(span(20, 25));
    node.pass(200);
    let lost: SpanSet = node.lost.iter().map(|(_, span)| *span).collect();
    assert_eq!(lost.spans(), [span(20, 25)]);
    assert_eq!(node.missing(0, 102), [span(20, 25)]);
}

#[test]
fn what_was_on_its_way_when_its_card_was_replaced_is_lost_only_if_it_did_not_arrive() {
    let line = ("cam0".parse().unwrap(), StreamId::MAIN);
    let (sent, taken) = (span(0, 1), MonoTime::ZERO + Duration::from_secs(101));
    let card = |replaced| Event::Storage { place: Place::Internal, condition: Condition::Writable, replaced };
    for arrives in [true, false] {
        let (mut machine, mut out) = (Edge::new(Delay::default(), MonoTime::ZERO), Vec::new());
        let mut tell = |event| machine.handle(taken, event, &mut out);
        tell(Event::Line(line, SpeedLimit::default()));
        tell(Event::External { takes: true });
        tell(Event::Found { line, place: Place::Internal, span: sent });
        tell(Event::Taken { line, span: sent, bytes: RECORD_BYTES });
        tell(Event::External { takes: false });
        tell(card(true));
        if arrives {
            tell(Event::Outside { line, span: sent });
        }
        tell(Event::External { takes: true });
        let lost: Vec<&Action> = out.iter().filter(|action| matches!(action, Action::Lost(..))).collect();
        let named = Action::Lost(line, sent);
        assert_eq!(lost, if arrives { vec![] } else { vec![&named] });
    }
}

#[test]
fn a_data_rate_below_that_of_the_camera_is_left_by_stopping_and_resuming() {
    let mut node = Node::new(1, SpeedLimit { percent: 200, bits_per_second: 2_000_000 });
    node.pass(600);
    assert!(!node.missing(0, 122).is_empty());
    for percent in [0, 200] {
        node.tell(Event::Line(node.lines[0], SpeedLimit { percent, bits_per_second: 0 }));
    }
    node.pass(500);
    assert_eq!((node.missing(0, 122), node.twice), (vec![], 0));
}

#[derive(Clone, Debug)]
enum Fate {
    Pass(u8),
    Cut(bool),
    Internal(u8),
    Second(u8),
    Speed(u8),
    Throttle(u32),
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        4 => (1..120u8).prop_map(Fate::Pass),
        2 => any::<bool>().prop_map(Fate::Cut),
        1 => (0..3u8).prop_map(Fate::Internal),
        1 => (0..2u8).prop_map(Fate::Second),
        1 => (0..6u8).prop_map(Fate::Speed),
        1 => (8..64u32).prop_map(Fate::Throttle),
    ];
    prop::collection::vec(fate, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever fails and returns, as long as a storage is not lost with its footage: all of it is outside in the end, none of it
    /// was sent twice while the line held, and the relay is back in its window.
    #[test]
    fn all_that_is_kept_is_outside_in_the_end(fates in fates()) {
        let mut node = Node::new(2, SpeedLimit::default());
        node.tell(Event::Storage { place: Place::Second, condition: Condition::Writable, replaced: false });
        for fate in fates {
            match fate {
                Fate::Pass(seconds) => node.pass(seconds.into()),
                Fate::Cut(cut) => node.cut(cut),
                // One of both takes records at any time.
                Fate::Internal(condition) => {
                    let condition = [Condition::Writable, Condition::ReadOnly, Condition::ReadOnly][usize::from(condition)];
                    if node.machine.second == Some(Condition::Writable) || condition == Condition::Writable {
                        node.internal(condition, false);
                    }
                }
                Fate::Second(condition) => {
                    let condition = [Condition::Writable, Condition::ReadOnly][usize::from(condition)];
                    if node.machine.internal == Condition::Writable || condition == Condition::Writable {
                        node.tell(Event::Storage { place: Place::Second, condition, replaced: false });
                    }
                }
                Fate::Speed(hundreds) => {
                    let limit = SpeedLimit { percent: u32::from(hundreds) * 100, bits_per_second: 0 };
                    for line in node.lines.clone() {
                        node.tell(Event::Line(line, limit));
                    }
                }
                Fate::Throttle(megabits) => node.tell(Event::Throttle(u64::from(megabits) * 1_000_000)),
            }
        }
        node.cut(false);
        node.tell(Event::Throttle(0));
        for line in node.lines.clone() {
            node.tell(Event::Line(line, SpeedLimit { percent: 500, bits_per_second: 0 }));
        }
        node.pass(node.recorded / 4 + 300);
        prop_assert_eq!((node.missing(0, 102), node.missing(1, 102)), (vec![], vec![]));
        prop_assert!(node.lost.is_empty(), "{:?}", node.lost);
        prop_assert!(node.behind_s() <= 121, "{} s", node.behind_s());
    }
}
