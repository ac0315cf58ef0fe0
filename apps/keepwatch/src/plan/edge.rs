//! What an edge node needs, and how long what lasts: of its configuration, of what its running node measures, and of options.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use keepwatch_edge::EdgeConfig;
use keepwatch_recorder::config::DiskRole;
use keepwatch_recorder::config::units::{show_bytes, show_duration, show_rate};
use keepwatch_recording::edge::limit::SpeedLimit;
use keepwatch_recording::edge::plan::{
    CameraPlan, EdgePlan, EdgeSite, NeverDepletes, PlannedCamera, Second, SecondPlace,
};
use keepwatch_web::{SOCKET_NAME, SocketClient};
use rustix::fs::statvfs;
use serde::Deserialize;
use serde_json::{Value, json};

use super::show::table;
use crate::cli::EdgePlanOptions;
use crate::client::printable;
use crate::config::{ConfigFile, DiskTable};

/// What a camera sends when nothing is known of it.
const RATE_USUAL: u64 = 4_000_000;
/// The gap that is reckoned with when none is named.
const GAP_USUAL: Duration = Duration::from_secs(3_600);
/// The absence that storage is reckoned for when none is named: a long weekend.
const OUTAGE_USUAL: Duration = Duration::from_secs(72 * 3_600);
/// As much of a file system is taken where a disk names no size, in percent.
const DISK_PERCENT: u64 = 95;
/// How long the running node may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the running node measured.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// What is recorded of each camera, in bits per second.
    rates: BTreeMap<String, u64>,
    /// What local storage holds before it overwrites.
    room_bytes: Option<u64>,
}

/// As much of the standing of an edge node as is asked for here.
#[derive(Deserialize)]
struct Standing {
    lines: Vec<Line>,
    fill: Option<Fill>,
}

#[derive(Deserialize)]
struct Line {
    camera: String,
    recorded_bits_per_second: Option<u64>,
}

#[derive(Deserialize)]
struct Fill {
    room_bytes: u64,
}

/// Asks the node with the data directory `data` what it measured; nothing when none answers.
pub(super) async fn measured(data: &Path) -> Measured {
    let socket = SocketClient::new(data.join(SOCKET_NAME));
    let asked = tokio::time::timeout(PATIENCE, socket.get::<Standing>("/api/v1/edge"));
    let Ok(Ok(standing)) = asked.await else { return Measured::default() };
    let mut rates = BTreeMap::new();
    for line in standing.lines {
        let bits = line.recorded_bits_per_second.unwrap_or(0);
        let rate: &mut u64 = rates.entry(line.camera).or_default();
        *rate = rate.saturating_add(bits);
    }
    Measured { rates, room_bytes: standing.fill.map(|fill| fill.room_bytes) }
}

