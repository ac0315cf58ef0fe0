//! The decisions of recording, without a socket, a file or a clock.
//!
//! - [`session`]: when a camera is connected, given up and tried again.
//! - [`alarm`]: when a camera that is recorded on alarm is recorded.
//! - [`timeline`]: which UTC label and which camera time a picture gets.
//! - [`notices`]: which of the things that a camera notices are told.
//! - [`offset`]: when a camera's clock is so far off that an operator must hear of it.
//! - [`pace`]: how long a frame lasts, and what is a pause.
//! - [`cadence`]: the same for a session that has only begun.
//! - [`slicer`]: where one record ends and the next begins.
//! - [`ledger`]: what is known of every second of a camera.
//! - [`lineup`]: in which order footage is replayed, and where it is marked to end.
//! - [`fetch`]: how one range of footage is fetched from another recorder, each frame once.
//! - [`failover`]: when a standby records in the place of another recorder.
//! - [`edge`]: when what was recorded on local storage leaves for the external storage.
//! - [`peer`]: what nodes say to each other.
//! - [`plan`]: what a site needs: lines, switches, disks, memory.
//! - [`schedule`]: when a camera is to be recorded at all.
//! - [`watermark`]: which footage is on disk, as a standby compares it with its own.
//!
//! Media does not pass through: these are told *that* a picture came, never the picture.

pub mod alarm;
pub mod cadence;
pub mod edge;
pub mod failover;
pub mod fetch;
pub mod ledger;
pub mod lineup;
pub mod notices;
pub mod offset;
pub mod pace;
pub mod peer;
pub mod plan;
pub mod replenish;
pub mod schedule;
pub mod session;
pub mod slicer;
pub mod timeline;
pub mod watermark;
