//! One encoder's pictures for many cameras: a thread that draws and encodes each frame when it is due.
//!
//! Four variants of a frame are offered: the main stream, the same with other parameter sets, one without key frames,
//! and the sub-stream. A variant is encoded only while somebody wants it. The frame's number decides whether it is a
//! key frame, so that all variants have theirs at the same numbers and a camera can change over without a hole.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use keepwatch_model::{TICKS_PER_SECOND, TrackConfig, WallTime};
use tokio::sync::broadcast;
use tokio::time::Instant;
use tracing::{error, warn};

use crate::coder::{Coder, Turn, VideoCodec};
use crate::encoder::{AccessUnit, EncoderSettings};
use crate::timeline::{LabClock, Timeline};
use crate::{Caption, LabError};

/// Frames that a slow subscriber may be behind, ten seconds at 25 frames a second: more than any camera's delay.
const BEHIND_FRAMES_MAX: usize = 256;

/// How late the encoder may be before it leaves out frames, in 90 kHz ticks: two seconds.
const LATE_TICKS_MAX: i64 = 2 * TICKS_PER_SECOND;

/// A coding of the pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// As the camera was set up.
    Main,
    /// Another picture size.
    Alternate,
    /// The main stream without key frames; of a coding that has no others, the main stream.
    Keyless,
    /// The sub-stream: a smaller picture, always in H.264.
    Sub,
}

/// How many variants there are.
const VARIANTS: usize = 4;

impl Variant {
    const ALL: [Self; VARIANTS] = [Self::Main, Self::Alternate, Self::Keyless, Self::Sub];

    const fn index(self) -> usize {
        match self {
            Self::Main => 0,
            Self::Alternate => 1,
            Self::Keyless => 2,
            Self::Sub => 3,
        }
    }
}

/// One frame in the variants that were wanted.
#[derive(Debug)]
pub(crate) struct FeedFrame {
    /// Its number on the timeline.
    pub(crate) number: u64,
    units: [Option<AccessUnit>; VARIANTS],
}

impl FeedFrame {
    /// The frame as `variant`; `None` when nobody wanted it in time.
    pub(crate) fn unit(&self, variant: Variant) -> Option<&AccessUnit> {
        self.units[variant.index()].as_ref()
    }
}

/// What a feed draws and when.
#[derive(Clone, Debug)]
pub(crate) struct FeedSettings {
    /// Stands in the picture.
    pub(crate) name: String,
    /// Of all variants but the sub-stream.
    pub(crate) codec: VideoCodec,
    /// Of the main variant.
    pub(crate) encoder: EncoderSettings,
    /// Frames from one key frame to the next.
    pub(crate) gop_frames: u64,
    /// A frame is a key frame when its number and this add up to a multiple of `gop_frames`.
    pub(crate) phase_frames: u64,
}

/// An encoder thread; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Feed {
    frames: broadcast::Sender<Arc<FeedFrame>>,
    wanted: Arc<[AtomicUsize; VARIANTS]>,
    tracks: [TrackConfig; VARIANTS],
    /// Dropping it wakes and ends the thread.
    _stop: mpsc::Sender<()>,
}

impl Feed {
    /// Starts the thread.
    pub(crate) fn start(
        settings: FeedSettings,
        timeline: Timeline,
        clock: LabClock,
    ) -> Result<Self, LabError> {
        let FeedSettings { codec, encoder, .. } = settings;
        let coders = [
            Coder::main(codec, encoder)?,
            Coder::alternate(codec, encoder)?,
            Coder::keyless(codec, encoder)?,
            Coder::sub(encoder)?,
        ];
        let tracks = coders.each_ref().map(|coder| coder.track().clone());
        let (frames, _) = broadcast::channel(BEHIND_FRAMES_MAX);
        let wanted = Arc::new([const { AtomicUsize::new(0) }; VARIANTS]);
        let (stop, stopped) = mpsc::channel();
        let worker = Worker {
            coders,
            running: [false; VARIANTS],
            frames: frames.clone(),
            wanted: wanted.clone(),
            settings,
            timeline,
            clock,
        };
        thread::Builder::new().name("lab-encoder".to_owned()).spawn(move || worker.run(&stopped))?;
        Ok(Self { frames, wanted, tracks, _stop: stop })
    }

    /// The video track of `variant`.
    pub(crate) fn track(&self, variant: Variant) -> &TrackConfig {
        &self.tracks[variant.index()]
    }

    /// Takes part from the next frame on.
    pub(crate) fn subscribe(&self, variant: Variant) -> Subscription {
        let wish = Wish::new(&self.wanted, variant);
        Subscription { frames: self.frames.subscribe(), wishes: [Some(wish), None] }
    }
}

