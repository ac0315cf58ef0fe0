//! Rights at cameras, and streams that end when the right to them ends.

use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::response::Response;
use hyper::body::Frame;

use super::*;
use crate::Right;

/// A body that says hello and then waits until the right is lost.
struct UntilLost {
    hello: bool,
    lost: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl UntilLost {
    fn response(right: Right) -> Response {
        let lost = Box::pin(async move { right.lost().await });
        Response::new(Body::new(Self { hello: false, lost }))
    }
}

impl hyper::body::Body for UntilLost {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if !std::mem::replace(&mut self.hello, true) {
            return std::task::Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"hello")))));
        }
        self.lost.as_mut().poll(context).map(|()| None)
    }
}

pub(super) async fn stream(caller: Caller) -> Response {
    UntilLost::response(caller.right())
}

pub(super) async fn camera_stream(caller: Caller, Path(id): Path<String>) -> Response {
    UntilLost::response(caller.right().at(&id, Role::Viewer))
}

impl Node {
    /// Begins a stream; the rest of it can be read once its beginning is there.
    async fn streaming(&self, path: &str, token: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.web.addresses()[0]).await.unwrap();
        let head =
            format!("GET {path} HTTP/1.1\r\nHost: n\r\nConnection: close\r\n{}\r\n\r\n", bearer(token));
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut read = Vec::new();
        while !read.windows(5).any(|part| part == b"hello") {
            assert!(stream.read_buf(&mut read).await.unwrap() > 0, "{}", String::from_utf8_lossy(&read));
        }
        stream
    }
}

/// Waits for the end of a stream.
async fn ends(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
    ended.expect("it goes on").unwrap();
}

/// Whether a stream goes on: it is asked for once more what takes at least as long as its end would.
async fn goes_on(node: &Node, stream: &TcpStream) -> bool {
    for _ in 0..3 {
        node.ask("GET", "/api/v1/health", &[], "").await;
    }
    let mut byte = [0; 16];
    !matches!(stream.try_read(&mut byte), Ok(0)) || stream.try_read(&mut byte).is_err()
}

#[tokio::test]
async fn a_camera_without_a_role_is_like_one_that_does_not_exist() {
    let node = Node::start().await;
    let token = node.user("guard", None, json!({"gate": "operator", "yard": "viewer"})).await;
    let header = bearer(&token);
    assert_eq!(node.ask("GET", "/api/v1/cameras/gate", &[&header], "").await.status, 200);
    let low = node.ask("GET", "/api/v1/cameras/yard", &[&header], "").await;
    low.problem(403, "role_too_low");
    assert!(
        low.body["detail"]
            .as_str()
            .unwrap()
            .starts_with("guard is viewer at this camera, this takes operator")
    );
    for camera in ["dock", "none", "GATE", "gate%2f..%2fyard", "%00", "gate%20"] {
        let answer = node.ask("GET", &format!("/api/v1/cameras/{camera}"), &[&header], "").await;
        answer.problem(404, "camera_unknown");
    }
    node.ask("GET", "/api/v1/operators", &[&header], "").await.problem(403, "role_too_low");
    node.ask("GET", "/api/v1/users", &[&header], "").await.problem(403, "role_too_low");
    node.ask("GET", "/api/v1/audit", &[&header], "").await.problem(403, "role_too_low");
}

#[tokio::test]
async fn a_stream_ends_with_the_session_the_role_and_the_user() {
    let node = Node::start().await;
    let admin = bearer(&node.token().await);
    let token = node.user("guard", Some(Role::Viewer), json!({"gate": "viewer"})).await;

    let open = node.streaming("/api/v1/stream", &token).await;
    node.ask("POST", "/api/v1/logout", &[&bearer(&token)], "").await;
    ends(open).await;

    let token = node.login("guard", USER_PASSWORD).await.body["token"].as_str().unwrap().to_owned();
    let all = node.streaming("/api/v1/stream", &token).await;
    let gate = node.streaming("/api/v1/cameras/gate/stream", &token).await;
    let yard = node.streaming("/api/v1/cameras/yard/stream", &token).await;
    let lowered = json!({"role": null, "cameras": {"gate": "operator"}});
    assert_eq!(node.send("PUT", "/api/v1/users/guard", &admin, &lowered).await.status, 200);
    ends(all).await;
    ends(yard).await;
    assert!(goes_on(&node, &gate).await, "at the gate the role was raised");
    assert_eq!(node.ask("DELETE", "/api/v1/users/guard", &[&admin], "").await.status, 204);
    ends(gate).await;
    node.ask("GET", "/api/v1/session", &[&bearer(&token)], "").await.problem(401, "login_required");
}

#[tokio::test]
async fn a_stream_ends_when_an_administrator_ends_the_session_or_the_password_changes() {
    let node = Node::start().await;
    let admin = bearer(&node.token().await);
    let token = node.user("guard", Some(Role::Viewer), json!({})).await;
    let open = node.streaming("/api/v1/stream", &token).await;
    let sessions = node.ask("GET", "/api/v1/sessions", &[&admin], "").await;
    let line = sessions.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|line| line["user"] == "guard")
        .unwrap()
        .clone();
    assert_eq!(line["current"], false);
    let path = format!("/api/v1/sessions/{}", line["id"].as_str().unwrap());
    assert_eq!(node.ask("DELETE", &path, &[&admin], "").await.status, 204);
    ends(open).await;
    node.ask("DELETE", &path, &[&admin], "").await.problem(404, "session_unknown");

    let first = node.login("guard", USER_PASSWORD).await.body["token"].as_str().unwrap().to_owned();
    let second = node.login("guard", USER_PASSWORD).await.body["token"].as_str().unwrap().to_owned();
    let (mine, other) =
        (node.streaming("/api/v1/stream", &first).await, node.streaming("/api/v1/stream", &second).await);
    let change = json!({"old": USER_PASSWORD, "new": "another staple"});
    assert_eq!(node.send("PUT", "/api/v1/session/password", &bearer(&first), &change).await.status, 204);
    ends(other).await;
    assert!(goes_on(&node, &mine).await, "who changed it stays");
}

#[tokio::test]
async fn a_session_that_streams_is_in_use() {
    let node = Node::start().await;
    let token = node.user("guard", Some(Role::Viewer), json!({})).await;
    let header = bearer(&token);
    let right = {
        let identity = node.auth.identify_for_test(&token);
        node.auth.right(&identity)
    };
    for _ in 0..3 {
        node.world.advance(Duration::from_secs(11 * 3600));
        assert!(right.is_held());
    }
    assert_eq!(node.ask("GET", "/api/v1/session", &[&header], "").await.status, 200);
    node.world.advance(Duration::from_secs(12 * 3600));
    assert!(!right.is_held());
}
