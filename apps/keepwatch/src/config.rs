//! The configuration file of a node: TOML with units in the values, read whole, every problem named with its place.
//!
//! The types here are the file's, with the place of each value; [`ConfigFile::resolve`] turns them into what the
//! recorder and the server are told. It reads the file and the password files it names and touches nothing else:
//! whether directories and disks can be used is asked by `check`, and found by `run`.

mod camera;
mod disk;
mod edge;
mod interfaces;
mod listen;
mod password;
pub(crate) mod reader;
mod report;
mod rtsp;
mod standby;

#[cfg(test)]
mod tests;

use std::io::{self, Read};
use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use keepwatch_edge::EdgeConfig;
use keepwatch_recorder::config::BACKFILL_RATE_MIN;
use keepwatch_recorder::config::text::{Complaint, at_least, name, quoted, retention};
use keepwatch_recorder::config::units;
pub(crate) use keepwatch_recorder::config::units::{bytes as read_bytes, show_bytes};
use keepwatch_recorder::config::{DiskRole, RecorderConfig, RtspConfig};
use keepwatch_recorder::{CardLimits, ReplenishSettings};
use keepwatch_standby::StandbyConfig;
use serde_spanned::Spanned;
use toml::de::DeTable;

pub(crate) use self::camera::CameraTable;
pub(crate) use self::disk::DiskTable;
use self::disk::Purpose;
pub(crate) use self::edge::{EdgeTable, rate as edge_rate};
pub(crate) use self::interfaces::{Address, InterfaceTable, Part, interface_name};
use self::listen::Families;
use self::reader::Table;
pub(crate) use self::report::Report;
pub(crate) use self::rtsp::{RtspUserTable, TlsTable};
pub(crate) use self::standby::StandbyTable;

/// Largest file that is read: ten thousand cameras.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Smallest container: below this a handful of cameras wrap around within minutes.
const DISK_BYTES_MIN: u64 = 128 << 20;

/// Smallest buffer: two seconds of a few cameras.
const BUFFER_BYTES_MIN: u64 = 16 << 20;

/// Smallest room for exports: less is a slip of the unit.
const EXPORTS_BYTES_MIN: u64 = 16 << 20;

/// A configuration file as read. `Default` is what a file says that says nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ConfigFile {
    /// `[node]`.
    pub(crate) node: NodeTable,
    /// Every `[[disk]]`.
    pub(crate) disks: Vec<DiskTable>,
    /// `[recorder]`.
    pub(crate) recorder: RecorderTable,
    /// `[standby]`.
    pub(crate) standby: StandbyTable,
    /// `[edge]`.
    pub(crate) edge: EdgeTable,
    /// Every `[[camera]]`.
    pub(crate) cameras: Vec<CameraTable>,
    /// Every `[[rtsp_user]]`.
    pub(crate) rtsp_users: Vec<RtspUserTable>,
}

/// `[node]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NodeTable {
    /// The node's name as operators see it; `None` takes the host's.
    pub(crate) name: Option<String>,
    /// Directory of everything but footage.
    pub(crate) data: Spanned<PathBuf>,
    /// Most bytes of all export archives; `None`: 10 GiB, or a tenth of that file system if that is less.
    pub(crate) exports_bytes_max: Option<u64>,
    /// Addresses of the HTTP server.
    pub(crate) listen: Vec<Spanned<SocketAddr>>,
    /// Addresses of the RTSP server; empty means none.
    pub(crate) rtsp_listen: Vec<Spanned<SocketAddr>>,
    /// Addresses of the RTSP server with TLS; empty means none.
    pub(crate) rtsps_listen: Vec<Spanned<SocketAddr>>,
    /// What the RTSP server shows over TLS; `None` takes a certificate of the node's own.
    pub(crate) tls: Option<TlsTable>,
    /// `[node.vin]`, `[node.vin2]` and `[node.wan]`.
    pub(crate) interfaces: Vec<InterfaceTable>,
}

impl Default for NodeTable {
    fn default() -> Self {
        Self {
            name: None,
            data: Spanned::new(0..0, PathBuf::from("/var/lib/keepwatch")),
            exports_bytes_max: None,
            listen: vec![Spanned::new(0..0, SocketAddr::from((Ipv6Addr::UNSPECIFIED, 8443)))],
            rtsp_listen: Vec::new(),
            rtsps_listen: Vec::new(),
            tls: None,
            interfaces: Vec::new(),
        }
    }
}

