//! Two nodes: one that is watched, and one that asks.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use keepwatch_model::{EventCode, GapReason, RoleId, Span, State, TICKS_PER_SECOND, UnknownReason, WallTime};
use keepwatch_recording::peer::{
    Backup, Hello, NodeDuty, NodePublic, Password, RecordedSpan, Restore, Restored, RtspUserBackup,
    Superseded,
};
use keepwatch_store::EventQuery;
use keepwatch_tls::{NodeKey, peer};
use keepwatch_web::{
    Application, Audit, Auth, AuthConfig, NodeClient, NodeError, SystemClock, Web, WebConfig, serve,
};
use tempfile::TempDir;

use super::*;
use crate::Node;
use crate::api;
use crate::config::{CameraConfig, CameraSource, DiskConfig, RecorderConfig, RtspConfig, Secret};

pub(crate) const PASSWORD: &str = "correct horse battery";
const PATIENCE: Duration = Duration::from_secs(10);

/// A recorder with the cameras `gate` and `yard`, for which nobody answers.
pub(crate) struct Recorder {
    pub(crate) node: Node,
    auth: Auth,
    web: Web,
    data: TempDir,
}

impl Recorder {
    pub(crate) async fn start(name: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        Self::start_in(name, data, &["gate", "yard"]).await
    }

    pub(crate) async fn start_in(name: &str, data: TempDir, cameras: &[&str]) -> Self {
        Self::start_with(name, data, cameras, routes).await
    }

    /// One that answers other nodes by these routes. A camera `gate@box` is sent by the edge node `box`.
    pub(crate) async fn start_with(
        name: &str,
        data: TempDir,
        cameras: &[&str],
        routes: impl FnOnce(Node, Auth) -> axum::Router,
    ) -> Self {
        std::fs::create_dir_all(data.path().join("disk")).unwrap();
        let camera = |id: &&str| {
            let url = "rtsp://127.0.0.1:9/1".parse().unwrap();
            let (id, node) = id.split_once('@').map_or((*id, None), |(id, node)| (id, Some(node)));
            let mut camera = CameraConfig::new(id.parse().unwrap(), url);
            if let Some(node) = node {
                camera.source =
                    CameraSource::Edge { node: node.to_owned(), camera: "cam1".parse().unwrap(), sub: false };
                return camera;
            }
            camera.user = Some("u".to_owned());
            camera.password = Some(Secret::new("hidden1".to_owned()));
            camera
        };
        let config = RecorderConfig {
            name: name.to_owned(),
            data: data.path().to_owned(),
            disks: vec![DiskConfig {
                size_bytes: Some(128 << 20),
                ..DiskConfig::new(data.path().join("disk"))
            }],
            retention: Some(Duration::from_secs(30 * 86_400)),
            buffer_bytes_max: 16 << 20,
            exports_bytes_max: None,
            cameras: cameras.iter().map(camera).collect(),
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
        let application = Application::new(&auth, api::routes(node.clone(), &[]), None)
            .with_nodes(routes(node.clone(), auth.clone()));
        let config = WebConfig {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            tls: Some(node.identity().await.unwrap().config()),
            nodes: Some(peer::server_config(&node.node_key().await.unwrap()).unwrap()),
            ..WebConfig::default()
        };
        let web = serve(config, &application).await.unwrap();
        Self { node, auth, web, data }
    }

    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.web.addresses()[0]
    }

    /// A token that lets one standby in, with its end.
    async fn token(&self) -> (String, WallTime) {
        let own = own_key(&self.node).await.unwrap();
        self.node.peers().make_token(own, NodeDuty::Standby, self.node.clock().wall()).unwrap()
    }

    pub(crate) async fn end(self) -> TempDir {
        self.web.shutdown().await;
        self.node.stop().await;
        drop(self.auth);
        self.data
    }
}

/// Another node, as far as it asks.
pub(crate) struct Asker {
    pub(crate) key: NodeKey,
    pub(crate) own: Introduction,
}

impl Asker {
    pub(crate) fn new(name: &str) -> Self {
        let key = NodeKey::keep(TempDir::new().unwrap().path()).unwrap().0;
        Self {
            key,
            own: Introduction {
                name: name.to_owned(),
                role: RoleId([9; 16]),
                port: 4711,
                duty: NodeDuty::Standby,
            },
        }
    }

    fn key(&self) -> NodePublic {
        public(self.key.public().unwrap())
    }

