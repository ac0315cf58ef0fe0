use std::net::Ipv4Addr;

use super::*;
use crate::device::tests::fake::Fake;
use crate::discovery::{Content, Message, Probe, ScanOptions, ScopeRule, scan};

fn probe(types: &[&str], scopes: &[&str]) -> Message {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let probe = Probe { types: owned(types), scopes: owned(scopes), rule: ScopeRule::Rfc3986 };
    Message { id: "urn:uuid:1".to_owned(), relates_to: None, content: Content::Probe(probe) }
}

fn presence() -> Presence {
    Presence::new(Arc::new(Fake::new()), 7)
}

const SERVICE: &str = "http://192.0.2.7/onvif/device_service";

#[test]
fn a_probe_is_answered_by_the_devices_that_it_means() {
    for (types, scopes, meant) in [
        (&["dn:NetworkVideoTransmitter"][..], &[][..], true),
        (&["tds:Device"], &[], true),
        (&["dn:NetworkVideoTransmitter", "tds:Device"], &[], true),
        (&[], &[], true),
        (&["dn:NetworkVideoDisplay"], &[], false),
        (&[], &["onvif://www.onvif.org/Profile/G"], true),
        (&[], &["onvif://www.onvif.org/Profile"], true),
        (&[], &["onvif://www.onvif.org/name/Front%20door", "onvif://www.onvif.org/type"], true),
        (&[], &["onvif://www.onvif.org/name/Back"], false),
    ] {
        let answer = presence().answer(probe(types, scopes).write().as_bytes(), || Some(SERVICE.to_owned()));
        assert_eq!(answer.is_some(), meant, "{types:?} {scopes:?}");
        let Some(answer) = answer else { continue };
        assert!(
            !answer.contains('\n') && answer.contains("InstanceId=\"7\" MessageNumber=\"1\""),
            "{answer}"
        );
        let answer = Message::read(answer.as_bytes()).unwrap();
        assert_eq!(answer.relates_to.as_deref(), Some("urn:uuid:1"));
        let Content::ProbeMatches(targets) = answer.content else { panic!("{:?}", answer.content) };
        assert_eq!(targets[0].addresses, [SERVICE]);
        assert_eq!(targets[0].types, ["dn:NetworkVideoTransmitter", "tds:Device"]);
        assert_eq!(targets[0].endpoint, "urn:uuid:5c8e2a5e-0000-4000-8000-000000000001");
    }
}

/// An answer to a probe tells one client the new name, and nobody else.
#[test]
fn a_changed_name_is_announced_though_a_probe_was_answered_in_between() {
    let fake = Arc::new(Fake::new());
    let mut presence = Presence::new(fake.clone(), 7);
    assert!(presence.has_changed(), "nothing was announced yet");
    presence.hello(&[]);
    assert!(!presence.has_changed());
    *fake.name.lock().unwrap() = "Back door".to_owned();
    let answer = presence.answer(probe(&[], &[]).write().as_bytes(), || Some(SERVICE.to_owned()));
    assert!(answer.unwrap().contains("Back%20door"));
    assert!(presence.has_changed(), "the network has not been told");
    let hello = presence.hello(&[]);
    assert!(hello.contains("Back%20door") && hello.contains("<d:MetadataVersion>2<"), "{hello}");
    assert!(!presence.has_changed());
}

#[test]
fn only_questions_to_this_device_are_answered() {
    let mut presence = presence();
    let resolve = |endpoint: &str| {
        let content = Content::Resolve(endpoint.to_owned());
        Message { id: "urn:uuid:1".to_owned(), relates_to: None, content }.write()
    };
    let own = resolve("urn:uuid:5C8E2A5E-0000-4000-8000-000000000001");
    let answer = presence.answer(own.as_bytes(), || Some(SERVICE.to_owned())).unwrap();
    assert!(matches!(Message::read(answer.as_bytes()).unwrap().content, Content::ResolveMatches(_)));
    let other = resolve("urn:uuid:5c8e2a5e-0000-4000-8000-000000000002");
    let (hello, bye) = (presence.hello(&[]), presence.bye(&[]));
    let nameless = Message { id: String::new(), ..probe(&[], &[]) }.write();
    for datagram in [&other, &hello, &bye, &nameless, "", "<a/>", "GET / HTTP/1.1"] {
        assert_eq!(presence.answer(datagram.as_bytes(), || Some(SERVICE.to_owned())), None, "{datagram}");
    }
    // An answer of somebody else, and our own, are no questions.
    assert_eq!(presence.answer(answer.as_bytes(), || Some(SERVICE.to_owned())), None);
}

#[test]
fn one_address_cannot_make_a_device_shout_and_others_are_still_answered() {
    let mut limits = Limits::new();
    let now = Instant::now();
    let address = |last: u8| IpAddr::from([192, 0, 2, last]);
    let allowed =
        |limits: &mut Limits, last, now| (0..1000).filter(|_| limits.allow(address(last), now)).count();
    assert_eq!(allowed(&mut limits, 1, now), 12);
    assert_eq!(allowed(&mut limits, 2, now), 12);
    let all: usize = (3..=255).map(|last| allowed(&mut limits, last, now)).sum();
    assert_eq!(all, 100 - 24);
    assert_eq!(allowed(&mut limits, 1, now + Duration::from_secs(1)), 12);
    for forged in
        ["255.255.255.255:3702", "239.255.255.250:3702", "0.0.0.0:1", "192.0.2.1:0", "[ff02::c]:3702"]
    {
        assert!(!may_be_answered(forged.parse().unwrap()), "{forged}");
    }
    assert!(may_be_answered("192.0.2.1:1".parse().unwrap()));
}

fn on_loopback(service: SocketAddr) -> Responder {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let options = DiscoveryOptions { listen, interfaces: None, service };
    Responder::start(options, Arc::new(Fake::new())).unwrap()
}

#[tokio::test]
async fn our_own_scan_finds_a_device_that_it_asks_directly() {
    let responder = on_loopback("0.0.0.0:8080".parse().unwrap());
    let options = ScanOptions {
        interfaces: None,
        ranges: vec!["127.0.0.1".parse().unwrap()],
        time: Duration::from_millis(800),
        port: responder.address().port(),
    };
    let found = scan(&options, std::future::pending(), |_| {}).await.unwrap();
    let device = found.devices.first().expect("the device answered");
    assert_eq!(device.address.as_str(), "http://127.0.0.1:8080/onvif/device_service");
    assert_eq!((device.name.as_str(), found.devices.len()), ("Front door", 1));
    assert!(device.profiles.contains(&"G".to_owned()));
    responder.shutdown().await;
}

#[tokio::test]
async fn garbage_does_not_end_a_responder() {
    let responder = on_loopback("127.0.0.1:80".parse().unwrap());
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let huge = vec![b'<'; 20_000];
    for datagram in [&b""[..], b"\0\xFF", b"<a", &huge] {
        socket.send_to(datagram, responder.address()).await.unwrap();
    }
    socket.send_to(probe(&[], &[]).write().as_bytes(), responder.address()).await.unwrap();
    let mut buffer = [0; 4096];
    let answer = timeout(Duration::from_secs(5), socket.recv_from(&mut buffer)).await.unwrap().unwrap();
    assert!(Message::read(&buffer[..answer.0]).is_ok());
}
