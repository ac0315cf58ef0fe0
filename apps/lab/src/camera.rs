//! A virtual camera: a feed's pictures and a tone, with a name, numbers, a clock and faults of its own.
//!
//! Cameras that share a feed send the same access units, each behind its own [`FrameStamp`] and delayed by its
//! own part of a GOP, so that their key frames do not come together. The delay belongs to the camera's clock: a
//! frame's capture time is when this camera shows it, later by the delay than the clock in the shared picture.
//! The main stream and the sub-stream have the same frames, so a frame has the same number in both.

mod playing;
mod selection;
mod source;

use std::sync::Arc;

use bytes::Bytes;
use keepwatch_model::{CameraId, CodecKind, StreamId, TICKS_PER_SECOND, TrackConfig, WallTime};
use keepwatch_rtsp::server::Media;
use playing::Playing;
pub(crate) use selection::Selection;
pub(crate) use source::CameraSource;
use tokio::time::Instant;

use crate::FrameStamp;
use crate::card::Card;
use crate::connections::Connections;
use crate::documents::{self, DOCUMENT_TICKS, Moves};
use crate::fault::{CameraControl, Condition, ParameterSet};
use crate::feed::{Feed, FeedFrame, Variant};
use crate::sound::Sound;
use crate::timeline::{LabClock, Timeline, rtp_timestamp};

/// The position of the video among a stream's tracks; sound follows.
pub(crate) const VIDEO_TRACK: usize = 0;
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
    /// Whether a document goes with the pictures each second.
    pub(crate) metadata: bool,
    pub(crate) timeline: Timeline,
    pub(crate) clock: LabClock,
    pub(crate) control: CameraControl,
    pub(crate) connections: Connections,
    /// What it records itself to; `None` for no card.
    pub(crate) card: Option<Arc<Card>>,
}

impl Camera {
    /// A source of one of its streams for one connection; `None` while the camera refuses, or when it has no such
    /// stream.
    pub(crate) fn open(&self, stream: StreamId) -> Option<CameraSource> {
        let known = matches!(stream, StreamId::MAIN | StreamId::SUB);
        (known && !self.control.condition().refuses).then(|| CameraSource::new(self.clone(), stream))
    }

    /// The tracks of a stream whose video is coded as `variant`.
    pub(crate) fn tracks(&self, variant: Variant) -> Vec<TrackConfig> {
        let video = self.feed.track(variant).clone();
        let sound = self.sound.as_ref().map(|sound| sound.track().clone());
        let documents = self.metadata.then(documents::track);
        std::iter::once(video).chain(sound).chain(documents).collect()
    }

    /// The position of the documents among the tracks.
    pub(crate) fn document_track(&self) -> usize {
        VIDEO_TRACK + 1 + usize::from(self.sound.is_some())
    }

    pub(crate) fn frame_due(&self, number: u64) -> Instant {
        self.clock.instant_of(self.shown_at(number))
    }

    fn picture(&self, playing: &mut Playing, frame: &FeedFrame, condition: Condition) -> Option<Media> {
        let (unit, key) = playing.selection.choose(frame, condition)?;
        let shown = self.shown_at(frame.number);
        let stamp = self.stamp(frame.number, condition);
        let prefix = self.prefix(playing.selection.variant(), &stamp);
        playing.entry.frame(stamp.number, prefix.len() + unit.data.len());
        Some(Media {
            track: VIDEO_TRACK,
            timestamp: rtp_timestamp(condition.media_time(shown), VIDEO_RATE),
            capture: stamp.capture,
            key,
            data: unit.data.clone(),
            prefix,
            lost_packets: playing.selection.take_lost_packets(),
            mark: None,
        })
    }

    /// When the camera shows a frame of the feed, by the lab's clock.
    pub(crate) fn shown_at(&self, number: u64) -> WallTime {
        self.timeline.label_of(number).plus(self.delay_ticks)
    }

    /// The number of the frame that the camera shows at `label`, or of the first one behind it.
    pub(crate) fn number_at(&self, label: WallTime) -> u64 {
        let number = self.timeline.number_from(label.plus(-self.delay_ticks));
        self.number_base.wrapping_add(number)
    }

    /// What the camera says of a frame of the feed.
    pub(crate) fn stamp(&self, number: u64, condition: Condition) -> FrameStamp {
        FrameStamp {
            camera: self.id,
            number: self.number_base.wrapping_add(number),
            capture: condition.camera_time(self.shown_at(number)),
        }
    }

    /// What stands before an access unit of `variant`.
    pub(crate) fn prefix(&self, variant: Variant, stamp: &FrameStamp) -> Bytes {
        match self.feed.track(variant).kind {
            CodecKind::H264 => stamp.to_nal(),
            CodecKind::H265 => stamp.to_hevc_nal(),
            // Motion JPEG has only the picture itself.
            CodecKind::Jpeg | CodecKind::Pcmu | CodecKind::Pcma | CodecKind::Aac | CodecKind::Metadata => {
                Bytes::new()
            }
        }
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
        playing.entry.other(data.len());
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

impl Camera {
    /// The document that is due.
    fn document(&self, playing: &mut Playing, condition: Condition) -> Media {
        let label = playing.document;
        playing.document = label.plus(DOCUMENT_TICKS);
        let capture = condition.camera_time(label);
        let now = condition.motion.moves_at(label);
        let moves = Moves { told: std::mem::replace(&mut playing.told_motion, now), now };
        let data = documents::document(self.id, label, capture, moves);
        playing.entry.other(data.len());
        Media {
            track: self.document_track(),
            timestamp: rtp_timestamp(condition.media_time(label), VIDEO_RATE),
            capture,
            key: true,
            data,
            prefix: Bytes::new(),
            lost_packets: 0,
            mark: None,
        }
    }
}

/// The coding that a camera in this condition sends as `stream`. Faults of the pictures are the main stream's.
pub(crate) const fn wanted_variant(stream: StreamId, condition: Condition) -> Variant {
    match (stream, condition) {
        (StreamId::SUB, _) => Variant::Sub,
        (_, Condition { keyless: true, .. }) => Variant::Keyless,
        (_, Condition { parameters: ParameterSet::Main, .. }) => Variant::Main,
        (_, Condition { parameters: ParameterSet::Alternate, .. }) => Variant::Alternate,
    }
}
