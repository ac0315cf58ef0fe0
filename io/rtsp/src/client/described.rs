//! From a URL to a session whose media flows: the order of the requests and what is done with their answers.

use std::fmt;
use std::time::Duration;

use keepwatch_media::fingerprint::Fingerprint;
use keepwatch_media::replay::{self, PlayRequest};
use keepwatch_media::rtsp::{self, Method, content_base, parse_public, request_uri, resolve_control};
use keepwatch_media::sdp::Presentation;
use tokio::time::Instant;
use url::Url;

use super::config::{ClientConfig, Transport};
use super::connection::Connection;
use super::error::{ClientError, Step};
use super::keepalive::Keepalive;
use super::outcome::{Counters, SessionTrack};
use super::remote::Remote;
use super::session::{Channel, Pace, Session, Wire};
use super::setup::{Addresses, Offer, Way};
use super::throttle::Throttle;
use super::udp::Datagrams;

/// What is asked for beyond the plain live stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlayOptions {
    /// The `Range` header of `PLAY`; `None` sends none.
    pub range: Option<String>,
    /// Further headers of each `SETUP`.
    pub setup_headers: Vec<(String, String)>,
    /// Further headers of `PLAY`.
    pub play_headers: Vec<(String, String)>,
}

impl Default for PlayOptions {
    /// From the beginning, which for a camera is the present; some cameras do not play without it.
    fn default() -> Self {
        Self { range: Some("npt=0.000-".to_owned()), setup_headers: Vec::new(), play_headers: Vec::new() }
    }
}

/// What a session is to be.
struct Wanted {
    transport: Transport,
    setup_headers: Vec<(String, String)>,
    play_headers: Vec<(String, String)>,
    pace: Pace,
}

/// A connection to a server that has told what it offers.
pub struct Described {
    config: ClientConfig,
    connection: Connection,
    /// What control addresses are relative to.
    base: Url,
    public: Vec<Method>,
    presentation: Presentation,
}

/// Connects to the server and asks what it offers.
///
/// # Errors
/// As [`ClientError`] says; [`ClientError::NoUsableTrack`] when nothing that is offered can be recorded.
pub async fn connect(config: &ClientConfig) -> Result<Described, ClientError> {
    let config = config.clone();
    let url = request_uri(&config.url);
    let mut connection = Connection::open(&config).await?;
    let public = match connection.ask(Step::Options, Method::Options, url.as_str(), &[]).await {
        Ok(response) => response.headers.all("Public").flat_map(parse_public).collect(),
        // Nothing depends on it: a server that does not know OPTIONS may know all the rest.
        Err(ClientError::Refused { .. }) => Vec::new(),
        Err(error) => return Err(error),
    };
    let accept = [("Accept".to_owned(), "application/sdp".to_owned())];
    let response = connection.ask(Step::Describe, Method::Describe, url.as_str(), &accept).await?;
    let presentation =
        Presentation::parse(&response.body).map_err(|error| protocol(Step::Describe, error))?;
    let base = content_base(&response.headers, &url);
    let described = Described { config, connection, base, public, presentation };
    if described.presentation.tracks.iter().all(|track| track.config.is_err()) {
        return Err(described.no_usable_track());
    }
    Ok(described)
}

impl Described {
    /// The fingerprint of the certificate that the server showed; `None` without TLS.
    pub const fn certificate(&self) -> Option<Fingerprint> {
        self.connection.link.certificate()
    }

    /// What the server offers.
    pub fn presentation(&self) -> &Presentation {
        &self.presentation
    }

    /// Sets up `tracks`, positions in [`presentation`](Self::presentation), and starts them from the present.
    ///
    /// # Errors
    /// As [`ClientError`] says; [`ClientError::NoUsableTrack`] when one of `tracks` is not there or not usable,
    /// or none is asked for.
    pub async fn play(self, tracks: &[usize]) -> Result<Session, ClientError> {
        self.play_with(tracks, &PlayOptions::default()).await
    }

    /// As [`play`](Self::play), with headers of the caller's choice.
    ///
    /// # Errors
    /// As [`play`](Self::play).
    pub async fn play_with(self, tracks: &[usize], options: &PlayOptions) -> Result<Session, ClientError> {
        let range = options.range.iter().map(|range| (replay::RANGE.to_owned(), range.clone()));
        let play_headers = range.chain(options.play_headers.iter().cloned()).collect();
        let interval = self.config.read_interval.clone();
        let wanted = Wanted {
            transport: self.config.transport,
            setup_headers: options.setup_headers.clone(),
            play_headers,
            pace: Pace::Timed(interval),
        };
        self.start(tracks, wanted).await
    }

    /// Sets up `tracks` and plays recorded footage as `request` says, over the RTSP connection whatever
    /// [`ClientConfig::transport`] says.
    ///
    /// Footage begins at a clean point at or before the range and may go on behind its end: the server decides, and
    /// many do as they please. With [`RateControl::Free`](keepwatch_media::replay::RateControl::Free) it comes as
    /// fast as it is read; [`Session::remote`] limits that, holds, and plays elsewhere. The session lasts until the
    /// handler stops it, also when no more footage comes. The `cseq` of `request` is ignored, the session numbers
    /// its requests.
    ///
    /// # Errors
    /// As [`ClientError`] says; [`ClientError::ReplayUnsupported`] when the server cannot replay,
    /// [`ClientError::InvalidRange`] when it has nothing of the range.
    pub async fn replay(mut self, tracks: &[usize], request: &PlayRequest) -> Result<Session, ClientError> {
        let require = request.replay.then(|| (replay::REQUIRE.to_owned(), replay::REPLAY_FEATURE.to_owned()));
        self.connection.keep_early();
        let wanted = Wanted {
            transport: Transport::TcpInterleaved,
            setup_headers: require.into_iter().collect(),
            play_headers: request.headers(),
            pace: Pace::Ready(Throttle::new(Instant::now())),
        };
        self.start(tracks, wanted).await
    }

