//! Trees of files as the kernel shows them.

use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

struct Tree(TempDir);

impl Tree {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{text}\n")).unwrap();
    }

    fn look(&self, name: &str) -> Result<Interface, InterfaceError> {
        Interfaces::at(self.0.path()).look(name)
    }

    /// A bundle of two links with a switch that bundles them, as Linux 6 shows it.
    fn bonded(&self) {
        for (file, text) in [
            ("operstate", "up"),
            ("speed", "2000"),
            ("bonding/mode", "802.3ad 4"),
            ("bonding/miimon", "100"),
            ("bonding/xmit_hash_policy", "layer2+3 2"),
            ("bonding/slaves", "eno1 eno2"),
            ("bonding/ad_aggregator", "1"),
        ] {
            self.write(&format!("bond0/{file}"), text);
        }
        for member in ["eno1", "eno2"] {
            for (file, text) in [
                ("operstate", "up"),
                ("speed", "1000"),
                ("bonding_slave/mii_status", "up"),
                ("bonding_slave/link_failure_count", "3"),
                ("bonding_slave/ad_aggregator_id", "1"),
                ("bonding_slave/ad_partner_oper_port_state", "61"),
            ] {
                self.write(&format!("{member}/{file}"), text);
            }
            symlink("../bond0", self.0.path().join(member).join("master")).unwrap();
        }
    }
}

#[test]
fn a_bundle_is_read_with_its_members_and_what_the_switch_says() {
    let tree = Tree::new();
    tree.bonded();
    let interface = tree.look("bond0").unwrap();
    assert_eq!((interface.up, interface.speed_mbps, interface.member_of), (true, Some(2_000), None));
    let bond = interface.bond.unwrap();
    assert_eq!((bond.mode.as_str(), bond.mode_number, bond.monitor_interval_ms), ("802.3ad", 4, 100));
    assert_eq!((bond.spread_by.as_str(), bond.aggregator), ("layer2+3", Some(1)));
    let member = Member {
        name: "eno1".into(),
        up: true,
        speed_mbps: Some(1_000),
        failures: 3,
        aggregator: Some(1),
        partner: Some(PortState(61)),
    };
    assert_eq!(bond.members, [member.clone(), Member { name: "eno2".into(), ..member }]);
    let partner = bond.members[0].partner.unwrap();
    assert!(partner.aggregates() && partner.is_synchronised() && partner.carries());
    assert!(!partner.is_made_up() && !partner.is_expired());
    let member = tree.look("eno1").unwrap();
    assert_eq!((member.bond, member.member_of.as_deref()), (None, Some("bond0")));
}

/// Beside a switch without LACP the kernel makes up what it was not told.
#[test]
fn a_partner_that_was_never_heard_is_made_up() {
    let state = PortState(0x45);
    assert!(state.is_made_up() && !state.is_synchronised() && !state.carries());
    assert!(PortState(0x85).is_expired());
}

#[test]
fn a_link_that_is_down_has_no_speed() {
    let tree = Tree::new();
    tree.write("eth0/operstate", "down");
    tree.write("eth0/speed", "-1");
    tree.write("eth1/operstate", "unknown");
    assert_eq!(tree.look("eth0").unwrap().speed_mbps, None);
    assert_eq!((tree.look("eth0").unwrap().up, tree.look("eth1").unwrap().up), (false, true));
    assert_eq!(tree.look("eth1").unwrap().bond, None);
}

#[test]
fn a_port_of_a_bridge_is_no_member_of_a_bundle() {
    let tree = Tree::new();
    tree.write("eth0/operstate", "up");
    symlink("../br0", tree.0.path().join("eth0/master")).unwrap();
    assert_eq!(tree.look("eth0").unwrap().member_of, None);
}

#[test]
fn what_is_no_interface_is_an_error_that_names_it() {
    let tree = Tree::new();
    for name in ["", "..", "a/b", "../../etc", "an interface", "much-too-long-a-name"] {
        assert!(matches!(tree.look(name), Err(InterfaceError::Name(_))), "{name}");
    }
    assert!(matches!(tree.look("eth7"), Err(InterfaceError::Unknown(name)) if name == "eth7"));
    fs::create_dir(tree.0.path().join("eth8")).unwrap();
    assert!(matches!(tree.look("eth8"), Err(InterfaceError::Unreadable { .. })));
    tree.bonded();
    tree.write("bond0/bonding/slaves", "eno1 ../../etc");
    assert!(matches!(tree.look("bond0"), Err(InterfaceError::Name(_))));
}

/// What the kernel of this machine shows can be read; every one has the loopback.
#[test]
fn the_loopback_of_this_machine_is_up() {
    let loopback = Interfaces::default().look("lo").unwrap();
    assert!(loopback.bond.is_none());
}

#[test]
fn a_machine_is_known_by_the_address_of_a_device() {
    let tree = Tree::new();
    assert_eq!(Interfaces::at(tree.0.path().join("nowhere")).hardware_address(), None);
    let known = || Interfaces::at(tree.0.path()).hardware_address();
    tree.write("lo/address", "00:00:00:00:00:00");
    tree.write("wg0/address", "");
    assert_eq!(known(), None);
    tree.write("br0/address", "02:00:5e:00:53:99");
    assert_eq!(known().as_deref(), Some("02:00:5e:00:53:99"));
    for (name, address) in [("eno2", "02:00:5e:00:53:02"), ("eno1", "02:00:5e:00:53:01")] {
        tree.write(&format!("{name}/address"), address);
        tree.write(&format!("{name}/device/vendor"), "0x0");
    }
    assert_eq!(known().as_deref(), Some("02:00:5e:00:53:01"));
}
