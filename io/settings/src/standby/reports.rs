//! The reports of failovers, as documents whose content is decided elsewhere.

use keepwatch_model::RoleId;
use rusqlite::params;

use super::{BookError, StandbyBook};

/// Most reports that are kept; the oldest go first.
pub const REPORTS_MAX: u64 = 1000;

/// A report as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportLine {
    /// Its number, from 1.
    pub number: u64,
    /// Of whom.
    pub role: RoleId,
    /// What it says.
    pub document: String,
}

/// Reports as they are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportRows {
    /// Those that can be read, the newest first.
    pub lines: Vec<ReportLine>,
    /// What is wrong with others, a sentence each.
    pub damaged: Vec<String>,
    /// The number below which there may be more; `None` at the end.
    pub next: Option<u64>,
}

impl StandbyBook {
    /// Keeps a report under `number`, or changes it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_report(&self, number: u64, role: RoleId, document: &str) -> Result<(), BookError> {
        self.run(|connection| {
            let transaction = connection.transaction()?;
            transaction.execute(
                "INSERT OR REPLACE INTO reports VALUES (?1, ?2, ?3)",
                params![number.cast_signed(), role.0, document],
            )?;
            transaction.execute(
                "DELETE FROM reports WHERE number <= ?1",
                [number.saturating_sub(REPORTS_MAX).cast_signed()],
            )?;
            transaction.commit()
        })
    }

    /// The number of the newest report, 0 before the first.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn last_report(&self) -> Result<u64, BookError> {
        self.run(|connection| {
            connection.query_row("SELECT coalesce(max(number), 0) FROM reports", [], |row| {
                row.get::<_, i64>(0).map(i64::cast_unsigned)
            })
        })
    }

    /// At most `limit` reports with a number below `before`. One that is damaged hides no other.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn reports(&self, before: Option<u64>, limit: usize) -> Result<ReportRows, BookError> {
        let before = before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.run(|connection| {
            let mut query = connection.prepare(
                "SELECT number, role, document FROM reports WHERE number < ?1 ORDER BY number DESC LIMIT ?2",
            )?;
            let (mut found, mut rows) = (ReportRows::default(), query.query(params![before, limit])?);
            let (mut count, mut last) = (0, 0);
            while let Some(row) = rows.next()? {
                last = row.get::<_, i64>(0)?.cast_unsigned();
                count += 1;
                match line(row, last) {
                    Ok(line) => found.lines.push(line),
                    Err(error) => found.damaged.push(format!("report {last} cannot be read: {error}")),
                }
            }
            found.next = (count == limit && last > 1).then_some(last);
            Ok(found)
        })
    }
}

fn line(row: &rusqlite::Row<'_>, number: u64) -> rusqlite::Result<ReportLine> {
    Ok(ReportLine { number, role: RoleId(row.get(1)?), document: row.get(2)? })
}
