//! Media formats and the protocols that carry them: bytes in, bytes out.
//!
//! Framing and messages of RTSP ([`text`], [`rtsp`], [`auth`], [`sdp`], [`replay`]), media transport ([`rtp`],
//! [`rtcp`], [`depacketize`], [`packetize`]), H.264 and H.265 ([`nal`]), G.711, FLAC and MP4. No socket, no clock, no
//! chance: time, nonces and identifiers come in as arguments. Every input is untrusted: parsers are bounded, never
//! panic, and are as lenient as real cameras require; what they put up with is said where they do it.
#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

pub mod aac;
pub mod auth;
mod bits;
pub mod depacketize;
pub mod fingerprint;
pub mod flac;
pub mod g711;
pub mod h264;
pub mod h265;
pub mod jpeg;
pub mod mp4;
pub mod nal;
pub mod packetize;
#[cfg(test)]
mod quirks;
pub mod replay;
pub mod rtcp;
pub mod rtp;
pub mod rtsp;
pub mod sdp;
pub mod text;
