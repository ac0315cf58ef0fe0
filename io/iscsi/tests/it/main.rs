//! A LUN of Debian's tgt, and targets that are none.
#![cfg(feature = "libiscsi")]
#![expect(clippy::unwrap_used, reason = "test code")]

mod garbage;
mod loss;
mod lun;
mod reservation;
mod target;
