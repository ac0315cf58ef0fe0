//! Who may what, for every route of the table there is: a route without a rule cannot be made, and a rule that is not kept
//! is found here.

mod exports;

use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request, Response};
use http_body_util::BodyExt;
use keepwatch_model::{EventCode, RoleId, Span, Subject, WallTime};
use keepwatch_web::{
    Access, Application, Audit, Auth, AuthConfig, Channel, Grants, Peer, Role, Rule, SystemClock,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

use crate::Node;
use crate::config::{CameraConfig, DiskConfig, RecorderConfig, RtspConfig};
use crate::guests::{Duty, Guest};

const PASSWORD: &str = "correct horse battery";

struct Site {
    node: Node,
    application: Application,
    _data: TempDir,
}

/// Somebody who asks: what they may do, and the API token that says so.
struct Asker {
    name: String,
    grants: Option<Grants>,
    token: Option<String>,
}

struct Answer {
    status: u16,
    body: Value,
    text: String,
}

impl Answer {
    fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

impl Site {
    /// A node with the cameras `gate` and `yard`, for which nobody answers.
    async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    /// The same, with what `before` puts into its data directory.
    async fn start_with(before: impl FnOnce(&Path)) -> Self {
        let data = tempfile::tempdir().unwrap();
        before(data.path());
        std::fs::create_dir(data.path().join("disk")).unwrap();
        let url: url::Url = "rtsp://127.0.0.1:9/1".parse().unwrap();
        let camera = |id: &str| CameraConfig::new(id.parse().unwrap(), url.clone());
        let config = RecorderConfig {
            name: "n".to_owned(),
            data: data.path().to_owned(),
            disks: vec![DiskConfig {
                size_bytes: Some(128 << 20),
                ..DiskConfig::new(data.path().join("disk"))
            }],
            retention: None,
            buffer_bytes_max: 16 << 20,
            exports_bytes_max: None,
            cameras: vec![camera("gate"), camera("yard")],
            rtsp: RtspConfig::default(),
        };
        let node = Node::start(config).await.unwrap();
        let clock = Arc::new(SystemClock::default());
        let (audit, _) = Audit::open(data.path(), Arc::clone(&clock) as _).unwrap();
        let (auth, _) = Auth::open(AuthConfig {
            data: data.path().to_owned(),
            admin_password: Some(PASSWORD.to_owned()),
            watcher: Arc::new(node.clone()),
            clock,
            audit,
        })
        .unwrap();
        let application = Application::new(&auth, super::routes(node.clone(), &[]), None);
        Self { node, application, _data: data }
    }

    async fn ask(&self, method: &Method, path: &str, token: Option<&str>, body: &Value) -> Answer {
        let headers: Vec<(&str, String)> =
            token.iter().map(|token| ("Authorization", format!("Bearer {token}"))).collect();
        let response = self.send(method, path, &headers, body).await;
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Answer { status, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null), text }
    }

    /// Asks, and leaves the body of the answer to be taken.
    async fn send(
        &self,
        method: &Method,
        path: &str,
        headers: &[(&str, String)],
        body: &Value,
    ) -> Response<Body> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .extension(Peer::Network("192.0.2.7:1".parse().unwrap()))
            .extension(Channel::Tls)
            .header("Content-Type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(Body::from(body.to_string())).unwrap();
        self.application.router().oneshot(request).await.unwrap()
    }

    async fn get(&self, path: &str, token: &str) -> Value {
        let answer = self.ask(&Method::GET, path, Some(token), &Value::Null).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.body
    }

    async fn session(&self, user: &str) -> String {
        let body = json!({"user": user, "password": PASSWORD});
        let answer = self.ask(&Method::POST, "/api/v1/login", None, &body).await;
        answer.body["token"].as_str().unwrap().to_owned()
    }

    /// A user with `grants`, and an API token of theirs: a session would end when it asks for the logout.
    async fn asker(&self, admin: &str, name: &str, grants: Grants) -> Asker {
        let body =
            json!({"name": name, "password": PASSWORD, "role": grants.role, "cameras": grants.cameras});
        let made = self.ask(&Method::POST, "/api/v1/users", Some(admin), &body).await;
        assert_eq!(made.status, 201, "{}", made.text);
        let session = self.session(name).await;
        let body = json!({"name": "t", "expires": null, "role": null, "cameras": null});
        let made = self.ask(&Method::POST, "/api/v1/tokens", Some(&session), &body).await;
        let token = made.body["token"].as_str().unwrap().to_owned();
        Asker { name: name.to_owned(), grants: Some(grants), token: Some(token) }
    }

    /// Nobody, each role everywhere, each at the gate and each at the yard, and a user who may nothing.
    async fn askers(&self) -> Vec<Asker> {
        let admin = self.session("admin").await;
        let mut askers = vec![Asker { name: "nobody".to_owned(), grants: None, token: None }];
        askers.push(self.asker(&admin, "idle", Grants::default()).await);
        for role in Role::ALL {
            askers.push(self.asker(&admin, &format!("{role}-everywhere"), Grants::everywhere(role)).await);
            for place in ["gate", "yard"] {
                if role != Role::Administrator {
                    let cameras = [(place.parse().unwrap(), role)].into();
                    let grants = Grants { role: None, cameras };
                    askers.push(self.asker(&admin, &format!("{role}-{place}"), grants).await);
                }
            }
        }
        askers
    }
}

/// The request that a rule is tried with: about the camera `gate`, and objects that there are not.
fn request(rule: &Rule) -> (String, Value) {
    let path = rule
        .path
        .replace("/cameras/{id}", "/cameras/gate")
        .replace("/protections/{id}", "/protections/999")
        .replace("{id}", "none")
        .replace("{name}", "none");
    let body = match rule.path {
        "/api/v1/protections" => {
            json!({"camera": "gate", "from": "2026-11-22T00:00:00Z", "to": "2026-11-22T00:00:01Z"})
        }
        "/api/v1/exports" => {
            json!({"cameras": ["gate"], "from": "2026-11-22T00:00:00Z", "to": "2026-11-22T00:00:01Z"})
        }
        _ => json!({}),
    };
    (path, body)
}

/// What a rule comes to for somebody.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    LogIn,
    TooLow,
    NoSuchCamera,
    Passed,
}

