//! The console's files, and the headers that every answer has.

use super::*;
use crate::Asset;

pub(super) fn find(path: &str) -> Option<Asset> {
    let page = Asset { bytes: b"<html>", media_type: "text/html", etag: "\"page\"", immutable: false };
    match path {
        "/" => Some(page),
        "/assets/a.js" => {
            Some(Asset { bytes: b"1", media_type: "text/javascript", etag: "\"script\"", immutable: true })
        }
        _ => None,
    }
}

#[tokio::test]
async fn the_console_is_served_without_a_login_and_nothing_else_is() {
    let node = Node::start().await;
    let page = node.ask("GET", "/", &[], "").await;
    assert_eq!(page.status, 200);
    assert!(page.head.contains("content-type: text/html") && page.head.contains("cache-control: no-cache"));
    let script = node.ask("GET", "/assets/a.js", &[], "").await;
    assert!(script.head.contains("cache-control: public, max-age=31536000, immutable"), "{script:?}");
    for held in ["\"page\"", "*", "\"x\", \"page\""] {
        let again = node.ask("GET", "/", &[&format!("If-None-Match: {held}")], "").await;
        assert_eq!(again.status, 304, "{held}");
    }
    assert_eq!(node.ask("HEAD", "/", &[], "").await.status, 200);
    assert_eq!(node.ask("GET", "/assets/none.js", &[], "").await.status, 404);
    for (method, path) in [("POST", "/"), ("GET", "/assets"), ("GET", "/live"), ("DELETE", "/assets/a.js")] {
        assert_eq!(node.ask(method, path, &[], "").await.status, 401, "{method} {path}");
    }
    for path in ["/assets/../api/v1/cameras", "/assets/%2e%2e/api/v1/cameras", "/assets//api/v1/cameras"] {
        assert_eq!(node.ask("GET", path, &[], "").await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn every_answer_keeps_the_browser_on_a_short_lead() {
    let node = Node::start().await;
    let header = bearer(&node.token().await);
    let answers = [
        node.ask("GET", "/", &[], "").await,
        node.ask("GET", "/api/v1/health", &[], "").await,
        node.ask("GET", "/api/v1/cameras", &[], "").await,
        node.ask("GET", "/api/v1/nothing", &[&header], "").await,
        node.ask("GET", "/api/v1/cameras", &[&header], "").await,
    ];
    for answer in answers {
        for line in [
            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: \
             blob:; media-src 'self' blob:; connect-src 'self'; font-src 'self'; frame-ancestors 'none'; base-uri \
             'none'; form-action 'self'",
            "x-content-type-options: nosniff",
            "x-frame-options: deny",
            "referrer-policy: no-referrer",
            "cross-origin-opener-policy: same-origin",
            "cross-origin-resource-policy: same-origin",
            "permissions-policy: ",
        ] {
            assert!(answer.head.contains(line), "{line}: {answer:?}");
        }
        assert!(
            !answer.head.contains("strict-transport-security"),
            "a self-made certificate could not be accepted"
        );
        assert!(!answer.head.contains("access-control-allow"), "{answer:?}");
    }
}
