//! From a URL to a session whose media flows: the order of the requests and what is done with their answers.

use std::fmt;
use std::time::Duration;

use keepwatch_media::rtsp::{
    self, LowerTransport, Method, Response, content_base, parse_public, parse_rtp_info, request_uri,
    resolve_control,
};
use keepwatch_media::sdp::Presentation;
use tokio::time::Instant;
use url::Url;

use super::config::{ClientConfig, Transport};
use super::connection::Connection;
use super::error::{ClientError, Step};
use super::keepalive::Keepalive;
use super::session::{Channel, Counters, Session, SessionTrack};

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
    pub async fn play_with(
        mut self,
        tracks: &[usize],
        options: &PlayOptions,
    ) -> Result<Session, ClientError> {
        if tracks.is_empty() {
            return Err(self.no_usable_track());
        }
        let mut channels = Vec::with_capacity(tracks.len().saturating_mul(2));
        let mut session_tracks = Vec::with_capacity(tracks.len());
        let mut addresses = Vec::with_capacity(tracks.len());
        let mut timeout = None;
        for (position, offered) in tracks.iter().copied().enumerate() {
            let address = self.track_address(offered)?;
            let (wanted, mut headers) = self.transport(position)?;
            headers.extend(options.setup_headers.iter().cloned());
            let response =
                self.connection.ask(Step::Setup, Method::Setup, address.as_str(), &headers).await?;
            let (rtp, rtcp, ssrc) = assigned_channels(&response, wanted)?;
            channels.push((rtp, Channel::Rtp(position)));
            channels.push((rtcp, Channel::Rtcp(position)));
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
        let mut headers: Vec<_> =
            options.range.iter().map(|range| ("Range".to_owned(), range.clone())).collect();
        headers.extend(options.play_headers.iter().cloned());
        let response = self.connection.ask(Step::Play, Method::Play, aggregate.as_str(), &headers).await?;
        self.note_rtp_info(&response, &addresses, &mut session_tracks);
        let Self { config, connection, public, .. } = self;
        let highest = channels.iter().map(|(number, _)| *number).max().unwrap_or(0);
        let Connection { stream, mut framer, dialogue, tail, .. } = connection;
        framer.limit_channels(u16::from(highest).saturating_add(1));
        let stream = stream
            .into_std()
            .map_err(|error| ClientError::Ended { step: Step::Play, source: Some(error) })?;
        Ok(Session {
            stream,
            framer,
            tail,
            unsent: Vec::new(),
            dialogue,
            keepalive: Keepalive::new(Instant::now(), timeout, config.keepalive_interval, &public),
            channels,
            tracks: session_tracks,
            read_interval: config.read_interval,
            counters: Counters::default(),
            teardown: None,
            over: false,
        })
    }

    /// The address to set up a track with.
    fn track_address(&self, offered: usize) -> Result<Url, ClientError> {
        match self.presentation.tracks.get(offered) {
            Some(track) if track.config.is_ok() => {
                let control = track.control.as_deref().unwrap_or_default();
                resolve_control(&self.base, control).map_err(|error| protocol(Step::Setup, error))
            }
            Some(_) | None => Err(self.no_usable_track()),
        }
    }

    /// The transport to ask for, for the track at `position` of the session.
    fn transport(&self, position: usize) -> Result<(rtsp::Transport, Vec<(String, String)>), ClientError> {
        match self.config.transport {
            Transport::TcpInterleaved => {
                let channel = u8::try_from(position).ok().and_then(|position| position.checked_mul(2));
                let channel = channel.ok_or_else(|| protocol(Step::Setup, "too many tracks"))?;
                let wanted = rtsp::Transport::tcp(channel);
                let header = ("Transport".to_owned(), wanted.to_text());
                Ok((wanted, vec![header]))
            }
        }
    }

    /// Keeps what the answer to `PLAY` says of the first packets.
    fn note_rtp_info(&self, response: &Response, addresses: &[Url], tracks: &mut [SessionTrack]) {
        let infos: Vec<_> = response.headers.all("RTP-Info").flat_map(parse_rtp_info).collect();
        for info in &infos {
            let resolved = resolve_control(&self.base, &info.url).ok();
            let position = addresses.iter().position(|address| Some(address) == resolved.as_ref());
            // A single track needs no address, and cameras send wrong ones.
            let position = position.or((addresses.len() == 1 && infos.len() == 1).then_some(0));
            if let Some(track) = position.and_then(|position| tracks.get_mut(position)) {
                track.first_sequence = info.sequence;
                track.first_timestamp = info.timestamp;
            }
        }
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
            .field("presentation", &self.presentation)
            .finish_non_exhaustive()
    }
}

/// The channels of a track and its source, out of the answer to `SETUP`.
fn assigned_channels(
    response: &Response,
    wanted: rtsp::Transport,
) -> Result<(u8, u8, Option<u32>), ClientError> {
    let stated = response.headers.first("Transport").map(rtsp::Transport::parse_all).unwrap_or_default();
    // An answer without a usable transport header is taken as consent.
    let transport = stated.into_iter().next().unwrap_or_else(|| wanted.clone());
    if transport.lower != LowerTransport::Tcp {
        return Err(protocol(
            Step::Setup,
            "the server wants to send over UDP, interleaved TCP was asked for",
        ));
    }
    let (rtp, rtcp) = transport.interleaved.or(wanted.interleaved).unwrap_or_default();
    Ok((rtp, rtcp, transport.ssrc))
}

/// An error of the server's making.
pub(super) fn protocol(step: Step, problem: impl ToString) -> ClientError {
    ClientError::Protocol { step, problem: problem.to_string() }
}
