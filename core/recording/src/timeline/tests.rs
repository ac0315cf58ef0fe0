use super::*;
use proptest::prelude::*;

const START: WallTime = WallTime::from_ticks(160_000_000_000_000);
const FRAME: i64 = 3_600;

/// Feeds `frames` frames at 25 per second with `delay` ticks each, cutting every second; returns the labels.
fn run(
    timeline: &mut Timeline,
    from_frame: i64,
    frames: i64,
    arrival: impl Fn(i64) -> WallTime,
) -> Vec<WallTime> {
    let mut labels = Vec::new();
    for frame in from_frame..from_frame + frames {
        let pts = frame * FRAME;
        timeline.arrived(pts, MonoTime::ZERO, arrival(frame));
        if !timeline.has_begun() {
            timeline.begin(pts, MonoTime::ZERO, None);
        }
        if frame % 25 == 0 {
            timeline.cut(pts);
        }
        labels.push(timeline.label(pts).unwrap());
    }
    labels
}

/// A recorder's clock step never moves footage: the label goes on with the sampling clock, steered by 500 ppm at most.
#[test]
fn a_step_of_the_recorders_clock_moves_no_label() {
    for step in [3_600 * TICKS_PER_SECOND, -3_600 * TICKS_PER_SECOND] {
        let mut timeline = Timeline::new(90_000);
        let labels = run(&mut timeline, 0, 5_000, |frame| {
            START.plus(frame * FRAME + if frame >= 2_500 { step } else { 0 })
        });
        for pair in labels.windows(2) {
            let interval = pair[1] - pair[0];
            assert!((interval - FRAME).abs() <= FRAME * SLEW_PPM_MAX / 1_000_000 + 1, "{interval}");
        }
    }
}

/// moonfire-nvr#350: sixteen seconds of drift over 236 recordings. A day at 100 ppm stays within 50 ms.
#[test]
fn a_drifting_camera_is_followed() {
    for ppm in [-300, -100, 100, 300] {
        let mut timeline = Timeline::new(90_000);
        let real = |frame: i64| START.plus(frame * FRAME + frame * FRAME * ppm / 1_000_000);
        let labels = run(&mut timeline, 0, 25 * 3_600 * 4, real);
        let last = i64::try_from(labels.len()).unwrap() - 1;
        let error = *labels.last().unwrap() - real(last);
        assert!(error.abs() < TICKS_PER_SECOND / 20, "{ppm} ppm: {error} ticks");
    }
}

#[test]
fn the_least_delayed_picture_places_the_run() {
    let mut timeline = Timeline::new(90_000);
    for (frame, delay) in [(0, 9_000), (1, 1_800), (2, 90), (3, 45_000)] {
        timeline.arrived(frame * FRAME, MonoTime::ZERO, START.plus(frame * FRAME + delay));
    }
    assert_eq!(timeline.begin(0, MonoTime::ZERO, None).label, START.plus(90));
}

/// Two sessions of one camera: the frames missing between them are exactly what its clock says, although the
/// network delayed the first picture of the second session by a third of a second.
#[test]
fn a_reconnect_is_placed_by_camera_time() {
    let mut first = Timeline::new(90_000);
    first.arrived(0, MonoTime::ZERO, START);
    first.sender_report(0, START.plus(77));
    let label = first.begin(0, MonoTime::ZERO, None).label;
    let seam = Seam { label: label.plus(FRAME), camera: first.camera_time(FRAME), at: None, unbroken: false };

    let mut second = Timeline::new(90_000);
    let missing = 40;
    second.arrived(1_000_000, MonoTime::ZERO, START.plus(FRAME * (missing + 1) + 30_000));
    second.sender_report(1_000_000, START.plus(77 + FRAME * (missing + 1)));
    assert_eq!(second.begin(1_000_000, MonoTime::ZERO, Some(seam)).label, seam.label.plus(missing * FRAME));
}

#[test]
fn a_reconnect_after_the_cameras_clock_was_set_is_placed_by_arrival() {
    let seam = Seam { label: START, camera: Some(START), at: None, unbroken: false };
    let mut timeline = Timeline::new(90_000);
    timeline.arrived(0, MonoTime::ZERO, START.plus(90_000));
    timeline.sender_report(0, START.plus(3_600 * TICKS_PER_SECOND));
    assert_eq!(timeline.begin(0, MonoTime::ZERO, Some(seam)).label, START.plus(90_000));
}

#[test]
fn no_run_begins_before_the_one_before_ended() {
    let seam = Seam { label: START, camera: None, at: None, unbroken: false };
    let mut timeline = Timeline::new(90_000);
    timeline.arrived(0, MonoTime::ZERO, START.plus(-3_600 * TICKS_PER_SECOND));
    assert_eq!(timeline.begin(0, MonoTime::ZERO, Some(seam)).label, START);
}

