//! Edge nodes whose line to the recorder is cut: how fast what they recorded meanwhile is there, and whether all of it is; and how
//! fast without a limit (`unlimited`), and what many cameras on one cost (`crowd`).
//!
//! Cameras, edge nodes and recorder are processes of their own, on hosts of their own (namespaces of the kernel); one edge node for
//! each speed. The frames that are missing are counted by their numbers, out of the stores, when all has ended.

mod crowd;
mod unlimited;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::failover::stage::wait_within;
use super::hosts::Network;
use super::report::{Case, Report, figures, rounded};
use super::site::{ADMIN_PASSWORD, Carrier, Held, Load, Recorder, Site, Wanted};
use crate::process;
use crate::workspace::Workspace;

/// Percent of the rate at which footage was recorded, an edge node each.
const SPEEDS: [u32; 3] = [150, 200, 500];
const SPEEDS_QUICK: [u32; 1] = [200];
/// Cameras of each edge node, of 4 Mbit/s.
const CAMERAS: usize = 4;
/// How long the line is cut.
const CUT: Duration = Duration::from_secs(120);
const CUT_QUICK: Duration = Duration::from_secs(60);
/// How late footage leaves, and how late it is at most before the newest goes first.
const DELAY_S: u64 = 20;
const DELAY_MAX_S: u64 = 30;
/// How long the relay may take beyond that: a record is two seconds long, and looked for twice a second.
const BEHIND_S_MAX: f64 = DELAY_MAX_S as f64 + 4.0;
/// How long is watched afterwards.
const AFTER: Duration = Duration::from_secs(20);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);
/// Longest that anything else is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// How far the time that it takes may be from gap / (speed - 1), and the rate from the limit, in percent.
const OFF_THE_TIME_PERCENT_MAX: f64 = 10.0;
const OFF_THE_SPEED_PERCENT_MAX: f64 = 5.0;

pub(super) fn run(workspace: &Workspace, quick: bool) -> Result<Report> {
    let mut report = Report::new("replenish");
    let (speeds, cut) = if quick { (&SPEEDS_QUICK[..], CUT_QUICK) } else { (&SPEEDS[..], CUT) };
    for case in line_cut(workspace, speeds, cut)? {
        report.add(case);
    }
    report.add(crowd::run(workspace)?);
    unlimited::run(workspace, quick, |case| report.add(case))?;
    Ok(report)
}

/// An edge node.
struct Edge {
    speed: u32,
    cameras: Vec<String>,
    site: Site,
    recorder: Recorder,
    /// From the line's return until nothing was left out any more.
    took: Option<Duration>,
    /// What was left out when the line came back.
    backlog: Duration,
    /// How far the relay was behind at most, since nothing is left out.
    behind: Duration,
}

impl Edge {
    fn lines(&self) -> Result<Vec<Value>> {
        let edge = self.recorder.get("/api/v1/edge")?;
        Ok(edge["lines"].as_array().cloned().unwrap_or_default())
    }

    /// The longest of a time of its lines; of one that has none, nothing.
    fn longest(lines: &[Value], name: &str) -> Duration {
        let millis = lines.iter().filter_map(|line| line[name].as_u64()).max();
        Duration::from_millis(millis.unwrap_or(0))
    }
}

