//! How many handshakes of TLS go on at a time: each costs a millisecond of a core and some tens of KiB, and whoever
//! begins one has not yet shown who they are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::Peer;

/// In all.
const HANDSHAKES_MAX: usize = 256;

/// From one place, so that none takes all.
const PLACE_HANDSHAKES_MAX: usize = 32;

/// The handshakes that go on; clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Handshakes(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    places: BTreeMap<String, usize>,
}

/// One that goes on; it is over when this is dropped.
#[derive(Debug)]
pub(super) struct Handshake {
    handshakes: Handshakes,
    place: String,
}

impl Handshakes {
    /// Begins one from `peer`; `None` when there are too many.
    pub(super) fn begin(&self, peer: &Peer) -> Option<Handshake> {
        let place = peer.brake_key();
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let here = counts.places.get(&place).copied().unwrap_or(0);
        if counts.all >= HANDSHAKES_MAX || here >= PLACE_HANDSHAKES_MAX {
            return None;
        }
        counts.all = counts.all.saturating_add(1);
        counts.places.insert(place.clone(), here.saturating_add(1));
        Some(Handshake { handshakes: self.clone(), place })
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let mut counts = self.handshakes.0.lock().unwrap_or_else(PoisonError::into_inner);
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
        let handshakes = Handshakes::default();
        let peer = |host: usize| Peer::Network(format!("192.0.2.{host}:1").parse().unwrap());
        let mut held: Vec<_> =
            (0..PLACE_HANDSHAKES_MAX).map(|_| handshakes.begin(&peer(1)).unwrap()).collect();
        assert!(handshakes.begin(&peer(1)).is_none());
        let others = HANDSHAKES_MAX / PLACE_HANDSHAKES_MAX;
        for host in 2..=others {
            held.extend((0..PLACE_HANDSHAKES_MAX).map(|_| handshakes.begin(&peer(host)).unwrap()));
        }
        assert!(handshakes.begin(&peer(250)).is_none(), "there are enough in all");
        held.pop();
        assert!(handshakes.begin(&peer(250)).is_some());
        drop(held);
        assert_eq!(handshakes.0.lock().unwrap().all, 0);
        assert!(handshakes.0.lock().unwrap().places.is_empty());
    }
}
