//! Interfaces of a Linux node, as files of systemd-networkd (`systemd.netdev(5)`, `systemd.network(5)`).

use std::fmt::Write as _;

use keepwatch_recording::plan::{Device, Lines, Plan};

use super::site::SiteFile;
use crate::config::{Address, InterfaceTable};

/// How a node without a name for its links is written: to be replaced.
const LINK_UNNAMED: &str = "LINK";
/// What the bundle of cameras is called when nothing says so.
const BUNDLE_USUAL: &str = "vin";

/// The files of one node, by its configuration.
pub(super) fn of_node(interfaces: &[InterfaceTable]) -> String {
    let mut text = "Files for /etc/systemd/network; `networkctl reload` takes them up\n".to_owned();
    for table in interfaces {
        let members: Vec<&str> = table.members.iter().map(|name| name.get_ref().as_str()).collect();
        interface(&mut text, table.interface.get_ref(), &members, table.address);
    }
    text
}

/// The files of every recorder of a site.
pub(super) fn of_site(file: &SiteFile, plan: &Plan) -> String {
    let mut text = String::new();
    // Switches are no nodes, and no links are named for them.
    for (Device { name, lines, .. }, links) in plan.devices(&file.site).zip(&file.interfaces) {
        let _ = writeln!(text, "Linux, systemd-networkd: files for /etc/systemd/network of {name}");
        let links = named(links, lines);
        let links: Vec<&str> = links.iter().map(String::as_str).collect();
        interface(&mut text, BUNDLE_USUAL, &links, Address::Dhcp);
        text.push('\n');
    }
    text
}

/// The links that are named, and for those that are not, what stands for them.
fn named(links: &[String], lines: Lines) -> Vec<String> {
    let wanted = usize::try_from(lines.count.min(64)).unwrap_or(64).max(links.len());
    let unnamed = (links.len()..wanted).map(|number| format!("{LINK_UNNAMED}{}", number + 1));
    links.iter().cloned().chain(unnamed).collect()
}

/// One interface; a bundle when it has members.
fn interface(text: &mut String, name: &str, members: &[&str], address: Address) {
    if !members.is_empty() {
        file(
            text,
            &format!("10-{name}.netdev"),
            &format!(
                "[NetDev]\nName={name}\nKind=bond\n\n[Bond]\nMode=802.3ad\nLACPTransmitRate=fast\nMIIMonitorSec=100ms\n\
                 TransmitHashPolicy=layer2+3\n"
            ),
        );
        let members = members.join(" ");
        file(
            text,
            &format!("11-{name}-links.network"),
            &format!("[Match]\nName={members}\n\n[Network]\nBond={name}\n"),
        );
    }
    let address = match address {
        Address::Dhcp => "DHCP=yes".to_owned(),
        Address::Fixed(..) => format!("Address={address}"),
    };
    file(text, &format!("12-{name}.network"), &format!("[Match]\nName={name}\n\n[Network]\n{address}\n"));
}

fn file(text: &mut String, name: &str, content: &str) {
    // Writing to a text cannot fail.
    let _ = writeln!(text, "\n# {name}");
    text.push_str(content);
}