/// `[recorder]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecorderTable {
    /// Age at which footage is deleted; `None` keeps it until space runs out.
    pub(crate) retention: Option<Duration>,
    /// Most bytes of footage in memory.
    pub(crate) buffer_bytes_max: u64,
    /// How gaps are filled from elsewhere.
    pub(crate) replenish: ReplenishSettings,
}

impl Default for RecorderTable {
    fn default() -> Self {
        Self { retention: None, buffer_bytes_max: 256 << 20, replenish: ReplenishSettings::default() }
    }
}

/// What a node is told to do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NodeConfig {
    /// The recorder's part.
    pub(crate) recorder: RecorderConfig,
    /// How the recorder's gaps are filled from elsewhere.
    pub(crate) replenish: ReplenishSettings,
    /// How fast the cards of cameras are read.
    pub(crate) card_limits: CardLimits,
    /// The standby's part.
    pub(crate) standby: StandbyConfig,
    /// The edge role's part.
    pub(crate) edge: EdgeConfig,
    /// Interfaces by what they are for.
    pub(crate) interfaces: Vec<InterfaceTable>,
    /// Addresses of the HTTP server.
    pub(crate) listen: Vec<SocketAddr>,
}

/// Why a file could not be read at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The file is not there or not readable.
    #[error("{}: cannot be read: {source}; check the path", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no text.
    #[error("{}: is not UTF-8 text; save it as UTF-8", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// The file is too large.
    #[error("{}: is larger than {} MiB; is it the right file?", path.display(), FILE_BYTES_MAX >> 20)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
}

/// A file and what is wrong with it.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    /// What could be read of it; relative paths are made relative to its directory.
    pub(crate) file: ConfigFile,
    /// What the node is told to do; passwords that could not be read are absent. Use only when the report has no
    /// error.
    pub(crate) node: NodeConfig,
    /// What is wrong.
    pub(crate) report: Report,
}

/// Reads the file at `path` and the password files it names.
pub(crate) fn load(path: &Path) -> Result<Loaded, ReadError> {
    let text = read_text(path)?;
    let directory = path.parent().unwrap_or(Path::new(""));
    Ok(parse(&text, directory))
}

/// Reads a file's `text`; relative paths in it are relative to `directory`.
pub(crate) fn parse(text: &str, directory: &Path) -> Loaded {
    let (file, mut report) = read(text, directory);
    let node = file.resolve(&mut report);
    Loaded { file, node, report }
}

/// Reads a file's `text` and opens none of the files that it names.
pub(crate) fn read(text: &str, directory: &Path) -> (ConfigFile, Report) {
    read_tree(text, |report, root| ConfigFile::from_tree(report, root, directory))
}

/// Reads `text` as TOML and what it says by `interpret`, which is not asked when it is none.
pub(crate) fn read_tree<T: Default>(
    text: &str,
    interpret: impl FnOnce(&mut Report, Table<'_, '_>) -> T,
) -> (T, Report) {
    let mut report = Report::new(text.to_owned());
    let (tree, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        // Some spans point behind the end.
        let offset = error.span().map_or(0, |span| span.start.min(text.len()));
        report.error_at(offset, one_line(error.message()), "see the description of TOML at https://toml.io");
    }
    // Half a tree would give errors that are none.
    let said = if errors.is_empty() {
        interpret(&mut report, Table::new(tree.get_ref(), "", 0..0))
    } else {
        T::default()
    };
    (said, report)
}

