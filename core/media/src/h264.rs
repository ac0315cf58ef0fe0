//! H.264 (ITU-T H.264, ISO/IEC 14496-15 §5): NAL units, parameter sets, decoder configuration, SEI.
//!
//! Reads only what recording and exporting need; slices are never decoded. A sample everywhere in the product is an
//! access unit of NAL units with 4-byte lengths.

mod avcc;
mod bits;
mod sei;
mod sps;
#[cfg(test)]
mod tests;
mod unit;

pub use avcc::{AvccError, DecoderConfig};
pub(crate) use sei::is_clean_recovery_point;
pub use sei::{UserData, find_user_data, user_data, write_user_data};
pub use sps::{Sps, SpsError, Timing, pps_id};
pub(crate) use unit::find_start_code;
pub use unit::{
    LENGTH_BYTES, TruncatedUnit, UnitKind, annex_b_units, is_key_frame, length_prefixed, units, write_unit,
};
