//! Export jobs: exact frames of several cameras with sound, progress, cancelling, proof, and who may have them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use keepwatch_it::{Answer, Cameras, Http, Movie, Node, Received, Site, run, wait_until};
use keepwatch_model::{Span, TICKS_PER_SECOND};
use serde_json::{Value, json};

use crate::shared;

/// How long a job of some seconds may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn order(cameras: &[&str], span: Span) -> Value {
    json!({"cameras": cameras, "from": span.from, "to": span.to, "stream": "main", "audio": true})
}

fn post(http: &Http, order: &Value) -> Answer {
    http.request("POST", "/api/v1/exports", Some(order)).unwrap()
}

/// Orders an export and waits until it is made; its progress must only grow.
fn make(node: &Node, order: &Value) -> Value {
    let created = post(node.http(), order).success().unwrap();
    let path = format!("/api/v1/exports/{}", created["id"].as_str().unwrap());
    let mut last = 0.0;
    wait_until("an export", PATIENCE, || {
        let job = node.http().get(&path)?;
        let progress = job["progress"].as_f64().unwrap();
        assert!(progress >= last && progress <= 1.0, "{last} then {job}");
        last = progress;
        assert!(["waiting", "running", "done"].contains(&job["state"].as_str().unwrap()), "{job}");
        Ok((job["state"] == "done").then_some(job))
    })
    .unwrap()
}

/// Fetches the archive of a job into the file `name`.
fn fetch(site: &Site, node: &Node, job: &Value, name: &str) -> PathBuf {
    let path = format!("/api/v1/exports/{}/file", job["id"].as_str().unwrap());
    let answer = node.http().request("GET", &path, None).unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/zip"));
    assert_eq!(u64::try_from(answer.body.len()).unwrap(), job["bytes_total"].as_u64().unwrap());
    let file = site.path().join(name);
    std::fs::write(&file, answer.body).unwrap();
    file
}

fn unpack(archive: &Path, to: &Path) {
    let mut command = Command::new("unzip");
    run(command.arg("-q").arg(archive).arg("-d").arg(to), PATIENCE).unwrap().success().unwrap();
}

/// What is left of exports in the data directory, descriptions aside.
fn archives(site: &Site) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(site.data().join("exports")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_none_or(|ending| ending != "json")).collect()
}

