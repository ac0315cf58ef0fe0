//! WS-Discovery (2005/04) as ONVIF uses it: finding devices, and what a device says to be found.
//!
//! Messages are pure; sockets are in [`scan()`]. Anybody in the network can answer a probe, so an answer must name the probe
//! it answers, and answers are bounded in length, in number, and for each sender. What is found is a claim, not a camera.

mod collection;
mod found;
pub(crate) mod interfaces;
mod message;
mod range;
mod scan;
mod tally;

pub use found::Found;
pub use message::{
    Content, GROUP_IPV4, GROUP_IPV6, Message, MessageError, PORT, Probe, ScopeRule, Sequence, Target,
};
pub use range::{AddressRange, RangeError};
pub use scan::{Findings, ScanError, ScanOptions, ScanProgress, Unreachable, scan};
pub use tally::Counts;
