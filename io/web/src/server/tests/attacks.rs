//! What somebody tries who should not get in: claims of trust, planted sessions, other pages, texts that are commands.

use super::*;

#[tokio::test]
async fn no_claim_of_where_a_request_comes_from_is_believed() {
    let node = Node::start().await;
    for lie in [
        "X-Forwarded-For: 127.0.0.1",
        "X-Real-IP: ::1",
        "Forwarded: for=127.0.0.1;proto=https",
        "X-Forwarded-User: admin",
        "Remote-User: admin",
        "X-Original-URL: /api/v1/health",
        "X-Rewrite-URL: /api/v1/health",
        "X-HTTP-Method-Override: GET",
        "Client-Type: internal",
    ] {
        node.ask("GET", "/api/v1/users", &[lie], "").await.problem(401, "login_required");
    }
    // The brake counts by the real address, whatever a client claims.
    for number in 0..10 {
        let claim = format!("X-Forwarded-For: 192.0.2.{number}");
        let body = json!({"user": format!("u{number}"), "password": "x"}).to_string();
        node.ask("POST", "/api/v1/login", &[&claim, "Content-Type: application/json"], &body).await;
    }
    node.login("admin", PASSWORD).await.problem(429, "login_delayed");
    for path in ["/api/v1/users?token=x", "/api/v1/users?auth=YWRtaW46MTEK", "/api/v1/users?access_token=x"] {
        node.ask("GET", path, &[], "").await.problem(401, "login_required");
    }
}

#[tokio::test]
async fn a_planted_session_is_not_taken_over_by_a_login() {
    let node = Node::start().await;
    let planted = "Cookie: keepwatch_session=planted-by-somebody";
    let body = json!({"user": "admin", "password": PASSWORD}).to_string();
    let headers = [planted, "Content-Type: application/json"];
    let answer = node.ask("POST", "/api/v1/login", &headers, &body).await;
    assert_eq!(answer.status, 200);
    assert_ne!(answer.cookie.as_deref(), Some(planted));
    node.ask("GET", "/api/v1/session", &[planted], "").await.problem(401, "login_required");
    // Each login is a session of its own, and a used one is gone after its end.
    let again = node.login("admin", PASSWORD).await;
    let (first, second) = (answer.cookie.unwrap(), again.cookie.unwrap());
    assert_ne!(first, second);
    node.ask("POST", "/api/v1/logout", &[&first, "Origin: http://node:8080"], "").await;
    node.ask("GET", "/api/v1/session", &[&first], "").await.problem(401, "login_required");
    let replayed = first.replace("Cookie: keepwatch_session=", "Authorization: Bearer ");
    node.ask("GET", "/api/v1/session", &[&replayed], "").await.problem(401, "login_required");
    assert_eq!(node.ask("GET", "/api/v1/session", &[&second], "").await.status, 200);
}

#[tokio::test]
async fn a_page_of_another_origin_changes_nothing_and_opens_no_socket() {
    let node = Node::start().await;
    let cookie = node.login("admin", PASSWORD).await.cookie.unwrap();
    let user = json!({"name": "evil", "password": USER_PASSWORD, "role": "administrator", "cameras": {}})
        .to_string();
    for from in
        ["Origin: http://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site", "X: no origin at all"]
    {
        let headers = [cookie.as_str(), from, "Content-Type: application/json"];
        for (method, path) in [
            ("POST", "/api/v1/users"),
            ("PUT", "/api/v1/users/admin"),
            ("DELETE", "/api/v1/users/admin"),
            ("POST", "/api/v1/tokens"),
            ("POST", "/api/v1/logout"),
        ] {
            node.ask(method, path, &headers, &user).await.problem(403, "cross_origin");
        }
        // A WebSocket begins as a GET.
        let upgrade = [cookie.as_str(), from, "Upgrade: websocket", "Sec-WebSocket-Version: 13"];
        node.ask("GET", "/api/v1/cameras", &upgrade, "").await.problem(403, "cross_origin");
    }
    let own = [cookie.as_str(), "Origin: http://node:8080", "Upgrade: websocket"];
    assert_eq!(node.ask("GET", "/api/v1/cameras", &own, "").await.status, 200);
    let token = bearer(&node.token().await);
    let program = [token.as_str(), "Upgrade: websocket"];
    assert_eq!(node.ask("GET", "/api/v1/cameras", &program, "").await.status, 200);
    // A request that only looks as if it came from here: the `Host` is part of what a page cannot choose.
    let rebound = [cookie.as_str(), "Origin: http://evil.example:8080"];
    node.ask("POST", "/api/v1/logout", &rebound, "").await.problem(403, "cross_origin");
}

