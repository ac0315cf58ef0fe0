//! Who may what, tried from outside: every route that the program describes, by everybody, over every way to log in.
//!
//! What is right is read from the tables of routes in docs/ref/api.md and docs/ref/failover.md. A route that the program describes and the table does
//! not, or the other way around, fails the test; so does a word for who may that this file does not know.

use std::collections::BTreeMap;
use std::time::Duration;

use keepwatch_it::{Answer, Cameras, Description, Http, Node, Received, Route, Site, wait_until};
use keepwatch_model::{Span, TICKS_PER_SECOND};
use serde_json::{Value, json};

use crate::{reconfigure, shared};

const PATIENCE: Duration = Duration::from_secs(60);
const PASSWORD: &str = "a password for a test";
/// How often a picture is asked for.
const PICTURE_TRIES: usize = 10;
/// The camera that everything is asked of, and its name.
const CAMERA: &str = "vault";
const CAMERA_NAME: &str = "Strongroom";
/// The other one.
const OTHER: &str = "yard";
/// A primary that there is not.
const ROLE: &str = "00000000-0000-0000-0000-000000000000";
/// One that there is not; as long, so that answers can be compared byte by byte.
const UNKNOWN: &str = "fault";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Viewer,
    Operator,
    Supervisor,
    Administrator,
}

impl Role {
    const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Supervisor, Self::Administrator];

    const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Supervisor => "supervisor",
            Self::Administrator => "administrator",
        }
    }
}

/// What somebody may: everywhere, at the camera, and at the other one.
#[derive(Clone, Copy, Debug, Default)]
struct Grants {
    everywhere: Option<Role>,
    here: Option<Role>,
    there: Option<Role>,
}

impl Grants {
    fn at(self) -> Option<Role> {
        self.everywhere.max(self.here)
    }

    fn anywhere(self) -> Option<Role> {
        self.at().max(self.there)
    }
}

/// Who may ask for a route, as the reference says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Anybody,
    User,
    Anywhere(Role),
    Everywhere(Role),
    /// At the camera that path, body or object name.
    There(Role),
    /// The same, and more where an instant of the past is asked for.
    ThereUnlessPast(Role),
}

/// The table of routes in the reference, by method and path.
fn table() -> BTreeMap<(String, String), Rule> {
    let references =
        [include_str!("../../../docs/ref/api.md"), include_str!("../../../docs/ref/failover.md")];
    let mut table = BTreeMap::new();
    for line in
        references.iter().flat_map(|reference| reference.lines()).filter(|line| line.starts_with("| [`"))
    {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        let rule = match columns[2] {
            "anybody" | "anybody, with the code" => Rule::Anybody,
            "any user" => Rule::User,
            "viewer" => Rule::Everywhere(Role::Viewer),
            "operator" => Rule::Everywhere(Role::Operator),
            "supervisor" => Rule::Everywhere(Role::Supervisor),
            "viewer anywhere" => Rule::Anywhere(Role::Viewer),
            "viewer there" => Rule::There(Role::Viewer),
            "viewer there, operator with `at`" => Rule::ThereUnlessPast(Role::Viewer),
            "operator there" | "operator at all of its cameras" => Rule::There(Role::Operator),
            "administrator" => Rule::Everywhere(Role::Administrator),
            other => panic!("who is {other:?}?"),
        };
        let mut names = columns[1].split('`').skip(1).step_by(2);
        let (first, path) = names.next().unwrap().split_once(' ').unwrap();
        for method in std::iter::once(first).chain(names) {
            let twice = table.insert((method.to_owned(), path.to_owned()), rule);
            assert_eq!(twice, None, "{method} {path}");
        }
    }
    table
}

/// What an answer must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Passes,
    /// 401.
    Login,
    /// 403.
    TooLow,
    /// 404 with the bytes of what is not there.
    Absent,
}

fn verdict(rule: Rule, request: &Request, grants: Option<Grants>) -> Verdict {
    let too_low_unless = |passes| if passes { Verdict::Passes } else { Verdict::TooLow };
    let Some(grants) = grants else {
        return if rule == Rule::Anybody { Verdict::Passes } else { Verdict::Login };
    };
    match rule {
        Rule::Anybody | Rule::User => Verdict::Passes,
        Rule::Anywhere(role) => too_low_unless(grants.anywhere() >= Some(role)),
        Rule::Everywhere(role) => too_low_unless(grants.everywhere >= Some(role)),
        Rule::There(role) | Rule::ThereUnlessPast(role) => {
            let role = if request.path.contains("?at=") { Role::Operator } else { role };
            match grants.at() {
                Some(held) if held >= role => Verdict::Passes,
                // Where the path does not name the camera, who has the role nowhere is told so at once.
                _ if !request.of_camera && grants.anywhere() < Some(role) => Verdict::TooLow,
                None => Verdict::Absent,
                Some(_) if request.of_object => Verdict::Absent,
                Some(_) => Verdict::TooLow,
            }
        }
    }
}

