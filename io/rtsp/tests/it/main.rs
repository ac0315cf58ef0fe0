//! The client against the server, against retina, and against cameras that misbehave.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test code")]

mod fixture;
mod hand;
mod oracle;
mod pair;
mod script;
mod server;
mod sloppy;
mod vault;
