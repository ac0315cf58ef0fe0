//! `cargo xtask bench`: the product measured beside its peers, in the same run.
//!
//! Each case prints a table as it goes; the last line is one JSON object for machines. `--quick` is the same work
//! with fewer repetitions. A peer that is not installed or not given is named as absent, never left out silently.

mod crash;
mod failover;
mod hosts;
mod moonfire;
mod query;
mod record;
mod replay;
mod replenish;
mod report;
mod site;
#[path = "../../../io/iscsi/tests/it/target.rs"]
mod target;
mod usage;
mod watch;

use anyhow::Result;
use clap::ValueEnum;

use crate::process;
use crate::workspace::Workspace;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    /// Cameras recorded over TCP and UDP: processor time, memory, lost frames, delay; beside ffmpeg.
    Record,
    /// Crash images of the store, and a recorder that is killed again and again.
    Crash,
    /// Recorded footage served at full speed: throughput and processor time.
    Replay,
    /// Recorders that fail beside a standby: how soon it records, and which frames are missing.
    Failover,
    /// Edge nodes whose line is cut: how fast what they recorded is there, and what is missing.
    Replenish,
    /// Coverage over a month and over a year.
    Query,
    /// Live delay, what viewers cost, and how soon a window of footage begins.
    Watch,
}

/// Measures the product beside its peers.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What to measure.
    name: Name,
    /// Fewer repetitions of the same work.
    #[arg(long)]
    quick: bool,
}

/// Builds what is measured, then measures it.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let mut build = workspace.cargo();
    build.args(["build", "--release", "--package", "keepwatch"]);
    if arguments.name == Name::Replenish && libiscsi() {
        build.args(["--features", "keepwatch/iscsi"]);
    }
    process::show(&mut build)?;
    let report = match arguments.name {
        Name::Record => record::run(workspace, arguments.quick)?,
        Name::Replay => replay::run(workspace, arguments.quick)?,
        Name::Crash => crash::run(workspace, arguments.quick)?,
        Name::Replenish => replenish::run(workspace, arguments.quick)?,
        Name::Failover => failover::run(workspace, arguments.quick)?,
        Name::Query => query::run(workspace, arguments.quick)?,
        Name::Watch => watch::run(workspace, arguments.quick)?,
    };
    report.print()
}

/// Whether LUNs can be measured: libiscsi to build with, and a target.
fn libiscsi() -> bool {
    let files = ["/usr/sbin/tgtd", "/usr/include/iscsi/iscsi.h"];
    files.iter().all(|file| std::path::Path::new(file).exists())
}

/// Builds an example of `package` and runs it; returns the JSON object of its last line.
fn example(
    workspace: &Workspace,
    package: &str,
    name: &str,
    arguments: &[String],
) -> Result<serde_json::Value> {
    let mut build = workspace.cargo();
    build.args(["build", "--release", "--package", package, "--example", name]);
    process::show(&mut build)?;
    let mut command = std::process::Command::new(workspace.example(name));
    let finished = process::capture(command.args(arguments), site::EXAMPLE_LIMIT)?;
    let line = process::last_line(&finished.output).unwrap_or_default();
    serde_json::from_str(line)
        .map_err(|error| anyhow::anyhow!("{name} printed no result ({error}):\n{}", finished.output))
}
