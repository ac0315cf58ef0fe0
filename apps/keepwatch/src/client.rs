//! `keepwatch status` and `keepwatch export`: what a running node knows, asked over its Unix socket.
//!
//! An export reads the store directly when no node runs, so that footage can be had from a machine that is down.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context;
use keepwatch_model::{CameraId, Span, StreamId, WallTime};
use keepwatch_recorder::export::Export;
use keepwatch_store::Store;
use keepwatch_web::{ClientError, SOCKET_NAME, SocketClient};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cli::{ExportOptions, NodeOptions, StatusOptions};
use crate::config::{self, show_bytes};
use crate::{Outcome, output, verify};

/// A camera as the API shows it; keys that this program does not use are left out.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Camera {
    /// Its id.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// Whether its frames reach the disk.
    pub(crate) recording: bool,
    /// End of what is on disk.
    pub(crate) durable_until: Option<WallTime>,
    /// Since when the connection is in the state it is in.
    since: Option<WallTime>,
    /// State of the connection.
    #[serde(default)]
    connection: String,
    /// Why it is not recorded.
    detail: Option<String>,
    /// Its streams; the main one is the camera's own row.
    #[serde(default)]
    streams: Vec<Stream>,
    /// How its alarms stand, where it is recorded on alarm.
    #[serde(default)]
    alarm: Option<Alarm>,
}

/// How the alarms of a camera stand, as the API shows it.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Alarm {
    state: String,
    since: WallTime,
    cause: Option<String>,
    triggers: Option<String>,
    held_ms: u64,
}

/// A stream of a camera as the API shows it.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Stream {
    stream: String,
    recording: bool,
    durable_until: Option<WallTime>,
    since: Option<WallTime>,
    #[serde(default)]
    connection: String,
    detail: Option<String>,
}

/// The list of cameras.
#[derive(Debug, Deserialize)]
pub(crate) struct Cameras {
    /// The cameras.
    pub(crate) items: Vec<Camera>,
}

#[derive(Debug, Deserialize)]
struct Status {
    name: String,
    version: String,
    started: WallTime,
    now: WallTime,
    disks: Vec<Disk>,
    #[serde(default)]
    certificate: Option<String>,
    #[serde(default)]
    signing_key: Option<String>,
    #[serde(default)]
    settings: Settings,
}

