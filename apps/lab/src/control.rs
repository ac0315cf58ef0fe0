//! The control channel of a lab that runs as its own process: a Unix socket, one JSON object a line each way.
//!
//! `{"camera": "cam1", "fault": "stall", "on": true}` applies a [`Fault`], to all with `"camera": "*"`;
//! `{"site": "cut"}` and `{"site": "restore"}` close and open the port; `{"report": "cam1"}` (or `"*"`) lists
//! connections. The answer is `{"ok": true, ...}` or `{"ok": false, "error": "..."}`. Only the owner of the socket
//! may connect. What a disk obeys stands with [it](crate::disk).

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;
use tracing::debug;

use crate::connections::Connection;
use crate::fault::Fault;
use crate::{LabError, VirtualSite, wide};

/// Longest line that is read, in bytes: several times the longest command.
const LINE_BYTES_MAX: u64 = 4_096;
/// Connections at a time: a script and a person or two.
const CONNECTIONS_MAX: usize = 16;

/// What is commanded over a control socket.
pub(crate) trait Obeys: Send + Sync + 'static {
    /// Does what one line says, and returns the answer, or why it cannot be done.
    fn obey(&self, line: &str) -> impl Future<Output = Result<Value, String>> + Send;
}

/// A camera and what its connections were given.
#[derive(Debug, Serialize)]
pub(crate) struct CameraReport {
    /// The camera.
    pub(crate) id: String,
    /// Oldest first.
    pub(crate) connections: Vec<Connection>,
}

/// A bound control socket; its file is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ControlSocket {
    /// Makes the socket at `path`, in place of one that an earlier process left there; one that a process
    /// listens at stays its own.
    pub(crate) fn bind(path: &Path) -> Result<Self, LabError> {
        let failed = |source| LabError::Control { path: path.to_owned(), source };
        if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(failed(io::ErrorKind::AddrInUse.into()));
            }
            fs::remove_file(path).map_err(failed)?;
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        let this = Self { listener, path: path.to_owned() };
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(this)
    }

    /// Obeys until dropped.
    pub(crate) async fn serve(&self, obeys: Arc<impl Obeys>) -> io::Error {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut talks = JoinSet::new();
        loop {
            let Ok(place) = places.clone().acquire_owned().await else {
                return io::Error::other("the semaphore of the control socket was closed");
            };
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => return error,
            };
            while talks.try_join_next().is_some() {}
            let obeys = obeys.clone();
            talks.spawn(async move {
                if let Err(error) = talk(stream, &*obeys).await {
                    debug!(%error, "a control connection broke");
                }
                drop(place);
            });
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // A file that is already gone is what is wanted.
        let _ = fs::remove_file(&self.path);
    }
}

async fn talk(mut stream: UnixStream, obeys: &impl Obeys) -> io::Result<()> {
    let (reading, mut writing) = stream.split();
    let mut reading = BufReader::new(reading);
    let mut line = String::new();
    loop {
        line.clear();
        let length = (&mut reading).take(LINE_BYTES_MAX).read_line(&mut line).await?;
        if length == 0 {
            return Ok(());
        }
        if !line.ends_with('\n') && wide(length) == LINE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "line too long"));
        }
        let mut answer = match obeys.obey(&line).await {
            Ok(answer) => answer,
            Err(error) => json!({ "ok": false, "error": error }),
        }
        .to_string();
        answer.push('\n');
        writing.write_all(answer.as_bytes()).await?;
    }
}

impl Obeys for Mutex<VirtualSite> {
    async fn obey(&self, line: &str) -> Result<Value, String> {
        obey(line, &mut *self.lock().await).await
    }
}

/// Does what one line says.
async fn obey(line: &str, site: &mut VirtualSite) -> Result<Value, String> {
    let mut command: Map<String, Value> = serde_json::from_str(line).map_err(|error| error.to_string())?;
    if let Some(Value::String(what)) = command.get("site") {
        match what.as_str() {
            "cut" => site.cut().await,
            "restore" => site.restore().await.map_err(|error| error.to_string())?,
            _ => return Err("a site can be \"cut\" or \"restore\"d".to_owned()),
        }
        return Ok(json!({ "ok": true }));
    }
    if let Some(Value::String(name)) = command.get("report") {
        let reports = report(site, name).map_err(|error| error.to_string())?;
        return Ok(json!({ "ok": true, "cameras": reports }));
    }
    let Some(Value::String(name)) = command.remove("camera") else {
        return Err("no \"camera\", \"site\" or \"report\" in the command".to_owned());
    };
    let fault: Fault = serde_json::from_value(Value::Object(command)).map_err(|error| error.to_string())?;
    for camera in named(site, &name) {
        site.apply(&camera, fault).map_err(|error| error.to_string())?;
    }
    Ok(json!({ "ok": true }))
}

/// What the connections of one camera, or with `*` of all, were given.
pub(crate) fn report(site: &VirtualSite, name: &str) -> Result<Vec<CameraReport>, LabError> {
    named(site, name)
        .into_iter()
        .map(|id| Ok(CameraReport { connections: site.connections(&id)?, id }))
        .collect()
}

fn named(site: &VirtualSite, name: &str) -> Vec<String> {
    match name {
        "*" => site.cameras().map(String::from).collect(),
        name => vec![name.to_owned()],
    }
}

#[cfg(test)]
mod tests;