/// The recorder's clock was set while the camera was away for a minute: the outage keeps its length.
#[test]
fn an_outage_is_as_long_as_it_was_whatever_the_clock_was_set_to() {
    let at = MonoTime::from_nanos(1_000_000_000);
    let now = at + std::time::Duration::from_secs(60);
    let minute = 60 * TICKS_PER_SECOND;
    let seam = Seam { label: START, camera: None, at: Some(at), unbroken: false };
    for (step, label, passed_until) in [
        (0, START.plus(minute), None),
        (-3_600 * TICKS_PER_SECOND, START.plus(minute), None),
        (3_600 * TICKS_PER_SECOND, START.plus(minute + 3_600 * TICKS_PER_SECOND), Some(START.plus(minute))),
    ] {
        let mut timeline = Timeline::new(90_000);
        timeline.arrived(0, MonoTime::ZERO, START.plus(minute + step));
        assert_eq!(timeline.begin(0, now, Some(seam)), Begin { label, passed_until });
    }
}

/// Timestamps jumped after six seconds without pictures: the six seconds did pass.
#[test]
fn an_unbroken_seam_hides_no_time() {
    let seam = Seam { label: START, camera: None, at: Some(MonoTime::ZERO), unbroken: true };
    for (seconds, label) in [(0, START), (6, START.plus(6 * TICKS_PER_SECOND))] {
        let mut timeline = Timeline::new(90_000);
        timeline.arrived(5, MonoTime::ZERO, START.plus(seconds * TICKS_PER_SECOND));
        let now = MonoTime::ZERO + std::time::Duration::from_secs(seconds.unsigned_abs());
        assert_eq!(timeline.begin(5, now, Some(seam)).label, label);
    }
}

#[test]
fn a_camera_step_is_told_and_drift_is_not() {
    let mut timeline = Timeline::new(8_000);
    assert_eq!(timeline.sender_report(0, START), Report::First);
    assert_eq!(timeline.sender_report(8_000 * 5, START.plus(5 * TICKS_PER_SECOND + 900)), Report::Agrees);
    let stepped = START.plus(12 * TICKS_PER_SECOND);
    assert_eq!(timeline.sender_report(8_000 * 10, stepped), Report::Stepped(2 * TICKS_PER_SECOND - 900));
    assert_eq!(timeline.camera_time(8_000 * 10), Some(stepped));
    assert_eq!(timeline.pts_at_camera_time(stepped), Some(80_000));
}

/// mediamtx#5984: one bad timestamp made a segment of 149 hours.
#[test]
fn a_jump_is_seen_and_a_stall_is_not() {
    let mut timeline = Timeline::new(90_000);
    timeline.arrived(0, MonoTime::ZERO, START);
    let soon = MonoTime::from_nanos(40_000_000);
    let late = MonoTime::from_nanos(30_000_000_000);
    assert!(!timeline.jumps(FRAME, soon));
    assert!(!timeline.jumps(-2 * FRAME, soon), "reordered pictures");
    assert!(!timeline.jumps(30 * TICKS_PER_SECOND, late), "a quiet half minute");
    assert!(!timeline.jumps(FRAME, late), "a burst after a stall");
    assert!(timeline.jumps(149 * 3_600 * TICKS_PER_SECOND, soon));
    assert!(timeline.jumps(-149 * 3_600 * TICKS_PER_SECOND, soon));
}

/// Cameras that report the time at which they were switched on, or any time: three contradictions are enough, and
/// three reports that agree are believed again.
#[test]
fn reports_that_contradict_each_other_are_not_believed() {
    let frozen = |_: i64| START;
    let wild = |report: i64| START.plus(report * 7_919 * TICKS_PER_SECOND % 100_000_007);
    for lie in [&frozen as &dyn Fn(i64) -> WallTime, &wild] {
        let mut timeline = Timeline::new(90_000);
        timeline.arrived(0, MonoTime::ZERO, START);
        let pts = |report: i64| report * 5 * TICKS_PER_SECOND;
        let told: Vec<Report> =
            (1..=20).map(|report| timeline.sender_report(pts(report), lie(report))).collect();
        assert_eq!(told[0], Report::First);
        assert!(matches!(told[1..3], [Report::Stepped(_), Report::Stepped(_)]), "{told:?}");
        assert_eq!(told[3], Report::Unbelievable);
        assert!(told[4..].iter().all(|told| *told == Report::Agrees), "{told:?}");
        assert_eq!((timeline.camera_time(0), timeline.clock_offset()), (None, None));
        let truth = |report| timeline.sender_report(pts(report), START.plus(pts(report) + 90_000));
        let told: Vec<Report> = (21..=25).map(truth).collect();
        assert_eq!(told[3], Report::First, "{told:?}");
        assert_eq!(timeline.clock_offset(), Some(90_000));
    }
}

proptest! {
    #[test]
    fn nothing_absurd_panics(pts: i64, arrival: i64, report: i64, clock_rate: u32, seam_label: i64, unbroken: bool) {
        let mut timeline = Timeline::new(clock_rate);
        for step in 0..3 {
            let pts = pts.wrapping_mul(step + 1);
            timeline.jumps(pts, MonoTime::from_nanos(report.unsigned_abs()));
            timeline.arrived(pts, MonoTime::ZERO, WallTime::from_ticks(arrival));
            timeline.sender_report(pts, WallTime::from_ticks(report));
            let seam = Seam { label: WallTime::from_ticks(seam_label), camera: None, at: None, unbroken };
            let label = timeline.begin(pts, MonoTime::ZERO, Some(seam)).label;
            prop_assert!(label >= seam.label);
            timeline.cut(arrival);
            timeline.label(report);
            timeline.pts_at_camera_time(WallTime::from_ticks(pts));
        }
    }
}
