//! Which UTC label and which camera time a picture gets.
//!
//! The **label** is what people search by. It starts where the least delayed picture says the recorder's clock
//! was, runs with the camera's own sampling clock, and is steered towards the recorder's clock by at most 500 ppm,
//! so that it never jumps within a run, whatever either clock does. **Camera time** is what sources are joined by:
//! a linear map from RTP timestamps over sender reports (RFC 3550 §6.4.1), untouched by the recorder's clock.

use std::collections::VecDeque;

use keepwatch_model::{MonoTime, TICKS_PER_SECOND, WallTime, ticks_from_duration};

/// Largest steering of the label against the camera's sampling clock, in parts per million.
pub const SLEW_PPM_MAX: i64 = 500;
/// Steering aims to close the distance to the recorder's clock within this many ticks.
const SLEW_HORIZON_TICKS: i64 = 60 * TICKS_PER_SECOND;
/// Length of one bucket of the least-delay window, and how many there are: the window spans one minute.
const BUCKET_TICKS: i64 = 5 * TICKS_PER_SECOND;
const BUCKETS: usize = 12;
/// A sender report this far from where the previous ones put it is a step of the camera's clock.
pub const CAMERA_STEP_TICKS: i64 = TICKS_PER_SECOND / 2;
/// Camera time is believed for the distance between two sessions when it and the recorder's clock agree this well;
/// both then follow real time, and camera time has no network delay in it.
const SEAM_TOLERANCE_TICKS: i64 = TICKS_PER_SECOND / 2;
/// The wall clock was set when it disagrees with the monotonic clock by more than this over a pause between runs:
/// network and camera delays are below, and what is below is steered away.
const CLOCK_STEP_TICKS: i64 = 2 * TICKS_PER_SECOND;
/// A timestamp that runs this far ahead of or behind real time has jumped. Pictures are reordered by far less, and
/// network and camera buffers hold less.
pub const JUMP_TICKS: i64 = 5 * TICKS_PER_SECOND;

/// Where a run ended, so that the next can be placed after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seam {
    /// Label at which the last picture ends.
    pub label: WallTime,
    /// Camera time of the same instant, if known.
    pub camera: Option<WallTime>,
    /// Monotonic time of the same instant, unless another process saw it.
    pub at: Option<MonoTime>,
    /// Whether the next run follows without a lost packet: then it begins exactly at `label`, unless it comes so late
    /// that time must have passed without pictures.
    pub unbroken: bool,
}

/// Where a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begin {
    /// Label of its first picture.
    pub label: WallTime,
    /// End of the time that really passed since the seam, if the recorder's clock was set forward meanwhile: what
    /// lies between here and `label` never was.
    pub passed_until: Option<WallTime>,
}

/// Steps of the camera's clock without as many agreeing reports between them after which its reports are not believed: no
/// clock is set so often, but some cameras report the time at which they were switched on, or any time at all.
const STEPS_MAX: u8 = 3;
/// So many reports in a row that agree with each other are believed again.
const AGREEING_MIN: u8 = 3;

/// What a sender report told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// The first that is believed, in this session or again.
    First,
    /// It agrees with the ones before, or nothing is built on it.
    Agrees,
    /// The camera's clock was set by so many ticks: a new timeline epoch begins.
    Stepped(i64),
    /// It contradicts the ones before as those contradicted each other: until they agree, none is believed. A new
    /// timeline epoch without camera time begins.
    Unbelievable,
}

/// The time of one track in one session.
#[derive(Debug)]
pub struct Timeline {
    clock_rate: u32,
    /// Where labels are counted from, once the run has begun.
    anchor: Option<Anchor>,
    /// Last sender report, believed or not.
    report: Option<(i64, WallTime)>,
    /// Reports that contradicted the one before, up to [`STEPS_MAX`]: from there on none is believed.
    steps: u8,
    /// Reports in a row that agreed with the one before, up to [`AGREEING_MIN`].
    agreeing: u8,
    /// Least of (arrival - media time) in each stretch of the last minute, oldest first.
    delays: VecDeque<Bucket>,
    /// Last sample, to see jumps: its time and its arrival by the clock that nobody sets.
    last: Option<(i64, MonoTime)>,
}

#[derive(Clone, Copy, Debug)]
struct Anchor {
    pts: i64,
    label: WallTime,
    slew_ppm: i64,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    from_pts_90k: i64,
    offset_ticks: i64,
}

