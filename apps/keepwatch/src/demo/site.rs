//! What a demo consists of: its directory, its disks, its configurations and the commands of its children.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::fs::{statfs, statvfs};
use tokio::process::Command;

use crate::cli::DemoOptions;
use crate::config::show_bytes;

/// Footage that a demo keeps at most; four virtual cameras fill it in some two hours.
const DISK_BYTES: u64 = 2 << 30;

/// As above where files live in memory.
const DISK_BYTES_IN_MEMORY: u64 = 256 << 20;

/// Least footage of a node that makes a demo.
const DISK_BYTES_MIN: u64 = 128 << 20;

/// Footage that the standby keeps at most: it has nothing to record most of the time.
const STANDBY_DISK_BYTES: u64 = 256 << 20;

/// Footage that the edge box keeps at most: half an hour of its camera.
const BOX_DISK_BYTES: u64 = DISK_BYTES_MIN;

/// Free space that the disk leaves to others.
const SPARE_BYTES: u64 = 64 << 20;

/// `f_type` of tmpfs (statfs(2)).
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// User of the virtual cameras.
const CAMERA_USER: &str = "recorder";

/// The file with its password, in the demo's directory.
const CAMERA_PASSWORD: &str = "cameras.password";

/// Where the HTTP server listens unless told otherwise.
const PORT: u16 = 8080;

/// What the recorder and its standby are called.
pub(super) const RECORDER: &str = "demo";
/// See [`RECORDER`].
pub(super) const STANDBY: &str = "standby";
/// See [`RECORDER`].
pub(super) const BOX: &str = "box";

/// A standby of a demo asks more often than others, so that nobody waits for long: it takes over after a second and a half.
const SETUP: &str = "[standby]\ncheck_interval = \"500 ms\"\n\n";

/// The edge box of a demo sends after seconds rather than minutes, and makes up for a cut line in a third of the time.
const EDGE: &str = "[edge]\ndelay = \"3 s\"\ndelay_max = \"8 s\"\nspeed = 400\n\n";

/// What the pictures of a node of a demo wait in for its disk.
const BUFFER: &str = "[recorder]\nbuffer = \"64 MiB\"\n";

/// Where a demo keeps everything.
pub(super) struct Directory {
    path: PathBuf,
    temporary: bool,
}

impl Directory {
    /// The directory that the janitor made and removes.
    pub(super) const fn temporary(path: PathBuf) -> Self {
        Self { path, temporary: true }
    }

    /// A directory that the user named; it is made if missing, and kept.
    pub(super) fn named(named: &Path) -> anyhow::Result<Self> {
        let unfit = || format!("{} cannot be the demo's directory", named.display());
        fs::create_dir_all(named).with_context(unfit)?;
        let path = fs::canonicalize(named).with_context(unfit)?;
        Ok(Self { path, temporary: false })
    }

    /// Whether it is removed at the end.
    pub(super) const fn is_temporary(&self) -> bool {
        self.temporary
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The recorder's data directory.
    pub(super) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// The data directory of the standby.
    pub(super) fn standby_data(&self) -> PathBuf {
        self.standby().join("data")
    }

    /// The data directory of the edge box.
    pub(super) fn box_data(&self) -> PathBuf {
        self.edge_box().join("data")
    }

    /// The control socket of the line between the edge box and the recorder.
    pub(super) fn line(&self) -> PathBuf {
        self.path.join("line.sock")
    }

    fn footage(&self) -> PathBuf {
        self.path.join("footage")
    }

    fn standby(&self) -> PathBuf {
        self.path.join(STANDBY)
    }

    fn edge_box(&self) -> PathBuf {
        self.path.join(BOX)
    }

    fn camera_password(&self) -> PathBuf {
        self.path.join(CAMERA_PASSWORD)
    }

    /// The control socket of the virtual cameras.
    pub(super) fn control(&self) -> PathBuf {
        self.path.join("cameras.sock")
    }
}

/// A planned demo.
pub(super) struct Site {
    program: PathBuf,
    directory: PathBuf,
    control: PathBuf,
    line: PathBuf,
    camera_password_file: PathBuf,
    cameras: u16,
    listen: SocketAddr,
    disk_bytes: u64,
    standby_disk_bytes: u64,
    password: String,
}

impl Site {
    /// Makes directories and passwords, and looks for room and a port.
    pub(super) fn plan(options: &DemoOptions, directory: &Directory) -> anyhow::Result<Self> {
        let standby_footage = directory.standby().join("footage");
        let box_footage = directory.edge_box().join("footage");
        for footage in [&directory.footage(), &standby_footage, &box_footage] {
            fs::create_dir_all(footage)?;
        }
        for data in [directory.data(), directory.standby_data(), directory.box_data()] {
            fs::create_dir_all(&data)?;
            // A directory that is used again holds the password of the last demo, which nobody knows any more.
            match fs::remove_file(data.join("users.json")) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                Ok(()) | Err(_) => {}
            }
        }
        let (disk_bytes, standby_disk_bytes) =
            disks_bytes(&directory.footage(), &[&standby_footage, &box_footage])?;
        write_private(&directory.camera_password(), &invent_password()?)?;
        Ok(Self {
            program: std::env::current_exe().context("this program cannot find itself")?,
            directory: directory.path().to_owned(),
            control: directory.control(),
            line: directory.line(),
            camera_password_file: directory.camera_password(),
            cameras: options.cameras,
            listen: free_address(options.listen)?,
            disk_bytes,
            standby_disk_bytes,
            password: invent_password()?,
        })
    }

