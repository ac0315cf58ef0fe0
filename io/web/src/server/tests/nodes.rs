//! Other nodes at the same addresses: known by their keys, with routes of their own.

use std::sync::LazyLock;

use axum::http::StatusCode;
use axum::routing::{get, post};
use keepwatch_tls::{NodeKey, NodePublicKey, peer};

use super::*;
use crate::{NodeClient, NodeError};

const PATIENCE: Duration = Duration::from_secs(10);

/// The key of the node under test: the same one every time.
pub(super) fn key() -> NodeKey {
    static DIRECTORY: LazyLock<TempDir> = LazyLock::new(|| {
        let directory = TempDir::new().unwrap();
        // Made once: tests that begin at the same time would each make one.
        NodeKey::keep(directory.path()).unwrap();
        directory
    });
    NodeKey::keep(DIRECTORY.path()).unwrap().0
}

/// What the node answers other nodes.
pub(super) fn routes() -> Router {
    let asker = |Extension(crate::Node(key)): Extension<crate::Node>| async move {
        Json(json!(key.fingerprint().to_string()))
    };
    Router::new()
        .route("/peer/who", get(asker))
        .route("/peer/echo", post(|body: Json<Value>| async { body }))
        .route("/peer/never", get(std::future::pending::<()>))
}

fn other_key() -> NodeKey {
    NodeKey::keep(TempDir::new().unwrap().path()).unwrap().0
}

fn client(node: &Node, own: &NodeKey, pinned: Option<NodePublicKey>) -> NodeClient {
    NodeClient::new(node.web.addresses()[0], peer::client_config(own, pinned).unwrap())
}

#[tokio::test]
async fn a_node_is_answered_by_its_own_routes_and_known_by_its_key() {
    let node = Node::start().await;
    let own = other_key();
    let mut client = client(&node, &own, Some(key().public().unwrap()));
    let seen: String = client.get("/peer/who", PATIENCE).await.unwrap();
    assert_eq!(seen, own.public().unwrap().fingerprint().to_string());
    let said = json!({"a": [1, 2, 3]});
    assert_eq!(client.post::<Value>("/peer/echo", &said, PATIENCE).await.unwrap(), said);
    // It is no user, and gets nothing that is theirs.
    let refused = client.get::<Value>("/api/v1/status", PATIENCE).await.unwrap_err();
    assert!(matches!(refused, NodeError::Refused { status: StatusCode::NOT_FOUND, .. }), "{refused:?}");
    let large = json!("x".repeat(2 << 20));
    let refused = client.post::<Value>("/peer/echo", &large, PATIENCE).await.unwrap_err();
    assert!(
        matches!(
            refused,
            NodeError::Refused { status: StatusCode::PAYLOAD_TOO_LARGE, .. } | NodeError::Broken(_)
        ),
        "{refused:?}"
    );
}

#[tokio::test]
async fn people_do_not_reach_the_routes_of_nodes() {
    let node = Node::start().await;
    let administrator = bearer(&node.token().await);
    node.ask("GET", "/peer/who", &[&administrator], "").await.problem(404, "not_found");
    let answer = converse(node.secure().await, "GET", "/peer/who", &[&administrator], "").await;
    answer.problem(404, "not_found");
    converse(node.secure().await, "GET", "/peer/who", &[], "").await.problem(401, "login_required");
}

#[tokio::test]
async fn who_took_over_an_address_is_told_apart() {
    let node = Node::start().await;
    let (own, expected) = (other_key(), other_key().public().unwrap());
    let error = client(&node, &own, Some(expected)).get::<Value>("/peer/who", PATIENCE).await.unwrap_err();
    assert!(matches!(error, NodeError::Other(other) if other.seen == key().public().unwrap()), "{error:?}");
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_waited_for_as_long_as_was_said() {
    let node = Node::start().await;
    let mut client = client(&node, &other_key(), None);
    let error = client.get::<Value>("/peer/never", Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(error, NodeError::Late), "{error:?}");
    // What was asked before does not stand in the way of what is asked next.
    client.get::<String>("/peer/who", PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_node_that_was_restarted_is_called_anew_and_one_that_is_gone_is_unreachable() {
    let node = Node::start().await;
    let mut client = client(&node, &other_key(), None);
    client.get::<String>("/peer/who", PATIENCE).await.unwrap();
    let address = node.web.addresses()[0];
    node.web.shutdown().await;
    let error = client.get::<Value>("/peer/who", PATIENCE).await.unwrap_err();
    assert!(matches!(error, NodeError::Unreachable(_) | NodeError::Broken(_)), "{error:?}");
    let error = client.get::<Value>("/peer/who", PATIENCE).await.unwrap_err();
    assert!(matches!(error, NodeError::Unreachable(_)), "{error:?}");
    let application = Application::new(&node.auth, api(), None).with_nodes(routes());
    let config = WebConfig {
        listen: vec![address],
        tls: Some(node.identity.config()),
        nodes: Some(peer::server_config(&key()).unwrap()),
        ..WebConfig::default()
    };
    let web = serve_within(Limits::DEFAULT, config, &application).await.unwrap();
    client.get::<String>("/peer/who", PATIENCE).await.unwrap();
    web.shutdown().await;
}

/// A server of people only, and a program that speaks no TLS.
#[tokio::test]
async fn what_is_no_node_is_said_to_be_none() {
    let node = Node::start().await;
    let application = Application::new(&node.auth, api(), None);
    let config = WebConfig {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        tls: Some(node.identity.config()),
        ..WebConfig::default()
    };
    let web = serve_within(Limits::DEFAULT, config, &application).await.unwrap();
    let tls = peer::client_config(&other_key(), None).unwrap();
    let error =
        NodeClient::new(web.addresses()[0], tls).get::<Value>("/peer/who", PATIENCE).await.unwrap_err();
    assert!(matches!(error, NodeError::NoNode), "{error:?}");
    web.shutdown().await;
}
