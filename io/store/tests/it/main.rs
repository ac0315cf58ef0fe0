//! The store as its callers see it, on real files.

#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::print_stderr,
    reason = "test code"
)]

mod append;
mod backfill;
mod disks;
mod event_log;
mod golden;
mod hold;
mod keeps;
#[cfg(feature = "iscsi")]
mod lun;
mod measure;
mod places;
mod recording;
mod retention;
mod shown;
mod site;
mod tail;
#[cfg(feature = "iscsi")]
#[path = "../../../iscsi/tests/it/target.rs"]
mod target;
mod verifying;
mod write_rate;
