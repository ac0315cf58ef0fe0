//! Looking for cameras in the network.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use keepwatch_model::WallTime;
use keepwatch_onvif::discovery::{PORT, Unreachable};
use keepwatch_web::{Action, Caller, Problem};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::search::{Search, scan_unknown};
use crate::Node;
use crate::config::{CameraConfig, CameraSource};
use crate::scan::{self, FoundCameras, SuggestedIds};
use crate::searches::SearchState;

/// How long answers are waited for unless it is said.
const SECONDS_DEFAULT: u64 = 10;

/// What to look for.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ScanBody {
    /// Addresses and ranges of at most 4096 addresses to ask one by one; left out, all networks are asked by multicast.
    #[serde(default)]
    #[schema(example = json!(["192.0.2.0/24"]))]
    addresses: Option<Vec<String>>,
    /// How long to wait for answers, 1 to 60; 10 when left out.
    #[serde(default)]
    seconds: Option<u64>,
}

/// A scan that was begun.
#[derive(Serialize, ToSchema)]
pub(super) struct ScanBegun {
    /// Its id.
    id: String,
}

/// How a scan stands, and what it found until now.
#[derive(Serialize, ToSchema)]
pub(super) struct Scan {
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
    /// Who answered and is no camera: computers, printers. Counted at the end.
    others: usize,
    /// What could not be searched, and why.
    failed: Vec<String>,
    /// Cameras that answered by the address of a link only, which cannot be configured. Told at the end.
    unreachable: Vec<UnreachableCamera>,
    /// The cameras found until now. What they say of themselves is not checked.
    items: Vec<FoundCamera>,
}

/// A camera that answered and has no address that can be configured.
#[derive(Serialize, ToSchema)]
pub(super) struct UnreachableCamera {
    /// The address that it answered from.
    #[schema(example = "fe80::7")]
    address: String,
    /// The interface that it was heard by; `null` when it was asked directly.
    interface: Option<String>,
}

/// A camera that was found.
#[derive(Serialize, ToSchema)]
pub(super) struct FoundCamera {
    /// An id that is free, made of its name.
    id: String,
    /// Its host.
    address: String,
    /// Its ONVIF address, for `onvif` of a camera.
    onvif: String,
    /// What its owner calls it; empty when it does not say.
    name: String,
    /// Its hardware; empty when it does not say.
    model: String,
    /// Whether a camera at this host is configured already.
    added: bool,
}

/// Looks for cameras in the network. One scan runs at a time.
#[utoipa::path(post, path = "/api/v1/scans", operation_id = "beginScan", tag = "scans", request_body = ScanBody,
    responses((status = 201, body = ScanBegun)))]
pub(super) async fn begin(
    State(node): State<Node>,
    caller: Caller,
    Json(body): Json<ScanBody>,
) -> Result<(StatusCode, Json<ScanBegun>), Problem> {
    let seconds = body.seconds.unwrap_or(SECONDS_DEFAULT);
    let addresses = body.addresses.unwrap_or_default();
    let Search { ranges, time_max, searched } = Search::read(&addresses, seconds)?;
    let wanted = scan::options(Vec::new(), ranges, time_max, PORT);
    let clock = node.clock();
    let id = scan::begin(node.scans(), wanted, move || clock.wall()).map_err(|running| {
        let detail =
            format!("scan {running} runs; wait for its end, or stop it by DELETE /api/v1/scans/{running}");
        Problem::conflict("scan_running", detail)
    })?;
    // A search changes nothing, so it is not waited for.
    drop(caller.enter(
        Action::CameraTested,
        format!("scan:{id}"),
        format!("looked for cameras in {searched}"),
    ));
    Ok((StatusCode::CREATED, Json(ScanBegun { id: id.to_string() })))
}

/// How a scan stands. The last one is kept.
#[utoipa::path(get, path = "/api/v1/scans/{id}", operation_id = "scan", tag = "scans",
    params(("id" = String, Path, description = "The scan.")), responses((status = 200, body = Scan)))]
pub(super) async fn one(State(node): State<Node>, Path(id): Path<String>) -> Result<Json<Scan>, Problem> {
    let state = id.parse().ok().and_then(|id| node.scans().state(id)).ok_or_else(|| scan_unknown(&id))?;
    Ok(Json(show(&node, state)))
}

/// Stops a scan; what it found until then stays.
#[utoipa::path(delete, path = "/api/v1/scans/{id}", operation_id = "stopScan", tag = "scans",
    params(("id" = String, Path, description = "The scan.")), responses((status = 204)))]
pub(super) async fn stop(State(node): State<Node>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    if id.parse().is_ok_and(|id| node.scans().stop(id)) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(scan_unknown(&id))
    }
}

/// Of how a scan stands, what is told at once; what was found and asked is counted up once a second.
pub(super) fn still(state: &SearchState<FoundCameras>) -> impl Serialize {
    (state.id, state.since, state.ended)
}

/// How a scan stands.
pub(super) fn show(node: &Node, state: SearchState<FoundCameras>) -> Scan {
    let cameras = node.cameras();
    let mut ids = SuggestedIds::beside(cameras.iter().map(|camera| camera.id.to_string()).collect());
    let configured: BTreeSet<String> = cameras.iter().flat_map(|camera| hosts(&camera.config())).collect();
    let items = state.found.cameras.iter().map(|found| {
        let address = found.address.host_str().unwrap_or_default().to_owned();
        FoundCamera {
            id: ids.suggest(found),
            onvif: found.address.to_string(),
            name: found.name.clone(),
            model: found.hardware.clone(),
            added: configured.contains(&address),
            address,
        }
    });
    Scan {
        items: items.collect(),
        id: state.id.to_string(),
        running: state.ended.is_none(),
        since: state.since,
        ended: state.ended,
        asked: state.found.asked.0,
        all: state.found.asked.1,
        others: state.found.others,
        failed: state.found.failed,
        unreachable: state.found.unreachable.into_iter().map(UnreachableCamera::from).collect(),
    }
}

impl From<Unreachable> for UnreachableCamera {
    fn from(camera: Unreachable) -> Self {
        Self { address: camera.sender.to_string(), interface: camera.interface }
    }
}

/// The hosts at which a camera is reached.
fn hosts(config: &CameraConfig) -> Vec<String> {
    let host = |url: &url::Url| url.host_str().map(str::to_owned);
    match &config.source {
        CameraSource::Rtsp { url, sub_url } => std::iter::once(url).chain(sub_url).filter_map(host).collect(),
        CameraSource::Onvif { url, .. } => host(url).into_iter().collect(),
        CameraSource::Edge { .. } => Vec::new(),
    }
}
