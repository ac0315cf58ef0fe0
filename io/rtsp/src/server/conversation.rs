//! What a client may ask, in which order, and what it is told: the states of RFC 2326 appendix A.2, held to one
//! session for each connection.
//!
//! Live only: `PAUSE` is refused, `Range` is answered with the present. A session belongs to the connection and
//! to the user that set it up, and is not ended for lack of keepalives: the connection itself tells whether the
//! client lives.

use std::net::SocketAddr;

use keepwatch_media::replay::PlayRequest;
use keepwatch_media::rtsp::{
    LowerTransport, Method, Request, Response, RtpInfo, Session, Transport, write_rtp_info,
};
use keepwatch_media::sdp::{self, AnnouncedTrack};
use keepwatch_model::{CodecKind, TrackConfig};

use super::address::{Address, control};
use super::login::{Login, Verdict};
use super::sender::{Sender, Start};
use super::{OpenRequest, Refusal, Service, Source};
use crate::chance;

/// The session timeout told to clients, in seconds.
const SESSION_TIMEOUT_S: u32 = 60;

/// The methods of `Public` and `Allow`.
const METHODS: &str = "OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, SET_PARAMETER, TEARDOWN";

/// The name in the `Server` header.
const SERVER: &str = concat!("Keepwatch/", env!("CARGO_PKG_VERSION"));

/// Most tracks of a source: their channels must fit, and so must their dynamic payload types.
const TRACKS_MAX: usize = 32;

/// A source that this connection opened.
struct Opened {
    path: String,
    /// For whom: rights are decided when a source is opened.
    user: Option<String>,
    source: Box<dyn Source>,
    tracks: Vec<TrackConfig>,
}

/// What was set up and is not torn down.
struct SetUp {
    id: String,
    user: Option<String>,
    /// For each track of the source its sender, if it was asked for.
    senders: Vec<Option<Sender>>,
    /// The `RTP-Info` address of each.
    addresses: Vec<String>,
}

/// What a client is to be told, and what becomes of its media.
pub(super) struct Outcome {
    /// The answer.
    pub(super) response: Response,
    /// What changes.
    pub(super) effect: Effect,
}

/// What changes by a request.
pub(super) enum Effect {
    /// Nothing.
    None,
    /// Media begin to flow.
    Play {
        /// Where they come from.
        source: Box<dyn Source>,
        /// All its tracks.
        tracks: Vec<TrackConfig>,
        /// For each track its sender, if it was asked for.
        senders: Vec<Option<Sender>>,
    },
    /// Media end.
    Stop,
    /// The connection ends: too many wrong passwords.
    Close,
}

/// One client's conversation.
pub(super) struct Conversation {
    peer: SocketAddr,
    secure: bool,
    login: Login,
    opened: Option<Opened>,
    set_up: Option<SetUp>,
    playing: bool,
}

impl Conversation {
    /// A conversation with `peer` that has not begun; `secure` says whether it is encrypted.
    pub(super) fn new(peer: SocketAddr, secure: bool) -> Self {
        Self { peer, secure, login: Login::new(), opened: None, set_up: None, playing: false }
    }

    /// Answers `request`.
    pub(super) fn handle(&mut self, request: &Request, service: &dyn Service) -> Outcome {
        let mut outcome = self.decide(request, service);
        outcome.response = outcome.response.header("Server", SERVER);
        outcome
    }

    fn decide(&mut self, request: &Request, service: &dyn Service) -> Outcome {
        if request.method == Method::Options {
            return told(ok(request).header("Public", METHODS));
        }
        let user = if service.needs_login() {
            match self.login.check(request, service) {
                Verdict::User(user) => Some(user),
                Verdict::Refused(response) => return told(response),
                Verdict::TooMany(response) => return Outcome { response, effect: Effect::Close },
            }
        } else {
            None
        };
        if let Some(tag) = request.headers.first("Require") {
            // RFC 2326 §12.32: a server must not go on without an option it does not know.
            return told(status(551, request).header("Unsupported", tag));
        }
        if let Some(refusal) = self.refuse_foreign_session(request, user.as_deref()) {
            return told(refusal);
        }
        let address = Address::parse(&request.uri);
        match request.method {
            Method::Options => told(ok(request)),
            Method::Describe => told(self.describe(request, &address, user.as_deref(), service)),
            Method::Setup => told(self.set_up(request, &address, user, service)),
            Method::Play => self.play(request),
            Method::GetParameter => told(ok(request)),
            Method::SetParameter if request.body.is_empty() => told(ok(request)),
            Method::SetParameter => told(status(451, request)),
            Method::Teardown => self.tear_down(request),
            Method::Pause | Method::Announce | Method::Record | Method::Redirect => {
                told(status(405, request).header("Allow", METHODS))
            }
            Method::Other(_) => told(status(501, request).header("Public", METHODS)),
        }
    }

