//! Writes fetched footage into the backfill lane: of it what fills the gap, with labels of this recorder's clock.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keepwatch_model::{GapReason, Span, TICKS_PER_SECOND, TrackConfig, WallTime};
use keepwatch_recording::replenish::JobEnd;
use keepwatch_recording::replenish::splice::{Splice, Verdict};
use keepwatch_store::{
    CameraTime, CommitError, PushError, RecordMeta, RunId, Store, StreamWriter, TRACKS_MAX,
};

use tokio::sync::watch;

use super::edges::Edges;
use super::intake::Settled;
use super::piece::{Piece, PieceSample};
use crate::camera::StreamState;

/// Most frames between two pieces that count as none missing: rounding, and the steering of clocks.
const SEAM_HALF_FRAMES: i64 = 3;

/// Fills one gap from one source.
pub(super) struct Import {
    store: Store,
    stream: Arc<StreamState>,
    writer: StreamWriter,
    splice: Splice,
    gap: Span,
    half_frame_ticks: i64,
    ahead_of_camera_ticks: Option<i64>,
    /// Where what was written ends.
    reach: WallTime,
    /// The run of the source, where its last piece ended, and the run that it is here.
    run: Option<(RunId, WallTime, RunId)>,
    /// The run of the piece that was judged last.
    source_run: Option<RunId>,
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

/// What of a piece fills the gap. It is written when the next one was judged: only that tells what becomes of a frame that is
/// labelled behind the gap, and whether anything is missing between what is taken and what is held behind it.
#[derive(Debug)]
pub(super) struct Judged {
    taken: BTreeSet<usize>,
    /// Frames that fill the gap if the first one held behind it comes after them.
    late: BTreeSet<usize>,
    /// How many of those that are taken were late.
    taken_late: usize,
    /// This recorder's labels are so far ahead.
    shift_ticks: i64,
    /// The first frame held behind the gap is in it.
    joined: bool,
    /// Nothing else is missing up to the end of the gap but so many late frames, which are in the piece behind it.
    behind: Option<usize>,
    /// Something of it belongs behind the gap: nothing more is wanted.
    pub(super) is_last: bool,
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

impl Judged {
    /// Whether any of it fills the gap.
    pub(super) fn takes_any(&self) -> bool {
        !self.taken.is_empty()
    }

    /// `next` was judged, which comes right behind it.
    pub(super) fn followed_by(&mut self, next: &mut Self) {
        if next.joined {
            self.take_late();
            self.behind = (next.taken.len() == next.taken_late).then_some(next.taken_late);
        } else if !self.late.is_empty() {
            // Whether they are held here cannot be told.
            self.late.clear();
            next.late.clear();
            next.is_last = true;
        }
    }

