//! `config.db`: revisions in SQLite, each whole and with its checksum.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use keepwatch_model::WallTime;
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, params};

use crate::opening::{self, Shape, Unusable};
use crate::{Document, SettingsError};

/// The name of the database in the data directory.
pub const DATABASE_FILE: &str = "config.db";

/// Most revisions that are kept; the oldest go first.
pub const REVISIONS_MAX: u64 = 1000;

/// Most bytes of documents that are kept, beside the newest: a thousand revisions of a large site are many.
const KEPT_BYTES_MAX: u64 = 64 << 20;

/// Longest description of who and what, in characters.
const WORDS_CHARS_MAX: usize = 200;

const VERSION: i32 = 1;

const TABLES: &str = "
CREATE TABLE revisions (
    number INTEGER PRIMARY KEY, at INTEGER NOT NULL, by TEXT NOT NULL, what TEXT NOT NULL,
    document TEXT NOT NULL, checksum BLOB NOT NULL);
";

/// What is known of a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Its number, from 1.
    pub number: u64,
    /// When it was written.
    pub at: WallTime,
    /// Who wrote it.
    pub by: String,
    /// What it changed, in a few words.
    pub what: String,
}

/// A revision with its document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// What is known of it.
    pub revision: Revision,
    /// The document.
    pub document: Document,
}

/// The settings of a node; a cheap handle. Its methods block.
#[derive(Clone, Debug)]
pub struct Settings {
    path: PathBuf,
    connection: Arc<Mutex<Connection>>,
}

impl Settings {
    /// Opens the database in the data directory, and makes it where there is none.
    ///
    /// # Errors
    /// When it is damaged, of a later version, or out of reach. It is not touched then.
    pub fn open(data: &Path) -> Result<Self, SettingsError> {
        let path = data.join(DATABASE_FILE);
        let shape = Shape { version: VERSION, tables: TABLES, upgrades: &[], table: "revisions" };
        let opened = opening::open(&path, &shape).map_err(|error| explain(&path, error))?;
        let connection = opened.map_err(|why| match why {
            Unusable::Later(version) => SettingsError::Later { path: path.clone(), version },
            Unusable::Damaged(what) => SettingsError::Damaged { path: path.clone(), what },
        })?;
        Ok(Self { path, connection: Arc::new(Mutex::new(connection)) })
    }

    /// Reads the newest revision of the database in the data directory and changes nothing, also while a node runs;
    /// `None` when there is no database or no revision.
    ///
    /// # Errors
    /// As [`open`](Self::open) and [`newest`](Self::newest).
    pub fn look(data: &Path) -> Result<Option<Kept>, SettingsError> {
        let path = data.join(DATABASE_FILE);
        if !path.exists() {
            return Ok(None);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || {
            let connection = Connection::open_with_flags(&path, flags)?;
            connection.busy_timeout(Duration::from_secs(5))?;
            let version: i32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            Ok((connection, version))
        };
        let (connection, version) = open().map_err(|error| explain(&path, error))?;
        match version {
            0 => return Ok(None),
            VERSION => {}
            _ => return Err(SettingsError::Later { path, version }),
        }
        Self { path, connection: Arc::new(Mutex::new(connection)) }.newest()
    }

    /// The newest revision; `None` before the first.
    ///
    /// # Errors
    /// When it cannot be read, or its document is damaged.
    pub fn newest(&self) -> Result<Option<Kept>, SettingsError> {
        self.kept(
            "SELECT number, at, by, what, document, checksum FROM revisions ORDER BY number DESC LIMIT 1",
            &[],
        )
    }

    /// A revision by its number; `None` when there is none.
    ///
    /// # Errors
    /// As [`newest`](Self::newest).
    pub fn revision(&self, number: u64) -> Result<Option<Kept>, SettingsError> {
        let Ok(number) = i64::try_from(number) else { return Ok(None) };
        self.kept(
            "SELECT number, at, by, what, document, checksum FROM revisions WHERE number = ?1",
            &[&number],
        )
    }

    /// At most `limit` revisions before the one with the number `before`, the newest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn revisions(&self, before: Option<u64>, limit: usize) -> Result<Vec<Revision>, SettingsError> {
        let before = before.map_or(i64::MAX, |before| i64::try_from(before).unwrap_or(i64::MAX));
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let read = || -> rusqlite::Result<Vec<Revision>> {
            let connection = self.lock();
            let mut query = connection.prepare(
                "SELECT number, at, by, what FROM revisions WHERE number < ?1 ORDER BY number DESC LIMIT ?2",
            )?;
            query.query_map(params![before, limit], revision)?.collect()
        };
        read().map_err(|error| explain(&self.path, error))
    }

