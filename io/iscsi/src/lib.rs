//! A LUN of an iSCSI target as a place to write.
//!
//! One thread per LUN drives a session of libiscsi; callers leave requests and wait for their answers. Many commands are
//! under way at a time. A connection that is lost is made anew, what was under way is sent again, and all of it is bounded
//! in time: what cannot be done is an error. What a flush means across a lost connection is said at [`Lun::flush`]. Another
//! writer is kept away by a persistent reservation, see [`Lun::reserve`].
//!
//! Without the feature `libiscsi` nothing is linked and [`Lun::open`] says that the program was built without it. What the
//! bytes on a LUN mean, and what follows from an error, is decided elsewhere.

mod address;
mod error;
mod options;

#[cfg(feature = "libiscsi")]
mod control;
#[cfg(feature = "libiscsi")]
mod ffi;
#[cfg(feature = "libiscsi")]
mod job;
#[cfg(feature = "libiscsi")]
mod lun;
#[cfg(feature = "libiscsi")]
mod reservation;
#[cfg(feature = "libiscsi")]
mod scsi;
#[cfg(feature = "libiscsi")]
mod session;
#[cfg(feature = "libiscsi")]
mod worker;

#[cfg(not(feature = "libiscsi"))]
mod absent;

#[cfg(not(feature = "libiscsi"))]
pub use absent::Lun;
pub use address::{Address, AddressError};
pub use error::LunError;
#[cfg(feature = "libiscsi")]
pub use lun::Lun;
pub use options::{Login, Options, Owner, Preempt, Reserved, Secret, Write};
