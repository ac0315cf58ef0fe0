//! Namespaces of the kernel: mounts that only a test sees, and two hosts with a cable between them that can be cut.
//!
//! A namespace lives as long as a process in it, here one that waits for its input to end. Root makes it directly,
//! others in a user namespace of their own, in which they are root. Nothing is changed outside.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::site::is_root;
use crate::{Program, Site, run};

/// How long a command of `ip` or `mount` may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Keeps a namespace: says that it is made, then waits.
const KEEPER: &str = "ip link set lo up; echo ready; exec cat";

/// Whether this machine makes namespaces; xtask has asked it, says so when it does not, and lists what is not run.
pub fn namespaces() -> bool {
    std::env::var_os("KEEPWATCH_NO_NAMESPACES").is_none()
}

/// A namespace of mounts or of the network.
#[derive(Debug)]
pub struct Namespace {
    keeper: Program,
    /// Options of `nsenter`.
    enter: Vec<String>,
}

impl Namespace {
    /// Mounts that nobody else sees.
    pub fn of_mounts(site: &Site) -> Result<Self> {
        Self::make(site, "--mount", Command::new("unshare"))
    }

    /// A host that reaches nobody.
    pub fn of_network(site: &Site) -> Result<Self> {
        Self::make(site, "--net", Command::new("unshare"))
    }

    /// Another host, made from within this one, so that one user is root in both and may lay a cable.
    pub fn another(&self, site: &Site) -> Result<Self> {
        let mut nested = Command::new("unshare");
        nested.args(["--net", "--", "sh", "-c", KEEPER]);
        Self::kept(site, "--net", self.command(&nested))
    }

    /// Lays a cable to `other`, called `name` here and [`CABLE`](Self::CABLE) there, with these addresses at its ends.
    pub fn connect(&self, name: &str, own: &str, other: &Self, others: &str) -> Result<()> {
        let there = other.keeper.id().to_string();
        let cable = ["ip", "link", "add", name, "type", "veth", "peer", "name", Self::CABLE, "netns", &there];
        self.run(cable)?;
        for (host, end, address) in [(self, name, own), (other, Self::CABLE, others)] {
            host.run(["ip", "address", "add", address, "dev", end])?;
            host.run(["ip", "link", "set", end, "up"])?;
        }
        Ok(())
    }

    /// What a cable is called where it was led to.
    pub const CABLE: &str = "cable";

    fn make(site: &Site, kind: &str, mut unshare: Command) -> Result<Self> {
        let own_user = !is_root();
        unshare.args(own_user.then_some("--map-root-user")).args([kind, "--", "sh", "-c", KEEPER]);
        Self::kept(site, kind, unshare)
    }

    /// The namespace that `unshare` makes, entered through the process that keeps it.
    fn kept(site: &Site, kind: &str, unshare: Command) -> Result<Self> {
        let keeper = Program::start(unshare, site.path().join("namespace.log"))?;
        keeper.line(PATIENCE).context("the kernel makes no namespaces for this user")?;
        let mut enter = vec![format!("--target={}", keeper.id()), kind.to_owned()];
        if !is_root() {
            enter.extend(["--user".to_owned(), "--preserve-credentials".to_owned()]);
        }
        Ok(Self { keeper, enter })
    }

    /// `command` as it is to be started to run inside.
    pub fn command(&self, command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside.args(&self.enter).arg("--");
        if let Some(directory) = command.get_current_dir() {
            // Entered from within: a directory that was entered outside shows the mounts of outside.
            inside.args(["sh", "-c", "cd \"$0\" && exec \"$@\""]).arg(directory);
        }
        inside.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        inside
    }

    /// Runs a command inside, given by its words.
    pub fn run<S: AsRef<std::ffi::OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Result<String> {
        let mut words = words.into_iter();
        let mut command = Command::new(words.next().context("no command")?);
        command.args(words);
        run(&mut self.command(&command), PATIENCE)?.success()
    }
}

/// A recorder's host and a camera's, with a cable.
#[derive(Debug)]
pub struct Network {
    /// Where the recorder runs.
    pub recorder: Namespace,
    /// Where cameras run.
    pub camera: Namespace,
}

impl Network {
    /// The recorder's address, as the cameras reach it.
    pub const RECORDER: &str = "192.0.2.1";

    /// The cameras' address, as the recorder reaches it.
    pub const CAMERA: &str = "192.0.2.2";

    /// Two hosts that reach each other and nobody else.
    pub fn new(site: &Site) -> Result<Self> {
        let recorder = Namespace::of_network(site)?;
        let camera = recorder.another(site)?;
        recorder.connect(Namespace::CABLE, "192.0.2.1/24", &camera, "192.0.2.2/24")?;
        Ok(Self { recorder, camera })
    }

    /// The camera's end of the cable is pulled, as when it loses its power: nobody says goodbye.
    pub fn cut(&self) -> Result<()> {
        self.camera.run(["ip", "link", "set", "cable", "down"]).map(drop)
    }

    /// It is plugged in again.
    pub fn mend(&self) -> Result<()> {
        self.camera.run(["ip", "link", "set", "cable", "up"]).map(drop)
    }
}
