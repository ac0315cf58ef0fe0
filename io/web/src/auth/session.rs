//! Sessions over HTTP: who one is, logging out, one's own password, and the sessions there are.

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use keepwatch_model::WallTime;
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use super::account::fit_password;
use super::credential::Credential;
use super::users::hash_or_problem;
use super::{Auth, Caller, Identity, Role};
use crate::audit::Action;
use crate::hash::Hash256;
use crate::layers::Small;
use crate::{Access, Channel, Page, Problem, Routes};

pub(super) fn routes() -> Routes<Auth> {
    Routes::new()
        .post("/api/v1/logout", Access::User, log_out)
        .get("/api/v1/session", Access::User, who)
        .put("/api/v1/session/password", Access::User, change_password)
        .get("/api/v1/sessions", Access::User, list)
        .delete("/api/v1/sessions/{id}", Access::User, end)
}

/// The description of these routes.
#[derive(OpenApi)]
#[openapi(paths(who, log_out, change_password, list, end))]
pub(super) struct Description;

#[derive(Serialize, ToSchema)]
/// A session.
#[schema(as = Session)]
struct SessionLine {
    /// Its id; says nothing about its token.
    id: String,
    /// Whose it is.
    user: String,
    /// Where the login came from.
    from: String,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    began: WallTime,
    /// When it was used last.
    #[schema(value_type = String, format = DateTime)]
    used: WallTime,
    /// Whether it is the one that asks.
    current: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
/// A change of one's password.
#[schema(as = PasswordBody)]
struct PasswordRequest {
    /// The one that holds.
    old: String,
    /// The one that is to hold: 12 to 1,024 bytes, and not the name of the user.
    new: String,
}

/// Who one is.
#[utoipa::path(get, path = "/api/v1/session", operation_id = "session", tag = "users",
    responses((status = 200, body = Identity)))]
async fn who(caller: Caller) -> Json<Identity> {
    Json(caller.identity)
}

/// Ends the session that asks.
#[utoipa::path(post, path = "/api/v1/logout", operation_id = "logOut", tag = "users", responses((status = 204)))]
async fn log_out(
    State(auth): State<Auth>,
    Extension(channel): Extension<Channel>,
    caller: Caller,
) -> Response {
    if let Credential::Session(key) = &caller.identity.credential {
        auth.sessions().end(key);
        auth.changed();
        let object = format!("user:{}", caller.identity.user);
        // That somebody left need not be on disk before they may.
        drop(auth.audit().enter(&caller.identity, &caller.peer, Action::LoggedOut, object, ""));
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert(SET_COOKIE, HeaderValue::from_static(channel.no_cookie()));
    response
}

/// Changes one's password, and ends all other sessions of one's own.
#[utoipa::path(put, path = "/api/v1/session/password", operation_id = "changePassword", tag = "users",
    request_body = PasswordRequest, responses((status = 204)))]
async fn change_password(
    State(auth): State<Auth>,
    caller: Caller,
    _headers: HeaderMap,
    body: Small,
) -> Result<StatusCode, Problem> {
    let PasswordRequest { old, new } =
        body.json("password_malformed", "{\"old\": \"...\", \"new\": \"...\"}").await?;
    let Credential::Session(own) = caller.identity.credential else {
        return Err(Problem::forbidden("session_needed", "a password is changed in a session; log in first"));
    };
    let user = caller.identity.user.clone();
    fit_password("new", &user, &new)?;
    auth.audit().require_working()?;
    let Some(checked) = auth.check_password(&caller.peer, &user, old).await? else {
        return Err(Problem::forbidden("password_wrong", "the old password is not right; check it"));
    };
    let hashed = auth.costly(move || hash_or_problem(&new)).await??;
    let (name, kept) = (user.clone(), auth.clone());
    auth.change_users(move |book| {
        // Between the check and this moment somebody else may have changed it.
        let holds = kept.shared.users.admit(&name, &checked).is_some();
        let found = book.users.get_mut(&name).filter(|_| holds);
        let Some(found) = found else {
            return Err(Problem::conflict(
                "password_changed",
                "the password was changed meanwhile; log in anew",
            ));
        };
        found.password = hashed;
        Ok(())
    })
    .await?;
    auth.end_sessions(&user, Some(&own));
    let object = format!("user:{user}");
    let receipt = auth.audit().enter(&caller.identity, &caller.peer, Action::PasswordChanged, object, "");
    receipt.durable().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// One's sessions; all, for an administrator.
#[utoipa::path(get, path = "/api/v1/sessions", operation_id = "sessions", tag = "users",
    responses((status = 200, body = Page<SessionLine>)))]
async fn list(State(auth): State<Auth>, caller: Caller) -> Json<Page<SessionLine>> {
    let identity = &caller.identity;
    let now = auth.now().mono;
    let line = |(key, session): (&Hash256, &super::sessions::Session)| SessionLine {
        id: key.id(),
        user: session.user.clone(),
        from: session.from.clone(),
        began: session.began,
        used: session.used.wall,
        current: identity.credential == Credential::Session(*key),
    };
    let sessions = auth.sessions();
    let seen = sessions.all(now).filter(|(_, session)| identity.sees(&session.user));
    Json(Page::whole(seen.map(line).collect()))
}

/// Ends a session.
#[utoipa::path(delete, path = "/api/v1/sessions/{id}", operation_id = "endSession", tag = "users",
    params(("id" = String, Path, description = "The session.")), responses((status = 204)))]
async fn end(
    State(auth): State<Auth>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    auth.audit().require_working()?;
    let identity = &caller.identity;
    let ended = {
        let now = auth.now().mono;
        let mut sessions = auth.sessions();
        let found = sessions.all(now).find(|(key, session)| key.id() == id && identity.sees(&session.user));
        let key = found.map(|(key, _)| *key);
        key.and_then(|key| sessions.end(&key))
    };
    let Some(user) = ended else {
        return Err(Problem::not_found(
            "session_unknown",
            "no such session; GET /api/v1/sessions lists them",
        ));
    };
    auth.changed();
    let object = format!("user:{user}");
    let receipt =
        auth.audit().enter(identity, &caller.peer, Action::SessionEnded, object, format!("session {id}"));
    receipt.durable().await?;
    Ok(StatusCode::NO_CONTENT)
}

impl Identity {
    /// Whether sessions and tokens of `user` concern this one: their own, and everybody's for an administrator.
    pub(super) fn sees(&self, user: &str) -> bool {
        self.user == user || self.grants.role == Some(Role::Administrator)
    }
}

impl Auth {
    /// Ends the sessions of `user` but `kept`.
    pub(super) fn end_sessions(&self, user: &str, kept: Option<&Hash256>) {
        self.sessions().end_of(user, kept);
        self.changed();
    }
}
