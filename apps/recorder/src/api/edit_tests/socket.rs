//! The status socket over a real connection.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use keepwatch_web::{Web, WebConfig, serve};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// A node that is reached by its Unix socket.
struct Served {
    site: Site,
    web: Web,
}

struct Client {
    socket: WebSocketStream<UnixStream>,
    seq: u64,
}

impl Served {
    async fn new() -> Self {
        Self::on(Site::new().await).await
    }

    async fn on(site: Site) -> Self {
        let socket = Some(site.directory.path().join(keepwatch_web::SOCKET_NAME));
        let web = serve(WebConfig { socket, ..WebConfig::default() }, &site.application).await.unwrap();
        Self { site, web }
    }

    async fn connect(&self, token: Option<&str>) -> Client {
        let path = self.site.directory.path().join(keepwatch_web::SOCKET_NAME);
        let stream = UnixStream::connect(path).await.unwrap();
        let mut request = "ws://localhost/api/v1/status".into_client_request().unwrap();
        if let Some(token) = token {
            request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        Client { socket, seq: 0 }
    }

    async fn end(self) {
        self.web.shutdown().await;
        self.site.end().await;
    }
}

impl Client {
    async fn message(&mut self) -> Message {
        timeout(PATIENCE, self.socket.next()).await.expect("a message in time").unwrap().unwrap()
    }

    /// The next text, whose number is the next.
    async fn told(&mut self) -> Value {
        let Message::Text(text) = self.message().await else { panic!("a text") };
        let value: Value = serde_json::from_str(text.as_str()).unwrap();
        self.seq += 1;
        assert_eq!(value["seq"], self.seq, "{value}");
        value
    }

    /// The next message of which `wanted` is true.
    async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let told = async {
            loop {
                let told = self.told().await;
                if wanted(&told) {
                    return told;
                }
            }
        };
        timeout(PATIENCE, told).await.expect("the message in time")
    }

    /// The code by which it is closed.
    async fn closed(&mut self) -> CloseCode {
        let closed = async {
            loop {
                if let Message::Close(frame) = self.message().await {
                    return frame.expect("a reason").code;
                }
            }
        };
        timeout(PATIENCE, closed).await.expect("a farewell in time")
    }
}

#[tokio::test]
async fn a_socket_begins_with_all_and_goes_on_with_what_changes() {
    let served = Served::new().await;
    let mut client = served.connect(None).await;
    let first = client.told().await;
    assert_eq!(first["type"], "snapshot");
    assert_eq!(first["value"]["node"]["name"], "site");
    assert!(first["value"]["node"].get("now").is_none(), "the time is in the signs of life");
    assert_eq!(first["value"]["cameras"]["gate"]["id"], "gate");
    assert_eq!(served.site.ask("GET", "/cameras/gate", None).await.body["editable"], false);

    let camera = json!({"id": "yard", "url": "rtsp://127.0.0.1:9/2"});
    served.site.ask("POST", "/cameras", Some(camera)).await.expect(201);
    client.until(|told| told["path"] == json!(["node"]) && told["value"]["settings"]["revision"] == 1).await;
    let added = client.until(|told| told["path"] == json!(["cameras", "yard"])).await;
    assert_eq!((&added["type"], &added["value"]["editable"]), (&json!("change"), &json!(true)));
    served.site.ask("DELETE", "/cameras/yard", None).await.expect(200);
    // A change without a value says that what stood there is gone.
    client.until(|told| told["path"] == json!(["cameras", "yard"]) && told["value"].is_null()).await;
    let alive = client.until(|told| told["type"] == "alive").await;
    assert!(alive["now"].as_str().unwrap().ends_with('Z'));

    // Another one is given all that there is at once; both are closed when the node ends.
    let mut second = served.connect(None).await;
    assert_eq!(second.told().await["type"], "snapshot");
    let Served { site, web } = served;
    let (_, first, second) = tokio::join!(web.shutdown(), client.closed(), second.closed());
    assert_eq!((first, second), (CloseCode::Away, CloseCode::Away));
    site.end().await;
}

#[tokio::test]
async fn a_socket_shows_what_its_user_may_see_and_ends_with_the_right() {
    let served = Served::new().await;
    let camera = json!({"id": "yard", "url": "rtsp://127.0.0.1:9/2"});
    served.site.ask("POST", "/cameras", Some(camera)).await.expect(201);
    let user = json!({"name": "guard", "password": PASSWORD, "role": null, "cameras": {"yard": "viewer"}});
    served.site.ask("POST", "/users", Some(user)).await.expect(201);
    let token = served.site.token("guard", PASSWORD).await;
    let mut client = served.connect(Some(&token)).await;
    let first = client.told().await;
    let cameras: Vec<&String> = first["value"]["cameras"].as_object().unwrap().keys().collect();
    assert_eq!(cameras, ["yard"]);
    assert_eq!(
        (&first["value"]["node"]["cameras"], &first["value"]["node"]["disks"]),
        (&json!(1), &json!([]))
    );
    // Nothing of another camera is told, whatever happens to it.
    let other = json!({"id": "shop", "url": "rtsp://127.0.0.1:9/3"});
    served.site.ask("POST", "/cameras", Some(other)).await.expect(201);
    let until_alive = client.until(|told| {
        assert_ne!(told["path"][1], "shop", "{told}");
        told["type"] == "alive"
    });
    until_alive.await;
    served.site.ask("DELETE", "/users/guard", None).await.expect(204);
    assert_eq!(client.closed().await, CloseCode::Policy);
    served.end().await;
}

