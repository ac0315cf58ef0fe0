//! What bundles the lines at the backbone switch: the commands of one family, and what any switch with IEEE 802.1AX is to be told.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use keepwatch_recording::plan::{Device, Plan};

use super::show::table;
use super::site::SiteFile;

/// Ports and aggregators of a V2624G-POE.
const V2624G_PORTS: u64 = 28;
/// See [`V2624G_PORTS`].
const V2624G_AGGREGATORS: usize = 8;

/// Lines that the switch bundles.
#[derive(Clone, Debug)]
pub(super) struct Bundle {
    /// Where they go.
    device: String,
    /// Their ports, counted from 1.
    ports: RangeInclusive<u64>,
}

/// All that is to be bundled, on ports one after the other.
pub(super) fn bundles(file: &SiteFile, plan: &Plan) -> Vec<Bundle> {
    let mut next = 1;
    let bundled = plan.devices(&file.site).filter(|device| device.lines.bundled());
    bundled
        .map(|Device { name, lines, .. }| {
            let ports = next..=next + lines.count - 1;
            next += lines.count;
            Bundle { device: name.to_owned(), ports }
        })
        .collect()
}

/// The commands of a DASAN V2624G-POE.
pub(super) fn v2624g(bundles: &[Bundle]) -> String {
    let mut text = "LACP of a DASAN V2624G-POE: enter these commands in its console\n\n".to_owned();
    let Some(last) = bundles.last() else { return nothing(text) };
    let ports = *last.ports.end();
    if ports > V2624G_PORTS || bundles.len() > V2624G_AGGREGATORS {
        let _ = writeln!(
            text,
            "  One is not enough: {} bundles of {ports} ports are needed, and it has {V2624G_AGGREGATORS} aggregators and \
             {V2624G_PORTS} ports.\n  Take a larger switch, or several that are bundled to each other.",
            bundles.len()
        );
        return text;
    }
    let aggregators = format!("0-{}", bundles.len() - 1);
    for command in [
        "enable",
        "configure terminal",
        "bridge",
        &format!("lacp aggregator {aggregators}"),
        // By the sender's address, so that the cameras of a recorder spread over its lines.
        &format!("lacp aggregator distmode {aggregators} srcmac"),
        &format!("lacp port 1-{ports}"),
        &format!("lacp port activity 1-{ports} active"),
        "exit",
        "exit",
        "write memory",
        "reload",
    ] {
        let _ = writeln!(text, "  {command}");
    }
    let _ = write!(text, "\n  Ports:\n{}", ports_table(bundles));
    text
}

/// What any switch is to be told.
pub(super) fn generic(bundles: &[Bundle]) -> String {
    let mut text = "LACP of any switch with IEEE 802.1AX: one aggregator for each row\n\n".to_owned();
    if bundles.is_empty() {
        return nothing(text);
    }
    text.push_str(&ports_table(bundles));
    text.push_str(
        "\n  LACP mode         active\n  LACP timeout      short (1 s)\n  distribution      by source address (MAC)\n  \
         spanning tree     edge port towards recorders\n  speed             the same at all ports of a row, full duplex\n",
    );
    text
}

fn ports_table(bundles: &[Bundle]) -> String {
    let mut rows = vec![["aggregator", "ports", "to"].map(str::to_owned)];
    rows.extend(bundles.iter().enumerate().map(|(number, bundle)| {
        let ports = format!("{}-{}", bundle.ports.start(), bundle.ports.end());
        [number.to_string(), ports, bundle.device.clone()]
    }));
    table(&rows)
}

fn nothing(mut text: String) -> String {
    text.push_str("  Nothing is to be bundled.\n");
    text
}
