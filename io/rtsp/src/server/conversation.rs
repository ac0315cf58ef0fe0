//! What a client may ask, in which order, and what it is told (RFC 2326 §10, ONVIF Streaming "Playback"), held to
//! one session for each connection.
//!
//! A session belongs to the connection and to the user that set it up: a request of another one that names it, or
//! that comes while it stands, is told that there is no such session. A `PLAY` takes effect at once, with `Immediate`
//! or without: the specification leaves the latter open, and a queue of ranges serves nobody.

use std::net::SocketAddr;

use keepwatch_media::replay::{
    FRAMES, IMMEDIATE, PlayRequest, RANGE, RATE_CONTROL, REPLAY_FEATURE, SCALE, required_features,
};
use keepwatch_media::rtsp::{
    LowerTransport, Method, Request, Response, Session as SessionHeader, Transport, write_rtp_info,
};
use keepwatch_media::sdp::{self, AnnouncedTrack};
use keepwatch_model::{CodecKind, TrackConfig};
use tokio::time::Instant;

use super::address::{Address, control};
use super::books::Books;
use super::login::{Login, Verdict};
use super::quirks::{Keepalives, Transports};
use super::sender::{Sender, Start};
use super::session::{Identity, Session, State, datagram_transport};
use super::udp::{Datagrams, Link};
use super::{Delivery, OpenRequest, PlayError, Refusal, Service, Source};
use crate::chance;

/// The session timeout told to clients, in seconds.
pub(super) const SESSION_TIMEOUT_S: u32 = 60;

/// The methods of `Public` and `Allow`.
const METHODS: &str = "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, GET_PARAMETER, SET_PARAMETER, TEARDOWN";

/// The name in the `Server` header.
const SERVER: &str = concat!("Keepwatch/", env!("CARGO_PKG_VERSION"));

/// Most tracks of a source: their channels must fit, and so must their dynamic payload types.
const TRACKS_MAX: usize = 32;

/// The two ends of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// The client.
    pub(super) peer: SocketAddr,
    /// The server.
    pub(super) local: SocketAddr,
    /// Whether the connection is encrypted.
    pub(super) secure: bool,
}

/// A source that this connection opened and has not set up.
struct Opened {
    path: String,
    /// For whom: rights are decided when a source is opened.
    user: Option<String>,
    source: Box<dyn Source>,
    tracks: Vec<TrackConfig>,
}

/// What a client is to be told, and what becomes of the connection.
pub(super) struct Outcome {
    /// The answer; `None` where a quirk has it that there is none.
    pub(super) response: Option<Response>,
    /// Whether the connection ends: too many wrong passwords.
    pub(super) closes: bool,
}

/// One client's conversation.
pub(super) struct Conversation {
    ends: Ends,
    books: Books,
    login: Login,
    /// Whether a request came from who may make it.
    known: bool,
    opened: Option<Opened>,
    session: Option<Session>,
}

impl Conversation {
    /// A conversation that has not begun. `books` are the server's.
    pub(super) fn new(ends: Ends, books: Books) -> Self {
        let login = Login::new(ends.peer.ip(), ends.secure, books.clone());
        Self { ends, books, login, known: false, opened: None, session: None }
    }

    /// The session; `None` while there is none.
    pub(super) fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// The session, to move its media.
    pub(super) fn session_mut(&mut self) -> Option<&mut Session> {
        self.session.as_mut()
    }

    /// Whether the client has shown who it is, or need not.
    pub(super) fn is_known(&self) -> bool {
        self.known
    }

    /// Answers `request`.
    pub(super) async fn handle(&mut self, now: Instant, request: &Request, service: &dyn Service) -> Outcome {
        let keepalives = self.keepalives(request, service);
        let (response, closes) = match self.decide(now, request, service).await {
            Ok(response) => (response, false),
            Err(Stop::Refused(response)) => (response, false),
            Err(Stop::TooMany(response)) => (response, true),
        };
        let response = match keepalives {
            Keepalives::Answered => Some(response),
            Keepalives::WrongSequence => Some(out_of_sequence(response)),
            Keepalives::BadRequest => Some(status(400, request)),
            Keepalives::Silent => None,
        };
        Outcome { response: response.map(|response| response.header("Server", SERVER)), closes }
    }

