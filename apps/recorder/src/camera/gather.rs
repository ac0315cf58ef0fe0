//! Gathers samples into records and records into runs.
//!
//! A run is an unbroken sequence of frames with one set of parameters on one time line: a lost packet, a change of
//! parameters or a jump of timestamps ends it, and only a lost packet (or a long pause) leaves a gap. Where a
//! record ends and what its labels are is decided by `core/recording`; this carries it out, into the store's open
//! record, the ledger and the event log.

mod beside;
mod doubt;
mod output;
mod show;
mod tell;
mod track;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use keepwatch_media::depacketize::Sample;
use keepwatch_model::{
    CodecKind, EventCode, GapReason, MonoTime, Span, State, StreamId, TICKS_PER_SECOND, TrackConfig,
    UnknownReason, WallTime,
};
use keepwatch_recording::cadence::{Before, Cadence};
use keepwatch_recording::pace::{PAUSE_TICKS_MAX, Pace};
use keepwatch_recording::slicer::Slicer;
use keepwatch_recording::timeline::{Begin, Report, Seam, Timeline};
use keepwatch_store::{
    CameraTime, CommitError, Committed, GapBefore, PushError, RecordMeta, RunId, TRACKS_MAX, TimeQuality,
};
use tokio::sync::mpsc;

use self::beside::{Beside, Put};
pub(crate) use self::output::{Ending, Output, Signal};
use self::tell::Told;
use self::track::Track;
use super::context::Context;
use super::notice;
use super::stream::{StreamState, clock_offset_event};

/// Frames that cannot be decoded are waited through for so long before an operator hears of it.
const KEY_FRAME_WAIT: Duration = Duration::from_secs(5);
/// Metadata that came so long before the first picture of a run is recorded with it; what came earlier tells of pictures
/// that are missing.
const METADATA_AHEAD_MAX: Duration = Duration::from_secs(2);
/// The same before a later record, whose labels begin where the last one ended: the slowest camera's pictures are ten
/// seconds apart.
const METADATA_BETWEEN_MAX: Duration = Duration::from_secs(12);
/// Position of the video among the tracks of a session: the one that records are cut by.
const VIDEO: usize = 0;

/// One session's samples on their way into records.
pub(crate) struct Gather<'a> {
    context: &'a Context,
    stream: &'a StreamState,
    output: &'a mut Output,
    signals: mpsc::Sender<Signal>,
    tracks: Vec<Track>,
    metadata: Beside,
    /// Whether the events in its metadata are entered into the event log.
    enters_events: bool,
    slicer: Slicer,
    run: Option<Run>,
    /// The latest picture in the order they are shown, and how long a frame lasts; survives the end of a run.
    cadence: Cadence,
    /// Where the footage before a pause in doubt ends.
    doubted: Option<Seam>,
    /// Why the next run does not begin where the last one ended; `None` when it does.
    broken: Option<GapReason>,
    /// A run was begun in this session, so that pictures between key frames can be decoded, if badly.
    decodable: bool,
    /// Since when pictures come that decoding cannot start at.
    undecodable_since: Option<MonoTime>,
    /// Both clocks, read once per batch.
    batch: (MonoTime, WallTime),
    /// When the last picture came.
    pictured: MonoTime,
    told: Told,
}

struct Run {
    id: RunId,
    configs: Arc<[TrackConfig]>,
    /// Label at which its last committed record ends; `None` before the first.
    label_until: Option<WallTime>,
    /// When its first picture came.
    began: MonoTime,
    /// Pictures come in another order than they are shown.
    reorders: bool,
    /// The next record goes on with the last record's group of pictures.
    continuation: bool,
    record_min_pts: i64,
    record_lost_packets: u32,
}

impl<'a> Gather<'a> {
    /// Gathers the samples of `tracks`, the video first.
    pub(crate) fn new(
        context: &'a Context,
        stream: &'a StreamState,
        output: &'a mut Output,
        signals: mpsc::Sender<Signal>,
        tracks: &[TrackConfig],
    ) -> Self {
        let cadence = Cadence::new(output.usual_ticks);
        Self {
            context,
            stream,
            output,
            signals,
            tracks: tracks.iter().take(TRACKS_MAX).map(Track::new).collect(),
            metadata: Beside::default(),
            enters_events: false,
            slicer: Slicer::default(),
            run: None,
            cadence,
            doubted: None,
            broken: Some(GapReason::ConnectionLost),
            decodable: false,
            undecodable_since: None,
            batch: (MonoTime::ZERO, WallTime::default()),
            pictured: MonoTime::ZERO,
            told: Told::default(),
        }
    }

