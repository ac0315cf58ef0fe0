//! The only place that writes to standard output and standard error, except for the log.
//!
//! A reader that went away is no error: `keepwatch status | head -1` ends quietly.

use std::fmt;
use std::io::{self, IsTerminal, Write};

/// Writes a line to standard output.
pub(crate) fn say(line: impl fmt::Display) {
    // Nobody reads any more: nothing is lost by not writing.
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// Writes a line to standard error.
pub(crate) fn complain(line: impl fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// A line on standard error that is written over while something goes on; nothing when that is no terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    shown: bool,
    terminal: bool,
    percent: u64,
}

impl Progress {
    /// Nothing is shown yet.
    pub(crate) fn new() -> Self {
        Self { shown: false, terminal: io::stderr().is_terminal(), percent: u64::MAX }
    }

    /// Shows how much of `all` is done, when that changes by a whole percent.
    pub(crate) fn show(&mut self, done: u64, all: u64, what: impl fmt::Display) {
        let percent =
            if all == 0 { 0 } else { u64::try_from(u128::from(done) * 100 / u128::from(all)).unwrap_or(100) };
        if !self.terminal || percent == self.percent {
            return;
        }
        self.percent = percent;
        self.shown = true;
        let mut stderr = io::stderr().lock();
        let _ = write!(stderr, "\r\x1b[K{percent:>3} %  {what}").and_then(|()| stderr.flush());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}
