//! Cameras recorded from a load process over loopback: what it costs, and whether a frame is missing.
//!
//! Each repetition measures the product and its peers one after the other, so that all see the same machine.
//! Durability differs: the product has every record on disk before it counts it, Moonfire makes a minute of footage
//! durable at once (see [`moonfire`]), ffmpeg never asks for that.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::moonfire::{self, Moonfire};
use super::report::{Case, Report, figures, median};
use super::site::{Carrier, Load, Site, durable_bytes};
use super::usage::{Usage, bytes_below};
use crate::process::{self, Group};
use crate::workspace::Workspace;

/// How long is measured, after how long of running in.
const WINDOW: Duration = Duration::from_secs(30);
const RUN_IN: Duration = Duration::from_secs(5);
/// Cameras of each case, how their media come, and whether peers are measured beside it.
const CASES: [(usize, Carrier, bool); 4] = [
    (16, Carrier::Tcp, true),
    (64, Carrier::Tcp, true),
    (64, Carrier::Udp, true),
    (200, Carrier::Tcp, false),
];
/// What is to be reached.
const CPU_S_PER_GB_MAX: f64 = 1.2;
const RSS_MB_PER_CAMERA_MAX: f64 = 3.0;

/// One measurement.
#[derive(Debug)]
struct Measured {
    cpu_s_per_gb: f64,
    rss_mb_per_camera: f64,
    frames_lost: Option<u64>,
    frame_to_disk_p99_ms: Option<f64>,
}

/// What was measured in one case, repetition by repetition.
#[derive(Default)]
struct Runs {
    ours: Vec<Measured>,
    ffmpeg: Vec<Measured>,
    moonfire: Vec<moonfire::Measured>,
}

pub(super) fn run(workspace: &Workspace, quick: bool) -> Result<Report> {
    let mut report = Report::new("record");
    let moonfire = Moonfire::given(workspace)?;
    for (cameras, carrier, beside) in CASES {
        let mut runs = Runs::default();
        for _ in 0..if quick { 1 } else { 3 } {
            runs.ours.push(keepwatch(workspace, cameras, carrier)?);
            if beside && has_ffmpeg() {
                runs.ffmpeg.push(ffmpeg(workspace, cameras, carrier)?);
            }
            if let Some(moonfire) = moonfire.as_ref().filter(|_| beside && carrier == Carrier::Tcp) {
                runs.moonfire.push(moonfire.measure(workspace, cameras)?);
            }
        }
        report.add(case(cameras, carrier, beside, &runs));
    }
    Ok(report)
}

fn case(cameras: usize, carrier: Carrier, beside: bool, runs: &Runs) -> Case {
    let all = |figure: fn(&Measured) -> f64, runs: &[Measured]| median(runs.iter().map(figure).collect());
    let lost: Option<u64> = runs.ours.iter().map(|run| run.frames_lost).sum();
    let delay = runs.ours.iter().filter_map(|run| run.frame_to_disk_p99_ms).max_by(f64::total_cmp);
    let figures = figures([
        ("cameras", json!(cameras)),
        ("cpu_s_per_gb", all(|run| run.cpu_s_per_gb, &runs.ours)),
        ("rss_mb_per_camera", all(|run| run.rss_mb_per_camera, &runs.ours)),
        ("frames_lost", json!(lost)),
        ("frame_to_disk_p99_ms", json!(delay)),
    ]);
    // The promise of processor time is made for 64 cameras over TCP; no frame may be lost in any case.
    let mut reach = vec![("frames_lost", 0.0), ("rss_mb_per_camera", RSS_MB_PER_CAMERA_MAX)];
    if cameras == 64 && carrier == Carrier::Tcp {
        reach.push(("cpu_s_per_gb", CPU_S_PER_GB_MAX));
    }
    let name = match carrier {
        Carrier::Tcp => format!("{cameras} cameras x 4 Mbit/s"),
        Carrier::Udp => format!("{cameras} cameras x 4 Mbit/s over UDP"),
    };
    let mut case = Case::new(name, figures, reach);
    if beside {
        let ffmpeg = json!({
            "cpu_s_per_gb": all(|run| run.cpu_s_per_gb, &runs.ffmpeg),
            "rss_mb_per_camera": all(|run| run.rss_mb_per_camera, &runs.ffmpeg),
        });
        let all = |figure: fn(&moonfire::Measured) -> f64| median(runs.moonfire.iter().map(figure).collect());
        let moonfire = json!({
            "cpu_s_per_gb": all(|run| run.cpu_s_per_gb),
            "rss_mb_per_camera": all(|run| run.rss_mb_per_camera),
            "window_s": all(|run| run.window_s),
        });
        let absent = |absent: bool, figures: Value| if absent { json!("absent") } else { figures };
        case.peers.insert("ffmpeg".to_owned(), absent(runs.ffmpeg.is_empty(), ffmpeg));
        if carrier == Carrier::Tcp {
            case.peers.insert("moonfire".to_owned(), absent(runs.moonfire.is_empty(), moonfire));
        }
    }
    case
}

