//! The writer for a server.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keepwatch_model::{CodecKind, TrackConfig};

use crate::replay::ClockRange;
use crate::{h264, h265};

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
    if config.channels > 1 || config.kind == CodecKind::Aac {
        write!(text, "/{}", config.channels)?;
    }
    text.push_str("\r\n");
    match config.kind {
        CodecKind::H264 => h264_parameters(text, *payload_type, &config.config)?,
        CodecKind::H265 => h265_parameters(text, *payload_type, &config.config)?,
        CodecKind::Aac => aac_parameters(text, *payload_type, &config.config)?,
        CodecKind::Jpeg | CodecKind::Pcmu | CodecKind::Pcma | CodecKind::Metadata => {}
    }
    for attribute in *attributes {
        write!(text, "a={}\r\n", one_line(attribute))?;
    }
    write!(text, "a=control:{control}\r\n")
}

/// RFC 6184 §8.2.1.
fn h264_parameters(text: &mut String, payload_type: u8, config: &[u8]) -> std::fmt::Result {
    write!(text, "a=fmtp:{payload_type} packetization-mode=1")?;
    if let ([_, profile, constraints, level, ..], Ok(sets)) = (config, h264::DecoderConfig::parse(config)) {
        write!(text, ";profile-level-id={profile:02X}{constraints:02X}{level:02X}")?;
        write!(text, ";sprop-parameter-sets={}", base64_list(sets.sps.iter().chain(&sets.pps)))?;
    }
    text.push_str("\r\n");
    Ok(())
}

/// RFC 7798 §7.1; without parameters there is nothing to say.
fn h265_parameters(text: &mut String, payload_type: u8, config: &[u8]) -> std::fmt::Result {
    let Ok(sets) = h265::DecoderConfig::parse(config) else { return Ok(()) };
    let (vps, sps, pps) =
        (base64_list(sets.vps.iter()), base64_list(sets.sps.iter()), base64_list(sets.pps.iter()));
    write!(text, "a=fmtp:{payload_type} sprop-vps={vps};sprop-sps={sps};sprop-pps={pps}\r\n")
}

/// RFC 3640 §4.1; the profile and level are told as not known (ISO/IEC 14496-1 table 12).
fn aac_parameters(text: &mut String, payload_type: u8, config: &[u8]) -> std::fmt::Result {
    write!(text, "a=fmtp:{payload_type} streamtype=5;profile-level-id=254;mode=AAC-hbr")?;
    text.push_str(";sizelength=13;indexlength=3;indexdeltalength=3;config=");
    config.iter().try_for_each(|byte| write!(text, "{byte:02X}"))?;
    text.push_str("\r\n");
    Ok(())
}

fn base64_list<'a>(units: impl Iterator<Item = &'a &'a [u8]>) -> String {
    units.map(|unit| STANDARD.encode(unit)).collect::<Vec<_>>().join(",")
}
