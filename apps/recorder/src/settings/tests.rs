//! Cameras that are edited: what is kept, what is refused, and what becomes of it.

use std::collections::BTreeSet;
use std::path::Path;

use keepwatch_model::WallTime;
use keepwatch_settings::{CameraEntry, DATABASE_FILE, KEY_FILE};
use serde_json::{Map, Value, json};

use super::entry::entry_of_file;
use super::*;

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(object) = value else { panic!("an object") };
    object
}

fn wish(value: Value) -> CameraWish {
    CameraWish::read(&object(value)).unwrap()
}

fn errors(value: Value) -> Vec<(String, String)> {
    let errors = CameraWish::read(&object(value)).unwrap_err();
    errors.into_iter().map(|error| (error.field, error.detail)).collect()
}

/// A step is carried out, and the book opened anew.
fn carry_out(data: &Path, book: &Book, step: Result<Step, EditError>) -> Edited {
    let written = book.write(&step.unwrap(), "admin", WallTime::from_ticks(0)).unwrap();
    book.set(written);
    let again = Book::open(data.to_owned());
    let edited = (*again.edited()).clone();
    assert_eq!(edited.document, book.edited().document);
    edited
}

fn none() -> BTreeSet<CameraId> {
    BTreeSet::new()
}

#[test]
fn a_camera_is_kept_with_its_password_sealed_and_shown_without() {
    let data = tempfile::tempdir().unwrap();
    let book = Book::open(data.path().to_owned());
    assert!(!data.path().join(KEY_FILE).exists(), "a key is made with the first password");
    let gate = wish(
        json!({"id": "gate", "name": "North gate", "url": "rtsp://u:hidden1@192.0.2.10/s", "audio": false,
        "retention": "14 days", "schedule": ["mon-fri 07:00-19:00"]}),
    );
    let edited = carry_out(data.path(), &book, book.added(&none(), &gate));
    assert_eq!((edited.revision, edited.problem.clone()), (1, None));
    let [camera] = &edited.cameras[..] else { panic!("one camera") };
    assert_eq!(camera.user.as_deref(), Some("u"));
    assert_eq!(camera.password.as_ref().map(|password| password.expose()), Some("hidden1"));
    assert_eq!(camera.schedule.len(), 5);
    let entry = edited.entry(camera.id).unwrap();
    assert_eq!(entry.url.as_deref(), Some("rtsp://192.0.2.10/s"));
    assert_eq!(entry.retention.as_deref(), Some("14 days"));
    assert_eq!(entry.schedule.as_deref(), Some(&["mon-fri 07:00-19:00".to_owned()][..]));
    for file in [DATABASE_FILE, "config.db-wal"] {
        let bytes = std::fs::read(data.path().join(file)).unwrap_or_default();
        assert!(!bytes.windows(7).any(|part| part == b"hidden1"), "{file}");
    }
    // What is kept says the same as the camera itself.
    let shown = entry_of_file(camera);
    assert_eq!(CameraEntry { revision: entry.revision, password: entry.password.clone(), ..shown }, *entry);
}

#[test]
fn a_change_keeps_the_password_unless_the_address_is_another_one() {
    let data = tempfile::tempdir().unwrap();
    let book = Book::open(data.path().to_owned());
    let gate = |more: Value| {
        let mut base = object(json!({"id": "gate", "url": "rtsps://192.0.2.10/s", "user": "u"}));
        base.extend(object(more));
        wish(Value::Object(base))
    };
    carry_out(data.path(), &book, book.added(&none(), &gate(json!({"password": "hidden1"}))));
    let password = |edited: &Edited| edited.cameras[0].password.as_ref().map(|it| it.expose().to_owned());
    for same_place in [json!({"name": "x"}), json!({"url": "rtsps://192.0.2.10:322/other"})] {
        let edited = carry_out(data.path(), &book, book.changed(&none(), &gate(same_place), None));
        assert_eq!(password(&edited).as_deref(), Some("hidden1"));
    }
    // Nobody learns the password by giving the camera an address of their own, or one without TLS.
    for elsewhere in ["rtsps://192.0.2.66/s", "rtsp://192.0.2.10/s", "rtsps://192.0.2.10:5000/s"] {
        let asked = gate(json!({"url": elsewhere}));
        for refused in
            [book.changed(&none(), &asked, None).map(|_| ()), book.password_for(&asked).map(|_| ())]
        {
            let Err(EditError::Fields(errors)) = refused else { panic!("{refused:?}") };
            assert_eq!(errors[0].field, "password", "{elsewhere}");
        }
    }
    let sub = gate(json!({"sub_url": "rtsp://192.0.2.66/2"}));
    assert!(matches!(book.changed(&none(), &sub, None), Err(EditError::Fields(_))), "both streams are asked");
    let moved = gate(json!({"url": "rtsps://192.0.2.66/s", "password": "hidden2"}));
    assert_eq!(
        password(&carry_out(data.path(), &book, book.changed(&none(), &moved, None))).as_deref(),
        Some("hidden2")
    );
    let removed = gate(json!({"url": "rtsps://192.0.2.66/s", "password": null}));
    assert_eq!(password(&carry_out(data.path(), &book, book.changed(&none(), &removed, None))), None);
}