impl Timeline {
    /// The timeline of a track whose RTP clock makes `clock_rate` ticks a second; 0 is taken as 90,000.
    pub fn new(clock_rate: u32) -> Self {
        let clock_rate = if clock_rate == 0 { 90_000 } else { clock_rate };
        Self {
            clock_rate,
            anchor: None,
            report: None,
            steps: 0,
            agreeing: 0,
            delays: VecDeque::with_capacity(BUCKETS),
            last: None,
        }
    }

    /// Media time in 90 kHz ticks of an RTP time.
    pub fn ticks(&self, pts: i64) -> i64 {
        scale(pts, TICKS_PER_SECOND, i64::from(self.clock_rate))
    }

    /// RTP time of a media time in 90 kHz ticks.
    pub fn pts(&self, ticks: i64) -> i64 {
        scale(ticks, i64::from(self.clock_rate), TICKS_PER_SECOND)
    }

    /// Whether a sample with `pts` that arrived at `now` is so far from where real time puts it after the last one that
    /// the timestamps must have jumped.
    pub fn jumps(&self, pts: i64, now: MonoTime) -> bool {
        let Some((last_pts, last_now)) = self.last else { return false };
        let media = self.ticks(pts.saturating_sub(last_pts));
        let real = ticks_from_duration(now.since(last_now));
        // A burst after a stall carries the time of the stall, not of the burst: late is not a jump.
        let backwards = media < -JUMP_TICKS;
        let ahead = media > real.saturating_add(JUMP_TICKS);
        backwards || ahead
    }

    /// Notes that a sample with `pts` arrived at `now`, which the recorder's clock calls `arrival`, for the least delay.
    pub fn arrived(&mut self, pts: i64, now: MonoTime, arrival: WallTime) {
        self.last = Some((pts, now));
        let media = self.ticks(pts);
        let offset_ticks = arrival.ticks().saturating_sub(media);
        match self.delays.back_mut() {
            Some(bucket) if media.saturating_sub(bucket.from_pts_90k) < BUCKET_TICKS => {
                bucket.offset_ticks = bucket.offset_ticks.min(offset_ticks);
            }
            _ => {
                if self.delays.len() == BUCKETS {
                    self.delays.pop_front();
                }
                self.delays.push_back(Bucket { from_pts_90k: media, offset_ticks });
            }
        }
    }

    /// Takes a sender report: RTP time `pts` is camera time `camera`. A report of zero (RFC 3550 §6.4.1: no clock)
    /// must not be passed in.
    pub fn sender_report(&mut self, pts: i64, camera: WallTime) -> Report {
        let was_believed = self.is_believed();
        let step = self.mapped(pts).map(|expected| camera.ticks_since(expected));
        self.report = Some((pts, camera));
        match step {
            None => Report::First,
            Some(step) if step.saturating_abs() > CAMERA_STEP_TICKS => {
                self.agreeing = 0;
                self.steps = self.steps.saturating_add(1).min(STEPS_MAX);
                match (was_believed, self.is_believed()) {
                    (true, true) => Report::Stepped(step),
                    (true, false) => Report::Unbelievable,
                    (false, _) => Report::Agrees,
                }
            }
            Some(_) => {
                self.agreeing = self.agreeing.saturating_add(1).min(AGREEING_MIN);
                if self.agreeing == AGREEING_MIN {
                    self.steps = 0;
                }
                if !was_believed && self.is_believed() { Report::First } else { Report::Agrees }
            }
        }
    }

    /// Whether camera time is built on the sender reports.
    fn is_believed(&self) -> bool {
        self.steps < STEPS_MAX
    }

    /// The time that the last report gives `pts`, believed or not.
    fn mapped(&self, pts: i64) -> Option<WallTime> {
        let (report_pts, camera) = self.report?;
        Some(camera.plus(self.ticks(pts.saturating_sub(report_pts))))
    }

    /// Camera time of `pts`; `None` before the first sender report and while they cannot be believed.
    pub fn camera_time(&self, pts: i64) -> Option<WallTime> {
        self.mapped(pts).filter(|_| self.is_believed())
    }

    /// RTP time of a camera time; `None` as for [`camera_time`](Self::camera_time).
    pub fn pts_at_camera_time(&self, camera: WallTime) -> Option<i64> {
        let (report_pts, report_camera) = self.report.filter(|_| self.is_believed())?;
        Some(report_pts.saturating_add(self.pts(camera.ticks_since(report_camera))))
    }

