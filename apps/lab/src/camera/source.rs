//! One connection's media, in the order they are due.

use std::future::Future;
use std::pin::Pin;

use keepwatch_media::replay::PlayRequest;
use keepwatch_model::{StreamId, TrackConfig};
use keepwatch_rtsp::server::{Media, NextMedia, PlayAnswer, PlayError, Source};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::playing::Playing;
use super::{Camera, wanted_variant};
use crate::fault::Condition;
use crate::feed::Variant;

/// One connection's media.
#[derive(Debug)]
pub(crate) struct CameraSource {
    camera: Camera,
    stream: StreamId,
    watch: watch::Receiver<Condition>,
    /// The condition's generation when the connection came.
    generation: u64,
    described: Variant,
    /// `None` until the first media is asked for.
    playing: Option<Playing>,
    /// Pictures that were handed out.
    frames: u32,
    /// Whether the connection broke by [`Fault::DropAfter`](crate::Fault).
    broken: bool,
}

/// What is sent next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    Picture,
    Sound,
    Document,
}

impl CameraSource {
    /// The media of a connection that comes now.
    pub(super) fn new(camera: Camera, stream: StreamId) -> Self {
        let watch = camera.control.watch();
        let condition = camera.control.condition();
        Self {
            stream,
            watch,
            generation: condition.generation,
            described: wanted_variant(stream, condition),
            playing: None,
            frames: 0,
            broken: false,
            camera,
        }
    }

    async fn next_media(&mut self) -> Option<Media> {
        let Self { camera, stream, watch, generation, described, playing, frames, broken } = self;
        loop {
            let condition = *watch.borrow_and_update();
            if condition.generation != *generation || *broken {
                return None;
            }
            if condition.breaks_after(*frames) && camera.control.break_one(*frames) {
                *broken = true;
                return None;
            }
            let playing = playing.get_or_insert_with(|| Playing::new(camera, *stream, condition, *described));
            if condition.stalled {
                playing.stalled = true;
                playing.frame = None;
                watch.changed().await.ok()?;
                continue;
            }
            if playing.stalled {
                playing.resume(camera);
            }
            let next = camera.next_due(playing);
            tokio::select! {
                biased;
                changed = watch.changed() => changed.ok()?,
                next = wait_for(next) => {
                    let media = match next {
                        Next::Picture => {
                            playing.frame.take().and_then(|frame| camera.picture(playing, &frame, condition))
                        }
                        Next::Sound => camera.packet(playing, condition),
                        Next::Document => Some(camera.document(playing, condition)),
                    };
                    if media.is_some() {
                        *frames = frames.saturating_add(u32::from(next == Next::Picture));
                        return media;
                    }
                }
                received = playing.selection.subscription.next(), if playing.frame.is_none() => {
                    let (frame, missed) = received?;
                    playing.receive(frame, missed);
                }
            }
        }
    }
}

impl Camera {
    /// What is due first, and when; `None` when nothing is known to be.
    fn next_due(&self, playing: &Playing) -> Option<(Instant, Next)> {
        let picture = playing.frame.as_ref().map(|frame| (self.frame_due(frame.number), Next::Picture));
        let sound = self.sound.as_ref().map(|sound| {
            // A packet is sent when its last sample was heard.
            (self.clock.instant_of(playing.sound.plus(sound.packet_ticks())), Next::Sound)
        });
        let document = self.metadata.then(|| (self.clock.instant_of(playing.document), Next::Document));
        picture.into_iter().chain(sound).chain(document).min()
    }
}

/// Waits until something is due; for ever when nothing is.
async fn wait_for(next: Option<(Instant, Next)>) -> Next {
    match next {
        Some((due, next)) => {
            sleep_until(due).await;
            next
        }
        None => std::future::pending().await,
    }
}

impl Source for CameraSource {
    fn tracks(&self) -> Vec<TrackConfig> {
        self.camera.tracks(self.described)
    }

    fn is_broken(&self) -> bool {
        self.broken
    }

    fn reports(&self) -> bool {
        !self.watch.borrow().reportless
    }

    fn play(&mut self, request: &PlayRequest) -> Result<PlayAnswer, PlayError> {
        if request.replay {
            return Err(PlayError::Unsupported);
        }
        let now = self.watch.borrow().camera_time(self.camera.clock.now());
        Ok(PlayAnswer::live(request, now))
    }

    fn next(&mut self) -> NextMedia<'_> {
        let next: Pin<Box<dyn Future<Output = Option<Media>> + Send + '_>> = Box::pin(self.next_media());
        next
    }
}
