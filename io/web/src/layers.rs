//! What every response passes: the body limit on the way in, problem documents and headers on the way out.

use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY,
    RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::time::{Sleep, sleep};

use crate::Problem;
use crate::origin::is_safe;
use crate::problem::of_status;

/// Largest body of a request: no request of the API carries media, and a whole configuration is a few KiB.
pub(crate) const BODY_BYTES_MAX: usize = 1024 * 1024;

/// How long a body of that size may take, also over a poor line.
const BODY_PATIENCE: Duration = Duration::from_secs(60);

/// Most of the text of a bare error that is taken over into its problem document.
const TEXT_BYTES_MAX: usize = 4096;

/// Largest body of a request of another node: a whole configuration, as one answers it.
pub(crate) const NODE_BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Refuses a body that says it is too large and cuts off one that turns out to be.
pub(crate) async fn limit_body(request: Request, next: Next) -> Response {
    within::<BODY_BYTES_MAX>(request, next).await
}

/// The same for other nodes.
pub(crate) async fn limit_node_body(request: Request, next: Next) -> Response {
    within::<NODE_BODY_BYTES_MAX>(request, next).await
}

async fn within<const BYTES_MAX: usize>(request: Request, next: Next) -> Response {
    let said =
        request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|bytes| bytes > BYTES_MAX as u64) {
        return of_status(StatusCode::PAYLOAD_TOO_LARGE, "").into_response();
    }
    next.run(request.map(|body| Body::new(Timely::new(Limited::new(body, BYTES_MAX))))).await
}

/// Held by a request that is carried out, so that its connection keeps its place until then.
#[derive(Clone, Debug)]
pub(crate) struct UnderWay {
    _held: mpsc::Sender<Infallible>,
}

impl UnderWay {
    /// What the requests of a connection hold, and what tells by its end that none is under way.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Infallible>) {
        let (held, over) = mpsc::channel(1);
        (Self { _held: held }, over)
    }
}

/// Carries out a request that may change something in a task of its own. The server drops what answers a client that
/// hangs up: a change that has begun would lose its entry in the audit log, and what else belongs to it.
pub(crate) async fn carry_out(mut request: Request, next: Next) -> Response {
    let under_way = request.extensions_mut().remove::<UnderWay>();
    if is_safe(request.method()) {
        return next.run(request).await;
    }
    let task = tokio::spawn(async move {
        let response = next.run(request).await;
        drop(under_way);
        response
    });
    task.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a request ended badly");
        Problem::internal("the request could not be carried out; the node's log says why").into_response()
    })
}

/// A body that must be over in time: else a client that sends it drop by drop would keep its place for ever.
struct Timely<B> {
    body: B,
    deadline: Pin<Box<Sleep>>,
}

impl<B> Timely<B> {
    fn new(body: B) -> Self {
        Self { body, deadline: Box::pin(sleep(BODY_PATIENCE)) }
    }
}

impl<B> HttpBody for Timely<B>
where
    B: HttpBody<Error = Box<dyn Error + Send + Sync>> + Unpin,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame);
        }
        self.deadline.as_mut().poll(context).map(|()| Some(Err("the body came too slowly".into())))
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
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

/// What a browser may load and run for the console: nothing from elsewhere, nothing inline.
const CONTENT_SECURITY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
                                media-src 'self' blob:; connect-src 'self'; font-src 'self'; frame-ancestors 'none'; \
                                base-uri 'none'; form-action 'self'";

/// What the console has no use for, so that nothing that gets into it has one either.
const PERMISSIONS: &str = "accelerometer=(), autoplay=(self), camera=(), display-capture=(), fullscreen=(self), \
                           geolocation=(), gyroscope=(), magnetometer=(), microphone=(), midi=(), payment=(), \
                           publickey-credentials-get=(), screen-wake-lock=(self), usb=()";

/// Adds what keeps a browser from guessing types, framing, storing, leaking, and running what is not ours.
pub(crate) async fn security_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let fixed: [(HeaderName, &'static str); 8] = [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CONTENT_SECURITY_POLICY, CONTENT_SECURITY),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), PERMISSIONS),
        (CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in fixed {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// How long a small body may take.
const SMALL_PATIENCE: Duration = Duration::from_secs(10);

/// A body of JSON with at most so many bytes, read when it is asked for. What is wrong with it is told without quoting
/// it, as it may hold a password.
#[derive(Debug)]
pub struct Small<const BYTES_MAX: usize = 65_536>(Body);

impl<S: Sync, const BYTES_MAX: usize> FromRequest<S> for Small<BYTES_MAX> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        // A form of another site can be sent without asking the server first; JSON cannot.
        if !is_json(request.headers().get(CONTENT_TYPE)) {
            return Err(of_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, ""));
        }
        Ok(Self(request.into_body()))
    }
}

impl<const BYTES_MAX: usize> Small<BYTES_MAX> {
    /// The body as JSON. `code` and `form` tell what is wrong and how it should be.
    ///
    /// # Errors
    /// When it is too large, comes too slowly, or is not of that form.
    pub async fn json<T: DeserializeOwned>(self, code: &'static str, form: &str) -> Result<T, Problem> {
        let body = read_small(self.0, BYTES_MAX, SMALL_PATIENCE).await?;
        serde_json::from_slice(&body).map_err(|error| {
            // The text of the error can quote the body.
            let place = format!("line {} column {}", error.line(), error.column());
            Problem::bad_request(code, format!("at {place}: send {form}"))
        })
    }
}

/// Reads a small body whole: at most `bytes_max`, within `patience`.
async fn read_small(body: Body, bytes_max: usize, patience: Duration) -> Result<Vec<u8>, Problem> {
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
fn is_json(value: Option<&HeaderValue>) -> bool {
    let Some(text) = value.and_then(|value| value.to_str().ok()) else { return false };
    text.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body of which only the beginning ever comes.
    struct Begun(bool);

    impl HttpBody for Begun {
        type Data = axum::body::Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
            if std::mem::replace(&mut self.0, true) {
                return Poll::Pending;
            }
            Poll::Ready(Some(Ok(Frame::data(axum::body::Bytes::from_static(b"{")))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_comes_too_slowly_is_given_up() {
        let small = Small::<100>(Body::new(Begun(false)));
        let problem = small.json::<serde_json::Value>("x", "x").await.unwrap_err();
        assert_eq!((problem.status(), problem.code()), (StatusCode::REQUEST_TIMEOUT, "body_slow"));
        let begun = tokio::time::Instant::now();
        let timely = Timely::new(Limited::new(Body::new(Begun(false)), BODY_BYTES_MAX));
        assert!(timely.collect().await.is_err());
        assert_eq!(begun.elapsed().as_secs(), BODY_PATIENCE.as_secs());
    }

    #[tokio::test]
    async fn a_request_that_ends_badly_is_answered() {
        use axum::routing::post;
        use tower::Service as _;

        let broken = async || -> () { panic!("a fault of the handler") };
        let mut app =
            axum::Router::new().route("/", post(broken)).layer(axum::middleware::from_fn(carry_out));
        let request = Request::post("/").body(Body::empty()).unwrap();
        assert_eq!(app.call(request).await.unwrap().status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
