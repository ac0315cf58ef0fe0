//! AAC: the `AudioSpecificConfig` (ISO/IEC 14496-3 §1.6.2.1), as far as time and channels depend on it.
//!
//! Access units are not looked into.

/// Sampling rates by their index (ISO/IEC 14496-3 table 1.18).
const RATES_HZ: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// The index that says that the rate follows.
const RATE_FOLLOWS: u32 = 15;

/// Audio object types (table 1.17).
const LOW_COMPLEXITY: u32 = 2;
const SPECTRAL_BAND_REPLICATION: u32 = 5;
const PARAMETRIC_STEREO: u32 = 29;
const LOW_DELAY: u32 = 23;
const ENHANCED_LOW_DELAY: u32 = 39;

/// Why a configuration cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AacConfigError {
    /// It ends too early.
    #[error("AAC configuration is cut off")]
    Short,
    /// Its sampling rate is reserved or 0.
    #[error("AAC configuration has no usable sampling rate")]
    Rate,
    /// Its number of channels is reserved.
    #[error("AAC configuration has channel configuration {0}")]
    Channels(u32),
    /// Its audio object type is none of AAC.
    #[error("audio object type {0} is not AAC")]
    Object(u32),
}

/// What an `AudioSpecificConfig` says of time and channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AacConfig {
    /// The audio object type of the core: 2 is AAC-LC.
    pub object_type: u32,
    /// Samples per second of the core coder; spectral band replication doubles it at the decoder's output.
    pub rate_hz: u32,
    /// Channels; 0 when a program configuration element tells them.
    pub channels: u8,
    /// Samples of the core coder in an access unit.
    pub unit_samples: u32,
}

impl AacConfig {
    /// Reads a configuration. What follows the length of a frame is not read.
    pub fn parse(config: &[u8]) -> Result<Self, AacConfigError> {
        let short = AacConfigError::Short;
        let mut bits = Bits { bytes: config, at: 0 };
        let mut object_type = object(&mut bits).ok_or(short)?;
        let rate_hz = rate(&mut bits)?;
        let channels = match bits.take(4).ok_or(short)? {
            7 => 8,
            other @ 0..=6 => u8::try_from(other).unwrap_or(0),
            other => return Err(AacConfigError::Channels(other)),
        };
        if matches!(object_type, SPECTRAL_BAND_REPLICATION | PARAMETRIC_STEREO) {
            rate(&mut bits)?;
            object_type = object(&mut bits).ok_or(short)?;
        }
        if !matches!(object_type, 1..=4 | 6 | 17 | 19 | 20 | LOW_DELAY | ENHANCED_LOW_DELAY) {
            return Err(AacConfigError::Object(object_type));
        }
        // frameLengthFlag is the first bit of what follows (§4.4.1, §4.6.20).
        let shortened = bits.take(1).ok_or(short)? == 1;
        let unit_samples = match (object_type, shortened) {
            (LOW_DELAY | ENHANCED_LOW_DELAY, false) => 512,
            (LOW_DELAY | ENHANCED_LOW_DELAY, true) => 480,
            (_, false) => 1024,
            (_, true) => 960,
        };
        Ok(Self { object_type, rate_hz, channels, unit_samples })
    }

    /// The configuration of AAC-LC at a rate and number of channels; `None` when there is none with so many channels, or
    /// the rate is 0 or above 24 bits.
    pub fn low_complexity(rate_hz: u32, channels: u8) -> Option<Vec<u8>> {
        let channels = match channels {
            1..=6 => u64::from(channels),
            8 => 7,
            _ => return None,
        };
        let object = u64::from(LOW_COMPLEXITY);
        let index = RATES_HZ.iter().zip(0u64..).find(|(rate, _)| **rate == rate_hz);
        // GASpecificConfig: frameLengthFlag, dependsOnCoreCoder, extensionFlag are 0.
        let (value, bits) = match index {
            Some((_, index)) => (object << 11 | index << 7 | channels << 3, 16u32),
            None if (1..1 << 24).contains(&rate_hz) => {
                let rate = u64::from(rate_hz);
                (object << 35 | u64::from(RATE_FOLLOWS) << 31 | rate << 7 | channels << 3, 40)
            }
            None => return None,
        };
        let bytes = value.to_be_bytes();
        Some(bytes.get(bytes.len() - usize::try_from(bits / 8).ok()?..)?.to_vec())
    }
}

/// §1.6.2.1: audioObjectType.
fn object(bits: &mut Bits<'_>) -> Option<u32> {
    match bits.take(5)? {
        31 => Some(32 + bits.take(6)?),
        object => Some(object),
    }
}

fn rate(bits: &mut Bits<'_>) -> Result<u32, AacConfigError> {
    let index = bits.take(4).ok_or(AacConfigError::Short)?;
    let rate = if index == RATE_FOLLOWS {
        bits.take(24).ok_or(AacConfigError::Short)?
    } else {
        usize::try_from(index).ok().and_then(|index| RATES_HZ.get(index)).copied().unwrap_or(0)
    };
    if rate == 0 { Err(AacConfigError::Rate) } else { Ok(rate) }
}

/// Bits, most significant first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> Option<u32> {
        (0..count).try_fold(0, |number: u32, _| {
            let byte = self.bytes.get(self.at / 8)?;
            let bit = byte >> (7 - self.at % 8) & 1;
            self.at += 1;
            Some(number << 1 | u32::from(bit))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn usual_configurations_are_read() {
        let read = |bytes: &[u8]| {
            AacConfig::parse(bytes).map(|c| (c.object_type, c.rate_hz, c.channels, c.unit_samples))
        };
        assert_eq!(read(&[0x14, 0x08]), Ok((2, 16_000, 1, 1024)));
        assert_eq!(read(&[0x11, 0x90]), Ok((2, 48_000, 2, 1024)));
        assert_eq!(read(&[0x15, 0x88]), Ok((2, 8_000, 1, 1024)));
        assert_eq!(read(&[0x14, 0x0c]), Ok((2, 16_000, 1, 960)));
        // HE-AAC: the core at 24 kHz, the output at 48 kHz.
        assert_eq!(read(&[0x2b, 0x11, 0x88, 0x00]), Ok((2, 24_000, 2, 1024)));
        // A rate without an index.
        assert_eq!(read(&[0x17, 0x80, 0x1f, 0x40, 0x08]), Ok((2, 16_000, 1, 1024)));
    }

    #[test]
    fn what_is_no_configuration_of_aac_is_refused() {
        assert_eq!(AacConfig::parse(&[]), Err(AacConfigError::Short));
        assert_eq!(AacConfig::parse(&[0x14]), Err(AacConfigError::Short));
        assert_eq!(AacConfig::parse(&[0x16, 0x88]), Err(AacConfigError::Rate));
        assert_eq!(AacConfig::parse(&[0x14, 0x48]), Err(AacConfigError::Channels(9)));
        assert_eq!(AacConfig::parse(&[0x44, 0x08]), Err(AacConfigError::Object(8)));
    }

    proptest! {
        #[test]
        fn a_made_configuration_says_what_it_was_made_of(rate in 1u32..200_000, channels in 1u8..=6) {
            let made = AacConfig::low_complexity(rate, channels).unwrap();
            let read = AacConfig::parse(&made).unwrap();
            prop_assert_eq!((read.rate_hz, read.channels, read.object_type), (rate, channels, 2));
        }

        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>) {
            let _ = AacConfig::parse(&bytes);
        }
    }
}
