//! What is said is understood, and what is forged, cut off or altered is not taken for it.

use keepwatch_model::{CameraId, GapReason, RoleId, WallTime};
use serde_json::{Value, json};

use super::*;
use crate::failover::Recorded;

fn at(seconds: i64) -> WallTime {
    WallTime::from_ticks(seconds * 90_000)
}

fn camera(text: &str) -> CameraId {
    text.parse().unwrap()
}

fn check(cameras: Value) -> Value {
    json!({"role": RoleId([7; 16]), "epoch": 3, "version": VERSION, "protocol": PROTOCOL, "cameras": cameras})
}

fn contents() -> Contents {
    let gate = CameraBackup {
        id: camera("gate"),
        bits_per_second: 4_000_000,
        password: Some(Password::new("hidden1".to_owned())),
        settings: [("url".to_owned(), json!("rtsp://192.0.2.1/1")), ("user".to_owned(), json!("u"))].into(),
    };
    Contents {
        version: VERSION.to_owned(),
        protocol: PROTOCOL,
        role: RoleId([7; 16]),
        epoch: 3,
        taken: at(1_000),
        name: "north".to_owned(),
        revision: 12,
        retention: Some("30 days".to_owned()),
        cameras: vec![gate],
        users: json!({"version": 2, "users": []}),
        rtsp_users: Vec::new(),
    }
}

#[test]
fn a_camera_of_an_edge_node_is_told_by_its_setting() {
    let mut camera = contents().cameras.remove(0);
    assert!(!camera.is_sent());
    camera.settings.insert("edge".to_owned(), Value::Null);
    assert!(!camera.is_sent(), "as a camera with an address is told");
    camera.settings.insert("edge".to_owned(), json!("box/cam1"));
    assert!(camera.is_sent());
}

#[test]
fn an_answer_has_the_form_that_is_agreed_and_comes_back() {
    let said = Check {
        role: RoleId([7; 16]),
        epoch: 3,
        version: "0.1.0".to_owned(),
        protocol: 1,
        cameras: vec![
            CameraCheck {
                camera: camera("a"),
                bits_per_second: 9,
                recorded: RecordedSpan::Durable { from: at(1), until: at(2) },
            },
            CameraCheck {
                camera: camera("b"),
                bits_per_second: 0,
                recorded: RecordedSpan::Missing(GapReason::DiskGone),
            },
            CameraCheck { camera: camera("c"), bits_per_second: 0, recorded: RecordedSpan::NotWanted },
        ],
    };
    let wire = serde_json::to_value(&said).unwrap();
    assert_eq!(
        wire["cameras"],
        json!([
            {"camera": "a", "bits_per_second": 9,
             "recorded": {"durable": {"from": "1970-01-01T00:00:01.000000Z", "until": "1970-01-01T00:00:02.000000Z"}}},
            {"camera": "b", "bits_per_second": 0, "recorded": {"missing": "disk_gone"}},
            {"camera": "c", "bits_per_second": 0, "recorded": "not_wanted"},
        ])
    );
    assert_eq!(serde_json::from_value::<Check>(wire).unwrap(), said);
    let report = said.report(RoleId([7; 16])).unwrap();
    assert_eq!((report.epoch, report.version, report.cameras.len()), (3, own_version(), 3));
    assert_eq!(report.cameras[0].demand.bits_per_second, 9);
}

#[test]
fn an_answer_of_a_later_version_is_one_all_the_same() {
    // A failover must not begin because a primary was updated first.
    let mut said = check(json!([{"camera": "a", "recorded": {"missing": "moon_phase"}, "more": [1]}]));
    said["version"] = json!("7.8.9-rc1");
    said["protocol"] = json!(9);
    said["later"] = json!({});
    let report = serde_json::from_value::<Check>(said).unwrap().report(RoleId([7; 16])).unwrap();
    assert!(matches!(report.cameras[0].recorded, Recorded::Missing(_)));
    assert_eq!((report.version.major, report.version.minor, report.version.protocol), (7, 8, 9));
}

#[test]
fn what_cannot_be_an_answer_is_none() {
    let twice =
        check(json!([{"camera": "a", "recorded": "not_wanted"}, {"camera": "a", "recorded": "not_wanted"}]));
    let twice: Check = serde_json::from_value(twice).unwrap();
    assert_eq!(twice.report(RoleId([7; 16])), Err(CheckError::Twice(camera("a"))));
    let other: Check = serde_json::from_value(check(json!([]))).unwrap();
    assert_eq!(other.report(RoleId([8; 16])), Err(CheckError::OtherRole(RoleId([7; 16]))));
    let versionless = Check { version: "x".to_owned(), ..other };
    assert_eq!(versionless.report(RoleId([7; 16])), Err(CheckError::Version));
    let many: Vec<Value> =
        (0..=CAMERAS_MAX).map(|n| json!({"camera": format!("c{n}"), "recorded": "not_wanted"})).collect();
    for wrong in [
        check(json!(many)),
        check(json!([{"camera": "A b", "recorded": "not_wanted"}])),
        check(json!([{"camera": "a", "recorded": {"durable": {"from": "x", "until": "y"}}}])),
        check(json!([{"camera": "a", "recorded": {"missing": "x".repeat(65)}}])),
        check(json!([{"camera": "a", "bits_per_second": -1, "recorded": "not_wanted"}])),
    ] {
        assert!(serde_json::from_value::<Check>(wrong).is_err());
    }
    let backward = check(json!([{"camera": "a", "recorded": {"durable":
        {"from": "2026-01-01T00:00:02Z", "until": "2026-01-01T00:00:01Z"}}}]));
    let report = serde_json::from_value::<Check>(backward).unwrap().report(RoleId([7; 16])).unwrap();
    assert!(matches!(report.cameras[0].recorded, Recorded::Durable { from, until } if from == until));
}

