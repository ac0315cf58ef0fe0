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
use rusqlite::{Connection, TransactionBehavior, params};
use thiserror::Error;
use tokio::sync::Semaphore;

use crate::memory::{Clock, clock};
use crate::table::{Held, Role, Table};
use crate::{AcquireError, Answer, Coord, Lease, RenewError, Unavailable};

/// The name of the database in the data directory.
const DATABASE_FILE: &str = "cluster.db";

const VERSION: i32 = 1;

const TABLES: &str = "
CREATE TABLE roles (role BLOB PRIMARY KEY, epoch INTEGER NOT NULL, holder BLOB, ttl_ms INTEGER) WITHOUT ROWID;
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
    /// One question is worked on at a time; the others wait without a thread, for a disk that hangs must not take those of the node.
    turn: Arc<Semaphore>,
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
        let inner = Arc::new(Mutex::new(Inner { table, connection, doubtful: false }));
        Ok(Self { path, inner, turn: Arc::new(Semaphore::new(1)), clock })
    }

    /// Does `work` where it may block.
    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Inner, MonoTime) -> T + Send + 'static,
    ) -> Answer<'_, Result<T, Unavailable>> {
        let (inner, clock, turn) = (Arc::clone(&self.inner), Arc::clone(&self.clock), Arc::clone(&self.turn));
        Box::pin(async move {
            let turn = turn.acquire_owned().await.map_err(|error| Unavailable(error.to_string()))?;
            let done = tokio::task::spawn_blocking(move || {
                // Over when the work is done, not when nobody waits for it any more.
                let _turn = turn;
                // The table is changed after the database, in one step: whoever held the lock left both whole.
                let mut inner = inner.lock().unwrap_or_else(PoisonError::into_inner);
                let now = clock();
                inner.settle(now)?;
                Ok(work(&mut inner, now))
            });
            done.await.map_err(|error| Unavailable(error.to_string()))?
        })
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
    let mut table = Table::default();
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
    Ok(Ok(table))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: RoleId = RoleId([1; 16]);
    const HOLDER: RoleId = RoleId([2; 16]);
    const TTL: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn after_a_write_that_is_in_doubt_the_database_is_right() {
        let data = tempfile::tempdir().unwrap();
        let database = Database::open(data.path()).unwrap();
        let other = Connection::open(data.path().join(DATABASE_FILE)).unwrap();
        other.execute("INSERT INTO roles VALUES (?1, 7, NULL, NULL)", [ROLE.0]).unwrap();
        database.inner.lock().unwrap().doubtful = true;
        assert_eq!(database.acquire(ROLE, HOLDER, TTL).await.unwrap().epoch, 8);
        assert!(!database.inner.lock().unwrap().doubtful);
    }

    #[test]
    fn a_database_that_hangs_takes_one_thread_of_the_node() {
        let data = tempfile::tempdir().unwrap();
        let database = Database::open(data.path()).unwrap();
        let (locked, is_locked) = std::sync::mpsc::channel();
        let (go_on, goes_on) = std::sync::mpsc::channel::<()>();
        let inner = Arc::clone(&database.inner);
        let disk = std::thread::spawn(move || {
            let _hangs = inner.lock().unwrap();
            locked.send(()).unwrap();
            let _ = goes_on.recv();
        });
        is_locked.recv().unwrap();
        let runtime =
            tokio::runtime::Builder::new_current_thread().max_blocking_threads(2).enable_time().build();
        runtime.unwrap().block_on(async {
            for _ in 0..8 {
                let asked = database.acquire(ROLE, HOLDER, TTL);
                let given_up = tokio::time::timeout(Duration::from_millis(1), asked).await;
                assert!(given_up.is_err(), "{given_up:?}");
            }
            tokio::task::spawn_blocking(|| ()).await.unwrap();
            drop(go_on);
            assert_eq!(database.acquire(ROLE, HOLDER, TTL).await.unwrap().epoch, 1);
        });
        disk.join().unwrap();
    }
}
