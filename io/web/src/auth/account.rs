//! Users over HTTP, for administrators: made, changed and removed, each change on record before it is confirmed.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use keepwatch_model::{CameraId, WallTime};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{OpenApi, ToSchema};

use super::brakes::USER_BYTES_MAX;
use super::credential::Credential;
use super::users::{User, hash_or_problem};
use super::{Auth, Caller, Grants, PASSWORD_BYTES_MAX, Role};
use crate::audit::Action;
use crate::layers::Small;
use crate::{Access, FieldError, Page, Problem, Routes};

/// Shortest new password in bytes.
const PASSWORD_BYTES_MIN: usize = 12;

/// Most cameras with a role of their own for one user.
const CAMERAS_MAX: usize = 1_000;

/// The form of a body.
const FORM: &str = "{\"name\": \"...\", \"password\": \"...\", \"role\": \"viewer\" or null, \"cameras\": {\"CAMERA\": \"operator\"}}";

/// The form of a change.
const CHANGE_FORM: &str = "{\"role\": \"viewer\" or null, \"cameras\": {\"CAMERA\": \"operator\"}, \"password\": \"...\" or left out}";

const ADMINISTRATOR: Access = Access::Everywhere(Role::Administrator);

pub(super) fn routes() -> Routes<Auth> {
    Routes::new()
        .get("/api/v1/users", ADMINISTRATOR, list)
        .post("/api/v1/users", ADMINISTRATOR, create)
        .get("/api/v1/users/{name}", ADMINISTRATOR, one)
        .put("/api/v1/users/{name}", ADMINISTRATOR, change)
        .delete("/api/v1/users/{name}", ADMINISTRATOR, remove)
}

/// The description of these routes.
#[derive(OpenApi)]
#[openapi(paths(list, one, create, change, remove))]
pub(super) struct Description;

#[derive(Serialize, ToSchema)]
/// A user.
#[schema(as = User)]
struct UserLine {
    /// Their name.
    name: String,
    #[serde(flatten)]
    #[schema(value_type = super::role::GrantsShown)]
    grants: Grants,
    /// `null` when a version made it that did not note it.
    #[schema(value_type = Option<String>, format = DateTime)]
    created: Option<WallTime>,
    /// Sessions at the moment.
    sessions: usize,
    /// API tokens.
    tokens: usize,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
/// A user to be made.
#[schema(as = UserBody)]
struct Creation {
    /// The name to log in with.
    name: String,
    /// The password to log in with: 12 to 1,024 bytes, and not the name.
    password: String,
    /// The role everywhere, or `null`.
    #[serde(deserialize_with = "stated")]
    #[schema(required)]
    role: Option<Role>,
    /// Roles at single cameras.
    #[schema(value_type = BTreeMap<String, Role>)]
    cameras: BTreeMap<CameraId, Role>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
/// A user to be changed.
#[schema(as = UserChange)]
struct Change {
    /// The role everywhere, or `null`.
    #[serde(deserialize_with = "stated")]
    #[schema(required)]
    role: Option<Role>,
    /// Roles at single cameras.
    #[schema(value_type = BTreeMap<String, Role>)]
    cameras: BTreeMap<CameraId, Role>,
    /// A password that replaces the one that holds; left out, that one stays.
    password: Option<String>,
}

/// A role that may be null but not left out: what is forgotten must not lower anybody.
pub(super) fn stated<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Role>, D::Error> {
    Option::deserialize(deserializer)
}

/// All users.
#[utoipa::path(get, path = "/api/v1/users", operation_id = "users", tag = "users",
    responses((status = 200, body = Page<UserLine>)))]
async fn list(State(auth): State<Auth>) -> Json<Page<UserLine>> {
    Json(Page::whole(auth.lines(None)))
}

/// One user.
#[utoipa::path(get, path = "/api/v1/users/{name}", operation_id = "user", tag = "users",
    params(("name" = String, Path, description = "The user.")), responses((status = 200, body = UserLine)))]
