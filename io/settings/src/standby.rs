//! What a standby keeps: the recorders that it watches, backups of their configuration, the ids of their cameras here, and
//! the reports of its failovers, in `standby.db`.
//!
//! Backups carry passwords and are sealed with the key that is no part of the database. A backup that is as the one before is
//! not kept twice. It keeps rows and decides nothing; its methods block.

mod backups;
mod former;
mod locals;
mod reports;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keepwatch_model::{CameraId, RoleId, WallTime};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::opening::{self, Shape, Unusable};
use crate::{Key, KeyError, SealError};

pub use backups::{BACKUPS_MAX, BackupKept, BackupLine};
pub use former::{FORMER_MAX, FormerRow};
pub use reports::{REPORTS_MAX, ReportLine, ReportRows};

/// The name of the database in the data directory.
pub const DATABASE_FILE: &str = "standby.db";

/// Most primaries: each is asked every second, and ten are asked for.
pub const PRIMARIES_MAX: usize = 64;

const VERSION: i32 = 2;

const TABLES: &str = "
CREATE TABLE primaries (
    role BLOB PRIMARY KEY, key TEXT NOT NULL, address TEXT NOT NULL, name TEXT NOT NULL, mac TEXT, version TEXT NOT NULL,
    automatic INTEGER NOT NULL, priority INTEGER NOT NULL, prebuffer INTEGER NOT NULL, epoch INTEGER NOT NULL,
    covered TEXT NOT NULL, covered_since INTEGER, report INTEGER, drill TEXT,
    alone TEXT NOT NULL DEFAULT '[]') WITHOUT ROWID;
CREATE TABLE locals (
    role BLOB NOT NULL, camera TEXT NOT NULL, local TEXT NOT NULL UNIQUE, PRIMARY KEY (role, camera)) WITHOUT ROWID;
CREATE TABLE backups (
    role BLOB NOT NULL, number INTEGER NOT NULL, taken INTEGER NOT NULL, checked INTEGER NOT NULL, cameras INTEGER NOT NULL,
    digest BLOB NOT NULL, document BLOB NOT NULL, PRIMARY KEY (role, number));
CREATE TABLE reports (number INTEGER PRIMARY KEY, role BLOB NOT NULL, document TEXT NOT NULL);
CREATE TABLE setup (document TEXT NOT NULL);
";

const UPGRADES: &[&str] = &["ALTER TABLE primaries ADD COLUMN alone TEXT NOT NULL DEFAULT '[]';"];

/// A recorder that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrimaryRow {
    /// The role that it plays.
    pub role: RoleId,
    /// Its public key, by which it is known: 64 hexadecimal digits.
    pub key: String,
    /// Where it is.
    pub address: SocketAddr,
    /// Its name as operators see it.
    pub name: String,
    /// The hardware address of its network interface, as it said; `None` when it did not.
    pub mac: Option<String>,
    /// Its version by its last word.
    pub version: String,
    /// Whether its failover starts by itself.
    pub automatic: bool,
    /// The lowest is covered first.
    pub priority: u8,
    /// Whether its cameras are received ahead of a failover.
    pub prebuffer: bool,
    /// The epoch in which it plays the role.
    pub epoch: u64,
    /// The cameras that its running failover records; empty when none runs.
    pub covered: Vec<CameraId>,
    /// The cameras that are recorded while it lives, because it does not.
    pub alone: Vec<CameraId>,
    /// Since when its failover runs.
    pub covered_since: Option<WallTime>,
    /// The number of its report.
    pub report: Option<u64>,
    /// What came of its last drill, as a document.
    pub drill: Option<String>,
}

/// The primaries as they were kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrimaryRows {
    /// Those that can be read.
    pub rows: Vec<PrimaryRow>,
    /// What is wrong with each of the others, which stay as they are.
    pub damaged: Vec<String>,
}

/// Why something cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// A later version made the database.
    #[error(
        "{}: was written by a later version (format {version}); run that version, or restore a backup",
        path.display()
    )]
    Later {
        /// The database.
        path: PathBuf,
        /// The version of its format.
        version: i32,
    },
    /// It cannot be read or written.
    #[error("{}: cannot be read or written: {source}", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// What stands in it cannot be.
    #[error(
        "{}: {what}; restore the file from a backup, or move it away and register the primaries anew",
        path.display()
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The key of the passwords cannot be had.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A backup cannot be sealed or opened.
    #[error("backup {number}: {source}")]
    Seal {
        /// Its number.
        number: u64,
        /// Why.
        source: SealError,
    },
    /// There are too many primaries.
    #[error("{PRIMARIES_MAX} primaries are registered already; take one off the Monitoring list first")]
    Full,
}

/// What a standby keeps; a cheap handle.
#[derive(Clone)]
pub struct StandbyBook {
    path: PathBuf,
    key: Key,
    connection: Arc<Mutex<Connection>>,
}

impl fmt::Debug for StandbyBook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StandbyBook").field("path", &self.path).finish_non_exhaustive()
    }
}

