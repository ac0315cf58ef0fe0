//! A load process and a recorder, as separate processes over loopback.

use std::cell::OnceCell;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::hosts::{Host, Network};
use crate::process::{self, Group, Lines};
use crate::workspace::Workspace;

/// Longest that an example may take.
pub(super) const EXAMPLE_LIMIT: Duration = Duration::from_secs(1_800);
/// Longest until a load is prepared: it encodes its pictures first.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// Longest until all cameras are recorded, or a process ends when asked.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a camera sends.
const BITS_PER_SECOND: u32 = 4_000_000;
/// Time between two looks at a recorder that starts.
const LOOK: Duration = Duration::from_millis(20);

/// What carries the media of cameras to a recorder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    /// The connection itself.
    Tcp,
    /// Datagrams.
    Udp,
}

impl Carrier {
    /// As configurations and ffmpeg call it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// Prepared streams, served by a process of their own.
pub(super) struct Load {
    group: Group,
    lines: Lines,
    /// Where it listens.
    pub(super) listening: String,
    /// Its cameras.
    pub(super) cameras: Vec<String>,
    /// Whether each has an address of its own.
    apart: bool,
    /// Addresses of their ONVIF devices; empty where they have none.
    devices: Vec<String>,
    /// The socket by which they are told what to do.
    control: Option<PathBuf>,
}

impl Load {
    /// `cameras` streams of 4 Mbit/s, a key frame every 2 s, each access unit sent with one write.
    pub(super) fn start(workspace: &Workspace, cameras: usize) -> Result<Self> {
        Self::start_at(workspace, cameras, BITS_PER_SECOND)
    }

    /// The same at another rate, in bits a second.
    pub(super) fn start_at(workspace: &Workspace, cameras: usize, bits_per_second: u32) -> Result<Self> {
        let mut command = Command::new(workspace.program("keepwatch"));
        command.args(["lab", "load", "--until-input-closes", "--cameras", &cameras.to_string()]);
        command.args(["--bitrate", &bits_per_second.to_string()]);
        Self::spawn(command, false)
    }

    /// The same on the cameras' host of `network`.
    pub(super) fn start_apart(workspace: &Workspace, cameras: usize, network: &Network) -> Result<Self> {
        let mut command = Command::new(workspace.program("keepwatch"));
        command.args(["lab", "load", "--until-input-closes", "--listen", "0.0.0.0:0"]);
        command.args(["--cameras", &cameras.to_string(), "--bitrate", &BITS_PER_SECOND.to_string()]);
        Self::spawn(network.cameras.command(&command), true)
    }

    /// Cameras that record themselves on cards in `folder`, at their ONVIF addresses.
    pub(super) fn start_with_cards(workspace: &Workspace, cameras: usize, folder: &Path) -> Result<Self> {
        let (cards, control) = (folder.join("cards"), folder.join("cameras.sock"));
        std::fs::create_dir(&cards)?;
        let mut command = Command::new(workspace.program("keepwatch"));
        command.args(["lab", "cameras", "--until-input-closes", "--encoders", "1", "--silent"]);
        command.args(["--count", &cameras.to_string(), "--bitrate", &BITS_PER_SECOND.to_string()]);
        command.args(["--gop", "50", "--onvif", "127.0.0.1:0"]);
        command.arg("--card").arg(cards).arg("--control").arg(&control);
        let load = Self::spawn(command, false)?;
        Ok(Self { control: Some(control), ..load })
    }

    /// Tells the cameras something.
    pub(super) fn tell(&self, workspace: &Workspace, what: &Value) -> Result<()> {
        let mut command = Command::new(workspace.program("keepwatch"));
        command.args(["lab", "control"]).arg(self.control.as_ref().context("they are told nothing")?);
        let finished = process::capture(command.arg(what.to_string()), PATIENCE)?;
        match finished.status.is_some_and(|status| status.success()) {
            true => Ok(()),
            false => bail!("{what}: {}", finished.output),
        }
    }

