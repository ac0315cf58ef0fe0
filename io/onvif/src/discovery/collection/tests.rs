use super::*;
use crate::discovery::message::Sequence;

const OWN: &str = "192.0.2.10";
const FORGER: &str = "192.0.2.66";

/// The camera `number`, which says that it is at `address`.
fn camera(number: u8, address: &str) -> Target {
    Target {
        endpoint: format!("urn:uuid:{number}"),
        types: vec!["dn:NetworkVideoTransmitter".to_owned()],
        addresses: vec![format!("http://{address}/onvif/device_service")],
        ..Target::default()
    }
}

fn hear(collection: &mut Collection<'_>, sender: &str, content: Content) {
    let relates_to = matches!(content, Content::ProbeMatches(_)).then(|| {
        let probe = Message::read(collection.probes.datagrams[0].as_bytes()).unwrap();
        probe.id
    });
    let message = Message { id: "urn:uuid:9".to_owned(), relates_to, content };
    let bytes = message.write_numbered(Sequence { instance: 1, number: 1 }).into_bytes();
    collection.take(&Heard { bytes, sender: sender.parse().unwrap(), interface: None });
}

/// The hosts of all devices after `heard` was heard in turn, and how many others there were.
fn hosts_after(heard: Vec<(&str, Content)>) -> (Vec<String>, usize) {
    let probes = Probes::new();
    let mut collection = Collection::new(&[], &[], &probes);
    for (sender, content) in heard {
        hear(&mut collection, sender, content);
    }
    let mut findings = Findings::default();
    collection.finish(&mut findings);
    let hosts = findings.devices.iter().map(|found| found.address.host_str().unwrap().to_owned());
    (hosts.collect(), findings.others)
}

fn hello(address: &str) -> Content {
    Content::Hello(camera(1, address))
}

fn answer(address: &str) -> Content {
    Content::ProbeMatches(vec![camera(1, address)])
}

fn bye() -> Content {
    Content::Bye(camera(1, OWN))
}

#[test]
fn a_device_is_gone_when_it_says_so_itself() {
    assert_eq!(hosts_after(vec![(OWN, hello(OWN)), (OWN, bye())]).0, [""; 0]);
    assert_eq!(hosts_after(vec![(OWN, hello(OWN)), (OWN, bye()), (OWN, answer(OWN))]).0, [OWN]);
}

#[test]
fn nobody_else_can_take_a_device_away() {
    for heard in [
        vec![(OWN, hello(OWN)), (FORGER, bye())],
        // A Hello of the forger must not make it one whose Bye counts.
        vec![(OWN, hello(OWN)), (FORGER, hello(FORGER)), (FORGER, bye())],
        vec![(OWN, answer(OWN)), (FORGER, hello(FORGER)), (FORGER, bye())],
        vec![(FORGER, hello(FORGER)), (FORGER, bye()), (OWN, answer(OWN))],
        // Addresses of senders can be forged too: that it answered is what counts.
        vec![(OWN, answer(OWN)), (OWN, bye())],
    ] {
        assert_eq!(hosts_after(heard.clone()).0, [OWN], "{heard:?}");
    }
}

#[test]
fn an_answer_outranks_what_somebody_announced() {
    assert_eq!(hosts_after(vec![(FORGER, hello(FORGER)), (OWN, answer(OWN))]).0, [OWN]);
    assert_eq!(hosts_after(vec![(OWN, answer(OWN)), (FORGER, hello(FORGER))]).0, [OWN]);
}

#[test]
fn computers_and_printers_are_counted_and_not_found() {
    let printer = Target {
        endpoint: "urn:uuid:7".to_owned(),
        types: vec!["Device".to_owned(), "PrintDeviceType".to_owned()],
        ..camera(7, "192.0.2.7")
    };
    let matches = Content::ProbeMatches(vec![printer.clone(), camera(1, OWN)]);
    let heard = vec![("192.0.2.7", Content::Hello(printer)), ("192.0.2.7", matches)];
    let (hosts, others) = hosts_after(heard);
    assert_eq!((hosts.len(), others), (1, 1));
}

/// One that makes up devices fills neither the list nor the count of others, and those that come behind it are found.
#[test]
fn a_sender_that_makes_up_devices_takes_the_place_of_nobody() {
    let probes = Probes::new();
    let mut collection = Collection::new(&[], &[], &probes);
    let named = |number: u32, types: &str| Target {
        endpoint: format!("urn:uuid:forged-{number}"),
        types: vec![types.to_owned()],
        ..camera(1, FORGER)
    };
    // Fifty to a datagram, so that the bounds on datagrams are not what stops it.
    for batch in 0..200 {
        let targets = |types: &str| (0..50).map(|at| named(batch * 50 + at, types)).collect();
        hear(&mut collection, FORGER, Content::ProbeMatches(targets("dn:NetworkVideoTransmitter")));
        hear(&mut collection, "192.0.2.67", Content::ProbeMatches(targets("wsdp:Device")));
    }
    hear(&mut collection, OWN, answer(OWN));
    let mut findings = Findings::default();
    collection.finish(&mut findings);
    assert!(findings.devices.iter().any(|found| found.address.host_str() == Some(OWN)));
    assert_eq!(findings.devices.len(), DEVICES_OF_SENDER_MAX + 1);
    assert!(findings.others <= DEVICES_OF_SENDER_MAX, "{}", findings.others);
    assert!(findings.counts.refused > 0, "{:?}", findings.counts);
}

/// The address of a link means nothing without the link, which no URL names: the device is told of all the same.
#[test]
fn a_device_without_an_address_that_can_be_written_down_is_named() {
    let probes = Probes::new();
    let mut collection = Collection::new(&[], &[], &probes);
    hear(&mut collection, "fe80::7", answer("[fe80::7]"));
    hear(&mut collection, "fe80::8", Content::ProbeMatches(vec![camera(2, "[fe80::8]")]));
    // The other one is heard by another address too.
    hear(&mut collection, "192.0.2.8", Content::ProbeMatches(vec![camera(2, "192.0.2.8")]));
    let mut findings = Findings::default();
    collection.finish(&mut findings);
    let unreachable: Vec<_> = findings.unreachable.iter().map(|device| device.sender.to_string()).collect();
    assert_eq!((unreachable, findings.devices.len()), (vec!["fe80::7".to_owned()], 1));
}
