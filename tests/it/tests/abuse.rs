//! Clients that take their time, speak nonsense, or guess: the node's memory stays bounded, others are served meanwhile, and
//! not a frame is missing.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::{Duration, Instant};

use keepwatch_it::{Http, Network, Node, Program, Received, Scene, Site, WebSocket, namespaces, wait_until};
use keepwatch_model::{Span, TICKS_PER_SECOND, WallTime};
use serde_json::{Value, json};

use crate::shared;

const PATIENCE: Duration = Duration::from_secs(60);

/// What the process has in memory, in MiB.
fn resident_mib(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1_024
}

/// A scene whose memory and whose recording are guarded.
struct Guarded {
    scene: Scene,
    before_mib: u64,
}

impl Guarded {
    fn new(mut scene: Scene) -> Self {
        // What is allocated once has been: the first records, a login, a viewer.
        scene.node.wait_durable("cam1", scene.from.plus(2 * TICKS_PER_SECOND), PATIENCE).unwrap();
        let before_mib = resident_mib(scene.node.program().id());
        Self { scene, before_mib }
    }

    fn grown_mib(&mut self) -> u64 {
        resident_mib(self.scene.node.program().id()).saturating_sub(self.before_mib)
    }

    /// Checks by the numbers that the camera draws into its frames that every one since the beginning is held. Returns the site of the node that ended.
    fn assert_whole(self) -> Site {
        let Scene { site, cameras, node, from } = self.scene;
        let to = node.durable_until("cam1").unwrap().unwrap();
        let lines = node.coverage("cam1", Some(Span::new(from, to).unwrap())).unwrap();
        assert!(lines.iter().all(|line| line.state == "held"), "{lines:?}");
        node.end().unwrap();
        assert_eq!(cameras.connections("cam1").unwrap().len(), 1, "one session all the time");
        let counted = site.run(["lab", "count-frames", "--data", "data"]).unwrap().success().unwrap();
        let counted: Value = serde_json::from_str(counted.lines().next().unwrap()).unwrap();
        let ranges = counted["frames"]["ranges"].as_array().unwrap();
        assert_eq!((ranges.len(), &counted["frames"]["duplicates"]), (1, &json!(0)), "{counted}");
        site
    }
}

/// Opens connections of several kinds, sends a byte of each twice a second, opens another for each that is ended, and prints
/// how many there were.
const SLOW: &str = r#"
import json, socket, ssl, sys, time
host, port, seconds, counts = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), json.loads(sys.argv[4])
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
head = b"GET /api/v1/health HTTP/1.1\r\nHost: n\r\nX-Slow: "
begin = {
    "silent": b"",
    "hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "head": head,
    "tls head": head,
    "body": b"POST /api/v1/login HTTP/1.1\r\nHost: n\r\nContent-Type: application/json\r\nContent-Length: 8000\r\n\r\n{\"user\":\"",
}
opened = ended = 0
def connect(kind):
    global opened
    stream = socket.create_connection((host, port), timeout=3)
    opened += 1
    if kind.startswith("tls"):
        stream = context.wrap_socket(stream)
    stream.sendall(begin[kind])
    stream.setblocking(False)
    return stream
def attempt(kind):
    global ended
    try:
        return connect(kind)
    except OSError:
        ended += 1
        return None
streams = [[kind, attempt(kind)] for kind, count in counts.items() for _ in range(count)]
print("ready", flush=True)
end = time.monotonic() + seconds
while time.monotonic() < end:
    time.sleep(0.5)
    for entry in streams:
        kind, stream = entry
        try:
            if stream is None:
                raise OSError
            if kind != "silent":
                stream.send(b"x")
            try:
                if stream.recv(4096) == b"":
                    raise OSError
            except (BlockingIOError, ssl.SSLWantReadError):
                pass
        except OSError:
            if stream is not None:
                ended += 1
                stream.close()
            if time.monotonic() < end:
                entry[1] = attempt(kind)
# What was opened last may have been refused and not said so yet.
time.sleep(1)
def is_open(stream):
    try:
        while stream.recv(4096) != b"":
            pass
        return False
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        return False
held = sum(stream is not None and is_open(stream) for _, stream in streams)
print(json.dumps({"opened": opened, "ended": ended, "held": held}), flush=True)
"#;