fn keepwatch(workspace: &Workspace, cameras: usize, carrier: Carrier) -> Result<Measured> {
    let load = Load::start(workspace, cameras)?;
    let site = Site::new(workspace, &load, carrier, "24 GiB")?;
    let recorder = site.start()?;
    recorder.all_recording()?;
    process::pause(RUN_IN);
    let before = (Usage::of(&[recorder.id()])?, durable_bytes(&recorder.status()?));
    process::pause(WINDOW);
    let usage = Usage::of(&[recorder.id()])?;
    let status = recorder.status()?;
    recorder.end()?;
    let account = load.end()?;
    let gigabytes = durable_bytes(&status).saturating_sub(before.1) as f64 / 1e9;
    Ok(Measured {
        cpu_s_per_gb: (usage.cpu_s - before.0.cpu_s) / gigabytes,
        rss_mb_per_camera: usage.rss_mb / cameras as f64,
        frames_lost: Some(lost(&account, &site)?),
        frame_to_disk_p99_ms: status["node"]["frame_to_disk_p99_ms"].as_f64(),
    })
}

/// Frames that were sent before the last one held and are not held, by their numbers.
fn lost(account: &Value, site: &Site) -> Result<u64> {
    let held = site.frames()?;
    let mut lost = 0;
    for camera in account["cameras"].as_array().context("the account of the load")? {
        let id = camera["id"].as_str().context("a camera")?;
        let held = held.iter().find(|held| held.camera == id).with_context(|| format!("frames of {id}"))?;
        lost += held.wrong;
        for connection in camera["connections"].as_array().into_iter().flatten() {
            let (Some(first), Some(last)) =
                (connection["first_frame"].as_u64(), connection["last_frame"].as_u64())
            else {
                continue;
            };
            // What was still on its way when the recorder was asked to end is not lost.
            let until = held.last_up_to(first, last).with_context(|| format!("{id} holds nothing"))?;
            lost += (until + 1 - first).saturating_sub(held.within(first, until));
        }
    }
    Ok(lost)
}

fn has_ffmpeg() -> bool {
    let found = Command::new("ffmpeg").arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

/// One `ffmpeg -c copy -f segment` per camera.
fn ffmpeg(workspace: &Workspace, cameras: usize, carrier: Carrier) -> Result<Measured> {
    let load = Load::start(workspace, cameras)?;
    let folder = tempfile::tempdir_in(workspace.metadata.target_directory.as_std_path())?;
    let groups = load
        .cameras
        .iter()
        .map(|camera| copier(&load.listening, camera, carrier, folder.path()))
        .collect::<Result<Vec<_>>>()?;
    process::pause(RUN_IN + RUN_IN);
    let ids: Vec<u32> = groups.iter().map(Group::id).collect();
    let before = (Usage::of(&ids)?, bytes_below(folder.path())?);
    process::pause(WINDOW);
    let usage = Usage::of(&ids)?;
    let gigabytes = bytes_below(folder.path())?.saturating_sub(before.1) as f64 / 1e9;
    drop(groups);
    load.end()?;
    Ok(Measured {
        cpu_s_per_gb: (usage.cpu_s - before.0.cpu_s) / gigabytes,
        rss_mb_per_camera: usage.rss_mb / cameras as f64,
        frames_lost: None,
        frame_to_disk_p99_ms: None,
    })
}

fn copier(listening: &str, camera: &str, carrier: Carrier, folder: &Path) -> Result<Group> {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-loglevel", "error", "-rtsp_transport", carrier.name(), "-i"]);
    command.arg(format!("rtsp://{listening}/{camera}"));
    command.args(["-c", "copy", "-f", "segment", "-segment_time", "60", "-segment_format", "mp4"]);
    command.args(["-segment_format_options", "movflags=frag_keyframe+empty_moov"]);
    command.arg(folder.join(format!("{camera}-%05d.mp4")));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Group::spawn(&mut command)
}
