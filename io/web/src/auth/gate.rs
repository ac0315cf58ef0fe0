//! The gate before every route, and the three routes of its own: login, logout, session.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, SET_COOKIE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::{Auth, Identity, Role, Via};
use crate::layers::{is_json, read_small};
use crate::origin::{Source, is_safe, source};
use crate::{Peer, Problem};

const HEALTH: &str = "/api/v1/health";
const LOGIN: &str = "/api/v1/login";
const LOGOUT: &str = "/api/v1/logout";
const SESSION: &str = "/api/v1/session";

/// Name of the session cookie.
const COOKIE_NAME: &str = "keepwatch_session";

/// Largest body of a login: the longest user and password, every byte escaped.
const LOGIN_BYTES_MAX: usize = 8 * 1024;

/// How long the body of a login may take: whoever sends it has not yet shown who they are.
const LOGIN_PATIENCE: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoginRequest {
    user: String,
    password: String,
}

#[derive(Serialize)]
struct LoginResponse {
    token: String,
    user: String,
    role: Role,
}

/// The token that a request carries; tells the logout route what to end.
#[derive(Clone)]
struct Token(String);

/// The routes that the gate itself answers.
pub(crate) fn routes(auth: Auth) -> Router {
    Router::new()
        .route(LOGIN, post(login))
        .route(LOGOUT, post(logout))
        .route(SESSION, get(session))
        .with_state(auth)
}

/// Lets a request pass when it proves who it is from, or needs not; everything else is refused here, routes that do
/// not exist included.
pub(crate) async fn gate(State(auth): State<Auth>, mut request: Request, next: Next) -> Response {
    let open = match request.uri().path() {
        HEALTH => request.method() == Method::GET || request.method() == Method::HEAD,
        LOGIN => request.method() == Method::POST,
        _ => false,
    };
    if !open {
        match identify(&auth, &request) {
            Ok((identity, token)) => {
                request.extensions_mut().insert(identity);
                if let Some(token) = token {
                    request.extensions_mut().insert(token);
                }
            }
            Err(problem) => return refuse(problem),
        }
    }
    next.run(request).await
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
fn identify(auth: &Auth, request: &Request) -> Result<(Identity, Option<Token>), Problem> {
    let headers = request.headers();
    if let Some(value) = headers.get(AUTHORIZATION) {
        let token = bearer(value).ok_or_else(|| {
            Problem::unauthorized(
                "the Authorization header is not understood; send: Authorization: Bearer TOKEN",
            )
        })?;
        return with_session(auth, token, Via::Bearer);
    }
    if let Some(token) = cookie(headers) {
        if !is_safe(request.method()) && source(headers) != Source::Same {
            return Err(Problem::forbidden(
                "cross_origin",
                "a request that changes something by the session cookie must come from the node's own page; \
                 a program sends the token as Authorization: Bearer instead",
            ));
        }
        return with_session(auth, token, Via::Cookie);
    }
    if let Some(identity) = request.extensions().get::<Peer>().and_then(Peer::administrator) {
        return Ok((identity, None));
    }
    Err(Problem::unauthorized(
        "log in with POST /api/v1/login and send the token as Authorization: Bearer TOKEN",
    ))
}

fn with_session(auth: &Auth, token: &str, via: Via) -> Result<(Identity, Option<Token>), Problem> {
    match auth.identify(token, via) {
        Some(identity) => Ok((identity, Some(Token(token.to_owned())))),
        None => Err(Problem::unauthorized(
            "the session has ended or never was; log in again with POST /api/v1/login",
        )),
    }
}

/// The token of an `Authorization` header (RFC 6750 §2.1).
fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The value of the session cookie (RFC 6265 §4.2).
fn cookie(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE_NAME)
        .map(|(_, value)| value)
}

async fn login(
    State(auth): State<Auth>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    if source(&headers) == Source::Other {
        return Err(Problem::forbidden("cross_origin", "a page of another origin cannot log in here"));
    }
    // A form of another site can be sent without asking the server first; JSON cannot.
    if !is_json(headers.get(CONTENT_TYPE)) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "The body has the wrong media type",
            "send Content-Type: application/json",
        ));
    }
    let body = read_small(body, LOGIN_BYTES_MAX, LOGIN_PATIENCE).await?;
    let request: LoginRequest = serde_json::from_slice(&body).map_err(|error| {
        // The text of the error can quote the body, and the body holds a password.
        let place = format!("line {} column {}", error.line(), error.column());
        Problem::bad_request(
            "login_malformed",
            format!("at {place}: send {{\"user\": \"...\", \"password\": \"...\"}}"),
        )
    })?;
    let session = auth.login(&peer, request.user, request.password).await?;
    let cookie = format!("{COOKIE_NAME}={}; Path=/; HttpOnly; SameSite=Strict", session.token);
    let cookie =
        HeaderValue::from_str(&cookie).map_err(|_| Problem::internal("the cookie has no header form"))?;
    let answer = LoginResponse { token: session.token, user: session.user, role: session.role };
    let mut response = Json(answer).into_response();
    response.headers_mut().insert(SET_COOKIE, cookie);
    Ok(response)
}

async fn logout(State(auth): State<Auth>, token: Option<Extension<Token>>) -> Response {
    if let Some(Extension(Token(token))) = token {
        auth.logout(&token);
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    let gone = "keepwatch_session=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0";
    response.headers_mut().insert(SET_COOKIE, HeaderValue::from_static(gone));
    response
}

async fn session(Extension(identity): Extension<Identity>) -> Json<Identity> {
    Json(identity)
}
