//! `[edge]`: how fast and how late footage is sent to the recorder that this node is registered at, or to disks outside.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use keepwatch_edge::{EdgeConfig, SPEED_PERCENT_MAX};
use keepwatch_recorder::config::text::{Complaint, quoted};
use keepwatch_recorder::config::units;
use keepwatch_recording::edge::Delay;
use keepwatch_recording::edge::fill::Thresholds;
use keepwatch_recording::edge::limit::{SpeedLimit, WriteThrottle};
use keepwatch_recording::edge::plan::NeverDepletes;
use serde_spanned::Spanned;

use super::camera::CameraTable;
use super::disk::{DiskTable, Purpose};
use super::reader::Table;
use super::report::Report;

/// Longest delay of the relay: a memory of the tail has its bounds.
const DELAY_MAX: Duration = Duration::from_secs(3_600);
/// Least time between the two delays: records are seconds long.
const DELAY_APART: Duration = Duration::from_secs(5);

/// `[edge]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EdgeTable {
    /// What the role is told, without the limits of single cameras.
    pub(crate) config: EdgeConfig,
    /// Every `[[edge.disk]]`.
    pub(crate) disks: Vec<DiskTable>,
    /// A setting with which what was left out never leaves is meant.
    accept_never_depletes: bool,
    /// Where such a speed stands.
    never: Option<(Range<usize>, NeverDepletes)>,
}

/// How fast the footage of one camera is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CameraLimit {
    /// Percent; `None` as in `[edge]`.
    speed: Option<u64>,
    /// Bits in a second; `None` as in `[edge]`.
    rate: Option<u64>,
    /// Where the speed stands.
    place: Range<usize>,
}

impl CameraLimit {
    /// What is said of the limit; what is not said is as in `default`.
    pub(crate) fn over(&self, default: SpeedLimit) -> SpeedLimit {
        limit(self.speed, self.rate, default)
    }
}

impl EdgeTable {
    pub(super) fn read(report: &mut Report, mut table: Table<'_, '_>, directory: &Path) -> Self {
        let default = EdgeConfig::default();
        let start = table.parsed(report, "delay", delay);
        let most = table.parsed(report, "delay_max", delay);
        let speed_place = table.span_of("speed");
        let speed = table.whole(report, "speed", 0..=u64::from(SPEED_PERCENT_MAX));
        let accept_never_depletes = table.boolean(report, "accept_never_depletes").unwrap_or(false);
        let most_rate = table.parsed(report, "rate", rate);
        let lower = table.parsed(report, "write_rate_min", rate);
        let upper = table.parsed(report, "write_rate_max", rate);
        let memory = table.parsed(report, "memory", memory);
        let warning = table.whole(report, "warning", 1..=100);
        let all_clear = table.whole(report, "all_clear", 0..=99);
        let disks = table.tables(report, "disk", "[[edge.disk]]").into_iter();
        let disks =
            disks.filter_map(|table| DiskTable::read(report, table, directory, Purpose::Outside)).collect();
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
        let never = NeverDepletes::of_line(limit, 0).map(|never| (speed_place, never));
        let config = EdgeConfig { delay, limit, throttle, memory_bytes, thresholds, ..default };
        Self { config, disks, accept_never_depletes, never }
    }

    /// Complains about speeds with which what was left out never leaves, unless that is meant.
    pub(super) fn check(&self, report: &mut Report, cameras: &[CameraTable]) {
        if self.accept_never_depletes {
            return;
        }
        let of_camera = |limit: &CameraLimit| {
            limit.speed?;
            Some((limit.place.clone(), NeverDepletes::of_line(limit.over(self.config.limit), 0)?))
        };
        let of_cameras = cameras.iter().filter_map(|camera| camera.edge_limit.as_ref()).filter_map(of_camera);
        for (place, never) in self.never.clone().into_iter().chain(of_cameras) {
            let remedy =
                format!("{}, or confirm it with accept_never_depletes = true in [edge]", never.remedy());
            report.error(place, never.what(), remedy);
        }
    }
}

/// The limit of one camera, where one is set for it.
pub(super) fn of_camera(report: &mut Report, table: &mut Table<'_, '_>) -> Option<CameraLimit> {
    let place = table.span_of("edge_speed");
    let speed = table.whole(report, "edge_speed", 0..=u64::from(SPEED_PERCENT_MAX));
    let rate = table.parsed(report, "edge_rate", rate).map(Spanned::into_inner);
    (speed.is_some() || rate.is_some()).then_some(CameraLimit { speed, rate, place })
}

/// How fast the card of a camera is read by this recorder, where that is said of it.
pub(super) fn of_card(report: &mut Report, table: &mut Table<'_, '_>) -> Option<SpeedLimit> {
    let speed = table.whole(report, "card_speed", 0..=u64::from(SPEED_PERCENT_MAX));
    let rate = table.parsed(report, "card_rate", rate).map(Spanned::into_inner);
    // A data rate alone bounds that, and no speed.
    let unbound = SpeedLimit { percent: SPEED_PERCENT_MAX, bits_per_second: 0 };
    (speed.is_some() || rate.is_some()).then(|| limit(speed, rate, unbound))
}

fn limit(speed: Option<u64>, rate: Option<u64>, default: SpeedLimit) -> SpeedLimit {
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
