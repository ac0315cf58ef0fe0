//! The lines to a primary: one for checks and one for its configuration, so that a large answer does not hold up a sign of
//! life. Neither decides anything: what came of a question is told to the driver.

use std::sync::Arc;
use std::time::Duration;

use keepwatch_model::{RoleId, Span};
use keepwatch_recording::failover::Missed;
use keepwatch_settings::standby::PrimaryRow;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::backups::Keeper;
use crate::driver::Input;
use crate::tasks::keep_up;
use crate::world::{Failure, Line, Lines};

/// How long a whole configuration may take: eight megabytes over a slow line.
const BACKUP_PATIENCE: Duration = Duration::from_secs(60);

/// How long an account of what is missing may take: it reads an index.
const ACCOUNT_PATIENCE: Duration = Duration::from_secs(20);

/// What is asked of a primary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The number of the newest check; 0 before the first.
    pub(crate) check: u64,
    /// How long an answer may take.
    pub(crate) patience: Duration,
}

/// What is wanted over the line that is not for checks.
#[derive(Clone, Copy, Debug, Default)]
struct Wants {
    /// Grows with each wish for the configuration.
    backups: u64,
    /// Grows with each wish for an account.
    accounts: u64,
    /// Of which failover, by the number of its report, and of which time.
    account: Option<(u64, Span)>,
}

/// Both lines to a primary; they end when this is dropped.
#[derive(Debug)]
pub(crate) struct Wire {
    asked: watch::Sender<Asked>,
    wants: watch::Sender<Wants>,
    _tasks: JoinSet<()>,
}

impl Wire {
    /// Lines to `primary`; what comes of questions is told to `inputs`.
    pub(crate) fn open(
        primary: &PrimaryRow,
        lines: &Arc<dyn Lines>,
        keeper: &Keeper,
        inputs: &mpsc::Sender<Input>,
    ) -> Self {
        let (asked, questions) = watch::channel(Asked::default());
        let (wants, wanted) = watch::channel(Wants::default());
        let mut tasks = JoinSet::new();
        let (lines, inputs, row) = (Arc::clone(lines), inputs.clone(), primary.clone());
        let (more_lines, more_inputs, same) = (Arc::clone(&lines), inputs.clone(), primary.clone());
        let keeper = keeper.clone();
        tasks.spawn(keep_up("asks a primary", move || {
            check(lines.line(&row), row.role, questions.clone(), inputs.clone())
        }));
        tasks.spawn(keep_up("fetches the configuration of a primary", move || {
            let line = more_lines.line(&same);
            back_up(line, same.role, wanted.clone(), keeper.clone(), more_inputs.clone())
        }));
        Self { asked, wants, _tasks: tasks }
    }

    /// Asks; a question before that has no answer yet is given up.
    pub(crate) fn check(&self, check: u64, patience: Duration) {
        self.asked.send_replace(Asked { check, patience });
    }

    /// Fetches the configuration, once more if it is just being fetched.
    pub(crate) fn back_up(&self) {
        self.wants.send_modify(|wants| wants.backups = wants.backups.wrapping_add(1));
    }

    /// Asks what the primary lacks of `window`, for the report of this number.
    pub(crate) fn account(&self, report: u64, window: Span) {
        self.wants.send_modify(|wants| {
            wants.accounts = wants.accounts.wrapping_add(1);
            wants.account = Some((report, window));
        });
    }
}

/// Asks what was asked last.
async fn check(
    line: Result<Box<dyn Line>, Failure>,
    role: RoleId,
    mut questions: watch::Receiver<Asked>,
    inputs: mpsc::Sender<Input>,
) {
    let mut line = line;
    while questions.changed().await.is_ok() {
        let Asked { check, patience } = *questions.borrow_and_update();
        let answer = match &mut line {
            Ok(line) => tokio::select! {
                answer = line.check(patience) => answer,
                // The next check is due: the driver counts this one as late.
                _ = newer(&questions) => continue,
            },
            Err(failure) => Err(failure.clone()),
        };
        if inputs.send(Input::Checked { role, check, answer }).await.is_err() {
            return;
        }
    }
}

/// Waits for a question that was not seen.
async fn newer(questions: &watch::Receiver<Asked>) {
    let mut questions = questions.clone();
    if questions.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Fetches and keeps a configuration whenever it is wanted, and asks for accounts.
async fn back_up(
    line: Result<Box<dyn Line>, Failure>,
    role: RoleId,
    mut wanted: watch::Receiver<Wants>,
    keeper: Keeper,
    inputs: mpsc::Sender<Input>,
) {
    let mut line = line;
    let mut done = Wants::default();
    while wanted.changed().await.is_ok() {
        let wants = *wanted.borrow_and_update();
        let before = std::mem::replace(&mut done, wants);
        if let Some((report, window)) = wants.account.filter(|_| wants.accounts != before.accounts) {
            let result = match &mut line {
                Ok(line) => line.missing(window, keeper.wall(), ACCOUNT_PATIENCE).await,
                Err(failure) => Err(failure.clone()),
            };
            let result = result.map_err(|failure| failure.text);
            if inputs.send(Input::Accounted { role, report, result }).await.is_err() {
                return;
            }
        }
        if wants.backups == before.backups {
            continue;
        }
        let fetched = match &mut line {
            Ok(line) => line.backup(BACKUP_PATIENCE).await.map_err(|failure| failure.text),
            Err(failure) => Err(failure.text.clone()),
        };
        let result = match fetched {
            Ok(backup) => keeper.keep(role, backup).await,
            Err(why) => Err(why),
        };
        if inputs.send(Input::BackedUp { role, result: result.map(Box::new) }).await.is_err() {
            return;
        }
    }
}

impl Failure {
    /// The answer was none of a primary.
    pub(crate) fn unusable(text: impl Into<String>) -> Self {
        Self { missed: Missed::Unusable, text: text.into() }
    }
}
