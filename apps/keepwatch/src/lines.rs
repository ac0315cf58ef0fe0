//! Whether the lines of a node are what they should be: there, up, fast, and bundled so that one can fail.
//!
//! Only that an interface is not there at all is an error of the configuration. Everything else is a warning: the cameras are
//! recorded all the same, until the next line fails. `check` says all of it; a running node tells what changes ([`watch`]).

pub(crate) mod watch;

use std::collections::BTreeSet;
use std::ops::Range;

use keepwatch_interfaces::{Bond, Interface, Interfaces, Member, PortState};

use crate::config::{InterfaceTable, Part, Report};

/// Slowest line that is not warned of, in megabits per second.
const SPEED_MBPS_MIN: u32 = 1_000;
/// Number of the mode that bundles by IEEE 802.1AX with LACP.
const MODE_LACP: u8 = 4;

/// An interface that the configuration names, or a link of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    part: Part,
    interface: String,
    /// The link; the interface itself otherwise.
    name: String,
}

/// What is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fault {
    kind: Kind,
    line: Line,
    /// Where the configuration names the line.
    span: Range<usize>,
    what: String,
    remedy: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// There is no such interface.
    Absent,
    /// It is set up so.
    Setup,
    /// It was well, or may be again, without a change of the setup.
    Failure,
}

/// Looks at the interfaces that the configuration names.
pub(crate) fn check(tables: &[InterfaceTable], interfaces: &Interfaces, report: &mut Report) {
    for Fault { kind, span, what, remedy, .. } in look(tables, interfaces).faults {
        match kind {
            Kind::Absent => report.error(span, what, remedy),
            Kind::Setup | Kind::Failure => report.warning(span, what, remedy),
        }
    }
}

/// What was found of the lines.
#[derive(Debug, Default)]
struct Look {
    faults: Vec<Fault>,
    /// Those that are there: one without a fault is well.
    seen: BTreeSet<Line>,
}

/// Looks at the interfaces that the configuration names, and at their links.
fn look(tables: &[InterfaceTable], interfaces: &Interfaces) -> Look {
    let mut found = Look::default();
    for table in tables {
        let mut lines = Lines { table, found: &mut found };
        let name = table.interface.get_ref();
        match interfaces.look(name) {
            Ok(interface) => lines.judge(&interface),
            Err(error) => lines.add(
                Kind::Absent,
                name,
                table.interface.span(),
                error.to_string(),
                "write a name as `ip link` shows it; `keepwatch plan` writes the configuration of a bundle",
            ),
        }
    }
    found
}

/// What cameras can send by the interfaces that the configuration names for them, in bits per second; `None` when it names none, or
/// of none the speed is known. A bundle of lines that all work counts without one: it must do with the others when that fails.
fn rate_for_cameras(tables: &[InterfaceTable], interfaces: &Interfaces) -> Option<u64> {
    let cameras = tables.iter().filter(|table| table.part.has_cameras());
    let rates = cameras.filter_map(|table| {
        let interface = interfaces.look(table.interface.get_ref()).ok()?;
        let Some(bond) = &interface.bond else { return interface.speed_mbps.map(u64::from) };
        let speeds: Vec<u64> =
            bond.members.iter().filter_map(|member| member.speed_mbps.map(u64::from)).collect();
        let all_work = speeds.len() == bond.members.len() && speeds.len() > 1;
        let fastest = speeds.iter().max().filter(|_| all_work);
        Some(speeds.iter().sum::<u64>() - fastest.copied().unwrap_or(0))
    });
    let mbps: u64 = rates.sum();
    (mbps > 0).then(|| mbps.saturating_mul(1_000_000))
}

struct Lines<'a> {
    table: &'a InterfaceTable,
    found: &'a mut Look,
}

