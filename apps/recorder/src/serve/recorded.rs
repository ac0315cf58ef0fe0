//! Recorded footage on its way to one client (ONVIF Streaming, "Playback").
//!
//! The server paces, numbers and packs; which units come, in which order and with which marks, is decided by
//! `core/recording`. Records are read off the runtime, one at a time and a few ahead, and few replays read at once:
//! recording comes first. A replay that has shown all there is waits for what is recorded next.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use keepwatch_media::replay::{ClockRange, FrameMark, Frames, PlayRequest};
use keepwatch_model::{CameraId, CodecKind, TICKS_PER_SECOND, TrackConfig, WallTime};
use keepwatch_recording::ledger::Ahead;
use keepwatch_recording::lineup::{Known, Lineup, Unit, Wanted};
use keepwatch_rtsp::server::{Delivery, Media, NextMedia, PlayAnswer, PlayError, Preparing, Refusal, Source};
use keepwatch_store::{Store, StoreError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;

use super::access::{Access, Viewer};
use super::history::tracks_at;
use super::hub::Tracks;
use super::reader::{Archive, Direction, Frame, Next, Reader};
use super::sets::InBand;
use crate::camera::StreamState;
use crate::clock::Clock;

/// Footage that was recorded is looked for after so long, should nobody tell.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long it may take to find out what tracks footage has: longer than a busy disk takes, and as long as a client waits.
const LOOK_UP_MAX: Duration = Duration::from_secs(8);

/// What all replays of a node share.
#[derive(Clone, Debug)]
pub(super) struct Library {
    pub(super) store: Store,
    pub(super) clock: Clock,
    /// Places among the replays.
    pub(super) places: Arc<Semaphore>,
    /// Places among those that read a record.
    pub(super) reads: Arc<Semaphore>,
}

/// A right that may be lost.
#[derive(Debug)]
pub(super) struct Right {
    pub(super) access: watch::Receiver<Arc<Access>>,
    pub(super) viewer: Viewer,
    pub(super) camera: CameraId,
}

impl Right {
    /// Whether it is still held.
    pub(super) fn is_held(&mut self) -> bool {
        self.access.borrow_and_update().holds(&self.viewer, self.camera)
    }

    /// Waits until it is lost.
    pub(super) async fn lost(&mut self) {
        while self.is_held() {
            if self.access.changed().await.is_err() {
                return;
            }
        }
    }
}

/// One client's replay.
pub(super) struct RecordedSource {
    library: Library,
    right: Right,
    stream: Arc<StreamState>,
    /// When `tracks` were recorded; `None`: at the end.
    at: Option<WallTime>,
    tracks: Tracks,
    sets: Vec<InBand>,
    place: Option<OwnedSemaphorePermit>,
    /// `None` before the first [`play`](Source::play).
    playing: Option<Playing>,
    /// The last label that was given out; `None` before the first.
    shown: Option<WallTime>,
    /// Whether the connection is to end: the right was lost, or the index cannot be read.
    broken: bool,
}

/// What is being played.
struct Playing {
    direction: Direction,
    lineup: Lineup<Frame>,
    /// `None` while it reads.
    reader: Option<Reader>,
    reading: Option<JoinHandle<(Reader, Result<Next, StoreError>)>>,
    news: watch::Receiver<u64>,
    state: End,
}

/// What comes when nothing can be read any more.
const NO_MORE: Next = Next::Nothing { ends_section: false };

/// How far the reader is from the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Records are being read.
    Ahead,
    /// All that is held was read; more may come.
    Reached,
    /// Nothing comes any more.
    Passed,
}

impl RecordedSource {
    /// The replay of `stream`, announced as `tracks`.
    pub(super) fn new(library: Library, right: Right, stream: Arc<StreamState>, tracks: Tracks) -> Self {
        let sets = tracks.iter().cloned().map(InBand::new).collect();
        Self {
            library,
            right,
            stream,
            at: None,
            tracks,
            sets,
            place: None,
            playing: None,
            shown: None,
            broken: false,
        }
    }

    /// The replay of `stream` with the tracks that were recorded at `at`, or first after it; they are found out when it
    /// is prepared.
    pub(super) fn at(library: Library, right: Right, stream: Arc<StreamState>, at: WallTime) -> Self {
        Self { at: Some(at), ..Self::new(library, right, stream, Tracks::default()) }
    }

