//! The description of the API (OpenAPI 3.1): every route with its parameters and answers, for clients that are generated.
//!
//! What all routes have in common is added at one place: problem documents, logins, and who may ask, which is taken from
//! the table of routes.

mod fields;

use std::fmt;

use axum::body::Bytes;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use keepwatch_web::{Access, Role, Rule};
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder, Schema};
use utoipa::{Modify, OpenApi, ToSchema};

use super::{
    alarms, cameras, coverage, edges, events, export, exports, live, media, picture, protections,
    replenishment, scans, settings, socket, standbys, status, trial,
};

/// An error (RFC 9457).
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what io/web writes")]
struct Problem {
    /// The same for every occurrence.
    title: String,
    /// The HTTP status.
    status: u16,
    /// Stable, in snake case.
    #[schema(example = "camera_unknown")]
    code: String,
    /// What happened this time, and what to do.
    detail: String,
    /// What is wrong with single fields of the body; not there when nothing is.
    errors: Option<Vec<FieldError>>,
}

/// What is wrong with a field of the body.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what io/web writes")]
struct FieldError {
    /// The field, such as `url` or `schedule[2]`.
    field: String,
    /// What is wrong with it, and what to write.
    detail: String,
}

/// What another role adds to the API.
#[derive(Clone)]
pub struct Part {
    /// The rules of its routes.
    pub rules: Vec<Rule>,
    /// Its routes and their types.
    pub description: utoipa::openapi::OpenApi,
    /// What it shows in the status socket: names, and the types of what stands there.
    pub status: &'static [(&'static str, &'static str)],
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("rules", &self.rules).finish_non_exhaustive()
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Keepwatch",
        description = "Records IP cameras and accounts for every second. Times are RFC 3339 in UTC; a window is `from` up to \
                       but not including `to`; lists go on with `cursor` set to `next`."
    ),
    servers((url = "/", description = "This node.")),
    paths(
        status::health,
        status::status,
        document,
        cameras::list,
        cameras::one,
        settings::config,
        settings::add,
        settings::change,
        settings::remove,
        trial::test,
        alarms::raise,
        coverage::coverage,
        export::export,
        live::live,
        media::media,
        media::frames,
        picture::picture,
        exports::list,
        exports::one,
        exports::create,
        exports::remove,
        exports::file,
        events::events,
        protections::list,
        protections::protect,
        protections::release,
        replenishment::show,
        replenishment::set,
        edges::list,
        edges::make_token,
        edges::remove,
        standbys::list,
        standbys::make_token,
        standbys::remove,
        scans::begin,
        scans::one,
        scans::stop,
        settings::revisions,
        settings::restore,
    ),
    components(schemas(Problem, FieldError, socket::StatusMessage)),
    security(("bearer" = []), ("cookie" = []))
)]
struct Document;

/// What all routes have in common; these are the rules of all.
struct Common(Vec<Rule>);

impl Modify for Common {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("The token of a session, as POST /api/v1/login answers it, or an API token."));
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer.build()));
        let cookie = ApiKeyValue::with_description(
            "keepwatch_session",
            "The session of a browser. Over TLS its name begins with __Host-.",
        );
        components.add_security_scheme("cookie", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
        for (path, item) in &mut document.paths.paths {
            for (method, operation) in operations(item) {
                let rule = self.0.iter().find(|rule| rule.path == path && rule.method.as_str() == method);
                describe(operation, rule);
            }
        }
    }
}

/// The operations of a path by their methods.
fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let PathItem { get, post, put, delete, .. } = item;
    let all = [("GET", get), ("POST", post), ("PUT", put), ("DELETE", delete)];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// Adds the answer of a failure, and who may ask.
fn describe(operation: &mut Operation, rule: Option<&Rule>) {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let failure = ResponseBuilder::new()
        .description("A problem document that says what happened and what to do.")
        .content("application/problem+json", content)
        .build();
    operation.responses.responses.insert("default".to_owned(), failure.into());
    if let Some(rule) = rule {
        let who = who(rule.access);
        let description = operation.description.take();
        operation.description = Some(match description {
            Some(description) => format!("{description}\n\nFor {who}."),
            None => format!("For {who}."),
        });
    }
}

fn who(access: Access) -> String {
    match access {
        Access::Open => "anybody, without a login".to_owned(),
        Access::User => "every user; lists show what the user may see".to_owned(),
        Access::Anywhere(role) => format!("{} at some camera or everywhere", users(role)),
        Access::Everywhere(role) => format!("{} everywhere", users(role)),
        Access::Camera(role) => format!("{} at the camera", users(role)),
        Access::Object(role) => format!("{} at the cameras that it concerns", users(role)),
    }
}

fn users(role: Role) -> String {
    format!("users who are at least {role}")
}

/// The description of the API, with what other roles add to it.
pub fn openapi(parts: &[Part]) -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    document.merge(keepwatch_web::openapi());
    for part in parts {
        document.merge(part.description.clone());
    }
    fields::require(&mut document);
    for (name, kind) in parts.iter().flat_map(|part| part.status) {
        show_in_status(&mut document, name, kind);
    }
    Common(rules(parts)).modify(&mut document);
    document
}

/// The rules of all routes.
fn rules(parts: &[Part]) -> Vec<Rule> {
    let more = parts.iter().flat_map(|part| part.rules.clone());
    [super::table(Bytes::new()).rules(), &keepwatch_web::rules()].concat().into_iter().chain(more).collect()
}

/// Describes what another role shows in the status socket. Who may not see it has none.
fn show_in_status(document: &mut utoipa::openapi::OpenApi, name: &str, kind: &str) {
    let schemas = document.components.as_mut().map(|components| &mut components.schemas);
    if let Some(RefOr::T(Schema::Object(snapshot))) = schemas.and_then(|all| all.get_mut("StatusSnapshot")) {
        snapshot.properties.insert(name.to_owned(), Ref::from_schema_name(kind).into());
    }
}

/// The description as it is sent.
pub(super) fn written(parts: &[Part]) -> Bytes {
    openapi(parts).to_json().expect("a description of texts and numbers has a JSON form").into()
}

/// The description of this API.
#[utoipa::path(get, path = "/api/v1/openapi.json", operation_id = "openapi", tag = "node",
    responses((status = 200, description = "An OpenAPI document.", content_type = "application/json", body = Object)))]
pub(super) fn document(description: Bytes) -> Response {
    let mut response = description.into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests;
