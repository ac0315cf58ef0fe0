//! A primary and its standby as processes, and how to wait for what they tell.

use std::net::TcpListener;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::items;
use crate::bench::hosts::Host;
use crate::bench::site::{ADMIN_PASSWORD, Carrier, Load, Recorder, Site, Wanted};
use crate::process;
use crate::workspace::Workspace;

/// What is watched, and how.
const SETUP: &str = "[standby]\ncheck_interval = \"1s\"\nauto_failover_threshold = 3\n";
/// Longest that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(90);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// Waits until `ready` gives something.
pub(super) fn wait<T>(what: &str, ready: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    wait_within(PATIENCE, what, ready)
}

/// The same, for so long at most.
pub(in crate::bench) fn wait_within<T>(
    patience: Duration,
    what: &str,
    mut ready: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + patience;
    loop {
        let looked = ready();
        if let Ok(Some(found)) = looked {
            return Ok(found);
        }
        if Instant::now() > end {
            bail!(
                "no {what} after {patience:?}: {}",
                looked.err().map(|error| error.to_string()).unwrap_or_default()
            );
        }
        process::pause(LOOK);
    }
}

/// A port that is free at this moment: who fails has its address again after a restart.
pub(super) fn address_here() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// A primary of some cameras of the load.
pub(super) fn primary(
    workspace: &Workspace,
    load: &Load,
    name: &str,
    cameras: &[String],
    (listen, host): (&str, Option<Rc<Host>>),
    size: &str,
) -> Result<Site> {
    let wanted = Wanted { name, listen, cameras, carrier: Carrier::Tcp, size, more: "", host };
    Site::of(workspace, load, &wanted)
}

/// A standby, and how to ask it.
pub(super) struct Standby {
    pub(super) site: Site,
    pub(super) recorder: Recorder,
}

impl Standby {
    /// Starts one with so much room, and registers the primaries at `addresses`.
    pub(super) fn start(
        workspace: &Workspace,
        load: &Load,
        cameras_max: usize,
        addresses: &[String],
        (listen, host): (&str, Option<Rc<Host>>),
    ) -> Result<Self> {
        let more = format!("{SETUP}cameras_max = {cameras_max}\n");
        let (name, cameras, carrier, size) = ("standby", &[][..], Carrier::Tcp, "4 GiB");
        let wanted = Wanted { name, listen, cameras, carrier, size, more: &more, host };
        let site = Site::of(workspace, load, &wanted)?;
        let recorder = site.start()?;
        recorder.address()?;
        let standby = Self { site, recorder };
        standby.log_in_to(&["failover", "register"], addresses)?;
        Ok(standby)
    }

    /// A command that logs in to other recorders.
    pub(super) fn log_in_to(&self, command: &[&str], addresses: &[String]) -> Result<()> {
        let password = self.site.data().join("primaries.password");
        std::fs::write(&password, format!("{ADMIN_PASSWORD}\n"))?;
        let password = password.to_str().context("a path in UTF-8")?;
        let mut words = command.to_vec();
        words.extend(["--user", "admin", "--password-file", password]);
        words.extend(addresses.iter().map(String::as_str));
        self.recorder.says(&words).map(drop)
    }

    /// Its lists.
    fn lists(&self) -> Result<Value> {
        let said = self.recorder.says(&["failover", "status", "--json"])?;
        serde_json::from_str(said.trim()).with_context(|| said.clone())
    }

    /// Waits until the lists are as wanted, and returns them.
    pub(super) fn wait(&self, what: &str, mut wanted: impl FnMut(&Value) -> bool) -> Result<Value> {
        let mut seen = Value::Null;
        let found = wait(what, || {
            seen = self.lists()?;
            Ok(wanted(&seen).then_some(()))
        });
        found.map(|()| seen.clone()).with_context(|| format!("the lists: {seen}"))
    }

    /// Waits until it knows all cameras of all its primaries, and all are recorded.
    pub(super) fn wait_watching(&self, primaries: usize, cameras: usize) -> Result<()> {
        self.wait("primaries that are watched", |lists| {
            let well = |primary: &&Value| {
                primary["state"] == "normal"
                    && primary["cameras"] == cameras
                    && primary["missing"] == json!([])
                    && primary["last_backup"]["cameras"] == cameras
            };
            items(&lists["monitoring"]).filter(well).count() == primaries
        })
        .map(drop)
    }

    /// Waits until all `cameras` of its one primary are on its disk.
    pub(super) fn wait_covered(&self, cameras: usize) -> Result<()> {
        self.wait("failover of all cameras", |lists| lists["failovers"][0]["recorded"] == cameras).map(drop)
    }

    /// Ends in order; what it held can be read then.
    pub(super) fn end(self) -> Result<Site> {
        self.recorder.end()?;
        Ok(self.site)
    }
}

/// Waits until a recorder has no gap in any of `cameras` behind its first footage.
pub(super) fn wait_replenished(recorder: &Recorder, cameras: &[String]) -> Result<()> {
    wait("end of the replenishment", || {
        for camera in cameras {
            let coverage = recorder.get(&format!("/api/v1/cameras/{camera}/coverage"))?;
            // What comes before its first footage is the start.
            let mut since = items(&coverage["items"]).skip_while(|item| item["state"] != "held");
            if let Some(gap) = since.find(|item| item["state"] == "gap") {
                bail!("{camera}: {gap}");
            }
        }
        Ok(Some(()))
    })
}
