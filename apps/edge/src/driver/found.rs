//! The node as its health is judged by: what waits and how much room there is, rates, and what each line waits for.

use std::collections::BTreeMap;
use std::time::Duration;

use keepwatch_model::{MonoTime, Place, Span, SpanSet};
use keepwatch_recording::edge::health::{Found, FoundLine};
use keepwatch_recording::edge::overload::Wait;
use keepwatch_recording::replenish::StreamKey;
use keepwatch_store::{RunRow, Store};

use super::Driver;
use super::leaving::READS_MAX;

/// How much waits is reckoned from the index, which is asked so often.
const RECKONED: Duration = Duration::from_secs(5);
/// Reads that waited for those of others for a tenth of the time are short of places.
const OTHERS_SHARE: u32 = 10;

/// What waits, as it was reckoned last.
#[derive(Debug, Default)]
pub(super) struct Reckoned {
    at: Option<MonoTime>,
    /// Bytes of each line, where recorder 2 writes.
    lines: BTreeMap<StreamKey, u64>,
    room_bytes: u64,
}

impl Reckoned {
    pub(super) fn bytes_of(&self, line: &StreamKey) -> u64 {
        self.lines.get(line).copied().unwrap_or_default()
    }
}

impl Driver {
    /// How the node is at the moment.
    pub(super) fn found(&mut self) -> Found {
        let now = self.now();
        self.reckon(now);
        let others = std::mem::take(&mut self.waited_for_others);
        let since = now.since(std::mem::replace(&mut self.found_at, now));
        let lines = self.lines.iter().filter(|(_, line)| line.wanted).map(|(key, line)| {
            let found = FoundLine {
                recorded_bits_per_second: line.stream.bits_per_second(),
                sent_bytes: line.bytes,
                backlog_ticks: self.machine.backlog_ticks(key),
                waits: self.machine.waits_for(now, key).or_else(|| self.short_of()),
                limit: self.limit_of(key.0),
            };
            (*key, found)
        });
        Found {
            waiting_bytes: self.reckoned.lines.values().sum(),
            room_bytes: self.reckoned.room_bytes,
            takes: self.machine.external_takes(),
            ahead_ticks: self.contact.ahead_ticks,
            throttle_bits_per_second: self.throttle_bits_per_second(),
            playing: others * OTHERS_SHARE > since,
            processor_busy: is_processor_busy(),
            lines: lines.collect(),
        }
    }

    /// What the shell is short of, while the machine would send.
    fn short_of(&self) -> Option<Wait> {
        if self.flying.1 >= self.window.bytes() {
            return Some(Wait::Network);
        }
        (self.reads.len() >= READS_MAX || !self.to_read.is_empty()).then_some(Wait::Reading)
    }

    fn reckon(&mut self, now: MonoTime) {
        if self.reckoned.at.is_some_and(|at| now.since(at) < RECKONED) {
            return;
        }
        let (store, place) = (self.node.store(), self.machine.writes_to());
        let lines = self.lines.keys().map(|key| (*key, self.waiting_bytes(*key, place)));
        let room_bytes = match place {
            Place::Memory => self.config.memory_bytes,
            Place::Internal | Place::Second => room_bytes(store, place),
        };
        self.reckoned = Reckoned { at: Some(now), lines: lines.collect(), room_bytes };
    }

    fn waiting_bytes(&self, key: StreamKey, place: Place) -> u64 {
        let store = self.node.store();
        if place == Place::Memory {
            return store.tail_of(key.0, key.1).bytes;
        }
        let waiting = self.machine.waiting_at(&key, place);
        let (Some(first), Some(last)) = (waiting.first(), waiting.last()) else { return 0 };
        let hull = Span { from: first.from, to: last.to };
        let rows = store.runs(key.0, key.1, hull).unwrap_or_default();
        let there = rows.iter().filter(|row| store.place_of(row.disk) == Some(place));
        let waiting: SpanSet = waiting.iter().copied().collect();
        there.map(|row| bytes_within(row, &waiting)).sum()
    }
}

/// The bytes of a run that are in `spans`, when they are spread evenly over it.
fn bytes_within(row: &RunRow, spans: &SpanSet) -> u64 {
    let ticks = u128::try_from(spans.within(row.label).ticks()).unwrap_or(0);
    let all = u128::try_from(row.label.ticks()).unwrap_or(0).max(1);
    u64::try_from(u128::from(row.media_bytes) * ticks / all).unwrap_or(u64::MAX)
}

/// What the disks of a place hold before they overwrite what may be overwritten.
fn room_bytes(store: &Store, place: Place) -> u64 {
    let disks = store
        .disks()
        .into_iter()
        .filter(|disk| !disk.read_only && disk.id.is_some_and(|id| store.place_of(id) == Some(place)));
    disks.map(|disk| disk.size_bytes.saturating_sub(disk.protected_bytes)).sum()
}

/// Whether more is ready to run than there are processors, by the mean of a minute.
fn is_processor_busy() -> bool {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let minute = load.split_whitespace().next().and_then(|minute| minute.parse::<f64>().ok());
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    minute.is_some_and(|minute| minute > processors as f64)
}
