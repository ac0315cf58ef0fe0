//! Exports as jobs: asked for once, made in the background, kept for a day.
//!
//! Each job is described in a file beside its archive, so that what is there after a restart is what is listed. Two are made
//! at a time, and each read of a record takes one of the places that all who read footage share: recording comes first.
//! Archives never take more than their share of the disk; the oldest go first.

mod job;
mod make;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keepwatch_model::{CameraId, Span, StreamId, TICKS_PER_SECOND, WallTime};
use keepwatch_store::StoreError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) use self::job::{Job, JobState, Order, Seen};
use crate::Node;

/// Jobs that are made at a time.
const RUNNING_MAX: usize = 2;
/// Jobs that wait or are made.
const PENDING_MAX: usize = 20;
/// Jobs that are listed; beyond it the oldest that is over is forgotten, with its archive.
const LISTED_MAX: usize = 200;
/// Cameras of a job.
pub(crate) const CAMERAS_MAX: usize = 64;
/// Archives that are fetched at a time: each keeps some pieces in memory for a slow client.
pub(crate) const FETCHES_MAX: usize = 64;
/// How long an archive is kept.
const KEPT_TICKS: i64 = 24 * 3_600 * TICKS_PER_SECOND;
/// Most bytes of all archives unless it is set otherwise; less where a tenth of the disk is less.
const BYTES_MAX_DEFAULT: u64 = 10 << 30;
/// What is left free on the disk of the data directory, where the index is, too.
const RESERVE_BYTES: u64 = 256 << 20;
/// Folder in the data directory.
const FOLDER: &str = "exports";

/// Why a job is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// Too many wait.
    #[error("{PENDING_MAX} exports wait or are being made; wait for one to end, or cancel it")]
    Busy,
    /// Nothing is held.
    #[error("no footage of these cameras from {} to {}; their coverage says why", .0.from, .0.to)]
    Empty(Span),
    /// It does not fit.
    #[error(
        "the export takes about {needed} MiB, and exports may take {room} MiB on the disk of the data directory; export a shorter time or fewer cameras, make room there, or set exports_max"
    )]
    TooLarge {
        /// Mebibytes of it.
        needed: u64,
        /// Mebibytes that there may be.
        room: u64,
    },
    /// The index cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The folder cannot be written.
    #[error("the export cannot be begun: {0}")]
    Write(#[from] io::Error),
    /// The node ends.
    #[error("the node ends")]
    Ending,
}

/// The export jobs of a node.
#[derive(Debug)]
pub(crate) struct Jobs {
    folder: PathBuf,
    bytes_max: Option<u64>,
    list: Mutex<List>,
    running: Arc<Semaphore>,
    fetches: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct List {
    jobs: BTreeMap<u64, Arc<Job>>,
    ending: bool,
}

impl Jobs {
    /// Takes up what is in the folder of the data directory. What was being made when the node ended has failed. Blocks.
    pub(crate) fn open(data: &Path, bytes_max: Option<u64>, now: WallTime) -> Self {
        let folder = data.join(FOLDER);
        let jobs = take_up(&folder, now).unwrap_or_else(|error| {
            // Exports are not worth a recorder that does not start.
            tracing::error!(%error, folder = %folder.display(), "the exports of before cannot be read");
            BTreeMap::new()
        });
        Self {
            folder,
            bytes_max,
            list: Mutex::new(List { jobs, ending: false }),
            running: Arc::new(Semaphore::new(RUNNING_MAX)),
            fetches: Arc::new(Semaphore::new(FETCHES_MAX)),
        }
    }

    /// All jobs, the oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<Job>> {
        self.list().jobs.values().cloned().collect()
    }

    /// One job.
    pub(crate) fn find(&self, id: u64) -> Option<Arc<Job>> {
        self.list().jobs.get(&id).cloned()
    }