    /// Sets up `tracks` and starts them.
    async fn start(mut self, tracks: &[usize], wanted: Wanted) -> Result<Session, ClientError> {
        if tracks.is_empty() {
            return Err(self.no_usable_track());
        }
        let ends = self.connection.link.addresses();
        let (local, peer) = ends.map_err(|error| ended(Step::Setup, error))?;
        let mut channels = Vec::new();
        let mut datagrams: Option<Box<Datagrams>> = None;
        let mut session_tracks = Vec::with_capacity(tracks.len());
        let mut addresses = Vec::with_capacity(tracks.len());
        let mut timeout = None;
        for (position, offered) in tracks.iter().copied().enumerate() {
            let (address, clock_rate) = self.track_address(offered)?;
            let offer = Offer::new(wanted.transport, position, local)?;
            let mut headers = vec![("Transport".to_owned(), offer.header())];
            headers.extend(wanted.setup_headers.iter().cloned());
            let response =
                self.connection.ask(Step::Setup, Method::Setup, address.as_str(), &headers).await?;
            let (ssrc, way) = offer.accepted(&response, peer)?;
            match way {
                Way::Channels(rtp, rtcp) => {
                    channels.push((rtp, Channel::Rtp(position)));
                    channels.push((rtcp, Channel::Rtcp(position)));
                }
                Way::Ports(ports, sender) => {
                    let datagrams = datagrams.get_or_insert_with(|| Box::new(Datagrams::new(Instant::now())));
                    datagrams.add(ports, sender, clock_rate);
                }
            }
            if let Some(Ok(session)) = response.headers.first("Session").map(rtsp::Session::parse) {
                timeout =
                    timeout.or(session.timeout_s.map(|seconds| Duration::from_secs(u64::from(seconds))));
                // Should a later answer name another session, the first one stays: cameras that do so know both.
                self.connection.dialogue.session.get_or_insert(session.id);
            }
            session_tracks.push(SessionTrack { offered, ssrc, ..SessionTrack::default() });
            addresses.push(address);
        }
        let aggregate = self.presentation.control.as_deref().map_or_else(
            || Ok(self.base.clone()),
            |control| resolve_control(&self.base, control).map_err(|error| protocol(Step::Play, error)),
        )?;
        self.connection.dialogue.aggregate = aggregate.to_string();
        let response =
            self.connection.ask(Step::Play, Method::Play, aggregate.as_str(), &wanted.play_headers).await?;
        let Self { config, connection, base, public, .. } = self;
        let addresses = Box::new(Addresses { base, tracks: addresses });
        let played = addresses.played(connection.dialogue.cseq(), &response);
        for (track, start) in session_tracks.iter_mut().zip(&played.starts) {
            track.first_sequence = start.sequence;
            track.first_timestamp = start.timestamp;
        }
        let remote = Remote::default();
        remote.note_play(played.cseq);
        let highest = channels.iter().map(|(number, _)| u16::from(*number)).max();
        let Connection { link, mut framer, dialogue, tail, .. } = connection;
        framer.limit_channels(highest.map_or(0, |highest| highest.saturating_add(1)));
        let link = match wanted.pace {
            Pace::Timed(_) => link.leave_runtime().map_err(|error| ended(Step::Play, error))?,
            Pace::Ready(_) => link,
        };
        Ok(Session {
            link,
            framer,
            tail,
            dialogue,
            keepalive: Keepalive::new(Instant::now(), timeout, config.keepalive_interval, &public),
            channels,
            datagrams,
            wire: Wire::new(session_tracks.len(), &config),
            tracks: session_tracks,
            pace: wanted.pace,
            counters: Counters::default(),
            remote,
            addresses,
            played,
        })
    }

    /// The address to set up a track with, and the rate of its clock.
    fn track_address(&self, offered: usize) -> Result<(Url, u32), ClientError> {
        let track = self.presentation.tracks.get(offered).ok_or_else(|| self.no_usable_track())?;
        let config = track.config.as_ref().map_err(|_| self.no_usable_track())?;
        let control = track.control.as_deref().unwrap_or_default();
        let address = resolve_control(&self.base, control).map_err(|error| protocol(Step::Setup, error))?;
        Ok((address, config.clock_rate))
    }

    /// The error that lists what is offered.
    fn no_usable_track(&self) -> ClientError {
        let offer = |track: &super::MediaTrack| match &track.config {
            Ok(config) => format!("{:?}", config.kind),
            Err(reason) => reason.to_string(),
        };
        ClientError::NoUsableTrack(self.presentation.tracks.iter().map(offer).collect())
    }
}

impl fmt::Debug for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Described")
            .field("config", &self.config)
            .field("tracks", &self.presentation.tracks.len())
            .finish_non_exhaustive()
    }
}

/// An error of the connection.
fn ended(step: Step, error: std::io::Error) -> ClientError {
    ClientError::Ended { step, source: Some(error) }
}

/// An error of the server's making.
pub(super) fn protocol(step: Step, problem: impl ToString) -> ClientError {
    ClientError::Protocol { step, problem: problem.to_string() }
}