#[test]
fn a_hello_has_bounds_and_its_key_is_one() {
    let hello = json!({"product": PRODUCT, "version": VERSION, "protocol": PROTOCOL, "name": "north", "mac": null,
        "role": RoleId([7; 16]), "epoch": 1, "key": "ab".repeat(32), "standby": false, "watched_by": ["south"]});
    let known: Hello = serde_json::from_value(hello.clone()).unwrap();
    assert_eq!(known.version(), Some(own_version()));
    assert_eq!((known.key, serde_json::to_value(&known).unwrap()), (NodePublic([0xab; 32]), hello.clone()));
    for (key, wrong) in [
        ("name", json!("x".repeat(401))),
        ("key", json!("AB".repeat(32))),
        ("key", json!("é".repeat(32))),
        ("watched_by", json!(vec!["x"; STANDBYS_MAX + 1])),
        ("watched_by", json!(["x".repeat(401)])),
        ("role", json!("7")),
        ("epoch", json!(-1)),
    ] {
        let mut forged = hello.clone();
        forged[key] = wrong;
        assert!(serde_json::from_value::<Hello>(forged).is_err(), "{key}");
    }
}

#[test]
fn a_password_on_its_way_is_not_shown() {
    let backup = Backup::of(&contents()).unwrap();
    for shown in [format!("{:?}", contents()), format!("{backup:?}")] {
        assert!(!shown.contains("hidden1"), "{shown}");
    }
}

#[test]
fn a_backup_that_was_cut_off_or_altered_is_refused() {
    let backup = Backup::of(&contents()).unwrap();
    assert_eq!(backup.open().unwrap(), contents());
    assert_eq!(contents().demands()[0].1.bits_per_second, 4_000_000);
    let wire = serde_json::to_string(&backup).unwrap();
    assert_eq!(serde_json::from_str::<Backup>(&wire).unwrap(), backup);
    for altered in [
        wire.replace("192.0.2.1", "192.0.2.9"),
        wire.replace("hidden1", "hidden2"),
        wire.replace("\"digest\":\"", "\"digest\":\"0").replace("0\",\"contents", "\",\"contents"),
        wire.replace(",\\\"rtsp_users\\\":[]", ""),
    ] {
        assert_ne!(altered, wire);
        let opened = serde_json::from_str::<Backup>(&altered).map(|backup| backup.open());
        assert!(!matches!(opened, Ok(Ok(_))), "{opened:?}");
    }
    for end in 0..wire.len() {
        assert!(serde_json::from_str::<Backup>(&wire[..end]).is_err());
    }
    let mut later = backup;
    later.format = FORMAT + 1;
    assert_eq!(later.open(), Err(BackupError::Format(FORMAT + 1)));
}

#[test]
fn backups_are_compared_by_what_they_would_restore() {
    let (earlier, mut later) = (contents(), contents());
    later.taken = at(2_000);
    later.revision = 13;
    later.cameras[0].bits_per_second = 5;
    assert_eq!(earlier.differences(&later), []);
    later.cameras[0].settings.insert("user".to_owned(), json!("other"));
    let mut yard = later.cameras[0].clone();
    yard.id = camera("yard");
    later.cameras.push(yard);
    later.users = json!({});
    assert_eq!(
        earlier.differences(&later),
        [
            Difference::Changed { camera: camera("gate"), settings: vec!["user".to_owned()] },
            Difference::Added(camera("yard")),
            Difference::Setting("users")
        ]
    );
    assert_eq!(later.differences(&earlier)[1], Difference::Removed(camera("yard")));
    later.cameras[0].settings.remove("user");
    later.cameras[0].password = None;
    let without = earlier.cameras[0].settings.contains_key("user").then_some("user");
    let settings = without.into_iter().chain(["password"]).map(str::to_owned).collect();
    assert_eq!(earlier.differences(&later)[0], Difference::Changed { camera: camera("gate"), settings });
    later.cameras[1].id = camera("gate");
    assert_eq!(Backup::of(&later), Err(BackupError::Twice(camera("gate"))));
}
