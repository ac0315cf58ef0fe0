//! Sound that is not there.
//!
//! A player shows pictures only as far as it has sound for them, if it was told of sound at all. A camera whose
//! microphone is switched off, or whose sound breaks off, would stop the picture; silence keeps it going.

use keepwatch_model::{CodecKind, TrackConfig};

use crate::aac::AacConfig;

/// A raw data block of AAC-LC (ISO/IEC 14496-3 §4.4.2.1) with one single channel element without spectral data.
const AAC_MONO: &[u8] = &[0x00, 0xc8, 0x00, 0x80, 0x23, 0x80];
/// The same with one channel pair element.
const AAC_STEREO: &[u8] = &[0x21, 0x00, 0x49, 0x90, 0x02, 0x19, 0x00, 0x23, 0x80];
/// Object type AAC-LC (ISO/IEC 14496-3 table 1.17).
const LOW_COMPLEXITY: u32 = 2;

/// What stands for a silent packet of a track: of AAC a whole packet, of G.711 one code, to be repeated for each sample
/// of each channel. `None` where it is not known, and for tracks that are not sound.
pub fn silence(config: &TrackConfig) -> Option<&'static [u8]> {
    match config.kind {
        CodecKind::Pcmu => Some(&[0xff]),
        CodecKind::Pcma => Some(&[0xd5]),
        CodecKind::Aac => {
            let aac = AacConfig::parse(&config.config).ok()?;
            match (aac.object_type, aac.channels) {
                (LOW_COMPLEXITY, 1) => Some(AAC_MONO),
                (LOW_COMPLEXITY, 2) => Some(AAC_STEREO),
                _ => None,
            }
        }
        CodecKind::H264 | CodecKind::H265 | CodecKind::Jpeg | CodecKind::Metadata => None,
    }
}
