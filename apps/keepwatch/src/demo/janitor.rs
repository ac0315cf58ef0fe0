//! Tidies up after a demo, also after one that was killed: ends its children and removes its directory.
//!
//! The janitor is a process in a session of its own that holds the reading end of a pipe. It makes the temporary
//! directory itself, so that there is no moment at which the directory is there and nobody to remove it. The demo tells
//! it the id of each child; when the pipe ends, the demo is gone or done. Children are held by pidfd (pidfd_open(2)), so that a
//! number that the system has given to another process meanwhile is never signalled.

use std::fs;
use std::io::{self, BufRead};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, getppid, pidfd_open, pidfd_send_signal, setsid};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::signal::unix::{SignalKind, signal};

use crate::{Outcome, output};

/// How long children may take to end in order.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// How long killed children may take to be gone.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// How long the demo waits for the janitor: for children that must be killed, and some time to remove files.
const JANITOR_PATIENCE: Duration = Duration::from_secs(30);

/// The demo's side of the pipe.
pub(super) struct Janitor {
    pipe: tokio::sync::Mutex<ChildStdin>,
}

/// Tells when the janitor is gone.
pub(super) struct Gone {
    process: Child,
}

impl Janitor {
    /// Starts the janitor and waits until it is at work; with `temporary`, it makes a directory and removes it at the
    /// end.
    pub(super) async fn start(temporary: bool) -> anyhow::Result<(Self, Gone, Option<PathBuf>)> {
        let mut command = Command::new(std::env::current_exe().context("this program cannot find itself")?);
        command.arg("demo-janitor").stdin(Stdio::piped()).stdout(Stdio::piped());
        if temporary {
            command.arg("--temporary");
        }
        let mut process = command.spawn().context("the janitor cannot be started")?;
        let pipe = process.stdin.take().context("the janitor has no pipe")?;
        let output = process.stdout.take().context("the janitor has no standard output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).await?;
        // It says itself on standard error why it cannot.
        let Ready { directory } = serde_json::from_str(&line).context("the janitor did not start")?;
        Ok((Self { pipe: tokio::sync::Mutex::new(pipe) }, Gone { process }, directory))
    }

    /// Makes the janitor end the child `pid` when the demo is gone.
    pub(super) async fn watch(&self, pid: u32) -> anyhow::Result<()> {
        let line = format!("{pid}\n");
        self.pipe.lock().await.write_all(line.as_bytes()).await.context("the janitor is gone")
    }

    /// Has the janitor do its work and waits until it is done.
    pub(super) async fn finish(self, mut gone: Gone) {
        drop(self.pipe);
        // If it takes too long, the demo goes on; the janitor does as well.
        let _ = tokio::time::timeout(JANITOR_PATIENCE, gone.wait()).await;
    }
}

impl Gone {
    /// Waits until the janitor is gone.
    pub(super) async fn wait(&mut self) {
        // An error means that there is no such process.
        let _ = self.process.wait().await;
    }
}

/// What the janitor says when it is at work.
#[derive(Debug, Deserialize, Serialize)]
struct Ready {
    directory: Option<PathBuf>,
}

/// The janitor itself: waits for the demo's end, then ends its children and removes the directory that it made.
pub(crate) async fn run(temporary: bool) -> anyhow::Result<Outcome> {
    // Signals meant for the demo's group or terminal must not reach the one who tidies up. It is no session leader yet,
    // unless somebody starts it by hand, which does no harm.
    let _ = setsid();
    let _ignored = [
        signal(SignalKind::hangup())?,
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
        signal(SignalKind::quit())?,
    ];
    let demo = getppid().context("the demo has ended already")?;
    let directory = if temporary { Some(make_directory()?) } else { None };
    let ready = Ready { directory: directory.as_ref().map(|made| made.path().to_owned()) };
    output::say(serde_json::to_string(&ready)?);
    let children = tokio::task::spawn_blocking(move || read_children(demo)).await?;
    end(&children);
    if let Some(directory) = directory {
        let path = directory.path().to_owned();
        directory.close().with_context(|| format!("{} cannot be removed", path.display()))?;
    }
    Ok(Outcome::Done)
}

fn make_directory() -> anyhow::Result<TempDir> {
    let made = tempfile::Builder::new().prefix("keepwatch-demo-").tempdir();
    made.context("no temporary directory can be made; name one with --dir")
}

/// Holds every child that the demo tells of, until the pipe ends.
fn read_children(demo: Pid) -> Vec<OwnedFd> {
    let mut children = Vec::new();
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        let pid = line.trim().parse().ok().and_then(Pid::from_raw);
        let held = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok().map(|fd| (pid, fd)));
        // The number may have gone to another process before it was held.
        if let Some((pid, fd)) = held
            && parent_of(pid) == Some(demo)
        {
            children.retain(|child| !ended(child, Duration::ZERO));
            children.push(fd);
        }
    }
    children
}

/// The parent of `pid` (proc(5), `PPid`).
fn parent_of(pid: Pid) -> Option<Pid> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    Pid::from_raw(parent.trim().parse().ok()?)
}

/// Ends the children: first asks, then kills.
fn end(children: &[OwnedFd]) {
    for (order, patience) in [(Signal::TERM, END_PATIENCE), (Signal::KILL, KILL_PATIENCE)] {
        for child in children {
            // One that is gone already is what is wanted.
            let _ = pidfd_send_signal(child, order);
        }
        let deadline = Instant::now() + patience;
        let all_ended =
            children.iter().all(|child| ended(child, deadline.saturating_duration_since(Instant::now())));
        if all_ended {
            return;
        }
    }
}

/// Waits until a child has ended; false when it goes on for longer than `patience`.
fn ended(child: &OwnedFd, patience: Duration) -> bool {
    let borrowed = child.as_fd();
    let mut wanted = [PollFd::new(&borrowed, PollFlags::IN)];
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok(left) = left.try_into() else { return false };
        match poll(&mut wanted, Some(&left)) {
            Ok(count) => return count > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}
