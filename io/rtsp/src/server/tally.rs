//! How many sessions of each path stand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The sessions of one server.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(Arc<Mutex<BTreeMap<String, u32>>>);

/// Counts one session until it is dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    tally: Tally,
    path: String,
}

impl Tally {
    /// Counts a session of `path`; returns how many there are, this one included.
    pub(super) fn enter(&self, path: &str) -> (Ticket, u32) {
        let mut counts = self.counts();
        let count = counts.entry(path.to_owned()).or_default();
        *count = count.saturating_add(1);
        (Ticket { tally: self.clone(), path: path.to_owned() }, *count)
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, u32>> {
        // Counting cannot fail half-way, so a poisoned count is still right.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut counts = self.tally.counts();
        if let Some(count) = counts.get_mut(&self.path) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_counted_for_each_path_and_forgotten_when_they_end() {
        let tally = Tally::default();
        let (first, one) = tally.enter("/a");
        let (second, two) = tally.enter("/a");
        let (other, of_other) = tally.enter("/b");
        assert_eq!((one, two, of_other), (1, 2, 1));
        drop(first);
        assert_eq!(tally.enter("/a").1, 2);
        drop((second, other));
        assert!(tally.counts().is_empty());
    }
}
