//! What must outlive a restart, written behind the decisions: the newest state of each row, one write at a time. What cannot be
//! written is tried again.

use std::collections::BTreeMap;
use std::future::pending;
use std::time::Duration;

use keepwatch_model::RoleId;
use keepwatch_settings::standby::{BookError, PrimaryRow, StandbyBook};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::report::Report;

/// Time between two tries while the database cannot be written.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// Rows that are to be written.
#[derive(Clone, Debug, Default)]
struct Rows {
    /// `None` removes a primary.
    primaries: BTreeMap<RoleId, Option<PrimaryRow>>,
    reports: BTreeMap<u64, (RoleId, String)>,
}

/// Rows that are being written. They are kept until that is confirmed: who writes them may come to a bad end.
#[derive(Debug)]
struct UnderWay {
    rows: Rows,
    /// What could not be written, and why.
    writing: JoinHandle<(Rows, Option<BookError>)>,
    /// Who waits for them.
    confirms: Vec<Confirm>,
}

/// Hears that all is kept that was to be kept when it was made, or why not yet.
pub(super) type Confirm = oneshot::Sender<Result<(), String>>;

/// Writes behind.
#[derive(Debug)]
pub(crate) struct Writing {
    book: StandbyBook,
    rows: Rows,
    confirms: Vec<Confirm>,
    under_way: Option<UnderWay>,
    retry_at: Option<Instant>,
    last_report: u64,
}

impl Writing {
    /// Writes to `book`, whose newest report has the number `last_report`.
    pub(crate) fn new(book: StandbyBook, last_report: u64) -> Self {
        Self {
            book,
            rows: Rows::default(),
            confirms: Vec::new(),
            under_way: None,
            retry_at: None,
            last_report,
        }
    }

    /// Keeps a primary; `None` forgets it.
    pub(super) fn primary(&mut self, row: Option<&PrimaryRow>, role: RoleId) {
        self.rows.primaries.insert(role, row.cloned());
    }

    /// The number of the next report.
    pub(super) fn next_report(&mut self) -> u64 {
        self.last_report += 1;
        self.last_report
    }

    /// Keeps a report.
    pub(super) fn report(&mut self, report: &Report) {
        self.rows.reports.insert(report.number, (report.role, report.text()));
    }

    /// Has somebody hear when all is kept that is to be kept by now, or why not yet.
    pub(super) fn confirm(&mut self, confirm: Confirm) {
        self.confirms.push(confirm);
    }

    /// Begins to write what is to be written, unless that is under way.
    pub(super) fn begin(&mut self) {
        let idle = self.rows.primaries.is_empty() && self.rows.reports.is_empty();
        let later = self.retry_at.is_some_and(|at| at > Instant::now());
        if idle || later || self.under_way.is_some() {
            return;
        }
        self.retry_at = None;
        let (book, rows) = (self.book.clone(), std::mem::take(&mut self.rows));
        let kept = rows.clone();
        let writing = tokio::task::spawn_blocking(move || write(&book, rows));
        let confirms = std::mem::take(&mut self.confirms);
        self.under_way = Some(UnderWay { rows: kept, writing, confirms });
    }

    /// Waits until something can be begun again: what is under way ended, or it is time to try again.
    pub(super) async fn done(&mut self) {
        if let Some(UnderWay { writing, .. }) = &mut self.under_way {
            let ended = writing.await;
            let Some(UnderWay { rows, confirms, .. }) = self.under_way.take() else { return };
            let result = match ended {
                Ok((_, None)) => Ok(()),
                Ok((rows, Some(error))) => Err(self.take_back(rows, error.to_string())),
                Err(error) => Err(self.take_back(rows, error.to_string())),
            };
            for confirm in confirms {
                // Whoever waited may have gone.
                let _ = confirm.send(result.clone());
            }
        } else if let Some(at) = self.retry_at {
            sleep_until(at).await;
            self.retry_at = None;
        } else {
            pending::<()>().await;
        }
    }

    /// Writes all that is to be written, once.
    pub(super) async fn finish(&mut self) {
        if self.under_way.is_some() {
            self.done().await;
        }
        self.retry_at = None;
        self.begin();
        if self.under_way.is_some() {
            self.done().await;
        }
    }

    /// What could not be written is still to be, unless there is newer.
    fn take_back(&mut self, rows: Rows, error: String) -> String {
        tracing::error!(error, "what the standby knows is not kept, and is tried again");
        self.retry_at = Some(Instant::now() + RETRY_INTERVAL);
        for (role, row) in rows.primaries {
            self.rows.primaries.entry(role).or_insert(row);
        }
        for (number, report) in rows.reports {
            self.rows.reports.entry(number).or_insert(report);
        }
        error
    }
}

/// Writes rows; what could not be is given back with the reason.
fn write(book: &StandbyBook, mut rows: Rows) -> (Rows, Option<BookError>) {
    let mut failed = None;
    rows.primaries.retain(|role, row| {
        let written = match row {
            Some(row) => book.put_primary(row),
            None => book.remove_primary(*role),
        };
        keep_if_failed(written, &mut failed)
    });
    rows.reports
        .retain(|number, (role, text)| keep_if_failed(book.put_report(*number, *role, text), &mut failed));
    (rows, failed)
}

fn keep_if_failed(written: Result<(), BookError>, failed: &mut Option<BookError>) -> bool {
    match written {
        Ok(()) => false,
        Err(error) => {
            *failed = Some(error);
            true
        }
    }
}
