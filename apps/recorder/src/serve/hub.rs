//! The present of one stream, from the camera's task to those who watch it.
//!
//! While nobody watches, a sample costs one look at a counter and nothing is copied. Each watched sample is copied once
//! for all viewers. The group of pictures that is being shown is kept as long as anybody watches, so that who comes
//! later sees something at once; for the first viewer the camera's task shows what is in its open record, and sockets of
//! watched cameras are read more often. A viewer that does not take what comes is told how much it missed, and nobody
//! waits for it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use keepwatch_model::{TICKS_PER_SECOND, TrackConfig, WallTime};
use keepwatch_rtsp::client::ReadInterval;
use keepwatch_store::TRACKS_MAX;
use tokio::sync::{broadcast, watch};

/// Samples that a viewer's task may be behind: several seconds of pictures and sound, which it hands on in a moment.
pub(crate) const BEHIND_MAX: usize = 512;
/// How often the socket of a watched camera is read: it bounds the delay of live pictures, and at 25 pictures a second
/// two or three still come with one wake-up.
const WATCHED_INTERVAL: Duration = Duration::from_millis(100);
/// Most bytes of the group of pictures that is kept: 8 s at 8 Mbit/s. Of a longer one nothing is kept.
const GROUP_BYTES_MAX: usize = 8 << 20;
/// Most samples of it.
const GROUP_MAX: usize = 2_048;
/// A jump of a track's timestamps against the time that passed is evened out from so many 90 kHz ticks on.
const JUMP_TICKS: i64 = TICKS_PER_SECOND;

/// What a stream's tracks are at the moment.
pub(crate) type Tracks = Arc<[TrackConfig]>;

/// A sample that is shown.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    /// All tracks of the session it came in.
    pub(crate) tracks: Tracks,
    /// Position of its track.
    pub(crate) track: usize,
    /// Ticks of the track's clock, wrapping and without jumps.
    pub(crate) timestamp: u32,
    /// Ticks of the track's clock since its session began, as they are recorded.
    pub(crate) pts: i64,
    /// When it was taken, as far as is known at once.
    pub(crate) capture: WallTime,
    /// Whether `capture` is the label that it is recorded with, to the nearest ticks.
    pub(crate) settled: bool,
    /// Whether decoding can start here.
    pub(crate) key: bool,
    /// Packets that were lost before it.
    pub(crate) lost_packets: u16,
    /// The sample.
    pub(crate) data: Bytes,
}

/// A sample as it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrived<'a> {
    /// Position of its track.
    pub(crate) track: usize,
    /// Ticks of the track's clock since its session began.
    pub(crate) pts: i64,
    /// When it was taken, as far as is known at once.
    pub(crate) capture: WallTime,
    /// Whether `capture` is the label that it is recorded with, to the nearest ticks.
    pub(crate) settled: bool,
    /// Whether decoding can start here.
    pub(crate) key: bool,
    /// Packets that were lost before it.
    pub(crate) lost_packets: u32,
    /// The sample.
    pub(crate) data: &'a [u8],
}

/// Where a stream is shown.
#[derive(Debug)]
pub(crate) struct Hub {
    viewers: AtomicUsize,
    /// The first viewer came, and what is in the open record was not shown yet.
    wants_open: AtomicBool,
    /// How often the camera's socket is read.
    interval: ReadInterval,
    present: Mutex<Present>,
    sender: broadcast::Sender<Shown>,
    /// Records that became durable.
    news: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Present {
    /// `None` before the first session or record is known.
    tracks: Option<Tracks>,
    /// From the last key frame on; empty while it is not known or too long.
    group: VecDeque<Shown>,
    group_bytes: usize,
    clocks: [Option<TrackClock>; TRACKS_MAX],
}

/// Evens out the jumps of a track's timestamps.
#[derive(Clone, Copy, Debug)]
struct TrackClock {
    /// From the camera's timestamps to those shown.
    offset: i64,
    last: (i64, WallTime),
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            viewers: AtomicUsize::new(0),
            wants_open: AtomicBool::new(false),
            interval: ReadInterval::default(),
            present: Mutex::default(),
            sender: broadcast::Sender::new(BEHIND_MAX),
            news: watch::Sender::new(0),
        }
    }
}

impl Hub {
    /// Whether anybody watches.
    pub(crate) fn is_watched(&self) -> bool {
        self.viewers.load(Ordering::Relaxed) > 0
    }

    /// How often the camera's socket is to be read; changes when the first viewer comes and the last one goes.
    pub(crate) const fn read_interval(&self) -> &ReadInterval {
        &self.interval
    }

    /// Whether what is in the open record is to be shown before the next sample; asked once for each first viewer.
    pub(crate) fn takes_open(&self) -> bool {
        self.wants_open.swap(false, Ordering::Relaxed)
    }

    /// The tracks are `tracks` from here on.
    pub(crate) fn describe(&self, tracks: &Tracks) {
        let mut present = self.present();
        if present.tracks.as_ref() != Some(tracks) {
            present.tracks = Some(Arc::clone(tracks));
        }
    }