fn expected(access: Access, grants: Option<&Grants>) -> Verdict {
    let Some(grants) = grants else {
        return if access == Access::Open { Verdict::Passed } else { Verdict::LogIn };
    };
    let at_least =
        |held: Option<Role>, role| if held >= Some(role) { Verdict::Passed } else { Verdict::TooLow };
    let at_gate = |role| match grants.at("gate") {
        None => Verdict::NoSuchCamera,
        held => at_least(held, role),
    };
    match access {
        Access::Open | Access::User => Verdict::Passed,
        Access::Anywhere(role) => at_least(grants.anywhere(), role),
        Access::Everywhere(role) => at_least(grants.role, role),
        Access::Camera(role) => at_gate(role),
        Access::Object(role) if grants.anywhere() < Some(role) => Verdict::TooLow,
        Access::Object(role) => at_gate(role),
    }
}

fn found(answer: &Answer) -> Verdict {
    match (answer.status, answer.code()) {
        (401, "login_required") => Verdict::LogIn,
        (403, "role_too_low") => Verdict::TooLow,
        (404, "camera_unknown") => Verdict::NoSuchCamera,
        (200..=299 | 400 | 403 | 404 | 409 | 410 | 422, _) => Verdict::Passed,
        _ => panic!("{}", answer.text),
    }
}

