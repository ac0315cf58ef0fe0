//! One worker: a process with two pipes, nothing of this one's environment, and a deadline for each answer.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::frame::{REPLY_BYTES_MAX, Reply, length};
use crate::{FrameError, Made, PictureError, Request};

/// Longest that one picture may take: a group of pictures of a large camera at the lowest priority.
const DEADLINE: Duration = Duration::from_secs(3);
/// Longest that a worker may take to begin, on a machine that has other things to do.
const START_DEADLINE: Duration = Duration::from_secs(10);

/// How a worker is started: a program that calls [`run_worker`](crate::run_worker) when it is given these arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerCommand {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

impl WorkerCommand {
    /// This very program with one argument, also when its file was replaced since it was started.
    pub fn this_program(argument: &str) -> Self {
        Self { program: PathBuf::from("/proc/self/exe"), arguments: vec![argument.into()] }
    }
}

/// A running worker. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Worker {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
}

impl Worker {
    /// Starts one, and waits until it has given up everything.
    pub(crate) async fn start(command: &WorkerCommand) -> Result<Self, PictureError> {
        let failed = |error: std::io::Error| PictureError::NoWorker(error.to_string());
        let mut child = Command::new(&command.program)
            .args(&command.arguments)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(PictureError::NoWorker("it has no pipes".to_owned()));
        };
        let mut worker = Self { child, input, output };
        match timeout(START_DEADLINE, worker.reply()).await {
            Ok(Ok(Reply::Ready)) => Ok(worker),
            Ok(Ok(Reply::Failed(why))) => Err(PictureError::NoWorker(why)),
            Ok(Ok(Reply::Picture(_)) | Err(_)) => {
                Err(PictureError::NoWorker("it ended, or said what was not asked".to_owned()))
            }
            Err(_) => Err(PictureError::NoWorker("it did not begin".to_owned())),
        }
    }

    /// Has it make a picture. After any error but [`PictureError::Undecodable`] and [`PictureError::TooLarge`] it must not
    /// be used again.
    pub(crate) async fn make(&mut self, request: &Request) -> Result<Made, PictureError> {
        let frame = request.to_frame()?;
        let said = async {
            self.input.write_all(&frame).await.map_err(|_| PictureError::Crashed)?;
            self.reply().await
        };
        match timeout(DEADLINE, said).await {
            Ok(Ok(Reply::Picture(made))) => Ok(made),
            Ok(Ok(Reply::Failed(why))) => Err(PictureError::Undecodable(why)),
            Ok(Ok(Reply::Ready) | Err(_)) => Err(PictureError::Crashed),
            Err(_) => Err(PictureError::TooSlow(DEADLINE.as_secs())),
        }
    }

    /// Ends it, and waits until it is gone.
    pub(crate) async fn end(mut self) {
        // An error means that it is gone already.
        let _ = self.child.kill().await;
    }

    /// Waits until it ends by itself.
    pub(crate) async fn ended(&mut self) {
        let _ = self.child.wait().await;
    }

    async fn reply(&mut self) -> Result<Reply, PictureError> {
        let crashed = |_| PictureError::Crashed;
        let mut head = [0; 4];
        self.output.read_exact(&mut head).await.map_err(crashed)?;
        let bytes = length(head);
        if bytes > REPLY_BYTES_MAX {
            return Err(PictureError::Crashed);
        }
        let mut content = Vec::new();
        let mut rest = (&mut self.output).take(u64::try_from(bytes).unwrap_or(u64::MAX));
        rest.read_to_end(&mut content).await.map_err(crashed)?;
        if content.len() < bytes {
            return Err(PictureError::Crashed);
        }
        Reply::parse(&content).map_err(|_: FrameError| PictureError::Crashed)
    }
}
