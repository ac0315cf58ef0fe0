//! The first run, users, their passwords, and what is entered about them.

use super::*;

fn admin_body(code: &str) -> Value {
    json!({"code": code, "password": "chosen at setup"})
}

#[tokio::test]
async fn the_first_administrator_is_made_with_the_code_once_and_for_ever() {
    let node = Node::start_with(Limits::DEFAULT, None).await;
    let FirstUser::Awaited(code) = node.first.clone() else { panic!("a code is awaited") };
    let nobody = json!({"needed": true, "session": false});
    assert_eq!(node.ask("GET", "/api/v1/setup", &[], "").await.body, nobody);
    // No default opens anything, and neither does another code.
    node.login("admin", "admin").await.problem(401, "login_refused");
    let empty = "X: y";
    node.send("POST", "/api/v1/setup", empty, &admin_body("aaaa-aaaa-aaaa-aaaa"))
        .await
        .problem(403, "setup_code_wrong");
    node.send("POST", "/api/v1/setup", empty, &admin_body("")).await.problem(403, "setup_code_wrong");
    let evil = "Origin: https://evil.example";
    node.send("POST", "/api/v1/setup", evil, &admin_body(&code)).await.problem(403, "cross_origin");
    node.ask("POST", "/api/v1/setup", &["Content-Type: text/plain"], &admin_body(&code).to_string())
        .await
        .problem(415, "unsupported_media_type");
    let short = json!({"code": code, "password": "short"});
    let answer = node.send("POST", "/api/v1/setup", empty, &short).await;
    answer.problem(422, "fields_invalid");
    assert_eq!(answer.body["errors"][0]["field"], "password");
    // As people type it.
    let typed = code.to_uppercase().replace('-', " ");
    let answer = node.send("POST", "/api/v1/setup", empty, &admin_body(&typed)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let cookie = answer.cookie.clone().unwrap();
    assert_eq!(node.ask("GET", "/api/v1/session", &[&cookie], "").await.body["role"], "administrator");
    for (shown, session) in
        [(cookie.as_str(), true), ("Cookie: keepwatch_session=stale", false), ("X: y", false)]
    {
        let expected = json!({"needed": false, "session": session});
        assert_eq!(node.ask("GET", "/api/v1/setup", &[shown], "").await.body, expected, "{shown}");
    }
    for code in [code.as_str(), "aaaa-aaaa-aaaa-aaaa"] {
        node.send("POST", "/api/v1/setup", empty, &admin_body(code)).await.problem(410, "setup_done");
    }
    assert_eq!(node.login("admin", "chosen at setup").await.status, 200);
    let header = bearer(node.login("admin", "chosen at setup").await.body["token"].as_str().unwrap());
    let audited = node.ask("GET", "/api/v1/audit", &[&header], "").await.body.to_string();
    for told in [r#""action":"set_up""#, r#""action":"login_refused""#, r#""via":"setup""#] {
        assert!(audited.contains(told), "{told} is not in {audited}");
    }
    // A restart does not begin it anew.
    let (_, first) = open(node.data.path(), &node.world, None);
    assert_eq!(first, FirstUser::Present);
}

#[tokio::test]
async fn of_two_setups_at_once_one_makes_the_administrator() {
    let node = Node::start_with(Limits::DEFAULT, None).await;
    let FirstUser::Awaited(code) = node.first.clone() else { panic!("a code is awaited") };
    let bodies = [admin_body(&code), json!({"code": code, "password": "another at setup"})];
    let (first, second) = tokio::join!(
        node.send("POST", "/api/v1/setup", "X: y", &bodies[0]),
        node.send("POST", "/api/v1/setup", "X: y", &bodies[1])
    );
    let mut statuses = [first.status, second.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 410]);
}