impl ConfigFile {
    fn from_tree(report: &mut Report, mut root: Table<'_, '_>, directory: &Path) -> Self {
        let node = root
            .table(report, "node", "[node]")
            .map(|table| NodeTable::read(report, table, directory))
            .unwrap_or_default();
        let disks: Vec<DiskTable> = root
            .tables(report, "disk", "[[disk]]")
            .into_iter()
            .filter_map(|table| DiskTable::read(report, table, directory, Purpose::Own))
            .collect();
        let recorder = root
            .table(report, "recorder", "[recorder]")
            .map(|table| RecorderTable::read(report, table))
            .unwrap_or_default();
        let standby = root
            .table(report, "standby", "[standby]")
            .map(|table| StandbyTable::read(report, table))
            .unwrap_or_default();
        let edge = root
            .table(report, "edge", "[edge]")
            .map(|table| EdgeTable::read(report, table, directory))
            .unwrap_or_default();
        let cameras: Vec<CameraTable> = root
            .tables(report, "camera", "[[camera]]")
            .into_iter()
            .filter_map(|table| CameraTable::read(report, table, directory))
            .collect();
        let rtsp_users: Vec<RtspUserTable> = root
            .tables(report, "rtsp_user", "[[rtsp_user]]")
            .into_iter()
            .filter_map(|table| RtspUserTable::read(report, table, directory))
            .collect();
        if !root.has("disk") {
            report.error_of_file(
                "there is no [[disk]]",
                "add one for the footage, like: [[disk]] path = \"/srv/footage\"",
            );
        }
        if let (Some(first), true) = (disks.first(), disks.iter().all(|disk| disk.role == DiskRole::Second)) {
            report.error(
                first.path.span(),
                "every disk is a second storage, which is recorded to only while no other can be",
                "give one of them role = \"edge\" or \"recordings\", or leave its role out",
            );
        }
        if cameras.is_empty() && !root.has_tables("camera") {
            report.warning_of_file(
                "there is no [[camera]], so only what is added in the console is recorded",
                "add cameras there, or here, like: [[camera]] id = \"gate\" url = \"rtsp://192.0.2.10/stream\"",
            );
        }
        edge.check(report, &cameras);
        root.finish(report);
        let paths = disks.iter().chain(&edge.disks).map(|disk| (&disk.path, disk.path.get_ref()));
        duplicates(report, paths, |path| format!("disk {}", quoted(&path.display().to_string())));
        let ids = cameras.iter().map(|camera| (&camera.id, camera.id.get_ref()));
        duplicates(report, ids, |id| format!("camera id {}", quoted(id.as_str())));
        for user in &rtsp_users {
            user.check(report, &cameras);
        }
        let has_server = !node.rtsp_listen.is_empty() || !node.rtsps_listen.is_empty();
        rtsp::check_all(report, &rtsp_users, has_server);
        // Port 0 is another one each time.
        let listened = [&node.listen, &node.rtsp_listen, &node.rtsps_listen].into_iter().flatten();
        let fixed = listened.filter(|address| address.get_ref().port() != 0);
        let (given, usual): (Vec<_>, Vec<_>) = fixed.partition(|address| !address.span().is_empty());
        listen::check(report, &usual, &given, Families::of_machine());
        Self { node, disks, recorder, standby, edge, cameras, rtsp_users }
    }

    /// What the node is told to do; reads the password files.
    fn resolve(&self, report: &mut Report) -> NodeConfig {
        let bare =
            |addresses: &[Spanned<SocketAddr>]| addresses.iter().map(|address| *address.get_ref()).collect();
        let rtsp = RtspConfig {
            listen: bare(&self.node.rtsp_listen),
            listen_tls: bare(&self.node.rtsps_listen),
            tls: self.node.tls.as_ref().map(|tls| tls.resolve(report)),
            users: self.rtsp_users.iter().filter_map(|user| user.resolve(report)).collect(),
        };
        let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        let recorder = RecorderConfig {
            name: self.node.name.clone().unwrap_or_else(host),
            data: self.node.data.get_ref().clone(),
            disks: self.disks.iter().map(|disk| disk.resolve(report)).collect(),
            retention: self.recorder.retention,
            buffer_bytes_max: self.recorder.buffer_bytes_max,
            exports_bytes_max: self.node.exports_bytes_max,
            cameras: self.cameras.iter().map(|camera| camera.resolve(report)).collect(),
            rtsp,
        };
        NodeConfig {
            recorder,
            replenish: self.recorder.replenish,
            card_limits: self.card_limits(),
            standby: self.standby.0.clone(),
            edge: self.edge_config(report),
            interfaces: self.node.interfaces.clone(),
            listen: bare(&self.node.listen),
        }
    }
}

impl ConfigFile {
    fn card_limits(&self) -> CardLimits {
        self.cameras.iter().filter_map(|camera| Some((camera.draft.id, camera.card_limit?))).collect()
    }

    /// What the edge role is told; reads the password files of its disks.
    fn edge_config(&self, report: &mut Report) -> EdgeConfig {
        let disks = self.edge.disks.iter().map(|disk| disk.resolve(report)).collect();
        EdgeConfig { disks, ..self.edge_with_limits() }
    }

    /// `[edge]` with the limits that stand with the cameras, and without its disks.
    pub(crate) fn edge_with_limits(&self) -> EdgeConfig {
        let edge = self.edge.config.clone();
        let set =
            self.cameras.iter().filter_map(|camera| Some((camera.draft.id, camera.edge_limit.as_ref()?)));
        let limits = set.map(|(id, limit)| (id, limit.over(edge.limit))).collect();
        EdgeConfig { limits, ..edge }
    }

