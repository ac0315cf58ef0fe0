//! A cable that is cut: nobody closes the connection, and only time tells.

use std::time::{Duration, Instant};

use keepwatch_it::{Cameras, Movie, Scene, namespaces, wait_until};
use keepwatch_model::{Span, TICKS_PER_SECOND};

use crate::shared;

/// A session whose footage does not reach the disk for 12 s ends; its last record is closed 1.5 s after the cable was cut.
const SILENT_PEER: Duration = Duration::from_secs(16);

#[test]
fn a_camera_that_loses_its_power_is_hung_up_and_the_gap_is_as_long_as_the_frames_missing_in_it() {
    if !namespaces() {
        return;
    }
    let _machine = shared();
    let (network, Scene { site, cameras: _cameras, node, from }) = Scene::start_apart("127.0.0.1:0").unwrap();
    node.wait_durable("cam1", from.plus(3 * TICKS_PER_SECOND), Duration::from_secs(15)).unwrap();

    network.cut().unwrap();
    let cut = Instant::now();
    wait_until("end of the session", SILENT_PEER + Duration::from_secs(5), || {
        Ok((node.camera("cam1")?["recording"] == false).then_some(()))
    })
    .unwrap();
    assert!(cut.elapsed() < SILENT_PEER, "hung up after {:?}", cut.elapsed());
    // The frames on their way when the cable was cut are the last ones held.
    let held_until = node.durable_until("cam1").unwrap().unwrap();
    // Long enough for a dial to fail, so that there is more than one reason.
    wait_until("a dial that failed", Duration::from_secs(20), || {
        let lines = node.coverage("cam1", None)?;
        let after = lines.iter().skip_while(|line| line.reason.as_deref() != Some("camera_silent"));
        let failed = after.into_iter().any(|line| line.reason.as_deref() == Some("connection_lost"));
        Ok(failed.then_some(()))
    })
    .unwrap();
    network.mend().unwrap();
    node.wait_durable("cam1", held_until.plus(1), Duration::from_secs(30)).unwrap();
    let back = node.durable_until("cam1").unwrap().unwrap();
    let span = Span::new(from, back.plus(3 * TICKS_PER_SECOND)).unwrap();
    node.wait_durable("cam1", span.to, Duration::from_secs(15)).unwrap();

    let lines = node.coverage("cam1", Some(span)).unwrap();
    let states: Vec<_> = lines.iter().map(|line| (line.state.as_str(), line.reason.as_deref())).collect();
    let silent = ("gap", Some("camera_silent"));
    let lost = ("gap", Some("connection_lost"));
    assert_eq!(states, [("held", None), silent, lost, ("held", None)], "{lines:?}");
    assert_eq!(lines[0].span.to, held_until);
    let numbers = Movie::read(&node.export(&site, "cam1", span, "cam1.mp4").unwrap()).unwrap().numbers();
    let holes: Vec<_> = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect();
    assert_eq!(holes.len(), 1, "{holes:?}");
    let missing = i64::try_from(holes[0][1] - holes[0][0] - 1).unwrap();
    let frame = TICKS_PER_SECOND / Cameras::RATE;
    let gap = lines[1].span.ticks() + lines[2].span.ticks();
    assert!((gap - missing * frame).abs() < frame, "the gap has {gap} ticks, {missing} frames are missing");
    node.end().unwrap();
}
