//! One camera: its sessions with the device, its way to the disk, and what is known of it.

mod alarm;
#[cfg(test)]
mod bench;
mod books;
mod choice;
mod connect;
mod context;
mod gather;
mod glance;
mod guest;
mod hold;
mod ingest;
mod listen;
mod locate;
mod notice;
#[cfg(test)]
mod onvif_tests;
mod probe;
mod run;
mod sent;
mod snapshot;
mod state;
mod stream;
mod task;

pub use alarm::{Alarm, AlarmView, RaiseError};
pub use books::LedgerGuard;
pub(crate) use choice::{Choice, Wanted, codec_name};
pub(crate) use context::Context;
pub(crate) use gather::Ending;
pub(crate) use glance::KeyPicture;
pub(crate) use guest::GuestOf;
pub use listen::Listening;
pub(crate) use probe::{Probed, ProbedStream, probe, receives};
pub(crate) use run::{CameraTask, Outputs};
pub use state::CameraState;
pub(crate) use state::Registry;
pub use stream::{Connection, Counters, Learned, StreamState};
