//! The client of a camera: its clock, what it offers, its streams, its notifications, its recordings.
//!
//! A [`Device`] is an address and a login, with what the device said at the beginning. Every call is one exchange over
//! HTTP with a time limit and a bound on the answer; nothing goes on between calls. All requests go to the host that was
//! configured, whatever addresses the device hands out: these are often wrong (another network, a container, link-local),
//! and a device must not be able to send our login elsewhere.

mod call;
mod device;
mod error;
mod events;
mod http;
mod login;
mod media;
mod picture;
mod place;
mod recordings;
mod sections;
mod tls;

pub use device::{Device, Information, Options, Service};
pub use error::ClientError;
pub use events::{Batch, Subscription};
pub use http::BODY_BYTES_MAX;
pub use media::{Profile, StreamTransport, VideoCodec, VideoEncoder};
pub use picture::fetch_picture;
pub use recordings::{Recording, Track, TrackType};
pub use sections::TrackSections;