/// The node that is planned: what the options say, or the configuration, or what was measured.
pub(super) fn site(options: &EdgePlanOptions, file: Option<&ConfigFile>, measured: &Measured) -> EdgeSite {
    let config = file.map_or_else(EdgeConfig::default, ConfigFile::edge_with_limits);
    let camera = |name: String, limit: SpeedLimit| {
        let known = measured.rates.get(&name).copied().filter(|bits| *bits > 0);
        let mean = options.rate.or(known).unwrap_or(RATE_USUAL);
        PlannedCamera {
            name,
            bits_per_second: mean,
            peak_bits_per_second: options.peak.unwrap_or(mean.saturating_mul(2)).max(mean),
            limit: SpeedLimit {
                percent: options.speed.unwrap_or(limit.percent),
                bits_per_second: options.limit.unwrap_or(limit.bits_per_second),
            },
        }
    };
    let cameras = if let Some(count) = options.cameras {
        (1..=count).map(|number| camera(format!("camera {number}"), config.limit)).collect()
    } else {
        let own = file.into_iter().flat_map(|file| &file.cameras).map(|camera| &camera.draft);
        let own = own.filter(|camera| camera.source.edge_node().is_none());
        let mut names: Vec<(String, SpeedLimit)> =
            own.map(|camera| (camera.id.to_string(), config.limit_of(camera.id))).collect();
        // Cameras that were added in the console are known to the running node only.
        let others = measured.rates.keys().filter(|name| !names.iter().any(|(known, _)| known == *name));
        let others: Vec<_> = others.map(|name| (name.clone(), config.limit)).collect();
        names.extend(others);
        names.into_iter().map(|(name, limit)| camera(name, limit)).collect()
    };
    let disks = |role: fn(DiskRole) -> bool| {
        let all = file.into_iter().flat_map(|file| &file.disks);
        all.filter(move |disk| role(disk.role) && !disk.read_only)
    };
    let sizes = |mut disks: std::vec::IntoIter<&DiskTable>| {
        disks.try_fold(0_u64, |sum, disk| Some(sum.saturating_add(size(disk)?)))
    };
    let internal: Vec<&DiskTable> = disks(|role| role != DiskRole::Second).collect();
    let internal = sizes(internal.into_iter()).filter(|bytes| *bytes > 0);
    let seconds: Vec<&DiskTable> = disks(|role| role == DiskRole::Second).collect();
    let second = (options.second.is_some() || !seconds.is_empty()).then(|| Second {
        bytes: options.second.or_else(|| sizes(seconds.clone().into_iter())),
        place: match seconds.iter().any(|disk| keepwatch_store::is_lun(disk.path.get_ref())) {
            true => SecondPlace::Network,
            false => SecondPlace::Local,
        },
    });
    EdgeSite {
        cameras,
        bandwidth_bits_per_second: options.bandwidth.unwrap_or(0),
        throttle: config.throttle,
        internal_bytes: options.storage.or(measured.room_bytes).or(internal),
        second,
        gap: options.gap.unwrap_or(GAP_USUAL),
        outage: options.outage.unwrap_or(OUTAGE_USUAL),
    }
}

/// What a disk holds; `None` when that cannot be known from here.
fn size(disk: &DiskTable) -> Option<u64> {
    disk.size_bytes.or_else(|| {
        let system = statvfs(disk.path.get_ref()).ok()?;
        Some(system.f_blocks.saturating_mul(system.f_frsize) / 100 * DISK_PERCENT)
    })
}

