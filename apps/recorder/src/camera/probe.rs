//! A camera asked once, as a recording would ask it, without recording: what it offers, or why not.

use std::time::Duration;

use keepwatch_media::{h264, h265};
use keepwatch_model::{CodecKind, StreamId, TrackConfig};
use keepwatch_rtsp::client::{self, ClientConfig};

use super::choice::{Choice, Wanted, codec_name};
use super::locate::Locator;
use crate::config::{CameraConfig, CameraSource, Fingerprint};

/// How long the whole may take: an operator waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a stream offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProbedStream {
    pub(crate) id: StreamId,
    /// What would be recorded, like `h264 1920x1080 25 fps`, the video first.
    pub(crate) tracks: Vec<String>,
    /// What is wanted and offered and cannot be recorded, with the reason.
    pub(crate) left_out: Vec<String>,
    /// The certificate that it showed; `None` without TLS.
    pub(crate) certificate: Option<Fingerprint>,
}

/// Asks a camera for the streams that are wanted of it; the error is a sentence with the camera's own words.
pub(crate) async fn probe(config: &CameraConfig) -> Result<Vec<ProbedStream>, String> {
    let asked = tokio::time::timeout(PATIENCE, probe_streams(config)).await;
    asked.unwrap_or_else(|_| Err(format!("the camera did not answer within {} s", PATIENCE.as_secs())))
}

async fn probe_streams(config: &CameraConfig) -> Result<Vec<ProbedStream>, String> {
    let locator = Locator::default();
    let mut streams = vec![probe_stream(config, &locator, StreamId::MAIN).await?];
    if config.source.has_sub() {
        let sub = probe_stream(config, &locator, StreamId::SUB).await;
        streams.push(sub.map_err(|why| format!("the main stream is right; the sub stream: {why}"))?);
    }
    Ok(streams)
}

async fn probe_stream(
    config: &CameraConfig,
    locator: &Locator,
    id: StreamId,
) -> Result<ProbedStream, String> {
    let url = match &config.source {
        CameraSource::Rtsp { url, sub_url } => match (id, sub_url) {
            (StreamId::SUB, Some(sub_url)) => sub_url.clone(),
            _ => url.clone(),
        },
        CameraSource::Onvif { .. } => {
            // The whole has a shorter time than the question may take.
            locator.find(config, id).await.map_err(|(_, detail)| detail)?.url
        }
    };
    let client = ClientConfig {
        user: config.user.clone(),
        password: config.password.clone(),
        certificate: config.certificate,
        ..ClientConfig::new(url)
    };
    let described = client::connect(&client).await.map_err(|error| error.to_string())?;
    let offered = &described.presentation().tracks;
    let choice = Choice::of(offered, Wanted::of(config, id)).map_err(|error| error.to_string())?;
    let tracks = choice.tracks.iter().filter_map(|track| offered.get(*track)?.config.as_ref().ok());
    Ok(ProbedStream {
        id,
        tracks: tracks.map(describe).collect(),
        left_out: choice.left_out,
        certificate: described.certificate(),
    })
}

/// A track in a few words, as far as the description of the stream tells.
fn describe(track: &TrackConfig) -> String {
    let name = codec_name(track.kind);
    let more = match track.kind {
        CodecKind::H264 => h264::DecoderConfig::parse(&track.config).ok().and_then(|config| {
            let sps = h264::Sps::parse(config.sps.first()?).ok()?;
            let rate = sps.frame_rate().map(|rate| format!(" {rate:.0} fps")).unwrap_or_default();
            Some(format!(" {}x{}{rate}", sps.width, sps.height))
        }),
        CodecKind::H265 => h265::DecoderConfig::parse(&track.config).ok().and_then(|config| {
            let sps = h265::Sps::parse(config.sps.first()?).ok()?;
            Some(format!(" {}x{}", sps.width, sps.height))
        }),
        CodecKind::Pcmu | CodecKind::Pcma | CodecKind::Aac => Some(format!(" {} Hz", track.clock_rate)),
        CodecKind::Jpeg | CodecKind::Metadata => None,
    };
    format!("{name}{}", more.unwrap_or_default())
}
