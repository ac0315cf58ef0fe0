//! Backups of what the primaries are configured with: numbered, sealed, each kept once.

use std::sync::PoisonError;

use keepwatch_model::{RoleId, WallTime};
use rusqlite::{Connection, OptionalExtension, params};

use super::{BookError, StandbyBook};
use crate::SealedDocument;

/// Most backups that are kept of one primary; the oldest go first. One is kept when the configuration changed, not each time
/// that it is fetched.
pub const BACKUPS_MAX: u64 = 200;

/// What is known of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupLine {
    /// Its number, from 1, for each primary.
    pub number: u64,
    /// When the primary made it.
    pub taken: WallTime,
    /// When the configuration was last found to be still the same.
    pub checked: WallTime,
    /// How many cameras are in it.
    pub cameras: u64,
}

/// What came of a backup that was to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupKept {
    /// What is known of it.
    pub line: BackupLine,
    /// Whether it differs from the one before.
    pub changed: bool,
}

impl StandbyBook {
    /// Keeps the configuration of a primary, fetched at `now`, unless it is the last one by its `digest`.
    ///
    /// # Errors
    /// When it cannot be sealed or written.
    pub fn keep_backup(
        &self,
        role: RoleId,
        taken: WallTime,
        now: WallTime,
        cameras: usize,
        digest: &[u8],
        document: &[u8],
    ) -> Result<BackupKept, BookError> {
        // Whoever keeps another one of the same primary meanwhile would take the same number.
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |source| BookError::Database { path: self.path.clone(), source };
        let last = last(&connection, role).map_err(failed)?;
        let cameras = u64::try_from(cameras).unwrap_or(u64::MAX);
        if let Some((number, before, known)) = &last
            && known == digest
        {
            let update = "UPDATE backups SET checked = ?3 WHERE role = ?1 AND number = ?2";
            let checked = params![role.0, number.cast_signed(), now.ticks()];
            connection.execute(update, checked).map_err(failed)?;
            let line = BackupLine { number: *number, taken: *before, checked: now, cameras };
            return Ok(BackupKept { line, changed: false });
        }
        let number = last.map_or(0, |(number, _, _)| number) + 1;
        let sealed = SealedDocument::seal(&self.key, &object(role, number), document)
            .map_err(|source| BookError::Seal { number, source })?;
        let mut insert = || {
            let transaction = connection.transaction()?;
            transaction.execute(
                "INSERT INTO backups VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![
                    role.0,
                    number.cast_signed(),
                    taken.ticks(),
                    now.ticks(),
                    cameras.cast_signed(),
                    digest,
                    sealed.as_bytes()
                ],
            )?;
            transaction.execute(
                "DELETE FROM backups WHERE role = ?1 AND number <= ?2",
                params![role.0, number.saturating_sub(BACKUPS_MAX).cast_signed()],
            )?;
            transaction.commit()
        };
        insert().map_err(failed)?;
        let line = BackupLine { number, taken, checked: now, cameras };
        Ok(BackupKept { line, changed: true })
    }

    /// The backups of a primary, the newest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn backups(&self, role: RoleId) -> Result<Vec<BackupLine>, BookError> {
        self.run(|connection| {
            let mut query = connection.prepare(
                "SELECT number, taken, checked, cameras FROM backups WHERE role = ?1 ORDER BY number DESC",
            )?;
            let line = |row: &rusqlite::Row<'_>| {
                Ok(BackupLine {
                    number: row.get::<_, i64>(0)?.cast_unsigned(),
                    taken: WallTime::from_ticks(row.get(1)?),
                    checked: WallTime::from_ticks(row.get(2)?),
                    cameras: row.get::<_, i64>(3)?.cast_unsigned(),
                })
            };
            query.query_map([role.0], line)?.collect()
        })
    }

    /// The document of a backup; `None` when there is none with that number.
    ///
    /// # Errors
    /// When it cannot be read or opened.
    pub fn backup(&self, role: RoleId, number: u64) -> Result<Option<Vec<u8>>, BookError> {
        let kept: Option<Vec<u8>> = self.run(|connection| {
            let query = "SELECT document FROM backups WHERE role = ?1 AND number = ?2";
            connection.query_row(query, params![role.0, number.cast_signed()], |row| row.get(0)).optional()
        })?;
        let Some(kept) = kept else { return Ok(None) };
        let opened = SealedDocument::from_bytes(kept).open(&self.key, &object(role, number));
        opened.map(Some).map_err(|source| BookError::Seal { number, source })
    }
}

/// What a sealed backup is bound to: it cannot pass for another one.
fn object(role: RoleId, number: u64) -> String {
    format!("backup:{role}:{number}")
}

type Last = (u64, WallTime, Vec<u8>);

fn last(connection: &Connection, role: RoleId) -> rusqlite::Result<Option<Last>> {
    let query = "SELECT number, taken, digest FROM backups WHERE role = ?1 ORDER BY number DESC LIMIT 1";
    connection
        .query_row(query, [role.0], |row| {
            Ok((row.get::<_, i64>(0)?.cast_unsigned(), WallTime::from_ticks(row.get(1)?), row.get(2)?))
        })
        .optional()
}
