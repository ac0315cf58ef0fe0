//! A virtual camera as an ONVIF device (Profile S and G): what it is, where its streams are, what lies on its card, and
//! the motion alarm. The services themselves are `io/onvif`'s.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use keepwatch_media::auth::Credentials;
use keepwatch_model::{CodecKind, Span, TICKS_PER_SECOND, WallTime};
use keepwatch_onvif::device::Backend;
use keepwatch_onvif::device::backend::{
    Access, Answer, Audio, AudioCodec, Identity, Profile, Recording, Refusal, Section, Topic, Track,
    TrackKind, TrackSections, Transport, User, UserLevel, Video, VideoCodec,
};
use keepwatch_onvif::notification::{Notification, Operation};
use tokio::sync::broadcast;
use tokio::time::sleep_until;

use crate::Caption;
use crate::camera::Camera;
use crate::card::{Card, track_token};
use crate::documents::{EYE, MOTION_TOPIC, motion_change_after};
use crate::encoder::EncoderSettings;
use crate::fault::CardState;
use crate::feed::Variant;
use crate::jpeg::JpegEncoder;
use crate::site::{Login, NUMBERS_PER_CAMERA};

/// Notifications that a slow client may be behind: minutes of motion.
const BEHIND_MAX: usize = 64;

/// The profile of the main stream, and the source of what is on the card.
const MAIN: &str = "main";
/// The profile of the sub-stream.
const SUB: &str = "sub";
/// The recording: the whole card.
const RECORDING: &str = "card";

/// A section whose end is older than this does not grow any more, in 90 kHz ticks: a few records.
const GROWING_TICKS_MAX: i64 = 5 * TICKS_PER_SECOND;

/// What devices of a site have in common.
#[derive(Clone, Debug)]
pub(crate) struct SiteFacts {
    /// The RTSP server.
    pub(crate) rtsp: SocketAddr,
    /// Of the main streams.
    pub(crate) encoder: EncoderSettings,
    /// Frames from one key frame to the next.
    pub(crate) gop_frames: u32,
    /// Who may ask; `None` for everybody.
    pub(crate) login: Option<Login>,
}

/// One camera's device.
pub(crate) struct CameraDevice {
    camera: Camera,
    facts: SiteFacts,
    notifications: broadcast::Sender<Notification>,
}

impl CameraDevice {
    /// The device of `camera`.
    pub(crate) fn new(camera: Camera, facts: SiteFacts) -> Self {
        Self { camera, facts, notifications: broadcast::Sender::new(BEHIND_MAX) }
    }

