//! Other programs: started, listened to, signalled, and ended with all they started when dropped.
//!
//! When a test fails, the ends of their logs are printed with it.
#![expect(clippy::print_stdout, reason = "the test harness captures and shows it")]

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// How often something is looked at that cannot be waited for.
const POLL: Duration = Duration::from_millis(20);

/// Waits until `look` finds something; an error that names `what` when it does not within `limit`.
pub fn wait_until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look().with_context(|| format!("while waiting for {what}"))? {
            return Ok(found);
        }
        if Instant::now() >= end {
            bail!("no {what} within {limit:?}");
        }
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "the state of another program can only be polled")]
fn pause() {
    std::thread::sleep(POLL);
}

/// What a program left that ran to its end.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Output {
    /// The exit code; -1 when a signal ended it.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// Standard output; an error that shows everything when the program did not succeed.
    pub fn success(self) -> Result<String> {
        if !self.status.success() {
            bail!("{}\n{}\n{}", self.status, self.stdout, self.stderr);
        }
        Ok(self.stdout)
    }
}

/// Runs a program to its end; one that takes longer than `limit` is killed and an error.
pub fn run(command: &mut Command, limit: Duration) -> Result<Output> {
    let (mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
    command.stdin(Stdio::null()).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?).process_group(0);
    let text = format!("{command:?}");
    let child = command.spawn().with_context(|| text.clone())?;
    let mut program = Program { child, lines: None, log: None, text };
    let status = program.wait(limit)?;
    Ok(Output { status, stdout: read(&mut stdout)?, stderr: read(&mut stderr)? })
}

fn read(file: &mut File) -> Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A running program; killed with its process group when dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    lines: Option<Receiver<String>>,
    log: Option<PathBuf>,
    text: String,
}

impl Program {
    /// Starts it; what it writes to standard error goes to the file `log`.
    pub fn start(mut command: Command, log: PathBuf) -> Result<Self> {
        let text = format!("{command:?}");
        let stderr = File::create(&log).with_context(|| log.display().to_string())?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr).process_group(0);
        let mut child = command.spawn().with_context(|| text.clone())?;
        let stdout = child.stdout.take().context("standard output is piped")?;
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, lines: Some(receiver), log: Some(log), text })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard error.
    pub fn log(&self) -> String {
        self.log.as_ref().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default()
    }

    /// The next line of its standard output.
    pub fn line(&self, limit: Duration) -> Result<String> {
        let lines = self.lines.as_ref().context("its output is not read")?;
        match lines.recv_timeout(limit) {
            Ok(line) => Ok(line),
            Err(RecvTimeoutError::Timeout) => {
                bail!("{} printed nothing within {limit:?}\n{}", self.text, self.log())
            }
            Err(RecvTimeoutError::Disconnected) => {
                bail!("{} ended without printing what was awaited\n{}", self.text, self.log())
            }
        }
    }

    /// The next line of its standard output, as JSON.
    pub fn json(&self, limit: Duration) -> Result<Value> {
        let line = self.line(limit)?;
        serde_json::from_str(&line).with_context(|| format!("{} printed {line:?}", self.text))
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let text = format!("end of {}", self.text);
        wait_until(&text, limit, || Ok(self.child.try_wait()?))
    }

    /// Asks it to end (SIGTERM) and waits.
    pub fn end(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(libc::SIGTERM);
        self.wait(limit)
    }

    /// Closes its standard input.
    pub fn close_input(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Sends it a signal, but not to what it started.
    pub fn signal(&self, number: i32) {
        if let Ok(id) = i32::try_from(self.child.id()) {
            // SAFETY: kill(2) takes integers and touches no memory of ours.
            #[expect(unsafe_code, reason = "std can only kill")]
            unsafe {
                libc::kill(id, number);
            }
        }
    }

    /// Kills it, but not what it started, as the kernel does when memory runs out.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(libc::SIGKILL);
        self.wait(Duration::from_secs(10)).map(drop)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Ok(id) = i32::try_from(self.child.id()) {
            // SAFETY: kill(2) takes integers and touches no memory of ours.
            #[expect(unsafe_code, reason = "std cannot signal a process group")]
            unsafe {
                libc::kill(-id, libc::SIGKILL);
            }
        }
        // Reaps it; that it had ended before is no error.
        drop(self.child.wait());
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            println!("--- end of the log of {}", self.text);
            for line in tail.iter().rev() {
                println!("{line}");
            }
        }
    }
}

/// The processes whose environment holds the variable `name` with `value`: everything that a program started with it
/// has started in turn, whatever session or parent it has.
pub fn processes_with(name: &str, value: &str) -> Vec<u32> {
    let wanted = format!("{name}={value}");
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|id| {
            // One that has just ended has no environment any more.
            let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
        })
        .collect()
}
