//! Logging in: `POST /login`, and the answer that every way to a session gives.

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use super::{Auth, Grants, LoginOutcome, LoginRecord};
use crate::audit::Action;
use crate::layers::Small;
use crate::origin::{Source, source};
use crate::{Access, Channel, Peer, Problem, Routes};

/// Largest body of a login: the longest user and password, every byte escaped.
pub(super) const LOGIN_BYTES_MAX: usize = 8 * 1024;

pub(super) fn routes() -> Routes<Auth> {
    Routes::new().post("/api/v1/login", Access::Open, login)
}

/// The description of these routes.
#[derive(OpenApi)]
#[openapi(paths(login))]
pub(super) struct Description;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
/// A login.
#[schema(as = LoginBody)]
struct LoginRequest {
    /// The user.
    user: String,
    /// Their password.
    password: String,
}

#[derive(Serialize, ToSchema)]
/// A session that began.
#[schema(as = Login)]
pub(super) struct LoginResponse {
    /// Sent as `Authorization: Bearer` with each request of a program; pages have a cookie.
    token: String,
    /// The user.
    user: String,
    #[serde(flatten)]
    #[schema(value_type = super::role::GrantsShown)]
    grants: Grants,
}

/// A session that began.
pub(super) struct Begun {
    token: String,
    user: String,
    grants: Grants,
}

/// Refuses what a page of another origin sends: it must not log anybody in here.
pub(super) fn refuse_other_origin(headers: &HeaderMap) -> Result<(), Problem> {
    if source(headers) == Source::Other {
        return Err(Problem::forbidden("cross_origin", "a page of another origin cannot log in here"));
    }
    Ok(())
}

/// Begins a session.
#[utoipa::path(post, path = "/api/v1/login", operation_id = "logIn", tag = "users", security(()),
    request_body = LoginRequest, responses((status = 200, body = LoginResponse)))]
async fn login(
    State(auth): State<Auth>,
    Extension(peer): Extension<Peer>,
    Extension(channel): Extension<Channel>,
    headers: HeaderMap,
    body: Small<LOGIN_BYTES_MAX>,
) -> Result<Response, Problem> {
    refuse_other_origin(&headers)?;
    let LoginRequest { user, password } =
        body.json("login_malformed", "{\"user\": \"...\", \"password\": \"...\"}").await?;
    auth.log_in(&peer, user, password).await?.answer(channel)
}

/// No such user, or not this password: which of the two is told to nobody.
pub(super) fn login_refused() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "login_refused",
        "The login was refused",
        "there is no such user, or the password is not theirs; check both",
    )
}

impl Auth {
    /// Checks a password and begins a session.
    async fn log_in(&self, peer: &Peer, user: String, password: String) -> Result<Begun, Problem> {
        let checked = self.check_password(peer, &user, password).await?;
        // What was checked must still hold, and no session begins for a user who is being removed: the lock that a
        // removal ends sessions under is held.
        let begun = {
            let mut sessions = self.sessions();
            let grants = checked.and_then(|checked| self.shared.users.admit(&user, &checked));
            match grants {
                Some(grants) => Some((sessions.begin(&user, peer.to_string(), self.now())?, grants)),
                None => None,
            }
        };
        let Some((token, grants)) = begun else {
            self.refused(&user, "password", peer);
            return Err(login_refused());
        };
        self.tell(&user, peer, LoginOutcome::Succeeded);
        let object = format!("user:{user}");
        let receipt = self.audit().enter_as(&user, "password", peer, Action::LoggedIn, object, String::new());
        // A log that cannot be written must not lock out who is to mend it.
        let _on_record = receipt.durable().await;
        Ok(Begun { token, user, grants })
    }

    /// Tells that a login, or a setup, was refused.
    pub(super) fn refused(&self, user: &str, via: &str, peer: &Peer) {
        self.tell(user, peer, LoginOutcome::Refused);
        self.audit().refused(user, via, peer);
    }

    pub(super) fn tell(&self, user: &str, peer: &Peer, outcome: LoginOutcome) {
        self.shared.watcher.login(&LoginRecord { user: user.to_owned(), peer: peer.clone(), outcome });
    }

    /// Begins a session for a user who was made this moment.
    pub(super) fn begin(&self, peer: &Peer, user: &str) -> Result<Begun, Problem> {
        let grants = self.shared.users.grants(user).unwrap_or_default();
        let token = self.sessions().begin(user, peer.to_string(), self.now())?;
        Ok(Begun { token, user: user.to_owned(), grants })
    }
}

impl Begun {
    /// The answer: the token for programs, the cookie for browsers.
    pub(super) fn answer(self, channel: Channel) -> Result<Response, Problem> {
        let Self { token, user, grants } = self;
        let cookie = HeaderValue::from_str(&channel.cookie(&token))
            .map_err(|_| Problem::internal("the cookie has no header form"))?;
        let mut response = Json(LoginResponse { token, user, grants }).into_response();
        response.headers_mut().insert(SET_COOKIE, cookie);
        Ok(response)
    }
}
