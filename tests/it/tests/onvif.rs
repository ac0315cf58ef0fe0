//! A camera that is known by its ONVIF address alone, from the search for it to what it noticed; and its device as clients
//! see it that are not ours.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use keepwatch_it::{Cameras, Movie, Node, Site, run, wait_until};
use keepwatch_model::{Span, TICKS_PER_SECOND};
use serde_json::{Value, json};

use crate::{reconfigure, shared};

/// How far a recorder may be behind its camera on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A site with the password of its cameras in a file.
fn site() -> Site {
    let site = Site::new().unwrap();
    std::fs::write(site.path().join("camera.password"), "correct horse\n").unwrap();
    site
}

/// What makes devices of cameras that ask for a login.
const DEVICE: [&str; 8] = [
    "--onvif",
    "127.0.0.1:0",
    "--discovery",
    "127.0.0.1:0",
    "--user",
    "viewer",
    "--password-file",
    "camera.password",
];

#[test]
fn a_camera_that_was_found_is_recorded_with_its_second_stream_and_all_it_notices() {
    let _machine = shared();
    let site = site();
    let options = [&DEVICE[..], &["--metadata", "--audio", "aac"]].concat();
    let cameras = Cameras::start_with(&site, 1, "127.0.0.1", &options).unwrap();

    let port = cameras.discovery()[0].port().to_string();
    let scan = ["scan", "--probe", "127.0.0.1", "--seconds", "2", "--json", "--port", &port];
    let found: Value = serde_json::from_str(&site.run(scan).unwrap().success().unwrap()).unwrap();
    let address = found["devices"][0]["address"].as_str().unwrap_or_else(|| panic!("{found}"));
    assert_eq!(address, cameras.devices()[0]);

    Node::configure(&site, "127.0.0.1:0", &[("gate", address.to_owned())]).unwrap();
    reconfigure(
        &site,
        "url = ",
        "sub = true\nmetadata = true\nuser = \"viewer\"\npassword_file = \"camera.password\"\nonvif = ",
    );
    let node = Node::start(&site).unwrap();
    let from = node.first_label("gate").unwrap();
    // Motion begins or ends every five seconds.
    let span = Span::new(from.plus(TICKS_PER_SECOND), from.plus(13 * TICKS_PER_SECOND)).unwrap();
    node.wait_durable("gate", span.to, PATIENCE).unwrap();
    let camera = wait_until("the sub stream", PATIENCE, || {
        let camera = node.camera("gate")?;
        let until = camera["streams"][1]["durable_until"].as_str().and_then(|until| until.parse().ok());
        Ok(until.is_some_and(|until: keepwatch_model::WallTime| until >= span.to).then_some(camera))
    })
    .unwrap_or_else(|error| panic!("{error:#}: {}", node.camera("gate").unwrap()));
    assert_eq!(camera["events"], "heard", "{camera}");
    let streams = &camera["streams"];
    assert_eq!(streams[0]["tracks"], json!(["h264", "aac", "metadata"]), "{camera}");
    assert_eq!(streams[1]["tracks"], json!(["h264", "aac"]), "metadata are recorded once: {camera}");
    assert_eq!((&streams[0]["left_out"], &streams[1]["left_out"]), (&json!([]), &json!([])), "{camera}");

    // Both streams number the same frames.
    let numbers = |stream: &str| {
        let file = node.export_stream(&site, "gate", stream, span, &format!("{stream}.mp4")).unwrap();
        let movie = Movie::read(&file).unwrap();
        assert_eq!(movie.codecs, ["h264", "aac"], "{stream}");
        let numbers = movie.numbers();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{stream}: {numbers:?}");
        assert!(numbers.len().abs_diff(300) <= 1, "{stream}: {} frames of 12 s", numbers.len());
        numbers[0]
    };
    let (main, sub) = (numbers("main"), numbers("sub"));
    assert!(main.abs_diff(sub) <= 25, "the streams are of one time: {main}, {sub}");
    for stream in ["main", "sub"] {
        let path = format!("/api/v1/cameras/gate/coverage?stream={stream}&from={}&to={}", span.from, span.to);
        let coverage = node.http().get(&path).unwrap();
        let items = coverage["items"].as_array().unwrap();
        assert!(items.iter().all(|item| item["state"] == "held"), "{stream}: {items:?}");
    }

    // What came by the pull point and in the metadata is told once.
    let motion = wait_until("two changes of motion", PATIENCE, || {
        let events = node.events()?;
        let codes = events.iter().filter_map(|event| event["code"].as_str());
        let motion: Vec<_> =
            codes.filter(|code| code.starts_with("camera_motion")).map(str::to_owned).collect();
        Ok((motion.len() >= 2).then_some(motion))
    })
    .unwrap();
    assert!(motion.windows(2).all(|pair| pair[0] != pair[1]), "a change was told twice: {motion:?}");
    node.end().unwrap();
}

