use std::net::SocketAddr;
use std::time::Duration;

use keepwatch_onvif::discovery::{Content, Findings, Message, ScanOptions, ScanProgress, Target, scan};
use tokio::net::UdpSocket;

fn device(number: u16) -> Target {
    Target {
        endpoint: format!("urn:uuid:00000000-0000-4000-8000-{number:012}"),
        types: vec!["dn:NetworkVideoTransmitter".to_owned()],
        scopes: vec![format!("onvif://www.onvif.org/name/Camera%20{number}")],
        addresses: vec![format!("http://127.0.0.1:80{number:02}/onvif/device_service")],
        metadata_version: 1,
    }
}

fn answer_to(probe: &Message, targets: Vec<Target>) -> Vec<u8> {
    // As some devices do it: the name without its prefix, in capitals.
    let name = probe.id.trim_start_matches("urn:uuid:").to_uppercase();
    let content = Content::ProbeMatches(targets);
    Message { id: "urn:uuid:1".to_owned(), relates_to: Some(format!("uuid:{name}")), content }
        .write()
        .into_bytes()
}

/// Answers each probe with whatever `answers` makes of it, on a port of its own.
async fn responder(answers: impl Fn(&Message) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 65_535];
        loop {
            let (length, sender) = socket.recv_from(&mut buffer).await.unwrap();
            let text = std::str::from_utf8(&buffer[..length]).unwrap();
            assert!(!text.contains('\n'), "one camera fails on line breaks in a packet");
            let probe = Message::read(text.as_bytes()).unwrap();
            assert!(matches!(probe.content, Content::Probe(_)));
            for answer in answers(&probe) {
                socket.send_to(&answer, sender).await.unwrap();
            }
        }
    });
    address
}

async fn scan_of(address: SocketAddr) -> Findings {
    let options = ScanOptions {
        interfaces: None,
        ranges: vec![address.ip().to_string().parse().unwrap()],
        time: Duration::from_millis(500),
        port: address.port(),
    };
    scan(&options, std::future::pending(), |_| {}).await.unwrap()
}

#[tokio::test]
async fn a_device_that_is_asked_directly_is_found_once() {
    let address = responder(|probe| vec![answer_to(probe, vec![device(1), device(2)])]).await;
    let findings = scan_of(address).await;
    let names: Vec<_> = findings.devices.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(names, ["Camera 1", "Camera 2"]);
    assert_eq!(findings.devices[0].address.as_str(), "http://127.0.0.1:8001/onvif/device_service");
    assert!(findings.counts.answers >= 2, "both probes were answered: {:?}", findings.counts);
}

#[tokio::test]
async fn forged_and_broken_answers_are_counted_and_found_is_nobody() {
    let address = responder(|probe| {
        let other =
            Message { id: "urn:uuid:00000000-0000-4000-8000-000000000000".to_owned(), ..probe.clone() };
        vec![
            b"garbage".to_vec(),
            b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>".to_vec(),
            answer_to(&other, vec![device(1)]),
            Message { relates_to: None, ..Message::read(&answer_to(probe, vec![device(2)])).unwrap() }
                .write()
                .into_bytes(),
        ]
    });
    let findings = scan_of(address.await).await;
    assert_eq!(findings.devices, []);
    assert_eq!((findings.counts.malformed, findings.counts.unrelated), (4, 4));
}

#[tokio::test]
async fn a_flood_is_bounded() {
    let address = responder(|probe| (0..3000).map(|_| answer_to(probe, vec![device(1)])).collect()).await;
    let findings = scan_of(address).await;
    assert_eq!(findings.devices.len(), 1);
    assert!(findings.counts.answers <= 2048, "{:?}", findings.counts);
}

#[tokio::test]
async fn a_scan_that_is_cancelled_tells_what_it_found() {
    let address = responder(|probe| vec![answer_to(probe, vec![device(1)])]).await;
    let options = ScanOptions {
        interfaces: None,
        ranges: vec!["127.0.0.1".parse().unwrap()],
        time: Duration::from_secs(3600),
        port: address.port(),
    };
    let (found, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let until = async move { heard.recv().await.unwrap() };
    let findings = scan(&options, until, |progress| {
        if let ScanProgress::Found(_) = progress {
            found.send(()).unwrap();
        }
    });
    let findings = tokio::time::timeout(Duration::from_secs(10), findings).await.unwrap().unwrap();
    assert_eq!(findings.devices.len(), 1);
}

#[tokio::test]
async fn an_interface_that_does_not_exist_is_named_with_those_that_do() {
    let options = ScanOptions { interfaces: Some(vec!["eth99".to_owned()]), ..ScanOptions::default() };
    let error = scan(&options, std::future::pending(), |_| {}).await.unwrap_err().to_string();
    assert!(error.contains("\"eth99\"") && error.contains("lo"), "{error}");
}

/// The whole way by multicast, on loopback: a responder in the group, and its Hello and Bye.
#[tokio::test]
async fn devices_in_the_group_are_found_and_those_that_leave_are_not() {
    let group = std::net::Ipv4Addr::new(239, 255, 255, 250);
    let lo = std::net::Ipv4Addr::LOCALHOST;
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from((group, 0)).into()).unwrap();
    socket.join_multicast_v4(&group, &lo).unwrap();
    socket.set_multicast_if_v4(&lo).unwrap();
    socket.set_nonblocking(true).unwrap();
    let socket = UdpSocket::from_std(socket.into()).unwrap();
    let port = socket.local_addr().unwrap().port();
    let options = ScanOptions {
        interfaces: Some(vec!["lo".to_owned()]),
        ranges: Vec::new(),
        time: Duration::from_millis(300),
        port,
    };
    tokio::spawn(async move {
        let answering = UdpSocket::bind((lo, 0)).await.unwrap();
        let sending = socket2::SockRef::from(&answering);
        sending.set_multicast_if_v4(&lo).unwrap();
        let mut buffer = [0; 65_535];
        let mut first = true;
        loop {
            let (length, sender) = socket.recv_from(&mut buffer).await.unwrap();
            let Ok(probe) = Message::read(&buffer[..length]) else { continue };
            if !matches!(probe.content, Content::Probe(_)) {
                continue;
            }
            answering.send_to(&answer_to(&probe, vec![device(1)]), sender).await.unwrap();
            if std::mem::take(&mut first) {
                for content in [Content::Hello(device(2)), Content::Hello(device(3)), Content::Bye(device(3))]
                {
                    let message = Message { id: "urn:uuid:9".to_owned(), relates_to: None, content };
                    answering.send_to(message.write().as_bytes(), (group, port)).await.unwrap();
                }
            }
        }
    });
    let findings = scan(&options, std::future::pending(), |_| {}).await.unwrap();
    let names: Vec<_> = findings.devices.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(names, ["Camera 1", "Camera 2"], "{findings:?}");
    assert_eq!(findings.devices[0].interface.as_deref(), Some("lo"));
}
