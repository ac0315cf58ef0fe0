//! The command line. Contracts of the first release: names and meanings stay.

mod edge;
mod failover;
mod plan;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use keepwatch_lab::{AudioCodec, VideoCodec};
use keepwatch_model::{CameraId, Span, StreamId, WallTime};
use keepwatch_onvif::discovery::AddressRange;
use keepwatch_recorder::config::Fingerprint;

pub(crate) use self::edge::{
    EdgeCommand, EdgeLimitOptions, EdgeOptions, EdgeRegisterOptions, EdgeRemoveOptions,
};
pub(crate) use self::failover::{
    FailoverBackupsOptions, FailoverCommand, FailoverPrimaryOptions, FailoverRegisterOptions,
    FailoverReplaceOptions, FailoverSetOptions, FailoverStatusOptions, Login,
};
pub(crate) use self::plan::{EdgePlanOptions, PlanOptions, PlanPart};
use crate::backfill::BackfillCommand;
use crate::fetch::FetchOptions;
use crate::standbys::StandbyCommand;

/// Where a configuration is looked for when none is named.
const CONFIG_DEFAULT: &str = "/etc/keepwatch/keepwatch.toml";

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed; standard error says why
  2  the command line or the configuration is wrong
  3  done, and faults were found (verify, status, fetch, audit verify, failover status, edge status)";

/// Records IP cameras and accounts for every second.
#[derive(Debug, Parser)]
#[command(name = "keepwatch", version, after_help = EXIT_CODES, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show it at work: virtual cameras and a recorder in a temporary directory
    Demo(DemoOptions),
    /// Run a node
    Run(RunOptions),
    /// Find every mistake in a configuration file
    Check(CheckOptions),
    /// Plan lines, switches, disks and standby of a site, or the edge recording of a node
    Plan(Box<PlanOptions>),
    /// Show what a running node records
    Status(StatusOptions),
    /// Raise an alarm of a camera that is recorded on alarm
    Alarm(AlarmOptions),
    /// Prove every checksum of the footage and every row of the index
    Verify(VerifyOptions),
    /// Write footage to an MP4 file
    Export(ExportOptions),
    /// Other recorders that this node watches, and records in the place of
    #[command(subcommand)]
    Failover(FailoverCommand),
    /// The log of who did what
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Footage that this node sends to a recorder, or that edge nodes send to this one
    #[command(subcommand)]
    Edge(EdgeCommand),
    /// The standbys that watch this recorder
    #[command(subcommand)]
    Standby(StandbyCommand),
    /// Footage that is missing here and comes from elsewhere
    #[command(subcommand)]
    Backfill(BackfillCommand),
    /// Find cameras in the network
    Scan(ScanOptions),
    /// Print the description of the HTTP API (OpenAPI 3.1, JSON)
    Openapi,
    /// Fetch recorded footage of a camera or another recorder over the network
    Fetch(Box<FetchOptions>),
    /// Virtual cameras and load, for tests
    Lab(LabOptions),
    /// Decodes pictures for a node, with no rights at all; started by it
    #[command(hide = true)]
    PictureWorker,
    /// Tidies up after a demo that was killed; started by it
    #[command(hide = true)]
    DemoJanitor(JanitorOptions),
}

/// Options of `demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoOptions {
    /// Keep everything in this directory instead of a temporary one
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
    /// Address of the HTTP server [default: 127.0.0.1:8080, or a free port when that is taken]
    #[arg(long)]
    pub(crate) listen: Option<SocketAddr>,
    /// Virtual cameras
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) cameras: u16,
    /// End after this many seconds of recording
    #[arg(long)]
    pub(crate) seconds: Option<u64>,
}

/// Options of `demo-janitor`.
#[derive(Debug, Args)]
pub(crate) struct JanitorOptions {
    /// Make a temporary directory, and remove it at the end
    #[arg(long)]
    pub(crate) temporary: bool,
}

/// A part that a node can play.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Records cameras
    Recorder,
}

