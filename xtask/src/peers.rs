//! The Python packages of the peers: an environment of their own under the build directory, filled by pip with exactly
//! what `tests/it/peers/requirements.txt` says. Nothing of the machine's own Python is touched.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;
use crate::workspace::Workspace;

/// The environment of the peers.
pub(crate) struct Peers {
    folder: PathBuf,
    requirements: PathBuf,
}

impl Peers {
    /// Where it is, whether it is there or not.
    pub(crate) fn of(workspace: &Workspace) -> Self {
        Self {
            folder: workspace.metadata.target_directory.as_std_path().join("peers"),
            requirements: workspace.root.join("tests/it/peers/requirements.txt"),
        }
    }

    /// Its folder; the Python in it is `bin/python`.
    pub(crate) fn folder(&self) -> &PathBuf {
        &self.folder
    }

    /// Whether all packages are there, in the versions that are wanted.
    pub(crate) fn found(&self) -> bool {
        let wanted = fs::read(&self.requirements).ok();
        wanted.is_some() && wanted == fs::read(self.stamp()).ok()
    }

    /// Makes it anew.
    pub(crate) fn install(&self) -> Result<()> {
        println!("installing the Python packages of {}", self.requirements.display());
        let mut create = Command::new("/usr/bin/python3");
        process::show(create.args(["-m", "venv", "--clear"]).arg(&self.folder))?;
        // Without --no-deps pip would look for what is not listed, and take whatever version is new.
        let options = ["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"];
        let mut install = Command::new(self.folder.join("bin/python"));
        process::show(install.args(options).arg("--requirement").arg(&self.requirements))?;
        // Last: an interrupted installation is made anew.
        fs::copy(&self.requirements, self.stamp()).context("the stamp of the Python packages")?;
        Ok(())
    }

    fn stamp(&self) -> PathBuf {
        self.folder.join("installed.txt")
    }
}