    /// Writes `document` as the revision behind `base`, which must be the newest (0 before the first). It is on disk when
    /// this returns.
    ///
    /// # Errors
    /// When another revision is the newest, or it cannot be written; then nothing was.
    pub fn write(
        &self,
        base: u64,
        document: &Document,
        at: WallTime,
        by: &str,
        what: &str,
    ) -> Result<Revision, SettingsError> {
        let text = document.write().map_err(SettingsError::TooLarge)?;
        let number = base.saturating_add(1);
        let written = Revision { number, at, by: words(by), what: words(what) };
        let newest = self.insert(base, &written, &text).map_err(|error| explain(&self.path, error))?;
        match newest {
            Some(newest) => Err(SettingsError::Changed { newest }),
            None => Ok(written),
        }
    }

    /// Inserts a revision behind `base`; returns the newest where that is another one.
    fn insert(&self, base: u64, revision: &Revision, text: &str) -> rusqlite::Result<Option<u64>> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let newest: i64 =
            transaction.query_row("SELECT coalesce(max(number), 0) FROM revisions", [], |row| row.get(0))?;
        let newest = u64::try_from(newest).unwrap_or(0);
        if newest != base {
            return Ok(Some(newest));
        }
        let number = i64::try_from(revision.number).unwrap_or(i64::MAX);
        let checksum = digest::digest(&digest::SHA256, text.as_bytes());
        transaction.execute(
            "INSERT INTO revisions (number, at, by, what, document, checksum) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![number, revision.at.ticks(), revision.by, revision.what, text, checksum.as_ref()],
        )?;
        let oldest = i64::try_from(revision.number.saturating_sub(REVISIONS_MAX)).unwrap_or(0);
        transaction.execute("DELETE FROM revisions WHERE number <= ?1", [oldest])?;
        // Of what is left, the newest that fit.
        transaction.execute(
            "DELETE FROM revisions WHERE number < ?1 AND number <= (SELECT coalesce(max(number), 0) FROM (
                SELECT number, sum(length(document)) OVER (ORDER BY number DESC) AS bytes FROM revisions)
                WHERE bytes > ?2)",
            params![number, i64::try_from(KEPT_BYTES_MAX).unwrap_or(i64::MAX)],
        )?;
        transaction.commit()?;
        Ok(None)
    }

    fn kept(&self, query: &str, bound: &[&dyn rusqlite::ToSql]) -> Result<Option<Kept>, SettingsError> {
        let read = || {
            let connection = self.lock();
            let row = connection.query_row(query, bound, |row| {
                Ok((revision(row)?, row.get::<_, String>(4)?, row.get::<_, Vec<u8>>(5)?))
            });
            row.optional()
        };
        let Some((revision, text, checksum)) = read().map_err(|error| explain(&self.path, error))? else {
            return Ok(None);
        };
        if digest::digest(&digest::SHA256, text.as_bytes()).as_ref() != checksum {
            let what = format!("revision {} does not match its checksum", revision.number);
            return Err(SettingsError::Damaged { path: self.path.clone(), what });
        }
        let document = Document::parse(&text).map_err(|source| SettingsError::Document {
            path: self.path.clone(),
            number: revision.number,
            source,
        })?;
        Ok(Some(Kept { revision, document }))
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic within a transaction leaves the connection usable: dropping the transaction takes it back.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn revision(row: &rusqlite::Row<'_>) -> rusqlite::Result<Revision> {
    Ok(Revision {
        number: u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0),
        at: WallTime::from_ticks(row.get(1)?),
        by: row.get(2)?,
        what: row.get(3)?,
    })
}

fn explain(path: &Path, error: rusqlite::Error) -> SettingsError {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(DatabaseCorrupt | NotADatabase) => SettingsError::Damaged { path, what: error.to_string() },
        _ => SettingsError::Database { path, source: error },
    }
}