#[test]
fn an_archive_has_the_exact_frames_of_every_camera_over_a_gap_and_proves_itself() {
    let _machine = shared();
    let site = Site::new().unwrap();
    let cameras = Cameras::start(&site, 2, "127.0.0.1").unwrap();
    let node = Node::recording(&site, &cameras).unwrap();
    let from = node.first_label("cam1").unwrap().max(node.first_label("cam2").unwrap());
    let second = |second: i64| from.plus(second * TICKS_PER_SECOND);
    node.wait_durable("cam1", second(4), Duration::from_secs(30)).unwrap();
    cameras.command(&json!({"camera": "cam1", "fault": "drop"})).unwrap();
    for camera in ["cam1", "cam2"] {
        node.wait_durable(camera, second(9), Duration::from_secs(40)).unwrap();
    }
    let span = Span::new(second(1), second(9)).unwrap();
    let mut status = node.http().websocket("/api/v1/status").unwrap();
    let job = make(&node, &order(&["cam1", "cam2"], span));
    let path = json!(["exports", job["id"]]);
    let told = wait_until("the end of the job over the status socket", PATIENCE, || {
        let told = match status.receive(Duration::from_secs(1))? {
            Some(Received::Text(told)) => told,
            Some(Received::Binary(_) | Received::Close(..)) | None => return Ok(None),
        };
        Ok((told["path"] == path && told["value"]["state"] == "done").then(|| told["value"].clone()))
    });
    assert_eq!(told.unwrap(), job);
    assert_eq!((&job["progress"], &job["by"], &job["error"]), (&json!(1.0), &json!("admin"), &Value::Null));
    let archive = fetch(&site, &node, &job, "export.zip");

    let out = site.path().join("out");
    unpack(&archive, &out);
    for camera in ["cam1", "cam2"] {
        let name = std::fs::read_dir(&out)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(camera))
            .unwrap();
        // The same bytes as the export of that window by itself, whose frames are proved elsewhere.
        let alone = node.export(&site, camera, span, "alone.mp4").unwrap();
        assert_eq!(std::fs::read(&name).unwrap(), std::fs::read(&alone).unwrap(), "{camera}");
        let movie = Movie::read(&name).unwrap();
        assert_eq!(movie.codecs, ["h264", "flac"]);
        let numbers = movie.numbers();
        let seams = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
        assert_eq!(seams, usize::from(camera == "cam1"), "{camera}");
    }
    let coverage: Value = serde_json::from_slice(&std::fs::read(out.join("coverage.json")).unwrap()).unwrap();
    let items = coverage["cameras"][0]["items"].as_array().unwrap();
    assert!(items.iter().any(|item| item["reason"] == "connection_lost"), "{coverage}");
    let manifest: Value = serde_json::from_slice(&std::fs::read(out.join("manifest.json")).unwrap()).unwrap();
    assert_eq!((&manifest["by"], &manifest["node"]), (&json!("admin"), &json!("it")));
    assert!(manifest["audit_head"].is_string(), "{manifest}");

    // With the program, with the key that the node shows, and with OpenSSL alone.
    let key = node.http().get("/api/v1/status").unwrap()["signing_key"].as_str().unwrap().to_owned();
    let archive = archive.to_str().unwrap();
    let said = site.run(["export", "verify", archive, "--key", &key]).unwrap().success().unwrap();
    assert!(said.contains("by the key that was expected"), "{said}");
    let mut openssl = Command::new("openssl");
    openssl.args(["pkeyutl", "-verify", "-pubin", "-inkey", "node.pub", "-rawin", "-in", "manifest.json"]);
    openssl.args(["-sigfile", "manifest.sig"]).current_dir(&out);
    run(&mut openssl, PATIENCE).unwrap().success().unwrap();

    // A byte of a picture, in the middle of the file.
    let mut bytes = std::fs::read(archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(site.path().join("changed.zip"), bytes).unwrap();
    let changed = site.run(["export", "verify", "changed.zip"]).unwrap();
    assert_eq!(changed.status.code(), Some(3));
    let told = changed.stdout;
    assert!(told.contains(".mp4 was changed"), "{told}");
    node.end().unwrap();
}

#[test]
fn a_job_that_is_cancelled_leaves_no_file_and_ranges_are_served() {
    let _machine = shared();
    let site = Site::new().unwrap();
    let cameras = Cameras::start(&site, 1, "127.0.0.1").unwrap();
    let mut node = Node::recording(&site, &cameras).unwrap();
    let from = node.first_label("cam1").unwrap();
    let span = Span::new(from, from.plus(5 * TICKS_PER_SECOND)).unwrap();
    node.wait_durable("cam1", span.to, Duration::from_secs(30)).unwrap();
    // Cancelled wherever it is; a second time, it is forgotten.
    let mut pending = 0;
    for _ in 0..8 {
        let created = post(node.http(), &order(&["cam1"], span)).success().unwrap();
        let path = format!("/api/v1/exports/{}", created["id"].as_str().unwrap());
        assert_eq!(node.http().request("DELETE", &path, None).unwrap().status, 204);
        let answer = node.http().request("GET", &path, None).unwrap();
        if answer.status == 200 {
            assert_eq!(answer.json().unwrap()["state"], "cancelled");
            assert_eq!(node.http().request("DELETE", &path, None).unwrap().status, 204);
            pending += 1;
        }
        assert_eq!(node.http().request("GET", &path, None).unwrap().status, 404);
    }
    assert!(pending > 0, "none of them was cancelled before it was made");
    wait_until("the end of what was begun", PATIENCE, || Ok(archives(&site).is_empty().then_some(())))
        .unwrap();

    let job = make(&node, &order(&["cam1"], span));
    let whole = std::fs::read(fetch(&site, &node, &job, "export.zip")).unwrap();
    let path = format!("/api/v1/exports/{}/file", job["id"].as_str().unwrap());
    let part = node.http().request_with("GET", &path, &[("Range", "bytes=100-299")]).unwrap();
    assert_eq!((part.status, part.body.as_slice()), (206, &whole[100..300]));
    let said = format!("bytes 100-299/{}", whole.len());
    assert_eq!(part.header("content-range"), Some(said.as_str()));

    // Done jobs outlive a restart.
    node.program().end(Duration::from_secs(20)).unwrap();
    let node = Node::start(&site).unwrap();
    let again = node.http().get(&format!("/api/v1/exports/{}", job["id"].as_str().unwrap())).unwrap();
    assert_eq!((&again["state"], &again["file"]), (&json!("done"), &job["file"]));
    assert_eq!(std::fs::read(fetch(&site, &node, &again, "again.zip")).unwrap(), whole);

    // What cannot be made says so at once.
    let never = Span::new(from.plus(-90_000 * 3600), from.plus(-90_000 * 3599)).unwrap();
    assert_eq!(post(node.http(), &order(&["cam1"], never)).status, 404);
    let reversed = json!({"cameras": ["cam1"], "from": span.to, "to": span.from});
    assert_eq!(post(node.http(), &reversed).status, 400);
    let long = json!({"cameras": ["cam1"], "from": from, "to": from.plus(25 * 3_600 * TICKS_PER_SECOND)});
    assert_eq!(post(node.http(), &long).status, 400);
    assert_eq!(post(node.http(), &order(&["../cam1"], span)).status, 404);
    assert_eq!(post(node.http(), &order(&[], span)).status, 400);
    node.end().unwrap();
}

