//! What every response passes: the body limit on the way in, problem documents and headers on the way out.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY,
    RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::Problem;
use crate::problem::of_status;

/// Largest body of a request: no request of the API carries media, and a whole configuration is a few KiB.
pub(crate) const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Most of the text of a bare error that is taken over into its problem document.
const TEXT_BYTES_MAX: usize = 4096;

/// Refuses a body that says it is too large and cuts off one that turns out to be.
pub(crate) async fn limit_body(request: Request, next: Next) -> Response {
    let said =
        request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|bytes| bytes > BODY_BYTES_MAX as u64) {
        return of_status(StatusCode::PAYLOAD_TOO_LARGE, "").into_response();
    }
    next.run(request.map(|body| Body::new(Limited::new(body, BODY_BYTES_MAX)))).await
}

/// Turns the bare texts that the router and its extractors answer into problem documents.
pub(crate) async fn problems(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let bare = match response.headers().get(CONTENT_TYPE) {
        None => true,
        Some(kind) => kind.as_bytes().starts_with(b"text/plain"),
    };
    if !bare {
        return response;
    }
    let (parts, body) = response.into_parts();
    let text = match Limited::new(body, TEXT_BYTES_MAX).collect().await {
        Ok(collected) => String::from_utf8_lossy(&collected.to_bytes()).trim().to_owned(),
        // The text of an error is an aid; without it the status still says enough.
        Err(_) => String::new(),
    };
    let mut problem = of_status(status, &text).into_response();
    for name in [ALLOW, RETRY_AFTER, WWW_AUTHENTICATE] {
        if let Some(value) = parts.headers.get(&name) {
            problem.headers_mut().insert(name, value.clone());
        }
    }
    problem
}

/// Adds what keeps a browser from guessing types, framing, storing and leaking.
pub(crate) async fn security_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let fixed: [(HeaderName, &'static str); 5] = [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in fixed {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Reads a small body whole: at most `bytes_max`, within `patience`.
pub(crate) async fn read_small(body: Body, bytes_max: usize, patience: Duration) -> Result<Vec<u8>, Problem> {
    let collected = tokio::time::timeout(patience, Limited::new(body, bytes_max).collect());
    match collected.await {
        Ok(Ok(body)) => Ok(body.to_bytes().into()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            "The body is too large",
            format!("this request takes at most {bytes_max} bytes"),
        )),
        Ok(Err(_)) => {
            Err(Problem::bad_request("body_broken", "the body ended early; send the request again"))
        }
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "body_slow",
            "The body came too slowly",
            format!("the body must arrive within {} s; send the request again", patience.as_secs()),
        )),
    }
}

/// Whether a `Content-Type` names JSON.
pub(crate) fn is_json(value: Option<&HeaderValue>) -> bool {
    let Some(text) = value.and_then(|value| value.to_str().ok()) else { return false };
    text.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}
