//! A virtual camera: a feed's pictures and a tone, with a name, numbers, a clock and faults of its own.
//!
//! Cameras that share a feed send the same access units, each behind its own [`FrameStamp`] and delayed by its
//! own part of a GOP, so that their key frames do not come together. The delay belongs to the camera's clock: a
//! frame's capture time is when this camera shows it, later by the delay than the clock in the shared picture.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use keepwatch_model::{CameraId, TICKS_PER_SECOND, TrackConfig, WallTime};
use keepwatch_rtsp::server::{Media, NextMedia, Source};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::FrameStamp;
use crate::connections::{Connections, Entry};
use crate::encoder::AccessUnit;
use crate::fault::{CameraControl, Condition, ParameterSet};
use crate::feed::{Feed, FeedFrame, Subscription, Variant};
use crate::timeline::{LabClock, Timeline, rtp_timestamp};
use crate::tone::{PACKET_TICKS, SAMPLES_PER_SECOND, Tone, packet_from, tone_track};

const VIDEO_TRACK: usize = 0;
const AUDIO_TRACK: usize = 1;
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
    pub(crate) tone: Option<Tone>,
    pub(crate) timeline: Timeline,
    pub(crate) clock: LabClock,
    pub(crate) control: CameraControl,
    pub(crate) connections: Connections,
}

impl Camera {
    /// A source for one connection; `None` while the camera refuses.
    pub(crate) fn open(&self) -> Option<CameraSource> {
        let watch = self.control.watch();
        let condition = self.control.condition();
        (!condition.refuses).then(|| CameraSource {
            camera: self.clone(),
            watch,
            generation: condition.generation,
            described: wanted_variant(condition),
            playing: None,
        })
    }
}

const fn wanted_variant(condition: Condition) -> Variant {
    match condition {
        Condition { keyless: true, .. } => Variant::Keyless,
        Condition { parameters: ParameterSet::Main, .. } => Variant::Main,
        Condition { parameters: ParameterSet::Alternate, .. } => Variant::Alternate,
    }
}

/// One connection's media.
#[derive(Debug)]
pub(crate) struct CameraSource {
    camera: Camera,
    watch: watch::Receiver<Condition>,
    /// The condition's generation when the connection came.
    generation: u64,
    described: Variant,
    /// `None` until the first media is asked for.
    playing: Option<Playing>,
}

/// What a connection that plays remembers.
#[derive(Debug)]
struct Playing {
    entry: Entry,
    subscription: Subscription,
    variant: Variant,
    /// A frame that waits for its time.
    frame: Option<Arc<FeedFrame>>,
    start: Start,
    /// Frames before this one were due in a stall.
    number_from: u64,
    /// The label of the next packet of sound.
    sound: WallTime,
    /// Frames left out by [`Fault::SkipFrames`](crate::Fault), as the condition counts them.
    skips: u64,
    /// Frames lost by [`Fault::LoseFrames`](crate::Fault), counted the same way.
    losses: u64,
    /// Packets that were lost since the last picture that was sent.
    lost_packets: u16,
    stalled: bool,
}

/// Where the pictures begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// At a frame that decoding can start at.
    AtKeyFrame,
    /// At any other, and the server is told that it is one, or it would hold it back.
    AtOtherFrame,
    /// They have begun.
    Done,
}

impl Playing {
    fn new(camera: &Camera, condition: Condition, variant: Variant) -> Self {
        Self {
            entry: camera.connections.open(),
            subscription: camera.feed.subscribe(variant),
            variant,
            frame: None,
            start: if variant == Variant::Keyless { Start::AtOtherFrame } else { Start::AtKeyFrame },
            number_from: 0,
            sound: packet_from(camera.clock.now()),
            skips: condition.skips,
            losses: condition.losses,
            lost_packets: 0,
            stalled: false,
        }
    }

    /// Goes on after a stall: with what is due from here on.
    fn resume(&mut self, camera: &Camera) {
        let now = camera.clock.now();
        self.stalled = false;
        self.number_from = camera.timeline.number_from(now.plus(-camera.delay_ticks));
        self.sound = packet_from(now);
        if self.variant != Variant::Keyless {
            self.start = Start::AtKeyFrame;
        }
    }

    /// Takes a frame out of the feed, unless this connection leaves it out.
    fn receive(&mut self, frame: Arc<FeedFrame>, missed: bool) {
        if missed && self.variant != Variant::Keyless {
            self.start = Start::AtKeyFrame;
        }
        if frame.number >= self.number_from {
            self.frame = Some(frame);
        }
    }

