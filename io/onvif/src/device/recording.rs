//! The recording service (recording.wsdl, Profile G): what is recorded, as a control sees it. Recordings are fixed: a
//! client can neither make nor delete them.

use std::time::Duration;

use crate::lexical;
use crate::xml::Writer;

use super::backend::{Recording, Track, TrackKind};
use super::call::{Call, Reply, reply, wait};
use super::fault::Fault;
use super::service::{self, Service};

/// Most recordings that are told.
const RECORDINGS_MAX: usize = 4096;

/// Longest name that `tt:Name` takes, in characters.
const NAME_CHARACTERS_MAX: usize = 64;

/// Answers a call of this service.
pub(crate) async fn answer(call: &Call<'_>) -> Reply {
    match call.name() {
        "GetServiceCapabilities" => reply("trc:GetServiceCapabilitiesResponse", |writer| {
            service::capabilities(call, Service::Recording, writer);
        }),
        "GetRecordings" => {
            let recordings = all(call).await?;
            reply("trc:GetRecordingsResponse", |writer| {
                for recording in &recordings {
                    writer.within("trc:RecordingItem", |writer| {
                        writer.leaf("tt:RecordingToken", &recording.token);
                        writer.within("tt:Configuration", |writer| configuration(writer, call, recording));
                        writer.within("tt:Tracks", |writer| {
                            for track in &recording.tracks {
                                writer.within("tt:Track", |writer| {
                                    writer.leaf("tt:TrackToken", &track.token);
                                    writer.within("tt:Configuration", |writer| {
                                        track_configuration(writer, track);
                                    });
                                });
                            }
                        });
                    });
                }
            })
        }
        "GetRecordingConfiguration" => {
            let recording = one(call).await?;
            reply("trc:GetRecordingConfigurationResponse", |writer| {
                writer.within("trc:RecordingConfiguration", |writer| configuration(writer, call, &recording));
            })
        }
        "GetTrackConfiguration" => {
            let (recording, token) = (one(call).await?, call.text("TrackToken")?);
            let track = recording.tracks.iter().find(|track| track.token == token);
            let track =
                track.ok_or_else(|| Fault::value("NoTrack", format!("there is no track {token:?}")))?;
            reply("trc:GetTrackConfigurationResponse", |writer| {
                writer.within("trc:TrackConfiguration", |writer| track_configuration(writer, track));
            })
        }
        "GetRecordingOptions" => {
            one(call).await?;
            reply("trc:GetRecordingOptionsResponse", |writer| {
                writer.within("trc:Options", |writer| {
                    // Nothing can be added.
                    writer.empty("trc:Job", &[("Spare", "0")]);
                    let spares = [
                        ("SpareTotal", "0"),
                        ("SpareVideo", "0"),
                        ("SpareAudio", "0"),
                        ("SpareMetadata", "0"),
                    ];
                    writer.empty("trc:Track", &spares);
                });
            })
        }
        other => Err(Fault::not_supported(format!("the recording service has no {other:?}"))),
    }
}

/// All recordings that are told, by token.
pub(crate) async fn all(call: &Call<'_>) -> Result<Vec<Recording>, Fault> {
    let mut recordings = wait(call.backend.recordings(), "NoRecording").await?;
    recordings.sort_by(|a, b| a.token.cmp(&b.token));
    recordings.truncate(RECORDINGS_MAX);
    Ok(recordings)
}

/// The recording that the argument `RecordingToken` names.
pub(crate) async fn one(call: &Call<'_>) -> Result<Recording, Fault> {
    let token = call.text("RecordingToken")?;
    let found = all(call).await?.into_iter().find(|recording| recording.token == token);
    found.ok_or_else(|| Fault::value("NoRecording", format!("there is no recording {token:?}")))
}

/// Where a recording comes from, as the content of `tt:Source`.
pub(crate) fn source(writer: &mut Writer, call: &Call<'_>, recording: &Recording) {
    writer.leaf("tt:SourceId", &recording.source);
    let name: String = recording.name.chars().take(NAME_CHARACTERS_MAX).collect();
    writer.leaf("tt:Name", &name);
    writer.leaf("tt:Location", &call.backend.identity().location);
    writer.leaf("tt:Description", &recording.name);
    writer.leaf("tt:Address", &call.origin.url(Service::Device.path()));
}

fn configuration(writer: &mut Writer, call: &Call<'_>, recording: &Recording) {
    writer.within("tt:Source", |writer| source(writer, call, recording));
    writer.leaf("tt:Content", &recording.content);
    // Zero: until space runs out.
    let kept = Duration::from_secs(recording.retention_seconds.unwrap_or(0));
    writer.leaf("tt:MaximumRetentionTime", &lexical::duration(kept));
}

fn track_configuration(writer: &mut Writer, track: &Track) {
    writer.leaf("tt:TrackType", type_of(track.kind));
    writer.leaf("tt:Description", description(track.kind));
}

/// The name of what a track holds in `tt:TrackType`.
pub(crate) const fn type_of(kind: TrackKind) -> &'static str {
    match kind {
        TrackKind::Video(_) => "Video",
        TrackKind::Audio(_) => "Audio",
        TrackKind::Metadata => "Metadata",
    }
}

/// What a track holds, for people.
pub(crate) const fn description(kind: TrackKind) -> &'static str {
    match kind {
        TrackKind::Video(_) => "video",
        TrackKind::Audio(_) => "sound",
        TrackKind::Metadata => "metadata",
    }
}
