//! Tells of a line that fails while the node runs: a bundle carries on without it, so that nobody would notice before the next.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use keepwatch_interfaces::Interfaces;
use keepwatch_model::{EventCode, Subject};
use keepwatch_recorder::Node;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use super::{Kind, Line, Look, look, rate_for_cameras};
use crate::config::{InterfaceTable, Part};

/// Between two looks: a few small files of the kernel each.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// Looks at the lines of a running node until it is dropped.
pub(crate) struct LineWatch {
    tables: watch::Sender<Vec<InterfaceTable>>,
    camera_rate: watch::Receiver<Option<u64>>,
    task: AbortHandle,
}

impl LineWatch {
    /// Looks at the interfaces that the configuration names, and tells `node`.
    pub(crate) fn start(node: Node, tables: Vec<InterfaceTable>) -> Self {
        let (tables, read) = watch::channel(tables);
        let (rate, camera_rate) = watch::channel(None);
        let task = tokio::spawn(look_on(node, read, rate)).abort_handle();
        Self { tables, camera_rate, task }
    }

    /// What the lines carry at present that cameras come in by, in bits per second; `None` while that is not known.
    pub(crate) fn camera_rate(&self) -> watch::Receiver<Option<u64>> {
        self.camera_rate.clone()
    }

    /// The configuration names others.
    pub(crate) fn look_at(&self, tables: Vec<InterfaceTable>) {
        self.tables.send_replace(tables);
    }
}

impl Drop for LineWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn look_on(
    node: Node,
    tables: watch::Receiver<Vec<InterfaceTable>>,
    camera_rate: watch::Sender<Option<u64>>,
) {
    let mut told = Told::default();
    let mut ticks = interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let tables = tables.borrow().clone();
        let looked = tokio::task::spawn_blocking(move || {
            let interfaces = Interfaces::default();
            (State::of(&tables, &interfaces), rate_for_cameras(&tables, &interfaces))
        });
        let state = match looked.await {
            Ok((state, rate)) => {
                camera_rate.send_if_modified(|known| std::mem::replace(known, rate) != rate);
                state
            }
            Err(error) if error.is_panic() => {
                error!(%error, "the lines of this node could not be looked at");
                continue;
            }
            // The runtime ends.
            Err(_) => return,
        };
        for (code, text) in told.news(Instant::now(), state) {
            if code == EventCode::LineFailed {
                warn!(%code, "{text}");
            } else {
                info!(%code, "{text}");
            }
            node.add_event(code, Subject::Node, text);
        }
    }
}

/// How the lines are.
#[derive(Debug, Default)]
pub(super) struct State {
    /// What fails, line by line, each with what to do; how the lines are set up is for `keepwatch check`.
    pub(super) failures: BTreeMap<Line, BTreeMap<String, String>>,
    /// Those that are there.
    seen: BTreeSet<Line>,
    /// What the configuration names.
    named: BTreeSet<(Part, String)>,
}

impl State {
    pub(super) fn of(tables: &[InterfaceTable], interfaces: &Interfaces) -> Self {
        let Look { faults, seen } = look(tables, interfaces);
        let named = tables.iter().map(|table| (table.part, table.interface.get_ref().clone()));
        let mut state = Self { failures: BTreeMap::new(), seen, named: named.collect() };
        for fault in faults.into_iter().filter(|fault| fault.kind != Kind::Setup) {
            state.failures.entry(fault.line).or_default().insert(fault.what, fault.remedy);
        }
        state
    }
}

/// The lines that were told of.
#[derive(Debug, Default)]
struct Told(BTreeMap<Line, Failing>);

/// A line that fails.
#[derive(Debug)]
struct Failing {
    since: Instant,
    /// What was told of it and is still so.
    what: BTreeSet<String>,
}

