//! The thread that writes the audit log: takes what waits, writes it behind the chain, flushes once, tells who waits.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use super::entry::{Draft, Entry, LINE_BYTES_MAX};
use super::files::{Line, Month, months, read_lines};
use super::{AuditError, AuditOpened, Head, State};

/// Entries that are flushed at once.
const BATCH_MAX: usize = 256;

/// What the thread is asked for.
pub(super) enum Order {
    /// To write an entry and tell when it is on disk.
    Enter(Draft, oneshot::Sender<Result<(), String>>),
    /// To tell when all before it was dealt with.
    Flush(oneshot::Sender<()>),
}

/// The end of the log.
pub(super) struct Writer {
    directory: PathBuf,
    head: Head,
    /// The file that is written to; `None` before the first entry.
    file: Option<Open>,
    /// What could not be written; `None` when all was.
    broken: Option<Broken>,
}

/// A log that cannot be written.
struct Broken {
    /// The month that the last entries were of.
    month: Month,
    /// When it is tried again.
    retry: Instant,
}

/// An open file.
struct Open {
    month: Month,
    file: File,
    /// Bytes that hold whole lines; what lies behind them was not finished.
    length: u64,
    /// Whether something may lie behind them.
    torn: bool,
}

impl Writer {
    /// Finds the end of the chain in `directory`.
    pub(super) fn open(directory: &Path) -> Result<(Self, AuditOpened), AuditError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| AuditError::File { path, source }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed(directory))?;
        let mut opened = AuditOpened::default();
        let mut head = Head::BEFORE_ALL;
        let months = months(directory).map_err(failed(directory))?;
        // Mostly the last file holds an entry; else the chain goes on behind an earlier one.
        for (behind, month) in months.iter().rev().enumerate() {
            let path = month.path(directory);
            let found = last_entry(&path).map_err(failed(&path))?;
            if behind == 0 {
                opened.unfinished_bytes = found.unfinished_bytes;
            }
            opened.damaged_lines = opened.damaged_lines.saturating_add(found.damaged_lines);
            if let Some(last) = found.head {
                head = last;
                break;
            }
        }
        let file = match months.into_iter().next_back() {
            Some(month) => {
                let path = month.path(directory);
                let mut open = Open::at(&path, month).map_err(failed(&path))?;
                open.length = open.length.saturating_sub(opened.unfinished_bytes);
                open.torn = opened.unfinished_bytes > 0;
                open.mend().map_err(failed(&path))?;
                Some(open)
            }
            None => None,
        };
        Ok((Self { directory: directory.to_owned(), head, file, broken: None }, opened))
    }

    /// Runs it on a thread of its own until nobody can send orders any more. A log that cannot be written is tried again
    /// after each `pause`: while it is thought broken, nobody may do what would have an entry try it.
    pub(super) fn start(
        mut self,
        mut orders: mpsc::Receiver<Order>,
        pause: Duration,
    ) -> io::Result<watch::Receiver<State>> {
        let (state, watched) = watch::channel(State { head: self.head, failure: None, turns: 0 });
        std::thread::Builder::new().name("audit".to_owned()).spawn(move || {
            let runtime = Builder::new_current_thread().enable_time().build();
            let runtime = runtime.expect("timers alone ask nothing of the system");
            let mut batch = Vec::new();
            loop {
                let retry = self.broken.as_ref().map(|broken| broken.retry);
                let received = runtime.block_on(async {
                    let receive = orders.recv_many(&mut batch, BATCH_MAX);
                    match retry {
                        Some(retry) => timeout_at(retry, receive).await.ok(),
                        None => Some(receive.await),
                    }
                });
                match received {
                    Some(0) => return,
                    Some(_) => self.work(&mut batch, pause, &state),
                    None => {}
                }
                if self.broken.as_ref().is_some_and(|broken| broken.retry <= Instant::now()) {
                    self.retry(pause, &state);
                }
            }
        })?;
        Ok(watched)
    }

    fn work(&mut self, batch: &mut Vec<Order>, pause: Duration, state: &watch::Sender<State>) {
        let (mut drafts, mut waiting, mut flushes) = (Vec::new(), Vec::new(), Vec::new());
        for order in batch.drain(..) {
            match order {
                Order::Enter(draft, done) => {
                    drafts.push(draft);
                    waiting.push(done);
                }
                Order::Flush(done) => flushes.push(done),
            }
        }
        if !drafts.is_empty() {
            let latest = drafts.iter().map(|draft| Month::of(draft.at)).max();
            let result = self.write(drafts).map_err(|error| error.to_string());
            if let Err(why) = &result {
                tracing::error!(why, "the audit log cannot be written");
            }
            let broken = |month| Broken { month, retry: Instant::now() + pause };
            self.broken = latest.filter(|_| result.is_err()).map(broken);
            self.tell(result.clone().err(), state);
            for done in waiting {
                // Who does not wait is content.
                let _ = done.send(result.clone());
            }
        }
        for done in flushes {
            let _ = done.send(());
        }
    }

    /// Tries whether entries can be written again, without one.
    fn retry(&mut self, pause: Duration, state: &watch::Sender<State>) {
        let Some(Broken { month, .. }) = self.broken.take() else { return };
        match self.file_of(month.clone()).and_then(Open::try_out) {
            Ok(()) => {
                tracing::info!("the audit log can be written again");
                self.tell(None, state);
            }
            Err(error) => {
                tracing::debug!(%error, "the audit log still cannot be written");
                self.broken = Some(Broken { month, retry: Instant::now() + pause });
            }
        }
    }

    fn tell(&self, failure: Option<String>, state: &watch::Sender<State>) {
        state.send_modify(|state| {
            if state.failure.is_some() != failure.is_some() {
                state.turns = state.turns.wrapping_add(1);
            }
            (state.head, state.failure) = (self.head, failure);
        });
    }

    /// Writes and flushes all of `drafts`, or none of them.
    fn write(&mut self, drafts: Vec<Draft>) -> io::Result<()> {
        let Some(latest) = drafts.iter().map(|draft| Month::of(draft.at)).max() else { return Ok(()) };
        let mut head = self.head;
        let mut text = String::new();
        for draft in drafts {
            let (line, next) = draft.chain(head)?;
            text += &line;
            head = next;
        }
        self.file_of(latest)?.append(text.as_bytes())?;
        self.head = head;
        Ok(())
    }

    /// The file for entries of `month`: a clock that was set back does not put them before their predecessors.
    fn file_of(&mut self, month: Month) -> io::Result<&mut Open> {
        let open = match self.file.take() {
            Some(open) if open.month >= month => open,
            Some(_) | None => {
                let path = month.path(&self.directory);
                let open = Open::at(&path, month)?;
                // The name of the file must be as durable as what is in it.
                File::open(&self.directory)?.sync_all()?;
                open
            }
        };
        Ok(self.file.insert(open))
    }
}

