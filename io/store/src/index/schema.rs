//! The tables, their version, the disks registered in them, and small facts.

use std::fs;
use std::path::{Path, PathBuf};

use keepwatch_model::RoleId;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::{Index, lock};
use crate::{DiskId, StoreError};

/// The name of the index in the data directory.
pub(crate) const INDEX_FILE: &str = "index.db";

/// 3: a ledger tells who recorded what is held, and how far a gap is filled. 2: a ledger for each stream; 1 had one for each
/// camera, that of the main stream.
const VERSION: i32 = 3;

const TABLES: &str = "
CREATE TABLE facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE disks (
    number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, path TEXT NOT NULL, file_system INTEGER NOT NULL);
CREATE TABLE extents (
    disk INTEGER NOT NULL, extent INTEGER NOT NULL, sequence INTEGER NOT NULL,
    camera TEXT NOT NULL, stream INTEGER NOT NULL, sealed INTEGER NOT NULL,
    label_from INTEGER, label_to INTEGER, records INTEGER NOT NULL, last_offset INTEGER NOT NULL,
    PRIMARY KEY (disk, extent)) WITHOUT ROWID;
CREATE TABLE runs (
    disk INTEGER NOT NULL, extent INTEGER NOT NULL, first_record INTEGER NOT NULL, last_record INTEGER NOT NULL,
    sequence INTEGER NOT NULL, camera TEXT NOT NULL, stream INTEGER NOT NULL, run INTEGER NOT NULL,
    label_from INTEGER NOT NULL, label_to INTEGER NOT NULL, samples INTEGER NOT NULL, media_bytes INTEGER NOT NULL,
    lost_packets INTEGER NOT NULL, run_start INTEGER NOT NULL, origin INTEGER NOT NULL,
    gap_reason INTEGER NOT NULL, gap_from INTEGER, recorder BLOB NOT NULL, replaces BLOB,
    PRIMARY KEY (disk, extent, first_record)) WITHOUT ROWID;
CREATE INDEX runs_by_label ON runs (camera, stream, label_from);
CREATE TABLE protections (
    id INTEGER PRIMARY KEY AUTOINCREMENT, camera TEXT NOT NULL, label_from INTEGER NOT NULL,
    label_to INTEGER NOT NULL, note TEXT NOT NULL);
";

const LEDGER: &str = "
CREATE TABLE ledger (
    camera TEXT NOT NULL, stream INTEGER NOT NULL, label_from INTEGER NOT NULL, label_to INTEGER,
    kind INTEGER NOT NULL, reason INTEGER NOT NULL, place INTEGER NOT NULL,
    recorder BLOB, replaces BLOB, backfill INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (camera, stream, label_from, place)) WITHOUT ROWID;
";

/// From version 1: what was the camera's is the main stream's.
const LEDGER_FROM_1: &str = "
INSERT INTO ledger SELECT camera, 0, label_from, label_to, kind, reason, place, NULL, NULL, 0 FROM ledger_1;
DROP TABLE ledger_1;
";

/// From version 2: nobody kept who recorded.
const LEDGER_FROM_2: &str = "
ALTER TABLE ledger ADD COLUMN recorder BLOB;
ALTER TABLE ledger ADD COLUMN replaces BLOB;
ALTER TABLE ledger ADD COLUMN backfill INTEGER NOT NULL DEFAULT 0;
";

/// Tables that cannot be made anew from the disks, with their columns; a rebuild carries them over.
const KEPT_TABLES: [(&str, &str); 3] = [
    ("facts", "name, value"),
    ("protections", "id, camera, label_from, label_to, note"),
    ("ledger", "camera, stream, label_from, label_to, kind, reason, place, recorder, replaces, backfill"),
];

/// A disk that is in use by this recorder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Registered {
    pub(crate) disk: DiskId,
    pub(crate) path: PathBuf,
    /// The file system its container was last found on; 0 for a device.
    pub(crate) file_system: u64,
}

/// Opens or makes the database for writing.
pub(super) fn open_writable(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "cache_size", -2048)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(32);
    let version: i32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    match version {
        0 => {
            connection.execute_batch(&format!(
                "BEGIN; {TABLES} {LEDGER} PRAGMA user_version = {VERSION}; COMMIT"
            ))?;
        }
        1 => {
            upgrade(&connection, &format!("ALTER TABLE ledger RENAME TO ledger_1; {LEDGER} {LEDGER_FROM_1}"))?
        }
        2 => upgrade(&connection, LEDGER_FROM_2)?,
        VERSION => {
            // Reads the roots of all tables: a damaged file shows here rather than in the middle of a recording.
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
            connection.query_row("SELECT count(*) FROM disks", [], |_| Ok(()))?;
        }
        _ => return Err(StoreError::LaterIndex { path: path.to_owned(), version }),
    }
    Ok(connection)
}

/// Brings a database of an earlier version up to date; all of it, or nothing when it ends half-way.
fn upgrade(connection: &Connection, steps: &str) -> rusqlite::Result<()> {
    connection.execute_batch(&format!("BEGIN IMMEDIATE; {steps} PRAGMA user_version = {VERSION}; COMMIT"))
}

/// Opens the database for reading.
pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "cache_size", -2048)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(connection)
}

