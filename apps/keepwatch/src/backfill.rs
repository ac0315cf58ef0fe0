//! `keepwatch backfill`: how gaps are filled from elsewhere, asked of the running node over its Unix socket; pause, and limit.

use anyhow::Context;
use clap::{Args, Subcommand};
use keepwatch_recorder::config::units;
use keepwatch_web::{SOCKET_NAME, SocketClient};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::NodeOptions;
use crate::{Outcome, client, output};

const ROUTE: &str = "/api/v1/replenishment";

/// How gaps are filled from elsewhere.
#[derive(Debug, Subcommand)]
pub(crate) enum BackfillCommand {
    /// Show what is missing, who is asked for it, and how fast it comes
    Status(BackfillOptions),
    /// Fetch nothing until told to go on, or until the recorder is restarted
    Pause(BackfillOptions),
    /// Go on
    Resume(BackfillOptions),
    /// Limit how fast it is fetched, until the recorder is restarted
    Limit(BackfillLimitOptions),
}

/// Options of `backfill status`, `pause` and `resume`.
#[derive(Debug, Args)]
pub(crate) struct BackfillOptions {
    /// Which node
    #[command(flatten)]
    pub(crate) node: NodeOptions,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `backfill limit`.
#[derive(Debug, Args)]
pub(crate) struct BackfillLimitOptions {
    /// Which node
    #[command(flatten)]
    pub(crate) node: NodeOptions,
    /// Most that is fetched, of all cameras together: "50 Mbit/s", or "none"
    #[arg(value_parser = rate)]
    pub(crate) rate: Rate,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A limit; 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate(u64);

fn rate(text: &str) -> Result<Rate, String> {
    if text == "none" {
        Ok(Rate(0))
    } else {
        units::bits_per_second(text).map(Rate).map_err(|wrong| format!("{}; {}", wrong.what, wrong.remedy))
    }
}

/// The answer of the API, as far as people are shown it.
#[derive(Debug, Deserialize)]
struct Shown {
    paused: bool,
    bits_per_second_max: Option<u64>,
    bits_per_second: u64,
    missing_ms: i64,
    nowhere_ms: i64,
    items: Vec<Item>,
}

#[derive(Debug, Deserialize)]
struct Item {
    camera: String,
    stream: String,
    missing_ms: i64,
    nowhere_ms: i64,
    running: Option<Running>,
    sources: Vec<Source>,
    last: Option<Last>,
}

#[derive(Debug, Deserialize)]
struct Running {
    source: String,
    bytes: u64,
    bits_per_second: u64,
}

#[derive(Debug, Deserialize)]
struct Source {
    kind: String,
    name: String,
    rests_until: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Last {
    source: String,
    at: String,
    end: String,
    detail: Option<String>,
    filled_ms: i64,
}

/// Does what was asked for.
pub(crate) async fn run(command: BackfillCommand) -> anyhow::Result<Outcome> {
    let (options, change) = match command {
        BackfillCommand::Status(options) => (options, None),
        BackfillCommand::Pause(options) => (options, Some(json!({"paused": true}))),
        BackfillCommand::Resume(options) => (options, Some(json!({"paused": false}))),
        BackfillCommand::Limit(BackfillLimitOptions { node, rate, json }) => {
            (BackfillOptions { node, json }, Some(json!({"bits_per_second_max": rate.0})))
        }
    };
    let socket = SocketClient::new(client::data_of(&options.node)?.join(SOCKET_NAME));
    let answer: Value = match change {
        None => socket.get(ROUTE).await?,
        Some(change) => socket.put(ROUTE, &change).await?,
    };
    if options.json {
        output::say(answer);
    } else {
        let shown: Shown = serde_json::from_value(answer).context("the node is of another version")?;
        lines(&shown).into_iter().for_each(output::say);
    }
    Ok(Outcome::Done)
}

/// What people are shown. Names and sentences came from elsewhere.
fn lines(shown: &Shown) -> Vec<String> {
    let state = if shown.paused { "paused" } else { "running" };
    let limit =
        shown.bits_per_second_max.map_or("no limit".to_owned(), |bits| format!("at most {}", speed(bits)));
    let mut lines = vec![format!(
        "{state}, {limit}; {} missing, of which nobody has {}; {} come in",
        seconds(shown.missing_ms),
        seconds(shown.nowhere_ms),
        speed(shown.bits_per_second),
    )];
    for item in &shown.items {
        lines.extend(item_lines(item));
    }
    let plain = |line: String| line.chars().filter(|letter| !letter.is_control()).collect();
    lines.into_iter().map(plain).collect()
}

fn item_lines(item: &Item) -> Vec<String> {
    let missing = format!(
        "{} {}: {} missing, of which nobody has {}",
        item.camera,
        item.stream,
        seconds(item.missing_ms),
        seconds(item.nowhere_ms)
    );
    let mut lines = vec![missing];
    if let Some(running) = &item.running {
        let megabytes = running.bytes / 1_000_000;
        lines.push(format!(
            "  comes from {} with {}, {megabytes} MB so far",
            running.source,
            speed(running.bits_per_second)
        ));
    }
    for source in &item.sources {
        let rests =
            source.rests_until.as_ref().map_or(String::new(), |at| format!(", left alone until {at}"));
        lines.push(format!("  {} {}{rests}", source.kind, source.name));
    }
    if item.sources.is_empty() {
        lines.push(
            "  nobody can be asked: no standby watches this recorder, and backfill_cards is off".to_owned(),
        );
    }
    if let Some(last) = &item.last {
        let why = last.detail.as_ref().map_or(String::new(), |detail| format!(": {detail}"));
        let filled = seconds(last.filled_ms);
        lines.push(format!("  last from {}, {}: {}, {filled} filled{why}", last.source, last.at, last.end));
    }
    lines
}

fn seconds(millis: i64) -> String {
    format!("{}.{} s", millis / 1_000, millis % 1_000 / 100)
}

fn speed(bits: u64) -> String {
    format!("{}.{} Mbit/s", bits / 1_000_000, bits % 1_000_000 / 100_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_rate_or_none() {
        assert_eq!(rate("none"), Ok(Rate(0)));
        assert_eq!(rate("50 Mbit/s"), Ok(Rate(50_000_000)));
        assert!(rate("fast").is_err());
    }

    #[test]
    fn what_is_missing_is_shown_with_who_is_asked_and_no_name_moves_the_cursor() {
        let answer = json!({
            "paused": false, "bits_per_second_max": 50_000_000, "bits_per_second": 4_100_000, "cards": true,
            "missing_ms": 12_400, "nowhere_ms": 400,
            "items": [{
                "camera": "gate", "stream": "main", "missing_ms": 12_400, "nowhere_ms": 400,
                "running": {
                    "kind": "card", "source": "gate", "from": "a", "to": "b", "since": "c", "bytes": 5_000_000,
                    "bits_per_second": 4_100_000
                },
                "sources": [
                    {"kind": "recorder", "name": "so\u{1b}[2Juth", "rests_until": "then"},
                    {"kind": "card", "name": "gate", "rests_until": null}
                ],
                "last": {
                    "kind": "recorder", "source": "south", "from": "a", "to": "b", "at": "then", "end": "unreachable",
                    "detail": "connection refused", "filled_ms": 0, "bytes": 0, "took_ms": 3
                }
            }]
        });
        let shown: Shown = serde_json::from_value(answer).unwrap();
        let expected = [
            "running, at most 50.0 Mbit/s; 12.4 s missing, of which nobody has 0.4 s; 4.1 Mbit/s come in",
            "gate main: 12.4 s missing, of which nobody has 0.4 s",
            "  comes from gate with 4.1 Mbit/s, 5 MB so far",
            "  recorder so[2Juth, left alone until then",
            "  card gate",
            "  last from south, then: unreachable, 0.0 s filled: connection refused",
        ];
        assert_eq!(lines(&shown), expected);
    }
}
