//! Errors as problem documents (RFC 9457): what happened, what to do, and a code that programs can match.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::auth::NoChance;

/// The media type of a problem document (RFC 9457 §3).
pub(crate) const PROBLEM_TYPE: &str = "application/problem+json";

/// An error as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    code: Cow<'static, str>,
    title: Cow<'static, str>,
    detail: String,
    retry_after: Option<Duration>,
    errors: Vec<FieldError>,
}

/// What is wrong with one field of a body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The field, such as `url` or `cameras.gate`.
    field: Cow<'static, str>,
    /// What is wrong with it, and what to write.
    detail: String,
}

impl FieldError {
    /// Something wrong with `field`.
    pub fn new(field: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self { field: field.into(), detail: detail.into() }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    errors: &'a [FieldError],
}

impl Problem {
    /// A problem with an HTTP `status`, a stable `code` in snake case, a `title` that is the same for every
    /// occurrence, and a `detail` that says what happened this time and what to do.
    pub fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        title: impl Into<Cow<'static, str>>,
        detail: impl Into<String>,
    ) -> Self {
        let (code, title, detail) = (code.into(), title.into(), detail.into());
        Self { status, code, title, detail, retry_after: None, errors: Vec::new() }
    }

    /// The request cannot be understood (400).
    pub fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, "The request cannot be understood", detail)
    }

    /// There is no session (401).
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "login_required", "A login is required", detail)
    }

    /// The session may not do this (403).
    pub fn forbidden(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, "This is not permitted", detail)
    }

    /// There is no such thing (404).
    pub fn not_found(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, "There is no such thing", detail)
    }

    /// There is no such camera, or none that the user may know of: both are told with the same words (404).
    pub fn camera_unknown(id: &str) -> Self {
        let shown: String = id.chars().take(64).collect();
        Self::not_found("camera_unknown", format!("no camera {shown:?}; GET /api/v1/cameras lists them"))
    }

    /// Fields of the body cannot be as they are (422).
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let details: Vec<String> =
            errors.iter().map(|error| format!("{}: {}", error.field, error.detail)).collect();
        let title = "Some fields cannot be as they are";
        let problem =
            Self::new(StatusCode::UNPROCESSABLE_ENTITY, "fields_invalid", title, details.join("; "));
        Self { errors, ..problem }
    }

    /// The state of things does not allow it (409).
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, "The present state does not allow this", detail)
    }

    /// The server is at fault (500). The detail must not carry secrets.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The node has a fault", detail)
    }

    /// It works again later (503).
    pub fn unavailable(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, "This is not available at the moment", detail)
    }

    /// Adds when to try again, rounded up to whole seconds (`Retry-After`, RFC 9110 §10.2.3).
    #[must_use]
    pub const fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The HTTP status.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The stable code.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// What happened and what to do.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl From<NoChance> for Problem {
    fn from(error: NoChance) -> Self {
        Self::internal(format!("{error}; see the log of the node"))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = Document {
            title: &self.title,
            status: self.status.as_u16(),
            code: &self.code,
            detail: &self.detail,
            errors: &self.errors,
        };
        let body = serde_json::to_vec(&document).expect("a struct of texts and a number has a JSON form");
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_TYPE));
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The problem of a bare `status` such as the router itself answers; `detail` is what it said, if anything.
pub(crate) fn of_status(status: StatusCode, detail: &str) -> Problem {
    let (code, title, remedy) = match status {
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => (
            "bad_request",
            "The request cannot be understood",
            "compare the request with the description of the API",
        ),
        StatusCode::UNAUTHORIZED => {
            ("login_required", "A login is required", "log in with POST /api/v1/login")
        }
        StatusCode::FORBIDDEN => ("forbidden", "This is not permitted", "ask an administrator"),
        StatusCode::NOT_FOUND => {
            ("not_found", "There is no such thing", "no route has this path; all of them begin with /api/v1")
        }
        StatusCode::METHOD_NOT_ALLOWED => (
            "method_not_allowed",
            "The path does not take this method",
            "use one of the methods in the Allow header",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => {
            ("body_too_large", "The body is too large", "send at most 1 MiB in one request")
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE => (
            "unsupported_media_type",
            "The body has the wrong media type",
            "send Content-Type: application/json",
        ),
        _ if status.is_server_error() => ("internal", "The node has a fault", "see the log of the node"),
        _ => ("refused", "The request was refused", "compare the request with the description of the API"),
    };
    let detail = if detail.is_empty() { remedy.to_owned() } else { format!("{detail}; {remedy}") };
    Problem::new(status, code, title, detail)
}