    /// Under which key of its configuration a recorder has the address of a camera, and the address.
    fn source(&self, camera: &str) -> Result<(&'static str, String)> {
        let mut listening = self.listening.clone();
        let place = self.cameras.iter().position(|known| known == camera).context("a camera of it")?;
        if let Some(device) = self.devices.get(place) {
            return Ok(("onvif", device.clone()));
        }
        if self.apart {
            let (_, port) = self.listening.rsplit_once(':').context("a port")?;
            listening = format!("{}:{port}", Network::camera(place));
        }
        Ok(("url", format!("rtsp://{listening}/{camera}")))
    }

    fn spawn(mut command: Command, apart: bool) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut group = Group::spawn(&mut command)?;
        let lines = Lines::of(&mut group)?;
        let ready: Value = serde_json::from_str(&lines.next(READY_LIMIT)?)?;
        let listening = ready["listening"].as_str().context("the load says where it listens")?.to_owned();
        let cameras = ready["cameras"].as_array().into_iter().flatten();
        let cameras = cameras.filter_map(|camera| camera.as_str().map(str::to_owned)).collect();
        let devices = ready["onvif"].as_array().into_iter().flatten();
        let devices = devices.filter_map(|device| device.as_str().map(str::to_owned)).collect();
        Ok(Self { group, lines, listening, cameras, apart, devices, control: None })
    }

    /// Ends it; returns what it sent to whom.
    pub(super) fn end(mut self) -> Result<Value> {
        drop(self.group.take_stdin());
        let account = self.lines.next(PATIENCE)?;
        self.group.wait(PATIENCE)?;
        Ok(serde_json::from_str(&account)?)
    }
}

/// Who may watch the cameras of a recorder.
pub(super) const VIEWER: &str = "bench";
/// The password of the administrator.
pub(super) const ADMIN_PASSWORD: &str = "only for this bench";
/// The file with the password.
const PASSWORD_FILE: &str = "viewer.password";

/// What a recorder is to be.
pub(super) struct Wanted<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// Where it serves HTTPS.
    pub(super) listen: &'a str,
    /// Which cameras of the load it records.
    pub(super) cameras: &'a [String],
    /// How their media come.
    pub(super) carrier: Carrier,
    /// Of its container.
    pub(super) size: &'a str,
    /// More of its configuration, behind `[node]`.
    pub(super) more: &'a str,
    /// Where it runs; `None`: here.
    pub(super) host: Option<Rc<Host>>,
}

/// A recorder's directory and configuration.
pub(super) struct Site {
    folder: tempfile::TempDir,
    program: Program,
}

/// The product's program, and where it runs.
#[derive(Clone)]
struct Program {
    path: PathBuf,
    host: Option<Rc<Host>>,
}

impl Program {
    /// A command of it.
    fn command(&self, arguments: impl FnOnce(&mut Command)) -> Command {
        let mut command = Command::new(&self.path);
        arguments(&mut command);
        self.host.as_ref().map(|host| host.command(&command)).unwrap_or(command)
    }
}

/// A running recorder.
pub(super) struct Recorder {
    group: Group,
    lines: Lines,
    address: OnceCell<String>,
    program: Program,
    data: PathBuf,
}

impl Site {
    /// A site for the cameras of `load`, on the disk that holds the build directory (a temporary directory may be
    /// memory), with a container of `size`. Their media come by `carrier`.
    pub(super) fn new(workspace: &Workspace, load: &Load, carrier: Carrier, size: &str) -> Result<Self> {
        let listen = "127.0.0.1:0";
        Self::of(
            workspace,
            load,
            &Wanted { name: "bench", listen, cameras: &load.cameras, carrier, size, more: "", host: None },
        )
    }

