//! The recorder role: cameras into the store, coverage and export out of it.
//!
//! Composes the machines of `core/recording` with the effects of `io/rtsp` and `io/store`. A [`Node`] is one running
//! recorder; [`api`] shows it over HTTP.

pub mod api;
mod bookkeeper;
mod camera;
mod certificate;
mod clock;
pub mod config;
mod events;
pub mod evidence;
pub mod export;
pub mod fetch;
mod footage;
mod given_up;
pub mod guests;
mod jobs;
mod node;
pub mod peers;
mod picture;
mod replenish;
mod rows;
pub mod scan;
pub mod searches;
mod serve;
pub mod settings;
mod watch;

pub use bookkeeper::disk_sentence;
pub use camera::{
    Alarm, AlarmView, CameraState, Connection, Counters, Learned, LedgerGuard, Listening, RaiseError,
    StreamState,
};
pub use clock::Clock;
pub use node::{Applied, Node, NodeError};
pub use replenish::{
    CardLimits, EndedJob, ReplenishSettings, Replenishing, RunningJob, SourceStanding, StreamStanding,
    decode_untrusted_records, head,
};
pub use serve::Serving;