fn line_cut(workspace: &Workspace, speeds: &[u32], cut: Duration) -> Result<Vec<Case>> {
    let network = Network::new(CAMERAS * speeds.len())?;
    let load = Load::start_apart(workspace, CAMERAS * speeds.len(), &network)?;
    let names: Vec<String> = speeds.iter().map(|speed| format!("box{speed}")).collect();
    let tables: String = load
        .cameras
        .chunks(CAMERAS)
        .zip(&names)
        .flat_map(|(cameras, name)| cameras.iter().map(move |camera| (camera, name)))
        .map(|(camera, name)| format!("[[camera]]\nid = \"{camera}\"\nedge = \"{name}\"\n"))
        .collect();
    let address = format!("{}:8443", Network::STANDBY);
    let center_site = Site::of(
        workspace,
        &load,
        &Wanted {
            name: "center",
            listen: &address,
            cameras: &[],
            carrier: Carrier::Tcp,
            size: "8 GiB",
            more: &tables,
            host: Some(network.standby.clone()),
        },
    )?;
    let center = center_site.start()?;
    center.address()?;
    let mut edges = Vec::new();
    for ((speed, name), cameras) in speeds.iter().zip(&names).zip(load.cameras.chunks(CAMERAS)) {
        let more =
            format!("[edge]\ndelay = \"{DELAY_S} s\"\ndelay_max = \"{DELAY_MAX_S} s\"\nspeed = {speed}\n");
        let site = Site::of(
            workspace,
            &load,
            &Wanted {
                name,
                listen: "127.0.0.1:0",
                cameras,
                carrier: Carrier::Tcp,
                size: "4 GiB",
                more: &more,
                host: Some(network.primary.clone()),
            },
        )?;
        let recorder = site.start()?;
        recorder.all_recording()?;
        let password = site.data().join("center.password");
        std::fs::write(&password, format!("{ADMIN_PASSWORD}\n"))?;
        let password = password.to_str().context("a path in UTF-8")?;
        recorder.says(&["edge", "register", "--user", "admin", "--password-file", password, &address])?;
        edges.push(Edge {
            speed: *speed,
            cameras: cameras.to_vec(),
            site,
            recorder,
            took: None,
            backlog: Duration::ZERO,
            behind: Duration::ZERO,
        });
    }
    wait_within(PATIENCE, "footage of all cameras at the recorder", || {
        let status = center.status()?;
        Ok((status["node"]["recording"].as_u64() == u64::try_from(load.cameras.len()).ok()).then_some(()))
    })?;
    process::pause(Duration::from_secs(5));
    network.cut_between(true)?;
    process::pause(cut);
    network.cut_between(false)?;
    watch(&mut edges, cut)?;

    center.end()?;
    let mut cases = Vec::new();
    let there = center_site.frames()?;
    for edge in edges {
        let Edge { speed, cameras, site, recorder, took, backlog, behind } = edge;
        recorder.end()?;
        let here = site.frames()?;
        let (mut missing, mut wrong) = (0, 0);
        for camera in &cameras {
            let of_camera = missing_and_wrong(camera, &here, &there)?;
            missing += of_camera.0;
            wrong += of_camera.1;
        }
        let took = took.context("it was waited for")?.as_secs_f64();
        let promised = backlog.as_secs_f64() / (f64::from(speed) / 100.0 - 1.0);
        let reached = (1.0 + backlog.as_secs_f64() / took) * 100.0;
        let figures = figures([
            ("left_out_s", rounded(backlog.as_secs_f64())),
            ("replenished_s", rounded(took)),
            ("off_the_time_percent", rounded((took / promised - 1.0).abs() * 100.0)),
            ("off_the_speed_percent", rounded((reached / f64::from(speed) - 1.0).abs() * 100.0)),
            ("frames_missing", json!(missing)),
            ("frames_twice", json!(wrong)),
            ("behind_s_max", rounded(behind.as_secs_f64())),
        ]);
        let reach = vec![
            ("off_the_time_percent", OFF_THE_TIME_PERCENT_MAX),
            ("off_the_speed_percent", OFF_THE_SPEED_PERCENT_MAX),
            ("frames_missing", 0.0),
            ("frames_twice", 0.0),
            ("behind_s_max", BEHIND_S_MAX),
        ];
        let what = format!("line cut for {} s, {CAMERAS} cameras, {speed} %", cut.as_secs());
        cases.push(Case::new(what, figures, reach));
    }
    drop(load.end()?);
    Ok(cases)
}

/// How many frames of a camera that are `here` are not `there` between the first and the last that are, and how many are there twice or
/// are another's.
fn missing_and_wrong(camera: &str, here: &[Held], there: &[Held]) -> Result<(u64, u64)> {
    let of = |held: &'_ [Held]| held.iter().position(|held| held.camera == camera);
    let (Some(sent), Some(kept)) = (of(there), of(here)) else { bail!("{camera} is nowhere") };
    let (sent, kept) = (&there[sent], &here[kept]);
    let (Some((first, _)), Some((_, last))) = (sent.ranges.first(), sent.ranges.last()) else {
        bail!("nothing of {camera} arrived")
    };
    let missing = kept.within(*first, *last).saturating_sub(sent.within(*first, *last));
    Ok((missing, sent.wrong))
}

/// Watches the edge nodes from the line's return on, until what they left out is there, and a while longer.
fn watch(edges: &mut [Edge], cut: Duration) -> Result<()> {
    let back = Instant::now();
    // The slowest takes twice the gap; the rest is for a busy machine.
    let limit = cut * 4 + PATIENCE;
    let mut done = None;
    while done.is_none_or(|at: Instant| at.elapsed() < AFTER) {
        ensure!(back.elapsed() < limit, "what was left out is not there after {limit:?}");
        for edge in &mut *edges {
            let lines = edge.lines()?;
            let backlog = Edge::longest(&lines, "backlog_ms");
            match edge.took {
                // It is told of the return with its next question.
                None if backlog.is_zero() && back.elapsed() > Duration::from_secs(5) => {
                    edge.took = Some(back.elapsed());
                }
                None => edge.backlog = edge.backlog.max(backlog),
                Some(_) => edge.behind = edge.behind.max(Edge::longest(&lines, "behind_ms")),
            }
        }
        if done.is_none() && edges.iter().all(|edge| edge.took.is_some()) {
            done = Some(Instant::now());
        }
        process::pause(LOOK);
    }
    Ok(())
}