    /// The administrator's password.
    pub(super) fn password(&self) -> &str {
        &self.password
    }

    /// This program.
    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// Footage that is kept at most, by all nodes, in bytes.
    pub(super) const fn disk_bytes(&self) -> u64 {
        self.disk_bytes + self.standby_disk_bytes + BOX_DISK_BYTES
    }

    /// The recorder's address is known, and is to be the same after each start: its standby asks it there.
    pub(super) fn listens_at(&mut self, address: SocketAddr) {
        self.listen = address;
    }

    /// How many cameras the recorder has itself.
    pub(super) const fn cameras(&self) -> u16 {
        self.cameras
    }

    /// The camera beside the edge box, by the same id at the box and at the recorder.
    pub(super) fn box_camera(&self) -> String {
        format!("cam{}", self.cameras + 1)
    }

    /// Starts the virtual cameras at a free port.
    pub(super) fn cameras_command(&self) -> Command {
        self.cameras_command_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// Starts the virtual cameras at `address`.
    pub(super) fn cameras_command_at(&self, address: SocketAddr) -> Command {
        let mut command = self.command();
        command.args(["lab", "cameras", "--user", CAMERA_USER]);
        command.arg("--listen").arg(address.to_string());
        command.arg("--count").arg((self.cameras + 1).to_string());
        // A picture of their own for the first four; encoding more would take more than half a core.
        command.arg("--encoders").arg(self.cameras.min(4).to_string());
        command.arg("--password-file").arg(&self.camera_password_file);
        command.arg("--control").arg(&self.control);
        command
    }

    /// Starts the recorder.
    pub(super) fn recorder_command(&self) -> Command {
        self.node_command(&self.configuration())
    }

    /// Starts the standby.
    pub(super) fn standby_command(&self) -> Command {
        self.node_command(&self.standby_configuration())
    }

    /// Starts the edge box.
    pub(super) fn box_command(&self) -> Command {
        self.node_command(&self.box_configuration())
    }

    /// Starts the line from `listen` to the recorder at `to`.
    pub(super) fn line_command(&self, listen: SocketAddr, to: SocketAddr) -> Command {
        let mut command = self.command();
        command.args(["lab", "line"]);
        command.arg("--listen").arg(listen.to_string());
        command.arg("--to").arg(to.to_string());
        command.arg("--control").arg(&self.line);
        command
    }

    fn configuration(&self) -> PathBuf {
        self.directory.join("keepwatch.toml")
    }

    fn standby_configuration(&self) -> PathBuf {
        self.directory.join(STANDBY).join("keepwatch.toml")
    }

    fn box_configuration(&self) -> PathBuf {
        self.directory.join(BOX).join("keepwatch.toml")
    }

    fn node_command(&self, configuration: &Path) -> Command {
        let mut command = self.command();
        command.args(["run", "--ready-line"]).arg("--config").arg(configuration);
        command.env("KEEPWATCH_ADMIN_PASSWORD", &self.password);
        command
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env_remove("KEEPWATCH_CONFIG");
        if std::env::var_os("RUST_LOG").is_none() {
            command.env("RUST_LOG", "warn");
        }
        command.current_dir(&self.directory);
        command
    }

    /// Writes the configuration of the standby, which has no cameras of its own; `port` 0 takes a free one.
    pub(super) fn write_standby_configuration(&self, port: u16) -> anyhow::Result<()> {
        let listen = SocketAddr::new(self.listen.ip(), port);
        let text = configuration(STANDBY, listen, self.standby_disk_bytes) + SETUP + BUFFER;
        fs::write(self.standby_configuration(), text).context("the standby's configuration cannot be written")
    }

    /// Writes the configuration of the edge box, whose camera is at `cameras`; `port` 0 takes a free one.
    pub(super) fn write_box_configuration(&self, cameras: SocketAddr, port: u16) -> anyhow::Result<()> {
        let listen = SocketAddr::new(self.listen.ip(), port);
        let password = format!("../{CAMERA_PASSWORD}");
        let text = configuration(BOX, listen, BOX_DISK_BYTES)
            + EDGE
            + BUFFER
            + &camera(self.cameras + 1, cameras, &password);
        fs::write(self.box_configuration(), text).context("the edge box's configuration cannot be written")
    }

    /// Writes the configuration of the recorder, whose cameras are at `cameras`.
    pub(super) fn write_configuration(&self, cameras: SocketAddr) -> anyhow::Result<()> {
        let mut text = configuration(RECORDER, self.listen, self.disk_bytes) + BUFFER;
        for number in 1..=self.cameras {
            text.push_str(&camera(number, cameras, CAMERA_PASSWORD));
        }
        text.push_str(&format!(
            "\n[[camera]]\nid = \"{}\"\nname = \"Camera {}, beside the edge box\"\nedge = \"{BOX}\"\n",
            self.box_camera(),
            self.cameras + 1
        ));
        fs::write(self.configuration(), text).context("the demo's configuration cannot be written")
    }
}

/// A camera that a node records, at `cameras`.
fn camera(number: u16, cameras: SocketAddr, password_file: &str) -> String {
    format!(
        "\n[[camera]]\nid = \"cam{number}\"\nname = \"Camera {number}\"\nurl = \"rtsp://{cameras}/cam{number}\"\n\
         user = \"{CAMERA_USER}\"\npassword_file = \"{password_file}\"\n"
    )
}

/// The address to listen on: the one asked for, the usual one, or one with a free port.
fn free_address(asked: Option<SocketAddr>) -> anyhow::Result<SocketAddr> {
    if let Some(asked) = asked {
        TcpListener::bind(asked)
            .with_context(|| format!("{asked} cannot be listened on; choose another --listen"))?;
        return Ok(asked);
    }
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
    let taken = TcpListener::bind(usual).is_err();
    Ok(if taken { SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) } else { usual })
}

