use super::*;
use proptest::prelude::*;

const NOW: MonoTime = MonoTime::from_nanos(1_000_000_000_000);

fn session_in(state: State) -> Session {
    let mut session = Session::new(7);
    session.state = state;
    session
}

fn states() -> [State; 5] {
    [
        State::Unwanted,
        State::Waiting { until: NOW + BACKOFF_MAX },
        State::Connecting { since: NOW },
        State::Connected { since: NOW },
        State::Recording { durable: NOW },
    ]
}

fn name(state: State) -> &'static str {
    match state {
        State::Unwanted => "unwanted",
        State::Waiting { .. } => "waiting",
        State::Connecting { .. } => "connecting",
        State::Connected { .. } => "connected",
        State::Recording { .. } => "recording",
    }
}

const EVENTS: [Event; 7] = [
    Event::Wanted,
    Event::Unwanted,
    Event::Connected,
    Event::Durable,
    Event::KeyFrameMissing,
    Event::StoreRefused(GapReason::DiskSlow),
    Event::Ended(GapReason::ConnectionRefused),
];

/// Every pair of state and event: the state after it.
#[test]
fn transition_table_is_exhaustive_and_correct() {
    let expected = [
        ["connecting", "unwanted", "unwanted", "unwanted", "unwanted", "unwanted", "unwanted"],
        ["waiting", "unwanted", "waiting", "waiting", "waiting", "waiting", "waiting"],
        ["connecting", "unwanted", "connected", "connecting", "connecting", "connecting", "waiting"],
        ["connected", "unwanted", "connected", "recording", "connected", "connected", "waiting"],
        ["recording", "unwanted", "recording", "recording", "recording", "connected", "waiting"],
    ];
    for (state, row) in states().into_iter().zip(expected) {
        for (event, after) in EVENTS.into_iter().zip(row) {
            let mut session = session_in(state);
            session.handle(NOW, event, &mut Vec::new());
            assert_eq!(name(session.state()), after, "{state:?} on {event:?}");
        }
    }
}

#[test]
fn dials_for_ever_with_waits_that_grow_to_a_bound() {
    let mut session = Session::new(3);
    let mut out = Vec::new();
    let mut now = NOW;
    session.handle(now, Event::Wanted, &mut out);
    let mut waits = Vec::new();
    for _ in 0..100 {
        session.handle(now, Event::Ended(GapReason::ConnectionLost), &mut out);
        let (at, _) = session.deadline().unwrap();
        waits.push(at.since(now));
        now = at;
        session.timeout(now, &mut out);
        assert_eq!(session.state(), State::Connecting { since: now });
    }
    assert!(waits[0] <= BACKOFF_MIN);
    assert!(waits[99] >= BACKOFF_MAX * 3 / 4 && waits[99] <= BACKOFF_MAX);
    assert_eq!(out.iter().filter(|action| **action == Action::Connect).count(), 101);
    assert_eq!(out.iter().filter(|action| matches!(action, Action::Missing(_))).count(), 1, "told once");
}

/// Many cameras lock an account after five failures in a row or in some minutes.
#[test]
fn a_refused_login_is_tried_seldom() {
    let mut session = Session::new(3);
    let mut out = Vec::new();
    let mut now = NOW;
    session.handle(now, Event::Wanted, &mut out);
    for _ in 0..10 {
        session.handle(now, Event::Ended(GapReason::LoginRefused), &mut out);
        now = session.deadline().unwrap().0;
        session.timeout(now, &mut out);
    }
    assert_eq!(out.iter().filter(|action| **action == Action::Connect).count(), 11);
    assert!(now.since(NOW) > Duration::from_secs(600));
}

#[test]
fn a_connected_camera_whose_pictures_do_not_reach_the_disk_is_not_trusted() {
    let mut session = session_in(State::Recording { durable: NOW });
    let mut out = Vec::new();
    let (at, why) = session.deadline().unwrap();
    assert_eq!((at, why), (NOW + SILENCE_MAX, "nothing durable"));
    session.timeout(at, &mut out);
    assert_eq!(
        out,
        [Action::Disconnect(Some(GapReason::CameraSilent)), Action::Missing(GapReason::CameraSilent)]
    );
}

/// One picture in ten seconds: each is in a record of its own, closed a second and a half after it came.
#[test]
fn a_camera_with_one_picture_in_ten_seconds_is_not_hung_up() {
    let mut session = session_in(State::Connected { since: NOW });
    let mut out = Vec::new();
    for picture in 1..20_u64 {
        let early_or_late = Duration::from_millis(300 * (picture % 2));
        let durable = NOW + Duration::from_millis(10_000 * picture + 1_600) + early_or_late;
        session.timeout(durable, &mut out);
        session.handle(durable, Event::Durable, &mut out);
    }
    assert_eq!(out, [Action::Recording]);
}

#[test]
fn a_slow_disk_does_not_cost_the_connection() {
    let mut session = session_in(State::Recording { durable: NOW });
    let mut out = Vec::new();
    let mut now = NOW;
    for _ in 0..60 {
        now = now + Duration::from_secs(1);
        session.handle(now, Event::StoreRefused(GapReason::DiskSlow), &mut out);
        session.timeout(now, &mut out);
    }
    assert_eq!(out, [Action::Missing(GapReason::DiskSlow)]);
    session.handle(now, Event::Durable, &mut out);
    assert_eq!(out.last(), Some(&Action::Recording));
}

proptest! {
    /// Whatever happens in whatever order: wanted means a deadline, a connection is hung up before the next dial,
    /// and hanging up never happens without a dial before it.
    #[test]
    fn never_dials_twice_and_never_stops_trying(steps in prop::collection::vec((0usize..8, 0u64..20_000), 0..200)) {
        let mut session = Session::new(11);
        let mut now = NOW;
        let mut dialled = false;
        let mut wanted = false;
        for (step, millis) in steps {
            now = now + Duration::from_millis(millis);
            let mut out = Vec::new();
            match EVENTS.get(step) {
                Some(event) => {
                    wanted = *event == Event::Wanted || (wanted && *event != Event::Unwanted);
                    // The shell reports an end only of what it dialled.
                    if matches!(event, Event::Ended(_)) && !dialled { continue; }
                    session.handle(now, *event, &mut out);
                    if matches!(event, Event::Ended(_)) { dialled = false; }
                }
                None => session.timeout(now, &mut out),
            }
            for action in out {
                match action {
                    Action::Connect => { prop_assert!(!dialled); dialled = true; }
                    Action::Disconnect(_) => { prop_assert!(dialled); dialled = false; }
                    Action::Missing(_) | Action::NotWanted | Action::Recording => {}
                }
            }
            prop_assert_eq!(session.deadline().is_some(), wanted);
        }
    }
}
