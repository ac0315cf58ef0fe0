//! What the paths of the RTSP server mean. Pure.
//!
//! `/CAMERA` is the present of the main stream, `/CAMERA/sub` that of the sub stream; with `/recorded` behind it, either is
//! what was recorded of it, and with `/TIME` behind that, footage with the tracks that were recorded then.

use keepwatch_media::replay::ClockRange;
use keepwatch_model::{CameraId, StreamId, WallTime};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) camera: CameraId,
    pub(super) stream: StreamId,
    pub(super) time: Time,
}

/// The present or the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Time {
    Live,
    /// Footage as it was recorded at `at`; `None`: as it is recorded at the end.
    Recorded {
        at: Option<WallTime>,
    },
}

impl Place {
    /// The place under `path`; `None` when there is none of that kind.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let mut parts = path.strip_prefix('/').unwrap_or(path).trim_end_matches('/').split('/');
        let camera = parts.next()?.parse().ok()?;
        let mut parts = parts.peekable();
        let stream = parts.next_if_eq(&"sub").map_or(StreamId::MAIN, |_| StreamId::SUB);
        let time = match (parts.next(), parts.next(), parts.next()) {
            (None, ..) => Time::Live,
            (Some("recorded"), None, _) => Time::Recorded { at: None },
            (Some("recorded"), Some(at), None) => Time::Recorded { at: Some(time(at)?) },
            (Some(_), ..) => return None,
        };
        Some(Self { camera, stream, time })
    }
}

/// A time as a `clock` range has it.
fn time(text: &str) -> Option<WallTime> {
    let range = ClockRange::parse(&format!("clock={text}")).ok()?;
    range.to.is_none().then_some(range.from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_camera_a_stream_and_a_time() {
        let read =
            |path| Place::parse(path).map(|place| (place.camera.to_string(), place.stream, place.time));
        let gate = |stream, time| Some(("gate".to_owned(), stream, time));
        assert_eq!(read("/gate"), gate(StreamId::MAIN, Time::Live));
        assert_eq!(read("/gate/"), gate(StreamId::MAIN, Time::Live));
        assert_eq!(read("/gate/sub"), gate(StreamId::SUB, Time::Live));
        assert_eq!(read("/gate/recorded"), gate(StreamId::MAIN, Time::Recorded { at: None }));
        assert_eq!(read("/gate/sub/recorded"), gate(StreamId::SUB, Time::Recorded { at: None }));
        let at = "2026-11-21T22:05:00.5Z".parse().ok();
        assert_eq!(read("/gate/recorded/20261121T220500.5Z"), gate(StreamId::MAIN, Time::Recorded { at }));
        assert_eq!(
            read("/gate/sub/recorded/20261121T220500.500Z/"),
            gate(StreamId::SUB, Time::Recorded { at })
        );
        for wrong in [
            "",
            "/",
            "/gate/main",
            "/gate/recorded/sub",
            "/gate//sub",
            "/../gate",
            "/gate/sub/recorded/1",
            "/gate/recorded/20261121T220500Z-20261121T220600Z",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
