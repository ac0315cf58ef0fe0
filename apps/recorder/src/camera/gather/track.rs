//! A track of a session: its configuration, its clock, and what of it is in the open record.

use keepwatch_model::{MonoTime, TICKS_PER_SECOND, TrackConfig, WallTime, ticks_from_duration};
use keepwatch_recording::timeline::{Report, Timeline};

/// Sound and metadata are placed by camera time as long as it agrees this well with their arrival: a camera whose sender
/// reports are wrong must not move them away from their pictures.
const CAMERA_TIME_TOLERANCE_TICKS: i64 = 2 * TICKS_PER_SECOND;
/// Samples of sound that come further apart than this have paused.
const PAUSE_TICKS_MIN: i64 = TICKS_PER_SECOND;

/// One track.
pub(super) struct Track {
    pub(super) config: TrackConfig,
    pub(super) timeline: Timeline,
    /// A sender report that came before the first sample, with its RTP time still wrapped.
    pub(super) early_report: Option<(u32, WallTime)>,
    last: Option<Last>,
    /// How far the recorded times are ahead of the camera's. A jump of this track alone does not end a run, so that what is
    /// recorded goes on where the times before the jump were; pictures, whose jumps end the run, are recorded as sent.
    ahead_pts: i64,
    /// Recorded time of the first sample in the open record.
    pub(super) first_in_record: Option<i64>,
}

/// The last sample, by the camera's time.
#[derive(Clone, Copy)]
struct Last {
    pts: i64,
    came: MonoTime,
    /// Distance from the one before.
    distance_pts: i64,
}

impl Track {
    pub(super) fn new(config: &TrackConfig) -> Self {
        Self {
            config: config.clone(),
            timeline: Timeline::new(config.clock_rate),
            early_report: None,
            last: None,
            ahead_pts: 0,
            first_in_record: None,
        }
    }

    /// Takes up the report that came before a sample at `pts`, if one did. To be asked before
    /// [`arrived`](Self::arrived).
    pub(super) fn take_early(&mut self, pts: i64) -> Option<Report> {
        let (rtp, camera_time) = self.early_report.take()?;
        Some(self.timeline.sender_report(near(rtp, pts), camera_time))
    }

    /// A sample at `pts` arrived at `now`, which the recorder's clock calls `wall`.
    pub(super) fn arrived(&mut self, pts: i64, now: MonoTime, wall: WallTime) {
        if self.timeline.jumps(pts, now) {
            if let Some(last) = self.last {
                let goes_on = last.pts.saturating_add(self.distance(last, now));
                self.ahead_pts = self.ahead_pts.saturating_add(goes_on.saturating_sub(pts));
            }
            self.timeline.forget();
        }
        self.take_early(pts);
        self.timeline.arrived(pts, now, wall);
        let distance_pts = self.last.map_or(0, |last| pts.saturating_sub(last.pts));
        self.last = Some(Last { pts, came: now, distance_pts });
    }

    /// How far the sample that came at `now` lies behind the last one, whatever its timestamp says: as far as that one
    /// behind the one before, unless time has clearly passed.
    fn distance(&self, last: Last, now: MonoTime) -> i64 {
        let real = ticks_from_duration(now.since(last.came));
        let usual = self.timeline.ticks(last.distance_pts);
        let steady = (1..=PAUSE_TICKS_MIN).contains(&usual) && real < usual + PAUSE_TICKS_MIN;
        self.timeline.pts(if steady { usual } else { real.max(1) })
    }

    /// The recorded time of a sample at `pts`.
    pub(super) fn recorded(&self, pts: i64) -> i64 {
        pts.saturating_add(self.ahead_pts)
    }

    /// The camera's time, by its timestamps of now, of a sample at recorded time `recorded`.
    pub(super) fn sent(&self, recorded: i64) -> i64 {
        recorded.saturating_sub(self.ahead_pts)
    }

    /// The camera says that RTP time `rtp` is `camera_time`. `None` when there is nothing yet to hold it against.
    pub(super) fn sender_report(&mut self, rtp: u32, camera_time: WallTime, now: MonoTime) -> Option<Report> {
        let pts = self.last.map(|last| near(rtp, last.pts));
        let Some(pts) = pts.filter(|pts| !self.timeline.jumps(*pts, now)) else {
            // Nothing to hold it against yet, or timestamps are about to jump: the next sample will tell.
            self.early_report = Some((rtp, camera_time));
            return None;
        };
        Some(self.timeline.sender_report(pts, camera_time))
    }

    /// The label of a sample at `pts`, on the label line of `video`: by camera time where both tracks have sender
    /// reports that can be believed, else by arrival. Each track has a clock of its own; sound is not counted by the
    /// picture's.
    pub(super) fn label_beside(&self, pts: i64, video: &Self) -> Option<WallTime> {
        let (own, picture) = (&self.timeline, &video.timeline);
        let by_arrival = own
            .arrival_time(pts)
            .zip(picture.arrival_time(0))
            .map(|(at, zero)| picture.pts(at.ticks_since(zero)))
            .and_then(|pts| picture.label(pts));
        let by_camera = own
            .camera_time(pts)
            .and_then(|camera| picture.pts_at_camera_time(camera))
            .and_then(|pts| picture.label(pts));
        let agrees = |label: &WallTime| {
            by_arrival.is_none_or(|arrival| {
                label.ticks_since(arrival).saturating_abs() <= CAMERA_TIME_TOLERANCE_TICKS
            })
        };
        by_camera.filter(agrees).or(by_arrival)
    }
}

/// The time whose low 32 bits are `rtp` that is nearest to `reference`.
pub(super) fn near(rtp: u32, reference: i64) -> i64 {
    let low = u32::try_from(reference & 0xffff_ffff).expect("masked to 32 bits");
    reference.saturating_add(i64::from(rtp.wrapping_sub(low).cast_signed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_time_is_found_again() {
        assert_eq!(near(5, 0x1_0000_0000 - 3), 0x1_0000_0005);
        assert_eq!(near(0xffff_fff0, 0x2_0000_0003), 0x1_ffff_fff0);
    }
}
