//! One stream shown live: read once and made into pieces once, however many watch it.
//!
//! A task takes samples from the stream's [`Hub`], which shows the open record to a first viewer, reads what the group
//! of pictures has on disk already, and puts pieces into the ring. It ends with its last viewer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use keepwatch_model::{CameraId, Span, StreamId, TICKS_PER_SECOND, WallTime};
use keepwatch_store::Store;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::muxer::{Muxer, Piece, Sample};
use super::ring::{Position, Ring, Taken};
use crate::camera::StreamState;
use crate::footage::records_from_key;
use crate::serve::{Hub, Seen, Shown, Tracks, Watching};

/// Samples that come together are shown within this time: one read of a socket brings several.
const GATHER: Duration = Duration::from_millis(10);
/// The beginning of the group of pictures is waited for so long while it is on its way to the disk.
const DURABLE_MAX: Duration = Duration::from_millis(800);
/// Most records that are read for it: a group of pictures of a minute.
const RECORDS_MAX: usize = 64;
/// Most bytes of them.
const BYTES_MAX: usize = 16 << 20;
/// How far the labels of a record on disk and of the sample behind it may be apart: pictures are reordered, and records
/// may end between them.
const JOINS_TICKS: i64 = 2 * TICKS_PER_SECOND;

/// Which pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CastKey {
    pub(super) camera: CameraId,
    pub(super) stream: StreamId,
    /// Whether sound is taken along.
    pub(super) with_sound: bool,
}

/// All streams that are shown live.
#[derive(Debug)]
pub(super) struct Casts {
    store: Store,
    reads: Arc<Semaphore>,
    running: Mutex<BTreeMap<CastKey, Weak<Cast>>>,
}

/// A stream that is shown; ends when dropped.
#[derive(Debug)]
pub(super) struct Cast {
    /// What is shown: a camera that was removed and added again has another.
    stream: Arc<StreamState>,
    shared: Arc<Shared>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    show: Mutex<Show>,
    /// Number of the next piece.
    news: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Show {
    ring: Ring,
    refused: Option<String>,
}

impl Casts {
    pub(super) fn new(store: Store, reads: Arc<Semaphore>) -> Self {
        Self { store, reads, running: Mutex::default() }
    }

    /// Joins the cast of `stream`, beginning it if nobody watches yet.
    pub(super) fn join(&self, stream: &Arc<StreamState>, with_sound: bool) -> Arc<Cast> {
        let key = CastKey { camera: stream.camera, stream: stream.id, with_sound };
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|_, cast| cast.strong_count() > 0);
        let same = |cast: &Arc<Cast>| Arc::ptr_eq(&cast.stream, stream);
        if let Some(cast) = running.get(&key).and_then(Weak::upgrade).filter(same) {
            return cast;
        }
        let shared = Arc::new(Shared { show: Mutex::default(), news: watch::Sender::new(0) });
        let maker = Maker {
            store: self.store.clone(),
            reads: Arc::clone(&self.reads),
            stream: Arc::clone(stream),
            muxer: Muxer::new(with_sound),
            shared: Arc::clone(&shared),
        };
        let task = tokio::spawn(maker.run()).abort_handle();
        let cast = Arc::new(Cast { stream: Arc::clone(stream), shared, task });
        running.insert(key, Arc::downgrade(&cast));
        cast
    }
}

impl Cast {
    /// Changes whenever there is a new piece.
    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.shared.news.subscribe()
    }

    /// Where a new viewer begins.
    pub(super) fn position(&self) -> Position {
        self.shared.show().ring.join()
    }

    /// What comes next for the viewer at `position`.
    pub(super) fn take(&self, position: &mut Position) -> Taken {
        self.shared.show().ring.take(position)
    }

    /// Why it cannot be played; `None` while it can.
    pub(super) fn refused(&self) -> Option<String> {
        self.shared.show().refused.clone()
    }
}

impl Drop for Cast {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn show(&self) -> MutexGuard<'_, Show> {
        self.show.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, piece: Option<Piece>) {
        let Some(piece) = piece else { return };
        let next = {
            let mut show = self.show();
            show.ring.push(Arc::new(piece));
            show.ring.next()
        };
        self.news.send_replace(next);
    }
}

/// Makes the pieces of one stream.
struct Maker {
    store: Store,
    reads: Arc<Semaphore>,
    stream: Arc<StreamState>,
    muxer: Muxer,
    shared: Arc<Shared>,
}

impl Maker {
    async fn run(mut self) {
        let mut watching = Hub::watch(Arc::clone(self.stream.hub()));
        self.begin(&mut watching).await;
        while let Some(seen) = watching.next().await {
            self.see(seen);
            tokio::time::sleep(GATHER).await;
            self.see_rest(&mut watching);
        }
    }

