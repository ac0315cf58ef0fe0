//! A disk that fails on command: a file system (FUSE) that keeps its files in a directory, and breaks as disks do.
//!
//! What a recorder does with a card that takes no more, that cannot be read, that lies or is pulled out, is tried on it, by
//! the real program and without harm. It is flat: files, no directories. The page cache is out of the way, so that every
//! read and write of the recorder is answered here.

mod fault;
mod files;

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fault::Switch;
pub use fault::{DiskFault, DiskReport};
use files::Files;
use fuser::{Config, MountOption, Session};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::LabError;
use crate::control::{ControlSocket, Obeys};
use crate::ending::{Ending, Endings, say};

/// Threads that answer the kernel: a read is not to wait for a write that is slow on command.
const THREADS: usize = 4;

/// What `keepwatch lab disk` runs.
#[derive(Clone, Debug, Default)]
pub struct DiskOptions {
    /// The directory that shows the disk.
    pub mount: PathBuf,
    /// The directory that holds what is on it.
    pub backing: PathBuf,
    /// Where to make the control socket; `None` for none.
    pub control: Option<PathBuf>,
    /// Whether to end when standard input does.
    pub until_input_closes: bool,
    /// How long to run; `None` for until told to end.
    pub lasts: Option<Duration>,
}

/// The line printed when the disk is there.
#[derive(Debug, Serialize)]
struct Ready {
    /// Where.
    mounted: PathBuf,
}

/// The line printed at the end.
#[derive(Debug, Serialize)]
struct Ended {
    ended: Ending,
    disk: DiskReport,
}

/// Shows a disk until a signal, printing `{"mounted": "PATH"}` when it is there, and at the end what was done to it.
pub async fn run_disk(options: DiskOptions) -> Result<(), LabError> {
    run(options, &mut io::stdout()).await
}

async fn run(options: DiskOptions, output: &mut (impl Write + Send)) -> Result<(), LabError> {
    let mut endings = Endings::listen(options.until_input_closes, options.lasts)?;
    let control = options.control.as_deref().map(ControlSocket::bind).transpose()?;
    let failed = |source| LabError::Mount { path: options.mount.clone(), source };
    let backing = options.backing.canonicalize().map_err(failed)?;
    let switch = Arc::new(Switch::new(backing));
    let mut config = Config::default();
    config.mount_options = vec![MountOption::FSName("keepwatch-lab".to_owned()), MountOption::NoAtime];
    config.n_threads = Some(THREADS);
    let session = Session::new(Files::new(Arc::clone(&switch)), &options.mount, &config)
        .and_then(Session::spawn)
        .map_err(failed)?;
    say(output, &Ready { mounted: options.mount.clone() })?;
    let obeying = async {
        match &control {
            Some(control) => Err(LabError::System(control.serve(Arc::clone(&switch)).await)),
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = endings.wait() => Ok(ended),
        failed = obeying => failed,
    };
    // Whoever is stuck in it is let go, or the disk could not be taken away.
    switch.apply(DiskFault::Heal).map_err(failed)?;
    let unmounted = tokio::task::spawn_blocking(move || session.umount_and_join());
    unmounted.await.map_err(io::Error::other)?.map_err(failed)?;
    say(output, &Ended { ended: ended?, disk: switch.report() })?;
    Ok(())
}

impl Obeys for Switch {
    async fn obey(&self, line: &str) -> Result<Value, String> {
        let command: Map<String, Value> = serde_json::from_str(line).map_err(|error| error.to_string())?;
        if command.contains_key("report") {
            return Ok(json!({ "ok": true, "disk": self.report() }));
        }
        let fault: DiskFault =
            serde_json::from_value(Value::Object(command)).map_err(|error| error.to_string())?;
        self.apply(fault).map_err(|error| error.to_string())?;
        Ok(json!({ "ok": true }))
    }
}

#[cfg(test)]
mod tests;
