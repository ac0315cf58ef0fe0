//! RTSP (RFC 2326): a client for cameras and a server for viewers, recorders and virtual cameras.
//!
//! Sockets and timers only: messages, SDP, RTP and RTCP are read and written by `keepwatch-media`, and what a
//! lost or silent camera means is decided by the caller. RTP travels interleaved in the RTSP connection
//! (RFC 2326 §10.12), which may be encrypted, or in datagrams.

pub mod client;
pub mod server;

mod chance;
mod scratch;
mod secret;
mod socket;

pub use secret::Secret;
