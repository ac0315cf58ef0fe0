//! API tokens over HTTP: what a program shows instead of a password. Shown once, revocable, never more than its user.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use keepwatch_model::{CameraId, WallTime};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use super::account::{describe, fit_grants};
use super::credential::{Credential, invent_token};
use super::users::ApiToken;
use super::{Auth, Caller, Grants, Role};
use crate::audit::Action;
use crate::hash::Hash256;
use crate::layers::Small;
use crate::{Access, FieldError, Page, Problem, Routes};

/// What a token begins with, so that it is known where it does not belong, as in a source repository.
pub(super) const PREFIX: &str = "kw_";

/// Longest name of a token in characters.
const NAME_CHARS_MAX: usize = 100;

/// The form of a body.
const FORM: &str = "{\"name\": \"...\", \"expires\": TIME or null, \"role\": \"viewer\" or null, \"cameras\": {\"CAMERA\": \"viewer\"} or null}";

pub(super) fn routes() -> Routes<Auth> {
    Routes::new()
        .get("/api/v1/tokens", Access::User, list)
        .post("/api/v1/tokens", Access::User, create)
        .delete("/api/v1/tokens/{id}", Access::User, revoke)
}

/// The description of these routes.
#[derive(OpenApi)]
#[openapi(paths(list, create, revoke))]
pub(super) struct Description;

#[derive(Serialize, ToSchema)]
/// An API token.
#[schema(as = Token)]
struct TokenLine {
    /// Its id; says nothing about the token.
    id: String,
    /// What it is for.
    name: String,
    /// Whose it is.
    user: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created: WallTime,
    /// When it ends.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires: Option<WallTime>,
    /// Both `null` where it may all that its user may.
    role: Option<Role>,
    /// Roles at single cameras.
    #[schema(value_type = Option<BTreeMap<String, Role>>)]
    cameras: Option<BTreeMap<CameraId, Role>>,
}

#[derive(Serialize, ToSchema)]
/// An API token that was made.
#[schema(as = TokenCreated)]
struct Created {
    /// Shown this once.
    token: String,
    #[serde(flatten)]
    line: TokenLine,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
/// An API token to be made.
#[schema(as = TokenBody)]
struct Creation {
    /// What it is for.
    name: String,
    /// When it ends; `null` or left out, it does not.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires: Option<WallTime>,
    /// The role everywhere that it is limited to.
    role: Option<Role>,
    /// Roles at single cameras that it is limited to.
    #[schema(value_type = Option<BTreeMap<String, Role>>)]
    cameras: Option<BTreeMap<CameraId, Role>>,
}

/// One's API tokens; all, for an administrator.
#[utoipa::path(get, path = "/api/v1/tokens", operation_id = "tokens", tag = "users",
    responses((status = 200, body = Page<TokenLine>)))]
async fn list(State(auth): State<Auth>, caller: Caller) -> Json<Page<TokenLine>> {
    let lines = auth.shared.users.with(|book| {
        let seen = book.tokens.iter().filter(|(_, token)| caller.identity.sees(&token.user));
        seen.map(TokenLine::from).collect()
    });
    Json(Page::whole(lines))
}

/// Makes an API token, which is shown this once.
#[utoipa::path(post, path = "/api/v1/tokens", operation_id = "createToken", tag = "users",
    request_body = Creation, responses((status = 201, body = Created)))]
async fn create(
    State(auth): State<Auth>,
    caller: Caller,
    body: Small,
) -> Result<(StatusCode, Json<Created>), Problem> {
    let Creation { name, expires, role, cameras } = body.json("token_malformed", FORM).await?;
    let identity = &caller.identity;
    // A token that makes tokens would live on after it is revoked; a process has no account that one could belong to.
    let Credential::Session(_) = identity.credential else {
        return Err(Problem::forbidden("session_needed", "a token is made in a session; log in first"));
    };
    let now = auth.now().wall;
    fit(&name, expires, now)?;
    let limit = match (role, cameras) {
        (None, None) => None,
        (role, cameras) => Some(fit_grants(Grants { role, cameras: cameras.unwrap_or_default() })?),
    };
    if limit.as_ref().is_some_and(|limit| !identity.grants.covers(limit)) {
        let detail =
            format!("{} may less than that, and a token may at most what its user may", identity.user);
        return Err(Problem::forbidden("role_too_low", detail));
    }
    auth.audit().require_working()?;
    let token = format!("{PREFIX}{}", invent_token()?);
    let key = Hash256::of_text(&token);
    let kept = ApiToken { user: identity.user.clone(), name, created: now, expires, limit };
    let line = TokenLine::from((&key, &kept));
    let detail = kept.describe();
    auth.change_users(move |book| {
        if !book.users.contains_key(&kept.user) {
            return Err(Problem::unauthorized("the user was removed meanwhile"));
        }
        book.tokens.retain(|_, token| token.expires.is_none_or(|end| now < end));
        book.tokens.insert(key, kept);
        Ok(())
    })
    .await?;
    let object = format!("token:{}", line.id);
    let receipt = auth.audit().enter(identity, &caller.peer, Action::TokenCreated, object, detail);
    receipt.durable().await?;
    Ok((StatusCode::CREATED, Json(Created { token, line })))
}

/// Revokes an API token.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", operation_id = "revokeToken", tag = "users",
    params(("id" = String, Path, description = "The token.")), responses((status = 204)))]
async fn revoke(
    State(auth): State<Auth>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    auth.audit().require_working()?;
    let (identity, wanted) = (caller.identity.clone(), id.clone());
    let revoked = auth
        .change_users(move |book| {
            let found =
                book.tokens.iter().find(|(key, token)| key.id() == wanted && identity.sees(&token.user));
            let key = found.map(|(key, _)| *key);
            key.and_then(|key| book.tokens.remove(&key)).ok_or_else(|| {
                Problem::not_found("token_unknown", "no such token; GET /api/v1/tokens lists them")
            })
        })
        .await?;
    let (object, detail) = (format!("token:{id}"), revoked.describe());
    let receipt = auth.audit().enter(&caller.identity, &caller.peer, Action::TokenRevoked, object, detail);
    receipt.durable().await?;
    Ok(StatusCode::NO_CONTENT)
}

fn fit(name: &str, expires: Option<WallTime>, now: WallTime) -> Result<(), Problem> {
    let unfit =
        name.trim().is_empty() || name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control);
    if unfit {
        let detail = format!("write 1 to {NAME_CHARS_MAX} characters on one line");
        return Err(Problem::invalid(vec![FieldError::new("name", detail)]));
    }
    if expires.is_some_and(|end| end <= now) {
        let detail = format!("it is {now} already; write a later time, or null");
        return Err(Problem::invalid(vec![FieldError::new("expires", detail)]));
    }
    Ok(())
}

impl ApiToken {
    fn describe(&self) -> String {
        let may = self.limit.as_ref().map_or_else(|| "all that the user may".to_owned(), describe);
        let until = self.expires.map_or_else(String::new, |end| format!(", until {end}"));
        format!("{:?} of {}: {may}{until}", self.name, self.user)
    }
}

impl From<(&Hash256, &ApiToken)> for TokenLine {
    fn from((key, token): (&Hash256, &ApiToken)) -> Self {
        Self {
            id: key.id(),
            name: token.name.clone(),
            user: token.user.clone(),
            created: token.created,
            expires: token.expires,
            role: token.limit.as_ref().and_then(|limit| limit.role),
            cameras: token.limit.as_ref().map(|limit| limit.cameras.clone()),
        }
    }
}
