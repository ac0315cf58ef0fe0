//! Where things are: the root of the repository, its crates, its files, its build directory.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use cargo_metadata::{Metadata, MetadataCommand, Package};

/// The repository as cargo describes it.
pub(crate) struct Workspace {
    /// All packages, the foreign ones too, and how they resolve.
    pub(crate) metadata: Metadata,
    /// The folder that holds the root manifest.
    pub(crate) root: PathBuf,
}

impl Workspace {
    /// Asks cargo, from the place xtask was built in, so that any working directory will do.
    pub(crate) fn find() -> Result<Self> {
        let metadata = MetadataCommand::new()
            .manifest_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
            .exec()
            .context("cargo metadata")?;
        let root = metadata.workspace_root.clone().into_std_path_buf();
        Ok(Self { metadata, root })
    }

    /// `cargo`, to be run at the root.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&self.root);
        command
    }

    /// A program of the release profile, as `cargo build` leaves it.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.metadata.target_directory.as_std_path().join("release").join(name)
    }

    /// An example of the release profile.
    pub(crate) fn example(&self, name: &str) -> PathBuf {
        self.metadata.target_directory.as_std_path().join("release").join("examples").join(name)
    }

    /// Our own packages, each with its folder relative to the root, such as `core/model`.
    pub(crate) fn members(&self) -> Vec<(&Package, String)> {
        self.metadata
            .workspace_packages()
            .into_iter()
            .map(|package| (package, self.folder(package)))
            .collect()
    }

    /// The folder of a package of ours, relative to the root.
    pub(crate) fn folder(&self, package: &Package) -> String {
        let folder = package.manifest_path.parent().map_or("", |folder| folder.as_str());
        let root = self.metadata.workspace_root.as_str();
        folder.strip_prefix(root).unwrap_or(folder).trim_start_matches('/').to_owned()
    }

    /// All files of the repository, relative to the root, sorted: those that git tracks or would add, or all but
    /// the build directory where there is no git.
    pub(crate) fn files(&self) -> Result<Vec<String>> {
        let git = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(&self.root)
            .output();
        let mut files = match git {
            Ok(output) if output.status.success() => String::from_utf8(output.stdout)
                .context("a file name is not UTF-8")?
                .split('\0')
                // A file that was deleted but not yet committed is still listed.
                .filter(|name| !name.is_empty() && self.root.join(name).is_file())
                .map(str::to_owned)
                .collect(),
            _ => {
                let mut files = Vec::new();
                walk(&self.root, Path::new(""), &mut files)?;
                files
            }
        };
        files.sort_unstable();
        files.dedup();
        Ok(files)
    }
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<String>) -> Result<()> {
    for entry in std::fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let name = entry.file_name();
        if name == "target" || name == ".git" || name == "node_modules" {
            continue;
        }
        let path = folder.join(&name);
        if entry.file_type()?.is_dir() {
            walk(root, &path, files)?;
        } else {
            files.push(path.to_str().context("a file name is not UTF-8")?.to_owned());
        }
    }
    Ok(())
}
