//! Writes fetched footage into the backfill lane: of it what fills the gap, with labels of this recorder's clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keepwatch_model::{GapReason, Span, TICKS_PER_SECOND, TrackConfig, WallTime};
use keepwatch_recording::replenish::JobEnd;
use keepwatch_recording::replenish::splice::Splice;
use keepwatch_store::{
    CameraTime, CommitError, PushError, RecordMeta, RunId, Store, StreamWriter, TRACKS_MAX,
};

use tokio::sync::watch;

use super::edges::Edges;
use super::intake::Settled;
use super::piece::{Piece, PieceSample};
use super::place::{Judged, Placed, Places};
use crate::camera::StreamState;

/// Fills one gap from one source.
pub(super) struct Import {
    store: Store,
    stream: Arc<StreamState>,
    writer: StreamWriter,
    splice: Splice,
    places: Places,
    ahead_of_camera_ticks: Option<i64>,
    /// The run of the source, where its last piece ended, and the run that it is here.
    run: Option<(RunId, WallTime, RunId)>,
    /// Fetched records that had been refused when this began.
    refused_before: u64,
    /// Ticks and records that were written.
    pub(super) ticks: i64,
    pub(super) records: u64,
}

impl NotWritten {
    /// How that ends a job.
    pub(super) const fn end(self) -> JobEnd {
        match self {
            Self::Full | Self::NoDisk => JobEnd::NoRoom,
            // Up to where is found in what became of its records.
            Self::Refused => JobEnd::NotTaken { until: WallTime::MIN },
        }
    }
}

/// Longest wait until fetched records reach the disk.
pub(super) const SETTLE_MAX: Duration = Duration::from_secs(60);
/// How soon a full buffer is looked at again: records of other streams fill it as well, and none of this one may be on its way.
const ROOM_LOOK: Duration = Duration::from_millis(100);

/// Waits for room in the buffer of what is fetched.
pub(super) struct Room {
    settled: watch::Receiver<Settled>,
    until: Instant,
}

impl Room {
    /// For a record of `stream`.
    pub(super) fn of(stream: &StreamState) -> Self {
        Self { settled: stream.intake().follow(), until: Instant::now() + SETTLE_MAX }
    }

    /// Returns when there may be some.
    ///
    /// # Errors
    /// When there was none for so long that the disks must have stopped.
    pub(super) async fn wait(&mut self) -> Result<(), NotWritten> {
        // Which of the two it was does not matter.
        drop(tokio::time::timeout(ROOM_LOOK, self.settled.changed()).await);
        if Instant::now() > self.until { Err(NotWritten::NoDisk) } else { Ok(()) }
    }
}

/// Why a piece was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotWritten {
    /// The buffer is full: wait for what is on its way, and try again.
    Full,
    /// No disk takes anything.
    NoDisk,
    /// The disks have no place for this footage, or this record: all of the gap up to it is given up.
    Refused,
}

impl Import {
    pub(super) fn new(store: &Store, stream: Arc<StreamState>, edges: Edges) -> Self {
        let refused_before = stream.intake().settled().refused;
        Self {
            store: store.clone(),
            writer: store.backfill_writer(stream.camera, stream.id),
            stream,
            places: Places::new(edges.gap, edges.half_frame_ticks),
            ahead_of_camera_ticks: edges.ahead_of_camera_ticks(),
            splice: edges.splice(),
            run: None,
            refused_before,
            ticks: 0,
            records: 0,
        }
    }

    /// How far this recorder's labels are ahead of the camera's clock, beside the gap; `None` when the camera does not tell.
    pub(super) const fn ahead_of_camera_ticks(&self) -> Option<i64> {
        self.ahead_of_camera_ticks
    }

    /// This recorder's clock shows so many ticks more than the one by which pieces are labelled.
    pub(super) const fn compare_clocks(&mut self, ticks: i64) {
        self.splice.compare_clocks(ticks);
    }

    /// The source sends all that it has, in whatever order.
    pub(super) const fn begin_at_any_frame(&mut self) {
        self.splice.begin_at_any_frame();
    }

    /// Whether footage that begins at `label` goes on behind what was written, into the same gap.
    pub(super) fn goes_on_at(&self, label: WallTime) -> bool {
        self.places.is_free_from(label)
    }

    /// Judges the next piece. Each is judged once, in order.
    pub(super) fn judge(&mut self, piece: &Piece<'_>) -> Judged {
        Judged::of(&mut self.splice, piece)
    }

