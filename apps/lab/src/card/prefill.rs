//! A long recording in a few seconds: what the camera would have recorded, had it run.
//!
//! Numbers, labels, sound and documents are those of the time. The pictures of H.264 are one group of pictures over and
//! over, as encoding an hour would take a minute; what they show is their place in it.

use keepwatch_model::{Span, WallTime};
use tracing::debug;

use super::Card;
use super::recorder::write_others;
use super::writer::{CardSample, CardWriter};
use crate::camera::{Camera, VIDEO_TRACK};
use crate::coder::{Coder, Turn, VideoCodec};
use crate::encoder::{AccessUnit, EncoderSettings};
use crate::fault::Condition;
use crate::feed::Variant;
use crate::{Caption, LabError};

/// Records that wait for the disk, at most: a fraction of what the card holds in memory.
const PENDING_MAX: u64 = 32;

/// How a camera's pictures are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pictures {
    pub(crate) codec: VideoCodec,
    pub(crate) encoder: EncoderSettings,
    /// Frames from one key frame to the next.
    pub(crate) gop_frames: u64,
}

/// Fills `card` with what `camera` shows in `span`, but for `gaps`. Takes a few seconds for an hour.
pub(crate) fn prefill(
    camera: &Camera,
    card: &Card,
    pictures: Pictures,
    span: Span,
    gaps: &[Span],
) -> Result<(), LabError> {
    let condition = Condition::default();
    let mut writer = CardWriter::new(card, camera.tracks(Variant::Main), camera.timeline.frame_ticks());
    let mut roll = Roll::new(pictures)?;
    let mut sound = WallTime::MIN;
    let number_at = |label: WallTime| camera.timeline.number_from(label.plus(-camera.delay_ticks));
    let mut refused = 0_u64;
    for number in number_at(span.from)..number_at(span.to) {
        let shown = camera.shown_at(number);
        if gaps.iter().any(|gap| gap.contains(shown)) {
            continue;
        }
        let unit = roll.unit(camera.id.as_str(), number, shown)?;
        let stamp = camera.stamp(number, condition);
        let (prefix, data, key) = (camera.prefix(Variant::Main, &stamp), unit.data, unit.key);
        let sample = CardSample { track: VIDEO_TRACK, label: stamp.capture, key, prefix, data };
        let written = writer
            .picture(&sample)
            .and_then(|()| write_others(camera, &mut writer, &mut sound, shown, condition));
        if let Err(error) = written {
            debug!(%error, number, "a record is missing in the prefill");
            writer.give_up();
            refused += 1;
        }
        card.ledge.wait_for(writer.committed(), PENDING_MAX);
    }
    if writer.end_section().is_err() || refused > 0 {
        return Err(LabError::Prefill(camera.id));
    }
    card.ledge.wait_for(writer.committed(), 0);
    Ok(())
}

/// The pictures of a prefill.
enum Roll {
    /// A group of pictures, over and over.
    Loop(Vec<AccessUnit>),
    /// Each its own: in a coding whose pictures tell their number in no other way.
    Drawn(Coder),
}

impl Roll {
    fn new(pictures: Pictures) -> Result<Self, LabError> {
        let Pictures { codec, encoder, gop_frames } = pictures;
        let mut coder = Coder::main(codec, encoder)?;
        Ok(match codec {
            VideoCodec::H265 | VideoCodec::Jpeg => Self::Drawn(coder),
            VideoCodec::H264 => {
                let unit = |place| {
                    let caption = Caption { name: "PREFILL", at: WallTime::from_ticks(0), counter: place };
                    coder.code(caption, Turn { place, key: place == 0 })
                };
                Self::Loop((0..gop_frames).map(unit).collect::<Result<_, _>>()?)
            }
        })
    }

    fn unit(&mut self, name: &str, number: u64, at: WallTime) -> Result<AccessUnit, LabError> {
        match self {
            Self::Drawn(coder) => {
                coder.code(Caption { name, at, counter: number }, Turn { place: number, key: false })
            }
            Self::Loop(units) => {
                let place = number % crate::wide(units.len()).max(1);
                let unit = usize::try_from(place).ok().and_then(|place| units.get(place));
                Ok(unit.cloned().expect("a group of pictures has a first one"))
            }
        }
    }
}
