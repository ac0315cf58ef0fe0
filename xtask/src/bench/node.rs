//! The product's own processes as a bench needs them: a load of cameras, and a recorder asked over its socket.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::process::{self, Group, Lines};

/// How long the load may prepare its pictures.
const LOAD_PATIENCE: Duration = Duration::from_secs(120);

/// How long a recorder may take until it can be asked.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// Frames a second of the load.
pub(super) const RATE: u64 = 25;
/// Frames from one key frame to the next: two seconds.
pub(super) const GROUP: u64 = 50;

/// Many cameras of 4 Mbit/s in a process of their own.
pub(super) struct Load {
    group: Group,
    lines: Lines,
    address: String,
    /// Ids of the cameras.
    pub(super) cameras: Vec<String>,
    /// Bits per second of each camera's video, as measured.
    pub(super) bits_per_second: u64,
}

impl Load {
    pub(super) fn start(program: &Path, cameras: usize, log: &Path) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(["lab", "load", "--listen", "127.0.0.1:0", "--until-input-closes", "--cameras"]);
        command.arg(cameras.to_string()).args(["--bitrate", "4000000"]);
        command.args(["--fps", &RATE.to_string(), "--gop", &GROUP.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(process::log_file(log)?);
        let mut group = Group::spawn(&mut command)?;
        let lines = Lines::of(&mut group)?;
        let ready: Value = serde_json::from_str(&lines.next(LOAD_PATIENCE)?)?;
        let ids = ready["cameras"].as_array().context("the load names no cameras")?;
        Ok(Self {
            address: ready["listening"].as_str().context("the load has no address")?.to_owned(),
            cameras: ids.iter().filter_map(|id| id.as_str().map(str::to_owned)).collect(),
            bits_per_second: ready["bits_per_second"].as_u64().context("the load has no rate")?,
            group,
            lines,
        })
    }

    pub(super) fn url(&self, camera: &str) -> String {
        format!("rtsp://{}/{camera}", self.address)
    }

    /// CPU seconds that it has used.
    pub(super) fn id(&self) -> u32 {
        self.group.id()
    }

    /// Ends it; returns what it gave to every connection of every camera.
    pub(super) fn end(mut self) -> Result<Vec<Given>> {
        drop(self.group.take_stdin());
        let ended: Value = serde_json::from_str(&self.lines.next(START_PATIENCE)?)?;
        let cameras = ended["cameras"].as_array().context("the load gives no account")?;
        let mut all = Vec::new();
        for camera in cameras {
            let id = camera["id"].as_str().context("a camera without an id")?;
            for connection in camera["connections"].as_array().into_iter().flatten() {
                if let Some(first) = connection["first_frame"].as_u64() {
                    all.push(Given {
                        camera: id.to_owned(),
                        first,
                        last: connection["last_frame"].as_u64().context("a first frame and no last")?,
                        skipped: connection["frames_skipped"].as_u64().unwrap_or(0),
                    });
                }
            }
        }
        Ok(all)
    }
}

/// What the load gave to one connection.
pub(super) struct Given {
    pub(super) camera: String,
    /// Number of the first frame.
    pub(super) first: u64,
    /// Number of the last frame.
    pub(super) last: u64,
    /// Frames between them that were left out because the recorder did not take them in time.
    pub(super) skipped: u64,
}

/// A recorder of all cameras of a load.
pub(super) struct Node {
    group: Group,
    data: PathBuf,
}

impl Node {
    /// Writes the configuration that [`start`](Self::start) uses.
    pub(super) fn configure(folder: &Path, load: &Load, disk_bytes: u64) -> Result<()> {
        std::fs::create_dir_all(folder.join("footage"))?;
        let mut text = format!(
            "[node]\nname = \"bench\"\ndata = \"data\"\nlisten = \"127.0.0.1:0\"\n\n\
             [[disk]]\npath = \"footage\"\nsize = \"{disk_bytes} B\"\n"
        );
        for camera in &load.cameras {
            let url = load.url(camera);
            text.push_str(&format!("\n[[camera]]\nid = \"{camera}\"\nurl = \"{url}\"\naudio = false\n"));
        }
        std::fs::write(folder.join("keepwatch.toml"), text)?;
        Ok(())
    }

