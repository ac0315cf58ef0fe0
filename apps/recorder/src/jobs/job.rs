//! One export job: what was ordered, how far it is, how it ended.

use std::sync::{Mutex, MutexGuard, PoisonError};

use keepwatch_model::{CameraId, MonoTime, Span, StreamId, WallTime};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::KEPT_TICKS;

/// What was ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The cameras, at least one, each once.
    pub(crate) cameras: Vec<CameraId>,
    /// Which of their streams.
    pub(crate) stream: StreamId,
    /// First label.
    pub(crate) from: WallTime,
    /// First label behind it.
    pub(crate) to: WallTime,
    /// Whether sound is wanted.
    pub(crate) audio: bool,
    /// Who ordered it.
    pub(crate) by: String,
    /// When.
    pub(crate) created: WallTime,
    /// The end of the audit log with the entry about it.
    pub(crate) audit_head: Option<String>,
}

impl Order {
    /// The labels.
    pub(crate) const fn window(&self) -> Span {
        Span { from: self.from, to: self.to }
    }
}

/// Where a job is.
///
/// ```text
/// Waiting -> Running -> Done
///    |          |-----> Failed
///    '----------'-----> Cancelled
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JobState {
    /// Others come before it.
    Waiting,
    /// It is being made.
    Running,
    /// Its archive can be had.
    Done,
    /// There is none, and why is told.
    Failed,
    /// Somebody ended it.
    Cancelled,
}

/// How far a job is.
#[derive(Clone, Debug)]
struct Progress {
    state: JobState,
    bytes_done: u64,
    bytes_total: u64,
    /// Never goes back, whatever becomes of the total.
    share: f64,
    begun: Option<(MonoTime, MonoTime)>,
    ended: Option<WallTime>,
    error: Option<String>,
}

/// A job as it is seen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    /// Where it is.
    pub(crate) state: JobState,
    /// Share that is done, 0 to 1; 1 only at the end.
    pub(crate) progress: f64,
    /// Bytes of footage written.
    pub(crate) bytes_done: u64,
    /// Bytes in all, an estimate until it is done.
    pub(crate) bytes_total: u64,
    /// Seconds left at the rate so far; `None` while it is not known.
    pub(crate) seconds_left: Option<u64>,
    /// When it is forgotten; `None` while it is not over.
    pub(crate) expires: Option<WallTime>,
    /// Why it failed.
    pub(crate) error: Option<String>,
}

/// A job as it is kept.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    id: u64,
    order: Order,
    state: JobState,
    bytes: u64,
    ended: Option<WallTime>,
    error: Option<String>,
}

