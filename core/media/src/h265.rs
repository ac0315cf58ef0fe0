//! H.265 (ITU-T H.265, ISO/IEC 14496-15 §8): NAL units, parameter sets, decoder configuration.
//!
//! Reads only what recording and exporting need; slices are never decoded. Only the base layer is looked at: units of
//! other layers are kept and mean nothing. Samples are as those of H.264: NAL units with 4-byte lengths.

mod hvcc;
mod sps;
#[cfg(test)]
pub(crate) mod tests;
mod unit;

pub use crate::nal::{DecoderConfigError, SpsError};
pub use hvcc::DecoderConfig;
pub use sps::{ProfileTierLevel, Sps, pps_id, vps_id};
pub use unit::{HEADER_BYTES, UnitKind, is_key_frame};
