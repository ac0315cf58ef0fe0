//! Cameras edited over the API: found, tried, added, changed, removed and taken up again; and a node that is killed at any
//! moment of it starts with the last change or the one before, whole, its passwords usable.

use std::path::Path;
use std::time::{Duration, Instant};

use keepwatch_it::{
    Answer, Cameras, Http, Network, Node, Place, Program, Received, Site, namespaces, wait_until,
};
use keepwatch_model::TICKS_PER_SECOND;
use serde_json::{Value, json};

use crate::shared;

const PATIENCE: Duration = Duration::from_secs(60);
/// What the cameras ask for.
const USER: &str = "viewer";
const PASSWORD: &str = "correct horse";

/// A site whose cameras ask for a login, and whose node has none.
fn site(listen: &str) -> Site {
    let site = Site::new().unwrap();
    std::fs::write(site.path().join("camera.password"), format!("{PASSWORD}\n")).unwrap();
    Node::configure(&site, listen, &[]).unwrap();
    let path = site.path().join("keepwatch.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, format!("camera = []\n{text}")).unwrap();
    site
}

const LOGIN: [&str; 4] = ["--user", USER, "--password-file", "camera.password"];

fn post(http: &Http, path: &str, body: &Value) -> Answer {
    http.request("POST", path, Some(body)).unwrap()
}

fn recording(http: &Http, id: &str) {
    wait_until(&format!("{id} being recorded"), PATIENCE, || {
        let camera = http.get(&format!("/api/v1/cameras/{id}"))?;
        Ok((camera["recording"] == true).then_some(()))
    })
    .unwrap();
}

/// The files under `path` that hold `text`.
fn holding(path: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(holding(&entry.path(), text));
        } else if kind.is_file() {
            let bytes = std::fs::read(entry.path()).unwrap();
            if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                found.push(entry.path().display().to_string());
            }
        }
    }
    found
}

