//! What the paths of the RTSP server mean. Pure.
//!
//! `/CAMERA` is the present of the main stream, `/CAMERA/sub` that of the sub stream; with `/recorded` behind it, either is
//! what was recorded of it.

use keepwatch_model::{CameraId, StreamId};

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
    Recorded,
}

impl Place {
    /// The place under `path`; `None` when there is none of that kind.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let mut parts = path.strip_prefix('/').unwrap_or(path).trim_end_matches('/').split('/');
        let camera = parts.next()?.parse().ok()?;
        let (stream, time) = match (parts.next(), parts.next(), parts.next()) {
            (None, None, None) => (StreamId::MAIN, Time::Live),
            (Some("sub"), None, None) => (StreamId::SUB, Time::Live),
            (Some("recorded"), None, None) => (StreamId::MAIN, Time::Recorded),
            (Some("sub"), Some("recorded"), None) => (StreamId::SUB, Time::Recorded),
            (_, _, _) => return None,
        };
        Some(Self { camera, stream, time })
    }
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
        assert_eq!(read("/gate/recorded"), gate(StreamId::MAIN, Time::Recorded));
        assert_eq!(read("/gate/sub/recorded"), gate(StreamId::SUB, Time::Recorded));
        for wrong in
            ["", "/", "/gate/main", "/gate/recorded/sub", "/gate//sub", "/../gate", "/gate/sub/recorded/1"]
        {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
