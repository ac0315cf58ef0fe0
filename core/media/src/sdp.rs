//! Session descriptions (RFC 8866): which tracks a presentation has and how to ask for them, and the writer for a
//! server.
//!
//! The reader is our own because it must not fail where a camera errs: it looks for the lines it needs and passes
//! over all others. A track that cannot be recorded stays in the list with the reason, so that an operator reads
//! what was offered.

mod aac;
mod h264;
mod h265;
mod parameters;
#[cfg(test)]
mod tests;
mod write;

pub use write::{AnnouncedTrack, payload_type, write};

use keepwatch_model::{CodecKind, TrackConfig};

use parameters::Parameters;

/// Most tracks of one presentation; a camera has a handful, and each costs a request.
const TRACKS_MAX: usize = 32;

/// Ticks per second of the RTP clock of all video.
const VIDEO_CLOCK_RATE: u32 = 90_000;

/// Longest text that is kept of an unknown coding.
const NAME_CHARS_MAX: usize = 64;

/// Why a description is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// Nothing in it looks like a line of a description.
    #[error("body of {0} bytes is not a session description")]
    NotSdp(usize),
    /// More tracks than any camera has a reason for.
    #[error("more than {TRACKS_MAX} tracks")]
    TooMany,
}

/// Why a track cannot be recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsupportedReason {
    /// The coding is not known; its name and clock rate, or the payload type when it has no name.
    #[error("coding {0} is not supported")]
    Coding(String),
    /// The clock rate does not fit the coding.
    #[error("clock rate {clock_rate} does not fit {name}")]
    ClockRate {
        /// The name of the coding.
        name: String,
        /// The rate in ticks per second.
        clock_rate: u32,
    },
    /// More audio channels than can be kept.
    #[error("{0} audio channels are not supported")]
    Channels(u32),
    /// Packets carry what they carry in another order than it is decoded: H.264 with packetization-mode 2, H.265 with
    /// sprop-max-don-diff above 0, AAC with maxDisplacement above 0.
    #[error("interleaved packetization is not supported")]
    Interleaved,
    /// AAC in a mode that is neither of the two for AAC; the name of the mode.
    #[error("mode {0} of AAC is not supported")]
    AacMode(String),
    /// AAC with a multiplex layer around it.
    #[error("AAC as MP4A-LATM is not supported; choose MPEG4-GENERIC or G.711 in the camera")]
    Latm,
    /// ONVIF metadata that is compressed; the name of the coding.
    #[error("{0} is compressed, which is not supported; choose uncompressed metadata in the camera")]
    CompressedMetadata(String),
    /// It is not carried by RTP.
    #[error("transport {0} is not supported")]
    Transport(String),
    /// It takes sound to the camera, it gives none.
    #[error("it is the way back to the camera")]
    Backchannel,
}

/// What kind of media a track is said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaKind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
    /// Metadata and everything else.
    Other,
}

/// One track of a presentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaTrack {
    /// What it is said to be.
    pub media: MediaKind,
    /// The control address as it stands; `None` when the description has none.
    pub control: Option<String>,
    /// The RTP payload type, 0 to 127.
    pub payload_type: u8,
    /// Ticks of the RTP clock in a second; 0 when not said.
    pub clock_rate: u32,
    /// How to read it, or why it cannot be recorded. For video the configuration is empty when the description
    /// has no usable one; it is then learned from the stream.
    pub config: Result<TrackConfig, UnsupportedReason>,
}

/// What a camera offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presentation {
    /// The control address of the whole as it stands; `None` when the description has none.
    pub control: Option<String>,
    /// The tracks in the order of the description.
    pub tracks: Vec<MediaTrack>,
}

