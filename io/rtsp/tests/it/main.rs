//! The client against the server, against retina, and against cameras that misbehave.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test code")]

mod datagrams;
mod fixture;
mod hand;
mod oracle;
mod pair;
mod playback;
mod script;
mod secure;
mod server;
mod sloppy;
mod vault;
