//! The device side of ONVIF: a camera's or recorder's services for Profile S and Profile G, driven by a trait.
//!
//! [`Device`] answers requests and knows no sockets; [`DeviceServer`] is the HTTP server around it, and
//! [`discovery`] makes the device found. What the device is comes from a [`Backend`]; who may ask, how long sessions
//! live, and how much of anything there may be is decided here.

pub mod backend;
mod call;
pub mod discovery;
mod events;
mod fault;
mod fuzz;
mod gate;
mod history;
mod management;
mod media;
mod media2;
mod origin;
mod patient;
mod pull;
mod recording;
mod replay;
mod search;
mod server;
mod service;
mod session;
#[cfg(test)]
mod tests;
mod topic;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

pub use backend::Backend;
#[doc(hidden)]
pub use fuzz::answer_requests;
pub use origin::Reached;
pub use server::{DeviceServer, ServeError};

use crate::soap::{self, Envelope, Header};
use crate::xml::{Limits, Writer};
use call::{Call, Reply};
use fault::Fault;
use gate::{Gate, Login};
use origin::Origin;
use pull::PullPoints;
use service::{Class, Service};
use session::Sessions;

/// Longest request that is read, in bytes: the longest of a client names a thousand recordings.
pub const REQUEST_BYTES_MAX: usize = 256 * 1024;

/// Live streams that are told.
const PROFILES_MAX: usize = 64;

/// Subscriptions at a time: each recorder and each console holds one.
const PULL_POINTS_MAX: usize = 32;

/// The path of subscriptions; the id follows.
const SUBSCRIPTION_PATH: &str = "/onvif/subscription/";

/// The path of pictures; the token of the profile follows, percent-encoded.
const SNAPSHOT_PATH: &str = "/onvif/snapshot/";

/// How long one request may take in all: the longest wait that a client may ask for, and then some.
const REQUEST_PATIENCE: Duration = Duration::from_secs(90);

/// How a request is read: less than an answer, as requests are small.
const LIMITS: Limits = Limits { bytes: REQUEST_BYTES_MAX, depth: 32, elements: 5_000, attributes: 32 };

/// A device: request in, response out.
pub struct Device {
    backend: Arc<dyn Backend>,
    gate: Gate,
    points: PullPoints,
    sessions: Sessions,
    chance: fn() -> [u8; 32],
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device").finish_non_exhaustive()
    }
}

impl Device {
    /// A device that is what `backend` says.
    pub fn new(backend: Arc<dyn Backend>) -> Self {
        let chance = || {
            let mut bytes = [0; 32];
            getrandom::fill(&mut bytes).expect("Linux gives random bytes to every process");
            bytes
        };
        Self {
            backend,
            gate: Gate::new(chance()),
            points: PullPoints::default(),
            sessions: Sessions::default(),
            chance,
        }
    }

    /// What it is.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// Ends the sessions and subscriptions whose clients are silent. Requests do so too; this is for a device that
    /// nobody asks any more.
    pub fn expire(&self) {
        self.sessions.expire();
        self.points.expire();
    }

    /// Answers one request, whatever it is; takes as long as the client asked to wait, but not for ever.
    pub async fn handle(&self, request: &Request<Bytes>, reached: Reached) -> Response<Bytes> {
        match tokio::time::timeout(REQUEST_PATIENCE, self.respond(request, reached)).await {
            Ok(response) => response,
            Err(_) => self.refuse(Fault::failed("the device could not answer in time"), false, None),
        }
    }

