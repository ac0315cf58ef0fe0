//! A track of a session: its configuration, its clock, and what of it is in the open record.

use keepwatch_model::{MonoTime, TICKS_PER_SECOND, TrackConfig, WallTime};
use keepwatch_recording::timeline::{Report, Timeline};

/// Sound and metadata are placed by camera time as long as it agrees this well with their arrival: a camera whose sender
/// reports are wrong must not move them away from their pictures.
const CAMERA_TIME_TOLERANCE_TICKS: i64 = 2 * TICKS_PER_SECOND;

/// One track.
pub(super) struct Track {
    pub(super) config: TrackConfig,
    pub(super) timeline: Timeline,
    /// A sender report that came before the first sample, with its RTP time still wrapped.
    pub(super) early_report: Option<(u32, WallTime)>,
    pub(super) last_timestamp: Option<i64>,
    /// First sample in the open record.
    pub(super) first_in_record: Option<i64>,
}

impl Track {
    pub(super) fn new(config: &TrackConfig) -> Self {
        Self {
            config: config.clone(),
            timeline: Timeline::new(config.clock_rate),
            early_report: None,
            last_timestamp: None,
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
            self.timeline.forget();
        }
        self.take_early(pts);
        self.timeline.arrived(pts, now, wall);
    }

    /// The camera says that RTP time `rtp` is `camera_time`. `None` when there is nothing yet to hold it against.
    pub(super) fn sender_report(&mut self, rtp: u32, camera_time: WallTime, now: MonoTime) -> Option<Report> {
        let pts = self.last_timestamp.map(|last| near(rtp, last));
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