#[derive(Debug, Default, Deserialize)]
struct Settings {
    problem: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Disk {
    path: String,
    state: String,
    detail: Option<String>,
    slow: bool,
    size_bytes: u64,
    used_bytes: u64,
    protected_bytes: u64,
    #[serde(default)]
    written_bytes: u64,
    #[serde(default)]
    media_bytes: u64,
}

/// The data directory of the node that `options` name. Only where the configuration says it is matters here, so one
/// with mistakes elsewhere will do.
pub(crate) fn data_of(options: &NodeOptions) -> anyhow::Result<PathBuf> {
    if let Some(data) = &options.data {
        return Ok(data.clone());
    }
    let file = options.config_file().context("no configuration is named")?;
    Ok(config::load(&file)?.node.recorder.data)
}

/// Shows what the node records.
pub(crate) async fn status(options: StatusOptions) -> anyhow::Result<Outcome> {
    let data = data_of(&options.node)?;
    let client = SocketClient::new(data.join(SOCKET_NAME));
    let status: Value = client.get("/api/v1/status").await?;
    let cameras: Value = client.get("/api/v1/cameras").await?;
    let listed: Cameras =
        serde_json::from_value(cameras.clone()).context("the node is of another version")?;
    let shown: Status = serde_json::from_value(status.clone()).context("the node is of another version")?;
    if options.json {
        output::say(json!({"node": status, "cameras": cameras["items"]}));
    } else {
        for line in report(&shown, &listed.items) {
            output::say(line);
        }
    }
    Ok(if well(&shown, &listed.items) { Outcome::Done } else { Outcome::FaultsFound })
}

fn well(status: &Status, cameras: &[Camera]) -> bool {
    let recorded = cameras.iter().all(|camera| camera.recording || is_resting(&camera.connection));
    let usable = status.settings.problem.is_none();
    recorded && usable && status.disks.iter().all(|disk| disk.state == "online" && !disk.slow)
}

/// Nobody asks for footage at present.
fn is_resting(connection: &str) -> bool {
    matches!(connection, "unwanted" | "armed")
}

/// The state of a node for people.
fn report(status: &Status, cameras: &[Camera]) -> Vec<String> {
    let recording = cameras.iter().filter(|camera| camera.recording).count();
    let mut lines = vec![
        format!(
            "{}, version {}, running since {}",
            status.name,
            status.version,
            seconds(Some(status.started))
        ),
        format!("{recording} of {} cameras recording at {}", cameras.len(), seconds(Some(status.now))),
    ];
    lines.extend(status.certificate.as_ref().map(|shown| format!("certificate {}", printable(shown))));
    lines.extend(status.signing_key.as_ref().map(|shown| format!("signs exports with {}", printable(shown))));
    let unusable =
        |problem| format!("what is edited in the console cannot all be used: {}", printable(problem));
    lines.extend(status.settings.problem.as_deref().map(unusable));
    lines.push(String::new());
    let mut rows = vec![["CAMERA", "NAME", "RECORDING", "ON DISK UNTIL", "GAP SINCE"].map(str::to_owned)];
    for camera in cameras {
        let main = Stream {
            stream: "main".to_owned(),
            recording: camera.recording,
            durable_until: camera.durable_until,
            since: camera.since,
            connection: camera.connection.clone(),
            detail: camera.detail.clone(),
        };
        rows.push(row(camera.id.clone(), printable(&camera.name), &main));
        for sub in camera.streams.iter().filter(|stream| stream.stream != "main") {
            rows.push(row(camera.id.clone(), format!("{} stream", printable(&sub.stream)), sub));
        }
    }
    lines.extend(table(&rows));
    lines.push(String::new());
    lines.extend(alarms(cameras));
    let mut rows = vec![["DISK", "STATE", "SIZE", "USED", "PROTECTED", "WRITTEN"].map(str::to_owned)];
    for disk in &status.disks {
        let mut state = disk.state.clone();
        if disk.slow {
            state += ", too slow";
        }
        if let Some(detail) = &disk.detail {
            state += &format!(" ({})", printable(detail));
        }
        rows.push([
            disk.path.clone(),
            state,
            show_bytes(disk.size_bytes),
            show_bytes(disk.used_bytes),
            show_bytes(disk.protected_bytes),
            written(disk),
        ]);
    }
    lines.extend(table(&rows));
    lines
}

/// How the alarms of cameras stand that are recorded on alarm.
fn alarms(cameras: &[Camera]) -> Vec<String> {
    let mut rows = vec![["ON ALARM", "STATE", "SINCE", "TRIGGERS", "BECAUSE"].map(str::to_owned)];
    for camera in cameras {
        let Some(alarm) = &camera.alarm else { continue };
        let triggers = match alarm.triggers.as_deref() {
            None => "calls only",
            Some("heard") => "heard",
            Some(_) => "UNHEARD",
        };
        // To the nearest second.
        let held = || format!("{} s wait in memory", alarm.held_ms.saturating_add(500) / 1_000);
        let because = alarm.cause.as_deref().map_or_else(held, printable);
        rows.push([
            camera.id.clone(),
            printable(&alarm.state),
            seconds(Some(alarm.since)),
            triggers.to_owned(),
            because,
        ]);
    }
    if rows.len() == 1 {
        return Vec::new();
    }
    let mut lines = table(&rows);
    lines.push(String::new());
    lines
}

/// What a disk was given to write since the start, and how much more that is than the media.
fn written(disk: &Disk) -> String {
    let hundredths = disk.written_bytes.saturating_mul(100).checked_div(disk.media_bytes);
    let beyond = hundredths.map(|ratio| format!(" ({}.{:02} x the media)", ratio / 100, ratio % 100));
    show_bytes(disk.written_bytes) + beyond.as_deref().unwrap_or_default()
}

/// The row of a stream.
fn row(id: String, name: String, stream: &Stream) -> [String; 5] {
    let word = match (stream.recording, stream.connection.as_str()) {
        (true, _) => "yes",
        (false, "unwanted") => "unscheduled",
        (false, "armed") => "no alarm",
        (false, _) => "NO",
    };
    let gap = if stream.recording || is_resting(&stream.connection) {
        "-".to_owned()
    } else {
        // A gap begins where the footage on disk ends.
        let since = seconds(stream.durable_until.or(stream.since));
        let why = stream.detail.as_deref().unwrap_or(&stream.connection);
        format!("{since}  {}", printable(why))
    };
    [id, name, word.to_owned(), seconds(stream.durable_until), gap]
}

/// A time to the second, as far as a person needs it.
pub(crate) fn seconds(time: Option<WallTime>) -> String {
    time.map_or_else(
        || "-".to_owned(),
        |time| format!("{}Z", time.to_string().chars().take(19).collect::<String>()),
    )
}

/// A text from outside without what would move the cursor of a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// Rows with their columns under each other; the last column is as long as it is.
pub(crate) fn table<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    rows.iter()
        .map(|row| {
            let cells: Vec<String> =
                row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            cells.join("  ").trim_end().to_owned()
        })
        .collect()
}

