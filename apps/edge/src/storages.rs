//! The local storages, as the machine is told of them: what can be done with each, and whether another stands in its place.

use std::collections::BTreeMap;

use keepwatch_model::{Condition, Place, Span};
use keepwatch_recording::edge::Event;
use keepwatch_recording::replenish::StreamKey;
use keepwatch_store::{PlaceStatus, Store};

const PLACES: [Place; 2] = [Place::Internal, Place::Second];

/// The storages that were told of.
#[derive(Debug, Default)]
pub(crate) struct Storages(BTreeMap<Place, PlaceStatus>);

impl Storages {
    /// What changed since the last look.
    pub(crate) fn look(&mut self, store: &Store) -> Vec<Event> {
        let now = PLACES.into_iter().filter_map(|place| Some((place, store.place(place)?)));
        now.filter_map(|(place, status)| self.changed(place, status)).collect()
    }

    fn changed(&mut self, place: Place, mut now: PlaceStatus) -> Option<Event> {
        let before = self.0.get(&place);
        let mut replaced = false;
        if let Some(before) = before {
            // None that can be read says nothing of which it was.
            if now.disks.is_empty() {
                now.disks.clone_from(&before.disks);
            }
            let stays = now.disks.iter().any(|disk| before.disks.contains(disk));
            replaced = !before.disks.is_empty() && !stays;
        }
        let is_same = !replaced
            && before.is_some_and(|before| before.condition == now.condition && before.disks == now.disks);
        let condition = now.condition;
        self.0.insert(place, now);
        (!is_same).then_some(Event::Storage { place, condition, replaced })
    }

    /// What can be done with each, in the order of their rank.
    pub(crate) fn conditions(&self) -> Vec<(Place, Condition)> {
        self.0.iter().map(|(place, status)| (*place, status.condition)).collect()
    }
}

/// Where the footage of a line in `span` is on disks.
pub(crate) fn places(store: &Store, line: StreamKey, span: Span) -> Vec<(Place, Span)> {
    if store.place(Place::Second).is_none() {
        return vec![(Place::Internal, span)];
    }
    // What the index does not say now is compared again later.
    let Ok(rows) = store.runs(line.0, line.1, span) else { return Vec::new() };
    let on = |row: &keepwatch_store::RunRow| Some((store.place_of(row.disk)?, row.label.intersection(span)?));
    rows.iter().filter_map(on).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use keepwatch_store::DiskId;

    fn status(condition: Condition, disks: &[u8]) -> PlaceStatus {
        PlaceStatus { condition, disks: disks.iter().map(|disk| DiskId([*disk; 16])).collect() }
    }

    #[test]
    fn a_storage_is_known_by_its_disks_also_after_it_was_gone() {
        let mut storages = Storages::default();
        let mut told = |condition, disks: &[u8]| storages.changed(Place::Internal, status(condition, disks));
        let event =
            |condition, replaced| Some(Event::Storage { place: Place::Internal, condition, replaced });
        assert_eq!(told(Condition::Writable, &[1]), event(Condition::Writable, false));
        assert_eq!(told(Condition::Writable, &[1]), None);
        assert_eq!(told(Condition::ReadOnly, &[1]), event(Condition::ReadOnly, false));
        assert_eq!(told(Condition::Gone, &[]), event(Condition::Gone, false));
        assert_eq!(told(Condition::Writable, &[1]), event(Condition::Writable, false), "it came back");
        assert_eq!(told(Condition::Gone, &[]), event(Condition::Gone, false));
        assert_eq!(told(Condition::Writable, &[2]), event(Condition::Writable, true), "another one");
        assert_eq!(told(Condition::Writable, &[2, 3]), event(Condition::Writable, false), "one more");
        assert_eq!(told(Condition::Writable, &[3]), event(Condition::Writable, false), "one of both is left");
    }

    #[test]
    fn a_storage_that_was_never_seen_replaces_none() {
        let mut storages = Storages::default();
        let mut told = |condition, disks: &[u8]| storages.changed(Place::Second, status(condition, disks));
        let event = |condition| Some(Event::Storage { place: Place::Second, condition, replaced: false });
        assert_eq!(told(Condition::Gone, &[]), event(Condition::Gone));
        assert_eq!(told(Condition::Writable, &[1]), event(Condition::Writable));
    }
}
