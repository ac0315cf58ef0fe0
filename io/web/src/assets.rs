//! The files of the web console: served to anybody, as none of them is secret; what they show comes from the API.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, http::HeaderMap};

/// One file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asset {
    /// Its content.
    pub bytes: &'static [u8],
    /// Its media type, for `Content-Type`.
    pub media_type: &'static str,
    /// A strong entity tag (RFC 9110 §8.8.3), with its quotes.
    pub etag: &'static str,
    /// Whether another content would have another path, so that browsers may keep it for ever.
    pub immutable: bool,
}

/// Where the files are.
pub trait Assets: Send + Sync {
    /// The file at `path`, which is `/` or begins with `/assets/`; `None` when there is none.
    fn find(&self, path: &str) -> Option<Asset>;
}

impl<F: Fn(&str) -> Option<Asset> + Send + Sync> Assets for F {
    fn find(&self, path: &str) -> Option<Asset> {
        self(path)
    }
}

/// Whether `path` is where files of the console can be.
pub(crate) fn is_asset(path: &str) -> bool {
    path == "/" || path.starts_with("/assets/")
}

/// The routes of the console.
pub(crate) fn routes(assets: Arc<dyn Assets>) -> Router {
    Router::new().route("/", get(serve)).route("/assets/{*path}", get(serve)).with_state(assets)
}

async fn serve(State(assets): State<Arc<dyn Assets>>, request: Request) -> Response {
    let Some(asset) = assets.find(request.uri().path()) else { return StatusCode::NOT_FOUND.into_response() };
    let mut response = if is_held(request.headers(), asset.etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Response::new(Body::from(asset.bytes))
    };
    let kept = if asset.immutable { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.media_type));
    headers.insert(ETAG, HeaderValue::from_static(asset.etag));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(kept));
    response
}

/// Whether the client holds what has `etag` (RFC 9110 §13.1.2).
fn is_held(headers: &HeaderMap, etag: &str) -> bool {
    let tags = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    tags.flat_map(|text| text.split(',')).map(str::trim).any(|tag| tag == "*" || tag == etag)
}
