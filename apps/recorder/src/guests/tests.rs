//! A recorder without cameras of its own, and cameras of others that it is told to record.

use std::path::Path;

use keepwatch_model::{GapReason, Origin, SpanSet, State, TICKS_PER_SECOND, WallTime};
use tempfile::TempDir;

use super::bench::{NumberedCamera, PATIENCE, numbers, records, wait_until};
use super::*;
use crate::Node;
use crate::config::{DiskConfig, RecorderConfig, RtspConfig};

const ROLE: RoleId = RoleId([7; 16]);
const OTHER: RoleId = RoleId([9; 16]);

fn config(data: &Path) -> RecorderConfig {
    RecorderConfig {
        name: "standby".to_owned(),
        data: data.to_owned(),
        disks: vec![DiskConfig { path: data.join("disk"), size_bytes: Some(128 << 20), take_over: false }],
        retention: None,
        buffer_bytes_max: 32 << 20,
        exports_bytes_max: None,
        cameras: Vec::new(),
        rtsp: RtspConfig::default(),
    }
}

fn data() -> TempDir {
    let data = tempfile::tempdir().unwrap();
    std::fs::create_dir(data.path().join("disk")).unwrap();
    data
}

fn id(text: &str) -> CameraId {
    text.parse().unwrap()
}

fn guest(role: RoleId, camera: &str, url: url::Url) -> Guest {
    let config = CameraConfig::new(id(camera), url);
    Guest { role, camera: id(camera), local: id(camera), config, buffer: None }
}

/// The states of a camera's main stream since `from`.
fn states(node: &Node, camera: CameraId, from: WallTime) -> Vec<State> {
    let now = node.clock().wall();
    let camera = node.camera(camera).unwrap();
    let items = camera.main().ledger().items(Span { from, to: now }, now, &SpanSet::new());
    items.into_iter().map(|item| item.state).collect()
}

/// Waits until more than `seconds` of a guest are on disk.
async fn recorded(node: &Node, role: RoleId, camera: CameraId, seconds: i64) {
    let enough = || {
        let durable = node.guest(role, camera).unwrap().durable;
        durable.is_some_and(|span| span.ticks() > seconds * TICKS_PER_SECOND)
    };
    wait_until("footage of the guest on disk", enough).await;
}

#[tokio::test]
async fn a_guest_is_recorded_in_the_place_of_another_and_nothing_is_missing_while_it_rests() {
    let camera = NumberedCamera::start(500).await;
    let (data, gate) = (data(), id("gate"));
    let node = Node::start(config(data.path())).await.unwrap();
    let begun = node.clock().wall();
    node.set_guests(ROLE, vec![guest(ROLE, "gate", camera.url())]).await.unwrap();
    let view = node.guest(ROLE, gate).unwrap();
    assert_eq!((view.duty, view.durable, view.receiving), (Duty::Rest, None, false));
    assert_eq!(states(&node, gate, node.clock().wall().plus(-1)), [State::Unscheduled]);
    assert!(node.try_guest(ROLE, gate).await, "a picture comes, though nothing is recorded");
    assert!(!node.try_guest(OTHER, gate).await);

    let mut events = node.guest_events();
    node.set_duty(ROLE, gate, Duty::Record).unwrap();
    let GuestEvent::Durable { role, camera: of, until } =
        tokio::time::timeout(PATIENCE, events.recv()).await.unwrap();
    assert_eq!((role, of), (ROLE, gate));
    let number = (0..=camera.number()).rev().find(|number| camera.time(*number) <= until).unwrap();
    assert!(camera.time(number + 1).ticks_since(until) > 0, "the camera's own time");
    recorded(&node, ROLE, gate, 2).await;
    assert!(node.guest(ROLE, gate).unwrap().receiving);

    node.set_duty(ROLE, gate, Duty::Rest).unwrap();
    wait_until("the end of the session", || camera.sessions() == 0).await;
    let tail = || *states(&node, gate, begun).last().unwrap();
    wait_until("rest in the books", || tail() == State::Unscheduled).await;
    assert!(!node.guest(ROLE, gate).unwrap().receiving);
    let held = State::Held { origin: Origin::Standby, recorder: node.store().role(), replaces: Some(ROLE) };
    let told = states(&node, gate, begun);
    // Between the order and the first picture it was to be recorded and was not.
    let dialling = State::Gap { reason: GapReason::ConnectionLost };
    let known = [State::Unscheduled, dialling, held, State::Unscheduled];
    assert_eq!(told[told.len() - 4..], known, "{told:?}");
    for record in records(node.store(), gate) {
        let info = record.index().info;
        assert_eq!((info.origin, info.replaces), (Origin::Standby, Some(ROLE)));
        assert_eq!(info.recorder, node.store().role());
    }
    let all = numbers(node.store(), gate);
    assert!(all.windows(2).all(|pair| pair[1] == pair[0] + 1), "{all:?}");
    node.stop().await;

    // Who stood in for whom is known after a restart, too, and nothing is missing in between.
    let node = Node::start(config(data.path())).await.unwrap();
    node.set_guests(ROLE, vec![guest(ROLE, "gate", camera.url())]).await.unwrap();
    let told = states(&node, gate, begun);
    assert_eq!(told[told.len() - 4..], known, "{told:?}");
    node.stop().await;
}

#[tokio::test]
async fn a_guest_whose_id_another_camera_has_is_refused_and_the_others_are_taken_up() {
    let data = data();
    let nowhere: url::Url = "rtsp://127.0.0.1:9/1".parse().unwrap();
    let own = RecorderConfig {
        cameras: vec![CameraConfig::new(id("gate"), nowhere.clone())],
        ..config(data.path())
    };
    let node = Node::start(own.clone()).await.unwrap();
    let guests = vec![guest(ROLE, "gate", nowhere.clone()), guest(ROLE, "yard", nowhere.clone())];
    let refused = node.set_guests(ROLE, guests).await.unwrap_err();
    let taken = |role, camera| GuestError::Taken { role, camera, local: camera };
    assert_eq!(refused, [taken(ROLE, id("gate"))]);
    assert_eq!(node.guests(), [(ROLE, id("yard"))]);
    let refused = node.set_guests(OTHER, vec![guest(OTHER, "yard", nowhere.clone())]).await.unwrap_err();
    assert_eq!(refused, [taken(OTHER, id("yard"))]);
    let local = local_id(id("yard"), OTHER, |id| node.camera(id).is_some());
    let renamed = Guest { local, ..guest(OTHER, "yard", nowhere.clone()) };
    node.set_guests(OTHER, vec![renamed]).await.unwrap();
    assert_eq!(node.guest(OTHER, id("yard")).unwrap().local, local);

    let mut clash = own;
    clash.cameras.push(CameraConfig::new(id("yard"), nowhere));
    let error = node.apply(clash).await.unwrap_err().to_string();
    assert!(error.contains("yard"), "{error}");
    node.set_guests(ROLE, Vec::new()).await.unwrap();
    assert!(node.camera(id("yard")).is_none() && node.camera(local).is_some());
    assert_eq!(
        node.set_duty(ROLE, id("yard"), Duty::Record),
        Err(GuestError::Unknown { role: ROLE, camera: id("yard") })
    );
    node.stop().await;
}
