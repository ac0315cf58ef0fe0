//! Recording on alarm: what was before an alarm, the alarm, and what was after it are on disk to the frame, and the rest is
//! accounted for as time without one.

use std::time::{Duration, SystemTime};

use keepwatch_it::{Cameras, CoverageLine, Movie, Node, Picture, Site, wait_until};
use keepwatch_model::{Span, TICKS_PER_SECOND, WallTime};
use serde_json::{Value, json};

use crate::{reconfigure, shared};

const PATIENCE: Duration = Duration::from_secs(60);
/// Of the configuration below.
const PRE_TICKS: i64 = 4 * TICKS_PER_SECOND;
/// Of the configuration below.
const POST_TICKS: i64 = 5 * TICKS_PER_SECOND;
/// How late a trigger is heard, and its end told, on a busy machine: a document of metadata is sent each second, and sockets are
/// read five times in one.
const LATE_TICKS: i64 = 3 * TICKS_PER_SECOND;
/// A record, which is the least that is written.
const RECORD_TICKS: i64 = TICKS_PER_SECOND;

fn now() -> WallTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    WallTime::from_unix_nanos(i128::try_from(since.as_nanos()).unwrap())
}

/// Lets so much time pass: the test is about what is recorded in it, or is not.
fn pass(ticks: i64) {
    let until = now().plus(ticks);
    wait_until("time to pass", PATIENCE, || Ok((now() >= until).then_some(()))).unwrap();
}

/// A node whose cameras are recorded on alarm: `cam1` by its metadata, `cam2` by its events, `cam3` by calls.
struct Place {
    site: Site,
    cameras: Cameras,
    node: Node,
}

const IDS: [&str; 3] = ["cam1", "cam2", "cam3"];

impl Place {
    fn new() -> Self {
        let site = Site::new().unwrap();
        let cameras =
            Cameras::start_with(&site, 3, "127.0.0.1", &["--metadata", "--onvif", "127.0.0.1:0"]).unwrap();
        cameras.command(&json!({"camera": "*", "fault": "motion", "motion": "off"})).unwrap();
        let listed =
            [("cam1", cameras.url("cam1")), ("cam2", "onvif".to_owned()), ("cam3", cameras.url("cam3"))];
        Node::configure(&site, "127.0.0.1:0", &listed).unwrap();
        let on_alarm = |more: &str| {
            format!("recording = \"alarm\"\npre_alarm = \"4 s\"\npost_alarm = \"5 s\"\n{more}\n")
        };
        reconfigure(&site, "id = \"cam1\"\n", &format!("id = \"cam1\"\nmetadata = true\n{}", on_alarm("")));
        reconfigure(&site, "url = \"onvif\"", &format!("onvif = \"{}\"", cameras.devices()[1]));
        reconfigure(
            &site,
            "id = \"cam2\"\n",
            &format!("id = \"cam2\"\n{}", on_alarm("alarm_on = [\"motion\"]")),
        );
        reconfigure(
            &site,
            "id = \"cam3\"\n",
            &format!("id = \"cam3\"\n{}", on_alarm("alarm_on = [\"api\"]")),
        );
        let node = Node::start(&site).unwrap();
        Self { site, cameras, node }
    }

    fn alarm(&self, id: &str) -> Value {
        self.node.camera(id).unwrap()["alarm"].clone()
    }

    /// Waits until a camera waits for an alarm, with more in memory than is recorded of the time before.
    fn wait_armed(&self, id: &str) {
        let armed = wait_until(&format!("{id} to wait for an alarm"), PATIENCE, || {
            let camera = self.node.camera(id)?;
            let held = camera["alarm"]["held_ms"].as_u64().unwrap_or(0);
            let waits = camera["alarm"]["state"] == "waiting" && camera["connection"] == "armed";
            Ok((waits && held >= 5_500).then_some(()))
        });
        armed.unwrap_or_else(|error| panic!("{error:#}: {}", self.node.camera(id).unwrap()));
    }

    fn wait_state(&self, id: &str, state: &str) -> Value {
        let reached = wait_until(&format!("{id} to be {state}"), PATIENCE, || {
            let alarm = self.alarm(id);
            Ok((alarm["state"] == state).then_some(alarm))
        });
        reached.unwrap_or_else(|error| panic!("{error:#}: {}", self.node.camera(id).unwrap()))
    }

    fn motion(&self, id: &str, motion: &str) {
        self.cameras.command(&json!({"camera": id, "fault": "motion", "motion": motion})).unwrap();
    }