    async fn respond(&self, request: &Request<Bytes>, reached: Reached) -> Response<Bytes> {
        let path = request.uri().path();
        let origin = Origin::new(reached, text_of(request.headers(), header::HOST));
        if request.method() == Method::GET {
            return match path.strip_prefix(SNAPSHOT_PATH) {
                Some(token) => self.picture(request, token).await,
                None => plain(StatusCode::NOT_FOUND, "ONVIF is asked by POST"),
            };
        }
        if request.method() != Method::POST {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "ONVIF is asked by POST");
        }
        if !path.starts_with("/onvif/") {
            return plain(
                StatusCode::NOT_FOUND,
                "the services are below /onvif/; begin with /onvif/device_service",
            );
        }
        let envelope = match Envelope::parse_within(request.body(), &LIMITS) {
            Ok(envelope) => envelope,
            Err(error) => return self.refuse(Fault::malformed(error.to_string()), false, None),
        };
        match self.answer(request, &origin, &envelope).await {
            Ok(body) => self.envelope(StatusCode::OK, Some(&envelope), |writer| writer.append(&body)),
            Err((fault, stale)) => self.refuse(fault, stale, Some(&envelope)),
        }
    }

    /// The content of the body, or a fault and whether the login was only too old.
    async fn answer(
        &self,
        request: &Request<Bytes>,
        origin: &Origin,
        envelope: &Envelope,
    ) -> Result<Writer, (Fault, bool)> {
        let operation = envelope.operation();
        let operation = operation.ok_or_else(|| (Fault::malformed("the body is empty"), false))?;
        let service = Service::of(&*self.backend, operation);
        let class = service.map(|service| service.class(&operation.name));
        if class != Some(Class::Open) {
            let level = self.admit(request, envelope.token.as_ref())?;
            if let (Some(Class::Needs(needed)), Some(level)) = (class, level)
                && level < needed
            {
                let reason = format!("this is for users of level {} or above", needed.as_str());
                return Err((Fault::not_authorized(reason), false));
            }
        }
        let unknown = || {
            let namespace = operation.namespace.as_deref().unwrap_or_default();
            Fault::not_supported(format!(
                "this device has no service {namespace:?} with {:?}",
                operation.name
            ))
        };
        let service = service.ok_or_else(|| (unknown(), false))?;
        let path = request.uri().path();
        let call = Call { backend: &*self.backend, origin, operation, path };
        self.dispatch(service, &call).await.map_err(|fault| (fault, false))
    }

    async fn dispatch(&self, service: Service, call: &Call<'_>) -> Reply {
        match service {
            Service::Device => management::answer(call),
            Service::Media => media::answer(call),
            Service::Media2 => media2::answer(call),
            Service::Events => events::answer(call, &self.points, || self.token()).await,
            Service::Recording => recording::answer(call).await,
            Service::Search => search::answer(call, &self.backend, &self.sessions, || self.token()).await,
            Service::Replay => replay::answer(call),
        }
    }

    /// A name that nobody can guess.
    fn token(&self) -> String {
        (self.chance)().iter().take(12).map(|byte| format!("{byte:02x}")).collect()
    }

    fn admit(
        &self,
        request: &Request<Bytes>,
        token: Option<&Result<crate::security::UsernameToken, crate::security::TokenError>>,
    ) -> Result<Option<backend::UserLevel>, (Fault, bool)> {
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let login = Login {
            method: request.method().as_str(),
            target,
            authorization: text_of(request.headers(), header::AUTHORIZATION),
            token,
        };
        let admitted = self.gate.admit(&self.backend.access(), login, self.backend.now());
        admitted.map_err(|denied| (Fault::not_authorized(denied.reason), denied.stale))
    }

    async fn picture(&self, request: &Request<Bytes>, token: &str) -> Response<Bytes> {
        if let Err((fault, stale)) = self.admit(request, None) {
            let mut response = plain(StatusCode::UNAUTHORIZED, &fault.soap.reason);
            self.challenge(response.headers_mut(), stale);
            return response;
        }
        let Some(token) = management::percent_decoded(token) else {
            return plain(StatusCode::NOT_FOUND, "there is no such profile");
        };
        match call::wait(self.backend.snapshot(&token), "NoProfile").await {
            Ok(picture) => {
                let mut response = Response::new(picture);
                response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("image/jpeg"));
                response
            }
            Err(fault) if fault.status == 400 => plain(StatusCode::NOT_FOUND, &fault.soap.reason),
            Err(fault) => plain(StatusCode::SERVICE_UNAVAILABLE, &fault.soap.reason),
        }
    }

    fn refuse(&self, fault: Fault, stale: bool, question: Option<&Envelope>) -> Response<Bytes> {
        let status = StatusCode::from_u16(fault.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = self.envelope(status, question, |writer| fault.soap.write(writer));
        if status == StatusCode::UNAUTHORIZED {
            self.challenge(response.headers_mut(), stale);
        }
        response
    }

    fn challenge(&self, headers: &mut HeaderMap, stale: bool) {
        let [a, b, c, d, e, f, g, h, ..] = (self.chance)();
        for challenge in self.gate.challenges([a, b, c, d, e, f, g, h], stale) {
            if let Ok(value) = HeaderValue::from_str(&challenge) {
                headers.append(header::WWW_AUTHENTICATE, value);
            }
        }
    }

    fn envelope(
        &self,
        status: StatusCode,
        question: Option<&Envelope>,
        body: impl FnOnce(&mut Writer),
    ) -> Response<Bytes> {
        // WS-Addressing is used where the client uses it: with pull points.
        let relates_to = question.and_then(|question| question.message_id.as_deref());
        let action = question.and_then(|question| question.action.as_deref());
        let action = action.filter(|_| status == StatusCode::OK).map(answer_action);
        let header = Header { action: action.as_deref(), relates_to, ..Header::default() };
        let text = soap::write(&header, body);
        let mut response = Response::new(Bytes::from(text));
        *response.status_mut() = status;
        let kind = HeaderValue::from_static("application/soap+xml; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}

/// The action of an answer: that of the question, with `Response` where it says `Request` or nothing.
fn answer_action(question: &str) -> String {
    let stem = question.strip_suffix("Request").unwrap_or(question);
    format!("{stem}Response")
}

/// The text of a header; `None` when it is missing or no text.
fn text_of(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn plain(status: StatusCode, text: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::copy_from_slice(text.as_bytes()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
