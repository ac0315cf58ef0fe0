//! H.265 for want of an encoder: a loop made beforehand (`assets/README.md`), whose frames are numbered as they are sent.
//!
//! Frame `n` of a camera is the loop's picture `n` modulo its length, so the time line has no seam: the loop begins
//! with an IDR picture. What the picture shows is its place in the loop; the frame's number is in its stamp.

use bytes::Bytes;
use keepwatch_media::h264;
use keepwatch_media::h265::{DecoderConfig, UnitKind};
use keepwatch_model::{CodecKind, TrackConfig};

use crate::encoder::AccessUnit;
use crate::wide;

/// The loop of the main stream: 320 x 180.
const MAIN: &[u8] = include_bytes!("../assets/loop-320x180.h265");
/// The loop with other parameter sets: 352 x 192.
const ALTERNATE: &[u8] = include_bytes!("../assets/loop-352x192.h265");

/// NAL unit types of slices (ITU-T H.265 §7.4.2.2, table 7-1) are below this.
const SLICES_END: u8 = 32;
/// NAL unit types of pictures that decoding can start at.
const KEY_SLICES: std::ops::RangeInclusive<u8> = 16..=21;

/// A loop of pictures.
#[derive(Clone, Debug)]
pub(crate) struct Clip {
    track: TrackConfig,
    units: Vec<AccessUnit>,
}

impl Clip {
    /// The main stream.
    pub(crate) fn main() -> Self {
        Self::read(MAIN)
    }

    /// The main stream with another picture size.
    pub(crate) fn alternate() -> Self {
        Self::read(ALTERNATE)
    }

    /// The main stream of a camera that sends no key frames: in the place of each stands the picture behind it, which
    /// no decoder can show, and none could show what follows it without a key frame either.
    pub(crate) fn keyless() -> Self {
        let mut clip = Self::main();
        let mut following = None;
        for unit in clip.units.iter_mut().rev() {
            match &following {
                Some(instead) if unit.key => *unit = AccessUnit::clone(instead),
                Some(_) | None => following = Some(unit.clone()),
            }
        }
        clip
    }

    /// The track.
    pub(crate) const fn track(&self) -> &TrackConfig {
        &self.track
    }

    /// The picture for the frame that is `place` behind a key frame.
    pub(crate) fn unit(&self, place: u64) -> AccessUnit {
        let at = usize::try_from(place % wide(self.units.len()).max(1)).unwrap_or(0);
        self.units.get(at).cloned().expect("a loop has pictures, and this is the place of one")
    }

    /// Splits a byte stream (Annex B) of one slice a picture, parameter sets before key frames.
    fn read(stream: &[u8]) -> Self {
        let mut units = Vec::new();
        let mut data = Vec::new();
        for unit in h264::annex_b_units(stream) {
            let Some(kind) = unit.first().map(|byte| byte >> 1 & 0x3f) else { continue };
            h264::write_unit(&mut data, unit);
            if kind < SLICES_END {
                let data = Bytes::from(std::mem::take(&mut data));
                units.push(AccessUnit { key: KEY_SLICES.contains(&kind), data });
            }
        }
        let of = |kind| {
            let sets = h264::annex_b_units(stream).filter(move |unit| UnitKind::of(unit) == Some(kind));
            // The loop repeats them before each key frame.
            sets.take(1).collect()
        };
        let sets = DecoderConfig { vps: of(UnitKind::Vps), sps: of(UnitKind::Sps), pps: of(UnitKind::Pps) };
        let config = sets.build().expect("the loops are part of the program, and a test reads them");
        Self { track: TrackConfig { kind: CodecKind::H265, clock_rate: 90_000, channels: 0, config }, units }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames from one key frame of a loop to the next.
    const GOP_FRAMES: u64 = 25;

    fn kinds(unit: &AccessUnit) -> Vec<u8> {
        h264::units(&unit.data).map(|unit| unit.unwrap()[0] >> 1).collect()
    }

    #[test]
    fn parameter_sets_are_announced() {
        for (clip, size) in [(Clip::main(), (320, 180)), (Clip::alternate(), (352, 192))] {
            let config = DecoderConfig::parse(&clip.track.config).unwrap();
            let sps = keepwatch_media::h265::Sps::parse(config.sps[0]).unwrap();
            assert_eq!((sps.width, sps.height), size);
            assert_eq!((config.vps.len(), config.pps.len()), (1, 1));
        }
    }

    #[test]
    fn loops_are_whole_groups_of_pictures_that_begin_with_a_key_frame_and_its_parameter_sets() {
        for clip in [Clip::main(), Clip::alternate()] {
            assert_eq!(clip.units.len(), 50);
            for (place, unit) in (0..100).map(|place| (place, clip.unit(place))) {
                assert_eq!(unit.key, place % GOP_FRAMES == 0, "{place}");
                let kinds = kinds(&unit);
                if unit.key {
                    assert_eq!(kinds[..3], [32, 33, 34], "VPS, SPS, PPS");
                    assert!(matches!(kinds[3..], [19 | 20]), "an IDR picture: {kinds:?}");
                } else {
                    assert_eq!(kinds, [1], "a picture that may be referred to");
                }
            }
        }
    }

    #[test]
    fn a_loop_without_key_frames_has_a_picture_in_every_place() {
        let clip = Clip::keyless();
        assert_eq!(clip.units.len(), 50);
        assert!(clip.units.iter().all(|unit| !unit.key && kinds(unit) == [1]));
    }
}
