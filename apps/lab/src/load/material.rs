//! The video of a load: a few groups of pictures, encoded once and served over and over.

use bytes::Bytes;
use keepwatch_model::{TICKS_PER_SECOND, TrackConfig};
use tracing::debug;

use crate::encoder::{AccessUnit, Encoder, EncoderSettings};
use crate::timeline::EPOCH;
use crate::{Caption, LabError, wide};

/// How far the average may be from what was asked for, in parts per thousand.
const RATE_ERROR_PER_MILLE_MAX: u64 = 20;
/// Encodings at most; each aims at what the one before missed.
const ATTEMPTS_MAX: u32 = 4;

/// A loop of access units; it begins with a key frame.
#[derive(Debug)]
pub(crate) struct Material {
    /// The video track.
    pub(crate) track: TrackConfig,
    /// The loop.
    pub(crate) units: Vec<AccessUnit>,
    /// Measured average, without RTP.
    pub(crate) bits_per_second: u64,
}

impl Material {
    /// Encodes `gops` groups of `gop_frames` frames at an average of `settings.bits_per_second`; takes seconds.
    pub(crate) fn prepare(settings: EncoderSettings, gop_frames: u32, gops: u32) -> Result<Self, LabError> {
        let goal = u64::from(settings.bits_per_second);
        let mut aim = goal;
        let miss = |material: &Self| material.bits_per_second.abs_diff(goal);
        let mut best = Self::encode(settings, gop_frames, gops)?;
        let mut last = best.bits_per_second;
        for attempt in 1..ATTEMPTS_MAX {
            debug!(attempt, aim, measured = last, "load material encoded");
            if miss(&best) * 1_000 <= goal * RATE_ERROR_PER_MILLE_MAX {
                break;
            }
            aim = aim.saturating_mul(goal) / last.max(1);
            let bits_per_second = u32::try_from(aim.clamp(50_000, 50_000_000)).unwrap_or(u32::MAX);
            let made = Self::encode(EncoderSettings { bits_per_second, ..settings }, gop_frames, gops)?;
            last = made.bits_per_second;
            if miss(&made) < miss(&best) {
                best = made;
            }
        }
        Ok(best)
    }

    fn encode(settings: EncoderSettings, gop_frames: u32, gops: u32) -> Result<Self, LabError> {
        let mut encoder = Encoder::new(settings)?;
        let frame_ticks = TICKS_PER_SECOND / i64::from(settings.frames_per_second);
        let mut units = Vec::new();
        // One group more, first, in which the rate control finds its level.
        for at in 0..gop_frames * (gops + 1) {
            let at_label = EPOCH.plus(i64::from(at) * frame_ticks);
            let caption = Caption { name: "LOAD", at: at_label, counter: u64::from(at) };
            let unit = encoder.encode(caption, at % gop_frames == 0)?;
            if at >= gop_frames {
                units.push(AccessUnit { data: Bytes::copy_from_slice(&unit.data), ..unit });
            }
        }
        let bytes: u64 = units.iter().map(|unit| wide(unit.data.len())).sum();
        let rate = u64::from(settings.frames_per_second);
        let bits_per_second = bytes * 8 * rate / wide(units.len()).max(1);
        Ok(Self { track: encoder.track().clone(), units, bits_per_second })
    }
}
