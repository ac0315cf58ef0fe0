//! Sites and nodes as installers write them, and what they are told.

use std::path::Path;

use super::*;

const REFERENCE: &str = include_str!("../../../../docs/ref/site.toml");

/// Three recorders, their standby and two switches.
const SITE: &str = "
[[recorder]]
name = \"NVR-1\"
cameras = 64
disk = \"32 TB\"
interfaces = [\"eno1\", \"eno2\"]
[[recorder]]
name = \"NVR-2\"
cameras = 32
camera_rate = \"8 Mbit/s\"
[[recorder]]
name = \"NVR-3\"
cameras = 16
prebuffer = false
[standby]
name = \"SB-1\"
disk = \"4 TB\"
[[poe_switch]]
name = \"gate\"
cameras = 24
[[poe_switch]]
name = \"hall\"
cameras = 40
";

fn planned(text: &str, only: Option<PlanPart>) -> String {
    let (site, report) = site::read(text);
    assert!(report.is_empty(), "{}", report.show(Path::new("site.toml")));
    of_site(&site, only)
}

fn complaints(text: &str) -> String {
    assert!(site::describes_a_site(text));
    site::read(text).1.show(Path::new("F")).to_string()
}

#[test]
fn the_reference_shows_the_defaults_and_its_examples_are_right() {
    let least = "[[recorder]]\nname = \"NVR-1\"\ncameras = 64\n[standby]\n\
                 [[poe_switch]]\nname = \"gate house\"\ncameras = 24\n";
    assert_eq!(site::read(REFERENCE).0.site, site::read(least).0.site);
    assert!(planned(REFERENCE, None).contains("NVR-1"));
    let full = planned(&REFERENCE.replace("#: ", ""), None);
    assert!(full.contains("32 TB") || full.contains("29.1 TiB"), "{full}");
}

#[test]
fn a_site_is_told_its_lines_disks_and_standby() {
    let needs = planned(SITE, Some(PlanPart::Needs));
    for line in [
        "Backbone switch: switching capacity of more than 6.0 Gbit/s, LACP (IEEE 802.1AX)",
        "  NVR-1   64       256.0 Mbit/s  2      mode 4 (LACP)",
        "  gate    24       96.0 Mbit/s   1      -",
        "  hall    40       160.0 Mbit/s  2      mode 4 (LACP)",
        "  takes over after at most        4 s",
        "  memory for the pre-buffer       1.3 GiB",
    ] {
        assert!(needs.lines().any(|shown| shown == line), "{line}\n{needs}");
    }
    assert!(needs.contains("Its disks are too small"), "{needs}");
}

/// The seed's example, command by command.
#[test]
fn the_switch_of_the_seed_gets_its_commands() {
    let commands = planned(SITE, Some(PlanPart::V2624g));
    let lines: Vec<&str> = commands.lines().map(str::trim).skip(2).take(11).collect();
    assert_eq!(
        lines,
        [
            "enable",
            "configure terminal",
            "bridge",
            "lacp aggregator 0-4",
            "lacp aggregator distmode 0-4 srcmac",
            "lacp port 1-10",
            "lacp port activity 1-10 active",
            "exit",
            "exit",
            "write memory",
            "reload",
        ]
    );
    assert!(commands.contains("  4           9-10   hall"), "{commands}");
    let many: String =
        (0..10).map(|number| format!("[[recorder]]\nname = \"R{number}\"\ncameras = 4\n")).collect();
    assert!(planned(&many, Some(PlanPart::V2624g)).contains("One is not enough: 10 bundles of 20 ports"));
    assert!(planned(&many, Some(PlanPart::Lacp)).contains("  9           19-20  R9"));
}

#[test]
fn recorders_get_the_files_of_their_bundle() {
    let files = planned(SITE, Some(PlanPart::Networkd));
    assert!(
        files.contains("# 10-vin.netdev\n[NetDev]\nName=vin\nKind=bond\n\n[Bond]\nMode=802.3ad\n"),
        "{files}"
    );
    assert!(
        files.contains("of NVR-1\n") && files.contains("[Match]\nName=eno1 eno2\n\n[Network]\nBond=vin\n")
    );
    assert!(files.contains("of SB-1\n") && files.contains("[Match]\nName=LINK1 LINK2\n"), "{files}");
}

#[test]
fn a_node_gets_the_files_of_its_own_interfaces() {
    let text = "[node]\nvin = { interface = \"vin0\", members = [\"eno1\", \"eno2\"], address = \"192.0.2.5/24\" }\n\
                wan = { interface = \"eno3\" }\n[[disk]]\npath = \"/srv\"\n";
    assert!(!site::describes_a_site(text));
    let (file, report) = config::read(text, Path::new("/"));
    assert!(!report.failed(), "{}", report.show(Path::new("F")));
    let files = networkd::of_node(&file.node.interfaces);
    assert!(
        files.contains("# 12-vin0.network\n[Match]\nName=vin0\n\n[Network]\nAddress=192.0.2.5/24\n"),
        "{files}"
    );
    assert!(files.contains("[Match]\nName=eno3\n\n[Network]\nDHCP=yes\n"));
    assert!(!files.contains("10-eno3.netdev"), "a single line is no bundle");
}

#[test]
fn every_mistake_of_a_site_is_named_with_its_place() {
    let text = "[site]\nline = \"0 Mbit/s\"\n[[recorder]]\nname = \"A\"\ncameras = \"many\"\nrate = 1\n\
                [[recorder]]\ncameras = 99999999999999999999\n[standby]\ncheck_interval = \"1ms\"\nat_once = 0\n";
    let shown = complaints(text);
    for expected in [
        "F:2:8: \"0 Mbit/s\" cannot be",
        "F:5:11: cameras is a text; write a whole number from 0 to 100000",
        "F:6:1: unknown key \"rate\" in [[recorder]]",
        "[[recorder]] has no name",
        "F:8:11: cameras is out of range",
        "F:10:18: check interval of 1ms: it is between 200 ms and 5 minutes",
        "F:11:11: at_once is out of range; write a whole number from 1 to 1000",
    ] {
        assert!(shown.contains(expected), "{expected}\n{shown}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "(\\[\\[?(recorder|standby|site|poe_switch)\\]?\\]|[a-z_]+ ?= ?[0-9\"a-zA-Z/ .-]{0,12}|\n|.){0,60}") {
        of_untrusted_site(&text);
    }
}

/// What is planned of a configuration, with options as they are written.
fn edge_planned(text: &str, options: &[&str]) -> (String, serde_json::Value) {
    use clap::Parser as _;
    let line = ["keepwatch", "plan", "F"].into_iter().chain(options.iter().copied());
    let crate::cli::Command::Plan(options) = crate::cli::Cli::try_parse_from(line).unwrap().command else {
        panic!("another command");
    };
    let (file, report) = config::read(text, Path::new("/"));
    assert!(!report.failed(), "{}", report.show(Path::new("F")));
    let measured = edge::Measured::default();
    let site = edge::site(&options.edge, Some(&file), &measured);
    let plan = EdgePlan::of(&site);
    (edge::show(&site, &plan, &measured), edge::json(&site, &plan))
}

const BOX: &str = "
[node]
data = \"/nowhere/keepwatch\"
[[disk]]
path = \"/nowhere/card\"
size = \"128 GB\"
role = \"edge\"
[edge]
speed = 150
[[camera]]
id = \"gate\"
url = \"rtsp://192.0.2.10/\"
[[camera]]
id = \"hall\"
url = \"rtsp://192.0.2.11/\"
edge_speed = 500
";

#[test]
fn an_edge_node_is_planned_from_its_configuration_and_options_go_before_it() {
    let (text, json) = edge_planned(BOX, &["--rate", "8 Mbit/s", "--gap", "2 h"]);
    assert!(text.contains("2 cameras, 16.0 Mbit/s recorded, 32.0 Mbit/s at the peaks"), "{text}");
    assert!(text.contains("after a gap of 2 h all is outside in  4 h 0 min"), "{text}");
    assert_eq!(json["fills_in_ms"], 64_000_000);
    assert_eq!((&json["worst_camera"], &json["depletes_in_ms"]), (&"gate".into(), &14_400_000.into()));
    let (text, json) =
        edge_planned(BOX, &["--cameras", "3", "--speed", "100", "--storage", "1 GB", "--gap", "1 h"]);
    assert!(text.contains("camera 2: at a speed of 100 % what was left out never leaves"), "{text}");
    assert!(text.contains("local storage is too small for a gap of 1 h"), "{text}");
    assert_eq!(json["depletes_in_ms"], serde_json::Value::Null);
}

#[test]
fn a_second_storage_in_the_network_is_planned_with_its_price() {
    let lun = BOX.replace(
        "[edge]",
        "[[disk]]\npath = \"iscsi://192.0.2.9/iqn.2024-07.internal.site:nas/1\"\nsize = \"1 TB\"\nrole = \"second\"\n[edge]",
    );
    let (text, json) = edge_planned(&lun, &[]);
    assert_eq!(json["second_passes"], 3);
    assert!(text.contains("over the network three times"), "{text}");
    assert!(text.contains("against failures beyond the second storage only"), "{text}");
    let narrow = edge_planned(BOX, &["--bandwidth", "8 Mbit/s"]).0;
    assert!(
        narrow.contains("the network carries 8.00 Mbit/s, and 8.00 Mbit/s are recorded in all"),
        "{narrow}"
    );
}
