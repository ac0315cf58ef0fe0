//! What makes no sense, or more sense than it should, in every field and every part of a request: it is answered with a
//! problem that says so, nothing of it is believed, stored or written where it does not belong, and recording goes on.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use keepwatch_it::{Answer, Cameras, Description, Http, Node, Route, Site};
use keepwatch_model::{Span, TICKS_PER_SECOND};
use serde_json::{Value, json};

use crate::{reconfigure, shared};

const PATIENCE: Duration = Duration::from_secs(60);
const PASSWORD: &str = "a password for a test";
/// Longest that a refusal may take on a busy machine; nothing is looked for, read or computed for it.
const REFUSAL: Duration = Duration::from_secs(5);

/// What has made trouble somewhere: databases, shells, paths, pages, logs, terminals, formats.
fn nasty() -> Vec<String> {
    let mut nasty: Vec<String> = [
        "' OR '1'='1' --",
        "\"; DROP TABLE footage; --",
        "../../../../etc/passwd",
        "/etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "....//....//etc/passwd",
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "\0",
        "a\0b",
        "x\r\nSet-Cookie: forged=1",
        "x\nFORGED a line of the log",
        "\u{1b}[2J\u{1b}]0;forged\u{7}",
        "\u{202e}drowssap\u{feff}",
        "${jndi:ldap://127.0.0.1/a}",
        "%s%s%n{{7*7}}",
        "$(touch forged)",
        "`touch forged`; touch forged",
        "",
        " ",
        ".",
        "..",
        "null",
        "-1",
        "99999999999999999999999",
    ]
    .map(str::to_owned)
    .to_vec();
    nasty.extend(["x".repeat(300), "\u{1f600}".repeat(2_000), "9".repeat(60_000)]);
    nasty
}

/// Every byte that is not plain, as RFC 3986 §2.1 writes it.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// Checks that an answer is one: not the node's fault, and where it refuses, a problem with a sentence.
fn check(what: &str, answer: &Answer) {
    let shown = || String::from_utf8_lossy(&answer.body).chars().take(600).collect::<String>();
    assert!(answer.status >= 200 && answer.status < 500, "{what:.200}: {} {}", answer.status, shown());
    if answer.status >= 400 {
        let kind = answer.header("content-type");
        assert_eq!(kind, Some("application/problem+json"), "{what:.200}: {}", shown());
        let problem = answer.json().unwrap();
        let whole = problem["code"].is_string()
            && problem["detail"].is_string()
            && problem["status"] == answer.status;
        assert!(whole, "{what:.200}: {problem}");
        assert!(answer.body.len() < 8_192, "{what:.200}: {} bytes of refusal", answer.body.len());
    }
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{what:.200}");
    assert!(
        !answer.headers.iter().any(|(_, value)| value.contains("forged")),
        "{what:.200}: {:?}",
        answer.headers
    );
    assert!(!shown().contains("root:x:"), "{what:.200}: {}", shown());
}

