//! `keepwatch run`: first start, reload, an address that is taken, export with and without the node.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use keepwatch_web::{SOCKET_NAME, SocketClient};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{Running, finished, keepwatch};

struct Site {
    directory: TempDir,
}

impl Site {
    fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("a b ").tempdir().unwrap();
        fs::create_dir(directory.path().join("footage")).unwrap();
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes the configuration, with `cameras` as pairs of id and address.
    fn configure(&self, listen: &str, cameras: &[(&str, &str)]) {
        let mut text = format!(
            "[node]\nname = \"n\"\ndata = \"data\"\nlisten = \"{listen}\"\n[[disk]]\npath = \"footage\"\nsize = \"128 MiB\"\n"
        );
        for (id, url) in cameras {
            text += &format!("[[camera]]\nid = \"{id}\"\nurl = \"{url}\"\n");
        }
        fs::write(self.path("k.toml"), text).unwrap();
    }

    fn run(&self) -> Running {
        let mut command = keepwatch(&[&"run", &"--ready-line", &"--config", &self.path("k.toml")]);
        command.env("KEEPWATCH_ADMIN_PASSWORD", "correct horse");
        Running::start(command)
    }

    fn get(&self, target: &str) -> Value {
        get(&self.path("data").join(SOCKET_NAME), target)
    }

    /// Asks for `target` until the answer is as `wanted`, and returns what that found in it.
    fn until<T>(&self, target: &str, wanted: impl Fn(&Value) -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let answer = self.get(target);
            if let Some(found) = wanted(&answer) {
                return found;
            }
            assert!(Instant::now() < deadline, "{target} stays {answer}");
        }
    }

    fn cameras(&self) -> Vec<(String, u64)> {
        let items = self.get("/api/v1/cameras")["items"].as_array().unwrap().clone();
        items
            .iter()
            .map(|item| (item["id"].as_str().unwrap().to_owned(), item["sessions"].as_u64().unwrap()))
            .collect()
    }
}

fn get(socket: &Path, target: &str) -> Value {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(SocketClient::new(socket).get(target)).unwrap()
}

fn post(socket: &Path, target: &str, body: &Value) -> Result<Value, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(SocketClient::new(socket).post(target, body)).map_err(|error| error.to_string())
}

/// Virtual cameras and their address.
fn virtual_cameras() -> (Running, String) {
    let mut cameras = Running::start(keepwatch(&[&"lab", &"cameras", &"--count", &"1"]));
    let line: Value = serde_json::from_str(&cameras.says("listening")).unwrap();
    let address = line["listening"].as_str().unwrap().to_owned();
    (cameras, address)
}

#[test]
fn each_start_prints_a_code_until_it_is_used() {
    let site = Site::new();
    site.configure("127.0.0.1:0", &[("a", "rtsp://127.0.0.1:1/x")]);
    let start = || {
        let command = keepwatch(&[&"run", &"--ready-line", &"--config", &site.path("k.toml")]);
        let mut node = Running::start(command);
        let ready = node.says("listening");
        (node, ready)
    };
    let end = |mut node: Running| {
        node.signal(Signal::INT);
        let said = node.complains("ending");
        assert_eq!(node.ends(), 0);
        said
    };
    let link = |said: &str| {
        let line = said.lines().find(|line| line.contains("/#/setup/")).unwrap_or_else(|| panic!("{said}"));
        line.trim().to_owned()
    };
    let first = link(&end(start().0));
    let (mut node, ready) = start();
    let said = node.complains("holds until it is used");
    let second = link(&said);
    let (address, code) = second.split_once("/#/setup/").unwrap();
    let port = address.rsplit_once(':').unwrap().1;
    assert!(
        address.starts_with("https://127.0.0.1:") && ready.contains(&format!(":{port}\"")),
        "{second} {ready}"
    );
    assert_ne!(first.rsplit_once('/').unwrap().1, code, "each start has a code of its own");
    assert!(said.contains("sha256:"), "{said}");
    // Without the link no password opens anything.
    let socket = site.path("data").join(SOCKET_NAME);
    let body = json!({"code": "aaaa-aaaa-aaaa-aaaa", "password": "a long enough one"});
    assert!(post(&socket, "/api/v1/setup", &body).is_err());
    let body = json!({"code": code, "password": "a long enough one"});
    assert_eq!(post(&socket, "/api/v1/setup", &body).unwrap()["role"], "administrator");
    assert!(post(&socket, "/api/v1/setup", &body).unwrap_err().contains("first administrator"));
    end(node);
    assert!(!end(start().0).contains("/#/setup/"), "there is a user");
    let (code, stdout, stderr) = finished(&[&"audit", &"verify", &"--data", &site.path("data")]);
    assert_eq!(code, 0, "{stderr}");
    // The setup that was refused, and the one that was not.
    assert!(stdout.starts_with("2 entries in one chain") && stdout.contains("1 ends of it"), "{stdout}");
    let log = fs::read_dir(site.path("data").join("audit")).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(&log).unwrap();
    for (written, fault) in [
        (text.replace("set_up", "set_Up"), "line 2: the entry was changed"),
        (String::new(), "the end was cut off"),
    ] {
        fs::write(&log, written).unwrap();
        let (code, stdout, _) = finished(&[&"audit", &"verify", &"--config", &site.path("k.toml")]);
        assert_eq!(code, 3);
        assert!(stdout.contains(fault), "{stdout}");
    }
}

