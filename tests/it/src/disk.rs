//! A disk that fails on command, as a process beside the recorder.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::{Namespace, Program, Site};

/// How long it may take to start, and to obey.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whether this machine makes file systems of programs; xtask has asked it, says so when it does not, and lists what is not run.
pub fn fuse() -> bool {
    std::env::var_os("KEEPWATCH_NO_FUSE").is_none()
}

/// A running disk.
#[derive(Debug)]
pub struct LabDisk {
    _program: Program,
    control: PathBuf,
}

impl LabDisk {
    /// Shows a disk in the directory `name` of a site, to those in the namespace. What is on it is in another directory of it.
    pub fn start(site: &Site, namespace: &Namespace, name: &str) -> Result<Self> {
        let (mount, backing) = (site.make(name)?, site.make(&format!("{name} backing"))?);
        let control = site.path().join(format!("{name}.sock"));
        let mut command = site.command(["lab", "disk", "--until-input-closes", "--mount"]);
        command.arg(mount).arg("--backing").arg(backing).arg("--control").arg(&control);
        let log = site.path().join(format!("{name}.log"));
        let program = Program::start(namespace.command(&command), log)?;
        program.json(PATIENCE)?;
        Ok(Self { _program: program, control })
    }

    /// Makes something go wrong: `{"disk": "write_error"}`.
    pub fn command(&self, command: &Value) -> Result<Value> {
        let mut stream = UnixStream::connect(&self.control)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        writeln!(stream, "{command}")?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        let answer: Value = serde_json::from_str(&line)?;
        ensure!(answer["ok"] == true, "{command} was answered with {answer}");
        Ok(answer)
    }
}