    fn raise(&self, id: &str, seconds: u64) -> keepwatch_it::Answer {
        let body = json!({"note": "a test", "seconds": seconds});
        self.node.http().request("POST", &format!("/api/v1/cameras/{id}/alarm"), Some(&body)).unwrap()
    }

    /// What is known of a camera from `from` on, when all of it is settled.
    fn coverage(&self, id: &str, from: WallTime) -> Vec<CoverageLine> {
        let span = Span::new(from, now()).unwrap();
        wait_until("all to be settled", PATIENCE, || {
            let lines = self.node.coverage(id, Some(span))?;
            Ok((lines.iter().all(|line| line.state != "unknown")).then_some(lines))
        })
        .unwrap()
    }

    /// The pictures of a held span.
    fn pictures(&self, id: &str, span: Span) -> Vec<Picture> {
        let file = self.node.export(&self.site, id, span, &format!("{id}.mp4")).unwrap();
        Movie::pictures(&file).unwrap()
    }
}

fn states(lines: &[CoverageLine]) -> Vec<&str> {
    lines.iter().map(|line| line.state.as_str()).collect()
}

/// Checks that `held` has every frame, once, of an alarm that was triggered at `triggered` and told to be over at `over`.
fn check(place: &Place, id: &str, held: Span, triggered: WallTime, over: WallTime) {
    let pictures = place.pictures(id, held);
    let numbers: Vec<u64> = pictures.iter().filter_map(|picture| picture.number).collect();
    assert_eq!(numbers.len(), pictures.len(), "{id}: each has a number");
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "{id}: one is missing or twice: {numbers:?}"
    );
    let seconds = held.ticks() * Cameras::RATE / TICKS_PER_SECOND;
    assert!(
        numbers.len().abs_diff(usize::try_from(seconds).unwrap()) <= 1,
        "{id}: {held:?}: {}",
        numbers.len()
    );

    let first = pictures.first().and_then(|picture| picture.capture).unwrap();
    let last = pictures.last().and_then(|picture| picture.capture).unwrap();
    let ahead = triggered.ticks_since(first);
    // From the key frame before on, and a record may begin with the one before that.
    let group = i64::try_from(Cameras::GROUP).unwrap() * TICKS_PER_SECOND / Cameras::RATE;
    // A call is heard at once.
    let late = if id == "cam3" { TICKS_PER_SECOND / 2 } else { LATE_TICKS };
    assert!(ahead >= PRE_TICKS - late, "{id}: only {ahead} ticks before the alarm");
    assert!(ahead <= PRE_TICKS + group + RECORD_TICKS, "{id}: {ahead} ticks before the alarm");
    assert!(pictures.first().is_some_and(|picture| !picture.hidden), "{id}: it begins with a key frame");
    let behind = last.ticks_since(over);
    assert!(behind >= POST_TICKS - TICKS_PER_SECOND / 5, "{id}: only {behind} ticks behind the alarm");
    assert!(behind <= POST_TICKS + LATE_TICKS + 2 * RECORD_TICKS, "{id}: {behind} ticks behind the alarm");
}

