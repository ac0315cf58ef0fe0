//! The first run: whoever can read the node's standard error chooses the password of the first administrator.
//!
//! The code is invented at each start until it is used. After that there is no setup any more, not even with the code.

use std::sync::PoisonError;

use axum::Json;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

use super::account::fit_password;
use super::credential::{NoChance, invent_code, plain_code};
use super::login::{LOGIN_BYTES_MAX, LoginResponse, refuse_other_origin};
use super::users::FIRST_USER;
use super::{Auth, gate};
use crate::audit::Action;
use crate::hash::Hash256;
use crate::layers::Small;
use crate::{Access, Channel, Peer, Problem, Routes};

/// What attempts at the code count for; no user can have this name.
const ACCOUNT: &str = "/setup";

pub(super) fn routes() -> Routes<Auth> {
    Routes::new().get("/api/v1/setup", Access::Open, needed).post("/api/v1/setup", Access::Open, set_up)
}

/// The code that is awaited, as its hash.
pub(super) struct SetupCode(Hash256);

impl SetupCode {
    /// A new one: what to show, and what to keep.
    pub(super) fn invent() -> Result<(String, Self), NoChance> {
        let code = invent_code()?;
        let kept = Self(Hash256::of_text(&plain_code(&code)));
        Ok((code, kept))
    }
}

/// There is no setup any more.
pub(super) fn done() -> Problem {
    Problem::new(
        StatusCode::GONE,
        "setup_done",
        "The setup is over",
        "this node has its first administrator; log in with POST /api/v1/login",
    )
}

/// The description of these routes.
#[derive(OpenApi)]
#[openapi(paths(needed, set_up))]
pub(super) struct Description;

#[derive(Serialize, ToSchema)]
/// What a page has to begin with: the first run, a login, or nothing.
struct Setup {
    /// Whether there is no user yet.
    needed: bool,
    /// Whether who asks shows a session or a token that holds. To ask who one is without would be an error.
    session: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
/// The first run.
#[schema(as = SetupBody)]
struct SetupRequest {
    /// The code that the last start printed.
    code: String,
    /// The password that `admin` is to have.
    password: String,
}

/// Whether the node waits for its first administrator, and whether who asks is somebody.
#[utoipa::path(get, path = "/api/v1/setup", operation_id = "setupNeeded", tag = "users", security(()),
    responses((status = 200, body = Setup)))]
async fn needed(State(auth): State<Auth>, request: Request) -> Json<Setup> {
    Json(Setup { needed: auth.shared.users.is_empty(), session: gate::passes(&auth, &request) })
}

/// Makes the first administrator, and begins a session. Works once.
#[utoipa::path(post, path = "/api/v1/setup", operation_id = "setUp", tag = "users", security(()),
    request_body = SetupRequest, responses((status = 200, body = LoginResponse)))]
async fn set_up(
    State(auth): State<Auth>,
    Extension(peer): Extension<Peer>,
    Extension(channel): Extension<Channel>,
    headers: HeaderMap,
    body: Small<LOGIN_BYTES_MAX>,
) -> Result<Response, Problem> {
    if !auth.shared.users.is_empty() {
        return Err(done());
    }
    refuse_other_origin(&headers)?;
    let SetupRequest { code, password } =
        body.json("setup_malformed", "{\"code\": \"...\", \"password\": \"...\"}").await?;
    let attempt = auth.attempt(&peer, ACCOUNT)?;
    if !auth.awaits(&code) {
        auth.refused(FIRST_USER, "setup", &peer);
        return Err(Problem::forbidden(
            "setup_code_wrong",
            "this is not the code that the node printed at its last start; each start prints a new one",
        ));
    }
    attempt.forgive();
    fit_password("password", FIRST_USER, &password)?;
    auth.audit().require_working()?;
    let now = auth.now().wall;
    let made = auth.clone();
    auth.costly(move || made.shared.users.set_up(&password, now)).await??;
    *auth.shared.setup.lock().unwrap_or_else(PoisonError::into_inner) = None;
    let object = format!("user:{FIRST_USER}");
    auth.audit().enter_as(FIRST_USER, "setup", &peer, Action::SetUp, object, String::new()).durable().await?;
    auth.begin(&peer, FIRST_USER)?.answer(channel)
}

impl Auth {
    /// Whether `code` is the one that was shown.
    fn awaits(&self, code: &str) -> bool {
        let kept = self.shared.setup.lock().unwrap_or_else(PoisonError::into_inner);
        // Hashes are compared: how many characters agree cannot be measured.
        kept.as_ref().is_some_and(|SetupCode(kept)| *kept == Hash256::of_text(&plain_code(code)))
    }
}
