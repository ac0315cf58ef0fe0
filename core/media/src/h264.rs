//! H.264 (ITU-T H.264, ISO/IEC 14496-15 §5): NAL units, parameter sets, decoder configuration, SEI.
//!
//! Reads only what recording and exporting need; slices are never decoded. A sample everywhere in the product is an
//! access unit of NAL units with 4-byte lengths.

mod avcc;
mod sei;
mod sps;
#[cfg(test)]
mod tests;
mod unit;

pub use crate::nal::{
    DecoderConfigError, LENGTH_BYTES, SpsError, TruncatedUnit, annex_b_units, length_prefixed, units,
    write_unit,
};
pub use avcc::DecoderConfig;
pub(crate) use sei::is_clean_recovery_point;
pub use sei::{UserData, find_user_data, user_data, write_user_data};
pub use sps::{Sps, Timing, pps_id};
pub use unit::{UnitKind, is_key_frame};