/// A body that would be taken, for each route that takes one; `{id}` and so on stand in the path as they are asked for.
fn bodies(span: Span) -> BTreeMap<(&'static str, &'static str), (String, Value)> {
    let camera = json!({"id": "made", "url": "rtsp://127.0.0.1:1/x"});
    let [from, to] = ["2020-01-01T00:00:00Z", "2020-01-01T00:00:01Z"];
    let at = |path: &str| format!("/api/v1{path}");
    BTreeMap::from([
        (("POST", "/api/v1/cameras"), (at("/cameras"), camera.clone())),
        (("PUT", "/api/v1/cameras/{id}"), (at("/cameras/kept"), json!({"url": "rtsp://127.0.0.1:1/x"}))),
        (
            ("POST", "/api/v1/cameras/{id}/alarm"),
            (at("/cameras/cam1/alarm"), json!({"note": "x", "seconds": 1})),
        ),
        (("POST", "/api/v1/cameras/test"), (at("/cameras/test"), camera)),
        (("POST", "/api/v1/exports"), (at("/exports"), json!({"cameras": ["cam1"], "from": from, "to": to}))),
        (
            ("POST", "/api/v1/protections"),
            (at("/protections"), json!({"camera": "cam1", "from": span.from, "to": span.to, "note": "x"})),
        ),
        (("POST", "/api/v1/scans"), (at("/scans"), json!({"addresses": ["127.0.0.1"], "seconds": 1}))),
        (("PUT", "/api/v1/edge/lines/{camera}"), (at("/edge/lines/cam1"), json!({"speed_percent": 300}))),
        (
            ("POST", "/api/v1/edge/recorder"),
            (at("/edge/recorder"), json!({"address": "127.0.0.1:1", "token": "x"})),
        ),
        (
            ("POST", "/api/v1/failover/primaries"),
            (at("/failover/primaries"), json!({"items": [{"address": "127.0.0.1:1", "token": "x"}]})),
        ),
        (
            ("POST", "/api/v1/failover/primaries/{role}/replace"),
            (
                at("/failover/primaries/00000000-0000-0000-0000-000000000000/replace"),
                json!({"address": "127.0.0.1:1", "token": "x"}),
            ),
        ),
        (
            ("POST", "/api/v1/failover/scans"),
            (at("/failover/scans"), json!({"addresses": ["127.0.0.1"], "seconds": 1})),
        ),
        (
            ("PUT", "/api/v1/failover/primaries/{role}"),
            (at("/failover/primaries/00000000-0000-0000-0000-000000000000"), json!({"mode": "manual"})),
        ),
        (
            ("PUT", "/api/v1/failover/setup"),
            (
                at("/failover/setup"),
                json!({"check_interval_ms": 1_000, "setup_backup_interval_s": 600, "auto_failover_threshold": 3}),
            ),
        ),
        (
            ("PUT", "/api/v1/replenishment"),
            (at("/replenishment"), json!({"paused": false, "bits_per_second_max": 1_000_000})),
        ),
        (("POST", "/api/v1/login"), (at("/login"), json!({"user": "nobody", "password": "wrong"}))),
        (("POST", "/api/v1/setup"), (at("/setup"), json!({"code": "x", "password": PASSWORD}))),
        (
            ("PUT", "/api/v1/session/password"),
            (at("/session/password"), json!({"old": "wrong", "new": PASSWORD})),
        ),
        (("POST", "/api/v1/tokens"), (at("/tokens"), json!({"name": "made"}))),
        (
            ("POST", "/api/v1/users"),
            (at("/users"), json!({"name": "made", "password": PASSWORD, "role": null, "cameras": {}})),
        ),
        (("PUT", "/api/v1/users/{name}"), (at("/users/victim"), json!({"role": null, "cameras": {}}))),
    ])
}

/// `text` as a property of this shape would hold it.
fn shaped(shape: &Value, text: &str) -> Value {
    let is = |kind: &str| {
        shape["type"] == kind || shape["type"].as_array().is_some_and(|kinds| kinds.contains(&json!(kind)))
    };
    if is("array") {
        json!([text])
    } else if is("object") {
        json!({text: "viewer"})
    } else {
        json!(text)
    }
}

/// Takes back what was made, so that the next of its kind is not refused for being one too many.
fn take_back(http: &Http, route: &Route, answer: &Answer) {
    if answer.status != 201 {
        return;
    }
    let made = answer.json().unwrap();
    let id = |name: &str| made[name].as_str().map_or_else(|| made[name].to_string(), encoded);
    let name = if route.path.ends_with("/users") { "name" } else { "id" };
    // A scan runs to its end.
    if !route.path.ends_with("/scans") {
        let path = format!("{}/{}", route.path, id(name));
        let removed = http.request("DELETE", &path, None).unwrap();
        assert!([200, 204].contains(&removed.status), "{path}: {}", removed.code());
    }
}

/// The names of all that lies directly in a directory.
fn names(path: &Path) -> Vec<String> {
    let entries =
        std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.collect();
    names.sort_unstable();
    names
}

