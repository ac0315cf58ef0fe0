//! AAC in a description (RFC 3640 §4.1).

use keepwatch_model::{CodecKind, TrackConfig};

use super::parameters::Parameters;
use super::{UnsupportedReason, excerpt};
use crate::aac::AacConfig;

/// The sampling rate where nothing in the description says one.
const RATE_HZ_DEFAULT: u32 = 16_000;

/// Lengths in bits of the size of an access unit that the two modes of AAC have (§3.3.5, §3.3.6).
const SIZE_LENGTHS: [u32; 2] = [6, 13];

/// The track. A configuration that is missing or malformed is made of the clock rate and the channels: cameras that err
/// in it send AAC-LC.
pub(super) fn track(
    clock_rate: u32,
    channels: Option<u32>,
    parameters: Parameters<'_>,
) -> Result<TrackConfig, UnsupportedReason> {
    let mode = parameters.value("mode").unwrap_or("AAC-hbr");
    let known = ["AAC-hbr", "AAC-lbr", "generic"].iter().any(|known| known.eq_ignore_ascii_case(mode));
    let size_length = parameters.number("sizeLength");
    if !known || size_length.is_some_and(|bits| !SIZE_LENGTHS.contains(&bits)) {
        return Err(UnsupportedReason::AacMode(excerpt(mode)));
    }
    if parameters.number("maxDisplacement").is_some_and(|distance| distance > 0) {
        return Err(UnsupportedReason::Interleaved);
    }
    let told = channels.unwrap_or(1);
    let described = parameters.value("config").and_then(hexadecimal);
    let described = described.filter(|config| AacConfig::parse(config).is_ok());
    let rate_hz = if clock_rate == 0 { RATE_HZ_DEFAULT } else { clock_rate };
    let made = || AacConfig::low_complexity(rate_hz, u8::try_from(told).ok()?);
    let config = described.or_else(made).ok_or(UnsupportedReason::Channels(told))?;
    let read = AacConfig::parse(&config).map_err(|_| UnsupportedReason::Channels(told))?;
    let channels = if read.channels > 0 { read.channels } else { u8::try_from(told).unwrap_or(u8::MAX) };
    let clock_rate = if clock_rate == 0 { read.rate_hz } else { clock_rate };
    Ok(TrackConfig { kind: CodecKind::Aac, clock_rate, channels, config })
}

/// The bytes of a hexadecimal number; `None` when it is none.
fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    Some(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}
