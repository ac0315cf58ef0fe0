//! `[standby]`: how other recorders are watched, and how much is recorded in their place.

use std::ops::RangeInclusive;
use std::time::Duration;

use keepwatch_recorder::config::text::{Complaint, at_least, name, quoted};
use keepwatch_recorder::config::units;
use keepwatch_recording::failover::Setup;
use keepwatch_standby::{Limits, StandbyConfig};
use serde_spanned::Spanned;

use super::reader::Table;
use super::report::Report;

/// Most cameras of others: beyond this the number is a slip.
const CAMERAS_MAX: u64 = 4096;
/// Least of what they may send: one camera.
const RATE_MIN: u64 = 1_000_000;
/// Least memory of the pre-buffers: a camera or two.
const PREBUFFER_BYTES_MIN: u64 = 16 << 20;
/// Shortest and longest time between two drills: one opens every camera once more.
const DRILL_EVERY: RangeInclusive<Duration> = Duration::from_secs(3_600)..=Duration::from_secs(366 * 86_400);

/// `[standby]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StandbyTable(pub(crate) StandbyConfig);

impl StandbyTable {
    pub(super) fn read(report: &mut Report, mut table: Table<'_, '_>) -> Self {
        let default = StandbyConfig::default();
        let setup = default.setup;
        let check = table.parsed(report, "check_interval", |text| {
            let check = units::duration(text)?;
            with(text, "write 200 ms to 5 min", check, setup.setup_backup_interval(), 1)
        });
        let backup = table.parsed(report, "setup_backup_interval", |text| {
            let backup = units::duration(text)?;
            with(text, "write 10 s to 7 days", setup.check_interval(), backup, 1)
        });
        let threshold = table.whole(report, "auto_failover_threshold", 1..=100);
        let cameras = table.whole(report, "cameras_max", 1..=CAMERAS_MAX);
        let rate = table.parsed(report, "bandwidth_max", |text| {
            at_least(units::bits_per_second(text)?, RATE_MIN, text, "write at least \"1 Mbit/s\"")
        });
        let prebuffer = table.parsed(report, "prebuffer_max", |text| {
            at_least(units::bytes(text)?, PREBUFFER_BYTES_MIN, text, "write at least \"16 MiB\"")
        });
        let coordinator = table.parsed(report, "coordinator", name);
        let drill_every = table.parsed(report, "drill_every", |text| {
            let every = units::duration(text)?;
            let out = || Complaint::new(format!("{} is out of range", quoted(text)), "write 1 h to 366 days");
            DRILL_EVERY.contains(&every).then_some(every).ok_or_else(out)
        });
        table.finish(report);
        let check = check.map_or(setup.check_interval(), |setup| setup.into_inner().check_interval());
        let backup =
            backup.map_or(setup.setup_backup_interval(), |setup| setup.into_inner().setup_backup_interval());
        let threshold = threshold.and_then(|threshold| u32::try_from(threshold).ok());
        let threshold = threshold.unwrap_or(setup.auto_failover_threshold());
        let cameras = cameras.and_then(|cameras| usize::try_from(cameras).ok());
        let limits = Limits { cameras, bits_per_second: rate.map(Spanned::into_inner) };
        // Each was found to be in its range.
        let setup = Setup::new(check, backup, threshold).unwrap_or(setup);
        let prebuffer_bytes_max = prebuffer.map_or(default.prebuffer_bytes_max, Spanned::into_inner);
        let coordinator = coordinator.map(Spanned::into_inner);
        let drill_every = drill_every.map(Spanned::into_inner);
        Self(StandbyConfig { setup, limits, drill_every, prebuffer_bytes_max, coordinator })
    }
}

/// A setup, if `text` is in its range.
fn with(
    text: &str,
    remedy: &'static str,
    check: Duration,
    backup: Duration,
    threshold: u32,
) -> Result<Setup, Complaint> {
    Setup::new(check, backup, threshold)
        .map_err(|_| Complaint::new(format!("{} is out of range", quoted(text)), remedy))
}