    /// Reports motion as it begins and ends, until dropped.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut condition = self.camera.control.watch();
        let mut label = self.camera.clock.now();
        let mut told = condition.borrow().motion.moves_at(label);
        loop {
            let moves = condition.borrow_and_update().motion.moves_at(label);
            if moves != told {
                told = moves;
                // Nobody listening is no error.
                let _ = self.notifications.send(self.motion(label, Operation::Changed));
            }
            let change = motion_change_after(label);
            tokio::select! {
                changed = condition.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    label = self.camera.clock.now();
                }
                () = sleep_until(self.camera.clock.instant_of(change)) => label = change,
            }
        }
    }

    fn motion(&self, label: WallTime, operation: Operation) -> Notification {
        let condition = self.camera.control.condition();
        Notification {
            topic: MOTION_TOPIC.to_owned(),
            time: condition.camera_time(label),
            source: vec![("Source".to_owned(), EYE.to_owned())],
            data: vec![("State".to_owned(), condition.motion.moves_at(label).to_string())],
            operation: Some(operation),
        }
    }

    fn place(&self) -> u64 {
        self.camera.number_base / NUMBERS_PER_CAMERA
    }

    /// The card, if there is one and it can be read.
    fn card(&self) -> Option<&Arc<Card>> {
        let out = self.camera.control.condition().card == CardState::Missing;
        self.camera.card.as_ref().filter(|_| !out)
    }

    fn video(&self, variant: Variant) -> Video {
        let EncoderSettings { width, height, frames_per_second, bits_per_second, .. } = self.facts.encoder;
        let kind = self.camera.feed.track(variant).kind;
        let small = variant == Variant::Sub || kind == CodecKind::H265;
        let (width, height) = if small { (320, 180) } else { (width, height) };
        let bits_per_second = if variant == Variant::Sub { bits_per_second / 4 } else { bits_per_second };
        Video {
            codec: match kind {
                CodecKind::H265 => VideoCodec::H265,
                CodecKind::Jpeg => VideoCodec::Jpeg,
                CodecKind::H264
                | CodecKind::Pcmu
                | CodecKind::Pcma
                | CodecKind::Aac
                | CodecKind::Metadata => VideoCodec::H264,
            },
            width: u32::try_from(width).unwrap_or(u32::MAX),
            height: u32::try_from(height).unwrap_or(u32::MAX),
            frames_per_second: f32::from(u16::try_from(frames_per_second).unwrap_or(u16::MAX)),
            bitrate_kbps: bits_per_second / 1_000,
            group_length: self.facts.gop_frames,
        }
    }

    fn audio(&self) -> Option<Audio> {
        let track = self.camera.sound.as_ref()?.track();
        let (codec, bitrate_kbps) = match track.kind {
            CodecKind::Aac => (AudioCodec::Aac, 24),
            CodecKind::Pcma => (AudioCodec::Pcma, 64),
            CodecKind::Pcmu | CodecKind::H264 | CodecKind::H265 | CodecKind::Jpeg | CodecKind::Metadata => {
                (AudioCodec::Pcmu, 64)
            }
        };
        Some(Audio { codec, sample_rate: track.clock_rate, bitrate_kbps })
    }

    fn uri(&self, part: &str, transport: Transport, host: &str) -> Result<String, Refusal> {
        match transport {
            Transport::Udp | Transport::Rtsp => {
                let port = self.facts.rtsp.port();
                Ok(format!("rtsp://{host}:{port}/{}{part}", self.camera.id))
            }
            Transport::Http | Transport::Multicast => {
                Err(Refusal::Unsupported("media are carried by UDP or RTSP".to_owned()))
            }
        }
    }

    /// What the camera shows at this moment, drawn for whoever asks: large whatever the profile.
    fn draw(&self, profile: &str) -> Result<Bytes, Refusal> {
        if !matches!(profile, MAIN | SUB) {
            return Err(Refusal::NotFound(format!("there is no profile {profile:?}")));
        }
        let at = self.camera.clock.now();
        let counter = self.camera.timeline.number_from(at.plus(-self.camera.delay_ticks));
        let name = self.camera.id.as_str();
        let drawn = JpegEncoder::new(self.facts.encoder)
            .and_then(|mut encoder| encoder.encode(Caption { name, at, counter }));
        drawn.map(|picture| picture.data).map_err(|error| Refusal::Failed(error.to_string()))
    }

    /// Whether the newest section still grows.
    fn grows(&self) -> bool {
        self.camera.control.condition().card.takes_footage()
    }

    fn list_recordings(&self) -> Vec<Recording> {
        let condition = self.camera.control.condition();
        let Some(card) = self.card().filter(|_| !condition.finds_nothing) else { return Vec::new() };
        let span = card.shelf().span();
        let tracks = self.camera.tracks(Variant::Main);
        let tracks = tracks.iter().map(|track| Track {
            token: track_token(track.kind).to_owned(),
            kind: match (track.kind, self.audio()) {
                (CodecKind::Metadata, _) => TrackKind::Metadata,
                (kind, Some(audio)) if kind.is_audio() => TrackKind::Audio(audio),
                _ => TrackKind::Video(self.video(Variant::Main)),
            },
            span,
        });
        vec![Recording {
            token: RECORDING.to_owned(),
            source: MAIN.to_owned(),
            name: self.camera.id.to_string(),
            content: "what the camera saw".to_owned(),
            active: self.grows(),
            retention_seconds: None,
            tracks: tracks.collect(),
        }]
    }

    fn list_sections(&self, recording: &str, span: Span) -> Result<Vec<TrackSections>, Refusal> {
        if recording != RECORDING {
            return Err(unknown(recording));
        }
        let condition = self.camera.control.condition();
        let Some(card) = self.card().filter(|_| !condition.finds_nothing) else { return Ok(Vec::new()) };
        let held = card.shelf().sections();
        // A section that grows is behind by an open record.
        let stands_from = self.now().plus(-GROWING_TICKS_MAX);
        let grows = |held: &Span| self.grows() && held.to > stands_from;
        let section = |held: &Span| Section { from: held.from, to: (!grows(held)).then_some(held.to) };
        let sections: Vec<Section> =
            held.iter().filter(|held| held.intersection(span).is_some()).map(section).collect();
        let tracks = self.camera.tracks(Variant::Main);
        let of_track =
            |kind| TrackSections { track: track_token(kind).to_owned(), sections: sections.clone() };
        Ok(tracks.iter().map(|track| of_track(track.kind)).collect())
    }
}

