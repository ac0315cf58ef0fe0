use super::*;

fn target() -> Target {
    Target {
        endpoint: "urn:uuid:4fadcd1e-0000-4000-8000-000000000001".to_owned(),
        types: ["dn:NetworkVideoTransmitter", "tds:Device"].map(str::to_owned).to_vec(),
        scopes: ["onvif://www.onvif.org/Profile/G", "onvif://www.onvif.org/name/Gate%20A"]
            .map(str::to_owned)
            .to_vec(),
        addresses: ["http://192.0.2.10/onvif/device_service"].map(str::to_owned).to_vec(),
        metadata_version: 7,
    }
}

fn probe(types: &[&str], scopes: &[&str], rule: ScopeRule) -> Probe {
    let all = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    Probe { types: all(types), scopes: all(scopes), rule }
}

#[test]
fn every_message_that_is_written_is_read_again() {
    for (written, read) in [
        (
            Content::Probe(probe(&["dn:X"], &["a://b/c"], ScopeRule::Strcmp0)),
            Content::Probe(probe(&["dn:X"], &["a://b/c"], ScopeRule::Strcmp0)),
        ),
        (Content::Probe(Probe::default()), Content::Probe(Probe::default())),
        (Content::ProbeMatches(vec![target(), target()]), Content::ProbeMatches(vec![target(), target()])),
        (Content::Resolve("urn:uuid:1".to_owned()), Content::Resolve("urn:uuid:1".to_owned())),
        (Content::ResolveMatches(vec![]), Content::ResolveMatches(vec![])),
        (Content::Hello(target()), Content::Hello(target())),
        (Content::Bye(target()), Content::Bye(target())),
    ] {
        let message = Message {
            id: "urn:uuid:2".to_owned(),
            relates_to: Some("urn:uuid:3".to_owned()),
            content: written,
        };
        let text = message.write();
        assert!(!text.contains('\n') && text.len() < 1450, "one line in one packet: {text}");
        let expected = Message { content: read, ..message };
        assert_eq!(Message::read(text.as_bytes()), Ok(expected));
    }
}

/// As a Hikvision camera answers: SOAP 1.2, its own prefixes, several addresses, line breaks.
#[test]
fn an_answer_of_a_camera_is_read() {
    let text = br#"<?xml version="1.0" encoding="UTF-8"?>
<env:Envelope xmlns:env="http://www.w3.org/2003/05/soap-envelope" xmlns:wsadis="http://schemas.xmlsoap.org/ws/2004/08/addressing"
 xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery" xmlns:dn="http://www.onvif.org/ver10/network/wsdl">
<env:Header><wsadis:MessageID>urn:uuid:1a</wsadis:MessageID><wsadis:RelatesTo>uuid:2B</wsadis:RelatesTo>
<wsadis:To>http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</wsadis:To>
<wsadis:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/ProbeMatches</wsadis:Action>
<d:AppSequence InstanceId="1763772000" MessageNumber="12"/></env:Header>
<env:Body><d:ProbeMatches><d:ProbeMatch><wsadis:EndpointReference><wsadis:Address>urn:uuid:5c8e</wsadis:Address>
</wsadis:EndpointReference><d:Types>dn:NetworkVideoTransmitter tds:Device</d:Types>
<d:Scopes>onvif://www.onvif.org/type/video_encoder
 onvif://www.onvif.org/name/HIKVISION%20DS-2CD2042WD</d:Scopes>
<d:XAddrs>http://192.0.2.64/onvif/device_service http://[fe80::1]/onvif/device_service</d:XAddrs>
<d:MetadataVersion>10</d:MetadataVersion></d:ProbeMatch></d:ProbeMatches></env:Body></env:Envelope>"#;
    let message = Message::read(text).unwrap();
    assert_eq!(message.relates_to.as_deref(), Some("uuid:2B"));
    let Content::ProbeMatches(targets) = message.content else { panic!() };
    // It declares no `tds`.
    assert_eq!(targets[0].types, ["dn:NetworkVideoTransmitter", "Device"]);
    assert!(targets[0].is_of_onvif());
    assert_eq!(targets[0].addresses.len(), 2);
    assert_eq!(targets[0].scopes[1], "onvif://www.onvif.org/name/HIKVISION%20DS-2CD2042WD");
}