/// The part of a configuration that all nodes have. Paths are relative to the file, so none needs quoting, whatever the
/// directory is called.
fn configuration(name: &str, listen: SocketAddr, disk_bytes: u64) -> String {
    format!(
        "# The configuration of a demo.\n\n[node]\nname = \"{name}\"\ndata = \"data\"\nlisten = \"{listen}\"\n\n\
         [[disk]]\npath = \"footage\"\nsize = \"{disk_bytes} B\"\n\n"
    )
}

/// How much of the file system the recorder and its standby may use, beside the edge box; `others` is where those two keep theirs.
fn disks_bytes(recorder: &Path, others: &[&Path]) -> anyhow::Result<(u64, u64)> {
    let system = statvfs(recorder)?;
    let in_memory = statfs(recorder).is_ok_and(|system| system.f_type == TMPFS_MAGIC);
    // What an earlier demo left in --dir is used again.
    let mut free = system.f_bavail.saturating_mul(system.f_frsize).saturating_add(held(recorder)?);
    for other in others {
        free = free.saturating_add(held(other)?);
    }
    let wanted = if in_memory { DISK_BYTES_IN_MEMORY } else { DISK_BYTES };
    let most = free.saturating_sub(SPARE_BYTES).saturating_sub(BOX_DISK_BYTES);
    let whole = |bytes: u64| bytes & !((1 << 20) - 1);
    if most < 2 * DISK_BYTES_MIN {
        bail!(
            "{} has {} free and a demo needs {}; name a directory with room with --dir",
            recorder.display(),
            show_bytes(free),
            show_bytes(2 * DISK_BYTES_MIN + BOX_DISK_BYTES + SPARE_BYTES)
        );
    }
    let standby_bytes = STANDBY_DISK_BYTES.min(most / 4).max(DISK_BYTES_MIN);
    Ok((whole(wanted.min(most - standby_bytes)), whole(standby_bytes)))
}

/// What the files in a directory occupy.
fn held(directory: &Path) -> anyhow::Result<u64> {
    let files = fs::read_dir(directory)?.filter_map(|entry| entry.ok()?.metadata().ok());
    Ok(files.map(|metadata| std::os::unix::fs::MetadataExt::blocks(&metadata).saturating_mul(512)).sum())
}

/// Writes a file that only this user can read.
fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let open = |path| fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let mut file = open(path).with_context(|| format!("{} cannot be written", path.display()))?;
    writeln!(file, "{text}")?;
    Ok(())
}

/// A password of 80 bits that can be typed.
fn invent_password() -> anyhow::Result<String> {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = [0_u8; 16];
    getrandom::fill(&mut random)
        .map_err(|error| anyhow::anyhow!("the system gave no random numbers: {error}"))?;
    let letters: Vec<u8> = random.iter().map(|byte| ALPHABET[usize::from(byte % 32)]).collect();
    let groups: Vec<String> =
        letters.chunks(4).map(|group| group.iter().copied().map(char::from).collect()).collect();
    Ok(groups.join("-"))
}
