//! A day of a camera in virtual time: oscillators that drift, clocks that are set, reports that lie. What is asked is what
//! an operator would ask: is footage ordered, does its label say when it was, is an outage as long as it was.

use std::time::Duration;

use super::*;

const START: WallTime = WallTime::from_ticks(160_000_000_000_000);
const SECOND: i64 = TICKS_PER_SECOND;
const HOUR: i64 = 3_600 * SECOND;
const FRAME: i64 = SECOND / 25;

/// What is added to a clock, by real time.
type Offset = fn(i64) -> i64;

/// What the camera says of its clock.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Reports {
    Honest,
    Missing,
    /// Of what was 20 s ago.
    Late,
    Lying,
}

/// A camera and a recorder. Real time is in ticks since the start.
struct Site {
    /// How much faster the camera's oscillator runs than real time.
    drift_ppm: i64,
    camera_offset: Offset,
    recorder_offset: Offset,
    reports: Reports,
    /// How long each session lasts, and how long the camera is away after it.
    session: i64,
    outage: i64,
}

impl Default for Site {
    fn default() -> Self {
        Self {
            drift_ppm: 0,
            camera_offset: |_| 0,
            recorder_offset: |_| 0,
            reports: Reports::Honest,
            session: i64::MAX,
            outage: 0,
        }
    }
}

/// What came of it.
#[derive(Default)]
struct Outcome {
    /// Largest distance of a label from the recorder's clock at the moment it was taken, after the first minute.
    error_max: i64,
    /// Of each outage, by how much its labels differ from the time that really passed.
    outage_errors: Vec<i64>,
    /// What was skipped because it never was.
    clock_stepped: Vec<i64>,
    stepped: usize,
    offset: Option<i64>,
}

impl Site {
    fn run(&self, hours: i64) -> Outcome {
        let mut outcome = Outcome::default();
        let mut seam: Option<Seam> = None;
        let mut real = 0;
        let (mut last_real, mut last_pts) = (0, 0);
        let mut chance = 88_172_645_463_325_252_u64;
        while real < hours * HOUR {
            let mut timeline = Timeline::new(90_000);
            let session_from = real;
            let mut begun = false;
            let mut previous: Option<WallTime> = None;
            let mut early = Vec::new();
            for frame in 0.. {
                // RTP time of a session begins anywhere.
                let pts = session_from.wrapping_mul(31) % 1_000_000_007 + frame * FRAME;
                let passed = frame * FRAME;
                real = session_from + passed - passed * self.drift_ppm / 1_000_000;
                if real - session_from >= self.session || real >= hours * HOUR {
                    break;
                }
                (last_real, last_pts) = (real, pts);
                chance ^= chance << 13;
                chance ^= chance >> 7;
                chance ^= chance << 17;
                let delay = i64::try_from(chance % 3_600).unwrap()
                    + if chance.is_multiple_of(97) { 27_000 } else { 90 };
                let came = real + delay;
                let wall = START.plus(came + (self.recorder_offset)(came));
                let now = MonoTime::ZERO + keepwatch_model::duration_from_ticks(came);
                assert!(!timeline.jumps(pts, now), "no timestamp jumped");
                timeline.arrived(pts, now, wall);
                if frame % 125 == 10
                    && let Some((pts, camera)) = self.report(pts, real, chance)
                    && matches!(timeline.sender_report(pts, camera), Report::Stepped(_))
                {
                    outcome.stepped += 1;
                }
                early.push(pts);
                if !begun && frame < 12 {
                    continue; // The first record is closed after half a second.
                }
                if !begun {
                    begun = true;
                    let first = early[0];
                    let begin = timeline.begin(first, now, seam);
                    if let Some(before) = seam {
                        let truth = session_from - before_real(before);
                        outcome
                            .outage_errors
                            .push(begin.passed_until.unwrap_or(begin.label) - before.label - truth);
                        outcome.clock_stepped.extend(begin.passed_until.map(|until| begin.label - until));
                    }
                }
                for pts in early.drain(..) {
                    let label = timeline.label(pts).unwrap();
                    if let Some(previous) = previous {
                        let interval = label - previous;
                        let most = FRAME * SLEW_PPM_MAX / 1_000_000 + 1;
                        assert!((interval - FRAME).abs() <= most, "frames follow each other: {interval}");
                    } else if let Some(seam) = seam {
                        assert!(label >= seam.label, "no footage before what is held");
                    }
                    previous = Some(label);
                }
                if frame % 25 == 0 {
                    timeline.cut(pts);
                }
                if passed > 60 * SECOND {
                    let error =
                        timeline.label(pts).unwrap() - START.plus(real + (self.recorder_offset)(real));
                    outcome.error_max = outcome.error_max.max(error.abs());
                }
                outcome.offset = timeline.clock_offset().or(outcome.offset);
            }
            let Some(label) = previous else { break };
            let at = MonoTime::ZERO + keepwatch_model::duration_from_ticks(last_real + FRAME);
            seam = Some(Seam {
                label: label.plus(FRAME),
                camera: timeline.camera_time(last_pts).map(|camera| camera.plus(FRAME)),
                at: Some(at),
                unbroken: false,
            });
            real = last_real + FRAME + self.outage;
        }
        outcome
    }

