//! The files of the web console: served to anybody, as none of them is secret; what they show comes from the API.
//!
//! What shrinks is sent with gzip (RFC 1952) to clients that take it: a page comes over a thin line in a third of the time.
//! Each file is compressed once, when it is first asked for, and kept.

mod encoding;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use self::encoding::{Compressed, Shelf};

/// One file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asset {
    /// Its content.
    pub bytes: &'static [u8],
    /// Its media type, for `Content-Type`.
    pub media_type: &'static str,
    /// A strong entity tag (RFC 9110 §8.8.3), with its quotes; no other file has it.
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

/// The files, and those that were compressed so far.
struct Files {
    assets: Arc<dyn Assets>,
    shelf: Shelf,
}

/// The routes of the console.
pub(crate) fn routes(assets: Arc<dyn Assets>) -> Router {
    let files = Arc::new(Files { assets, shelf: Shelf::default() });
    Router::new().route("/", get(serve)).route("/assets/{*path}", get(serve)).with_state(files)
}

async fn serve(State(files): State<Arc<Files>>, request: Request) -> Response {
    let Some(asset) = files.assets.find(request.uri().path()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let varies = encoding::is_text(asset.media_type);
    let wanted = varies && encoding::takes_gzip(request.headers().get_all(ACCEPT_ENCODING));
    let compressed = if wanted { compress(&files, asset).await } else { None };
    let (etag, bytes) = match &compressed {
        Some(Compressed { etag, bytes }) => (etag.clone(), bytes.clone()),
        None => (HeaderValue::from_static(asset.etag), Bytes::from_static(asset.bytes)),
    };
    let mut response = if is_held(request.headers(), &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = Response::new(Body::from(bytes));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(asset.media_type));
        if compressed.is_some() {
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    };
    let kept = if asset.immutable { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers = response.headers_mut();
    headers.insert(ETAG, etag);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(kept));
    if varies {
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    response
}

/// The file compressed; `None` where that would not make it smaller.
async fn compress(files: &Arc<Files>, asset: Asset) -> Option<Compressed> {
    if let Some(known) = files.shelf.find(asset.etag) {
        return known;
    }
    let files = Arc::clone(files);
    // It takes some milliseconds once, which other connections of this thread should not wait.
    let made = tokio::task::spawn_blocking(move || files.shelf.compress(&asset)).await;
    made.unwrap_or_default()
}

/// Whether the client holds what has `etag` (RFC 9110 §13.1.2): a proxy between may have weakened the tag.
fn is_held(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let tags = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let tags = tags.flat_map(|text| text.split(',')).map(str::trim);
    tags.map(|tag| tag.strip_prefix("W/").unwrap_or(tag)).any(|tag| tag == "*" || tag == etag)
}
