//! The options of `keepwatch plan`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use keepwatch_recorder::config::text::Complaint;
use keepwatch_recorder::config::units;

/// Options of `plan`.
#[derive(Debug, Args)]
pub(crate) struct PlanOptions {
    /// Description of a site, or configuration file of a node; not needed with --cameras
    #[arg(required_unless_present = "cameras")]
    pub(crate) file: Option<PathBuf>,
    /// Print only this, of a site [default: everything]
    #[arg(long)]
    pub(crate) only: Option<PlanPart>,
    /// Of an edge node
    #[command(flatten)]
    pub(crate) edge: EdgePlanOptions,
}

/// A part of the plan of a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanPart {
    /// Lines, switching capacity, disks, the standby
    Needs,
    /// Commands of a DASAN V2624G-POE
    V2624g,
    /// What any switch with IEEE 802.1AX is to be told
    Lacp,
    /// Files of systemd-networkd
    Networkd,
}

/// Options of `plan` for an edge node: each one goes before the configuration, and that before what the running node measured.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Edge recording")]
pub(crate) struct EdgePlanOptions {
    /// Plan so many cameras instead of those of the configuration
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_024))]
    pub(crate) cameras: Option<u64>,
    /// Mean of each camera, like "4 Mbit/s" [default: as the running node measures, or 4 Mbit/s]
    #[arg(long, value_parser = rate)]
    pub(crate) rate: Option<u64>,
    /// Most of each camera, while much moves [default: twice the mean]
    #[arg(long, value_parser = rate)]
    pub(crate) peak: Option<u64>,
    /// What the network carries to the external storage [default: more than is sent]
    #[arg(long, value_parser = rate)]
    pub(crate) bandwidth: Option<u64>,
    /// How long the external storage is away, like "2 h" [default: 1 h]
    #[arg(long, value_parser = duration)]
    pub(crate) gap: Option<Duration>,
    /// How long an absence is to cost nothing [default: 72 h]
    #[arg(long, value_parser = duration)]
    pub(crate) outage: Option<Duration>,
    /// Speed limit of each camera, in percent
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub(crate) speed: Option<u32>,
    /// Data rate limit of each camera
    #[arg(long, value_parser = rate)]
    pub(crate) limit: Option<u64>,
    /// What the internal storage holds, like "64 GB"
    #[arg(long, value_parser = bytes)]
    pub(crate) storage: Option<u64>,
    /// What the second storage holds
    #[arg(long, value_parser = bytes)]
    pub(crate) second: Option<u64>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl EdgePlanOptions {
    /// Whether any of them was given.
    pub(crate) const fn any(&self) -> bool {
        let Self { cameras, rate, peak, bandwidth, gap, outage, speed, limit, storage, second, json } = self;
        cameras.is_some()
            || rate.is_some()
            || peak.is_some()
            || bandwidth.is_some()
            || gap.is_some()
            || outage.is_some()
            || speed.is_some()
            || limit.is_some()
            || storage.is_some()
            || second.is_some()
            || *json
    }
}

fn said<T>(read: Result<T, Complaint>) -> Result<T, String> {
    read.map_err(|complaint| format!("{}; {}", complaint.what, complaint.remedy))
}

fn rate(text: &str) -> Result<u64, String> {
    said(units::bits_per_second(text))
}

fn duration(text: &str) -> Result<Duration, String> {
    said(units::duration(text))
}

fn bytes(text: &str) -> Result<u64, String> {
    said(units::bytes(text))
}