    /// Takes the first samples, and before them those of the same group of pictures that are not in memory any more.
    async fn begin(&mut self, watching: &mut Watching) {
        let first = loop {
            match watching.next().await {
                Some(Seen::Shown(shown)) if is_picture(&shown) => break shown,
                Some(Seen::Shown(_) | Seen::Missed(_)) => {}
                None => return,
            }
        };
        if !first.key {
            let tracks = Tracks::clone(&first.tracks);
            for sample in self.group_before(&first).await {
                let piece = self.muxer.push(&tracks, sample);
                self.shared.add(piece);
            }
        }
        self.see(Seen::Shown(first));
        self.see_rest(watching);
    }

    fn see_rest(&mut self, watching: &mut Watching) {
        while let Some(seen) = watching.try_next() {
            self.see(seen);
        }
        let piece = self.muxer.flush();
        self.shared.add(piece);
        let refused = self.muxer.refused();
        let mut show = self.shared.show();
        if show.refused.as_deref() != refused {
            show.refused = refused.map(str::to_owned);
            drop(show);
            self.shared.news.send_modify(|_| {});
        }
    }

    fn see(&mut self, seen: Seen) {
        match seen {
            Seen::Missed(_) => self.muxer.missed(),
            Seen::Shown(shown) => {
                let Shown { tracks, track, pts, capture: label, settled, key, data, .. } = shown;
                let piece = self.muxer.push(&tracks, Sample { track, pts, label, settled, key, data });
                self.shared.add(piece);
            }
        }
    }

    /// What the group of pictures of `first` has on disk; empty when it cannot be had at once.
    async fn group_before(&self, first: &Shown) -> Vec<Sample> {
        let deadline = Instant::now() + DURABLE_MAX;
        let mut news = self.stream.hub().news();
        while self.stream.pending() > 0 {
            if tokio::time::timeout_at(deadline, news.changed()).await.is_err() {
                return Vec::new();
            }
        }
        let Ok(Ok(place)) = tokio::time::timeout_at(deadline, Arc::clone(&self.reads).acquire_owned()).await
        else {
            return Vec::new();
        };
        let (store, key) = (self.store.clone(), (self.stream.camera, self.stream.id));
        let (tracks, label, pts) = (Tracks::clone(&first.tracks), first.capture, first.pts);
        let read = tokio::task::spawn_blocking(move || {
            let _place = place;
            read_group(&store, key, &tracks, (label, pts))
        });
        read.await.unwrap_or_default()
    }
}

fn is_picture(shown: &Shown) -> bool {
    shown.tracks.get(shown.track).is_some_and(|track| track.kind.is_video())
}

/// Reads what comes from the last key frame on up to the picture at `label` and `pts`, of the same tracks; empty when it
/// does not lead up to it. Blocks.
fn read_group(
    store: &Store,
    key: (CameraId, StreamId),
    tracks: &Tracks,
    (label, pts): (WallTime, i64),
) -> Vec<Sample> {
    let window = Span { from: label.plus(-1), to: label };
    let Ok(records) = records_from_key(store, key, window) else { return Vec::new() };
    let mut samples = Vec::new();
    let mut bytes = 0usize;
    let mut until = None;
    for record in records.iter().take(RECORDS_MAX) {
        let Ok(read) = store.read(record) else { return Vec::new() };
        let held = &read.index().tracks;
        let same = held.len() == tracks.len()
            && held.iter().zip(tracks.iter()).all(|(held, track)| held.config == *track);
        let Some((video, pictures)) = held.iter().enumerate().find(|(_, track)| track.config.kind.is_video())
        else {
            return Vec::new();
        };
        let is_open = pictures.samples.iter().any(|sample| sample.pts == pts);
        if is_open || record.info.label.from > label {
            break;
        }
        if !same {
            return Vec::new();
        }
        let begin = if samples.is_empty() {
            let clean =
                pictures.samples.iter().rposition(|sample| sample.key && pictures.label_of(sample) <= label);
            let Some(clean) = clean else { return Vec::new() };
            clean
        } else {
            0
        };
        // Pictures first, so that sound finds the stream begun.
        let order = std::iter::once(video).chain((0..held.len()).filter(|track| *track != video));
        for number in order {
            let Some(track) = held.get(number) else { continue };
            let skipped = if number == video { begin } else { 0 };
            for (place, sample) in track.samples.iter().enumerate().skip(skipped) {
                let data = read.sample(number, place);
                bytes = bytes.saturating_add(data.len());
                samples.push(Sample {
                    track: number,
                    pts: sample.pts,
                    label: track.label_of(sample),
                    settled: true,
                    key: sample.key,
                    data: bytes::Bytes::copy_from_slice(data),
                });
            }
        }
        if bytes > BYTES_MAX {
            return Vec::new();
        }
        until = Some(record.info.label.to);
    }
    match until {
        Some(until) if label.ticks_since(until) <= JOINS_TICKS => samples,
        Some(_) | None => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
