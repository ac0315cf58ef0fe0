//! The thread that opens the store outside, reads its index, has old footage deleted, and closes it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use keepwatch_model::{CameraId, Span, SpanSet, StreamId, Subject, WallTime, ticks_from_duration};
use keepwatch_recorder::config::DiskConfig;
use keepwatch_recorder::disk_sentence;
use keepwatch_recording::replenish::StreamKey;
use keepwatch_store::{
    Commit, DiskChange, DiskEvent, Loss, Reclaim, Store, StoreConfig, StoreError, StoreEvents,
};

use super::{Shared, State, Wish, sent};

/// Its directory in the data directory of the node: the index, which can be made anew from the disks.
const DATA: &str = "edge-store";
/// Footage on its way to the disks by the live lane; the other has a buffer of its own.
const BUFFER_BYTES_MAX: u64 = 48 << 20;
/// Between two tries to open disks of which none was ever in use. One that was is looked for by the store.
const OPEN_INTERVAL: Duration = Duration::from_secs(5);
/// Between two looks for footage that is too old.
const RETENTION_INTERVAL: Duration = Duration::from_secs(60);
const EVER: Span = Span { from: WallTime::MIN, to: WallTime::MAX };

/// Keeps the store open until it is asked to end.
pub(super) fn run(shared: &Arc<Shared>, wishes: &Receiver<Wish>) {
    let Some(store) = opened(shared, wishes) else { return };
    let mut to_read = true;
    let mut expired: Option<Instant> = None;
    loop {
        if to_read {
            to_read = !read(shared, &store);
        }
        if expired.is_none_or(|at| at.elapsed() >= RETENTION_INTERVAL) {
            expire(shared, &store);
            expired = Some(Instant::now());
        }
        match wishes.recv_timeout(if to_read { OPEN_INTERVAL } else { RETENTION_INTERVAL }) {
            Ok(Wish::Read) => to_read = true,
            Ok(Wish::End(tell)) => {
                shared.set_state(State::Closed("its disks are being closed".to_owned()));
                store.close();
                // Who asked may not wait any more.
                let _ = tell.send(());
                return;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// The open store; `None` when it is to end before.
fn opened(shared: &Arc<Shared>, wishes: &Receiver<Wish>) -> Option<Store> {
    let (mut told, of_disks) = (None, Arc::default());
    loop {
        match open(shared, &of_disks) {
            Ok(store) => return Some(store),
            Err(error) => {
                let why = error.to_string();
                if told.as_ref() != Some(&why) {
                    tracing::error!(
                        "the external storage cannot be opened: {why}; it is tried again every {OPEN_INTERVAL:?}"
                    );
                }
                told = Some(why.clone());
                shared.set_state(State::Closed(why));
            }
        }
        match wishes.recv_timeout(OPEN_INTERVAL) {
            Ok(Wish::Read) | Err(RecvTimeoutError::Timeout) => {}
            Ok(Wish::End(tell)) => {
                // Who asked may not wait any more.
                let _ = tell.send(());
                return None;
            }
            Err(RecvTimeoutError::Disconnected) => return None,
        }
    }
}

fn open(shared: &Arc<Shared>, told: &Arc<Mutex<BTreeMap<PathBuf, DiskChange>>>) -> Result<Store, StoreError> {
    let config = StoreConfig {
        // What is written belongs to the recorder that recorded it.
        role: Some(shared.node.store().role()),
        buffer_bytes_max: BUFFER_BYTES_MAX,
        ..StoreConfig::new(
            shared.node.data().join(DATA),
            shared.disks.iter().map(DiskConfig::for_store).collect(),
        )
    };
    let ear = Ear { shared: Arc::clone(shared), told: Arc::clone(told) };
    Ok(Store::open(config, Arc::new(ear))?.0)
}

/// Reads what stands on the disks that are in use, or were last, and whether it can be read. What was on one that another took the
/// place of is missing.
fn read(shared: &Shared, store: &Store) -> bool {
    shared.books().begin();
    match held(store) {
        Ok(held) => {
            shared.books().enter(held);
            shared.set_state(State::Open(store.clone(), shared.node.clock().wall()));
            true
        }
        Err(error) => {
            tracing::error!(%error, "what the external storage holds cannot be read");
            shared.set_state(State::Closed(error.to_string()));
            false
        }
    }
}

fn held(store: &Store) -> Result<BTreeMap<StreamKey, SpanSet>, StoreError> {
    let disks: Vec<_> = store.disks().into_iter().filter_map(|disk| disk.id).collect();
    let mut held = BTreeMap::new();
    for key in store.streams()? {
        let rows = store.runs(key.0, key.1, EVER)?;
        let here = rows.into_iter().filter(|row| disks.contains(&row.disk)).map(|row| row.label);
        held.insert(key, here.collect::<SpanSet>());
    }
    Ok(held)
}

fn expire(shared: &Shared, store: &Store) {
    let now = shared.node.clock().wall();
    for (stream, retention) in sent(&shared.node) {
        if let Some(age) = retention {
            store.expire(stream.camera, now.plus(ticks_from_duration(age).saturating_neg()));
        }
    }
}

/// Hears what the disks do.
struct Ear {
    shared: Arc<Shared>,
    /// What each disk was last told to be: every try to open them says it again.
    told: Arc<Mutex<BTreeMap<PathBuf, DiskChange>>>,
}

impl StoreEvents for Ear {
    fn durable(&self, commit: &Commit) {
        self.shared.books().durable((commit.camera, commit.stream), commit.info.label);
        self.shared.moved.notify_waiters();
    }

    fn lost(&self, loss: &Loss) {
        self.shared.books().lost((loss.camera, loss.stream), loss.info.label, loss.reason);
        self.shared.moved.notify_waiters();
    }

    fn reclaimed(&self, camera: CameraId, stream: StreamId, spans: &[Span], why: Reclaim) {
        let mut books = self.shared.books();
        spans.iter().for_each(|span| books.reclaimed((camera, stream), *span));
        if why == Reclaim::Damaged {
            // It is sent again as far as it is here: all is compared anew.
            let _ = self.shared.wishes.send(Wish::Read);
        }
    }

    fn disk(&self, event: &DiskEvent) {
        match &event.change {
            // Another disk, or one that may hold less than it said.
            DiskChange::Adopted | DiskChange::Returned => drop(self.shared.wishes.send(Wish::Read)),
            DiskChange::Gone(_)
            | DiskChange::ReadOnly(_)
            | DiskChange::Foreign(_)
            | DiskChange::Buffered
            | DiskChange::Full
            | DiskChange::HasRoom => {}
            // How much is not sent yet is told of what is recorded; nothing is dropped here.
            DiskChange::Slow | DiskChange::KeepsUp => return,
        }
        let before = {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            told.insert(event.path.clone(), event.change.clone())
        };
        if before.as_ref() == Some(&event.change) {
            return;
        }
        let (code, text) = disk_sentence(&event.change);
        tracing::info!(path = %event.path.display(), %code, "{text}");
        let subject = Subject::Disk(event.path.display().to_string());
        self.shared.node.add_event(code, subject, format!("external storage: {text}"));
    }
}
