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

/// What the backups of a primary say after a restart.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Loaded {
    /// `None` when there is none that can be used.
    pub(crate) fetched: Option<Fetched>,
    /// What cannot be used, a sentence each.
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

    /// The time.
    pub(crate) fn wall(&self) -> WallTime {
        (self.wall)()
    }

    /// Takes up a configuration that was fetched. Nothing of one that was altered, or is of another role, is used.
    pub(crate) async fn keep(&self, role: RoleId, backup: Backup) -> Result<Fetched, String> {
        let keeper = self.clone();
        let kept = tokio::task::spawn_blocking(move || keeper.keep_now(role, &backup));
        kept.await.map_err(|_| "keeping it was interrupted".to_owned())?
    }

    /// What a primary was last configured with, by the newest backup that can be used; and those of its cameras that are `covered`
    /// and not in it, by the newest one that has them. Blocks.
    pub(crate) fn last(&self, role: RoleId, covered: &[CameraId]) -> Loaded {
        let mut loaded = Loaded::default();
        let lines = match self.book.backups(role) {
            Ok(lines) => lines,
            Err(error) => return Loaded { problems: vec![error.to_string()], ..loaded },
        };
        let mut lacks: BTreeSet<CameraId> = covered.iter().copied().collect();
        for line in lines {
            let number = line.number;
            let older =
                self.contents(role, number).and_then(|contents| self.read(role, contents, line, false));
            match (older, &mut loaded.fetched) {
                (Ok(newest), None) => {
                    lacks.retain(|camera| !newest.cameras.contains_key(camera));
                    loaded.fetched = Some(newest);
                }
                (Ok(older), Some(newest)) => {
                    newest
                        .cameras
                        .extend(older.cameras.into_iter().filter(|(camera, _)| lacks.remove(camera)));
                }
                (Err(why), None) => loaded.problems.push(format!("backup {number} cannot be used: {why}")),
                // It may be one of many, and was told of when it was the newest.
                (Err(_), Some(_)) => {}
            }
            if loaded.fetched.is_some() && lacks.is_empty() {
                break;
            }
        }
        let nowhere = |camera| format!("camera {camera} is to be recorded here, and is in no backup");
        loaded.problems.extend(lacks.into_iter().map(nowhere));
        loaded
    }

    /// What is in a backup. Blocks.
    pub(crate) fn contents(&self, role: RoleId, number: u64) -> Result<Contents, String> {
        let kept = self.book.backup(role, number).map_err(|error| error.to_string())?;
        let kept = kept.ok_or_else(|| "it is not there".to_owned())?;
        let backup: Backup =
            serde_json::from_slice(&kept).map_err(|_| "it is not one of this version".to_owned())?;
        backup.open().map_err(|error| error.to_string())
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

    /// Makes cameras of what stands in a configuration, but for those that edge nodes send: they need no cover.
    fn read(
        &self,
        role: RoleId,
        mut contents: Contents,
        line: BackupLine,
        changed: bool,
    ) -> Result<Fetched, String> {
        contents.cameras.retain(|camera| !camera.is_sent());
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