#[test]
fn a_camera_is_tried_added_changed_removed_and_taken_up_again_without_its_password_being_told() {
    let _machine = shared();
    let site = site("127.0.0.1:0");
    let options = [&["--onvif", "127.0.0.1:0"][..], &LOGIN].concat();
    let cameras = Cameras::start_with(&site, 2, "127.0.0.1", &options).unwrap();
    let node = Node::start(&site).unwrap();
    let http = node.http();
    let device = &cameras.devices()[0];

    let mut body = json!({"id": "gate", "onvif": device, "user": USER, "password": "wrong horse"});
    let tried = post(http, "/api/v1/cameras/test", &body);
    assert_eq!((tried.status, tried.code().as_str()), (422, "camera_unusable"));
    body["password"] = json!(PASSWORD);
    let tried = post(http, "/api/v1/cameras/test", &body).success().unwrap();
    assert_eq!(
        (&tried["reachable"], &tried["streams"][0]["stream"]),
        (&json!(true), &json!("main")),
        "{tried}"
    );
    assert!(tried["streams"][0]["tracks"][0].as_str().unwrap().starts_with("h264 640x360"), "{tried}");
    // To try is not to add.
    assert_eq!(http.get("/api/v1/cameras").unwrap()["items"], json!([]));
    assert_eq!(http.get("/api/v1/revisions").unwrap()["items"], json!([]));

    let added = post(http, "/api/v1/cameras", &body);
    assert_eq!((added.status, added.header("location")), (201, Some("/api/v1/cameras/gate")));
    let first = added.header("etag").unwrap().to_owned();
    assert_eq!(post(http, "/api/v1/cameras", &body).code(), "camera_taken");
    recording(http, "gate");
    let from = node.first_label("gate").unwrap();
    let second = json!({"id": "yard", "url": cameras.url("cam2"), "user": USER, "password": PASSWORD});
    post(http, "/api/v1/cameras", &second).success().unwrap();
    recording(http, "yard");

    let path = "/api/v1/cameras/gate";
    let put = |body: &Value, headers: &[(&str, &str)]| {
        http.request_text("PUT", path, headers, &body.to_string()).unwrap()
    };
    // The name alone: nobody is dialled anew, and the password stays.
    let before = cameras.connections("cam1").unwrap().len();
    let change = json!({"onvif": device, "user": USER, "name": "North gate"});
    let changed = put(&change, &[("If-Match", &first)]);
    assert_eq!((changed.status, changed.json().unwrap()["has_password"].clone()), (200, json!(true)));
    assert_eq!(http.get(path).unwrap()["name"], "North gate");
    let stale = put(&change, &[("If-Match", &first)]);
    assert_eq!((stale.status, stale.code().as_str()), (412, "revision_stale"));
    // Led to another address, the password would be told to whoever is there.
    for elsewhere in [
        json!({"url": cameras.url("cam1"), "user": USER}),
        json!({"onvif": cameras.devices()[1], "user": USER}),
        json!({"onvif": "http://192.0.2.1/onvif/device_service", "user": USER}),
    ] {
        let refused = put(&elsewhere, &[]);
        assert_eq!((refused.status, refused.code().as_str()), (422, "fields_invalid"), "{elsewhere}");
        assert_eq!(refused.json().unwrap()["errors"][0]["field"], "password");
        let tried = post(http, "/api/v1/cameras/test", &{
            let mut body = elsewhere.clone();
            body["id"] = json!("gate");
            body
        });
        assert_ne!(tried.status, 200, "{elsewhere}: a password that is kept is not tried elsewhere");
    }
    let until = node.durable_until("gate").unwrap().unwrap();
    node.wait_durable("gate", until.plus(2 * TICKS_PER_SECOND), PATIENCE).unwrap();
    assert_eq!(cameras.connections("cam1").unwrap().len(), before, "a name is no reason to connect anew");

    // Nowhere, in no form that can be searched for.
    for path in [
        "/api/v1/cameras",
        path,
        "/api/v1/cameras/gate/config",
        "/api/v1/revisions",
        "/api/v1/audit",
        "/api/v1/events",
    ] {
        let answer = http.request("GET", path, None).unwrap();
        assert!(!String::from_utf8_lossy(&answer.body).contains(PASSWORD), "{path}");
    }
    let encoded = "Y29ycmVjdCBob3JzZ";
    for text in [PASSWORD, encoded, "wrong horse"] {
        assert_eq!(holding(&site.data(), text), Vec::<String>::new(), "{text}");
        assert!(!std::fs::read_to_string(site.path().join("node.log")).unwrap().contains(text), "{text}");
    }

    // Removed while somebody watches: they are told, and the footage stays.
    let revision = http.get("/api/v1/status").unwrap()["settings"]["revision"].as_u64().unwrap();
    let mut socket = http.websocket("/api/v1/cameras/gate/live").unwrap();
    assert!(socket.receive(PATIENCE).unwrap().is_some());
    let removed = http.request("DELETE", path, None).unwrap().success().unwrap();
    assert_eq!(removed["revision"], revision + 1);
    let farewell = wait_until("the farewell", PATIENCE, || {
        Ok(match socket.receive(Duration::from_secs(1))? {
            Some(Received::Close(code, _)) => Some(code),
            Some(Received::Text(_) | Received::Binary(_)) | None => None,
        })
    })
    .unwrap();
    assert_eq!(farewell, 1001);
    assert_eq!(http.request("GET", path, None).unwrap().code(), "camera_unknown");
    recording(http, "yard");

    // The state before, password included, and with it what was recorded before.
    let restored = post(http, &format!("/api/v1/revisions/{revision}/restore"), &Value::Null);
    assert_eq!(restored.success().unwrap()["revision"], revision + 2);
    assert_eq!(http.get(path).unwrap()["name"], "North gate");
    recording(http, "gate");
    let held = node.coverage("gate", None).unwrap().into_iter().find(|line| line.state == "held").unwrap();
    assert_eq!(held.span.from, from);
    let revisions = http.get("/api/v1/revisions").unwrap();
    let told: Vec<&Value> = revisions["items"].as_array().unwrap().iter().map(|line| &line["what"]).collect();
    assert_eq!(told.len(), 5, "{told:?}");
    assert_eq!(told[..2], [&json!(format!("restored revision {revision}")), &json!("removed camera gate")]);
    node.end().unwrap();
}

#[test]
fn a_camera_that_a_scan_of_the_node_found_is_added_as_it_was_found() {
    if !namespaces() {
        return;
    }
    let _machine = shared();
    let site = site("[::]:8443");
    let network = Network::new(&site).unwrap();
    let options = [&["--onvif", "192.0.2.2:0", "--discovery", "0.0.0.0:3702"][..], &LOGIN].concat();
    let _cameras = Cameras::start_in_with(&site, 1, Network::CAMERA, &options, &network.camera).unwrap();
    let node = Node::start_in(&site, &network.recorder).unwrap();
    let http = node.http();
    let scan = |body: Value| {
        let begun = post(http, "/api/v1/scans", &body).success().unwrap();
        let path = format!("/api/v1/scans/{}", begun["id"].as_str().unwrap());
        assert_eq!(post(http, "/api/v1/scans", &body).code(), "scan_running");
        wait_until("the end of a scan", PATIENCE, || {
            let scan = http.get(&path)?;
            Ok((scan["running"] == false).then_some(scan))
        })
        .unwrap()
    };
    let asked = scan(json!({"addresses": ["192.0.2.0/29"], "seconds": 1}));
    let found = scan(json!({"seconds": 1}));
    for found in [&asked, &found] {
        assert_eq!(found["items"].as_array().unwrap().len(), 1, "{found}");
        assert_eq!(
            (&found["items"][0]["address"], &found["items"][0]["added"]),
            (&json!(Network::CAMERA), &json!(false))
        );
    }
    let item = &found["items"][0];
    let body = json!({"id": item["id"], "onvif": item["onvif"], "user": USER, "password": PASSWORD});
    post(http, "/api/v1/cameras/test", &body).success().unwrap();
    post(http, "/api/v1/cameras", &body).success().unwrap();
    recording(http, item["id"].as_str().unwrap());
    let again = scan(json!({"addresses": ["192.0.2.2"], "seconds": 1}));
    assert_eq!(again["items"][0]["added"], true, "{again}");
    assert_ne!(again["items"][0]["id"], item["id"], "an id that is free");
    node.end().unwrap();
}