impl StandbyBook {
    /// Opens the database in the data directory, and makes it where there is none. `key` seals backups.
    ///
    /// # Errors
    /// When it is damaged, of a later version, or out of reach. It is not touched then.
    pub fn open(data: &Path, key: Key) -> Result<Self, BookError> {
        let path = data.join(DATABASE_FILE);
        let shape = Shape { version: VERSION, tables: TABLES, upgrades: UPGRADES, table: "primaries" };
        let opened = opening::open(&path, &shape);
        let opened = opened.map_err(|source| BookError::Database { path: path.clone(), source })?;
        let connection = opened.map_err(|why| match why {
            Unusable::Later(version) => BookError::Later { path: path.clone(), version },
            Unusable::Damaged(what) => BookError::Damaged { path: path.clone(), what },
        })?;
        let made = connection.execute_batch(former::TABLE);
        made.map_err(|source| BookError::Database { path: path.clone(), source })?;
        Ok(Self { path, key, connection: Arc::new(Mutex::new(connection)) })
    }

    /// All primaries. One that is damaged does not hide the others.
    ///
    /// # Errors
    /// When none can be read.
    pub fn primaries(&self) -> Result<PrimaryRows, BookError> {
        self.run(|connection| {
            let mut query = connection.prepare(
                "SELECT role, key, address, name, mac, version, automatic, priority, prebuffer, epoch, covered,
                 covered_since, report, drill, alone FROM primaries ORDER BY role",
            )?;
            let (mut found, mut rows) = (PrimaryRows::default(), query.query([])?);
            while let Some(row) = rows.next()? {
                match primary(row) {
                    Ok(Ok(row)) => found.rows.push(row),
                    Ok(Err(what)) => found.damaged.push(what),
                    Err(error) => found.damaged.push(format!("a primary cannot be read: {error}")),
                }
            }
            Ok(found)
        })
    }

    /// Keeps a primary, or what changed of it.
    ///
    /// # Errors
    /// When it cannot be written, or there are too many.
    pub fn put_primary(&self, row: &PrimaryRow) -> Result<(), BookError> {
        let text = |ids: &[CameraId]| serde_json::to_string(ids).expect("ids have a JSON form");
        let (covered, alone) = (text(&row.covered), text(&row.alone));
        let written = self.run(|connection| {
            let others: i64 =
                connection.query_row("SELECT count(*) FROM primaries WHERE role != ?1", [row.role.0], |row| {
                    row.get(0)
                })?;
            if usize::try_from(others).is_ok_and(|others| others >= PRIMARIES_MAX) {
                return Ok(false);
            }
            connection.execute(
                "INSERT OR REPLACE INTO primaries VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
                params![
                    row.role.0,
                    row.key,
                    row.address.to_string(),
                    row.name,
                    row.mac,
                    row.version,
                    row.automatic,
                    row.priority,
                    row.prebuffer,
                    row.epoch.cast_signed(),
                    covered,
                    row.covered_since.map(WallTime::ticks),
                    row.report.map(u64::cast_signed),
                    row.drill,
                    alone,
                ],
            )?;
            Ok(true)
        })?;
        if written { Ok(()) } else { Err(BookError::Full) }
    }

    /// Forgets a primary. Its backups and the ids of its cameras stay: its footage does, too.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn remove_primary(&self, role: RoleId) -> Result<(), BookError> {
        self.run(|connection| connection.execute("DELETE FROM primaries WHERE role = ?1", [role.0]))?;
        Ok(())
    }

    /// The setup that was edited, as a document; `None` when none was.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn setup(&self) -> Result<Option<String>, BookError> {
        self.run(|connection| {
            connection.query_row("SELECT document FROM setup", [], |row| row.get(0)).optional()
        })
    }

    /// Keeps the setup that was edited; `None` forgets it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_setup(&self, document: Option<&str>) -> Result<(), BookError> {
        self.run(|connection| {
            let transaction = connection.transaction()?;
            transaction.execute("DELETE FROM setup", [])?;
            if let Some(document) = document {
                transaction.execute("INSERT INTO setup VALUES (?1)", [document])?;
            }
            transaction.commit()
        })
    }

    /// Does `work` with the database.
    fn run<T>(
        &self,
        work: impl FnOnce(&mut MutexGuard<'_, Connection>) -> rusqlite::Result<T>,
    ) -> Result<T, BookError> {
        // A change is made whole by SQLite: whoever panicked with the lock left nothing half done.
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut connection).map_err(|source| BookError::Database { path: self.path.clone(), source })
    }
}

/// A row, or what is wrong with it.
fn primary(row: &Row<'_>) -> rusqlite::Result<Result<PrimaryRow, String>> {
    let (role, address): ([u8; 16], String) = (row.get(0)?, row.get(2)?);
    let (covered, alone): (String, String) = (row.get(10)?, row.get(14)?);
    let role = RoleId(role);
    let Ok(address) = address.parse() else {
        return Ok(Err(format!("the primary {role} has no address but {address:?}")));
    };
    let (Ok(covered), Ok(alone)) = (serde_json::from_str(&covered), serde_json::from_str(&alone)) else {
        return Ok(Err(format!("what is covered of the primary {role} is not a list of cameras")));
    };
    Ok(Ok(PrimaryRow {
        role,
        key: row.get(1)?,
        address,
        name: row.get(3)?,
        mac: row.get(4)?,
        version: row.get(5)?,
        automatic: row.get(6)?,
        priority: row.get(7)?,
        prebuffer: row.get(8)?,
        epoch: row.get::<_, i64>(9)?.cast_unsigned(),
        covered,
        alone,
        covered_since: row.get::<_, Option<i64>>(11)?.map(WallTime::from_ticks),
        report: row.get::<_, Option<i64>>(12)?.map(i64::cast_unsigned),
        drill: row.get(13)?,
    }))
}
