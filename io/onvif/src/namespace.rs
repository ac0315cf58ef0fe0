//! The XML namespaces of ONVIF and of what it is built upon, and when two of them mean the same.
//!
//! Devices mix versions of a namespace, and some leave it out. What a name means is clear from where it stands, so
//! reading compares the stem of a namespace only; writing uses exactly these.

/// SOAP 1.2.
pub const SOAP_12: &str = "http://www.w3.org/2003/05/soap-envelope";
/// SOAP 1.1, which some devices answer in.
pub const SOAP_11: &str = "http://schemas.xmlsoap.org/soap/envelope/";
/// WS-Addressing of 2004, which WS-Discovery uses.
pub const ADDRESSING_2004: &str = "http://schemas.xmlsoap.org/ws/2004/08/addressing";
/// WS-Addressing 1.0, which WS-Notification uses.
pub const ADDRESSING: &str = "http://www.w3.org/2005/08/addressing";
/// WS-Discovery of 2005.
pub const DISCOVERY: &str = "http://schemas.xmlsoap.org/ws/2005/04/discovery";
/// WS-Security: header and UsernameToken.
pub const SECURITY: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";
/// WS-Security: the time at which a token was made.
pub const SECURITY_UTILITY: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd";
/// WS-BaseNotification.
pub const NOTIFICATION: &str = "http://docs.oasis-open.org/wsn/b-2";
/// WS-Topics.
pub const TOPICS: &str = "http://docs.oasis-open.org/wsn/t-1";
/// The topics that ONVIF defines.
pub const ONVIF_TOPICS: &str = "http://www.onvif.org/ver10/topics";
/// The types of ONVIF.
pub const SCHEMA: &str = "http://www.onvif.org/ver10/schema";
/// The codes of faults.
pub const ERROR: &str = "http://www.onvif.org/ver10/error";
/// The type `NetworkVideoTransmitter` of discovery.
pub const NETWORK: &str = "http://www.onvif.org/ver10/network/wsdl";
/// The device service.
pub const DEVICE: &str = "http://www.onvif.org/ver10/device/wsdl";
/// The media service.
pub const MEDIA: &str = "http://www.onvif.org/ver10/media/wsdl";
/// The media service of version 2, which knows H.265.
pub const MEDIA2: &str = "http://www.onvif.org/ver20/media/wsdl";
/// The event service.
pub const EVENTS: &str = "http://www.onvif.org/ver10/events/wsdl";
/// The recording service.
pub const RECORDING: &str = "http://www.onvif.org/ver10/recording/wsdl";
/// The search service.
pub const SEARCH: &str = "http://www.onvif.org/ver10/search/wsdl";
/// The replay service.
pub const REPLAY: &str = "http://www.onvif.org/ver10/replay/wsdl";

/// Whether both mean the same vocabulary, whatever the version: `.../ver10/schema` and `.../ver20/schema` do.
pub fn same(a: &str, b: &str) -> bool {
    a == b || (stem(a).eq(stem(b)) && stem(a).next().is_some())
}

/// The path of a namespace without the parts that name a version.
fn stem(namespace: &str) -> impl Iterator<Item = &str> {
    let path = namespace.split_once("://").map_or(namespace, |(_, rest)| rest);
    path.split('/').skip(1).filter(|part| {
        let digits = part.strip_prefix("ver").unwrap_or(part);
        !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && *part != "ws"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_a_vocabulary_are_the_same_and_vocabularies_are_not() {
        assert!(same(ADDRESSING, ADDRESSING_2004));
        assert!(same(MEDIA, MEDIA2));
        assert!(same(SCHEMA, "http://www.onvif.org/ver20/schema/"));
        assert!(same("", ""));
        for (a, b) in [
            (MEDIA, DEVICE),
            (SECURITY, SECURITY_UTILITY),
            (SCHEMA, ERROR),
            (NOTIFICATION, TOPICS),
            ("urn:a", "urn:b"),
        ] {
            assert!(!same(a, b), "{a} {b}");
        }
    }
}