    /// The report that is sent with the frame at `pts`.
    fn report(&self, pts: i64, real: i64, chance: u64) -> Option<(i64, WallTime)> {
        let camera =
            |real: i64| START.plus(real + real * self.drift_ppm / 1_000_000 + (self.camera_offset)(real));
        match self.reports {
            Reports::Honest => Some((pts, camera(real))),
            Reports::Missing => None,
            Reports::Late => Some((pts - 20 * SECOND, camera(real - 20 * SECOND))),
            Reports::Lying => Some((pts, camera(real).plus(i64::try_from(chance % 9_000_000_000).unwrap()))),
        }
    }
}

/// Real time of a seam, which its monotonic time is.
fn before_real(seam: Seam) -> i64 {
    ticks_from_duration(seam.at.unwrap().since(MonoTime::ZERO))
}

/// moonfire-nvr#350, a day long: the label follows the recorder's clock, and every outage of 3 s is one.
#[test]
fn a_day_of_drift_stays_within_an_eighth_of_a_second() {
    for drift_ppm in [-500, 500] {
        for reports in [Reports::Honest, Reports::Missing, Reports::Late, Reports::Lying] {
            let site = Site { drift_ppm, reports, session: HOUR, outage: 3 * SECOND, ..Site::default() };
            let outcome = site.run(24);
            assert!(outcome.error_max < SECOND / 8, "{drift_ppm} ppm, {reports:?}: {}", outcome.error_max);
            assert_eq!(outcome.outage_errors.len(), 23);
            let worst = outcome.outage_errors.iter().map(|error| error.abs()).max().unwrap();
            let most = if reports == Reports::Honest { FRAME } else { SECOND / 8 };
            assert!(worst <= most, "{drift_ppm} ppm, {reports:?}: an outage is off by {worst} ticks");
            assert!(outcome.clock_stepped.is_empty(), "{:?}", outcome.clock_stepped);
        }
    }
}

/// The camera's clock is an hour off, or is set while it records: labels do not care, and the offset is known.
#[test]
fn a_wrong_clock_of_a_camera_moves_no_label() {
    let offsets: [(Offset, usize, i64); 4] = [
        (|_| HOUR, 0, HOUR),
        (|_| -HOUR, 0, -HOUR),
        (|real| if real > HOUR { HOUR } else { 0 }, 1, HOUR),
        (|real| if real > HOUR { -HOUR } else { 0 }, 1, -HOUR),
    ];
    for (camera_offset, steps, offset) in offsets {
        let site = Site { camera_offset, session: 90 * 60 * SECOND, outage: 5 * SECOND, ..Site::default() };
        let outcome = site.run(3);
        assert!(outcome.error_max < SECOND / 20, "{}", outcome.error_max);
        assert!(
            outcome.outage_errors.iter().all(|error| error.abs() <= FRAME),
            "{:?}",
            outcome.outage_errors
        );
        assert_eq!(outcome.stepped, steps);
        let told = outcome.offset.unwrap();
        assert!((told - offset).abs() < SECOND / 10, "{told}");
    }
}

/// The recorder's clock is set while it records: no frame moves, and the next session stands as far behind the last as
/// time has passed; what the clock skipped is no outage.
#[test]
fn a_wrong_clock_of_the_recorder_moves_no_label() {
    for reports in [Reports::Honest, Reports::Missing, Reports::Lying] {
        let steps: [(Offset, usize); 2] =
            [(|real| if real > HOUR { HOUR } else { 0 }, 1), (|real| if real > HOUR { -HOUR } else { 0 }, 0)];
        for (recorder_offset, skipped) in steps {
            let site = Site {
                recorder_offset,
                reports,
                session: 65 * 60 * SECOND,
                outage: 30 * SECOND,
                ..Site::default()
            };
            let outcome = site.run(3);
            assert_eq!(outcome.outage_errors.len(), 2);
            for error in &outcome.outage_errors {
                assert!(error.abs() < SECOND, "{reports:?}: {:?}", outcome.outage_errors);
            }
            assert_eq!(outcome.clock_stepped.len(), skipped, "{reports:?}");
            assert!(outcome.clock_stepped.iter().all(|ticks| (ticks - HOUR).abs() < 10 * SECOND));
        }
    }
}

/// A minute without any picture, in which the recorder's clock is set: the pause is as long as it was, and no jump.
#[test]
fn a_pause_is_no_jump_whatever_the_recorders_clock_does() {
    let mut timeline = Timeline::new(90_000);
    timeline.arrived(0, MonoTime::ZERO, START);
    let minute = MonoTime::ZERO + Duration::from_secs(60);
    assert!(!timeline.jumps(60 * SECOND, minute));
    timeline.arrived(60 * SECOND, minute, START.plus(60 * SECOND - HOUR));
    assert!(!timeline.jumps(60 * SECOND + FRAME, minute + Duration::from_millis(40)));
}