    /// What becomes of `request` if it only keeps the session.
    fn keepalives(&self, request: &Request, service: &dyn Service) -> Keepalives {
        match (&request.method, &self.session) {
            (Method::Options | Method::GetParameter | Method::SetParameter, Some(session)) => {
                service.quirks(&session.identity.path).keepalives
            }
            _ => Keepalives::Answered,
        }
    }

    async fn decide(
        &mut self,
        now: Instant,
        request: &Request,
        service: &dyn Service,
    ) -> Result<Response, Stop> {
        let unknown: Vec<_> =
            required_features(&request.headers).filter(|feature| !is_replay(feature)).collect();
        if !unknown.is_empty() {
            // RFC 2326 §12.32: a server must not go on without an option it does not know.
            return refuse(status(551, request).header("Unsupported", unknown.join(", ")));
        }
        if request.method == Method::Options {
            return Ok(ok(request).header("Public", METHODS));
        }
        let user = if service.needs_login() {
            match self.login.check(now, request, service) {
                Verdict::User(user) => Some(user),
                Verdict::Refused(response) => return Err(Stop::Refused(response)),
                Verdict::TooMany(response) => return Err(Stop::TooMany(response)),
            }
        } else {
            None
        };
        self.known = true;
        self.check_session(request, user.as_deref())?;
        let address = Address::parse(&request.uri);
        match request.method {
            Method::Options | Method::GetParameter => Ok(ok(request)),
            Method::Describe => self.describe(request, &address, user.as_deref(), service).await,
            Method::Setup => self.set_up(request, &address, user, service).await,
            Method::Play => self.play(now, request),
            Method::Pause => self.pause(request),
            Method::SetParameter if request.body.is_empty() => Ok(ok(request)),
            Method::SetParameter => refuse(status(451, request)),
            Method::Teardown => match self.session.take() {
                Some(_) => Ok(ok(request)),
                None => refuse(status(454, request)),
            },
            Method::Announce | Method::Record | Method::Redirect => {
                refuse(status(405, request).header("Allow", METHODS))
            }
            Method::Other(_) => refuse(status(501, request).header("Public", METHODS)),
        }
    }

    /// Refuses a request that names a session which is not this connection's, or comes from another user than the
    /// session's.
    fn check_session(&self, request: &Request, user: Option<&str>) -> Result<(), Stop> {
        let named = request.headers.first("Session").map(SessionHeader::parse);
        let own = match (&self.session, named) {
            (Some(session), None) => session.identity.user.as_deref() == user,
            (Some(session), Some(Ok(named))) => {
                session.identity.id == named.id && session.identity.user.as_deref() == user
            }
            (None, None) => true,
            (None | Some(_), Some(_)) => false,
        };
        if own { Ok(()) } else { refuse(status(454, request)) }
    }

    async fn describe(
        &mut self,
        request: &Request,
        address: &Address<'_>,
        user: Option<&str>,
        service: &dyn Service,
    ) -> Result<Response, Stop> {
        if self.session.is_some() {
            // Its source is in use; another connection may describe what it likes.
            return refuse(status(455, request));
        }
        let opened = self.open(request, address.path, user, service).await?;
        check_replay(request, opened.source.delivery())?;
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
        Ok(ok(request)
            .header("Content-Base", format!("{}/", address.base))
            .with_body("application/sdp", text))
    }

    /// The source under `path`, opened anew unless the last request of the user opened it.
    async fn open(
        &mut self,
        request: &Request,
        path: &str,
        user: Option<&str>,
        service: &dyn Service,
    ) -> Result<&mut Opened, Stop> {
        let same = |opened: &Opened| opened.path == path && opened.user.as_deref() == user;
        let opened = match self.opened.take().filter(same) {
            Some(opened) => opened,
            None => {
                let Ends { peer, secure, .. } = self.ends;
                let refused = |refusal: Refusal| Stop::Refused(status(refusal.status(), request));
                let mut source = service.open(&OpenRequest { path, user, peer, secure }).map_err(refused)?;
                source.prepare().await.map_err(refused)?;
                let mut tracks = source.tracks();
                tracks.truncate(TRACKS_MAX);
                Opened { path: path.to_owned(), user: user.map(str::to_owned), source, tracks }
            }
        };
        Ok(self.opened.insert(opened))
    }

