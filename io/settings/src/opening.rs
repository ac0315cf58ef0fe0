//! Opening a database of settings: refused untouched where it is of a later version or damaged, made where there is none.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

/// What a database of ours is.
pub(crate) struct Shape {
    /// The newest version that this program reads.
    pub(crate) version: i32,
    /// What makes its tables.
    pub(crate) tables: &'static str,
    /// What makes a database of each earlier version, from 1 on, one of the version behind it.
    pub(crate) upgrades: &'static [&'static str],
    /// A table that it must have.
    pub(crate) table: &'static str,
}

/// Why a database is not used. It was not touched.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// It is of this version, a later one.
    Later(i32),
    /// This is wrong with it.
    Damaged(String),
}

/// Opens or makes the database. What is written to it survives the power.
pub(crate) fn open(path: &Path, shape: &Shape) -> rusqlite::Result<Result<Connection, Unusable>> {
    let Shape { version: newest, tables, upgrades, table } = shape;
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    // Read before anything is set: a database of a later version must stay as it is.
    let version: i32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if !(0..=*newest).contains(&version) {
        return Ok(Err(Unusable::Later(version)));
    }
    let whole: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if whole != "ok" {
        return Ok(Err(Unusable::Damaged(whole.replace('\n', " "))));
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -2048)?;
    if version == 0 {
        connection
            .execute_batch(&format!("BEGIN IMMEDIATE; {tables} PRAGMA user_version = {newest}; COMMIT"))?;
    } else {
        for (upgrade, becomes) in upgrades.iter().zip(2..).filter(|(_, becomes)| *becomes > version) {
            let step = format!("BEGIN IMMEDIATE; {upgrade} PRAGMA user_version = {becomes}; COMMIT");
            connection.execute_batch(&step)?;
        }
    }
    // A file of the right version without its table shows here.
    connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |_| Ok(()))?;
    Ok(Ok(connection))
}
