//! Recorders that fail beside a standby: how soon it records in their place, and which frames nobody has.
//!
//! Real processes over loopback. The cameras number their frames and go on whoever listens; after each case the disks of all
//! recorders are read, so that what is missing is counted by numbers and not by what anybody says of itself.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::report::{Case, Report, figures, rounded};
use super::site::{ADMIN_PASSWORD, Carrier, Held, Load, Recorder, Site, Wanted};
use crate::process;
use crate::workspace::Workspace;

/// Cameras of the one primary, 4 Mbit/s each.
const CAMERAS: usize = 16;
/// Primaries of the last case, cameras of each, and how many of them fail at once.
const PRIMARIES: usize = 10;
/// See [`PRIMARIES`].
const CAMERAS_EACH: usize = 4;
/// See [`PRIMARIES`].
const FAIL_AT_ONCE: usize = 3;
/// Frames of a second, and seconds of a group of pictures.
const RATE: f64 = 25.0;
/// See [`RATE`].
const GROUP_S: f64 = 2.0;
/// From a kill until every camera is recorded again, beside a group of pictures.
const RECORDED_AGAIN_S_MAX: f64 = 3.5 + GROUP_S;
/// What is watched, and how.
const STANDBY: &str = "[standby]\ncheck_interval = \"1s\"\nauto_failover_threshold = 3\n";
const PATIENCE: Duration = Duration::from_secs(60);

/// How the primary fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// Its process is killed.
    Kill,
    /// Its process stands still for a while.
    Stop,
}

pub(super) fn run(workspace: &Workspace, quick: bool) -> Result<Report> {
    let mut report = Report::new("failover");
    let times = if quick { 1 } else { 3 };
    report.add(one_fails(workspace, Failure::Kill, false, times)?);
    report.add(one_fails(workspace, Failure::Kill, true, times)?);
    report.add(one_fails(workspace, Failure::Stop, true, times)?);
    report.add(three_of_ten(workspace)?);
    Ok(report)
}

/// A standby, and how to ask it.
struct Standby {
    site: Site,
    recorder: Recorder,
}

impl Standby {
    /// Starts one with so much room, and registers the primaries at `addresses`.
    fn start(workspace: &Workspace, load: &Load, cameras_max: usize, addresses: &[String]) -> Result<Self> {
        let more = format!("{STANDBY}cameras_max = {cameras_max}\n");
        let wanted = Wanted {
            name: "standby",
            listen: "127.0.0.1:0",
            cameras: &[],
            carrier: Carrier::Tcp,
            size: "4 GiB",
            more: &more,
        };
        let site = Site::of(workspace, load, &wanted)?;
        let recorder = site.start()?;
        recorder.address()?;
        let password = site.data().join("primaries.password");
        std::fs::write(&password, format!("{ADMIN_PASSWORD}\n"))?;
        let password = password.to_str().context("a path in UTF-8")?;
        let mut register = vec!["failover", "register", "--user", "admin", "--password-file", password];
        register.extend(addresses.iter().map(String::as_str));
        recorder.says(&register)?;
        Ok(Self { site, recorder })
    }

    /// Its lists.
    fn lists(&self) -> Result<Value> {
        let said = self.recorder.says(&["failover", "status", "--json"])?;
        serde_json::from_str(said.trim()).with_context(|| said.clone())
    }

    /// Waits until the lists are as wanted.
    fn wait(&self, what: &str, mut wanted: impl FnMut(&Value) -> bool) -> Result<Value> {
        let end = Instant::now() + PATIENCE;
        loop {
            let lists = self.lists()?;
            if wanted(&lists) {
                return Ok(lists);
            }
            if Instant::now() > end {
                bail!("no {what} after {PATIENCE:?}: {lists}");
            }
            process::pause(Duration::from_millis(100));
        }
    }

