//! The media service, version 1 (media.wsdl, Profile S): profiles as whole descriptions, and stream addresses.
//!
//! Its schema knows JPEG and H.264. A profile with H.265 is told without its encoder, so that a client of this service
//! still finds the stream; all of it is told by version 2.

use std::collections::BTreeMap;

use crate::xml::Writer;

use super::backend::{Audio, AudioCodec, Profile, Refusal, Transport, Video, VideoCodec};
use super::call::{Call, Reply, reply};
use super::fault::Fault;
use super::management::percent_encoded;
use super::service::{self, Service};

/// How long an RTSP session lives without a sign of the client; what the RTSP server announces counts.
const SESSION_TIMEOUT: &str = "PT60S";

/// Answers a call of this service.
pub(crate) fn answer(call: &Call<'_>) -> Reply {
    match call.name() {
        "GetServiceCapabilities" => reply("trt:GetServiceCapabilitiesResponse", |writer| {
            service::capabilities(call, Service::Media, writer);
        }),
        "GetProfiles" => {
            let profiles = call.profiles();
            reply("trt:GetProfilesResponse", |writer| {
                for profile in &profiles {
                    write_profile(writer, "trt:Profiles", profile, &profiles);
                }
            })
        }
        "GetProfile" => {
            let (profile, profiles) = (call.profile()?, call.profiles());
            reply("trt:GetProfileResponse", |writer| {
                write_profile(writer, "trt:Profile", &profile, &profiles);
            })
        }
        "GetVideoSources" => {
            let profiles = call.profiles();
            reply("trt:GetVideoSourcesResponse", |writer| {
                for (token, video) in video_sources(&profiles) {
                    writer.element("trt:VideoSources", &[("token", token)], |writer| {
                        writer.leaf("tt:Framerate", &video.frames_per_second.to_string());
                        write_resolution(writer, &video);
                    });
                }
            })
        }
        "GetVideoSourceConfigurations" => {
            let profiles = call.profiles();
            reply("trt:GetVideoSourceConfigurationsResponse", |writer| {
                for token in video_sources(&profiles).keys() {
                    write_video_source(writer, "trt:Configurations", token, &profiles);
                }
            })
        }
        "GetVideoEncoderConfigurations" => {
            let profiles = call.profiles();
            reply("trt:GetVideoEncoderConfigurationsResponse", |writer| {
                for profile in &profiles {
                    if let Some(video) = profile.video {
                        write_video_encoder(writer, "trt:Configurations", profile, video);
                    }
                }
            })
        }
        "GetAudioEncoderConfigurations" => {
            let profiles = call.profiles();
            reply("trt:GetAudioEncoderConfigurationsResponse", |writer| {
                for profile in &profiles {
                    if let Some(audio) = profile.audio {
                        write_audio_encoder(writer, "trt:Configurations", profile, audio);
                    }
                }
            })
        }
        "GetStreamUri" => {
            let (transport, profile) = (call.stream_setup()?, call.profile()?);
            let uri = stream_uri(call, &profile.token, transport)?;
            reply("trt:GetStreamUriResponse", |writer| write_media_uri(writer, &uri))
        }
        "GetSnapshotUri" => {
            let uri = snapshot_uri(call)?;
            reply("trt:GetSnapshotUriResponse", |writer| write_media_uri(writer, &uri))
        }
        other => Err(Fault::not_supported(format!("the media service has no {other:?}"))),
    }
}

/// The address of a stream.
pub(crate) fn stream_uri(call: &Call<'_>, profile: &str, transport: Transport) -> Result<String, Fault> {
    let uri = call.backend.stream_uri(profile, transport, call.origin.host());
    uri.map_err(|refusal| match refusal {
        Refusal::Unsupported(reason) => Fault::value("InvalidStreamSetup", reason),
        Refusal::NotFound(_) | Refusal::Failed(_) => Fault::refused(refusal, "NoProfile"),
    })
}

/// The address of the pictures of a profile: one of the device side, which asks the backend.
pub(crate) fn snapshot_uri(call: &Call<'_>) -> Result<String, Fault> {
    let profile = call.profile()?;
    if !call.backend.has_snapshots() {
        return Err(Fault::not_supported("this device gives no single pictures"));
    }
    let path = format!("{}{}", super::SNAPSHOT_PATH, percent_encoded(&profile.token));
    Ok(call.origin.url(&path))
}

fn write_media_uri(writer: &mut Writer, uri: &str) {
    writer.within("trt:MediaUri", |writer| {
        writer.leaf("tt:Uri", uri);
        writer.leaf("tt:InvalidAfterConnect", "false");
        writer.leaf("tt:InvalidAfterReboot", "false");
        writer.leaf("tt:Timeout", "PT0S");
    });
}

/// The eyes of the camera, and the largest picture that each gives.
pub(crate) fn video_sources(profiles: &[Profile]) -> BTreeMap<&str, Video> {
    let mut sources: BTreeMap<&str, Video> = BTreeMap::new();
    for profile in profiles {
        let Some(video) = profile.video else { continue };
        let largest = sources.entry(&profile.source).or_insert(video);
        let pixels = |video: &Video| u64::from(video.width).saturating_mul(video.height.into());
        if pixels(&video) > pixels(largest) {
            *largest = video;
        }
    }
    sources
}

