//! What a crash costs: generated crash images of the store, and a recorder that is killed at random moments.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::report::{Case, Report, figures, rounded};
use super::site::{Carrier, Load, Recorder, Site, cameras};
use crate::process;
use crate::workspace::Workspace;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Crash images: torn, reordered and lost writes behind the last flush.
const IMAGES: u64 = 10_000;
/// Cameras of the recorder that is killed, and frames of their groups of pictures.
const CAMERAS: usize = 16;
const GROUP_FRAMES: f64 = 50.0;
/// From the start to recording again.
const RESTART_MS_MAX: f64 = 3_000.0;

pub(super) fn run(workspace: &Workspace, quick: bool) -> Result<Report> {
    let mut report = Report::new("crash");
    let images = super::example(workspace, "keepwatch-store", "crash_images", &[IMAGES.to_string()])?;
    let images_figures = figures([
        ("images", images["images"].clone()),
        ("acked_lost", images["acked_lost"].clone()),
        ("half_accepted", images["half_accepted"].clone()),
        ("records_checked", images["records_checked"].clone()),
        ("kills", Value::Null),
        ("gop_lost_max", Value::Null),
        ("restart_ms_max", Value::Null),
    ]);
    let reach = vec![("acked_lost", 0.0), ("half_accepted", 0.0)];
    report.add(Case::new("crash images of the store".to_owned(), images_figures, reach));
    report.add(kills(workspace, if quick { 10 } else { 100 })?);
    Ok(report)
}

/// Kills a recorder `kills` times at moments spread over its records' lives.
fn kills(workspace: &Workspace, kills: u32) -> Result<Case> {
    let load = Load::start(workspace, CAMERAS)?;
    let site = Site::new(workspace, &load, Carrier::Tcp, "12 GiB")?;
    let mut acknowledged: BTreeMap<String, String> = BTreeMap::new();
    let mut acked_lost = 0u64;
    let mut restart_ms_max = 0.0f64;
    for kill in 0..kills {
        let started = Instant::now();
        let recorder = site.start()?;
        let first = recorder.all_recording()?;
        if kill > 0 {
            restart_ms_max = restart_ms_max.max(started.elapsed().as_secs_f64() * 1_000.0);
        }
        for (camera, until) in durable_until(&first) {
            // RFC 3339 in UTC with the same number of digits compares as text.
            acked_lost += u64::from(acknowledged.get(&camera).is_some_and(|before| *before > until));
        }
        // A prime step walks through all phases of a record, the same in every run.
        process::pause(Duration::from_millis(500 + u64::from(kill) * 337 % 2_000));
        acknowledged = last_word(recorder)?;
    }
    let recorder = site.start()?;
    recorder.all_recording()?;
    recorder.end()?;
    let account = load.end()?;
    let held = site.frames()?;
    let mut gop_lost_max = 0.0f64;
    let mut wrong = 0;
    for camera in account["cameras"].as_array().into_iter().flatten() {
        let id = camera["id"].as_str().context("a camera")?;
        let held = held.iter().find(|held| held.camera == id).with_context(|| format!("frames of {id}"))?;
        wrong += held.wrong;
        for connection in camera["connections"].as_array().into_iter().flatten() {
            let (Some(first), Some(last)) =
                (connection["first_frame"].as_u64(), connection["last_frame"].as_u64())
            else {
                continue;
            };
            let until = held.last_up_to(first, last).map_or(first, |until| until + 1);
            gop_lost_max = gop_lost_max.max((last + 1).saturating_sub(until) as f64 / GROUP_FRAMES);
            // What is held of a connection must be whole up to its end.
            wrong += until.saturating_sub(first).saturating_sub(held.within(first, last));
        }
    }
    let figures = figures([
        ("images", Value::Null),
        ("kills", json!(kills)),
        ("acked_lost", json!(acked_lost)),
        ("frames_wrong", json!(wrong)),
        ("gop_lost_max", rounded(gop_lost_max)),
        ("restart_ms_max", rounded(restart_ms_max)),
    ]);
    let reach = vec![
        ("acked_lost", 0.0),
        ("frames_wrong", 0.0),
        ("gop_lost_max", 1.0),
        ("restart_ms_max", RESTART_MS_MAX),
    ];
    Ok(Case::new(format!("{kills} kills, {CAMERAS} cameras"), figures, reach))
}

/// What the recorder says is durable, right before it is killed.
fn last_word(recorder: Recorder) -> Result<BTreeMap<String, String>> {
    let status = recorder.status()?;
    recorder.kill();
    Ok(durable_until(&status))
}

fn durable_until(status: &Value) -> BTreeMap<String, String> {
    cameras(status)
        .filter_map(|camera| {
            Some((camera["id"].as_str()?.to_owned(), camera["durable_until"].as_str()?.to_owned()))
        })
        .collect()
}
