//! Gathers samples into records and records into runs.
//!
//! A run is an unbroken sequence of frames with one set of parameters on one time line: a lost packet, a change of
//! parameters or a jump of timestamps ends it, and only a lost packet (or a long pause) leaves a gap. Where a
//! record ends and what its labels are is decided by `core/recording`; this carries it out, into the store's open
//! record, the ledger and the event log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use keepwatch_media::depacketize::Sample;
use keepwatch_model::{
    EventCode, GapReason, MonoTime, Origin, Span, State, StreamId, Subject, TICKS_PER_SECOND, TrackConfig,
    WallTime,
};
use keepwatch_recording::pace::{PAUSE_TICKS_MAX, Pace};
use keepwatch_recording::slicer::Slicer;
use keepwatch_recording::timeline::{Begin, Report, Seam, Timeline};
use keepwatch_store::{
    CameraTime, CommitError, GapBefore, PushError, RecordMeta, RunId, Store, StreamWriter, TRACKS_MAX,
    TimeQuality,
};
use tokio::sync::mpsc;

use super::state::CameraState;
use crate::clock::Clock;
use crate::events::Events;

/// Frames that cannot be decoded are waited through for so long before an operator hears of it.
const KEY_FRAME_WAIT: Duration = Duration::from_secs(5);
/// Events of one kind about one camera's session are told at most once in this time.
const EVENT_INTERVAL: Duration = Duration::from_secs(60);

/// What a camera's footage needs and what outlives its sessions.
pub(crate) struct Output {
    pub(crate) store: Store,
    pub(crate) writer: StreamWriter,
    /// Where the last run ended; `None` before the first.
    pub(crate) seam: Option<Seam>,
}

impl Output {
    /// The output of `camera`, behind what is already held of it.
    pub(crate) fn new(store: &Store, camera: &CameraState) -> Self {
        let held_until = camera.ledger().held_until();
        Self {
            store: store.clone(),
            writer: store.writer(camera.id, StreamId::MAIN),
            seam: held_until.map(|label| Seam { label, camera: None, at: None, unbroken: false }),
        }
    }
}

/// What the session's supervisor must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// The dial succeeded and pictures were asked for.
    Connected,
    /// Pictures come, but none to start decoding at.
    KeyFrameMissing,
    /// The store does not take what comes.
    StoreRefused(GapReason),
}

/// What follows a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Footage that should be there.
    Missing(GapReason),
    /// Nothing that anyone asked for.
    Unscheduled,
}

impl Ending {
    /// Enters into the ledger of `camera` what follows from `at` on.
    pub(crate) fn enter(self, camera: &CameraState, at: WallTime) {
        let mut ledger = camera.ledger();
        match self {
            Self::Missing(reason) => ledger.missing_from(at, reason),
            Self::Unscheduled => ledger.unscheduled_from(at),
        }
    }
}

/// One session's samples on their way into records.
pub(crate) struct Gather<'a> {
    camera: &'a CameraState,
    events: &'a Events,
    clock: Clock,
    output: &'a mut Output,
    signals: mpsc::Sender<Signal>,
    tracks: Vec<Track>,
    /// Position of the video track.
    video: usize,
    slicer: Slicer,
    run: Option<Run>,
    /// The latest picture in the order they are shown, and how long a frame lasts; survives the end of a run.
    pace: Option<Pace>,
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
    /// When each kind of event was last told, and how often it happened since.
    told: BTreeMap<EventCode, (MonoTime, u32)>,
}

struct Track {
    config: TrackConfig,
    timeline: Timeline,
    /// A sender report that came before the first sample, with its RTP time still wrapped.
    early_report: Option<(u32, WallTime)>,
    last_timestamp: Option<i64>,
    /// First sample in the open record.
    first_in_record: Option<i64>,
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
    /// Gathers the samples of `tracks`, of which `video` is the one that records are cut by.
    pub(crate) fn new(
        camera: &'a CameraState,
        events: &'a Events,
        clock: Clock,
        output: &'a mut Output,
        signals: mpsc::Sender<Signal>,
        tracks: &[TrackConfig],
        video: usize,
    ) -> Self {
        let tracks = tracks.iter().take(TRACKS_MAX).map(|config| Track {
            config: config.clone(),
            timeline: Timeline::new(config.clock_rate),
            early_report: None,
            last_timestamp: None,
            first_in_record: None,
        });
        Self {
            camera,
            events,
            clock,
            output,
            signals,
            tracks: tracks.collect(),
            video,
            slicer: Slicer::default(),
            run: None,
            pace: None,
            broken: Some(GapReason::ConnectionLost),
            decodable: false,
            undecodable_since: None,
            batch: (MonoTime::ZERO, WallTime::default()),
            pictured: MonoTime::ZERO,
            told: BTreeMap::new(),
        }
    }

