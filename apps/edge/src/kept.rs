//! `edge.json` in the data directory: the recorder that footage is sent to, and limits that were set while the node ran; readable by
//! the node only, replaced as a whole.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use keepwatch_model::{CameraId, WallTime};
use keepwatch_recording::edge::limit::SpeedLimit;
use keepwatch_recording::peer::NodePublic;
use serde::{Deserialize, Serialize};

/// Name of the file in the data directory.
const FILE_NAME: &str = "edge.json";
/// Largest file: one recorder with the longest name, and limits of as many cameras as there may be.
const FILE_BYTES_MAX: u64 = 1 << 20;
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

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    /// The recorder that footage is sent to.
    pub(crate) recorder: Option<Recorder>,
    /// Limits of single cameras that were set while the node ran, in place of those of the configuration.
    pub(crate) limits: Limits,
}

/// Limits of single cameras.
pub(crate) type Limits = BTreeMap<CameraId, SpeedLimit>;

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Form {
    version: u32,
    recorder: Option<Recorder>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    limits: Vec<LimitForm>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct LimitForm {
    camera: CameraId,
    speed_percent: u32,
    rate_bits_per_second: u64,
}

/// Where it is.
#[derive(Clone, Debug)]
pub(crate) struct EdgeFile(PathBuf);

impl EdgeFile {
    /// The file in the directory `data`.
    pub(crate) fn new(data: &Path) -> Self {
        Self(data.to_owned())
    }

    /// What stands in it; nothing when there is none. Blocks.
    ///
    /// # Errors
    /// A sentence when it cannot be read.
    pub(crate) fn read(&self) -> Result<Kept, String> {
        let path = self.0.join(FILE_NAME);
        let told = |what: String| {
            format!(
                "{}: {what}; remove it and register the recorder anew (keepwatch edge register)",
                path.display()
            )
        };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::default()),
            Err(error) => return Err(told(error.to_string())),
        };
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| told(error.to_string()))?;
        let Form { version, recorder, limits } =
            serde_json::from_slice(&bytes).map_err(|error| told(error.to_string()))?;
        let limit = |form: LimitForm| {
            let limit =
                SpeedLimit { percent: form.speed_percent, bits_per_second: form.rate_bits_per_second };
            (form.camera, limit)
        };
        match version {
            VERSION => Ok(Kept { recorder, limits: limits.into_iter().map(limit).collect() }),
            _ => Err(told(format!("its version is {version}, this program reads {VERSION}"))),
        }
    }

    /// Writes it beside its place and renames it there: after a crash there is the old one or the whole one. Blocks.
    pub(crate) fn write(&self, kept: &Kept) -> io::Result<()> {
        let limit = |(camera, limit): (&CameraId, &SpeedLimit)| LimitForm {
            camera: *camera,
            speed_percent: limit.percent,
            rate_bits_per_second: limit.bits_per_second,
        };
        let limits = kept.limits.iter().map(limit).collect();
        let form = Form { version: VERSION, recorder: kept.recorder.clone(), limits };
        let mut text = serde_json::to_vec_pretty(&form)?;
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
        assert_eq!(file.read(), Ok(Kept::default()));
        let recorder = Recorder {
            key: NodePublic([7; 32]),
            name: "main".to_owned(),
            address: "192.0.2.7:8443".parse().unwrap(),
            since: WallTime::from_ticks(90_000),
        };
        let paused = SpeedLimit { percent: 0, bits_per_second: 0 };
        let kept =
            Kept { recorder: Some(recorder), limits: Limits::from([("gate".parse().unwrap(), paused)]) };
        file.write(&kept).unwrap();
        assert_eq!(file.read(), Ok(kept));
        file.write(&Kept::default()).unwrap();
        assert_eq!(file.read(), Ok(Kept::default()));
        // As it was written before there were limits.
        let text = r#"{"version":1,"recorder":null}"#;
        fs::write(data.path().join(FILE_NAME), text).unwrap();
        assert_eq!(file.read(), Ok(Kept::default()));
        fs::write(data.path().join(FILE_NAME), "{}").unwrap();
        assert!(file.read().unwrap_err().contains("edge register"));
    }
}
