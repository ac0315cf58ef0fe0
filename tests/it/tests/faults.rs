//! Every fault of a virtual camera against recording: one recorder, a camera for each fault, and one without.
//!
//! What is missing must be what the fault withholds, the ledger must name it and nothing else, and the camera without
//! a fault must not notice. [`tracks`] crosses the faults that depend on it with all codings and several tracks at once,
//! [`transports`] asks what happens when media find no way.

mod tracks;
mod transports;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use keepwatch_it::{Cameras, CoverageLine, Movie, Node, Picture, Site, wait_until};
use keepwatch_model::{Span, TICKS_PER_SECOND, WallTime};
use serde_json::{Value, json};

use crate::{reconfigure, shared};

/// Ticks from one frame to the next.
const FRAME: i64 = TICKS_PER_SECOND / Cameras::RATE;

/// When the faults begin and end, and what is looked at, in seconds from the first label. The end lies behind the first
/// keepalive of a session, which comes after half of 60 s.
const BEGIN: i64 = 4;
const HEAL: i64 = 12;
const END: i64 = 36;

/// How far a recorder may be behind its cameras on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a recorder may miss because of a fault.
#[derive(Clone, Copy, Debug)]
enum Missing {
    /// Nothing.
    Nothing,
    /// So many frames that the camera left out without a hole in its sequence numbers: nobody can know.
    Unnoticed(u64),
    /// So many frames, in gaps of these reasons.
    Frames(u64, &'static [&'static str]),
    /// What the camera gave to no connection, in gaps of these reasons, the first of which must be there.
    NotGiven(&'static [&'static str]),
    /// Some frames that only the gaps count, of these reasons, the first of which must be there.
    Some(&'static [&'static str]),
}

/// A fault and what comes of it.
struct Case {
    /// `auto`, `tcp` or `udp`.
    transport: &'static str,
    /// What is commanded at [`BEGIN`]; everything is healed at [`HEAL`].
    faults: Vec<Value>,
    missing: Missing,
}

fn case<const N: usize>(faults: [Value; N], missing: Missing) -> Case {
    Case { transport: "tcp", faults: faults.into(), missing }
}

fn over_udp<const N: usize>(faults: [Value; N], missing: Missing) -> Case {
    over("udp", faults, missing)
}

fn over<const N: usize>(transport: &'static str, faults: [Value; N], missing: Missing) -> Case {
    Case { transport, ..case(faults, missing) }
}

fn cases() -> Vec<Case> {
    use Missing::{Frames, NotGiven, Nothing, Some, Unnoticed};
    let keepalive = |answer: &str| json!({"fault": "keepalive", "answer": answer});
    vec![
        case([json!({"fault": "drop"})], NotGiven(&["connection_lost"])),
        case([json!({"fault": "drop_after", "frames": 50, "times": 2})], NotGiven(&["connection_lost"])),
        case([json!({"fault": "refuse"})], NotGiven(&["connection_refused", "connection_lost"])),
        case(
            [json!({"fault": "refuse_nth", "n": 1}), json!({"fault": "drop"})],
            NotGiven(&["connection_refused", "connection_lost"]),
        ),
        case([json!({"fault": "stall"})], Some(&["camera_silent", "connection_lost"])),
        case([json!({"fault": "no_key_frames"})], Nothing),
        case(
            [json!({"fault": "no_key_frames"}), json!({"fault": "drop"})],
            Some(&["key_frame_missing", "connection_lost"]),
        ),
        case([json!({"fault": "lose_frames", "count": 5})], Frames(5, &["packets_lost"])),
        case([json!({"fault": "skip_frames", "count": 10})], Unnoticed(10)),
        case([json!({"fault": "parameters", "set": "alternate"})], Nothing),
        case([json!({"fault": "timestamp_jump", "milliseconds": 149 * 3_600_000_i64})], Nothing),
        case([json!({"fault": "timestamp_jump", "milliseconds": -60_000})], Nothing),
        case([json!({"fault": "clock_step", "milliseconds": 3_600_000})], Nothing),
        case([json!({"fault": "clock_step", "milliseconds": -3_600_000})], Nothing),
        case([json!({"fault": "clock_drift", "ppm": 500})], Nothing),
        case([json!({"fault": "clock_drift", "ppm": -500})], Nothing),
        case([json!({"fault": "no_sender_reports"}), json!({"fault": "clock_drift", "ppm": 500})], Nothing),
        // The session's keepalive comes after the healing: these stay.
        case([keepalive("wrong_cseq")], Nothing),
        case([keepalive("bad_request")], Nothing),
        case([keepalive("silent")], Nothing),
        // What goes wrong with footage of the card and with searching does not touch live pictures.
        case(
            [
                json!({"fault": "ignore_rate_control"}),
                json!({"fault": "ignore_range_end"}),
                json!({"fault": "no_marks"}),
                json!({"fault": "search_empty"}),
            ],
            Nothing,
        ),
        case([json!({"fault": "card", "state": "missing"})], Nothing),
        case([json!({"fault": "card", "state": "full"})], Nothing),
        case([json!({"fault": "card", "state": "slow"})], Nothing),
        over_udp([json!({"fault": "udp_reorder", "distance": 3})], Nothing),
        // Half a second late: what came behind has not waited for it.
        over_udp([json!({"fault": "udp_reorder", "distance": 64})], Some(&["packets_lost"])),
        over_udp([json!({"fault": "udp_duplicate", "every": 3})], Nothing),
        over_udp([json!({"fault": "udp_loss", "every": 50})], Some(&["packets_lost"])),
        over(
            "auto",
            [json!({"fault": "transport", "accept": "udp"}), json!({"fault": "drop"})],
            NotGiven(&["connection_lost"]),
        ),
        over_udp(
            [json!({"fault": "transport", "accept": "tcp"}), json!({"fault": "drop"})],
            NotGiven(&["connection_refused", "connection_lost"]),
        ),
        // The witness.
        case([], Nothing),
    ]
}

