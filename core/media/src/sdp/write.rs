//! The writer for a server.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keepwatch_model::{CodecKind, TrackConfig};

use crate::h264::DecoderConfig;
use crate::replay::ClockRange;

/// The first payload type without a fixed meaning (RFC 3551 §6).
const DYNAMIC_FIRST: u8 = 96;

/// A track as a server announces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnnouncedTrack<'a> {
    /// How to read it.
    pub config: &'a TrackConfig,
    /// The payload type it is sent with.
    pub payload_type: u8,
    /// Its control address, relative to the presentation.
    pub control: &'a str,
    /// Further attributes, without `a=`.
    pub attributes: &'a [String],
}

/// The payload type for the track at `position`: the fixed one where there is one.
pub fn payload_type(kind: CodecKind, position: u8) -> u8 {
    match kind {
        CodecKind::Pcmu => 0,
        CodecKind::Pcma => 8,
        CodecKind::Jpeg => 26,
        CodecKind::H264 | CodecKind::H265 | CodecKind::Aac | CodecKind::Metadata => {
            DYNAMIC_FIRST + position % 32
        }
    }
}

/// The description of a presentation called `name`, controlled as a whole at its own address. `footage` is the span
/// of recorded media; `None` for live ones.
pub fn write(name: &str, footage: Option<ClockRange>, tracks: &[AnnouncedTrack<'_>]) -> String {
    let name = one_line(name);
    let range = footage.map_or_else(|| "npt=now-".to_owned(), |footage| footage.to_string());
    let name = if name.trim().is_empty() { "-" } else { name.trim() };
    let mut text = format!(
        "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns={name}\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\na=range:{range}\r\n"
    );
    for track in tracks {
        track_lines(&mut text, track).expect("writing to a String cannot fail");
    }
    text
}

/// `text` without what would begin another line.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn track_lines(text: &mut String, track: &AnnouncedTrack<'_>) -> std::fmt::Result {
    let AnnouncedTrack { config, payload_type, control, attributes } = track;
    let (media, name) = match config.kind {
        CodecKind::H264 => ("video", "H264"),
        CodecKind::H265 => ("video", "H265"),
        CodecKind::Jpeg => ("video", "JPEG"),
        CodecKind::Pcmu => ("audio", "PCMU"),
        CodecKind::Pcma => ("audio", "PCMA"),
        CodecKind::Aac => ("audio", "MPEG4-GENERIC"),
        CodecKind::Metadata => ("application", "vnd.onvif.metadata"),
    };
    write!(text, "m={media} 0 RTP/AVP {payload_type}\r\n")?;
    write!(text, "a=rtpmap:{payload_type} {name}/{}", config.clock_rate)?;
    if config.channels > 1 {
        write!(text, "/{}", config.channels)?;
    }
    text.push_str("\r\n");
    if config.kind == CodecKind::H264 {
        write!(text, "a=fmtp:{payload_type} packetization-mode=1")?;
        if let ([_, profile, constraints, level, ..], Ok(sets)) =
            (config.config.as_slice(), DecoderConfig::parse(&config.config))
        {
            let sets: Vec<_> = sets.sps.iter().chain(&sets.pps).map(|unit| STANDARD.encode(unit)).collect();
            write!(text, ";profile-level-id={profile:02X}{constraints:02X}{level:02X}")?;
            write!(text, ";sprop-parameter-sets={}", sets.join(","))?;
        }
        text.push_str("\r\n");
    }
    for attribute in *attributes {
        write!(text, "a={}\r\n", one_line(attribute))?;
    }
    write!(text, "a=control:{control}\r\n")
}
