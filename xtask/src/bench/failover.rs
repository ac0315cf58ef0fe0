//! Recorders that fail beside a standby: how soon it records in their place, and which frames nobody has.
//!
//! Real processes. The cameras number their frames and go on whoever listens; after each case the disks of all
//! recorders are read, so that what is missing is counted by numbers and not by what anybody says of itself.

mod cards;
mod judge;
pub(super) mod stage;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use judge::Outcome;
use serde_json::{Value, json};
use stage::{Standby, address_here, primary, wait_replenished};

use super::hosts::{Host, Network};
use super::report::{Case, Report, figures, rounded};
use super::site::{Load, Recorder, Site, durable_bytes};
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
const RATE: u64 = 25;
/// See [`RATE`].
const GROUP_S: f64 = 2.0;
/// From a kill until every camera is recorded again, beside a group of pictures.
const RECORDED_AGAIN_S_MAX: f64 = 3.5 + GROUP_S;
/// How long a failure lasts.
const LASTS: Duration = Duration::from_secs(15);
/// A container that is full soon: it holds a minute of all cameras.
const SMALL: (&str, u64) = ("512 MiB", 512 << 20);
/// What else a primary's data may take, where they are to be full.
const DATA_BYTES: &str = "size=64m";

/// How the primary fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// Its process is killed.
    Kill,
    /// Its process stands still.
    Stop,
    /// Its disk is full, and so is that of its data: it overwrites the oldest and goes on.
    DiskFull,
    /// What is on its disk is away.
    DiskGone,
    /// It cannot reach one of its cameras.
    OneCamera,
    /// Nobody and nothing can reach it.
    NetworkCut,
}

/// What the standby is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reaction {
    /// It records all cameras.
    Failover,
    /// It records one.
    OneCamera,
    /// Nothing: all is recorded.
    None,
}

impl Failure {
    const fn what(self) -> &'static str {
        match self {
            Self::Kill => "kill -9 of a primary",
            Self::Stop => "SIGSTOP of a primary",
            Self::DiskFull => "disk and data of a primary full",
            Self::DiskGone => "disk of a primary gone",
            Self::OneCamera => "one camera not recorded by a primary",
            Self::NetworkCut => "network of a primary cut",
        }
    }

    const fn reaction(self) -> Reaction {
        match self {
            Self::Kill | Self::Stop | Self::DiskGone | Self::NetworkCut => Reaction::Failover,
            Self::OneCamera => Reaction::OneCamera,
            Self::DiskFull => Reaction::None,
        }
    }

    /// Whether it needs hosts of its own.
    const fn needs_hosts(self) -> bool {
        matches!(self, Self::DiskFull | Self::OneCamera | Self::NetworkCut)
    }
}