    fn take_late(&mut self) {
        self.taken_late = self.late.len();
        self.taken.append(&mut self.late);
    }
}

impl Import {
    pub(super) fn new(store: &Store, stream: Arc<StreamState>, edges: Edges) -> Self {
        let refused_before = stream.intake().settled().refused;
        Self {
            store: store.clone(),
            writer: store.backfill_writer(stream.camera, stream.id),
            stream,
            gap: edges.gap,
            ahead_of_camera_ticks: edges.ahead_of_camera_ticks(),
            half_frame_ticks: edges.half_frame_ticks,
            reach: edges.gap.from,
            splice: edges.splice(),
            run: None,
            source_run: None,
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

    /// Judges the next piece. Each is judged once, in order.
    pub(super) fn judge(&mut self, piece: &Piece<'_>) -> Judged {
        if self.source_run.replace(piece.run).is_some_and(|before| before != piece.run) {
            self.splice.other_run();
        }
        let joined_before = self.splice.is_joined();
        let (mut taken, mut late, mut is_last) = (BTreeSet::new(), BTreeSet::new(), false);
        for (place, frame) in piece.frames().iter().enumerate() {
            match self.splice.judge(frame) {
                Verdict::Take => drop(taken.insert(place)),
                Verdict::Late => drop(late.insert(place)),
                Verdict::Skip => {}
                Verdict::Beyond => is_last = true,
            }
        }
        let joined = self.splice.is_joined() && !joined_before;
        let shift_ticks = self.splice.shift_ticks();
        let mut judged = Judged { taken, late, taken_late: 0, shift_ticks, joined, behind: None, is_last };
        if joined {
            judged.take_late();
            judged.behind = Some(0);
        } else if is_last {
            judged.late.clear();
        }
        judged
    }

    /// The labels of what is taken of `piece`, and how much earlier than by the clocks its samples are labelled: what was recognised
    /// as lying in the gap has its place there, however late its packets were.
    fn place(&self, piece: &Piece<'_>, judged: &Judged) -> (Span, i64) {
        let Judged { taken, taken_late, shift_ticks, behind, is_last, .. } = judged;
        let only_late = *taken_late > 0 && taken.len() == *taken_late;
        let own = |label: WallTime| label.plus(*shift_ticks);
        let frame_ticks = 2 * self.half_frame_ticks;
        let samples = piece.video().and_then(|video| piece.samples.get(video));
        let labels = samples.into_iter().flatten().enumerate();
        let shown = labels.filter(|(place, _)| taken.contains(place)).map(|(_, sample)| sample.label);
        let (first, last) = (shown.clone().min(), shown.max());
        let whole = |place: usize| taken.contains(&place);
        let count = samples.map_or(0, Vec::len);
        let from = if whole(0) { piece.label.from } else { first.unwrap_or(piece.label.to) };
        let to = match last {
            Some(last) if *is_last || !whole(count.saturating_sub(1)) => last.plus(frame_ticks),
            Some(_) | None => piece.label.to,
        };
        let (mut from, mut to) = (own(from), own(to).min(self.gap.to));
        let seam = SEAM_HALF_FRAMES * self.half_frame_ticks;
        if only_late || from < self.reach || from.ticks_since(self.reach) <= seam {
            from = self.reach;
        }
        // Nothing is known of what comes behind it: one frame more may, unless there is no room for it.
        let behind_ticks = if *is_last { seam } else { self.half_frame_ticks };
        match *behind {
            // What comes behind it needs a place as well.
            Some(count @ 1..) => {
                let room = frame_ticks.saturating_mul(i64::try_from(count).unwrap_or(i64::MAX));
                to = to.min(self.gap.to.plus(-room)).max(from.plus(1)).min(self.gap.to);
            }
            Some(0) if self.gap.to.ticks_since(to) <= seam => to = self.gap.to,
            None if self.gap.to.ticks_since(to) <= behind_ticks => to = self.gap.to,
            Some(0) | None => {}
        }
        let excess_ticks = last.map_or(0, |last| own(last).ticks_since(to) + 1).max(0);
        // The first picture of a longer piece must not come before the last of the one before.
        let earlier_ticks = if only_late { excess_ticks } else { excess_ticks.min(frame_ticks - 1) };
        (Span { from, to }, earlier_ticks)
    }

    /// Writes what was judged to fill the gap; what has no room is left as if it had not come.
    pub(super) fn write(&mut self, piece: &Piece<'_>, judged: &Judged) -> Result<(), NotWritten> {
        // The disk tells of an earlier record that it has no place for such.
        if self.stream.intake().settled().refused > self.refused_before {
            return Err(NotWritten::Refused);
        }
        let (label, earlier_ticks) = self.place(piece, judged);
        let Some(video) = piece.video().filter(|_| !judged.taken.is_empty() && label.from < label.to) else {
            return Ok(());
        };
        let judged = &Placed { taken: &judged.taken, label, shift_ticks: judged.shift_ticks - earlier_ticks };
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
                self.reach = judged.label.to;
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

/// What of a piece is written, and where.
struct Placed<'a> {
    taken: &'a BTreeSet<usize>,
    label: Span,
    shift_ticks: i64,
}

/// What was pushed of a piece.
struct Pushed {
    /// Of each track the own label of its first sample, and whether decoding can start there.
    first: [Option<(WallTime, bool)>; TRACKS_MAX],
    /// All of its pictures.
    is_whole: bool,
}
