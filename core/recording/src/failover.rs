//! When a standby records in the place of another recorder, and when it stops.
//!
//! One [`Standby`] watches many primaries. It asks each for a sign of life and for what of every camera is on disk, and decides
//! what its shell records: nothing, single cameras that a living primary does not record, or all of a primary that failed.
//! Recording twice is harmless, recording not at all is not: no lost peer, lease or majority stops a cover, and only the
//! primary's footage being durable, or an operator, ends one.
//!
//! Footage does not pass through. What is missing afterwards is fetched by the recorder that misses it; this decides who
//! records now.

mod action;
mod claim;
mod command;
mod cover;
mod event;
mod machine;
mod setup;
mod standby;
mod view;
mod watch;

pub use action::{Action, Ended, Told};
pub use cover::{Cause, Claim};
pub use event::{CameraReport, Command, Event, Missed, Recorded, Refusal, Report};
pub use setup::{Capacity, Demand, Mode, Registration, Setup, SetupError, Version};
pub use standby::Standby;
pub use view::{CoverView, PrimaryView};
pub use watch::Health;
pub(crate) use watch::STILL_MAX;

#[cfg(test)]
mod tests;
