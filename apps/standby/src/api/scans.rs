//! Looking for recorders.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use keepwatch_model::{RoleId, WallTime};
use keepwatch_recorder::api::{Search, scan_unknown};
use keepwatch_recorder::peers::{FoundNode, ScanWish};
use keepwatch_recording::peer::own_version;
use keepwatch_web::{Action, Caller, Problem};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Standby;

/// The maximum scanning time unless it is said.
const SECONDS_DEFAULT: u64 = 15;

/// What to look for.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RecorderScanBody {
    /// Addresses and ranges to ask one by one; left out, recorders that announce themselves are listened for.
    #[serde(default)]
    #[schema(example = json!(["192.0.2.0/24"]))]
    addresses: Option<Vec<String>>,
    /// The port at which addresses are asked; 8443 when left out.
    #[serde(default)]
    port: Option<u16>,
    /// Maximum scanning time, 1 to 60; 15 when left out.
    #[serde(default)]
    seconds: Option<u64>,
}

/// A scan that was begun.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[cfg_attr(test, derive(Deserialize), serde(deny_unknown_fields))]
pub(super) struct RecorderScanBegun {
    /// Its id.
    id: String,
}

/// How a scan stands, and what it found until now.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[cfg_attr(test, derive(Deserialize), serde(deny_unknown_fields))]
pub(super) struct RecorderScan {
    /// Its id.
    id: String,
    /// Whether it goes on.
    running: bool,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    since: WallTime,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    ended: Option<WallTime>,
    /// How many of the single addresses were asked.
    asked: usize,
    /// How many there are to be asked.
    all: usize,
    /// What could not be searched, and why.
    failed: Vec<String>,
    /// The recorders found until now.
    items: Vec<FoundRecorder>,
}

/// A recorder that was found. Its role and name are what it says of itself; its key was proven.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[cfg_attr(test, derive(Deserialize), serde(deny_unknown_fields))]
struct FoundRecorder {
    /// Where it answers nodes.
    address: String,
    /// Its name.
    name: String,
    /// Its version.
    version: String,
    /// The hardware address of its network interface, as it says.
    mac: Option<String>,
    /// The role that it plays.
    #[schema(value_type = String)]
    role: RoleId,
    /// Its key, which it has proven: 64 hexadecimal digits.
    key: String,
    /// It records in the place of others.
    standby: bool,
    /// The names of the standbys that watch it.
    watched_by: Vec<String>,
    /// It is on the *Monitoring* list here.
    registered: bool,
    /// Its version is not this node's: it cannot be registered.
    version_differs: bool,
}

/// Looks for recorders. One scan runs at a time.
#[utoipa::path(post, path = "/api/v1/failover/scans", operation_id = "beginRecorderScan", tag = "failover",
    request_body = RecorderScanBody, responses((status = 201, body = RecorderScanBegun)))]
pub(super) async fn begin(
    State(standby): State<Standby>,
    caller: Caller,
    Json(body): Json<RecorderScanBody>,
) -> Result<(StatusCode, Json<RecorderScanBegun>), Problem> {
    let seconds = body.seconds.unwrap_or(SECONDS_DEFAULT);
    let addresses = body.addresses.unwrap_or_default();
    let Search { ranges, time_max, searched } = Search::read(&addresses, seconds)?;
    let wish = ScanWish {
        announced: ranges.is_empty().then(Vec::new),
        announced_port: keepwatch_announce::PORT,
        ranges,
        port: body.port.unwrap_or(keepwatch_recorder::peers::PORT),
        time_max,
    };
    let id = standby.begin_scan(wish).map_err(|running| {
        let detail = format!(
            "scan {running} runs; wait for its end, or stop it by DELETE /api/v1/failover/scans/{running}"
        );
        Problem::conflict("scan_running", detail)
    })?;
    // A search changes nothing, so it is not waited for.
    let words = format!("looked for recorders in {searched}");
    drop(caller.enter(Action::RecordersSearched, format!("scan:{id}"), words));
    Ok((StatusCode::CREATED, Json(RecorderScanBegun { id: id.to_string() })))
}

/// How a scan stands. The last one is kept.
#[utoipa::path(get, path = "/api/v1/failover/scans/{id}", operation_id = "recorderScan", tag = "failover",
    params(("id" = String, Path, description = "The scan.")), responses((status = 200, body = RecorderScan)))]
pub(super) async fn one(
    State(standby): State<Standby>,
    Path(id): Path<String>,
) -> Result<Json<RecorderScan>, Problem> {
    let state = id.parse().ok().and_then(|id| standby.scan(id)).ok_or_else(|| scan_unknown(&id))?;
    let lists = standby.lists();
    let watched = |role: RoleId| lists.primaries.iter().any(|primary| primary.view.role == role);
    let item = |found: FoundNode| {
        let FoundNode { address, hello } = found;
        FoundRecorder {
            address: address.to_string(),
            registered: watched(hello.role),
            version_differs: hello.version() != Some(own_version()),
            name: hello.name,
            version: hello.version,
            mac: hello.mac,
            role: hello.role,
            key: hello.key.to_string(),
            standby: hello.standby,
            watched_by: hello.watched_by,
        }
    };
    let progress = state.found.progress();
    Ok(Json(RecorderScan {
        id: state.id.to_string(),
        running: state.ended.is_none(),
        since: state.since,
        ended: state.ended,
        asked: progress.asked,
        all: progress.all,
        failed: progress.failed.into_iter().collect(),
        items: state.found.nodes.into_iter().map(item).collect(),
    }))
}

/// Stops a scan; what it found until then stays.
#[utoipa::path(delete, path = "/api/v1/failover/scans/{id}", operation_id = "stopRecorderScan", tag = "failover",
    params(("id" = String, Path, description = "The scan.")), responses((status = 204)))]
pub(super) async fn stop(
    State(standby): State<Standby>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    if id.parse().is_ok_and(|id| standby.stop_scan(id)) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(scan_unknown(&id))
    }
}
