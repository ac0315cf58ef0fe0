//! What is kept beside the configuration file. What a standby keeps is in [`standby`].
//!
//! What is edited in the console rather than in the configuration file: numbered revisions of one document, in
//! `config.db`, with the passwords in it sealed.
//!
//! It keeps texts and does not know what they mean: whether an address is one, or a camera's id is free, is decided by who
//! reads the document. A revision is written whole or not at all, and is on disk before [`Settings::write`] returns. A
//! database that is damaged or of a later version is an error and stays as it is.

mod database;
mod document;
mod error;
mod key;
mod opening;
mod sealed;
mod sealed_document;
pub mod standby;

pub use database::{DATABASE_FILE, Kept, REVISIONS_MAX, Revision, Settings};
pub use document::{CAMERAS_MAX, CameraEntry, DOCUMENT_BYTES_MAX, Document, DocumentError};
pub use error::SettingsError;
pub use key::{CREDENTIAL_NAME, KEY_FILE, Key, KeyError};
pub use sealed::{SealError, Sealed};
pub use sealed_document::SealedDocument;