#[test]
fn an_export_is_for_those_who_may_see_all_of_its_cameras() {
    const PASSWORD: &str = "a password for a test";
    let _machine = shared();
    let site = Site::new().unwrap();
    let cameras = Cameras::start(&site, 2, "127.0.0.1").unwrap();
    let node = Node::recording(&site, &cameras).unwrap();
    let from = node.first_label("cam1").unwrap().max(node.first_label("cam2").unwrap());
    let span = Span::new(from, from.plus(3 * TICKS_PER_SECOND)).unwrap();
    for camera in ["cam1", "cam2"] {
        node.wait_durable(camera, span.to, Duration::from_secs(30)).unwrap();
    }
    let both = make(&node, &order(&["cam1", "cam2"], span));
    let one = make(&node, &order(&["cam1"], span));
    let user = json!({"name": "guard", "password": PASSWORD, "role": null, "cameras": {"cam1": "operator", "cam2": "viewer"}});
    node.http().request("POST", "/api/v1/users", Some(&user)).unwrap().success().unwrap();
    let mut guard = Http::new(node.http().place().clone());
    guard.login("guard", PASSWORD).unwrap();
    let status = |http: &Http, method: &str, job: &Value, file: &str| {
        let path = format!("/api/v1/exports/{}{file}", job["id"].as_str().unwrap());
        http.request(method, &path, None).unwrap().status
    };
    let listed = guard.get("/api/v1/exports").unwrap();
    let ids: Vec<&Value> = listed["items"].as_array().unwrap().iter().map(|job| &job["id"]).collect();
    assert_eq!(ids, [&one["id"]]);
    assert_eq!(status(&guard, "GET", &one, "/file"), 200);
    assert_eq!(status(&guard, "GET", &both, "/file"), 404);
    assert_eq!(status(&guard, "GET", &both, ""), 404);
    // Somebody else's is not theirs to remove.
    assert_eq!(status(&guard, "DELETE", &one, ""), 403);
    assert_eq!(post(&guard, &order(&["cam1", "cam2"], span)).status, 403);

    // The right is asked for again when the file is fetched.
    let lowered = json!({"role": null, "cameras": {"cam1": "viewer"}});
    node.http().request("PUT", "/api/v1/users/guard", Some(&lowered)).unwrap();
    assert_eq!(status(&guard, "GET", &one, "/file"), 403);
    assert!(guard.get("/api/v1/exports").unwrap()["items"].as_array().unwrap().is_empty());
    let audit = node.http().get("/api/v1/audit").unwrap();
    let fetched = |entry: &Value| entry["user"] == "guard" && entry["action"] == "footage_exported";
    assert!(audit["items"].as_array().unwrap().iter().any(fetched), "{audit}");
    node.end().unwrap();
}
