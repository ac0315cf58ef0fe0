//! `keepwatch demo`: virtual cameras, a recorder, its standby, and an edge box behind a line that can be cut, as supervised processes,
//! and nothing left behind.
//!
//! The demo itself is one thread that starts children and waits. Each child asks the kernel to be killed with it, and
//! a janitor in a session of its own ends them and removes the directory when the demo is gone, however it went. A
//! child that dies is started again.

mod guide;
pub(crate) mod janitor;
mod site;
mod supervise;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use keepwatch_web::{SOCKET_NAME, SocketClient};
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::janitor::Janitor;
use self::site::{Directory, Site};
use self::supervise::Supervised;
use crate::cli::DemoOptions;
use crate::client::Cameras;
use crate::{Outcome, output};

/// Time between two looks whether every camera has its first group of pictures on disk.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// How long a recorder that ended stays away: long enough for its standby to be seen at work.
const AWAY: Duration = Duration::from_secs(20);

/// How long the start may take before the demo gives up; it takes two or three seconds.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// Runs the demo until it is told to end.
pub(crate) async fn demo(options: DemoOptions) -> anyhow::Result<Outcome> {
    let started = Instant::now();
    let mut ending = Ending::listen()?;
    let named = options.dir.as_deref().map(Directory::named).transpose()?;
    let (janitor, mut janitor_gone, made) = Janitor::start(named.is_none()).await?;
    let directory =
        named.or(made.map(Directory::temporary)).context("the janitor did not make a directory")?;
    let result = tokio::select! {
        result = supervised(&options, &directory, &janitor, started) => result,
        () = ending.wait() => Ok(Outcome::Done),
        () = janitor_gone.wait() => Err(anyhow::anyhow!("the janitor was killed; without it the demo must not run")),
    };
    janitor.finish(janitor_gone).await;
    let left = directory.path();
    if directory.is_temporary() && left.exists() {
        // The janitor was killed, or still waits for a child.
        std::fs::remove_dir_all(left).with_context(|| format!("{} cannot be removed", left.display()))?;
    }
    result
}

async fn supervised(
    options: &DemoOptions,
    directory: &Directory,
    janitor: &Janitor,
    started: Instant,
) -> anyhow::Result<Outcome> {
    let mut site = Site::plan(options, directory)?;
    let mut cameras = Supervised::new("virtual cameras", site.cameras_command());
    let ready = cameras.start(janitor).await?;
    let address = ready.address()?;
    // A second start must find the cameras where the configuration says they are.
    cameras.replace_command(site.cameras_command_at(address));
    site.write_configuration(address)?;
    site.write_standby_configuration(0)?;
    site.write_box_configuration(address, 0)?;
    let mut recorder = Supervised::new("recorder", site.recorder_command()).away_for(AWAY);
    let mut standby = Supervised::new(site::STANDBY, site.standby_command());
    let mut edge = Supervised::new("edge box", site.box_command());
    // Where it leads is known when the recorder runs.
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut line = Supervised::new("line", site.line_command(free, free));
    let first = async {
        let nodes = tokio::try_join!(recorder.start(janitor), standby.start(janitor), edge.start(janitor))?;
        let places =
            Places { recorder: nodes.0.address()?, standby: nodes.1.address()?, edge: nodes.2.address()? };
        // Each knows where the others are, also after it was started again.
        site.listens_at(places.recorder);
        site.write_configuration(address)?;
        site.write_standby_configuration(places.standby.port())?;
        site.write_box_configuration(address, places.edge.port())?;
        line.replace_command(site.line_command(free, places.recorder));
        let begin = line.start(janitor).await?.address()?;
        line.replace_command(site.line_command(begin, places.recorder));
        tokio::try_join!(
            wait_for_footage(&site, directory),
            stand_by(&site, directory, places.recorder),
            send(&site, directory, begin)
        )?;
        anyhow::Ok(places)
    };
    let places = tokio::time::timeout(START_PATIENCE, first)
        .await
        .with_context(|| format!("nothing was recorded within {} s", START_PATIENCE.as_secs()))??;
    let pid = recorder.id().context("the recorder ended at once")?;
    output::say(guide::text(&site, directory, places, pid, started.elapsed()));
    let over = async {
        match options.seconds {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        never = cameras.keep_alive(janitor) => match never {},
        never = recorder.keep_alive(janitor) => match never {},
        never = standby.keep_alive(janitor) => match never {},
        never = edge.keep_alive(janitor) => match never {},
        never = line.keep_alive(janitor) => match never {},
        () = over => Ok(Outcome::Done),
    }
}

/// Where the nodes listen.
#[derive(Clone, Copy, Debug)]
struct Places {
    recorder: SocketAddr,
    standby: SocketAddr,
    edge: SocketAddr,
}

/// Has the standby watch the recorder, and receive its cameras ahead of a failover.
async fn stand_by(site: &Site, directory: &Directory, recorder: SocketAddr) -> anyhow::Result<()> {
    let client = SocketClient::new(directory.standby_data().join(SOCKET_NAME));
    let login = json!({"address": recorder, "user": "admin", "password": site.password()});
    let answer: Value = client.post("/api/v1/failover/primaries", &json!({"items": [login]})).await?;
    let result = &answer["items"][0];
    let Some(role) = result["role"].as_str() else {
        bail!("the standby cannot watch the recorder: {}", result["detail"]);
    };
    client.put::<Value>(&format!("/api/v1/failover/primaries/{role}"), &json!({"prebuffer": true})).await?;
    Ok(())
}

/// Has the edge box send to the recorder at the other end of the line that begins at `line`.
async fn send(site: &Site, directory: &Directory, line: SocketAddr) -> anyhow::Result<()> {
    let client = SocketClient::new(directory.box_data().join(SOCKET_NAME));
    let wish = json!({"address": line, "user": "admin", "password": site.password()});
    let _: Value = client.post("/api/v1/edge/recorder", &wish).await?;
    Ok(())
}

/// Waits until every camera has footage on the disk of the node that records it.
async fn wait_for_footage(site: &Site, directory: &Directory) -> anyhow::Result<()> {
    let recorder = SocketClient::new(directory.data().join(SOCKET_NAME));
    let edge = SocketClient::new(directory.box_data().join(SOCKET_NAME));
    let count = usize::from(site.cameras()) + 1;
    let sent = site.box_camera();
    let mut look = tokio::time::interval(LOOK_INTERVAL);
    loop {
        look.tick().await;
        let cameras: Cameras = recorder.get("/api/v1/cameras").await?;
        if cameras.items.len() != count {
            bail!("the recorder knows {} cameras instead of {count}", cameras.items.len());
        }
        let beside: Cameras = edge.get("/api/v1/cameras").await?;
        let mut all = cameras.items.iter().filter(|camera| camera.id != sent).chain(&beside.items);
        if all.all(|camera| camera.durable_until.is_some()) {
            return Ok(());
        }
    }
}

/// What ends a demo from outside.
struct Ending {
    interrupt: Signal,
    terminate: Signal,
    /// `None` when whoever started the demo asked for it to outlive the terminal (nohup).
    hang_up: Option<Signal>,
}

impl Ending {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: if hang_up_is_ignored() { None } else { Some(signal(SignalKind::hangup())?) },
        })
    }

    async fn wait(&mut self) {
        let hang_up = async {
            match &mut self.hang_up {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = hang_up => {}
        }
    }
}

/// Whether SIGHUP was ignored when this process was started (proc(5), `SigIgn`).
fn hang_up_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