impl Told {
    /// What changed since the last look. A line returns when nothing of it fails: neither when it fails otherwise, nor when it is
    /// not there to be looked at, nor when nobody asks for it any more.
    fn news(&mut self, now: Instant, mut state: State) -> Vec<(EventCode, String)> {
        let mut news = Vec::new();
        self.0.retain(|line, failing| {
            if state.failures.contains_key(line) || !state.seen.contains(line) {
                return state.named.contains(&(line.part, line.interface.clone()));
            }
            let seconds = now.duration_since(failing.since).as_secs();
            let what: Vec<&str> = failing.what.iter().map(String::as_str).collect();
            let text = format!("no longer: {} (it failed for {seconds} s)", what.join("; "));
            news.push((EventCode::LineReturned, text));
            false
        });
        for (line, failures) in std::mem::take(&mut state.failures) {
            let failing = self.0.entry(line).or_insert_with(|| Failing { since: now, what: BTreeSet::new() });
            failing.what.retain(|what| failures.contains_key(what));
            for (what, remedy) in failures {
                if failing.what.insert(what.clone()) {
                    news.push((EventCode::LineFailed, format!("{what}; {remedy}")));
                }
            }
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str) -> Line {
        Line { part: Part::Vin, interface: "bond0".to_owned(), name: name.to_owned() }
    }

    /// A bundle of two links and what fails of them.
    fn state(failures: &[(&str, &str)]) -> State {
        let mut state = State {
            failures: BTreeMap::new(),
            seen: ["bond0", "eno1", "eno2"].map(line).into(),
            named: [(Part::Vin, "bond0".to_owned())].into(),
        };
        for (name, what) in failures {
            let of_line = state.failures.entry(line(name)).or_default();
            of_line.insert(format!("VIN: {name} {what}"), "look at it".to_owned());
        }
        state
    }

    fn failed(text: &str) -> (EventCode, String) {
        (EventCode::LineFailed, format!("VIN: {text}; look at it"))
    }

    fn returned(text: &str, seconds: u64) -> (EventCode, String) {
        (EventCode::LineReturned, format!("no longer: VIN: {text} (it failed for {seconds} s)"))
    }

    #[test]
    fn a_failure_is_told_once_and_its_end_too() {
        let mut told = Told::default();
        let begun = Instant::now();
        assert_eq!(told.news(begun, state(&[])), []);
        assert_eq!(told.news(begun, state(&[("eno1", "is down")])), [failed("eno1 is down")]);
        assert_eq!(told.news(begun, state(&[("eno1", "is down")])), [], "it goes on");
        let later = begun + Duration::from_secs(70);
        let news = told.news(later, state(&[("eno2", "is down")]));
        assert_eq!(news, [returned("eno1 is down", 70), failed("eno2 is down")]);
    }

    #[test]
    fn a_line_that_gets_worse_has_not_returned() {
        let mut told = Told::default();
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!(told.news(begun, state(&[("eno1", "is slow")])), [failed("eno1 is slow")]);
        assert_eq!(told.news(at(10), state(&[("eno1", "is down")])), [failed("eno1 is down")]);
        assert_eq!(told.news(at(20), state(&[("eno1", "is slow")])), [failed("eno1 is slow")]);
        assert_eq!(told.news(at(30), state(&[])), [returned("eno1 is slow", 30)]);
    }

    #[test]
    fn a_line_that_cannot_be_looked_at_has_not_returned_and_one_that_nobody_names_is_forgotten() {
        let mut told = Told::default();
        let now = Instant::now();
        assert_eq!(told.news(now, state(&[("eno1", "is down")])), [failed("eno1 is down")]);
        // All of the bundle is gone.
        let mut gone = state(&[("bond0", "is not there")]);
        gone.seen.clear();
        assert_eq!(told.news(now, gone), [failed("bond0 is not there")]);
        let back = told.news(now, state(&[("eno1", "is down")]));
        assert_eq!(back, [returned("bond0 is not there", 0)], "the link is as it was");
        assert_eq!(told.news(now, State::default()), [], "the configuration names none");
        assert_eq!(told.news(now, state(&[])), []);
    }
}
