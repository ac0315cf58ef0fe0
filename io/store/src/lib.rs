//! The store: footage on disks, durable per group of pictures, and its index.
//!
//! One container per disk, in it extents of one stream each, in them records. A thread per disk writes all that is
//! queued, flushes once, and tells what is durable. SQLite finds footage by camera and time and can be made anew from
//! the disks. What a stream holds, what is missing and why is decided elsewhere; this crate keeps it.
//! `docs/design/store.md` has the format, the order of writes and the reasons.

mod append;
mod chunk;
mod config;
mod crash;
mod device;
mod disk;
mod error;
mod event_log;
mod format;
mod hold;
mod index;
mod keeps;
mod read;
mod shared;
mod shown;
mod store;
mod tail;
mod types;
mod verify;
mod volume;
mod writer;

pub use config::{BUFFER_BYTES_MAX_DEFAULT, DiskConfig, DiskLogin, DiskRole, StoreConfig};
pub use crash::{CrashReport, crash_images};
pub use device::{
    BlockDev, DeviceOp, Fault, FaultDev, FaultSwitch, MemoryDev, RecordingDev, is_lun, lun_address_fault,
    lun_fault,
};
pub use disk::WrapDevice;
pub use error::{AppendError, CommitError, FormatError, PushError, ReadError, StoreError};
pub use event_log::{EventCursor, EventLog, EventPage, EventQuery, events_of};
pub use format::decode_untrusted;
pub use hold::{HOLD_BYTES_MAX_DEFAULT, Hold, HoldLimits, HoldView, Release};
pub use index::PROTECTIONS_MAX;
pub use keepwatch_iscsi::{Login, Secret, Write};
pub use read::Record;
pub use store::{HeldSpan, Store};
pub use tail::TailView;
pub use types::{
    CameraTime, Commit, DiskChange, DiskEvent, DiskId, DiskState, DiskStatus, GapBefore, GaveUp, Lane,
    LedgerRow, Loss, PlaceStatus, Protection, ProtectionId, ROW_TICKS_MAX, Reclaim, RecordIndex, RecordInfo,
    RecordMeta, RecordRef, RecordTrack, Recovery, RunId, RunRow, Sample, Shown, Silent, StoreEvents,
    TRACKS_MAX, TimeQuality, WriteRate,
};
pub use verify::{Progress, VerifyFault, VerifyOptions, VerifyReport, verify};
pub use writer::{Committed, OpenSample, SAMPLES_MAX, StreamWriter};