    /// The refusal of a request that names a session which is not this connection's, or another user's.
    fn refuse_foreign_session(&self, request: &Request, user: Option<&str>) -> Option<Response> {
        let named = request.headers.first("Session").map(Session::parse)?;
        let Ok(named) = named else { return Some(status(454, request)) };
        match &self.set_up {
            Some(set_up) if set_up.id != named.id => Some(status(454, request)),
            Some(set_up) if set_up.user.as_deref() != user => Some(status(403, request)),
            Some(_) => None,
            None => Some(status(454, request)),
        }
    }

    fn describe(
        &mut self,
        request: &Request,
        address: &Address<'_>,
        user: Option<&str>,
        service: &dyn Service,
    ) -> Response {
        if self.set_up.is_some() {
            // Its source is in use; another connection may describe what it likes.
            return status(455, request);
        }
        let opened = match self.open(address.path, user, service) {
            Ok(opened) => opened,
            Err(refusal) => return status(refusal.status(), request),
        };
        let texts: Vec<_> =
            (0..opened.tracks.len()).map(|at| (control(at), opened.source.attributes(at))).collect();
        let tracks = opened.tracks.iter().zip(&texts).enumerate();
        let tracks: Vec<_> = tracks
            .map(|(position, (config, (control, attributes)))| AnnouncedTrack {
                config,
                payload_type: payload_type(config.kind, position),
                control,
                attributes,
            })
            .collect();
        let text = sdp::write("Keepwatch", opened.source.footage(), &tracks);
        ok(request).header("Content-Base", format!("{}/", address.base)).with_body("application/sdp", text)
    }

    /// The source under `path`, opened anew unless the last request opened it.
    fn open(
        &mut self,
        path: &str,
        user: Option<&str>,
        service: &dyn Service,
    ) -> Result<&mut Opened, Refusal> {
        let same = |opened: &Opened| opened.path == path && opened.user.as_deref() == user;
        let opened = match self.opened.take().filter(same) {
            Some(opened) => opened,
            None => {
                let request = OpenRequest { path, user, peer: self.peer, secure: self.secure };
                let source = service.open(&request)?;
                let mut tracks = source.tracks();
                tracks.truncate(TRACKS_MAX);
                Opened { path: path.to_owned(), user: user.map(str::to_owned), source, tracks }
            }
        };
        Ok(self.opened.insert(opened))
    }

    fn set_up(
        &mut self,
        request: &Request,
        address: &Address<'_>,
        user: Option<String>,
        service: &dyn Service,
    ) -> Response {
        let another_path = self.opened.as_ref().is_some_and(|opened| opened.path != address.path);
        if self.playing || (self.set_up.is_some() && another_path) {
            return status(455, request);
        }
        let tracks = match self.open(address.path, user.as_deref(), service) {
            Ok(opened) => opened.tracks.clone(),
            Err(refusal) => return status(refusal.status(), request),
        };
        let position = match address.track {
            Some(position) => position,
            None if tracks.len() == 1 => 0,
            None => return status(459, request),
        };
        let Some(track) = tracks.get(position) else { return status(404, request) };
        let offers = request.headers.all("Transport").flat_map(Transport::parse_all);
        let mut offers = offers.filter(|offer| offer.lower == LowerTransport::Tcp && !offer.multicast);
        let Some(offer) = offers.next() else { return status(461, request) };
        if self.set_up.is_none() {
            let id = format!("{:016X}", chance::draw());
            let senders = tracks.iter().map(|_| None).collect();
            let addresses = vec![String::new(); tracks.len()];
            self.set_up = Some(SetUp { id, user, senders, addresses });
        }
        let Some(set_up) = &mut self.set_up else { return status(500, request) };
        let Some(channels) = set_up.channels(position, offer.interleaved) else {
            return status(461, request);
        };
        let start = random_start();
        let sender = Sender::new(track, payload_type(track.kind, position), channels, start);
        if let (Some(place), Some(told)) =
            (set_up.senders.get_mut(position), set_up.addresses.get_mut(position))
        {
            *place = Some(sender);
            request.uri.clone_into(told);
        }
        let transport =
            Transport { interleaved: Some(channels), ssrc: Some(start.ssrc), ..Transport::tcp(channels.0) };
        let session = Session { id: set_up.id.clone(), timeout_s: Some(SESSION_TIMEOUT_S) };
        ok(request).header("Transport", transport.to_text()).header("Session", session.to_text())
    }

