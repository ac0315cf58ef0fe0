//! `keepwatch edge`: what this node sends to a recorder, and the edge nodes that send to this one, asked over its Unix socket.

use anyhow::{Context, ensure};
use keepwatch_model::WallTime;
use keepwatch_web::{SOCKET_NAME, SocketClient};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::{
    EdgeCommand, EdgeLimitOptions, EdgeOptions, EdgeRegisterOptions, EdgeRemoveOptions, NodeOptions,
};
use crate::client::{self, printable, table};
use crate::failover::login;
use crate::{Outcome, output};

#[derive(Debug, Deserialize)]
struct Edge {
    case: u8,
    sentence: String,
    sending: bool,
    recorder: Option<Recorder>,
    disks: Vec<Disk>,
    unused_recorder: Option<String>,
    storages: Vec<Storage>,
    fill: Fill,
    memory: Memory,
    alarms: Vec<Alarm>,
    lines: Vec<Line>,
}

#[derive(Debug, Deserialize)]
struct Storage {
    place: String,
    condition: String,
}

#[derive(Debug, Deserialize)]
struct Fill {
    place: String,
    used_bytes: u64,
    room_bytes: u64,
    percent: u64,
    overflows_in_ms: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Memory {
    used_bytes: u64,
    max_bytes: u64,
}

#[derive(Debug, Deserialize)]
struct Alarm {
    camera: Option<String>,
    since: WallTime,
    text: String,
}

#[derive(Debug, Deserialize)]
struct Recorder {
    name: String,
    address: String,
    away_since: Option<WallTime>,
    trouble: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Disk {
    path: String,
    state: String,
    detail: Option<String>,
    size_bytes: u64,
    used_bytes: u64,
}

#[derive(Debug, Deserialize)]
struct Line {
    camera: String,
    stream: u8,
    wanted: bool,
    behind_ms: Option<u64>,
    backlog_ms: u64,
    lost_ms: u64,
    sent_bytes: u64,
    speed_percent: u32,
    depletes_in_ms: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Nodes {
    items: Vec<EdgeNode>,
}

/// An edge node as the API shows it.
#[derive(Debug, Deserialize)]
struct EdgeNode {
    key: String,
    name: String,
    since: String,
    heard: Option<String>,
    cameras: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Token {
    token: String,
    expires: String,
}

/// Does what was asked for.
pub(crate) async fn run(command: EdgeCommand) -> anyhow::Result<Outcome> {
    match command {
        EdgeCommand::Status(options) => return status(options).await,
        EdgeCommand::Register(options) => register(options).await?,
        EdgeCommand::Deregister(options) => {
            socket(&options.node)?.delete::<()>("/api/v1/edge/recorder").await?;
            output::say("nothing more is sent");
        }
        EdgeCommand::Limit(options) => limit(options).await?,
        EdgeCommand::Nodes(options) => nodes(options).await?,
        EdgeCommand::Token(options) => token(options).await?,
        EdgeCommand::Remove(options) => remove(options).await?,
    }
    Ok(Outcome::Done)
}

fn socket(node: &NodeOptions) -> anyhow::Result<SocketClient> {
    Ok(SocketClient::new(client::data_of(node)?.join(SOCKET_NAME)))
}

async fn status(options: EdgeOptions) -> anyhow::Result<Outcome> {
    let all: Value = socket(&options.node)?.get("/api/v1/edge").await?;
    let edge: Edge = serde_json::from_value(all.clone()).context("the node is of another version")?;
    if options.json {
        output::say(all);
    } else {
        show(&edge).into_iter().for_each(output::say);
    }
    let sends = edge.recorder.is_some() || !edge.disks.is_empty();
    let sent = (edge.sending || !sends) && edge.unused_recorder.is_none();
    let well = edge.case == 0 && edge.alarms.is_empty() && sent;
    Ok(if well { Outcome::Done } else { Outcome::FaultsFound })
}

/// It for people.
fn show(edge: &Edge) -> Vec<String> {
    let mut lines = vec![format!("case {}: {}", edge.case, edge.sentence)];
    match &edge.recorder {
        None if edge.disks.is_empty() => {
            lines.push("no recorder is registered: keepwatch edge register".to_owned());
        }
        None => {}
        Some(recorder) => {
            let away = recorder.away_since.map(|since| {
                let why = recorder.trouble.as_deref().map(printable).unwrap_or_default();
                format!(", away since {since}: {why}")
            });
            let (name, address) = (printable(&recorder.name), &recorder.address);
            lines.push(format!("sent to {name} at {address}{}", away.unwrap_or_default()));
        }
    }
    for Disk { path, state, detail, size_bytes, used_bytes } in &edge.disks {
        let why = detail.as_deref().map(|why| format!(": {}", printable(why))).unwrap_or_default();
        let (used, size) = (used_bytes / 1_000_000, size_bytes / 1_000_000);
        lines.push(format!("written to {}, {state}{why}; {used} of {size} MB in use", printable(path)));
    }
    if let Some(name) = &edge.unused_recorder {
        let name = printable(name);
        lines.push(format!(
            "nothing is sent to {name}, where this node is registered: keepwatch edge deregister"
        ));
    }
    let storages: Vec<String> =
        edge.storages.iter().map(|storage| format!("{} {}", storage.place, storage.condition)).collect();
    lines.push(format!("local storage: {}", storages.join(", ")));
    let seconds = |millis: u64| format!("{} s", millis / 1000);
    let (fill, megabytes) = (&edge.fill, |bytes: u64| bytes / 1_000_000);
    let overflows =
        fill.overflows_in_ms.map(|millis| format!(", the oldest is overwritten in {}", seconds(millis)));
    lines.push(format!(
        "not sent yet: {} of {} MB of {} ({} %){}; {} of {} MB in memory",
        megabytes(fill.used_bytes),
        megabytes(fill.room_bytes),
        fill.place,
        fill.percent,
        overflows.unwrap_or_default(),
        megabytes(edge.memory.used_bytes),
        megabytes(edge.memory.max_bytes),
    ));
    for Alarm { camera, since, text } in &edge.alarms {
        let camera = camera.as_deref().map(|camera| format!("{}: ", printable(camera))).unwrap_or_default();
        lines.push(format!("ALARM since {since}: {camera}{}", printable(text)));
    }
    lines.push(String::new());
    let head = ["CAMERA", "STREAM", "WANTED", "BEHIND", "LEFT OUT", "THERE IN", "SENT", "LOST", "SPEED"];
    let mut rows = vec![head.map(str::to_owned)];
    for line in &edge.lines {
        rows.push([
            printable(&line.camera),
            line.stream.to_string(),
            if line.wanted { "yes" } else { "no" }.to_owned(),
            line.behind_ms.map_or_else(|| "-".to_owned(), seconds),
            seconds(line.backlog_ms),
            match line.depletes_in_ms {
                Some(millis) => seconds(millis),
                None if line.wanted => "never".to_owned(),
                None => "-".to_owned(),
            },
            format!("{} MB", line.sent_bytes / 1_000_000),
            seconds(line.lost_ms),
            format!("{} %", line.speed_percent),
        ]);
    }
    lines.extend(table(&rows));
    lines
}

async fn register(options: EdgeRegisterOptions) -> anyhow::Result<()> {
    let mut asked = login(&options.login)?;
    asked["address"] = json!(options.address);
    let answer: Value = socket(&options.node)?.post("/api/v1/edge/recorder", &asked).await?;
    let name = answer["name"].as_str().map(printable).unwrap_or_default();
    output::say(format_args!(
        "what is recorded here is sent to {name}, as far as it has cameras of this node"
    ));
    Ok(())
}

async fn limit(options: EdgeLimitOptions) -> anyhow::Result<()> {
    let client = socket(&options.node)?;
    let target = format!("/api/v1/edge/lines/{}", options.camera);
    let camera = printable(&options.camera);
    let Some(speed) = options.speed else {
        client.delete::<()>(&target).await?;
        output::say(format_args!("{camera} is sent as the configuration says"));
        return Ok(());
    };
    let wish =
        json!({ "speed_percent": speed, "rate_bits_per_second": options.rate, "confirm": options.confirm });
    client.put::<()>(&target, &wish).await?;
    output::say(match speed {
        0 => format!("{camera} is sent no more, until it has another speed"),
        speed => format!("{camera} is sent at {speed} %"),
    });
    Ok(())
}

async fn nodes(options: EdgeOptions) -> anyhow::Result<()> {
    let all: Value = socket(&options.node)?.get("/api/v1/edge-nodes").await?;
    if options.json {
        output::say(&all["items"]);
        return Ok(());
    }
    let Nodes { items } = serde_json::from_value(all).context("the node is of another version")?;
    if items.is_empty() {
        output::say("no edge node sends to this recorder");
    }
    for node in items {
        let heard =
            node.heard.map_or("not heard since the start".to_owned(), |at| format!("last heard {at}"));
        let cameras = match node.cameras.is_empty() {
            true => "no camera here is its".to_owned(),
            false => printable(&node.cameras.join(", ")),
        };
        let (name, since, key) = (printable(&node.name), node.since, node.key);
        output::say(format_args!("{name}, since {since}, {heard}, {cameras}, key {key}"));
    }
    Ok(())
}

async fn token(options: EdgeOptions) -> anyhow::Result<()> {
    let made: Value = socket(&options.node)?.post("/api/v1/edge-nodes/tokens", &Value::Null).await?;
    if options.json {
        output::say(made);
        return Ok(());
    }
    let Token { token, expires } = serde_json::from_value(made).context("the node is of another version")?;
    output::say(token);
    output::complain(format_args!(
        "It registers one edge node, once, until {expires}, and is not shown again."
    ));
    Ok(())
}

async fn remove(options: EdgeRemoveOptions) -> anyhow::Result<()> {
    let client = socket(&options.node)?;
    let Nodes { items } = client.get("/api/v1/edge-nodes").await?;
    let wanted = &options.edge;
    let mut meant = items.iter().filter(|node| node.key == *wanted || node.name == *wanted);
    let node = meant.next();
    ensure!(meant.next().is_none(), "several edge nodes are called {wanted:?}; name one by its key");
    let node =
        node.with_context(|| format!("no edge node {wanted:?} sends here; keepwatch edge nodes lists them"))?;
    client.delete::<()>(&format!("/api/v1/edge-nodes/{}", node.key)).await?;
    output::say(format_args!("nothing more is taken of {}", printable(wanted)));
    Ok(())
}