    pub(super) fn start(program: &Path, folder: &Path, log: &Path) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(["run", "--config", "keepwatch.toml"]).current_dir(folder);
        command.env("KEEPWATCH_ADMIN_PASSWORD", "not a secret in a bench").env("RUST_LOG", "warn");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(process::log_file(log)?);
        Ok(Self { group: Group::spawn(&mut command)?, data: folder.join("data") })
    }

    pub(super) fn id(&self) -> u32 {
        self.group.id()
    }

    /// The answer to a GET of the API, over the socket that the command line uses.
    pub(super) fn get(&self, path: &str) -> Result<Value> {
        let mut stream = UnixStream::connect(self.data.join("keepwatch.sock"))?;
        stream.set_read_timeout(Some(START_PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
        ensure!(head.starts_with("HTTP/1.1 200"), "GET {path}: {head}");
        Ok(serde_json::from_str(body)?)
    }

    /// The cameras as the API lists them.
    pub(super) fn cameras(&self) -> Result<Vec<Value>> {
        let list = self.get("/api/v1/cameras")?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// Waits until `look` is true of every camera; returns how long that took from now.
    pub(super) fn wait(
        &self,
        what: &str,
        limit: Duration,
        look: impl Fn(&Value) -> bool,
    ) -> Result<Duration> {
        let start = Instant::now();
        loop {
            // Until it listens, there is nobody to ask.
            if let Ok(cameras) = self.cameras()
                && !cameras.is_empty()
                && cameras.iter().all(&look)
            {
                return Ok(start.elapsed());
            }
            if start.elapsed() > limit {
                bail!("not all cameras are {what} after {limit:?}");
            }
            process::pause(Duration::from_millis(10));
        }
    }

    /// Bytes of footage on disk.
    pub(super) fn durable_bytes(&self) -> Result<u64> {
        Ok(self.cameras()?.iter().filter_map(|camera| camera["durable_bytes"].as_u64()).sum())
    }

    /// Kills it as the kernel does.
    pub(super) fn kill(&mut self) {
        self.group.kill();
    }

    /// Ends it in order.
    pub(super) fn end(mut self) -> Result<()> {
        self.group.end(Duration::from_secs(60))
    }
}

/// The numbers of the frames that a store holds: by camera, ranges of first and last.
pub(super) struct Held(Vec<(String, Vec<(u64, u64)>)>);

impl Held {
    /// Reads all footage of the recorder that ran in `folder`.
    pub(super) fn read(program: &Path, folder: &Path) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(["lab", "count-frames", "--config", "keepwatch.toml"]).current_dir(folder);
        let counted = process::capture(&mut command, Duration::from_secs(1_200))?;
        ensure!(
            counted.status.is_some_and(|status| status.success()),
            "the frames cannot be counted: {}",
            counted.output
        );
        let mut cameras = Vec::new();
        for line in counted.output.lines() {
            let line: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
            let id = line["camera"].as_str().context("a camera without an id")?.to_owned();
            let frames = &line["frames"];
            ensure!(frames["unstamped"] == 0 && frames["foreign"] == 0, "foreign frames: {line}");
            ensure!(frames["duplicates"] == 0, "frames that are held twice: {line}");
            let ranges = frames["ranges"].as_array().context("no ranges")?;
            let ends = |range: &Value| Some((range[0].as_u64()?, range[1].as_u64()?));
            cameras.push((id, ranges.iter().filter_map(ends).collect()));
        }
        Ok(Self(cameras))
    }

    /// Frames of one connection that are held, and the number of the last of them.
    pub(super) fn of(&self, given: &Given) -> (u64, Option<u64>) {
        let ranges = self.0.iter().find(|(id, _)| *id == given.camera).map(|(_, ranges)| ranges.as_slice());
        let (mut count, mut last) = (0, None);
        for (from, to) in ranges.unwrap_or_default() {
            let (from, to) = ((*from).max(given.first), (*to).min(given.last));
            if from <= to {
                count += to - from + 1;
                last = last.max(Some(to));
            }
        }
        (count, last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_within_what_a_connection_was_given() {
        let held = Held(vec![("cam1".to_owned(), vec![(10, 19), (25, 40)])]);
        let given = |first, last| Given { camera: "cam1".to_owned(), first, last, skipped: 0 };
        assert_eq!(held.of(&given(10, 30)), (16, Some(30)));
        assert_eq!(held.of(&given(20, 24)), (0, None));
        assert_eq!(held.of(&given(35, 50)), (6, Some(40)));
    }
}
