//! Running other programs: to the end with a limit, or until dropped.
//!
//! Each runs in a process group of its own, so that what it started ends with it, whatever happens to us.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often the end of a process is looked for: nothing tells us, and 20 ms of delay harm nobody.
const POLL: Duration = Duration::from_millis(20);

/// What a program left behind that ran to its end.
pub(crate) struct Finished {
    /// How it ended; `None` when it was killed for taking too long.
    pub(crate) status: Option<ExitStatus>,
    /// All it wrote, standard output and error as they came.
    pub(crate) output: String,
}

/// Waits without an event to wait for; the one place that does.
#[expect(clippy::disallowed_methods, reason = "another program's progress can only be polled")]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// Runs `command` to its end, at most for `limit`, and keeps what it wrote.
pub(crate) fn capture(command: &mut Command, limit: Duration) -> Result<Finished> {
    let mut log = tempfile::tempfile().context("a temporary file")?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?);
    let mut group = Group::spawn(command)?;
    let status = group.wait(limit)?;
    group.kill();
    log.rewind()?;
    let mut bytes = Vec::new();
    log.read_to_end(&mut bytes)?;
    Ok(Finished { status, output: String::from_utf8_lossy(&bytes).into_owned() })
}

/// Runs `command` with its output shown; an error when it does not succeed.
pub(crate) fn show(command: &mut Command) -> Result<()> {
    let text = spoken(command);
    let status = command.stdin(Stdio::null()).status().with_context(|| text.clone())?;
    if !status.success() {
        bail!("`{text}` ended with {status}");
    }
    Ok(())
}

/// The command as one would type it.
pub(crate) fn spoken(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    if let Some(name) = Path::new(&text).file_name() {
        text = name.to_string_lossy().into_owned();
    }
    for argument in command.get_args() {
        let argument = argument.to_string_lossy();
        text.push(' ');
        if argument.contains(' ') {
            text.push_str(&format!("'{argument}'"));
        } else {
            text.push_str(&argument);
        }
    }
    text
}

/// A program and all it starts; ended when dropped.
pub(crate) struct Group {
    child: Child,
    text: String,
}

impl Group {
    /// Starts `command` as the head of a process group.
    pub(crate) fn spawn(command: &mut Command) -> Result<Self> {
        let text = spoken(command);
        let child = command.process_group(0).spawn().with_context(|| format!("start `{text}`"))?;
        Ok(Self { child, text })
    }

    /// The process id of its head.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Takes its standard input, to be written or closed.
    pub(crate) fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Waits for its head at most `limit`; `None` when it still runs.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() >= end {
                return Ok(None);
            }
            pause(POLL);
        }
    }

    /// Asks it to end and waits at most `limit`; an error when it does not or ends badly.
    pub(crate) fn end(&mut self, limit: Duration) -> Result<()> {
        signal(self.child.id(), libc::SIGTERM);
        match self.wait(limit)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("`{}` was asked to end and ended with {status}", self.text),
            None => bail!("`{}` was asked to end and still runs after {limit:?}", self.text),
        }
    }

    /// Lets its head stand still, or go on.
    pub(crate) fn stop(&self, still: bool) {
        signal(self.child.id(), if still { libc::SIGSTOP } else { libc::SIGCONT });
    }

    /// Kills all of it at once.
    pub(crate) fn kill(&mut self) {
        if let Ok(id) = i32::try_from(self.child.id()) {
            // SAFETY: kill(2) takes integers and touches no memory of ours.
            #[expect(unsafe_code, reason = "std cannot signal a process group")]
            unsafe {
                libc::kill(-id, libc::SIGKILL);
            }
        }
        // Reaps it; that it had ended before is no error.
        drop(self.child.wait());
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

fn signal(id: u32, number: i32) {
    if let Ok(id) = i32::try_from(id) {
        // SAFETY: kill(2) takes integers and touches no memory of ours.
        #[expect(unsafe_code, reason = "std can only kill, not ask")]
        unsafe {
            libc::kill(id, number);
        }
    }
}

/// The lines a program prints on standard output, read on a thread so that waiting can have a limit.
pub(crate) struct Lines {
    receiver: Receiver<String>,
}

impl Lines {
    /// Reads the output of `group`, which must have been started with `Stdio::piped()`.
    pub(crate) fn of(group: &mut Group) -> Result<Self> {
        let stdout = group.child.stdout.take().context("its output is not piped")?;
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { receiver })
    }

    /// The next line; an error when none comes within `limit`.
    pub(crate) fn next(&self, limit: Duration) -> Result<String> {
        match self.receiver.recv_timeout(limit) {
            Ok(line) => Ok(line),
            Err(RecvTimeoutError::Timeout) => bail!("nothing printed within {limit:?}"),
            Err(RecvTimeoutError::Disconnected) => bail!("it ended without printing what was awaited"),
        }
    }
}

/// The last line of a text, without blank ones.
pub(crate) fn last_line(text: &str) -> Option<&str> {
    text.lines().rev().find(|line| !line.trim().is_empty())
}

/// Opens a file that takes a program's log, for [`Command::stderr`].
pub(crate) fn log_file(path: &Path) -> Result<File> {
    File::create(path).with_context(|| path.display().to_string())
}
