//! Footage that the store was to keep and had to give up, until somebody asks for it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use keepwatch_model::{CameraId, Place, SpanSet, StreamId};
use keepwatch_store::GaveUp;

use crate::Node;

type Where = (CameraId, StreamId, Place);

/// What was given up since it was last asked for; nothing while nobody ever asks. Neighbours become one, so that it stays as small as
/// the number of streams.
#[derive(Debug, Default)]
pub(crate) struct GivenUp(Mutex<Option<BTreeMap<Where, SpanSet>>>);

impl GivenUp {
    /// Something was given up.
    pub(crate) fn add(&self, gave_up: &GaveUp) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = told.as_mut() {
            let place = (gave_up.camera, gave_up.stream, gave_up.place);
            told.entry(place).or_default().insert(gave_up.span);
        }
    }

    /// What was given up since the last call; from the first one on it is gathered.
    fn take(&self) -> BTreeMap<Where, SpanSet> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.replace(BTreeMap::new()).unwrap_or_default()
    }
}

impl Node {
    /// Footage that was to be [kept](keepwatch_store::Store::keep), or was in the [tail](keepwatch_store::Store::keep_tail), and had to go from one of
    /// its places since the last call. From the first call on it is gathered; who calls once, calls again and again.
    pub fn take_given_up(&self) -> Vec<GaveUp> {
        let told = self.given_up().take();
        told.into_iter()
            .flat_map(|((camera, stream, place), spans)| {
                let spans = spans.spans().to_vec();
                spans.into_iter().map(move |span| GaveUp { camera, stream, span, place })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keepwatch_model::{Span, WallTime};

    #[test]
    fn neighbours_are_one_and_nothing_is_gathered_for_nobody() {
        let given_up = GivenUp::default();
        let gave_up = |from, place| GaveUp {
            camera: "north".parse().unwrap(),
            stream: StreamId::MAIN,
            span: Span { from: WallTime::from_ticks(from), to: WallTime::from_ticks(from + 10) },
            place,
        };
        given_up.add(&gave_up(0, Place::Internal));
        assert!(given_up.take().is_empty());
        for record in 0..100 {
            given_up.add(&gave_up(record * 10, Place::Internal));
        }
        given_up.add(&gave_up(0, Place::Memory));
        let told = given_up.take();
        assert_eq!(told.values().map(|spans| spans.spans().len()).collect::<Vec<_>>(), [1, 1]);
        assert_eq!(told.values().map(SpanSet::ticks).sum::<i64>(), 1_010);
        assert!(given_up.take().is_empty());
    }
}
