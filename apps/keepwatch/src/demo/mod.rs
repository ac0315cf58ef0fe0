//! `keepwatch demo`: virtual cameras and a recorder as supervised processes, and nothing left behind.
//!
//! The demo itself is one thread that starts children and waits. Each child asks the kernel to be killed with it, and
//! a janitor in a session of its own ends them and removes the directory when the demo is gone, however it went. A
//! child that dies is started again.

mod guide;
pub(crate) mod janitor;
mod site;
mod supervise;

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use keepwatch_web::{SOCKET_NAME, SocketClient};
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::janitor::Janitor;
use self::site::{Directory, Site};
use self::supervise::Supervised;
use crate::cli::DemoOptions;
use crate::client::Cameras;
use crate::{Outcome, output};

/// Time between two looks whether every camera has its first group of pictures on disk.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

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
    let site = Site::plan(options, directory)?;
    let mut cameras = Supervised::new("virtual cameras", site.cameras_command());
    let ready = cameras.start(janitor).await?;
    let address = ready.address()?;
    // A second start must find the cameras where the configuration says they are.
    cameras.replace_command(site.cameras_command_at(address));
    site.write_configuration(address)?;
    let mut recorder = Supervised::new("recorder", site.recorder_command());
    let client = SocketClient::new(directory.data().join(SOCKET_NAME));
    let first = async {
        let address = recorder.start(janitor).await?.address()?;
        wait_for_footage(&client, usize::from(options.cameras)).await?;
        anyhow::Ok(address)
    };
    let address = tokio::time::timeout(START_PATIENCE, first)
        .await
        .with_context(|| format!("nothing was recorded within {} s", START_PATIENCE.as_secs()))??;
    output::say(guide::text(&site, directory, address, started.elapsed()));
    let over = async {
        match options.seconds {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        never = cameras.keep_alive(janitor) => match never {},
        never = recorder.keep_alive(janitor) => match never {},
        () = over => Ok(Outcome::Done),
    }
}

/// Waits until every camera has footage on disk.
async fn wait_for_footage(client: &SocketClient, count: usize) -> anyhow::Result<()> {
    let mut look = tokio::time::interval(LOOK_INTERVAL);
    loop {
        look.tick().await;
        let cameras: Cameras = client.get("/api/v1/cameras").await?;
        if cameras.items.len() != count {
            bail!("the recorder knows {} cameras instead of {count}", cameras.items.len());
        }
        if cameras.items.iter().all(|camera| camera.durable_until.is_some()) {
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