#[test]
fn an_alarm_is_recorded_with_what_was_before_and_after_it_and_nothing_else_is() {
    let _machine = shared();
    let place = Place::new();
    IDS.iter().for_each(|id| place.wait_armed(id));
    let waiting = now();
    // Time without an alarm, longer than what is recorded of it.
    pass(8 * TICKS_PER_SECOND);

    let triggered = now();
    place.motion("cam1", "on");
    place.motion("cam2", "on");
    let answer = place.raise("cam3", 3);
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    for (id, cause) in [("cam1", "MotionAlarm"), ("cam2", "MotionAlarm"), ("cam3", "admin raised it: a test")]
    {
        let alarm = place.wait_state(id, "recording");
        assert!(alarm["cause"].as_str().is_some_and(|words| words.contains(cause)), "{id}: {alarm}");
        assert_eq!(alarm["kept_by"], alarm["cause"], "{id}: it lasts");
    }
    let camera = place.node.camera("cam1").unwrap();
    assert_eq!(
        (&camera["alarm"]["triggers"], &place.alarm("cam3")["triggers"]),
        (&json!("heard"), &Value::Null)
    );
    pass(3 * TICKS_PER_SECOND - now().ticks_since(triggered).min(3 * TICKS_PER_SECOND));
    let over = triggered.plus(3 * TICKS_PER_SECOND).max(now());
    place.motion("cam1", "off");
    place.motion("cam2", "off");
    IDS.iter().for_each(|id| place.wait_armed(id));

    for id in IDS {
        let lines = place.coverage(id, waiting);
        assert_eq!(states(&lines), ["no_alarm", "held", "no_alarm"], "{id}: {lines:?}");
        check(
            &place,
            id,
            lines[1].span,
            triggered,
            if id == "cam3" { triggered.plus(3 * TICKS_PER_SECOND) } else { over },
        );
    }
    let health = place.node.http().get("/api/v1/health").unwrap();
    assert_eq!(health["status"], "ok", "cameras that wait are well");
    let events = place.node.events().unwrap();
    let of = |code: &str, id: &str| {
        let is = |event: &&Value| event["code"] == code && event["subject"]["id"] == id;
        events.iter().filter(is).count()
    };
    for id in IDS {
        // The start, and the alarm.
        assert_eq!((of("alarm_began", id), of("alarm_ended", id)), (2, 2), "{id}: {events:?}");
    }

    // The next one begins while what waits is younger than what is recorded of the time before: it joins the last.
    let before = now();
    place.raise("cam3", 0);
    place.wait_state("cam3", "recording");
    place.wait_state("cam3", "waiting");
    pass(TICKS_PER_SECOND);
    let answer = place.raise("cam3", 0);
    assert_eq!(answer.status, 200);
    place.wait_armed("cam3");
    let lines = place.coverage("cam3", before.plus(-2 * PRE_TICKS));
    let joined: Vec<_> = lines.iter().filter(|line| line.state == "held" && line.span.to > before).collect();
    assert_eq!(joined.len(), 1, "two alarms with no time between: {lines:?}");
    let numbers: Vec<_> =
        place.pictures("cam3", joined[0].span).iter().filter_map(|picture| picture.number).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "one is missing or twice: {numbers:?}");

    // What no camera takes.
    assert_eq!(place.raise("cam2", 0).status, 409, "its alarm_on does not name the API");
    assert_eq!(place.raise("cam3", 86_401).status, 400);
    let Place { site, node, cameras } = place;
    node.end().unwrap();
    drop(cameras);
    let counted = site.run(["lab", "count-frames", "--data", "data"]).unwrap().success().unwrap();
    let counted: Vec<Value> = counted.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(counted.len(), IDS.len());
    assert!(counted.iter().all(|camera| camera["frames"]["duplicates"] == 0), "{counted:?}");
}

#[test]
fn a_camera_whose_triggers_are_not_heard_is_recorded_and_one_that_is_away_is_missed() {
    let _machine = shared();
    let place = Place::new();
    IDS.iter().for_each(|id| place.wait_armed(id));
    let cut = now();
    // Its streams, not the devices: events of cam2 are heard, and there is nothing to record.
    place.cameras.command(&json!({"camera": "*", "fault": "refuse"})).unwrap();
    for id in IDS {
        wait_until(&format!("{id} to be missed"), PATIENCE, || {
            Ok((place.node.camera(id)?["connection"] == "waiting").then_some(()))
        })
        .unwrap();
    }
    assert_eq!(place.node.http().get("/api/v1/health").unwrap()["status"], "degraded");
    assert_eq!(place.alarm("cam2")["state"], "waiting", "its events are heard all the same");
    // Metadata come with the pictures.
    let alarm = place.wait_state("cam1", "recording");
    assert_eq!(
        (&alarm["triggers"], &alarm["cause"]),
        (&json!("unheard"), &json!("its triggers cannot be heard"))
    );
    pass(2 * TICKS_PER_SECOND);
    place.cameras.command(&json!({"camera": "*", "fault": "refuse", "on": false})).unwrap();
    IDS.iter().for_each(|id| place.wait_armed(id));
    for id in ["cam2", "cam3"] {
        let lines = place.coverage(id, cut.plus(-TICKS_PER_SECOND));
        let told = states(&lines);
        assert_eq!((told.first(), told.last()), (Some(&"no_alarm"), Some(&"no_alarm")), "{id}: {lines:?}");
        assert!(told[1..told.len() - 1].iter().all(|state| *state == "gap"), "{id}: {lines:?}");
    }
    // What comes after the silence is recorded: nobody knows what began in it.
    let lines = place.coverage("cam1", cut.plus(-TICKS_PER_SECOND));
    let told: Vec<&str> = states(&lines);
    let last = told.iter().rposition(|state| *state == "held").unwrap();
    assert_eq!(told[last - 1], "gap", "{lines:?}");
    assert!(lines[last].span.ticks() >= POST_TICKS - TICKS_PER_SECOND / 5, "{lines:?}");
    place.node.end().unwrap();
}
