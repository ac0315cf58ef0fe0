//! A camera tried once, as a recording would ask it, without recording: what it sends, or why not.

use std::time::Duration;

use keepwatch_model::StreamId;
use keepwatch_onvif::client as onvif;
use keepwatch_rtsp::client::{ClientConfig, Session};
use url::Url;

use super::connect::{not_from_here, open_any};
use super::glance::{Glance, Glimpse};
use super::locate::{Failure, Locator, device_options};
use crate::clock::Clock;
use crate::config::{CameraConfig, CameraSource, Fingerprint};

/// How long all streams may take to begin: an operator waits.
const BEGIN_MAX: Duration = Duration::from_secs(10);
/// How long each is watched for a picture that decoding can start at: most cameras send one every two seconds.
const WATCHED_MAX: Duration = Duration::from_secs(5);
/// How long the camera may take for the picture that it makes itself.
const OWN_PICTURE_MAX: Duration = Duration::from_secs(5);
/// Longest farewell.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// A camera that was tried.
#[derive(Debug)]
pub(crate) struct Probed {
    /// Its streams, the main one first.
    pub(crate) streams: Vec<ProbedStream>,
    /// Where it gives single pictures itself; `None` when it was not asked, as its footage can be decoded.
    pub(crate) snapshot: Option<Url>,
}

/// What a stream sends.
#[derive(Debug)]
pub(crate) struct ProbedStream {
    pub(crate) id: StreamId,
    /// What came, and what would be recorded of it.
    pub(crate) seen: Glimpse,
    /// What is wanted and offered and cannot be recorded, with the reason.
    pub(crate) left_out: Vec<String>,
    /// The certificate that it showed; `None` without TLS.
    pub(crate) certificate: Option<Fingerprint>,
}

impl Probed {
    /// The picture that the camera gives by itself.
    pub(crate) async fn own_picture(&self, config: &CameraConfig) -> Option<Result<Vec<u8>, String>> {
        let (options, place) = (device_options(config)?, self.snapshot.as_ref()?);
        let fetched = tokio::time::timeout(OWN_PICTURE_MAX, onvif::fetch_picture(&options, place)).await;
        let late = |_| Err(format!("it did not come within {} s", OWN_PICTURE_MAX.as_secs()));
        Some(fetched.map_or_else(late, |fetched| fetched.map_err(|error| error.to_string())))
    }
}

/// A stream that plays.
struct Opened {
    id: StreamId,
    session: Session,
    glance: Glance,
    left_out: Vec<String>,
    certificate: Option<Fingerprint>,
}

/// Plays the streams that are wanted of a camera until there is a picture of each; the error is a sentence with the
/// camera's own words. Takes 16 s at most.
pub(crate) async fn probe(config: &CameraConfig, clock: Clock) -> Result<Probed, String> {
    let locator = Locator::default();
    let late = |_| format!("the camera did not answer within {} s", BEGIN_MAX.as_secs());
    // One behind the other: a login that is refused must not be tried twice.
    let opened =
        tokio::time::timeout(BEGIN_MAX, open_streams(config, &locator, clock)).await.map_err(late)??;
    let watched: Vec<_> = opened.into_iter().map(|opened| tokio::spawn(watch(opened, clock))).collect();
    let mut streams = Vec::with_capacity(watched.len());
    for stream in watched {
        streams.push(stream.await.map_err(|_| "the node's log says why".to_owned())??);
    }
    Ok(Probed { streams, snapshot: locator.snapshot(config) })
}

/// Whether a picture of the main stream comes. Takes 16 s at most, mostly less than one.
pub(crate) async fn receives(config: &CameraConfig, clock: Clock) -> bool {
    let locator = Locator::default();
    let opening = open_stream(config, &locator, StreamId::MAIN, clock);
    let Ok(Ok(opened)) = tokio::time::timeout(BEGIN_MAX, opening).await else { return false };
    watch(Opened { glance: opened.glance.brief(), ..opened }, clock).await.is_ok()
}

async fn open_streams(config: &CameraConfig, locator: &Locator, clock: Clock) -> Result<Vec<Opened>, String> {
    let mut streams = vec![open_stream(config, locator, StreamId::MAIN, clock).await.map_err(words)?];
    if config.source.has_sub() {
        let sub = open_stream(config, locator, StreamId::SUB, clock).await;
        streams.push(sub.map_err(|why| about_sub(&words(why)))?);
    }
    Ok(streams)
}

async fn open_stream(
    config: &CameraConfig,
    locator: &Locator,
    id: StreamId,
    clock: Clock,
) -> Result<Opened, Failure> {
    let url = match &config.source {
        CameraSource::Rtsp { url, sub_url } => match (id, sub_url) {
            (StreamId::SUB, Some(sub_url)) => sub_url.clone(),
            _ => url.clone(),
        },
        // The whole has a shorter time than the question may take.
        CameraSource::Onvif { .. } => locator.find(config, id).await?.url,
        CameraSource::Edge { .. } => return Err(not_from_here()),
    };
    let client = ClientConfig {
        user: config.user.clone(),
        password: config.password.clone(),
        certificate: config.certificate,
        ..ClientConfig::new(url)
    };
    let (session, tracks, learned) = open_any(&client, config, id).await?;
    let glance = Glance::new(&tracks, clock.mono() + WATCHED_MAX)
        .map_err(|error| (keepwatch_model::GapReason::StreamUnusable, error.to_string()))?;
    Ok(Opened { id, session, glance, left_out: learned.left_out, certificate: learned.certificate })
}

/// Watches a stream until enough was seen of it.
async fn watch(opened: Opened, clock: Clock) -> Result<ProbedStream, String> {
    let Opened { id, session, mut glance, left_out, certificate } = opened;
    let ended = {
        let run = session.run(&mut glance, || clock.mono());
        // The look ends by itself; a camera that does not take the farewell is left.
        tokio::time::timeout(WATCHED_MAX + FAREWELL_MAX, run).await.ok()
    };
    let seen = glance.finish();
    if !seen.pictures {
        let why = ended.map(|end| end.reason.to_string()).filter(|why| why != "stopped");
        let why = why.map_or_else(
            || {
                format!(
                    "no picture came within {} s; where it comes by UDP, a firewall may drop it",
                    WATCHED_MAX.as_secs()
                )
            },
            |why| format!("no picture came: {why}"),
        );
        return Err(if id == StreamId::MAIN { why } else { about_sub(&why) });
    }
    Ok(ProbedStream { id, seen, left_out, certificate })
}

fn words((_, detail): Failure) -> String {
    detail
}

fn about_sub(why: &str) -> String {
    format!("the main stream is right; the sub stream: {why}")
}
