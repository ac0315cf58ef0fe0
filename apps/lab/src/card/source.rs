//! Replay of a card: the footage of a range, marked, for one connection.
//!
//! ONVIF Streaming, "Playback". The server paces, numbers and packs; what is decided here is which frames there are,
//! and the faults that concern them.

use std::sync::Arc;
use std::time::Duration;

use keepwatch_media::replay::{ClockRange, FrameMark, Frames, PlayRequest, RateControl};
use keepwatch_model::{CodecKind, TICKS_PER_SECOND, TrackConfig, WallTime};
use keepwatch_rtsp::server::{Delivery, Media, NextMedia, PlayAnswer, PlayError, Source};
use keepwatch_store::{RunId, TRACKS_MAX};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::Card;
use super::batch::{Batch, Item, LoadError, Wanted, lasts, load};
use crate::FrameStamp;
use crate::camera::{Camera, VIDEO_TRACK};
use crate::connections::Entry;
use crate::fault::{CardState, Condition};
use crate::feed::Variant;
use crate::timeline::rtp_timestamp;

/// What stands behind the last record, and is waited for, is looked at again after so long when nobody tells of news.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// One connection's replay.
pub(crate) struct CardSource {
    camera: Camera,
    card: Arc<Card>,
    tracks: Vec<TrackConfig>,
    watch: watch::Receiver<Condition>,
    news: watch::Receiver<u64>,
    /// The condition's generation when the connection came.
    generation: u64,
    entry: Option<Entry>,
    /// `None` before the first [`play`](Source::play).
    playing: Option<Playing>,
    /// Pictures that were handed out.
    frames: u32,
    /// Whether the connection broke by a fault.
    broken: bool,
}

/// What is being played.
struct Playing {
    wanted: Wanted,
    /// The record that is read next begins here or behind.
    next: WallTime,
    /// The record that is being sent, and how much of it was.
    batch: Option<(Batch, usize)>,
    loading: Option<JoinHandle<Result<Option<Batch>, LoadError>>>,
    /// When the next record may be read.
    read_at: Option<Instant>,
    /// Tracks whose next sample does not follow the last one.
    discontinuous: [bool; TRACKS_MAX],
    /// The run of the last record and where it ended.
    before: Option<(RunId, WallTime)>,
    /// The last key frame that was sent, when only some are.
    intra: Option<WallTime>,
    /// Whether all that is wanted was sent.
    over: bool,
}

impl CardSource {
    /// The replay of a connection that comes now; `None` while the card or the camera is not to be had.
    pub(crate) fn new(camera: &Camera, card: &Arc<Card>) -> Option<Self> {
        let watch = camera.control.watch();
        let condition = camera.control.condition();
        (!condition.refuses && condition.card != CardState::Missing).then(|| Self {
            tracks: camera.tracks(Variant::Main),
            watch,
            news: card.news(),
            generation: condition.generation,
            entry: None,
            playing: None,
            frames: 0,
            broken: false,
            camera: camera.clone(),
            card: card.clone(),
        })
    }

    async fn next_media(&mut self) -> Option<Media> {
        loop {
            let condition = *self.watch.borrow_and_update();
            if condition.generation != self.generation || condition.card == CardState::Missing {
                // Replay that merely has no more goes on without media, so only this ends the connection.
                self.broken = true;
                return None;
            }
            if condition.stalled {
                self.watch.changed().await.ok()?;
                continue;
            }
            if self.broken {
                return None;
            }
            if condition.breaks_after(self.frames) && self.camera.control.break_one(self.frames) {
                self.broken = true;
                return None;
            }
            let playing = self.playing.as_mut()?;
            if let Some(item) = playing.take_item() {
                return Some(self.media(item, condition));
            }
            if playing.over {
                // As long as the connection stands, it may be asked for more.
                return None;
            }
            tokio::select! {
                biased;
                changed = self.watch.changed() => changed.ok()?,
                loaded = playing.load(&self.card, &mut self.news) => playing.begin(loaded, condition),
            }
        }
    }

    fn media(&mut self, item: Item, condition: Condition) -> Media {
        let Self { camera, tracks, playing, entry, .. } = self;
        let discontinuity = playing
            .as_mut()
            .and_then(|playing| playing.discontinuous.get_mut(item.track))
            .is_some_and(std::mem::take);
        let mark = FrameMark {
            time: item.label,
            clean_point: item.key,
            ends_section: item.ends_section,
            discontinuity,
            terminal: item.terminal,
            // The server knows which PLAY it answers.
            sequence: 0,
        };
        let entry = entry.get_or_insert_with(|| camera.connections.open(false));
        if item.track == VIDEO_TRACK {
            self.frames = self.frames.saturating_add(1);
            let number = FrameStamp::find(&item.data)
                .map_or_else(|| camera.number_at(item.label), |stamp| stamp.number);
            entry.frame(number, item.data.len());
        } else {
            entry.other(item.data.len());
        }
        let rate = tracks.get(item.track).map_or(90_000, |track| track.clock_rate);
        Media {
            track: item.track,
            timestamp: rtp_timestamp(item.label, rate),
            capture: item.label,
            key: item.key,
            data: item.data,
            prefix: bytes::Bytes::new(),
            lost_packets: 0,
            mark: (!condition.unmarked).then_some(mark),
        }
    }
}

