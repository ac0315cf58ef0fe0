//! A directory with a space in its name, and the programs that run in it.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::{Output, run};

/// The user `nobody` of every Linux.
const NOBODY: u32 = 65_534;

/// How long a command may take that only asks or reads.
const COMMAND_PATIENCE: Duration = Duration::from_secs(60);

/// A place for one test; removed at the end with all that is in it.
#[derive(Debug)]
pub struct Site {
    directory: TempDir,
    program: PathBuf,
    user: Option<u32>,
}

impl Site {
    /// A place for the user that runs the tests.
    pub fn new() -> Result<Self> {
        let program = program()?;
        let directory = tempfile::Builder::new().prefix("keepwatch it ").tempdir()?;
        Ok(Self { directory, program, user: None })
    }

    /// A place for a user without privileges: `nobody` when root runs the tests.
    pub fn unprivileged() -> Result<Self> {
        let mut site = Self::new()?;
        if is_root() {
            // The build directory may be closed to others.
            let copy = site.path().join("keepwatch");
            std::fs::copy(&site.program, &copy)?;
            std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755))?;
            chown(site.path(), Some(NOBODY), Some(NOBODY))?;
            site.program = copy;
            site.user = Some(NOBODY);
        }
        Ok(site)
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The data directory of its node.
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// The directory of its footage.
    pub fn footage(&self) -> PathBuf {
        self.path().join("footage")
    }

    /// Makes a directory in it that belongs to its user.
    pub fn make(&self, name: &str) -> Result<PathBuf> {
        let path = self.path().join(name);
        std::fs::create_dir_all(&path)?;
        if self.user.is_some() {
            chown(&path, self.user, self.user)?;
        }
        Ok(path)
    }

    /// The product's binary, as this place's user, in its directory.
    pub fn command<S: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(self.path());
        command.env_remove("KEEPWATCH_CONFIG").env_remove("KEEPWATCH_ADMIN_PASSWORD");
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }

    /// Runs a command of the binary to its end.
    pub fn run<S: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<Output> {
        run(&mut self.command(arguments), COMMAND_PATIENCE)
    }
}

/// Whether root runs the tests.
pub(crate) fn is_root() -> bool {
    // SAFETY: geteuid(2) takes nothing and cannot fail.
    #[expect(unsafe_code, reason = "std has no geteuid")]
    unsafe {
        libc::geteuid() == 0
    }
}

/// The binary that is tested: `KEEPWATCH_BIN`, or the one that was built beside the tests.
fn program() -> Result<PathBuf> {
    let path = match std::env::var_os("KEEPWATCH_BIN") {
        Some(path) => PathBuf::from(path),
        None => {
            let tests = std::env::current_exe()?;
            tests.parent().and_then(Path::parent).context("the tests lie in no folder")?.join("keepwatch")
        }
    };
    ensure!(
        path.is_file(),
        "there is no {}; run cargo build --release, or set KEEPWATCH_BIN",
        path.display()
    );
    Ok(path)
}