    pub(crate) fn camera(&self) -> &'a CameraState {
        self.camera
    }

    /// A whole sample of `track` came at `now`.
    pub(crate) fn sample(&mut self, now: MonoTime, track: usize, sample: &Sample<'_>) {
        let wall = self.wall(now);
        let Some(place) = self.tracks.get_mut(track) else { return };
        place.last_timestamp = Some(sample.timestamp);
        if sample.lost_packets > 0 {
            self.camera.counters().lost_packets.fetch_add(u64::from(sample.lost_packets), Ordering::Relaxed);
        }
        if track == self.video {
            self.video(now, wall, sample);
        } else {
            self.audio(wall, track, sample);
        }
    }

    /// The camera says that RTP time `rtp` of `track` is `camera_time`.
    pub(crate) fn sender_report(&mut self, now: MonoTime, track: usize, rtp: u32, camera_time: WallTime) {
        let Some(place) = self.tracks.get_mut(track) else { return };
        let pts = place.last_timestamp.map(|last| near(rtp, last));
        let Some(pts) = pts.filter(|pts| !place.timeline.jumps(*pts, self.batch.1)) else {
            // Nothing to hold it against yet, or timestamps are about to jump: the next sample will tell.
            place.early_report = Some((rtp, camera_time));
            return;
        };
        if let Report::Stepped(ticks) = place.timeline.sender_report(pts, camera_time)
            && track == self.video
        {
            // Camera time begins a new epoch; the pictures go on, and the label with them.
            self.end_run(None);
            let seconds = ticks as f64 / TICKS_PER_SECOND as f64;
            let text = format!("the camera's clock was set by {seconds:.1} s; no frame was lost");
            self.event(now, EventCode::TimestampJumped, text);
        }
    }

    /// All that had arrived was handed over.
    pub(crate) fn idle(&mut self, now: MonoTime) {
        if self.slicer.is_overdue(now) {
            self.commit(self.pace.map_or(0, Pace::end_pts));
        }
    }

    /// Ends the session: what arrived is closed and queued at once, and what follows is missing for `ending`.
    pub(crate) fn finish(mut self, ending: Ending) {
        self.end_run(None);
        let at = match &mut self.output.seam {
            Some(seam) if seam.unbroken => {
                seam.unbroken = false;
                seam.label
            }
            Some(_) | None => self.clock.wall(),
        };
        ending.enter(self.camera, at);
    }

    fn video(&mut self, now: MonoTime, wall: WallTime, sample: &Sample<'_>) {
        let pts = sample.timestamp;
        let Some(track) = self.tracks.get_mut(self.video) else { return };
        let jumps = track.timeline.jumps(pts, wall);
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
            self.end_run(Some(GapReason::PacketsLost));
            let text =
                format!("{} packets were lost; the frames they carried are missing", sample.lost_packets);
            self.event(now, EventCode::PacketsLost, text);
        } else if self.pace.is_some_and(|pace| pace.pauses(pts)) {
            self.end_run(Some(GapReason::CameraSilent));
        }
        if let Some(config) = sample.config_changed {
            self.reconfigure(now, config);
        }
        if let Some(track) = self.tracks.get_mut(self.video) {
            if let Some((rtp, camera_time)) = track.early_report.take() {
                track.timeline.sender_report(near(rtp, pts), camera_time);
            }
            track.timeline.arrived(pts, wall);
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
        self.pace = Some(Pace::advanced(self.pace, pts));
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
        self.run = Some(Run {
            id: self.output.store.new_run(),
            configs: self.tracks.iter().map(|track| track.config.clone()).collect(),
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
        let mut pushed = self.output.writer.push(self.video, pts, sample.key, sample.data);
        if pushed == Err(PushError::RecordFull) && self.slicer.is_open() {
            self.commit(pts);
            pushed = self.output.writer.push(self.video, pts, sample.key, sample.data);
        }
        match pushed {
            Ok(()) => {}
            Err(PushError::Backlog(reason)) => return self.refused(reason),
            Err(PushError::RecordFull) => return self.refused(GapReason::StreamUnusable),
        }
        let (Some(run), Some(track)) = (&mut self.run, self.tracks.get_mut(self.video)) else { return };
        if track.first_in_record.is_none() {
            track.first_in_record = Some(pts);
            run.record_min_pts = pts;
        }
        run.record_min_pts = run.record_min_pts.min(pts);
        run.reorders |= self.pace.is_some_and(|pace| pts < pace.max_pts);
        self.slicer.joined(now, pts, sample.key, sample.data.len());
        self.camera.counters().frames.fetch_add(1, Ordering::Relaxed);
    }

    fn audio(&mut self, wall: WallTime, index: usize, sample: &Sample<'_>) {
        let Some(track) = self.tracks.get_mut(index) else { return };
        if track.timeline.jumps(sample.timestamp, wall) {
            track.timeline.forget();
        }
        if let Some((rtp, camera_time)) = track.early_report.take() {
            track.timeline.sender_report(near(rtp, sample.timestamp), camera_time);
        }
        track.timeline.arrived(sample.timestamp, wall);
        // Sound follows the picture: it joins the open record and never opens one.
        if !self.slicer.is_open() {
            return;
        }
        if self.output.writer.push(index, sample.timestamp, true, sample.data).is_ok() {
            track.first_in_record.get_or_insert(sample.timestamp);
            self.slicer.joined_audio(sample.data.len());
            if let Some(run) = &mut self.run {
                run.record_lost_packets = run.record_lost_packets.saturating_add(sample.lost_packets);
            }
        }
    }

    fn reconfigure(&mut self, now: MonoTime, config: &TrackConfig) {
        let Some(track) = self.tracks.get_mut(self.video) else { return };
        if track.config == *config {
            return;
        }
        // Learned from the stream because the description had none: nothing changed.
        let learned = track.config.config.is_empty();
        track.config = config.clone();
        if !learned && self.run.is_some() {
            self.end_run(None);
            let text = "the camera changed its picture parameters; no frame was lost".into();
            self.event(now, EventCode::ParametersChanged, text);
        }
    }

    /// Ends the run; `broken` says why the next one does not follow seamlessly, `None` that it does. The time line
    /// goes on: the label of the next picture is that of its timestamp.
    fn end_run(&mut self, broken: Option<GapReason>) {
        let Some(pace) = self.pace else { return };
        if self.run.is_some() {
            self.commit(pace.end_pts());
        }
        // A committed record may have found no disk and ended the run itself.
        if let Some(run) = self.run.take() {
            let camera =
                self.tracks.get(self.video).and_then(|track| track.timeline.camera_time(pace.end_pts()));
            if let Some(label) = run.label_until {
                let at = Some(self.pictured + keepwatch_model::duration_from_ticks(pace.frame_ticks));
                self.output.seam = Some(Seam { label, camera, at, unbroken: true });
            }
            self.broken = None;
        }
        // The run may have ended seamlessly just before.
        if let (Some(reason), Some(seam)) = (broken, &mut self.output.seam)
            && self.broken.is_none()
        {
            seam.unbroken = false;
            self.camera.ledger().missing_from(seam.label, reason);
            self.broken = broken;
        }
    }

    /// After a jump of timestamps, nothing that was measured by the old ones counts.
    fn forget_times(&mut self) {
        self.pace = None;
        self.slicer.forget();
        if let Some(track) = self.tracks.get_mut(self.video) {
            track.timeline.forget();
        }
    }

    /// Closes the open record, whose last picture ends where the one at `next_pts` begins, and queues it.
    fn commit(&mut self, next_pts: i64) {
        if !self.slicer.is_open() {
            return;
        }
        self.slicer.closed();
        let Some(run) = &mut self.run else { return };
        let Some(video) = self.tracks.get_mut(self.video) else { return };
        let end_pts = match self.pace {
            Some(pace) if run.reorders => pace.end_pts(),
            Some(_) | None => next_pts,
        };
        let (from, gap_before) = match run.label_until {
            Some(label) => (label, None),
            None => begin(self.camera, &mut video.timeline, run, self.output.seam, self.broken),
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
            if let (Some(pts), Some(video)) = (track.first_in_record, self.tracks.get(self.video)) {
                let label = if index == self.video {
                    video.timeline.label(pts)
                } else {
                    sound_label(track, pts, video)
                };
                *place = label.unwrap_or_default();
            }
        }
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
            origin: Origin::Primary,
            recorder: None,
            replaces: None,
        };
        run.label_until = Some(to);
        run.continuation = true;
        for track in &mut self.tracks {
            track.first_in_record = None;
        }
        if let Some(video) = self.tracks.get_mut(self.video) {
            video.timeline.cut(end_pts);
        }
        self.camera.queued();
        match self.output.writer.commit(meta) {
            Ok(()) => {}
            Err(CommitError::NoDisk(reason)) => {
                self.camera.unqueued();
                self.camera.ledger().lost(Span { from, to }, reason);
                self.refused(reason);
            }
            Err(error @ (CommitError::Empty | CommitError::Meta | CommitError::Closed)) => {
                self.camera.unqueued();
                tracing::error!(camera = %self.camera.id, %error, "record refused");
                let ending = error == CommitError::Closed;
                let reason = if ending { GapReason::RecorderDown } else { GapReason::StreamUnusable };
                self.camera.ledger().lost(Span { from, to }, reason);
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

    /// Tells of `code`, unless it was told a moment ago; then it is counted and told with the next.
    fn event(&mut self, now: MonoTime, code: EventCode, mut text: String) {
        if let Some((last, silent)) = self.told.get_mut(&code) {
            let since = now.since(*last);
            if since < EVENT_INTERVAL {
                *silent = silent.saturating_add(1);
                return;
            }
            if *silent > 0 {
                text = format!("{text}; {silent} times more since {:.0} s ago", since.as_secs_f64());
            }
        }
        self.told.insert(code, (now, 0));
        let at = self.batch.1;
        tracing::info!(camera = %self.camera.id, %code, ?now, "{text}");
        self.events.add(at, code, Subject::Camera(self.camera.id), text);
    }

    /// The wall clock at `now`, read once per batch.
    fn wall(&mut self, now: MonoTime) -> WallTime {
        if self.batch.0 != now {
            self.batch = (now, self.clock.wall());
        }
        self.batch.1
    }
}

/// Places the run whose first record is being closed: returns the label it begins with and the gap before it, and
/// tells the ledger.
fn begin(
    camera: &CameraState,
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
    let mut ledger = camera.ledger();
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
    let reason = match ledger.state_at(seam.label) {
        State::Gap { reason } => Some(reason),
        State::Held { .. } | State::Expired | State::Unscheduled | State::Unknown { .. } => broken,
    };
    let until = placed.passed_until.unwrap_or(first);
    let gap = reason.filter(|_| seam.label < until).map(|reason| GapBefore { from: seam.label, reason });
    (first, gap)
}

/// The label of a sample of `track`, on the label line of `video`: by camera time where both tracks have sender reports,
/// else by arrival. Sound has a clock of its own and is not counted by the picture's.
fn sound_label(track: &Track, pts: i64, video: &Track) -> Option<WallTime> {
    let (sound, picture) = (&track.timeline, &video.timeline);
    let by_camera = sound.camera_time(pts).and_then(|camera| picture.pts_at_camera_time(camera));
    let by_arrival = || Some(picture.pts(sound.arrival_time(pts)?.ticks_since(picture.arrival_time(0)?)));
    by_camera.or_else(by_arrival).and_then(|pts| picture.label(pts))
}

/// The time whose low 32 bits are `rtp` that is nearest to `reference`.
fn near(rtp: u32, reference: i64) -> i64 {
    let low = u32::try_from(reference & 0xffff_ffff).expect("masked to 32 bits");
    reference.saturating_add(i64::from(rtp.wrapping_sub(low).cast_signed()))
}

#[cfg(test)]
mod tests;
