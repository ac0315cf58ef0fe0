//! A right that is taken away ends what streams by it: sockets and downloads that had begun, and those alone.

use std::time::{Duration, Instant};

use keepwatch_it::{Cameras, Http, Node, Received, Site, WebSocket, wait_until};
use keepwatch_model::{Span, TICKS_PER_SECOND};
use serde_json::{Value, json};

use crate::shared;

const PATIENCE: Duration = Duration::from_secs(60);
/// How soon a socket ends: "within a moment", on a busy machine.
const MOMENT: Duration = Duration::from_secs(10);
const PASSWORD: &str = "a password for a test";

const LIVE: &str = "/api/v1/cameras/cam1/live";
const STATUS: &str = "/api/v1/status";

fn socket(http: &Http, path: &str) -> WebSocket {
    let mut socket = http.websocket(path).unwrap();
    assert!(matches!(socket.receive(PATIENCE).unwrap(), Some(Received::Text(_))), "{path}");
    socket
}

/// Checks that the node closes `socket` for the loss of a right.
fn assert_closed(what: &str, mut socket: WebSocket) {
    let end = Instant::now() + MOMENT;
    loop {
        match socket.receive(end.saturating_duration_since(Instant::now())).unwrap() {
            Some(Received::Close(code, reason)) => return assert_eq!(code, 1008, "{what}: {reason}"),
            Some(Received::Text(_) | Received::Binary(_)) => {}
            None => panic!("{what} goes on"),
        }
    }
}

/// Checks that more comes over `socket` than what had been on its way.
fn assert_goes_on(what: &str, socket: &mut WebSocket) {
    let end = Instant::now() + MOMENT;
    let mut seconds = 0;
    while seconds < 2 {
        match socket.receive(end.saturating_duration_since(Instant::now())).unwrap() {
            // Told once a second of live pictures, every two of the node.
            Some(Received::Text(text)) => {
                seconds += i32::from(text["type"] == "time" || text["type"] == "alive")
            }
            Some(Received::Binary(_)) => {}
            other => panic!("{what} ended: {other:?}"),
        }
    }
}

fn add(node: &Node, name: &str) {
    let user = json!({"name": name, "password": PASSWORD, "role": null, "cameras": {"cam1": "operator"}});
    node.http().request("POST", "/api/v1/users", Some(&user)).unwrap().success().unwrap();
}

fn change(node: &Node, name: &str, change: &Value) {
    let path = format!("/api/v1/users/{name}");
    node.http().request("PUT", &path, Some(change)).unwrap().success().unwrap();
}

fn delete(node: &Node, kind: &str, id: &str) {
    let path = format!("/api/v1/{kind}/{id}");
    assert_eq!(node.http().request("DELETE", &path, None).unwrap().status, 204, "{path}");
}

/// Makes an API token; its id, and who shows it.
fn token(http: &Http) -> (String, Http) {
    let named = json!({"name": "player"});
    let made = http.request("POST", "/api/v1/tokens", Some(&named)).unwrap().success().unwrap();
    (made["id"].as_str().unwrap().to_owned(), http.bearing(made["token"].as_str().unwrap()))
}

/// The id of the session that `http` shows.
fn session_id(http: &Http) -> String {
    let listed = http.get("/api/v1/sessions").unwrap();
    let current = listed["items"].as_array().unwrap().iter().find(|session| session["current"] == true);
    current.unwrap()["id"].as_str().unwrap().to_owned()
}