/// Options of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    /// Configuration file
    #[arg(long, env = "KEEPWATCH_CONFIG", default_value = CONFIG_DEFAULT)]
    pub(crate) config: PathBuf,
    /// Role to play; may be given several times [default: all that the configuration describes]
    #[arg(long = "role")]
    pub(crate) roles: Vec<Role>,
    /// Print one JSON line on standard output when the node can be reached
    #[arg(long, hide = true)]
    pub(crate) ready_line: bool,
    /// End with this process, which must be the parent
    #[arg(long, hide = true)]
    pub(crate) parent: Option<u32>,
}

/// Options of `scan`.
#[derive(Debug, Args)]
pub(crate) struct ScanOptions {
    /// Interface to search on; may be given several times [default: all, or none with --probe]
    #[arg(long = "interface", value_name = "NAME")]
    pub(crate) interfaces: Vec<String>,
    /// Address or range, like 192.168.1.0/24, to ask one by one; may be given several times
    #[arg(long = "probe", value_name = "ADDRESS|CIDR")]
    pub(crate) ranges: Vec<AddressRange>,
    /// How long to wait for answers
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) seconds: u64,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Port that cameras are asked at
    #[arg(long, hide = true, default_value_t = keepwatch_onvif::discovery::PORT)]
    pub(crate) port: u16,
}

/// Options of `alarm`.
#[derive(Debug, Args)]
pub(crate) struct AlarmOptions {
    /// The camera
    pub(crate) camera: CameraId,
    /// Why, on one line
    #[arg(long, default_value = "")]
    pub(crate) note: String,
    /// How long it lasts, before the time behind it begins [default: a moment]
    #[arg(long, default_value_t = 0, hide_default_value = true, value_parser = clap::value_parser!(u32).range(0..=86_400))]
    pub(crate) seconds: u32,
    /// Which node
    #[command(flatten)]
    pub(crate) node: NodeOptions,
}

/// What to do with the audit log.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Prove that no entry was changed, left out or cut off
    Verify(AuditVerifyOptions),
}