#[test]
fn edits_at_the_same_time_are_told_apart_by_the_revision_of_the_camera() {
    let data = tempfile::tempdir().unwrap();
    let book = Book::open(data.path().to_owned());
    let camera = |id: &str, name: &str| wish(json!({"id": id, "name": name, "url": "rtsp://192.0.2.10/s"}));
    carry_out(data.path(), &book, book.added(&none(), &camera("gate", "a")));
    carry_out(data.path(), &book, book.added(&none(), &camera("yard", "a")));
    // The other camera's change is no reason to refuse this one's.
    let edited = carry_out(data.path(), &book, book.changed(&none(), &camera("gate", "b"), Some(1)));
    let revisions: Vec<u64> = edited.document.cameras.iter().map(|camera| camera.revision).collect();
    assert_eq!(revisions, [3, 2]);
    let stale = book.changed(&none(), &camera("gate", "c"), Some(1));
    assert!(matches!(stale, Err(EditError::Stale { revision: 3, .. })));
    let id = "gate".parse().unwrap();
    assert!(matches!(book.removed(&none(), id, Some(2)), Err(EditError::Stale { .. })));
    let edited = carry_out(data.path(), &book, book.removed(&none(), id, Some(3)));
    assert_eq!(edited.document.cameras.len(), 1);
    assert!(matches!(book.removed(&none(), id, None), Err(EditError::Unknown(_))));
    // Restored, it is a change of its own; the camera that stayed is not touched.
    let edited = carry_out(data.path(), &book, book.restored(&none(), 3));
    let entries: Vec<(&str, u64)> =
        edited.document.cameras.iter().map(|camera| (camera.id.as_str(), camera.revision)).collect();
    assert_eq!(entries, [("gate", 5), ("yard", 2)]);
    assert!(matches!(book.restored(&none(), 99), Err(EditError::RevisionUnknown(99))));
    let file = BTreeSet::from([id]);
    assert!(matches!(book.restored(&file, 3), Err(EditError::OfFile(_))));
    assert!(matches!(book.changed(&file, &camera("gate", "x"), None), Err(EditError::OfFile(_))));
    assert!(matches!(book.added(&file, &camera("gate", "x")), Err(EditError::Taken(_))));
    let listed: Vec<u64> = book.revisions(None, 2).unwrap().iter().map(|revision| revision.number).collect();
    assert_eq!(listed, [5, 4]);
}

#[test]
fn a_lost_key_costs_the_logins_and_not_the_cameras() {
    let data = tempfile::tempdir().unwrap();
    let book = Book::open(data.path().to_owned());
    let camera = |id: &str, password: Value| {
        wish(json!({"id": id, "url": "rtsp://192.0.2.10/s", "user": "u", "password": password}))
    };
    carry_out(data.path(), &book, book.added(&none(), &camera("gate", json!("hidden1"))));
    carry_out(data.path(), &book, book.added(&none(), &camera("yard", json!("hidden2"))));
    std::fs::remove_file(data.path().join(KEY_FILE)).unwrap();
    let lost = Book::open(data.path().to_owned());
    let edited = lost.edited();
    assert_eq!(edited.cameras.len(), 2);
    // A wrong password could lock the user in the camera, so none is tried.
    assert!(edited.cameras.iter().all(|camera| camera.user.is_none() && camera.password.is_none()));
    let problem = edited.problem.clone().unwrap();
    assert!(problem.contains("the password of camera gate") && problem.contains("camera yard"), "{problem}");
    // One that is entered again is sealed with a new key; the other stays what it is.
    let mended =
        carry_out(data.path(), &lost, lost.changed(&none(), &camera("gate", json!("hidden3")), None));
    assert_eq!(mended.cameras[0].password.as_ref().map(|it| it.expose()), Some("hidden3"));
    let problem = mended.problem.unwrap();
    assert!(
        !problem.contains("gate") && problem.contains("yard") && problem.contains("another key"),
        "{problem}"
    );
}

