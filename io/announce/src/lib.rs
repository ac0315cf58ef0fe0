//! Recorders find each other without a word of configuration: DNS-SD (RFC 6763) over multicast DNS (RFC 6762).
//!
//! A recorder answers who asks for `_keepwatch._tcp.local` ([`Announcement`]); whoever looks for recorders asks by every
//! interface and takes from the answers nothing but addresses ([`browse()`]): anybody in the network can send them, so who is
//! behind an address is asked there, over a connection that proves it. Names need no probing (RFC 6762 §8.1), as each holds
//! digits of the node's key. Nothing is kept between two questions.

mod announcement;
mod browse;
mod interfaces;
mod message;

pub use announcement::{Announcement, Service};
pub use browse::{BrowseOptions, browse};
pub use message::{Message, MessageError, Name, Question, Record, RecordData};

/// The port of multicast DNS (RFC 6762 §2).
pub const PORT: u16 = 5353;

/// What recorders are looked for by (RFC 6763 §4.1).
pub const SERVICE: [&str; 3] = ["_keepwatch", "_tcp", "local"];
