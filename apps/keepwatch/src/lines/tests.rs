//! Configurations beside trees of files as the kernel shows them.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::config;

const VIN: &str = "[node.vin]\ninterface = \"bond0\"\nmembers = [\"eno1\", \"eno2\"]\n";

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Two links in a bundle with a switch that bundles them, and a single line.
fn tree() -> TempDir {
    let tree = TempDir::new().unwrap();
    for (file, text) in [
        ("operstate", "up"),
        ("bonding/mode", "802.3ad 4"),
        ("bonding/miimon", "100"),
        ("bonding/slaves", "eno1 eno2"),
        ("bonding/ad_aggregator", "1"),
    ] {
        write(tree.path(), &format!("bond0/{file}"), text);
    }
    for member in ["eno1", "eno2"] {
        for (file, text) in [
            ("operstate", "up"),
            ("speed", "1000"),
            ("bonding_slave/mii_status", "up"),
            ("bonding_slave/ad_aggregator_id", "1"),
            ("bonding_slave/ad_partner_oper_port_state", "61"),
        ] {
            write(tree.path(), &format!("{member}/{file}"), text);
        }
    }
    write(tree.path(), "eno3/operstate", "up");
    write(tree.path(), "eno3/speed", "1000");
    tree
}

/// What is said of the lines, and whether the configuration is refused for them.
fn said(text: &str, tree: &Path) -> (String, bool) {
    let (file, report) = config::read(text, Path::new("/"));
    assert!(!report.show(Path::new("f")).to_string().contains("node.vin"), "{}", report.show(Path::new("f")));
    let mut report = Report::new(text.to_owned());
    check(&file.node.interfaces, &Interfaces::at(tree), &mut report);
    (report.show(Path::new("f")).to_string(), report.failed())
}

#[test]
fn a_running_node_tells_of_what_fails_and_not_of_how_it_is_set_up() {
    let tree = tree();
    let text = format!("{VIN}[node.wan]\ninterface = \"eno3\"\n[node.vin2]\ninterface = \"eno3\"\n");
    let (file, _) = config::read(&text, Path::new("/"));
    let look = || -> Vec<String> {
        let state = watch::State::of(&file.node.interfaces, &Interfaces::at(tree.path()));
        state.failures.into_values().flatten().map(|(what, _)| what).collect()
    };
    assert!(look().is_empty(), "a single line is how it is set up: {:?}", look());
    write(tree.path(), "eno1/bonding_slave/mii_status", "down");
    let failed = look();
    assert!(matches!(&failed[..], [one] if one.contains("the link eno1 is down")), "{failed:?}");
    write(tree.path(), "eno1/bonding_slave/mii_status", "up");
    assert!(look().is_empty());
    fs::remove_dir_all(tree.path().join("eno3")).unwrap();
    assert_eq!(look().len(), 2, "both name an interface that is gone: {:?}", look());
}

#[test]
fn a_bundle_carries_what_is_left_when_one_of_its_lines_fails() {
    let tree = tree();
    let rate = |text: &str| {
        let (file, _) = config::read(text, Path::new("/"));
        rate_for_cameras(&file.node.interfaces, &Interfaces::at(tree.path()))
    };
    let single = "[node.vin2]\ninterface = \"eno3\"\n";
    assert_eq!(rate(VIN), Some(1_000_000_000));
    assert_eq!(rate(single), Some(1_000_000_000));
    assert_eq!(rate(&format!("{VIN}{single}")), Some(2_000_000_000));
    assert_eq!(rate("[node.wan]\ninterface = \"eno3\"\n"), None, "cameras come in by others");
    write(tree.path(), "eno1/speed", "-1");
    assert_eq!(rate(VIN), Some(1_000_000_000), "the one that failed is the one it does without");
    write(tree.path(), "eno3/speed", "-1");
    assert_eq!(rate(&format!("{VIN}{single}")), Some(1_000_000_000), "what says nothing counts as nothing");
    write(tree.path(), "eno2/speed", "-1");
    assert_eq!(rate(&format!("{VIN}{single}")), None);
}

#[test]
fn a_bundle_of_two_links_with_a_switch_that_bundles_them_is_right() {
    let tree = tree();
    let text = format!("{VIN}address = \"192.0.2.5/24\"\n[node.wan]\ninterface = \"eno3\"\n");
    assert_eq!(said(&text, tree.path()), (String::new(), false));
}

#[test]
fn a_single_line_of_the_cameras_is_warned_of_and_one_of_the_clients_is_not() {
    let tree = tree();
    let (said, failed) =
        said("[node.vin]\ninterface = \"eno3\"\n[node.wan]\ninterface = \"eno3\"\n", tree.path());
    assert!(said.starts_with("f:2:13: warning: VIN: eno3 is a single line"), "{said}");
    assert_eq!((said.lines().count(), failed), (1, false));
}

/// One change of the tree, and what is said then.
#[test]
fn every_fault_of_a_bundle_has_a_sentence_of_its_own() {
    for (file, text, expected) in [
        ("bond0/bonding/mode", "active-backup 1", "bundles in mode 1 (active-backup), not in mode 4"),
        ("bond0/bonding/miimon", "0", "one that fails is not noticed"),
        ("bond0/bonding/slaves", "eno1", "eno2 is not a link of bond0"),
        ("bond0/operstate", "down", "bond0 is down"),
        ("eno2/bonding_slave/mii_status", "down", "the link eno2 is down"),
        ("eno2/speed", "100", "eno2 has 100 Mbit/s, and cameras need"),
        ("eno2/speed", "2500", "the link eno1 has 1000 Mbit/s and another 2500"),
        ("eno2/bonding_slave/ad_partner_oper_port_state", "69", "nothing was heard of LACP from the switch"),
        ("eno2/bonding_slave/ad_partner_oper_port_state", "189", "the switch has gone silent"),
        ("eno2/bonding_slave/ad_partner_oper_port_state", "57", "the switch takes it for a single line"),
        ("eno2/bonding_slave/ad_partner_oper_port_state", "5", "the switch does not use it"),
        ("eno2/bonding_slave/ad_aggregator_id", "2", "its other end belongs to another"),
    ] {
        let tree = tree();
        write(tree.path(), file, text);
        let (said, failed) = said(VIN, tree.path());
        assert!(said.contains(expected), "{file} = {text}: {said}");
        assert!(said.contains("warning: VIN: ") && !failed, "{said}");
    }
}

#[test]
fn a_link_of_a_bundle_is_not_the_interface() {
    let tree = tree();
    std::os::unix::fs::symlink("../bond0", tree.path().join("eno1/master")).unwrap();
    let (said, _) = said("[node.vin]\ninterface = \"eno1\"\n", tree.path());
    assert!(said.contains("eno1 is a link of the bundle bond0; name the bundle"), "{said}");
}

#[test]
fn an_interface_that_is_not_there_is_an_error() {
    let tree = tree();
    let (said, failed) = said("[node.vin2]\ninterface = \"eth9\"\n", tree.path());
    assert!(said.starts_with("f:2:13: VIN2: there is no interface eth9; "), "{said}");
    assert!(failed);
}
