//! Keeping the books while the node runs: ledgers and heartbeat every second, retention, the wall clock.

use std::sync::Arc;
use std::time::Duration;

use keepwatch_model::{EventCode, Subject, TICKS_PER_SECOND, ticks_from_duration};
use tokio::sync::watch;

use super::Inner;
use crate::camera::StreamState;
use crate::clock::StepWatch;
use crate::rows;

/// Time between two entries into the books: what the reasons of gaps may be behind after a crash.
const BOOKS_INTERVAL: Duration = Duration::from_secs(1);
/// Longest wait for the last records to reach the disk when a stream ends.
const SETTLE_MAX: Duration = Duration::from_secs(10);
/// Time between two looks for footage that has reached the end of its retention.
const RETENTION_INTERVAL: Duration = Duration::from_secs(60);

/// Waits until what the ended tasks of `streams` queued is on disk or lost. A disk that hangs must not hold up more;
/// what it has not taken is found missing at the next start.
pub(crate) async fn settle(streams: &[Arc<StreamState>]) {
    let settled = async {
        for stream in streams {
            while stream.pending() > 0 {
                stream.progressed().await;
            }
            // Nobody fetches any more: what was fetched is on its way as well.
            stream.intake().settle().await;
        }
    };
    if tokio::time::timeout(SETTLE_MAX, settled).await.is_err() {
        tracing::warn!("records still wait for their disk");
    }
}

/// Enters ledgers and heartbeat every second, expires footage, watches the wall clock.
pub(super) async fn keep_books(inner: Arc<Inner>, mut stopped: watch::Receiver<bool>) {
    let mut steps = StepWatch::new();
    let clock = inner.context.clock;
    let mut retention_at = clock.mono();
    loop {
        tokio::select! {
            _ = stopped.changed() => return,
            () = tokio::time::sleep(BOOKS_INTERVAL) => {}
        }
        let now = clock.mono();
        if let Some(ticks) = steps.look(now, clock.wall()) {
            let seconds = ticks / TICKS_PER_SECOND;
            let text = format!(
                "the recorder's clock was set by {seconds} s; footage already recorded keeps its times"
            );
            inner.context.events.add(clock.wall(), EventCode::ClockStepped, Subject::Node, text);
        }
        let expire = now >= retention_at;
        if expire {
            retention_at = now + RETENTION_INTERVAL;
        }
        let books = Arc::clone(&inner);
        let entered = tokio::task::spawn_blocking(move || {
            if expire {
                expire_footage(&books);
                books.jobs.expire(books.context.clock.wall());
            }
            enter_ledgers(&books);
        });
        if let Err(error) = entered.await {
            tracing::error!(%error, "keeping the books failed");
        }
    }
}

fn expire_footage(inner: &Inner) {
    for camera in inner.cameras.all() {
        if let Some(retention) = camera.config().retention {
            let before = inner.context.clock.wall().plus(-ticks_from_duration(retention));
            // What is really deleted is heard through the bookkeeper: protected footage stays held.
            inner.context.store.expire(camera.id, before);
        }
    }
}

/// Stores what changed in the ledgers, and that the recorder runs. Blocks.
pub(super) fn enter_ledgers(inner: &Inner) {
    let store = &inner.context.store;
    for stream in inner.cameras.streams() {
        let changed = stream.ledger().changed_rows();
        let Some((from, rows)) = changed else { continue };
        let rows: Vec<_> = rows.iter().map(|row| rows::to_stored(stream.camera, stream.id, row)).collect();
        if let Err(error) = store.ledger_replace(stream.camera, stream.id, from, &rows) {
            // Entered again with the next change; the footage itself does not depend on it.
            tracing::error!(camera = %stream.camera, stream = %stream.id, %error, "ledger not stored");
            stream.ledger().touched(from);
        }
    }
    if let Err(error) = store.heartbeat(inner.context.clock.wall()) {
        tracing::error!(%error, "heartbeat not stored");
    }
}