fn unknown(recording: &str) -> Refusal {
    Refusal::NotFound(format!("there is no recording {recording:?}"))
}

impl Backend for CameraDevice {
    fn identity(&self) -> Identity {
        let place = self.place();
        Identity {
            manufacturer: "Keepwatch".to_owned(),
            model: "virtual camera".to_owned(),
            firmware: env!("CARGO_PKG_VERSION").to_owned(),
            serial: format!("lab-{place}"),
            hardware: "lab".to_owned(),
            name: self.camera.id.to_string(),
            location: String::new(),
            // Cameras of two sites on one machine are two devices.
            endpoint: format!("6b771af3-0c5e-4d92-a841-{:04x}{place:08x}", self.facts.rtsp.port()),
            hostname: self.camera.id.to_string(),
        }
    }

    fn now(&self) -> WallTime {
        self.camera.control.condition().camera_time(self.camera.clock.now())
    }

    fn access(&self) -> Access {
        let Some(Login { user, password }) = self.facts.login.clone() else { return Access::Open };
        let credentials = Credentials { user, password };
        Access::Users(vec![User { credentials, level: UserLevel::Administrator }])
    }

    fn profiles(&self) -> Vec<Profile> {
        let profile = |token: &str, variant| Profile {
            token: token.to_owned(),
            name: token.to_owned(),
            source: EYE.to_owned(),
            video: Some(self.video(variant)),
            audio: self.audio(),
            metadata: self.camera.metadata,
        };
        vec![profile(MAIN, Variant::Main), profile(SUB, Variant::Sub)]
    }

    fn stream_uri(&self, profile: &str, transport: Transport, host: &str) -> Result<String, Refusal> {
        match profile {
            MAIN => self.uri("", transport, host),
            SUB => self.uri("/sub", transport, host),
            _ => Err(Refusal::NotFound(format!("there is no profile {profile:?}"))),
        }
    }

    fn has_snapshots(&self) -> bool {
        true
    }

    fn snapshot(&self, profile: &str) -> Answer<'_, Bytes> {
        Box::pin(std::future::ready(self.draw(profile)))
    }

    fn has_recordings(&self) -> bool {
        self.camera.card.is_some()
    }

    fn recordings(&self) -> Answer<'_, Vec<Recording>> {
        Box::pin(std::future::ready(Ok(self.list_recordings())))
    }

    fn sections(&self, recording: &str, span: Span) -> Answer<'_, Vec<TrackSections>> {
        Box::pin(std::future::ready(self.list_sections(recording, span)))
    }

    fn replay_uri(&self, recording: &str, transport: Transport, host: &str) -> Result<String, Refusal> {
        if recording != RECORDING {
            return Err(unknown(recording));
        }
        if self.card().is_none() {
            return Err(Refusal::Failed("there is no card in the camera".to_owned()));
        }
        self.uri("/card", transport, host)
    }

    fn notifications(&self) -> Option<broadcast::Receiver<Notification>> {
        Some(self.notifications.subscribe())
    }

    fn properties(&self) -> Vec<Notification> {
        vec![self.motion(self.camera.clock.now(), Operation::Initialized)]
    }

    fn topics(&self) -> Vec<Topic> {
        vec![Topic {
            path: MOTION_TOPIC.to_owned(),
            property: true,
            source: vec![("Source".to_owned(), "tt:ReferenceToken".to_owned())],
            data: vec![("State".to_owned(), "xs:boolean".to_owned())],
        }]
    }
}