pub(super) fn run(workspace: &Workspace, quick: bool) -> Result<Report> {
    let mut report = Report::new("failover");
    let times = if quick { 1 } else { 3 };
    report.add(fails(workspace, Failure::Kill, false, times)?);
    report.add(fails(workspace, Failure::Kill, true, times)?);
    for failure in
        [Failure::Stop, Failure::DiskGone, Failure::DiskFull, Failure::OneCamera, Failure::NetworkCut]
    {
        match Host::new() {
            Err(error) if failure.needs_hosts() => {
                println!("\n{}: not measured, for {error:#}", failure.what());
            }
            _ => report.add(fails(workspace, failure, true, 1)?),
        }
    }
    report.add(replaced(workspace)?);
    report.add(cards::filled_from_cards(workspace)?);
    report.add(three_of_ten(workspace)?);
    Ok(report)
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// A primary that fails so many times, each time on a site of its own.
fn fails(workspace: &Workspace, failure: Failure, buffered: bool, times: u32) -> Result<Case> {
    let mut worst = Outcome::default();
    for time in 0..times {
        worst = worst.worse(&fail_once(workspace, failure, buffered, time)?);
    }
    // Who stands still or is cut off is sent frames until buffers are full: only of a dead one is known which the last was.
    let killed = failure == Failure::Kill;
    let of_killed = |figure: Value| if killed { figure } else { Value::Null };
    let figures = figures([
        ("times", json!(times)),
        ("recorded_again_s_max", of_killed(rounded(worst.recorded_again_s))),
        ("frames_missing_max", json!(worst.missing)),
        ("frames_missing_of_one_camera_max", json!(worst.missing_of_one_camera)),
        ("frames_missing_without_last_second_max", of_killed(json!(worst.missing_without_last_second))),
        ("frames_missing_after_failback_max", json!(worst.missing_in_the_end)),
        ("frames_twice_max", json!(worst.wrong)),
        ("replenished_s_max", rounded(worst.replenished_s)),
    ]);
    let mut reach = vec![("frames_twice_max", 0.0)];
    if killed {
        reach.push(("recorded_again_s_max", RECORDED_AGAIN_S_MAX));
    }
    if buffered {
        reach.push(("frames_missing_max", 0.0));
        reach.push(("frames_missing_after_failback_max", 0.0));
        if killed {
            reach.push(("frames_missing_without_last_second_max", 0.0));
        }
    }
    let buffer = if buffered { "with" } else { "without" };
    Ok(Case::new(format!("{}, {CAMERAS} cameras, {buffer} pre-buffer", failure.what()), figures, reach))
}

/// A site whose primary is watched, and is about to fail.
struct Scene {
    /// Kept for as long as the hosts are needed.
    network: Option<Network>,
    load: Load,
    site: Site,
    recorder: Option<Recorder>,
    standby: Standby,
}

impl Scene {
    fn start(workspace: &Workspace, failure: Failure, buffered: bool) -> Result<Self> {
        let network = failure.needs_hosts().then(|| Network::new(CAMERAS)).transpose()?;
        let (load, address) = match &network {
            Some(network) => {
                (Load::start_apart(workspace, CAMERAS, network)?, format!("{}:8443", Network::PRIMARY))
            }
            None => (Load::start(workspace, CAMERAS)?, address_here()?),
        };
        let host = network.as_ref().map(|network| network.primary.clone());
        let size = if failure == Failure::DiskFull { SMALL.0 } else { "4 GiB" };
        let place = (address.as_str(), host.clone());
        let site = primary(workspace, &load, "primary", &load.cameras, place, size)?;
        if let (Failure::DiskFull, Some(host)) = (failure, &host) {
            std::fs::create_dir_all(site.data())?;
            host.run(&["mount", "-t", "tmpfs", "-o", DATA_BYTES, "none", text_of(&site.data())?])?;
        }
        let recorder = site.start()?;
        recorder.all_recording()?;
        let place = match &network {
            Some(network) => (format!("{}:8443", Network::STANDBY), Some(network.standby.clone())),
            None => ("127.0.0.1:0".to_owned(), None),
        };
        let standby = Standby::start(workspace, &load, CAMERAS, &[address], (&place.0, place.1))?;
        standby.wait_watching(1, CAMERAS)?;
        if buffered {
            standby.recorder.says(&["failover", "set", "primary", "--prebuffer", "true"])?;
            // Until the pre-buffer begins with what the primary does not have on disk yet.
            process::pause(Duration::from_secs(8));
        }
        Ok(Self { network, load, site, recorder: Some(recorder), standby })
    }

    fn network(&self) -> Result<&Network> {
        self.network.as_ref().context("it has hosts")
    }

    fn running(&self) -> Result<&Recorder> {
        self.recorder.as_ref().context("it runs")
    }

    /// Lets the primary fail.
    fn fail(&mut self, failure: Failure) -> Result<()> {
        match failure {
            Failure::Kill => self.recorder.take().context("it runs")?.kill(),
            Failure::Stop => self.running()?.stop(true),
            Failure::DiskFull => self.fill()?,
            Failure::DiskGone => take(&self.site.disk(), true)?,
            Failure::OneCamera => self.network()?.cut_camera(0, true)?,
            Failure::NetworkCut => self.network()?.cut_primary(true)?,
        }
        Ok(())
    }

    /// Waits until the container is full and the oldest is overwritten, and fills the file system of the data.
    fn fill(&self) -> Result<()> {
        let recorder = self.running()?;
        stage::wait("container that is full", || {
            let written = durable_bytes(&recorder.status()?);
            Ok((written > SMALL.1 + SMALL.1 / 8).then_some(()))
        })?;
        let script = format!("cat /dev/zero > '{}/filler' 2>/dev/null; true", text_of(&self.site.data())?);
        self.network()?.primary.run(&["sh", "-c", &script])
    }

    /// Repairs it.
    fn repair(&mut self, failure: Failure) -> Result<()> {
        match failure {
            Failure::Kill => self.recorder = Some(self.site.start()?),
            Failure::Stop => self.running()?.stop(false),
            Failure::DiskFull => {
                let filler = self.site.data().join("filler");
                self.network()?.primary.run(&["rm", text_of(&filler)?])?;
            }
            Failure::DiskGone => take(&self.site.disk(), false)?,
            Failure::OneCamera => self.network()?.cut_camera(0, false)?,
            Failure::NetworkCut => self.network()?.cut_primary(false)?,
        }
        Ok(())
    }

    /// Waits for what the standby is to do.
    fn wait_reaction(&self, reaction: Reaction) -> Result<()> {
        match reaction {
            Reaction::Failover => self.standby.wait_covered(CAMERAS),
            Reaction::OneCamera => {
                let first = json!([self.load.cameras.first()]);
                let alone = |lists: &Value| {
                    lists["monitoring"][0]["covered_alone"] == first && lists["failovers"] == json!([])
                };
                self.standby.wait("camera that is covered alone", alone).map(drop)
            }
            Reaction::None => {
                let begun = Instant::now();
                self.standby
                    .wait("rest", |lists| begun.elapsed() > LASTS / 2 && lists["failovers"] == json!([]))?;
                Ok(())
            }
        }
    }

    /// Waits until the primary records all again and the standby rests; by Failback where a failover runs.
    fn give_back(&self, reaction: Reaction) -> Result<()> {
        self.running()?.all_recording()?;
        if reaction == Reaction::Failover {
            // A failover of a primary that was only not heard may end by itself.
            let lists = self.standby.wait("primary that is normal", |lists| {
                lists["failovers"] == json!([]) || lists["failovers"][0]["normal"] == true
            })?;
            if lists["failovers"] != json!([]) {
                self.standby.recorder.says(&["failover", "failback", "primary"])?;
            }
        }
        self.standby.wait("rest", |lists| {
            lists["failovers"] == json!([]) && lists["monitoring"][0]["covered_alone"] == json!([])
        })?;
        Ok(())
    }
}

fn text_of(path: &Path) -> Result<&str> {
    path.to_str().context("a path in UTF-8")
}

/// Takes the contents of a disk away, as when its file system is unmounted, or brings them back.
fn take(disk: &Path, away: bool) -> Result<()> {
    let aside = disk.with_extension("away");
    let (from, to) = if away { (disk, aside.as_path()) } else { (aside.as_path(), disk) };
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::rename(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

fn fail_once(workspace: &Workspace, failure: Failure, buffered: bool, time: u32) -> Result<Outcome> {
    let mut scene = Scene::start(workspace, failure, buffered)?;
    // Another phase of the records and checks each time.
    process::pause(Duration::from_millis(2_000 + u64::from(time) * 337));
    scene.fail(failure)?;
    let failed = Instant::now();
    scene.wait_reaction(failure.reaction())?;
    process::pause(LASTS.saturating_sub(failed.elapsed()));
    // What is on the disks before anything comes back is what nobody can mend later.
    scene.repair(failure)?;
    scene.give_back(failure.reaction())?;
    let back = Instant::now();
    let replenished = match failure.reaction() {
        Reaction::None => Ok(()),
        Reaction::Failover | Reaction::OneCamera => wait_replenished(scene.running()?, &scene.load.cameras),
    };
    if let Err(error) = replenished {
        // Without a pre-buffer some is missing for ever; else the frames tell.
        println!("\n{}: {error:#}", failure.what());
    }
    let replenished_s = back.elapsed().as_secs_f64();
    let Scene { network: _network, load, site, recorder, standby } = scene;
    recorder.context("it runs")?.end()?;
    let standby = standby.end()?;
    let account = load.end()?;
    let (ours, theirs) = (site.frames()?, standby.frames()?);
    let mut outcome = judge::both(&account, &ours, &theirs, failure == Failure::Kill)?;
    judge::in_the_end(&mut outcome, &account, &ours, &ours)?;
    outcome.replenished_s = replenished_s;
    Ok(outcome)
}

/// A primary that is dead for good: another recorder takes its role, while all is recorded.
fn replaced(workspace: &Workspace) -> Result<Case> {
    let mut scene = Scene::start(workspace, Failure::Kill, true)?;
    process::pause(Duration::from_secs(2));
    scene.fail(Failure::Kill)?;
    scene.wait_reaction(Reaction::Failover)?;
    process::pause(LASTS);
    let address = address_here()?;
    let site = primary(workspace, &scene.load, "spare", &[], (&address, None), "4 GiB")?;
    let spare = site.start()?;
    spare.address()?;
    scene.standby.log_in_to(&["failover", "replace", "primary"], &[address])?;
    scene.standby.wait("rest", |lists| lists["failovers"] == json!([]))?;
    let back = Instant::now();
    if let Err(error) = wait_replenished(&spare, &scene.load.cameras) {
        println!("\nReplace: {error:#}");
    }
    let replenished_s = back.elapsed().as_secs_f64();
    spare.end()?;
    let Scene { network: _network, load, site: dead, recorder: _recorder, standby } = scene;
    let standby = standby.end()?;
    let account = load.end()?;
    let (before, new, theirs) = (dead.frames()?, site.frames()?, standby.frames()?);
    let mut all = before;
    all.extend(site.frames()?);
    let mut outcome = judge::both(&account, &all, &theirs, false)?;
    judge::in_the_end(&mut outcome, &account, &new, &theirs)?;
    let figures = figures([
        ("frames_missing", json!(outcome.missing)),
        ("frames_missing_at_the_new_one", json!(outcome.missing_in_the_end)),
        ("frames_twice", json!(outcome.wrong)),
        ("replenished_s", rounded(replenished_s)),
    ]);
    let reach = vec![("frames_missing", 0.0), ("frames_missing_at_the_new_one", 0.0), ("frames_twice", 0.0)];
    Ok(Case::new(format!("Replace of a killed primary, {CAMERAS} cameras, with pre-buffer"), figures, reach))
}

/// As many fail at once as there is no room for: by priority, and the last waits.
fn three_of_ten(workspace: &Workspace) -> Result<Case> {
    let load = Load::start_at(workspace, PRIMARIES * CAMERAS_EACH, 1_000_000)?;
    let mut primaries = Vec::new();
    for (number, cameras) in load.cameras.chunks(CAMERAS_EACH).enumerate() {
        let address = address_here()?;
        let name = format!("primary{number}");
        let site = primary(workspace, &load, &name, cameras, (&address, None), "1 GiB")?;
        let recorder = site.start()?;
        primaries.push((site, address, Some(recorder)));
    }
    for (_, _, recorder) in &primaries {
        recorder.as_ref().context("it runs")?.all_recording()?;
    }
    let addresses: Vec<String> = primaries.iter().map(|(_, address, _)| address.clone()).collect();
    let room = CAMERAS_EACH * (FAIL_AT_ONCE - 1);
    let standby = Standby::start(workspace, &load, room, &addresses, ("127.0.0.1:0", None))?;
    standby.wait_watching(PRIMARIES, CAMERAS_EACH)?;
    for (_, _, recorder) in primaries.iter_mut().take(FAIL_AT_ONCE) {
        recorder.take().context("it runs")?.kill();
    }
    let count = |lists: &Value, wanted: fn(&Value) -> bool| {
        items(&lists["monitoring"]).filter(|primary| wanted(primary)).count()
    };
    let covered =
        |lists: &Value| items(&lists["failovers"]).filter(|cover| cover["recorded"] == CAMERAS_EACH).count();
    let lists = standby.wait("failover of two", |lists| {
        covered(lists) == FAIL_AT_ONCE - 1 && count(lists, |primary| primary["waits"] == true) == 1
    })?;
    let failed = count(&lists, |primary| primary["state"] == "failed");
    let normal = count(&lists, |primary| primary["state"] == "normal");
    // An operator stops one, and the one that waits is covered.
    let first = items(&lists["failovers"]).next().and_then(|cover| cover["name"].as_str());
    standby.recorder.says(&["failover", "stop", first.context("a name")?])?;
    let lists = standby.wait("failover of the one that waited", |lists| {
        count(lists, |primary| primary["waits"] == true) == 0 && covered(lists) == FAIL_AT_ONCE - 1
    })?;
    let wrong = usize::from(failed != FAIL_AT_ONCE)
        + usize::from(normal != PRIMARIES - FAIL_AT_ONCE)
        + usize::from(count(&lists, |primary| primary["mode"] == "manual") != 1);
    drop(standby.end()?);
    for (_, _, recorder) in primaries {
        if let Some(recorder) = recorder {
            recorder.end()?;
        }
    }
    drop(load.end()?);
    let figures = figures([("covered", json!(FAIL_AT_ONCE - 1)), ("shown_wrong", json!(wrong))]);
    let what = format!(
        "{PRIMARIES} primaries of {CAMERAS_EACH} cameras, {FAIL_AT_ONCE} die at once, room for {room} cameras"
    );
    Ok(Case::new(what, figures, vec![("shown_wrong", 0.0)]))
}