/// One thing to ask for.
#[derive(Clone, Debug)]
struct Request {
    method: String,
    path: String,
    body: String,
    upgrades: bool,
    /// Whether the path names the camera.
    of_camera: bool,
    /// Whether the path names an object of the camera.
    of_object: bool,
}

const UPGRADE: [(&str, &str); 3] = [
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "a2VlcHdhdGNoIHRlc3RpbmcuLg=="),
];

impl Request {
    fn send(&self, http: &Http) -> Answer {
        let headers: &[_] = if self.upgrades { &UPGRADE } else { &[] };
        let ask = || http.request_text(&self.method, &self.path, headers, &self.body).unwrap();
        // A machine that is busy decodes no picture in time; then it says so, and can be asked again.
        let answers = std::iter::repeat_with(ask).take(PICTURE_TRIES);
        let mut answers =
            answers.skip_while(|answer| answer.status == 503 && self.path.contains("/picture.jpg"));
        answers.next().expect("a picture is decoded in the end")
    }

    /// The same for a camera, or an object, that is not there.
    fn of_nothing(&self, job: &str) -> Self {
        let replace = |text: &str| text.replace(CAMERA, UNKNOWN).replace(job, &unknown_job(job));
        Self { path: replace(&self.path), body: replace(&self.body), ..self.clone() }
    }

    fn names_camera(&self) -> bool {
        self.of_object || self.path.contains(CAMERA) || self.body.contains(CAMERA)
    }
}

fn unknown_job(job: &str) -> String {
    "9".repeat(job.len())
}

/// Every request that is tried of `route`.
fn requests(route: &Route, span: Span, job: &str) -> Vec<Request> {
    let of_camera = route.path.contains("/cameras/{id}");
    let of_object = route.path.contains("/exports/{id}");
    let object = match route.path.as_str() {
        path if path.contains("/exports/") => job,
        path if path.contains("/scans/") => "1",
        // Of nobody.
        _ => "0123456789abcdef",
    };
    let name = if route.method == "DELETE" { "nobody" } else { "viewer-everywhere" };
    let mut path = route.path.replace("/cameras/{id}", &format!("/cameras/{CAMERA}"));
    let values = [
        ("{id}", object),
        ("{name}", name),
        ("{number}", "999999"),
        ("{role}", ROLE),
        ("{camera}", "nobody"),
    ];
    for (parameter, value) in values {
        path = path.replace(parameter, value);
    }
    assert!(!path.contains('{'), "this test does not know what to write in {path}");
    let has = |name: &str| route.query.iter().any(|held| held == name);
    if has("from") {
        path.push_str(&format!("?from={}&to={}", span.from, span.to));
    }
    if has("since") {
        path.push_str("?since=1");
    }
    let body = match (route.method.as_str(), route.path.as_str()) {
        ("POST", "/api/v1/exports") => json!({"cameras": [CAMERA], "from": span.from, "to": span.to}),
        ("POST", "/api/v1/protections") => json!({"camera": CAMERA, "from": span.from, "to": span.to}),
        // Nothing is to be looked for, added, changed or logged in to.
        ("POST", "/api/v1/scans" | "/api/v1/failover/scans") => json!({"addresses": ["nowhere"]}),
        _ if route.body.is_some() => json!({}),
        _ => Value::Null,
    };
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let method = route.method.clone();
    let plain = Request { method, path, body, upgrades: false, of_camera, of_object };
    let mut requests = Vec::new();
    if route.statuses.iter().any(|status| status.starts_with('2')) {
        requests.push(plain.clone());
    }
    if route.statuses.iter().any(|status| status == "101") {
        requests.push(Request { upgrades: true, ..plain.clone() });
    }
    if has("at") {
        requests.push(Request { path: format!("{}?at={}", plain.path, span.from), ..plain });
    }
    assert!(!requests.is_empty(), "{route:?} is described to answer nothing");
    requests
}

/// The node, what it has recorded, and everybody.
struct Estate {
    node: Node,
    _cameras: Cameras,
    span: Span,
    people: Vec<(String, Grants)>,
}

