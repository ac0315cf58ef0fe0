//! What is recorded can be replayed by a client that is not ours: GStreamer in its ONVIF mode, which seeks in absolute
//! time, pauses, leaves out all but key frames, and reads the marks of the frames with code that is not ours either.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use keepwatch_it::{Cameras, Movie, Node, Site, run, wait_until};
use keepwatch_model::{Span, TICKS_PER_SECOND, WallTime};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{reconfigure, shared};

const PATIENCE: Duration = Duration::from_secs(60);

/// Bits of a mark, ONVIF Streaming Specification, "RTP header extension".
const CLEAN_POINT: u8 = 0x80;
const ENDS_SECTION: u8 = 0x40;
const DISCONTINUITY: u8 = 0x20;
const TERMINAL: u8 = 0x10;

/// What the client tells.
#[derive(Debug, Deserialize)]
struct Report {
    /// By the first packet of each frame.
    frames: Vec<Mark>,
    /// What `rtponvifparse` made of the marks.
    parsed: Vec<Parsed>,
    /// The numbers in the pictures.
    numbers: Vec<u64>,
    /// Whole pictures.
    pictures: usize,
    /// Whether a frame behind the span came.
    ended: bool,
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Mark {
    micros: i64,
    bits: u8,
    cseq: u8,
}

#[derive(Debug, Deserialize)]
struct Parsed {
    micros: i64,
    key: bool,
    discontinuity: bool,
}

impl Report {
    /// The places of the frames that have `bit`.
    fn places(&self, bit: u8) -> Vec<usize> {
        (0..self.frames.len()).filter(|at| self.frames[*at].bits & bit != 0).collect()
    }