    async fn set_up(
        &mut self,
        request: &Request,
        address: &Address<'_>,
        user: Option<String>,
        service: &dyn Service,
    ) -> Result<Response, Stop> {
        let (tracks, delivery, chosen) = match &self.session {
            Some(session) => {
                if session.state() == State::Playing || session.identity.path != address.path {
                    return refuse(status(455, request));
                }
                (session.tracks().to_vec(), session.delivery(), Some(session.lower()))
            }
            None => {
                let opened = self.open(request, address.path, user.as_deref(), service).await?;
                (opened.tracks.clone(), opened.source.delivery(), None)
            }
        };
        check_replay(request, delivery)?;
        let position = match address.track {
            Some(position) => position,
            None if tracks.len() == 1 => 0,
            None => return refuse(status(459, request)),
        };
        let Some(track) = tracks.get(position) else { return refuse(status(404, request)) };
        let accepted = service.quirks(address.path).transports;
        let Some((carrier, channels)) = self.carrier(request, position, chosen, accepted) else {
            return refuse(status(461, request));
        };
        let lower = carrier.lower();
        if self.session.is_none() {
            self.begin(request, user, lower, service)?;
        }
        let Some(session) = &mut self.session else { return refuse(status(500, request)) };
        let start = random_start();
        let sender = Sender::new(track, payload_type(track.kind, position), channels, start);
        let (transport, link) = match carrier {
            Carrier::Interleaved => {
                let transport = Transport { interleaved: Some(channels), ..Transport::tcp(channels.0) };
                (Transport { ssrc: Some(start.ssrc), ..transport }, None)
            }
            Carrier::Datagrams(link) => (datagram_transport(&link, start.ssrc), Some(*link)),
        };
        session.set_up(position, sender, &request.uri, link);
        let header = SessionHeader { id: session.identity.id.clone(), timeout_s: Some(SESSION_TIMEOUT_S) };
        Ok(ok(request).header("Transport", transport.to_text()).header("Session", header.to_text()))
    }

    /// What carries the track at `position`, and its channels: the first transport offered that can be had. `chosen`
    /// is what the session has already; one session does not mix them.
    fn carrier(
        &self,
        request: &Request,
        position: usize,
        chosen: Option<LowerTransport>,
        accepted: Transports,
    ) -> Option<(Carrier, (u8, u8))> {
        let offers = request.headers.all("Transport").flat_map(Transport::parse_all);
        let mut offers = offers
            .filter(|offer| !offer.multicast && chosen.is_none_or(|chosen| chosen == offer.lower))
            .filter(|offer| accepted.include(offer.lower))
            .filter_map(|offer| match offer.lower {
                LowerTransport::Tcp => {
                    let free = match &self.session {
                        Some(session) => session.channels(position, offer.interleaved),
                        None => match offer.interleaved {
                            Some((rtp, rtcp)) if rtp == rtcp => None,
                            Some(asked) => Some(asked),
                            None => Some((0, 1)),
                        },
                    };
                    Some((Carrier::Interleaved, free?))
                }
                LowerTransport::Udp => {
                    let link = self.link(offer.client_port?)?;
                    Some((Carrier::Datagrams(Box::new(link)), Datagrams::channels(position)))
                }
            });
        offers.next()
    }

    /// Sockets to the client's ports.
    fn link(&self, client_port: (u16, u16)) -> Option<Link> {
        let Ends { peer, local, secure } = self.ends;
        // What was asked for in secret is not sent in the clear.
        if secure || client_port.0 == 0 || client_port.1 == 0 || client_port.0 == client_port.1 {
            return None;
        }
        Link::open(local, peer, client_port, self.books.link()?).ok()
    }

    /// Makes the source that was opened a session.
    fn begin(
        &mut self,
        request: &Request,
        user: Option<String>,
        lower: LowerTransport,
        service: &dyn Service,
    ) -> Result<(), Stop> {
        let Some(opened) = self.opened.take() else { return refuse(status(455, request)) };
        let (ticket, count) = self.books.enter(&opened.path);
        let refused = service.quirks(&opened.path).refuse_session;
        if refused.is_some_and(|refused| count >= u32::from(refused.get())) {
            return refuse(status(453, request));
        }
        let id = format!("{:016X}", chance::draw());
        let identity = Identity { id, user, path: opened.path, _ticket: ticket };
        self.session = Some(Session::new(identity, opened.source, opened.tracks, lower));
        Ok(())
    }