async fn one(State(auth): State<Auth>, Path(name): Path<String>) -> Result<Json<UserLine>, Problem> {
    auth.lines(Some(&name)).pop().map(Json).ok_or_else(|| unknown(&name))
}

/// Makes a user.
#[utoipa::path(post, path = "/api/v1/users", operation_id = "createUser", tag = "users",
    request_body = Creation, responses((status = 201, body = UserLine)))]
async fn create(
    State(auth): State<Auth>,
    caller: Caller,
    body: Small,
) -> Result<(StatusCode, Json<UserLine>), Problem> {
    let Creation { name, password, role, cameras } = body.json("user_malformed", FORM).await?;
    fit_name(&name)?;
    fit_password("password", &name, &password)?;
    let grants = fit_grants(Grants { role, cameras })?;
    auth.audit().require_working()?;
    let password = auth.costly(move || hash_or_problem(&password)).await??;
    let (user, key) =
        (User { grants: grants.clone(), password, created: Some(auth.now().wall) }, name.clone());
    auth.change_users(move |book| {
        // Names that differ in capitals only would be taken for one another.
        if let Some(taken) = book.users.keys().find(|taken| taken.to_lowercase() == key.to_lowercase()) {
            return Err(Problem::conflict("user_exists", format!("there is a user {taken:?} already")));
        }
        book.users.insert(key, user);
        Ok(())
    })
    .await?;
    auth.on_record(&caller, Action::UserCreated, &name, describe(&grants)).await?;
    let line = auth.lines(Some(&name)).pop().ok_or_else(|| unknown(&name))?;
    Ok((StatusCode::CREATED, Json(line)))
}

/// Changes what a user may, and their password if it is given.
#[utoipa::path(put, path = "/api/v1/users/{name}", operation_id = "changeUser", tag = "users",
    params(("name" = String, Path, description = "The user.")), request_body = Change, responses((status = 200, body = UserLine)))]
async fn change(
    State(auth): State<Auth>,
    caller: Caller,
    Path(name): Path<String>,
    body: Small,
) -> Result<Json<UserLine>, Problem> {
    let Change { role, cameras, password } = body.json("user_malformed", CHANGE_FORM).await?;
    let grants = fit_grants(Grants { role, cameras })?;
    if let Some(password) = &password {
        fit_password("password", &name, password)?;
    }
    auth.audit().require_working()?;
    let hashed = match password {
        Some(password) => Some(auth.costly(move || hash_or_problem(&password)).await??),
        None => None,
    };
    let (key, next) = (name.clone(), grants.clone());
    let resets = hashed.is_some();
    let before = auth
        .change_users(move |book| {
            let user = book.users.get_mut(&key).ok_or_else(|| unknown(&key))?;
            if let Some(hashed) = hashed {
                user.password = hashed;
            }
            Ok(std::mem::replace(&mut user.grants, next))
        })
        .await?;
    if resets {
        // Whoever knew the old password is out; an administrator who changes their own stays.
        let own = match caller.identity.credential {
            Credential::Session(key) if caller.identity.user == name => Some(key),
            Credential::Session(_) | Credential::Token(_) | Credential::Kernel => None,
        };
        auth.end_sessions(&name, own.as_ref());
    }
    let reset = if resets { ", password set" } else { "" };
    let detail = format!("{} -> {}{reset}", describe(&before), describe(&grants));
    auth.on_record(&caller, Action::UserChanged, &name, detail).await?;
    auth.lines(Some(&name)).pop().map(Json).ok_or_else(|| unknown(&name))
}

/// Removes a user with their sessions and tokens.
#[utoipa::path(delete, path = "/api/v1/users/{name}", operation_id = "removeUser", tag = "users",
    params(("name" = String, Path, description = "The user.")), responses((status = 204)))]