/// Options of `audit verify`.
#[derive(Debug, Args)]
pub(crate) struct AuditVerifyOptions {
    /// Which node
    #[command(flatten)]
    pub(crate) node: NodeOptions,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `check`.
#[derive(Debug, Args)]
pub(crate) struct CheckOptions {
    /// Configuration file
    pub(crate) file: PathBuf,
}

/// Which node is meant.
#[derive(Debug, Args)]
pub(crate) struct NodeOptions {
    /// Configuration file of the node [default: /etc/keepwatch/keepwatch.toml]
    #[arg(long, env = "KEEPWATCH_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Data directory of the node, instead of the one in its configuration
    #[arg(long)]
    pub(crate) data: Option<PathBuf>,
}

impl NodeOptions {
    /// The configuration file; `None` when only a data directory was named.
    pub(crate) fn config_file(&self) -> Option<PathBuf> {
        match (&self.config, &self.data) {
            (Some(file), _) => Some(file.clone()),
            (None, Some(_)) => None,
            (None, None) => Some(PathBuf::from(CONFIG_DEFAULT)),
        }
    }
}

/// Options of `status`.
#[derive(Debug, Args)]
pub(crate) struct StatusOptions {
    /// Which node.
    #[command(flatten)]
    pub(crate) node: NodeOptions,
    /// Print JSON instead of tables
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyOptions {
    /// Which node.
    #[command(flatten)]
    pub(crate) node: NodeOptions,
    /// Make the index anew from the footage alone; the node must not be running
    #[arg(long)]
    pub(crate) rebuild: bool,
    /// Print JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `export`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct ExportOptions {
    /// What to do instead of exporting.
    #[command(subcommand)]
    pub(crate) command: Option<ExportCommand>,
    /// Which node.
    #[command(flatten)]
    pub(crate) node: NodeOptions,
    /// Id of the camera
    #[arg(long, required = true)]
    pub(crate) camera: Option<CameraId>,
    /// Which of its streams: main or sub
    #[arg(long, default_value = "main")]
    pub(crate) stream: StreamId,
    /// First moment, like 2026-11-21T22:05:00Z
    #[arg(long, required = true)]
    pub(crate) from: Option<WallTime>,
    /// First moment after
    #[arg(long, required = true)]
    pub(crate) to: Option<WallTime>,
    /// MP4 file to write
    #[arg(short, long, required = true)]
    pub(crate) output: Option<PathBuf>,
}

/// What `export` does beside exporting.
#[derive(Debug, Subcommand)]
pub(crate) enum ExportCommand {
    /// Prove that an archive which a node exported is as it was signed
    Verify(ExportVerifyOptions),
}

/// Options of `export verify`.
#[derive(Debug, Args)]
pub(crate) struct ExportVerifyOptions {
    /// The archive
    pub(crate) file: PathBuf,
    /// Key that must have signed it, as keepwatch status shows it: sha256:...
    #[arg(long, value_name = "FINGERPRINT")]
    pub(crate) key: Option<Fingerprint>,
    /// Print JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `lab`.
#[derive(Debug, Args)]
pub(crate) struct LabOptions {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: LabCommand,
    /// End with this process, which must be the parent
    #[arg(long, hide = true, global = true)]
    pub(crate) parent: Option<u32>,
}

/// What the lab does.
#[derive(Debug, Subcommand)]
pub(crate) enum LabCommand {
    /// Serve virtual cameras over RTSP
    Cameras(Box<LabCamerasOptions>),
    /// Serve many prepared streams at little cost
    Load(LabLoadOptions),
    /// Show a disk that fails on command
    Disk(LabDiskOptions),
    /// Carry what one program sends to another, until it is cut
    Line(LabLineOptions),
    /// Tell running virtual cameras, a disk or a line what to do wrong
    Control(LabControlOptions),
    /// List the frame numbers of virtual cameras that a store holds
    CountFrames(NodeOptions),
}

/// What virtual cameras ask for.
#[derive(Debug, Args)]
pub(crate) struct LabLogin {
    /// User that the cameras ask for
    #[arg(long, requires = "password_file")]
    pub(crate) user: Option<String>,
    /// File with that user's password on one line
    #[arg(long, requires = "user")]
    pub(crate) password_file: Option<PathBuf>,
}

/// Options of `lab cameras`.
#[derive(Debug, Args)]
pub(crate) struct LabCamerasOptions {
    /// Address of the RTSP server; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// Cameras
    #[arg(long, default_value_t = 1)]
    pub(crate) count: usize,
    /// Encoders that the cameras share
    #[arg(long, default_value_t = 1)]
    pub(crate) encoders: usize,
    /// Bits per second of each camera's video
    #[arg(long, default_value_t = 500_000)]
    pub(crate) bitrate: u32,
    /// Frames per second
    #[arg(long, default_value_t = 25)]
    pub(crate) fps: u32,
    /// Frames from one key frame to the next
    #[arg(long, default_value_t = 25)]
    pub(crate) gop: u32,
    /// Codings of the main streams, separated by commas, in turn: that of cam1 first
    #[arg(long, value_delimiter = ',', default_value = "h264")]
    pub(crate) codec: Vec<LabCodec>,
    /// Coding of the sound
    #[arg(long, value_enum, default_value_t)]
    pub(crate) audio: LabAudio,
    /// Send ONVIF metadata: a document a second, motion that comes and goes
    #[arg(long)]
    pub(crate) metadata: bool,
    /// Leave the sound out, as `--audio none`
    #[arg(long, conflicts_with = "audio")]
    pub(crate) silent: bool,
    /// Serve the streams encrypted there too, with a certificate made for it; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) tls: Option<SocketAddr>,
    /// Make the cameras ONVIF devices, the first one there; port 0 takes free ones
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) onvif: Option<SocketAddr>,
    /// Have the devices found there by WS-Discovery: 0.0.0.0:3702 as real ones, by multicast; else asked directly
    #[arg(long, value_name = "ADDRESS", requires = "onvif")]
    pub(crate) discovery: Option<SocketAddr>,
    /// What they ask for.
    #[command(flatten)]
    pub(crate) login: LabLogin,
    /// Directory of the cards that the cameras record themselves to
    #[arg(long)]
    pub(crate) card: Option<PathBuf>,
    /// Size of each card, like 256MB
    #[arg(long, default_value = "256MB", value_parser = size, requires = "card")]
    pub(crate) card_size: u64,
    /// Fill empty cards with footage of FROM..TO, like 2026-11-21T22:00:00Z..2026-11-21T23:00:00Z
    #[arg(long, value_parser = span, requires = "card")]
    pub(crate) card_prefill: Option<Span>,
    /// Leave FROM..TO out of it; may be given more than once
    #[arg(long, value_parser = span, requires = "card_prefill")]
    pub(crate) card_gap: Vec<Span>,
    /// Unix socket to make, on which faults are commanded
    #[arg(long)]
    pub(crate) control: Option<PathBuf>,
    /// End when standard input does
    #[arg(long)]
    pub(crate) until_input_closes: bool,
    /// End after this many seconds
    #[arg(long)]
    pub(crate) seconds: Option<u64>,
}

/// A size in words.
fn size(text: &str) -> Result<u64, String> {
    crate::config::read_bytes(text).map_err(|complaint| format!("{}; {}", complaint.what, complaint.remedy))
}

/// Two labels with dots in between.
fn span(text: &str) -> Result<Span, String> {
    let (from, to) = text.split_once("..").ok_or("write it like FROM..TO")?;
    let label = |text: &str| text.parse::<WallTime>().map_err(|error| error.to_string());
    Span::new(label(from)?, label(to)?).ok_or_else(|| "it must begin before it ends".to_owned())
}

/// Coding of a virtual camera's main stream.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LabCodec {
    /// H.264
    H264,
    /// H.265, a loop of 320 x 180
    H265,
    /// Motion JPEG
    Jpeg,
}

impl From<LabCodec> for VideoCodec {
    fn from(codec: LabCodec) -> Self {
        match codec {
            LabCodec::H264 => Self::H264,
            LabCodec::H265 => Self::H265,
            LabCodec::Jpeg => Self::Jpeg,
        }
    }
}

/// Coding of a virtual camera's sound.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum LabAudio {
    /// G.711 µ-law
    #[default]
    Pcmu,
    /// G.711 A-law
    Pcma,
    /// AAC, a loop of 16 kHz
    Aac,
    /// No sound
    None,
}

