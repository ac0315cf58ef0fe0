//! Where the streams of an ONVIF camera are: asked of the camera, kept, and asked again when a dial has failed.
//!
//! A camera whose addresses are known is dialled there whatever becomes of the question: ONVIF failing stops no stream.

use std::collections::BTreeMap;
use std::time::Duration;

use keepwatch_media::fingerprint::Fingerprint;
use keepwatch_model::{GapReason, StreamId};
use keepwatch_onvif::client::{ClientError, Device, Options, Profile, StreamTransport, VideoCodec};
use tokio::sync::Mutex;
use url::Url;

use crate::config::{CameraConfig, CameraSource, MediaTransport};

/// How long a camera is asked again while an address of it is known; the dial has its own time.
const REFRESH_MAX: Duration = Duration::from_secs(4);
/// How long it is asked when none is known.
const FIRST_MAX: Duration = Duration::from_secs(12);

/// Why a stream is not dialled: the reason of the gap, and a sentence.
pub(super) type Failure = (GapReason, String);

/// What a camera said of where its streams are.
#[derive(Debug, Default)]
pub(crate) struct Locator {
    /// Held while the camera is asked, so that two streams ask once.
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// The configuration that was asked by.
    asked: Option<CameraConfig>,
    addresses: BTreeMap<StreamId, Url>,
    /// Streams whose address did not do.
    doubted: Vec<StreamId>,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// What came of the question.
pub(super) struct Located {
    pub(super) url: Url,
    /// How far the camera's clock is ahead, if it was asked and told.
    pub(super) clock_offset_ticks: Option<i64>,
}

impl Locator {
    /// The address of a stream of the camera that `config` describes.
    pub(super) async fn find(&self, config: &CameraConfig, stream: StreamId) -> Result<Located, Failure> {
        let mut known = self.known.lock().await;
        if known.asked.as_ref().is_none_or(|asked| asked_differently(asked, config)) {
            *known = Known { asked: Some(config.clone()), ..Known::default() };
        }
        let held = known.addresses.get(&stream).cloned();
        if let Some(url) = &held
            && !known.doubted.contains(&stream)
        {
            return Ok(Located { url: url.clone(), clock_offset_ticks: None });
        }
        let limit = if held.is_some() { REFRESH_MAX } else { FIRST_MAX };
        let asked = tokio::time::timeout(limit, ask(config)).await.unwrap_or_else(|_| {
            let detail = format!("the camera did not say within {} s where its streams are", limit.as_secs());
            Err((GapReason::ConnectionLost, detail))
        });
        match (asked, held) {
            (Ok((addresses, clock_offset_ticks)), _) => {
                known.doubted.retain(|doubted| *doubted != stream);
                known.addresses = addresses;
                let url = known.addresses.get(&stream).cloned().ok_or_else(|| {
                    let detail = "the camera has no second stream; leave sub = true out, or add a profile to the camera";
                    (GapReason::StreamUnusable, detail.to_owned())
                })?;
                Ok(Located { url, clock_offset_ticks })
            }
            (Err((_, detail)), Some(url)) => {
                tracing::debug!(%detail, "the camera is dialled where it was before");
                Ok(Located { url, clock_offset_ticks: None })
            }
            (Err(failure), None) => Err(failure),
        }
    }

