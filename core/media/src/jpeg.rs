//! JPEG as motion JPEG needs it (ITU-T T.81): the headers that RTP leaves out (RFC 2435), written and read.
//!
//! Nothing is decoded. Only what one scan of a baseline picture needs is known; tables are those of T.81 Annex K, from
//! which RFC 2435 derives all of its own.

mod file;
mod header;
mod tables;

pub use file::{FileError, JpegFile, Segment, segments, size};
pub(crate) use header::{
    APP0, DHT, DQT, DRI, EOI, SOI, SOS, Subsampling, write_frame, write_huffman, write_jfif,
    write_quantization, write_restart_interval, write_scan,
};
pub(crate) use tables::{STANDARD_HUFFMAN, quantization_tables};
