//! The entry for fuzz targets: all of a device that a stranger's bytes reach, without its socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Request;
use keepwatch_media::auth::Credentials;
use keepwatch_model::{Span, TICKS_PER_SECOND, WallTime};

use super::backend::{
    Access, Answer, Audio, AudioCodec, Backend, Identity, Profile, Recording, Refusal, Section, Track,
    TrackKind, TrackSections, Transport, User, UserLevel, Video, VideoCodec,
};
use super::{Device, Reached};
use crate::notification::{Notification, Operation};

/// Requests of one input that are answered.
const REQUESTS_MAX: usize = 16;

/// How long one may wait: a fetch would wait for a minute.
const PATIENCE: Duration = Duration::from_millis(2);

/// The footage: a minute in every two, for ten days.
const START: WallTime = WallTime::from_ticks(1_795_000_000 * TICKS_PER_SECOND);
const MINUTE: i64 = 60 * TICKS_PER_SECOND;
const MINUTES: i64 = 10 * 24 * 60;

/// A camera that has a bit of everything.
struct Anything {
    access: Access,
}

const VIDEO: Video = Video {
    codec: VideoCodec::H264,
    width: 640,
    height: 360,
    frames_per_second: 25.0,
    bitrate_kbps: 500,
    group_length: 25,
};

const AUDIO: Audio = Audio { codec: AudioCodec::Pcmu, sample_rate: 8000, bitrate_kbps: 64 };

impl Backend for Anything {
    fn identity(&self) -> Identity {
        let text = || "x".to_owned();
        Identity {
            manufacturer: text(),
            model: text(),
            firmware: text(),
            serial: text(),
            hardware: text(),
            name: text(),
            location: text(),
            endpoint: text(),
            hostname: text(),
        }
    }

    fn now(&self) -> WallTime {
        START.plus(MINUTES * MINUTE)
    }

    fn access(&self) -> Access {
        self.access.clone()
    }

    fn profiles(&self) -> Vec<Profile> {
        vec![Profile {
            token: "main".to_owned(),
            name: "main".to_owned(),
            source: "eye".to_owned(),
            video: Some(VIDEO),
            audio: Some(AUDIO),
            metadata: true,
        }]
    }

    fn stream_uri(&self, profile: &str, _: Transport, host: &str) -> Result<String, Refusal> {
        Ok(format!("rtsp://{host}/{profile}"))
    }

    fn has_snapshots(&self) -> bool {
        true
    }

    fn has_recordings(&self) -> bool {
        true
    }

    fn recordings(&self) -> Answer<'_, Vec<Recording>> {
        let span = Span::new(START, self.now());
        let track = |token: &str, kind| Track { token: token.to_owned(), kind, span };
        let recording = Recording {
            token: "rec".to_owned(),
            source: "main".to_owned(),
            name: "x".to_owned(),
            content: "x".to_owned(),
            active: true,
            retention_seconds: Some(1),
            tracks: vec![track("v", TrackKind::Video(VIDEO)), track("a", TrackKind::Audio(AUDIO))],
        };
        Box::pin(std::future::ready(Ok(vec![recording])))
    }

    fn sections(&self, _: &str, span: Span) -> Answer<'_, Vec<TrackSections>> {
        let section = |minute: i64| Section {
            from: START.plus(minute * MINUTE),
            to: Some(START.plus(minute.saturating_add(1) * MINUTE)),
        };
        let sections = (0..MINUTES).step_by(2).map(section);
        let overlaps =
            |section: &Section| section.from < span.to && section.to.is_none_or(|to| to > span.from);
        let sections =
            vec![TrackSections { track: "v".to_owned(), sections: sections.filter(overlaps).collect() }];
        Box::pin(std::future::ready(Ok(sections)))
    }

    fn replay_uri(&self, recording: &str, _: Transport, host: &str) -> Result<String, Refusal> {
        Ok(format!("rtsp://{host}/{recording}"))
    }

    fn properties(&self) -> Vec<Notification> {
        vec![Notification {
            topic: "VideoSource/MotionAlarm".to_owned(),
            time: START,
            source: Vec::new(),
            data: vec![("State".to_owned(), "true".to_owned())],
            operation: Some(Operation::Initialized),
        }]
    }
}

/// Answers the requests in `bytes` and returns the bodies. The first byte chooses whether a login is needed; requests
/// end with NUL, and each is a line with a path, a line with an `Authorization`, and a body. Tokens and ids are always
/// `07` twelve times, so that an input can name what an earlier request of it made.
#[doc(hidden)]
pub fn answer_requests(bytes: &[u8]) -> Vec<Bytes> {
    let (choice, bytes) = bytes.split_first().map_or((0, bytes), |(first, rest)| (*first, rest));
    let credentials = Credentials { user: "user".to_owned(), password: "password".to_owned() };
    let user = User { credentials, level: UserLevel::Administrator };
    let access = if choice & 1 == 0 { Access::Open } else { Access::Users(vec![user]) };
    let mut device = Device::new(Arc::new(Anything { access }));
    device.chance = || [7; 32];
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else {
        return Vec::new();
    };
    let reached = Reached { local: SocketAddr::from(([127, 0, 0, 1], 80)), secure: false };
    runtime.block_on(async {
        let mut answers = Vec::new();
        for request in bytes.split(|byte| *byte == 0).take(REQUESTS_MAX) {
            let mut parts = request.splitn(3, |byte| *byte == b'\n');
            let mut next = || parts.next().unwrap_or_default();
            let (path, authorization, body) = (next(), next(), next());
            let method = if body.is_empty() { "GET" } else { "POST" };
            let request = Request::builder().method(method).uri(path).header("Authorization", authorization);
            // What HTTP does not let through does not reach a device.
            let Ok(request) = request.body(Bytes::copy_from_slice(body)) else { continue };
            if let Ok(answer) = tokio::time::timeout(PATIENCE, device.handle(&request, reached)).await {
                answers.push(answer.into_body());
            }
        }
        answers
    })
}
