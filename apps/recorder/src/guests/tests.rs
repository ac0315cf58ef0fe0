//! A recorder without cameras of its own, and cameras of others that it is told to record.

use std::path::Path;
use std::sync::atomic::Ordering;

use keepwatch_model::{
    GapReason, Origin, SpanSet, State, StreamId, TICKS_PER_SECOND, UnknownReason, WallTime,
};
use tempfile::TempDir;

use super::bench::{NumberedCamera, PATIENCE, numbers, records, sounds, wait_until};
use super::*;
use crate::Node;
use crate::config::{CameraSource, DiskConfig, RecorderConfig, RtspConfig};

const ROLE: RoleId = RoleId([7; 16]);
const MAIN: StreamId = StreamId::MAIN;
const OTHER: RoleId = RoleId([9; 16]);

fn config(data: &Path) -> RecorderConfig {
    RecorderConfig {
        name: "standby".to_owned(),
        data: data.to_owned(),
        disks: vec![DiskConfig { size_bytes: Some(128 << 20), ..DiskConfig::new(data.join("disk")) }],
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
    for record in records(node.store(), gate, MAIN) {
        let info = record.index().info;
        assert_eq!((info.origin, info.replaces), (Origin::Standby, Some(ROLE)));
        assert_eq!(info.recorder, node.store().role());
    }
    let all = numbers(node.store(), gate, MAIN);
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

/// How long the primary of the tests is silent before it is stood in for.
const SILENCE: Duration = Duration::from_secs(3);

fn with_buffer(guest: Guest, seconds: u64) -> Guest {
    let limits = BufferLimits { bytes_max: 16 << 20, age_max: Duration::from_secs(seconds) };
    Guest { buffer: Some(limits), ..guest }
}

/// Waits until so many seconds of a guest wait in memory.
async fn buffered(node: &Node, role: RoleId, camera: CameraId, seconds: i64) {
    let enough = || {
        let buffered = node.guest(role, camera).unwrap().buffered;
        buffered.is_some_and(|span| span.ticks() >= seconds * TICKS_PER_SECOND)
    };
    wait_until("footage of the guest in memory", enough).await;
}

/// Sessions with a camera that were begun.
fn sessions(node: &Node, camera: CameraId) -> u64 {
    node.camera(camera).unwrap().main().counters().sessions.load(Ordering::Relaxed)
}

/// Whether these follow one another, none missing and none twice.
fn follow(numbers: &[u32]) -> bool {
    numbers.windows(2).all(|pair| pair[1] == pair[0] + 1)
}

/// The promise of the pre-buffer: a primary dies at once, is noticed three seconds later, and of the camera no frame is
/// missing. What the primary held is counted only as far as it had told the standby, as for a machine that burned down.
#[tokio::test]
async fn a_primary_that_dies_costs_no_frame_and_none_is_recorded_twice() {
    let camera = NumberedCamera::start(2_000).await;
    let (primary_data, standby_data, gate) = (data(), data(), id("gate"));
    let own = RecorderConfig {
        cameras: vec![CameraConfig::new(gate, camera.url())],
        ..config(primary_data.path())
    };
    let primary = Node::start(own).await.unwrap();
    let standby = Node::start(config(standby_data.path())).await.unwrap();
    let mut guest = with_buffer(guest(ROLE, "gate", camera.url()), 8);
    let sub_url = Some(format!("rtsp://{}/sub", camera.address).parse().unwrap());
    guest.config.source = CameraSource::Rtsp { url: camera.url(), sub_url };
    standby.set_guests(ROLE, vec![guest]).await.unwrap();
    standby.set_duty(ROLE, gate, Duty::Buffer).unwrap();

    // The primary tells what it holds, and the standby lets go of that, for a while.
    let mut told = None;
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(7) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        told = primary.camera(gate).unwrap().main().newest();
        if let Some(held) = told {
            standby.trim(ROLE, gate, held.to);
        }
    }
    let told = told.expect("the primary records");
    let view = standby.guest(ROLE, gate).unwrap();
    assert!(view.receiving && view.durable.is_none(), "{view:?}");
    assert!(view.buffered.is_some_and(|span| span.ticks() <= 4 * TICKS_PER_SECOND), "trimmed: {view:?}");
    assert!(numbers(standby.store(), gate, MAIN).is_empty(), "nothing is on its disk");
    assert_eq!(camera.sessions(), 3);

    // It burns down, and is noticed later.
    tokio::time::sleep(SILENCE).await;
    let of_primary: Vec<u32> = numbers(primary.store(), gate, MAIN)
        .into_iter()
        .filter(|number| camera.time(*number) < told.to)
        .collect();
    standby.set_duty(ROLE, gate, Duty::Record).unwrap();
    recorded(&standby, ROLE, gate, 8).await;
    assert_eq!(sessions(&standby, gate), 1);
    let of_standby = numbers(standby.store(), gate, MAIN);
    assert!(follow(&of_primary) && follow(&of_standby), "{of_primary:?} {of_standby:?}");
    let (last, first) = (*of_primary.last().unwrap(), of_standby[0]);
    assert!(first <= last + 1, "the standby begins at {first}, the primary ended at {last}");
    assert!(last - first < 3 * 25, "no more than a record twice: {first} to {last}");

    // Sound comes with it, and the sub stream, as they do when it is recorded.
    let (sound, sub) = (sounds(standby.store(), gate, MAIN), numbers(standby.store(), gate, StreamId::SUB));
    assert!(follow(&sound) && follow(&sub), "{sound:?} {sub:?}");
    assert!(sound[0] <= first + 1 && sub[0] <= last + 1, "{first} {last}: {} {}", sound[0], sub[0]);

    // In the books nothing was asked for before the first frame, and nothing is missing behind it.
    let told = states(&standby, gate, standby.started().plus(-TICKS_PER_SECOND));
    let held =
        State::Held { origin: Origin::Standby, recorder: standby.store().role(), replaces: Some(ROLE) };
    assert_eq!(told[told.len() - 3..told.len() - 1], [State::Unscheduled, held], "{told:?}");
    assert!(matches!(told.last(), Some(State::Unknown { .. })), "on its way: {told:?}");
    primary.stop().await;
    standby.stop().await;
}

/// Failed over and back and over again, with one session at the camera: what is on the disk is in order, once, and what was
/// neither asked for nor needed is not there.
#[tokio::test]
async fn from_memory_to_disk_and_back_and_again_no_frame_is_twice() {
    let camera = NumberedCamera::start(2_000).await;
    let (data, gate) = (data(), id("gate"));
    let node = Node::start(config(data.path())).await.unwrap();
    node.set_guests(ROLE, vec![with_buffer(guest(ROLE, "gate", camera.url()), 60)]).await.unwrap();
    let begun = node.clock().wall();
    let fresh = || camera.time(camera.number());

    node.set_duty(ROLE, gate, Duty::Buffer).unwrap();
    buffered(&node, ROLE, gate, 3).await;
    let health = |node: &Node| node.camera(gate).unwrap().is_buffered();
    assert!(health(&node));
    node.set_duty(ROLE, gate, Duty::Record).unwrap();
    recorded(&node, ROLE, gate, 5).await;
    node.set_duty(ROLE, gate, Duty::Buffer).unwrap();
    buffered(&node, ROLE, gate, 2).await;
    // Failed back: the primary holds all of this.
    let back = fresh();
    node.trim(ROLE, gate, back);
    wait_until("more in memory", || {
        let buffered = node.guest(ROLE, gate).unwrap().buffered;
        buffered.is_some_and(|span| span.to.ticks_since(back) > 3 * TICKS_PER_SECOND)
    })
    .await;
    let again = fresh();
    node.set_duty(ROLE, gate, Duty::Record).unwrap();
    wait_until("more on the disk", || {
        let durable = node.guest(ROLE, gate).unwrap().durable;
        durable.is_some_and(|span| span.to > again.plus(2 * TICKS_PER_SECOND))
    })
    .await;
    node.set_duty(ROLE, gate, Duty::Rest).unwrap();
    wait_until("the end of the session", || camera.sessions() == 0).await;
    assert_eq!(sessions(&node, gate), 1, "one session throughout");
    wait_until("rest", || *states(&node, gate, begun).last().unwrap() == State::Unscheduled).await;
    let settled = || !states(&node, gate, begun).iter().any(|state| matches!(state, State::Unknown { .. }));
    wait_until("all on disk", settled).await;

    let all = numbers(node.store(), gate, MAIN);
    assert!(all.windows(2).all(|pair| pair[1] > pair[0]), "none twice and in order: {all:?}");
    let holes: Vec<_> = all.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect();
    assert_eq!(holes.len(), 1, "only what the primary held: {holes:?}");
    assert!(camera.time(holes[0][1]) < back, "what it may not have held is there: {holes:?}");
    let held = State::Held { origin: Origin::Standby, recorder: node.store().role(), replaces: Some(ROLE) };
    let told = states(&node, gate, begun);
    let rests = State::Unscheduled;
    assert!(told.ends_with(&[held, rests, held, rests]), "{told:?}");
    assert_eq!((node.guest(ROLE, gate).unwrap().buffered_bytes, node.prebuffer_bytes()), (0, 0));
    node.stop().await;
}

/// A primary that is back before anybody stood in for it has a hole that only the memory of its standby can fill.
#[tokio::test]
async fn what_a_primary_lost_for_a_moment_is_saved_and_the_guest_is_still_not_recorded() {
    let camera = NumberedCamera::start(2_000).await;
    let (data, gate) = (data(), id("gate"));
    let node = Node::start(config(data.path())).await.unwrap();
    node.set_guests(ROLE, vec![with_buffer(guest(ROLE, "gate", camera.url()), 60)]).await.unwrap();
    node.set_duty(ROLE, gate, Duty::Buffer).unwrap();
    buffered(&node, ROLE, gate, 5).await;
    let waiting = node.guest(ROLE, gate).unwrap().buffered.unwrap();
    let hole =
        Span { from: waiting.from.plus(2 * TICKS_PER_SECOND), to: waiting.from.plus(3 * TICKS_PER_SECOND) };
    node.save(ROLE, gate, hole);
    let saved = || {
        let durable = node.guest(ROLE, gate).unwrap().durable;
        durable.is_some_and(|span| span.from <= hole.from && span.to >= hole.to)
    };
    wait_until("the hole on disk", saved).await;
    buffered(&node, ROLE, gate, 4).await;
    let all = numbers(node.store(), gate, MAIN);
    assert!(follow(&all), "{all:?}");
    assert!(camera.time(all[0]) <= hole.from && camera.time(*all.last().unwrap()) >= hole.to.plus(-3_600));
    assert!(all.len() < 125, "only that: {all:?}");
    assert!(node.camera(gate).unwrap().is_buffered());
    let told = states(&node, gate, node.started().plus(-TICKS_PER_SECOND));
    assert_eq!(told.last(), Some(&State::Unscheduled), "{told:?}");
    node.stop().await;
}

/// A camera that is away while its footage only waits in memory is not missed, and its events are its recorder's.
#[tokio::test]
async fn what_only_waits_in_memory_is_not_missed() {
    let (data, gate) = (data(), id("gate"));
    let node = Node::start(config(data.path())).await.unwrap();
    let begun = node.clock().wall();
    let nowhere = guest(ROLE, "gate", "rtsp://127.0.0.1:9/1".parse().unwrap());
    node.set_guests(ROLE, vec![with_buffer(nowhere, 8)]).await.unwrap();
    node.set_duty(ROLE, gate, Duty::Buffer).unwrap();
    let refused = || node.camera(gate).unwrap().main().connection().2.is_some();
    wait_until("a refused dial", refused).await;
    assert_eq!(states(&node, gate, begun.plus(-TICKS_PER_SECOND)).last(), Some(&State::Unscheduled));
    let view = node.guest(ROLE, gate).unwrap();
    assert_eq!((view.receiving, view.buffered, view.duty), (false, None, Duty::Buffer));
    node.set_duty(ROLE, gate, Duty::Record).unwrap();
    let missed = State::Gap { reason: GapReason::ConnectionLost };
    wait_until("it is missed", || states(&node, gate, begun).last() == Some(&missed)).await;
    let since = node.camera(gate).unwrap().main().ledger().missing_since(node.clock().wall()).unwrap().0;
    assert!(since > begun, "not from before it was asked for");
    node.stop().await;
}

/// A standby that is killed: what it recorded is there, the time until it is back is missing if it was recording, and not
/// missing if it rested.
#[tokio::test]
async fn a_killed_standby_misses_what_it_was_recording_and_nothing_else() {
    let camera = NumberedCamera::start(500).await;
    let (data, gate) = (data(), id("gate"));
    let node = Node::start(config(data.path())).await.unwrap();
    let begun = node.clock().wall();
    let guests = || vec![guest(ROLE, "gate", camera.url())];
    node.set_guests(ROLE, guests()).await.unwrap();
    node.set_duty(ROLE, gate, Duty::Record).unwrap();
    recorded(&node, ROLE, gate, 2).await;
    let held = State::Held { origin: Origin::Standby, recorder: node.store().role(), replaces: Some(ROLE) };
    let on_its_way = State::Unknown { reason: UnknownReason::NotYet };
    wait_until("frames on their way in what is stored", || stored(&node, gate) == Some(on_its_way)).await;
    let killed = copy(data.path());
    node.set_duty(ROLE, gate, Duty::Rest).unwrap();
    wait_until("rest", || *states(&node, gate, begun).last().unwrap() == State::Unscheduled).await;
    wait_until("rest in what is stored", || stored(&node, gate) == Some(State::Unscheduled)).await;
    let killed_at_rest = copy(data.path());
    node.stop().await;

    let down = State::Gap { reason: GapReason::RecorderDown };
    for (data, after) in
        [(killed, vec![held, down, State::Unscheduled]), (killed_at_rest, vec![held, State::Unscheduled])]
    {
        let node = Node::start(config(data.path())).await.unwrap();
        node.set_guests(ROLE, guests()).await.unwrap();
        let told = states(&node, gate, begun);
        assert!(told.ends_with(&after), "{told:?}");
        node.stop().await;
    }
}

/// The last state of a camera's main stream that would be found after a crash.
fn stored(node: &Node, camera: CameraId) -> Option<State> {
    let rows = node.store().ledger_load().unwrap();
    let last = rows.iter().rfind(|row| (row.camera, row.stream) == (camera, MAIN))?;
    Some(crate::rows::from_stored(last, node.store().role())?.state)
}

/// A data directory as it is at this moment, disk and all.
fn copy(from: &Path) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    let mut folders = vec![(from.to_owned(), to.path().to_owned())];
    while let Some((from, to)) = folders.pop() {
        std::fs::create_dir_all(&to).unwrap();
        for entry in std::fs::read_dir(&from).unwrap().map(Result::unwrap) {
            let place = to.join(entry.file_name());
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => folders.push((entry.path(), place)),
                kind if kind.is_file() => drop(std::fs::copy(entry.path(), place).unwrap()),
                _ => {}
            }
        }
    }
    to
}
