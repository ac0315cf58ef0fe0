//! Footage that is nowhere else yet: given up after everything else, and never silently.
//!
//! Unlike a protection it is given up when nothing else is left, and it is not remembered: who knows what is outside says it anew
//! after a start. What is kept is a set of spans of each stream, so that the cost is that of what changes.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use keepwatch_model::{CameraId, Span, SpanSet, StreamId};

use crate::Store;
use crate::volume::Key;

/// Most spans of one stream, one for each break in what is kept. Beyond, the two oldest become one: rather too much is kept.
const SPANS_MAX: usize = 4_096;

/// What is kept of all streams.
#[derive(Debug, Default)]
pub(crate) struct Keeps(RwLock<BTreeMap<Key, SpanSet>>);

impl Keeps {
    /// Whether footage of a stream somewhere in `span` is kept.
    pub(crate) fn hold(&self, key: Key, span: Span) -> bool {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.get(&key).is_some_and(|kept| kept.touches(span))
    }

    /// What of `spans` is kept.
    pub(crate) fn of(&self, key: Key, spans: &[Span]) -> Vec<Span> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some(kept) = all.get(&key) else { return Vec::new() };
        spans.iter().flat_map(|span| kept.within(*span).spans().to_vec()).collect()
    }

    fn keep(&self, key: Key, span: Span) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let kept = all.entry(key).or_default();
        kept.insert(span);
        if let (true, [first, second, ..]) = (kept.spans().len() > SPANS_MAX, kept.spans()) {
            let joined = Span { from: first.from, to: second.to };
            kept.insert(joined);
        }
    }

    fn let_go(&self, key: Key, span: Span) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = all.get_mut(&key) {
            kept.remove(span);
            if kept.is_empty() {
                all.remove(&key);
            }
        }
    }
}

impl Store {
    /// Footage of a stream in `span` is nowhere else: it is given up when nothing else is left to give up, which
    /// [`StoreEvents::gave_up`](crate::StoreEvents::gave_up) tells, and when it has reached its age. Until [`outside`](Self::outside) is told, or
    /// the store is closed.
    pub fn keep(&self, camera: CameraId, stream: StreamId, span: Span) {
        self.shared().keeps.keep((camera, stream), span);
    }

    /// Footage of a stream in `span` is elsewhere, too, or is not wanted there: it is kept no longer, and records that are whole inside go
    /// from the [tail](Self::keep_tail).
    pub fn outside(&self, camera: CameraId, stream: StreamId, span: Span) {
        self.shared().keeps.let_go((camera, stream), span);
        self.shared().let_go_of_tail((camera, stream), span);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keepwatch_model::WallTime;

    fn span(from: i64, to: i64) -> Span {
        Span { from: WallTime::from_ticks(from), to: WallTime::from_ticks(to) }
    }

    #[test]
    fn more_breaks_than_there_may_be_keep_rather_too_much() {
        let key = ("cam1".parse().unwrap(), StreamId::MAIN);
        let keeps = Keeps::default();
        let breaks = i64::try_from(SPANS_MAX).unwrap() + 500;
        for at in 0..breaks {
            keeps.keep(key, span(at * 10, at * 10 + 5));
        }
        assert_eq!(keeps.0.read().unwrap()[&key].spans().len(), SPANS_MAX);
        assert!((0..breaks).all(|at| keeps.hold(key, span(at * 10, at * 10 + 1))), "nothing is forgotten");
        assert!(!keeps.hold(key, span(breaks * 10 - 5, breaks * 10)));
        keeps.let_go(key, span(0, breaks * 10));
        assert!(keeps.0.read().unwrap().is_empty(), "nothing stays behind");
    }
}
