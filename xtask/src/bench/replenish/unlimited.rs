//! How fast an edge node sends what it recorded when nothing limits it: to a recorder, to a directory, to a LUN, and from a LUN.
//!
//! The backlog is recorded while the external storage is away. When that comes, the node runs on one core, and bytes, time and the
//! processor time of each process are taken until nothing is left out.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::super::failover::stage::wait_within;
use super::super::report::{Case, figures, rounded};
use super::super::site::{ADMIN_PASSWORD, Carrier, Load, Recorder, Site, Wanted};
use super::super::usage::Usage;
use super::super::{libiscsi, target};
use super::{PATIENCE, missing_and_wrong};
use crate::process;
use crate::workspace::Workspace;

/// Cameras of the edge node, and what each sends.
const CAMERAS: usize = 16;
const BITS_PER_SECOND: u32 = 32_000_000;
/// How long is recorded before the external storage comes.
const BACKLOG: Duration = Duration::from_secs(60);
const BACKLOG_QUICK: Duration = Duration::from_secs(30);
/// Of the containers; a LUN is a sparse file of this size.
const SIZE: &str = "8 GiB";
const SIZE_BYTES: u64 = 8 << 30;
/// How late footage leaves. What is left out is all that is older.
const EDGE: &str = "[edge]\ndelay = \"5 s\"\ndelay_max = \"10 s\"\nspeed = 100000\n";
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Seconds, and processor seconds of the edge node, for a Gbit.
const SECONDS_MAX: f64 = 1.0;

/// Where footage is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    Recorder,
    Directory,
    Lun,
}

/// Every row that this machine can run.
pub(super) fn run(workspace: &Workspace, quick: bool, mut add: impl FnMut(Case)) -> Result<()> {
    let backlog = if quick { BACKLOG_QUICK } else { BACKLOG };
    add(row(workspace, "to a recorder", (false, To::Recorder), backlog)?);
    add(row(workspace, "to a directory", (false, To::Directory), backlog)?);
    if libiscsi() {
        add(row(workspace, "to a LUN", (false, To::Lun), backlog)?);
        add(row(workspace, "from a LUN to a directory", (true, To::Directory), backlog)?);
    } else {
        println!("to and from a LUN: absent, libiscsi or tgt is not installed");
    }
    Ok(())
}

fn row(workspace: &Workspace, name: &str, (from_lun, to): (bool, To), backlog: Duration) -> Result<Case> {
    let load = Load::start_at(workspace, CAMERAS, BITS_PER_SECOND)?;
    let source = from_lun.then(|| target::Target::start(SIZE_BYTES));
    // It keeps its port while it is away.
    let mut sink = (to == To::Lun).then(|| target::Target::start(SIZE_BYTES));
    if let Some(sink) = &mut sink {
        sink.kill();
    }
    let outside = tempfile::tempdir_in(workspace.metadata.target_directory.as_std_path())?;
    let directory = outside.path().join("outside");
    let place = match &sink {
        Some(sink) => sink.address(None),
        None => directory.to_str().context("a path in UTF-8")?.to_owned(),
    };
    let more = match to {
        To::Recorder => EDGE.to_owned(),
        To::Directory | To::Lun => format!("{EDGE}[[edge.disk]]\npath = \"{place}\"\nsize = \"{SIZE}\"\n"),
    };
    let wanted = Wanted {
        name: "box",
        listen: "127.0.0.1:0",
        cameras: &load.cameras,
        carrier: Carrier::Tcp,
        size: SIZE,
        more: &more,
        host: None,
    };
    let site = Site::of(workspace, &load, &wanted)?;
    if let Some(source) = &source {
        site.record_to(&source.address(None))?;
    }
    let center = (to == To::Recorder).then(|| center(workspace, &load, SIZE)).transpose()?;
    let edge = site.start()?;
    edge.all_recording()?;
    process::pause(backlog);

    on_one_core(&edge)?;
    match (&center, &mut sink) {
        (Some((_, center)), _) => register(&site, &edge, center.address()?)?,
        (None, Some(sink)) => sink.run(),
        (None, None) => std::fs::create_dir(&directory)?,
    }
    let targets = [source.as_ref(), sink.as_ref()];
    let others: Vec<u32> = (targets.into_iter().flatten())
        .filter_map(|target| Some(target.child.as_ref()?.id()))
        .chain(center.as_ref().map(|(_, center)| center.id()))
        .collect();
    let Drained { bits, took, cpu, cpu_others } = drain(&edge, &others)?;

    edge.end()?;
    let here = site.frames()?;
    let there = match center {
        Some((site, center)) => {
            center.end()?;
            site.frames()?
        }
        None => site.frames_outside(&place)?,
    };
    let frames = load.cameras.iter().map(|camera| missing_and_wrong(camera, &here, &there));
    let frames: Vec<(u64, u64)> = frames.collect::<Result<_>>()?;
    drop(load.end()?);
    let gbit = bits / 1e9;
    let figures = figures([
        ("gbit", rounded(gbit)),
        ("s_per_gbit", rounded(took.as_secs_f64() / gbit)),
        ("mbit_per_s", rounded(bits / 1e6 / took.as_secs_f64())),
        ("cpu_s_per_gbit", rounded(cpu / gbit)),
        ("cpu_others_s_per_gbit", rounded(cpu_others / gbit)),
        ("frames_missing", json!(frames.iter().map(|(missing, _)| missing).sum::<u64>())),
        ("frames_twice", json!(frames.iter().map(|(_, wrong)| wrong).sum::<u64>())),
    ]);
    let reach = vec![
        ("s_per_gbit", SECONDS_MAX),
        ("cpu_s_per_gbit", SECONDS_MAX),
        ("frames_missing", 0.0),
        ("frames_twice", 0.0),
    ];
    Ok(Case::new(format!("no limit, {name}"), figures, reach))
}