    /// Finds out the tracks at `at`.
    async fn look_up(&mut self, at: WallTime) -> Result<(), Refusal> {
        let (store, stream) = (self.library.store.clone(), Arc::clone(&self.stream));
        let reading = tokio::task::spawn_blocking(move || tracks_at(&store, &stream, at));
        let read = tokio::time::timeout(LOOK_UP_MAX, reading).await;
        // A reader that panicked has said so.
        let Ok(Ok(read)) = read else { return Err(Refusal::Unavailable) };
        let tracks = read.map_err(|error| {
            tracing::debug!(camera = %self.stream.camera, %error, "footage does not tell its tracks");
            Refusal::Unavailable
        })?;
        self.tracks = tracks.ok_or(Refusal::NotFound)?;
        self.sets = self.tracks.iter().cloned().map(InBand::new).collect();
        Ok(())
    }

    async fn next_media(&mut self) -> Option<Media> {
        if self.broken || !self.right.is_held() {
            self.broken = true;
            return None;
        }
        loop {
            let playing = self.playing.as_mut()?;
            let known = if playing.state == End::Ahead { Known::More } else { Known::All };
            if let Some(unit) = playing.lineup.pop(known) {
                playing.read(&self.library.reads);
                return Some(self.media(unit));
            }
            if playing.state == End::Passed {
                return None;
            }
            tokio::select! {
                biased;
                () = self.right.lost() => {
                    self.broken = true;
                    return None;
                }
                read = playing.next(&self.library.reads) => match read {
                    Ok(next) => playing.take(next),
                    Err(error) => {
                        tracing::warn!(camera = %self.stream.camera, %error, "a replay ended: the index cannot be read");
                        self.broken = true;
                        return None;
                    }
                },
            }
        }
    }

    /// The position of the pictures; `None` where there is only sound.
    fn video(&self) -> Option<usize> {
        self.tracks.iter().position(|track| track.kind.is_video())
    }

    /// In which direction `request` has footage read.
    fn direction(&self, request: &PlayRequest) -> Direction {
        if !request.scale.is_reverse() {
            return Direction::Forward;
        }
        match request.frames {
            Frames::All if self.video().is_some() => Direction::Backward,
            Frames::All | Frames::Intra { .. } => Direction::BackwardAlone,
        }
    }

    /// The label that is shown first when `asked` is wanted; `None` when there is no footage from there to `to`.
    fn beginning(&self, direction: Direction, asked: WallTime, to: WallTime) -> Option<WallTime> {
        let ledger = self.stream.ledger();
        match direction {
            Direction::Forward => match ledger.ahead(asked) {
                Ahead::Held(from) | Ahead::OnItsWay(from) => {
                    (from < to && from <= self.library.clock.wall()).then_some(from)
                }
                Ahead::Nothing => None,
            },
            Direction::Backward | Direction::BackwardAlone => {
                let end = ledger.held_before(asked.plus(1)).filter(|end| *end > to)?;
                Some(end.min(asked))
            }
        }
    }

    fn media(&mut self, unit: Unit<Frame>) -> Media {
        let Unit { track, label, key, ends_section, discontinuity, terminal, sample } = unit;
        self.shown = Some(label);
        let Frame { data, config } = sample;
        let prefix = self.sets.get_mut(track).map_or(Bytes::new(), |sets| sets.before(&config, key, &data));
        // The server knows which PLAY it answers.
        let mark =
            FrameMark { time: label, clean_point: key, ends_section, discontinuity, terminal, sequence: 0 };
        Media {
            track,
            timestamp: rtp_timestamp(label, config.clock_rate),
            capture: label,
            key,
            data,
            prefix,
            lost_packets: 0,
            mark: Some(mark),
        }
    }
}

impl Playing {
    /// Begins to read what comes next, when it is wanted.
    fn read(&mut self, reads: &Arc<Semaphore>) {
        if self.state != End::Ahead || self.reading.is_some() || !self.lineup.wants_records() {
            return;
        }
        let Some(mut reader) = self.reader.take() else { return };
        self.news.borrow_and_update();
        let reads = Arc::clone(reads);
        self.reading = Some(tokio::spawn(async move {
            // It is never closed.
            let _place = reads.acquire_owned().await;
            let read = tokio::task::spawn_blocking(move || {
                let next = reader.next();
                (reader, next)
            });
            match read.await {
                Ok(read) => read,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The runtime ends.
                    Err(_) => std::future::pending().await,
                },
            }
        }));
    }

    /// What comes next, waited for. Cancel-safe.
    async fn next(&mut self, reads: &Arc<Semaphore>) -> Result<Next, StoreError> {
        if self.state == End::Reached {
            // Whether somebody told or not is all the same.
            let _ = tokio::time::timeout(LOOK_AGAIN, self.news.changed()).await;
            self.state = End::Ahead;
        }
        self.read(reads);
        let Some(reading) = &mut self.reading else { return Ok(NO_MORE) };
        let read = reading.await;
        self.reading = None;
        match read {
            Ok((reader, next)) => {
                self.reader = Some(reader);
                next
            }
            // A reader that panicked has said so.
            Err(_) => Ok(NO_MORE),
        }
    }

    fn take(&mut self, next: Next) {
        match next {
            Next::Record(span, tracks) => self.lineup.push(span, tracks),
            Next::OfGroup(span, group, tracks) => self.lineup.push_group(span, group, tracks),
            Next::Lost => self.lineup.end_section(),
            Next::NotYet { goes_on } => {
                if !goes_on {
                    self.lineup.end_section();
                }
                self.state = End::Reached;
            }
            Next::Nothing { ends_section } => {
                if ends_section {
                    self.lineup.end_section();
                }
                self.lineup.finish();
                self.state = End::Passed;
            }
        }
    }
}

