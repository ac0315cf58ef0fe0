//! Cameras that are edited over the API.

use keepwatch_model::{EventCode, TICKS_PER_SECOND};
use keepwatch_settings::DATABASE_FILE;
use keepwatch_store::EventQuery;

use super::*;

fn yard(more: Value) -> Value {
    let mut camera = json!({"id": "yard", "url": "rtsp://127.0.0.1:9/2", "user": "u"});
    camera.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    camera
}

/// How often a camera was dialled since its task began; a task that is restarted begins anew.
fn codes(site: &Site) -> Vec<EventCode> {
    site.node.event_log().flush();
    let now = site.node.clock().wall();
    let hour = 3_600 * TICKS_PER_SECOND;
    let query = EventQuery {
        from: now.plus(-hour),
        to: now.plus(hour),
        newest_first: false,
        after: None,
        limit: 1_000,
    };
    site.node.event_log().page(&query).unwrap().items.into_iter().map(|(_, event)| event.code).collect()
}

#[tokio::test]
async fn a_camera_is_added_changed_and_removed_and_survives_the_node() {
    let site = Site::new().await;
    let added = site.ask("POST", "/cameras", Some(yard(json!({"password": "hidden1"})))).await.expect(201);
    assert_eq!(added.tag.as_deref(), Some("\"1\""));
    assert_eq!((&added.body["has_password"], &added.body["editable"]), (&json!(true), &json!(true)));
    assert!(!added.body.to_string().contains("hidden1"));
    let listed = site.ask("GET", "/cameras", None).await.expect(200);
    let editable: Vec<(&Value, &Value)> =
        listed.body["items"].as_array().unwrap().iter().map(|it| (&it["id"], &it["editable"])).collect();
    assert_eq!(editable, [(&json!("gate"), &json!(false)), (&json!("yard"), &json!(true))]);

    // What is shown can be sent back; what was not changed stays.
    let mut shown = site.ask("GET", "/cameras/yard/config", None).await.expect(200).body;
    shown["name"] = json!("South yard");
    let changed = site.ask("PUT", "/cameras/yard", Some(shown)).await.expect(200);
    assert_eq!((&changed.body["name"], &changed.body["has_password"]), (&json!("South yard"), &json!(true)));
    let stale = site.ask_with("PUT", "/cameras/yard", &[("if-match", "\"1\"")], Some(yard(json!({})))).await;
    assert_eq!(stale.expect(412).body["code"], "revision_stale");
    let fresh = site.ask_with("PUT", "/cameras/yard", &[("if-match", "\"2\"")], Some(yard(json!({})))).await;
    fresh.expect(200);
    let site = Site::on(site.end().await).await.unwrap();
    let kept = site.ask("GET", "/cameras/yard/config", None).await.expect(200);
    assert_eq!((kept.tag.as_deref(), &kept.body["has_password"]), (Some("\"3\""), &json!(true)));
    assert_eq!(
        site.ask("GET", "/status", None).await.body["settings"],
        json!({"revision": 3, "problem": null})
    );

    let removed = site.ask("DELETE", "/cameras/yard", None).await.expect(200);
    assert!(removed.body["detail"].as_str().unwrap().contains("footage stays"));
    site.ask("GET", "/cameras/yard", None).await.expect(404);
    site.ask("GET", "/cameras/yard/config", None).await.expect(404);
    site.ask("DELETE", "/cameras/yard", None).await.expect(404);
    let revisions = site.ask("GET", "/revisions?limit=2", None).await.expect(200).body;
    assert_eq!((&revisions["items"][0]["number"], &revisions["next"]), (&json!(4), &json!("3")));
    assert_eq!(revisions["items"][0]["by"], "uid:0");
    let rest = site.ask("GET", "/revisions?cursor=3", None).await.expect(200).body;
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["next"]), (2, &Value::Null));
    let restored = site.ask("POST", "/revisions/2/restore", Some(json!({}))).await.expect(200);
    assert_eq!(restored.body["revision"], 5);
    assert_eq!(site.ask("GET", "/cameras/yard", None).await.expect(200).body["name"], "South yard");
    site.ask("POST", "/revisions/77/restore", Some(json!({}))).await.expect(404);
    let codes = codes(&site);
    for code in
        [EventCode::CameraAdded, EventCode::CameraChanged, EventCode::CameraRemoved, EventCode::ConfigApplied]
    {
        assert!(codes.contains(&code), "{code}");
    }
    site.end().await;
}