    /// The tracks are `tracks` as far as no session has told.
    pub(crate) fn describe_at_first(&self, tracks: Tracks) {
        self.present().tracks.get_or_insert(tracks);
    }

    /// The tracks of the last session or record; `None` before the first.
    pub(crate) fn tracks(&self) -> Option<Tracks> {
        self.present().tracks.clone()
    }

    /// Shows a sample to all who watch.
    pub(crate) fn show(&self, arrived: &Arrived<'_>) {
        let mut present = self.present();
        let Some(tracks) = present.tracks.clone() else { return };
        let Some(config) = tracks.get(arrived.track) else { return };
        let is_video = config.kind.is_video();
        let Some(timestamp) = present.timestamp(arrived, config.clock_rate) else { return };
        let shown = Shown {
            track: arrived.track,
            timestamp,
            pts: arrived.pts,
            capture: arrived.capture,
            settled: arrived.settled,
            key: arrived.key || !is_video,
            lost_packets: u16::try_from(arrived.lost_packets).unwrap_or(u16::MAX),
            data: Bytes::copy_from_slice(arrived.data),
            tracks,
        };
        present.keep(&shown, is_video);
        // Sent under the lock, so that a viewer that comes sees it once. It fails where nobody watches any more.
        let _ = self.sender.send(shown);
    }

    /// A record became durable.
    pub(crate) fn durable(&self) {
        self.news.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Changes whenever a record became durable.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Watches from here on: what was kept, and what comes.
    pub(crate) fn watch(hub: Arc<Self>) -> Watching {
        let present = hub.present();
        let kept = present.group.clone();
        let comes = hub.sender.subscribe();
        if hub.viewers.fetch_add(1, Ordering::Relaxed) == 0 {
            hub.wants_open.store(true, Ordering::Relaxed);
            hub.interval.set(WATCHED_INTERVAL);
        }
        drop(present);
        Watching { hub, kept, comes }
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Present {
    /// The timestamp to show; `None` for a track that is not known.
    fn timestamp(&mut self, arrived: &Arrived<'_>, clock_rate: u32) -> Option<u32> {
        let clock = self.clocks.get_mut(arrived.track)?;
        let (pts, capture) = (arrived.pts, arrived.capture);
        let ticks = |passed: i64| {
            let ticks = i128::from(passed) * i128::from(clock_rate) / i128::from(TICKS_PER_SECOND);
            i64::try_from(ticks).unwrap_or(0)
        };
        let offset = match *clock {
            None => ticks(capture.ticks()).wrapping_sub(pts),
            Some(TrackClock { offset, last: (last, at) }) => {
                let expected = last.wrapping_add(ticks(capture.ticks_since(at)));
                let off = pts.wrapping_sub(expected);
                if off.saturating_abs() > ticks(JUMP_TICKS) { offset.wrapping_sub(off) } else { offset }
            }
        };
        *clock = Some(TrackClock { offset, last: (pts, capture) });
        u32::try_from(pts.wrapping_add(offset) & i64::from(u32::MAX)).ok()
    }

    /// Keeps the group of pictures that is shown.
    fn keep(&mut self, shown: &Shown, is_video: bool) {
        if is_video && shown.key {
            self.forget();
        } else if self.group.is_empty() {
            return;
        }
        self.group_bytes = self.group_bytes.saturating_add(shown.data.len());
        if self.group_bytes > GROUP_BYTES_MAX || self.group.len() >= GROUP_MAX {
            return self.forget();
        }
        self.group.push_back(shown.clone());
    }

    fn forget(&mut self) {
        self.group.clear();
        self.group_bytes = 0;
    }
}

/// Somebody who watches; ends with it.
#[derive(Debug)]
pub(crate) struct Watching {
    hub: Arc<Hub>,
    kept: VecDeque<Shown>,
    comes: broadcast::Receiver<Shown>,
}

/// What a viewer gets.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    /// A sample.
    Shown(Shown),
    /// So many samples were missed.
    Missed(u64),
}

impl Watching {
    /// What is shown next; never without the stream. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Seen> {
        if let Some(shown) = self.kept.pop_front() {
            return Some(Seen::Shown(shown));
        }
        match self.comes.recv().await {
            Ok(shown) => Some(Seen::Shown(shown)),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Seen::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

impl Watching {
    /// What came already; `None` when nothing more has.
    pub(crate) fn try_next(&mut self) -> Option<Seen> {
        if let Some(shown) = self.kept.pop_front() {
            return Some(Seen::Shown(shown));
        }
        match self.comes.try_recv() {
            Ok(shown) => Some(Seen::Shown(shown)),
            Err(broadcast::error::TryRecvError::Lagged(missed)) => Some(Seen::Missed(missed)),
            Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed) => None,
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut present = self.hub.present();
        if self.hub.viewers.fetch_sub(1, Ordering::Relaxed) == 1 {
            // What is not shown any more would be kept for nobody.
            present.forget();
            present.clocks = Default::default();
            self.hub.wants_open.store(false, Ordering::Relaxed);
            self.hub.interval.set(ReadInterval::default().interval());
        }
    }
}

#[cfg(test)]
mod tests;
