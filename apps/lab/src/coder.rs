//! The codings that a feed's pictures come in: one made on the spot for each frame, or a loop made beforehand.

use keepwatch_model::TrackConfig;

use crate::clip::Clip;
use crate::encoder::{AccessUnit, Encoder, EncoderSettings};
use crate::jpeg::JpegEncoder;
use crate::{Caption, LabError};

/// The coding of a camera's main stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum VideoCodec {
    /// H.264, encoded when due.
    #[default]
    H264,
    /// H.265, a loop of 320 x 180 with a key frame in every 25: size, bit rate and distance are its own.
    H265,
    /// Motion JPEG, encoded when due; every picture is a key frame.
    Jpeg,
}

/// The sub-stream's width in pixels: the narrowest that holds the counter's bar.
const SUB_WIDTH: usize = 320;
/// The sub-stream's height in lines.
const SUB_HEIGHT: usize = 180;

/// What is due of a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// The frame's number, counted from a key frame.
    pub(crate) place: u64,
    /// Whether decoding must be able to start here.
    pub(crate) key: bool,
}

/// One stream's pictures.
pub(crate) enum Coder {
    H264(Box<Encoder>),
    H265(Clip),
    Jpeg(Box<JpegEncoder>),
}

impl Coder {
    /// The main stream.
    pub(crate) fn main(codec: VideoCodec, settings: EncoderSettings) -> Result<Self, LabError> {
        Ok(match codec {
            VideoCodec::H264 => Self::H264(Box::new(Encoder::new(settings)?)),
            VideoCodec::H265 => Self::H265(Clip::main()),
            VideoCodec::Jpeg => Self::Jpeg(Box::new(JpegEncoder::new(settings)?)),
        })
    }

    /// The main stream with another picture size.
    pub(crate) fn alternate(codec: VideoCodec, settings: EncoderSettings) -> Result<Self, LabError> {
        let (width, height) = if settings.width == 480 { (640, 360) } else { (480, 272) };
        match codec {
            VideoCodec::H264 | VideoCodec::Jpeg => {
                Self::main(codec, EncoderSettings { width, height, ..settings })
            }
            VideoCodec::H265 => Ok(Self::H265(Clip::alternate())),
        }
    }

    /// The main stream for a camera that never sends a key frame. Whether a picture is one is told with each turn,
    /// but the first always is.
    pub(crate) fn keyless(codec: VideoCodec, settings: EncoderSettings) -> Result<Self, LabError> {
        match codec {
            VideoCodec::H264 | VideoCodec::Jpeg => Self::main(codec, settings),
            VideoCodec::H265 => Ok(Self::H265(Clip::keyless())),
        }
    }

    /// The sub-stream.
    pub(crate) fn sub(settings: EncoderSettings) -> Result<Self, LabError> {
        let bits_per_second = (settings.bits_per_second / 4).max(100_000);
        let sub = EncoderSettings { width: SUB_WIDTH, height: SUB_HEIGHT, bits_per_second, ..settings };
        Ok(Self::H264(Box::new(Encoder::new(sub)?)))
    }

    /// The track, with what is known of its configuration.
    pub(crate) const fn track(&self) -> &TrackConfig {
        match self {
            Self::H264(encoder) => encoder.track(),
            Self::H265(clip) => clip.track(),
            Self::Jpeg(encoder) => encoder.track(),
        }
    }

    /// The picture that is due.
    pub(crate) fn code(&mut self, caption: Caption<'_>, turn: Turn) -> Result<AccessUnit, LabError> {
        match self {
            Self::H264(encoder) => encoder.encode(caption, turn.key),
            Self::H265(clip) => Ok(clip.unit(turn.place)),
            Self::Jpeg(encoder) => encoder.encode(caption),
        }
    }
}
