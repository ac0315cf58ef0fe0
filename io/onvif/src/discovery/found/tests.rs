use super::*;

fn interface() -> Interface {
    let ipv4 = vec![(Ipv4Addr::new(192, 168, 1, 5), 24)];
    Interface { name: "eth0".to_owned(), ipv4, ..Interface::default() }
}

fn found(scopes: &[&str], addresses: &[&str], sender: &str) -> Option<Found> {
    let all = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    let target = Target {
        endpoint: "urn:uuid:1".to_owned(),
        scopes: all(scopes),
        addresses: all(addresses),
        ..Target::default()
    };
    Found::new(&target, sender.parse().unwrap(), Some(&interface()), &[])
}

#[test]
fn the_address_is_one_that_can_be_reached() {
    for (addresses, sender, expected) in [
        (
            &["http://192.168.1.64/onvif/device_service"][..],
            "192.168.1.64",
            "http://192.168.1.64/onvif/device_service",
        ),
        (&["http://10.0.0.1/a", "http://192.168.1.64:8080/b"], "192.168.1.64", "http://192.168.1.64:8080/b"),
        (&["http://10.0.0.1/a", "http://192.168.1.65/b"], "10.0.0.9", "http://192.168.1.65/b"),
        (&["http://172.17.0.2:8899/onvif/x"], "192.168.1.64", "http://192.168.1.64:8899/onvif/x"),
        (&["http://[fe80::1]/onvif/x"], "192.168.1.64", "http://192.168.1.64/onvif/x"),
        (&["http://u:p@192.168.1.64/a#b"], "192.168.1.64", "http://192.168.1.64/a"),
        (&[], "192.168.1.64", "http://192.168.1.64/onvif/device_service"),
        (
            &["soap.udp://192.168.1.64/", "garbage"],
            "192.168.1.64",
            "http://192.168.1.64/onvif/device_service",
        ),
        (&["http://camera.local/onvif/x"], "fe80::1", "http://camera.local/onvif/x"),
        (&["http://0.0.0.0/x"], "::ffff:192.168.1.64", "http://192.168.1.64/x"),
    ] {
        let found = found(&[], addresses, sender).unwrap();
        assert_eq!(found.address.as_str(), expected, "{addresses:?} from {sender}");
    }
    assert_eq!(found(&[], &["http://[fe80::1]/onvif/x"], "fe80::1"), None);
}

#[test]
fn scopes_tell_who_it_is() {
    let scopes = [
        "onvif://www.onvif.org/name/Gate%20A%0A",
        "onvif://www.onvif.org/hardware/M3046-V",
        "onvif://www.onvif.org/location/country/china",
        "onvif://www.onvif.org/Profile/G",
        "onvif://www.onvif.org/Profile/Streaming",
        "http://example.org/name/x",
    ];
    let found = found(&scopes, &[], "192.168.1.64").unwrap();
    assert_eq!((found.name.as_str(), found.hardware.as_str()), ("Gate A", "M3046-V"));
    assert_eq!(found.location, "country/china");
    assert_eq!(found.profiles, ["G", "Streaming"]);
}

#[test]
fn answers_of_one_device_are_joined() {
    let mut first = found(&[], &["http://camera.local/onvif/x"], "fe80::1").unwrap();
    let second =
        found(&["onvif://www.onvif.org/name/Gate"], &["http://192.168.1.64/onvif/x"], "192.168.1.64");
    first.join(second.unwrap());
    assert_eq!(first.address.as_str(), "http://192.168.1.64/onvif/x");
    assert_eq!(first.name, "Gate");
    assert_eq!(first.senders.len(), 2);
}