/// The numbers of what is shown. A packet that was lost may have held nothing but the number: the picture is whole then,
/// and known by its time.
fn numbers(pictures: &[Picture]) -> Vec<u64> {
    let mut last: Option<(u64, i64)> = None;
    let shown = pictures.iter().filter(|picture| !picture.hidden);
    shown
        .filter_map(|picture| {
            let by_time = last.and_then(|(number, pts)| {
                let passed = (picture.pts - pts + FRAME / 2).div_euclid(FRAME);
                number.checked_add_signed(passed)
            });
            let number = picture.number.or(by_time)?;
            last = Some((number, picture.pts));
            Some(number)
        })
        .collect()
}

/// The numbers that are missing between the first and the last, as first number and count.
fn holes(numbers: &[u64]) -> Vec<(u64, u64)> {
    let pairs = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1);
    pairs.map(|pair| (pair[0] + 1, pair[1] - pair[0] - 1)).collect()
}

/// What is missing without a break, and why.
fn gaps(lines: &[CoverageLine]) -> Vec<(i64, Vec<&str>)> {
    let mut gaps: Vec<(i64, Vec<&str>)> = Vec::new();
    let mut before = "held";
    for line in lines {
        if line.state != "held" {
            if before == "held" {
                gaps.push((0, Vec::new()));
            }
            let (ticks, reasons) = gaps.last_mut().expect("one was begun");
            *ticks += line.span.ticks();
            reasons.push(line.reason.as_deref().unwrap_or(&line.state));
        }
        before = &line.state;
    }
    gaps
}

/// Numbers from `first` to `last` that were given to no connection of the camera.
fn not_given(connections: &[Value], first: u64, last: u64) -> u64 {
    let mut count = 0;
    let mut next = first;
    for connection in connections {
        let (Some(from), Some(to)) = (connection["first_frame"].as_u64(), connection["last_frame"].as_u64())
        else {
            continue;
        };
        count += from.min(last + 1).saturating_sub(next);
        next = next.max(to + 1);
    }
    count
}

