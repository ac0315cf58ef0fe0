//! ONVIF over SOAP and WS-Discovery: bounded XML, envelopes, logins and times.
//!
//! A crate of its own because SOAP over HTTP shares nothing with RTSP but the login, which is in `core/media`. It
//! decides nothing about recording: it says what a device offers and reports. Everything that a device sends is bounded
//! in bytes, depth and number. See `docs/design/onvif.md`.

#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

pub mod client;
pub mod device;
pub mod discovery;
pub mod lexical;
pub mod metadata;
pub mod namespace;
pub mod notification;
pub mod security;
pub mod soap;
mod uuid;
pub mod xml;