#[tokio::test]
async fn every_route_keeps_its_rule_for_everybody() {
    let site = Site::start().await;
    let askers = site.askers().await;
    let mut wrong = Vec::new();
    for rule in site.application.rules() {
        let (path, body) = request(rule);
        for asker in &askers {
            let answer = site.ask(&rule.method, &path, asker.token.as_deref(), &body).await;
            let (expected, found) = (expected(rule.access, asker.grants.as_ref()), found(&answer));
            if expected != found {
                wrong.push(format!("{} {path} as {}: {found:?}, not {expected:?}", rule.method, asker.name));
            }
            if found == Verdict::NoSuchCamera {
                // A camera that one may not know of and one that is not there differ in nothing but the name asked for.
                let other = path.replace("/cameras/gate", "/cameras/none");
                let mut body = body.clone();
                if body["camera"] == "gate" {
                    body["camera"] = json!("none");
                }
                if body["cameras"] == json!(["gate"]) {
                    body["cameras"] = json!(["none"]);
                }
                let missing = site.ask(&rule.method, &other, asker.token.as_deref(), &body).await;
                assert_eq!(missing.text.replace("\\\"none\\\"", "\\\"gate\\\""), answer.text);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    site.node.stop().await;
}

#[tokio::test]
async fn every_route_is_described() {
    let site = Site::start().await;
    let text = include_str!("../../../../docs/ref/api.md");
    let table = text.split("\n## ").next().unwrap();
    let rules = site.application.rules();
    for rule in rules {
        let described = table
            .lines()
            .any(|row| row.contains(&format!("{}`", rule.path)) && row.contains(rule.method.as_str()));
        assert!(described, "{} {}", rule.method, rule.path);
    }
    assert!(rules.len() > 20, "{}", rules.len());
    site.node.stop().await;
}

#[tokio::test]
async fn a_camera_of_another_recorder_says_whose_it_is_and_what_is_done_with_it() {
    let site = Site::start().await;
    let admin = site.session("admin").await;
    let (role, camera, local) = (RoleId([7; 16]), "gate".parse().unwrap(), "gate-070707".parse().unwrap());
    let url: url::Url = "rtsp://127.0.0.1:9/1".parse().unwrap();
    let config = CameraConfig::new(camera, url);
    let guest = Guest { role, camera, local, config, buffer: None };
    site.node.set_guests(role, vec![guest]).await.unwrap();
    let shown = async || site.get("/api/v1/cameras/gate-070707", &admin).await["guest"].clone();
    assert_eq!(shown().await, json!({"role": role.to_string(), "camera": "gate", "duty": "rest"}));
    site.node.set_duty(role, camera, Duty::Record).unwrap();
    assert_eq!(shown().await["duty"], "record");
    assert_eq!(site.get("/api/v1/cameras/gate", &admin).await["guest"], Value::Null, "its own");
    let status = site.get("/api/v1/status", &admin).await;
    assert_eq!(status["role"], site.node.store().role().to_string(), "whom coverage names");
    site.node.stop().await;
}

#[tokio::test]
async fn lists_hold_what_one_may_see_and_nothing_else() {
    let site = Site::start().await;
    let node = &site.node;
    let from: WallTime = "2026-11-22T00:00:00Z".parse().unwrap();
    let span = Span::new(from, from.plus(90_000)).unwrap();
    for camera in ["gate", "yard"] {
        node.store().protect(camera.parse().unwrap(), span, "note").unwrap();
        let subject = Subject::Camera(camera.parse().unwrap());
        node.add_event(EventCode::CameraEvent, subject, format!("something at the {camera}"));
    }
    node.add_event(EventCode::DiskSlow, Subject::Disk("/d".to_owned()), "a disk".to_owned());
    let admin = site.session("admin").await;
    let gate = [("gate".parse().unwrap(), Role::Operator)].into();
    let guard = site.asker(&admin, "guard", Grants { role: None, cameras: gate }).await.token.unwrap();
    let viewer = site.asker(&admin, "viewer", Grants::everywhere(Role::Viewer)).await.token.unwrap();
    let texts = |page: &Value, key: &str| -> Vec<String> {
        let items = page["items"].as_array().unwrap();
        items.iter().map(|item| item[key].as_str().unwrap().to_owned()).collect()
    };

    assert_eq!(texts(&site.get("/api/v1/cameras", &guard).await, "id"), ["gate"]);
    assert_eq!(texts(&site.get("/api/v1/cameras", &viewer).await, "id"), ["gate", "yard"]);
    assert_eq!(texts(&site.get("/api/v1/protections", &guard).await, "camera"), ["gate"]);
    assert!(texts(&site.get("/api/v1/protections", &viewer).await, "camera").is_empty());

    let status = site.get("/api/v1/status", &guard).await;
    assert_eq!((&status["cameras"], &status["disks"]), (&json!(1), &json!([])), "{status}");
    let status = site.get("/api/v1/status", &viewer).await;
    assert_eq!((&status["cameras"], status["disks"].as_array().unwrap().len()), (&json!(2), 1));

    let kinds = async |token: &str| -> Vec<String> {
        let page = site.get("/api/v1/events", token).await;
        let items = page["items"].as_array().unwrap().iter();
        let name = |subject: &Value| match (subject["kind"].as_str(), subject["id"].as_str()) {
            (Some(kind @ ("camera" | "user")), Some(id)) => format!("{kind} {id}"),
            (kind, _) => kind.unwrap_or_default().to_owned(),
        };
        let mut kinds: Vec<String> = items.map(|item| name(&item["subject"])).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    };
    assert_eq!(kinds(&guard).await, ["camera gate"]);
    assert_eq!(kinds(&viewer).await, ["camera gate", "camera yard", "disk", "node"]);
    let all = kinds(&admin).await;
    assert!(all.contains(&"user admin".to_owned()) && all.contains(&"user guard".to_owned()), "{all:?}");
    // Pages are as long as they were asked to be, whatever is left out of them.
    let page = site.get("/api/v1/events?limit=1&order=newest", &guard).await;
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    site.node.stop().await;
}
