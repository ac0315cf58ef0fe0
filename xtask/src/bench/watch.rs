//! What the page watches: how late live pictures are, what viewers cost, and how soon a window of a month begins.

use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::report::{Case, Report, figures};
use super::site::{Carrier, EXAMPLE_LIMIT, Load, Recorder, Site};
use super::usage::Usage;
use crate::process;
use crate::workspace::Workspace;

/// Viewers of one camera, at a time.
const VIEWERS: [usize; 2] = [1, 200];
/// What is to be reached: from camera to client, and from a request to the first segment.
const DELAY_P95_MS_MAX: f64 = 500.0;
const FIRST_P95_MS_MAX: f64 = 300.0;
/// Bytes of the container that holds a day of the prepared footage, and more.
const DAY_BYTES: u64 = 100 << 20;

pub(super) fn run(workspace: &Workspace, quick: bool) -> Result<Report> {
    let mut report = Report::new("watch");
    for name in ["watch_client", "fill_footage"] {
        let mut build = workspace.cargo();
        build.args(["build", "--release", "--package", "keepwatch-recorder", "--example", name]);
        process::show(&mut build)?;
    }
    for viewers in VIEWERS {
        report.add(live(workspace, viewers, quick)?);
    }
    report.add(windows(workspace, quick)?);
    Ok(report)
}

fn live(workspace: &Workspace, viewers: usize, quick: bool) -> Result<Case> {
    let seconds = if quick { 10 } else { 30 };
    let load = Load::live(workspace, 1)?;
    let site = Site::new(workspace, &load, Carrier::Tcp, "1 GiB")?;
    let recorder = site.start()?;
    recorder.all_recording()?;
    let unwatched = cost(&recorder, seconds)?;
    let before = Usage::of(&[recorder.id()])?;
    let arguments =
        ["live".to_owned(), socket(&recorder), "cam1".to_owned(), viewers.to_string(), seconds.to_string()];
    let seen = client(workspace, &arguments)?;
    let after = Usage::of(&[recorder.id()])?;
    let percent = |cpu_s: f64| cpu_s * 100.0 / f64::from(seconds);
    let watched = percent(after.cpu_s - before.cpu_s);
    let figures = figures([
        ("viewers", json!(viewers)),
        ("delay_p50_ms", seen["delay_p50_ms"].clone()),
        ("delay_p95_ms", seen["delay_p95_ms"].clone()),
        ("first_p95_ms", seen["first_p95_ms"].clone()),
        ("missing", seen["missing"].clone()),
        ("skipped", seen["skipped"].clone()),
        ("unwatched_cpu_percent", json!(unwatched)),
        ("cpu_percent", json!(watched)),
        ("rss_mb", json!(after.rss_mb)),
    ]);
    recorder.end()?;
    drop(load);
    let reach = vec![("delay_p95_ms", DELAY_P95_MS_MAX), ("missing", 0.0)];
    Ok(Case::new(format!("1 camera, {viewers} live viewers"), figures, reach))
}

/// What the recorder takes of a core while nobody watches, in per cent.
fn cost(recorder: &Recorder, seconds: u32) -> Result<f64> {
    let before = Usage::of(&[recorder.id()])?;
    process::pause(std::time::Duration::from_secs(seconds.into()));
    Ok((Usage::of(&[recorder.id()])?.cpu_s - before.cpu_s) * 100.0 / f64::from(seconds))
}

fn windows(workspace: &Workspace, quick: bool) -> Result<Case> {
    let (days, rounds) = if quick { (3, 100) } else { (30, 400) };
    let bytes = DAY_BYTES * days;
    let load = Load::live(workspace, 1)?;
    let site = Site::new(workspace, &load, Carrier::Tcp, &format!("{} MiB", bytes >> 20))?;
    let mut fill = Command::new(workspace.example("fill_footage"));
    fill.args([site.data(), site.disk()]).args([bytes.to_string(), days.to_string()]);
    let filled = process::capture(&mut fill, EXAMPLE_LIMIT)?;
    let filled: Value = serde_json::from_str(process::last_line(&filled.output).unwrap_or_default())
        .with_context(|| filled.output.clone())?;
    let label = |key: &str| filled[key].as_str().map(str::to_owned).context("a label");
    let recorder = site.start()?;
    recorder.all_recording()?;
    let arguments = [
        "windows".to_owned(),
        socket(&recorder),
        "cam1".to_owned(),
        label("from")?,
        label("to")?,
        rounds.to_string(),
    ];
    let found = client(workspace, &arguments)?;
    let figures = figures([
        ("days", json!(days)),
        ("records", filled["records"].clone()),
        ("first_p50_ms", found["first_p50_ms"].clone()),
        ("first_p95_ms", found["first_p95_ms"].clone()),
        ("first_max_ms", found["first_max_ms"].clone()),
    ]);
    recorder.end()?;
    drop(load);
    Ok(Case::new(
        format!("windows anywhere in {days} days"),
        figures,
        vec![("first_p95_ms", FIRST_P95_MS_MAX)],
    ))
}

fn socket(recorder: &Recorder) -> String {
    recorder.data().join("keepwatch.sock").display().to_string()
}

fn client(workspace: &Workspace, arguments: &[String]) -> Result<Value> {
    let mut command = Command::new(workspace.example("watch_client"));
    let finished = process::capture(command.args(arguments), EXAMPLE_LIMIT)?;
    let line = process::last_line(&finished.output).unwrap_or_default();
    serde_json::from_str(line).with_context(|| finished.output.clone())
}