/// A card of eleven minutes of an evening long ago, in three sections.
const CARD: [&str; 8] = [
    "--card",
    "card",
    "--card-prefill",
    "2026-11-01T22:00:00Z..2026-11-01T22:11:00Z",
    "--card-gap",
    "2026-11-01T22:02:00Z..2026-11-01T22:03:00Z",
    "--card-gap",
    "2026-11-01T22:05:00Z..2026-11-01T22:06:00Z",
];

#[test]
fn clients_that_are_not_ours_find_a_camera_and_the_footage_of_its_card_and_play_it() {
    let _machine = shared();
    let site = site();
    let cameras = Cameras::start_with(&site, 1, "127.0.0.1", &[DEVICE, CARD].concat()).unwrap();
    let device = &cameras.devices()[0];

    let probed = cameras.discovery()[0].to_string();
    let found = client("onveef_client.py", device, &["--probe", &probed]);
    assert_eq!(found["discovered"]["url"], json!(device), "{found}");
    assert_eq!(found["profiles"], json!(["main", "sub"]));
    assert_eq!(found["stream"], json!(cameras.url("cam1")));
    assert_eq!(found["messages"][0][0], "tns1:VideoSource/MotionAlarm", "{found}");
    assert_eq!(found["recordings"], json!(["card"]));
    assert!(found["summary"]["DataFrom"].as_str().unwrap().starts_with("2026-11-01T22:00:00"), "{found}");
    // Two tracks of three old sections that begin and end, and of one that has begun: four pages.
    assert!(found["events"].as_u64().unwrap() >= 14, "{found}");
    assert_eq!(found["refused"], true);

    let checked = client("onvif_schema.py", device, &[]);
    assert!(checked["calls"].as_array().unwrap().len() >= 35, "{checked}");
    assert_eq!(checked["replay"], found["replay"]);

    // ffmpeg knows nothing of ONVIF: it plays from the beginning, at the pace of the pictures.
    let address = found["replay"].as_str().unwrap().strip_prefix("rtsp://").unwrap();
    let file = site.path().join("card.mp4");
    let mut play = Command::new("ffmpeg");
    play.args(["-v", "error", "-nostdin", "-rtsp_transport", "tcp", "-i"]);
    play.arg(format!("rtsp://viewer:correct%20horse@{address}"));
    // Counted, as times are rounded where ffmpeg ends by them.
    play.args(["-frames:v", "100", "-map", "0:v", "-c", "copy"]).arg(&file);
    run(&mut play, PATIENCE).unwrap().success().unwrap();
    let movie = Movie::read(&file).unwrap();
    assert_eq!((movie.codecs.as_slice(), movie.shown), (&["h264".to_owned()][..], 100));
    let numbers = movie.numbers();
    assert!(numbers.len() == 100 && numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
}

/// The Python in whose environment the peers are installed.
fn python() -> PathBuf {
    let folder = std::env::var_os("KEEPWATCH_PEERS").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers"));
    folder.join("bin/python")
}

/// Runs a client and returns the JSON that it ends with.
fn client(script: &str, device: &str, options: &[&str]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(script);
    let mut command = Command::new(python());
    command.args(["-I", "-B"]).arg(script).args([device, "viewer", "correct horse"]).args(options);
    let found =
        run(&mut command, PATIENCE).expect("`cargo xtask test` installs the peers").success().unwrap();
    serde_json::from_str(found.lines().last().unwrap()).unwrap()
}
