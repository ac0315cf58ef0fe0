//! Samples to those who watch the stream, beside their way to the disk.

use keepwatch_media::depacketize::Sample;
use keepwatch_model::WallTime;

use super::{Gather, VIDEO};
use crate::serve::Arrived;

impl Gather<'_> {
    /// Shows a sample of `track` that came at `wall`. Its label is not settled before its record is; viewers get what is
    /// known at once, on one time line for all tracks.
    pub(super) fn show(&self, wall: WallTime, track: usize, sample: &Sample<'_>) {
        let (Some(place), Some(video)) = (self.tracks.get(track), self.tracks.get(VIDEO)) else { return };
        let label = if track == VIDEO {
            place.timeline.label(sample.timestamp)
        } else {
            place.label_beside(sample.timestamp, video)
        };
        self.stream.hub().show(&Arrived {
            track,
            pts: sample.timestamp,
            capture: label.unwrap_or(wall),
            key: sample.key,
            lost_packets: sample.lost_packets,
            data: sample.data,
        });
    }
}
