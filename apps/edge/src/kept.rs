//! `edge.json` in the data directory: the recorder that footage is sent to; readable by the node only, replaced as a whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use keepwatch_model::WallTime;
use keepwatch_recording::peer::NodePublic;
use serde::{Deserialize, Serialize};

/// Name of the file in the data directory.
const FILE_NAME: &str = "edge.json";
/// Largest file: one recorder with the longest name.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// The version that is written and read.
const VERSION: u32 = 1;

/// The recorder that footage is sent to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recorder {
    /// Its key, by which it is known.
    pub(crate) key: NodePublic,
    /// Its name, as it said it.
    pub(crate) name: String,
    /// Where it answers nodes.
    pub(crate) address: SocketAddr,
    /// When this node was registered there.
    pub(crate) since: WallTime,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Form {
    version: u32,
    recorder: Option<Recorder>,
}

/// Where it is.
#[derive(Clone, Debug)]
pub(crate) struct EdgeFile(PathBuf);

impl EdgeFile {
    /// The file in the directory `data`.
    pub(crate) fn new(data: &Path) -> Self {
        Self(data.to_owned())
    }

    /// What stands in it; `None` when there is none. Blocks.
    ///
    /// # Errors
    /// A sentence when it cannot be read.
    pub(crate) fn read(&self) -> Result<Option<Recorder>, String> {
        let path = self.0.join(FILE_NAME);
        let told = |what: String| {
            format!(
                "{}: {what}; remove it and register the recorder anew (keepwatch edge register)",
                path.display()
            )
        };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(told(error.to_string())),
        };
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| told(error.to_string()))?;
        let Form { version, recorder } =
            serde_json::from_slice(&bytes).map_err(|error| told(error.to_string()))?;
        match version {
            VERSION => Ok(recorder),
            _ => Err(told(format!("its version is {version}, this program reads {VERSION}"))),
        }
    }

    /// Writes it beside its place and renames it there: after a crash there is the old one or the whole one. Blocks.
    pub(crate) fn write(&self, recorder: Option<&Recorder>) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(&Form { version: VERSION, recorder: recorder.cloned() })?;
        text.push(b'\n');
        let beside = self.0.join(format!("{FILE_NAME}.new"));
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        target.write_all(&text)?;
        target.sync_all()?;
        fs::rename(&beside, self.0.join(FILE_NAME))?;
        File::open(&self.0)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_damaged_says_what_to_do() {
        let data = tempfile::tempdir().unwrap();
        let file = EdgeFile::new(data.path());
        assert_eq!(file.read(), Ok(None));
        let recorder = Recorder {
            key: NodePublic([7; 32]),
            name: "main".to_owned(),
            address: "192.0.2.7:8443".parse().unwrap(),
            since: WallTime::from_ticks(90_000),
        };
        file.write(Some(&recorder)).unwrap();
        assert_eq!(file.read(), Ok(Some(recorder)));
        file.write(None).unwrap();
        assert_eq!(file.read(), Ok(None));
        fs::write(data.path().join(FILE_NAME), "{}").unwrap();
        assert!(file.read().unwrap_err().contains("edge register"));
    }
}
