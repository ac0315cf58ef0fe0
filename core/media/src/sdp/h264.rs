//! `sprop-parameter-sets` of a description (RFC 6184 §8.2.1) into a decoder configuration.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::h264::{DecoderConfig, UnitKind, annex_b_units};

/// Cameras leave out padding and leave bits behind it.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The configuration; empty when the sets are missing or unusable, for they mostly come in the stream, too.
///
/// Trailing commas, broken base64, start codes within (GW Security) and other units among the sets are passed over.
pub(super) fn config(sprop: &str) -> Vec<u8> {
    let decoded: Vec<Vec<u8>> = sprop
        .split(',')
        .map(|text| text.chars().filter(|c| !c.is_whitespace()).collect::<String>())
        .filter_map(|text| LENIENT.decode(text).ok())
        .collect();
    let mut sets = DecoderConfig::default();
    for unit in decoded.iter().flat_map(|bytes| annex_b_units(bytes)) {
        match UnitKind::of(unit) {
            Some(UnitKind::Sps) => sets.sps.push(unit),
            Some(UnitKind::Pps) => sets.pps.push(unit),
            _ => {}
        }
    }
    sets.build().unwrap_or_default()
}
