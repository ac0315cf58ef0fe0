//! API tokens: shown once, never more than their user, gone when revoked.

use super::*;

impl Node {
    async fn api_token(&self, header: &str, body: &Value) -> (String, String) {
        let answer = self.send("POST", "/api/v1/tokens", header, body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let text = |key: &str| answer.body[key].as_str().unwrap().to_owned();
        (text("token"), text("id"))
    }
}

fn body(role: Option<&str>, cameras: Value) -> Value {
    json!({"name": "pager", "expires": null, "role": role, "cameras": cameras})
}

#[tokio::test]
async fn a_token_is_shown_once_and_narrower_than_its_user() {
    let node = Node::start().await;
    let admin = bearer(&node.token().await);
    let (token, id) = node.api_token(&admin, &body(None, json!({"gate": "operator"}))).await;
    assert!(token.starts_with("kw_") && token.len() == 46, "{token}");
    let who = node.ask("GET", "/api/v1/session", &[&bearer(&token)], "").await;
    assert_eq!(
        who.body,
        json!({"user": "admin", "role": null, "cameras": {"gate": "operator"}, "via": "token"})
    );
    assert_eq!(node.ask("GET", "/api/v1/cameras/gate", &[&bearer(&token)], "").await.status, 200);
    node.ask("GET", "/api/v1/cameras/yard", &[&bearer(&token)], "").await.problem(404, "camera_unknown");
    node.ask("GET", "/api/v1/users", &[&bearer(&token)], "").await.problem(403, "role_too_low");
    // It is no cookie, and it makes no other secrets.
    node.ask("GET", "/api/v1/session", &[&format!("Cookie: keepwatch_session={token}")], "")
        .await
        .problem(401, "login_required");
    node.send("POST", "/api/v1/tokens", &bearer(&token), &body(None, json!({"gate": "viewer"})))
        .await
        .problem(403, "session_needed");
    let change = json!({"old": PASSWORD, "new": "another staple"});
    node.send("PUT", "/api/v1/session/password", &bearer(&token), &change)
        .await
        .problem(403, "session_needed");
    let listed = node.ask("GET", "/api/v1/tokens", &[&admin], "").await;
    assert_eq!(listed.body["items"][0]["id"], json!(id));
    assert!(!listed.body.to_string().contains(&token));
    let kept = std::fs::read_to_string(node.data.path().join("users.json")).unwrap();
    assert!(!kept.contains(&token) && kept.contains("pager"));
    assert_eq!(node.ask("DELETE", &format!("/api/v1/tokens/{id}"), &[&admin], "").await.status, 204);
    node.ask("GET", "/api/v1/session", &[&bearer(&token)], "").await.problem(401, "login_required");
    let audited = node.audited().await.join("\n");
    for action in ["token_created", "token_revoked"] {
        assert!(audited.contains(&format!("admin {action} token:{id}")), "{audited}");
    }
}

#[tokio::test]
async fn a_token_never_may_more_than_its_user_does_at_the_moment() {
    let node = Node::start().await;
    let admin = bearer(&node.token().await);
    let guard = bearer(&node.user("guard", Some(Role::Operator), json!({})).await);
    for more in [body(Some("supervisor"), Value::Null), body(None, json!({"gate": "supervisor"}))] {
        node.send("POST", "/api/v1/tokens", &guard, &more).await.problem(403, "role_too_low");
    }
    let (token, id) = node.api_token(&guard, &body(None, Value::Null)).await;
    let (limited, _) = node.api_token(&guard, &body(Some("viewer"), Value::Null)).await;
    let role = async |token: &str| {
        node.ask("GET", "/api/v1/session", &[&bearer(token)], "").await.body["role"].clone()
    };
    assert_eq!((role(&token).await, role(&limited).await), (json!("operator"), json!("viewer")));
    let raised = json!({"role": "supervisor", "cameras": {}});
    node.send("PUT", "/api/v1/users/guard", &admin, &raised).await;
    assert_eq!((role(&token).await, role(&limited).await), (json!("supervisor"), json!("viewer")));
    let lowered = json!({"role": null, "cameras": {"gate": "viewer"}});
    node.send("PUT", "/api/v1/users/guard", &admin, &lowered).await;
    assert_eq!((role(&token).await, role(&limited).await), (Value::Null, Value::Null));
    // Others do not see it, and cannot revoke it.
    let other = bearer(&node.user("other", Some(Role::Supervisor), json!({})).await);
    assert_eq!(node.ask("GET", "/api/v1/tokens", &[&other], "").await.body["items"], json!([]));
    node.ask("DELETE", &format!("/api/v1/tokens/{id}"), &[&other], "").await.problem(404, "token_unknown");
    // It goes with its user, and another of the same name does not get it back.
    node.ask("DELETE", "/api/v1/users/guard", &[&admin], "").await;
    node.user("guard", Some(Role::Viewer), json!({})).await;
    node.ask("GET", "/api/v1/session", &[&bearer(&token)], "").await.problem(401, "login_required");
}

#[tokio::test]
async fn a_token_ends_when_it_was_said_to() {
    let node = Node::start().await;
    let admin = bearer(&node.token().await);
    let end = node.world.wall().plus(3600 * TICKS_PER_SECOND);
    let until = json!({"name": "x", "expires": end, "role": null, "cameras": null});
    let (token, _) = node.api_token(&admin, &until).await;
    assert_eq!(node.ask("GET", "/api/v1/session", &[&bearer(&token)], "").await.status, 200);
    let right = node.auth.right(&node.auth.identify_for_test(&token));
    node.world.advance(Duration::from_secs(3600));
    node.ask("GET", "/api/v1/session", &[&bearer(&token)], "").await.problem(401, "login_required");
    assert!(!right.is_held());
    let over = json!({"name": "x", "expires": end, "role": null, "cameras": null});
    node.send("POST", "/api/v1/tokens", &admin, &over).await.problem(422, "fields_invalid");
    for name in ["", " ", "a\nb", &"x".repeat(101)] {
        let named = json!({"name": name, "expires": null, "role": null, "cameras": null});
        node.send("POST", "/api/v1/tokens", &admin, &named).await.problem(422, "fields_invalid");
    }
}

#[tokio::test]
async fn the_number_of_tokens_is_bounded() {
    let node = Node::start().await;
    let admin = bearer(&node.token().await);
    for _ in 0..32 {
        node.api_token(&admin, &body(None, Value::Null)).await;
    }
    node.send("POST", "/api/v1/tokens", &admin, &body(None, Value::Null)).await.problem(409, "tokens_full");
}