/// Whether a database is damaged, rather than busy or out of reach.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
}

/// Removes a database and what belongs to it.
pub(crate) fn remove_database(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        // What is not there need not be removed; what cannot be removed shows when it is opened.
        let _ = fs::remove_file(name);
    }
}

impl Index {
    /// A number kept under `name`.
    pub(crate) fn fact(&self, name: &str) -> Result<Option<i64>, StoreError> {
        self.reading(|connection| {
            let mut query = connection.prepare_cached("SELECT value FROM facts WHERE name = ?1")?;
            query.query_row([name], |row| row.get(0)).optional()
        })
    }

    /// Keeps a number under `name`.
    pub(crate) fn set_fact(&self, name: &str, value: i64) -> Result<(), StoreError> {
        self.writing(|transaction| {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO facts (name, value) VALUES (?1, ?2)")?
                .execute(params![name, value])
        })?;
        Ok(())
    }

    /// All disks in use by this recorder, present or not.
    pub(crate) fn registered(&self) -> Result<Vec<Registered>, StoreError> {
        self.reading(|connection| {
            let mut query = connection.prepare("SELECT id, path, file_system FROM disks ORDER BY number")?;
            let rows = query.query_map([], |row| {
                Ok(Registered {
                    disk: DiskId(row.get(0)?),
                    path: PathBuf::from(row.get::<_, String>(1)?),
                    file_system: super::rows::unsigned(row.get(2)?),
                })
            })?;
            rows.collect()
        })
    }

    /// Registers a disk, or its other place; durable when it returns.
    pub(crate) fn register(&self, registered: &Registered) -> Result<(), StoreError> {
        self.writing(|transaction| {
            transaction.execute(
                "INSERT INTO disks (id, path, file_system) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (id) DO UPDATE SET path = ?2, file_system = ?3",
                params![
                    &registered.disk.0[..],
                    registered.path.to_string_lossy(),
                    super::rows::signed(registered.file_system)
                ],
            )
        })?;
        self.checkpoint()
    }

    /// Takes over from another index what cannot be made anew from the disks, as far as it can be read.
    pub(crate) fn carry_over(&self, from: &Path) -> Result<(), StoreError> {
        let connection = lock(&self.shared.connection);
        let connection = connection.as_ref().ok_or(StoreError::ReadOnly)?;
        connection.execute("ATTACH DATABASE ?1 AS old", [from.to_string_lossy()])?;
        let version: i32 =
            connection.query_row("PRAGMA old.user_version", [], |row| row.get(0)).unwrap_or(VERSION);
        let mut result = Ok(());
        for (table, columns) in KEPT_TABLES {
            let mut of_old = columns.to_owned();
            if version == 1 {
                of_old = of_old.replace("stream", "0");
            }
            if version <= 2 {
                of_old = of_old.replace("recorder, replaces, backfill", "NULL, NULL, 0");
            }
            // One that cannot be read must not cost the others.
            let copy =
                format!("INSERT OR REPLACE INTO main.{table} ({columns}) SELECT {of_old} FROM old.{table}");
            result = result.and(connection.execute_batch(&copy));
        }
        connection.execute_batch("DETACH DATABASE old")?;
        Ok(result?)
    }

    /// Writes everything into the one file, so that it can be moved.
    pub(crate) fn settle(&self) -> Result<(), StoreError> {
        self.flush()?;
        let connection = lock(&self.shared.connection);
        let connection = connection.as_ref().ok_or(StoreError::ReadOnly)?;
        Ok(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
    }
}

/// The file of `data` that holds the recorder's identity.
const IDENTITY_FILE: &str = "identity";

/// Reads the recorder's identity from `data`, or draws it.
pub(crate) fn identity(data: &Path) -> Result<RoleId, StoreError> {
    use std::io::Write;
    if let Some(role) = known_identity(data)? {
        return Ok(role);
    }
    let path = data.join(IDENTITY_FILE);
    let role = RoleId(random(&path)?);
    let written = data.join("identity.new");
    let mut file = fs::File::create(&written).map_err(StoreError::io(&written))?;
    writeln!(file, "{role}").and_then(|()| file.sync_all()).map_err(StoreError::io(&written))?;
    fs::rename(&written, &path).map_err(StoreError::io(&path))?;
    fs::File::open(data).and_then(|data| data.sync_all()).map_err(StoreError::io(data))?;
    Ok(role)
}

/// Reads the recorder's identity from `data`; `None` when no recorder has run on it.
pub(crate) fn known_identity(data: &Path) -> Result<Option<RoleId>, StoreError> {
    let path = data.join(IDENTITY_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map(Some).map_err(|error: keepwatch_model::IdError| {
            StoreError::io(&path)(std::io::Error::new(std::io::ErrorKind::InvalidData, error))
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StoreError::Io { path, source }),
    }
}

/// A random UUID (RFC 9562 §5.4).
pub(crate) fn random(path: &Path) -> Result<[u8; 16], StoreError> {
    let mut id = [0; 16];
    getrandom::fill(&mut id)
        .map_err(|error| StoreError::io(path)(std::io::Error::other(error.to_string())))?;
    id[6] = id[6] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    Ok(id)
}
