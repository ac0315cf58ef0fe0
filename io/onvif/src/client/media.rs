//! Media profiles, and where their streams and pictures are found.
//!
//! Media 2 is asked where a device has it, for the first version cannot name H.265. Each profile remembers which of the
//! two told it, since tokens of one need not be known to the other.

use url::Url;

use super::{ClientError, Device};
use crate::namespace;
use crate::xml::{Element, Limits, Writer};

/// Profiles that are kept; recorders that pose as cameras have two for each of 64 channels.
const PROFILES_MAX: usize = 128;

/// How much of the profiles is read: a device with all of them, each with everything that the schema has, sends 2 MB and
/// 400 elements for each.
const LIMITS: Limits = Limits { bytes: 4 << 20, elements: 80_000, ..Limits::DEFAULT };

/// Longest token that is kept, in bytes: ONVIF allows 64 characters.
const TOKEN_BYTES_MAX: usize = 256;

/// A stream that a device can send.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Its token.
    pub token: String,
    /// Its name, for people.
    pub name: String,
    /// The token of the camera's eye; profiles with the same show the same scene. `None` when it is not told.
    pub source: Option<String>,
    /// The video; `None` when it has none.
    pub video: Option<VideoEncoder>,
    /// The coding of the sound, in the words of the device; `None` when it has none.
    pub audio: Option<String>,
    /// Whether a metadata stream comes with it.
    pub metadata: bool,
    /// Whether Media 2 told it.
    media2: bool,
}

/// How video is coded.
#[derive(Clone, Debug, PartialEq)]
pub struct VideoEncoder {
    /// The coding.
    pub codec: VideoCodec,
    /// Width in pixels; 0 when it is not told.
    pub width: u32,
    /// Height in pixels; 0 when it is not told.
    pub height: u32,
    /// Pictures in a second, at most; `None` when it is not told.
    pub frames_per_second: Option<f32>,
    /// Upper bound in kbit/s; `None` when it is not told.
    pub bitrate_kbps: Option<u32>,
}

impl VideoEncoder {
    /// Pixels of a picture.
    pub fn pixels(&self) -> u64 {
        u64::from(self.width).saturating_mul(u64::from(self.height))
    }
}

/// A coding of video.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VideoCodec {
    /// JPEG pictures.
    Jpeg,
    /// H.264.
    H264,
    /// H.265.
    H265,
    /// Another, in the words of the device.
    Other(String),
}

/// How the stream is to be carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamTransport {
    /// RTP inside the RTSP connection.
    Tcp,
    /// RTP over UDP.
    Udp,
}

impl StreamTransport {
    /// The protocol in a `StreamSetup` (Media §5.15.1).
    pub(super) const fn protocol(self) -> &'static str {
        match self {
            Self::Tcp => "RTSP",
            Self::Udp => "UDP",
        }
    }
}

impl Device {
    /// All profiles, in the order of the device, which puts the best first more often than not.
    pub async fn profiles(&self) -> Result<Vec<Profile>, ClientError> {
        if self.offers(namespace::MEDIA2) {
            let asked = self.call_within(LIMITS, namespace::MEDIA2, "GetProfiles", |writer| {
                writer.within("tr2:GetProfiles", |writer| writer.leaf("tr2:Type", "All"));
            });
            match asked.await {
                Ok(answer) => {
                    let profiles = read(&answer, profile2);
                    if !profiles.is_empty() || !self.offers(namespace::MEDIA) {
                        return Ok(profiles);
                    }
                }
                // Some firmware announces Media 2 before it works.
                Err(error) if error.is_login() || !self.offers(namespace::MEDIA) => return Err(error),
                Err(_) => {}
            }
        }
        let body = |writer: &mut Writer| writer.empty("trt:GetProfiles", &[]);
        let answer = self.call_within(LIMITS, namespace::MEDIA, "GetProfiles", body).await?;
        Ok(read(&answer, profile1))
    }

    /// Where the stream of a profile is found: an `rtsp:` or `rtsps:` address on the configured host, without login.
    pub async fn stream_uri(
        &self,
        profile: &Profile,
        transport: StreamTransport,
    ) -> Result<Url, ClientError> {
        let name = "GetStreamUri";
        let answer = if profile.media2 {
            let protocol = match transport {
                StreamTransport::Tcp => "RTSP",
                StreamTransport::Udp => "RtspUnicast",
            };
            let body = |writer: &mut Writer| {
                writer.within("tr2:GetStreamUri", |writer| {
                    writer.leaf("tr2:Protocol", protocol);
                    writer.leaf("tr2:ProfileToken", &profile.token);
                });
            };
            self.call(namespace::MEDIA2, name, body).await?
        } else {
            let body = |writer: &mut Writer| {
                writer.within("trt:GetStreamUri", |writer| {
                    writer.within("trt:StreamSetup", |writer| stream_setup(writer, transport));
                    writer.leaf("trt:ProfileToken", &profile.token);
                });
            };
            self.call(namespace::MEDIA, name, body).await?
        };
        let given = uri(&answer).and_then(|given| self.stream_at(given));
        given.ok_or(ClientError::Missing { call: name, what: "RTSP address" })
    }