/// A recorder of all cameras of the edge node.
pub(super) fn center(workspace: &Workspace, load: &Load, size: &str) -> Result<(Site, Recorder)> {
    let tables: String =
        load.cameras.iter().map(|id| format!("[[camera]]\nid = \"{id}\"\nedge = \"box\"\n")).collect();
    let wanted = Wanted {
        name: "center",
        listen: "127.0.0.1:0",
        cameras: &[],
        carrier: Carrier::Tcp,
        size,
        more: &tables,
        host: None,
    };
    let site = Site::of(workspace, load, &wanted)?;
    let center = site.start()?;
    center.address()?;
    Ok((site, center))
}

pub(super) fn register(site: &Site, edge: &Recorder, address: &str) -> Result<()> {
    let password = site.data().join("center.password");
    std::fs::write(&password, format!("{ADMIN_PASSWORD}\n"))?;
    let password = password.to_str().context("a path in UTF-8")?;
    edge.says(&["edge", "register", "--user", "admin", "--password-file", password, address])?;
    Ok(())
}

/// Binds all threads of the edge node to one core.
fn on_one_core(edge: &Recorder) -> Result<()> {
    let mut bind = Command::new("taskset");
    bind.args(["--all-tasks", "--cpu-list", "--pid", "0", &edge.id().to_string()]);
    let bound = process::capture(&mut bind, PATIENCE)?;
    ensure!(bound.status.is_some_and(|status| status.success()), "taskset: {}", bound.output);
    Ok(())
}

/// What it cost to send the backlog.
struct Drained {
    bits: f64,
    took: Duration,
    /// Processor seconds of the edge node, and of all others.
    cpu: f64,
    cpu_others: f64,
}

/// Waits until something is sent, then until nothing is left out.
fn drain(edge: &Recorder, others: &[u32]) -> Result<Drained> {
    let look = || -> Result<(f64, u64)> {
        let standing = edge.get("/api/v1/edge")?;
        let lines = standing["lines"].as_array().cloned().unwrap_or_default();
        let sum = |name: &str| lines.iter().filter_map(|line: &Value| line[name].as_u64()).sum::<u64>();
        let bits = u32::try_from(sum("sent_bytes") / 125_000).map(|megabits| f64::from(megabits) * 1e6)?;
        Ok((bits, sum("backlog_ms")))
    };
    let cpu = |ids: &[u32]| Usage::of(ids).map(|usage| usage.cpu_s);
    let begun = wait_within(PATIENCE, "footage that is sent", || {
        let (bits, _) = look()?;
        Ok((bits > 0.0).then(|| (bits, Instant::now())))
    })?;
    let before = (cpu(&[edge.id()])?, cpu(others)?);
    let limit = Instant::now() + PATIENCE * 4;
    loop {
        let (bits, backlog) = look()?;
        if backlog == 0 {
            let took = begun.1.elapsed();
            let after = (cpu(&[edge.id()])?, cpu(others)?);
            let (cpu, cpu_others) = (after.0 - before.0, after.1 - before.1);
            return Ok(Drained { bits: bits - begun.0, took, cpu, cpu_others });
        }
        ensure!(Instant::now() < limit, "{backlog} ms are still left out");
        process::pause(LOOK);
    }
}
