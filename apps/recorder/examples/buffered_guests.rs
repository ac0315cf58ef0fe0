//! What the pre-buffer of a standby takes, and how long it takes to bring it to the disk.
//!
//! `buffered_guests ADDRESS [CAMERAS] [SECONDS] [MEMORY_SECONDS]` receives `cam1` to `camN` of the RTSP server at ADDRESS (such as
//! `keepwatch lab load`), a process of its own, as guests: first with their footage in memory for so many seconds, then
//! recorded. The last line is one JSON object.
#![expect(clippy::print_stdout, reason = "a program that reports on standard output")]

use std::time::{Duration, Instant};

use keepwatch_model::{CameraId, RoleId, TICKS_PER_SECOND};
use keepwatch_recorder::Node;
use keepwatch_recorder::config::{CameraConfig, DiskConfig, RecorderConfig, RtspConfig};
use keepwatch_recorder::guests::{BufferLimits, Duty, Guest};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const PRIMARY: RoleId = RoleId([1; 16]);
/// `sysconf(_SC_CLK_TCK)` on every Linux this runs on.
const TICKS_OF_PROCESSOR: f64 = 100.0;
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(5);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("buffered_guests ADDRESS [CAMERAS] [SECONDS] [MEMORY_SECONDS]")?;
    let mut next = |default: u32| arguments.next().map_or(Ok(default), |text| text.parse());
    let (cameras, seconds, memory) = (next(16)?, next(20)?, next(7)?);
    let directory = tempfile::tempdir()?;
    std::fs::create_dir(directory.path().join("disk"))?;
    let node = Node::start(RecorderConfig {
        name: "standby".to_owned(),
        data: directory.path().to_owned(),
        disks: vec![DiskConfig {
            size_bytes: Some(2 << 30),
            ..DiskConfig::new(directory.path().join("disk"))
        }],
        retention: None,
        buffer_bytes_max: 256 << 20,
        exports_bytes_max: None,
        cameras: Vec::new(),
        rtsp: RtspConfig::default(),
    })
    .await?;
    let age_max = Duration::from_secs(u64::from(memory));
    let guest = |number: u32| -> Result<Guest, Failure> {
        let camera: CameraId = format!("cam{number}").parse()?;
        let config = CameraConfig::new(camera, format!("rtsp://{address}/{camera}").parse()?);
        let buffer = Some(BufferLimits { bytes_max: 64 << 20, age_max });
        Ok(Guest { role: PRIMARY, camera, local: camera, config, buffer })
    };
    let guests: Vec<Guest> = (1..=cameras).map(guest).collect::<Result<_, _>>()?;
    let ids: Vec<CameraId> = guests.iter().map(|guest| guest.camera).collect();
    node.set_prebuffer_bytes_max(2 << 30);
    node.set_guests(PRIMARY, guests).await.map_err(|errors| format!("{errors:?}"))?;
    let idle_mb = resident_mb()?;
    for id in &ids {
        node.set_duty(PRIMARY, *id, Duty::Buffer)?;
    }
    let full = i64::from(memory) * TICKS_PER_SECOND - TICKS_PER_SECOND;
    wait(&ids, |id| {
        let view = node.guest(PRIMARY, id);
        view.and_then(|view| view.buffered).is_some_and(|span| span.ticks() >= full)
    })
    .await;
    let buffering = usage(seconds).await?;
    let bytes: u64 =
        ids.iter().filter_map(|id| node.guest(PRIMARY, *id)).map(|view| view.buffered_bytes).sum();
    let (pool_bytes, buffering_mb) = (node.prebuffer_bytes(), resident_mb()?);
    let ordered = Instant::now();
    for id in &ids {
        node.set_duty(PRIMARY, *id, Duty::Record)?;
    }
    wait(&ids, |id| {
        let view = node.guest(PRIMARY, id);
        view.and_then(|view| view.durable).is_some_and(|span| span.ticks() >= full - TICKS_PER_SECOND)
    })
    .await;
    let to_disk_ms = ordered.elapsed().as_millis();
    let recording = usage(seconds).await?;
    node.stop().await;
    let each = f64::from(cameras);
    println!(
        "{{\"cameras\":{cameras},\"memory_s\":{memory},\"held_mb_each\":{:.2},\"pool_mb_each\":{:.2},\"rss_mb_each\":{:.2},\
         \"buffering_cpu_percent\":{:.1},\"recording_cpu_percent\":{:.1},\"to_disk_ms\":{to_disk_ms}}}",
        megabytes(bytes) / each,
        megabytes(pool_bytes) / each,
        (buffering_mb - idle_mb) / each,
        buffering * 100.0,
        recording * 100.0,
    );
    Ok(())
}

/// Waits until this is so of all.
async fn wait(ids: &[CameraId], is_so: impl Fn(CameraId) -> bool) {
    while !ids.iter().all(|id| is_so(*id)) {
        tokio::time::sleep(LOOK).await;
    }
}

/// The share of one core that this process takes.
async fn usage(seconds: u32) -> Result<f64, Failure> {
    let (before, began) = (processor_seconds()?, Instant::now());
    tokio::time::sleep(Duration::from_secs(u64::from(seconds))).await;
    Ok((processor_seconds()? - before) / began.elapsed().as_secs_f64())
}

fn processor_seconds() -> Result<f64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name in parentheses may hold anything; what follows it is numbers (proc(5)).
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |field: usize| fields.get(field).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    Ok((ticks(11) + ticks(12)) / TICKS_OF_PROCESSOR)
}

fn resident_mb() -> Result<f64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
    Ok(kib.and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) * 1_024.0 / 1e6)
}

fn megabytes(bytes: u64) -> f64 {
    // Far below 2^52.
    bytes as f64 / 1e6
}