impl Source for RecordedSource {
    fn prepare(&mut self) -> Preparing<'_> {
        Box::pin(async {
            match self.at {
                Some(at) => self.look_up(at).await,
                None => Ok(()),
            }
        })
    }

    fn tracks(&self) -> Vec<TrackConfig> {
        self.tracks.to_vec()
    }

    fn next(&mut self) -> NextMedia<'_> {
        Box::pin(self.next_media())
    }

    fn delivery(&self) -> Delivery {
        Delivery::Complete
    }

    fn play(&mut self, request: &PlayRequest) -> Result<PlayAnswer, PlayError> {
        if self.broken || !self.right.is_held() {
            return Err(PlayError::Forbidden);
        }
        if self.place.is_none() {
            let places = Arc::clone(&self.library.places);
            self.place = Some(places.try_acquire_owned().map_err(|_| PlayError::Busy)?);
        }
        let direction = self.direction(request);
        let goes_on = request.range.is_none();
        if let Some(playing) =
            self.playing.as_mut().filter(|playing| goes_on && playing.direction == direction)
        {
            playing.lineup.choose(request.frames);
            return Ok(PlayAnswer { range: None, ..PlayAnswer::granted(request) });
        }
        let (first, last) = match direction {
            Direction::Forward => (WallTime::MIN, WallTime::MAX),
            Direction::Backward | Direction::BackwardAlone => (WallTime::MAX, WallTime::MIN),
        };
        // Who turns around does so where it stands.
        let here = ClockRange { from: self.shown.or(self.at).unwrap_or(first), to: None };
        let asked = request.range.unwrap_or(here);
        let to = asked.to.unwrap_or(last);
        let from = self.beginning(direction, asked.from, to).ok_or(PlayError::InvalidRange)?;
        let wanted = Wanted { from, to, frames: request.frames };
        let Library { store, clock, .. } = &self.library;
        let archive = Archive::new(store.clone(), Arc::clone(&self.stream), *clock, Arc::clone(&self.tracks));
        self.playing = Some(Playing {
            direction,
            lineup: Lineup::new(wanted, self.tracks.len(), self.video()),
            reader: Some(Reader::new(archive, direction, from, to)),
            reading: None,
            news: self.stream.hub().news(),
            state: End::Ahead,
        });
        Ok(PlayAnswer { range: Some(ClockRange { from, to: asked.to }), ..PlayAnswer::granted(request) })
    }

    fn is_broken(&self) -> bool {
        self.broken
    }

    fn footage(&self) -> Option<ClockRange> {
        let ledger = self.stream.ledger();
        let Ahead::Held(from) = ledger.ahead(WallTime::MIN) else { return None };
        let to = if ledger.is_recording() { None } else { ledger.held_until() };
        Some(ClockRange { from, to })
    }

    fn attributes(&self, position: usize) -> Vec<String> {
        // One of each kind is all that is recorded.
        let token = self.tracks.get(position).map(|track| match track.kind {
            CodecKind::H264 | CodecKind::H265 | CodecKind::Jpeg => "VIDEO001",
            CodecKind::Pcmu | CodecKind::Pcma | CodecKind::Aac => "AUDIO001",
            CodecKind::Metadata => "META001",
        });
        token.map(|token| format!("x-onvif-track:{token}")).into_iter().collect()
    }
}

/// The RTP time of `label`: all tracks keep step with one another, however far their own clocks are apart.
fn rtp_timestamp(label: WallTime, clock_rate: u32) -> u32 {
    let ticks = i128::from(label.ticks()) * i128::from(clock_rate);
    let ticks = ticks.div_euclid(i128::from(TICKS_PER_SECOND)).rem_euclid(1 << 32);
    u32::try_from(ticks).unwrap_or(0)
}
