//! Viewers of the present: how late pictures are, what was missed, and when the first is there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use keepwatch_model::{TICKS_PER_SECOND, WallTime};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;

use crate::link::{self, Message, Node};
use crate::segment::Segment;
use crate::{Chance, Failure, at};

/// What comes so soon after the first is the group of pictures that was there already.
const CATCH_UP: Duration = Duration::from_secs(2);
/// Longest that the first picture is waited for.
const FIRST_MAX: Duration = Duration::from_secs(20);
/// Viewers that begin together: more would measure handshakes of TLS rather than pictures.
const TOGETHER: usize = 20;
/// Longest pause before a camera is opened again: any place of a group of pictures is met.
const PAUSE_MS: u64 = 2_500;

/// What one viewer saw.
#[derive(Default)]
struct Seen {
    camera: String,
    pieces: u64,
    bytes: u64,
    skipped: u64,
    /// Numbers that did not follow the one before.
    missing: u64,
    late_ms: Vec<f64>,
}

/// `viewers` of each of `cameras`, for so long.
pub(crate) async fn watch(
    node: &Node,
    cameras: &[&str],
    viewers: usize,
    length: Duration,
) -> Result<Value, Failure> {
    let mut tasks = JoinSet::new();
    let (start, started) = tokio::sync::watch::channel(None);
    let mut links = Vec::new();
    for camera in (0..viewers).flat_map(|_| cameras) {
        let path = format!("/api/v1/cameras/{camera}/live?audio=false");
        links.push(((*camera).to_owned(), node.upgrade(&path).await?));
        if links.len() == TOGETHER {
            links.drain(..).for_each(|link| drop(tasks.spawn(view(link, started.clone()))));
        }
    }
    links.drain(..).for_each(|link| drop(tasks.spawn(view(link, started.clone()))));
    // All watch; what came before is not looked at.
    let now = Instant::now();
    start.send_replace(Some((now + CATCH_UP, now + CATCH_UP + length)));
    tokio::time::sleep(CATCH_UP).await;
    println!("watching");
    let mut all = Seen::default();
    let mut viewer_p95_ms = Vec::new();
    let mut by_camera: BTreeMap<String, u64> = BTreeMap::new();
    while let Some(seen) = tasks.join_next().await {
        let mut seen = seen??;
        viewer_p95_ms.push(at(&mut seen.late_ms, 95).as_f64().ok_or("a viewer saw nothing")?);
        *by_camera.entry(seen.camera).or_default() += seen.bytes;
        all.pieces += seen.pieces;
        all.bytes += seen.bytes;
        all.skipped += seen.skipped;
        all.missing += seen.missing;
        all.late_ms.extend(seen.late_ms);
    }
    Ok(json!({
        "viewers": viewer_p95_ms.len(), "cameras": by_camera.len(),
        "delay_p50_ms": at(&mut all.late_ms, 50), "delay_p95_ms": at(&mut all.late_ms, 95),
        "delay_max_ms": at(&mut all.late_ms, 100), "slowest_p95_ms": at(&mut viewer_p95_ms, 100),
        "pictures": all.late_ms.len(), "pieces": all.pieces, "bytes": all.bytes,
        "skipped": all.skipped, "missing": all.missing,
    }))
}

/// Watches until the second of the moments that `started` tells, and counts from the first on.
async fn view(
    (camera, mut link): (String, link::Link),
    mut started: tokio::sync::watch::Receiver<Option<(Instant, Instant)>>,
) -> Result<Seen, Failure> {
    let mut seen = Seen { camera, ..Seen::default() };
    let mut last = None;
    let mut data = Vec::new();
    loop {
        let told = link::message(&mut link, &mut data).await?;
        let (arrived, now) = (Instant::now(), now());
        let span = *started.borrow_and_update();
        if span.is_some_and(|(_, end)| arrived > end) {
            let _ = link.shutdown().await;
            return Ok(seen);
        }
        let counts = span.is_some_and(|(begin, _)| arrived >= begin);
        match told {
            Message::Skipped if counts => seen.skipped += 1,
            Message::Text | Message::Skipped => {}
            Message::Media => {
                let stamps = Segment::find(&data).ok_or("a segment without an index")?.stamps();
                for (number, capture) in stamps {
                    if counts {
                        seen.missing += u64::from(last.is_some_and(|last| number != last + 1));
                        seen.late_ms
                            .push(now.ticks_since(capture) as f64 * 1_000.0 / TICKS_PER_SECOND as f64);
                    }
                    last = Some(number);
                }
                seen.pieces += u64::from(counts);
                seen.bytes += if counts { u64::try_from(data.len())? } else { 0 };
            }
        }
    }
}

/// Opens `camera` so often, when nobody watches it.
pub(crate) async fn open(node: &Node, camera: &str, rounds: u32) -> Result<Value, Failure> {
    let path: Arc<str> = format!("/api/v1/cameras/{camera}/live?audio=false").into();
    let mut chance = Chance(1);
    let (mut first_ms, mut data) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        tokio::time::sleep(Duration::from_millis(chance.below(PAUSE_MS))).await;
        let opened = Instant::now();
        let mut link = node.upgrade(&path).await?;
        let first = async {
            while !matches!(link::message(&mut link, &mut data).await?, Message::Media) {}
            Ok::<_, Failure>(opened.elapsed())
        };
        let passed = tokio::time::timeout(FIRST_MAX, first).await??;
        if !Segment::find(&data).is_some_and(|segment| segment.begins_with_key() && segment.has_picture()) {
            return Err("what came first cannot be decoded".into());
        }
        first_ms.push(passed.as_secs_f64() * 1_000.0);
        link.shutdown().await?;
    }
    Ok(json!({
        "rounds": rounds, "first_p50_ms": at(&mut first_ms, 50), "first_p95_ms": at(&mut first_ms, 95),
        "first_max_ms": at(&mut first_ms, 100),
    }))
}

fn now() -> WallTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    WallTime::from_unix_nanos(i128::try_from(since.as_nanos()).unwrap_or(0))
}
