//! Tidies up after a demo, also after one that was killed: ends its children and removes its directory.
//!
//! The janitor is a process in a session of its own that holds the reading end of a pipe. The demo tells it the id of
//! each child; when the pipe ends, the demo is gone or done. Children are held by pidfd (pidfd_open(2)), so that a
//! number that the system has given to another process meanwhile is never signalled.

use std::fs;
use std::io::{self, BufRead};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, getppid, pidfd_open, pidfd_send_signal, setsid};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::signal::unix::{SignalKind, signal};

use crate::Outcome;

/// The file in a directory that says that a demo made it: nothing else is ever removed.
pub(super) const MARK: &str = ".keepwatch-demo";

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
    /// Starts the janitor, which removes `directory` at the end, and waits until it is at work.
    pub(super) async fn start(directory: Option<&Path>) -> anyhow::Result<(Self, Gone)> {
        let mut command = Command::new(std::env::current_exe().context("this program cannot find itself")?);
        command.arg("demo-janitor").stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(directory) = directory {
            command.arg("--remove").arg(directory);
        }
        let mut process = command.spawn().context("the janitor cannot be started")?;
        let pipe = process.stdin.take().context("the janitor has no pipe")?;
        let output = process.stdout.take().context("the janitor has no standard output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).await?;
        if line != "ready\n" {
            bail!("the janitor did not start");
        }
        Ok((Self { pipe: tokio::sync::Mutex::new(pipe) }, Gone { process }))
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

/// The janitor itself: waits for the demo's end, then ends its children and removes `directory`.
pub(crate) async fn run(directory: Option<PathBuf>) -> anyhow::Result<Outcome> {
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
    crate::output::say("ready");
    let children = tokio::task::spawn_blocking(move || read_children(demo)).await?;
    end(&children);
    match directory {
        Some(directory) => remove(&directory),
        None => Ok(Outcome::Done),
    }
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

/// Removes a directory that a demo made.
fn remove(directory: &Path) -> anyhow::Result<Outcome> {
    if !directory.join(MARK).exists() {
        bail!("{} was not made by a demo and is left alone", directory.display());
    }
    fs::remove_dir_all(directory).with_context(|| format!("{} cannot be removed", directory.display()))?;
    Ok(Outcome::Done)
}
