//! One edge node with many cameras: what recording, reading and sending cost together, and whether recording feels the rest.
//!
//! The same cameras are recorded twice for the same time: by a node that sends nowhere, and by one that sends, is then left alone by
//! its recorder for a while, and replenishes while four clients play at full speed what it recorded.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::super::failover::stage::wait_within;
use super::super::replay::Fetch;
use super::super::report::{Case, figures, rounded};
use super::super::site::{Carrier, Load, Recorder, Site, Wanted, durable_bytes};
use super::super::usage::Usage;
use super::unlimited::{center, register};
use super::{PATIENCE, missing_and_wrong};
use crate::process;
use crate::workspace::Workspace;

/// Cameras of the node, of 4 Mbit/s.
const CAMERAS: usize = 32;
/// Clients that play.
const PLAYERS: usize = 4;
/// How long the relay is measured, the recorder is away, and clients play.
const STEADY: Duration = Duration::from_secs(40);
const AWAY: Duration = Duration::from_secs(20);
const PLAYED: Duration = Duration::from_secs(30);
/// Of the containers.
const SIZE: &str = "4 GiB";
const EDGE: &str = "[edge]\ndelay = \"5 s\"\ndelay_max = \"10 s\"\nspeed = 300\n";

/// Processor seconds of the node for each GB that it records, reads and sends.
const CPU_S_PER_GB_MAX: f64 = 2.5;
/// How much later frames may be on the disk, as a ratio.
const DELAY_RATIO_MAX: f64 = 1.1;

pub(super) fn run(workspace: &Workspace) -> Result<Case> {
    let load = Load::start(workspace, CAMERAS)?;
    let alone = alone(workspace, &load)?;

    let (center_site, center) = center(workspace, &load, SIZE)?;
    let site = node(workspace, &load, EDGE)?;
    let edge = site.start()?;
    let status = edge.all_recording()?;
    register(&site, &edge, center.address()?)?;
    wait_within(PATIENCE, "a relay that goes on", || {
        let lines = lines(&edge)?;
        let goes = |line: &Value| line["sent_records"].as_u64() > Some(2) && line["backlog_ms"] == 0;
        Ok((lines.len() == CAMERAS && lines.iter().all(goes)).then_some(()))
    })?;
    let before = (Usage::of(&[edge.id()])?.cpu_s, durable_bytes(&edge.status()?));
    process::pause(STEADY);
    let after = (Usage::of(&[edge.id()])?.cpu_s, durable_bytes(&edge.status()?));
    let gigabytes =
        u32::try_from((after.1 - before.1) / 1_000_000).map(|megabytes| f64::from(megabytes) / 1e3)?;

    center.stop(true);
    process::pause(AWAY);
    center.stop(false);
    let players = Players::of(workspace, &site, &edge, &load)?;
    let played = players.play(PLAYED)?;
    wait_within(PATIENCE, "nothing that is left out", || {
        Ok(lines(&edge)?.iter().all(|line| line["backlog_ms"] == 0).then_some(()))
    })?;
    let together = p99(&edge.status()?)?;
    let recorded_all = status["node"]["cameras"] == json!(CAMERAS);

    edge.end()?;
    let here = site.frames()?;
    center.end()?;
    let there = center_site.frames()?;
    let frames = load.cameras.iter().map(|camera| missing_and_wrong(camera, &here, &there));
    let frames: Vec<(u64, u64)> = frames.collect::<Result<_>>()?;
    // Of what the node itself recorded, nothing may be missing either.
    let broken = here.iter().filter(|held| held.ranges.len() != 1).count();
    drop(load.end()?);
    let figures = figures([
        ("cpu_s_per_gb", rounded((after.0 - before.0) / gigabytes)),
        ("delay_p99_ms_alone", rounded(alone)),
        ("delay_p99_ms", rounded(together)),
        ("delay_ratio", rounded(together / alone)),
        ("played", json!(played)),
        ("frames_missing", json!(frames.iter().map(|(missing, _)| missing).sum::<u64>())),
        ("frames_twice", json!(frames.iter().map(|(_, wrong)| wrong).sum::<u64>())),
        ("cameras_broken", json!(if recorded_all { broken } else { CAMERAS })),
    ]);
    let reach = vec![
        ("cpu_s_per_gb", CPU_S_PER_GB_MAX),
        ("delay_ratio", DELAY_RATIO_MAX),
        ("frames_missing", 0.0),
        ("frames_twice", 0.0),
        ("cameras_broken", 0.0),
    ];
    Ok(Case::new(format!("{CAMERAS} cameras, {PLAYERS} clients that play"), figures, reach))
}

/// How late frames are on the disk of a node that sends nowhere.
fn alone(workspace: &Workspace, load: &Load) -> Result<f64> {
    let site = node(workspace, load, "")?;
    let recorder = site.start()?;
    recorder.all_recording()?;
    process::pause(STEADY + AWAY);
    let delay = p99(&recorder.status()?)?;
    recorder.end()?;
    Ok(delay)
}

fn node(workspace: &Workspace, load: &Load, more: &str) -> Result<Site> {
    let wanted = Wanted {
        name: "box",
        listen: "127.0.0.1:0",
        cameras: &load.cameras,
        carrier: Carrier::Tcp,
        size: SIZE,
        more,
        host: None,
    };
    Site::of(workspace, load, &wanted)
}

fn lines(edge: &Recorder) -> Result<Vec<Value>> {
    Ok(edge.get("/api/v1/edge")?["lines"].as_array().cloned().unwrap_or_default())
}

fn p99(status: &Value) -> Result<f64> {
    status["node"]["frame_to_disk_p99_ms"].as_f64().context("how late frames are on the disk")
}

/// Clients that play at full speed what the node recorded of one camera each.
struct Players(Vec<Fetch>);

impl Players {
    fn of(workspace: &Workspace, site: &Site, edge: &Recorder, load: &Load) -> Result<Self> {
        let status = edge.status()?;
        let address = status["node"]["rtsp"]["listening"][0].as_str().context("where it serves")?.to_owned();
        let of = |name: &String| Fetch::of(workspace, site, &status, &address, name);
        Ok(Self(load.cameras.iter().take(PLAYERS).map(of).collect::<Result<_>>()?))
    }

    /// They play again and again; returns how often.
    fn play(&self, time: Duration) -> Result<usize> {
        let end = Instant::now() + time;
        let mut played = 0;
        while Instant::now() < end {
            let running: Vec<_> = self.0.iter().map(Fetch::start).collect::<Result<_>>()?;
            for (_group, lines) in &running {
                lines.next(PATIENCE)?;
                played += 1;
            }
        }
        Ok(played)
    }
}