impl Lines<'_> {
    fn judge(&mut self, interface: &Interface) {
        let span = self.table.interface.span();
        let name = &interface.name;
        self.found.seen.insert(self.line(name));
        if let Some(bond) = &interface.member_of {
            let what = format!("{name} is a link of the bundle {bond}");
            return self.setup(span, what, &format!("name the bundle: interface = {bond:?}"));
        }
        if !interface.up {
            self.failure(name, span.clone(), format!("{name} is down"), "plug it in, or bring it up");
        }
        match &interface.bond {
            Some(bond) => self.bundle(interface, bond),
            None if self.table.part.has_cameras() => {
                self.single(&interface.name);
                self.slow(span, &interface.name, interface.up, interface.speed_mbps);
            }
            None => {}
        }
    }

    fn single(&mut self, name: &str) {
        let what = format!("{name} is a single line: when it or its port fails, no camera is recorded");
        let remedy =
            "bundle two links by LACP (bonding mode 4); `keepwatch plan FILE` writes the configuration";
        self.setup(self.table.interface.span(), what, remedy);
    }

    fn bundle(&mut self, interface: &Interface, bond: &Bond) {
        let (span, name) = (self.table.interface.span(), &interface.name);
        if bond.mode_number != MODE_LACP {
            let what = format!("{name} bundles in mode {} ({}), not in mode 4", bond.mode_number, bond.mode);
            self.setup(span.clone(), what, "set mode 4 (802.3ad) here and LACP at the switch");
        }
        if bond.monitor_interval_ms == 0 {
            let what = format!("{name} does not look at its links: one that fails is not noticed");
            self.setup(span, what, "set the monitoring interval (miimon) to 100 ms");
        }
        if bond.members.len() < 2 && self.table.part.has_cameras() {
            self.single(name);
        }
        for wanted in &self.table.members {
            if !bond.members.iter().any(|member| member.name == *wanted.get_ref()) {
                let what = format!("{} is not a link of {name}", wanted.get_ref());
                self.failure(
                    wanted.get_ref(),
                    wanted.span(),
                    what,
                    "add it to the bundle, or take it out of members",
                );
            }
        }
        let fastest = bond.members.iter().filter_map(|member| member.speed_mbps).max();
        for member in &bond.members {
            self.member(bond, member, fastest);
        }
    }

    fn member(&mut self, bond: &Bond, member: &Member, fastest: Option<u32>) {
        let table = self.table;
        let named = table.members.iter().find(|wanted| *wanted.get_ref() == member.name);
        let span = named.unwrap_or(&table.interface).span();
        let name = &member.name;
        self.found.seen.insert(self.line(name));
        if !member.up {
            let what = format!("the link {name} is down: the bundle has no spare for it");
            return self.failure(name, span, what, "look at its cable and at the port of the switch");
        }
        self.slow(span.clone(), name, member.up, member.speed_mbps);
        if let (Some(speed), Some(fastest)) = (member.speed_mbps, fastest)
            && speed < fastest
        {
            let what = format!(
                "the link {name} has {speed} Mbit/s and another {fastest}: LACP bundles equal ones only"
            );
            self.failure(name, span.clone(), what, "look at its cable, and set both ports alike");
        }
        if bond.mode_number != MODE_LACP {
            return;
        }
        if let Some(what) = member.partner.and_then(refused) {
            let what = format!("the link {name} is not bundled: {what}");
            return self.failure(name, span, what, "set LACP, active, at this port of the switch");
        }
        if member.aggregator.zip(bond.aggregator).is_some_and(|(own, used)| own != used) {
            let what = format!(
                "the link {name} is not in the bundle that is used: its other end belongs to another"
            );
            self.failure(name, span, what, "put both ports into one aggregator of one switch");
        }
    }

    fn slow(&mut self, span: Range<usize>, name: &str, up: bool, speed_mbps: Option<u32>) {
        if let Some(speed) = speed_mbps.filter(|speed| up && *speed < SPEED_MBPS_MIN)
            && self.table.part != Part::Wan
        {
            let what = format!("{name} has {speed} Mbit/s, and cameras need lines of 1 Gbit/s");
            self.failure(name, span, what, "look at its cable and at the port of the switch");
        }
    }

    fn setup(&mut self, span: Range<usize>, what: String, remedy: &str) {
        self.add(Kind::Setup, self.table.interface.get_ref(), span, what, remedy);
    }

    fn failure(&mut self, name: &str, span: Range<usize>, what: String, remedy: &str) {
        self.add(Kind::Failure, name, span, what, remedy);
    }

    fn add(&mut self, kind: Kind, name: &str, span: Range<usize>, what: String, remedy: &str) {
        let what = format!("{}: {what}", self.table.part);
        self.found.faults.push(Fault { kind, line: self.line(name), span, what, remedy: remedy.to_owned() });
    }

    fn line(&self, name: &str) -> Line {
        let InterfaceTable { part, interface, .. } = self.table;
        Line { part: *part, interface: interface.get_ref().clone(), name: name.to_owned() }
    }
}

/// Why the other end does not bundle a link; `None` when it does.
fn refused(partner: PortState) -> Option<&'static str> {
    if partner.is_made_up() {
        Some("nothing was heard of LACP from the switch")
    } else if partner.is_expired() {
        Some("the switch has gone silent")
    } else if !partner.aggregates() {
        Some("the switch takes it for a single line")
    } else if !partner.is_synchronised() || !partner.carries() {
        Some("the switch does not use it")
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
