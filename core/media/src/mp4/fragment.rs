//! Fragmented MP4 (ISO/IEC 14496-12 §8.8) for players that are fed as it comes: Media Source Extensions.
//!
//! An [`InitSegment`] tells what the tracks are and is sent once; [`write_segment`] makes `moof mdat` of samples as
//! they are stored. All tracks count 90 kHz ticks from a base that the caller chooses, so a sample is presented at its
//! label less the base, exactly, and no player needs an offset. Decode times, which cameras do not send, are made by
//! [`DecodeTimes`]. G.711 is delivered as FLAC, as in exports; [`silence()`] keeps sound from ending before its pictures.
//! Which samples go into a segment is the caller's business.

mod decode;
mod init;
mod segment;
mod silence;
#[cfg(test)]
mod tests;

pub use decode::{DecodeTimes, Placed, REORDER_FRAMES_MAX, declared_depth, reorder_depth};
pub use init::{InitSegment, codec_name};
pub use segment::{FragmentSample, TrackRun, write_segment};
pub use silence::silence;

/// Ticks per second of every track: those of labels.
pub const TIMESCALE: u32 = 90_000;
