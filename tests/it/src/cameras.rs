//! The product's own virtual cameras, as a process beside the recorder.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{Namespace, Program, Site};

/// How long cameras take to start at most: an encoder each, on a busy machine.
const START_PATIENCE: Duration = Duration::from_secs(20);

/// Running virtual cameras `cam1`, `cam2`, ...
#[derive(Debug)]
pub struct Cameras {
    program: Program,
    address: SocketAddr,
    ids: Vec<String>,
    devices: Vec<String>,
    discovery: Vec<SocketAddr>,
    control: PathBuf,
}

impl Cameras {
    /// Frames in a second.
    pub const RATE: i64 = 25;
    /// Frames from one key frame to the next.
    pub const GROUP: u64 = 25;

    /// Starts `count` cameras on a free port of `address`, such as `127.0.0.1` or `[::1]`.
    pub fn start(site: &Site, count: usize, address: &str) -> Result<Self> {
        Self::start_with(site, count, address, &[])
    }

    /// Starts them with more options of `keepwatch lab cameras`.
    pub fn start_with(site: &Site, count: usize, address: &str, options: &[&str]) -> Result<Self> {
        Self::start_as(site, count, address, options, |command| command)
    }

    /// Starts them in a namespace that has `address`.
    pub fn start_in(site: &Site, count: usize, address: &str, namespace: &Namespace) -> Result<Self> {
        Self::start_in_with(site, count, address, &[], namespace)
    }

    /// The same with more options.
    pub fn start_in_with(
        site: &Site,
        count: usize,
        address: &str,
        options: &[&str],
        namespace: &Namespace,
    ) -> Result<Self> {
        Self::start_as(site, count, address, options, |command| namespace.command(&command))
    }

    fn start_as(
        site: &Site,
        count: usize,
        address: &str,
        options: &[&str],
        place: impl FnOnce(Command) -> Command,
    ) -> Result<Self> {
        let control = site.path().join("cameras.sock");
        let count = count.to_string();
        let listen = format!("{address}:0");
        let mut command =
            site.command(["lab", "cameras", "--count", &count, "--listen", &listen, "--control"]);
        command.arg(&control).args(options);
        let program = Program::start(place(command), site.path().join("cameras.log"))?;
        let ready = program.json(START_PATIENCE)?;
        let address = ready["listening"].as_str().context("no address")?.parse()?;
        let ids = ready["cameras"].as_array().context("no cameras")?;
        let ids = ids.iter().filter_map(|id| id.as_str().map(str::to_owned)).collect();
        let devices = ready["onvif"].as_array().into_iter().flatten();
        let devices = devices.filter_map(|url| url.as_str().map(str::to_owned)).collect();
        let discovery = ready["discovery"].as_array().into_iter().flatten();
        let discovery = discovery.filter_map(|address| address.as_str()?.parse().ok()).collect();
        Ok(Self { program, address, ids, devices, discovery, control })
    }

    /// Their ids.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// The address of one of them.
    pub fn url(&self, id: &str) -> String {
        format!("rtsp://{}/{id}", self.address)
    }

    /// The addresses of their ONVIF devices, in their order.
    pub fn devices(&self) -> &[String] {
        &self.devices
    }

    /// Where the devices answer who looks for them, in their order.
    pub fn discovery(&self) -> &[SocketAddr] {
        &self.discovery
    }

    /// Their process.
    pub const fn program(&mut self) -> &mut Program {
        &mut self.program
    }

    /// Makes something go wrong: `{"camera": "cam1", "fault": "drop"}`.
    pub fn command(&self, command: &Value) -> Result<Value> {
        let mut stream = UnixStream::connect(&self.control)?;
        stream.set_read_timeout(Some(START_PATIENCE))?;
        writeln!(stream, "{command}")?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        let answer: Value = serde_json::from_str(&line)?;
        ensure!(answer["ok"] == true, "{command} was answered with {answer}");
        Ok(answer)
    }

    /// What each connection of a camera was given, oldest first.
    pub fn connections(&self, id: &str) -> Result<Vec<Value>> {
        let answer = self.command(&serde_json::json!({"report": id}))?;
        Ok(answer["cameras"][0]["connections"].as_array().cloned().unwrap_or_default())
    }
}