async fn remove(
    State(auth): State<Auth>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    auth.audit().require_working()?;
    let key = name.clone();
    let before = auth
        .change_users(move |book| {
            let user = book.users.remove(&key).ok_or_else(|| unknown(&key))?;
            book.tokens.retain(|_, token| token.user != key);
            Ok(user.grants)
        })
        .await?;
    auth.end_sessions(&name, None);
    auth.on_record(&caller, Action::UserRemoved, &name, describe(&before)).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl Auth {
    fn lines(&self, name: Option<&str>) -> Vec<UserLine> {
        let now = self.now().mono;
        let mut sessions = BTreeMap::<String, usize>::new();
        for (_, session) in self.sessions().all(now) {
            let count = sessions.entry(session.user.clone()).or_default();
            *count = count.saturating_add(1);
        }
        self.shared.users.with(|book| {
            let wanted =
                book.users.iter().filter(|(found, _)| name.is_none_or(|name| name == found.as_str()));
            let line = |(name, user): (&String, &User)| UserLine {
                name: name.clone(),
                grants: user.grants.clone(),
                created: user.created,
                sessions: sessions.get(name).copied().unwrap_or(0),
                tokens: book.tokens.values().filter(|token| token.user == *name).count(),
            };
            wanted.map(line).collect()
        })
    }

    /// Enters a change of a user and waits until it is on record.
    async fn on_record(
        &self,
        caller: &Caller,
        action: Action,
        name: &str,
        detail: String,
    ) -> Result<(), Problem> {
        let object = format!("user:{name}");
        self.audit().enter(&caller.identity, &caller.peer, action, object, detail).durable().await
    }
}

fn unknown(name: &str) -> Problem {
    let shown: String = name.chars().take(USER_BYTES_MAX).collect();
    Problem::not_found("user_unknown", format!("no user {shown:?}; GET /api/v1/users lists them"))
}

/// Grants in one line, for the audit log.
pub(super) fn describe(grants: &Grants) -> String {
    let everywhere = grants.role.map_or_else(|| "no role".to_owned(), |role| role.to_string());
    grants.cameras.iter().fold(everywhere, |text, (id, role)| format!("{text}, {role} at {id}"))
}

/// A name that can stand in a path and in a line of a log.
fn fit_name(name: &str) -> Result<(), Problem> {
    let letter = |letter: char| letter.is_alphanumeric() || matches!(letter, '.' | '_' | '-' | '@' | '+');
    let begins = name.chars().next().is_some_and(char::is_alphanumeric);
    if name.len() <= USER_BYTES_MAX && begins && name.chars().all(letter) {
        return Ok(());
    }
    let detail = format!(
        "a user name has 1 to {USER_BYTES_MAX} bytes: letters, digits and . _ - @ +, and begins with a letter or digit"
    );
    Err(Problem::invalid(vec![FieldError::new("name", detail)]))
}

/// Refuses roles that nobody can have.
pub(super) fn fit_grants(grants: Grants) -> Result<Grants, Problem> {
    let administrator = grants.cameras.iter().find(|(_, role)| **role == Role::Administrator);
    if let Some((id, _)) = administrator {
        let detail = "nobody is administrator of one camera; write supervisor, or give the role everywhere";
        return Err(Problem::invalid(vec![FieldError::new(format!("cameras.{id}"), detail)]));
    }
    if grants.cameras.len() > CAMERAS_MAX {
        let detail = format!("at most {CAMERAS_MAX} cameras; give a role everywhere instead");
        return Err(Problem::invalid(vec![FieldError::new("cameras", detail)]));
    }
    Ok(grants)
}

/// Refuses a password that is too short, too long, or the name itself. `field` is what it is called in the body.
pub(super) fn fit_password(field: &'static str, user: &str, password: &str) -> Result<(), Problem> {
    let detail = if password.len() < PASSWORD_BYTES_MIN {
        format!("it has {} bytes; choose at least {PASSWORD_BYTES_MIN}", password.len())
    } else if password.len() > PASSWORD_BYTES_MAX {
        format!("it has {} bytes; choose at most {PASSWORD_BYTES_MAX}", password.len())
    } else if password.to_lowercase() == user.to_lowercase() {
        "it is the user's name; choose another".to_owned()
    } else {
        return Ok(());
    };
    Err(Problem::invalid(vec![FieldError::new(field, detail)]))
}