    /// Writes what was judged to fill the gap; what has no room is left as if it had not come.
    pub(super) fn write(&mut self, piece: &Piece<'_>, judged: &Judged) -> Result<(), NotWritten> {
        // The disk tells of an earlier record that it has no place for such.
        if self.stream.intake().settled().refused > self.refused_before {
            return Err(NotWritten::Refused);
        }
        let Some(judged) = self.places.place(piece, judged) else { return Ok(()) };
        let (judged, Some(video)) = (&judged, piece.video()) else { return Ok(()) };
        let mut pushed = Pushed { first: [None; TRACKS_MAX], is_whole: true };
        let result = self.push(piece, judged, video, &mut pushed);
        if let Err(error) = result {
            self.writer.discard();
            return match error {
                PushError::Backlog(_) => Err(NotWritten::Full),
                PushError::RecordFull => {
                    // A disk of smaller extents than the source's.
                    tracing::warn!(camera = %self.stream.camera, "a fetched record is too large for the disks");
                    self.stream.intake().refuse(judged.label.to);
                    Err(NotWritten::Refused)
                }
            };
        }
        let meta = self.meta(piece, judged, &pushed);
        self.stream.intake().queued();
        match self.writer.commit(meta) {
            Ok(()) => {
                self.places.written(judged);
                self.ticks = self.ticks.saturating_add(judged.label.ticks());
                self.records += 1;
                Ok(())
            }
            Err(CommitError::NoDisk(_)) => {
                self.stream.intake().lost(GapReason::DiskGone, judged.label.to);
                Err(NotWritten::NoDisk)
            }
            Err(CommitError::Closed) => {
                self.stream.intake().lost(GapReason::RecorderDown, judged.label.to);
                Err(NotWritten::NoDisk)
            }
            Err(error @ (CommitError::Empty | CommitError::Meta)) => {
                self.stream.intake().lost(GapReason::StreamUnusable, judged.label.to);
                tracing::warn!(camera = %self.stream.camera, %error, "a fetched record was refused");
                Err(NotWritten::Refused)
            }
        }
    }

    fn push(
        &mut self,
        piece: &Piece<'_>,
        judged: &Placed<'_>,
        video: usize,
        pushed: &mut Pushed,
    ) -> Result<(), PushError> {
        let all = piece.samples.get(video).map_or(0, Vec::len) == judged.taken.len();
        pushed.is_whole = all;
        for (number, samples) in piece.samples.iter().enumerate().take(TRACKS_MAX) {
            for (place, sample) in samples.iter().enumerate() {
                let own = sample.label.plus(judged.shift_ticks);
                let fits = match number == video {
                    true => judged.taken.contains(&place),
                    // What is beside the pictures goes with them.
                    false => all || judged.label.contains(own),
                };
                if fits {
                    self.writer.push(number, sample.pts, sample.key, sample.data)?;
                    if let Some(first) = pushed.first.get_mut(number) {
                        first.get_or_insert((own, sample.key));
                    }
                }
            }
        }
        Ok(())
    }

    fn meta(&mut self, piece: &Piece<'_>, judged: &Placed<'_>, pushed: &Pushed) -> RecordMeta {
        // A run goes on where the source's does, and no frame is missing here.
        let goes_on = self.run.filter(|(run, until, _)| *run == piece.run && *until == piece.label.from);
        let own_run = goes_on.map_or_else(|| self.store.new_run(), |(_, _, own)| own);
        self.run = Some((piece.run, piece.label.to, own_run));
        let label = |first: &Option<(WallTime, bool)>| first.map_or(judged.label.from, |(label, _)| label);
        let track_labels = pushed.first.each_ref().map(label);
        let starts_with_key =
            piece.video().and_then(|video| *pushed.first.get(video)?).is_some_and(|(_, key)| key);
        RecordMeta {
            run: own_run,
            run_start: goes_on.is_none(),
            continuation: !starts_with_key,
            label: judged.label,
            track_labels,
            camera_time: self.camera_time(piece, judged, pushed),
            tracks: piece.tracks.iter().take(TRACKS_MAX).cloned().collect::<Arc<[TrackConfig]>>(),
            gap_before: None,
            lost_packets: piece.lost_packets,
            origin: piece.origin,
            recorder: piece.recorder,
            replaces: piece.replaces,
        }
    }

    /// The camera's time of what is taken of `piece`.
    fn camera_time(&self, piece: &Piece<'_>, judged: &Placed<'_>, pushed: &Pushed) -> Option<CameraTime> {
        let known = piece.camera_time?;
        if pushed.is_whole {
            return Some(known);
        }
        let samples = piece.samples.get(piece.video()?)?;
        let taken = samples.iter().enumerate().filter(|(place, _)| judged.taken.contains(place));
        let first = taken.map(|(_, sample): (_, &PieceSample<'_>)| sample.label).min()?;
        let from = known.span.from.plus(first.ticks_since(piece.first_shown()?));
        let to = from.plus(judged.label.ticks().clamp(1, 3_600 * TICKS_PER_SECOND));
        Some(CameraTime { span: Span::new(from, to.min(known.span.to.max(from.plus(1))))?, ..known })
    }
}

/// What was pushed of a piece.
struct Pushed {
    /// Of each track the own label of its first sample, and whether decoding can start there.
    first: [Option<(WallTime, bool)>; TRACKS_MAX],
    /// All of its pictures.
    is_whole: bool,
}
