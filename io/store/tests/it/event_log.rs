//! The event log: pages, order, restarts.

use keepwatch_model::{Event, EventCode, Subject, WallTime};
use keepwatch_store::{EventLog, EventQuery};

use crate::site::{Site, at, camera};

fn event(second: i64) -> Event {
    let subjects = [
        Subject::Node,
        Subject::Camera(camera("north")),
        Subject::Disk("/srv/disk one".to_owned()),
        Subject::User("admin".to_owned()),
    ];
    let subject = subjects[usize::try_from(second % 4).unwrap()].clone();
    Event { at: at(second), code: EventCode::DiskSlow, subject, text: format!("event {second}") }
}

fn all(log: &EventLog, newest_first: bool, limit: usize) -> Vec<Event> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let query = EventQuery { from: at(10), to: at(90), newest_first, after, limit };
        let page = log.page(&query).unwrap();
        found.extend(page.items.into_iter().map(|(_, event)| event));
        match page.next {
            Some(next) => after = Some(next),
            None => return found,
        }
    }
}

#[test]
fn pages_hold_every_event_once_in_both_orders() {
    let site = Site::new();
    let log = EventLog::open(&site.data()).unwrap();
    // Not in the order of their times, and several at the same time.
    for second in (0..100).rev().chain(20..30) {
        assert!(log.append(event(second)));
    }
    log.flush();
    let mut expected: Vec<i64> = (10..90).chain(20..30).collect();
    expected.sort_unstable();
    let seconds =
        |events: Vec<Event>| events.iter().map(|event| event.at.ticks() / 90_000).collect::<Vec<_>>();
    for limit in [1, 7, 90, 1_000] {
        assert_eq!(seconds(all(&log, false, limit)), expected);
        let backwards: Vec<i64> = expected.iter().rev().copied().collect();
        assert_eq!(seconds(all(&log, true, limit)), backwards);
    }
}

#[test]
fn events_survive_a_restart_as_they_were() {
    let site = Site::new();
    let log = EventLog::open(&site.data()).unwrap();
    (0..8).for_each(|second| assert!(log.append(event(second))));
    drop(log); // Writes what is queued.
    let log = EventLog::open(&site.data()).unwrap();
    let query =
        EventQuery { from: WallTime::MIN, to: WallTime::MAX, newest_first: false, after: None, limit: 100 };
    let found: Vec<Event> = log.page(&query).unwrap().items.into_iter().map(|(_, event)| event).collect();
    assert_eq!(found, (0..8).map(event).collect::<Vec<_>>());
}

#[test]
fn a_damaged_log_does_not_keep_a_node_from_starting() {
    let site = Site::new();
    std::fs::create_dir_all(site.data()).unwrap();
    std::fs::write(site.data().join("events.db"), [0x55; 5_000]).unwrap();
    let log = EventLog::open(&site.data()).unwrap();
    assert!(log.append(event(1)));
    assert!(site.data().join("events.db.damaged").exists());
}