    /// The address of `stream` did not do: the camera is asked again before the next dial.
    pub(super) async fn doubt(&self, stream: StreamId) {
        let mut known = self.known.lock().await;
        if !known.doubted.contains(&stream) {
            known.doubted.push(stream);
        }
    }
}

/// Whether what one configuration found need not hold for the other.
fn asked_differently(asked: &CameraConfig, config: &CameraConfig) -> bool {
    let place = |config: &CameraConfig| match &config.source {
        CameraSource::Onvif { url, .. } => Some(url.clone()),
        CameraSource::Rtsp { .. } => None,
    };
    place(asked) != place(config)
        || (&asked.user, &asked.password, asked.certificate, asked.transport)
            != (&config.user, &config.password, config.certificate, config.transport)
}

/// How to reach the device of `config`; `None` when it has no ONVIF address.
pub(super) fn device_options(config: &CameraConfig) -> Option<Options> {
    let CameraSource::Onvif { url, .. } = &config.source else { return None };
    let mut options = Options::new(url.clone());
    if let Some(user) = &config.user {
        let password = config.password.as_ref().map_or("", |password| password.expose());
        options = options.with_login(user.clone(), password);
    }
    options.certificate = config.certificate.map(Fingerprint::bytes);
    Some(options)
}

async fn ask(config: &CameraConfig) -> Result<(BTreeMap<StreamId, Url>, Option<i64>), Failure> {
    let fail = |error: ClientError| (reason(&error), error.to_string());
    let Some(options) = device_options(config) else {
        return Err((GapReason::StreamUnusable, "the camera has no ONVIF address".to_owned()));
    };
    let device = Device::connect(options).await.map_err(fail)?;
    let profiles = device.profiles().await.map_err(fail)?;
    let Some((main, sub)) = choose(&profiles) else {
        let detail = "the camera has no media profile with video; add one to it".to_owned();
        return Err((GapReason::StreamUnusable, detail));
    };
    let transport = match config.transport {
        MediaTransport::Auto | MediaTransport::Tcp => StreamTransport::Tcp,
        MediaTransport::Udp => StreamTransport::Udp,
    };
    let mut addresses = BTreeMap::new();
    addresses.insert(StreamId::MAIN, device.stream_uri(main, transport).await.map_err(fail)?);
    if let (true, Some(sub)) = (config.source.has_sub(), sub) {
        // The sub stream's address must not cost the main one.
        match device.stream_uri(sub, transport).await {
            Ok(url) => drop(addresses.insert(StreamId::SUB, url)),
            Err(error) => tracing::debug!(camera = %config.id, %error, "no address of the sub stream"),
        }
    }
    Ok((addresses, device.clock_offset_ticks()))
}

/// The profile of the highest resolution, and the lowest of the others that show the same scene.
fn choose(profiles: &[Profile]) -> Option<(&Profile, Option<&Profile>)> {
    let pixels = |profile: &Profile| profile.video.as_ref().map_or(0, |video| video.pixels());
    let is_jpeg =
        |profile: &Profile| profile.video.as_ref().is_some_and(|video| video.codec == VideoCodec::Jpeg);
    let usable = |profile: &&Profile| {
        profile.video.as_ref().is_some_and(|video| !matches!(video.codec, VideoCodec::Other(_)))
    };
    let candidates: Vec<&Profile> = profiles.iter().filter(usable).collect();
    // The first of the best, since devices put the best first; JPEG only where nothing else is as large.
    let main = candidates.iter().copied().rev().max_by_key(|profile| (pixels(profile), !is_jpeg(profile)))?;
    let beside = |profile: &&&Profile| {
        profile.token != main.token && (main.source.is_none() || profile.source == main.source)
    };
    let sub =
        candidates.iter().filter(beside).copied().min_by_key(|profile| (pixels(profile), is_jpeg(profile)));
    Some((main, sub))
}

/// The reason of the gap while a camera cannot be asked.
fn reason(error: &ClientError) -> GapReason {
    match error {
        error if error.is_login() => GapReason::LoginRefused,
        ClientError::Unreachable { .. } | ClientError::TimedOut { .. } | ClientError::Broken { .. } => {
            GapReason::ConnectionLost
        }
        ClientError::Missing { .. } | ClientError::Endless { .. } | ClientError::TooLong { .. } => {
            GapReason::StreamUnusable
        }
        ClientError::Address(_)
        | ClientError::Tls(_)
        | ClientError::Certificate { .. }
        | ClientError::Http { .. }
        | ClientError::Redirected(_)
        | ClientError::Refused { .. }
        | ClientError::LoginNeeded(_)
        | ClientError::LoginRefused { .. }
        | ClientError::PasswordInTheClear
        | ClientError::NotOffered(_) => GapReason::ConnectionRefused,
    }
}
