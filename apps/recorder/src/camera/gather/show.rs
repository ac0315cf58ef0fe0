//! Samples to those who watch the stream, beside their way to the disk.

use std::collections::VecDeque;

use keepwatch_media::depacketize::Sample;
use keepwatch_model::WallTime;
use keepwatch_store::{OpenSample, TRACKS_MAX};

use super::{Gather, VIDEO};
use crate::serve::{Arrived, BEHIND_MAX};

/// Most samples of the open record that are shown to a first viewer: what comes behind them must have room, too.
const OPEN_MAX: usize = BEHIND_MAX / 2;

impl Gather<'_> {
    /// Shows a sample of `track` that came at `wall`. Its label is not settled before its record is; viewers get what is
    /// known at once, on one time line for all tracks.
    pub(super) fn show(&self, wall: WallTime, track: usize, sample: &Sample<'_>) {
        let Sample { timestamp, key, lost_packets, data, .. } = *sample;
        self.show_as(track, (timestamp, self.label(track, timestamp), wall), (key, lost_packets), data);
    }

    /// Shows what is in the open record, so that the first viewer need not wait for what comes. A record of more samples
    /// than viewers can take at once is not shown.
    pub(super) fn show_open(&self, wall: WallTime) {
        let mut tracks: Vec<VecDeque<(Option<WallTime>, OpenSample)>> =
            (self.tracks.iter().take(TRACKS_MAX).enumerate())
                .map(|(track, place)| {
                    let samples = self.output.writer.open_record(track).into_iter();
                    let sent = |sample: OpenSample| OpenSample { pts: place.sent(sample.pts), ..sample };
                    samples.map(sent).map(|sample| (self.label(track, sample.pts), sample)).collect()
                })
                .collect();
        if tracks.iter().map(VecDeque::len).sum::<usize>() > OPEN_MAX {
            return;
        }
        // As they came, as nearly as labels tell; within a track the order is that of decoding.
        let next = |tracks: &[VecDeque<(Option<WallTime>, OpenSample)>]| {
            let heads =
                tracks.iter().enumerate().filter_map(|(track, samples)| Some((samples.front()?.0, track)));
            heads.min().map(|(_, track)| track)
        };
        while let Some(track) = next(&tracks) {
            let Some((label, sample)) = tracks.get_mut(track).and_then(VecDeque::pop_front) else { return };
            self.show_as(track, (sample.pts, label, wall), (sample.key, 0), &sample.data);
        }
    }

    fn show_as(
        &self,
        track: usize,
        (pts, label, wall): (i64, Option<WallTime>, WallTime),
        (key, lost_packets): (bool, u32),
        data: &[u8],
    ) {
        self.stream.hub().show(&Arrived {
            track,
            pts,
            capture: label.unwrap_or(wall),
            settled: label.is_some(),
            key,
            lost_packets,
            data,
        });
    }

    /// The label of a sample of `track`; `None` before one is settled.
    fn label(&self, track: usize, pts: i64) -> Option<WallTime> {
        let (place, video) = (self.tracks.get(track)?, self.tracks.get(VIDEO)?);
        if track == VIDEO { place.timeline.label(pts) } else { place.label_beside(pts, video) }
    }
}