impl Estate {
    fn new(site: &Site) -> Self {
        let cameras = Cameras::start(site, 2, "127.0.0.1").unwrap();
        let listed = [(CAMERA, cameras.url("cam1")), (OTHER, cameras.url("cam2"))];
        Node::configure(site, "127.0.0.1:0", &listed).unwrap();
        let id = format!("id = \"{CAMERA}\"\n");
        let sub = format!("{id}name = \"{CAMERA_NAME}\"\nsub_url = \"{}/sub\"\n", cameras.url("cam1"));
        reconfigure(site, &id, &sub);
        let node = Node::start(site).unwrap();
        let from = node.first_label(CAMERA).unwrap();
        let span = Span::new(from, from.plus(2 * TICKS_PER_SECOND)).unwrap();
        node.wait_durable(CAMERA, span.to, PATIENCE).unwrap();
        let scan = json!({"addresses": ["127.0.0.1"], "seconds": 1});
        let scan = node.http().request("POST", "/api/v1/scans", Some(&scan)).unwrap();
        assert_eq!(scan.success().unwrap()["id"], "1");
        let scan = json!({"addresses": ["127.0.0.1"], "seconds": 1});
        let scan = node.http().request("POST", "/api/v1/failover/scans", Some(&scan)).unwrap();
        assert_eq!(scan.success().unwrap()["id"], "1");
        let mut people = Vec::new();
        let mut add = |name: String, grants: Grants| {
            let role = |role: Option<Role>| role.map(Role::name);
            let at = [(CAMERA, role(grants.here)), (OTHER, role(grants.there))];
            let at: BTreeMap<_, _> = at.into_iter().filter_map(|(id, role)| Some((id, role?))).collect();
            let user =
                json!({"name": name, "password": PASSWORD, "role": role(grants.everywhere), "cameras": at});
            node.http().request("POST", "/api/v1/users", Some(&user)).unwrap().success().unwrap();
            people.push((name, grants));
        };
        for role in Role::ALL {
            let held = Some(role);
            add(format!("{}-everywhere", role.name()), Grants { everywhere: held, ..Grants::default() });
            // An administrator is one everywhere or not at all.
            if role < Role::Administrator {
                add(format!("{}-here", role.name()), Grants { here: held, ..Grants::default() });
                add(format!("{}-there", role.name()), Grants { there: held, ..Grants::default() });
            }
        }
        add("nowhere".to_owned(), Grants::default());
        let mixed = Grants { here: Some(Role::Viewer), there: Some(Role::Operator), everywhere: None };
        add("mixed".to_owned(), mixed);
        Self { node, _cameras: cameras, span, people }
    }

    /// An export of the camera that is made; its id.
    fn export(&self) -> String {
        let order = json!({"cameras": [CAMERA], "from": self.span.from, "to": self.span.to});
        let created = self.node.http().request("POST", "/api/v1/exports", Some(&order)).unwrap();
        let id = created.success().unwrap()["id"].as_str().unwrap().to_owned();
        wait_until("an export", PATIENCE, || {
            let job = self.node.http().get(&format!("/api/v1/exports/{id}"))?;
            Ok((job["state"] == "done").then_some(()))
        })
        .unwrap();
        id
    }
}

/// Whether an answer is one of those that are given to everybody who is let in.
fn let_in(who: &str, request: &Request, answer: &Answer) -> bool {
    let code = answer.code();
    if code == "session_needed" {
        // What takes a login, and is refused to API tokens alone.
        let takes_login =
            ["/tokens", "/session/password", "/logout"].iter().any(|end| request.path.ends_with(end));
        return who.ends_with(" by token") && takes_login && request.method != "GET";
    }
    if code == "primary_unknown" {
        return request.path.contains(ROLE);
    }
    if code == "camera_unknown" && request.path.contains("/edge/lines/") {
        return true;
    }
    if code == "export_of_another" {
        return request.method == "DELETE" && !who.starts_with("administrator");
    }
    if request.method == "GET" {
        return answer.status == if request.upgrades { 101 } else { 200 };
    }
    let refused = [401, 403].contains(&answer.status) || code == "camera_unknown" || code == "export_unknown";
    answer.status < 500 && !refused
}

/// Without what no two answers have in common.
fn comparable(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let mut headers = answer.headers.clone();
    headers.retain(|(name, _)| name != "date");
    (answer.status, headers, String::from_utf8_lossy(&answer.body).into_owned())
}