/// Asks over and over, each time over a connection of its own, and prints how often and how long the longest took.
const WITNESS: &str = r#"
import http.client, json, ssl, sys, time
host, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
print("ready", flush=True)
end, asked, longest = time.monotonic() + seconds, 0, 0.0
while time.monotonic() < end:
    began = time.monotonic()
    connection = http.client.HTTPSConnection(host, port, timeout=20, context=context)
    connection.request("GET", "/api/v1/health")
    assert connection.getresponse().status == 200
    connection.close()
    asked, longest = asked + 1, max(longest, time.monotonic() - began)
    time.sleep(0.2)
print(json.dumps({"asked": asked, "longest": longest}), flush=True)
"#;

#[test]
fn slow_clients_of_every_kind_cost_little_and_others_are_served() {
    if !namespaces() {
        return;
    }
    let _machine = shared();
    let (network, scene) = Scene::start_apart("[::]:8443").unwrap();
    let mut guarded = Guarded::new(scene);

    // Longer than the patience with headers, 15 s, so that the node ends those and is met by others.
    let seconds = "18";
    let python = |script: &str, host: &str, more: &[&str]| {
        let mut command = Command::new("python3");
        command.args(["-c", script, host, "8443", seconds]).args(more);
        command
    };
    // From another machine more than it may have at a time, 256; from this one less than there may be in all, 1,024.
    let abroad = json!({"silent": 120, "hello": 60, "tls head": 120, "head": 60}).to_string();
    let home = json!({"silent": 200, "head": 200, "body": 150, "tls head": 30}).to_string();
    let start =
        |command: Command, name: &str| Program::start(command, guarded.scene.site.path().join(name)).unwrap();
    let attackers = [
        start(network.camera.command(&python(SLOW, Network::RECORDER, &[&abroad])), "abroad.log"),
        start(network.recorder.command(&python(SLOW, "127.0.0.1", &[&home])), "home.log"),
    ];
    for attacker in &attackers {
        assert_eq!(attacker.line(PATIENCE).unwrap(), "ready");
    }
    let witness = start(network.recorder.command(&python(WITNESS, "::1", &[])), "witness.log");
    assert_eq!(witness.line(PATIENCE).unwrap(), "ready");
    let mut grown_mib = 0;
    let seen = wait_until("the end of the attack", PATIENCE, || {
        grown_mib = grown_mib.max(guarded.grown_mib());
        Ok(witness.json(Duration::from_millis(50)).ok())
    })
    .unwrap();
    let [abroad, home] = attackers.each_ref().map(|attacker| attacker.json(PATIENCE).unwrap());
    assert!(seen["asked"].as_u64() > Some(20) && seen["longest"].as_f64() < Some(5.0), "{seen}");
    // Of one machine at most 256 are held; of all those that only began, none for long.
    assert!(abroad["held"].as_u64() <= Some(256) && abroad["ended"].as_u64() > Some(200), "{abroad}");
    assert!(home["ended"].as_u64() > Some(200), "{home}");
    // 836 connections: 40 KiB each for what TLS and HTTP keep of it, and as much again for the allocator.
    assert!(grown_mib < 64, "{grown_mib} MiB more: {abroad} {home}");
    guarded.assert_whole();
}

