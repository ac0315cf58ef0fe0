//! Clients of what the page watches, over the Unix socket of a node that runs.
//!
//! `watch_client live SOCKET CAMERA VIEWERS SECONDS` opens so many live WebSockets and says how late pictures are, by the
//! stamps of virtual cameras, and how long the first took. `watch_client windows SOCKET CAMERA FROM TO ROUNDS` asks for
//! windows of a minute anywhere between two times and says how long the first segment took. The last line is one JSON
//! object.
#![expect(clippy::print_stdout, reason = "a program that reports on standard output")]

use std::time::{Duration, Instant, SystemTime};

use keepwatch_model::{TICKS_PER_SECOND, WallTime};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::task::JoinSet;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Marks the SEI message in which virtual cameras number their frames and tell the time.
const STAMP: [u8; 16] =
    [0x6b, 0x77, 0x1a, 0xf3, 0x0c, 0x5e, 0x4d, 0x92, 0xa8, 0x41, 0xd7, 0x2e, 0x93, 0x64, 0xbf, 0x08];
/// What comes so soon after the first is the group of pictures that was there already.
const CATCH_UP: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["live", socket, camera, viewers, seconds] => {
            live(socket, camera, viewers.parse()?, Duration::from_secs(seconds.parse()?)).await
        }
        ["windows", socket, camera, from, to, rounds] => {
            windows(socket, camera, (from.parse()?, to.parse()?), rounds.parse()?).await
        }
        _ => Err("live SOCKET CAMERA VIEWERS SECONDS, or windows SOCKET CAMERA FROM TO ROUNDS".into()),
    }
}

/// What one viewer saw.
#[derive(Default)]
struct Seen {
    first_ms: f64,
    pieces: u64,
    bytes: u64,
    skipped: u64,
    /// Numbers that did not follow the one before.
    missing: u64,
    late_ms: Vec<f64>,
}

async fn live(socket: &str, camera: &str, viewers: usize, length: Duration) -> Result<(), Failure> {
    let mut tasks = JoinSet::new();
    for _ in 0..viewers {
        tasks.spawn(view(socket.to_owned(), format!("/api/v1/cameras/{camera}/live"), length));
    }
    let mut all = Seen::default();
    let mut first_ms = Vec::new();
    while let Some(seen) = tasks.join_next().await {
        let seen = seen??;
        first_ms.push(seen.first_ms);
        all.pieces += seen.pieces;
        all.bytes += seen.bytes;
        all.skipped += seen.skipped;
        all.missing += seen.missing;
        all.late_ms.extend(seen.late_ms);
    }
    println!(
        "{{\"viewers\":{viewers},\"first_p95_ms\":{:.1},\"delay_p50_ms\":{:.1},\"delay_p95_ms\":{:.1},\"pieces\":{},\"bytes\":{},\"skipped\":{},\"missing\":{}}}",
        at(&mut first_ms, 95),
        at(&mut all.late_ms, 50),
        at(&mut all.late_ms, 95),
        all.pieces,
        all.bytes,
        all.skipped,
        all.missing,
    );
    Ok(())
}