/// The cameras of the file belong to the file, and an id belongs to one of both.
#[tokio::test]
async fn a_camera_of_the_file_is_read_only_and_its_id_is_taken() {
    let site = Site::new().await;
    let gate = json!({"id": "gate", "url": "rtsp://127.0.0.1:9/1"});
    for (method, path, code) in [
        ("POST", "/cameras", "camera_taken"),
        ("PUT", "/cameras/gate", "camera_of_file"),
        ("DELETE", "/cameras/gate", "camera_of_file"),
    ] {
        let body = (method != "DELETE").then(|| gate.clone());
        assert_eq!(site.ask(method, path, body).await.expect(409).body["code"], code);
    }
    let shown = site.ask("GET", "/cameras/gate/config", None).await.expect(200);
    assert_eq!(
        (shown.tag, &shown.body["editable"], &shown.body["revision"]),
        (None, &json!(false), &Value::Null)
    );
    site.ask("POST", "/cameras", Some(yard(json!({})))).await.expect(201);
    site.ask("POST", "/cameras", Some(yard(json!({})))).await.expect(409);

    // The file gets a camera of the same id: the reload is refused, and so is the next start.
    let mut file = config(site.directory.path());
    let twin = CameraConfig::new("yard".parse().unwrap(), "rtsp://127.0.0.1:9/3".parse().unwrap());
    file.cameras.push(twin);
    let refused = site.node.apply(file.clone()).await.map(|_| ()).unwrap_err();
    assert!(matches!(&refused, NodeError::CameraTwice { cameras, .. } if cameras.len() == 1), "{refused}");
    assert!(refused.to_string().contains(DATABASE_FILE) && refused.to_string().contains("yard"), "{refused}");
    assert_eq!(site.ask("GET", "/cameras/yard/config", None).await.expect(200).body["editable"], true);
    let left = site.end().await;
    let refused = Node::start(file).await.map(|_| ()).unwrap_err();
    assert!(matches!(refused, NodeError::CameraTwice { .. }), "{refused}");
    Site::on(left).await.unwrap().end().await;
}

#[tokio::test]
async fn an_edit_does_not_touch_the_other_cameras() {
    let site = Site::new().await;
    let gate = site.node.camera("gate".parse().unwrap()).unwrap();
    site.ask("POST", "/cameras", Some(yard(json!({})))).await.expect(201);
    let yard_before = site.node.camera("yard".parse().unwrap()).unwrap();
    // A name concerns no session.
    site.ask("PUT", "/cameras/yard", Some(yard(json!({"name": "x"})))).await.expect(200);
    site.ask("POST", "/cameras", Some(json!({"id": "shop", "onvif": "http://127.0.0.1:9"})))
        .await
        .expect(201);
    for (id, before) in [("gate", gate), ("yard", yard_before)] {
        let now = site.node.camera(id.parse().unwrap()).unwrap();
        assert!(Arc::ptr_eq(&before, &now), "{id}");
    }
    // A reload of the file leaves what is edited alone, too.
    let applied = site.node.apply(config(site.directory.path())).await.unwrap();
    assert!(
        applied.added.is_empty() && applied.removed.is_empty() && applied.changed.is_empty(),
        "{applied:?}"
    );
    assert_eq!(site.node.cameras().len(), 3);
    site.end().await;
}

#[tokio::test]
async fn a_damaged_database_stops_no_camera_of_the_file() {
    let directory = TempDir::new().unwrap();
    std::fs::create_dir(directory.path().join("disk")).unwrap();
    std::fs::write(directory.path().join(DATABASE_FILE), "this was a database once, but no more than that")
        .unwrap();
    let site = Site::on(directory).await.unwrap();
    assert_eq!(site.node.cameras().len(), 1);
    let status = site.ask("GET", "/status", None).await.expect(200).body;
    let problem = status["settings"]["problem"].as_str().unwrap();
    assert!(problem.contains("config.db") && problem.contains("damaged"), "{problem}");
    assert_eq!(site.ask("GET", "/health", None).await.expect(200).body["status"], "degraded");
    let refused = site.ask("POST", "/cameras", Some(yard(json!({})))).await.expect(503);
    assert_eq!(refused.body["code"], "settings_unusable");
    assert!(codes(&site).contains(&EventCode::SettingsUnusable));
    // Moved away, a reload is enough.
    std::fs::remove_file(site.directory.path().join(DATABASE_FILE)).unwrap();
    site.node.apply(config(site.directory.path())).await.unwrap();
    site.ask("POST", "/cameras", Some(yard(json!({})))).await.expect(201);
    site.end().await;
}