#[tokio::test]
async fn texts_that_are_commands_elsewhere_are_only_texts() {
    let node = Node::start().await;
    let admin = bearer(&node.token().await);
    let marker = node.data.path().join("injected");
    let texts = [
        format!("$(touch {})", marker.display()),
        format!("; touch {} ;", marker.display()),
        format!("`touch {}`", marker.display()),
        "' OR '1'='1".to_owned(),
        "'); DROP TABLE users;--".to_owned(),
        "<script>alert(1)</script>".to_owned(),
        "../../../../etc/passwd".to_owned(),
        "a\r\nSet-Cookie: keepwatch_session=x".to_owned(),
        "a\u{0}b".to_owned(),
        "--option=x".to_owned(),
        "%2e%2e%2f%00".to_owned(),
        "\u{202e}nimda".to_owned(),
        "{{7*7}}${7*7}".to_owned(),
    ];
    for text in &texts {
        let answers = [
            node.login(text, text).await,
            node.send(
                "POST",
                "/api/v1/users",
                &admin,
                &json!({"name": text, "password": USER_PASSWORD, "role": null, "cameras": {}}),
            )
            .await,
            node.send(
                "POST",
                "/api/v1/users",
                &admin,
                &json!({"name": "x", "password": USER_PASSWORD, "role": text, "cameras": {}}),
            )
            .await,
            node.send(
                "POST",
                "/api/v1/users",
                &admin,
                &json!({"name": "x", "password": USER_PASSWORD, "role": null, "cameras": {(text): "viewer"}}),
            )
            .await,
            node.send(
                "POST",
                "/api/v1/tokens",
                &admin,
                &json!({"name": "x", "expires": text, "role": null, "cameras": null}),
            )
            .await,
            node.send("POST", "/api/v1/setup", "X: y", &json!({"code": text, "password": text})).await,
        ];
        for answer in answers {
            assert!((400..500).contains(&answer.status), "{text:?}: {answer:?}");
            assert!(
                !answer.head.contains("set-cookie") && answer.head.contains("application/problem+json"),
                "{answer:?}"
            );
        }
        let encoded: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for path in ["users", "sessions", "tokens", "cameras"] {
            let answer = node.ask("GET", &format!("/api/v1/{path}/{encoded}"), &[&admin], "").await;
            assert!((400..500).contains(&answer.status) || path == "cameras", "{text:?}: {answer:?}");
        }
        // The brakes are not what is tested here.
        node.world.advance(Duration::from_secs(15 * 60));
    }
    // One whose name of a token is a command keeps it as a name.
    let named = json!({"name": texts[0], "expires": null, "role": null, "cameras": null});
    assert_eq!(node.send("POST", "/api/v1/tokens", &admin, &named).await.status, 201);
    let listed = node.ask("GET", "/api/v1/tokens", &[&admin], "").await;
    assert_eq!(listed.body["items"][0]["name"], json!(texts[0]));
    assert!(!marker.exists());
    // A name with a line feed stays in its line of the audit log.
    let audited = node.ask("GET", "/api/v1/audit?order=newest", &[&admin], "").await;
    assert!(audited.body["items"].as_array().unwrap().iter().any(|line| line["user"] == json!(texts[7])));
    let report = crate::verify_audit(node.data.path(), &[]).unwrap();
    assert_eq!((report.fault, report.unfinished_bytes), (None, 0));
}
