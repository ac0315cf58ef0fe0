//! `[edge]`: how fast and how late footage is sent to the recorder that this node is registered at.

use std::time::Duration;

use keepwatch_edge::{EdgeConfig, SPEED_PERCENT_MAX};
use keepwatch_recorder::config::text::{Complaint, quoted};
use keepwatch_recorder::config::units;
use keepwatch_recording::edge::Delay;
use keepwatch_recording::edge::fill::Thresholds;
use keepwatch_recording::edge::limit::{SpeedLimit, WriteThrottle};
use serde_spanned::Spanned;

use super::reader::Table;
use super::report::Report;

/// Longest delay of the relay: a memory of the tail has its bounds.
const DELAY_MAX: Duration = Duration::from_secs(3_600);
/// Least time between the two delays: records are seconds long.
const DELAY_APART: Duration = Duration::from_secs(5);

/// `[edge]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EdgeTable(pub(crate) EdgeConfig);

impl EdgeTable {
    pub(super) fn read(report: &mut Report, mut table: Table<'_, '_>) -> Self {
        let default = EdgeConfig::default();
        let start = table.parsed(report, "delay", delay);
        let most = table.parsed(report, "delay_max", delay);
        let speed = table.whole(report, "speed", 0..=u64::from(SPEED_PERCENT_MAX));
        let most_rate = table.parsed(report, "rate", rate);
        let lower = table.parsed(report, "write_rate_min", rate);
        let upper = table.parsed(report, "write_rate_max", rate);
        let memory = table.parsed(report, "memory", memory);
        let warning = table.whole(report, "warning", 1..=100);
        let all_clear = table.whole(report, "all_clear", 0..=99);
        let places =
            [table.span_of("delay_max"), table.span_of("write_rate_min"), table.span_of("all_clear")];
        table.finish(report);
        let [delay_place, rate_place, clear_place] = places;
        let delay = Delay {
            start: start.map_or(default.delay.start, Spanned::into_inner),
            most: most.map_or(default.delay.most, Spanned::into_inner),
        };
        if delay.most < delay.start + DELAY_APART {
            report.error(
                delay_place,
                "delay_max is not 5 s more than delay",
                "leave both out, or write like delay = \"100 s\", delay_max = \"120 s\"",
            );
        }
        let throttle = WriteThrottle {
            lower_bits_per_second: lower.map_or(0, Spanned::into_inner),
            upper_bits_per_second: upper.map_or(0, Spanned::into_inner),
        };
        if throttle.upper_bits_per_second != 0
            && throttle.lower_bits_per_second > throttle.upper_bits_per_second
        {
            report.error(
                rate_place,
                "write_rate_min is more than write_rate_max",
                "write equal ones to fix it",
            );
        }
        let percent =
            |value: Option<u64>, or: u8| value.and_then(|value| u8::try_from(value).ok()).unwrap_or(or);
        let thresholds = Thresholds {
            warning_percent: percent(warning, default.thresholds.warning_percent),
            all_clear_percent: percent(all_clear, default.thresholds.all_clear_percent),
        };
        if thresholds.all_clear_percent >= thresholds.warning_percent {
            report.error(
                clear_place,
                "all_clear is not below warning",
                "write like warning = 90, all_clear = 50",
            );
        }
        let limit = limit(speed, most_rate.map(Spanned::into_inner), default.limit);
        let memory_bytes = memory.map_or(default.memory_bytes, Spanned::into_inner);
        Self(EdgeConfig { delay, limit, throttle, memory_bytes, thresholds, ..default })
    }
}

/// The limit of one camera, where one is set for it.
pub(super) fn of_camera(
    report: &mut Report,
    table: &mut Table<'_, '_>,
) -> Option<(Option<u64>, Option<u64>)> {
    let speed = table.whole(report, "edge_speed", 0..=u64::from(SPEED_PERCENT_MAX));
    let rate = table.parsed(report, "edge_rate", rate).map(Spanned::into_inner);
    (speed.is_some() || rate.is_some()).then_some((speed, rate))
}

/// What is said of a limit; what is not said is as in `default`.
pub(super) fn limit(speed: Option<u64>, rate: Option<u64>, default: SpeedLimit) -> SpeedLimit {
    SpeedLimit {
        percent: speed.and_then(|speed| u32::try_from(speed).ok()).unwrap_or(default.percent),
        bits_per_second: rate.unwrap_or(default.bits_per_second),
    }
}

fn delay(text: &str) -> Result<Duration, Complaint> {
    let delay = units::duration(text)?;
    let out = || Complaint::new(format!("{} is out of range", quoted(text)), "write 0 s to 1 h");
    (delay <= DELAY_MAX).then_some(delay).ok_or_else(out)
}

/// Bytes of memory; 0 keeps none.
fn memory(text: &str) -> Result<u64, Complaint> {
    if text.trim() == "0" { Ok(0) } else { units::bytes(text) }
}

/// Bits in a second; 0 is no limit.
pub(crate) fn rate(text: &str) -> Result<u64, Complaint> {
    if text.trim() == "0" { Ok(0) } else { units::bits_per_second(text) }
}