    /// A site as it is wanted.
    pub(super) fn of(workspace: &Workspace, load: &Load, wanted: &Wanted<'_>) -> Result<Self> {
        let Wanted { name, listen, cameras, carrier, size, more, host } = wanted;
        let folder = tempfile::tempdir_in(workspace.metadata.target_directory.as_std_path())?;
        let data = folder.path().join("data");
        let mut text = format!(
            "[node]\nname = \"{name}\"\ndata = {data:?}\nlisten = \"{listen}\"\nrtsp_listen = \"127.0.0.1:0\"\n{more}\
             [[disk]]\npath = {:?}\nsize = \"{size}\"\n\
             [[rtsp_user]]\nuser = \"{VIEWER}\"\npassword_file = \"{PASSWORD_FILE}\"\ncameras = [\"*\"]\n",
            folder.path().join("disk"),
        );
        std::fs::write(folder.path().join(PASSWORD_FILE), "only for this bench\n")?;
        std::fs::create_dir(folder.path().join("disk"))?;
        for camera in *cameras {
            let ((key, address), carrier) = (load.source(camera)?, carrier.name());
            write!(
                text,
                "[[camera]]\nid = \"{camera}\"\n{key} = \"{address}\"\ntransport = \"{carrier}\"\n"
            )?;
        }
        std::fs::write(folder.path().join("keepwatch.toml"), text)?;
        let program = Program { path: workspace.program("keepwatch"), host: host.clone() };
        Ok(Self { folder, program })
    }

    /// Starts the recorder.
    pub(super) fn start(&self) -> Result<Recorder> {
        let mut command = self.program.command(|command| {
            command.args(["run", "--ready-line", "--config"]).arg(self.folder.path().join("keepwatch.toml"));
            command.env("KEEPWATCH_ADMIN_PASSWORD", ADMIN_PASSWORD).env("RUST_LOG", "warn");
        });
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(process::log_file(&self.folder.path().join("log"))?);
        let data = self.folder.path().join("data");
        let mut group = Group::spawn(&mut command)?;
        let lines = Lines::of(&mut group)?;
        Ok(Recorder { group, lines, address: OnceCell::new(), program: self.program.clone(), data })
    }

    /// The file with the password of [`VIEWER`].
    pub(super) fn password_file(&self) -> PathBuf {
        self.folder.path().join(PASSWORD_FILE)
    }

    /// The directory of the recorder's data.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The directory of its container.
    pub(super) fn disk(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// It records to the disk at `path` instead of its own directory.
    pub(super) fn record_to(&self, path: &str) -> Result<()> {
        let file = self.folder.path().join("keepwatch.toml");
        let text = std::fs::read_to_string(&file)?;
        let own = format!("[[disk]]\npath = {:?}\n", self.disk());
        let text = text.replacen(&own, &format!("[[disk]]\npath = \"{path}\"\n"), 1);
        Ok(std::fs::write(&file, text)?)
    }

    /// The frame numbers that the store holds, by camera, when no recorder runs.
    pub(super) fn frames(&self) -> Result<Vec<Held>> {
        self.frames_of(&self.folder.path().join("keepwatch.toml"))
    }

    /// Those that an edge node has written to the disk outside at `path`.
    pub(super) fn frames_outside(&self, path: &str) -> Result<Vec<Held>> {
        let file = self.folder.path().join("outside.toml");
        let data = self.data().join("edge-store");
        std::fs::write(&file, format!("[node]\ndata = {data:?}\n[[disk]]\npath = \"{path}\"\n"))?;
        self.frames_of(&file)
    }

    fn frames_of(&self, config: &Path) -> Result<Vec<Held>> {
        let mut command = self.program.command(|command| {
            command.args(["lab", "count-frames", "--config"]).arg(config);
        });
        let finished = process::capture(&mut command, EXAMPLE_LIMIT)?;
        finished
            .output
            .lines()
            .map(|line| serde_json::from_str(line).context("count-frames"))
            .map(|line| Held::of(&line?))
            .collect()
    }
}

impl Recorder {
    /// Its process id.
    pub(super) fn id(&self) -> u32 {
        self.group.id()
    }

    /// Waits until it serves HTTPS; returns where.
    pub(super) fn address(&self) -> Result<&str> {
        if let Some(address) = self.address.get() {
            return Ok(address);
        }
        let ready: Value = serde_json::from_str(&self.lines.next(PATIENCE)?)?;
        let address = ready["listening"][0].as_str().context("it says where it listens")?;
        Ok(self.address.get_or_init(|| address.to_owned()))
    }

    /// Its status as it tells it over its socket.
    pub(super) fn status(&self) -> Result<Value> {
        let mut command = self.program.command(|command| {
            command.args(["status", "--json", "--data"]).arg(&self.data);
        });
        let finished = process::capture(&mut command, PATIENCE)?;
        serde_json::from_str(finished.output.trim()).with_context(|| finished.output.clone())
    }