    /// Every disk, with those of the external storage.
    pub(crate) fn all_disks(&self) -> impl Iterator<Item = &DiskTable> {
        self.disks.iter().chain(&self.edge.disks)
    }
}

impl NodeTable {
    fn read(report: &mut Report, mut table: Table<'_, '_>, directory: &Path) -> Self {
        let default = Self::default();
        let name = table.parsed(report, "name", name);
        let data = table.parsed(report, "data", |text| path(text, directory));
        let exports = table.parsed(report, "exports_max", |text| {
            at_least(units::bytes(text)?, EXPORTS_BYTES_MIN, text, "write at least \"16 MiB\"")
        });
        let listen = table.list(report, "listen", address);
        table.refuse_empty(report, "listen", "leave listen out for the usual address");
        let rtsp_listen = table.list(report, "rtsp_listen", rtsp_address);
        let rtsps_listen = table.list(report, "rtsps_listen", rtsp_address);
        let tls = TlsTable::read(report, &mut table, directory);
        let interfaces = interfaces::read_all(report, &mut table);
        table.finish(report);
        Self {
            name: name.map(Spanned::into_inner),
            data: data.unwrap_or(default.data),
            exports_bytes_max: exports.map(Spanned::into_inner),
            listen: listen.unwrap_or(default.listen),
            rtsp_listen: rtsp_listen.unwrap_or(default.rtsp_listen),
            rtsps_listen: rtsps_listen.unwrap_or(default.rtsps_listen),
            tls,
            interfaces,
        }
    }
}

impl RecorderTable {
    fn read(report: &mut Report, mut table: Table<'_, '_>) -> Self {
        let default = Self::default();
        let retention = table.parsed(report, "retention", retention);
        let buffer = table.parsed(report, "buffer", |text| {
            at_least(units::bytes(text)?, BUFFER_BYTES_MIN, text, "write at least \"16 MiB\"")
        });
        let rate = table.parsed(report, "backfill_rate", |text| {
            at_least(units::bits_per_second(text)?, BACKFILL_RATE_MIN, text, "write at least \"1 Mbit/s\"")
        });
        let cards = table.boolean(report, "backfill_cards");
        table.finish(report);
        Self {
            retention: retention.map(Spanned::into_inner),
            buffer_bytes_max: buffer.map_or(default.buffer_bytes_max, Spanned::into_inner),
            replenish: ReplenishSettings {
                paused: false,
                bits_per_second_max: rate.map(Spanned::into_inner),
                cards: cards.unwrap_or(default.replenish.cards),
            },
        }
    }
}

fn path(text: &str, directory: &Path) -> Result<PathBuf, Complaint> {
    if text.is_empty() || text.contains('\0') {
        return Err(Complaint::new(
            format!("{} is no path", quoted(text)),
            "write a path like \"/srv/footage\"",
        ));
    }
    Ok(directory.join(text))
}

fn address(text: &str) -> Result<SocketAddr, Complaint> {
    socket_address(text, "write numbers like \"[::]:8443\" or \"192.0.2.1:8443\"")
}

fn rtsp_address(text: &str) -> Result<SocketAddr, Complaint> {
    socket_address(text, "write numbers like \"[::]:8554\" or \"192.0.2.1:554\"")
}

fn socket_address(text: &str, remedy: &str) -> Result<SocketAddr, Complaint> {
    let what = || format!("{} is not an address with a port", quoted(text));
    text.trim().parse().map_err(|_| Complaint::new(what(), remedy))
}

/// Complains about every value that stood before.
fn duplicates<'v, S: 'v, T: Ord + 'v>(
    report: &mut Report,
    values: impl Iterator<Item = (&'v Spanned<S>, &'v T)>,
    show: impl Fn(&T) -> String,
) {
    let mut seen = std::collections::BTreeMap::new();
    for (place, value) in values {
        let start = place.span().start;
        if let Some(first) = seen.insert(value, start) {
            let line = report.line(first);
            report.error(
                place.span(),
                format!("{} is already used on line {line}", show(value)),
                "every entry needs one of its own",
            );
        }
    }
}

pub(crate) fn read_text(path: &Path) -> Result<String, ReadError> {
    let unreadable = |source| ReadError::Unreadable { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(ReadError::TooLarge { path: path.to_owned() });
    }
    String::from_utf8(bytes).map_err(|_| ReadError::NotText { path: path.to_owned() })
}

/// The parser's messages can have several lines; ours have one.
fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(", ")
}
