//! How long coverage takes to answer over a long ledger.
//!
//! `coverage_query DAYS [CAMERAS] [ROUNDS]` enters a ledger of so many days, with a reconnect every hour and another
//! length of gap each time, takes it up as a node does after a restart, and asks the HTTP API, JSON included, for
//! the last 24 hours and for the whole range in 2,000 buckets. The last line is one JSON object.
#![expect(clippy::print_stdout, reason = "a program that reports on standard output")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use keepwatch_model::{CameraId, StreamId, TICKS_PER_SECOND, WallTime};
use keepwatch_recorder::config::{CameraConfig, DiskConfig, RecorderConfig};
use keepwatch_recorder::{Clock, Node, api};
use keepwatch_store::{LedgerRow, Silent, Store, StoreConfig};
use keepwatch_web::{Application, Audit, Auth, AuthConfig, Channel, Peer, SystemClock};
use tower::ServiceExt;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Codes of held spans and gaps for a lost connection, as the recorder stores them.
const HELD: (u8, u8) = (1, 0);
const GAP: (u8, u8) = (2, 2);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |default: u32| arguments.next().map_or(Ok(default), |text| text.parse());
    let (days, cameras, rounds) = (next(30)?, next(64)?, next(5)?);
    let directory = tempfile::tempdir()?;
    let ids: Vec<CameraId> =
        (1..=cameras).map(|number| format!("cam{number}").parse()).collect::<Result<_, _>>()?;
    let now = Clock::new().wall();
    let from = now.plus(-i64::from(days) * 86_400 * TICKS_PER_SECOND);
    fill(directory.path(), &ids, from, now)?;

    let before = Instant::now();
    let node = Node::start(config(directory.path(), &ids)).await?;
    let start_ms = before.elapsed().as_millis();
    let api = application(directory.path(), &node)?.router();
    let day = now.plus(-86_400 * TICKS_PER_SECOND);
    let mut day_ms = Vec::new();
    let mut whole_ms = Vec::new();
    for _ in 0..rounds {
        for id in &ids {
            day_ms.push(ask(&api, &format!("/api/v1/cameras/{id}/coverage?from={day}&to={now}")).await?);
            let whole = format!("/api/v1/cameras/{id}/coverage?from={from}&to={now}&buckets=2000");
            whole_ms.push(ask(&api, &whole).await?);
        }
    }
    node.stop().await;
    let resident = std::fs::read_to_string("/proc/self/status")?;
    let rss_kb = resident.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
    println!(
        "{{\"days\":{days},\"cameras\":{cameras},\"p95_ms\":{:.3},\"day_p95_ms\":{:.3},\"whole_p95_ms\":{:.3},\"start_ms\":{start_ms},\"rss_mb\":{}}}",
        p95(&mut day_ms).max(p95(&mut whole_ms)),
        p95(&mut day_ms),
        p95(&mut whole_ms),
        rss_kb.and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) / 1024,
    );
    Ok(())
}

fn store_config(data: &Path) -> StoreConfig {
    StoreConfig::new(data, vec![keepwatch_store::DiskConfig::new(data.join("disk"), Some(128 << 20))])
}

fn config(data: &Path, ids: &[CameraId]) -> RecorderConfig {
    let url: url::Url = "rtsp://127.0.0.1:9/".parse().expect("a well-formed address");
    let camera = |id: &CameraId| CameraConfig::new(*id, url.clone());
    RecorderConfig {
        name: "bench".to_owned(),
        data: data.to_owned(),
        disks: vec![DiskConfig { size_bytes: Some(128 << 20), ..DiskConfig::new(data.join("disk")) }],
        retention: None,
        buffer_bytes_max: 64 << 20,
        exports_bytes_max: None,
        cameras: ids.iter().map(camera).collect(),
        rtsp: keepwatch_recorder::config::RtspConfig::default(),
    }
}

/// Enters one reconnect an hour, with gaps of 1 to 30 s.
fn fill(data: &Path, ids: &[CameraId], from: WallTime, now: WallTime) -> Result<(), Failure> {
    std::fs::create_dir_all(data.join("disk"))?;
    let (store, _) = Store::open(store_config(data), Arc::new(Silent))?;
    let hour = 3_600 * TICKS_PER_SECOND;
    for (id, phase) in ids.iter().zip(0i64..) {
        let mut rows = Vec::new();
        let mut at = from.plus(phase * TICKS_PER_SECOND);
        let mut row = |from, (kind, reason)| {
            rows.push(LedgerRow {
                camera: *id,
                stream: StreamId::MAIN,
                from,
                to: None,
                kind,
                reason,
                recorder: None,
                replaces: None,
                backfill: 0,
            })
        };
        while at.plus(hour) < now {
            row(at, HELD);
            let gap = (1 + (at.ticks() / hour).rem_euclid(30)) * TICKS_PER_SECOND;
            row(at.plus(hour - gap), GAP);
            at = at.plus(hour);
        }
        store.ledger_replace(*id, StreamId::MAIN, WallTime::MIN, &rows)?;
    }
    store.heartbeat(now)?;
    store.close();
    Ok(())
}

/// The API of `node`, as its own user asks it over the Unix socket.
fn application(data: &Path, node: &Node) -> Result<Application, Failure> {
    let clock = Arc::new(SystemClock::default());
    let (audit, _) = Audit::open(data, Arc::clone(&clock) as _)?;
    let (auth, _) = Auth::open(AuthConfig {
        data: data.to_owned(),
        admin_password: None,
        watcher: Arc::new(node.clone()),
        clock,
        audit,
    })?;
    Ok(Application::new(&auth, api::routes(node.clone(), &[]), None))
}

/// Milliseconds until the whole answer is there.
async fn ask(api: &Router, uri: &str) -> Result<f64, Failure> {
    let before = Instant::now();
    let request = Request::get(uri)
        .extension(Peer::Process { uid: 0, administrator: true })
        .extension(Channel::Socket)
        .body(Body::empty())?;
    let response = api.clone().oneshot(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    let took: Duration = before.elapsed();
    if !status.is_success() || body.len() < 1_000 {
        return Err(format!("{uri}: {status}, {} bytes", body.len()).into());
    }
    Ok(took.as_secs_f64() * 1_000.0)
}

fn p95(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() * 95 / 100).copied().unwrap_or(f64::NAN)
}