    /// Waits until it knows all cameras of all its primaries, and all are recorded.
    fn wait_watching(&self, primaries: usize, cameras: usize) -> Result<()> {
        self.wait("primaries that are watched", |lists| {
            let well = |primary: &&Value| {
                primary["state"] == "normal"
                    && primary["cameras"] == cameras
                    && primary["missing"] == json!([])
                    && primary["last_backup"]["cameras"] == cameras
            };
            items(&lists["monitoring"]).filter(well).count() == primaries
        })?;
        Ok(())
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// A primary of some cameras of the load, at an address that it has again after a restart.
fn primary(workspace: &Workspace, load: &Load, name: &str, cameras: &[String]) -> Result<(Site, String)> {
    let listen = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let wanted = Wanted { name, listen: &listen, cameras, carrier: Carrier::Tcp, size: "4 GiB", more: "" };
    Ok((Site::of(workspace, load, &wanted)?, listen))
}

/// What came of one failure.
#[derive(Debug, Default)]
struct Outcome {
    /// From the last frame that the primary was sent to the first that the standby recorded.
    recorded_again_s: f64,
    frames_missing: u64,
    frames_missing_of_worst: u64,
}

fn one_fails(workspace: &Workspace, failure: Failure, buffered: bool, times: u32) -> Result<Case> {
    let mut worst = Outcome::default();
    for time in 0..times {
        let outcome = fail_once(workspace, failure, buffered, time)?;
        worst.recorded_again_s = worst.recorded_again_s.max(outcome.recorded_again_s);
        worst.frames_missing = worst.frames_missing.max(outcome.frames_missing);
        worst.frames_missing_of_worst = worst.frames_missing_of_worst.max(outcome.frames_missing_of_worst);
    }
    // Who stands still is sent frames until its buffers are full: only of a dead one is known which the last was.
    let killed = failure == Failure::Kill;
    let figures = figures([
        ("times", json!(times)),
        ("recorded_again_s_max", if killed { rounded(worst.recorded_again_s) } else { Value::Null }),
        ("frames_missing_max", json!(worst.frames_missing)),
        ("frames_missing_of_one_camera_max", json!(worst.frames_missing_of_worst)),
    ]);
    let mut reach = Vec::new();
    if killed {
        reach.push(("recorded_again_s_max", RECORDED_AGAIN_S_MAX));
    }
    if buffered {
        reach.push(("frames_missing_max", 0.0));
    }
    let what = match failure {
        Failure::Kill => "kill -9",
        Failure::Stop => "SIGSTOP for 15 s",
    };
    let buffer = if buffered { "with" } else { "without" };
    Ok(Case::new(format!("{what} of a primary of {CAMERAS} cameras, {buffer} pre-buffer"), figures, reach))
}

fn fail_once(workspace: &Workspace, failure: Failure, buffered: bool, time: u32) -> Result<Outcome> {
    let load = Load::start(workspace, CAMERAS)?;
    let (site, address) = primary(workspace, &load, "primary", &load.cameras)?;
    let recorder = site.start()?;
    recorder.all_recording()?;
    let standby = Standby::start(workspace, &load, CAMERAS, &[address])?;
    standby.wait_watching(1, CAMERAS)?;
    if buffered {
        standby.recorder.says(&["failover", "set", "primary", "--prebuffer", "true"])?;
        // Until the pre-buffer begins with what the primary does not have on disk yet.
        process::pause(Duration::from_secs(8));
    }
    // Another phase of the records and checks each time.
    process::pause(Duration::from_millis(2_000 + u64::from(time) * 337));
    let recorder = match failure {
        Failure::Kill => {
            recorder.kill();
            None
        }
        Failure::Stop => {
            recorder.stop(true);
            Some(recorder)
        }
    };
    let failed = Instant::now();
    standby.wait("failover of all cameras", |lists| lists["failovers"][0]["recorded"] == CAMERAS)?;
    process::pause(Duration::from_secs(15).saturating_sub(failed.elapsed()));
    if let Some(recorder) = recorder {
        recorder.stop(false);
        recorder.all_recording()?;
        process::pause(Duration::from_secs(5));
        recorder.end()?;
    }
    let Standby { site: standby_site, recorder: standby } = standby;
    standby.end()?;
    let account = load.end()?;
    judge(&account, &site.frames()?, &standby_site.frames()?)
}

/// Counts by numbers: what both hold together, from the first frame of the primary to the last of the standby, and how long
/// after the last frame that the primary was sent before it failed the standby's footage goes on.
fn judge(account: &Value, primary: &[Held], standby: &[Held]) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for camera in items(&account["cameras"]) {
        let id = camera["id"].as_str().context("a camera")?;
        let of = |all: &[Held]| -> Vec<(u64, u64)> {
            all.iter().filter(|held| held.camera == id).flat_map(|held| held.ranges.iter().copied()).collect()
        };
        let (ours, theirs) = (of(primary), of(standby));
        let first = ours.first().with_context(|| format!("the primary has nothing of {id}"))?.0;
        let last = theirs.last().with_context(|| format!("the standby has nothing of {id}"))?.1;
        let mut both: Vec<(u64, u64)> = ours.iter().chain(&theirs).copied().collect();
        both.sort_unstable();
        let mut missing = 0;
        let mut next = first;
        for (from, to) in both {
            missing += from.saturating_sub(next);
            next = next.max(to + 1);
        }
        outcome.frames_missing += missing;
        outcome.frames_missing_of_worst = outcome.frames_missing_of_worst.max(missing);
        let begins = theirs.first().map_or(last, |range| range.0);
        let sent = items(&camera["connections"]).next().and_then(|line| line["last_frame"].as_u64());
        let sent = sent.context("the primary's connection")?;
        let again = begins.saturating_sub(sent) as f64 / RATE;
        outcome.recorded_again_s = outcome.recorded_again_s.max(again);
    }
    Ok(outcome)
}

/// As many fail at once as there is no room for: by priority, and the last waits.
fn three_of_ten(workspace: &Workspace) -> Result<Case> {
    let load = Load::start_at(workspace, PRIMARIES * CAMERAS_EACH, 1_000_000)?;
    let mut primaries = Vec::new();
    for (number, cameras) in load.cameras.chunks(CAMERAS_EACH).enumerate() {
        let (site, address) = primary(workspace, &load, &format!("primary{number}"), cameras)?;
        let recorder = site.start()?;
        primaries.push((site, address, Some(recorder)));
    }
    for (_, _, recorder) in &primaries {
        recorder.as_ref().context("it runs")?.all_recording()?;
    }
    let addresses: Vec<String> = primaries.iter().map(|(_, address, _)| address.clone()).collect();
    let room = CAMERAS_EACH * (FAIL_AT_ONCE - 1);
    let standby = Standby::start(workspace, &load, room, &addresses)?;
    standby.wait_watching(PRIMARIES, CAMERAS_EACH)?;
    for (_, _, recorder) in primaries.iter_mut().take(FAIL_AT_ONCE) {
        recorder.take().context("it runs")?.kill();
    }
    let count = |lists: &Value, wanted: fn(&Value) -> bool| {
        items(&lists["monitoring"]).filter(|primary| wanted(primary)).count()
    };
    let lists = standby.wait("failover of two", |lists| {
        let covered = items(&lists["failovers"]).filter(|cover| cover["recorded"] == CAMERAS_EACH).count();
        covered == FAIL_AT_ONCE - 1 && count(lists, |primary| primary["waits"] == true) == 1
    })?;
    let failed = count(&lists, |primary| primary["state"] == "failed");
    let normal = count(&lists, |primary| primary["state"] == "normal");
    // An operator stops one, and the one that waits is covered.
    let covered = items(&lists["failovers"]).next().and_then(|cover| cover["name"].as_str());
    standby.recorder.says(&["failover", "stop", covered.context("a name")?])?;
    let lists = standby.wait("failover of the one that waited", |lists| {
        count(lists, |primary| primary["waits"] == true) == 0
            && items(&lists["failovers"]).filter(|cover| cover["recorded"] == CAMERAS_EACH).count()
                == FAIL_AT_ONCE - 1
    })?;
    let wrong = usize::from(failed != FAIL_AT_ONCE)
        + usize::from(normal != PRIMARIES - FAIL_AT_ONCE)
        + usize::from(count(&lists, |primary| primary["mode"] == "manual") != 1);
    standby.recorder.end()?;
    for (_, _, recorder) in primaries {
        if let Some(recorder) = recorder {
            recorder.end()?;
        }
    }
    load.end()?;
    let figures = figures([("covered", json!(FAIL_AT_ONCE - 1)), ("shown_wrong", json!(wrong))]);
    let what = format!(
        "{PRIMARIES} primaries of {CAMERAS_EACH} cameras, {FAIL_AT_ONCE} die at once, room for {room} cameras"
    );
    Ok(Case::new(what, figures, vec![("shown_wrong", 0.0)]))
}