    /// The access unit of `frame` to send; `None` to send nothing of it.
    fn choose<'f>(&mut self, frame: &'f FeedFrame, condition: Condition) -> Option<(&'f AccessUnit, bool)> {
        let wanted = wanted_variant(condition);
        if wanted == self.variant {
            self.subscription.stay();
        } else {
            self.subscription.wish(wanted);
            let unit = frame.unit(wanted);
            if unit.is_some_and(|unit| unit.key || wanted == Variant::Keyless) {
                self.subscription.change_over();
                self.variant = wanted;
                if wanted != Variant::Keyless && self.start == Start::AtOtherFrame {
                    self.start = Start::AtKeyFrame;
                }
            }
        }
        let unit = frame.unit(self.variant)?;
        let begins = match self.start {
            Start::AtKeyFrame => unit.key,
            Start::AtOtherFrame => !unit.key,
            Start::Done => true,
        };
        if !begins {
            return None;
        }
        let key = unit.key || self.start == Start::AtOtherFrame;
        if self.skips < condition.skips {
            self.skips += 1;
            return None;
        }
        if self.losses < condition.losses {
            self.losses += 1;
            self.lost_packets = self.lost_packets.saturating_add(1);
            return None;
        }
        self.start = Start::Done;
        Some((unit, key))
    }
}

impl CameraSource {
    async fn next_media(&mut self) -> Option<Media> {
        let Self { camera, watch, generation, described, playing } = self;
        loop {
            let condition = *watch.borrow_and_update();
            if condition.generation != *generation {
                return None;
            }
            let playing = playing.get_or_insert_with(|| Playing::new(camera, condition, *described));
            if condition.stalled {
                playing.stalled = true;
                playing.frame = None;
                watch.changed().await.ok()?;
                continue;
            }
            if playing.stalled {
                playing.resume(camera);
            }
            let sound_due =
                camera.tone.as_ref().map(|_| camera.clock.instant_of(playing.sound.plus(PACKET_TICKS)));
            let frame_due = playing.frame.as_ref().map(|frame| camera.frame_due(frame.number));
            let sound_first = sound_due.is_some_and(|sound| frame_due.is_none_or(|frame| sound < frame));
            let due = if sound_first { sound_due } else { frame_due };
            tokio::select! {
                biased;
                changed = watch.changed() => changed.ok()?,
                () = wait_until(due) => {
                    let media = if sound_first {
                        camera.sound(playing, condition)
                    } else {
                        playing.frame.take().and_then(|frame| camera.picture(playing, &frame, condition))
                    };
                    if media.is_some() {
                        return media;
                    }
                }
                received = playing.subscription.next(), if playing.frame.is_none() => {
                    let (frame, missed) = received?;
                    playing.receive(frame, missed);
                }
            }
        }
    }
}

/// Waits until `due`; for ever when nothing is.
async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

impl Camera {
    fn frame_due(&self, number: u64) -> Instant {
        self.clock.instant_of(self.timeline.label_of(number).plus(self.delay_ticks))
    }

    fn picture(&self, playing: &mut Playing, frame: &FeedFrame, condition: Condition) -> Option<Media> {
        let (unit, key) = playing.choose(frame, condition)?;
        let shown = self.timeline.label_of(frame.number).plus(self.delay_ticks);
        let capture = shown.plus(condition.clock_ticks);
        let number = self.number_base.wrapping_add(frame.number);
        let prefix = FrameStamp { camera: self.id, number, capture }.to_nal();
        playing.entry.frame(number, prefix.len() + unit.data.len());
        Some(Media {
            track: VIDEO_TRACK,
            timestamp: rtp_timestamp(shown.plus(condition.timestamp_ticks), VIDEO_RATE),
            capture,
            key,
            data: unit.data.clone(),
            prefix,
            lost_packets: std::mem::take(&mut playing.lost_packets),
            mark: None,
        })
    }

    fn sound(&self, playing: &mut Playing, condition: Condition) -> Option<Media> {
        let now = self.clock.now();
        if now.ticks_since(playing.sound) > LATE_TICKS_MAX {
            playing.sound = packet_from(now);
            return None;
        }
        let label = playing.sound;
        playing.sound = label.plus(PACKET_TICKS);
        let data = self.tone.as_ref()?.packet(label);
        playing.entry.audio(data.len());
        Some(Media {
            track: AUDIO_TRACK,
            timestamp: rtp_timestamp(label.plus(condition.timestamp_ticks), SAMPLES_PER_SECOND),
            capture: label.plus(condition.clock_ticks),
            key: true,
            data,
            prefix: Bytes::new(),
            lost_packets: 0,
            mark: None,
        })
    }
}

impl Source for CameraSource {
    fn tracks(&self) -> Vec<TrackConfig> {
        let video = self.camera.feed.track(self.described).clone();
        let sound = self.camera.tone.as_ref().map(|_| tone_track());
        std::iter::once(video).chain(sound).collect()
    }

    fn next(&mut self) -> NextMedia<'_> {
        let next: Pin<Box<dyn Future<Output = Option<Media>> + Send + '_>> = Box::pin(self.next_media());
        next
    }
}