impl LabAudio {
    /// The coding; `None` for no sound.
    pub(crate) const fn codec(self) -> Option<AudioCodec> {
        match self {
            Self::Pcmu => Some(AudioCodec::Pcmu),
            Self::Pcma => Some(AudioCodec::Pcma),
            Self::Aac => Some(AudioCodec::Aac),
            Self::None => None,
        }
    }
}

/// Options of `lab load`.
#[derive(Debug, Args)]
pub(crate) struct LabLoadOptions {
    /// Address of the RTSP server; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// Cameras
    #[arg(long, default_value_t = 16)]
    pub(crate) cameras: usize,
    /// Bits per second of each camera's video
    #[arg(long, default_value_t = 4_000_000)]
    pub(crate) bitrate: u32,
    /// Frames per second
    #[arg(long, default_value_t = 25)]
    pub(crate) fps: u32,
    /// Frames from one key frame to the next
    #[arg(long, default_value_t = 50)]
    pub(crate) gop: u32,
    /// What they ask for.
    #[command(flatten)]
    pub(crate) login: LabLogin,
    /// End when standard input does
    #[arg(long)]
    pub(crate) until_input_closes: bool,
    /// End after this many seconds
    #[arg(long)]
    pub(crate) seconds: Option<u64>,
}

/// Options of `lab disk`.
#[derive(Debug, Args)]
pub(crate) struct LabDiskOptions {
    /// Empty directory that is to show the disk
    #[arg(long, value_name = "DIR")]
    pub(crate) mount: PathBuf,
    /// Directory that holds what is on it
    #[arg(long, value_name = "DIR")]
    pub(crate) backing: PathBuf,
    /// Where to make a Unix socket for commands
    #[arg(long)]
    pub(crate) control: Option<PathBuf>,
    /// End when standard input does
    #[arg(long)]
    pub(crate) until_input_closes: bool,
    /// End after this many seconds
    #[arg(long)]
    pub(crate) seconds: Option<u64>,
}