    pub(crate) fn client(&self, of: &Recorder) -> NodeClient {
        NodeClient::new(of.address(), peer::client_config(&self.key, None).unwrap())
    }

    pub(crate) async fn register(&self, at: &Recorder, login: &Login) -> Result<Registered, RegisterError> {
        register(&self.key, &self.own, at.address(), &approach(login, false)).await
    }
}

pub(crate) fn login(user: &str, password: &str) -> Login {
    Login::Administrator { user: user.to_owned(), password: Password::new(password.to_owned()) }
}

pub(crate) fn approach(login: &Login, beside: bool) -> Approach {
    Approach { login: login.clone(), beside, key: None }
}

fn token(text: &str) -> Login {
    Login::Token(Password::new(text.to_owned()))
}

pub(crate) fn code<T: std::fmt::Debug>(answer: Result<T, NodeError>) -> String {
    match answer {
        Err(NodeError::Refused { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

/// The last minute, by the clock of a recorder.
fn minute(recorder: &Recorder) -> Span {
    let to = recorder.node.clock().wall();
    Span { from: to.plus(-60 * TICKS_PER_SECOND), to }
}

#[tokio::test]
async fn a_standby_is_let_in_with_the_login_of_an_administrator_and_told_all() {
    let north = Recorder::start("north").await;
    let south = Asker::new("south");
    let mut client = south.client(&north);
    for refused in [
        code(check(&mut client, None, PATIENCE).await),
        code(backup(&mut client, PATIENCE).await.map(|_| ())),
        code(missing(&mut client, minute(&north), north.node.clock().wall(), PATIENCE).await),
        code(deregister(&mut client, PATIENCE).await),
    ] {
        assert_eq!(refused, "not_registered");
    }
    let said = hello(&mut client, PATIENCE).await.unwrap();
    assert_eq!((said.name.as_str(), said.epoch, said.role), ("north", 1, north.node.store().role()));
    assert_eq!((said.standby, said.watched_by.len()), (false, 0));

    let registered = south.register(&north, &login("admin", PASSWORD)).await.unwrap();
    assert_eq!(Some(registered.key), client.key().map(public));
    assert_eq!(registered.hello.watched_by, ["south"]);
    let kept = north.node.peers().standbys();
    assert_eq!((kept[0].key, kept[0].address.port()), (south.key(), 4711));

    let answer = check(&mut client, None, PATIENCE).await.unwrap();
    let ids: Vec<&str> = answer.cameras.iter().map(|camera| camera.camera.as_str()).collect();
    assert_eq!(ids, ["gate", "yard"]);
    for camera in &answer.cameras {
        assert!(
            matches!(
                camera.recorded,
                RecordedSpan::Missing(GapReason::ConnectionLost | GapReason::RecorderDown)
            ),
            "{camera:?}"
        );
    }
    // It listens elsewhere by now, and says so with its next check.
    let refused = client.get::<serde_json::Value>("/peer/check?port=0", PATIENCE).await;
    assert_eq!(code(refused), "query_malformed");
    check(&mut client, NonZeroU16::new(4712), PATIENCE).await.unwrap();
    let is_kept = async {
        while north.node.peers().standbys()[0].address.port() != 4712 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, is_kept).await.expect("its port is kept");
    let contents = backup(&mut client, PATIENCE).await.unwrap().open().unwrap();
    assert_eq!((contents.name.as_str(), contents.retention.as_deref()), ("north", Some("30 days")));
    let gate = &contents.cameras[0];
    let config = camera_config(gate, "gate-09".parse().unwrap()).unwrap();
    let (in_force, _) = north.node.in_force();
    let expected = CameraConfig { id: config.id, name: config.name.clone(), ..in_force.cameras[0].clone() };
    assert_eq!(config, expected);
    assert!(contents.users["users"][0]["hash"].as_str().is_some_and(|hash| hash.starts_with("$argon2id$")));

    // No camera ever gave a picture, and the standby's clock is an hour ahead.
    let hour = 3_600 * TICKS_PER_SECOND;
    let last = minute(&north);
    let theirs = Span { from: last.from.plus(hour), to: last.to.plus(hour) };
    let clock = || north.node.clock().wall().plus(hour);
    let said = missing(&mut client, theirs, clock(), PATIENCE).await.unwrap();
    assert_eq!((said.role, said.cameras.len()), (north.node.store().role(), 2));
    assert!(said.cameras.iter().all(|camera| camera.filled_ms == 0 && camera.left_ms < 60_000), "{said:?}");
    let years = Span { from: last.from.plus(-100 * 24 * hour), to: last.to };
    assert_eq!(code(missing(&mut client, years, last.to, PATIENCE).await), "window_invalid");
    let path = "/peer/missing?from=yesterday";
    assert_eq!(code(client.get::<serde_json::Value>(path, PATIENCE).await), "query_malformed");

    // It is known after a restart, and asks no more once it is out.
    let data = north.end().await;
    let north = Recorder::start_in("north", data, &["gate"]).await;
    let mut client = south.client(&north);
    assert_eq!(check(&mut client, None, PATIENCE).await.unwrap().cameras.len(), 1);
    deregister(&mut client, PATIENCE).await.unwrap();
    assert_eq!(code(check(&mut client, None, PATIENCE).await), "not_registered");
    north.end().await;
}

#[tokio::test]
async fn each_refusal_has_its_own_sentence_and_lets_nobody_in() {
    let north = Recorder::start("north").await;
    let south = Asker::new("south");
    let refused = south.register(&north, &login("admin", "wrong horse battery")).await.unwrap_err();
    assert!(matches!(refused, RegisterError::LoginRefused(_)), "{refused:?}");
    let own = own_key(&north.node).await.unwrap().to_string();
    let made_up = format!("kwp_{}_AAAA", own.chars().take(32).collect::<String>());
    let refused = south.register(&north, &token(&made_up)).await.unwrap_err();
    assert!(
        matches!(&refused, RegisterError::LoginRefused(detail) if detail.contains("token")),
        "{refused:?}"
    );
    // What belongs to another recorder is not even shown to this one.
    for text in ["kwp_x", "kwp_0123456789abcdef0123456789abcdef_AAAA", "made up"] {
        let refused = south.register(&north, &token(text)).await.unwrap_err();
        assert_eq!(refused.code(), "other_key", "{refused}");
    }
    for (digits, expected) in [(own.chars().take(16).collect(), None), ("0".repeat(16), Some("other_key"))] {
        let approach =
            Approach { key: Some(digits), ..approach(&login("admin", "wrong horse battery"), false) };
        let refused = register(&south.key, &south.own, north.address(), &approach).await.unwrap_err();
        assert_eq!(refused.code(), expected.unwrap_or("login_refused"));
    }
    assert_eq!(north.node.peers().standbys(), []);

    south.register(&north, &login("admin", PASSWORD)).await.unwrap();
    let east = Asker::new("east");
    let refused = east.register(&north, &login("admin", PASSWORD)).await.unwrap_err();
    assert!(
        matches!(&refused, RegisterError::RegisteredElsewhere(detail) if detail.contains("south")),
        "{refused:?}"
    );
    register(&east.key, &east.own, north.address(), &approach(&login("admin", PASSWORD), true))
        .await
        .unwrap();
    // One that is in already is let in anew, under another name.
    let south = Asker { own: Introduction { name: "south 2".to_owned(), ..south.own }, ..south };
    register(&south.key, &south.own, north.address(), &approach(&login("admin", PASSWORD), true))
        .await
        .unwrap();
    let names: Vec<String> = north.node.peers().standbys().into_iter().map(|standby| standby.name).collect();
    assert_eq!(names, ["east", "south 2"]);

    let own = north.node.node_key().await.unwrap();
    let refused =
        register(&own, &south.own, north.address(), &approach(&login("admin", PASSWORD), true)).await;
    assert!(matches!(refused, Err(RegisterError::Itself)), "{refused:?}");
    north.end().await;

    let (nowhere, login) = ("127.0.0.1:9".parse().unwrap(), approach(&token("kwp_x"), false));
    let nobody = register(&south.key, &south.own, nowhere, &login);
    assert_eq!(nobody.await.unwrap_err().code(), "unreachable");
}

#[tokio::test]
async fn another_version_is_refused_at_registration() {
    let north = Recorder::start("north").await;
    let mut client = Asker::new("south").client(&north);
    let asked = serde_json::json!({"version": "0.9.0", "protocol": 1, "name": "s", "role": RoleId([9; 16]), "port": 1,
        "user": "admin", "password": PASSWORD});
    let refused = client.post::<Hello>("/peer/register", &asked, PATIENCE).await.unwrap_err();
    assert!(refused.to_string().contains("0.9"), "{refused}");
    assert_eq!(code(Err::<(), _>(refused)), "version_differs");
    for malformed in
        [serde_json::json!({}), serde_json::json!({"version": 1}), serde_json::json!("x".repeat(20_000))]
    {
        let refused = code(client.post::<Hello>("/peer/register", &malformed, PATIENCE).await);
        assert!(["register_malformed", "body_too_large"].contains(&refused.as_str()), "{refused}");
    }
    assert_eq!(north.node.peers().standbys(), []);
    north.end().await;
}

#[tokio::test]
async fn a_token_lets_one_standby_in_and_only_once() {
    let north = Recorder::start("north").await;
    let (text, _) = north.token().await;
    let kept = std::fs::read_to_string(north.data.path().join("nodes.json")).unwrap();
    assert!(!kept.contains(&text), "only its hash is kept");
    Asker::new("south").register(&north, &token(&text)).await.unwrap();
    let east = Asker::new("east");
    let again =
        register(&east.key, &east.own, north.address(), &approach(&token(&text), true)).await.unwrap_err();
    assert!(matches!(again, RegisterError::LoginRefused(_)), "{again:?}");
    // A refusal for another reason does not use it up; its end does.
    let (text, expires) = north.token().await;
    let refused = east.register(&north, &token(&text)).await.unwrap_err();
    assert!(matches!(refused, RegisterError::RegisteredElsewhere(_)), "{refused:?}");
    assert!(north.node.peers().takes(&text, NodeDuty::Standby, north.node.clock().wall()));
    assert!(!north.node.peers().takes(&text, NodeDuty::Standby, expires));
    register(&east.key, &east.own, north.address(), &approach(&token(&text), true)).await.unwrap();
    north.end().await;
}

#[tokio::test]
async fn what_cannot_be_read_answers_nobody_and_is_not_written_over() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("nodes.json");
    std::fs::write(&path, "{").unwrap();
    let north = Recorder::start_in("north", data, &[]).await;
    let south = Asker::new("south");
    assert_eq!(code(hello(&mut south.client(&north), PATIENCE).await), "nodes_unreadable");
    let refused = south.register(&north, &login("admin", PASSWORD)).await.unwrap_err();
    assert_eq!(refused.code(), "nodes_unreadable");
    assert_eq!(std::fs::read(&path).unwrap(), b"{");
    north.end().await;
}

#[tokio::test]
async fn an_acquaintance_is_what_it_has_proven_to_be() {
    let north = Recorder::start("north").await;
    let south = Asker::new("south");
    let said = ask_hello(&south.key, north.address(), PATIENCE).await.unwrap();
    assert_eq!(said.key, public(north.node.node_key().await.unwrap().public().unwrap()));
    // A primary that this node watches may fetch what was recorded for it.
    let known = |key| north.node.peers().known(key).ok();
    assert_eq!(known(south.key()), None);
    north.node.peers().watch([(south.key(), RoleId([3; 16]))].into());
    assert_eq!(known(south.key()), Some(Known::Primary(RoleId([3; 16]))));
    assert!(ask_hello(&south.key, north.address(), PATIENCE).await.unwrap().standby);
    north.end().await;
}

#[tokio::test]
async fn a_scan_finds_recorders_by_their_addresses_and_by_what_they_announce() {
    let north = Recorder::start("north").await;
    let south = Arc::new(Asker::new("south").key);
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let wish = ScanWish {
        announced: None,
        announced_port: free.local_addr().unwrap().port(),
        ranges: vec!["127.0.0.0/28".parse().unwrap()],
        port: north.address().port(),
        time_max: Duration::from_secs(60),
    };
    drop(free);
    // It listens at one address of the loopback's; nobody is at the others, and the scan ends by itself.
    let mut scan = Scan::begin(Arc::clone(&south), wish.clone());
    let found = scan.next().await.unwrap();
    assert_eq!((found.address, found.hello.name.as_str()), (north.address(), "north"));
    assert_eq!(scan.next().await, None);
    let asked = scan.progress().asked;
    assert_eq!((asked, asked > 1), (scan.progress().all, true));

    // Announced, it is found at its address; a scan that listens goes on until it is stopped.
    let service = keepwatch_announce::Service {
        name: "north".to_owned(),
        digits: found.hello.key.to_string(),
        port: north.address().port(),
    };
    let lo = vec!["lo".to_owned()];
    let announced = keepwatch_announce::Announcement::start_at(&service, lo.clone(), wish.announced_port);
    let listening = ScanWish { announced: Some(lo), ranges: Vec::new(), ..wish.clone() };
    let mut scan = Scan::begin(Arc::clone(&south), listening);
    assert_eq!(scan.next().await.map(|found| found.hello.name), Some("north".to_owned()));
    assert!(!scan.progress().ended);
    scan.stop();
    assert_eq!(scan.next().await, None);
    announced.end().await;

    // It does not find itself, nor does it take longer than was said.
    let own = north.node.node_key().await.unwrap();
    let brief =
        ScanWish { announced: Some(vec!["lo".to_owned()]), time_max: Duration::from_millis(300), ..wish };
    assert_eq!(Scan::begin(own, brief).next().await, None);
    north.end().await;
}

/// Somebody who announces himself as a recorder, and is none.
async fn impostor(
    says: &'static [u8],
    port: u16,
) -> (keepwatch_announce::Announcement, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let service = keepwatch_announce::Service {
        name: "north".to_owned(),
        digits: "0".repeat(16),
        port: listener.local_addr().unwrap().port(),
    };
    let announced = keepwatch_announce::Announcement::start_at(&service, vec!["lo".to_owned()], port);
    let serving = tokio::spawn(async move {
        // Those who ask are kept waiting.
        let mut asking = Vec::new();
        while let Ok((mut asker, _)) = listener.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut asker, says).await;
            asking.push(asker);
        }
    });
    (announced, serving)
}

#[tokio::test]
async fn who_announces_himself_and_proves_no_key_is_not_found_and_hides_nobody() {
    let north = Recorder::start("north").await;
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let announced_port = free.local_addr().unwrap().port();
    drop(free);
    let silent = impostor(b"", announced_port).await;
    let talks = impostor(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", announced_port).await;
    let own = own_key(&north.node).await.unwrap();
    let service = keepwatch_announce::Service {
        name: "north".to_owned(),
        digits: own.to_string(),
        port: north.address().port(),
    };
    let announced =
        keepwatch_announce::Announcement::start_at(&service, vec!["lo".to_owned()], announced_port);
    let wish = ScanWish {
        announced: Some(vec!["lo".to_owned()]),
        announced_port,
        ranges: Vec::new(),
        port: 1,
        time_max: Duration::from_secs(4),
    };
    let mut scan = Scan::begin(Arc::new(Asker::new("south").key), wish);
    let mut found = Vec::new();
    while let Some(node) = scan.next().await {
        found.push((node.address, node.hello.key));
    }
    assert_eq!(found, [(north.address(), own)]);
    announced.end().await;
    for (announced, serving) in [silent, talks] {
        announced.end().await;
        serving.abort();
    }
    north.end().await;
}

/// A recorder without cameras that lets `asker` in.
async fn blank(asker: &Asker) -> Recorder {
    let recorder = Recorder::start_in("west", tempfile::tempdir().unwrap(), &[]).await;
    asker.register(&recorder, &login("admin", PASSWORD)).await.unwrap();
    recorder
}

#[tokio::test]
async fn a_recorder_takes_the_role_of_another_one_with_its_cameras_and_users() {
    let south = Asker::new("south");
    let north = Recorder::start("north").await;
    south.register(&north, &login("admin", PASSWORD)).await.unwrap();
    let kept = backup(&mut south.client(&north), PATIENCE).await.unwrap();
    let (role, _) = north.node.peers().role();
    north.end().await;

    let west = blank(&south).await;
    assert_ne!(west.node.peers().role().0, role);
    let mut client = south.client(&west);
    let asked = Restore { epoch: 2, backup: kept, missed_ms: 5_000 };
    let taken = restore(&mut client, &asked, PATIENCE).await.unwrap();
    assert_eq!((taken.role, taken.epoch, taken.cameras, taken.left.len()), (role, 2, 2, 0));
    // The answer was lost: the same again comes to the same.
    let again = restore(&mut client, &asked, PATIENCE).await.unwrap();
    assert_eq!(again, taken);
    // What was not recorded meanwhile is missing here, as far back as was said.
    let now = west.node.clock().wall();
    let gate = west.node.camera("gate".parse().unwrap()).unwrap();
    let state = |ticks: i64| gate.main().ledger().state_at(now.plus(-ticks * TICKS_PER_SECOND));
    assert_eq!(state(3), State::Gap { reason: GapReason::RecorderDown });
    assert_eq!(state(30), State::Unknown { reason: UnknownReason::NotConfigured });
    let said = hello(&mut client, PATIENCE).await.unwrap();
    assert_eq!((said.role, said.epoch), (role, 2));
    let answer = check(&mut client, None, PATIENCE).await.unwrap();
    assert_eq!((answer.role, answer.epoch, answer.cameras.len()), (role, 2, 2));
    let (config, _) = west.node.in_force();
    assert_eq!(config.cameras[0].password, Some(Secret::new("hidden1".to_owned())));
    assert_eq!(config.cameras[0].retention, Some(Duration::from_secs(30 * 86_400)));
    let from = keepwatch_web::Peer::Network("127.0.0.1:1".parse().unwrap());
    west.auth.confirm_administrator(&from, "admin", PASSWORD.to_owned()).await.unwrap();

    // It is this recorder after a restart, too; the cameras are its own, edited ones.
    let data = west.end().await;
    let west = Recorder::start_in("west", data, &[]).await;
    assert_eq!((west.node.peers().role(), west.node.own_cameras().len()), ((role, 2), 2));
    west.end().await;
}

#[tokio::test]
async fn a_camera_of_an_edge_node_asks_for_no_cover_and_is_restored_with_its_node() {
    let south = Asker::new("south");
    let north = Recorder::start_in("north", TempDir::new().unwrap(), &["gate", "dock@box"]).await;
    south.register(&north, &login("admin", PASSWORD)).await.unwrap();
    let mut client = south.client(&north);
    let answer = check(&mut client, None, PATIENCE).await.unwrap();
    assert_eq!(answer.cameras.iter().map(|camera| camera.camera.as_str()).collect::<Vec<_>>(), ["gate"]);
    let told = missing(&mut client, minute(&north), north.node.clock().wall(), PATIENCE).await.unwrap();
    assert_eq!(told.cameras.iter().map(|camera| camera.camera.as_str()).collect::<Vec<_>>(), ["gate"]);
    let kept = backup(&mut client, PATIENCE).await.unwrap();
    north.end().await;

    let west = blank(&south).await;
    let asked = Restore { epoch: 2, backup: kept, missed_ms: 0 };
    let taken = restore(&mut south.client(&west), &asked, PATIENCE).await.unwrap();
    assert_eq!((taken.cameras, taken.left), (2, Vec::new()));
    let dock = west.node.camera("dock".parse().unwrap()).unwrap();
    assert_eq!(dock.config().source.edge_node(), Some("box"));
    west.end().await;
}

#[tokio::test]
async fn a_role_is_fenced_by_its_epoch_and_an_altered_backup_takes_none() {
    let south = Asker::new("south");
    let north = Recorder::start("north").await;
    south.register(&north, &login("admin", PASSWORD)).await.unwrap();
    let mut of_north = south.client(&north);
    let kept = backup(&mut of_north, PATIENCE).await.unwrap();
    let west = blank(&south).await;
    let mut client = south.client(&west);
    let before = west.node.peers().role();

    let asked = |epoch| Restore { epoch, backup: kept.clone(), missed_ms: 0 };
    for epoch in [0, 1] {
        assert_eq!(code(restore(&mut client, &asked(epoch), PATIENCE).await), "epoch_stale");
    }
    let mut altered = serde_json::to_value(asked(2)).unwrap();
    let contents = altered["backup"]["contents"].as_str().unwrap().replace("127.0.0.1", "127.0.0.9");
    altered["backup"]["contents"] = contents.into();
    let refused = client.post::<Restored>("/peer/restore", &altered, PATIENCE).await;
    assert_eq!(code(refused), "backup_unusable");
    let mut contents = kept.open().unwrap();
    contents.version = "0.9.0".to_owned();
    let other = Restore { epoch: 2, backup: Backup::of(&contents).unwrap(), missed_ms: 0 };
    assert_eq!(code(restore(&mut client, &other, PATIENCE).await), "version_differs");
    let mut contents = kept.open().unwrap();
    contents.users["users"][0]["role"] = "viewer".into();
    let powerless = Restore { epoch: 2, backup: Backup::of(&contents).unwrap(), missed_ms: 0 };
    assert_eq!(code(restore(&mut client, &powerless, PATIENCE).await), "users_unusable");
    let stranger = Asker::new("east");
    assert_eq!(code(restore(&mut stranger.client(&west), &asked(2), PATIENCE).await), "not_registered");
    assert_eq!((west.node.peers().role(), west.node.own_cameras().len()), (before, 0));

    // Whoever played the role keeps the earlier epoch, and cannot be given it back in one that is over.
    restore(&mut client, &asked(5), PATIENCE).await.unwrap();
    assert_eq!(code(restore(&mut client, &asked(4), PATIENCE).await), "epoch_stale");
    assert_eq!(check(&mut of_north, None, PATIENCE).await.unwrap().epoch, 1);
    // A camera of the configuration file is the operator's, and stays.
    let refused = restore(&mut of_north, &asked(6), PATIENCE).await;
    assert_eq!(code(refused), "camera_of_file");
    north.end().await;
    west.end().await;
}

/// What was taken is taken again from who had it taken, for the answer may be lost; from nobody else, and in no other form.
#[tokio::test]
async fn a_role_in_force_is_taken_again_only_by_the_very_request_that_moved_it() {
    let (south, east) = (Asker::new("south"), Asker::new("east"));
    let north = Recorder::start("north").await;
    south.register(&north, &login("admin", PASSWORD)).await.unwrap();
    let kept = backup(&mut south.client(&north), PATIENCE).await.unwrap();
    north.end().await;
    let west = blank(&south).await;
    let asked = Restore { epoch: 2, backup: kept.clone(), missed_ms: 0 };
    restore(&mut south.client(&west), &asked, PATIENCE).await.unwrap();
    register(&east.key, &east.own, west.address(), &approach(&login("admin", PASSWORD), true)).await.unwrap();
    assert_eq!(code(restore(&mut east.client(&west), &asked, PATIENCE).await), "epoch_stale");
    let later = Restore { epoch: 3, ..asked.clone() };
    assert_eq!(code(restore(&mut east.client(&west), &later, PATIENCE).await), "registered_elsewhere");
    let mut contents = kept.open().unwrap();
    contents.name = "forged".to_owned();
    let other = Restore { backup: Backup::of(&contents).unwrap(), ..asked.clone() };
    assert_eq!(code(restore(&mut south.client(&west), &other, PATIENCE).await), "epoch_stale");
    // After a restart as well.
    let west = Recorder::start_in("west", west.end().await, &[]).await;
    assert_eq!(restore(&mut south.client(&west), &asked, PATIENCE).await.unwrap().epoch, 2);
    assert_eq!(code(restore(&mut east.client(&west), &asked, PATIENCE).await), "epoch_stale");
    west.end().await;
}

/// However much could not be taken over, the answer is one that the standby reads, and what an operator must do stands in it.
#[tokio::test]
async fn what_is_left_is_told_within_what_is_read() {
    let north = Recorder::start("north").await;
    let mut contents = north.node.backup(&north.auth).unwrap().open().unwrap();
    let password = Password::new("x".to_owned());
    let user = "ü".repeat(60);
    let user = |number| RtspUserBackup {
        user: format!("{user}{number}"),
        password: password.clone(),
        cameras: None,
    };
    contents.rtsp_users = (0..100).map(user).collect();
    let left = restore::told(vec!["ü".repeat(3_000); 200], &contents);
    let restored = Restored { role: contents.role, epoch: 2, cameras: 0, left };
    let read: Restored = serde_json::from_slice(&serde_json::to_vec(&restored).unwrap()).unwrap();
    assert_eq!((read.left.len(), &read), (100, &restored));
    assert!(read.left[99].contains("RTSP"), "{}", read.left[99]);
    north.end().await;
}

#[tokio::test]
async fn a_recorder_that_was_replaced_is_told_by_who_watched_it_and_tells_its_operator() {
    let (south, east) = (Asker::new("south"), Asker::new("east"));
    let north = Recorder::start("north").await;
    let role = north.node.store().role();
    south.register(&north, &login("admin", PASSWORD)).await.unwrap();
    let told = |epoch, role| Superseded { role, epoch, name: "west\nforged".to_owned() };
    let mut stranger = east.client(&north);
    assert_eq!(code(supersede(&mut stranger, &told(2, role), PATIENCE).await), "not_registered");
    let mut client = south.client(&north);
    for refused in [told(1, role), told(2, RoleId([4; 16]))] {
        assert_eq!(code(supersede(&mut client, &refused, PATIENCE).await), "epoch_stale");
    }
    let malformed = client.post::<()>("/peer/superseded", &serde_json::json!({"epoch": -1}), PATIENCE).await;
    assert_eq!(code(malformed), "superseded_malformed");
    assert_eq!(north.node.peers().standbys().len(), 1);
    supersede(&mut client, &told(2, role), PATIENCE).await.unwrap();
    assert_eq!(north.node.peers().standbys(), []);
    assert_eq!(code(check(&mut client, None, PATIENCE).await), "not_registered");
    // It keeps its epoch, and says so again after each start.
    let north = Recorder::start_in("north", north.end().await, &["gate"]).await;
    assert_eq!(north.node.peers().role(), (role, 1));
    let log = north.node.event_log();
    log.flush();
    let query =
        EventQuery { from: WallTime::MIN, to: WallTime::MAX, newest_first: true, after: None, limit: 100 };
    let events = log.page(&query).unwrap().items;
    let texts: Vec<String> = events
        .into_iter()
        .filter(|(_, event)| event.code == EventCode::RoleSuperseded)
        .map(|(_, event)| event.text)
        .collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts.iter().all(|text| text.contains("west forged plays its role in epoch 2")), "{texts:?}");
    north.end().await;
}

/// Several standbys ask five times a second each: 16 of them may take a quarter of one core at most. Less than a hundredth was measured.
#[tokio::test]
async fn a_check_of_two_hundred_cameras_costs_next_to_nothing() {
    let ids: Vec<String> = (0..200).map(|number| format!("camera-{number}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let north = Recorder::start_in("north", tempfile::tempdir().unwrap(), &ids).await;
    let begun = std::time::Instant::now();
    let bytes = (0..100).map(|_| serde_json::to_vec(&north.node.check()).unwrap().len()).max().unwrap();
    let each = begun.elapsed() / 100;
    assert!(each < Duration::from_millis(3), "a check of 200 cameras: {each:?}, {bytes} bytes");
    north.end().await;
}

#[tokio::test]
async fn a_token_lets_in_only_what_it_was_made_for_and_edge_nodes_have_names_of_their_own() {
    let north = Recorder::start("north").await;
    let own = own_key(&north.node).await.unwrap();
    let made = |duty| north.node.peers().make_token(own, duty, north.node.clock().wall()).unwrap().0;
    let edge = |name: &str| {
        let asker = Asker::new(name);
        Asker { own: Introduction { duty: NodeDuty::Edge, ..asker.own }, ..asker }
    };
    let first = edge("box");
    // A standby gets all passwords, an edge node none.
    let for_edges = made(NodeDuty::Edge);
    let refused = Asker::new("south").register(&north, &token(&for_edges)).await.unwrap_err();
    assert!(matches!(refused, RegisterError::LoginRefused(_)), "{refused:?}");
    let refused = first.register(&north, &token(&made(NodeDuty::Standby))).await.unwrap_err();
    assert!(matches!(refused, RegisterError::LoginRefused(_)), "{refused:?}");
    first.register(&north, &token(&for_edges)).await.unwrap();
    assert!(first.register(&north, &token(&for_edges)).await.is_err(), "it works once");

    let other = edge("box").register(&north, &login("admin", PASSWORD)).await.unwrap_err();
    assert!(matches!(&other, RegisterError::Refused { code, .. } if code == "edge_name_taken"), "{other:?}");
    first.register(&north, &login("admin", PASSWORD)).await.unwrap();
    let names: Vec<String> = north.node.peers().edges().into_iter().map(|edge| edge.name).collect();
    assert_eq!((names, north.node.peers().standbys().len()), (vec!["box".to_owned()], 0));

    // It is told nothing that standbys are, and is known again after a restart.
    let mut client = first.client(&north);
    for target in ["/peer/backup", "/peer/restore", "/peer/missing?from=0&to=1&clock=0"] {
        assert!(client.get::<serde_json::Value>(target, PATIENCE).await.is_err(), "{target}");
    }
    let wanted: keepwatch_recording::peer::Wanted =
        client.get("/peer/relay?clock=2026-11-22T12:00:00.000000Z", PATIENCE).await.unwrap();
    assert_eq!(wanted.lines, []);
    let kept = Peers::open(north.data.path(), north.node.store().role());
    assert_eq!(kept.edges(), north.node.peers().edges());
    deregister(&mut client, PATIENCE).await.unwrap();
    assert_eq!(
        code(client.get::<serde_json::Value>("/peer/relay?clock=0", PATIENCE).await),
        "not_registered"
    );
    north.end().await;
}
