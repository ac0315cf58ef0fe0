//! What the page watches: how late live pictures are, how soon a camera is seen, what viewers cost, and how soon footage of a
//! month begins. All of it as a browser reaches it, over TLS; the client is an example of the recorder's crate.
//!
//! Cameras, node and clients share the machine. So each case is measured several times, the median is told, and beside
//! it how busy the machine was before (`machine_load`).

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::report::{Case, Report, figures, median, rounded};
use super::site::{ADMIN_PASSWORD, Carrier, EXAMPLE_LIMIT, Load, Recorder, Site};
use super::usage::{Usage, load_average};
use crate::process::{self, Group, Lines};
use crate::workspace::Workspace;

/// Cameras of the cases of delay, each recorded and watched by one.
const CAMERAS: [usize; 3] = [1, 4, 16];
/// Viewers of one camera whose cost is measured.
const VIEWERS: usize = 200;
/// From one key frame of the load to the next.
const GROUP_MS: f64 = 2_000.0;
/// What is to be reached.
const DELAY_P95_MS_MAX: f64 = 500.0;
const PLAYBACK_P95_MS_MAX: f64 = 300.0;
/// Days of prepared footage.
const DAYS: u64 = 30;
/// Bytes of the container that holds a day of the prepared footage, and more; and one of its islands.
const DAY_BYTES: u64 = 320 << 20;
const ISLAND_BYTES: u64 = 24 << 20;
/// Islands of footage as cameras send it.
const ISLANDS: u64 = 60;
/// Seconds of an island behind which a window may begin: the rest is what it plays.
const ISLAND_SECONDS: u64 = 24;

/// How often and how long.
struct Effort {
    repetitions: usize,
    seconds: u32,
    /// How often a camera is opened, and footage played.
    rounds: u32,
}

pub(super) fn run(workspace: &Workspace, quick: bool) -> Result<Report> {
    let mut report = Report::new("watch");
    for name in ["watch_client", "fill_footage"] {
        let mut build = workspace.cargo();
        build.args(["build", "--release", "--package", "keepwatch-recorder", "--example", name]);
        process::show(&mut build)?;
    }
    let effort = if quick {
        Effort { repetitions: 1, seconds: 8, rounds: 20 }
    } else {
        Effort { repetitions: 3, seconds: 20, rounds: 100 }
    };
    for cameras in CAMERAS {
        report.add(delay(workspace, cameras, &effort)?);
    }
    report.add(open(workspace, &effort)?);
    report.add(viewers(workspace, &effort)?);
    report.add(playback(workspace, &effort)?);
    Ok(report)
}

/// A node whose virtual cameras are all recorded.
struct Scene {
    load: Load,
    recorder: Recorder,
    // Behind the recorder, which ends before its directory goes.
    _site: Site,
}

impl Scene {
    fn start(workspace: &Workspace, cameras: usize) -> Result<Self> {
        let load = Load::start(workspace, cameras)?;
        let site = Site::new(workspace, &load, Carrier::Tcp, "2 GiB")?;
        let recorder = site.start()?;
        recorder.all_recording()?;
        Ok(Self { load, recorder, _site: site })
    }

    /// Ends it; returns what the cameras sent to whom.
    fn end(self) -> Result<Value> {
        self.recorder.end()?;
        self.load.end()
    }
}

/// How late pictures are when so many cameras are recorded and each is watched by one.
fn delay(workspace: &Workspace, cameras: usize, effort: &Effort) -> Result<Case> {
    let busy = load_average()?;
    let mut runs = Vec::new();
    for _ in 0..effort.repetitions {
        let scene = Scene::start(workspace, cameras)?;
        runs.push(watch(workspace, &scene, 1, effort.seconds)?);
        scene.end()?;
    }
    let figures = figures([
        ("cameras", json!(cameras)),
        ("delay_p50_ms", middle(&runs, "delay_p50_ms")),
        ("delay_p95_ms", middle(&runs, "delay_p95_ms")),
        ("delay_max_ms", middle(&runs, "delay_max_ms")),
        ("slowest_camera_p95_ms", middle(&runs, "slowest_p95_ms")),
        ("missing", most(&runs, "missing")),
        ("skipped", most(&runs, "skipped")),
        ("cpu_percent", middle(&runs, "cpu_percent")),
        ("machine_load", busy),
    ]);
    let reach = vec![
        ("delay_p95_ms", DELAY_P95_MS_MAX),
        ("slowest_camera_p95_ms", DELAY_P95_MS_MAX),
        ("missing", 0.0),
    ];
    Ok(Case::new(format!("live, {cameras} cameras recorded and watched"), figures, reach))
}