/// A job.
#[derive(Debug)]
pub(crate) struct Job {
    id: u64,
    order: Order,
    progress: Mutex<Progress>,
    /// Set when it is over before it is done.
    given_up: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Job {
    pub(super) fn new(id: u64, order: Order, estimate: u64) -> Self {
        let progress = Progress {
            state: JobState::Waiting,
            bytes_done: 0,
            bytes_total: estimate,
            share: 0.0,
            begun: None,
            ended: None,
            error: None,
        };
        Self {
            id,
            order,
            progress: Mutex::new(progress),
            given_up: watch::Sender::new(false),
            task: Mutex::default(),
        }
    }

    /// The job that was kept in `bytes`; one that was not over has failed.
    pub(super) fn restore(bytes: &[u8], now: WallTime) -> Option<Self> {
        let Kept { id, order, state, bytes, ended, error } = serde_json::from_slice(bytes).ok()?;
        let job = Self::new(id, order, bytes);
        {
            let mut progress = job.progress();
            (progress.state, progress.error, progress.ended) = match state {
                JobState::Waiting | JobState::Running => {
                    (JobState::Failed, Some("the node was restarted".to_owned()), Some(now))
                }
                over @ (JobState::Done | JobState::Failed | JobState::Cancelled) => (over, error, ended),
            };
            if state == JobState::Done {
                progress.bytes_done = bytes;
                progress.share = 1.0;
            }
        }
        Some(job)
    }

    pub(super) fn kept(&self) -> Kept {
        let progress = self.progress();
        Kept {
            id: self.id,
            order: self.order.clone(),
            state: progress.state,
            bytes: progress.bytes_total,
            ended: progress.ended,
            error: progress.error.clone(),
        }
    }

    /// Its id.
    pub(crate) const fn id(&self) -> u64 {
        self.id
    }

    /// What was ordered.
    pub(crate) const fn order(&self) -> &Order {
        &self.order
    }

    /// Name of its archive for whoever fetches it.
    pub(crate) fn file_name(&self) -> String {
        let cameras = match self.order.cameras.as_slice() {
            [one] => one.to_string(),
            several => format!("{}-cameras", several.len()),
        };
        format!("{cameras}-{}.zip", plain(self.order.from))
    }

    /// Where it is.
    pub(crate) fn state(&self) -> JobState {
        self.progress().state
    }

    /// Whether it is neither made nor given up.
    pub(crate) fn is_pending(&self) -> bool {
        matches!(self.state(), JobState::Waiting | JobState::Running)
    }

    /// When it is forgotten; `None` while it is not over.
    pub(crate) fn expires(&self) -> Option<WallTime> {
        self.progress().ended.map(|ended| ended.plus(KEPT_TICKS))
    }

    /// How it is seen.
    pub(crate) fn seen(&self) -> Seen {
        let progress = self.progress();
        Seen {
            state: progress.state,
            progress: progress.share,
            bytes_done: progress.bytes_done,
            bytes_total: progress.bytes_total,
            seconds_left: progress.seconds_left(),
            expires: progress.ended.map(|ended| ended.plus(KEPT_TICKS)),
            error: progress.error.clone(),
        }
    }

    /// Its turn has come; false when it was given up.
    pub(super) fn begin(&self, now: MonoTime) -> bool {
        let mut progress = self.progress();
        if progress.state != JobState::Waiting {
            return false;
        }
        progress.state = JobState::Running;
        progress.begun = Some((now, now));
        true
    }

    /// It is so far.
    pub(super) fn advance(&self, bytes_done: u64, bytes_total: u64, now: MonoTime) {
        let mut progress = self.progress();
        if progress.state != JobState::Running {
            return;
        }
        progress.bytes_done = bytes_done;
        progress.bytes_total = bytes_total.max(bytes_done);
        if let Some((_, last)) = &mut progress.begun {
            *last = now;
        }
        // Both are far below 2^52. The manifest and the directory are still to come.
        let share = bytes_done as f64 / progress.bytes_total.max(1) as f64;
        progress.share = progress.share.max(share.min(0.999));
    }

    /// It is made; false when it was given up before.
    pub(super) fn done(&self, bytes: u64, now: WallTime) -> bool {
        let mut progress = self.progress();
        let running = progress.state == JobState::Running;
        if running {
            progress.state = JobState::Done;
            (progress.bytes_done, progress.bytes_total, progress.share) = (bytes, bytes, 1.0);
            progress.ended = Some(now);
        }
        running
    }

    /// It fails; false when it was over before.
    pub(super) fn fail(&self, why: &str, now: WallTime) -> bool {
        self.give_up(JobState::Failed, Some(why.to_owned()), now)
    }

    /// Somebody ends it; false when it was over before.
    pub(super) fn cancel(&self, now: WallTime) -> bool {
        self.give_up(JobState::Cancelled, None, now)
    }

    fn give_up(&self, state: JobState, error: Option<String>, now: WallTime) -> bool {
        let mut progress = self.progress();
        let pending = matches!(progress.state, JobState::Waiting | JobState::Running);
        if pending {
            progress.state = state;
            progress.error = error;
            progress.ended = Some(now);
            drop(progress);
            self.given_up.send_replace(true);
        }
        pending
    }

    /// Whether it is over before it was done.
    pub(super) fn is_given_up(&self) -> bool {
        *self.given_up.borrow()
    }

    /// Waits until it is over before it is done.
    pub(super) async fn given_up(&self) {
        // The sender lives in `self`.
        let _ = self.given_up.subscribe().wait_for(|given_up| *given_up).await;
    }

    pub(super) fn begun_as(&self, task: JoinHandle<()>) {
        *self.task() = Some(task);
    }

    /// Waits until nothing works on it any more.
    pub(super) async fn ended(&self) {
        let task = self.task().take();
        if let Some(task) = task {
            // An error means that it ended badly, which was logged.
            let _ = task.await;
        }
    }

    fn task(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress {
    fn seconds_left(&self) -> Option<u64> {
        let (begun, last) = self.begun.filter(|_| self.state == JobState::Running)?;
        let millis = last.since(begun).as_millis();
        let left = u128::from(self.bytes_total.saturating_sub(self.bytes_done));
        let per_second = u128::from(self.bytes_done).checked_mul(1_000)?.checked_div(millis)?;
        u64::try_from(left.checked_div(per_second)?).ok()
    }
}

/// The id of a job that was ordered at `created`.
pub(super) fn id_at(created: WallTime) -> u64 {
    u64::try_from(created.as_unix_nanos() / 1_000_000).unwrap_or(0)
}

/// A label to the second as a part of a file's name.
pub(super) fn plain(label: WallTime) -> String {
    let text: String =
        label.to_string().chars().take(19).filter(|letter| !matches!(letter, ':' | '-')).collect();
    text + "Z"
}
