//! The metadata of a virtual camera: one ONVIF document a second (ONVIF Analytics, "Metadata stream"), with an object
//! that moves through the picture and the motion alarm that comes and goes with it.
//!
//! What is said depends on the time alone, unless motion is commanded, so that documents, notifications and a recording of
//! either can be held against each other. A document is numbered like frames are: whole seconds since [`EPOCH`].

use std::fmt::Write;

use bytes::Bytes;
use keepwatch_model::{CameraId, CodecKind, TICKS_PER_SECOND, TrackConfig, WallTime};

use crate::fault::Motion;
use crate::timeline::EPOCH;

/// 90 kHz ticks from one document to the next.
pub(crate) const DOCUMENT_TICKS: i64 = TICKS_PER_SECOND;

/// Motion lasts as many seconds, and so does the calm after it.
pub(crate) const MOTION_SECONDS: i64 = 5;

/// The topic of the motion alarm below `tns1:` (ONVIF Imaging, "Motion alarm").
pub(crate) const MOTION_TOPIC: &str = "VideoSource/MotionAlarm";
/// The token of the camera's eye.
pub(crate) const EYE: &str = "eye";

/// The track of the documents.
pub(crate) const fn track() -> TrackConfig {
    TrackConfig { kind: CodecKind::Metadata, clock_rate: 90_000, channels: 0, config: Vec::new() }
}

/// The label of the first document at `label` or later: full seconds.
pub(crate) fn document_from(label: WallTime) -> WallTime {
    let past = label.ticks().rem_euclid(DOCUMENT_TICKS);
    if past == 0 { label } else { label.plus(DOCUMENT_TICKS - past) }
}

/// Whether something moves before the cameras at `label` of the lab's clock, if nothing is commanded.
pub(crate) fn moves_at(label: WallTime) -> bool {
    seconds(label).div_euclid(MOTION_SECONDS).rem_euclid(2) == 1
}

impl Motion {
    /// Whether something moves before the camera at `label` of the lab's clock.
    pub(crate) fn moves_at(self, label: WallTime) -> bool {
        match self {
            Self::Regular => moves_at(label),
            Self::On => true,
            Self::Off => false,
        }
    }
}

/// Whether something moves, and whether it did when that was told last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moves {
    pub(crate) told: bool,
    pub(crate) now: bool,
}

impl Moves {
    /// Those of the document of `label` if nothing is commanded.
    pub(crate) fn regular(label: WallTime) -> Self {
        Self { told: moves_at(label.plus(-DOCUMENT_TICKS)), now: moves_at(label) }
    }
}

/// The first label after `label` at which motion begins or ends.
pub(crate) fn motion_change_after(label: WallTime) -> WallTime {
    let phase = seconds(label).div_euclid(MOTION_SECONDS) + 1;
    EPOCH.plus(phase * MOTION_SECONDS * TICKS_PER_SECOND)
}

/// Seconds since [`EPOCH`].
fn seconds(label: WallTime) -> i64 {
    label.ticks_since(EPOCH).div_euclid(TICKS_PER_SECOND)
}

/// The document of `label`, which the camera's clock calls `shown`.
pub(crate) fn document(camera: CameraId, label: WallTime, shown: WallTime, moves: Moves) -> Bytes {
    let number = seconds(label);
    let Moves { told, now: moves } = moves;
    let mut text = String::with_capacity(1_536);
    // Writing into a String cannot fail.
    let _ = write!(
        text,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <tt:MetadataStream xmlns:tt=\"http://www.onvif.org/ver10/schema\" \
         xmlns:wsnt=\"http://docs.oasis-open.org/wsn/b-2\" xmlns:tns1=\"http://www.onvif.org/ver10/topics\">\
         <tt:VideoAnalytics><tt:Frame UtcTime=\"{shown}\">"
    );
    if moves {
        let left = coordinate(number.rem_euclid(MOTION_SECONDS) * 3 - 8);
        let right = coordinate(number.rem_euclid(MOTION_SECONDS) * 3 - 6);
        let _ = write!(
            text,
            "<tt:Object ObjectId=\"{number}\"><tt:Appearance><tt:Shape>\
             <tt:BoundingBox left=\"{left}\" top=\"0.2\" right=\"{right}\" bottom=\"-0.2\"/>\
             <tt:CenterOfGravity x=\"{left}\" y=\"0.0\"/></tt:Shape></tt:Appearance></tt:Object>"
        );
    }
    text.push_str("</tt:Frame></tt:VideoAnalytics>");
    if moves != told {
        let _ = write!(
            text,
            "<tt:Event><wsnt:NotificationMessage>\
             <wsnt:Topic Dialect=\"http://www.onvif.org/ver10/tev/topicExpression/ConcreteSet\">\
             tns1:{MOTION_TOPIC}</wsnt:Topic>\
             <wsnt:Message><tt:Message UtcTime=\"{shown}\" PropertyOperation=\"Changed\">\
             <tt:Source><tt:SimpleItem Name=\"Source\" Value=\"{EYE}\"/></tt:Source>\
             <tt:Data><tt:SimpleItem Name=\"State\" Value=\"{moves}\"/></tt:Data>\
             </tt:Message></wsnt:Message></wsnt:NotificationMessage></tt:Event>"
        );
    }
    let _ = write!(
        text,
        "<tt:Extension><kw:Stamp xmlns:kw=\"urn:keepwatch:lab\" Camera=\"{camera}\" Number=\"{number}\"/>\
         </tt:Extension></tt:MetadataStream>"
    );
    Bytes::from(text)
}

/// A tenth of the coordinates of ONVIF, which go from -1 to 1.
fn coordinate(tenths: i64) -> String {
    let sign = if tenths < 0 { "-" } else { "" };
    format!("{sign}{}.{}", tenths.abs() / 10, tenths.abs() % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> WallTime {
        EPOCH.plus(seconds * TICKS_PER_SECOND)
    }

    #[test]
    fn motion_comes_and_goes_with_the_time_and_its_changes_are_told_once() {
        let changes: Vec<i64> = (0..30)
            .filter(|&second| {
                let document =
                    document("cam1".parse().unwrap(), at(second), at(second), Moves::regular(at(second)));
                std::str::from_utf8(&document).unwrap().contains("<tt:Event>")
            })
            .collect();
        assert_eq!(changes, [0, 5, 10, 15, 20, 25]);
        assert!(!moves_at(at(4)) && moves_at(at(5)) && moves_at(at(9)) && !moves_at(at(10)));
        for second in 0..30 {
            let change = motion_change_after(at(second).plus(7));
            assert_eq!(change, at(second / 5 * 5 + 5));
            assert_ne!(moves_at(change), moves_at(change.plus(-1)));
        }
    }

    #[test]
    fn a_document_is_whole_and_says_its_number_and_the_cameras_time() {
        for second in 0..12 {
            let shown = at(second).plus(3_600 * TICKS_PER_SECOND);
            let document = document("cam1".parse().unwrap(), at(second), shown, Moves::regular(at(second)));
            let text = std::str::from_utf8(&document).unwrap();
            assert!(text.contains(&format!("Camera=\"cam1\" Number=\"{second}\"")));
            assert!(text.contains(&format!("UtcTime=\"{shown}\"")));
            assert!(text.ends_with("</tt:MetadataStream>"));
        }
        assert_eq!(document_from(at(3).plus(1)), at(4));
        assert_eq!((coordinate(-8), coordinate(12)), ("-0.8".to_owned(), "1.2".to_owned()));
    }
}