    /// When `pts` happened by the recorder's clock, by the least delayed arrival; `None` before the first.
    pub fn arrival_time(&self, pts: i64) -> Option<WallTime> {
        Some(WallTime::from_ticks(self.ticks(pts).saturating_add(self.offset_ticks()?)))
    }

    /// How far the camera's clock is ahead of the recorder's, in ticks, by its last sender report and the least delayed
    /// arrival; `None` before the first of both and while reports cannot be believed.
    pub fn clock_offset(&self) -> Option<i64> {
        let (pts, camera) = self.report.filter(|_| self.is_believed())?;
        Some(camera.ticks_since(self.arrival_time(pts)?))
    }

    /// Begins a time line whose first picture is at `pts` and came at `now`, after `seam` if the camera was recorded
    /// before. Its label is never before the seam's, and as far behind it as time has really passed, whatever the
    /// wall clock was set to meanwhile.
    pub fn begin(&mut self, pts: i64, now: MonoTime, seam: Option<Seam>) -> Begin {
        let arrival = self.arrival_time(pts).unwrap_or(WallTime::from_ticks(self.ticks(pts)));
        let begin = seam
            .map_or(Begin { label: arrival, passed_until: None }, |seam| self.after(seam, pts, now, arrival));
        self.anchor = Some(Anchor { pts, label: begin.label, slew_ppm: 0 });
        begin
    }

    /// Where the run begins whose first picture is at `pts`, `arrival` by the wall clock, after `seam`.
    fn after(&self, seam: Seam, pts: i64, now: MonoTime, arrival: WallTime) -> Begin {
        let close = |label: &WallTime| label.ticks_since(arrival).saturating_abs() <= SEAM_TOLERANCE_TICKS;
        if seam.unbroken && close(&seam.label) {
            return Begin { label: seam.label, passed_until: None };
        }
        let camera = seam.camera.zip(self.camera_time(pts));
        let by_camera = camera.map(|(before, now)| seam.label.plus(now.ticks_since(before))).filter(close);
        // How much time really passed; another process's clock cannot tell.
        let by_mono = seam.at.map(|at| seam.label.plus(ticks_from_duration(now.since(at))));
        match (by_camera, by_mono) {
            (Some(label), _) => Begin { label: label.max(seam.label), passed_until: None },
            (None, Some(passed)) if arrival.ticks_since(passed) > CLOCK_STEP_TICKS => {
                Begin { label: arrival, passed_until: Some(passed) }
            }
            (None, Some(passed)) if passed.ticks_since(arrival) > CLOCK_STEP_TICKS => {
                Begin { label: passed, passed_until: None }
            }
            (None, Some(_) | None) => Begin { label: arrival.max(seam.label), passed_until: None },
        }
    }

    /// Whether a run has begun.
    pub fn has_begun(&self) -> bool {
        self.anchor.is_some()
    }

    /// Label of `pts` in the run; `None` before [`begin`](Self::begin).
    pub fn label(&self, pts: i64) -> Option<WallTime> {
        let anchor = self.anchor?;
        let ticks = self.ticks(pts.saturating_sub(anchor.pts));
        Some(anchor.label.plus(ticks.saturating_add(scale(ticks, anchor.slew_ppm, 1_000_000))))
    }

    /// Moves the anchor to `pts`, where a record ends, and steers anew. The label stays continuous.
    pub fn cut(&mut self, pts: i64) {
        let Some(label) = self.label(pts) else { return };
        let slew_ppm = self.offset_ticks().map_or(0, |offset| {
            let target = self.ticks(pts).saturating_add(offset);
            let error = target.saturating_sub(label.ticks());
            scale(error, 1_000_000, SLEW_HORIZON_TICKS).clamp(-SLEW_PPM_MAX, SLEW_PPM_MAX)
        });
        self.anchor = Some(Anchor { pts, label, slew_ppm });
    }

    /// Forgets everything: after a jump, the old times say nothing of the new ones.
    pub fn forget(&mut self) {
        *self = Self::new(self.clock_rate);
    }

    fn offset_ticks(&self) -> Option<i64> {
        self.delays.iter().map(|bucket| bucket.offset_ticks).min()
    }
}

/// `value * numerator / denominator` to the nearest, saturating; `denominator` must not be zero.
fn scale(value: i64, numerator: i64, denominator: i64) -> i64 {
    let product = i128::from(value) * i128::from(numerator);
    let half = i128::from(denominator) / 2;
    let scaled = (product + half).div_euclid(i128::from(denominator));
    i64::try_from(scaled).unwrap_or(if scaled < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
