//! The index: SQLite, so that footage is found by camera and time. It can be made anew from the disks.
//!
//! Writer threads leave what changed in a small map and never wait for the database: a system disk that hangs must
//! not stop a recording. A thread of the index writes the map in one transaction a second, or when a reader asks.

mod ledger;
mod protection;
mod query;
mod rows;
mod schema;

pub use protection::PROTECTIONS_MAX;
pub(crate) use protection::Protections;
pub(crate) use rows::{ExtentRow, IndexChange, RowBuilder};
pub(crate) use schema::{
    INDEX_FILE, Registered, identity, is_damage, known_identity, random, remove_database,
};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;

use crate::{DiskId, RunRow, StoreError};

/// Time between two transactions: bounds what a query's flush has to write, and the scan of tails after a crash.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);
/// Idle connections kept for readers.
const READERS_MAX: usize = 4;

/// The index of a store.
pub(crate) struct Index {
    path: PathBuf,
    shared: Arc<Shared>,
    readers: Mutex<Vec<Connection>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    /// The writing connection; `None` when opened for reading.
    connection: Mutex<Option<Connection>>,
    pending: Mutex<Pending>,
    wake: Condvar,
    /// The last transaction failed; told to the log once.
    failing: AtomicBool,
}

#[derive(Default)]
struct Pending {
    extents: BTreeMap<(DiskId, u32), Change>,
    stopping: bool,
}

/// What changed of one extent since the last transaction.
#[derive(Default)]
struct Change {
    /// Its rows are of an earlier use: delete them.
    clear: bool,
    about: Option<ExtentRow>,
    /// By first record.
    rows: BTreeMap<u32, RunRow>,
}

impl Change {
    fn learn(&mut self, change: IndexChange) {
        match change {
            IndexChange::Freed { .. } => *self = Self { clear: true, ..Self::default() },
            IndexChange::Whole { row, rows, .. } => {
                let rows = rows.into_iter().map(|row| (row.first_record, row)).collect();
                *self = Self { clear: true, about: Some(row), rows };
            }
            IndexChange::Extent { row, rows, .. } => {
                self.about = Some(row);
                self.rows.extend(rows.into_iter().map(|row| (row.first_record, row)));
            }
        }
    }

    /// What `self` says, as if `later` had been learnt after it.
    fn then(self, later: Self) -> Self {
        if later.clear {
            return later;
        }
        let mut rows = self.rows;
        rows.extend(later.rows);
        Self { clear: self.clear, about: later.about.or(self.about), rows }
    }
}

impl Index {
    /// Opens or makes the index in `path` for writing.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let connection = schema::open_writable(path)?;
        let index = Self::with(path, Some(connection));
        let shared = Arc::clone(&index.shared);
        let thread =
            std::thread::Builder::new().name("store-index".to_owned()).spawn(move || write_on(&shared));
        *lock(&index.writer) = Some(thread.map_err(StoreError::io(path))?);
        Ok(index)
    }

    /// Opens the index in `path` for reading.
    pub(crate) fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        let index = Self::with(path, None);
        let reader = schema::open_reader(path)?;
        index.give_back(reader);
        Ok(index)
    }

    fn with(path: &Path, connection: Option<Connection>) -> Self {
        let shared = Shared {
            connection: Mutex::new(connection),
            pending: Mutex::default(),
            wake: Condvar::new(),
            failing: AtomicBool::new(false),
        };
        Self {
            path: path.to_owned(),
            shared: Arc::new(shared),
            readers: Mutex::default(),
            writer: Mutex::default(),
        }
    }

    /// Leaves changes for the next transaction.
    pub(crate) fn learn(&self, changes: impl IntoIterator<Item = IndexChange>) {
        let mut pending = lock(&self.shared.pending);
        for change in changes {
            pending.extents.entry(change.place()).or_default().learn(change);
        }
    }

    /// Writes what is left for the next transaction.
    pub(crate) fn flush(&self) -> Result<(), StoreError> {
        write_pending(&self.shared)
    }

    /// Writes what is left, and ends the thread.
    pub(crate) fn close(&self) {
        lock(&self.shared.pending).stopping = true;
        self.shared.wake.notify_all();
        if let Some(thread) = lock(&self.writer).take() {
            // A panic there has been reported by its thread.
            let _ = thread.join();
        }
        lock(&self.readers).clear();
        lock(&self.shared.connection).take();
    }

    /// Runs `read` on a connection for readers.
    fn reading<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let idle = lock(&self.readers).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => schema::open_reader(&self.path)?,
        };
        let result = read(&connection);
        self.give_back(connection);
        Ok(result?)
    }

    fn give_back(&self, connection: Connection) {
        let mut readers = lock(&self.readers);
        if readers.len() < READERS_MAX {
            readers.push(connection);
        }
    }

    /// Runs `write` in a transaction.
    fn writing<T>(
        &self,
        write: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let mut connection = lock(&self.shared.connection);
        let connection = connection.as_mut().ok_or(StoreError::ReadOnly)?;
        let transaction = connection.transaction()?;
        let result = write(&transaction)?;
        transaction.commit()?;
        Ok(result)
    }

    /// Makes everything written durable, which the write-ahead log alone does only in time.
    fn checkpoint(&self) -> Result<(), StoreError> {
        let connection = lock(&self.shared.connection);
        let connection = connection.as_ref().ok_or(StoreError::ReadOnly)?;
        Ok(connection.query_row("PRAGMA wal_checkpoint(FULL)", [], |_| Ok(()))?)
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.close();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write_on(shared: &Shared) {
    loop {
        let stopping = {
            let pending = lock(&shared.pending);
            let waited = shared.wake.wait_timeout_while(pending, WRITE_INTERVAL, |pending| !pending.stopping);
            waited.unwrap_or_else(PoisonError::into_inner).0.stopping
        };
        let result = write_pending(shared);
        match (&result, shared.failing.swap(result.is_err(), Ordering::Relaxed)) {
            (Err(error), false) => {
                tracing::warn!(%error, "the index cannot be written; footage is not affected")
            }
            (Ok(()), true) => tracing::info!("the index can be written again"),
            (Err(_), true) | (Ok(()), false) => {}
        }
        if stopping {
            return;
        }
    }
}

fn write_pending(shared: &Shared) -> Result<(), StoreError> {
    // The connection is taken first: changes are then written in the order they were learnt.
    let mut connection = lock(&shared.connection);
    let Some(connection) = connection.as_mut() else { return Ok(()) };
    let changes = std::mem::take(&mut lock(&shared.pending).extents);
    if changes.is_empty() {
        return Ok(());
    }
    let result = write_changes(connection, &changes);
    if result.is_err() {
        let mut pending = lock(&shared.pending);
        for (place, earlier) in changes {
            let later = pending.extents.remove(&place).unwrap_or_default();
            pending.extents.insert(place, earlier.then(later));
        }
    }
    Ok(result?)
}

fn write_changes(
    connection: &mut Connection,
    changes: &BTreeMap<(DiskId, u32), Change>,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for ((disk, extent), change) in changes {
        rows::write(&transaction, *disk, *extent, change.clear, change.about.as_ref(), change.rows.values())?;
    }
    transaction.commit()
}
