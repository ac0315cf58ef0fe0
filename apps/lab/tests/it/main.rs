//! Virtual cameras as a recorder sees them: over RTSP, with every fault that they can have.
#![expect(clippy::unwrap_used, reason = "test code")]

mod card;
mod codecs;
mod faults;
mod site;
mod transport;
mod viewer;