/// Compares what is in the file with what the ledger says and with what the fault withheld.
fn judge(case: &Case, numbers: &[u64], lines: &[CoverageLine], connections: &[Value]) -> Result<(), String> {
    let holes = holes(numbers);
    let gaps = gaps(lines);
    let missing: u64 = holes.iter().map(|(_, count)| count).sum();
    let described = format!("missing {holes:?}, gaps {gaps:?}, connections {}", Value::from(connections));
    let wrong = |what: &str| Err(format!("{what}: {described}"));
    if numbers.windows(2).any(|pair| pair[1] <= pair[0]) {
        return wrong("a number twice, or out of order");
    }
    let reasons: &[&str] = match case.missing {
        Missing::Nothing | Missing::Unnoticed(_) => &[],
        Missing::Frames(_, reasons) | Missing::NotGiven(reasons) | Missing::Some(reasons) => reasons,
    };
    let found: Vec<&str> = gaps.iter().flat_map(|(_, reasons)| reasons.iter().copied()).collect();
    if found.iter().any(|reason| !reasons.contains(reason))
        || reasons.first().is_some_and(|must| !found.contains(must))
    {
        return wrong("another reason");
    }
    let expected = match case.missing {
        Missing::Nothing => 0,
        Missing::Unnoticed(count) | Missing::Frames(count, _) => count,
        Missing::NotGiven(_) => match (numbers.first(), numbers.last()) {
            (Some(first), Some(last)) => not_given(connections, *first, *last),
            _ => return wrong("no frames"),
        },
        Missing::Some(_) => missing.max(1),
    };
    if missing != expected {
        return wrong(&format!("{expected} frames were withheld"));
    }
    if matches!(case.missing, Missing::Unnoticed(_)) {
        return Ok(());
    }
    if gaps.len() != holes.len() {
        return wrong("another number of gaps than of holes");
    }
    for ((ticks, _), (_, count)) in gaps.iter().zip(&holes) {
        let length = i64::try_from(*count).expect("few frames") * FRAME;
        if (ticks - length).abs() >= FRAME / 2 {
            return wrong(&format!("a gap of {ticks} ticks for {count} frames"));
        }
    }
    Ok(())
}

/// A fault that is documented and not proven here would be one that nobody tries.
#[test]
fn every_documented_fault_is_among_the_cases() {
    let text = include_str!("../../../docs/ref/lab.md");
    let table = text.split("| `fault` |").nth(1).unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let cases = cases();
    let tried: BTreeSet<_> =
        cases.iter().flat_map(|case| &case.faults).filter_map(|fault| fault["fault"].as_str()).collect();
    // What moves before a camera is no fault: the tests of alarms have it.
    let is_fault = |name: &&str| !["heal", "motion"].contains(name);
    let documented: BTreeSet<_> = rows.map(|(name, _)| name).filter(is_fault).collect();
    assert_eq!(documented, tried);
}

/// What a trial looks at of each camera, in seconds from its first label.
#[derive(Clone, Copy, Debug)]
struct Window {
    from: i64,
    to: i64,
}

/// Cameras to which faults happened while they were recorded.
struct Trial {
    site: Site,
    cameras: Cameras,
    node: Node,
    cases: Vec<Case>,
    /// What is looked at, of each.
    spans: Vec<Span>,
}

impl Trial {
    /// Records a camera for each case, the last of which is a witness, commands the faults, and heals them. `options` are
    /// those of `keepwatch lab cameras`; `settings` are further lines for the camera at an address.
    fn run(cases: Vec<Case>, options: &[&str], settings: impl Fn(&str) -> String, window: Window) -> Self {
        let site = Site::new().unwrap();
        let cameras = Cameras::start_with(&site, cases.len(), "127.0.0.1", options).unwrap();
        let ids = cameras.ids();
        let listed: Vec<_> = ids.iter().map(|id| (id.as_str(), cameras.url(id))).collect();
        Node::configure(&site, "127.0.0.1:0", &listed).unwrap();
        // Room for all of it on a machine that takes three times as long: Motion JPEG takes most.
        reconfigure(&site, "256 MiB", "1 GiB");
        for (id, case) in ids.iter().zip(&cases) {
            let (table, settings) = (format!("id = \"{id}\"\n"), settings(&cameras.url(id)));
            reconfigure(&site, &table, &format!("{table}transport = \"{}\"\n{settings}", case.transport));
        }
        let node = Node::start(&site).unwrap();
        let firsts: Vec<_> = ids.iter().map(|id| node.first_label(id).unwrap()).collect();
        // The witness tells the time.
        let wait = |seconds: i64| {
            let label = firsts[ids.len() - 1].plus(seconds * TICKS_PER_SECOND);
            node.wait_durable(&ids[ids.len() - 1], label, PATIENCE).unwrap();
        };
        let command = |id: &str, fault: &Value| {
            let mut command = fault.clone();
            command["camera"] = json!(id);
            cameras.command(&command).unwrap();
        };
        wait(BEGIN);
        for (id, case) in ids.iter().zip(&cases) {
            case.faults.iter().for_each(|fault| command(id, fault));
        }
        wait(HEAL);
        for (id, case) in ids.iter().zip(&cases) {
            if case.faults.iter().all(|fault| fault["fault"] != "keepalive") {
                command(id, &json!({"fault": "heal"}));
            }
        }
        wait(window.to);
        let second = |first: &WallTime, second: i64| first.plus(second * TICKS_PER_SECOND);
        let span =
            |first: &WallTime| Span::new(second(first, window.from), second(first, window.to)).unwrap();
        let spans = firsts.iter().map(span).collect();
        Self { site, cameras, node, cases, spans }
    }

