//! Cameras that are edited in the console: a change is found right, written, and only then applied.
//!
//! Once begun it is brought to its end, also when nobody waits for it any more.

use std::collections::BTreeSet;
use std::sync::Arc;

use keepwatch_model::{CameraId, EventCode, Subject};
use keepwatch_settings::{CameraEntry, DATABASE_FILE, Revision};
use tokio::sync::OwnedSemaphorePermit;

use super::{Node, NodeError};
use crate::api::Feed;
use crate::config::{CameraConfig, RecorderConfig};
use crate::scan::FoundCameras;
use crate::searches::Searches;
use crate::settings::{Book, CameraWish, Changing, EditError, Edited, Step, entry_of_file, twice};

/// A camera as it is configured, for who may change it.
#[derive(Clone, Debug)]
pub(crate) struct Configured {
    /// The keys of `[[camera]]`; the password is sealed and must not leave the node.
    pub(crate) entry: CameraEntry,
    /// Whether there is a password.
    pub(crate) has_password: bool,
    /// Whether it is edited in the console; else it stands in the configuration file.
    pub(crate) editable: bool,
}

/// What a change did.
#[derive(Clone, Debug)]
pub(crate) struct Changed {
    /// The revision that it made.
    pub(crate) revision: u64,
    /// What it did, in a few words.
    pub(crate) what: String,
}

/// Refuses a configuration file with cameras that are edited in the console.
pub(super) fn check(config: &RecorderConfig, edited: &Edited) -> Result<(), NodeError> {
    let cameras = twice(&edited.document, &ids(&config.cameras));
    if cameras.is_empty() {
        return Ok(());
    }
    Err(NodeError::CameraTwice { cameras, database: config.data.join(DATABASE_FILE) })
}

fn ids(cameras: &[CameraConfig]) -> BTreeSet<CameraId> {
    cameras.iter().map(|camera| camera.id).collect()
}

impl Node {
    /// Whether a camera is edited in the console.
    pub(crate) fn is_editable(&self, id: CameraId) -> bool {
        self.inner.book.edited().entry(id).is_some()
    }

    /// The newest revision of the settings, 0 before the first, and why not all of them can be used.
    pub(crate) fn settings_state(&self) -> (u64, Option<String>) {
        let edited = self.inner.book.edited();
        (edited.revision, edited.problem.clone())
    }

    /// How a camera is configured; `None` when it is not.
    pub(crate) fn configured(&self, id: CameraId) -> Option<Configured> {
        if let Some(entry) = self.inner.book.edited().entry(id) {
            let has_password = entry.password.is_some();
            return Some(Configured { entry: entry.clone(), has_password, editable: true });
        }
        let config = self.inner.config();
        let camera = config.cameras.iter().find(|camera| camera.id == id)?;
        let has_password = camera.password.is_some();
        Some(Configured { entry: entry_of_file(camera), has_password, editable: false })
    }

    /// Adds a camera.
    pub(crate) async fn add_camera(&self, by: &str, wish: CameraWish) -> Result<Changed, EditError> {
        let about = (EventCode::CameraAdded, Subject::Camera(wish.draft.id));
        self.edit(by, about, move |book, file| book.added(file, &wish)).await
    }

    /// Changes a camera; `expected` is the revision that the change was made from.
    pub(crate) async fn change_camera(
        &self,
        by: &str,
        wish: CameraWish,
        expected: Option<u64>,
    ) -> Result<Changed, EditError> {
        let about = (EventCode::CameraChanged, Subject::Camera(wish.draft.id));
        self.edit(by, about, move |book, file| book.changed(file, &wish, expected)).await
    }

    /// Removes a camera; its footage stays.
    pub(crate) async fn remove_camera(
        &self,
        by: &str,
        id: CameraId,
        expected: Option<u64>,
    ) -> Result<Changed, EditError> {
        let about = (EventCode::CameraRemoved, Subject::Camera(id));
        self.edit(by, about, move |book, file| book.removed(file, id, expected)).await
    }

    /// Takes up an earlier revision of the settings.
    pub(crate) async fn restore_revision(&self, by: &str, number: u64) -> Result<Changed, EditError> {
        let about = (EventCode::ConfigApplied, Subject::Node);
        self.edit(by, about, move |book, file| book.restored(file, number)).await
    }

