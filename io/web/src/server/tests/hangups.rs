//! Clients that hang up: what they began is carried out with all that belongs to it, and counts until then.

use axum::routing::post;
use keepwatch_tls::{NodeKey, peer};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::*;
use crate::{NodeClient, NodeError};

/// How long what must come may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long something is watched that must not happen.
const WHILE: Duration = Duration::from_millis(200);

/// Waits until `holds`.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(timeout(PATIENCE, wait).await.is_ok(), "{what}");
}

impl Node {
    /// Sends a request that waits for the check of a password, hangs up, and waits until the server has noticed.
    async fn hang_up(&self, method: &str, path: &str, header: &str, body: &Value) {
        let body = body.to_string();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: n\r\n{header}\r\nContent-Type: application/json\r\nContent-Length: {}",
            body.len()
        );
        let mut stream = TcpStream::connect(self.web.addresses()[0]).await.unwrap();
        stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await.unwrap();
        until("it is under way", async || self.auth.passwords_under_way() > 0).await;
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the server hangs up as well").unwrap();
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    }

    /// How often the audit log says so.
    async fn times_audited(&self, line: &str) -> usize {
        self.audited().await.iter().filter(|audited| *audited == line).count()
    }
}

#[tokio::test]
async fn who_hangs_up_does_not_act_unseen() {
    let node = Node::start().await;
    let other = bearer(&node.user("guard", Some(Role::Viewer), json!({})).await);
    let answer = node.login("guard", USER_PASSWORD).await;
    let own = bearer(answer.body["token"].as_str().unwrap());
    let body = json!({"old": USER_PASSWORD, "new": "another staple"});
    let held = node.auth.hold_checks().await;
    node.hang_up("PUT", "/api/v1/session/password", &own, &body).await;
    drop(held);
    until("the other session ends", async || {
        node.ask("GET", "/api/v1/session", &[&other], "").await.status == 401
    })
    .await;
    until("the change is on record", async || {
        node.times_audited("guard password_changed user:guard").await == 1
    })
    .await;
    assert_eq!(node.ask("GET", "/api/v1/session", &[&own], "").await.status, 200);

    let logins = node.times_audited("guard logged_in user:guard").await;
    let held = node.auth.hold_checks().await;
    let body = json!({"user": "guard", "password": "another staple"});
    node.hang_up("POST", "/api/v1/login", "X: y", &body).await;
    drop(held);
    until("the login is on record", async || {
        node.times_audited("guard logged_in user:guard").await == logins + 1
    })
    .await;
}

#[tokio::test]
async fn who_hangs_up_keeps_the_place_until_what_they_began_is_over() {
    let limits = Limits { connections_max: 1, ..Limits::DEFAULT };
    let node = Node::start_within(limits).await;
    let body = json!({"user": "admin", "password": PASSWORD});
    let held = node.auth.hold_checks().await;
    node.hang_up("POST", "/api/v1/login", "X: y", &body).await;
    {
        let mut other = std::pin::pin!(node.ask("GET", "/api/v1/health", &[], ""));
        assert!(timeout(WHILE, other.as_mut()).await.is_err());
        drop(held);
        assert_eq!(timeout(PATIENCE, other).await.unwrap().status, 200);
    }
    // A body that breaks off ends what waits for it.
    let mut stream = TcpStream::connect(node.web.addresses()[0]).await.unwrap();
    let begun = "POST /api/v1/login HTTP/1.1\r\nHost: n\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{";
    stream.write_all(begun.as_bytes()).await.unwrap();
    drop(stream);
    let other = timeout(Duration::from_secs(5), node.ask("GET", "/api/v1/health", &[], ""));
    assert_eq!(other.await.unwrap().status, 200);

    let logins = node.world.logins.lock().unwrap().len();
    let held = node.auth.hold_checks().await;
    node.hang_up("POST", "/api/v1/login", "X: y", &body).await;
    let mut end = std::pin::pin!(node.web.shutdown());
    assert!(timeout(WHILE, end.as_mut()).await.is_err());
    drop(held);
    timeout(PATIENCE, end).await.unwrap();
    assert_eq!(node.world.logins.lock().unwrap().len(), logins + 1);
}

#[tokio::test]
async fn what_another_node_asked_for_is_carried_out_though_it_hangs_up() {
    let node = Node::start().await;
    let (began, mut begun) = mpsc::channel(1);
    let (release, released) = oneshot::channel::<()>();
    let (done, mut ended) = oneshot::channel();
    let once = Arc::new(Mutex::new(Some((began, released, done))));
    let act = move || {
        let (began, released, done) = once.lock().unwrap().take().unwrap();
        async move {
            began.send(()).await.unwrap();
            released.await.unwrap();
            done.send(()).unwrap();
            Json(())
        }
    };
    let application = Application::new(&node.auth, api(), None);
    let application = application.with_nodes(Router::new().route("/peer/act", post(act)));
    let config = WebConfig {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        tls: Some(node.identity.config()),
        nodes: Some(peer::server_config(&nodes::key()).unwrap()),
        ..WebConfig::default()
    };
    let web = serve_within(Limits::DEFAULT, config, &application).await.unwrap();
    let own = NodeKey::keep(TempDir::new().unwrap().path()).unwrap().0;
    let mut client = NodeClient::new(web.addresses()[0], peer::client_config(&own, None).unwrap());
    let body = json!({});
    {
        let mut asked = std::pin::pin!(client.post::<Value>("/peer/act", &body, PATIENCE));
        let answered: Option<Result<Value, NodeError>> = tokio::select! {
            answer = asked.as_mut() => Some(answer),
            _ = begun.recv() => None,
        };
        assert!(answered.is_none(), "{answered:?}");
    }
    drop(client);
    assert!(timeout(WHILE, &mut ended).await.is_err(), "it is given up");
    release.send(()).unwrap();
    timeout(PATIENCE, ended).await.unwrap().unwrap();
    web.shutdown().await;
}