#[tokio::test]
async fn what_is_wrong_is_told_by_the_field_and_nothing_is_written() {
    let site = Site::new().await;
    let wrong =
        json!({"id": "A B", "url": "http://h", "retention": "soon", "audio": "loud", "x": "<img src=x>"});
    for path in ["/cameras", "/cameras/test"] {
        let refused = site.ask("POST", path, Some(wrong.clone())).await.expect(422);
        assert_eq!(refused.body["code"], "fields_invalid");
        let mut fields = refused.fields();
        fields.sort_unstable();
        assert_eq!(fields, ["audio", "id", "retention", "url", "x"]);
    }
    for body in [json!([]), json!("x"), json!(null), json!(7)] {
        site.ask("POST", "/cameras", Some(body)).await.expect(422);
    }
    let renamed = json!({"id": "other", "url": "rtsp://127.0.0.1:9/2"});
    site.ask("POST", "/cameras", Some(yard(json!({})))).await.expect(201);
    assert_eq!(site.ask("PUT", "/cameras/yard", Some(renamed)).await.expect(422).fields(), ["id"]);
    site.ask_with("PUT", "/cameras/yard", &[("if-match", "W/\"x\"")], Some(yard(json!({}))))
        .await
        .expect(400);
    for path in ["/cameras/..%2Fyard", "/cameras/%00", "/cameras/nobody"] {
        site.ask("PUT", path, Some(yard(json!({})))).await.expect(404);
        site.ask("DELETE", path, None).await.expect(404);
    }
    assert_eq!(site.ask("GET", "/status", None).await.body["settings"]["revision"], 1);
    site.end().await;
}

#[tokio::test]
async fn a_camera_that_is_tried_says_why_it_cannot_be_reached() {
    let site = Site::new().await;
    let tried =
        site.ask("POST", "/cameras/test", Some(yard(json!({"password": "hidden1"})))).await.expect(422);
    assert_eq!(tried.body["code"], "camera_unusable");
    assert!(tried.body["detail"].as_str().unwrap().contains("unreachable"), "{}", tried.body);
    assert!(!tried.body.to_string().contains("hidden1"));
    assert_eq!(site.node.cameras().len(), 1, "it is not added by that");
    site.end().await;
}

#[tokio::test]
async fn one_scan_runs_at_a_time_and_can_be_stopped() {
    let site = Site::new().await;
    for (body, field) in [
        (json!({"addresses": ["10.0.0.0/8"]}), "addresses[0]"),
        (json!({"addresses": ["::1", "<x>"]}), "addresses[1]"),
        (json!({"addresses": vec!["::1"; 17]}), "addresses"),
        (json!({"seconds": 0}), "seconds"),
        (json!({"seconds": 61}), "seconds"),
    ] {
        assert_eq!(site.ask("POST", "/scans", Some(body)).await.expect(422).fields(), [field]);
    }
    let wanted = json!({"addresses": ["127.0.0.1"], "seconds": 60});
    let id = site.ask("POST", "/scans", Some(wanted.clone())).await.expect(201).body["id"].clone();
    let path = format!("/scans/{}", id.as_str().unwrap());
    let busy = site.ask("POST", "/scans", Some(wanted)).await.expect(409);
    assert_eq!(busy.body["code"], "scan_running");
    let running = site.ask("GET", &path, None).await.expect(200).body;
    assert_eq!(
        (&running["running"], &running["items"], &running["all"]),
        (&json!(true), &json!([]), &json!(1))
    );
    site.ask("DELETE", &path, None).await.expect(204);
    let ended = async {
        while site.ask("GET", &path, None).await.body["running"] == true {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), ended).await.unwrap();
    for unknown in ["/scans/99", "/scans/x", "/scans/-1"] {
        site.ask("GET", unknown, None).await.expect(404);
        site.ask("DELETE", unknown, None).await.expect(404);
    }
    site.end().await;
}

/// Cameras are the administrators' matter, and theirs everywhere.
#[tokio::test]
async fn nobody_but_an_administrator_sees_or_changes_how_cameras_are_configured() {
    let site = Site::new().await;
    site.ask("POST", "/cameras", Some(yard(json!({})))).await.expect(201);
    let user = json!({"name": "guard", "password": PASSWORD, "role": "supervisor", "cameras": {"yard": "supervisor"}});
    site.ask("POST", "/users", Some(user)).await.expect(201);
    let token = format!("Bearer {}", site.token("guard", PASSWORD).await);
    let guard = [("authorization", token.as_str())];
    for (method, path) in [
        ("GET", "/cameras/yard/config"),
        ("POST", "/cameras"),
        ("PUT", "/cameras/yard"),
        ("DELETE", "/cameras/yard"),
        ("POST", "/cameras/test"),
        ("POST", "/scans"),
        ("GET", "/scans/1"),
        ("DELETE", "/scans/1"),
        ("GET", "/revisions"),
        ("POST", "/revisions/1/restore"),
    ] {
        let body = matches!(method, "POST" | "PUT").then(|| yard(json!({})));
        let refused = site.ask_as(network(), method, path, &guard, body).await.expect(403);
        assert_eq!(refused.body["code"], "role_too_low", "{method} {path}");
    }
    assert_eq!(site.ask("GET", "/status", None).await.body["settings"]["revision"], 1);
    site.end().await;
}
