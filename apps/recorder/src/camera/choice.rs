//! Which of the tracks that a camera offers are recorded, and what is said of the others.

use keepwatch_media::sdp::{MediaKind, MediaTrack, UnsupportedReason};
use keepwatch_model::{CodecKind, StreamId};

use crate::config::CameraConfig;

/// What is wanted beside the pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Sound.
    pub(crate) audio: bool,
    /// ONVIF metadata.
    pub(crate) metadata: bool,
}

impl Wanted {
    /// What `config` asks of a stream. Metadata says the same beside every stream, so the main one's will do.
    pub(super) fn of(config: &CameraConfig, stream: StreamId) -> Self {
        Self { audio: config.audio, metadata: config.metadata && stream == StreamId::MAIN }
    }
}

/// The tracks to set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Positions among what is offered: the video, then audio and metadata where there are some.
    pub(crate) tracks: Vec<usize>,
    /// What is wanted and offered and cannot be recorded, with the reason.
    pub(crate) left_out: Vec<String>,
}

/// Nothing that is offered has pictures.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the camera offers no video that can be recorded, only {}; set it to H.264, H.265 or JPEG", list(.0))]
pub(crate) struct NoVideo(Vec<String>);

impl Choice {
    /// The first H.264 or H.265, else the first JPEG; the first audio and the first metadata that can be recorded.
    pub(crate) fn of(offered: &[MediaTrack], wanted: Wanted) -> Result<Self, NoVideo> {
        let first = |fits: &dyn Fn(CodecKind) -> bool| {
            offered.iter().position(|track| track.config.as_ref().is_ok_and(|config| fits(config.kind)))
        };
        let inter = |kind: CodecKind| kind.is_video() && kind != CodecKind::Jpeg;
        let video = first(&inter).or_else(|| first(&|kind| kind.is_video()));
        let Some(video) = video else {
            return Err(NoVideo(offered.iter().map(describe).collect()));
        };
        let audio = first(&|kind| kind.is_audio()).filter(|_| wanted.audio);
        let metadata = first(&|kind| kind == CodecKind::Metadata).filter(|_| wanted.metadata);
        let left_out = offered.iter().filter(|track| wanted.misses(track)).map(describe).collect();
        Ok(Self { tracks: std::iter::once(video).chain(audio).chain(metadata).collect(), left_out })
    }
}

impl Wanted {
    /// Whether an operator who asks for this would look for `track` in the footage, in vain.
    fn misses(self, track: &MediaTrack) -> bool {
        let wanted = match track.media {
            MediaKind::Video => true,
            MediaKind::Audio => self.audio,
            MediaKind::Other => self.metadata,
        };
        wanted && track.config.as_ref().is_err_and(|why| *why != UnsupportedReason::Backchannel)
    }
}

/// A track in an operator's words.
fn describe(track: &MediaTrack) -> String {
    let kind = match track.media {
        MediaKind::Video => "video",
        MediaKind::Audio => "audio",
        MediaKind::Other => "other data",
    };
    match &track.config {
        Ok(config) => format!("{kind} ({})", codec_name(config.kind)),
        Err(why) => format!("{kind} ({why})"),
    }
}

fn list(offered: &[String]) -> String {
    if offered.is_empty() { "nothing".to_owned() } else { offered.join(", ") }
}

/// The name of a coding in the API.
pub(crate) const fn codec_name(kind: CodecKind) -> &'static str {
    match kind {
        CodecKind::H264 => "h264",
        CodecKind::H265 => "h265",
        CodecKind::Jpeg => "jpeg",
        CodecKind::Pcmu => "pcmu",
        CodecKind::Pcma => "pcma",
        CodecKind::Aac => "aac",
        CodecKind::Metadata => "metadata",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keepwatch_model::TrackConfig;

    fn track(media: MediaKind, kind: CodecKind) -> MediaTrack {
        let config = TrackConfig { kind, clock_rate: 90_000, channels: 0, config: Vec::new() };
        MediaTrack { media, control: None, payload_type: 96, clock_rate: 90_000, config: Ok(config) }
    }

    fn unusable(media: MediaKind, why: UnsupportedReason) -> MediaTrack {
        MediaTrack { config: Err(why), ..track(media, CodecKind::H264) }
    }

    const ALL: Wanted = Wanted { audio: true, metadata: true };

    #[test]
    fn the_first_h264_or_h265_is_chosen_before_any_jpeg() {
        use CodecKind::{Aac, H264, H265, Jpeg, Metadata, Pcmu};
        use MediaKind::{Audio, Other, Video};
        let offered = [
            track(Other, Metadata),
            track(Video, Jpeg),
            track(Audio, Aac),
            track(Video, H265),
            track(Video, H264),
            track(Audio, Pcmu),
        ];
        let choice = Choice::of(&offered, ALL).unwrap();
        assert_eq!((choice.tracks.as_slice(), choice.left_out.len()), (&[3, 2, 0][..], 0));
        let choice = Choice::of(&offered, Wanted { audio: false, metadata: false }).unwrap();
        assert_eq!(choice.tracks, [3]);
        assert_eq!(Choice::of(&offered[..3], ALL).unwrap().tracks, [1, 2, 0]);
    }

    #[test]
    fn what_is_wanted_and_cannot_be_recorded_is_named() {
        let latm = unusable(MediaKind::Audio, UnsupportedReason::Coding("MP4A-LATM/48000".to_owned()));
        let interleaved = unusable(MediaKind::Video, UnsupportedReason::Interleaved);
        let back = unusable(MediaKind::Audio, UnsupportedReason::Backchannel);
        let offered = [interleaved, track(MediaKind::Video, CodecKind::Jpeg), latm, back];
        let choice = Choice::of(&offered, ALL).unwrap();
        assert_eq!(choice.tracks, [1]);
        assert_eq!(choice.left_out.len(), 2);
        assert_eq!(choice.left_out[1], "audio (coding MP4A-LATM/48000 is not supported)");
        assert_eq!(Choice::of(&offered, Wanted { audio: false, ..ALL }).unwrap().left_out.len(), 1);
    }

    #[test]
    fn a_camera_without_pictures_is_told_apart() {
        let offered =
            [track(MediaKind::Audio, CodecKind::Pcmu), track(MediaKind::Other, CodecKind::Metadata)];
        let error = Choice::of(&offered, ALL).unwrap_err().to_string();
        assert_eq!(
            error,
            "the camera offers no video that can be recorded, only audio (pcmu), other data (metadata); set it to H.264, \
             H.265 or JPEG"
        );
    }
}
