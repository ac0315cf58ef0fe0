//! What all streams of a recorder share: its clocks, its store and its event log.

use std::sync::Arc;

use keepwatch_model::{EventCode, WallTime};
use keepwatch_store::Store;

use super::stream::StreamState;
use crate::clock::Clock;
use crate::events::Events;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) clock: Clock,
    pub(crate) store: Store,
    pub(crate) events: Arc<Events>,
}

impl Context {
    /// Enters an event about a stream. One of a guest whose footage only waits in memory has a recorder that tells: nothing is entered.
    pub(crate) fn tell(&self, stream: &StreamState, at: WallTime, code: EventCode, text: String) {
        if stream.is_quiet() {
            return;
        }
        let text = stream.sentence(text);
        tracing::info!(camera = %stream.camera, %code, "{text}");
        self.events.add(at, code, stream.subject(), text);
    }
}