#[tokio::test]
async fn guessing_the_code_is_slowed() {
    let node = Node::start_with(Limits::DEFAULT, None).await;
    for _ in 0..5 {
        node.send("POST", "/api/v1/setup", "X: y", &admin_body("x")).await.problem(403, "setup_code_wrong");
    }
    let FirstUser::Awaited(code) = node.first.clone() else { panic!("a code is awaited") };
    node.send("POST", "/api/v1/setup", "X: y", &admin_body(&code)).await.problem(429, "login_delayed");
    node.world.advance(Duration::from_secs(2));
    assert_eq!(node.send("POST", "/api/v1/setup", "X: y", &admin_body(&code)).await.status, 200);
}

#[tokio::test]
async fn users_are_made_changed_and_removed_and_all_of_it_is_on_record() {
    let node = Node::start().await;
    let admin = bearer(&node.token().await);
    let guard =
        json!({"name": "guard", "password": USER_PASSWORD, "role": null, "cameras": {"gate": "operator"}});
    let made = node.send("POST", "/api/v1/users", &admin, &guard).await;
    assert_eq!(made.status, 201);
    assert_eq!((&made.body["role"], &made.body["cameras"]), (&Value::Null, &json!({"gate": "operator"})));
    assert!(!made.body.to_string().contains("argon2") && !made.body.to_string().contains(USER_PASSWORD));
    for name in ["guard", "GUARD"] {
        let mut twice = guard.clone();
        twice["name"] = json!(name);
        node.send("POST", "/api/v1/users", &admin, &twice).await.problem(409, "user_exists");
    }
    let listed = node.ask("GET", "/api/v1/users", &[&admin], "").await;
    assert_eq!(listed.body["items"].as_array().unwrap().len(), 2);
    let raised = json!({"role": "viewer", "cameras": {}});
    let answer = node.send("PUT", "/api/v1/users/guard", &admin, &raised).await;
    assert_eq!((answer.status, &answer.body["role"]), (200, &json!("viewer")));
    assert_eq!(node.login("guard", USER_PASSWORD).await.status, 200, "the password stays as it was");
    let reset = json!({"role": "viewer", "cameras": {}, "password": "another staple"});
    let old = node.login("guard", USER_PASSWORD).await.body["token"].as_str().unwrap().to_owned();
    assert_eq!(node.send("PUT", "/api/v1/users/guard", &admin, &reset).await.status, 200);
    node.ask("GET", "/api/v1/session", &[&bearer(&old)], "").await.problem(401, "login_required");
    assert_eq!(node.login("guard", "another staple").await.status, 200);
    assert_eq!(node.ask("DELETE", "/api/v1/users/guard", &[&admin], "").await.status, 204);
    node.login("guard", "another staple").await.problem(401, "login_refused");
    for (method, body) in [("GET", ""), ("DELETE", "")] {
        node.ask(method, "/api/v1/users/guard", &[&admin], body).await.problem(404, "user_unknown");
    }
    node.send("PUT", "/api/v1/users/guard", &admin, &raised).await.problem(404, "user_unknown");
    let audited = node.audited().await.join("\n");
    for line in [
        "admin user_created user:guard",
        "admin user_changed user:guard",
        "admin user_removed user:guard",
        "guard logged_in user:guard",
        "guard login_refused user:guard",
    ] {
        assert!(audited.contains(line), "{line} is not in\n{audited}");
    }
}

#[tokio::test]
async fn there_is_always_an_administrator() {
    let node = Node::start().await;
    let admin = bearer(&node.token().await);
    node.ask("DELETE", "/api/v1/users/admin", &[&admin], "").await.problem(409, "last_administrator");
    for role in [Some(Role::Supervisor), None] {
        let lowered = json!({"role": role, "cameras": {}});
        node.send("PUT", "/api/v1/users/admin", &admin, &lowered).await.problem(409, "last_administrator");
    }
    node.user("second", Some(Role::Administrator), json!({})).await;
    assert_eq!(node.ask("DELETE", "/api/v1/users/admin", &[&admin], "").await.status, 204);
    node.ask("GET", "/api/v1/users", &[&admin], "").await.problem(401, "login_required");
}