impl Open {
    fn at(path: &Path, month: Month) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let length = fs::metadata(path)?.len();
        Ok(Self { month, file, length, torn: false })
    }

    fn append(&mut self, text: &[u8]) -> io::Result<()> {
        self.mend()?;
        self.torn = true;
        self.file.write_all(text)?;
        self.file.sync_data()?;
        self.length = self.length.saturating_add(text.len() as u64);
        self.torn = false;
        Ok(())
    }

    /// Writes as much as the longest line and takes it back: a file that can be opened may stand on a full disk. A crash
    /// meanwhile leaves what counts as an unfinished line.
    fn try_out(&mut self) -> io::Result<()> {
        self.mend()?;
        self.torn = true;
        let tried =
            self.file.write_all(" ".repeat(LINE_BYTES_MAX).as_bytes()).and_then(|()| self.file.sync_data());
        // Also what went wrong takes room that others may need.
        self.mend()?;
        tried
    }

    /// Removes what an attempt that broke off left behind the last whole line.
    fn mend(&mut self) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.length)?;
            self.file.sync_data()?;
            self.torn = false;
        }
        Ok(())
    }
}

/// What the end of a file holds.
struct Found {
    head: Option<Head>,
    unfinished_bytes: u64,
    damaged_lines: u64,
}

fn last_entry(path: &Path) -> io::Result<Found> {
    let mut found = Found { head: None, unfinished_bytes: 0, damaged_lines: 0 };
    let _whole = read_lines::<()>(path, |_, line| {
        match line {
            Line::Whole(line) => match Entry::read(line) {
                Ok((entry, hash)) => found.head = Some(Head { seq: entry.seq, hash }),
                Err(_) => found.damaged_lines = found.damaged_lines.saturating_add(1),
            },
            Line::TooLong => found.damaged_lines = found.damaged_lines.saturating_add(1),
            Line::Unfinished(rest) => found.unfinished_bytes = rest.len() as u64,
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trying_out_leaves_no_trace_and_notices_a_full_disk() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "a line\n").unwrap();
        let month = || Month::of("2026-11-22T05:00:00Z".parse().unwrap());
        let mut open = Open::at(file.path(), month()).unwrap();
        open.try_out().unwrap();
        open.append(b"another\n").unwrap();
        assert_eq!(fs::read_to_string(file.path()).unwrap(), "a line\nanother\n");
        // Can be opened, takes nothing.
        assert!(Open::at(Path::new("/dev/full"), month()).unwrap().try_out().is_err());
    }
}
