//! The client against scripted devices on loopback, and scans against scripted answers.

#![expect(clippy::unwrap_used, reason = "test code")]

mod calls;
mod discovery;
mod events;
mod hostile;
mod login;
mod recordings;
mod script;
mod tls;