/// How often the node is killed; a change takes some 20 ms, and each kill comes later within one.
const KILLS: u32 = 16;
const KILL_STEP: Duration = Duration::from_micros(1_700);

/// Starts the node without waiting for a login, and returns a client that shows `token`.
fn start(site: &Site, token: &str) -> (Program, Http) {
    let mut command = Node::command(site);
    command.env_remove("KEEPWATCH_ADMIN_PASSWORD");
    let program = Program::start(command, site.path().join("node.log")).unwrap();
    let ready = program.json(PATIENCE).unwrap();
    let place = Place::Address(ready["listening"][0].as_str().unwrap().parse().unwrap());
    (program, Http::new(place).bearing(token))
}

#[test]
fn a_node_killed_while_settings_are_written_has_the_last_change_or_the_one_before() {
    let _machine = shared();
    let site = site("127.0.0.1:0");
    let cameras = Cameras::start_with(&site, 1, "127.0.0.1", &LOGIN).unwrap();
    let node = Node::start(&site).unwrap();
    let body =
        json!({"id": "gate", "url": cameras.url("cam1"), "user": USER, "password": PASSWORD, "name": "1"});
    post(node.http(), "/api/v1/cameras", &body).success().unwrap();
    recording(node.http(), "gate");
    let named = json!({"name": "editor"});
    let made = post(node.http(), "/api/v1/tokens", &named).success().unwrap();
    let token = made["token"].as_str().unwrap().to_owned();
    node.end().unwrap();

    let path = "/api/v1/cameras/gate";
    let (mut program, mut http) = start(&site, &token);
    let (mut newest, mut previous) = (0, 0);
    // A revision's name is its number. What was answered is in force; what was being asked may be.
    let mut answered = 1;
    for kill in 0..KILLS {
        let writer = std::thread::spawn({
            let (http, url) = (http.clone(), cameras.url("cam1"));
            move || {
                let mut last = answered;
                loop {
                    let body = json!({"url": url, "user": USER, "name": (last + 1).to_string()});
                    let Ok(answer) = http.request("PUT", path, Some(&body)) else { return last };
                    let told = answer.success().unwrap();
                    assert_eq!(told["revision"], last + 1, "{told}");
                    last += 1;
                }
            }
        });
        // Some changes, and then a moment within one.
        wait_until("changes", PATIENCE, || {
            let status = http.get("/api/v1/status")?;
            Ok((status["settings"]["revision"].as_u64() >= Some(answered + 2)).then_some(()))
        })
        .unwrap();
        let moment = Instant::now() + KILL_STEP * kill;
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        program.kill().unwrap();
        answered = writer.join().unwrap();

        (program, http) = start(&site, &token);
        let settings = http.get("/api/v1/status").unwrap()["settings"].clone();
        let revision = settings["revision"].as_u64().unwrap();
        assert_eq!(settings["problem"], Value::Null, "{settings}");
        assert!([answered, answered + 1].contains(&revision), "{revision} in force, {answered} was answered");
        newest += u32::from(revision > answered);
        previous += u32::from(revision == answered);
        let config = http.get(&format!("{path}/config")).unwrap();
        assert_eq!(config["name"], revision.to_string(), "{config}");
        assert_eq!((&config["revision"], &config["has_password"]), (&json!(revision), &json!(true)));
        // The camera asks for its password.
        recording(&http, "gate");
        answered = revision;
    }
    assert_eq!(newest + previous, KILLS);
    // Back to the first, and on: the store of revisions is sound as a whole.
    let restored = post(&http, "/api/v1/revisions/1/restore", &Value::Null).success().unwrap();
    assert_eq!(restored["revision"], answered + 1);
    assert_eq!(http.get(path).unwrap()["name"], "1");
    let mut cursor = String::new();
    let mut numbers = Vec::new();
    loop {
        let page = http.get(&format!("/api/v1/revisions?limit=100{cursor}")).unwrap();
        numbers.extend(page["items"].as_array().unwrap().iter().map(|line| line["number"].as_u64().unwrap()));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let whole: Vec<u64> = (1..=answered + 1).rev().take(numbers.len().min(1_000)).collect();
    assert_eq!(numbers, whole, "none missing, none twice");
    assert_eq!(holding(&site.data(), PASSWORD), Vec::<String>::new());
    assert!(program.end(PATIENCE).unwrap().success());
    // The audit log survived as many kills.
    site.run(["audit", "verify", "--data", "data"]).unwrap().success().unwrap();
}
