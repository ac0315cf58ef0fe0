//! The book of settings: the database, the key, and what of them is in force.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keepwatch_model::{CameraId, WallTime};
use keepwatch_settings::{CameraEntry, Document, Kept, Key, Revision, Settings, SettingsError};

use super::entry::{self, password_wanted};
use super::{CameraWish, EditError, FieldError, PasswordWish, twice};
use crate::config::{CameraConfig, Secret};

/// Variable in which systemd says where credentials are (systemd.exec(5)).
const CREDENTIALS_VARIABLE: &str = "CREDENTIALS_DIRECTORY";

/// What is edited in the console, as it is in force.
#[derive(Clone, Debug, Default)]
pub(crate) struct Edited {
    /// The newest revision; 0 before the first.
    pub(crate) revision: u64,
    /// Its document.
    pub(crate) document: Document,
    /// Its cameras as the recorder is told.
    pub(crate) cameras: Vec<CameraConfig>,
    /// Why the settings, or some cameras of them, cannot be used; `None` when all is well.
    pub(crate) problem: Option<String>,
    /// What is kept could not be read: this is what was in force before, and nothing may be written behind it.
    pub(crate) unread: bool,
}

impl Edited {
    /// The entry of a camera.
    pub(crate) fn entry(&self, id: CameraId) -> Option<&CameraEntry> {
        self.document.camera(id)
    }

    /// Itself, where it is what is kept.
    fn usable(&self) -> Result<&Self, EditError> {
        match &self.problem {
            Some(problem) if self.unread => Err(EditError::Unusable(problem.clone())),
            Some(_) | None => Ok(self),
        }
    }

    fn camera(&self, id: CameraId) -> Option<&CameraConfig> {
        self.cameras.iter().find(|camera| camera.id == id)
    }
}

/// A change of the document that was found right.
pub(crate) struct Step {
    /// What stands there from now on.
    pub(crate) document: Document,
    /// What it changes, in a few words.
    pub(crate) what: String,
}

/// Whether anything may be changed still.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Changing {
    /// It may.
    #[default]
    Open,
    /// The node ends.
    Closed,
}

/// The settings of a node.
#[derive(Debug)]
pub(crate) struct Book {
    data: PathBuf,
    settings: Mutex<Option<Settings>>,
    edited: Mutex<Arc<Edited>>,
    /// Held while something is changed, so that changes come one after another.
    pub(crate) changing: tokio::sync::Mutex<Changing>,
}

impl Book {
    /// The settings in the data directory `data`. Blocks. What cannot be read is a problem that [`edited`](Self::edited)
    /// tells, and no error.
    pub(crate) fn open(data: PathBuf) -> Self {
        let book = Self {
            data,
            settings: Mutex::default(),
            edited: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
        };
        let edited = book.read();
        book.set(edited);
        book
    }

