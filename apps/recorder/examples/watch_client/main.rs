//! Clients of what the page watches, as a browser reaches it: over TLS, logged in.
//!
//! `watch_client live ADDRESS CAMERAS VIEWERS SECONDS` opens so many live WebSockets of each camera and says how late
//! pictures are, by the stamps of virtual cameras. `watch_client open ADDRESS CAMERA ROUNDS` opens a camera that nobody
//! watches, again and again, and says when its first picture is there. `watch_client windows ADDRESS CAMERA LABELS SECONDS
//! ROUNDS` asks for windows that begin anywhere in the seconds behind one of the labels. `KEEPWATCH_ADMIN_PASSWORD` is the
//! password of `admin`. The last line is one JSON object.
#![expect(clippy::print_stdout, reason = "a program that reports on standard output")]

mod link;
mod live;
mod segment;
mod windows;

use std::time::Duration;

use serde_json::Value;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let told = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["live", address, cameras, viewers, seconds] => {
            let node = link::Node::login(address.parse()?).await?;
            let cameras: Vec<&str> = cameras.split(',').collect();
            live::watch(&node, &cameras, viewers.parse()?, Duration::from_secs(seconds.parse()?)).await?
        }
        ["open", address, camera, rounds] => {
            let node = link::Node::login(address.parse()?).await?;
            live::open(&node, camera, rounds.parse()?).await?
        }
        ["windows", address, camera, labels, seconds, rounds] => {
            let node = link::Node::login(address.parse()?).await?;
            let labels: Result<Vec<_>, _> = labels.split(',').map(str::parse).collect();
            windows::play(&node, camera, (&labels?, seconds.parse()?), rounds.parse()?).await?
        }
        _ => {
            return Err("live ADDRESS CAMERAS VIEWERS SECONDS, open ADDRESS CAMERA ROUNDS, or windows ADDRESS CAMERA \
                        LABELS SECONDS ROUNDS"
                .into());
        }
    };
    println!("{told}");
    Ok(())
}

/// The value that so many of a hundred do not exceed, with one digit after the point; null when there are none.
fn at(values: &mut [f64], percent: usize) -> Value {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    let value = values.get((values.len() * percent / 100).min(last));
    value.map_or(Value::Null, |value| ((value * 10.0).round() / 10.0).into())
}

/// Numbers without order, the same in each run.
struct Chance(u64);

impl Chance {
    /// One below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 16) % end.max(1)
    }
}