    /// A place among those that fetch archives; `None` when all are taken.
    pub(crate) fn fetch_place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.fetches).try_acquire_owned().ok()
    }

    /// Where a job's archive is once it is made.
    pub(crate) fn archive(&self, job: &Job) -> PathBuf {
        self.folder.join(format!("{}.zip", job.id()))
    }

    /// Takes a job and begins it when its turn comes. Within a runtime of tokio; blocks on the index and the disk.
    pub(crate) fn create(&self, node: &Node, order: Order) -> Result<Arc<Job>, Refusal> {
        let estimate = make::estimate(node.store(), &order)?;
        if estimate == 0 {
            return Err(Refusal::Empty(order.window()));
        }
        fs::create_dir_all(&self.folder)?;
        let room = self.bytes_allowed()?;
        if estimate > room {
            return Err(Refusal::TooLarge { needed: estimate >> 20, room: room >> 20 });
        }
        let job = {
            let mut list = self.list();
            if list.ending {
                return Err(Refusal::Ending);
            }
            if list.jobs.values().filter(|job| job.is_pending()).count() >= PENDING_MAX {
                return Err(Refusal::Busy);
            }
            while list.jobs.len() >= LISTED_MAX {
                let Some(oldest) = list.jobs.values().find(|job| !job.is_pending()).cloned() else { break };
                list.jobs.remove(&oldest.id());
                self.remove_files(&oldest);
            }
            // Milliseconds of UTC, or behind the last one: never one that was before.
            let last = list.jobs.last_key_value().map_or(0, |(id, _)| id.saturating_add(1));
            let job = Arc::new(Job::new(job::id_at(order.created).max(last), order, estimate));
            list.jobs.insert(job.id(), Arc::clone(&job));
            job
        };
        if let Err(error) = self.keep(&job) {
            self.list().jobs.remove(&job.id());
            return Err(error.into());
        }
        let task = tokio::spawn(make::run(node.clone(), Arc::clone(&job), Arc::clone(&self.running)));
        job.begun_as(task);
        Ok(job)
    }

    /// Cancels a job that is not over, and forgets one that is; its files are gone when this returns. Blocks.
    pub(crate) fn cancel(&self, job: &Job, now: WallTime) {
        if job.cancel(now) {
            self.remove_archive(job);
            self.note(job);
        } else {
            self.list().jobs.remove(&job.id());
            self.remove_files(job);
        }
    }

    /// Forgets what was kept long enough. Blocks.
    pub(crate) fn expire(&self, now: WallTime) {
        let over: Vec<Arc<Job>> = {
            let mut list = self.list();
            let over = list.jobs.values().filter(|job| job.expires().is_some_and(|at| at <= now));
            let over: Vec<Arc<Job>> = over.cloned().collect();
            over.iter().for_each(|job| drop(list.jobs.remove(&job.id())));
            over
        };
        over.iter().for_each(|job| self.remove_files(job));
    }

    /// Ends what is being made, because the node ends.
    pub(crate) async fn stop(&self, now: WallTime) {
        let jobs = {
            let mut list = self.list();
            list.ending = true;
            list.jobs.values().cloned().collect::<Vec<_>>()
        };
        for job in jobs.iter().filter(|job| job.is_pending()) {
            if job.fail("the node was stopped", now) {
                self.remove_archive(job);
                self.note(job);
            }
        }
        for job in jobs {
            job.ended().await;
        }
    }

    /// Makes room for `bytes` among the archives by forgetting the oldest; false when it cannot be had.
    fn make_room(&self, bytes: u64) -> io::Result<bool> {
        let allowed = self.bytes_allowed()?;
        loop {
            let taken = self.taken();
            if taken.saturating_add(bytes) <= allowed {
                break;
            }
            let mut list = self.list();
            let Some(oldest) = list.jobs.values().find(|job| job.state() == JobState::Done).cloned() else {
                return Ok(false);
            };
            list.jobs.remove(&oldest.id());
            drop(list);
            self.remove_files(&oldest);
        }
        Ok(free_bytes(&self.folder)?.0 >= bytes.saturating_add(RESERVE_BYTES))
    }

    /// Bytes of all archives, also of those that are being made.
    fn taken(&self) -> u64 {
        let size = |job: &Arc<Job>| {
            let size = |path: PathBuf| fs::metadata(path).map_or(0, |held| held.len());
            size(self.archive(job)).saturating_add(size(self.unfinished(job)))
        };
        self.all().iter().map(size).sum()
    }

    /// Bytes that all archives may take together.
    fn bytes_allowed(&self) -> io::Result<u64> {
        Ok(match self.bytes_max {
            Some(bytes) => bytes,
            None => (free_bytes(&self.folder)?.1 / 10).min(BYTES_MAX_DEFAULT),
        })
    }

    /// Where an archive is while it is being made.
    fn unfinished(&self, job: &Job) -> PathBuf {
        self.folder.join(format!("{}.part", job.id()))
    }

    /// Writes the description of a job.
    fn keep(&self, job: &Job) -> io::Result<()> {
        let path = self.description(job);
        let unfinished = path.with_extension("json.part");
        fs::write(&unfinished, serde_json::to_vec(&job.kept())?)?;
        fs::rename(unfinished, path)
    }

    /// The same; a failure is logged.
    fn note(&self, job: &Job) {
        if let Err(error) = self.keep(job) {
            tracing::error!(job = job.id(), %error, "the state of an export is not on disk");
        }
    }

    fn description(&self, job: &Job) -> PathBuf {
        self.folder.join(format!("{}.json", job.id()))
    }

    fn remove_archive(&self, job: &Job) {
        remove(&self.unfinished(job));
        remove(&self.archive(job));
    }

    fn remove_files(&self, job: &Job) {
        self.remove_archive(job);
        remove(&self.description(job));
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The jobs that a folder holds; everything else in it is removed.
fn take_up(folder: &Path, now: WallTime) -> io::Result<BTreeMap<u64, Arc<Job>>> {
    let mut jobs = BTreeMap::new();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(jobs),
        Err(error) => return Err(error),
    };
    let names: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    for path in names.iter().filter(|path| path.extension().is_some_and(|ending| ending == "json")) {
        let job = fs::read(path).ok().and_then(|bytes| Job::restore(&bytes, now));
        let named = |job: &Job| path.file_stem().is_some_and(|stem| *stem == *job.id().to_string());
        if let Some(job) = job.filter(named) {
            let archive = folder.join(format!("{}.zip", job.id()));
            if job.state() != JobState::Done || archive.is_file() {
                jobs.insert(job.id(), Arc::new(job));
            }
        }
    }
    let belongs = |path: &Path| {
        let job = path.file_stem().and_then(|stem| jobs.get(&stem.to_str()?.parse().ok()?));
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("json") => job.is_some(),
            Some("zip") => job.is_some_and(|job| job.state() == JobState::Done),
            Some(_) | None => false,
        }
    };
    names.iter().filter(|path| !belongs(path)).for_each(|path| remove(path));
    Ok(jobs)
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::error!(path = %path.display(), %error, "what an export left cannot be removed");
        }
        Ok(()) | Err(_) => {}
    }
}

/// Free bytes of the file system of `folder` for us, and all of its bytes.
fn free_bytes(folder: &Path) -> io::Result<(u64, u64)> {
    let held = rustix::fs::statvfs(folder)?;
    Ok((held.f_bavail.saturating_mul(held.f_frsize), held.f_blocks.saturating_mul(held.f_frsize)))
}

/// A camera's stream in an archive.
type Place = (CameraId, StreamId);

#[cfg(test)]
mod tests;