/// When the first picture is there of a camera that nobody watches.
fn open(workspace: &Workspace, effort: &Effort) -> Result<Case> {
    let busy = load_average()?;
    let scene = Scene::start(workspace, 1)?;
    let arguments =
        ["open", scene.recorder.address()?, "cam1", &effort.rounds.to_string()].map(str::to_owned);
    let seen = client(workspace, &arguments)?;
    let account = scene.end()?;
    let figures = figures([
        ("rounds", seen["rounds"].clone()),
        ("first_picture_p50_ms", seen["first_p50_ms"].clone()),
        ("first_picture_p95_ms", seen["first_p95_ms"].clone()),
        ("first_picture_max_ms", seen["first_max_ms"].clone()),
        ("camera_reads", json!(reads(&account))),
        ("machine_load", busy),
    ]);
    let reach = vec![("first_picture_max_ms", GROUP_MS), ("camera_reads", 1.0)];
    Ok(Case::new("live, one camera opened".to_owned(), figures, reach))
}

/// What many viewers of one camera cost, beside none.
fn viewers(workspace: &Workspace, effort: &Effort) -> Result<Case> {
    let busy = load_average()?;
    let mut runs = Vec::new();
    let mut camera_reads = 0;
    for _ in 0..effort.repetitions {
        let scene = Scene::start(workspace, 1)?;
        let before = Usage::of(&[scene.recorder.id()])?;
        process::pause(std::time::Duration::from_secs(effort.seconds.into()));
        let unwatched = Usage::of(&[scene.recorder.id()])?;
        let idle_percent = (unwatched.cpu_s - before.cpu_s) * 100.0 / f64::from(effort.seconds);
        let mut seen = watch(workspace, &scene, VIEWERS, effort.seconds)?;
        let cost_s = (number(&seen, "cpu_percent") - idle_percent) * f64::from(effort.seconds) / 100.0;
        let rss_kb = (number(&seen, "rss_mb") - unwatched.rss_mb) * 1e3;
        seen["idle_percent"] = rounded(idle_percent);
        seen["cpu_s_per_gb"] = rounded(cost_s / (number(&seen, "bytes") / 1e9));
        seen["cpu_ms_per_viewer_and_s"] = rounded(cost_s * 1e3 / f64::from(effort.seconds) / VIEWERS as f64);
        seen["rss_kb_per_viewer"] = rounded(rss_kb / VIEWERS as f64);
        seen["mbit_per_s"] = rounded(number(&seen, "bytes") * 8.0 / 1e6 / f64::from(effort.seconds));
        runs.push(seen);
        camera_reads = camera_reads.max(reads(&scene.end()?));
    }
    let figures = figures([
        ("viewers", json!(VIEWERS)),
        ("camera_reads", json!(camera_reads)),
        ("delay_p50_ms", middle(&runs, "delay_p50_ms")),
        ("delay_p95_ms", middle(&runs, "delay_p95_ms")),
        ("slowest_viewer_p95_ms", middle(&runs, "slowest_p95_ms")),
        ("missing", most(&runs, "missing")),
        ("skipped", most(&runs, "skipped")),
        ("mbit_per_s", middle(&runs, "mbit_per_s")),
        ("idle_cpu_percent", middle(&runs, "idle_percent")),
        ("cpu_percent", middle(&runs, "cpu_percent")),
        ("cpu_s_per_gb", middle(&runs, "cpu_s_per_gb")),
        ("cpu_ms_per_viewer_and_s", middle(&runs, "cpu_ms_per_viewer_and_s")),
        ("rss_kb_per_viewer", middle(&runs, "rss_kb_per_viewer")),
        ("machine_load", busy),
    ]);
    let reach = vec![("camera_reads", 1.0), ("slowest_viewer_p95_ms", DELAY_P95_MS_MAX), ("missing", 0.0)];
    Ok(Case::new(format!("live, one camera, {VIEWERS} viewers"), figures, reach))
}