    /// Checks that all came and that GStreamer reads the marks as the specification has them.
    fn check(&self, what: &str) {
        assert_eq!((self.error.as_deref(), self.ended), (None, true), "{what}: {self:?}");
        assert_eq!(self.frames.len(), self.numbers.len(), "{what}: a mark for each frame");
        assert_eq!(self.frames.len(), self.parsed.len(), "{what}");
        assert_eq!(self.frames.len(), self.pictures, "{what}: whole pictures");
        for (mark, parsed) in self.frames.iter().zip(&self.parsed) {
            // Both round; to a microsecond each.
            assert!(mark.micros.abs_diff(parsed.micros) <= 1, "{what}: {mark:?} {parsed:?}");
            assert_eq!(mark.bits & CLEAN_POINT != 0, parsed.key, "{what}: {mark:?} {parsed:?}");
            assert_eq!(mark.bits & DISCONTINUITY != 0, parsed.discontinuity, "{what}: {mark:?} {parsed:?}");
        }
        assert!(self.frames.windows(2).all(|pair| pair[0].micros < pair[1].micros), "{what}: in order");
        assert!(self.places(TERMINAL).is_empty(), "{what}: more follows");
    }
}

/// Replays `span` at `url` in GStreamer.
fn replay(url: &str, span: Span, options: &[&str]) -> Report {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/gst_replay.py");
    let mut command = Command::new("/usr/bin/python3");
    command.arg(script).args(["--url", url, "--user", "guard", "--password", "secret"]);
    command.args(["--from", &micros(span.from).to_string(), "--to", &micros(span.to).to_string()]);
    command.args(options);
    let output = run(&mut command, PATIENCE).unwrap();
    serde_json::from_str(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}\n{}\n{}", output.stdout, output.stderr))
}

/// Microseconds since 1970, rounded down as those of the marks are.
fn micros(time: WallTime) -> i64 {
    (time.ticks() * 100).div_euclid(9)
}

/// A node that has recorded cam1 with a gap in it, the address of the footage, and a span with the gap inside.
fn node_with_a_gap(site: &Site, cameras: &Cameras) -> (Node, String, Span) {
    Node::configure(site, "127.0.0.1:0", &[("cam1", cameras.url("cam1"))]).unwrap();
    std::fs::write(site.path().join("guard.password"), "secret\n").unwrap();
    reconfigure(site, "[node]", "[node]\nrtsp_listen = \"127.0.0.1:0\"");
    let user = "\n[[rtsp_user]]\nuser = \"guard\"\npassword_file = \"guard.password\"\ncameras = [\"cam1\"]\n[[disk]]";
    reconfigure(site, "\n[[disk]]", user);
    let node = Node::start(site).unwrap();
    let from = node.first_label("cam1").unwrap();
    node.wait_durable("cam1", from.plus(4 * TICKS_PER_SECOND), PATIENCE).unwrap();
    cameras.command(&json!({"camera": "cam1", "fault": "refuse"})).unwrap();
    wait_until("the end of footage", PATIENCE, || {
        let lines = node.coverage("cam1", None)?;
        Ok(lines.iter().any(|line| line.state == "gap" && line.span.from > from).then_some(()))
    })
    .unwrap();
    cameras.command(&json!({"camera": "cam1", "fault": "refuse", "on": false})).unwrap();
    let gap = wait_until("footage behind the gap", PATIENCE, || {
        let lines = node.coverage("cam1", None)?;
        let held: Vec<_> = lines.iter().filter(|line| line.state == "held").collect();
        Ok(held.get(1).and_then(|behind| Span::new(held[0].span.to, behind.span.from)))
    })
    .unwrap_or_else(|error| panic!("{error:#}: {:?}", node.coverage("cam1", None)));
    // Between two frames, so that no rounding decides.
    let to = gap.to.plus(5 * TICKS_PER_SECOND + TICKS_PER_SECOND / Cameras::RATE / 2);
    node.wait_durable("cam1", to, PATIENCE).unwrap();
    let status: Value = node.http().get("/api/v1/status").unwrap();
    let address = status["rtsp"]["listening"][0].as_str().unwrap().to_owned();
    (node, format!("rtsp://{address}/cam1/recorded"), Span::new(from, to).unwrap())
}

#[test]
fn gstreamer_replays_footage_with_a_gap_frame_by_frame_and_is_told_where_it_is() {
    let _machine = shared();
    let site = Site::new().unwrap();
    let cameras = Cameras::start(&site, 1, "127.0.0.1").unwrap();
    let (node, url, span) = node_with_a_gap(&site, &cameras);
    // What the export of the same span holds, read by ffprobe.
    let file = node.export(&site, "cam1", span, "span.mp4").unwrap();
    let expected = Movie::read(&file).unwrap().numbers();
    let jumps: Vec<_> = (1..expected.len()).filter(|at| expected[*at] != expected[at - 1] + 1).collect();
    assert_eq!(jumps.len(), 1, "one gap in {expected:?}");

    // A seek at full speed: PLAY, PAUSE, and PLAY with another range.
    let all = replay(&url, span, &[]);
    all.check("all");
    assert_eq!(all.numbers, expected);
    let behind = jumps[0];
    assert_eq!(all.places(ENDS_SECTION), [behind - 1], "the last before the gap");
    assert_eq!(all.places(DISCONTINUITY), [0, behind], "what was sought, and what follows the gap");
    let times: Vec<_> = all.frames.iter().map(|frame| frame.micros).collect();
    let gap_micros = times[behind] - times[behind - 1];
    assert!(gap_micros > 500_000, "{gap_micros}");
    assert!(times[0] + 1 >= micros(span.from) && times[times.len() - 1] < micros(span.to));
    let play = all.frames[0].cseq;
    assert!(
        all.frames.iter().all(|frame| frame.cseq == play),
        "nothing of the first PLAY comes after the seek"
    );

    // Key frames only.
    let intra = replay(&url, span, &["--intra"]);
    intra.check("intra");
    let keys = all.places(CLEAN_POINT);
    assert_eq!(intra.numbers, keys.iter().map(|at| expected[*at]).collect::<Vec<_>>());
    assert_eq!(intra.places(CLEAN_POINT), (0..keys.len()).collect::<Vec<_>>());

    // In real time, with a pause in the middle, which loses nothing and repeats nothing.
    let short = Span::new(span.from, span.from.plus(3 * TICKS_PER_SECOND)).unwrap();
    let began = Instant::now();
    let paced = replay(&url, short, &["--rate-control", "--pause-after", "30"]);
    paced.check("paced");
    assert!(began.elapsed() >= Duration::from_millis(2500), "{:?}", began.elapsed());
    assert_eq!(paced.numbers, expected[..paced.numbers.len()]);
    assert!(paced.numbers.len() >= 70, "{}", paced.numbers.len());
    let plays: BTreeSet<_> = paced.frames.iter().map(|frame| frame.cseq).collect();
    assert_eq!(plays.len(), 2, "before and behind the pause: {plays:?}");
    node.end().unwrap();
}
