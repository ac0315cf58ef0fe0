//! The newest footage of a stream that is on disk without a hole, in the camera's own time: what recorders compare who
//! hold footage of the same camera.
//!
//! Where a camera tells no time its labels stand in, so that it can be compared at all; both never stand in one stretch.

use keepwatch_model::{Span, TICKS_PER_SECOND, WallTime};
use keepwatch_store::RecordInfo;

/// Two records follow each other in camera time when they are no further apart: reports of a camera's clock differ by less,
/// and more is a clock that was set.
const SEAM_TICKS_MAX: i64 = TICKS_PER_SECOND / 2;

/// Whose clock a stretch is told by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Camera,
    Label,
}

/// An unbroken stretch of footage, records joined end to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    span: Span,
    by: By,
    /// The label at which its last record ends.
    label_until: WallTime,
}

impl Stretch {
    /// The stretch that ends with the record `info`, which became durable after all of `before`.
    pub(super) fn grown(before: Option<Self>, info: &RecordInfo) -> Self {
        let (span, by) = match info.camera_time {
            Some(time) => (time.span, By::Camera),
            None => (info.label, By::Label),
        };
        let fresh = Self { span, by, label_until: info.label.to };
        let Some(before) = before else { return fresh };
        // A record that was sent to another disk is told later than what came after it.
        if info.label.to <= before.label_until {
            return before;
        }
        let distance = span.from.ticks_since(before.span.to).saturating_abs();
        if before.by == by && before.label_until == info.label.from && distance <= SEAM_TICKS_MAX {
            Self { span: Span { from: before.span.from, to: before.span.to.max(span.to) }, ..fresh }
        } else {
            fresh
        }
    }

    /// From where to where.
    pub(super) const fn span(self) -> Span {
        self.span
    }
}

#[cfg(test)]
mod tests {
    use keepwatch_model::{Origin, RoleId};
    use keepwatch_store::{CameraTime, RunId, TimeQuality};

    use super::*;

    fn span(from: i64, to: i64) -> Span {
        Span { from: WallTime::from_ticks(from * 90_000), to: WallTime::from_ticks(to * 90_000) }
    }

    fn record(label: Span, camera: Option<Span>) -> RecordInfo {
        RecordInfo {
            run: RunId(1),
            run_start: false,
            continuation: false,
            starts_with_key: true,
            label,
            camera_time: camera.map(|span| CameraTime { span, quality: TimeQuality::SenderReport }),
            gap_before: None,
            lost_packets: 0,
            origin: Origin::Primary,
            recorder: RoleId::default(),
            replaces: None,
            samples: 25,
            media_bytes: 1_000,
        }
    }

    fn stretch(records: &[RecordInfo]) -> Option<Span> {
        let grown = records.iter().fold(None, |before, info| Some(Stretch::grown(before, info)));
        grown.map(Stretch::span)
    }

    #[test]
    fn a_stretch_grows_record_by_record_and_begins_anew_behind_a_hole() {
        let whole = [
            record(span(10, 11), Some(span(100, 101))),
            record(span(11, 12), Some(span(101, 102))),
            record(span(12, 13), Some(span(102, 103))),
        ];
        assert_eq!(stretch(&whole), Some(span(100, 103)));
        let hole = [whole[0], record(span(13, 14), Some(span(103, 104)))];
        assert_eq!(stretch(&hole), Some(span(103, 104)));
        let set = [whole[0], record(span(11, 12), Some(span(901, 902)))];
        assert_eq!(stretch(&set), Some(span(901, 902)), "the camera's clock was set");
    }

    #[test]
    fn camera_time_that_comes_later_begins_a_stretch_of_its_own() {
        let without = record(span(10, 11), None);
        let with = record(span(11, 12), Some(span(101, 102)));
        assert_eq!(stretch(&[without]), Some(span(10, 11)));
        assert_eq!(stretch(&[without, with]), Some(span(101, 102)));
    }

    #[test]
    fn a_record_that_is_told_late_breaks_nothing() {
        let first = record(span(10, 11), Some(span(100, 101)));
        let second = record(span(11, 12), Some(span(101, 102)));
        assert_eq!(stretch(&[first, second, first]), Some(span(100, 102)));
    }
}
