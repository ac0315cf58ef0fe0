//! What a site needs, as tables for people.

use std::fmt::Write as _;
use std::time::Duration;

use keepwatch_recorder::config::units::{show_bytes, show_duration, show_rate};
use keepwatch_recording::plan::{CAMERAS_PER_LINE, Device, Plan};

use super::site::SiteFile;

/// The tables.
pub(super) fn needs(file: &SiteFile, plan: &Plan) -> String {
    let site = &file.site;
    let mut text = String::new();
    let capacity = show_rate(plan.switch_bits_per_second);
    // Writing to a text cannot fail.
    let _ =
        writeln!(text, "Backbone switch: switching capacity of more than {capacity}, LACP (IEEE 802.1AX)");
    let line = show_rate(site.line_bits_per_second);
    let _ = writeln!(text, "\nLines to it, of {line} each\n");
    let mut rows = vec![["device", "cameras", "rate", "lines", "bonding"].map(str::to_owned)];
    rows.extend(plan.devices(site).map(|Device { name, cameras, lines }| {
        let bonding = if lines.bundled() { "mode 4 (LACP)" } else { "-" };
        [
            name.to_owned(),
            cameras.to_string(),
            show_rate(lines.bits_per_second),
            lines.count.to_string(),
            bonding.to_owned(),
        ]
    }));
    text.push_str(&table(&rows));
    let _ = writeln!(
        text,
        "\nA recorder has a line more than its rate asks for, two at least: one can fail. A switch has one for each started\n\
         {CAMERAS_PER_LINE} cameras, and as many as its rate asks for. No line is planned fuller than 80 %."
    );
    disks(&mut text, file, plan);
    standby(&mut text, file, plan);
    text
}

fn disks(text: &mut String, file: &SiteFile, plan: &Plan) {
    let holds: Vec<_> = (file.site.recorders.iter().zip(&plan.recorders))
        .filter_map(|(recorder, planned)| Some((recorder, recorder.disk_bytes?, planned.holds?)))
        .collect();
    if holds.is_empty() {
        return;
    }
    let mut rows = vec![["recorder", "disks", "holds"].map(str::to_owned)];
    rows.extend(
        holds
            .into_iter()
            .map(|(recorder, bytes, time)| [recorder.name.clone(), show_bytes(bytes), days(time)]),
    );
    let _ = write!(text, "\nFootage\n\n{}", table(&rows));
}

fn standby(text: &mut String, file: &SiteFile, plan: &Plan) {
    let (Some(standby), Some(planned)) = (&file.site.standby, &plan.standby) else {
        text.push_str("\nThere is no [standby]: a recorder that fails loses what it should record.\n");
        return;
    };
    let at_once = standby.at_once.min(file.site.recorders.len());
    let mut rows = vec![
        ["takes over after at most".to_owned(), show_duration(standby.takes_over_after_max)],
        ["recorders covered at once".to_owned(), at_once.to_string()],
        ["cameras".to_owned(), planned.cameras.to_string()],
        ["rate".to_owned(), show_rate(planned.bits_per_second)],
        [format!("disk for a repair of {}", show_duration(standby.repair)), show_bytes(planned.disk_bytes)],
        ["memory for the pre-buffer".to_owned(), show_bytes(planned.prebuffer_bytes)],
        ["rate of the pre-buffer, always".to_owned(), show_rate(planned.prebuffer_bits_per_second)],
    ];
    if let (Some(bytes), Some(time)) = (standby.disk_bytes, planned.holds) {
        rows.push([format!("its disks of {} hold", show_bytes(bytes)), days(time)]);
    }
    let _ = write!(text, "\nStandby {}\n\n{}", standby.name, table(&rows));
    if let Some(bytes) = standby.disk_bytes.filter(|bytes| *bytes < planned.disk_bytes) {
        let _ = writeln!(
            text,
            "\nIts disks are too small: {} are needed and {} are there, so the oldest footage of a failover goes before the\n\
             primary is repaired.",
            show_bytes(planned.disk_bytes),
            show_bytes(bytes)
        );
    }
}

fn days(time: Duration) -> String {
    let hours = time.as_secs() / 3_600;
    if hours >= 48 { format!("{} days", hours / 24) } else { format!("{hours} h") }
}

/// Columns as wide as they must be.
pub(super) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(format!("  {}", cells.collect::<Vec<_>>().join("  ")).trim_end());
        text.push('\n');
    }
    text
}
