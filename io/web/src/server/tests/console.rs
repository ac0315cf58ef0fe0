//! The console's files, and the headers that every answer has.

use super::*;
use crate::Asset;

pub(super) fn find(path: &str) -> Option<Asset> {
    let page = Asset { bytes: b"<html>", media_type: "text/html", etag: "\"page\"", immutable: false };
    match path {
        "/" => Some(page),
        "/assets/b.css" => {
            let bytes = b"                                                                                  ";
            Some(Asset { bytes, media_type: "text/css", etag: "\"style\"", immutable: true })
        }
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
    for held in ["\"page\"", "*", "\"x\", \"page\"", "W/\"page\""] {
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
async fn the_console_is_compressed_for_who_takes_it_and_caches_keep_both_apart() {
    let node = Node::start().await;
    let gzip = "Accept-Encoding: gzip, deflate, br, zstd";
    let (plain, style) = ("/assets/b.css", "\"style-gzip\"");
    for _ in 0..2 {
        // The body is no text.
        let answer = node.ask("HEAD", plain, &[gzip], "").await;
        assert_eq!(answer.status, 200);
        for line in
            ["content-encoding: gzip", "vary: accept-encoding", style, "content-type: text/css", "immutable"]
        {
            assert!(answer.head.contains(line), "{line}: {answer:?}");
        }
    }
    let held = format!("If-None-Match: W/{style}");
    let again = node.ask("GET", plain, &[gzip, &held], "").await;
    assert!(
        again.status == 304 && again.head.contains(style) && again.head.contains("vary: accept-encoding")
    );
    let without = node.ask("GET", plain, &[&held], "").await;
    assert!(without.status == 200 && !without.head.contains("content-encoding"), "{without:?}");
    assert!(without.head.contains("vary: accept-encoding") && without.head.contains("etag: \"style\""));
    // It would not be smaller.
    let script = node.ask("GET", "/assets/a.js", &[gzip], "").await;
    assert!(
        !script.head.contains("content-encoding") && script.head.contains("etag: \"script\""),
        "{script:?}"
    );
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
