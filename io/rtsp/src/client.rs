//! The client: opens a session with a camera and hands its packets over.
//!
//! Two phases. [`connect`] and [`Described::play`] talk RTSP at leisure; then [`Session::run`] reads media at the
//! least possible cost. Lenient wherever cameras are known to be sloppy, bounded everywhere. Nothing is retried
//! and no silence is judged: that is the recorder's business. RTSP over TLS, UDP and replay join as a
//! [`Transport`] and as headers in [`PlayOptions`], not as another path.

mod config;
mod connection;
mod described;
mod dial;
mod dialogue;
mod error;
mod interval;
mod keepalive;
mod session;

pub use config::{ClientConfig, Transport};
pub use described::{Described, PlayOptions, connect};
pub use error::{ClientError, Step};
pub use interval::ReadInterval;
pub use keepwatch_media::sdp::{MediaTrack, Presentation};
pub use session::{Counters, EndReason, Session, SessionEnd, SessionTrack};
