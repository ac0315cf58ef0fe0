use keepwatch_model::{Origin, Place, Span};
use keepwatch_recording::timeline::Seam;
use keepwatch_store::{Commit, Lane, RecordInfo};

use super::super::bench::{Bench, PATIENCE};
use super::*;
use crate::config::CameraConfig;

fn bench() -> Bench {
    // Nothing listens on the discard port of loopback.
    Bench::new(CameraConfig::new("gate".parse().unwrap(), "rtsp://127.0.0.1:9/1".parse().unwrap()))
}

/// A record of the stream reaches the disk.
fn durable(bench: &Bench) {
    let now = bench.context.clock.wall();
    let info = RecordInfo {
        run: bench.context.store.new_run(),
        run_start: true,
        continuation: false,
        starts_with_key: true,
        label: Span { from: now.plus(-90_000), to: now },
        camera_time: None,
        gap_before: None,
        lost_packets: 0,
        origin: Origin::Primary,
        recorder: bench.context.store.role(),
        replaces: None,
        samples: 1,
        media_bytes: 1,
    };
    let disk = bench.context.store.disks()[0].id.unwrap();
    let main = bench.camera.main();
    let commit = Commit {
        camera: main.camera,
        stream: main.id,
        lane: Lane::Live,
        info,
        disk,
        place: Place::Internal,
        queued_at: Instant::now(),
    };
    main.durable(&commit, bench.context.clock.mono());
}

/// A reload restarts a stream whose records reached the disk a moment ago: they are none of the new session's.
#[tokio::test]
async fn what_was_durable_before_a_task_began_is_no_recording_of_its_session() {
    let bench = bench();
    durable(&bench);
    let main = Arc::clone(bench.camera.main());
    let mut driver = Driver::new(bench.context.clone(), Arc::clone(&bench.camera), main, None);
    let now = bench.context.clock.mono();
    driver.session.handle(now, Event::Wanted, &mut Vec::new());
    driver.session.handle(now, Event::Connected, &mut Vec::new());
    driver.look_at_progress();
    assert!(matches!(driver.session.state(), State::Connected { .. }), "{:?}", driver.session.state());
    durable(&bench);
    driver.look_at_progress();
    assert!(matches!(driver.session.state(), State::Recording { .. }), "{:?}", driver.session.state());
}

/// A reload restarts a stream while records of it wait for the disk: the next session must begin behind them, and not
/// behind what is held already.
#[tokio::test]
async fn a_restarted_stream_goes_on_where_the_task_before_left_off() {
    let bench = bench();
    let main = bench.camera.main();
    let queued_until = bench.context.clock.wall().plus(-90_000);
    let mut output = Output::new(&bench.context.store, main);
    output.seam = Some(Seam { label: queued_until, camera: None, at: None, unbroken: false });
    let mut output = Some(output);
    // The first ends while it waits to dial again, the second at once.
    for waits in [true, false] {
        let task =
            StreamTask::start(bench.context.clone(), Arc::clone(&bench.camera), Arc::clone(main), output);
        if waits {
            bench.wait_until(|| main.connection().2.is_some()).await;
        }
        let stopped = task.stop(Ending::Missing(GapReason::ConnectionLost));
        output = tokio::time::timeout(PATIENCE, stopped).await.unwrap();
        let seam = output.as_ref().and_then(|output| output.seam);
        assert_eq!(seam.map(|seam| seam.label), Some(queued_until));
    }
}