/// How soon footage of a month begins to play, while a camera is recorded.
fn playback(workspace: &Workspace, effort: &Effort) -> Result<Case> {
    let busy = load_average()?;
    let rounds = effort.rounds;
    let bytes = DAY_BYTES * DAYS + ISLAND_BYTES * ISLANDS;
    let load = Load::start(workspace, 1)?;
    let site = Site::new(workspace, &load, Carrier::Tcp, &format!("{} MiB", bytes >> 20))?;
    let mut fill = Command::new(workspace.example("fill_footage"));
    fill.args([site.data(), site.disk()]);
    fill.args([bytes.to_string(), DAYS.to_string(), ISLANDS.to_string()]);
    let filled = process::capture(&mut fill, EXAMPLE_LIMIT)?;
    let filled: Value = serde_json::from_str(process::last_line(&filled.output).unwrap_or_default())
        .with_context(|| filled.output.clone())?;
    let islands = filled["islands"].as_array().context("islands")?;
    let labels: Vec<&str> = islands.iter().filter_map(Value::as_str).collect();
    let recorder = site.start()?;
    recorder.all_recording()?;
    let (address, labels) = (recorder.address()?, labels.join(","));
    let mut runs = Vec::new();
    for _ in 0..effort.repetitions {
        let arguments =
            ["windows", address, "cam1", &labels, &ISLAND_SECONDS.to_string(), &rounds.to_string()];
        runs.push(client(workspace, &arguments.map(str::to_owned))?);
    }
    recorder.end()?;
    load.end()?;
    let figures = figures([
        ("days", json!(DAYS)),
        ("records", filled["records"].clone()),
        ("rounds", json!(rounds)),
        ("first_byte_p50_ms", middle(&runs, "byte_p50_ms")),
        ("first_byte_p95_ms", middle(&runs, "byte_p95_ms")),
        ("first_picture_p50_ms", middle(&runs, "picture_p50_ms")),
        ("first_picture_p95_ms", middle(&runs, "picture_p95_ms")),
        ("first_picture_max_ms", middle(&runs, "picture_max_ms")),
        ("machine_load", busy),
    ]);
    let reach =
        vec![("first_byte_p95_ms", PLAYBACK_P95_MS_MAX), ("first_picture_p95_ms", PLAYBACK_P95_MS_MAX)];
    Ok(Case::new(format!("playback, anywhere in {DAYS} days"), figures, reach))
}

/// Lets so many viewers watch each camera; adds what the node took meanwhile to what they saw.
fn watch(workspace: &Workspace, scene: &Scene, viewers: usize, seconds: u32) -> Result<Value> {
    let cameras = scene.load.cameras.join(",");
    let address = scene.recorder.address()?;
    let mut command = Command::new(workspace.example("watch_client"));
    command.args(["live", address, &cameras, &viewers.to_string(), &seconds.to_string()]);
    command.env("KEEPWATCH_ADMIN_PASSWORD", ADMIN_PASSWORD).stdout(Stdio::piped());
    let mut group = Group::spawn(&mut command)?;
    let lines = Lines::of(&mut group)?;
    lines.next(EXAMPLE_LIMIT).context("until all watch")?;
    let before = Usage::of(&[scene.recorder.id()])?;
    let told = lines.next(EXAMPLE_LIMIT)?;
    let after = Usage::of(&[scene.recorder.id()])?;
    let mut seen: Value = serde_json::from_str(&told).with_context(|| told.clone())?;
    seen["cpu_percent"] = rounded((after.cpu_s - before.cpu_s) * 100.0 / f64::from(seconds));
    seen["rss_mb"] = rounded(before.rss_mb);
    group.wait(EXAMPLE_LIMIT)?;
    Ok(seen)
}

fn client(workspace: &Workspace, arguments: &[String]) -> Result<Value> {
    let mut command = Command::new(workspace.example("watch_client"));
    command.args(arguments).env("KEEPWATCH_ADMIN_PASSWORD", ADMIN_PASSWORD);
    let finished = process::capture(&mut command, EXAMPLE_LIMIT)?;
    let line = process::last_line(&finished.output).unwrap_or_default();
    serde_json::from_str(line).with_context(|| finished.output.clone())
}

/// Sessions that the cameras served, by their own account.
fn reads(account: &Value) -> usize {
    let cameras = account["cameras"].as_array().into_iter().flatten();
    cameras.filter_map(|camera| camera["connections"].as_array()).map(Vec::len).sum()
}

fn number(seen: &Value, name: &str) -> f64 {
    seen[name].as_f64().unwrap_or(f64::NAN)
}

/// The median of a figure.
fn middle(runs: &[Value], name: &str) -> Value {
    median(runs.iter().filter_map(|run| run[name].as_f64()).collect())
}

/// The largest of a figure.
fn most(runs: &[Value], name: &str) -> Value {
    json!(runs.iter().filter_map(|run| run[name].as_u64()).max())
}