#[test]
fn no_text_in_any_field_or_parameter_is_more_than_a_text() {
    let _machine = shared();
    let site = Site::new().unwrap();
    let cameras = Cameras::start(&site, 1, "127.0.0.1").unwrap();
    let node = Node::recording(&site, &cameras).unwrap();
    let from = node.first_label("cam1").unwrap();
    let span = Span::new(from, from.plus(TICKS_PER_SECOND)).unwrap();
    node.wait_durable("cam1", span.to, PATIENCE).unwrap();
    let admin = node.http();
    for name in ["victim", "changer"] {
        let user = json!({"name": name, "password": PASSWORD, "role": null, "cameras": {}});
        admin.request("POST", "/api/v1/users", Some(&user)).unwrap().success().unwrap();
    }
    let kept = json!({"id": "kept", "url": "rtsp://127.0.0.1:1/x"});
    admin.request("POST", "/api/v1/cameras", Some(&kept)).unwrap().success().unwrap();
    let (changer, _) = admin.session("changer", PASSWORD).unwrap();
    let (users, before) = (admin.get("/api/v1/users").unwrap(), names(site.path()));

    let routes = Description::read(&site).unwrap().routes().unwrap();
    let bodies = bodies(span);
    let nasty = nasty();
    let mut tried = 0;
    for route in &routes {
        let key = (route.method.as_str(), route.path.as_str());
        if let Some(shape) = &route.body {
            let (path, base) = bodies.get(&key).unwrap_or_else(|| panic!("what would {key:?} take?"));
            // Wrong passwords slow down who shows them; that must not be the administrator.
            let http = if path.ends_with("/password") { &changer } else { admin };
            for (field, shape) in shape["properties"].as_object().unwrap() {
                for text in &nasty {
                    let mut body = base.clone();
                    body[field] = shaped(shape, text);
                    let answer = http.request(&route.method, path, Some(&body)).unwrap();
                    let what = format!("{key:?} {field} = {text:?}");
                    check(&what, &answer);
                    if answer.status < 300 && ["name", "note"].contains(&field.as_str()) {
                        assert_eq!(
                            answer.json().unwrap()[field],
                            json!(text),
                            "{what:.200}: kept as it was sent"
                        );
                    }
                    take_back(http, route, &answer);
                    tried += 1;
                }
            }
        }
        if route.method == "GET" {
            let path = route
                .path
                .replace("/cameras/{id}", "/cameras/cam1")
                .replace("{id}", "1")
                .replace("{role}", "00000000-0000-0000-0000-000000000000")
                .replace("{name}", "admin");
            for parameter in &route.query {
                for text in nasty.iter().filter(|text| text.len() < 10_000) {
                    let window = if parameter == "from" || parameter == "to" {
                        String::new()
                    } else {
                        format!("&from={}&to={}", span.from, span.to)
                    };
                    let path = format!("{path}?{parameter}={}{window}", encoded(text));
                    let answer = admin.request("GET", &path, None).unwrap();
                    if answer.status != 426 {
                        check(&path, &answer);
                    }
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 2_000, "{tried}");

    let now = admin.get("/api/v1/users").unwrap();
    let listed = |users: &Value| {
        let of =
            |user: &Value| (user["name"].to_string(), user["role"].to_string(), user["cameras"].to_string());
        users["items"].as_array().unwrap().iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(listed(&now), listed(&users));
    assert_eq!(names(site.path()), before, "no file was made");
    // What is told of it is JSON, line by line, and says nothing by itself.
    for path in ["/api/v1/events", "/api/v1/audit", "/api/v1/revisions", "/api/v1/status", "/api/v1/cameras"]
    {
        admin.get(path).unwrap();
    }
    let log = std::fs::read_to_string(site.path().join("node.log")).unwrap();
    assert!(
        !log.lines().any(|line| line.starts_with("FORGED") || line.starts_with("Set-Cookie")),
        "a forged line"
    );
    assert!(!log.contains(['\0', '\u{1b}', '\u{7}', '\u{202e}']), "characters that steer a terminal");
    let shown = site.run(["status", "--config", "keepwatch.toml"]).unwrap().stdout;
    assert!(shown.contains("cameras recording") && !shown.contains(['\0', '\u{1b}', '\u{7}']), "{shown:?}");

    // Not a frame is missing.
    let to = node.durable_until("cam1").unwrap().unwrap();
    let lines = node.coverage("cam1", Some(Span::new(from, to).unwrap())).unwrap();
    assert!(lines.iter().all(|line| line.state == "held"), "{lines:?}");
    assert_eq!(cameras.connections("cam1").unwrap().len(), 1);
    node.end().unwrap();
    site.run(["audit", "verify", "--data", "data"]).unwrap().success().unwrap();
}

#[test]
fn no_path_leads_elsewhere_and_no_window_is_too_strange_to_be_refused() {
    let _machine = shared();
    let site = Site::new().unwrap();
    let cameras = Cameras::start(&site, 1, "127.0.0.1").unwrap();
    let node = Node::recording(&site, &cameras).unwrap();
    let from = node.first_label("cam1").unwrap();
    let admin = node.http();
    std::fs::write(site.path().join("root"), "root:x:0").unwrap();

    let ids = [
        "..",
        ".",
        "%2e%2e",
        "%2E%2E%2F%2E%2E",
        "..%2f..%2f..%2fetc%2fpasswd",
        "%00",
        "cam1%00",
        "cam1%00.json",
        "cam1%20",
        "%20cam1",
        "CAM1",
        "cam1%2f..%2fcam1",
        "cam1;x=1",
        "cam1%0d%0aX:%20y",
        "%ff%fe",
        "%c0%ae%c0%ae",
        "*",
        "%5c..%5c",
        "0x1",
        "-1",
        "1e9",
        "00001",
        "18446744073709551616",
        "%F0%9F%98%80",
        "%252e%252e",
        &"a".repeat(4_000),
    ]
    .map(str::to_owned);
    let routes = Description::read(&site).unwrap().routes().unwrap();
    for route in routes.iter().filter(|route| route.path.contains('{')) {
        for id in &ids {
            let path = route.path.replace("{id}", id).replace("{name}", id).replace("{number}", id);
            let path = path.replace("{role}", id);
            let body = if route.body.is_some() { "{}" } else { "" };
            let answer = admin.request_text(&route.method, &path, &[], body).unwrap();
            let what = format!("{} {path}", route.method);
            check(&what, &answer);
            assert!(answer.status >= 400, "{what:.200}: {}", answer.status);
        }
    }
    for path in [
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2f..%2fetc%2fpasswd",
        "//etc/passwd",
        "/assets/../../root",
        "/assets/..%2f..%2froot",
        "/assets/%2e%2e/index.html",
        "/index.html%00.js",
        "/..\\..\\root",
        "/data/users.json",
        "/.git/config",
        "/api/v1/../../root",
        "/api/../index.html",
        "/api/v1/cameras/../users",
        "http://evil.example/api/v1/users",
        "/api/v1/users/",
        "/API/V1/users",
        "/api/v1//users",
        "*",
        "/%",
    ] {
        let answer = node.http().stranger().request("GET", path, None).unwrap();
        assert!((400..500).contains(&answer.status), "{path}: {}", answer.status);
        assert!(!String::from_utf8_lossy(&answer.body).contains("root:x"), "{path}");
    }

    // Times that are none, and windows that are none, or all there ever was. Where all is too much that is said at once.
    let (first, last) = ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z");
    let later = from.plus(TICKS_PER_SECOND).to_string();
    let from = from.to_string();
    let wrong = [
        ("yesterday", "now"),
        ("", ""),
        (&later, &from),
        (&from, &from),
        (&from, ""),
        ("", &from),
        (&from, "2026-13-01T00:00:00Z"),
        (&from, "2026-02-30T00:00:00Z"),
        (&from, "2026-11-22T24:61:00Z"),
        (&from, "2026-11-22"),
        (&from, "99999-01-01T00:00:00Z"),
        ("-0001-01-01T00:00:00Z", &from),
        ("1e400", "1e401"),
        ("NaN", "inf"),
        ("1970-01-01T00:00:00", &from),
        (last, first),
        ("0000-00-00T00:00:00Z", &from),
        (&from, "2026-11-22T00:00:00%2b25:99"),
        ("%00", "%00"),
        ("'", "\""),
        (first, last),
    ];
    let windowed =
        routes.iter().filter(|route| route.query.iter().any(|name| name == "from") && route.method == "GET");
    for route in windowed.clone() {
        let path = route.path.replace("{id}", "cam1");
        for (from, to) in wrong {
            let path = format!("{path}?from={}&to={}", from.replace('"', "%22"), to.replace('"', "%22"));
            let asked = Instant::now();
            let answer = admin.request("GET", &path, None).unwrap();
            check(&path, &answer);
            // Lists of what is kept anyway may be asked for as a whole.
            let may_all = from == first && !path.contains("mp4") && !path.contains("/frames");
            assert!(may_all || answer.status == 400, "{path}: {} {}", answer.status, answer.code());
            assert!(asked.elapsed() < REFUSAL, "{path}: {:?}", asked.elapsed());
        }
    }
    assert!(windowed.count() >= 5);
    for (route, window) in
        [("exports", json!({"cameras": ["cam1"]})), ("protections", json!({"camera": "cam1"}))]
    {
        for (from, to) in wrong.into_iter().filter(|window| *window != (first, last)) {
            let mut body = window.clone();
            (body["from"], body["to"]) = (json!(from), json!(to));
            let answer = admin.request("POST", &format!("/api/v1/{route}"), Some(&body)).unwrap();
            check(&format!("{route} {body}"), &answer);
            assert!([400, 422].contains(&answer.status), "{route} {body}: {}", answer.status);
        }
    }
    for query in [
        "coverage?buckets=0",
        "coverage?buckets=10001",
        "coverage?buckets=-1",
        "coverage?buckets=99999999999999999999",
        "coverage?cursor=x",
        "coverage?stream=main%00",
        "coverage?stream=2",
        "picture.jpg?width=0",
        "picture.jpg?width=-1",
        "picture.jpg?width=4294967296",
        "picture.jpg?at=never",
        "picture.jpg?at=",
        "coverage?from=2026-01-01T00:00:00Z&from=x",
    ] {
        let answer = admin.request("GET", &format!("/api/v1/cameras/cam1/{query}"), None).unwrap();
        check(query, &answer);
        assert_eq!(answer.status, 400, "{query}");
    }
    node.end().unwrap();
}

/// A request that ends the connection.
fn last(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n")
}

/// The statuses of the answers in `text`, which are told apart by how each begins.
fn statuses(text: &str) -> Vec<&str> {
    text.split("HTTP/1.").skip(1).filter_map(|answer| answer.split(' ').nth(1)).collect()
}

#[test]
fn bodies_and_headers_that_are_too_large_or_make_no_sense_are_refused_and_nothing_is_smuggled() {
    let _machine = shared();
    let site = Site::new().unwrap();
    Node::configure(&site, "127.0.0.1:0", &[]).unwrap();
    reconfigure(&site, "[node]", "camera = []\n[node]");
    let node = Node::start(&site).unwrap();
    let stranger = node.http().stranger();
    let bearer = node.http().token().unwrap().to_owned();
    let post = |path: &str, headers: &str, body: &[u8]| {
        let kind = "Content-Type: application/json\r\nConnection: close\r\n";
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: n\r\nAuthorization: Bearer {bearer}\r\n{kind}{headers}\r\n"
        );
        stranger.raw(&[head.as_bytes(), body].concat()).unwrap()
    };
    let sized = |path: &str, body: &[u8]| post(path, &format!("Content-Length: {}\r\n", body.len()), body);
    let status = |text: &str| statuses(text).first().map(|status| (*status).to_owned()).unwrap_or_default();

    // Bodies: too large by what is said, and by what comes; nested, cut off, no text, no JSON.
    assert_eq!(status(&post("/api/v1/exports", "Content-Length: 1048577\r\n", b"")), "413");
    assert_eq!(status(&post("/api/v1/exports", "Content-Length: 99999999999999\r\n", b"")), "413");
    let large = vec![b' '; 1_100_000];
    let chunk = [b"10c8e0\r\n", &large[..], b"\r\n0\r\n\r\n"].concat();
    assert_eq!(status(&post("/api/v1/exports", "Transfer-Encoding: chunked\r\n", &chunk)), "413");
    assert_eq!(status(&sized("/api/v1/login", &large[..9_000])), "413");
    assert_eq!(status(&sized("/api/v1/users", &large[..70_000])), "413");
    let deep = "[".repeat(500_000);
    let fields = format!("{{{}\"a\":1}}", "\"a\":1,".repeat(100_000));
    for body in [
        deep.as_bytes(),
        fields.as_bytes(),
        b"{\"cameras\": [",
        b"\xff\xfe{}",
        b"\xef\xbb\xbf{}",
        b"{\"cameras\": 1e999}",
        b"{\"cameras\": [], \"cameras\": []}",
        b"null",
        b"\"x\"",
        b"{\"from\": \"\\ud800\"}",
    ] {
        for path in ["/api/v1/exports", "/api/v1/cameras", "/api/v1/protections"] {
            let said = sized(path, body);
            assert!(
                ["400", "413", "422"].contains(&status(&said).as_str()),
                "{path} {:.40}: {said:.300}",
                String::from_utf8_lossy(body)
            );
        }
    }

    // Heads.
    let head =
        |lines: &str| format!("GET /api/v1/health HTTP/1.1\r\nHost: n\r\nConnection: close\r\n{lines}\r\n");
    let many: String = (0..80).map(|number| format!("X-{number}: x\r\n")).collect();
    for (what, request, expected) in [
        ("many fields", head(&many), &["431", "400"][..]),
        ("a large field", head(&format!("X: {}\r\n", "x".repeat(40_000))), &["431", "400"]),
        ("a long path", last(&format!("/{}", "x".repeat(40_000))), &["414", "431", "400"]),
        ("a line without a colon", head("X\r\n"), &["400"]),
        ("a zero", head("X: \0\r\n"), &["400"]),
        ("a space before the colon", head("X : x\r\n"), &["400"]),
        ("a folded line", head("X: a\r\n b\r\n"), &["400"]),
        ("two lengths", head("Content-Length: 1\r\nContent-Length: 2\r\n"), &["400"]),
        ("a negative length", head("Content-Length: -1\r\n"), &["400"]),
        ("a length with a sign", head("Content-Length: +1\r\n"), &["400"]),
        ("an unknown coding", head("Transfer-Encoding: chunked, gzip\r\n"), &["400"]),
        ("another version", "GET / HTTP/3.0\r\n\r\n".to_owned(), &["400", "505"]),
        ("no version", "GET /api/v1/users\r\n\r\n".to_owned(), &["400"]),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), &["400", "505"]),
        ("no method", " / HTTP/1.1\r\n\r\n".to_owned(), &["400"]),
        ("RTSP", "DESCRIBE rtsp://n/cam1 RTSP/1.0\r\nCSeq: 1\r\n\r\n".to_owned(), &["400"]),
    ] {
        let said = stranger.raw(request.as_bytes()).unwrap();
        // Who ends the connection without a word has refused, too.
        assert!(said.is_empty() || expected.contains(&status(&said).as_str()), "{what}: {said:.300}");
    }

    // One request behind another: in order, and garbage is the end. What one reader takes for a body and another for
    // a request is taken for neither.
    let health = "GET /api/v1/health HTTP/1.1\r\nHost: n\r\n\r\n";
    let said = stranger.raw(format!("{}{}", health.repeat(200), last("/api/v1/users")).as_bytes()).unwrap();
    let answers = statuses(&said);
    assert_eq!(
        (answers.len(), answers[..200].iter().all(|status| *status == "200"), answers[200]),
        (201, true, "401")
    );
    let said = stranger
        .raw(format!("{health}\x16\x03\x01garbage\r\n\r\n{}", last("/api/v1/health")).as_bytes())
        .unwrap();
    assert_eq!(statuses(&said), ["200", "400"]);
    let hidden = last("/api/v1/users");
    for lines in [
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", hidden.len() + 5),
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n".to_owned(),
        "Transfer-Encoding: x\r\n".to_owned(),
        "Transfer-Encoding : chunked\r\n".to_owned(),
        format!("Content-Length: {}\r\n", hidden.len()),
        "Content-Length: 0, 0\r\n".to_owned(),
    ] {
        let head = format!("POST /api/v1/logout HTTP/1.1\r\nHost: n\r\n{lines}\r\n");
        let said = stranger.raw(format!("{head}0\r\n\r\n{hidden}{hidden}").as_bytes());
        let said = said.unwrap();
        let answers = statuses(&said);
        assert!(answers.iter().all(|status| ["400", "401"].contains(status)), "{lines}: {answers:?}");
        assert!(answers.len() <= 3, "{lines}: {answers:?}");
    }
    assert_eq!(node.http().request("GET", "/api/v1/status", None).unwrap().status, 200);
    node.end().unwrap();
}