/// Frames of a feed.
#[derive(Debug)]
pub(crate) struct Subscription {
    frames: broadcast::Receiver<Arc<FeedFrame>>,
    /// The variant that is used, and the one that is changed over to.
    wishes: [Option<Wish>; 2],
}

impl Subscription {
    /// The next frame, and whether frames before it were missed because this was called too late; `None` when the
    /// feed has ended. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<(Arc<FeedFrame>, bool)> {
        let mut missed = false;
        loop {
            match self.frames.recv().await {
                Ok(frame) => return Some((frame, missed)),
                Err(broadcast::error::RecvError::Lagged(_)) => missed = true,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// Has `variant` encoded beside the one that is used.
    pub(crate) fn wish(&mut self, variant: Variant) {
        let [Some(used), next] = &mut self.wishes else { return };
        if next.as_ref().is_none_or(|wish| wish.variant != variant) {
            *next = Some(Wish::new(&used.wanted, variant));
        }
    }

    /// Gives up the variant that was used for the one that was wished.
    pub(crate) fn change_over(&mut self) {
        if let Some(wish) = self.wishes[1].take() {
            self.wishes[0] = Some(wish);
        }
    }

    /// Gives up the wish for another variant.
    pub(crate) fn stay(&mut self) {
        self.wishes[1] = None;
    }
}

/// Keeps a variant being encoded.
#[derive(Debug)]
struct Wish {
    wanted: Arc<[AtomicUsize; VARIANTS]>,
    variant: Variant,
}

impl Wish {
    fn new(wanted: &Arc<[AtomicUsize; VARIANTS]>, variant: Variant) -> Self {
        wanted[variant.index()].fetch_add(1, Ordering::Relaxed);
        Self { wanted: wanted.clone(), variant }
    }
}

impl Drop for Wish {
    fn drop(&mut self) {
        self.wanted[self.variant.index()].fetch_sub(1, Ordering::Relaxed);
    }
}

/// The thread's side.
struct Worker {
    coders: [Coder; VARIANTS],
    /// Whether a variant's previous frame was encoded, so that the next may refer to it.
    running: [bool; VARIANTS],
    frames: broadcast::Sender<Arc<FeedFrame>>,
    wanted: Arc<[AtomicUsize; VARIANTS]>,
    settings: FeedSettings,
    timeline: Timeline,
    clock: LabClock,
}

impl Worker {
    fn run(mut self, stopped: &mpsc::Receiver<()>) {
        let mut number = self.timeline.number_from(self.clock.now());
        loop {
            let label = self.timeline.label_of(number);
            let wait = self.clock.instant_of(label).saturating_duration_since(Instant::now());
            // Waiting for the end is what times the frames.
            match stopped.recv_timeout(wait) {
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
            if let Err(error) = self.frame(number, label) {
                error!(feed = self.settings.name, %error, "the encoder failed; this feed has ended");
                return;
            }
            number = self.number_after(number);
        }
    }

    /// Encodes what is wanted of one frame and hands it out.
    fn frame(&mut self, number: u64, label: WallTime) -> Result<(), LabError> {
        let mut units = [const { None }; VARIANTS];
        let place = number.wrapping_add(self.settings.phase_frames);
        for variant in Variant::ALL {
            let at = variant.index();
            if self.wanted[at].load(Ordering::Relaxed) == 0 {
                self.running[at] = false;
                continue;
            }
            let due = place.is_multiple_of(self.settings.gop_frames) && variant != Variant::Keyless;
            let turn = Turn { place, key: !self.running[at] || due };
            let caption = Caption { name: &self.settings.name, at: label, counter: number };
            units[at] = Some(self.coders[at].code(caption, turn)?);
            self.running[at] = true;
        }
        if units.iter().any(Option::is_some) {
            // Nobody listening is no error.
            let _ = self.frames.send(Arc::new(FeedFrame { number, units }));
        }
        Ok(())
    }

    fn number_after(&mut self, number: u64) -> u64 {
        let next = number + 1;
        let now = self.clock.now();
        let late_ticks = now.ticks_since(self.timeline.label_of(next));
        if late_ticks <= LATE_TICKS_MAX {
            return next;
        }
        let caught_up = self.timeline.number_from(now);
        let late = Duration::from_millis(u64::try_from(late_ticks / 90).unwrap_or(0));
        warn!(feed = self.settings.name, left_out = caught_up - next, ?late, "the encoder is too slow");
        caught_up
    }
}
