//! The file that describes a site; `docs/ref/site.toml` is its example and reference.

use std::time::Duration;

use keepwatch_recorder::config::text::{Complaint, name, quoted};
use keepwatch_recorder::config::units;
use keepwatch_recording::failover::{Setup, SetupError};
use keepwatch_recording::plan::{PoeSwitch, Recorder, Site, Standby};
use serde_spanned::Spanned;

use crate::config::{Report, interface_name, read_tree, reader::Table};

/// Most cameras of one device: an absurd number is a slip.
const CAMERAS_MAX: u64 = 100_000;
/// What a full-HD camera sends when nothing is said.
const CAMERA_RATE_USUAL: u64 = 4_000_000;
/// Fastest camera that is believed.
const CAMERA_RATE_MAX: u64 = 10_000_000_000;
/// Most entries of one kind.
const ENTRIES_MAX: usize = 1_000;

/// A site, and what of it is needed for configurations only.
#[derive(Clone, Debug, Default)]
pub(super) struct SiteFile {
    /// What is planned.
    pub(super) site: Site,
    /// Of each recorder, and last of the standby: the interfaces of its lines; empty when that is not said.
    pub(super) interfaces: Vec<Vec<String>>,
}

/// Whether the file is one of a site: a node has no such tables.
pub(super) fn describes_a_site(text: &str) -> bool {
    read_tree(text, |_, root| root.is_list("recorder")).0
}

/// Reads the file.
pub(super) fn read(text: &str) -> (SiteFile, Report) {
    read_tree(text, of_root)
}

fn of_root(report: &mut Report, mut root: Table<'_, '_>) -> SiteFile {
    let mut file = SiteFile::default();
    let site = &mut file.site;
    let mut usual_rate = CAMERA_RATE_USUAL;
    if let Some(mut table) = root.table(report, "site", "[site]") {
        if let Some(rate) = table.parsed(report, "line", |text| rate(text, u64::MAX)) {
            site.line_bits_per_second = rate.into_inner();
        }
        if let Some(rate) = table.parsed(report, "camera_rate", camera_rate) {
            usual_rate = rate.into_inner();
        }
        table.finish(report);
    }
    let mut interfaces = Vec::new();
    let recorders = root.tables(report, "recorder", "[[recorder]]");
    too_many(report, &recorders, "recorders");
    for mut table in recorders.into_iter().take(ENTRIES_MAX) {
        let read = Device::read(report, &mut table, usual_rate);
        let disk = table.parsed(report, "disk", units::bytes);
        let prebuffer = table.boolean(report, "prebuffer").unwrap_or(true);
        interfaces.push(names(report, &mut table));
        table.finish(report);
        let Device { name, cameras, camera_bits_per_second } = read;
        let disk_bytes = disk.map(Spanned::into_inner);
        site.recorders.push(Recorder { name, cameras, camera_bits_per_second, disk_bytes, prebuffer });
    }
    if let Some(mut table) = root.table(report, "standby", "[standby]") {
        interfaces.push(names(report, &mut table));
        site.standby = Some(standby(report, table));
    }
    let switches = root.tables(report, "poe_switch", "[[poe_switch]]");
    too_many(report, &switches, "switches");
    for mut table in switches.into_iter().take(ENTRIES_MAX) {
        let read = Device::read(report, &mut table, usual_rate);
        table.finish(report);
        let Device { name, cameras, camera_bits_per_second } = read;
        site.switches.push(PoeSwitch { name, cameras, camera_bits_per_second });
    }
    root.finish(report);
    file.interfaces = interfaces;
    file
}

fn standby(report: &mut Report, mut table: Table<'_, '_>) -> Standby {
    let setup = Setup::default();
    let name = table.parsed(report, "name", name);
    let disk = table.parsed(report, "disk", units::bytes);
    let at_once = table.whole(report, "at_once", 1..=1_000);
    let repair = table.parsed(report, "repair", units::duration);
    let interval = table.parsed(report, "check_interval", units::duration);
    let threshold = table.whole(report, "auto_failover_threshold", 1..=100);
    let interval =
        interval.map_or((table.span(), setup.check_interval()), |value| (value.span(), value.into_inner()));
    let threshold = threshold.and_then(|value| u32::try_from(value).ok());
    let threshold = threshold.unwrap_or(setup.auto_failover_threshold());
    let setup = Setup::new(interval.1, setup.setup_backup_interval(), threshold).unwrap_or_else(
        |error: SetupError| {
            report.error(interval.0, error.to_string(), "write a time like \"1s\"");
            setup
        },
    );
    table.finish(report);
    Standby {
        name: name.map_or_else(|| "standby".to_owned(), Spanned::into_inner),
        disk_bytes: disk.map(Spanned::into_inner),
        at_once: usize::try_from(at_once.unwrap_or(1)).unwrap_or(1),
        repair: repair.map_or(Duration::from_secs(3 * 86_400), Spanned::into_inner),
        takes_over_after_max: setup.takes_over_after_max(),
    }
}

/// What recorders and switches have in common.
struct Device {
    name: String,
    cameras: u64,
    camera_bits_per_second: u64,
}

impl Device {
    fn read(report: &mut Report, table: &mut Table<'_, '_>, usual_rate: u64) -> Self {
        for (key, remedy) in [
            ("name", "add what it is called, like name = \"NVR-1\""),
            ("cameras", "add how many cameras it has, like cameras = 64"),
        ] {
            if !table.has(key) {
                table.missing(report, key, remedy);
            }
        }
        let name = table.parsed(report, "name", name);
        let cameras = table.whole(report, "cameras", 0..=CAMERAS_MAX);
        let rate = table.parsed(report, "camera_rate", camera_rate);
        Self {
            name: name.map(Spanned::into_inner).unwrap_or_default(),
            cameras: cameras.unwrap_or(0),
            camera_bits_per_second: rate.map_or(usual_rate, Spanned::into_inner),
        }
    }
}

fn names(report: &mut Report, table: &mut Table<'_, '_>) -> Vec<String> {
    let names = table.list(report, "interfaces", interface_name).unwrap_or_default();
    names.into_iter().map(Spanned::into_inner).collect()
}

fn too_many(report: &mut Report, tables: &[Table<'_, '_>], what: &str) {
    if let Some(table) = tables.get(ENTRIES_MAX) {
        report.error(table.span(), format!("more than {ENTRIES_MAX} {what}"), "plan parts of the site apart");
    }
}

fn camera_rate(text: &str) -> Result<u64, Complaint> {
    rate(text, CAMERA_RATE_MAX)
}

fn rate(text: &str, max: u64) -> Result<u64, Complaint> {
    let rate = units::bits_per_second(text)?;
    if (1..=max).contains(&rate) {
        return Ok(rate);
    }
    Err(Complaint::new(format!("{} cannot be", quoted(text)), "write a rate like \"4 Mbit/s\""))
}
