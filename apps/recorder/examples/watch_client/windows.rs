//! A player that seeks: when the first byte of a picture is there, and when a whole one.

use std::time::{Duration, Instant};

use keepwatch_model::{TICKS_PER_SECOND, WallTime};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use crate::link::Node;
use crate::segment::Segment;
use crate::{Chance, Failure, at};

/// What a page asks for at once.
const WINDOW_TICKS: i64 = 15 * TICKS_PER_SECOND;
/// Longest that the first picture is waited for.
const FIRST_MAX: Duration = Duration::from_secs(20);

/// Windows that begin anywhere in the `seconds` behind one of the labels.
pub(crate) async fn play(
    node: &Node,
    camera: &str,
    (labels, seconds): (&[WallTime], u64),
    rounds: u32,
) -> Result<Value, Failure> {
    let mut chance = Chance(1);
    let (mut byte_ms, mut picture_ms) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let place = usize::try_from(chance.below(u64::try_from(labels.len())?))?;
        let label = labels.get(place).ok_or("no labels")?;
        let ticks = seconds.saturating_mul(TICKS_PER_SECOND.unsigned_abs());
        let start = label.plus(i64::try_from(chance.below(ticks))?);
        let end = start.plus(WINDOW_TICKS);
        let path = format!("/api/v1/cameras/{camera}/media.mp4?from={start}&to={end}&audio=false");
        let (byte, picture) = tokio::time::timeout(FIRST_MAX, first(node, &path)).await??;
        byte_ms.push(byte.as_secs_f64() * 1_000.0);
        picture_ms.push(picture.as_secs_f64() * 1_000.0);
    }
    Ok(json!({
        "rounds": rounds, "byte_p50_ms": at(&mut byte_ms, 50), "byte_p95_ms": at(&mut byte_ms, 95),
        "picture_p50_ms": at(&mut picture_ms, 50), "picture_p95_ms": at(&mut picture_ms, 95),
        "picture_max_ms": at(&mut picture_ms, 100),
    }))
}

/// Time from the request to the first byte of a picture, and to a whole one. The connection stands before, as a page's does.
async fn first(node: &Node, path: &str) -> Result<(Duration, Duration), Failure> {
    let mut link = node.connect().await?;
    let before = Instant::now();
    node.get(&mut link, path).await?;
    let mut answer = Vec::new();
    let mut byte = None;
    loop {
        if link.read_buf(&mut answer).await? == 0 {
            return Err(format!("{path}: the answer has no picture").into());
        }
        let Some(segment) = Segment::find(&answer) else { continue };
        if byte.is_none() && segment.has_begun() {
            byte = Some(before.elapsed());
        }
        if let Some(byte) = byte
            && segment.has_picture()
        {
            if !segment.begins_with_key() {
                return Err(format!("{path}: what comes first cannot be decoded").into());
            }
            return Ok((byte, before.elapsed()));
        }
    }
}