/// Writes footage to a file.
pub(crate) async fn export(options: ExportOptions) -> anyhow::Result<Outcome> {
    let wanted = Wanted::of(&options)?;
    let data = data_of(&options.node)?;
    let client = SocketClient::new(data.join(SOCKET_NAME));
    let written = match from_node(&client, &wanted).await {
        Err(ClientError::NotRunning { .. }) => from_store(&options.node, &wanted)?,
        result => result?,
    };
    output::say(format_args!("{}: {}", wanted.output.display(), show_bytes(written)));
    Ok(Outcome::Done)
}

/// What is to be exported.
struct Wanted<'a> {
    camera: CameraId,
    stream: StreamId,
    window: Span,
    output: &'a Path,
}

impl<'a> Wanted<'a> {
    fn of(options: &'a ExportOptions) -> anyhow::Result<Self> {
        let missing = "--camera, --from, --to and --output are needed";
        let (from, to) = options.from.zip(options.to).context(missing)?;
        Ok(Self {
            camera: options.camera.context(missing)?,
            stream: options.stream,
            window: Span::new(from, to).with_context(|| format!("--to {to} is not after --from {from}"))?,
            output: options.output.as_deref().context(missing)?,
        })
    }
}

/// Has the running node export into the file, which appears when it is complete.
async fn from_node(client: &SocketClient, options: &Wanted<'_>) -> Result<u64, ClientError> {
    let target = format!(
        "/api/v1/cameras/{}/export.mp4?from={}&to={}&stream={}",
        options.camera, options.window.from, options.window.to, options.stream
    );
    let mut unfinished = options.output.to_owned().into_os_string();
    unfinished.push(".part");
    let unfinished = PathBuf::from(unfinished);
    let mut progress = output::Progress::new();
    // The file is made only when the node has agreed: a refusal leaves nothing behind.
    let mut made = false;
    let make = || {
        made = true;
        File::create(&unfinished)
    };
    let report = |done, all: Option<u64>| progress.show(done, all.unwrap_or(0), show_bytes(done));
    let result = client.get_into(&target, make, report).await.and_then(|(written, file)| {
        file.sync_all().and_then(|()| fs::rename(&unfinished, options.output)).map_err(ClientError::Write)?;
        Ok(written)
    });
    if result.is_err() && made {
        // The error at hand matters more than one of tidying up after it.
        let _ = fs::remove_file(&unfinished);
    }
    result
}