fn write_profile(writer: &mut Writer, name: &str, profile: &Profile, profiles: &[Profile]) {
    writer.element(name, &[("token", &profile.token), ("fixed", "true")], |writer| {
        writer.leaf("tt:Name", &profile.name);
        if profile.video.is_some() {
            write_video_source(writer, "tt:VideoSourceConfiguration", &profile.source, profiles);
        }
        if profile.audio.is_some() {
            write_audio_source(writer, "tt:AudioSourceConfiguration", &profile.source, profiles);
        }
        if let Some(video) = profile.video {
            write_video_encoder(writer, "tt:VideoEncoderConfiguration", profile, video);
        }
        if let Some(audio) = profile.audio {
            write_audio_encoder(writer, "tt:AudioEncoderConfiguration", profile, audio);
        }
        if profile.metadata {
            writer.element("tt:MetadataConfiguration", &[("token", &token("metadata", profile))], |writer| {
                write_name(writer, "metadata", 1);
                writer.leaf("tt:Analytics", "true");
                write_multicast(writer);
                writer.leaf("tt:SessionTimeout", SESSION_TIMEOUT);
            });
        }
    });
}

/// The token of a configuration that belongs to one profile.
pub(crate) fn token(kind: &str, profile: &Profile) -> String {
    format!("{kind}_{}", profile.token)
}

fn write_name(writer: &mut Writer, name: &str, uses: usize) {
    writer.leaf("tt:Name", name);
    writer.leaf("tt:UseCount", &uses.to_string());
}

/// The part of a source that profiles show: all of it.
pub(crate) fn write_video_source(writer: &mut Writer, name: &str, source: &str, profiles: &[Profile]) {
    let Some(video) = video_sources(profiles).get(source).copied() else { return };
    let uses = profiles.iter().filter(|profile| profile.source == source && profile.video.is_some()).count();
    writer.element(name, &[("token", source)], |writer| {
        write_name(writer, source, uses);
        writer.leaf("tt:SourceToken", source);
        let (width, height) = (video.width.to_string(), video.height.to_string());
        writer.empty("tt:Bounds", &[("x", "0"), ("y", "0"), ("width", &width), ("height", &height)]);
    });
}

/// The microphone beside an eye, under the same token.
pub(crate) fn write_audio_source(writer: &mut Writer, name: &str, source: &str, profiles: &[Profile]) {
    let uses = profiles.iter().filter(|profile| profile.source == source && profile.audio.is_some()).count();
    writer.element(name, &[("token", source)], |writer| {
        write_name(writer, source, uses);
        writer.leaf("tt:SourceToken", source);
    });
}

fn write_video_encoder(writer: &mut Writer, name: &str, profile: &Profile, video: Video) {
    let encoding = match video.codec {
        VideoCodec::Jpeg => "JPEG",
        VideoCodec::H264 => "H264",
        VideoCodec::H265 => return,
    };
    writer.element(name, &[("token", &token("video", profile))], |writer| {
        write_name(writer, &profile.name, 1);
        writer.leaf("tt:Encoding", encoding);
        write_resolution(writer, &video);
        writer.leaf("tt:Quality", "1");
        writer.within("tt:RateControl", |writer| {
            writer.leaf("tt:FrameRateLimit", &whole(video.frames_per_second));
            writer.leaf("tt:EncodingInterval", "1");
            writer.leaf("tt:BitrateLimit", &video.bitrate_kbps.to_string());
        });
        if video.codec == VideoCodec::H264 {
            writer.within("tt:H264", |writer| {
                writer.leaf("tt:GovLength", &video.group_length.to_string());
                writer.leaf("tt:H264Profile", "Main");
            });
        }
        write_multicast(writer);
        writer.leaf("tt:SessionTimeout", SESSION_TIMEOUT);
    });
}

/// To the nearest whole number, at least one: version 1 knows no fractions.
fn whole(frames_per_second: f32) -> String {
    format!("{:.0}", frames_per_second.clamp(1.0, 1000.0))
}

fn write_audio_encoder(writer: &mut Writer, name: &str, profile: &Profile, audio: Audio) {
    writer.element(name, &[("token", &token("audio", profile))], |writer| {
        write_name(writer, &profile.name, 1);
        writer.leaf("tt:Encoding", encoding(audio.codec));
        writer.leaf("tt:Bitrate", &audio.bitrate_kbps.to_string());
        // The unit of version 1 is kHz.
        writer.leaf("tt:SampleRate", &(audio.sample_rate / 1000).to_string());
        write_multicast(writer);
        writer.leaf("tt:SessionTimeout", SESSION_TIMEOUT);
    });
}

/// The name of a coding of sound in `tt:AudioEncoding`.
pub(crate) const fn encoding(codec: AudioCodec) -> &'static str {
    match codec {
        AudioCodec::Pcmu | AudioCodec::Pcma => "G711",
        AudioCodec::Aac => "AAC",
    }
}

pub(crate) fn write_resolution(writer: &mut Writer, video: &Video) {
    writer.within("tt:Resolution", |writer| {
        writer.leaf("tt:Width", &video.width.to_string());
        writer.leaf("tt:Height", &video.height.to_string());
    });
}

/// The schema wants it of devices without multicast too.
fn write_multicast(writer: &mut Writer) {
    writer.within("tt:Multicast", |writer| {
        writer.within("tt:Address", |writer| {
            writer.leaf("tt:Type", "IPv4");
            writer.leaf("tt:IPv4Address", "0.0.0.0");
        });
        writer.leaf("tt:Port", "0");
        writer.leaf("tt:TTL", "0");
        writer.leaf("tt:AutoStart", "false");
    });
}