#[test]
fn types_and_scopes_decide_who_is_meant() {
    use ScopeRule::{Other, Rfc3986, Strcmp0};
    for (types, scopes, rule, meant) in [
        (&[][..], &[][..], Rfc3986, true),
        (&["NetworkVideoTransmitter"], &[], Rfc3986, true),
        (&["Device", "dn:NetworkVideoTransmitter"], &[], Rfc3986, true),
        (&["{http://schemas.xmlsoap.org/ws/2006/02/devprof}Device"], &[], Rfc3986, false),
        (&["dn:Device"], &[], Rfc3986, false),
        (&["NetworkVideoDisplay"], &[], Rfc3986, false),
        (&[], &["onvif://www.onvif.org"], Rfc3986, true),
        (&[], &["ONVIF://WWW.onvif.org/Profile/"], Rfc3986, true),
        (&[], &["onvif://www.onvif.org/Prof"], Rfc3986, false),
        (&[], &["onvif://www.onvif.org/profile"], Rfc3986, false),
        (&[], &["onvif://www.onvif.org/Profile/G/x"], Rfc3986, false),
        (&[], &["onvif://www.onvif.org/name/Gate A"], Rfc3986, true),
        (&[], &["onvif://www.onvif.org/Profile/G", "onvif://www.onvif.org/Profile/T"], Rfc3986, false),
        (&[], &["onvif://www.onvif.org/Profile/G"], Strcmp0, true),
        (&[], &["onvif://www.onvif.org/Profile"], Strcmp0, false),
        (&[], &["onvif://www.onvif.org/Profile/G"], Other, false),
        (&[], &["", "://", "%", "é"], Rfc3986, false),
    ] {
        assert_eq!(target().is_meant_by(&probe(types, scopes, rule)), meant, "{types:?} {scopes:?} {rule:?}");
    }
}

/// Windows and printers call themselves a `Device`, too (Devices Profile for Web Services).
#[test]
fn a_type_is_a_name_in_a_namespace_and_computers_are_no_cameras() {
    let read = |namespace: &str, types: &str, scopes: &str| {
        let text = format!(
            "<Envelope xmlns:p='{namespace}' xmlns:pub='urn:pub'><Body><Hello><EndpointReference><Address>urn:uuid:1</Address>\
             </EndpointReference><Types>{types}</Types><Scopes>{scopes}</Scopes></Hello></Body></Envelope>"
        );
        let Content::Hello(target) = Message::read(text.as_bytes()).unwrap().content else {
            panic!("{text}")
        };
        target
    };
    let computer = read("http://schemas.xmlsoap.org/ws/2006/02/devprof", "p:Device pub:Computer", "");
    assert_eq!(
        computer.types,
        ["{http://schemas.xmlsoap.org/ws/2006/02/devprof}Device", "{urn:pub}Computer"]
    );
    assert!(
        !computer.is_of_onvif() && !computer.is_meant_by(&probe(&["tds:Device"], &[], ScopeRule::Rfc3986))
    );
    assert!(!read("urn:x", "p:Device", "ldap:///ou=it http://www.onvif.org/").is_of_onvif());
    let device = read("http://www.onvif.org/ver10/device/wsdl", "p:Device", "");
    assert!(device.is_of_onvif() && device.is_meant_by(&probe(&["tds:Device"], &[], ScopeRule::Rfc3986)));
    assert!(read("urn:x", "NetworkVideoTransmitter", "").is_of_onvif());
    assert!(read("urn:x", "", "ONVIF://www.onvif.org/Profile/T").is_of_onvif());
}

#[test]
fn what_is_no_message_is_refused_and_floods_are_cut() {
    assert_eq!(Message::read(b"<Envelope><Body><x/></Body></Envelope>"), Err(MessageError::Other));
    assert_eq!(Message::read(b"<Envelope><Body><Hello/></Body></Envelope>"), Err(MessageError::Other));
    assert!(matches!(Message::read(b"M-SEARCH * HTTP/1.1\r\n"), Err(MessageError::Soap(_))));
    let one = "<ProbeMatch><EndpointReference><Address>a</Address></EndpointReference><XAddrs>".to_owned();
    let one = one + &"x ".repeat(100) + "</XAddrs></ProbeMatch>";
    let text = format!("<Envelope><Body><ProbeMatches>{}</ProbeMatches></Body></Envelope>", one.repeat(100));
    let Content::ProbeMatches(targets) = Message::read(text.as_bytes()).unwrap().content else { panic!() };
    assert_eq!((targets.len(), targets[0].addresses.len()), (TARGETS_MAX, WORDS_MAX));
}
