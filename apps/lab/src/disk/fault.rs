//! What is wrong with a disk, and what was done to it.

use std::io;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// One command to a disk. Faults join, and stay until they are taken back or [`DiskFault::Heal`] takes back all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "disk", rename_all = "snake_case", deny_unknown_fields)]
pub enum DiskFault {
    /// Whether writes fail (EIO).
    WriteError {
        /// Whether they do.
        #[serde(default = "yes")]
        on: bool,
    },
    /// Whether reads fail (EIO).
    ReadError {
        /// Whether they do.
        #[serde(default = "yes")]
        on: bool,
    },
    /// Whether writes are taken and what makes them durable fails (EIO).
    FlushError {
        /// Whether it does.
        #[serde(default = "yes")]
        on: bool,
    },
    /// Whether it is write-protected (EROFS).
    ReadOnly {
        /// Whether it is.
        #[serde(default = "yes")]
        on: bool,
    },
    /// Whether the file system is full (ENOSPC).
    Full {
        /// Whether it is.
        #[serde(default = "yes")]
        on: bool,
    },
    /// Whether it was pulled out: nothing of it can be reached (ENODEV).
    Gone {
        /// Whether it was.
        #[serde(default = "yes")]
        on: bool,
    },
    /// Whether it says that it has written, and has not.
    Lies {
        /// Whether it does.
        #[serde(default = "yes")]
        on: bool,
    },
    /// Whether reads, writes and flushes wait until this is taken back.
    Stuck {
        /// Whether they do.
        #[serde(default = "yes")]
        on: bool,
    },
    /// How many bytes a second it reads and writes.
    Slow {
        /// 0 is as fast as it can.
        bytes_per_second: u64,
    },
    /// Puts another disk in its place.
    Swap {
        /// The directory that holds what is on that one.
        backing: PathBuf,
    },
    /// Takes back all faults; the disk that is in place stays.
    Heal,
}

const fn yes() -> bool {
    true
}

/// What was done to a disk, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DiskReport {
    /// Bytes that were written.
    pub written_bytes: u64,
    /// Bytes that it said to have written, and had not.
    pub dropped_bytes: u64,
    /// Bytes that were read.
    pub read_bytes: u64,
    /// How often all was made durable.
    pub flushes: u64,
    /// Reads, writes and flushes that failed on command.
    pub refused: u64,
}

/// What is to be done to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// So many bytes are read.
    Read(u64),
    /// So many bytes are written.
    Write(u64),
    /// All is made durable.
    Flush,
    /// A file is looked at or opened for reading.
    Look,
    /// A file is made, opened for writing or removed.
    Change,
}

/// How it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// As it should.
    Done,
    /// It is said to be done.
    Pretended,
}

/// Says how a disk behaves.
#[derive(Debug)]
pub(super) struct Switch {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    backing: PathBuf,
    /// Grows with every disk that is put in place.
    generation: u64,
    wrong: Wrong,
    report: DiskReport,
    /// Until when a slow disk is at work.
    busy_until: Instant,
}

/// What is wrong.
#[derive(Debug, Default)]
struct Wrong {
    write_error: bool,
    read_error: bool,
    flush_error: bool,
    read_only: bool,
    full: bool,
    gone: bool,
    lies: bool,
    stuck: bool,
    /// 0: it is not slow.
    bytes_per_second: u64,
}