async fn view(socket: String, path: String, length: Duration) -> Result<Seen, Failure> {
    let opened = Instant::now();
    let mut stream = BufReader::with_capacity(1 << 16, UnixStream::connect(&socket).await?);
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: a2VlcHdhdGNoIHRlc3RpbmcuLg==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    if !line.starts_with("HTTP/1.1 101 ") {
        return Err(line.into());
    }
    while line.trim_end() != "" {
        line.clear();
        stream.read_line(&mut line).await?;
    }
    let mut seen = Seen::default();
    let mut last = None;
    let mut data = Vec::new();
    let end = tokio::time::Instant::now() + length;
    loop {
        let Ok(head) = tokio::time::timeout_at(end, stream.read_u16()).await else { return Ok(seen) };
        let head = head?;
        let bytes = match head & 0x7f {
            126 => u64::from(stream.read_u16().await?),
            127 => stream.read_u64().await?,
            short => u64::from(short),
        };
        data.resize(usize::try_from(bytes)?, 0);
        stream.read_exact(&mut data).await?;
        match head >> 8 {
            0x81 if data.starts_with(b"{\"type\":\"skipped\"") => seen.skipped += 1,
            0x82 if data.get(4..8) == Some(b"moof") => {
                if seen.pieces == 0 {
                    seen.first_ms = opened.elapsed().as_secs_f64() * 1_000.0;
                }
                seen.pieces += 1;
                seen.bytes += bytes;
                let now = now();
                for (number, capture) in stamps(&data) {
                    seen.missing += u64::from(last.is_some_and(|last| number != last + 1));
                    last = Some(number);
                    if opened.elapsed() > CATCH_UP {
                        seen.late_ms
                            .push(now.ticks_since(capture) as f64 * 1_000.0 / TICKS_PER_SECOND as f64);
                    }
                }
            }
            0x88 => return Err(format!("closed: {}", String::from_utf8_lossy(&data)).into()),
            _ => {}
        }
    }
}

async fn windows(
    socket: &str,
    camera: &str,
    (from, to): (WallTime, WallTime),
    rounds: u32,
) -> Result<(), Failure> {
    let mut first_ms = Vec::new();
    let mut chance = 1u64;
    for _ in 0..rounds {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let span = to.ticks_since(from).max(1).unsigned_abs();
        let start = from.plus(i64::try_from((chance >> 16) % span)?);
        let end = start.plus(60 * TICKS_PER_SECOND);
        let path = format!("/api/v1/cameras/{camera}/media.mp4?from={start}&to={end}&audio=false");
        first_ms.push(first_segment(socket, &path).await?);
    }
    println!(
        "{{\"rounds\":{rounds},\"first_p50_ms\":{:.1},\"first_p95_ms\":{:.1},\"first_max_ms\":{:.1}}}",
        at(&mut first_ms, 50),
        at(&mut first_ms, 95),
        at(&mut first_ms, 100),
    );
    Ok(())
}

/// Milliseconds until the first media segment came.
async fn first_segment(socket: &str, path: &str) -> Result<f64, Failure> {
    let before = Instant::now();
    let mut stream = UnixStream::connect(socket).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = stream.read(&mut buffer).await?;
        answer.extend_from_slice(buffer.get(..read).unwrap_or_default());
        if answer.windows(4).any(|bytes| bytes == b"moof") {
            return Ok(before.elapsed().as_secs_f64() * 1_000.0);
        }
        if read == 0 {
            return Err(String::from_utf8_lossy(&answer).chars().take(400).collect::<String>().into());
        }
    }
}

/// Number and time of each picture in `data` that has a stamp.
fn stamps(data: &[u8]) -> Vec<(u64, WallTime)> {
    let mut found = Vec::new();
    let mut rest = data;
    while let Some(at) = rest.windows(STAMP.len()).position(|window| window == STAMP) {
        rest = rest.get(at + STAMP.len()..).unwrap_or_default();
        let mut words = Vec::with_capacity(16);
        let mut zeros = 0;
        for byte in rest {
            // Emulation prevention (ITU-T H.264 §7.4.1): not of the message.
            if !(zeros >= 2 && *byte == 3) {
                words.push(*byte);
            }
            zeros = if *byte == 0 { zeros + 1 } else { 0 };
            if words.len() == 16 {
                break;
            }
        }
        if let Some((number, capture)) = words.split_first_chunk::<8>()
            && let Some(capture) = capture.first_chunk::<8>()
        {
            found.push((u64::from_be_bytes(*number), WallTime::from_ticks(i64::from_be_bytes(*capture))));
        }
    }
    found
}

fn now() -> WallTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    WallTime::from_unix_nanos(i128::try_from(since.as_nanos()).unwrap_or(0))
}

/// The value that so many of a hundred do not exceed.
fn at(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((values.len() * percent / 100).min(last)).copied().unwrap_or(f64::NAN)
}