    /// Waits until all its cameras are recorded; returns the status then.
    pub(super) fn all_recording(&self) -> Result<Value> {
        let end = Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            if let Ok(status) = &status
                && status["node"]["recording"].as_u64() > Some(0)
                && status["node"]["recording"] == status["node"]["cameras"]
            {
                return Ok(status.clone());
            }
            if Instant::now() > end {
                bail!("not all cameras are recorded after {PATIENCE:?}: {status:?}");
            }
            process::pause(LOOK);
        }
    }

    /// Lets it stand still, or go on.
    pub(super) fn stop(&self, still: bool) {
        self.group.stop(still);
    }

    /// What its API answers at `path`, over its socket.
    pub(super) fn get(&self, path: &str) -> Result<Value> {
        let mut socket = UnixStream::connect(self.data.join("keepwatch.sock"))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        // Of 1.0, so that the answer ends with the connection and comes in one piece.
        write!(socket, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        let (_, body) = answer.split_once("\r\n\r\n").context("no answer")?;
        serde_json::from_str(body).with_context(|| answer.clone())
    }

    /// What a command of the program says of it.
    pub(super) fn says(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.program.command(|command| {
            command.args(arguments).arg("--data").arg(&self.data);
        });
        let finished = process::capture(&mut command, PATIENCE)?;
        // 3: done, and it found something that is not as it should be.
        match finished.status.and_then(|status| status.code()) {
            Some(0 | 3) => Ok(finished.output),
            code => bail!("`{}` ended with {code:?}: {}", arguments.join(" "), finished.output),
        }
    }

    /// Asks it to end and waits until it has.
    pub(super) fn end(mut self) -> Result<()> {
        self.group.end(PATIENCE)
    }

    /// Kills it at once.
    pub(super) fn kill(mut self) {
        self.group.kill();
    }
}

/// Bytes that all cameras have on disk since the recorder started.
pub(super) fn durable_bytes(status: &Value) -> u64 {
    cameras(status).filter_map(|camera| camera["durable_bytes"].as_u64()).sum()
}

/// The cameras of a status.
pub(super) fn cameras(status: &Value) -> impl Iterator<Item = &Value> {
    let list = &status["cameras"];
    list.as_array().or_else(|| list["items"].as_array()).into_iter().flatten()
}

/// The frames of one camera on disk.
pub(super) struct Held {
    /// The camera.
    pub(super) camera: String,
    /// First and last number of each unbroken range, ascending.
    pub(super) ranges: Vec<(u64, u64)>,
    /// Frames that are held twice, or are another camera's, or carry no number.
    pub(super) wrong: u64,
}

impl Held {
    fn of(line: &Value) -> Result<Self> {
        let frames = &line["frames"];
        let number = |value: &Value| value.as_u64().context("a frame number");
        let range = |range: &Value| anyhow::Ok((number(&range[0])?, number(&range[1])?));
        let count = |name: &str| frames[name].as_u64().unwrap_or(0);
        Ok(Self {
            camera: line["camera"].as_str().context("a camera")?.to_owned(),
            ranges: frames["ranges"].as_array().into_iter().flatten().map(range).collect::<Result<_>>()?,
            wrong: count("duplicates") + count("foreign") + count("unstamped"),
        })
    }

    /// How many of the numbers `first` to `last` are held.
    pub(super) fn within(&self, first: u64, last: u64) -> u64 {
        let overlap = |(from, to): &(u64, u64)| (to.min(&last) + 1).saturating_sub(*from.max(&first));
        self.ranges.iter().map(overlap).sum()
    }

    /// How many numbers are held.
    pub(super) fn count(&self) -> u64 {
        self.ranges.iter().map(|(from, to)| to + 1 - from).sum()
    }

    /// The last number held that is not after `last`; `None` when there is none from `first` on.
    pub(super) fn last_up_to(&self, first: u64, last: u64) -> Option<u64> {
        self.ranges
            .iter()
            .filter(|(from, to)| *from <= last && *to >= first)
            .map(|(_, to)| *to.min(&last))
            .max()
    }
}