/// Options of `lab line`.
#[derive(Debug, Args)]
pub(crate) struct LabLineOptions {
    /// Address at which it begins; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// Address to which it leads
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) to: SocketAddr,
    /// Where to make a Unix socket for commands
    #[arg(long)]
    pub(crate) control: Option<PathBuf>,
    /// End when standard input does
    #[arg(long)]
    pub(crate) until_input_closes: bool,
    /// End after this many seconds
    #[arg(long)]
    pub(crate) seconds: Option<u64>,
}

/// Options of `lab control`.
#[derive(Debug, Args)]
pub(crate) struct LabControlOptions {
    /// Unix socket of the cameras, the disk or the line
    pub(crate) socket: PathBuf,
    /// What to do, as JSON: {"camera": "cam1", "fault": "drop"}, {"disk": "write_error"}, {"line": "cut"}
    pub(crate) command: String,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_contracts_are_understood() {
        for line in [
            "keepwatch demo --dir D --listen [::1]:0 --cameras 2 --seconds 5",
            "keepwatch run --config F --role recorder",
            "keepwatch check F",
            "keepwatch scan --interface eth0 --interface eth1 --probe 10.0.0.0/20 --probe ::1 --seconds 9 --json",
            "keepwatch status --data D --json",
            "keepwatch verify --data D --config F --rebuild --json",
            "keepwatch export --data D --camera c1 --from 2026-11-21T22:00:00Z --to 2026-11-21T22:01:00Z -o F",
            "keepwatch export --camera c1 --stream sub --from 2026-11-21T22:00:00Z --to 2026-11-21T22:01:00Z -o F",
            "keepwatch export verify F",
            "keepwatch export verify F --json --key sha256:0000000000000000000000000000000000000000000000000000000000000000",
            "keepwatch lab cameras --listen 127.0.0.1:0 --count 4 --bitrate 500000 --control S",
            "keepwatch lab cameras --user u --password-file f --codec h264,h265,jpeg --audio pcma",
            "keepwatch lab cameras --card D --card-size 32MiB --card-prefill 2026-11-21T22:00:00Z..2026-11-21T23:00:00Z",
            "keepwatch fetch --url rtsp://h/r --from 2026-11-21T22:00:00Z --to 2026-11-21T23:00:00Z --speed 1 -o F --json",
            "keepwatch fetch --onvif http://h --recording R --from 2026-11-21T22:00:00Z --to 2026-11-21T23:00:00Z --limit 2MB",
            "keepwatch lab load --cameras 64 --seconds 10",
            "keepwatch lab disk --mount M --backing B --control S",
            "keepwatch lab count-frames --data D",
            "keepwatch failover status --data D --json",
            "keepwatch failover register 192.0.2.7 [2001:db8::7]:8443 --user admin --password-file F --beside",
            "keepwatch failover register 192.0.2.7 --token-file F",
            "keepwatch failover set north --mode manual --priority 3 --prebuffer true",
            "keepwatch failover replace north 192.0.2.9 --token-file F --backup 4",
            "keepwatch failover replace north 192.0.2.9 --user admin --password-file F --key 5f0c1b2a99d04e31",
            "keepwatch failover start north --data D",
            "keepwatch failover stop north",
            "keepwatch failover failback north",
            "keepwatch failover deregister north",
            "keepwatch failover backups north",
            "keepwatch failover backups north --compare 3 4",
            "keepwatch failover reports --json",
        ] {
            Cli::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
        for line in [
            "keepwatch export --camera A! --from x --to y -o F",
            "keepwatch demo --cameras 0",
            "keepwatch export --camera c1 -o F",
            "keepwatch failover backups north --compare 3",
            "keepwatch failover register 192.0.2.7",
            "keepwatch failover replace north",
            "keepwatch failover replace north 192.0.2.9",
            "keepwatch failover register 192.0.2.7 --user admin",
            "keepwatch failover register 192.0.2.7 --user admin --password-file F --token-file F",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