    /// Takes over the cameras of a recorder whose role this one takes; where it `repeats`, those that are here by an earlier
    /// try are replaced.
    pub(crate) async fn take_cameras(
        &self,
        by: &str,
        wishes: Vec<CameraWish>,
        repeats: bool,
    ) -> Result<Changed, EditError> {
        let about = (EventCode::ConfigApplied, Subject::Node);
        self.edit(by, about, move |book, file| book.taken_over(file, &wishes, repeats)).await
    }

    /// At most `limit` revisions before the one with the number `before`, the newest first.
    pub(crate) async fn revisions(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Revision>, EditError> {
        let book = Arc::clone(&self.inner.book);
        let read = tokio::task::spawn_blocking(move || book.revisions(before, limit));
        Ok(read.await.map_err(|_| EditError::Interrupted)??)
    }

    /// The camera that is asked for with its password, to try it.
    pub(crate) fn camera_to_try(&self, wish: &CameraWish) -> Result<CameraConfig, EditError> {
        let password = self.inner.book.password_for(wish)?;
        Ok(wish.draft.clone().with_password(password))
    }

    /// What status sockets are told from.
    pub(crate) fn feed(&self) -> &Feed {
        &self.inner.feed
    }

    /// A place among those that try a camera; `None` when all are taken.
    pub(crate) fn probe_place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.inner.probes).try_acquire_owned().ok()
    }

    /// Its search for cameras in the network.
    pub(crate) fn scans(&self) -> &Searches<FoundCameras> {
        &self.inner.scans
    }

    async fn edit(
        &self,
        by: &str,
        about: (EventCode, Subject),
        act: impl FnOnce(&Book, &BTreeSet<CameraId>) -> Result<Step, EditError> + Send + 'static,
    ) -> Result<Changed, EditError> {
        let (node, by) = (self.clone(), by.to_owned());
        let edited = tokio::spawn(async move { node.edit_and_tell(by, about, act).await });
        edited.await.map_err(|_| EditError::Interrupted)?
    }

    async fn edit_and_tell(
        &self,
        by: String,
        (code, subject): (EventCode, Subject),
        act: impl FnOnce(&Book, &BTreeSet<CameraId>) -> Result<Step, EditError> + Send + 'static,
    ) -> Result<Changed, EditError> {
        let book = Arc::clone(&self.inner.book);
        let changing = book.changing.lock().await;
        if *changing == Changing::Closed {
            return Err(EditError::Interrupted);
        }
        let config = self.inner.config().clone();
        let (written, step, by) = {
            let (book, file, at) = (Arc::clone(&book), ids(&config.cameras), self.clock().wall());
            let guests = self.inner.guests.locals();
            let work = move || {
                let step = act(&book, &file)?;
                if let Some(camera) = step.document.cameras.iter().find(|camera| guests.contains(&camera.id))
                {
                    return Err(EditError::Taken(camera.id));
                }
                let written = book.write(&step, &by, at)?;
                Ok::<_, EditError>((written, step, by))
            };
            tokio::task::spawn_blocking(work).await.map_err(|_| EditError::Interrupted)??
        };
        let revision = written.revision;
        self.tell_settings(Some(&book.edited()), &written);
        let now = Some(self.clock().wall());
        self.change_cameras(config, written, now).await.map_err(EditError::NotInForce)?;
        let what = step.what;
        tracing::info!(revision, %by, "{what}");
        self.add_event(code, subject, format!("{by} {what} (revision {revision} of the settings)"));
        Ok(Changed { revision, what })
    }

    /// What is kept of the settings at this moment, unless it does not fit `config`.
    pub(super) async fn read_settings(&self, config: &RecorderConfig) -> Result<Edited, NodeError> {
        let book = Arc::clone(&self.inner.book);
        let before = book.edited();
        let read = tokio::task::spawn_blocking(move || book.read()).await;
        let edited = read.map_err(|_| NodeError::Interrupted)?;
        check(config, &edited)?;
        self.check_guests(config)?;
        self.tell_settings(Some(&before), &edited);
        Ok(edited)
    }

    /// Enters that the settings cannot be used, if it is news.
    pub(super) fn tell_settings(&self, before: Option<&Edited>, edited: &Edited) {
        let told = before.and_then(|before| before.problem.as_ref());
        if let Some(problem) = edited.problem.as_ref().filter(|problem| Some(*problem) != told) {
            let text = format!("not all that is edited in the console can be used: {problem}");
            tracing::error!("{text}");
            self.add_event(EventCode::SettingsUnusable, Subject::Node, text);
        }
    }
}
