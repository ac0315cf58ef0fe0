//! Hosts of a site on one machine: namespaces of the kernel, with cables between them that can be pulled.

use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::{self, Group, Lines};

/// Longest that a command of `ip` or `mount` may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Keeps the namespaces: says that they are made, then waits for its input to end.
const KEEPER: &str = "ip link set lo up && echo ready && exec cat";
/// Its ends of cables are named by whom they lead to.
const TO_CAMERAS: &str = "to-cameras";
const TO_PRIMARY: &str = "to-primary";
const TO_STANDBY: &str = "to-standby";

/// A host: a network and mounts of its own, as long as this lives.
pub(super) struct Host {
    keeper: Group,
    /// Options of `nsenter`.
    enter: Vec<String>,
}

impl Host {
    /// The first host. Root makes it directly, others in a user namespace in which they are root.
    pub(super) fn new() -> Result<Rc<Self>> {
        // SAFETY: geteuid(2) takes nothing and always succeeds.
        #[expect(unsafe_code, reason = "std does not say who runs this")]
        let root = unsafe { libc::geteuid() } == 0;
        let mut unshare = Command::new("unshare");
        unshare.args((!root).then_some("--map-root-user"));
        let user: &[&str] = if root { &[] } else { &["--user", "--preserve-credentials"] };
        Self::kept(unshare, user)
    }

    /// Another host, made from within this one, so that one user is root in both and may lay a cable.
    fn another(&self) -> Result<Rc<Self>> {
        Self::kept(self.command(&Command::new("unshare")), &[])
    }

    fn kept(mut unshare: Command, user: &[&str]) -> Result<Rc<Self>> {
        unshare.args(["--net", "--mount", "--", "sh", "-c", KEEPER]);
        unshare.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = Group::spawn(&mut unshare)?;
        let lines = Lines::of(&mut keeper)?;
        lines.next(PATIENCE).context("the kernel makes no namespaces for this user")?;
        let mut enter = vec![format!("--target={}", keeper.id()), "--net".to_owned(), "--mount".to_owned()];
        enter.extend(user.iter().map(|option| (*option).to_owned()));
        Ok(Rc::new(Self { keeper, enter }))
    }

    /// `command` as it is to be started to run on this host.
    pub(super) fn command(&self, command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside.args(&self.enter).arg("--").arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        inside
    }

    /// Runs a command, given by its words.
    pub(super) fn run(&self, words: &[&str]) -> Result<()> {
        let (program, arguments) = words.split_first().context("no command")?;
        let mut command = Command::new(program);
        command.args(arguments);
        let finished = process::capture(&mut self.command(&command), PATIENCE)?;
        match finished.status {
            Some(status) if status.success() => Ok(()),
            _ => bail!("`{}`: {}", words.join(" "), finished.output),
        }
    }

    /// Lays a cable to `other`: names and addresses of both ends.
    fn connect(&self, (name, own): (&str, &str), other: &Self, (there, others): (&str, &str)) -> Result<()> {
        let id = other.keeper.id().to_string();
        self.run(&["ip", "link", "add", name, "type", "veth", "peer", "name", there, "netns", &id])?;
        for (host, end, address) in [(self, name, own), (other, there, others)] {
            host.run(&["ip", "address", "add", address, "dev", end])?;
            host.run(&["ip", "link", "set", end, "up"])?;
        }
        Ok(())
    }
}

/// Cameras, a primary and its standby, each with a cable to the two others. Each camera has an address of its own.
pub(super) struct Network {
    /// Where the cameras are.
    pub(super) cameras: Rc<Host>,
    /// Where the primary runs.
    pub(super) primary: Rc<Host>,
    /// Where the standby runs.
    pub(super) standby: Rc<Host>,
}

impl Network {
    /// The primary's address, as the standby reaches it.
    pub(super) const PRIMARY: &str = "192.0.2.9";
    /// The standby's.
    pub(super) const STANDBY: &str = "192.0.2.10";

    /// Three hosts, and so many addresses of cameras.
    pub(super) fn new(cameras: usize) -> Result<Self> {
        let first = Host::new()?;
        let network = Self { primary: first.another()?, standby: first.another()?, cameras: first };
        let Self { cameras: hub, primary, standby } = &network;
        hub.connect((TO_PRIMARY, "192.0.2.1/30"), primary, (TO_CAMERAS, "192.0.2.2/30"))?;
        hub.connect((TO_STANDBY, "192.0.2.5/30"), standby, (TO_CAMERAS, "192.0.2.6/30"))?;
        primary.connect((TO_STANDBY, "192.0.2.9/30"), standby, (TO_PRIMARY, "192.0.2.10/30"))?;
        for place in 0..cameras {
            hub.run(&["ip", "address", "add", &format!("{}/32", Self::camera(place)), "dev", "lo"])?;
        }
        for (host, hub) in [(primary, "192.0.2.1"), (standby, "192.0.2.5")] {
            host.run(&["ip", "route", "add", "203.0.113.0/24", "via", hub])?;
        }
        Ok(network)
    }

    /// The address of a camera, by its place from 0.
    pub(super) fn camera(place: usize) -> String {
        format!("203.0.113.{}", place + 1)
    }

    /// Both cables of the primary are pulled at their far ends, or plugged in again: nobody says goodbye.
    pub(super) fn cut_primary(&self, cut: bool) -> Result<()> {
        let state = if cut { "down" } else { "up" };
        self.cameras.run(&["ip", "link", "set", TO_PRIMARY, state])?;
        self.standby.run(&["ip", "link", "set", TO_PRIMARY, state])
    }

    /// The cable between the two is pulled at the standby's end, or plugged in again; both keep their way to the cameras.
    pub(super) fn cut_between(&self, cut: bool) -> Result<()> {
        self.standby.run(&["ip", "link", "set", TO_PRIMARY, if cut { "down" } else { "up" }])
    }

    /// The primary loses its way to one camera, or has it again; the standby keeps it.
    pub(super) fn cut_camera(&self, place: usize, cut: bool) -> Result<()> {
        let verb = if cut { "add" } else { "del" };
        self.primary.run(&["ip", "route", verb, "blackhole", &format!("{}/32", Self::camera(place))])
    }
}
