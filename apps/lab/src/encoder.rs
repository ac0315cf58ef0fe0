//! H.264 from pictures: one thread, key frames where asked, a steady bit rate, and no start codes.
//!
//! Baseline profile without reordering, as simple cameras send it. Parameter sets stand before every key frame
//! and in [`Encoder::track`]. Rate control is openh264's; nothing is skipped, so frame numbers have no holes.

use std::ffi::c_int;

use bytes::Bytes;
use keepwatch_media::h264;
use keepwatch_model::{CodecKind, TICKS_PER_SECOND, TrackConfig, WallTime};
use openh264::encoder::{
    BitRate, Complexity, EncodedBitStream, EncoderConfig, FrameRate, FrameType, IntraFramePeriod, Profile,
    QpRange, RateControlMode, SpsPpsStrategy, UsageType,
};
use openh264::{OpenH264API, Timestamp};

use crate::{Caption, LabError, Picture, Scene};

/// What an encoder draws and how it codes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncoderSettings {
    /// Pixels of a line; even, at least 320.
    pub width: usize,
    /// Lines; even, at least 160.
    pub height: usize,
    /// Frames a second, 1 to 60.
    pub frames_per_second: u32,
    /// Bits a second that the rate control aims at, 50,000 to 50,000,000; a calm picture may need fewer.
    pub bits_per_second: u32,
    /// What is drawn.
    pub scene: Scene,
}

impl Default for EncoderSettings {
    /// 640 x 360, 25 frames and 500 kbit a second.
    fn default() -> Self {
        Self { width: 640, height: 360, frames_per_second: 25, bits_per_second: 500_000, scene: Scene::Calm }
    }
}

/// One coded picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessUnit {
    /// NAL units with 4-byte lengths.
    pub data: Bytes,
    /// Whether it is an IDR picture, with its parameter sets before it.
    pub key: bool,
}

/// Draws and encodes one stream.
pub struct Encoder {
    picture: Picture,
    encoder: openh264::encoder::Encoder,
    track: TrackConfig,
    frame_ticks: i64,
    encoded: i64,
    key_due: bool,
}

impl Encoder {
    /// An encoder; its first access unit is a key frame.
    pub fn new(settings: EncoderSettings) -> Result<Self, LabError> {
        let EncoderSettings { width, height, frames_per_second, bits_per_second, scene } = settings;
        LabError::check(
            "bits per second",
            u64::from(bits_per_second),
            50_000..=50_000_000,
            "50,000 to 50,000,000",
        )?;
        LabError::check("frames per second", u64::from(frames_per_second), 1..=60, "1 to 60")?;
        let picture = Picture::new(width, height, scene)?;
        let rate = f32::from(u16::try_from(frames_per_second).unwrap_or(u16::MAX));
        let config = EncoderConfig::new()
            .usage_type(UsageType::CameraVideoRealTime)
            .profile(Profile::Baseline)
            .rate_control_mode(RateControlMode::Bitrate)
            .bitrate(BitRate::from_bps(bits_per_second))
            .max_frame_rate(FrameRate::from_hz(rate))
            .skip_frames(false)
            .scene_change_detect(false)
            .adaptive_quantization(false)
            .background_detection(false)
            .complexity(Complexity::Low)
            .qp(QpRange::new(10, 45))
            // Key frames come when asked for, at numbers that the caller chooses.
            .intra_frame_period(IntraFramePeriod::from_num_frames(0))
            .sps_pps_strategy(SpsPpsStrategy::ConstantId)
            .num_threads(1);
        let mut encoder = openh264::encoder::Encoder::with_api_config(OpenH264API::from_source(), config)?;
        silence(&mut encoder)?;
        let track =
            TrackConfig { kind: CodecKind::H264, clock_rate: 90_000, channels: 0, config: Vec::new() };
        let frame_ticks = TICKS_PER_SECOND / i64::from(frames_per_second);
        let mut this = Self { picture, encoder, track, frame_ticks, encoded: 0, key_due: true };
        this.learn_parameter_sets()?;
        Ok(this)
    }

    /// The track, with the parameter sets.
    pub const fn track(&self) -> &TrackConfig {
        &self.track
    }

    /// Draws `caption` and encodes it, as a key frame when `key`.
    pub fn encode(&mut self, caption: Caption<'_>, key: bool) -> Result<AccessUnit, LabError> {
        if key || self.key_due {
            self.encoder.force_intra_frame();
            self.key_due = false;
        }
        self.picture.draw(caption);
        // The rate control reads no more than the differences.
        let millis = u64::try_from(self.encoded.saturating_mul(self.frame_ticks) / 90).unwrap_or(0);
        self.encoded = self.encoded.saturating_add(1);
        let coded = self.encoder.encode_at(&self.picture, Timestamp::from_millis(millis))?;
        Ok(AccessUnit { key: coded.frame_type() == FrameType::IDR, data: without_start_codes(&coded) })
    }

    /// Encodes one picture that nobody sees, because openh264 tells its parameter sets only with one.
    fn learn_parameter_sets(&mut self) -> Result<(), LabError> {
        let caption = Caption { name: "", at: WallTime::from_ticks(0), counter: 0 };
        let unit = self.encode(caption, true)?;
        self.key_due = true;
        let units: Vec<&[u8]> = h264::units(&unit.data).map_while(Result::ok).collect();
        let of = |kind| units.iter().copied().filter(|unit| h264::UnitKind::of(unit) == Some(kind)).collect();
        let sets = h264::DecoderConfig { sps: of(h264::UnitKind::Sps), pps: of(h264::UnitKind::Pps) };
        self.track.config = sets.build()?;
        Ok(())
    }
}

/// Keeps openh264 from writing to standard error: it warns that frames are not skipped, which is on purpose.
#[expect(
    unsafe_code,
    reason = "before the first picture the level is reached only through the raw interface"
)]
fn silence(encoder: &mut openh264::encoder::Encoder) -> Result<(), LabError> {
    /// `ENCODER_OPTION_TRACE_LEVEL`, which may be set before the first picture.
    const TRACE_LEVEL: c_int = 25;
    // WELS_LOG_QUIET
    let mut quiet: c_int = 0;
    // SAFETY: the encoder lives, and for this option it reads one int through the pointer and keeps none of it.
    let status = unsafe { encoder.raw_api().set_option(TRACE_LEVEL, (&raw mut quiet).cast()) };
    if status == 0 { Ok(()) } else { Err(openh264::Error::msg("the trace level cannot be set").into()) }
}

/// The NAL units of a coded picture, each after its length in 4 bytes.
fn without_start_codes(coded: &EncodedBitStream<'_>) -> Bytes {
    let mut data = Vec::new();
    for layer in (0..coded.num_layers()).filter_map(|layer| coded.layer(layer)) {
        for unit in (0..layer.nal_count()).filter_map(|at| layer.nal_unit(at)) {
            h264::length_prefixed(unit, &mut data);
        }
    }
    // Access units outlive the frame by seconds, so what was grown too far is given back.
    Bytes::from(data.into_boxed_slice())
}

#[cfg(test)]
mod tests;
