//! H.265 in a description (RFC 7798 §7.1).

use keepwatch_model::{CodecKind, TrackConfig};

use super::parameters::Parameters;
use super::{UnsupportedReason, VIDEO_CLOCK_RATE};
use crate::h265::{DecoderConfig, UnitKind};
use crate::nal::annex_b_units;

/// The parameters that hold parameter sets. What each set is, it says itself: cameras mix them up, and some put all of
/// them into the one parameter that H.264 has.
const SETS: [&str; 4] = ["sprop-vps", "sprop-sps", "sprop-pps", "sprop-parameter-sets"];

/// The track. Its configuration is empty when a set is missing or unusable.
pub(super) fn track(parameters: Parameters<'_>) -> Result<TrackConfig, UnsupportedReason> {
    // Units then come in another order than they are decoded, behind decoding order numbers (§4.4).
    if parameters.number("sprop-max-don-diff").is_some_and(|difference| difference > 0) {
        return Err(UnsupportedReason::Interleaved);
    }
    let decoded: Vec<Vec<u8>> = SETS.iter().flat_map(|name| parameters.binary(name)).collect();
    let mut sets = DecoderConfig::default();
    for unit in decoded.iter().flat_map(|bytes| annex_b_units(bytes)) {
        let held = match UnitKind::of(unit) {
            Some(UnitKind::Vps) => &mut sets.vps,
            Some(UnitKind::Sps) => &mut sets.sps,
            Some(UnitKind::Pps) => &mut sets.pps,
            _ => continue,
        };
        if !held.contains(&unit) {
            held.push(unit);
        }
    }
    let config = sets.build().unwrap_or_default();
    Ok(TrackConfig { kind: CodecKind::H265, clock_rate: VIDEO_CLOCK_RATE, channels: 0, config })
}