#[test]
fn settings_that_cannot_be_read_are_told_and_not_written_over() {
    let data = tempfile::tempdir().unwrap();
    let gate = wish(json!({"id": "gate", "url": "rtsp://192.0.2.10/s"}));
    std::fs::write(data.path().join(DATABASE_FILE), "no database at all, and much too long to be one")
        .unwrap();
    let book = Book::open(data.path().to_owned());
    let edited = book.edited();
    assert!(edited.unread && edited.cameras.is_empty());
    assert!(edited.problem.as_ref().is_some_and(|problem| problem.contains("config.db")), "{edited:?}");
    assert!(matches!(book.added(&none(), &gate), Err(EditError::Unusable(_))));
    // Moved away, as the message says, the next reload is well without a restart.
    std::fs::remove_file(data.path().join(DATABASE_FILE)).unwrap();
    let edited = book.read();
    assert!(edited.problem.is_none() && !edited.unread);
    book.set(edited);
    carry_out(data.path(), &book, book.added(&none(), &gate));
}

#[test]
fn every_mistake_is_told_by_its_field() {
    let table = [
        (json!({}), "id", "the camera has no id"),
        (json!({"id": "a"}), "url", "the camera has no url"),
        (json!({"id": "A b", "url": "rtsp://h/1"}), "id", "cannot be a camera id"),
        (json!({"id": "a", "url": "http://u:hidden@h/1"}), "url", "http:// cannot be recorded"),
        (json!({"id": "a", "url": 5}), "url", "url is a number; write a text"),
        (json!({"id": "a", "url": "rtsp://h/1", "onvif": "http://h"}), "onvif", "take one out"),
        (json!({"id": "a", "url": "rtsp://h/1", "sub": true}), "sub", "onvif address"),
        (json!({"id": "a", "url": "rtsp://h/1", "sub_url": "rtsp://h/1"}), "sub_url", "same as url"),
        (json!({"id": "a", "url": "rtsp://h/1", "user": "a\nb"}), "user", "cannot be the name of a user"),
        (json!({"id": "a", "url": "rtsp://h/1", "password": "hidden"}), "password", "no user"),
        (
            json!({"id": "a", "url": "rtsp://u@h/1", "password": "hid\u{0}den"}),
            "password",
            "cannot be a password",
        ),
        (
            json!({"id": "a", "url": "rtsp://u@h/1", "password": "x".repeat(1025)}),
            "password",
            "1 to 1024 bytes",
        ),
        (
            json!({"id": "a", "url": "rtsp://u:hidden@h/1", "password": "x"}),
            "password",
            "stands here and in the url",
        ),
        (
            json!({"id": "a", "url": "rtsp://h/1", "transport": "multicast"}),
            "transport",
            "is not a transport",
        ),
        (json!({"id": "a", "url": "rtsp://h/1", "audio": "yes"}), "audio", "write true or false"),
        (json!({"id": "a", "url": "rtsp://h/1", "retention": "1 s"}), "retention", "too little"),
        (
            json!({"id": "a", "url": "rtsp://h/1", "retention": "1 d\u{7}"}),
            "retention",
            "no unit of duration",
        ),
        (
            json!({"id": "a", "url": "rtsp://h/1", "schedule": ["daily 00:00-24:00", "mon"]}),
            "schedule[1]",
            "days and times",
        ),
        (json!({"id": "a", "url": "rtsp://h/1", "schedule": [7]}), "schedule[0]", "is a number"),
        (
            json!({"id": "a", "url": "rtsp://h/1", "schedule": vec!["mon 00:00-01:00"; 201]}),
            "schedule",
            "more than 200",
        ),
        (json!({"id": "a", "url": "rtsp://h/1", "pasword": "x"}), "pasword", "did you mean \"password\"?"),
        (
            json!({"id": "a", "url": format!("rtsp://h/{}", "x".repeat(3000))}),
            "url",
            "longer than 2048 bytes",
        ),
        (
            json!({"id": "a", "url": "rtsp://h/1", "certificate": "sha256:12"}),
            "certificate",
            "no fingerprint",
        ),
        (json!({"id": "a", "url": "rtsp://h/1", "name": "<script>\u{1b}"}), "name", "cannot be a name"),
    ];
    for (body, field, part) in table {
        let told = errors(body.clone());
        assert!(told.iter().any(|(of, detail)| of == field && detail.contains(part)), "{body}: {told:?}");
        assert!(!told.iter().any(|(_, detail)| detail.contains("hidden")), "{body}: {told:?}");
    }
    let all = errors(json!({"id": "A", "url": "x", "audio": 1, "more": 2}));
    let fields: BTreeSet<&str> = all.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(fields, BTreeSet::from(["audio", "id", "more", "url"]), "all at once");
    // What a camera is shown with may be sent back.
    wish(
        json!({"id": "a", "url": "rtsp://h/1", "sub": null, "schedule": [], "has_password": false, "editable": true, "revision": 3}),
    );
}