    fn play(&mut self, request: &Request) -> Outcome {
        let Some(set_up) = &mut self.set_up else { return told(status(455, request)) };
        let response = ok(request).header("Session", &set_up.id).header("Range", "npt=now-");
        if self.playing {
            // A client that asks again, as some do to keep the session, gets what it has.
            return told(response);
        }
        let Some(opened) = &mut self.opened else { return told(status(455, request)) };
        let asked = match PlayRequest::read(request) {
            Ok(asked) => asked,
            Err(error) => return told(status(error.status(), request)),
        };
        if let Err(error) = opened.source.play(&asked) {
            return told(status(error.status(), request));
        }
        // A source goes with its session: what follows begins with a source of its own.
        let Some(opened) = self.opened.take() else { return told(status(455, request)) };
        let senders: Vec<_> = set_up.senders.iter_mut().map(Option::take).collect();
        let infos: Vec<_> = senders
            .iter()
            .zip(&set_up.addresses)
            .filter_map(|(sender, address)| Some((sender.as_ref()?.start(), address)))
            .map(|(start, address)| RtpInfo {
                url: address.clone(),
                sequence: Some(start.sequence),
                timestamp: Some(start.timestamp),
            })
            .collect();
        self.playing = true;
        Outcome {
            response: response.header("RTP-Info", write_rtp_info(&infos)),
            effect: Effect::Play { source: opened.source, tracks: opened.tracks, senders },
        }
    }

    fn tear_down(&mut self, request: &Request) -> Outcome {
        if self.set_up.take().is_none() {
            return told(status(454, request));
        }
        self.playing = false;
        self.opened = None;
        Outcome { response: ok(request), effect: Effect::Stop }
    }
}

impl SetUp {
    /// The channels for the track at `position`: those asked for if they are free, else the next free ones; `None`
    /// when those asked for belong to another track.
    fn channels(&self, position: usize, asked: Option<(u8, u8)>) -> Option<(u8, u8)> {
        let others = self.senders.iter().enumerate().filter(|(other, _)| *other != position);
        let taken: Vec<_> = others
            .filter_map(|(_, sender)| sender.as_ref())
            .flat_map(|sender| [sender.channels().0, sender.channels().1])
            .collect();
        match asked {
            Some((rtp, rtcp)) if rtp == rtcp || taken.contains(&rtp) || taken.contains(&rtcp) => None,
            Some(asked) => Some(asked),
            None => (0..=u8::MAX - 1)
                .step_by(2)
                .find(|rtp| !taken.contains(rtp) && !taken.contains(&(rtp + 1)))
                .map(|rtp| (rtp, rtp + 1)),
        }
    }
}

/// The numbers that a track's RTP begins with.
fn random_start() -> Start {
    let [s0, s1, s2, s3, t0, t1, t2, t3] = chance::draw().to_be_bytes();
    let [q0, q1, ..] = chance::draw().to_be_bytes();
    Start {
        ssrc: u32::from_be_bytes([s0, s1, s2, s3]),
        // Cameras' habit of announcing 0 or 1 has taught clients to distrust these two.
        sequence: u16::from_be_bytes([q0, q1]).max(2),
        timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
    }
}

/// The payload type of the track at `position`.
fn payload_type(kind: CodecKind, position: usize) -> u8 {
    sdp::payload_type(kind, u8::try_from(position).unwrap_or(0))
}

fn ok(request: &Request) -> Response {
    status(200, request)
}

fn status(status: u16, request: &Request) -> Response {
    Response::new(status, request.cseq())
}

fn told(response: Response) -> Outcome {
    Outcome { response, effect: Effect::None }
}
