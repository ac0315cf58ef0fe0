//! The thread that writes the audit log: takes what waits, writes it behind the chain, flushes once, tells who waits.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tokio::sync::{mpsc, oneshot, watch};

use super::entry::{Draft, Entry};
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
        Ok((Self { directory: directory.to_owned(), head, file }, opened))
    }

    /// Runs it on a thread of its own until nobody can send orders any more.
    pub(super) fn start(mut self, mut orders: mpsc::Receiver<Order>) -> io::Result<watch::Receiver<State>> {
        let (state, watched) = watch::channel(State { head: self.head, failure: None });
        std::thread::Builder::new().name("audit".to_owned()).spawn(move || {
            let mut batch = Vec::new();
            while orders.blocking_recv_many(&mut batch, BATCH_MAX) > 0 {
                self.work(&mut batch, &state);
            }
        })?;
        Ok(watched)
    }

    fn work(&mut self, batch: &mut Vec<Order>, state: &watch::Sender<State>) {
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
            let result = self.write(drafts).map_err(|error| error.to_string());
            if let Err(why) = &result {
                tracing::error!(why, "the audit log cannot be written");
            }
            state.send_replace(State { head: self.head, failure: result.clone().err() });
            for done in waiting {
                // Who does not wait is content.
                let _ = done.send(result.clone());
            }
        }
        for done in flushes {
            let _ = done.send(());
        }
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