    /// Where a single picture of a profile is found, on the configured host.
    pub async fn snapshot_uri(&self, profile: &Profile) -> Result<Url, ClientError> {
        let name = "GetSnapshotUri";
        let (service, element, token) = if profile.media2 {
            (namespace::MEDIA2, "tr2:GetSnapshotUri", "tr2:ProfileToken")
        } else {
            (namespace::MEDIA, "trt:GetSnapshotUri", "trt:ProfileToken")
        };
        let body = |writer: &mut Writer| {
            writer.within(element, |writer| writer.leaf(token, &profile.token));
        };
        let answer = self.call(service, name, body).await?;
        let given = uri(&answer).and_then(|given| self.place_at(given));
        given.ok_or(ClientError::Missing { call: name, what: "HTTP address" })
    }
}

/// Writes the content of a `tt:StreamSetup`.
pub(super) fn stream_setup(writer: &mut Writer, transport: StreamTransport) {
    writer.leaf("tt:Stream", "RTP-Unicast");
    writer.within("tt:Transport", |writer| writer.leaf("tt:Protocol", transport.protocol()));
}

/// The address in an answer, which the first version wraps.
fn uri(answer: &Element) -> Option<&str> {
    answer.text_at(&["MediaUri", "Uri"]).or_else(|| answer.text_at(&["Uri"]))
}

/// A token of a device; `None` when it is missing or senselessly long.
pub(super) fn token(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty() && text.len() <= TOKEN_BYTES_MAX).map(str::to_owned)
}

fn read(answer: &Element, profile: fn(&Element) -> Option<Profile>) -> Vec<Profile> {
    answer.children("Profiles").filter_map(profile).take(PROFILES_MAX).collect()
}

fn profile1(element: &Element) -> Option<Profile> {
    profile(
        element,
        element,
        ["VideoSourceConfiguration", "VideoEncoderConfiguration", "AudioEncoderConfiguration"],
        false,
    )
}

fn profile2(element: &Element) -> Option<Profile> {
    let none = Element::default();
    let configurations = element.child("Configurations").unwrap_or(&none);
    profile(element, configurations, ["VideoSource", "VideoEncoder", "AudioEncoder"], true)
}

fn profile(
    element: &Element,
    configurations: &Element,
    [source, video, audio]: [&str; 3],
    media2: bool,
) -> Option<Profile> {
    let metadata = if media2 { "Metadata" } else { "MetadataConfiguration" };
    let audio = configurations.child(audio).and_then(|audio| audio.text_at(&["Encoding"]));
    Some(Profile {
        token: token(element.attribute("token"))?,
        name: element.text_at(&["Name"]).unwrap_or_default().chars().take(64).collect(),
        source: token(configurations.text_at(&[source, "SourceToken"])),
        video: configurations.child(video).map(video_encoder),
        audio: audio.map(|audio| audio.chars().take(32).collect()),
        metadata: configurations.child(metadata).is_some(),
        media2,
    })
}

fn video_encoder(element: &Element) -> VideoEncoder {
    let encoding = element.text_at(&["Encoding"]).unwrap_or_default();
    let codec = match encoding.to_ascii_uppercase().as_str() {
        "JPEG" | "MJPEG" => VideoCodec::Jpeg,
        "H264" | "H.264" => VideoCodec::H264,
        "H265" | "H.265" | "HEVC" => VideoCodec::H265,
        _ => VideoCodec::Other(encoding.chars().take(32).collect()),
    };
    let number = |path: &[&str]| element.text_at(path)?.parse::<u32>().ok();
    let rate = element.text_at(&["RateControl", "FrameRateLimit"]).and_then(|rate| rate.parse::<f32>().ok());
    VideoEncoder {
        codec,
        width: number(&["Resolution", "Width"]).unwrap_or(0),
        height: number(&["Resolution", "Height"]).unwrap_or(0),
        frames_per_second: rate.filter(|rate| rate.is_finite() && *rate > 0.0),
        bitrate_kbps: number(&["RateControl", "BitrateLimit"]),
    }
}