impl Playing {
    /// The next sample of the record that is being sent.
    fn take_item(&mut self) -> Option<Item> {
        loop {
            let (batch, sent) = self.batch.as_mut()?;
            let Some(item) = batch.items.get(*sent).cloned() else {
                self.batch = None;
                return None;
            };
            *sent += 1;
            if let Frames::Intra { interval_ms } = self.wanted.frames {
                let distance = i64::from(interval_ms.unwrap_or(0)) * (TICKS_PER_SECOND / 1_000);
                // The last is sent whatever its distance: it tells the end.
                let near = self.intra.is_some_and(|last| item.label.ticks_since(last) < distance);
                if near && !item.terminal && !item.ends_section {
                    continue;
                }
                self.intra = Some(item.label);
            }
            return Some(item);
        }
    }

    /// Reads the next record, when the card lets it, or waits for one. Cancel-safe.
    async fn load(
        &mut self,
        card: &Arc<Card>,
        news: &mut watch::Receiver<u64>,
    ) -> Result<Option<Batch>, LoadError> {
        if let Some(at) = self.read_at {
            sleep_until(at).await;
            self.read_at = None;
        }
        loop {
            news.borrow_and_update();
            let (next, wanted) = (self.next, self.wanted);
            let card = card.clone();
            let loading = self
                .loading
                .get_or_insert_with(|| tokio::task::spawn_blocking(move || load(&card, next, wanted)));
            let loaded = loading.await;
            self.loading = None;
            match loaded {
                Ok(Ok(None)) if self.wanted.goes_on => {
                    // The end of the footage, which grows. Whether somebody told or not is all the same.
                    let _ = tokio::time::timeout(LOOK_AGAIN, news.changed()).await;
                }
                Ok(loaded) => return loaded,
                // A reader that panicked has said so.
                Err(_) => return Ok(None),
            }
        }
    }

    /// Takes what was read.
    fn begin(&mut self, loaded: Result<Option<Batch>, LoadError>, condition: Condition) {
        match loaded {
            Ok(Some(batch)) => {
                if condition.card == CardState::Slow {
                    self.read_at = Some(Instant::now() + lasts(batch.span.ticks()));
                }
                self.over = batch.last;
                self.next = batch.follower.unwrap_or(batch.span.to);
                if self.before.is_some_and(|(run, to)| run != batch.run || batch.span.from > to) {
                    self.discontinuous = [true; TRACKS_MAX];
                }
                self.before = Some((batch.run, batch.span.to));
                self.batch = Some((batch, 0));
            }
            Ok(None) => self.over = true,
            Err(error) => {
                debug!(%error, "a record of the card cannot be played");
                self.next = self.next.plus(1);
                self.discontinuous = [true; TRACKS_MAX];
            }
        }
    }
}

impl Source for CardSource {
    fn tracks(&self) -> Vec<TrackConfig> {
        self.tracks.clone()
    }

    fn next(&mut self) -> NextMedia<'_> {
        Box::pin(self.next_media())
    }

    fn delivery(&self) -> Delivery {
        Delivery::Complete
    }

    fn play(&mut self, request: &PlayRequest) -> Result<PlayAnswer, PlayError> {
        let condition = *self.watch.borrow();
        if condition.card == CardState::Missing {
            return Err(PlayError::Unavailable);
        }
        if request.scale.is_reverse() {
            return Err(PlayError::Scale);
        }
        let rate_control =
            if condition.ignores_rate_control { RateControl::Paced } else { request.rate_control };
        let answer = |range| PlayAnswer { range, rate_control, scale: request.scale };
        if let (Some(playing), None) = (&mut self.playing, request.range) {
            playing.wanted.frames = request.frames;
            return Ok(answer(None));
        }
        let shelf = self.card.shelf();
        let footage = shelf.span().ok_or(PlayError::InvalidRange)?;
        let asked = request.range.unwrap_or(ClockRange { from: footage.from, to: None });
        if asked.is_reversed() {
            return Err(PlayError::InvalidRange);
        }
        let until = asked.to.unwrap_or(WallTime::MAX);
        let start = shelf.start(asked.from).filter(|start| *start < until).ok_or(PlayError::InvalidRange)?;
        let to = if condition.ignores_range_end { WallTime::MAX } else { until };
        let wanted = Wanted {
            from: asked.from,
            to,
            frames: request.frames,
            goes_on: to > footage.to && condition.card.takes_footage(),
        };
        self.playing = Some(Playing {
            wanted,
            next: start,
            batch: None,
            loading: None,
            read_at: None,
            discontinuous: [false; TRACKS_MAX],
            before: None,
            intra: None,
            over: false,
        });
        Ok(answer(Some(ClockRange { from: start.max(asked.from), to: asked.to })))
    }

    fn is_broken(&self) -> bool {
        self.broken
    }

    fn reports(&self) -> bool {
        !self.watch.borrow().reportless
    }

    fn footage(&self) -> Option<ClockRange> {
        let takes = self.watch.borrow().card.takes_footage();
        let span = self.card.shelf().span()?;
        Some(ClockRange { from: span.from, to: (!takes).then_some(span.to) })
    }

    fn attributes(&self, position: usize) -> Vec<String> {
        let kind = self.tracks.get(position).map(|track| track.kind);
        kind.map(|kind| format!("x-onvif-track:{}", track_token(kind))).into_iter().collect()
    }
}

/// The name of a track of the recording; one of each kind is all there is.
pub(crate) const fn track_token(kind: CodecKind) -> &'static str {
    match kind {
        CodecKind::H264 | CodecKind::H265 | CodecKind::Jpeg => "VIDEO001",
        CodecKind::Pcmu | CodecKind::Pcma | CodecKind::Aac => "AUDIO001",
        CodecKind::Metadata => "META001",
    }
}
