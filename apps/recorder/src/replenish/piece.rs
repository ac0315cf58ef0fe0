//! Fetched footage of about a group of pictures, wherever it came from, and the frames in it.

use keepwatch_model::{Origin, RoleId, Span, TrackConfig, WallTime};
use keepwatch_recording::replenish::identity::{Frame, picture_hash};
use keepwatch_store::{CameraTime, Record, RunId, TimeQuality};

/// A sample, as who recorded it knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct PieceSample<'a> {
    pub(super) pts: i64,
    pub(super) label: WallTime,
    pub(super) key: bool,
    pub(super) data: &'a [u8],
}

/// Footage as who recorded it has it.
#[derive(Debug)]
pub(super) struct Piece<'a> {
    pub(super) tracks: Vec<TrackConfig>,
    /// Of each track, in decoding order.
    pub(super) samples: Vec<Vec<PieceSample<'a>>>,
    pub(super) label: Span,
    pub(super) camera_time: Option<CameraTime>,
    pub(super) run: RunId,
    pub(super) lost_packets: u32,
    pub(super) origin: Origin,
    /// Who recorded it; `None` means this recorder.
    pub(super) recorder: Option<RoleId>,
    pub(super) replaces: Option<RoleId>,
}

impl<'a> Piece<'a> {
    /// A record of another recorder.
    pub(super) fn of(record: &'a Record) -> Self {
        let index = record.index();
        let samples = |(number, track): (usize, &'a keepwatch_store::RecordTrack)| {
            let sample = |(place, sample): (usize, &'a keepwatch_store::Sample)| PieceSample {
                pts: sample.pts,
                label: track.label_of(sample),
                key: sample.key,
                data: record.sample(number, place),
            };
            track.samples.iter().enumerate().map(sample).collect()
        };
        let info = &index.info;
        Self {
            tracks: index.tracks.iter().map(|track| track.config.clone()).collect(),
            samples: index.tracks.iter().enumerate().map(samples).collect(),
            label: info.label,
            camera_time: info.camera_time,
            run: info.run,
            lost_packets: info.lost_packets,
            origin: info.origin,
            recorder: Some(info.recorder),
            replaces: info.replaces,
        }
    }

    /// Which of its tracks is the video; `None` when there is none.
    pub(super) fn video(&self) -> Option<usize> {
        self.tracks.iter().position(|track| track.kind.is_video())
    }

    /// The label of the picture that is shown first.
    pub(super) fn first_shown(&self) -> Option<WallTime> {
        self.samples.get(self.video()?)?.iter().map(|sample| sample.label).min()
    }

    /// Its pictures as they are compared, in decoding order.
    pub(super) fn frames(&self) -> Vec<Frame> {
        let Some(video) = self.video() else { return Vec::new() };
        let (Some(track), Some(samples), Some(first)) =
            (self.tracks.get(video), self.samples.get(video), self.first_shown())
        else {
            return Vec::new();
        };
        // What came before the camera's first report is by arrival, which differs from recorder to recorder.
        let known = self.camera_time.filter(|time| time.quality == TimeQuality::SenderReport);
        let frame = |sample: &PieceSample<'_>| Frame {
            label: sample.label,
            camera_time: known.map(|time| time.span.from.plus(sample.label.ticks_since(first))),
            key: sample.key,
            hash: picture_hash(track.kind, sample.data),
        };
        samples.iter().map(frame).collect()
    }
}