    /// The cameras.
    fn observed(&self) -> impl Iterator<Item = Observed<'_>> {
        let each = self.cameras.ids().iter().zip(&self.cases).zip(&self.spans);
        each.map(|((id, case), span)| Observed { trial: self, id, case, span: *span })
    }

    /// Fails with all that is wrong.
    fn conclude(self, wrong: &[String], started: Instant) {
        assert!(wrong.is_empty(), "after {:?}:\n{}", started.elapsed(), wrong.join("\n"));
        let witness = self.observed().last().unwrap();
        assert_eq!(witness.connections("main").len(), 1, "the witness was left alone");
        self.node.end().unwrap();
    }
}

/// One camera at the end of a trial.
struct Observed<'a> {
    trial: &'a Trial,
    id: &'a str,
    case: &'a Case,
    span: Span,
}

impl Observed<'_> {
    /// What is said of it.
    fn describe(&self, what: &str) -> String {
        format!("{} {} {}: {what}", self.id, self.case.transport, Value::from(self.case.faults.clone()))
    }

    /// Waits until `stream` is on disk to the end of what is looked at.
    fn wait(&self, stream: &str) -> Result<(), String> {
        let position = usize::from(stream == "sub");
        let waited = wait_until("the end of the window", PATIENCE, || {
            let camera = self.trial.node.camera(self.id)?;
            let until = camera["streams"][position]["durable_until"].as_str();
            let until = until.and_then(|until| until.parse::<WallTime>().ok());
            Ok(until.filter(|until| *until >= self.span.to).map(drop))
        });
        waited.map_err(|error| format!("{stream}: {error:#}"))
    }

    fn coverage(&self, stream: &str) -> Vec<CoverageLine> {
        self.trial.node.coverage_of(self.id, stream, Some(self.span)).unwrap()
    }

    /// The connections that played `stream`.
    fn connections(&self, stream: &str) -> Vec<Value> {
        let mut connections = self.trial.cameras.connections(self.id).unwrap();
        connections.retain(|connection| connection["sub"] == (stream == "sub"));
        connections
    }

    /// Exports `stream`.
    fn export(&self, stream: &str) -> PathBuf {
        let name = format!("{}-{stream}.mp4", self.id);
        self.trial.node.export_stream(&self.trial.site, self.id, stream, self.span, &name).unwrap()
    }

    /// Judges `stream`, whose pictures are numbered where players do not look.
    fn judge(&self, stream: &str) -> Result<(), String> {
        self.wait(stream)?;
        let numbers = numbers(&Movie::pictures(&self.export(stream)).unwrap());
        judge(self.case, &numbers, &self.coverage(stream), &self.connections(stream))
            .map_err(|what| format!("{stream}: {what}"))
    }
}

#[test]
fn every_fault_costs_the_frames_it_withholds_and_the_ledger_names_them() {
    let _machine = shared();
    let started = Instant::now();
    let trial = Trial::run(cases(), &[], |_| String::new(), Window { from: 0, to: END });
    let judged = trial.observed().map(|camera| camera.judge("main").map_err(|what| camera.describe(&what)));
    let wrong: Vec<_> = judged.filter_map(Result::err).collect();
    trial.conclude(&wrong, started);
}