/// A frame of a client (RFC 6455 §5.2), masked with zeros.
fn frame(first: u8, length: u64, data: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match u8::try_from(length) {
        Ok(short) if short < 126 => frame.push(0x80 | short),
        _ => {
            frame.push(0x80 | 127);
            frame.extend(length.to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(data);
    frame
}

fn whole(first: u8, data: &[u8]) -> Vec<u8> {
    frame(first, u64::try_from(data.len()).unwrap(), data)
}

/// What no client says, and whether the connection must be ended for it.
fn nonsense() -> Vec<(&'static str, Vec<u8>, bool)> {
    let fragments = [frame(0x01, 100, &[b'x'; 100]), frame(0x00, 100, &[b'x'; 100]).repeat(5_000)].concat();
    let empty_fragments = [frame(0x01, 1, b"x"), frame(0x00, 0, b"").repeat(50_000)].concat();
    vec![
        ("a frame without a mask", vec![0x81, 2, b'{', b'}'], true),
        ("a kind that there is not", whole(0x83, b"x"), true),
        ("bits that nobody agreed on", whole(0xf1, b"x"), true),
        ("a length of 2^63", frame(0x81, 1 << 63, b"x"), true),
        ("a length of 1 GiB", frame(0x82, 1 << 30, &[0; 70_000]), true),
        ("the largest length", frame(0x81, u64::MAX, b""), true),
        ("fragments without an end", fragments, true),
        // Which are within the bounds of a message for ever; they cost nothing.
        ("empty fragments without an end", empty_fragments, false),
        ("a continuation of nothing", whole(0x80, b"x"), true),
        ("a message inside another", [frame(0x01, 1, b"x"), whole(0x81, b"{}")].concat(), true),
        ("a ping in fragments", whole(0x09, b"x"), true),
        ("a ping that is too long", frame(0x89, 200, &[b'x'; 200]), true),
        ("bytes where text is due", whole(0x82, b"\0\xff{}"), true),
        ("text that is none", whole(0x81, b"\xff\xfe\x80"), true),
        ("text that is no JSON", whole(0x81, b"{{{"), true),
        (
            "two messages",
            [whole(0x81, b"{\"playable\":[]}"), whole(0x81, b"{\"playable\":[]}")].concat(),
            true,
        ),
        ("a farewell of one byte", whole(0x88, b"x"), true),
        ("a farewell that is too long", frame(0x88, 2_000, &[b'x'; 2_000]), true),
        ("another request", b"GET /api/v1/users HTTP/1.1\r\nHost: n\r\n\r\n".to_vec(), true),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(20), true),
        // Allowed, and answered as far as the client takes answers.
        ("a flood of pings", whole(0x89, &[b'x'; 125]).repeat(100_000), false),
        ("a flood of pongs", whole(0x8a, &[b'x'; 125]).repeat(100_000), false),
    ]
}

fn open(http: &Http, path: &str) -> WebSocket {
    let mut socket = http.websocket(path).unwrap();
    assert!(socket.receive(PATIENCE).unwrap().is_some());
    socket
}

#[test]
fn nonsense_over_websockets_ends_them_and_disturbs_nobody() {
    let _machine = shared();
    let mut guarded = Guarded::new(Scene::start(1).unwrap());
    let http = guarded.scene.node.http().clone();
    let mut viewer = open(&http, "/api/v1/cameras/cam1/live");
    let mut grown_mib = 0;
    for path in ["/api/v1/cameras/cam1/live", "/api/v1/status"] {
        for (what, bytes, ends) in nonsense() {
            let mut socket = open(&http, path);
            socket.send_raw(&bytes, Duration::from_secs(2)).unwrap();
            grown_mib = grown_mib.max(guarded.grown_mib());
            if ends {
                socket
                    .wait_end(Duration::from_secs(15))
                    .unwrap_or_else(|error| panic!("{path}: {what}: {error}"));
            }
        }
    }
    // Many of those that go on, at once, reading nothing.
    let floods: Vec<WebSocket> = (0..64)
        .map(|number| {
            let mut socket =
                open(&http, if number % 2 == 0 { "/api/v1/status" } else { "/api/v1/cameras/cam1/live" });
            socket.send_raw(&whole(0x89, &[b'x'; 125]).repeat(4_000), Duration::from_millis(200)).unwrap();
            socket
        })
        .collect();
    grown_mib = grown_mib.max(guarded.grown_mib());
    drop(floods);
    // A message has 1 KiB at most, and what is not sent yet of 64 viewers is in the ring that they share.
    assert!(grown_mib < 48, "{grown_mib} MiB more");

    // Who was there before misses nothing.
    let mut labels: Vec<WallTime> = Vec::new();
    let end = Instant::now() + PATIENCE;
    let now = guarded.scene.node.durable_until("cam1").unwrap().unwrap();
    while labels.last().is_none_or(|label| *label < now) {
        assert!(Instant::now() < end, "the viewer gets no further: {labels:?}");
        match viewer.receive(Duration::from_secs(5)).unwrap() {
            Some(Received::Text(text)) => {
                assert_ne!(text["type"], "waiting", "{text}");
                labels.extend(text["label"].as_str().map(|label| label.parse::<WallTime>().unwrap()));
            }
            Some(Received::Binary(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    guarded.assert_whole();
}

/// How many log in at a time; more than may wait.
const GUESSERS: usize = 48;
const GUESSES: usize = 1_000;

#[test]
fn a_thousand_guesses_are_slowed_down_bounded_and_do_not_hinder_who_is_logged_in() {
    let _machine = shared();
    let mut guarded = Guarded::new(Scene::start(1).unwrap());
    let http = guarded.scene.node.http().clone();
    let stranger = http.stranger();
    let mut live = open(&http, "/api/v1/cameras/cam1/live");

    // From as many addresses as it takes not to be slowed down by the address: all over the loopback network.
    let guess = |number: usize| {
        let user = if number.is_multiple_of(2) { "admin".to_owned() } else { format!("user{}", number % 31) };
        let body = json!({"user": user, "password": format!("guess {number}")}).to_string();
        let (third, fourth) = (u8::try_from(number % 200).unwrap(), u8::try_from(1 + number % 5).unwrap());
        let request = format!(
            "POST /api/v1/login HTTP/1.1\r\nHost: n\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let said = stranger.raw_from(Ipv4Addr::new(127, 9, third, fourth), request.as_bytes()).unwrap();
        said.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    let (mut slowest, mut grown_mib) = (Duration::ZERO, 0);
    let counts = std::thread::scope(|scope| {
        let guessers: Vec<_> = (0..GUESSERS)
            .map(|first| {
                let guess = &guess;
                scope.spawn(move || (first..GUESSES).step_by(GUESSERS).map(guess).collect::<Vec<_>>())
            })
            .collect();
        // Meanwhile, by who is logged in.
        while guessers.iter().any(|guesser| !guesser.is_finished()) {
            let asked = Instant::now();
            http.get("/api/v1/cameras").unwrap();
            slowest = slowest.max(asked.elapsed());
            grown_mib = grown_mib.max(guarded.grown_mib());
        }
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for status in guessers.into_iter().flat_map(|guesser| guesser.join().unwrap()) {
            *counts.entry(status).or_default() += 1;
        }
        counts
    });
    assert_eq!(counts.values().sum::<usize>(), GUESSES);
    assert!(counts.keys().all(|status| ["401", "429", "503"].contains(&status.as_str())), "{counts:?}");
    assert!(counts["429"] > 300, "the accounts were slowed down: {counts:?}");
    // Two passwords are hashed at a time, at 19 MiB each.
    assert!(grown_mib < 64, "{grown_mib} MiB more: {counts:?}");
    assert!(slowest < Duration::from_secs(5), "{slowest:?}: {counts:?}");

    // Who was there is still there; the account waits, with the right password, too, and is told how long.
    assert!(live.receive(PATIENCE).unwrap().is_some());
    let log_in = |password: &str| {
        let body = json!({"user": "admin", "password": password});
        stranger.request("POST", "/api/v1/login", Some(&body)).unwrap()
    };
    // Where its wait is over, one more wrong guess begins another.
    let waits = (0..3).any(|_| log_in("a wrong password").status == 429);
    assert!(waits, "{counts:?}");
    let delayed = log_in(Node::PASSWORD);
    assert_eq!((delayed.status, delayed.code().as_str()), (429, "login_delayed"));
    let wait: u64 = delayed.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait} s");
    // Of what was refused at most 500 stand in the audit log, and it is whole.
    let audit = http.get("/api/v1/audit?limit=1000").unwrap();
    let refused =
        audit["items"].as_array().unwrap().iter().filter(|entry| entry["action"] == "login_refused").count();
    assert!((6..=500).contains(&refused), "{refused} refusals: {counts:?}");
    let site = guarded.assert_whole();
    site.run(["audit", "verify", "--data", "data"]).unwrap().success().unwrap();
}
