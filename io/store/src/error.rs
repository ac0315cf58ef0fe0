//! What can go wrong, as a caller can act on it.

use std::io;
use std::path::PathBuf;

use keepwatch_model::{CameraId, GapReason, RoleId, Span};

/// Why a store could not be opened, asked or verified.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The container belongs to another recorder and waits for a confirmation.
    #[error(
        "{}: holds footage of recorder {owner}; set take_over = true if it may be overwritten, or use another disk",
        path.display()
    )]
    ForeignDisk {
        /// The configured path.
        path: PathBuf,
        /// The recorder it belongs to.
        owner: RoleId,
    },
    /// No configured disk can be used and none was ever in use.
    #[error("no disk can be used: {}: {why}", path.display())]
    NoDisk {
        /// The first configured path.
        path: PathBuf,
        /// Why it cannot be used.
        why: String,
    },
    /// A camera has as many protections as there may be.
    #[error(
        "{camera} has {} protections, and there may be no more; lift some, or protect longer spans",
        crate::PROTECTIONS_MAX
    )]
    ProtectionsFull {
        /// Which.
        camera: CameraId,
    },
    /// Another process writes this store.
    #[error("{}: is in use by another process", path.display())]
    InUse {
        /// The locked file.
        path: PathBuf,
    },
    /// The file system has no room for the container.
    #[error("{}: a container of {needed_bytes} bytes does not fit, {available_bytes} bytes are free", path.display())]
    NoRoom {
        /// The configured path.
        path: PathBuf,
        /// Bytes the container needs.
        needed_bytes: u64,
        /// Bytes that are free.
        available_bytes: u64,
    },
    /// The configured sizes cannot make a container.
    #[error("{}: {why}", path.display())]
    Geometry {
        /// The configured path.
        path: PathBuf,
        /// What does not fit.
        why: String,
    },
    /// The container cannot be used by this version.
    #[error("{}: {source}", path.display())]
    Format {
        /// The configured path.
        path: PathBuf,
        /// What is not understood.
        source: FormatError,
    },
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The database refused.
    #[error("index: {0}")]
    Index(#[from] rusqlite::Error),
    /// A later version made the index. Its protections must not be lost, so it is left alone.
    #[error("{}: was made by a later version (format {version}); use that version", path.display())]
    LaterIndex {
        /// The index.
        path: PathBuf,
        /// Its format.
        version: i32,
    },
    /// The store was opened for reading.
    #[error("the store is open for reading only")]
    ReadOnly,
    /// A configuration names the same disk twice.
    #[error("{}: is the same disk as {}", path.display(), other.display())]
    SameDisk {
        /// The second path.
        path: PathBuf,
        /// The first path.
        other: PathBuf,
    },
}

impl StoreError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

/// Why bytes on a disk are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The magic number is another.
    #[error("not a {0}")]
    Magic(&'static str),
    /// A checksum does not match.
    #[error("checksum of {0} does not match")]
    Checksum(&'static str),
    /// The bytes end early.
    #[error("{0} is cut short")]
    Short(&'static str),
    /// A field holds what it cannot.
    #[error("field {0} is out of range")]
    Field(&'static str),
    /// A later version wrote it in a way this one cannot read.
    #[error("made by a later version: features {0:#x} are not known")]
    Features(u64),
    /// The record does not follow the one before it.
    #[error("does not follow the record before it")]
    Chain,
}

/// Why a sample was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// The disks do not keep up or are gone: drop the sample and the rest of its group of pictures.
    #[error("{}", .0.sentence())]
    Backlog(GapReason),
    /// The open record cannot take it: commit, then push again. After a commit it means that the sample alone is
    /// too large.
    #[error("the open record cannot take the sample")]
    RecordFull,
}

/// Why a record was not queued; its samples are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// No disk takes it.
    #[error("{}", .0.sentence())]
    NoDisk(GapReason),
    /// The record holds no sample.
    #[error("the record is empty")]
    Empty,
    /// The description does not fit the samples: a track without configuration, a configuration that is too
    /// long, or a label span of more than an hour.
    #[error("the description does not fit the samples")]
    Meta,
    /// The store is closed or open for reading only.
    #[error("the store is closed")]
    Closed,
}

/// Why a record was not appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The buffer is full: wait for what was appended, and try again.
    #[error("{}", .0.sentence())]
    Backlog(GapReason),
    /// No disk takes it.
    #[error("{}", .0.sentence())]
    NoDisk(GapReason),
    /// It is too large for the disks, or longer than a record may be.
    #[error("the disks have no place for a record of this size")]
    Unfit,
    /// The store is closed or open for reading only.
    #[error("the store is closed")]
    Closed,
}

/// Why a record could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It has been overwritten since it was found.
    #[error("the record has been overwritten")]
    Overwritten,
    /// Its disk is not there.
    #[error("its disk is not there")]
    DiskGone,
    /// It is damaged.
    #[error("{camera} {span:?}: {source}")]
    Damaged {
        /// Whose footage.
        camera: CameraId,
        /// Which labels.
        span: Span,
        /// What does not match.
        source: FormatError,
    },
    /// The disk refused.
    #[error("disk: {0}")]
    Io(#[from] io::Error),
}