/// Reads the store without a node.
fn from_store(node: &NodeOptions, options: &Wanted<'_>) -> anyhow::Result<u64> {
    let (data, disks) = verify::store_of(node)?;
    let title = title(node, options.camera);
    let store = Store::open_read_only(&data, &disks)?;
    let export = Export::plan(&store, options.camera, options.stream, &title, options.window)?;
    let bytes = export.file_bytes();
    export.write_file(options.output)?;
    store.close();
    Ok(bytes)
}

/// The camera's name where a configuration is at hand, else its id.
fn title(node: &NodeOptions, id: CameraId) -> String {
    let configured = node.config_file().and_then(|file| config::load(&file).ok());
    let camera =
        configured.and_then(|loaded| loaded.node.recorder.cameras.into_iter().find(|camera| camera.id == id));
    camera.map_or_else(|| id.to_string(), |camera| camera.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_a_node_is_a_table() {
        let camera = |id: &str, value: Value| {
            let mut base = json!({"id": id, "name": id.to_uppercase(), "recording": true, "detail": null,
                "durable_until": "2026-11-21T22:05:01.5Z", "since": "2026-11-21T22:00:00Z", "connection": "recording"});
            base.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
            serde_json::from_value::<Camera>(base).unwrap()
        };
        let cameras = [
            camera(
                "gate",
                json!({"streams": [
                    {"stream": "main", "recording": true, "durable_until": null, "since": null, "detail": null},
                    {"stream": "sub", "recording": false, "durable_until": null, "since": "2026-11-21T22:00:00Z",
                        "connection": "waiting", "detail": "no such stream"},
                ]}),
            ),
            camera("yard", json!({"recording": false, "connection": "waiting", "detail": "lost\u{1b}[2J"})),
            camera("shop", json!({"recording": false, "connection": "unwanted", "durable_until": null})),
            camera(
                "hall",
                json!({"recording": false, "connection": "armed", "alarm": {"state": "waiting", "triggers": "heard",
                    "since": "2026-11-21T22:03:00Z", "cause": null, "kept_by": null, "held_ms": 9_800}}),
            ),
            camera(
                "stairs",
                json!({"alarm": {"state": "recording", "triggers": "unheard", "since": "2026-11-21T22:04:00Z",
                    "cause": "guard raised it: \u{1b}fire", "kept_by": null, "held_ms": 0}}),
            ),
        ];
        let status: Status = serde_json::from_value(json!({
            "certificate": "sha256:00", "name": "north", "version": "1", "started": "2026-11-21T22:00:00Z", "now": "2026-11-21T22:05:02Z",
            "disks": [{"path": "/srv/f", "state": "gone", "detail": "no such file", "slow": true,
                "size_bytes": 1_u64 << 30, "used_bytes": 1_u64 << 29, "protected_bytes": 0,
                "written_bytes": 105 << 20, "media_bytes": 100 << 20}],
        }))
        .unwrap();
        assert!(!well(&status, &cameras));
        let expected = "\
north, version 1, running since 2026-11-21T22:00:00Z
2 of 5 cameras recording at 2026-11-21T22:05:02Z
certificate sha256:00

CAMERA  NAME        RECORDING    ON DISK UNTIL         GAP SINCE
gate    GATE        yes          2026-11-21T22:05:01Z  -
gate    sub stream  NO           -                     2026-11-21T22:00:00Z  no such stream
yard    YARD        NO           2026-11-21T22:05:01Z  2026-11-21T22:05:01Z  lost [2J
shop    SHOP        unscheduled  -                     -
hall    HALL        no alarm     2026-11-21T22:05:01Z  -
stairs  STAIRS      yes          2026-11-21T22:05:01Z  -

ON ALARM  STATE      SINCE                 TRIGGERS  BECAUSE
hall      waiting    2026-11-21T22:03:00Z  heard     10 s wait in memory
stairs    recording  2026-11-21T22:04:00Z  UNHEARD   guard raised it:  fire

DISK    STATE                          SIZE     USED       PROTECTED  WRITTEN
/srv/f  gone, too slow (no such file)  1.0 GiB  512.0 MiB  0 B        105.0 MiB (1.05 x the media)";
        assert_eq!(report(&status, &cameras).join("\n"), expected);
    }
}
