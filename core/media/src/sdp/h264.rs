//! H.264 in a description (RFC 6184 §8.1).

use keepwatch_model::{CodecKind, TrackConfig};

use super::parameters::Parameters;
use super::{UnsupportedReason, VIDEO_CLOCK_RATE};
use crate::h264::{DecoderConfig, UnitKind, annex_b_units};

/// The track. Its configuration is empty when the sets are missing or unusable, for they mostly come in the stream,
/// too.
///
/// Trailing commas, broken base64, start codes within (GW Security) and other units among the sets are passed over.
pub(super) fn track(parameters: Parameters<'_>) -> Result<TrackConfig, UnsupportedReason> {
    if parameters.value("packetization-mode") == Some("2") {
        return Err(UnsupportedReason::Interleaved);
    }
    let decoded = parameters.binary("sprop-parameter-sets");
    let mut sets = DecoderConfig::default();
    for unit in decoded.iter().flat_map(|bytes| annex_b_units(bytes)) {
        match UnitKind::of(unit) {
            Some(UnitKind::Sps) => sets.sps.push(unit),
            Some(UnitKind::Pps) => sets.pps.push(unit),
            _ => {}
        }
    }
    let config = sets.build().unwrap_or_default();
    Ok(TrackConfig { kind: CodecKind::H264, clock_rate: VIDEO_CLOCK_RATE, channels: 0, config })
}