impl Presentation {
    /// Reads a description.
    pub fn parse(body: &[u8]) -> Result<Self, SdpError> {
        let text = String::from_utf8_lossy(body);
        let mut session_control = None;
        let mut sections: Vec<Section<'_>> = Vec::new();
        let mut understood = false;
        for line in text.split(['\n', '\r']) {
            let Some((kind, value)) = line.trim().split_once('=') else { continue };
            let value = value.trim();
            match kind.trim() {
                "m" if sections.len() == TRACKS_MAX => return Err(SdpError::TooMany),
                "m" => sections.push(Section::new(value)),
                "v" | "s" | "o" => understood = true,
                "a" => {
                    let (name, value) = value.split_once(':').unwrap_or((value, ""));
                    let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
                    match sections.last_mut() {
                        Some(section) => section.attribute(&name, value),
                        None if name == "control" => session_control = control(value),
                        None => {}
                    }
                }
                _ => {}
            }
        }
        if !understood && sections.is_empty() {
            return Err(SdpError::NotSdp(body.len()));
        }
        // ONVIF streaming §5.3: tracks of a camera are "recvonly", the way back is "sendonly". A plain server may say
        // "sendonly" of what it sends, so this means something only where both occur.
        let both = sections.iter().any(|section| section.direction == Direction::ReceiveOnly);
        let tracks = sections.iter().map(|section| section.track(both)).collect();
        Ok(Self { control: session_control, tracks })
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Direction {
    #[default]
    Unsaid,
    SendOnly,
    ReceiveOnly,
}

/// The lines of one track.
struct Section<'a> {
    media: MediaKind,
    transport: &'a str,
    formats: Vec<u8>,
    names: Vec<(u8, &'a str)>,
    parameters: Vec<(u8, &'a str)>,
    control: Option<String>,
    direction: Direction,
}

impl<'a> Section<'a> {
    /// Most formats and attributes that are kept of one track.
    const ITEMS_MAX: usize = 32;

    fn new(value: &'a str) -> Self {
        let mut words = value.split_whitespace();
        let media = words.next().unwrap_or_default();
        let media = match media.to_ascii_lowercase().as_str() {
            "video" => MediaKind::Video,
            "audio" => MediaKind::Audio,
            _ => MediaKind::Other,
        };
        let transport = words.nth(1).unwrap_or_default();
        let formats = words.filter_map(payload_type_number).take(Self::ITEMS_MAX).collect();
        Self {
            media,
            transport,
            formats,
            names: Vec::new(),
            parameters: Vec::new(),
            control: None,
            direction: Direction::Unsaid,
        }
    }

    fn attribute(&mut self, name: &str, value: &'a str) {
        let numbered = || {
            let (number, rest) = value.split_once(char::is_whitespace)?;
            Some((payload_type_number(number)?, rest.trim()))
        };
        match name {
            "control" => self.control = control(value),
            "rtpmap" if self.names.len() < Self::ITEMS_MAX => self.names.extend(numbered()),
            // Ubiquiti: "a=fmtp:96" and nothing behind it.
            "fmtp" if self.parameters.len() < Self::ITEMS_MAX => self.parameters.extend(numbered()),
            "sendonly" => self.direction = Direction::SendOnly,
            "recvonly" => self.direction = Direction::ReceiveOnly,
            _ => {}
        }
    }

    fn track(&self, has_receive_only: bool) -> MediaTrack {
        // A format that no rtpmap names beside an rtpmap that no format asks for: they mean each other.
        let mut formats = self.formats.clone();
        if !formats.iter().any(|format| *format < 96 || self.names.iter().any(|(number, _)| number == format))
        {
            formats = self.names.iter().map(|(number, _)| *number).collect();
        }
        let mut offers = formats.iter().map(|format| (*format, self.offer(*format))).collect::<Vec<_>>();
        if offers.is_empty() {
            offers.push((
                0,
                Offer { clock_rate: 0, config: Err(UnsupportedReason::Coding("without a name".to_owned())) },
            ));
        }
        let usable = offers.iter().position(|(_, offer)| offer.config.is_ok()).unwrap_or(0);
        let (payload_type, Offer { clock_rate, mut config }) = offers.swap_remove(usable);
        if !self.transport.to_ascii_uppercase().starts_with("RTP/AVP") {
            config = Err(UnsupportedReason::Transport(excerpt(self.transport)));
        } else if has_receive_only && self.direction == Direction::SendOnly {
            config = Err(UnsupportedReason::Backchannel);
        }
        MediaTrack { media: self.media, control: self.control.clone(), payload_type, clock_rate, config }
    }

    fn offer(&self, format: u8) -> Offer {
        let named = self.names.iter().find(|(number, _)| *number == format).map(|(_, name)| *name);
        let named = named.or(match format {
            0 => Some("PCMU/8000"),
            8 => Some("PCMA/8000"),
            26 => Some("JPEG/90000"),
            _ => None,
        });
        let Some(named) = named else {
            let config = Err(UnsupportedReason::Coding(format!("of payload type {format}")));
            return Offer { clock_rate: 0, config };
        };
        let mut parts = named.split('/').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let clock_rate = parts.next().and_then(|rate| rate.parse().ok()).unwrap_or(0);
        let channels = parts.next().and_then(|channels| channels.parse().ok());
        let parameters =
            self.parameters.iter().find(|(number, _)| *number == format).map_or("", |(_, text)| *text);
        let parameters = Parameters(parameters);
        let config = match name.to_ascii_uppercase().as_str() {
            "H264" => video_clock(name, clock_rate).and_then(|()| h264::track(parameters)),
            "H265" | "HEVC" => video_clock(name, clock_rate).and_then(|()| h265::track(parameters)),
            "JPEG" => video_clock(name, clock_rate).map(|()| bare(CodecKind::Jpeg, VIDEO_CLOCK_RATE)),
            "PCMU" => g711(CodecKind::Pcmu, name, clock_rate, channels.unwrap_or(1)),
            "PCMA" => g711(CodecKind::Pcma, name, clock_rate, channels.unwrap_or(1)),
            "MPEG4-GENERIC" => aac::track(clock_rate, channels, parameters),
            "MP4A-LATM" => Err(UnsupportedReason::Latm),
            METADATA => {
                let clock_rate = if clock_rate == 0 { VIDEO_CLOCK_RATE } else { clock_rate };
                Ok(bare(CodecKind::Metadata, clock_rate))
            }
            compressed if compressed.starts_with(METADATA) => {
                Err(UnsupportedReason::CompressedMetadata(excerpt(name)))
            }
            _ => Err(UnsupportedReason::Coding(excerpt(named))),
        };
        Offer { clock_rate: config.as_ref().map_or(clock_rate, |config| config.clock_rate), config }
    }
}

struct Offer {
    clock_rate: u32,
    config: Result<TrackConfig, UnsupportedReason>,
}

/// Uncompressed XML; what is behind it names a compression: `+gzip`, `.exi.ext`.
const METADATA: &str = "VND.ONVIF.METADATA";

/// A track whose description says no more than its coding.
const fn bare(kind: CodecKind, clock_rate: u32) -> TrackConfig {
    TrackConfig { kind, clock_rate, channels: 0, config: Vec::new() }
}

fn video_clock(name: &str, clock_rate: u32) -> Result<(), UnsupportedReason> {
    if matches!(clock_rate, 0 | VIDEO_CLOCK_RATE) {
        return Ok(());
    }
    Err(UnsupportedReason::ClockRate { name: excerpt(name), clock_rate })
}

fn g711(
    kind: CodecKind,
    name: &str,
    clock_rate: u32,
    channels: u32,
) -> Result<TrackConfig, UnsupportedReason> {
    // Some cameras sample G.711 at 16 kHz.
    let clock_rate = match clock_rate {
        0 => 8_000,
        8_000 | 16_000 => clock_rate,
        _ => return Err(UnsupportedReason::ClockRate { name: excerpt(name), clock_rate }),
    };
    let channels = match channels {
        1 => 1,
        2 => 2,
        _ => return Err(UnsupportedReason::Channels(channels)),
    };
    Ok(TrackConfig { kind, clock_rate, channels, config: Vec::new() })
}

fn payload_type_number(text: &str) -> Option<u8> {
    text.trim().parse().ok().filter(|number| *number < 128)
}

fn control(value: &str) -> Option<String> {
    Some(value.to_owned()).filter(|value| !value.is_empty())
}

fn excerpt(text: &str) -> String {
    text.chars().take(NAME_CHARS_MAX).collect()
}