#[tokio::test]
async fn a_client_that_says_anything_is_closed() {
    let served = Served::new().await;
    for message in [Message::text("hello"), Message::binary(vec![0; 10])] {
        let mut client = served.connect(None).await;
        client.told().await;
        client.socket.send(message).await.unwrap();
        assert_eq!(client.closed().await, CloseCode::Policy);
    }
    // One that is larger than is read at all.
    let mut client = served.connect(None).await;
    client.told().await;
    client.socket.send(Message::text("x".repeat(100_000))).await.ok();
    let gone = async { while matches!(client.socket.next().await, Some(Ok(_))) {} };
    timeout(PATIENCE, gone).await.unwrap();
    let plain = served.site.ask_with("GET", "/status", &[("upgrade", "h2c")], None).await.expect(400);
    assert_eq!(plain.body["code"], "upgrade_invalid");
    served.end().await;
}

#[tokio::test]
async fn a_scan_is_told_as_it_goes_on_to_administrators_alone() {
    let served = Served::new().await;
    let user = json!({"name": "guard", "password": PASSWORD, "role": "supervisor", "cameras": {}});
    served.site.ask("POST", "/users", Some(user)).await.expect(201);
    let token = served.site.token("guard", PASSWORD).await;
    let (mut client, mut guard) = (served.connect(None).await, served.connect(Some(&token)).await);
    for client in [&mut client, &mut guard] {
        assert_eq!(client.told().await["value"]["scans"], json!({}));
    }
    // Nobody answers there; what counts is that its beginning and its end are told.
    let body = json!({"addresses": ["127.0.0.1"], "seconds": 60});
    served.site.ask("POST", "/scans", Some(body)).await.expect(201);
    let begun = client.until(|told| told["path"] == json!(["scans", "1"])).await;
    assert_eq!((&begun["value"]["running"], &begun["value"]["items"]), (&json!(true), &json!([])));
    served.site.ask("DELETE", "/scans/1", None).await.expect(204);
    let ended =
        client.until(|told| told["path"] == json!(["scans", "1"]) && told["value"]["running"] == false).await;
    assert_eq!(ended["value"], served.site.ask("GET", "/scans/1", None).await.expect(200).body);
    // Who comes later is given the last scan with all else.
    let mut later = served.connect(None).await;
    assert_eq!(later.told().await["value"]["scans"]["1"], ended["value"]);
    let until_alive = guard.until(|told| {
        assert_ne!(told["path"][0], "scans", "{told}");
        told["type"] == "alive"
    });
    until_alive.await;
    served.end().await;
}

#[tokio::test]
async fn an_export_is_shown_to_operators_of_all_its_cameras_until_it_is_forgotten() {
    let directory = TempDir::new().unwrap();
    std::fs::create_dir(directory.path().join("disk")).unwrap();
    let folder = directory.path().join("exports");
    std::fs::create_dir(&folder).unwrap();
    let now = keepwatch_model::WallTime::from_unix_nanos(i128::from(u32::MAX) * 1_000_000_000);
    for (id, cameras) in [("1", json!(["gate"])), ("2", json!(["gate", "yard"]))] {
        let order = json!({"cameras": cameras, "stream": 0, "from": "2026-11-21T21:00:00Z", "to": "2026-11-21T21:10:00Z",
            "audio": true, "by": "ann", "created": "2026-11-21T22:00:00Z", "audit_head": null});
        let number: u64 = id.parse().unwrap();
        let kept = json!({"id": number, "order": order, "state": "failed", "bytes": 100, "ended": now, "error": "a test"});
        std::fs::write(folder.join(format!("{id}.json")), kept.to_string()).unwrap();
    }
    let served = Served::on(Site::on(directory).await.unwrap()).await;
    let user =
        json!({"name": "guard", "password": PASSWORD, "role": "viewer", "cameras": {"gate": "operator"}});
    served.site.ask("POST", "/users", Some(user)).await.expect(201);
    let token = served.site.token("guard", PASSWORD).await;
    let (mut client, mut guard) = (served.connect(None).await, served.connect(Some(&token)).await);
    let seen = client.told().await["value"]["exports"].clone();
    assert_eq!(seen["1"], served.site.ask("GET", "/exports/1", None).await.expect(200).body);
    assert_eq!(seen.as_object().unwrap().len(), 2);
    let shown = guard.told().await["value"]["exports"].clone();
    assert_eq!((&shown["1"], shown.as_object().unwrap().len()), (&seen["1"], 1));
    for id in ["2", "1"] {
        served.site.ask("DELETE", &format!("/exports/{id}"), None).await.expect(204);
        client.until(|told| told["path"] == json!(["exports", id]) && told["value"].is_null()).await;
    }
    let gone = guard.until(|told| {
        assert_ne!(told["path"][1], "2", "{told}");
        told["path"] == json!(["exports", "1"])
    });
    assert!(gone.await["value"].is_null());
    served.end().await;
}
