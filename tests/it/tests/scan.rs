//! The search for cameras on a machine with several networks, each of which has its own.

use std::time::Duration;

use keepwatch_it::{Cameras, Namespace, Site, namespaces, run, wait_until};
use serde_json::{Value, json};

use crate::shared;

/// How long a search of 3 s may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a device found by multicast is served at: IPv4 only, and both.
const IPV4: [&str; 4] = ["--onvif", "0.0.0.0:0", "--discovery", "0.0.0.0:3702"];
const IPV6: [&str; 4] = ["--onvif", "[::]:0", "--discovery", "0.0.0.0:3702"];

/// Waits until no address of IPv6 is still being tried for a double (RFC 4862 §5.4): nothing is sent from it before.
fn wait_for_addresses(host: &Namespace) {
    wait_until("addresses of IPv6", PATIENCE, || {
        let tentative = host.run(["ip", "-6", "address", "show", "tentative"])?;
        Ok(tentative.trim().is_empty().then_some(()))
    })
    .unwrap();
}

/// The device at `host` and how it was found.
fn device<'v>(found: &'v Value, host: &str) -> &'v Value {
    let devices = found["devices"].as_array().unwrap();
    let at = format!("http://{host}:");
    let device =
        devices.iter().find(|device| device["address"].as_str().is_some_and(|url| url.starts_with(&at)));
    device.unwrap_or_else(|| panic!("nothing at {host}: {found}"))
}

#[test]
fn cameras_behind_every_interface_are_found_by_either_protocol_and_an_interface_that_is_down_is_no_error() {
    if !namespaces() {
        return;
    }
    let _machine = shared();
    let [site, yard_site, hall_site, attic_site] = [(); 4].map(|()| Site::new().unwrap());
    let recorder = Namespace::of_network(&site).unwrap();
    let [yard, hall, attic] =
        [&yard_site, &hall_site, &attic_site].map(|site| recorder.another(site).unwrap());
    recorder.connect("yard", "192.0.2.1/24", &yard, "192.0.2.2/24").unwrap();
    recorder.connect("hall", "2001:db8::1/64", &hall, "2001:db8::2/64").unwrap();
    // Its camera has nothing but the address of its link.
    recorder.connect("attic", "198.51.100.1/24", &attic, "2001:db8:1::2/64").unwrap();
    attic.run(["ip", "address", "del", "2001:db8:1::2/64", "dev", Namespace::CABLE]).unwrap();
    recorder.run(["ip", "link", "add", "idle", "type", "veth", "peer", "name", "loose"]).unwrap();
    recorder.run(["ip", "address", "add", "203.0.113.1/24", "dev", "idle"]).unwrap();
    [&recorder, &yard, &hall, &attic].into_iter().for_each(wait_for_addresses);

    let _yard = Cameras::start_in_with(&yard_site, 1, "127.0.0.1", &IPV4, &yard).unwrap();
    let _hall = Cameras::start_in_with(&hall_site, 1, "127.0.0.1", &IPV6, &hall).unwrap();
    let _attic = Cameras::start_in_with(&attic_site, 1, "127.0.0.1", &IPV6, &attic).unwrap();
    let scan = |more: &[&str]| -> Value {
        let options = [&["scan", "--json", "--seconds", "3"], more].concat();
        let mut command = recorder.command(&site.command(options));
        serde_json::from_str(&run(&mut command, PATIENCE).unwrap().success().unwrap()).unwrap()
    };

    let found = scan(&[]);
    assert_eq!(found["devices"].as_array().unwrap().len(), 2, "{found}");
    let (yard, hall) = (device(&found, "192.0.2.2"), device(&found, "[2001:db8::2]"));
    assert_eq!((&yard["interface"], &hall["interface"]), (&json!("yard"), &json!("hall")), "{found}");
    // By IPv6 too, which leads to nothing better.
    assert!(yard["senders"].as_array().unwrap().contains(&json!("192.0.2.2")), "{found}");
    assert!(hall["senders"].to_string().contains("fe80::"), "{found}");
    let unreachable = found["unreachable"].as_array().unwrap();
    assert_eq!(unreachable.len(), 1, "{found}");
    assert_eq!(unreachable[0]["interface"], "attic", "{found}");
    assert!(unreachable[0]["sender"].as_str().unwrap().starts_with("fe80::"), "{found}");
    assert_eq!(found["failed"], json!([]), "{found}");

    // Only where it is wanted, and where there is nobody.
    let found = scan(&["--interface", "hall"]);
    assert_eq!(found["devices"].as_array().unwrap().len(), 1, "{found}");
    device(&found, "[2001:db8::2]");
    let found = scan(&["--interface", "idle"]);
    assert_eq!((&found["devices"], &found["failed"]), (&json!([]), &json!([])), "{found}");
}