    fn play(&mut self, now: Instant, request: &Request) -> Result<Response, Stop> {
        let Some(session) = &mut self.session else { return refuse(status(455, request)) };
        check_replay(request, session.delivery())?;
        let asked =
            PlayRequest::read(request).map_err(|error| Stop::Refused(status(error.status(), request)))?;
        let keeps = session.state() == State::Playing && !changes(request);
        let response = ok(request).header("Session", &session.identity.id);
        if keeps {
            // A client that asks again, as some do to keep the session, gets what it has.
            return Ok(with_range(response, session));
        }
        if session.delivery() == Delivery::Complete {
            check_direction(request, &asked)?;
        }
        match session.play(now, &asked) {
            Ok(answer) => {
                let info = write_rtp_info(&session.rtp_info(now));
                let response = with_range(response, session).header("RTP-Info", info);
                let scaled = request.headers.first(SCALE).is_some();
                Ok(if scaled { response.header(SCALE, answer.scale.to_string()) } else { response })
            }
            Err(error) => {
                let response = status(error.status(), request);
                refuse(match error {
                    PlayError::Unsupported => response.header("Unsupported", REPLAY_FEATURE),
                    PlayError::InvalidRange
                    | PlayError::Scale
                    | PlayError::Forbidden
                    | PlayError::Busy
                    | PlayError::Unavailable => response,
                })
            }
        }
    }

    fn pause(&mut self, request: &Request) -> Result<Response, Stop> {
        let Some(session) = &mut self.session else { return refuse(status(454, request)) };
        if session.granted().is_none() {
            return refuse(status(455, request));
        }
        if session.state() == State::Playing {
            session.pause();
        }
        Ok(ok(request).header("Session", &session.identity.id))
    }
}

/// Why a request is not done.
enum Stop {
    /// It is answered.
    Refused(Response),
    /// It is answered, and the connection ends.
    TooMany(Response),
}

/// What carries a track.
enum Carrier {
    Interleaved,
    Datagrams(Box<Link>),
}

impl Carrier {
    fn lower(&self) -> LowerTransport {
        match self {
            Self::Interleaved => LowerTransport::Tcp,
            Self::Datagrams(_) => LowerTransport::Udp,
        }
    }
}

/// Refuses `onvif-replay` where there is none: a client that insists must not be given the present.
fn check_replay(request: &Request, delivery: Delivery) -> Result<(), Stop> {
    match delivery {
        Delivery::Live if required_features(&request.headers).any(is_replay) => {
            refuse(status(551, request).header("Unsupported", REPLAY_FEATURE))
        }
        Delivery::Live | Delivery::Complete => Ok(()),
    }
}

/// ONVIF Streaming, "Range header field": the direction of the range is that of the scale.
fn check_direction(request: &Request, asked: &PlayRequest) -> Result<(), Stop> {
    let closed = asked.range.filter(|range| range.to.is_some_and(|to| to != range.from));
    match closed {
        Some(range) if range.is_reversed() != asked.scale.is_reverse() => refuse(status(457, request)),
        Some(_) | None => Ok(()),
    }
}

fn is_replay(feature: &str) -> bool {
    feature.eq_ignore_ascii_case(REPLAY_FEATURE)
}

/// Whether a `PLAY` asks for anything.
fn changes(request: &Request) -> bool {
    [RANGE, RATE_CONTROL, FRAMES, IMMEDIATE, SCALE].iter().any(|name| request.headers.first(name).is_some())
}

/// `response` with what is played. RFC 2326 §3.6: the present is `npt=now-`, to players that count in `npt` or say
/// nothing; one that asked in absolute time has been told by the source what time it is (§12.29).
fn with_range(response: Response, session: &Session) -> Response {
    match (session.granted().and_then(|granted| granted.range), session.delivery()) {
        (Some(range), _) => response.header("Range", range.to_string()),
        (None, Delivery::Live) => response.header("Range", "npt=now-"),
        (None, Delivery::Complete) => response,
    }
}

/// The response with another sequence number than the request had.
fn out_of_sequence(response: Response) -> Response {
    let wrong = Response::new(response.status, Some(response.cseq().unwrap_or(0).wrapping_add(1)));
    let headers = response.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("CSeq"));
    let wrong = headers.fold(wrong, |wrong, (name, value)| wrong.header(name, value));
    Response { body: response.body, ..wrong }
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

fn refuse<T>(response: Response) -> Result<T, Stop> {
    Err(Stop::Refused(response))
}