    /// The same, and the events in its metadata are entered into the event log if `enters_events`.
    pub(crate) fn entering_events(self, enters_events: bool) -> Self {
        Self { enters_events, ..self }
    }

    pub(crate) fn stream(&self) -> &'a StreamState {
        self.stream
    }

    /// A whole sample of `track` came at `now`.
    pub(crate) fn sample(&mut self, now: MonoTime, track: usize, sample: &Sample<'_>) {
        let wall = self.wall(now);
        let watched = self.stream.hub().is_watched();
        if watched && self.stream.hub().takes_open() {
            self.show_open(wall);
        }
        let Some(place) = self.tracks.get_mut(track) else { return };
        if sample.lost_packets > 0 {
            self.stream.counters().lost_packets.fetch_add(u64::from(sample.lost_packets), Ordering::Relaxed);
        }
        match place.config.kind {
            _ if track == VIDEO => self.video(now, wall, sample),
            CodecKind::Metadata => self.document(now, wall, track, sample),
            CodecKind::H264
            | CodecKind::H265
            | CodecKind::Jpeg
            | CodecKind::Pcmu
            | CodecKind::Pcma
            | CodecKind::Aac => self.audio(now, wall, track, sample),
        }
        if watched {
            self.show(wall, track, sample);
        }
    }

    /// The camera says that RTP time `rtp` of `track` is `camera_time`.
    pub(crate) fn sender_report(&mut self, now: MonoTime, track: usize, rtp: u32, camera_time: WallTime) {
        let Some(place) = self.tracks.get_mut(track) else { return };
        let report = place.sender_report(rtp, camera_time, now);
        if track == VIDEO {
            self.reported(now, report);
        }
    }

    /// What a sender report of the pictures told.
    fn reported(&mut self, now: MonoTime, report: Option<Report>) {
        let (Some(report), Some(video)) = (report, self.tracks.get(VIDEO)) else { return };
        let offset = video.timeline.clock_offset();
        if let Some(change) = self.stream.set_clock_offset(offset)
            && self.stream.id == StreamId::MAIN
        {
            let (code, text) = clock_offset_event(change);
            self.context.tell(self.stream, self.batch.1, code, text);
        }
        match report {
            Report::First | Report::Agrees => {}
            Report::Stepped(ticks) => {
                // Camera time begins a new epoch; the pictures go on, and the label with them.
                self.end_run(None);
                let seconds = ticks as f64 / TICKS_PER_SECOND as f64;
                let text = format!("the camera's clock was set by {seconds:.1} s; no frame was lost");
                self.event(now, EventCode::TimestampJumped, text);
            }
            Report::Unbelievable => {
                self.end_run(None);
                let text = "the camera's reports of its clock contradict each other and are not used; no frame was \
                            lost, and its footage is placed by arrival";
                self.event(now, EventCode::TimestampJumped, text.to_owned());
            }
        }
    }

    /// All that had arrived was handed over.
    pub(crate) fn idle(&mut self, now: MonoTime) {
        if self.slicer.is_overdue(now) {
            self.commit(self.cadence.pace().map_or(0, Pace::end_pts));
        }
    }

    /// Ends the session: what arrived is closed and queued at once, and what follows is missing for `ending`.
    pub(crate) fn finish(mut self, ending: Ending) {
        self.end_run(None);
        self.output.usual_ticks = self.cadence.usual_ticks();
        let at = match &mut self.output.seam {
            Some(seam) if seam.unbroken => {
                seam.unbroken = false;
                seam.label
            }
            Some(_) | None => self.context.clock.wall(),
        };
        ending.enter(self.stream, at);
    }

    fn video(&mut self, now: MonoTime, wall: WallTime, sample: &Sample<'_>) {
        let pts = sample.timestamp;
        let Some(track) = self.tracks.get_mut(VIDEO) else { return };
        let jumps = track.timeline.jumps(pts, now);
        if !jumps && self.cadence.confirm(pts) {
            self.split_run();
        }
        let mut before = Before::Nothing;
        // What ends the run is asked before the parameters may: they must not hide a loss.
        if jumps {
            self.end_run((sample.lost_packets > 0).then_some(GapReason::PacketsLost));
            self.forget_times();
            self.event(
                now,
                EventCode::TimestampJumped,
                "the camera's timestamps jumped; no frame was lost".into(),
            );
        } else if sample.lost_packets > 0 && self.decodable {
            before = Before::Pause;
            self.end_run(Some(GapReason::PacketsLost));
            let text =
                format!("{} packets were lost; the frames they carried are missing", sample.lost_packets);
            self.event(now, EventCode::PacketsLost, text);
        } else {
            before = self.cadence.look(pts);
            match before {
                Before::Nothing => {}
                Before::Pause => self.end_run(Some(GapReason::CameraSilent)),
                Before::Doubt => self.doubt(!sample.key),
            }
        }
        if let Some(config) = sample.config_changed {
            self.reconfigure(now, VIDEO, config);
        }
        let early = self.tracks.get_mut(VIDEO).and_then(|track| track.take_early(pts));
        self.reported(now, early);
        if let Some(track) = self.tracks.get_mut(VIDEO) {
            track.arrived(pts, now, wall);
        }
        if self.run.is_some() && self.slicer.cuts_before(pts, sample.key, sample.data.len()) {
            self.commit(pts);
            if let Some(run) = &mut self.run {
                run.continuation = !sample.key;
            }
        }
        if self.run.is_some() || self.begin_run(now, sample) {
            self.push_video(now, sample);
        }
        self.cadence.advance(pts, before);
        self.pictured = now;
    }

    /// Begins a run with this sample, if decoding can start at it.
    fn begin_run(&mut self, now: MonoTime, sample: &Sample<'_>) -> bool {
        if !sample.key && !self.decodable {
            let since = *self.undecodable_since.get_or_insert(now);
            if now.since(since) >= KEY_FRAME_WAIT {
                self.undecodable_since = Some(now);
                self.signal(Signal::KeyFrameMissing);
            }
            return false;
        }
        self.undecodable_since = None;
        self.decodable = true;
        let configs: Arc<[TrackConfig]> = self.tracks.iter().map(|track| track.config.clone()).collect();
        self.stream.hub().describe(&configs);
        self.run = Some(Run {
            id: self.output.store.new_run(),
            configs,
            label_until: None,
            began: now,
            reorders: false,
            continuation: !sample.key,
            record_min_pts: sample.timestamp,
            record_lost_packets: 0,
        });
        true
    }

    fn push_video(&mut self, now: MonoTime, sample: &Sample<'_>) {
        let pts = sample.timestamp;
        let mut pushed = self.output.writer.push(VIDEO, pts, sample.key, sample.data);
        if pushed == Err(PushError::RecordFull) && self.slicer.is_open() {
            self.commit(pts);
            pushed = self.output.writer.push(VIDEO, pts, sample.key, sample.data);
        }
        match pushed {
            Ok(()) => {}
            Err(PushError::Backlog(reason)) => return self.refused(reason),
            Err(PushError::RecordFull) => return self.refused(GapReason::StreamUnusable),
        }
        let (Some(run), Some(track)) = (&mut self.run, self.tracks.get_mut(VIDEO)) else { return };
        if track.first_in_record.is_none() {
            track.first_in_record = Some(pts);
            run.record_min_pts = pts;
        }
        run.record_min_pts = run.record_min_pts.min(pts);
        run.reorders |= self.cadence.pace().is_some_and(|pace| pts < pace.max_pts);
        let opened = !self.slicer.is_open();
        self.slicer.joined(now, pts, sample.key, sample.data.len());
        if opened {
            self.record_waiting(now);
        }
        self.stream.counters().frames.fetch_add(1, Ordering::Relaxed);
    }

    fn audio(&mut self, now: MonoTime, wall: WallTime, index: usize, sample: &Sample<'_>) {
        if let Some(config) = sample.config_changed {
            self.reconfigure(now, index, config);
        }
        let Some(track) = self.tracks.get_mut(index) else { return };
        track.arrived(sample.timestamp, now, wall);
        // Sound follows the picture: it joins the open record and never opens one.
        if !self.slicer.is_open() {
            return;
        }
        let pts = track.recorded(sample.timestamp);
        if self.output.writer.push(index, pts, true, sample.data).is_ok() {
            track.first_in_record.get_or_insert(pts);
            self.slicer.joined_audio(sample.data.len());
            if let Some(run) = &mut self.run {
                run.record_lost_packets = run.record_lost_packets.saturating_add(sample.lost_packets);
            }
        }
    }

    /// A metadata document: it goes into the open record, or waits for the next.
    fn document(&mut self, now: MonoTime, wall: WallTime, index: usize, sample: &Sample<'_>) {
        let Some(track) = self.tracks.get_mut(index) else { return };
        track.arrived(sample.timestamp, now, wall);
        let pts = track.recorded(sample.timestamp);
        // What a camera notices is its recorder's to tell, until that fails.
        let tells = self.enters_events && !self.stream.is_quiet();
        if tells || self.stream.alarms().are_armed() {
            notice::hear_document(self.context, self.stream, sample.data, tells);
        }
        let put = if self.slicer.is_open() {
            self.record_document(index, pts, sample.data)
        } else {
            self.metadata.wait(now, pts, sample.data)
        };
        if put == Put::Dropped {
            self.stream.counters().bad_packets.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn record_document(&mut self, index: usize, pts: i64, document: &[u8]) -> Put {
        let put = self.metadata.put(&mut self.output.writer, index, pts, document);
        if let (Put::Recorded, Some(track)) = (put, self.tracks.get_mut(index)) {
            track.first_in_record.get_or_insert(pts);
        }
        put
    }

    /// A record was opened at `now`: documents that waited for one go into it.
    fn record_waiting(&mut self, now: MonoTime) {
        let Some(index) = self.tracks.iter().position(|track| track.config.kind == CodecKind::Metadata)
        else {
            return;
        };
        let goes_on = self.run.as_ref().is_some_and(|run| run.label_until.is_some());
        let age_max = if goes_on { METADATA_BETWEEN_MAX } else { METADATA_AHEAD_MAX };
        for (pts, document) in self.metadata.take_waiting(now, age_max) {
            self.record_document(index, pts, &document);
        }
    }

    fn reconfigure(&mut self, now: MonoTime, index: usize, config: &TrackConfig) {
        let Some(track) = self.tracks.get_mut(index) else { return };
        if track.config == *config {
            return;
        }
        // Learned from the stream because the description had none: nothing changed.
        let learned = track.config.config.is_empty();
        track.config = config.clone();
        if self.run.is_some() {
            self.end_run(None);
            if !learned {
                let text = "the camera changed its parameters; no frame was lost".into();
                self.event(now, EventCode::ParametersChanged, text);
            }
        }
    }

    /// Ends the run; `broken` says why the next one does not follow seamlessly, `None` that it does. The time line
    /// goes on: the label of the next picture is that of its timestamp.
    fn end_run(&mut self, broken: Option<GapReason>) {
        self.settle_doubt();
        let Some(pace) = self.cadence.pace() else { return };
        if self.run.is_some() {
            self.commit(pace.end_pts());
        }
        // A committed record may have found no disk and ended the run itself.
        if self.run.is_some() {
            if let Some(seam) = self.seam(pace) {
                self.output.seam = Some(Seam { unbroken: true, ..seam });
            }
            self.run = None;
            self.broken = None;
        }
        // The run may have ended seamlessly just before.
        if let (Some(reason), Some(seam)) = (broken, &mut self.output.seam)
            && self.broken.is_none()
        {
            seam.unbroken = false;
            self.stream.account().missing_from(seam.label, reason);
            self.broken = broken;
        }
    }

    /// After a jump of timestamps, nothing that was measured by the old ones counts.
    fn forget_times(&mut self) {
        self.cadence.forget_times();
        self.slicer.forget();
        if let Some(track) = self.tracks.get_mut(VIDEO) {
            track.timeline.forget();
        }
    }

    /// Closes the open record, whose last picture ends where the one at `next_pts` begins, and queues it.
    fn commit(&mut self, next_pts: i64) {
        if !self.slicer.is_open() {
            return;
        }
        self.slicer.closed();
        self.metadata.closed();
        self.settle_doubt();
        let Some(run) = &mut self.run else { return };
        let Some(video) = self.tracks.get_mut(VIDEO) else { return };
        let end_pts = match self.cadence.pace() {
            Some(pace) if run.reorders => pace.end_pts(),
            Some(_) | None => next_pts,
        };
        let (from, gap_before) = match run.label_until {
            Some(label) => (label, None),
            None => begin(self.stream, &mut video.timeline, run, self.output.seam, self.broken),
        };
        let timeline = &video.timeline;
        let label = |pts| timeline.label(pts).unwrap_or_default();
        let to = label(end_pts).max(from.plus(1));
        let camera_time = timeline
            .camera_time(run.record_min_pts)
            .zip(timeline.camera_time(end_pts))
            .and_then(|(from, to)| Span::new(from, to))
            .map(|span| CameraTime { span, quality: TimeQuality::SenderReport });
        let mut track_labels = [from; TRACKS_MAX];
        for (index, (place, track)) in track_labels.iter_mut().zip(&self.tracks).enumerate() {
            if let (Some(pts), Some(video)) = (track.first_in_record, self.tracks.get(VIDEO)) {
                let label = if index == VIDEO {
                    video.timeline.label(pts)
                } else {
                    track.label_beside(track.sent(pts), video)
                };
                *place = label.unwrap_or_default();
            }
        }
        let provenance = self.stream.provenance();
        let meta = RecordMeta {
            run: run.id,
            run_start: run.label_until.is_none(),
            continuation: run.continuation,
            label: Span { from, to },
            track_labels,
            camera_time,
            tracks: Arc::clone(&run.configs),
            gap_before,
            lost_packets: std::mem::take(&mut run.record_lost_packets),
            origin: provenance.origin,
            recorder: None,
            replaces: provenance.replaces,
        };
        run.label_until = Some(to);
        run.continuation = true;
        for track in &mut self.tracks {
            track.first_in_record = None;
        }
        if let Some(video) = self.tracks.get_mut(VIDEO) {
            video.timeline.cut(end_pts);
        }
        self.stream.queued(to);
        match self.output.writer.commit_or_hold(meta) {
            Ok(Committed::Queued) => {}
            Ok(Committed::Held) => self.stream.waits(self.context.clock.mono()),
            // It is told to be durable or lost later; until then the camera does its part.
            Ok(Committed::InMemory) => self.stream.stands_in_memory(self.context.clock.mono()),
            Err(CommitError::NoDisk(reason)) => {
                self.stream.unqueued();
                self.stream.account().lost(Span { from, to }, reason);
                self.refused(reason);
            }
            Err(error @ (CommitError::Empty | CommitError::Meta | CommitError::Closed)) => {
                self.stream.unqueued();
                tracing::error!(camera = %self.stream.camera, stream = %self.stream.id, %error, "record refused");
                let ending = error == CommitError::Closed;
                let reason = if ending { GapReason::RecorderDown } else { GapReason::StreamUnusable };
                self.stream.account().lost(Span { from, to }, reason);
            }
        }
    }

    /// The store does not take footage: the run ends here, the next begins with the next key frame it takes.
    fn refused(&mut self, reason: GapReason) {
        self.end_run(Some(reason));
        self.decodable = false;
        self.signal(Signal::StoreRefused(reason));
    }

    fn signal(&self, signal: Signal) {
        // A full channel already holds signals enough; they are repeated while the cause lasts.
        let _ = self.signals.try_send(signal);
    }

    /// Tells of `code`, unless it was told a moment ago.
    fn event(&mut self, now: MonoTime, code: EventCode, text: String) {
        if let Some(text) = self.told.sentence(now, code, text) {
            self.context.tell(self.stream, self.batch.1, code, text);
        }
    }

    /// The wall clock at `now`, read once per batch.
    fn wall(&mut self, now: MonoTime) -> WallTime {
        if self.batch.0 != now {
            self.batch = (now, self.context.clock.wall());
        }
        self.batch.1
    }
}

/// Places the run whose first record is being closed: returns the label it begins with and the gap before it, and
/// tells the ledger.
fn begin(
    stream: &StreamState,
    timeline: &mut Timeline,
    run: &Run,
    seam: Option<Seam>,
    broken: Option<GapReason>,
) -> (WallTime, Option<GapBefore>) {
    let pts = run.record_min_pts;
    let placed = match timeline.label(pts) {
        Some(label) => Begin { label, passed_until: None },
        None => timeline.begin(pts, run.began, seam),
    };
    let mut ledger = stream.account();
    let Some(seam) = seam else {
        ledger.recording_from(placed.label);
        return (placed.label, None);
    };
    let distance = placed.label.ticks_since(seam.label);
    if seam.unbroken && distance <= PAUSE_TICKS_MAX {
        // Rounding and jitter are no gap.
        ledger.recording_from(seam.label);
        return (seam.label, None);
    }
    if seam.unbroken {
        ledger.missing_from(seam.label, GapReason::CameraSilent);
    }
    let first = placed.label.max(seam.label);
    if let Some(passed) = placed.passed_until {
        ledger.clock_stepped_from(passed);
    }
    ledger.recording_from(first);
    let until = placed.passed_until.unwrap_or(first);
    let missing = match ledger.state_at(seam.label) {
        State::Gap { reason } => Some((seam.label, reason)),
        // Nobody asked for it at first.
        State::Unscheduled | State::NoAlarm | State::Unknown { reason: UnknownReason::NotConfigured } => {
            ledger.missing_since(until).map(|(since, reason)| (since.max(seam.label), reason))
        }
        State::Held { .. } | State::Expired | State::Unknown { .. } => {
            broken.map(|reason| (seam.label, reason))
        }
    };
    let gap = missing.filter(|(from, _)| *from < until).map(|(from, reason)| GapBefore { from, reason });
    (first, gap)
}

#[cfg(test)]
mod tests;
