//! The contracts of the HTTP API, as a client meets them.

use keepwatch_it::{Cameras, Http, Node, Site};
use serde_json::json;

use crate::shared;

#[test]
fn health_is_open_and_everything_else_asks_for_a_login() {
    let _machine = shared();
    let site = Site::new().unwrap();
    let cameras = Cameras::start(&site, 1, "127.0.0.1").unwrap();
    let node = Node::recording(&site, &cameras).unwrap();
    let from = node.first_label("cam1").unwrap();

    let stranger = Http::new(node.http().place().clone());
    let health = stranger.get("/api/v1/health").unwrap();
    assert!(health["status"] == "ok" || health["status"] == "degraded", "{health}");
    for path in [
        "/api/v1/cameras",
        "/api/v1/cameras/cam1",
        "/api/v1/cameras/cam1/coverage",
        "/api/v1/cameras/cam1/export.mp4?from=2026-01-01T00:00:00Z&to=2026-01-01T00:01:00Z",
        "/api/v1/events",
        "/api/v1/status",
        "/api/v1/protections",
        "/api/v1/cameras?token=guess",
    ] {
        let answer = stranger.request("GET", path, None).unwrap();
        assert_eq!(answer.status, 401, "{path}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{path}");
    }
    let wrong = json!({"user": "admin", "password": "admin"});
    let answer = stranger.request("POST", "/api/v1/login", Some(&wrong)).unwrap();
    assert_eq!(answer.status, 401);

    let list = node.http().get("/api/v1/cameras").unwrap();
    assert!(list["next"].is_null());
    let camera = &list["items"][0];
    assert_eq!((camera["id"].as_str(), camera["recording"].as_bool()), (Some("cam1"), Some(true)));
    assert!(camera["name"].is_string() && camera["durable_until"].is_string(), "{camera}");

    let events = node.http().get("/api/v1/events").unwrap();
    let codes: Vec<_> = events["items"].as_array().unwrap().iter().map(|event| &event["code"]).collect();
    for code in ["node_started", "disk_adopted", "recording_started", "login_succeeded", "login_failed"] {
        assert!(codes.iter().any(|held| *held == code), "{code} is not in {codes:?}");
    }

    // What cannot be answered says why, in a form that programs can read.
    let later = from.plus(90_000);
    for (path, status) in [
        ("/api/v1/nothing".to_owned(), 404),
        ("/api/v1/cameras/nobody/coverage".to_owned(), 404),
        (format!("/api/v1/cameras/cam1/coverage?from={later}&to={from}"), 400),
        ("/api/v1/cameras/cam1/coverage?from=yesterday&to=today".to_owned(), 400),
        (format!("/api/v1/cameras/cam1/coverage?from={from}&to={later}&buckets=0"), 400),
        ("/api/v1/cameras/cam1/export.mp4?from=2020-01-01T00:00:00Z&to=2020-01-01T00:01:00Z".to_owned(), 404),
    ] {
        let answer = node.http().request("GET", &path, None).unwrap();
        assert_eq!(answer.status, status, "{path}: {}", String::from_utf8_lossy(&answer.body));
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{path}");
        let problem = answer.json().unwrap();
        assert_eq!(problem["status"], status);
        assert!(problem["title"].is_string() && problem["detail"].is_string() && problem["code"].is_string());
    }
    let answer = node.http().request("DELETE", "/api/v1/cameras", None).unwrap();
    assert_eq!(answer.status, 405);

    // An overview has at most as many stretches as asked for.
    let path = format!("/api/v1/cameras/cam1/coverage?from={from}&to={later}&buckets=7");
    let overview = node.http().get(&path).unwrap();
    assert!((1..=7).contains(&overview["items"].as_array().unwrap().len()), "{overview}");
    node.end().unwrap();
}

#[test]
fn the_reference_of_the_command_line_names_every_command() {
    let site = Site::new().unwrap();
    let help = site.run(["--help"]).unwrap().success().unwrap();
    let reference = include_str!("../../../docs/ref/cli.md");
    let commands =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names: Vec<&str> = commands.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.len() >= 7, "{help}");
    for name in names.into_iter().filter(|name| *name != "help") {
        assert!(reference.contains(&format!("## keepwatch {name}")), "docs/ref/cli.md lacks {name}");
        let help = site.run([name, "--help"]).unwrap().success().unwrap();
        for option in help.split_whitespace().filter(|word| word.starts_with("--")) {
            let option = option.trim_end_matches([',', '.', ']', ';']);
            assert!(
                option == "--help" || reference.contains(option),
                "docs/ref/cli.md lacks {name} {option}"
            );
        }
    }
}
