//! The media service, version 2 (ver20 media.wsdl, Profile T): the same profiles, with H.265 and whole names of codings.

use crate::xml::Writer;

use super::backend::{Audio, Profile, Transport, Video};
use super::call::{Call, Reply, reply};
use super::fault::Fault;
use super::media::{
    snapshot_uri, stream_uri, token, video_sources, write_audio_source, write_resolution, write_video_source,
};
use super::service::{self, Service};

/// Answers a call of this service.
pub(crate) fn answer(call: &Call<'_>) -> Reply {
    match call.name() {
        "GetServiceCapabilities" => reply("tr2:GetServiceCapabilitiesResponse", |writer| {
            service::capabilities(call, Service::Media2, writer);
        }),
        "GetProfiles" => profiles(call),
        "GetVideoSourceConfigurations" => {
            let profiles = call.profiles();
            reply("tr2:GetVideoSourceConfigurationsResponse", |writer| {
                for source in video_sources(&profiles).keys() {
                    write_video_source(writer, "tr2:Configurations", source, &profiles);
                }
            })
        }
        "GetVideoEncoderConfigurations" => {
            let profiles = call.profiles();
            reply("tr2:GetVideoEncoderConfigurationsResponse", |writer| {
                for profile in &profiles {
                    if let Some(video) = profile.video {
                        write_video_encoder(writer, "tr2:Configurations", profile, video);
                    }
                }
            })
        }
        "GetStreamUri" => {
            let transport = match call.text("Protocol")? {
                "RtspUnicast" => Transport::Udp,
                "RTSP" => Transport::Rtsp,
                "RtspOverHttp" => Transport::Http,
                "RtspMulticast" => Transport::Multicast,
                other => {
                    return Err(Fault::value(
                        "InvalidStreamSetup",
                        format!("there is no protocol {other:?}"),
                    ));
                }
            };
            let uri = stream_uri(call, &call.profile()?.token, transport)?;
            reply("tr2:GetStreamUriResponse", |writer| writer.leaf("tr2:Uri", &uri))
        }
        "GetSnapshotUri" => {
            let uri = snapshot_uri(call)?;
            reply("tr2:GetSnapshotUriResponse", |writer| writer.leaf("tr2:Uri", &uri))
        }
        other => Err(Fault::not_supported(format!("the media service of version 2 has no {other:?}"))),
    }
}

/// Profiles, with the configurations that are asked for only: without a `Type` names and tokens.
fn profiles(call: &Call<'_>) -> Reply {
    let kinds: Vec<&str> = call.operation.children("Type").map(|kind| kind.text.as_str()).collect();
    let wanted = |kind: &str| kinds.contains(&kind) || kinds.contains(&"All");
    let all = call.profiles();
    let token_wanted = call.operation.text_at(&["Token"]);
    if let Some(token) = token_wanted.filter(|token| all.iter().all(|profile| profile.token != *token)) {
        return Err(Fault::value("NoProfile", format!("there is no profile {token:?}")));
    }
    reply("tr2:GetProfilesResponse", |writer| {
        for profile in all.iter().filter(|profile| token_wanted.is_none_or(|token| profile.token == token)) {
            writer.element("tr2:Profiles", &[("token", &profile.token), ("fixed", "true")], |writer| {
                writer.leaf("tr2:Name", &profile.name);
                if !kinds.is_empty() {
                    writer.within("tr2:Configurations", |writer| {
                        configurations(writer, profile, &all, &wanted);
                    });
                }
            });
        }
    })
}

fn configurations(writer: &mut Writer, profile: &Profile, all: &[Profile], wanted: &dyn Fn(&str) -> bool) {
    if wanted("VideoSource") && profile.video.is_some() {
        write_video_source(writer, "tr2:VideoSource", &profile.source, all);
    }
    if wanted("AudioSource") && profile.audio.is_some() {
        write_audio_source(writer, "tr2:AudioSource", &profile.source, all);
    }
    if let Some(video) = profile.video.filter(|_| wanted("VideoEncoder")) {
        write_video_encoder(writer, "tr2:VideoEncoder", profile, video);
    }
    if let Some(audio) = profile.audio.filter(|_| wanted("AudioEncoder")) {
        write_audio_encoder(writer, "tr2:AudioEncoder", profile, audio);
    }
    if wanted("Metadata") && profile.metadata {
        writer.element("tr2:Metadata", &[("token", &token("metadata", profile))], |writer| {
            writer.leaf("tt:Name", "metadata");
            writer.leaf("tt:UseCount", "1");
            writer.leaf("tt:Analytics", "true");
            writer.leaf("tt:SessionTimeout", "PT60S");
        });
    }
}

fn write_video_encoder(writer: &mut Writer, name: &str, profile: &Profile, video: Video) {
    let group = video.group_length.to_string();
    writer.element(name, &[("token", &token("video", profile)), ("GovLength", &group)], |writer| {
        writer.leaf("tt:Name", &profile.name);
        writer.leaf("tt:UseCount", "1");
        writer.leaf("tt:Encoding", &video.codec.to_string());
        write_resolution(writer, &video);
        writer.within("tt:RateControl", |writer| {
            writer.leaf("tt:FrameRateLimit", &video.frames_per_second.to_string());
            writer.leaf("tt:BitrateLimit", &video.bitrate_kbps.to_string());
        });
        writer.leaf("tt:Quality", "1");
    });
}

fn write_audio_encoder(writer: &mut Writer, name: &str, profile: &Profile, audio: Audio) {
    writer.element(name, &[("token", &token("audio", profile))], |writer| {
        writer.leaf("tt:Name", &profile.name);
        writer.leaf("tt:UseCount", "1");
        writer.leaf("tt:Encoding", &audio.codec.to_string());
        writer.leaf("tt:Bitrate", &audio.bitrate_kbps.to_string());
        writer.leaf("tt:SampleRate", &audio.sample_rate.to_string());
    });
}
