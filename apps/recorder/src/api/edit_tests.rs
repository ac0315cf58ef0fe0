//! What is edited over the API of a running node, and how that shows at its status socket.

mod cameras;
mod socket;

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use keepwatch_web::{Application, Audit, Auth, AuthConfig, Channel, Peer, SystemClock};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

use crate::config::{CameraConfig, DiskConfig, RecorderConfig, RtspConfig};
use crate::{Node, NodeError, api};

const PASSWORD: &str = "correct horse battery";

/// A node with one camera of the file, `gate`, at an address where nobody answers.
struct Site {
    node: Node,
    application: Application,
    router: Router,
    directory: TempDir,
}

/// What was answered.
struct Answer {
    status: StatusCode,
    tag: Option<String>,
    body: Value,
}

impl Answer {
    #[track_caller]
    fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self
    }

    /// The fields that are wrong.
    fn fields(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array().into_iter().flatten();
        errors.filter_map(|error| error["field"].as_str()).collect()
    }
}

fn config(data: &Path) -> RecorderConfig {
    let url = "rtsp://127.0.0.1:9/1".parse().unwrap();
    RecorderConfig {
        name: "site".to_owned(),
        data: data.to_owned(),
        disks: vec![DiskConfig { size_bytes: Some(128 << 20), ..DiskConfig::new(data.join("disk")) }],
        retention: None,
        buffer_bytes_max: 16 << 20,
        exports_bytes_max: None,
        cameras: vec![CameraConfig::new("gate".parse().unwrap(), url)],
        rtsp: RtspConfig::default(),
    }
}

impl Site {
    async fn new() -> Self {
        let directory = TempDir::new().unwrap();
        std::fs::create_dir(directory.path().join("disk")).unwrap();
        Self::on(directory).await.unwrap()
    }

    /// A node on what another one left behind.
    async fn on(directory: TempDir) -> Result<Self, NodeError> {
        let node = Node::start(config(directory.path())).await?;
        let clock = Arc::new(SystemClock::default());
        let (audit, _) = Audit::open(directory.path(), Arc::clone(&clock) as _).unwrap();
        let (auth, _) = Auth::open(AuthConfig {
            data: directory.path().to_owned(),
            admin_password: Some(PASSWORD.to_owned()),
            watcher: Arc::new(node.clone()),
            clock,
            audit,
        })
        .unwrap();
        let application = Application::new(&auth, api::routes(node.clone(), &[]), None);
        let router = application.router();
        Ok(Self { node, application, router, directory })
    }

    /// Ends the node as a stop does, and returns what it left behind.
    async fn end(self) -> TempDir {
        self.node.stop().await;
        self.directory
    }

    /// Asks as the node's own user, who may everything.
    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.ask_with(method, path, &[], body).await
    }

    async fn ask_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Answer {
        let peer = Peer::Process { uid: 0, administrator: true };
        self.ask_as(peer, method, path, headers, body).await
    }

    async fn ask_as(
        &self,
        peer: Peer,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("/api/v1{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let request = request.extension(peer).extension(Channel::Plain).body(body).unwrap();
        answer(self.router.clone().oneshot(request).await.unwrap()).await
    }

    /// Logs in, and asks from then on by the session's token.
    async fn token(&self, user: &str, password: &str) -> String {
        let body = json!({"user": user, "password": password});
        let answer = self.ask_as(network(), "POST", "/login", &[], Some(body)).await.expect(200);
        answer.body["token"].as_str().unwrap().to_owned()
    }
}

fn network() -> Peer {
    Peer::Network("192.0.2.5:40000".parse().unwrap())
}

async fn answer(response: Response<Body>) -> Answer {
    let status = response.status();
    let tag = response.headers().get("etag").map(|tag| tag.to_str().unwrap().to_owned());
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Answer { status, tag, body }
}
