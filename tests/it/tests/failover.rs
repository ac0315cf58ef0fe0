//! Recorders fail, and their standby has the footage: two real nodes, cameras that number their frames, and a kill.

use std::net::TcpListener;
use std::time::Duration;

use keepwatch_it::{Cameras, Movie, Node, Site, wait_until};
use keepwatch_model::{Span, TICKS_PER_SECOND, WallTime};
use serde_json::{Value, json};

use crate::{alone, reconfigure, shared};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const ROOT: &str = "/api/v1/failover";
/// How often the standby asks, and how many answers may fail: a failover begins after three of these.
const CHECK_MS: u64 = 250;
/// Frames from a kill to the first record of the standby: the failed checks, the time until a camera is dialled and gives
/// a key frame, what the primary had received and not on disk, and some for a busy machine.
const FRAMES_LOST_MAX: u64 = 25 * 2 + 2 * Cameras::GROUP;

/// A port that is free at this moment: a primary must be found again after a restart.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A recorder of all `cameras` that has the same address after each start.
pub(crate) fn primary(site: &Site, cameras: &Cameras, name: &str) -> (Node, String) {
    let address = format!("127.0.0.1:{}", free_port());
    let listed: Vec<(&str, String)> = cameras.ids().iter().map(|id| (id.as_str(), cameras.url(id))).collect();
    Node::configure(site, &address, &listed).unwrap();
    reconfigure(site, "name = \"it\"", &format!("name = \"{name}\""));
    (Node::start(site).unwrap(), address)
}

/// A node without cameras of its own that asks often.
fn standby(site: &Site) -> Node {
    standby_at(site, "south", "127.0.0.1:0")
}

/// The same with another name, at an address that it has again after a restart.
pub(crate) fn standby_at(site: &Site, name: &str, address: &str) -> Node {
    Node::configure(site, address, &[]).unwrap();
    let setup = format!("[standby]\ncheck_interval = \"{CHECK_MS} ms\"\n\n[node]\nname = \"{name}\"\n");
    reconfigure(site, "[node]\nname = \"it\"\n", &setup);
    Node::start(site).unwrap()
}

pub(crate) fn lists(standby: &Node) -> anyhow::Result<Value> {
    standby.http().get(ROOT)
}

/// Registers the recorder at `address`, and returns its role.
fn register(standby: &Node, address: &str) -> String {
    register_as(standby, address, false)
}

/// The same; `beside` another standby on purpose.
pub(crate) fn register_as(standby: &Node, address: &str, beside: bool) -> String {
    let item = json!({"address": address, "user": "admin", "password": Node::PASSWORD, "beside": beside});
    let answer =
        standby.http().request("POST", &format!("{ROOT}/primaries"), Some(&json!({"items": [item]})));
    let answer = answer.unwrap().success().unwrap();
    assert_eq!(answer["items"][0]["registered"], true, "{answer}");
    answer["items"][0]["role"].as_str().unwrap().to_owned()
}

/// Waits until the standby knows the configuration of its primary, and that it records.
pub(crate) fn wait_watched(standby: &Node, cameras: usize) {
    wait_until("a primary that is watched", PATIENCE, || {
        let lists = lists(standby)?;
        let primary = &lists["monitoring"][0];
        let known = primary["state"] == "normal"
            && primary["cameras"] == cameras
            && primary["missing"] == json!([])
            && primary["last_backup"]["cameras"] == cameras;
        Ok(known.then_some(()))
    })
    .unwrap();
}

/// Waits until footage of all cameras of its primary is on disk at the standby.
fn wait_covered(standby: &Node, cameras: usize) {
    wait_until("footage on the standby", PATIENCE, || {
        let lists = lists(standby)?;
        let covered = lists["failovers"][0]["recorded"] == cameras;
        Ok(covered.then_some(()))
    })
    .unwrap();
}

pub(crate) fn command(standby: &Node, role: &str, what: &str) -> (u16, String) {
    let answer = standby.http().request("POST", &format!("{ROOT}/primaries/{role}/{what}"), None).unwrap();
    (answer.status, answer.code())
}

/// The numbers of the frames that a node holds of a camera since `from`.
fn numbers(node: &Node, site: &Site, camera: &str, from: WallTime) -> Vec<u64> {
    let until = node.durable_until(camera).unwrap().unwrap();
    let span = Span::new(from.plus(-60 * TICKS_PER_SECOND), until.plus(1)).unwrap();
    let held = node.coverage(camera, Some(span)).unwrap();
    let held: Vec<Span> = held.iter().filter(|line| line.state == "held").map(|line| line.span).collect();
    let span = Span::new(held.first().unwrap().from, held.last().unwrap().to).unwrap();
    let name = format!("{camera}.mp4");
    Movie::read(&node.export(site, camera, span, &name).unwrap()).unwrap().numbers()
}

