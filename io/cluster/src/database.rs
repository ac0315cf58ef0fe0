//! Coordination in SQLite, by the one node that has the authority. What was answered is on disk.
//!
//! The rules are those of the table in memory; each change of it is written before it is answered. A lease's end is counted by
//! this process's own clock, which nobody sets and which does not outlive it: after a restart every lease has its whole time
//! again, so that no holder loses what it believes to have.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keepwatch_model::{MonoTime, RoleId};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use thiserror::Error;

use crate::memory::{Clock, clock};
use crate::table::{Held, Role, Table};
use crate::{AcquireError, Answer, Change, CommitError, Coord, Entry, Lease, RenewError, Unavailable};

/// The name of the database in the data directory.
const DATABASE_FILE: &str = "cluster.db";

const VERSION: i32 = 1;

const TABLES: &str = "
CREATE TABLE roles (role BLOB PRIMARY KEY, epoch INTEGER NOT NULL, holder BLOB, ttl_ms INTEGER) WITHOUT ROWID;
CREATE TABLE entries (key TEXT PRIMARY KEY, revision INTEGER NOT NULL, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE revision (number INTEGER NOT NULL);
INSERT INTO revision VALUES (0);
";

/// Why the database cannot be used.
#[derive(Debug, Error)]
pub enum DatabaseError {
    /// It cannot be opened or read.
    #[error("{}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// It was written by a later version of the program.
    #[error("{} is of version {version}, which this program does not know", path.display())]
    Later {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: i32,
    },
    /// What is in it cannot be.
    #[error("{} is damaged: {what}; restore it from a backup, or remove it: roles then begin anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
}

/// Coordination in a database; a cheap handle.
#[derive(Clone)]
pub struct Database {
    path: PathBuf,
    inner: Arc<Mutex<Inner>>,
    clock: Clock,
}

struct Inner {
    table: Table,
    connection: Connection,
    /// Whether the last write was made is not known: the table is to be read anew.
    doubtful: bool,
}

impl Database {
    /// Opens the database in the data directory, and makes it where there is none. Blocks.
    ///
    /// # Errors
    /// When it is damaged, of a later version, or out of reach. It is not touched then.
    pub fn open(data: &Path) -> Result<Self, DatabaseError> {
        Self::with_clock(data, clock())
    }

    pub(crate) fn with_clock(data: &Path, clock: Clock) -> Result<Self, DatabaseError> {
        let path = data.join(DATABASE_FILE);
        let open = |source| DatabaseError::Open { path: path.clone(), source };
        let mut connection = Connection::open(&path).map_err(open)?;
        let version = prepare(&mut connection).map_err(open)?;
        if version > VERSION {
            return Err(DatabaseError::Later { path, version });
        }
        let table = read(&connection, clock()).map_err(open)?;
        let table = table.map_err(|what| DatabaseError::Damaged { path: path.clone(), what })?;
        Ok(Self { path, inner: Arc::new(Mutex::new(Inner { table, connection, doubtful: false })), clock })
    }

    /// Does `work` where it may block.
    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Inner, MonoTime) -> T + Send + 'static,
    ) -> Answer<'_, Result<T, Unavailable>> {
        let (inner, clock) = (Arc::clone(&self.inner), Arc::clone(&self.clock));
        let done = tokio::task::spawn_blocking(move || {
            // The table is changed after the database, in one step: whoever held the lock left both whole.
            let mut inner = inner.lock().unwrap_or_else(PoisonError::into_inner);
            let now = clock();
            inner.settle(now)?;
            Ok(work(&mut inner, now))
        });
        Box::pin(async move { done.await.map_err(|error| Unavailable(error.to_string()))? })
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Inner {
    /// Reads the table anew, when it may lack what the database holds.
    fn settle(&mut self, now: MonoTime) -> Result<(), Unavailable> {
        if self.doubtful {
            let table = read(&self.connection, now).map_err(|error| Unavailable(error.to_string()))?;
            self.table = table.map_err(|what| Unavailable(what.to_owned()))?;
            self.doubtful = false;
        }
        Ok(())
    }

    /// Writes a role, then takes it up.
    fn put(&mut self, role: RoleId, is: Role) -> Result<(), Unavailable> {
        // That a lease goes on is nothing that a restart needs to know: it has its whole time then.
        let known = self.table.roles.get(&role);
        let lasting = |is: &Role| (is.epoch, is.held.map(|held| (held.holder, held.ttl)));
        if known.map(lasting) != Some(lasting(&is)) {
            let (holder, ttl_ms) = match is.held {
                Some(held) => (Some(held.holder.0), i64::try_from(held.ttl.as_millis()).ok()),
                None => (None, None),
            };
            let epoch = is.epoch.cast_signed();
            let written = self.connection.execute(
                "INSERT OR REPLACE INTO roles VALUES (?1, ?2, ?3, ?4)",
                params![role.0, epoch, holder, ttl_ms],
            );
            self.doubtful = written.is_err();
            written.map_err(|error| Unavailable(error.to_string()))?;
        }
        self.table.put(role, is);
        Ok(())
    }

    fn commit(&mut self, change: Change) -> Result<u64, CommitError> {
        self.table.allows(&change)?;
        let revision = self.table.revision + 1;
        let unavailable = |error: rusqlite::Error| Unavailable(error.to_string());
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(unavailable)?;
        write(&transaction, &change, revision).map_err(unavailable)?;
        let committed = transaction.commit();
        self.doubtful = committed.is_err();
        committed.map_err(|error| CommitError::Unknown(error.to_string()))?;
        Ok(self.table.apply(change))
    }
}

