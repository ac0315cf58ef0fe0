//! What is read before the first decision: all that the standby kept. What of it cannot be used is told, and stops nothing else.

use std::path::Path;
use std::sync::Arc;

use keepwatch_cluster::{Absent, Coord, Database};
use keepwatch_settings::standby::{BookError, PrimaryRow, ReportRows, StandbyBook};
use keepwatch_settings::{Key, KeyError};

use crate::backups::{Fetched, Keeper};
use crate::driver::ACCOUNTS_MAX;
use crate::report::Report;

/// Among so many reports one is sought whose account is open.
const NEWEST_REPORTS: usize = 200;

/// What the standby kept of its primaries.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) primaries: Vec<Known>,
    /// The number of the newest report.
    pub(crate) last_report: u64,
    /// What cannot be used, a sentence each.
    pub(crate) problems: Vec<String>,
}

/// A primary as it was kept.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) row: PrimaryRow,
    /// What its backups say.
    pub(crate) last: Option<Fetched>,
    /// The report of the failover that ran.
    pub(crate) report: Option<Report>,
    /// Those of others that ended, and whose accounts are open, the newest first.
    pub(crate) open: Vec<Report>,
}

impl Kept {
    /// Reads it. Blocks.
    pub(crate) fn read(book: &StandbyBook, keeper: &Keeper) -> Result<Self, BookError> {
        let found = book.primaries()?;
        let mut kept = Self { problems: found.damaged, ..Self::default() };
        // Reports are history: nothing waits for what of them cannot be read.
        let newest = book.reports(None, NEWEST_REPORTS).unwrap_or_else(|error| {
            kept.problems.push(format!("the reports of failovers cannot be read: {error}"));
            ReportRows::default()
        });
        kept.last_report = book.last_report().unwrap_or_else(|error| {
            kept.problems.push(format!("the number of the last report cannot be read: {error}"));
            found.rows.iter().filter_map(|row| row.report).max().unwrap_or(0)
        });
        kept.problems.extend(newest.damaged);
        let newest: Vec<Report> =
            newest.lines.iter().filter_map(|line| Report::read(&line.document)).collect();
        for row in found.rows {
            let covered: Vec<_> = row.covered.iter().chain(&row.alone).copied().collect();
            let loaded = keeper.last(row.role, &covered);
            let told = |why| format!("of primary {:?}: {why}", row.name);
            kept.problems.extend(loaded.problems.into_iter().map(told));
            let report = report_of(book, &row).unwrap_or_else(|error| {
                kept.problems.push(told(error.to_string()));
                None
            });
            let ended =
                newest.iter().filter(|ended| ended.role == row.role && Some(ended.number) != row.report);
            let open = ended.filter(|ended| ended.is_open(keeper.wall())).take(ACCOUNTS_MAX).cloned();
            let open = open.collect();
            kept.primaries.push(Known { row, last: loaded.fetched, report, open });
        }
        Ok(kept)
    }
}

/// The coordination in the data directory; one that cannot be used leaves failovers unconfirmed, and why is told. Blocks.
pub(crate) fn coordination(data: &Path) -> (Arc<dyn Coord>, Option<String>) {
    match Database::open(data) {
        Ok(database) => (Arc::new(database), None),
        Err(error) => (Arc::new(Absent::new(error.to_string())), Some(error.to_string())),
    }
}

/// The report of the failover that ran when the standby ended.
fn report_of(book: &StandbyBook, row: &PrimaryRow) -> Result<Option<Report>, BookError> {
    let Some(number) = row.report else { return Ok(None) };
    let lines = book.reports(number.checked_add(1), 1)?;
    let line = lines.lines.into_iter().find(|line| line.number == number);
    Ok(line.and_then(|line| Report::read(&line.document)))
}

/// The key that backups are sealed with: that of the passwords, which is made where there is none.
pub(crate) fn key(data: &Path) -> Result<Key, KeyError> {
    let find = || Key::find(data, std::env::var_os("CREDENTIALS_DIRECTORY").as_deref());
    if let Some(key) = find()? {
        return Ok(key);
    }
    match Key::make(data) {
        Ok(key) => Ok(key),
        // Somebody else made one at the same moment.
        Err(error) => find()?.ok_or(error),
    }
}