impl Switch {
    pub(super) fn new(backing: PathBuf) -> Self {
        let state = State {
            backing,
            generation: 0,
            wrong: Wrong::default(),
            report: DiskReport::default(),
            busy_until: Instant::now(),
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Behaves so from now on.
    ///
    /// # Errors
    /// When the disk that is to be put in place is no directory.
    pub(super) fn apply(&self, fault: DiskFault) -> io::Result<()> {
        let mut state = self.lock();
        let wrong = &mut state.wrong;
        match fault {
            DiskFault::WriteError { on } => wrong.write_error = on,
            DiskFault::ReadError { on } => wrong.read_error = on,
            DiskFault::FlushError { on } => wrong.flush_error = on,
            DiskFault::ReadOnly { on } => wrong.read_only = on,
            DiskFault::Full { on } => wrong.full = on,
            DiskFault::Gone { on } => wrong.gone = on,
            DiskFault::Lies { on } => wrong.lies = on,
            DiskFault::Stuck { on } => wrong.stuck = on,
            DiskFault::Slow { bytes_per_second } => wrong.bytes_per_second = bytes_per_second,
            DiskFault::Swap { backing } => {
                let backing = backing.canonicalize()?;
                if !backing.is_dir() {
                    return Err(io::ErrorKind::NotADirectory.into());
                }
                state.backing = backing;
                state.generation += 1;
            }
            DiskFault::Heal => *wrong = Wrong::default(),
        }
        if state.wrong.bytes_per_second == 0 {
            state.busy_until = Instant::now();
        }
        drop(state);
        self.changed.notify_all();
        Ok(())
    }

    /// What was done to it.
    pub(super) fn report(&self) -> DiskReport {
        self.lock().report
    }

    /// The disk in place: its number, and the directory that holds what is on it.
    pub(super) fn in_place(&self) -> (u64, PathBuf) {
        let state = self.lock();
        (state.generation, state.backing.clone())
    }

    /// How `deed` goes on the disk of `generation`; waits as long as that takes.
    pub(super) fn allow(&self, generation: u64, deed: Deed) -> Result<Answer, Errno> {
        let mut state = self.lock();
        let waits = matches!(deed, Deed::Read(_) | Deed::Write(_) | Deed::Flush);
        while waits && state.wrong.stuck {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let refusal = state.refusal(generation, deed);
        if let Some(errno) = refusal {
            state.report.refused += u64::from(waits);
            return Err(errno);
        }
        let pretended = state.wrong.lies && matches!(deed, Deed::Write(_));
        state.report.note(deed, pretended);
        self.take_time(state, deed);
        Ok(if pretended { Answer::Pretended } else { Answer::Done })
    }

    /// Waits as long as a slow disk needs for it, one after the other.
    fn take_time(&self, mut state: MutexGuard<'_, State>, deed: Deed) {
        let (Deed::Read(bytes) | Deed::Write(bytes)) = deed else { return };
        let Some(nanos) = bytes.saturating_mul(1_000_000_000).checked_div(state.wrong.bytes_per_second)
        else {
            return;
        };
        let done_at = state.busy_until.max(Instant::now()) + Duration::from_nanos(nanos);
        state.busy_until = done_at;
        loop {
            let left = done_at.saturating_duration_since(Instant::now());
            if left.is_zero() || state.wrong.bytes_per_second == 0 {
                return;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn refusal(&self, generation: u64, deed: Deed) -> Option<Errno> {
        let wrong = &self.wrong;
        if wrong.gone || generation != self.generation {
            return Some(Errno::NODEV);
        }
        match deed {
            Deed::Read(_) if wrong.read_error => Some(Errno::IO),
            Deed::Flush if wrong.flush_error || wrong.write_error => Some(Errno::IO),
            Deed::Write(_) | Deed::Change if wrong.read_only => Some(Errno::ROFS),
            Deed::Write(_) if wrong.full => Some(Errno::NOSPC),
            Deed::Write(_) if wrong.write_error => Some(Errno::IO),
            Deed::Read(_) | Deed::Write(_) | Deed::Flush | Deed::Look | Deed::Change => None,
        }
    }
}

impl DiskReport {
    fn note(&mut self, deed: Deed, pretended: bool) {
        match deed {
            Deed::Write(bytes) if pretended => self.dropped_bytes += bytes,
            Deed::Write(bytes) => self.written_bytes += bytes,
            Deed::Read(bytes) => self.read_bytes += bytes,
            Deed::Flush => self.flushes += 1,
            Deed::Look | Deed::Change => {}
        }
    }
}
