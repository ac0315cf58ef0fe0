//! The faults whose effect depends on the coding or on how many tracks there are: H.264, H.265 and Motion JPEG, each with
//! sound, metadata and a sub stream beside it, in one recorder.

use std::collections::BTreeMap;
use std::time::Instant;

use keepwatch_it::Movie;
use keepwatch_model::TICKS_PER_SECOND;
use serde_json::{Value, json};

use super::{Case, Missing, Observed, Trial, Window, case, judge, over_udp};
use crate::shared;

/// The codings of the main streams, in turn.
const CODECS: [&str; 3] = ["h264", "h265", "jpeg"];

/// What the cameras send.
const OPTIONS: [&str; 5] = ["--codec", "h264,h265,jpeg", "--audio", "aac", "--metadata"];

/// The sub stream is dialled beside the main one, and has begun by then.
const WINDOW: Window = Window { from: 2, to: 24 };

/// Of sound, samples in a packet and in a second.
const SOUND: (i64, i64) = (1_024, 16_000);

/// Of each fault one for each coding, and at the end a witness of each.
fn cases() -> Vec<Case> {
    use Missing::{NotGiven, Nothing, Some};
    let one = |_codec: &str| {
        [
            over_udp([json!({"fault": "udp_loss", "every": 50})], Some(&["packets_lost"])),
            over_udp([json!({"fault": "udp_reorder", "distance": 3})], Nothing),
            case([json!({"fault": "parameters", "set": "alternate"})], Nothing),
            case([json!({"fault": "timestamp_jump", "milliseconds": 149 * 3_600_000_i64})], Nothing),
            case([json!({"fault": "timestamp_jump", "milliseconds": -60_000})], Nothing),
            case([json!({"fault": "drop"})], NotGiven(&["connection_lost"])),
            case([json!({"fault": "stall"})], Some(&["camera_silent", "connection_lost"])),
            case([json!({"fault": "clock_step", "milliseconds": -3_600_000})], Nothing),
            case([], Nothing),
        ]
    };
    let [first, second, third] = CODECS.map(one);
    first
        .into_iter()
        .zip(second)
        .zip(third)
        .flat_map(|((first, second), third)| [first, second, third])
        .collect()
}

/// The tracks are those that were asked for, and the sound is as long as the pictures where nothing is missing.
fn judge_beside(camera: &Observed<'_>, codec: &str) -> Result<(), String> {
    let shown = camera.trial.node.camera(camera.id).unwrap();
    let tracks = |stream: usize| &shown["streams"][stream]["tracks"];
    if *tracks(0) != json!([codec, "aac", "metadata"]) || *tracks(1) != json!(["h264", "aac"]) {
        return Err(format!("other tracks: {shown}"));
    }
    if !matches!(camera.case.missing, Missing::Nothing) {
        return Ok(());
    }
    for stream in ["main", "sub"] {
        let (samples, rate) = SOUND;
        let packets = i64::try_from(Movie::sound_packets(&camera.export(stream)).unwrap()).unwrap();
        let expected = camera.span.ticks() / TICKS_PER_SECOND * rate / samples;
        // A packet that is sent on its own may miss the record that its picture opens, at either end of a run.
        if (packets - expected).abs() > 4 {
            return Err(format!("{stream}: {packets} packets of sound, not {expected}"));
        }
    }
    Ok(())
}

/// What the store holds of a camera whose pictures show their number to the eye only.
fn judge_by_eye(camera: &Observed<'_>, counted: &Value) -> Result<(), String> {
    let frames = &counted["frames"];
    if [&frames["duplicates"], &frames["foreign"], &frames["unstamped"]].iter().any(|count| **count != 0) {
        return Err(format!("frames that should not be there: {counted}"));
    }
    let ranges = frames["ranges"].as_array().ok_or("no ranges")?;
    let range = |range: &Value| Some(range[0].as_u64()?..=range[1].as_u64()?);
    let numbers: Vec<u64> = ranges.iter().filter_map(range).flatten().collect();
    judge(camera.case, &numbers, &camera.coverage("main"), &camera.connections("main"))
}

#[test]
fn faults_cost_the_same_in_every_coding_and_beside_other_tracks() {
    let _machine = shared();
    let started = Instant::now();
    let settings = |url: &str| format!("sub_url = \"{url}/sub\"\nmetadata = true\n");
    let trial = Trial::run(cases(), &OPTIONS, settings, WINDOW);
    let mut wrong = Vec::new();
    for (camera, codec) in trial.observed().zip(CODECS.into_iter().cycle()) {
        let main = if codec == "jpeg" { camera.wait("main") } else { camera.judge("main") };
        let judged = [main, camera.judge("sub"), judge_beside(&camera, codec)];
        wrong.extend(
            judged
                .into_iter()
                .filter_map(Result::err)
                .map(|what| camera.describe(&format!("{codec} {what}"))),
        );
    }
    // The pictures are decoded beside the recorder, which goes on.
    let counted = trial.site.run(["lab", "count-frames", "--data", "data"]).unwrap().success().unwrap();
    let counted: BTreeMap<String, Value> = counted
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .map(|line: Value| (line["camera"].as_str().unwrap().to_owned(), line))
        .collect();
    for (camera, _) in trial.observed().zip(CODECS.into_iter().cycle()).filter(|(_, codec)| *codec == "jpeg")
    {
        let judged = judge_by_eye(&camera, &counted[camera.id]);
        wrong.extend(judged.err().map(|what| camera.describe(&format!("jpeg {what}"))));
    }
    trial.conclude(&wrong, started);
}
