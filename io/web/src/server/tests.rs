//! Whole conversations over real sockets, with a clock that the tests set.

mod attacks;
mod console;
mod hangups;
mod nodes;
mod rights;
mod tls;
mod tokens;
mod upgrades;
mod users;

use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::Query;
use axum::{Extension, Json};
use keepwatch_model::{MonoTime, TICKS_PER_SECOND, WallTime};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::{
    Audit, AuthConfig, Caller, Clock, FirstUser, Identity, LoginOutcome, LoginRecord, LoginWatcher, Role,
    SocketClient,
};

const PASSWORD: &str = "correct horse";
const USER_PASSWORD: &str = "battery staple";

#[derive(Default)]
struct World {
    now_nanos: AtomicU64,
    logins: Mutex<Vec<LoginRecord>>,
}

impl World {
    fn advance(&self, duration: Duration) {
        self.now_nanos.fetch_add(u64::try_from(duration.as_nanos()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for World {
    fn now(&self) -> MonoTime {
        MonoTime::from_nanos(self.now_nanos.load(Ordering::SeqCst))
    }

    fn wall(&self) -> WallTime {
        // Some day in 2026.
        let start = WallTime::from_ticks(1_795_000_000 * TICKS_PER_SECOND);
        start.plus(WallTime::from_unix_nanos(i128::from(self.now().as_nanos())).ticks())
    }
}

impl LoginWatcher for World {
    fn login(&self, record: &LoginRecord) {
        self.logins.lock().unwrap().push(record.clone());
    }
}

struct Node {
    web: Web,
    world: Arc<World>,
    auth: Auth,
    first: FirstUser,
    identity: keepwatch_tls::CurrentIdentity,
    data: TempDir,
}

impl Node {
    async fn start() -> Self {
        Self::start_within(Limits::DEFAULT).await
    }

    async fn start_within(limits: Limits) -> Self {
        Self::start_with(limits, Some(PASSWORD)).await
    }

    async fn start_with(limits: Limits, password: Option<&str>) -> Self {
        // A space in the path must not matter.
        let data = tempfile::Builder::new().prefix("keep watch ").tempdir().unwrap();
        let world = Arc::new(World::default());
        let (auth, first) = open(data.path(), &world, password);
        let identity = keepwatch_tls::CurrentIdentity::new(identity());
        let config = WebConfig {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            tls: Some(identity.config()),
            socket: Some(data.path().join("keepwatch.sock")),
            nodes: Some(keepwatch_tls::peer::server_config(&nodes::key()).unwrap()),
        };
        let application = Application::new(&auth, api(), Some(Arc::new(console::find)));
        let application = application.with_nodes(nodes::routes());
        let web = serve_within(limits, config, &application).await.unwrap();
        Self { web, world, auth, first, identity, data }
    }

    /// A user with a role everywhere, and roles at cameras, made by the administrator; answers their token.
    async fn user(&self, name: &str, role: Option<Role>, cameras: Value) -> String {
        let admin = bearer(&self.token().await);
        let body = json!({"name": name, "password": USER_PASSWORD, "role": role, "cameras": cameras});
        let answer = self.send("POST", "/api/v1/users", &admin, &body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let answer = self.login(name, USER_PASSWORD).await;
        answer.body["token"].as_str().unwrap().to_owned()
    }

    /// Sends JSON with a header line.
    async fn send(&self, method: &str, path: &str, header: &str, body: &Value) -> Answer {
        self.ask(method, path, &[header, "Content-Type: application/json"], &body.to_string()).await
    }

    /// What the audit log says: `user action object`.
    async fn audited(&self) -> Vec<String> {
        let header = bearer(&self.token().await);
        let answer = self.ask("GET", "/api/v1/audit", &[&header], "").await;
        let items = answer.body["items"].as_array().unwrap().clone();
        let text = |item: &Value, key: &str| item[key].as_str().unwrap().to_owned();
        items
            .iter()
            .map(|item| format!("{} {} {}", text(item, "user"), text(item, "action"), text(item, "object")))
            .collect()
    }

    fn client(&self) -> SocketClient {
        SocketClient::new(self.data.path().join("keepwatch.sock"))
    }

    /// Sends one request with extra header lines and returns status, headers and body.
    async fn ask(&self, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
        let stream = TcpStream::connect(self.web.addresses()[0]).await.unwrap();
        converse(stream, method, path, headers, body).await
    }

    async fn login(&self, user: &str, password: &str) -> Answer {
        let body = json!({"user": user, "password": password}).to_string();
        self.ask("POST", "/api/v1/login", &["Content-Type: application/json"], &body).await
    }

    async fn token(&self) -> String {
        let answer = self.login("admin", PASSWORD).await;
        answer.body["token"].as_str().unwrap().to_owned()
    }
}

/// An identity that is like no other.
fn identity() -> keepwatch_tls::Identity {
    let names = keepwatch_tls::Names::local();
    keepwatch_tls::Identity::make(&names, crate::SystemClock::default().wall()).unwrap()
}

fn open(data: &std::path::Path, world: &Arc<World>, password: Option<&str>) -> (Auth, FirstUser) {
    let (audit, _) = Audit::open(data, Arc::clone(world) as _).unwrap();
    Auth::open(AuthConfig {
        data: data.to_owned(),
        admin_password: password.map(str::to_owned),
        watcher: Arc::clone(world) as _,
        clock: Arc::clone(world) as _,
        audit,
    })
    .unwrap()
}

/// Sends one request over `stream` and reads the answer to its end.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &str,
) -> Answer {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: node:8080\r\nConnection: close\r\n");
    if !body.is_empty() {
        text += &format!("Content-Length: {}\r\n", body.len());
    }
    for header in headers {
        text += &format!("{header}\r\n");
    }
    stream.write_all(format!("{text}\r\n{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    Answer::parse(&answer)
}

#[derive(Debug)]
struct Answer {
    status: u16,
    /// What a browser would send back.
    cookie: Option<String>,
    /// In lower case.
    head: String,
    body: Value,
}

fn cookie(head: &str) -> Option<String> {
    let line = head.lines().find(|line| line.to_lowercase().starts_with("set-cookie:"))?;
    Some(format!("Cookie: {}", line.split_once(':')?.1.split(';').next()?.trim()))
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self {
            status,
            cookie: cookie(head),
            head: head.to_lowercase(),
            body: serde_json::from_str(body).unwrap_or(Value::Null),
        }
    }

    /// Checks that it is a problem document that says what to do.
    fn problem(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.head.contains("content-type: application/problem+json"), "{self:?}");
        assert_eq!(self.body["status"], status, "{self:?}");
        assert_eq!(self.body["code"], code, "{self:?}");
        for key in ["title", "detail"] {
            assert!(self.body[key].as_str().is_some_and(|text| !text.is_empty()), "{self:?}");
        }
    }
}

#[derive(Deserialize)]
struct Range {
    from: u32,
}

fn api() -> Routes {
    Routes::new()
        .get("/api/v1/health", Access::Open, async || "ok")
        .get("/api/v1/cameras", Access::User, async || Json(json!({"items": [], "next": null})))
        .get("/api/v1/range", Access::User, async |Query(range): Query<Range>| range.from.to_string())
        .post("/api/v1/echo", Access::User, async |Json(value): Json<Value>| Json(value))
        .get("/api/v1/who", Access::User, async |Extension(identity): Extension<Identity>| {
            Json(json!([identity.user, identity.via]))
        })
        .get("/api/v1/big", Access::User, async || vec![7_u8; 3_000_000])
        .get("/api/v1/never", Access::User, async || std::future::pending::<()>().await)
        .get("/api/v1/operators", Access::Everywhere(Role::Operator), async || ())
        .get("/api/v1/cameras/{id}", Access::Camera(Role::Operator), async || "a camera")
        .get("/api/v1/upgrade", Access::User, upgrades::echo)
        .get("/api/v1/stream", Access::Anywhere(Role::Viewer), rights::stream)
        .get("/api/v1/cameras/{id}/stream", Access::Camera(Role::Viewer), rights::camera_stream)
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

#[tokio::test]
async fn nothing_but_health_and_login_is_answered_without_a_session() {
    let node = Node::start().await;
    assert_eq!(node.ask("GET", "/api/v1/health", &[], "").await.status, 200);
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"];
    let paths = [
        "/index.html",
        "/assets",
        "/api/v1/cameras",
        "/api/v1/logout",
        "/api/v1/session",
        "/api/v1/echo",
        "/api/v1/nothing",
        "/api/v1/health/",
        "/api/v1/health/..%2fcameras",
        "//api/v1/health",
        "/api/v1/login/x",
        "/API/V1/HEALTH",
        "/api/v1/cameras?token=x&auth=YWRtaW46MTEK",
    ];
    let lies: [&[&str]; 9] = [
        &[],
        &["X-Forwarded-For: 127.0.0.1"],
        &["Host: localhost"],
        &["Authorization: Bearer"],
        &["Authorization: Bearer "],
        &["Authorization: Bearer x"],
        &["Authorization: Basic YWRtaW46Y29ycmVjdCBob3JzZQ=="],
        &["Cookie: keepwatch_session="],
        &["Cookie: a=b; keepwatch_session=x", "Sec-Fetch-Site: same-origin"],
    ];
    for path in paths {
        for method in methods {
            assert_eq!(node.ask(method, path, &[], "").await.status, 401, "{method} {path}");
        }
        for headers in lies {
            let answer = node.ask("GET", path, headers, "").await;
            answer.problem(401, "login_required");
            assert!(answer.head.contains("www-authenticate: bearer"), "{answer:?}");
        }
    }
    for method in ["POST", "DELETE"] {
        assert_eq!(node.ask(method, "/api/v1/health", &[], "").await.status, 401);
    }
    assert_eq!(node.ask("GET", "/api/v1/login", &[], "").await.status, 401);
}

#[tokio::test]
async fn a_login_opens_by_token_and_by_cookie_until_logout() {
    let node = Node::start().await;
    let answer = node.login("admin", PASSWORD).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["user"], "admin");
    assert_eq!(answer.body["role"], "administrator");
    let token = answer.body["token"].as_str().unwrap();
    let cookie_line = format!("set-cookie: keepwatch_session={token}; path=/; httponly; samesite=strict");
    assert!(answer.head.contains(&cookie_line.to_lowercase()), "{answer:?}");
    for line in [
        "x-content-type-options: nosniff",
        "x-frame-options: deny",
        "cache-control: no-store",
        "referrer-policy: no-referrer",
    ] {
        assert!(answer.head.contains(line), "{answer:?}");
    }
    let cookie = format!("Cookie: keepwatch_session={token}");
    let by_token = node.ask("GET", "/api/v1/session", &[&bearer(token)], "").await;
    assert_eq!(
        by_token.body,
        json!({"user": "admin", "role": "administrator", "cameras": {}, "via": "bearer"})
    );
    let by_cookie = node.ask("GET", "/api/v1/session", &[&cookie], "").await;
    assert_eq!(by_cookie.body["via"], "cookie");
    // A bad token is not saved by a good cookie.
    node.ask("GET", "/api/v1/session", &[&cookie, &bearer("x")], "").await.problem(401, "login_required");
    assert_eq!(node.ask("GET", "/api/v1/operators", &[&cookie], "").await.status, 200);
    assert_eq!(node.ask("POST", "/api/v1/logout", &[&bearer(token)], "").await.status, 204);
    node.ask("GET", "/api/v1/session", &[&cookie], "").await.problem(401, "login_required");
    assert_eq!(node.world.logins.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_cookie_changes_something_only_from_the_own_page() {
    let node = Node::start().await;
    let token = node.token().await;
    let cookie = format!("Cookie: keepwatch_session={token}");
    let json_type = "Content-Type: application/json";
    for (headers, status) in [
        (&["X: y"][..], 403),
        (&["Origin: http://evil.example"], 403),
        (&["Origin: http://node:8081"], 403),
        (&["Sec-Fetch-Site: same-site", "Origin: http://node:8080"], 403),
        (&["Origin: http://node:8080"], 200),
        (&["Sec-Fetch-Site: same-origin"], 200),
    ] {
        let headers: Vec<&str> = headers.iter().copied().chain([cookie.as_str(), json_type]).collect();
        let answer = node.ask("POST", "/api/v1/echo", &headers, "{}").await;
        assert_eq!(answer.status, status, "{headers:?}");
    }
    // Reading needs no such proof, and neither does a bearer token.
    assert_eq!(node.ask("GET", "/api/v1/cameras", &[&cookie], "").await.status, 200);
    let headers = [bearer(&token), "Origin: http://evil.example".to_owned(), json_type.to_owned()];
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    assert_eq!(node.ask("POST", "/api/v1/echo", &headers, "{}").await.status, 200);
    // Nobody is logged in from another site's page.
    let body = json!({"user": "admin", "password": PASSWORD}).to_string();
    let answer = node.ask("POST", "/api/v1/login", &[json_type, "Origin: http://evil.example"], &body).await;
    answer.problem(403, "cross_origin");
    let answer = node.ask("POST", "/api/v1/login", &["Content-Type: text/plain"], &body).await;
    answer.problem(415, "unsupported_media_type");
}

#[tokio::test]
async fn guessing_is_slowed_and_the_right_password_waits_as_well() {
    let node = Node::start().await;
    for user in ["admin", "nobody"] {
        for _ in 0..5 {
            node.login(user, "wrong").await.problem(401, "login_refused");
        }
        let answer = node.login(user, PASSWORD).await;
        answer.problem(429, "login_delayed");
        assert!(answer.head.contains("retry-after: 1"), "{answer:?}");
    }
    let records = node.world.logins.lock().unwrap().clone();
    assert_eq!(records.len(), 10, "what the brake turned away is not among them");
    assert!(records.iter().all(|record| record.outcome == LoginOutcome::Refused));
    node.world.advance(Duration::from_secs(2));
    assert_eq!(node.login("admin", PASSWORD).await.status, 200);
    // Success cleared the account; the address still has its ten failures and waits for the next.
    node.login("admin", "wrong").await.problem(401, "login_refused");
    node.login("admin", PASSWORD).await.problem(429, "login_delayed");
    node.world.advance(Duration::from_secs(15 * 60));
    assert_eq!(node.login("admin", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn a_session_ends_after_twelve_idle_hours() {
    let node = Node::start().await;
    let header = bearer(&node.token().await);
    node.world.advance(Duration::from_secs(11 * 3600));
    assert_eq!(node.ask("GET", "/api/v1/cameras", &[&header], "").await.status, 200);
    node.world.advance(Duration::from_secs(11 * 3600));
    assert_eq!(node.ask("GET", "/api/v1/cameras", &[&header], "").await.status, 200);
    node.world.advance(Duration::from_secs(12 * 3600));
    node.ask("GET", "/api/v1/cameras", &[&header], "").await.problem(401, "login_required");
}

#[tokio::test]
async fn every_error_is_a_problem_document() {
    let node = Node::start().await;
    let header = bearer(&node.token().await);
    let json_type = "Content-Type: application/json";
    node.ask("GET", "/api/v1/nothing", &[&header], "").await.problem(404, "not_found");
    let answer = node.ask("DELETE", "/api/v1/cameras", &[&header], "").await;
    answer.problem(405, "method_not_allowed");
    assert!(answer.head.contains("allow: get,head"), "{answer:?}");
    let answer = node.ask("GET", "/api/v1/range?from=x", &[&header], "").await;
    answer.problem(400, "bad_request");
    assert!(answer.body["detail"].as_str().unwrap().contains("from"), "{answer:?}");
    node.ask("POST", "/api/v1/echo", &[&header, json_type], "{").await.problem(400, "bad_request");
    node.ask("POST", "/api/v1/echo", &[&header], "{}").await.problem(415, "unsupported_media_type");
    for body in ["", "{", "{\"user\":\"admin\"}", "{\"user\":\"a\",\"password\":\"b\",\"c\":1}", "[]"] {
        let answer = node.ask("POST", "/api/v1/login", &[json_type], body).await;
        answer.problem(400, "login_malformed");
        assert!(!answer.body.to_string().contains("admin"), "the body is not quoted back");
    }
    node.login("admin", &"x".repeat(2000)).await.problem(400, "credentials_too_long");
}

#[tokio::test]
async fn an_oversized_body_is_refused_before_and_while_it_comes() {
    let node = Node::start().await;
    let header = bearer(&node.token().await);
    let json_type = "Content-Type: application/json";
    let said = "Content-Length: 99999999";
    node.ask("POST", "/api/v1/echo", &[&header, json_type, said], "").await.problem(413, "body_too_large");
    // A chunked body does not say its length.
    let mut stream = TcpStream::connect(node.web.addresses()[0]).await.unwrap();
    let head = format!(
        "POST /api/v1/echo HTTP/1.1\r\nHost: n\r\n{header}\r\n{json_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // One byte too many, and nothing after it that the server would leave unread.
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(65536));
    for _ in 0..layers::BODY_BYTES_MAX / 65536 {
        stream.write_all(chunk.as_bytes()).await.unwrap();
    }
    stream.write_all(b"1\r\n \r\n").await.unwrap();
    let mut start = [0; 64];
    stream.read_exact(&mut start).await.unwrap();
    assert!(start.starts_with(b"HTTP/1.1 413"), "{}", String::from_utf8_lossy(&start));
    let body = json!({"user": "admin", "password": "x".repeat(20_000)}).to_string();
    let answer = node.ask("POST", "/api/v1/login", &[json_type], &body).await;
    answer.problem(413, "body_too_large");
    let long = format!("X: {}", "y".repeat(40_000));
    assert_eq!(node.ask("GET", "/api/v1/health", &[&long], "").await.status, 431);
}

#[tokio::test]
async fn a_client_that_says_nothing_is_cut_off_and_its_place_is_free_again() {
    let limits =
        Limits { connections_max: 1, header_patience: Duration::from_millis(500), ..Limits::DEFAULT };
    let node = Node::start_within(limits).await;
    for start in ["", "GET /api/v1/hea", "GET /api/v1/health HTTP/1.1\r\nHost: x\r\n"] {
        let mut idle = TcpStream::connect(node.web.addresses()[0]).await.unwrap();
        idle.write_all(start.as_bytes()).await.unwrap();
        // The only place is taken until the server closes; then this one is served.
        assert_eq!(node.ask("GET", "/api/v1/health", &[], "").await.status, 200);
        let mut rest = Vec::new();
        // A reset is as good an end.
        let _ = idle.read_to_end(&mut rest).await;
    }
}

#[tokio::test]
async fn the_socket_knows_its_peer_and_streams() {
    let node = Node::start().await;
    let path = node.data.path().join("keepwatch.sock");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let client = node.client();
    let who: Value = client.get("/api/v1/who").await.unwrap();
    assert_eq!(who[1], "socket");
    assert!(who[0].as_str().unwrap().starts_with("uid:"));
    let echoed: Value = client.post("/api/v1/echo", &json!({"a": 1})).await.unwrap();
    assert_eq!(echoed, json!({"a": 1}));
    let mut last = (0, None);
    let (count, bytes) =
        client.get_into("/api/v1/big", || Ok(Vec::new()), |done, all| last = (done, all)).await.unwrap();
    assert_eq!((count, bytes.len()), (3_000_000, 3_000_000));
    assert_eq!(last, (3_000_000, Some(3_000_000)));
    let error = client.get::<Value>("/api/v1/nothing").await.unwrap_err();
    assert!(matches!(&error, crate::ClientError::Refused { code, .. } if code == "not_found"), "{error:?}");
    let Node { web, data, .. } = node;
    web.shutdown().await;
    assert!(!path.exists());
    assert!(matches!(client.get::<Value>("/").await, Err(crate::ClientError::NotRunning { .. })));
    drop(data);
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let node = Node::start().await;
    let path = node.data.path().join("keepwatch.sock");
    let live = Socket::bind(&path).await.map(|_| ()).unwrap_err();
    assert!(matches!(live, WebError::AlreadyRunning { .. }), "{live}");
    let stale = node.data.path().join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    assert!(stale.exists());
    drop(Socket::bind(&stale).await.unwrap());
    assert!(!stale.exists());
    let file = node.data.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    let taken = Socket::bind(&file).await.map(|_| ()).unwrap_err();
    assert!(matches!(taken, WebError::SocketTaken { .. }), "{taken}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    let long = node.data.path().join("x".repeat(200));
    let too_long = Socket::bind(&long).await.map(|_| ()).unwrap_err();
    assert!(matches!(too_long, WebError::SocketPathTooLong { .. }), "{too_long}");
}

#[tokio::test]
async fn an_address_that_is_taken_is_said() {
    let node = Node::start().await;
    let taken = WebConfig { listen: node.web.addresses().to_vec(), ..WebConfig::default() };
    let error = serve(taken, &Application::new(&node.auth, api(), None)).await.unwrap_err();
    assert!(matches!(error, WebError::Listen { .. }), "{error}");
}

#[tokio::test]
async fn shutdown_waits_for_requests_only_so_long() {
    let limits = Limits { drain_patience: Duration::from_millis(50), ..Limits::DEFAULT };
    let node = Node::start_within(limits).await;
    let header = bearer(&node.token().await);
    let mut stream = TcpStream::connect(node.web.addresses()[0]).await.unwrap();
    stream
        .write_all(format!("GET /api/v1/never HTTP/1.1\r\nHost: n\r\n{header}\r\n\r\n").as_bytes())
        .await
        .unwrap();
    // A second request on its own connection has been answered: the first one is being served.
    assert_eq!(node.ask("GET", "/api/v1/cameras", &[&header], "").await.status, 200);
    node.web.shutdown().await;
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
}
