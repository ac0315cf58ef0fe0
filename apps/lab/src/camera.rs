//! A virtual camera: a feed's pictures and a tone, with a name, numbers, a clock and faults of its own.
//!
//! Cameras that share a feed send the same access units, each behind its own [`FrameStamp`] and delayed by its
//! own part of a GOP, so that their key frames do not come together. The delay belongs to the camera's clock: a
//! frame's capture time is when this camera shows it, later by the delay than the clock in the shared picture.
//! The main stream and the sub-stream have the same frames, so a frame has the same number in both.

mod playing;
mod source;

use std::sync::Arc;

use bytes::Bytes;
use keepwatch_model::{CameraId, CodecKind, StreamId, TICKS_PER_SECOND, TrackConfig};
use keepwatch_rtsp::server::Media;
use playing::Playing;
pub(crate) use source::CameraSource;
use tokio::time::Instant;

use crate::FrameStamp;
use crate::connections::Connections;
use crate::fault::{CameraControl, Condition, ParameterSet};
use crate::feed::{Feed, FeedFrame, Variant};
use crate::sound::Sound;
use crate::timeline::{LabClock, Timeline, rtp_timestamp};

/// The position of the video among a stream's tracks.
const VIDEO_TRACK: usize = 0;
const VIDEO_RATE: u32 = 90_000;

/// How late sound may be before the camera leaves it out, in 90 kHz ticks: two seconds.
const LATE_TICKS_MAX: i64 = 2 * TICKS_PER_SECOND;

/// A camera of a site.
#[derive(Clone, Debug)]
pub(crate) struct Camera {
    pub(crate) id: CameraId,
    /// Added to the timeline's numbers, so that no two cameras have the same.
    pub(crate) number_base: u64,
    /// From the feed's frame to the camera's, in 90 kHz ticks; at most a few seconds.
    pub(crate) delay_ticks: i64,
    pub(crate) feed: Arc<Feed>,
    pub(crate) sound: Option<Sound>,
    pub(crate) timeline: Timeline,
    pub(crate) clock: LabClock,
    pub(crate) control: CameraControl,
    pub(crate) connections: Connections,
}

impl Camera {
    /// A source of one of its streams for one connection; `None` while the camera refuses, or when it has no such
    /// stream.
    pub(crate) fn open(&self, stream: StreamId) -> Option<CameraSource> {
        let known = matches!(stream, StreamId::MAIN | StreamId::SUB);
        (known && !self.control.condition().refuses).then(|| CameraSource::new(self.clone(), stream))
    }

    /// The tracks of a stream whose video is coded as `variant`.
    fn tracks(&self, variant: Variant) -> Vec<TrackConfig> {
        let video = self.feed.track(variant).clone();
        let sound = self.sound.as_ref().map(|sound| sound.track().clone());
        std::iter::once(video).chain(sound).collect()
    }

    fn frame_due(&self, number: u64) -> Instant {
        self.clock.instant_of(self.timeline.label_of(number).plus(self.delay_ticks))
    }

    fn picture(&self, playing: &mut Playing, frame: &FeedFrame, condition: Condition) -> Option<Media> {
        let (unit, key) = playing.choose(frame, condition)?;
        let shown = self.timeline.label_of(frame.number).plus(self.delay_ticks);
        let capture = condition.camera_time(shown);
        let number = self.number_base.wrapping_add(frame.number);
        let stamp = FrameStamp { camera: self.id, number, capture };
        let prefix = match self.feed.track(playing.variant()).kind {
            CodecKind::H264 => stamp.to_nal(),
            CodecKind::H265 => stamp.to_hevc_nal(),
            // Motion JPEG has only the picture itself.
            CodecKind::Jpeg | CodecKind::Pcmu | CodecKind::Pcma | CodecKind::Aac | CodecKind::Metadata => {
                Bytes::new()
            }
        };
        playing.entry.frame(number, prefix.len() + unit.data.len());
        Some(Media {
            track: VIDEO_TRACK,
            timestamp: rtp_timestamp(condition.media_time(shown), VIDEO_RATE),
            capture,
            key,
            data: unit.data.clone(),
            prefix,
            lost_packets: std::mem::take(&mut playing.lost_packets),
            mark: None,
        })
    }

    fn packet(&self, playing: &mut Playing, condition: Condition) -> Option<Media> {
        let sound = self.sound.as_ref()?;
        let now = self.clock.now();
        if now.ticks_since(playing.sound) > LATE_TICKS_MAX {
            playing.sound = sound.packet_from(now);
            return None;
        }
        let label = playing.sound;
        playing.sound = label.plus(sound.packet_ticks());
        let data = sound.packet(label);
        playing.entry.audio(data.len());
        Some(Media {
            track: VIDEO_TRACK + 1,
            timestamp: rtp_timestamp(condition.media_time(label), sound.track().clock_rate),
            capture: condition.camera_time(label),
            key: true,
            data,
            prefix: Bytes::new(),
            lost_packets: 0,
            mark: None,
        })
    }
}

/// The coding that a camera in this condition sends as `stream`. Faults of the pictures are the main stream's.
const fn wanted_variant(stream: StreamId, condition: Condition) -> Variant {
    match (stream, condition) {
        (StreamId::SUB, _) => Variant::Sub,
        (_, Condition { keyless: true, .. }) => Variant::Keyless,
        (_, Condition { parameters: ParameterSet::Main, .. }) => Variant::Main,
        (_, Condition { parameters: ParameterSet::Alternate, .. }) => Variant::Alternate,
    }
}
