//! What is refused: a session that ended, a code that was used, a page of another origin, and headers that lie about
//! where a request is from.

use std::collections::BTreeSet;
use std::time::Duration;

use keepwatch_it::{Description, Http, Network, Node, Place, Program, Route, Site, namespaces};
use serde_json::{Value, json};

use crate::shared;

const PATIENCE: Duration = Duration::from_secs(20);

fn status(http: &Http, method: &str, path: &str) -> u16 {
    http.request(method, path, None).unwrap().status
}

/// A node without cameras.
fn configured() -> Site {
    let site = Site::new().unwrap();
    Node::configure(&site, "127.0.0.1:0", &[]).unwrap();
    let path = site.path().join("keepwatch.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, format!("camera = []\n{text}")).unwrap();
    site
}

/// Starts a node that is told no password; also a client, and the code that it printed.
fn start_new(site: &Site) -> (Program, Http, Option<String>) {
    let mut command = Node::command(site);
    command.env_remove("KEEPWATCH_ADMIN_PASSWORD");
    let program = Program::start(command, site.path().join("node.log")).unwrap();
    let ready = program.json(PATIENCE).unwrap();
    let http = Http::new(Place::Address(ready["listening"][0].as_str().unwrap().parse().unwrap()));
    let log = program.log();
    let code =
        log.split_once("/#/setup/").map(|(_, rest)| rest.split_whitespace().next().unwrap().to_owned());
    (program, http, code)
}

#[test]
fn the_first_administrator_is_made_once_and_by_nobody_without_the_code() {
    let _machine = shared();
    let site = configured();
    let (mut program, http, code) = start_new(&site);
    let code = code.unwrap_or_else(|| panic!("no code is printed: {}", program.log()));
    let set_up = |http: &Http, code: &str, headers: &[(&str, &str)]| {
        let body = json!({"code": code, "password": Node::PASSWORD}).to_string();
        let answer = http.request_text("POST", "/api/v1/setup", headers, &body).unwrap();
        (answer.status, answer.code())
    };
    assert_eq!(http.get("/api/v1/setup").unwrap(), json!({"needed": true, "session": false}));
    for wrong in ["", "aaaa-aaaa-aaaa-aaaa", &code[1..]] {
        assert_eq!(set_up(&http, wrong, &[]), (403, "setup_code_wrong".to_owned()), "{wrong:?}");
    }
    for header in [("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.example")] {
        assert_eq!(set_up(&http, &code, &[header]), (403, "cross_origin".to_owned()), "{header:?}");
    }
    // All at once: one of them is first.
    let answers: Vec<_> = std::thread::scope(|scope| {
        let posts: Vec<_> = (0..8).map(|_| scope.spawn(|| set_up(&http, &code, &[]))).collect();
        posts.into_iter().map(|post| post.join().unwrap()).collect()
    });
    let made = answers.iter().filter(|(status, _)| *status == 200).count();
    assert_eq!(made, 1, "{answers:?}");
    assert!(answers.iter().all(|(status, _)| *status < 500 || *status == 503), "{answers:?}");
    assert_eq!(set_up(&http, &code, &[]), (410, "setup_done".to_owned()));
    assert_eq!(http.get("/api/v1/setup").unwrap(), json!({"needed": false, "session": false}));
    let (admin, _) = http.session("admin", Node::PASSWORD).unwrap();
    let users = admin.get("/api/v1/users").unwrap();
    assert_eq!(users["items"].as_array().unwrap().len(), 1, "{users}");

    // Another start prints none, and takes none.
    assert!(program.end(PATIENCE).unwrap().success());
    let (mut program, http, again) = start_new(&site);
    assert_eq!(again, None);
    assert_eq!(set_up(&http, &code, &[]).0, 410);
    assert!(program.end(PATIENCE).unwrap().success());
}

#[test]
fn a_session_that_ended_is_worth_nothing_however_it_is_shown() {
    let _machine = shared();
    let site = configured();
    let mut node = Node::start(&site).unwrap();
    let stranger = node.http().stranger();
    let worthless = |what: &str, http: &Http| {
        for (method, path) in [
            ("GET", "/api/v1/session"),
            ("GET", "/api/v1/users"),
            ("POST", "/api/v1/logout"),
            ("DELETE", "/api/v1/users/x"),
        ] {
            assert_eq!(status(http, method, path), 401, "{what}: {method} {path}");
        }
        assert!(http.websocket("/api/v1/status").is_err(), "{what}: a socket");
    };
    let (bearer, page) = stranger.session("admin", Node::PASSWORD).unwrap();
    assert_eq!([status(&bearer, "GET", "/api/v1/users"), status(&page, "GET", "/api/v1/users")], [200, 200]);
    assert_eq!(status(&bearer, "POST", "/api/v1/logout"), 204);
    worthless("a bearer token after logout", &bearer);
    worthless("a cookie after logout", &page);

    // A cookie that was there before is not taken up by a login.
    let body = json!({"user": "admin", "password": Node::PASSWORD}).to_string();
    let planted = format!("keepwatch_session={}", "A".repeat(43));
    let answer = stranger.request_text("POST", "/api/v1/login", &[("Cookie", &planted)], &body).unwrap();
    assert!(!answer.header("set-cookie").unwrap().starts_with(&planted));
    worthless("a planted cookie", &stranger.page(&planted));

    // A changed password ends the other sessions, and the old password.
    let (one, one_page) = stranger.session("admin", Node::PASSWORD).unwrap();
    let (other, other_page) = stranger.session("admin", Node::PASSWORD).unwrap();
    let words = json!({"old": Node::PASSWORD, "new": "another for a test"});
    assert_eq!(one.request("PUT", "/api/v1/session/password", Some(&words)).unwrap().status, 204);
    worthless("another session after a change", &other);
    worthless("its cookie", &other_page);
    assert_eq!([status(&one, "GET", "/api/v1/users"), status(&one_page, "GET", "/api/v1/users")], [200, 200]);
    assert!(stranger.session("admin", Node::PASSWORD).is_err());
    let named = json!({"name": "kept"});
    let token = one.request("POST", "/api/v1/tokens", Some(&named)).unwrap().success().unwrap();
    let token = token["token"].as_str().unwrap().to_owned();
    // What is shown first must hold; a token of the API is no cookie, and no other scheme is known.
    let page_of_token = stranger.page(&format!("keepwatch_session={token}"));
    assert_eq!(status(&page_of_token, "GET", "/api/v1/users"), 401);
    let cookie = format!("keepwatch_session={token}");
    for header in [
        ("Authorization", format!("Basic {token}")),
        ("Authorization", token.clone()),
        ("Authorization", format!("Bearer {}", &token[..token.len() - 1])),
        ("Authorization", format!("Bearer {token}x")),
        ("Authorization", format!("Bearer {}", token.to_uppercase())),
        ("X-Api-Key", token.clone()),
        ("Cookie", format!("__Host-keepwatch_session={token}")),
        ("Cookie", cookie),
    ] {
        let answer = stranger.request_with("GET", "/api/v1/users", &[(header.0, &header.1)]).unwrap();
        assert_eq!(answer.status, 401, "{header:?}");
    }

    // Sessions end with the node; tokens do not.
    node.program().end(PATIENCE).unwrap();
    let mut command = Node::command(&site);
    command.env_remove("KEEPWATCH_ADMIN_PASSWORD");
    let mut program = Program::start(command, site.path().join("node.log")).unwrap();
    let ready = program.json(PATIENCE).unwrap();
    let stranger = Http::new(Place::Address(ready["listening"][0].as_str().unwrap().parse().unwrap()));
    worthless("a session of before", &stranger.bearing(one.token().unwrap()));
    assert_eq!(status(&stranger.bearing(&token), "GET", "/api/v1/users"), 200);
    assert!(program.end(PATIENCE).unwrap().success());
}

/// Where pages of others say that they are, or do not say.
const ELSEWHERE: [&[(&str, &str)]; 8] = [
    &[("Sec-Fetch-Site", "cross-site")],
    &[("Sec-Fetch-Site", "same-site")],
    &[("Sec-Fetch-Site", "none")],
    &[("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Origin", "null")],
    &[("Origin", "https://evil.example")],
    &[("Origin", "http://127.0.0.1:1")],
    &[("Origin", "null")],
    // What a browser of today always says.
    &[],
];

#[test]
fn a_page_of_another_origin_changes_nothing_opens_no_socket_and_reads_nothing() {
    let _machine = shared();
    let site = configured();
    let node = Node::start(&site).unwrap();
    let (bearer, _) = node.http().session("admin", Node::PASSWORD).unwrap();
    let cookie = format!("keepwatch_session={}", bearer.token().unwrap());
    let stranger = node.http().stranger();
    let routes = Description::read(&site).unwrap().routes().unwrap();
    let named = |route: &Route| {
        let path = route.path.replace("{id}", "admin").replace("{name}", "admin");
        path.replace("{number}", "1")
    };
    let users = || node.http().get("/api/v1/users").unwrap();
    let before = users();
    let mut tried = 0;
    for route in &routes {
        let socket = route.statuses.iter().any(|status| status == "101");
        if route.method == "GET" && !socket {
            continue;
        }
        for place in ELSEWHERE {
            let open = ["/api/v1/login", "/api/v1/setup"].contains(&route.path.as_str());
            if open && place.is_empty() {
                // A program; there is no cookie that it could misuse.
                continue;
            }
            let mut headers = vec![("Cookie", cookie.as_str())];
            headers.extend_from_slice(place);
            if socket {
                headers.extend([
                    ("Upgrade", "websocket"),
                    ("Sec-WebSocket-Version", "13"),
                    ("Sec-WebSocket-Key", "a2VlcHdhdGNoIHRlc3RpbmcuLg=="),
                ]);
            }
            let body = if route.body.is_some() { "{}" } else { "" };
            let answer = stranger.request_text(&route.method, &named(route), &headers, body).unwrap();
            let expected =
                if route.path == "/api/v1/setup" { (410, "setup_done") } else { (403, "cross_origin") };
            assert_eq!((answer.status, answer.code().as_str()), expected, "{route:?} {place:?}");
            tried += 1;
        }
    }
    assert!(tried > 150, "{tried}");

    // Forms, which a browser sends to anybody without asking first, are taken from nobody; and nothing is allowed to
    // pages of others, whatever they ask.
    let form =
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json"];
    let user =
        json!({"name": "eve", "password": "a password for a test", "role": "administrator", "cameras": {}});
    let text = user.to_string();
    for kind in form {
        let head = format!(
            "POST /api/v1/users HTTP/1.1\r\nHost: n\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
             Cookie: {cookie}\r\nSec-Fetch-Site: same-origin\r\n\r\n{text}",
            text.len()
        );
        let said = stranger.raw(head.as_bytes()).unwrap();
        assert!(said.starts_with("HTTP/1.1 415 "), "{kind}: {said}");
    }
    let asks =
        [("Origin", "https://evil.example"), ("Access-Control-Request-Method", "PUT"), ("Cookie", &cookie)];
    for (method, path) in
        [("OPTIONS", "/api/v1/users"), ("GET", "/api/v1/users"), ("GET", "/api/v1/health"), ("GET", "/")]
    {
        let answer = stranger.request_with(method, path, &asks).unwrap();
        let allowed = answer.headers.iter().any(|(name, _)| name.starts_with("access-control-"));
        assert!(!allowed, "{method} {path}: {:?}", answer.headers);
        assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"), "{method} {path}");
    }
    assert_eq!(users(), before);
    node.end().unwrap();
}

/// What proxies add, and what is known to be believed by somebody.
const FORGED: [(&str, &str); 12] = [
    ("X-Forwarded-For", "127.0.0.1"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "localhost"),
    ("X-Forwarded-User", "admin"),
    ("X-Real-IP", "127.0.0.1"),
    ("Forwarded", "for=127.0.0.1;proto=https;host=localhost;by=127.0.0.1"),
    ("True-Client-IP", "127.0.0.1"),
    ("X-Remote-User", "admin"),
    ("X-Original-URL", "/api/v1/health"),
    ("X-Rewrite-URL", "/api/v1/health"),
    ("X-HTTP-Method-Override", "GET"),
    ("Via", "1.1 localhost"),
];

#[test]
fn headers_that_lie_about_where_a_request_is_from_are_not_believed() {
    let _machine = shared();
    let site = configured();
    let node = Node::start(&site).unwrap();
    let stranger = node.http().stranger();
    for host in ["localhost", "127.0.0.1", "evil.example", "a b", ""] {
        let mut headers = vec![("Host", host)];
        headers.extend(FORGED);
        for path in ["/api/v1/users", "/api/v1/cameras", "/api/v1/audit", "/api/v1/status"] {
            let answer = stranger.request_with("GET", path, &headers).unwrap();
            assert!([400, 401].contains(&answer.status), "{host:?} {path}: {}", answer.status);
        }
    }
    // The place of the connection is what counts: another name and another address each time, and it is slowed down.
    let mut seen = Vec::new();
    for number in 0..14 {
        let body = json!({"user": format!("guess{number}"), "password": "a wrong password"}).to_string();
        let address = format!("198.51.100.{number}");
        let forged = format!("for={address}");
        let headers =
            [("X-Forwarded-For", address.as_str()), ("X-Real-IP", &address), ("Forwarded", &forged)];
        let answer = stranger.request_text("POST", "/api/v1/login", &headers, &body).unwrap();
        seen.push(answer.status);
    }
    assert_eq!(seen[..10], [401; 10], "{seen:?}");
    assert!(seen[11..].iter().all(|status| *status == 429), "{seen:?}");
    let audit = node.http().get("/api/v1/audit").unwrap();
    let entries = audit["items"].as_array().unwrap();
    let places: BTreeSet<_> = entries.iter().map(|entry| entry["from"].as_str().unwrap()).collect();
    assert!(places.iter().all(|place| place.starts_with("127.0.0.1:")), "{places:?}");
    node.end().unwrap();
}

/// Asks with forged headers, over plain HTTP and over TLS; prints statuses.
const CLIENT: &str = r#"
import http.client, json, ssl, sys
host, port, password = sys.argv[1], int(sys.argv[2]), sys.argv[3]
forged = dict(json.loads(sys.argv[4]))
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
def ask(secure, method, path, body=None, headers={}):
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(host, port, timeout=20, **({"context": context} if secure else {}))
    headers = {**forged, **headers}
    if body is not None:
        body, headers = json.dumps(body), {"Content-Type": "application/json", **headers}
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    text = answer.read()
    return answer, text
def login(secure, user, password, headers={}):
    return ask(secure, "POST", "/api/v1/login", {"user": user, "password": password}, headers)
told = {}
told["plain"] = [ask(False, "GET", "/api/v1/health", headers={"Host": name})[0].status for name in ["localhost", "127.0.0.1", "[::1]:8443"]]
told["plain login"] = [login(False, "admin", password, {"Host": name})[0].status for name in ["localhost", "127.0.0.1", host]]
told["strange"] = [ask(True, "GET", path)[0].status for path in ["/api/v1/users", "/api/v1/status"]]
answer, text = login(True, "admin", password)
token = json.loads(text)["token"]
told["cookie"] = answer.getheader("Set-Cookie").split("=")[0]
told["cookies"] = [
    ask(True, "GET", "/api/v1/session", headers={"Cookie": name + "=" + token})[0].status
    for name in ["keepwatch_session", "__Host-keepwatch_session"]
]
told["wrong"] = [
    login(True, f"guess{n}", "a wrong password", {"X-Forwarded-For": f"10.0.0.{n}", "X-Real-IP": f"10.0.0.{n}"})[0].status
    for n in range(14)
]
print(json.dumps(told))
"#;

#[test]
fn another_machine_cannot_pass_for_this_one() {
    if !namespaces() {
        return;
    }
    let _machine = shared();
    let site = configured();
    let network = Network::new(&site).unwrap();
    let path = site.path().join("keepwatch.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, text.replace("127.0.0.1:0", "[::]:8443")).unwrap();
    let node = Node::start_in(&site, &network.recorder).unwrap();
    let forged = serde_json::to_string(&FORGED).unwrap();
    let told = network
        .camera
        .run(["python3", "-c", CLIENT, Network::RECORDER, "8443", Node::PASSWORD, &forged])
        .unwrap();
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["plain"], &told["plain login"]), (&json!([308, 308, 308]), &json!([400, 400, 400])));
    assert_eq!(told["strange"], json!([401, 401]));
    assert_eq!((&told["cookie"], &told["cookies"]), (&json!("__Host-keepwatch_session"), &json!([401, 200])));
    let wrong = told["wrong"].as_array().unwrap();
    assert!(wrong[11..].iter().all(|status| *status == 429), "{wrong:?}");
    let audit = node.http().get("/api/v1/audit").unwrap();
    let entries = audit["items"].as_array().unwrap();
    let from = |entry: &Value| entry["from"].as_str().unwrap().contains(Network::CAMERA);
    assert!(entries.len() >= 10 && entries.iter().all(from), "{audit}");
    node.end().unwrap();
}
