//! Recorded footage served to clients at full speed: how fast, and what it costs the server.
//!
//! Each client is a `keepwatch fetch` of all that one camera has recorded, in a process of its own, which shares the
//! machine with the server. No peer stands beside it: ffmpeg cannot ask for more than real time.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::report::{Case, Report, figures, median};
use super::site::{Carrier, Load, Recorder, Site, VIEWER, cameras};
use super::usage::Usage;
use crate::process::{self, Group, Lines};
use crate::workspace::Workspace;

/// Cameras recorded, and the rate of each: large enough that connecting does not count.
const CAMERAS: usize = 16;
const BITS_PER_SECOND: u32 = 16_000_000;
/// For how long they are recorded.
const RECORDED: Duration = Duration::from_secs(30);
/// Clients at the same time.
const CLIENTS: [usize; 2] = [1, 16];
/// Longest that a client may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// One measurement.
struct Measured {
    mib_per_s: f64,
    cpu_s_per_gb: f64,
    rss_mb: f64,
    /// Frames that each client was given, by the position of its camera.
    frames: Vec<u64>,
}

pub(super) fn run(workspace: &Workspace, quick: bool) -> Result<Report> {
    let mut report = Report::new("replay");
    let load = Load::start_at(workspace, CAMERAS, BITS_PER_SECOND)?;
    let site = Site::new(workspace, &load, Carrier::Tcp, "4 GiB")?;
    let recorder = site.start()?;
    recorder.all_recording()?;
    process::pause(RECORDED);
    let names = load.cameras.clone();
    load.end()?;
    // Nothing is recorded any more; what each camera has is what its clients are to get.
    let status = settled(&recorder)?;
    let address = status["node"]["rtsp"]["listening"][0].as_str().context("where it serves")?.to_owned();
    let fetches: Vec<Fetch> = names
        .iter()
        .map(|name| Fetch::of(workspace, &site, &status, &address, name))
        .collect::<Result<_>>()?;
    let mut runs = Vec::new();
    for clients in CLIENTS {
        let mut of_clients = Vec::new();
        for _ in 0..if quick { 1 } else { 3 } {
            of_clients.push(measure(&recorder, &fetches, clients)?);
        }
        runs.push((clients, of_clients));
    }
    recorder.end()?;
    let held = site.frames()?;
    let held_of =
        |name: &String| held.iter().find(|held| held.camera == *name).map_or(0, super::site::Held::count);
    let held: Vec<u64> = names.iter().map(held_of).collect();
    for (clients, runs) in &runs {
        report.add(case(*clients, runs, &held));
    }
    Ok(report)
}

fn case(clients: usize, runs: &[Measured], held: &[u64]) -> Case {
    let all = |figure: fn(&Measured) -> f64| median(runs.iter().map(figure).collect());
    let missing = |run: &Measured| -> u64 {
        run.frames.iter().zip(held).map(|(given, held)| held.abs_diff(*given)).sum()
    };
    let figures = figures([
        ("clients", json!(clients)),
        ("mib_per_s", all(|run| run.mib_per_s)),
        ("cpu_s_per_gb", all(|run| run.cpu_s_per_gb)),
        ("rss_mb", all(|run| run.rss_mb)),
        ("frames_missing", json!(runs.iter().map(missing).sum::<u64>())),
    ]);
    Case::new(format!("{clients} clients at full speed"), figures, vec![("frames_missing", 0.0)])
}

/// The status once no camera is given anything more.
fn settled(recorder: &Recorder) -> Result<Value> {
    let end = Instant::now() + PATIENCE;
    loop {
        let before = recorder.status()?;
        process::pause(Duration::from_secs(3));
        let after = recorder.status()?;
        let until = |status: &Value| -> Vec<Value> {
            cameras(status).map(|camera| camera["durable_until"].clone()).collect()
        };
        if until(&before) == until(&after) || Instant::now() > end {
            return Ok(after);
        }
    }
}

/// All that one camera has, to be fetched.
pub(super) struct Fetch {
    program: std::path::PathBuf,
    arguments: Vec<String>,
}

impl Fetch {
    pub(super) fn of(
        workspace: &Workspace,
        site: &Site,
        status: &Value,
        address: &str,
        name: &str,
    ) -> Result<Self> {
        let camera =
            cameras(status).find(|camera| camera["id"] == name).context("a camera that is recorded")?;
        let until = camera["durable_until"].as_str().context("footage")?;
        let password = site.password_file();
        let arguments = [
            "fetch",
            "--json",
            "--url",
            &format!("rtsp://{address}/{name}/recorded"),
            "--user",
            VIEWER,
            "--password-file",
            password.to_str().context("a path that is text")?,
            // The server begins where its footage does.
            "--from",
            "2020-01-01T00:00:00Z",
            "--to",
            until,
        ];
        let arguments = arguments.map(str::to_owned).to_vec();
        Ok(Self { program: workspace.program("keepwatch"), arguments })
    }

    pub(super) fn start(&self) -> Result<(Group, Lines)> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut group = Group::spawn(&mut command)?;
        let lines = Lines::of(&mut group)?;
        Ok((group, lines))
    }
}

/// The first `clients` fetches, at the same time.
fn measure(recorder: &Recorder, fetches: &[Fetch], clients: usize) -> Result<Measured> {
    let before = Usage::of(&[recorder.id()])?;
    let began = Instant::now();
    let running: Vec<_> = fetches.iter().take(clients).map(Fetch::start).collect::<Result<_>>()?;
    let mut bytes = 0;
    let mut frames = Vec::new();
    for (_group, lines) in &running {
        let account: Value = serde_json::from_str(&lines.next(PATIENCE)?)?;
        bytes += account["bytes"].as_u64().context("its bytes")?;
        frames.push(account["tracks"][0]["samples"].as_u64().context("its pictures")?);
    }
    let elapsed = began.elapsed();
    let after = Usage::of(&[recorder.id()])?;
    Ok(Measured {
        mib_per_s: bytes as f64 / f64::from(1 << 20) / elapsed.as_secs_f64(),
        cpu_s_per_gb: (after.cpu_s - before.cpu_s) / (bytes as f64 / 1e9),
        rss_mb: after.rss_mb,
        frames,
    })
}