#[test]
fn sockets_end_with_the_session_the_token_the_role_or_the_user_that_opened_them() {
    let _machine = shared();
    let site = Site::new().unwrap();
    let cameras = Cameras::start(&site, 2, "127.0.0.1").unwrap();
    let node = Node::recording(&site, &cameras).unwrap();
    node.first_label("cam1").unwrap();
    for name in ["ann", "ben", "eve"] {
        add(&node, name);
    }
    let mut untouched = socket(node.http(), LIVE);
    let (ann, _) = node.http().session("ann", PASSWORD).unwrap();
    let (other, other_page) = node.http().session("ann", PASSWORD).unwrap();
    let (token_id, by_token) = token(&ann);

    // A session that an administrator ends, and one that its user does; the token is of neither.
    let (live, status) = (socket(&ann, LIVE), socket(&ann, STATUS));
    let (mut kept, mut kept_token) = (socket(&other, LIVE), socket(&by_token, LIVE));
    delete(&node, "sessions", &session_id(&ann));
    assert_closed("live of an ended session", live);
    assert_closed("status of an ended session", status);
    assert_goes_on("live of another session", &mut kept);
    let status = socket(&other, STATUS);
    assert_eq!(other_page.request("POST", "/api/v1/logout", None).unwrap().status, 204);
    assert_closed("live after a logout", kept);
    assert_closed("status after a logout", status);
    assert_goes_on("live of a token", &mut kept_token);

    // A role that is lowered, but not below what the socket takes; then the token.
    change(&node, "ann", &json!({"role": null, "cameras": {"cam1": "viewer", "cam2": "operator"}}));
    assert_goes_on("live of a viewer", &mut kept_token);
    let status = socket(&by_token, STATUS);
    delete(&node, "tokens", &token_id);
    assert_closed("live of a revoked token", kept_token);
    assert_closed("status of a revoked token", status);

    // The role at that camera, while there is one at another. The status showed both cameras, so it ends, too.
    let (ann, _) = node.http().session("ann", PASSWORD).unwrap();
    let (live, status) = (socket(&ann, LIVE), socket(&ann, STATUS));
    change(&node, "ann", &json!({"role": null, "cameras": {"cam2": "operator"}}));
    assert_closed("live without a role", live);
    assert_closed("status of a camera without a role", status);
    let status = socket(&ann, STATUS);
    change(&node, "ann", &json!({"role": null, "cameras": {}}));
    assert_closed("status without a role", status);

    // A password that is set by somebody else, one that is changed, and the user.
    let (ben, _) = node.http().session("ben", PASSWORD).unwrap();
    let live = socket(&ben, LIVE);
    change(&node, "ben", &json!({"role": "viewer", "cameras": {}, "password": "another for a test"}));
    assert_closed("live after another password", live);
    let (eve, _) = node.http().session("eve", PASSWORD).unwrap();
    let (again, _) = node.http().session("eve", PASSWORD).unwrap();
    let (mut live, elsewhere) = (socket(&eve, LIVE), socket(&again, LIVE));
    let words = json!({"old": PASSWORD, "new": "another for a test"});
    assert_eq!(eve.request("PUT", "/api/v1/session/password", Some(&words)).unwrap().status, 204);
    assert_closed("live of another session after a change", elsewhere);
    assert_goes_on("live of the session that changed it", &mut live);
    let (_, by_token) = token(&eve);
    let of_token = socket(&by_token, STATUS);
    delete(&node, "users", "eve");
    assert_closed("live of a removed user", live);
    assert_closed("status of a removed user's token", of_token);
    assert_goes_on("live of the administrator", &mut untouched);
    node.end().unwrap();
}

#[test]
fn downloads_break_off_with_the_role_and_the_session() {
    let _machine = shared();
    let site = Site::new().unwrap();
    // Motion JPEG is large: neither kernels nor queues hold a whole download of it. Windows are of H.264 only.
    let cameras = Cameras::start_with(&site, 2, "127.0.0.1", &["--codec", "jpeg,h264"]).unwrap();
    let node = Node::recording(&site, &cameras).unwrap();
    let from = node.first_label("cam1").unwrap();
    let span = Span::new(from, from.plus(10 * TICKS_PER_SECOND)).unwrap();
    for camera in ["cam1", "cam2"] {
        node.wait_durable(camera, span.to, PATIENCE).unwrap();
    }
    let order = json!({"cameras": ["cam1"], "from": span.from, "to": span.to});
    let job = node.http().request("POST", "/api/v1/exports", Some(&order)).unwrap().success().unwrap();
    let job = format!("/api/v1/exports/{}", job["id"].as_str().unwrap());
    wait_until("an export", PATIENCE, || Ok((node.http().get(&job)?["state"] == "done").then_some(())))
        .unwrap();
    let window = format!("from={}&to={}", span.from, span.to);
    let paths = [
        format!("/api/v1/cameras/cam1/export.mp4?{window}"),
        format!("/api/v1/cameras/cam2/media.mp4?{window}"),
        format!("{job}/file"),
    ];
    let begin = |http: &Http| paths.each_ref().map(|path| (path.clone(), http.begin(path).unwrap()));
    let kept = begin(node.http());
    let user = json!({"name": "ann", "password": PASSWORD, "role": "operator", "cameras": {}});
    node.http().request("POST", "/api/v1/users", Some(&user)).unwrap().success().unwrap();

    let (ann, _) = node.http().session("ann", PASSWORD).unwrap();
    let begun = begin(&ann);
    change(&node, "ann", &json!({"role": "viewer", "cameras": {}}));
    for (path, download) in begun {
        assert!(download.finish().is_err(), "{path} was sent to its end after the role was lowered");
    }
    change(&node, "ann", &json!({"role": "operator", "cameras": {}}));
    let begun = begin(&ann);
    delete(&node, "sessions", &session_id(&ann));
    for (path, download) in begun {
        assert!(download.finish().is_err(), "{path} was sent to its end after the session ended");
    }
    // The same download, by who kept the right, as slowly.
    let whole = kept.map(|(path, download)| {
        download.finish().unwrap_or_else(|error| panic!("{path}: {error:#}")).body.len()
    });
    assert!(
        whole[0] > 2_000_000 && whole[1] > 400_000 && whole[2] > 2_000_000,
        "too little to prove it: {whole:?}"
    );
    node.end().unwrap();
}
