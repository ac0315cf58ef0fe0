//! How many of a kind there are at a time, in all and from one place: so that none takes all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::Peer;

/// Counts what goes on; clones share the count.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    all_max: usize,
    place_max: usize,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    places: BTreeMap<String, usize>,
}

/// One that goes on; it is over when this is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    tally: Tally,
    place: String,
}

impl Tally {
    /// At most `all_max` at a time, and `place_max` from one place.
    pub(crate) fn new(all_max: usize, place_max: usize) -> Self {
        Self { all_max, place_max, counts: Arc::default() }
    }

    /// Begins one from `peer`; `None` when there are too many.
    pub(crate) fn begin(&self, peer: &Peer) -> Option<Share> {
        let place = peer.brake_key();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let here = counts.places.get(&place).copied().unwrap_or(0);
        if counts.all >= self.all_max || here >= self.place_max {
            return None;
        }
        counts.all = counts.all.saturating_add(1);
        counts.places.insert(place.clone(), here.saturating_add(1));
        Some(Share { tally: self.clone(), place })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut counts = self.tally.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all = counts.all.saturating_sub(1);
        let here = counts.places.get(&self.place).copied().unwrap_or(0);
        if here <= 1 {
            counts.places.remove(&self.place);
        } else {
            counts.places.insert(self.place.clone(), here.saturating_sub(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_place_does_not_take_all_and_an_ended_one_makes_room() {
        let tally = Tally::new(8, 2);
        let peer = |host: usize| Peer::Network(format!("192.0.2.{host}:1").parse().unwrap());
        let mut held: Vec<_> = (0..2).map(|_| tally.begin(&peer(1)).unwrap()).collect();
        assert!(tally.begin(&peer(1)).is_none());
        for host in 2..=4 {
            held.extend((0..2).map(|_| tally.begin(&peer(host)).unwrap()));
        }
        assert!(tally.begin(&peer(250)).is_none(), "there are enough in all");
        held.pop();
        assert!(tally.begin(&peer(250)).is_some());
        drop(held);
        assert_eq!(tally.counts.lock().unwrap().all, 0);
        assert!(tally.counts.lock().unwrap().places.is_empty());
    }
}
