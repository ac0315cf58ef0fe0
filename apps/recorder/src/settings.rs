//! What is edited in the console: the cameras that join those of the configuration file.
//!
//! A change is read by the rules of the file, written as a revision, and only then applied; a camera that did not change is
//! not touched. Settings that cannot be read are said so and stop nothing else: what was in force stays in force, and at a
//! start the cameras of the file are recorded.

mod book;
mod entry;
mod fields;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::Path;

use keepwatch_model::CameraId;
use keepwatch_settings::{Document, KeyError, SealError, Settings, SettingsError};

pub(crate) use self::book::{Book, Changing, Edited, Step};
pub(crate) use self::entry::{CameraWish, PasswordWish, entry_of_file};
pub use self::fields::FieldError;

use crate::NodeError;

/// Why a change of the settings is refused. Nothing was changed then, unless it says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// Values that the rules forbid.
    #[error("some fields cannot be as they are")]
    Fields(Vec<FieldError>),
    /// The camera stands in the configuration file.
    #[error(
        "camera {0} stands in the configuration file of the node; change it there, and reload with SIGHUP"
    )]
    OfFile(CameraId),
    /// There is a camera of that id already.
    #[error("there is a camera {0} already; choose another id")]
    Taken(CameraId),
    /// There is no such camera.
    #[error("no camera {0} is edited here")]
    Unknown(CameraId),
    /// Somebody else changed the camera since it was looked at.
    #[error(
        "camera {id} was changed meanwhile, by revision {revision}; look at it and make the change again"
    )]
    Stale {
        /// The camera.
        id: CameraId,
        /// The revision that changed it last.
        revision: u64,
    },
    /// There is no such revision.
    #[error("there is no revision {0}; the newest thousand are kept")]
    RevisionUnknown(u64),
    /// The settings cannot be read, so nothing can be written behind them.
    #[error("{0}")]
    Unusable(String),
    /// The database refuses.
    #[error(transparent)]
    Settings(SettingsError),
    /// The key of the passwords cannot be had.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A password cannot be sealed.
    #[error("the password cannot be kept: {0}")]
    Seal(#[from] SealError),
    /// The change is written, and takes effect with the next reload or start only.
    #[error("the change is kept but not in force: {0}; reload the node")]
    NotInForce(NodeError),
    /// The work ended badly; the log says more.
    #[error("the change was interrupted; look whether it is in force")]
    Interrupted,
}

impl From<SettingsError> for EditError {
    fn from(error: SettingsError) -> Self {
        Self::Settings(error)
    }
}

/// The ids of `document` that stand in `file`, too.
pub(crate) fn twice(document: &Document, file: &BTreeSet<CameraId>) -> Vec<CameraId> {
    document.cameras.iter().map(|camera| camera.id).filter(|id| file.contains(id)).collect()
}

/// The ids of the cameras that are edited in the console of a node with the data directory `data`, which may run. Blocks.
///
/// # Errors
/// When they cannot be read; what cannot be read stops no node.
pub fn edited_cameras(data: &Path) -> Result<Vec<CameraId>, SettingsError> {
    let kept = Settings::look(data)?;
    Ok(kept.map(|kept| kept.document.cameras.iter().map(|camera| camera.id).collect()).unwrap_or_default())
}
