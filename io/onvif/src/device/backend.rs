//! What a device is: the trait that a camera, a recorder or a virtual camera implements, and the words it uses.
//!
//! The device side translates between these words and SOAP, and decides who may ask. It never decides what a device
//! has: a clock that is wrong, a card that is missing, or a search that finds nothing are answers of the backend.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use keepwatch_media::auth::Credentials;
use keepwatch_model::{Span, WallTime};
use tokio::sync::broadcast;

use crate::notification::Notification;

/// An answer that may take a while: what it says lies on a card, or on a disk.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send + 'a>>;

/// A device, seen from ONVIF.
///
/// Calls that return at once read memory. Those that return an [`Answer`] may wait; the device side bounds how long it
/// waits for them, and drops the answer when nobody wants it any more.
pub trait Backend: Send + Sync + 'static {
    /// Who it is. What it returns must not change while the device is served, except name and location.
    fn identity(&self) -> Identity;

    /// Its clock, right or wrong. It dates every answer, and the logins of clients are compared with it.
    fn now(&self) -> WallTime;

    /// Who may ask.
    fn access(&self) -> Access;

    /// Its live streams, the best first; at most 64 are told.
    fn profiles(&self) -> Vec<Profile>;

    /// Where the stream of a profile is found, for a client that reached this device by the name or address `host`
    /// (with brackets if it is IPv6, without a port).
    fn stream_uri(&self, profile: &str, transport: Transport, host: &str) -> Result<String, Refusal>;

    /// Whether it can give single pictures: the device side then serves them at an address of its own.
    fn has_snapshots(&self) -> bool {
        false
    }

    /// A JPEG picture of the profile of this moment.
    fn snapshot(&self, profile: &str) -> Answer<'_, Bytes> {
        let refusal = Refusal::NotFound(format!("profile {profile:?} has no picture"));
        Box::pin(std::future::ready(Err(refusal)))
    }

    /// Whether it records: only then it offers the services of recording, search and replay (Profile G).
    fn has_recordings(&self) -> bool {
        false
    }

    /// What it has recorded, in any order.
    fn recordings(&self) -> Answer<'_, Vec<Recording>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    /// Where the tracks of a recording have data: every section that overlaps `span`, in ascending order, not cut to
    /// `span`. Tracks without data may be missing.
    fn sections(&self, recording: &str, span: Span) -> Answer<'_, Vec<TrackSections>> {
        let _ = span;
        let refusal = Refusal::NotFound(format!("there is no recording {recording:?}"));
        Box::pin(std::future::ready(Err(refusal)))
    }

    /// Where a recording is replayed, for a client that reached this device by `host`, as for
    /// [`stream_uri`](Self::stream_uri).
    fn replay_uri(&self, recording: &str, transport: Transport, host: &str) -> Result<String, Refusal> {
        let _ = (transport, host);
        Err(Refusal::NotFound(format!("there is no recording {recording:?}")))
    }

    /// The time after which a silent replay session ends: the present setting, and the least and most that can be set,
    /// in seconds.
    fn replay_timeout_seconds(&self) -> ReplayTimeout {
        ReplayTimeout { present: 60, least: 60, most: 60 }
    }

    /// Sets that time; it is within the bounds that [`replay_timeout_seconds`](Self::replay_timeout_seconds) told.
    fn set_replay_timeout_seconds(&self, seconds: u32) -> Result<(), Refusal> {
        let _ = seconds;
        Ok(())
    }

    /// What it reports as it happens. The channel bounds what a slow client can leave behind: one that falls
    /// back further is told the state of all properties instead. `None` when it reports nothing.
    fn notifications(&self) -> Option<broadcast::Receiver<Notification>> {
        None
    }

    /// The present state of every property that it reports, each with the operation `Initialized`.
    fn properties(&self) -> Vec<Notification> {
        Vec::new()
    }

    /// The topics of which notifications come.
    fn topics(&self) -> Vec<Topic> {
        Vec::new()
    }
}

/// Who a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Who made it.
    pub manufacturer: String,
    /// What its maker calls it.
    pub model: String,
    /// The version of its software.
    pub firmware: String,
    /// Its number, unique among those of the maker.
    pub serial: String,
    /// The version of its hardware; also the `hardware` scope.
    pub hardware: String,
    /// What its owner calls it.
    pub name: String,
    /// Where it hangs; empty when nobody said.
    pub location: String,
    /// The stable UUID of WS-Discovery, such as `5c8e2a5e-…`, without `urn:uuid:`.
    pub endpoint: String,
    /// Its name in the network, without a domain.
    pub hostname: String,
}

/// Who may ask a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody may, without a login.
    Open,
    /// These users may.
    Users(Vec<User>),
}

