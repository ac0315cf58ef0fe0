//! Where the streams of an ONVIF camera are: asked of the camera, kept, and asked again unless footage came from there.
//!
//! A camera whose addresses are known is dialled there whatever becomes of the question: ONVIF failing stops no stream. A
//! login that was refused is not tried again at once, whoever asks: many cameras lock an account after five failures.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keepwatch_model::{GapReason, StreamId};
use keepwatch_onvif::client::{ClientError, Device, Options, Profile, StreamTransport, VideoCodec};
use tokio::time::Instant;
use url::Url;

use crate::config::{CameraConfig, CameraSource, MediaTransport};

/// How long a camera is asked again while an address of it is known; the dial has its own time.
const REFRESH_MAX: Duration = Duration::from_secs(4);
/// How long it is asked when none is known.
const FIRST_MAX: Duration = Duration::from_secs(12);
/// How long a refused login is remembered, and not tried again by the streams or the listener of one camera.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// Why a stream is not dialled: the reason of the gap, and a sentence.
pub(super) type Failure = (GapReason, String);

/// What a camera said of where its streams are.
#[derive(Debug, Default)]
pub(crate) struct Locator {
    /// Held while the camera is asked, so that two streams ask once.
    known: tokio::sync::Mutex<Known>,
    /// Streams that were dialled, and of which no footage came since.
    doubted: Mutex<BTreeSet<StreamId>>,
}

#[derive(Default)]
struct Known {
    /// The configuration that was asked by.
    asked: Option<CameraConfig>,
    addresses: BTreeMap<StreamId, Url>,
    /// Where the camera gives single pictures; asked only where those of its footage cannot be decoded.
    snapshot: Option<Url>,
    /// Whether the camera has answered with this login.
    answered: bool,
    /// When it last refused the login, and in which words.
    refused: Option<(Instant, String)>,
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

/// How the login of a camera stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Login {
    /// The camera has taken it.
    Taken,
    /// It refuses it, in these words.
    Refused(String),
    /// It could not be asked.
    Unknown,
}