fn codes(node: &Node) -> Vec<String> {
    let events = node.events().unwrap();
    events.iter().map(|event| event["code"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_killed_primary_has_its_footage_on_the_standby_and_gets_its_role_back() {
    let _machine = alone();
    let (cameras_site, north_site, south_site) =
        (Site::new().unwrap(), Site::new().unwrap(), Site::new().unwrap());
    let cameras = Cameras::start(&cameras_site, 2, "127.0.0.1").unwrap();
    let (mut north, address) = primary(&north_site, &cameras, "north");
    let from = north.first_label("cam1").unwrap();
    north.first_label("cam2").unwrap();
    let south = standby(&south_site);
    let role = register(&south, &address);
    wait_watched(&south, 2);
    assert_eq!(south.camera("cam1").unwrap()["connection"], "unwanted", "it rests while the primary records");
    assert_eq!(command(&south, &role, "failover"), (409, "primary_normal".to_owned()));
    assert_eq!(command(&south, &role, "stop"), (409, "failover_not_running".to_owned()));

    north.program().kill().unwrap();
    drop(north);
    wait_covered(&south, 2);
    let lists_then = lists(&south).unwrap();
    assert_eq!(lists_then["monitoring"][0]["state"], "failed", "{lists_then}");
    assert_eq!(lists_then["failovers"][0]["cause"], "threshold", "{lists_then}");
    wait_until("a claim with footage of both", PATIENCE, || {
        Ok((lists(&south)?["failovers"][0]["claim"] == "held").then_some(()))
    })
    .unwrap();
    assert_eq!(lists(&south).unwrap()["failovers"][0]["lacks"], json!([]));
    let change = json!({"mode": "manual"});
    let path = format!("{ROOT}/primaries/{role}");
    let refused = south.http().request("PUT", &path, Some(&change)).unwrap();
    assert_eq!((refused.status, refused.code().as_str()), (409, "failover_running"));
    assert_eq!(south.http().request("DELETE", &path, None).unwrap().status, 409);
    assert_eq!(command(&south, &role, "failback"), (409, "primary_not_repaired".to_owned()));

    // It is found like any other footage, and says who recorded it.
    let first = south.first_label("cam1").unwrap();
    south.wait_durable("cam1", first.plus(4 * TICKS_PER_SECOND), PATIENCE).unwrap();
    let window = format!("from={first}&to={}", first.plus(2 * TICKS_PER_SECOND));
    let coverage = south.http().get(&format!("/api/v1/cameras/cam1/coverage?{window}")).unwrap();
    assert_eq!(coverage["items"][0]["origin"], "standby", "{coverage}");
    assert_eq!(coverage["items"][0]["replaces"], role, "{coverage}");

    // The primary returns, and gets its role back: both record until they hold the same second.
    let north = Node::start(&north_site).unwrap();
    for camera in ["cam1", "cam2"] {
        // Asked before, it would fail once more: it answers, and records nothing yet.
        let held = wait_until("footage of the primary", PATIENCE, || north.durable_until(camera)).unwrap();
        north.wait_durable(camera, held.plus(TICKS_PER_SECOND), PATIENCE).unwrap();
    }
    wait_until("a primary that is normal", PATIENCE, || {
        Ok((lists(&south)?["failovers"][0]["normal"] == true).then_some(()))
    })
    .unwrap();
    assert_eq!(command(&south, &role, "failback").0, 204);
    wait_until("the end of the failover", PATIENCE, || {
        Ok((lists(&south)?["failovers"] == json!([])).then_some(()))
    })
    .unwrap();
    for camera in ["cam1", "cam2"] {
        wait_until(
            "rest",
            PATIENCE,
            || Ok((south.camera(camera)?["connection"] == "unwanted").then_some(())),
        )
        .unwrap();
        let until = south.durable_until(camera).unwrap().unwrap();
        north.wait_durable(camera, until.plus(2 * TICKS_PER_SECOND), PATIENCE).unwrap();
        let (ours, theirs) =
            (numbers(&north, &north_site, camera, from), numbers(&south, &south_site, camera, from));
        let (first, last) = (theirs[0], theirs[theirs.len() - 1]);
        assert!(theirs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{camera}: a hole on the standby");
        let before = ours.iter().filter(|number| **number < first).max().unwrap();
        let lost = first - before - 1;
        assert!(lost <= FRAMES_LOST_MAX, "{camera}: {lost} frames are on neither");
        let returned = ours.iter().find(|number| **number > before + 1 && **number >= first).unwrap();
        let overlap = last.checked_sub(*returned);
        assert!(overlap.is_some_and(|overlap| overlap >= 20), "{camera}: {returned} to {last} overlap");
    }

    let reports = south.http().get(&format!("{ROOT}/reports")).unwrap();
    let report = &reports["items"][0];
    assert_eq!((&report["cause"], &report["why"]), (&json!("threshold"), &json!("failed_back")), "{reports}");
    assert_eq!(report["cameras"].as_array().unwrap().len(), 2, "{reports}");
    assert!(report["cameras"][0]["gap_ms"].as_u64().is_some_and(|gap| gap < 4_000), "{reports}");
    // By the primary's own books: it fetches what it missed, all but what neither has.
    wait_until("an account of what the primary missed", 2 * PATIENCE, || {
        let reports = south.http().get(&format!("{ROOT}/reports"))?;
        let cameras = reports["items"][0]["cameras"].as_array().cloned().unwrap_or_default();
        let fetched = |camera: &Value| {
            let (missed, left) = (camera["missed_ms"].as_u64(), camera["left_ms"].as_u64());
            missed
                .zip(left)
                .is_some_and(|(missed, left)| missed > 3_000 && left < 4_000 && left + 1_000 < missed)
        };
        Ok(cameras.iter().all(fetched).then_some(()))
    })
    .unwrap();
    let codes = codes(&south);
    for code in [
        "primary_registered",
        "setup_backed_up",
        "primary_failed",
        "failover_started",
        "primary_returned",
        "failover_ended",
    ] {
        assert!(codes.iter().any(|told| told == code), "{code} is not among {codes:?}");
    }
    north.end().unwrap();
    south.end().unwrap();
}

/// Asks the recorder at `address` to take the role of another one.
fn replace(standby: &Node, role: &str, body: &Value) -> keepwatch_it::Answer {
    standby.http().request("POST", &format!("{ROOT}/primaries/{role}/replace"), Some(body)).unwrap()
}

#[test]
fn a_new_recorder_takes_the_role_of_a_dead_one_with_its_footage_and_the_old_one_stays_out() {
    let _machine = alone();
    let (cameras_site, north_site, south_site, west_site) =
        (Site::new().unwrap(), Site::new().unwrap(), Site::new().unwrap(), Site::new().unwrap());
    let cameras = Cameras::start(&cameras_site, 2, "127.0.0.1").unwrap();
    let (mut north, north_address) = primary(&north_site, &cameras, "north");
    north.first_label("cam1").unwrap();
    north.first_label("cam2").unwrap();
    let south = standby(&south_site);
    let role = register(&south, &north_address);
    wait_watched(&south, 2);
    let west_port = free_port();
    let west_address = format!("127.0.0.1:{west_port}");
    Node::configure(&west_site, &west_address, &[]).unwrap();
    reconfigure(&west_site, "name = \"it\"", "name = \"west\"");
    let mut west = Node::start(&west_site).unwrap();
    let by = |password: &str| json!({"address": west_address, "user": "admin", "password": password});
    let refused = replace(&south, &role, &by(Node::PASSWORD));
    assert_eq!((refused.status, refused.code().as_str()), (409, "primary_normal"));

    north.program().kill().unwrap();
    drop(north);
    wait_covered(&south, 2);
    let from = south.first_label("cam1").unwrap();

    // It is found, and what is refused leaves the failover as it is.
    let wish = json!({"addresses": ["127.0.0.1"], "port": west_port, "seconds": 10});
    let scan =
        south.http().request("POST", &format!("{ROOT}/scans"), Some(&wish)).unwrap().success().unwrap();
    let scan = format!("{ROOT}/scans/{}", scan["id"].as_str().unwrap());
    let found = wait_until("the end of the scan", PATIENCE, || {
        let scan = south.http().get(&scan)?;
        Ok((scan["running"] == false).then_some(scan))
    })
    .unwrap();
    let item = &found["items"][0];
    assert_eq!((&item["name"], &item["registered"]), (&json!("west"), &json!(false)), "{found}");
    assert_eq!(item["address"], west_address, "{found}");
    // Each recorder plays one role.
    let other = register(&south, &west_address);
    let refused = replace(&south, &role, &by(Node::PASSWORD));
    assert_eq!((refused.status, refused.code().as_str()), (409, "watched_already"));
    let path = format!("{ROOT}/primaries/{other}");
    assert_eq!(south.http().request("DELETE", &path, None).unwrap().status, 204);
    let left = || Ok((west.http().get("/api/v1/standbys")?["items"] == json!([])).then_some(()));
    wait_until("the farewell", PATIENCE, left).unwrap();
    let refused = replace(&south, &role, &by("not it"));
    assert_eq!((refused.status, refused.code().as_str()), (409, "login_refused"));
    let mut unknown = by(Node::PASSWORD);
    unknown["backup"] = json!(4711);
    let refused = replace(&south, &role, &unknown);
    assert_eq!((refused.status, refused.code().as_str()), (409, "backup_unknown"));
    assert_eq!(lists(&south).unwrap()["failovers"][0]["recorded"], 2);
    assert_eq!(west.http().get("/api/v1/standbys").unwrap()["items"], json!([]));

    // It takes role and cameras, and the failover ends camera by camera.
    let replaced = replace(&south, &role, &by(Node::PASSWORD)).success().unwrap();
    assert_eq!((&replaced["epoch"], &replaced["cameras"]), (&json!(2), &json!(2)), "{replaced}");
    // Its users are those of the one that it replaces: everybody logs in again.
    assert_eq!(west.http().request("GET", "/api/v1/standbys", None).unwrap().status, 401);
    west.log_in().unwrap();
    wait_until("the end of the failover", PATIENCE, || {
        Ok((lists(&south)?["failovers"] == json!([])).then_some(()))
    })
    .unwrap();
    let reports = south.http().get(&format!("{ROOT}/reports")).unwrap();
    assert_eq!(reports["items"][0]["why"], "replaced", "{reports}");
    let shown = lists(&south).unwrap();
    let watched = &shown["monitoring"][0];
    assert_eq!((&watched["name"], &watched["epoch"]), (&json!("west"), &json!(2)), "{shown}");
    assert_eq!((&watched["role"], &watched["address"]), (&json!(role), &json!(west_address)), "{shown}");

    // What the standby recorded comes to it: none is missing, none is there twice.
    for camera in ["cam1", "cam2"] {
        let until = south.durable_until(camera).unwrap().unwrap();
        west.wait_durable(camera, until.plus(2 * TICKS_PER_SECOND), PATIENCE).unwrap();
        let theirs = numbers(&south, &south_site, camera, from);
        assert!(theirs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{camera}: a hole on the standby");
        let whole = wait_until("footage that came back", PATIENCE, || {
            let window = Span::new(from.plus(-30 * TICKS_PER_SECOND), until).unwrap();
            let lines = west.coverage(camera, Some(window))?;
            let held = lines.iter().skip_while(|line| line.state != "held");
            let whole =
                lines.len() > 1 && held.clone().count() > 0 && held.clone().all(|line| line.state == "held");
            let first = held.map(|line| line.span.from).next();
            Ok(first.filter(|first| whole && first.ticks_since(from) < TICKS_PER_SECOND))
        });
        let lines = west.coverage(camera, None).unwrap();
        assert!(whole.is_ok(), "{camera}: {lines:#?}");
        let ours = numbers(&west, &west_site, camera, from);
        assert!(ours.windows(2).all(|pair| pair[1] == pair[0] + 1), "{camera}: {ours:?}");
        assert_eq!(ours[0], theirs[0], "{camera}: the first frame of the failover");
        assert!(ours.last() > theirs.last(), "{camera}: it goes on");
        let before = lines.iter().find(|line| line.state == "gap").unwrap();
        assert_eq!(before.reason.as_deref(), Some("recorder_down"), "{camera}: {lines:?}");
    }

    // The old one returns: it records, and is told that it was replaced. It gets nothing back, also when it is asked for.
    let north = Node::start(&north_site).unwrap();
    wait_until("the news", PATIENCE, || {
        Ok(codes(&north).contains(&"role_superseded".to_owned()).then_some(()))
    })
    .unwrap();
    let events = north.events().unwrap();
    let told = events.iter().find(|event| event["code"] == "role_superseded").unwrap();
    assert!(told["text"].as_str().is_some_and(|text| text.contains("west")), "{told}");
    assert_eq!(north.http().get("/api/v1/standbys").unwrap()["items"], json!([]));
    north.first_label("cam1").unwrap();
    let item = json!({"address": north_address, "user": "admin", "password": Node::PASSWORD});
    let again = south.http().request("POST", &format!("{ROOT}/primaries"), Some(&json!({"items": [item]})));
    let again = again.unwrap().success().unwrap();
    assert_eq!(again["items"][0]["code"], "superseded", "{again}");
    let shown = lists(&south).unwrap();
    let watched = &shown["monitoring"][0];
    assert_eq!((&watched["name"], &watched["epoch"]), (&json!("west"), &json!(2)), "{shown}");
    assert_eq!((&watched["state"], &shown["failovers"]), (&json!("normal"), &json!([])), "{shown}");
    let codes = codes(&south);
    assert!(codes.contains(&"primary_replaced".to_owned()), "{codes:?}");
    for node in [north, south, west] {
        node.end().unwrap();
    }
}

#[test]
fn a_standby_that_is_restarted_goes_on_with_its_failover() {
    let _machine = shared();
    let (cameras_site, north_site, south_site) =
        (Site::new().unwrap(), Site::new().unwrap(), Site::new().unwrap());
    let cameras = Cameras::start(&cameras_site, 1, "127.0.0.1").unwrap();
    let (mut north, address) = primary(&north_site, &cameras, "north");
    north.first_label("cam1").unwrap();
    let mut south = standby(&south_site);
    let role = register(&south, &address);
    wait_watched(&south, 1);
    north.program().kill().unwrap();
    wait_covered(&south, 1);
    south.program().kill().unwrap();
    drop(south);
    let south = Node::start(&south_site).unwrap();
    wait_covered(&south, 1);
    let shown = lists(&south).unwrap();
    assert_eq!(shown["failovers"][0]["cause"], "restart", "{shown}");
    let reports = south.http().get(&format!("{ROOT}/reports")).unwrap();
    assert_eq!(reports["items"].as_array().unwrap().len(), 1, "it is still the same failover: {reports}");
    // Stop ends it at once, and leaves the next start to an operator.
    assert_eq!(command(&south, &role, "stop").0, 204);
    let shown = lists(&south).unwrap();
    assert_eq!(
        (&shown["failovers"], &shown["monitoring"][0]["mode"]),
        (&json!([]), &json!("manual")),
        "{shown}"
    );
    south.end().unwrap();
}

#[test]
fn a_recorder_that_cannot_be_registered_says_why_and_the_others_are() {
    let _machine = shared();
    let (cameras_site, north_site, south_site, west_site) =
        (Site::new().unwrap(), Site::new().unwrap(), Site::new().unwrap(), Site::new().unwrap());
    let cameras = Cameras::start(&cameras_site, 1, "127.0.0.1").unwrap();
    let (north, address) = primary(&north_site, &cameras, "north");
    let (south, west) = (standby(&south_site), standby(&west_site));
    let nobody = format!("127.0.0.1:{}", free_port());
    let login =
        |address: &str, password: &str| json!({"address": address, "user": "admin", "password": password});
    let ask = |node: &Node, items: Value| {
        let body = json!({"items": items});
        node.http().request("POST", &format!("{ROOT}/primaries"), Some(&body)).unwrap()
    };
    let items = json!([login(&nobody, Node::PASSWORD), login(&address, Node::PASSWORD)]);
    let answer = ask(&south, items).success().unwrap();
    assert_eq!(answer["items"][0]["code"], "unreachable", "{answer}");
    assert_eq!(answer["items"][1]["registered"], true, "{answer}");
    let refused = ask(&west, json!([login(&address, "not it")])).success().unwrap();
    assert_eq!(refused["items"][0]["code"], "login_refused", "{refused}");
    let refused = ask(&west, json!([login(&address, Node::PASSWORD)])).success().unwrap();
    assert_eq!(refused["items"][0]["code"], "registered_elsewhere", "{refused}");
    let mut beside = login(&address, Node::PASSWORD);
    beside["beside"] = json!(true);
    assert_eq!(ask(&west, json!([beside])).success().unwrap()["items"][0]["registered"], true);
    assert_eq!(ask(&west, json!([])).status, 422);
    assert_eq!(ask(&west, json!([{"address": address}])).status, 422);
    // Whoever is taken off the list is asked no more.
    let role = lists(&west).unwrap()["monitoring"][0]["role"].as_str().unwrap().to_owned();
    assert_eq!(west.http().request("DELETE", &format!("{ROOT}/primaries/{role}"), None).unwrap().status, 204);
    assert_eq!(lists(&west).unwrap()["monitoring"], json!([]));
    for node in [north, south, west] {
        node.end().unwrap();
    }
}