/// A user of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Name and password.
    pub credentials: Credentials,
    /// What the user may do.
    pub level: UserLevel,
}

/// What a user may do (ONVIF Core, default access policy), the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UserLevel {
    /// Look.
    User,
    /// Look and change what is not dangerous.
    Operator,
    /// Everything.
    Administrator,
}

impl UserLevel {
    /// The name in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Operator => "Operator",
            Self::Administrator => "Administrator",
        }
    }
}

/// One live stream with all its tracks.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Its token, at most 64 characters.
    pub token: String,
    /// Its name, for people.
    pub name: String,
    /// The token of the camera's eye; profiles with the same token show the same scene.
    pub source: String,
    /// The video; `None` when it has none.
    pub video: Option<Video>,
    /// The sound; `None` when it has none.
    pub audio: Option<Audio>,
    /// Whether a metadata stream comes with it.
    pub metadata: bool,
}

/// How video is coded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Video {
    /// The coding.
    pub codec: VideoCodec,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Pictures in a second.
    pub frames_per_second: f32,
    /// Upper bound in kbit/s.
    pub bitrate_kbps: u32,
    /// Pictures from one key frame to the next.
    pub group_length: u32,
}

/// A coding of video.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VideoCodec {
    /// JPEG pictures.
    Jpeg,
    /// H.264.
    H264,
    /// H.265.
    H265,
}

/// How sound is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audio {
    /// The coding.
    pub codec: AudioCodec,
    /// Samples in a second.
    pub sample_rate: u32,
    /// Bit rate in kbit/s.
    pub bitrate_kbps: u32,
}

/// A coding of sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudioCodec {
    /// G.711 with µ-law.
    Pcmu,
    /// G.711 with A-law.
    Pcma,
    /// MPEG-4 AAC.
    Aac,
}

/// How a client wants its stream carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// RTP over UDP, to one receiver.
    Udp,
    /// RTP inside the RTSP connection.
    Rtsp,
    /// The same inside HTTP.
    Http,
    /// RTP over UDP, to a group of receivers.
    Multicast,
}

/// Something recorded, with its tracks.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// Its token, at most 64 characters.
    pub token: String,
    /// The token of the profile that it was made from; also the source in search scopes.
    pub source: String,
    /// The name of the source, for people; at most 64 characters are told.
    pub name: String,
    /// What it holds, for people.
    pub content: String,
    /// Whether data is being added at this moment.
    pub active: bool,
    /// For how long data is kept, in seconds; `None` until space runs out.
    pub retention_seconds: Option<u64>,
    /// Its tracks.
    pub tracks: Vec<Track>,
}

/// One track of a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// Its token, unique in the recording, at most 64 characters.
    pub token: String,
    /// What it holds, and how it is coded.
    pub kind: TrackKind,
    /// From its first data up to its last, holes included; `None` when it is empty.
    pub span: Option<Span>,
}

/// What a track holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TrackKind {
    /// Video.
    Video(Video),
    /// Sound.
    Audio(Audio),
    /// Events and analytics.
    Metadata,
}

/// After which silence a replay session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayTimeout {
    /// The present setting, in seconds.
    pub present: u32,
    /// The least that can be set, in seconds.
    pub least: u32,
    /// The most that can be set, in seconds.
    pub most: u32,
}

/// Where one track has data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackSections {
    /// The token of the track.
    pub track: String,
    /// The sections, ascending, none touching the next.
    pub sections: Vec<Section>,
}

/// Data without a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// Its first label.
    pub from: WallTime,
    /// The first label after it; `None` while data is being added.
    pub to: Option<WallTime>,
}

/// A topic and what its messages carry; names as in the ONVIF schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// The path below `tns1:`, such as `VideoSource/MotionAlarm`.
    pub path: String,
    /// Whether its messages tell a state, and not merely an event.
    pub property: bool,
    /// Name and type of the source items, such as `("Source", "tt:ReferenceToken")`.
    pub source: Vec<(String, String)>,
    /// Name and type of the data items, such as `("State", "xs:boolean")`.
    pub data: Vec<(String, String)>,
}

/// Why a device does not answer as asked; what it says is told to the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such profile, recording or track.
    #[error("{0}")]
    NotFound(String),
    /// This device cannot do it, or not so.
    #[error("{0}")]
    Unsupported(String),
    /// Something that it needs is broken or missing, such as the card.
    #[error("{0}")]
    Failed(String),
}

impl fmt::Display for VideoCodec {
    /// The name in RTP, as Media 2 wants it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jpeg => "JPEG",
            Self::H264 => "H264",
            Self::H265 => "H265",
        })
    }
}

impl fmt::Display for AudioCodec {
    /// The name in RTP, as Media 2 wants it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::Aac => "MP4A-LATM",
        })
    }
}
