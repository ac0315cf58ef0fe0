//! A stream that is not received here: an edge node records it, and sends what it recorded a minute or two later.
//!
//! Nothing is dialled. What was not sent is missing for that reason, up to now; whether the node keeps up is judged by the age
//! of the newest footage.

use std::sync::Arc;
use std::time::Duration;

use keepwatch_model::{EventCode, GapReason, StreamId, TICKS_PER_SECOND, WallTime};
use tokio::sync::watch;

use super::context::Context;
use super::gather::{Ending, Output};
use super::stream::{Connection, StreamState};

/// Time between two looks at what came.
const LOOK: Duration = Duration::from_secs(1);
/// The newest footage is up to two minutes old while all is well, and a record more; beyond this it does not come.
const LATE_TICKS: i64 = 180 * TICKS_PER_SECOND;

/// Follows what the edge node of this name sends of `stream`, until it is `stopped`.
pub(super) async fn follow(
    context: Context,
    stream: Arc<StreamState>,
    node: String,
    mut stopped: watch::Receiver<Option<Ending>>,
) -> Option<Output> {
    let begun = context.clock.wall();
    stream.ledger().missing_from(begun, GapReason::NotSent);
    let mut following = Following { context, stream, node, begun, comes: None };
    loop {
        following.look();
        tokio::select! {
            _ = stopped.changed() => {
                let ending = stopped.borrow().unwrap_or(Ending::Missing(GapReason::RecorderDown));
                ending.enter(&following.stream, following.context.clock.wall());
                return None;
            }
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

struct Following {
    context: Context,
    stream: Arc<StreamState>,
    node: String,
    /// When it began to be followed: the first footage has as much time as any.
    begun: WallTime,
    /// Whether it comes; `None` before that was told.
    comes: Option<bool>,
}

impl Following {
    fn look(&mut self) {
        let now = self.context.clock.wall();
        let newest = self.stream.ledger().held_until();
        let age_ticks = |at: WallTime| now.ticks_since(at);
        let comes = newest.is_some_and(|newest| age_ticks(newest) <= LATE_TICKS);
        let connection = if comes { Connection::Relayed } else { Connection::Waiting(GapReason::NotSent) };
        self.stream.set_connection(connection, now);
        let waits = !comes && age_ticks(self.begun) <= LATE_TICKS;
        if self.comes == Some(comes) || waits {
            return;
        }
        self.comes = Some(comes);
        let is_main = self.stream.id == StreamId::MAIN;
        let node = &self.node;
        let (code, text) = match (comes, is_main) {
            (true, true) => (EventCode::RecordingStarted, format!("the edge node {node} sends it")),
            (true, false) => (EventCode::SubStreamStarted, format!("the edge node {node} sends it")),
            (false, _) => {
                let since = newest.map_or_else(|| "ever".to_owned(), |newest| newest.to_string());
                let reason = GapReason::NotSent;
                let text = format!(
                    "the edge node {node} has sent nothing since {since}; footage is missing until it does; {}",
                    reason.remedy()
                );
                (if is_main { EventCode::RecordingStopped } else { EventCode::SubStreamStopped }, text)
            }
        };
        self.context.tell(&self.stream, now, code, text);
    }
}
