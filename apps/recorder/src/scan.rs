//! Looking for cameras in the network: what to look for, ids for what is found, and the one scan of a node that the
//! console sees.
//!
//! What is found is a claim of strangers: it is bounded by the scan itself, and nothing is connected to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use keepwatch_model::{CameraId, WallTime};
use keepwatch_onvif::discovery::{self, AddressRange, Findings, Found, ScanProgress, Unreachable};

use crate::searches::{Notes, Searches, Stopped};

/// Longest id that is made of a name, in characters, which leaves four of an id's 31 for a number.
const ID_CHARACTERS_MAX: usize = 26;

/// Most cameras that are listed while a scan runs; it keeps fewer than twice as many itself.
const FOUND_MAX: usize = 4096;

/// What is asked for: who names addresses wants these asked; the rest of the network where that is wanted, too.
pub fn options(
    interfaces: Vec<String>,
    ranges: Vec<AddressRange>,
    time: Duration,
    port: u16,
) -> discovery::ScanOptions {
    let everywhere = ranges.is_empty() || !interfaces.is_empty();
    discovery::ScanOptions { interfaces: everywhere.then_some(interfaces), ranges, time, port }
}

/// Gives ids to what was found, each once.
#[derive(Debug, Default)]
pub struct SuggestedIds {
    taken: BTreeSet<String>,
    /// The least number that may be free behind a name: thousands of strangers may say that they have the same.
    next: BTreeMap<String, u64>,
}

impl SuggestedIds {
    /// None of those that are `taken` is given.
    pub const fn beside(taken: BTreeSet<String>) -> Self {
        Self { taken, next: BTreeMap::new() }
    }

    /// An id for `device`, from its name or its hardware.
    pub fn suggest(&mut self, device: &Found) -> String {
        let mut id = base(device);
        if self.taken.contains(&id) {
            let next = self.next.entry(id.clone()).or_insert(2);
            let mut numbered = (*next..).map(|number| (number, format!("{id}-{number}")));
            let free = numbered.find(|(_, id)| !self.taken.contains(id));
            let (number, free) = free.expect("there are more numbers than cameras");
            *next = number.saturating_add(1);
            id = free;
        }
        self.taken.insert(id.clone());
        id
    }
}

/// What stands in an id before its number.
fn base(device: &Found) -> String {
    let source = if device.name.is_empty() { &device.hardware } else { &device.name };
    let mut base = String::new();
    for c in source.chars().take(ID_CHARACTERS_MAX) {
        if c.is_ascii_alphanumeric() {
            base.push(c.to_ascii_lowercase());
        } else if !base.is_empty() && !base.ends_with('-') {
            base.push('-');
        }
    }
    let base = base.trim_end_matches('-');
    let base = if base.parse::<CameraId>().is_ok() { base } else { "camera" };
    base.to_owned()
}

/// What a scan found until now.
#[derive(Clone, Debug, Default)]
pub(crate) struct FoundCameras {
    /// The cameras.
    pub(crate) cameras: Arc<Vec<Found>>,
    /// Single addresses that were asked, of how many.
    pub(crate) asked: (usize, usize),
    /// Who answered and is no camera; counted at the end.
    pub(crate) others: usize,
    /// What could not be searched, and why.
    pub(crate) failed: Vec<String>,
    /// Cameras that answered and have no address that can be configured; told at the end.
    pub(crate) unreachable: Vec<Unreachable>,
}

/// Begins a scan; `Err` with the number of the one that runs already. `clock` tells the time.
pub(crate) fn begin(
    scans: &Searches<FoundCameras>,
    wanted: discovery::ScanOptions,
    clock: impl Fn() -> WallTime + Send + 'static,
) -> Result<u64, u64> {
    scans.begin(clock, || {
        let all = wanted.ranges.iter().map(|range| range.addresses().count()).sum();
        let found = FoundCameras { asked: (0, all), ..FoundCameras::default() };
        (found, |notes, stopped| run(wanted, notes, stopped))
    })
}

async fn run(wanted: discovery::ScanOptions, notes: Notes<FoundCameras>, mut stopped: Stopped) {
    let cancelled = async move { stopped.wait().await };
    let found = discovery::scan(&wanted, cancelled, |told| match told {
        ScanProgress::Found(device) => notes.note(|found| {
            if found.cameras.len() < FOUND_MAX {
                Arc::make_mut(&mut found.cameras).push(device.clone());
            }
        }),
        ScanProgress::Asked { done, all } => notes.note(|found| found.asked = (done, all)),
    });
    let ended = found.await;
    notes.note(|found| match ended {
        Ok(Findings { devices, others, unreachable, counts: _, failed }) => {
            // What was heard of a device later is in the findings only.
            found.cameras = Arc::new(devices);
            found.unreachable = unreachable;
            found.others = others;
            found.failed =
                failed.into_iter().map(|(interface, error)| format!("{interface}: {error}")).collect();
        }
        Err(error) => found.failed.push(error.to_string()),
    });
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn device(name: &str, hardware: &str) -> Found {
        let address = "http://192.0.2.10/onvif/device_service".parse().unwrap();
        let silent = Found::silent("urn:uuid:1".to_owned(), address);
        Found { name: name.to_owned(), hardware: hardware.to_owned(), ..silent }
    }

    #[test]
    fn ids_are_their_own_and_can_be_written() {
        let mut ids = SuggestedIds::beside(["yard", "yard-2", "yard-4"].map(str::to_owned).into());
        let mut id_of = |name, hardware| ids.suggest(&device(name, hardware));
        assert_eq!(id_of("Yard", ""), "yard-3");
        assert_eq!(id_of("Yard 3", ""), "yard-3-2");
        assert_eq!(id_of("Yard", ""), "yard-5");
        assert_eq!(id_of("North Gate", ""), "north-gate");
        assert_eq!(id_of(" north  gate!", ""), "north-gate-2");
        assert_eq!(id_of("", "M3046-V"), "m3046-v");
        assert_eq!(id_of("門", ""), "camera");
        assert_eq!(id_of("", ""), "camera-2");
        let long = "x".repeat(100);
        for _ in 0..3 {
            assert!(id_of(&long, "").parse::<CameraId>().is_ok());
        }
    }

    #[test]
    fn devices_of_one_name_get_their_ids_in_time_that_grows_with_their_number_only() {
        let mut ids = SuggestedIds::default();
        let begun = Instant::now();
        // Looking through all numbers before would take more than a thousand million looks.
        let told = (0..50_000).map(|_| {
            assert!(begun.elapsed() < Duration::from_secs(20), "the ids take too long");
            ids.suggest(&device("gate", ""))
        });
        assert_eq!(told.last().unwrap(), "gate-50000");
    }

    /// Nobody answers at the discard port of loopback.
    #[tokio::test]
    async fn a_scan_stops_when_told() {
        let scans = Searches::default();
        let wanted = options(Vec::new(), vec!["127.0.0.1".parse().unwrap()], Duration::from_secs(60), 9);
        assert!(wanted.interfaces.is_none(), "who names addresses wants these asked");
        let at = WallTime::from_ticks(90_000);
        assert_eq!(begin(&scans, wanted.clone(), move || at), Ok(1));
        assert_eq!(begin(&scans, wanted, move || at), Err(1));
        assert_eq!(scans.state(1).unwrap().found.asked, (0, 1));
        assert!(scans.stop(1));
        let ended = async {
            while scans.state(1).unwrap().ended.is_none() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap();
    }
}