impl Coord for Database {
    fn acquire(
        &self,
        role: RoleId,
        holder: RoleId,
        ttl: Duration,
    ) -> Answer<'_, Result<Lease, AcquireError>> {
        let done = self.run(move |inner, now| {
            let (is, lease) = inner.table.acquire(now, role, holder, ttl)?;
            inner.put(role, is)?;
            Ok(lease)
        });
        Box::pin(async { done.await? })
    }

    fn renew(&self, lease: Lease) -> Answer<'_, Result<(), RenewError>> {
        let done = self.run(move |inner, now| {
            let is = inner.table.renew(now, &lease)?;
            Ok(inner.put(lease.role, is)?)
        });
        Box::pin(async { done.await? })
    }

    fn release(&self, lease: Lease) -> Answer<'_, Result<(), Unavailable>> {
        let done = self.run(move |inner, now| match inner.table.release(now, &lease) {
            Some(is) => inner.put(lease.role, is),
            None => Ok(()),
        });
        Box::pin(async { done.await? })
    }

    fn commit(&self, change: Change) -> Answer<'_, Result<u64, CommitError>> {
        let done = self.run(move |inner, _| inner.commit(change));
        // Whether a thread that ended got so far nobody can tell.
        Box::pin(async { done.await.map_err(|error| CommitError::Unknown(error.to_string()))? })
    }

    fn entry(&self, key: &str) -> Answer<'_, Result<Option<Entry>, Unavailable>> {
        let key = key.to_owned();
        self.run(move |inner, _| inner.table.entries.get(&key).cloned())
    }
}

/// Makes the tables where there are none, and returns the version.
fn prepare(connection: &mut Connection) -> rusqlite::Result<i32> {
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version == 0 {
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()?;
    Ok(version)
}

/// All that the database holds; every lease has its whole time from `now`.
fn read(connection: &Connection, now: MonoTime) -> rusqlite::Result<Result<Table, &'static str>> {
    let revision: i64 = connection.query_row("SELECT number FROM revision", [], |row| row.get(0))?;
    let Ok(revision) = u64::try_from(revision) else { return Ok(Err("a revision below zero")) };
    let mut table = Table { revision, ..Table::default() };
    let mut roles = connection.prepare("SELECT role, epoch, holder, ttl_ms FROM roles")?;
    let mut rows = roles.query([])?;
    while let Some(row) = rows.next()? {
        let (role, epoch): ([u8; 16], i64) = (row.get(0)?, row.get(1)?);
        let holder: Option<([u8; 16], i64)> = match row.get::<_, Option<[u8; 16]>>(2)? {
            Some(holder) => Some((holder, row.get(3)?)),
            None => None,
        };
        let Ok(epoch) = u64::try_from(epoch) else { return Ok(Err("an epoch below zero")) };
        let held = holder.map(|(holder, ttl_ms)| {
            let ttl = Duration::from_millis(u64::try_from(ttl_ms).unwrap_or(0))
                .clamp(crate::TTL_MIN, crate::TTL_MAX);
            Held { holder: RoleId(holder), ttl, until: now + ttl }
        });
        table.put(RoleId(role), Role { epoch, held });
    }
    let mut entries = connection.prepare("SELECT key, revision, value FROM entries")?;
    let mut rows = entries.query([])?;
    while let Some(row) = rows.next()? {
        let entry = Entry { revision: row.get::<_, i64>(1)?.cast_unsigned(), value: row.get(2)? };
        if entry.revision > table.revision {
            return Ok(Err("an entry of a revision to come"));
        }
        table.entries.insert(row.get(0)?, entry);
    }
    Ok(Ok(table))
}

fn write(transaction: &Transaction<'_>, change: &Change, revision: u64) -> rusqlite::Result<()> {
    transaction.execute("UPDATE revision SET number = ?1", [revision.cast_signed()])?;
    for (key, value) in &change.put {
        match value {
            Some(value) => transaction.execute(
                "INSERT OR REPLACE INTO entries VALUES (?1, ?2, ?3)",
                params![key, revision.cast_signed(), value],
            )?,
            None => transaction.execute("DELETE FROM entries WHERE key = ?1", [key])?,
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn after_a_write_that_is_in_doubt_the_database_is_right() {
        let data = tempfile::tempdir().unwrap();
        let database = Database::open(data.path()).unwrap();
        let mut other = Connection::open(data.path().join(DATABASE_FILE)).unwrap();
        let transaction = other.transaction().unwrap();
        let change = Change { put: vec![("name".to_owned(), Some(b"value".to_vec()))], ..Change::default() };
        write(&transaction, &change, 1).unwrap();
        transaction.commit().unwrap();
        assert_eq!(database.entry("name").await.unwrap(), None);
        database.inner.lock().unwrap().doubtful = true;
        assert_eq!(database.entry("name").await.unwrap().unwrap().value, b"value");
        assert!(!database.inner.lock().unwrap().doubtful);
    }
}