fn check(who: &str, http: &Http, grants: Option<Grants>, rule: Rule, request: &Request, job: &str) {
    let answer = request.send(http);
    let text =
        || format!("{request:?} by {who}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
    let expected = verdict(rule, request, grants);
    match expected {
        Verdict::Passes => assert!(let_in(who, request, &answer), "{}", text()),
        Verdict::Login => {
            assert_eq!((answer.status, answer.code().as_str()), (401, "login_required"), "{}", text());
        }
        Verdict::TooLow => {
            assert_eq!((answer.status, answer.code().as_str()), (403, "role_too_low"), "{}", text());
        }
        Verdict::Absent => assert_eq!(answer.status, 404, "{}", text()),
    }
    if grants.is_none_or(|grants| grants.at().is_none()) {
        let shown = String::from_utf8_lossy(&answer.body);
        let echoes = request.path.contains(CAMERA) || request.body.contains(CAMERA);
        assert!(!shown.contains(CAMERA_NAME), "{}", text());
        assert!(echoes || !shown.contains(CAMERA), "{}", text());
        if expected != Verdict::Passes && request.names_camera() {
            let nothing = request.of_nothing(job).send(http);
            let (status, headers, body) = comparable(&nothing);
            let body = body.replace(UNKNOWN, CAMERA).replace(&unknown_job(job), job);
            assert_eq!(comparable(&answer), (status, headers, body), "{}", text());
        }
    }
    if request.method == "GET" && !request.upgrades {
        let head = Request { method: "HEAD".to_owned(), ..request.clone() }.send(http);
        assert_eq!(head.status, answer.status, "HEAD: {}", text());
    }
}

#[test]
fn every_route_answers_those_whom_the_reference_names_and_nobody_else() {
    let _machine = shared();
    let site = Site::new().unwrap();
    let routes = Description::read(&site).unwrap().routes().unwrap();
    let table = table();
    let described: Vec<_> = routes.iter().map(|route| (route.method.clone(), route.path.clone())).collect();
    for route in &described {
        assert!(table.contains_key(route), "{route:?} is not in docs/ref");
    }
    for route in table.keys() {
        assert!(described.contains(route), "{route:?} is in docs/ref only");
    }
    let estate = Estate::new(&site);
    let mut job = estate.export();

    let stranger = estate.node.http().stranger();
    let mut asked = 0;
    let mut crawl = |who: &str, http: &Http, grants: Option<Grants>| {
        for route in &routes {
            // The end of the session; that of an API token is none.
            let ends = route.path == "/api/v1/logout" && !who.ends_with(" by token");
            if ends && grants.is_some() {
                continue;
            }
            let rule = table[&(route.method.clone(), route.path.clone())];
            for request in requests(route, estate.span, &job) {
                check(who, http, grants, rule, &request, &job);
                asked += 1;
                if request.of_object && request.method == "DELETE" && who.starts_with("administrator") {
                    job = estate.export();
                }
            }
        }
    };
    crawl("nobody", &stranger, None);
    let forged = stranger.bearing(&"A".repeat(43));
    assert_eq!(forged.request("GET", "/api/v1/cameras", None).unwrap().status, 401);
    for (name, grants) in &estate.people {
        let (bearer, page) = stranger.session(name, PASSWORD).unwrap();
        let named = json!({"name": "crawl"});
        let token = bearer.request("POST", "/api/v1/tokens", Some(&named)).unwrap().success().unwrap();
        let token = stranger.bearing(token["token"].as_str().unwrap());
        for (carrier, http) in [("bearer", &bearer), ("cookie", &page), ("token", &token)] {
            crawl(&format!("{name} by {carrier}"), http, Some(*grants));
        }
        // Both ways to the session end together, and the token does not.
        assert_eq!(page.request("POST", "/api/v1/logout", None).unwrap().status, 204, "{name}");
        assert_eq!(bearer.request("GET", "/api/v1/session", None).unwrap().status, 401, "{name}");
        assert_eq!(page.request("GET", "/api/v1/session", None).unwrap().status, 401, "{name}");
        assert_eq!(token.get("/api/v1/session").unwrap()["via"], "token", "{name}");
    }
    assert!(asked > 1_000, "{asked}");
    estate.node.end().unwrap();
}

#[test]
fn a_token_may_what_both_it_and_its_user_may_and_the_rest_is_not_shown() {
    let _machine = shared();
    let site = Site::new().unwrap();
    let estate = Estate::new(&site);
    let http = estate.node.http();
    let token = |http: &Http, body: Value| {
        let made = http.request("POST", "/api/v1/tokens", Some(&body)).unwrap().success().unwrap();
        http.bearing(made["token"].as_str().unwrap())
    };
    let status = |http: &Http, path: &str| http.request("GET", path, None).unwrap().status;
    let window = format!("?from={}&to={}", estate.span.from, estate.span.to);
    let [state, footage] = ["", "/media.mp4"].map(|end| format!("/api/v1/cameras/{CAMERA}{end}{window}"));

    // Of an administrator, for the other camera alone: this one is not there for it.
    let narrow = token(http, json!({"name": "narrow", "cameras": {OTHER: "operator"}}));
    assert_eq!([status(&narrow, &state), status(&narrow, &footage)], [404, 404]);
    assert_eq!(status(&narrow, &format!("/api/v1/cameras/{OTHER}")), 200);
    assert_eq!(status(&narrow, "/api/v1/users"), 403);
    // Of one who may less, for more than they may: refused. Made while they might, it may no more than they do.
    let (guard, _) = http.session("operator-here", PASSWORD).unwrap();
    for more in
        [json!({"name": "more", "role": "viewer"}), json!({"name": "more", "cameras": {OTHER: "viewer"}})]
    {
        let refused = guard.request("POST", "/api/v1/tokens", Some(&more)).unwrap();
        assert_eq!((refused.status, refused.code().as_str()), (403, "role_too_low"), "{more}");
    }
    let wide = token(&guard, json!({"name": "wide", "cameras": {CAMERA: "operator"}}));
    assert_eq!([status(&wide, &state), status(&wide, &footage)], [200, 200]);
    for (held, expected) in [(json!({CAMERA: "viewer"}), [200, 403]), (json!({}), [404, 404])] {
        let change = json!({"role": null, "cameras": held});
        http.request("PUT", "/api/v1/users/operator-here", Some(&change)).unwrap().success().unwrap();
        assert_eq!([status(&wide, &state), status(&wide, &footage)], expected, "{change}");
    }

    // Lists, events and sockets tell of one's own cameras, and of users to administrators alone.
    let (there, _) = http.session("supervisor-there", PASSWORD).unwrap();
    let listed = there.get("/api/v1/cameras").unwrap();
    let ids: Vec<&Value> = listed["items"].as_array().unwrap().iter().map(|camera| &camera["id"]).collect();
    assert_eq!(ids, [OTHER]);
    let events = there.get("/api/v1/events").unwrap();
    let subjects: Vec<&Value> =
        events["items"].as_array().unwrap().iter().map(|event| &event["subject"]).collect();
    assert!(subjects.contains(&&json!({"kind": "camera", "id": OTHER})), "{subjects:?}");
    assert!(subjects.iter().all(|subject| subject["id"] == OTHER), "{subjects:?}");
    let (supervisor, _) = http.session("supervisor-everywhere", PASSWORD).unwrap();
    let told = supervisor.get("/api/v1/events").unwrap();
    let of_users = |event: &Value| event["subject"]["kind"] == "user";
    assert!(!told["items"].as_array().unwrap().iter().any(of_users), "{told}");
    let mut socket = there.websocket("/api/v1/status").unwrap();
    let Some(Received::Text(snapshot)) = socket.receive(PATIENCE).unwrap() else { panic!("no snapshot") };
    let cameras = snapshot["value"]["cameras"].as_object().unwrap().keys();
    let cameras: Vec<&str> = cameras.map(String::as_str).collect();
    assert_eq!((cameras, &snapshot["value"]["node"]["cameras"]), (vec![OTHER], &json!(1)), "{snapshot}");
    assert!(!snapshot.to_string().contains(CAMERA), "{snapshot}");

    // Of sessions and tokens one sees one's own; those of others answer as none do.
    let sessions = http.get("/api/v1/sessions").unwrap();
    let theirs =
        sessions["items"].as_array().unwrap().iter().find(|session| session["user"] == "admin").unwrap();
    let tokens = http.get("/api/v1/tokens").unwrap();
    let their_token =
        tokens["items"].as_array().unwrap().iter().find(|token| token["user"] == "admin").unwrap();
    for (kind, id) in [("sessions", &theirs["id"]), ("tokens", &their_token["id"])] {
        let of = |id: &str| there.request("DELETE", &format!("/api/v1/{kind}/{id}"), None).unwrap();
        let id = id.as_str().unwrap();
        let unknown = "f".repeat(id.len());
        let (status, headers, body) = comparable(&of(&unknown));
        assert_eq!(status, 404, "{body}");
        assert_eq!(comparable(&of(id)), (status, headers, body.replace(&unknown, id)));
        let listed = there.get(&format!("/api/v1/{kind}")).unwrap();
        let own = |item: &Value| item["user"] == "supervisor-there";
        assert!(listed["items"].as_array().unwrap().iter().all(own), "{listed}");
    }
    estate.node.end().unwrap();
}
