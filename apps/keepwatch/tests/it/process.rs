//! Starting the binary and waiting for what it says and does.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

/// Longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The binary with `arguments`.
pub(crate) fn keepwatch(arguments: &[&dyn AsRef<OsStr>]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keepwatch"));
    for argument in arguments {
        command.arg(argument);
    }
    command.env_remove("KEEPWATCH_CONFIG").env_remove("KEEPWATCH_ADMIN_PASSWORD").env_remove("RUST_LOG");
    command
}

/// Runs the binary to its end: exit code, standard output, standard error.
pub(crate) fn finished(arguments: &[&dyn AsRef<OsStr>]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = keepwatch(arguments).output().unwrap();
    (status.code().unwrap_or(-1), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A running process; killed when dropped.
pub(crate) struct Running {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Lines<BufReader<ChildStderr>>,
}

impl Running {
    /// Starts `command`.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, stdout, stderr }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Reads standard output up to the line that contains `part`; returns all of it.
    pub(crate) fn says(&mut self, part: &str) -> String {
        until(&mut self.stdout, part)
    }

    /// Reads standard error up to the line that contains `part`; returns all of it.
    pub(crate) fn complains(&mut self, part: &str) -> String {
        until(&mut self.stderr, part)
    }

    /// Waits for its end and returns the exit code; -1 after a signal.
    pub(crate) fn ends(mut self) -> i32 {
        Held::of(self.pid()).unwrap().ends();
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn until(lines: &mut impl Iterator<Item = std::io::Result<String>>, part: &str) -> String {
    let mut read = String::new();
    for line in lines {
        let line = line.unwrap();
        read += &line;
        read.push('\n');
        if line.contains(part) {
            return read;
        }
    }
    panic!("the output ended without {part:?}:\n{read}");
}

/// A process that is not our child, held so that its end can be waited for.
pub(crate) struct Held {
    pub(crate) pid: Pid,
    pub(crate) command: String,
    fd: OwnedFd,
}

impl Held {
    fn of(pid: Pid) -> Option<Self> {
        let fd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        let command = fs::read_to_string(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).ok()?;
        Some(Self { pid, command: command.replace('\0', " "), fd })
    }

    /// The children of `parent`.
    pub(crate) fn children(parent: Pid) -> Vec<Self> {
        let wanted = format!("PPid:\t{}\n", parent.as_raw_nonzero());
        fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok().and_then(Pid::from_raw))
            .filter(|pid| {
                let path = format!("/proc/{}/status", pid.as_raw_nonzero());
                fs::read_to_string(path).is_ok_and(|status| status.contains(&wanted))
            })
            .filter_map(Self::of)
            .collect()
    }

    /// Waits for its end.
    pub(crate) fn ends(&self) {
        let fd = self.fd.as_fd();
        let mut wanted = [PollFd::new(&fd, PollFlags::IN)];
        let count = poll(&mut wanted, Some(&PATIENCE.try_into().unwrap())).unwrap();
        assert_eq!(count, 1, "{} is still running", self.command);
    }
}
