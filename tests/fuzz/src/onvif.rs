//! ONVIF: what a device is asked, and what a client reads of devices and of whoever pretends to be one.

use std::time::Duration;

use keepwatch_model::WallTime;
use keepwatch_onvif::device::answer_requests;
use keepwatch_onvif::discovery::{Content, Message, Probe, Target};
use keepwatch_onvif::notification::Notification;
use keepwatch_onvif::security::{Nonces, UsernameToken};
use keepwatch_onvif::soap::{self, Envelope, Header};
use keepwatch_onvif::xml::{Element, Writer};
use keepwatch_onvif::{lexical, metadata};

/// A client: the first byte says whether a login is needed, the others are its requests. Whatever they are, what
/// is answered to a POST is SOAP that can be read.
pub(crate) fn device(data: &[u8]) {
    for answer in answer_requests(data) {
        if answer.starts_with(b"<") {
            let envelope = Envelope::parse(&answer);
            assert!(envelope.is_ok(), "{envelope:?} of {:?}", String::from_utf8_lossy(&answer));
        }
    }
}

/// A document of XML; what was read can be written and is read again as the same tree.
pub(crate) fn xml(data: &[u8]) {
    let Ok(root) = Element::parse(data) else { return };
    let _ = (root.descendant("Message"), root.text_at(&["Body", "Fault"]), root.attribute("token"));
    let mut writer = Writer::new();
    // Names are a program's own when something is written, so text and values are what is compared.
    writer.leaf_with("e", &[("a", &root.text)], &root.text);
    let Ok(read) = Element::parse(writer.document().as_bytes()) else {
        panic!("{:?} cannot be read after it was written", root.text);
    };
    assert!(read.attribute("a").is_some() && read.children.is_empty());
}

/// An envelope with its fault and its login.
pub(crate) fn envelope(data: &[u8]) {
    let Ok(envelope) = Envelope::parse(data) else { return };
    let _ = envelope.operation();
    if let Some(fault) = envelope.fault() {
        let shown = fault.to_string();
        assert!(!shown.contains(char::is_control), "{shown:?} is not fit for a log");
        let _ = (fault.asks_for_login(), fault.is_not_supported());
        let text = soap::write(&Header::default(), |writer| fault.write(writer));
        assert!(Envelope::parse(text.as_bytes()).is_ok_and(|read| read.fault().is_some()));
    }
    if let Some(Ok(token)) = envelope.token {
        let window = Duration::from_secs(10);
        let verified = token.verify("a password nobody has", WallTime::default(), window, &mut Nonces::new());
        assert!(verified.is_err(), "a password was accepted that was never set");
        let mut writer = Writer::new();
        token.write(&mut writer);
        let security = Element::parse(writer.as_str().as_bytes()).expect("what is written is XML");
        assert!(UsernameToken::read(&security).is_some());
    }
}

/// A datagram of WS-Discovery; what was understood can be said, and is understood again.
pub(crate) fn discovery(data: &[u8]) {
    let Ok(message) = Message::read(data) else { return };
    if let Content::Probe(probe) = &message.content {
        let _ = Target::default().is_meant_by(probe);
    }
    if let Content::Hello(target) = &message.content {
        let probe = Probe { types: target.types.clone(), scopes: target.scopes.clone(), ..Probe::default() };
        let _ = target.is_meant_by(&probe);
    }
    let written = message.write();
    assert!(Message::read(written.as_bytes()).is_ok(), "{message:?} cannot be read after it was written");
}

/// A document of a metadata track, and what its notifications mean.
pub(crate) fn metadata(data: &[u8]) {
    let Ok(notifications) = metadata::notifications(data, WallTime::default()) else { return };
    for notification in notifications {
        let _ = (notification.kind(), notification.condition(), notification.source_text());
        let shown = format!("{}{:?}", notification.topic, notification.source);
        assert!(!shown.contains(char::is_control), "{shown:?} is not fit for a log");
        let mut writer = Writer::new();
        writer.within("n", |writer| notification.write(writer));
        let element = Element::parse(writer.as_str().as_bytes()).expect("what is written is XML");
        if !notification.topic.trim().is_empty() {
            assert!(Notification::read(&element, WallTime::default()).is_some());
        }
    }
}

/// A time and a duration; what was read is written as the same.
pub(crate) fn lexical(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(time) = lexical::parse_date_time(text) {
        assert_eq!(lexical::parse_date_time(&lexical::date_time(time)), Some(time), "{text}");
        assert!(lexical::parse_date_time(&lexical::date_time_seconds(time)).is_some(), "{text}");
    }
    if let Some(duration) = lexical::parse_duration(text) {
        let read = lexical::parse_duration(&lexical::duration(duration));
        assert!(read.is_some_and(|read| read <= duration), "{text}");
    }
}