#[tokio::test]
async fn what_cannot_be_a_user_is_said_field_by_field() {
    let node = Node::start().await;
    let admin = bearer(&node.token().await);
    let good = json!({"name": "guard", "password": USER_PASSWORD, "role": "viewer", "cameras": {}});
    for (key, value, field) in [
        ("name", json!(""), "name"),
        ("name", json!("a b"), "name"),
        ("name", json!("uid:0"), "name"),
        ("name", json!("-rf"), "name"),
        ("name", json!("../admin"), "name"),
        ("name", json!("x".repeat(65)), "name"),
        ("password", json!("eleven char"), "password"),
        ("password", json!("x".repeat(1025)), "password"),
        ("cameras", json!({"gate": "administrator"}), "cameras.gate"),
    ] {
        let mut body = good.clone();
        body[key] = value;
        let answer = node.send("POST", "/api/v1/users", &admin, &body).await;
        answer.problem(422, "fields_invalid");
        assert_eq!(answer.body["errors"][0]["field"], field, "{answer:?}");
    }
    let named = json!({"name": "battery-staple", "password": "Battery-Staple", "role": null, "cameras": {}});
    node.send("POST", "/api/v1/users", &admin, &named).await.problem(422, "fields_invalid");
    // A role that was forgotten must not be taken for none.
    let mut forgotten = good.clone();
    forgotten.as_object_mut().unwrap().remove("role");
    for body in [forgotten, json!([]), json!({"name": 1}), json!({"more": 1})] {
        let answer = node.send("POST", "/api/v1/users", &admin, &body).await;
        answer.problem(400, "user_malformed");
        assert!(!answer.body.to_string().contains(USER_PASSWORD), "the body is not quoted back");
    }
    let mut unknown = good;
    unknown["role"] = json!("root");
    node.send("POST", "/api/v1/users", &admin, &unknown).await.problem(400, "user_malformed");
}

#[tokio::test]
async fn ones_own_password_takes_the_old_one_and_a_session() {
    let node = Node::start().await;
    let token = bearer(&node.user("guard", Some(Role::Viewer), json!({})).await);
    let wrong = json!({"old": "x", "new": "another staple"});
    node.send("PUT", "/api/v1/session/password", &token, &wrong).await.problem(403, "password_wrong");
    let short = json!({"old": USER_PASSWORD, "new": "short"});
    node.send("PUT", "/api/v1/session/password", &token, &short).await.problem(422, "fields_invalid");
    for _ in 0..4 {
        node.send("PUT", "/api/v1/session/password", &token, &wrong).await.problem(403, "password_wrong");
    }
    node.send("PUT", "/api/v1/session/password", &token, &wrong).await.problem(429, "login_delayed");
    let error = node.client().get::<Value>("/api/v1/users").await.unwrap();
    assert_eq!(error["items"].as_array().unwrap().len(), 2, "the socket is an administrator");
}

#[tokio::test]
async fn everybody_sees_their_own_sessions_and_administrators_all() {
    let node = Node::start().await;
    let guard = bearer(&node.user("guard", Some(Role::Viewer), json!({})).await);
    let own = node.ask("GET", "/api/v1/sessions", &[&guard], "").await;
    let lines = own.body["items"].as_array().unwrap();
    assert_eq!((lines.len(), &lines[0]["user"], &lines[0]["current"]), (1, &json!("guard"), &json!(true)));
    let admin = bearer(&node.token().await);
    let all = node.ask("GET", "/api/v1/sessions", &[&admin], "").await;
    let foreign =
        all.body["items"].as_array().unwrap().iter().find(|line| line["user"] == "admin").unwrap().clone();
    let path = format!("/api/v1/sessions/{}", foreign["id"].as_str().unwrap());
    node.ask("DELETE", &path, &[&guard], "").await.problem(404, "session_unknown");
}