    /// What is in force.
    pub(crate) fn edited(&self) -> Arc<Edited> {
        Arc::clone(&self.edited.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// `edited` is in force from now on.
    pub(crate) fn set(&self, edited: Edited) {
        *self.edited.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(edited);
    }

    /// Reads what is kept, anew; where that is not possible, what is in force with the reason. Blocks.
    pub(crate) fn read(&self) -> Edited {
        match self.settings().and_then(|settings| settings.newest()) {
            Ok(Some(kept)) => self.resolve(kept),
            Ok(None) => Edited::default(),
            Err(error) => {
                Edited { problem: Some(error.to_string()), unread: true, ..(*self.edited()).clone() }
            }
        }
    }

    /// At most `limit` revisions before the one with the number `before`, the newest first. Blocks.
    pub(crate) fn revisions(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Revision>, SettingsError> {
        self.settings()?.revisions(before, limit)
    }

    /// Adds the camera that is asked for. `file` are the ids of the configuration file. Blocks, as all changes do.
    pub(crate) fn added(&self, file: &BTreeSet<CameraId>, wish: &CameraWish) -> Result<Step, EditError> {
        let (edited, id) = (self.edited(), wish.draft.id);
        if file.contains(&id) || edited.entry(id).is_some() {
            return Err(EditError::Taken(id));
        }
        edited.usable()?;
        let entry = self.seal(&edited, wish, None)?;
        let mut document = edited.document.clone();
        document.cameras.push(entry);
        Ok(Step { document, what: format!("added camera {id}") })
    }

    /// Adds the cameras of a recorder whose role this one takes. One that is here with the same settings stays, and so does
    /// one with other settings unless `replacing`, which refuses the whole.
    pub(crate) fn taken_over(
        &self,
        file: &BTreeSet<CameraId>,
        wishes: &[CameraWish],
        replacing: bool,
    ) -> Result<Step, EditError> {
        let edited = self.edited();
        edited.usable()?;
        let mut document = edited.document.clone();
        for wish in wishes {
            let id = wish.draft.id;
            if file.contains(&id) {
                return Err(EditError::OfFile(id));
            }
            let entry = self.seal(&edited, wish, None)?;
            match document.cameras.iter_mut().find(|camera| camera.id == id) {
                None => document.cameras.push(entry),
                Some(there) => {
                    // A password that is sealed again looks another way.
                    let still =
                        |entry: &CameraEntry| CameraEntry { revision: 0, password: None, ..entry.clone() };
                    if still(there) != still(&entry) && !replacing {
                        return Err(EditError::Taken(id));
                    }
                    *there = entry;
                }
            }
        }
        Ok(Step { document, what: format!("took over {} cameras of another recorder", wishes.len()) })
    }

    /// Replaces a camera by the one that is asked for; `expected` is the revision that the change was made from.
    pub(crate) fn changed(
        &self,
        file: &BTreeSet<CameraId>,
        wish: &CameraWish,
        expected: Option<u64>,
    ) -> Result<Step, EditError> {
        let (edited, id) = (self.edited(), wish.draft.id);
        let before = find(&edited, file, id, expected)?.clone();
        if before.password.is_some()
            && edited.camera(id).is_none_or(|before| wish.strays(before))
            && wish.password == PasswordWish::Keep
        {
            return Err(EditError::Fields(vec![password_wanted()]));
        }
        let entry = self.seal(&edited, wish, Some(&before))?;
        let mut document = edited.document.clone();
        for camera in document.cameras.iter_mut().filter(|camera| camera.id == id) {
            *camera = entry.clone();
        }
        Ok(Step { document, what: format!("changed camera {id}") })
    }

    /// Removes a camera.
    pub(crate) fn removed(
        &self,
        file: &BTreeSet<CameraId>,
        id: CameraId,
        expected: Option<u64>,
    ) -> Result<Step, EditError> {
        let edited = self.edited();
        find(&edited, file, id, expected)?;
        let mut document = edited.document.clone();
        document.cameras.retain(|camera| camera.id != id);
        Ok(Step { document, what: format!("removed camera {id}") })
    }

    /// Takes up the document of an earlier revision.
    pub(crate) fn restored(&self, file: &BTreeSet<CameraId>, number: u64) -> Result<Step, EditError> {
        let kept = self.settings()?.revision(number)?.ok_or(EditError::RevisionUnknown(number))?;
        if let Some(id) = twice(&kept.document, file).first() {
            return Err(EditError::OfFile(*id));
        }
        let errors: Vec<FieldError> = kept
            .document
            .cameras
            .iter()
            .filter_map(|camera| Some((camera.id, entry::draft(camera).err()?)))
            .flat_map(|(id, errors)| {
                errors.into_iter().map(move |error| FieldError {
                    field: format!("cameras.{id}.{}", error.field),
                    detail: error.detail,
                })
            })
            .collect();
        if !errors.is_empty() {
            return Err(EditError::Fields(errors));
        }
        let edited = self.edited();
        let mut document = kept.document;
        for camera in &mut document.cameras {
            // What stands there already was not changed by this.
            let same = |there: &&CameraEntry| {
                CameraEntry { revision: camera.revision, ..(*there).clone() } == *camera
            };
            camera.revision = match edited.entry(camera.id).filter(same) {
                Some(there) => there.revision,
                None => edited.revision.saturating_add(1),
            };
        }
        Ok(Step { document, what: format!("restored revision {number}") })
    }

    /// Writes a revision and returns what it brings into force.
    pub(crate) fn write(&self, step: &Step, by: &str, at: WallTime) -> Result<Edited, EditError> {
        let settings = self.settings()?;
        // Behind the newest one that there is, which is not in force where it is damaged and another is restored over it.
        let newest = settings.revisions(None, 1)?.first().map_or(0, |newest| newest.number);
        let in_force = self.edited();
        if in_force.revision != newest && !in_force.unread {
            return Err(EditError::Settings(SettingsError::Changed { newest }));
        }
        let revision = settings.write(newest, &step.document, at, by, &step.what)?;
        Ok(self.resolve(Kept { revision, document: step.document.clone() }))
    }

    /// The password that is kept of a camera, if it can be used for what is asked for.
    pub(crate) fn password_for(&self, wish: &CameraWish) -> Result<Option<Secret>, EditError> {
        let edited = self.edited();
        match (&wish.password, edited.camera(wish.draft.id)) {
            (PasswordWish::Set(password), _) => Ok(Some(password.clone())),
            (PasswordWish::Remove, _) | (PasswordWish::Keep, None) => Ok(None),
            (PasswordWish::Keep, Some(before)) if before.password.is_some() && wish.strays(before) => {
                Err(EditError::Fields(vec![password_wanted()]))
            }
            (PasswordWish::Keep, Some(before)) => Ok(before.password.clone()),
        }
    }

    /// The entry of what is asked for, its password sealed.
    fn seal(
        &self,
        edited: &Edited,
        wish: &CameraWish,
        before: Option<&CameraEntry>,
    ) -> Result<CameraEntry, EditError> {
        let mut entry = entry::entry(&wish.draft);
        entry.revision = edited.revision.saturating_add(1);
        entry.password = match &wish.password {
            PasswordWish::Set(password) => {
                let key = match self.key()? {
                    Some(key) => key,
                    None => Key::make(&self.data)?,
                };
                Some(keepwatch_settings::Sealed::seal(&key, &entry.object(), password.expose())?)
            }
            // Without a user there is nothing to log in with.
            PasswordWish::Keep => {
                before.and_then(|before| before.password.clone()).filter(|_| entry.user.is_some())
            }
            PasswordWish::Remove => None,
        };
        Ok(entry)
    }

    /// What a revision brings into force.
    fn resolve(&self, kept: Kept) -> Edited {
        let (key, mut problems) = match self.key() {
            Ok(key) => (key, Vec::new()),
            Err(error) => (None, vec![error.to_string()]),
        };
        let mut cameras = Vec::new();
        for entry in &kept.document.cameras {
            match entry::camera(entry, key.as_ref()) {
                Ok((camera, problem)) => {
                    problems.extend(problem.map(|problem| {
                        format!("the password of camera {} cannot be used: {problem}", entry.id)
                    }));
                    cameras.push(camera);
                }
                Err(errors) => {
                    let told: Vec<String> =
                        errors.iter().map(|error| format!("{}: {}", error.field, error.detail)).collect();
                    problems.push(format!("camera {} is not recorded: {}", entry.id, told.join("; ")));
                }
            }
        }
        let problem = (!problems.is_empty()).then(|| problems.join("; "));
        Edited { revision: kept.revision.number, document: kept.document, cameras, problem, unread: false }
    }

    fn key(&self) -> Result<Option<Key>, keepwatch_settings::KeyError> {
        Key::find(&self.data, std::env::var_os(CREDENTIALS_VARIABLE).as_deref())
    }

    /// The database, which is opened when it could not be before.
    fn settings(&self) -> Result<Settings, SettingsError> {
        let mut settings: MutexGuard<'_, Option<Settings>> =
            self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(settings) = &*settings {
            return Ok(settings.clone());
        }
        let opened = Settings::open(&self.data)?;
        *settings = Some(opened.clone());
        Ok(opened)
    }
}

/// The entry of a camera that may be changed.
fn find<'e>(
    edited: &'e Edited,
    file: &BTreeSet<CameraId>,
    id: CameraId,
    expected: Option<u64>,
) -> Result<&'e CameraEntry, EditError> {
    if file.contains(&id) {
        return Err(EditError::OfFile(id));
    }
    let entry = edited.usable()?.entry(id).ok_or(EditError::Unknown(id))?;
    match expected {
        Some(expected) if expected != entry.revision => {
            Err(EditError::Stale { id, revision: entry.revision })
        }
        Some(_) | None => Ok(entry),
    }
}