/// The tables, and sentences on what is wrong.
pub(super) fn show(site: &EdgeSite, plan: &EdgePlan, measured: &Measured) -> String {
    let mut text = String::new();
    // Writing to a text cannot fail.
    let _ = writeln!(
        text,
        "Edge recording: {} cameras, {} recorded, {} at the peaks\n",
        site.cameras.len(),
        show_rate(plan.recorded_bits_per_second),
        show_rate(plan.peak_bits_per_second)
    );
    let size = |bytes: Option<u64>| bytes.map_or_else(|| "of unknown size".to_owned(), show_bytes);
    let gap = show_duration(site.gap);
    let mut rows = vec![
        [format!("local storage, {}, fills in", size(site.internal_bytes)), time(plan.fills_in)],
        [format!("storage for an outage of {}", show_duration(site.outage)), show_bytes(plan.outage_bytes)],
        [format!("after a gap of {gap} all is outside in"), never(plan.depletes_in)],
        [format!("overwritten of a gap of {gap}"), overwritten(plan.overwritten)],
        ["network, as a mean".to_owned(), show_rate(plan.recorded_bits_per_second)],
        ["network, while it is replenished".to_owned(), show_rate(plan.replenishing_bits_per_second)],
    ];
    if let Some(second) = site.second {
        let fills = [format!("second storage, {}, fills in", size(second.bytes)), time(plan.second_fills_in)];
        rows.insert(1, fills);
    }
    text.push_str(&table(&rows));
    let head = ["camera", "recorded", "peak", "speed", "data rate", "leaves at", "outside in"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(site.cameras.iter().zip(&plan.cameras).map(|(camera, planned)| {
        let rate = camera.limit.bits_per_second;
        [
            printable(&camera.name),
            show_rate(camera.bits_per_second),
            show_rate(camera.peak_bits_per_second),
            format!("{} %", camera.limit.percent),
            if rate == 0 { "-".to_owned() } else { show_rate(rate) },
            show_rate(planned.flow.out_bits_per_second),
            never(planned.depletes_in),
        ]
    }));
    let _ = write!(text, "\n{}", table(&rows));
    if measured.rates.is_empty() {
        text.push_str("\nNo node was asked: rates that no option names are assumed.\n");
    }
    for sentence in sentences(site, plan) {
        let _ = writeln!(text, "\n{sentence}");
    }
    text
}

/// What an operator must know beside the numbers.
fn sentences(site: &EdgeSite, plan: &EdgePlan) -> Vec<String> {
    let mut said: Vec<String> = plan.never.iter().map(NeverDepletes::to_string).collect();
    for (camera, CameraPlan { never, behind_at_peak, .. }) in site.cameras.iter().zip(&plan.cameras) {
        let name = printable(&camera.name);
        said.extend(never.map(|never| format!("{name}: {never}")));
        if *behind_at_peak {
            said.push(format!(
                "{name}: its data rate limit of {} is below its peak of {}: it falls behind while much moves",
                show_rate(camera.limit.bits_per_second),
                show_rate(camera.peak_bits_per_second)
            ));
        }
    }
    if !plan.overwritten.is_zero() {
        said.push(format!(
            "local storage is too small for a gap of {}: the oldest {} of it are overwritten before they can leave",
            show_duration(site.gap),
            time(Some(plan.overwritten))
        ));
    }
    if plan.second_passes == Some(3) {
        said.push(format!(
            "while the second storage is in use (case 4), footage goes over the network three times: to the LUN, back from it, and to \
             the external storage, {} in all as a mean. It protects against failures beyond the second storage only: with the \
             network to the LUN cut, nothing but memory takes the footage.",
            show_rate(plan.recorded_bits_per_second.saturating_mul(3))
        ));
    }
    said
}

/// The same for programs.
pub(super) fn json(site: &EdgeSite, plan: &EdgePlan) -> Value {
    let millis =
        |time: Option<Duration>| time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let cameras = site.cameras.iter().zip(&plan.cameras).map(|(camera, planned)| {
        json!({
            "camera": camera.name,
            "recorded_bits_per_second": camera.bits_per_second,
            "peak_bits_per_second": camera.peak_bits_per_second,
            "speed_percent": camera.limit.percent,
            "limit_bits_per_second": camera.limit.bits_per_second,
            "leaves_bits_per_second": planned.flow.out_bits_per_second,
            "depletes_in_ms": millis(planned.depletes_in),
            "never_depletes": planned.never.map(|never| never.to_string()),
        })
    });
    json!({
        "cameras": cameras.collect::<Vec<_>>(),
        "recorded_bits_per_second": plan.recorded_bits_per_second,
        "peak_bits_per_second": plan.peak_bits_per_second,
        "replenishing_bits_per_second": plan.replenishing_bits_per_second,
        "storage_bytes": site.internal_bytes,
        "fills_in_ms": millis(plan.fills_in),
        "second_fills_in_ms": millis(plan.second_fills_in),
        "second_passes": plan.second_passes,
        "gap_ms": millis(Some(site.gap)),
        "overwritten_ms": millis(Some(plan.overwritten)),
        "depletes_in_ms": millis(plan.depletes_in),
        "worst_camera": plan.worst.and_then(|worst| site.cameras.get(worst)).map(|camera| &camera.name),
        "outage_ms": millis(Some(site.outage)),
        "outage_bytes": plan.outage_bytes,
        "never_depletes": plan.never.map(|never| never.to_string()),
        "sentences": sentences(site, plan),
    })
}

fn never(depletes_in: Option<Duration>) -> String {
    if depletes_in.is_some() { time(depletes_in) } else { "never".to_owned() }
}

fn overwritten(lost: Duration) -> String {
    if lost.is_zero() { "nothing".to_owned() } else { time(Some(lost)) }
}

/// To two units, rounded up to the lesser one.
fn time(time: Option<Duration>) -> String {
    let Some(time) = time else { return "-".to_owned() };
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    let (minutes, hours) = (seconds.div_ceil(60), seconds.div_ceil(3_600));
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..172_800 => format!("{} h {} min", minutes / 60, minutes % 60),
        _ => format!("{} days {} h", hours / 24, hours % 24),
    }
}
