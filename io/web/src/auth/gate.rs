//! The gate before every route: nothing passes that does not prove who it is from, except what is open to everybody.

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, COOKIE, UPGRADE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::credential::{Credential, TOKEN_CHARS, TOKEN_TEXT_BYTES_MAX};
use super::tokens::PREFIX;
use super::{Auth, Identity, Via};
use crate::hash::Hash256;
use crate::origin::{Source, is_safe, source};
use crate::{Channel, Peer, Problem};

/// What the gate knows.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    /// Who may pass.
    pub(crate) auth: Auth,
    /// What anybody may ask for: method and exact path.
    pub(crate) open: std::sync::Arc<[(Method, &'static str)]>,
    /// Whether there is a console, whose files are open to everybody.
    pub(crate) has_console: bool,
}

impl Gate {
    fn is_open(&self, method: &Method, path: &str) -> bool {
        // A route for GET answers HEAD as well.
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        let console = self.has_console && *method == Method::GET && crate::assets::is_asset(path);
        console || self.open.iter().any(|(open, place)| open == method && *place == path)
    }
}

/// Lets a request pass when it proves who it is from, or needs not; everything else is refused here, routes that do
/// not exist included.
pub(crate) async fn gate(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    if !gate.is_open(request.method(), request.uri().path()) {
        match identify(&gate.auth, &request) {
            Ok(identity) => {
                request.extensions_mut().insert(identity);
                request.extensions_mut().insert(gate.auth);
            }
            Err(problem) => return refuse(problem),
        }
    }
    next.run(request).await
}

/// Whether a request for something open to everybody would pass elsewhere, too.
pub(super) fn passes(auth: &Auth, request: &Request) -> bool {
    identify(auth, request).is_ok()
}

fn refuse(problem: Problem) -> Response {
    let unauthorized = problem.status() == StatusCode::UNAUTHORIZED;
    let mut response = problem.into_response();
    if unauthorized {
        response
            .headers_mut()
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"keepwatch\""));
    }
    response
}

/// Who sends `request`. What it shows first must hold: a bad bearer token is not saved by a good cookie.
fn identify(auth: &Auth, request: &Request) -> Result<Identity, Problem> {
    let headers = request.headers();
    let channel = request.extensions().get::<Channel>().copied().unwrap_or(Channel::Plain);
    if let Some(value) = headers.get(AUTHORIZATION) {
        let token = bearer(value).ok_or_else(|| {
            Problem::unauthorized(
                "the Authorization header is not understood; send: Authorization: Bearer TOKEN",
            )
        })?;
        return auth.identify(token, Via::Bearer);
    }
    if let Some(token) = cookie(headers, channel) {
        if must_be_same_origin(request) && source(headers) != Source::Same {
            return Err(Problem::forbidden(
                "cross_origin",
                "a request that changes something or opens a socket by the session cookie must come from the node's \
                 own page; a program sends the token as Authorization: Bearer instead",
            ));
        }
        return auth.identify(token, Via::Cookie);
    }
    if let Some(identity) = request.extensions().get::<Peer>().and_then(Peer::administrator) {
        return Ok(identity);
    }
    Err(Problem::unauthorized(
        "log in with POST /api/v1/login and send the token as Authorization: Bearer TOKEN",
    ))
}

/// Whether a cookie is not enough. A WebSocket is opened by GET from any page, and the browser lets that page read it
/// (RFC 6455 §10.2): the server must look where it comes from.
fn must_be_same_origin(request: &Request) -> bool {
    !is_safe(request.method()) || request.headers().contains_key(UPGRADE)
}

impl Auth {
    /// Whom a token stands for; keeps a session alive.
    fn identify(&self, token: &str, via: Via) -> Result<Identity, Problem> {
        let ended = || {
            Problem::unauthorized("the session has ended or never was; log in again with POST /api/v1/login")
        };
        if token.len() > TOKEN_TEXT_BYTES_MAX {
            return Err(ended());
        }
        let key = Hash256::of_text(token);
        // The token of a session may begin so by chance, but it is shorter.
        if token.len() > TOKEN_CHARS && token.starts_with(PREFIX) && via == Via::Bearer {
            let (user, grants) = self.shared.users.token(&key, self.now().wall).ok_or_else(|| {
                Problem::unauthorized("the token was revoked, has run out or never was; make another")
            })?;
            return Ok(Identity { user, grants, via: Via::Token, credential: Credential::Token(key) });
        }
        let user = self.sessions().touch(&key, self.now()).ok_or_else(ended)?;
        let grants = self.shared.users.grants(&user).ok_or_else(ended)?;
        Ok(Identity { user, grants, via, credential: Credential::Session(key) })
    }
}

#[cfg(test)]
impl Auth {
    /// Whom a bearer token stands for.
    pub(crate) fn identify_for_test(&self, token: &str) -> Identity {
        self.identify(token, Via::Bearer).unwrap()
    }
}

/// The token of an `Authorization` header (RFC 6750 §2.1).
fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The value of the session cookie (RFC 6265 §4.2).
fn cookie(headers: &HeaderMap, channel: Channel) -> Option<&str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == channel.cookie_name())
        .map(|(_, value)| value)
}
