//! What can go wrong with the database of settings, by what an operator can do about it.

use std::path::PathBuf;

use crate::DocumentError;

/// Why settings cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The database is damaged.
    #[error(
        "{}: the settings are damaged: {what}; restore the file from a backup, or move it away and enter them anew",
        path.display()
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A later version made the database.
    #[error(
        "{}: the settings were written by a later version (format {version}); run that version, or restore a backup",
        path.display()
    )]
    Later {
        /// The database.
        path: PathBuf,
        /// The version of its format.
        version: i32,
    },
    /// The document of a revision is not understood.
    #[error("{}: revision {number} of the settings cannot be read: {source}; restore another revision", path.display())]
    Document {
        /// The database.
        path: PathBuf,
        /// The revision.
        number: u64,
        /// Why.
        source: DocumentError,
    },
    /// The document to be written is larger than one that is read.
    #[error("the settings cannot be kept: {0}")]
    TooLarge(DocumentError),
    /// Somebody else wrote a revision meanwhile.
    #[error(
        "the settings were changed meanwhile: revision {newest} is in force; look at it and make the change again"
    )]
    Changed {
        /// The newest revision.
        newest: u64,
    },
    /// The database cannot be read or written.
    #[error("{}: the settings cannot be read or written: {source}", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}