impl Locator {
    /// The address of a stream of the camera that `config` describes, to be dialled at once.
    pub(super) async fn find(&self, config: &CameraConfig, stream: StreamId) -> Result<Located, Failure> {
        let mut known = self.known.lock().await;
        known.begin(config);
        let held = known.addresses.get(&stream).cloned();
        // Addresses change with the camera's settings, and some that are wrong hang or play silence: an address is doubted
        // from the moment it is dialled until footage from there is on disk.
        let doubted = !self.doubted().insert(stream);
        if let (Some(url), false) = (&held, doubted) {
            return Ok(Located { url: url.clone(), clock_offset_ticks: None });
        }
        let limit = if held.is_some() { REFRESH_MAX } else { FIRST_MAX };
        match (known.ask(config, limit).await, held) {
            (Ok(clock_offset_ticks), _) => {
                // What was just told is no reason for another stream to ask.
                self.doubted().retain(|doubted| *doubted == stream);
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

    /// Where the camera that `config` describes gives single pictures; `None` when it is not known, or is being asked.
    pub(super) fn snapshot(&self, config: &CameraConfig) -> Option<Url> {
        let known = self.known.try_lock().ok()?;
        let asked = known.asked.as_ref()?;
        known.snapshot.clone().filter(|_| !asked_differently(asked, config))
    }

    /// The address of `stream` is right: footage came from there, or it is only the login that did not do.
    pub(super) fn trust(&self, stream: StreamId) {
        self.doubted().remove(&stream);
    }

    /// How the login of `config` stands. The camera is asked if it has not answered yet.
    pub(super) async fn login(&self, config: &CameraConfig) -> Login {
        let mut known = self.known.lock().await;
        known.begin(config);
        if known.answered { Login::Taken } else { known.try_login(config).await }
    }

    /// The same, and the camera is asked although it has answered before: another call was refused.
    pub(super) async fn login_again(&self, config: &CameraConfig) -> Login {
        let mut known = self.known.lock().await;
        known.begin(config);
        known.answered = false;
        known.try_login(config).await
    }

    fn doubted(&self) -> MutexGuard<'_, BTreeSet<StreamId>> {
        self.doubted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Forgets what another configuration found.
    fn begin(&mut self, config: &CameraConfig) {
        if self.asked.as_ref().is_none_or(|asked| asked_differently(asked, config)) {
            *self = Self { asked: Some(config.clone()), ..Self::default() };
        }
    }

    async fn try_login(&mut self, config: &CameraConfig) -> Login {
        match self.ask(config, FIRST_MAX).await {
            Ok(_) => Login::Taken,
            Err((GapReason::LoginRefused, detail)) => Login::Refused(detail),
            Err(_) => Login::Unknown,
        }
    }

    /// Asks where the streams are, within `limit`; returns how far the camera's clock is ahead, if it told.
    async fn ask(&mut self, config: &CameraConfig, limit: Duration) -> Result<Option<i64>, Failure> {
        if let Some((at, detail)) = &self.refused
            && at.elapsed() < REFUSED_FOR
        {
            return Err((GapReason::LoginRefused, detail.clone()));
        }
        let asked = tokio::time::timeout(limit, ask(config)).await.unwrap_or_else(|_| {
            let detail = format!("the camera did not say within {} s where its streams are", limit.as_secs());
            Err((GapReason::ConnectionLost, detail))
        });
        match asked {
            Ok(Asked { addresses, snapshot, clock_offset_ticks }) => {
                self.addresses = addresses;
                self.snapshot = snapshot;
                self.answered = true;
                self.refused = None;
                Ok(clock_offset_ticks)
            }
            Err((reason, detail)) => {
                if reason == GapReason::LoginRefused {
                    self.answered = false;
                    self.refused = Some((Instant::now(), detail.clone()));
                }
                Err((reason, detail))
            }
        }
    }
}

/// Whether what one configuration found need not hold for the other.
fn asked_differently(asked: &CameraConfig, config: &CameraConfig) -> bool {
    let place = |config: &CameraConfig| match &config.source {
        CameraSource::Onvif { url, .. } => Some(url.clone()),
        CameraSource::Rtsp { .. } | CameraSource::Edge { .. } => None,
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
    options.certificate = config.certificate;
    Some(options)
}

/// What a camera answered.
struct Asked {
    addresses: BTreeMap<StreamId, Url>,
    snapshot: Option<Url>,
    clock_offset_ticks: Option<i64>,
}

async fn ask(config: &CameraConfig) -> Result<Asked, Failure> {
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
    let snapshot = match &main.video {
        // Its pictures are not decoded here, so that the camera's own are worth a question.
        Some(video) if video.codec == VideoCodec::H265 => {
            let asked = device.snapshot_uri(main).await;
            asked
                .inspect_err(|error| tracing::debug!(camera = %config.id, %error, "no address of pictures"))
                .ok()
        }
        Some(_) | None => None,
    };
    Ok(Asked { addresses, snapshot, clock_offset_ticks: device.clock_offset_ticks() })
}

/// The profile of the highest resolution, and the lowest of the others that show the same scene in less detail. JPEG only
/// where there is nothing else: it takes many times the space, and cameras offer it in any size.
fn choose(profiles: &[Profile]) -> Option<(&Profile, Option<&Profile>)> {
    let pixels = |profile: &Profile| profile.video.as_ref().map_or(0, |video| video.pixels());
    let is_jpeg =
        |profile: &Profile| profile.video.as_ref().is_some_and(|video| video.codec == VideoCodec::Jpeg);
    let usable = |profile: &&Profile| {
        profile.video.as_ref().is_some_and(|video| !matches!(video.codec, VideoCodec::Other(_)))
    };
    let candidates: Vec<&Profile> = profiles.iter().filter(usable).collect();
    // The first of the best, since devices put the best first.
    let main = candidates.iter().copied().rev().max_by_key(|profile| (!is_jpeg(profile), pixels(profile)))?;
    let beside = |profile: &&&Profile| {
        profile.token != main.token && (main.source.is_none() || profile.source == main.source)
    };
    // A size that is not told may be any.
    let less = |profile: &&&Profile| pixels(profile) == 0 || pixels(profile) < pixels(main);
    let sub = candidates
        .iter()
        .filter(beside)
        .filter(less)
        .copied()
        .min_by_key(|profile| (pixels(profile) == 0, is_jpeg(profile), pixels(profile)));
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
        | ClientError::Status { .. }
        | ClientError::Redirected(_)
        | ClientError::Refused { .. }
        | ClientError::LoginNeeded(_)
        | ClientError::LoginRefused { .. }
        | ClientError::PasswordInTheClear
        | ClientError::NotOffered(_) => GapReason::ConnectionRefused,
    }
}
