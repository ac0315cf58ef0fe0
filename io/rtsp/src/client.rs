//! The client: opens a session with a camera and hands its packets over.
//!
//! Two phases. [`connect`] and [`Described::play`], or [`Described::replay`], talk RTSP at leisure; then
//! [`Session::run`] reads media at the least possible cost. Live and recorded footage, over TCP, TLS or UDP, come
//! the same way to the same [`PacketHandler`](keepwatch_model::PacketHandler). Lenient wherever cameras are known to
//! be sloppy, bounded everywhere. Nothing is retried and no silence is judged: that is the recorder's business.

mod config;
mod connection;
mod described;
mod dial;
mod dialogue;
mod error;
mod interval;
mod keepalive;
mod link;
mod orders;
mod outcome;
mod remote;
mod session;
mod setup;
mod throttle;
mod udp;

pub use config::{ClientConfig, Transport};
pub use described::{Described, PlayOptions, connect};
pub use error::{ClientError, Step};
pub use interval::ReadInterval;
pub use keepwatch_media::sdp::{MediaTrack, Presentation};
pub use outcome::{Counters, EndReason, Played, SessionEnd, SessionTrack, TrackStart};
pub use remote::Remote;
pub use session::Session;
