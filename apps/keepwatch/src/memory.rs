//! What a data directory remembers of its node, so that `--data DIR` alone is enough to verify and export.
//!
//! It names the disks that the node ran with last. It is not the index: it is there when the index is lost.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use keepwatch_recorder::config::RecorderConfig;
use keepwatch_store::DiskConfig;
use serde::{Deserialize, Serialize};

const FILE_NAME: &str = "node.json";

#[derive(Debug, Deserialize, Serialize)]
struct Memory {
    disks: Vec<Disk>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Disk {
    path: PathBuf,
    size_bytes: Option<u64>,
    #[serde(default)]
    read_only: bool,
}

/// Remembers the disks of `config` in its data directory, which exists.
pub(crate) fn keep(config: &RecorderConfig) -> io::Result<()> {
    let absolute = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let disks = config
        .disks
        .iter()
        .map(|disk| Disk {
            path: absolute(&disk.path),
            size_bytes: disk.size_bytes,
            read_only: disk.read_only,
        })
        .collect();
    let text = serde_json::to_vec_pretty(&Memory { disks })?;
    let path = config.data.join(FILE_NAME);
    let beside = config.data.join(format!("{FILE_NAME}.new"));
    let mut file = File::create(&beside)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&beside, &path)
}

/// The disks that the node of `data` ran with last.
pub(crate) fn disks(data: &Path) -> anyhow::Result<Vec<DiskConfig>> {
    let path = data.join(FILE_NAME);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("no node has run on {}; name its configuration with --config", data.display())
        }
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
    };
    let memory: Memory = serde_json::from_slice(&text)
        .with_context(|| format!("{} is damaged; name the configuration with --config", path.display()))?;
    let config =
        |disk: Disk| DiskConfig { read_only: disk.read_only, ..DiskConfig::new(disk.path, disk.size_bytes) };
    Ok(memory.disks.into_iter().map(config).collect())
}

#[cfg(test)]
mod tests {
    use keepwatch_recorder::config;

    use super::*;

    #[test]
    fn the_disks_come_back() {
        let data = tempfile::tempdir().unwrap();
        let error = disks(data.path()).unwrap_err().to_string();
        assert!(error.starts_with("no node has run on "), "{error}");
        let config = RecorderConfig {
            name: "n".into(),
            data: data.path().to_owned(),
            disks: vec![config::DiskConfig { size_bytes: Some(5), ..config::DiskConfig::new("/mnt/none") }],
            retention: None,
            buffer_bytes_max: 0,
            exports_bytes_max: None,
            cameras: Vec::new(),
            rtsp: config::RtspConfig::default(),
        };
        keep(&config).unwrap();
        assert_eq!(disks(data.path()).unwrap(), [DiskConfig::new("/mnt/none", Some(5))]);
        fs::write(data.path().join(FILE_NAME), "{").unwrap();
        assert!(format!("{:#}", disks(data.path()).unwrap_err()).contains("node.json is damaged"));
    }
}