#[test]
fn a_reload_changes_only_what_changed_and_a_bad_one_nothing() {
    let site = Site::new();
    let (_virtual_cameras, address) = virtual_cameras();
    let (kept, other) = (format!("rtsp://{address}/cam1"), "rtsp://127.0.0.1:1/x");
    site.configure("127.0.0.1:0", &[("kept", &kept), ("gone", other)]);
    let mut node = site.run();
    node.says("listening");
    site.until("/api/v1/cameras/kept", |camera| (camera["recording"] == true).then_some(()));
    site.configure("127.0.0.1:0", &[("kept", &kept), ("new", other)]);
    node.signal(Signal::HUP);
    let said = node.complains("configuration reloaded");
    assert!(said.contains("1 cameras added, 1 removed, 0 changed, the others not touched"), "{said}");
    let cameras = site.cameras();
    assert_eq!(cameras.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["kept", "new"]);
    assert_eq!(cameras[0].1, 1, "the camera that did not change kept its session");
    site.configure("127.0.0.1:0", &[("kept", &kept), ("kept", other), ("new", "http://h/")]);
    node.signal(Signal::HUP);
    node.complains("the changed configuration is refused, the running one stays");
    let said = node.complains("http:// cannot be recorded");
    assert!(said.contains("k.toml:12:6: camera id \"kept\" is already used on line 9"), "{said}");
    assert_eq!(site.cameras(), cameras);
    let events = site.get("/api/v1/events").to_string();
    for code in ["config_applied", "config_refused", "node_started"] {
        assert!(events.contains(code), "{code} is not in {events}");
    }
    site.configure("127.0.0.1:1", &[("kept", &kept)]);
    node.signal(Signal::HUP);
    let said = node.complains("configuration reloaded");
    assert!(said.contains("takes effect when the node starts anew: listen"), "{said}");
    node.signal(Signal::TERM);
    assert_eq!(node.ends(), 0);
}

#[test]
fn an_address_that_is_taken_does_not_keep_cameras_from_being_recorded() {
    let site = Site::new();
    let (_virtual_cameras, address) = virtual_cameras();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    site.configure(&listen, &[("a", &format!("rtsp://{address}/cam1"))]);
    let mut node = site.run();
    let said = node.complains("cannot be listened on");
    assert!(said.contains(&listen) && said.contains("tried again"), "{said}");
    site.until("/api/v1/cameras/a", |camera| (camera["recording"] == true).then_some(()));
    drop(taken);
    assert!(node.says("listening").contains(&listen));
    node.signal(Signal::TERM);
    assert_eq!(node.ends(), 0);
}

#[test]
fn an_export_is_the_same_with_and_without_the_node() {
    let site = Site::new();
    let (_virtual_cameras, address) = virtual_cameras();
    site.configure("127.0.0.1:0", &[("cam1", &format!("rtsp://{address}/cam1"))]);
    let mut node = site.run();
    node.says("listening");
    let from = site.get("/api/v1/status")["started"].as_str().unwrap().to_owned();
    let to = site.until("/api/v1/cameras/cam1", |camera| camera["durable_until"].as_str().map(str::to_owned));
    let data = site.path("data");
    let config = site.path("k.toml");
    let (live, dead) = (site.path("live export.mp4"), site.path("dead export.mp4"));
    let times: [&dyn AsRef<std::ffi::OsStr>; 6] = [&"--camera", &"cam1", &"--from", &from, &"--to", &to];
    let export = |node: [&dyn AsRef<std::ffi::OsStr>; 2], output: &PathBuf| {
        let arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = [&"export" as &dyn AsRef<std::ffi::OsStr>]
            .into_iter()
            .chain(node)
            .chain(times)
            .chain([&"-o" as _, output as _])
            .collect();
        finished(&arguments)
    };
    let (code, stdout, stderr) = export([&"--config", &config], &live);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("live export.mp4: "), "{stdout}");
    let (code, _, stderr) = export([&"--config", &config], &site.path("no/such/place.mp4"));
    assert_eq!(code, 1);
    assert!(stderr.contains("cannot be written"), "{stderr}");
    let (code, stdout, stderr) = finished(&[&"status", &"--data", &data]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("1 of 1 cameras recording"), "{stdout}");
    node.signal(Signal::TERM);
    assert_eq!(node.ends(), 0);
    let (code, _, stderr) = export([&"--config", &config], &dead);
    assert_eq!(code, 0, "{stderr}");
    let (live, dead) = (fs::read(live).unwrap(), fs::read(dead).unwrap());
    assert!(live.len() > 10_000 && live == dead, "{} and {} bytes", live.len(), dead.len());
    let (code, stdout, stderr) = finished(&[&"lab", &"count-frames", &"--data", &data]);
    assert_eq!(code, 0, "{stderr}");
    let line: Value = serde_json::from_str(stdout.lines().next().unwrap()).unwrap();
    assert_eq!(line["camera"], "cam1");
    assert_eq!(line["frames"]["ranges"].as_array().unwrap().len(), 1, "{line}");
    let (code, stdout, stderr) = finished(&[&"verify", &"--data", &data, &"--json"]);
    assert_eq!(code, 0, "{stderr}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(report["faults"], Value::Array(Vec::new()));
    assert!(report["records"].as_u64().unwrap() > 0);
}
