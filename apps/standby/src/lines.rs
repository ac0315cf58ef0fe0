//! The lines to a primary: one for checks and one for its configuration, so that a large answer does not hold up a sign of
//! life. Neither decides anything: what came of a question is told to the driver.

use std::sync::Arc;
use std::time::Duration;

use keepwatch_model::RoleId;
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

/// What is asked of a primary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The number of the newest check; 0 before the first.
    pub(crate) check: u64,
    /// How long an answer may take.
    pub(crate) patience: Duration,
}

/// Both lines to a primary; they end when this is dropped.
#[derive(Debug)]
pub(crate) struct Wire {
    asked: watch::Sender<Asked>,
    backups: watch::Sender<u64>,
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
        let (backups, wanted) = watch::channel(0);
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
        Self { asked, backups, _tasks: tasks }
    }

    /// Asks; a question before that has no answer yet is given up.
    pub(crate) fn check(&self, check: u64, patience: Duration) {
        self.asked.send_replace(Asked { check, patience });
    }

    /// Fetches the configuration, once more if it is just being fetched.
    pub(crate) fn back_up(&self) {
        self.backups.send_modify(|wanted| *wanted = wanted.wrapping_add(1));
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

/// Fetches and keeps a configuration whenever it is wanted.
async fn back_up(
    line: Result<Box<dyn Line>, Failure>,
    role: RoleId,
    mut wanted: watch::Receiver<u64>,
    keeper: Keeper,
    inputs: mpsc::Sender<Input>,
) {
    let mut line = line;
    while wanted.changed().await.is_ok() {
        wanted.mark_unchanged();
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