/// A description on one line, shortened.
fn words(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(WORDS_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CameraEntry;

    fn document(ids: &[&str]) -> Document {
        Document { cameras: ids.iter().map(|id| CameraEntry::new(id.parse().unwrap())).collect() }
    }

    fn at(seconds: i64) -> WallTime {
        WallTime::from_ticks(seconds * 90_000)
    }

    #[test]
    fn revisions_are_kept_in_order_and_the_newest_is_in_force() {
        let data = tempfile::tempdir().unwrap();
        let settings = Settings::open(data.path()).unwrap();
        assert_eq!(settings.newest().unwrap(), None);
        assert_eq!(Settings::look(data.path()).unwrap(), None);
        settings.write(0, &document(&["a"]), at(1), "admin", "added a").unwrap();
        settings.write(1, &document(&["a", "b"]), at(2), "admin", "added b\nand more").unwrap();
        let newest = settings.newest().unwrap().unwrap();
        assert_eq!((newest.revision.number, newest.document.cameras.len()), (2, 2));
        assert_eq!(newest.revision.what, "added b and more");
        assert_eq!(settings.revision(1).unwrap().unwrap().document, document(&["a"]));
        assert_eq!(settings.revision(3).unwrap(), None);
        assert_eq!(settings.revision(u64::MAX).unwrap(), None);
        let numbers = |before, limit| -> Vec<u64> {
            settings.revisions(before, limit).unwrap().iter().map(|revision| revision.number).collect()
        };
        assert_eq!(
            (numbers(None, 10), numbers(Some(2), 10), numbers(None, 1)),
            (vec![2, 1], vec![1], vec![2])
        );
        // While the node has it open, and after it ended.
        assert_eq!(Settings::look(data.path()).unwrap(), Some(newest.clone()));
        drop(settings);
        assert_eq!(Settings::look(data.path()).unwrap(), Some(newest.clone()));
        assert_eq!(Settings::open(data.path()).unwrap().newest().unwrap(), Some(newest));
    }

    #[test]
    fn a_change_that_was_made_from_an_older_revision_is_refused() {
        let data = tempfile::tempdir().unwrap();
        let settings = Settings::open(data.path()).unwrap();
        settings.write(0, &document(&["a"]), at(1), "x", "x").unwrap();
        for base in [0, 2] {
            let refused = settings.write(base, &document(&[]), at(2), "x", "x");
            assert!(matches!(refused, Err(SettingsError::Changed { newest: 1 })), "{refused:?}");
        }
        assert_eq!(settings.newest().unwrap().unwrap().document, document(&["a"]));
    }

    #[test]
    fn old_revisions_go_by_number_and_by_size() {
        let data = tempfile::tempdir().unwrap();
        let settings = Settings::open(data.path()).unwrap();
        for base in 0..REVISIONS_MAX + 5 {
            settings.write(base, &document(&[]), at(0), "x", "x").unwrap();
        }
        let kept = settings.revisions(None, usize::MAX).unwrap();
        assert_eq!(kept.len() as u64, REVISIONS_MAX);
        assert_eq!(kept.first().map(|newest| newest.number), Some(REVISIONS_MAX + 5));
        let mut large = document(&["a"]);
        large.cameras[0].name = Some("x".repeat(7 << 20));
        for base in REVISIONS_MAX + 5..REVISIONS_MAX + 17 {
            settings.write(base, &large, at(0), "x", "x").unwrap();
        }
        let kept = settings.revisions(None, usize::MAX).unwrap();
        assert_eq!(kept.len(), 9, "nine documents of 7 MiB fit");
        assert_eq!(kept.first().map(|newest| newest.number), Some(REVISIONS_MAX + 17));
        assert!(settings.newest().unwrap().is_some());
    }

    #[test]
    fn a_damaged_or_later_database_is_told_and_left_as_it_is() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join(DATABASE_FILE);
        std::fs::write(&path, "this is no database, whatever its name is").unwrap();
        for error in [Settings::open(data.path()).unwrap_err(), Settings::look(data.path()).unwrap_err()] {
            assert!(matches!(error, SettingsError::Damaged { .. }), "{error}");
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"this is no database, whatever its name is");
        std::fs::remove_file(&path).unwrap();

        Settings::open(data.path()).unwrap().write(0, &document(&["a"]), at(1), "x", "x").unwrap();
        let raw = Connection::open(&path).unwrap();
        raw.execute("UPDATE revisions SET document = replace(document, 'a\"', 'b\"')", []).unwrap();
        let settings = Settings::open(data.path()).unwrap();
        let error = settings.newest().unwrap_err().to_string();
        assert!(error.contains("revision 1 does not match its checksum"), "{error}");
        // Another revision can still be restored over it.
        settings.write(1, &document(&["c"]), at(2), "x", "x").unwrap();
        assert_eq!(settings.newest().unwrap().unwrap().document, document(&["c"]));
        drop(settings);

        raw.pragma_update(None, "user_version", VERSION + 1).unwrap();
        for error in [Settings::open(data.path()).unwrap_err(), Settings::look(data.path()).unwrap_err()] {
            assert!(matches!(error, SettingsError::Later { version: 2, .. }), "{error}");
        }
    }

    /// A page that was half written, or a disk that lost one: whatever byte is wrong, nothing panics, and what is read is
    /// what was written.
    #[test]
    fn a_changed_byte_never_gives_another_document() {
        let data = tempfile::tempdir().unwrap();
        {
            let settings = Settings::open(data.path()).unwrap();
            settings.write(0, &document(&["gate", "yard"]), at(1), "admin", "added").unwrap();
            settings.lock().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        }
        let path = data.path().join(DATABASE_FILE);
        let whole = std::fs::read(&path).unwrap();
        for position in (0..whole.len()).step_by(97) {
            let mut broken = whole.clone();
            broken[position] ^= 0x55;
            let other = tempfile::tempdir().unwrap();
            std::fs::write(other.path().join(DATABASE_FILE), &broken).unwrap();
            if let Ok(Some(kept)) = Settings::look(other.path()) {
                assert_eq!(kept.document, document(&["gate", "yard"]), "byte {position}");
            }
        }
    }
}
