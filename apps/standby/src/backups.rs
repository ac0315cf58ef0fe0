//! Backups: what a primary is configured with is checked, kept under a number if it is news, and made into the guests that
//! the recorder beside the standby may have to record.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use keepwatch_model::{CameraId, RoleId, WallTime};
use keepwatch_recorder::config::CameraConfig;
use keepwatch_recorder::guests::local_id;
use keepwatch_recording::failover::Demand;
use keepwatch_recording::peer::{Backup, Contents};
use keepwatch_settings::standby::{BackupLine, StandbyBook};
use sha2::{Digest as _, Sha256};

use crate::world::Recorder;

/// A camera of a primary, ready to be recorded.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Camera {
    /// Its id here.
    pub(crate) local: CameraId,
    /// How it is reached.
    pub(crate) config: CameraConfig,
}

/// What a backup says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fetched {
    /// What is known of it.
    pub(crate) line: BackupLine,
    /// Whether it differs from the one before.
    pub(crate) changed: bool,
    /// The recorder's name.
    pub(crate) name: String,
    /// All of its cameras, and what each takes.
    pub(crate) demands: Vec<(CameraId, Demand)>,
    /// Those that can be recorded here, by their ids there.
    pub(crate) cameras: BTreeMap<CameraId, Camera>,
    /// Why others cannot, a sentence each.
    pub(crate) problems: Vec<String>,
}

/// Keeps backups; cheap to clone.
#[derive(Clone)]
pub(crate) struct Keeper {
    book: StandbyBook,
    recorder: Arc<dyn Recorder>,
    wall: Arc<dyn Fn() -> WallTime + Send + Sync>,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("book", &self.book).finish_non_exhaustive()
    }
}

impl Keeper {
    /// Keeps backups in `book`; `wall` tells the time.
    pub(crate) fn new(
        book: StandbyBook,
        recorder: Arc<dyn Recorder>,
        wall: impl Fn() -> WallTime + Send + Sync + 'static,
    ) -> Self {
        Self { book, recorder, wall: Arc::new(wall) }
    }

    /// Takes up a configuration that was fetched. Nothing of one that was altered, or is of another role, is used.
    pub(crate) async fn keep(&self, role: RoleId, backup: Backup) -> Result<Fetched, String> {
        let keeper = self.clone();
        let kept = tokio::task::spawn_blocking(move || keeper.keep_now(role, &backup));
        kept.await.map_err(|_| "keeping it was interrupted".to_owned())?
    }

    /// The last backup of a primary; `None` when there is none. Blocks.
    pub(crate) fn last(&self, role: RoleId) -> Result<Option<Fetched>, String> {
        let text = |error: &dyn fmt::Display| error.to_string();
        let lines = self.book.backups(role).map_err(|error| text(&error))?;
        let Some(line) = lines.into_iter().next() else { return Ok(None) };
        let kept = self.book.backup(role, line.number).map_err(|error| text(&error))?;
        let Some(kept) = kept else { return Ok(None) };
        let backup: Backup = serde_json::from_slice(&kept)
            .map_err(|_| format!("backup {} is not one of this version", line.number))?;
        let contents = backup.open().map_err(|error| text(&error))?;
        self.read(role, contents, line, false).map(Some)
    }

    fn keep_now(&self, role: RoleId, backup: &Backup) -> Result<Fetched, String> {
        let contents = backup.open().map_err(|error| error.to_string())?;
        if contents.role != role {
            return Err(format!("it gave the configuration of role {}", contents.role));
        }
        let text = serde_json::to_vec(backup).map_err(|error| error.to_string())?;
        let kept = self
            .book
            .keep_backup(
                role,
                contents.taken,
                (self.wall)(),
                contents.cameras.len(),
                &digest(&contents),
                &text,
            )
            .map_err(|error| error.to_string())?;
        self.read(role, contents, kept.line, kept.changed)
    }

    /// Makes cameras of what stands in a configuration.
    fn read(
        &self,
        role: RoleId,
        contents: Contents,
        line: BackupLine,
        changed: bool,
    ) -> Result<Fetched, String> {
        let ids: Vec<CameraId> = contents.cameras.iter().map(|camera| camera.id).collect();
        let own = self.recorder.own_cameras();
        let give = |camera, used: &BTreeSet<CameraId>| local_id(camera, role, |id| used.contains(&id));
        let locals = self.book.local_ids(role, &ids, &own, give).map_err(|error| error.to_string())?;
        let (mut cameras, mut problems) = (BTreeMap::new(), Vec::new());
        for camera in &contents.cameras {
            let Some(local) = locals.get(&camera.id).copied() else { continue };
            match self.recorder.read_camera(camera, local) {
                Ok(config) => {
                    cameras.insert(camera.id, Camera { local, config });
                }
                Err(why) => problems.push(format!("camera {}: {why}", camera.id)),
            }
        }
        let demands = contents.demands();
        Ok(Fetched { line, changed, name: contents.name, demands, cameras, problems })
    }
}

/// What tells two configurations apart: not when they were taken, and not how much the cameras send at the moment.
fn digest(contents: &Contents) -> Vec<u8> {
    let mut still = contents.clone();
    still.taken = WallTime::MIN;
    still.revision = 0;
    for camera in &mut still.cameras {
        camera.bits_per_second = 0;
    }
    let text = serde_json::to_vec(&still).expect("what was read as JSON has a JSON form");
    Sha256::digest(text).to_vec()
}
