//! Children that are started, watched, started again, and told of in the order things happen.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use super::janitor::Janitor;
use crate::output;

/// Longest ready line: addresses and the names of 64 cameras.
const LINE_BYTES_MAX: u64 = 16 * 1024;

/// How long a child may take until it is ready.
const READY_PATIENCE: Duration = Duration::from_secs(30);

/// Longest wait before a child is started again.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// A child that ran this long is healthy: the next wait begins from the shortest.
const HEALTHY: Duration = Duration::from_secs(60);

/// What a child says when it can be reached.
#[derive(Debug, Deserialize)]
pub(super) struct Ready {
    listening: Addresses,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Addresses {
    One(SocketAddr),
    Many(Vec<SocketAddr>),
}

impl Ready {
    /// Where it listens.
    pub(super) fn address(&self) -> anyhow::Result<SocketAddr> {
        let address = match &self.listening {
            Addresses::One(address) => Some(*address),
            Addresses::Many(addresses) => addresses.first().copied(),
        };
        address.context("the child does not listen anywhere")
    }
}

/// A child and how it is started.
pub(super) struct Supervised {
    name: &'static str,
    command: Command,
    child: Option<Child>,
    started: Instant,
    failures: u32,
    wait_min: Duration,
}

impl Supervised {
    /// A child that is not yet started.
    pub(super) fn new(name: &'static str, command: Command) -> Self {
        let (command, wait_min) = (as_child(command), Duration::from_secs(1));
        Self { name, command, child: None, started: Instant::now(), failures: 0, wait_min }
    }

    /// It stays away for at least so long each time that it ends.
    pub(super) fn away_for(self, wait_min: Duration) -> Self {
        Self { wait_min, ..self }
    }

    /// Its process id while it runs.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Starts it otherwise the next time.
    pub(super) fn replace_command(&mut self, command: Command) {
        self.command = as_child(command);
    }

    /// Starts it and waits until it is ready.
    pub(super) async fn start(&mut self, janitor: &Janitor) -> anyhow::Result<Ready> {
        self.started = Instant::now();
        let mut child = self.command.spawn().with_context(|| format!("{}: cannot be started", self.name))?;
        if let Some(pid) = child.id() {
            janitor.watch(pid).await?;
        }
        let output = child.stdout.take().context("a child has no standard output")?;
        self.child = Some(child);
        let mut output = BufReader::new(output);
        let mut line = String::new();
        let read = async { (&mut output).take(LINE_BYTES_MAX).read_line(&mut line).await };
        let read = tokio::time::timeout(READY_PATIENCE, read)
            .await
            .with_context(|| format!("{}: not ready within {} s", self.name, READY_PATIENCE.as_secs()))?;
        if read? == 0 {
            let status = self.wait().await;
            bail!("{}: ended before it was ready ({})", self.name, describe(&status));
        }
        let ready = serde_json::from_str(&line).with_context(|| format!("{}: said {line:?}", self.name))?;
        // What it says later is of no use here, but it must not block on a full pipe.
        drop(tokio::spawn(async move {
            let _ = tokio::io::copy(&mut output, &mut tokio::io::sink()).await;
        }));
        Ok(ready)
    }

    /// Waits until it ends; for ever when it is not running.
    async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        match &mut self.child {
            Some(child) => {
                let status = child.wait().await;
                self.child = None;
                status
            }
            None => std::future::pending().await,
        }
    }

    /// Keeps it running for ever.
    pub(super) async fn keep_alive(&mut self, janitor: &Janitor) -> Infallible {
        loop {
            let status = self.wait().await;
            if self.started.elapsed() >= HEALTHY {
                self.failures = 0;
            }
            let mut what = format!("ended ({})", describe(&status));
            loop {
                let wait = Duration::from_secs(1 << self.failures.min(5)).clamp(self.wait_min, WAIT_MAX);
                self.failures = self.failures.saturating_add(1);
                output::complain(format_args!(
                    "{}: {what}; started again in {} s",
                    self.name,
                    wait.as_secs()
                ));
                tokio::time::sleep(wait).await;
                match self.start(janitor).await {
                    Ok(_) => {
                        output::complain(format_args!("{}: running again", self.name));
                        break;
                    }
                    Err(error) => {
                        self.child = None;
                        what = format!("{error:#}");
                    }
                }
            }
        }
    }
}

/// `command` as a child of this process: the kernel kills it with this one, the janitor ends it in order, and a Ctrl-C
/// in the terminal reaches only this process.
fn as_child(mut command: Command) -> Command {
    command.arg("--parent").arg(std::process::id().to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
    command
}

fn describe(status: &std::io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "for unknown reasons".to_owned(),
        },
        Err(error) => error.to_string(),
    }
}
