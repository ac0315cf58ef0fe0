//! Tells of a line that fails while the node runs: a bundle carries on without it, so that nobody would notice before the next.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::{Duration, Instant};

use keepwatch_interfaces::Interfaces;
use keepwatch_model::{EventCode, Subject};
use keepwatch_recorder::Node;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::{Kind, faults};
use crate::config::InterfaceTable;

/// Between two looks: a few small files of the kernel each.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// Looks at the lines of a running node until it is dropped.
pub(crate) struct LineWatch {
    tables: watch::Sender<Vec<InterfaceTable>>,
    task: AbortHandle,
}

impl LineWatch {
    /// Looks at the interfaces that the configuration names, and tells `node`.
    pub(crate) fn start(node: Node, tables: Vec<InterfaceTable>) -> Self {
        let (tables, read) = watch::channel(tables);
        let task = tokio::spawn(look_on(node, read)).abort_handle();
        Self { tables, task }
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

async fn look_on(node: Node, tables: watch::Receiver<Vec<InterfaceTable>>) {
    let mut told = Told::default();
    let mut ticks = interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let tables = tables.borrow().clone();
        let looked = tokio::task::spawn_blocking(move || failures(&tables, &Interfaces::default()));
        let Ok(failures) = looked.await else { return };
        for (code, text) in told.news(Instant::now(), failures) {
            if code == EventCode::LineFailed {
                warn!(%code, "{text}");
            } else {
                info!(%code, "{text}");
            }
            node.add_event(code, Subject::Node, text);
        }
    }
}

/// What fails now, each with what to do; how the lines are set up is for `keepwatch check`.
pub(super) fn failures(tables: &[InterfaceTable], interfaces: &Interfaces) -> BTreeMap<String, String> {
    let all = faults(tables, interfaces).into_iter();
    all.filter(|fault| fault.kind != Kind::Setup).map(|fault| (fault.what, fault.remedy)).collect()
}

/// What was told of, and since when it fails.
#[derive(Debug, Default)]
struct Told(BTreeMap<String, Instant>);

impl Told {
    /// What changed since the last look.
    fn news(&mut self, now: Instant, failures: BTreeMap<String, String>) -> Vec<(EventCode, String)> {
        let mut news = Vec::new();
        self.0.retain(|what, since| {
            let goes_on = failures.contains_key(what);
            if !goes_on {
                let seconds = now.duration_since(*since).as_secs();
                news.push((
                    EventCode::LineReturned,
                    format!("no longer: {what} (it was so for {seconds} s)"),
                ));
            }
            goes_on
        });
        for (what, remedy) in failures {
            if let Entry::Vacant(place) = self.0.entry(what) {
                news.push((EventCode::LineFailed, format!("{}; {remedy}", place.key())));
                place.insert(now);
            }
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_once_and_its_end_too() {
        let mut told = Told::default();
        let begun = Instant::now();
        let failing = |names: &[&str]| -> BTreeMap<String, String> {
            names
                .iter()
                .map(|name| (format!("vin: the link {name} is down"), "look at it".to_owned()))
                .collect()
        };
        assert_eq!(told.news(begun, failing(&[])), []);
        let first = (EventCode::LineFailed, "vin: the link eno1 is down; look at it".to_owned());
        assert_eq!(told.news(begun, failing(&["eno1"])), [first]);
        assert_eq!(told.news(begun, failing(&["eno1"])), [], "it goes on");
        let later = begun + Duration::from_secs(70);
        assert_eq!(
            told.news(later, failing(&["eno2"])),
            [
                (
                    EventCode::LineReturned,
                    "no longer: vin: the link eno1 is down (it was so for 70 s)".to_owned()
                ),
                (EventCode::LineFailed, "vin: the link eno2 is down; look at it".to_owned()),
            ]
        );
    }
}
