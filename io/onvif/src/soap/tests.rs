use keepwatch_media::auth::Credentials;
use keepwatch_model::WallTime;

use super::*;

#[test]
fn an_envelope_that_is_written_is_read_again() {
    let credentials = Credentials { user: "a<b".to_owned(), password: "p".to_owned() };
    let token = UsernameToken::new(&credentials, [1; 16], WallTime::from_ticks(0));
    let mut references = Writer::new();
    references.leaf("x", "7");
    let header = Header {
        action: Some("http://a/?x=1&y"),
        message_id: Some("urn:uuid:1"),
        relates_to: Some("urn:uuid:0"),
        to: Some("http://device/sub"),
        token: Some(&token),
        references: Some(&references),
    };
    let text = write(&header, |writer| writer.leaf("tds:GetServices", "&"));
    assert!(!text.contains('\n'));
    let envelope = Envelope::parse(text.as_bytes()).unwrap();
    assert_eq!(envelope.action.as_deref(), header.action);
    assert_eq!(envelope.message_id.as_deref(), header.message_id);
    assert_eq!(envelope.relates_to.as_deref(), header.relates_to);
    assert_eq!(envelope.to.as_deref(), header.to);
    assert_eq!(envelope.token, Some(Ok(token)));
    assert_eq!(envelope.header.as_ref().unwrap().text_at(&["x"]), Some("7"));
    let operation = envelope.operation().unwrap();
    assert!(operation.is(namespace::DEVICE, "GetServices"));
    assert_eq!(operation.text, "&");
    assert_eq!(envelope.fault(), None);
}

#[test]
fn no_header_is_written_when_there_is_nothing_to_say() {
    assert!(!write(&Header::default(), |_| {}).contains("Header"));
}

#[test]
fn a_fault_that_is_written_is_read_again() {
    let fault = Fault::sender(&["InvalidArgVal", "NoProfile"], "there is no profile \"x\"");
    let text = write(&Header::default(), |writer| fault.write(writer));
    let read = Envelope::parse(text.as_bytes()).unwrap().fault().unwrap();
    assert_eq!(read, fault);
    assert_eq!(read.to_string(), "there is no profile \"x\" (Sender/InvalidArgVal/NoProfile)");
    assert!(read.has("NoProfile") && !read.asks_for_login() && !read.is_not_supported());
}

/// gSOAP devices answer in SOAP 1.1 when they do not like what they read.
#[test]
fn faults_of_soap_1_1_are_read() {
    let text = "<E:Envelope xmlns:E='http://schemas.xmlsoap.org/soap/envelope/'><E:Body><E:Fault>\
                <faultcode>ter:NotAuthorized</faultcode><faultstring>Sender not\nAuthorized</faultstring>\
                </E:Fault></E:Body></E:Envelope>";
    let text = text.replace("E:Envelope", "SOAP-ENV:Envelope").replace("xmlns:E", "xmlns:SOAP-ENV");
    let text = text.replace("<E:", "<SOAP-ENV:").replace("</E:", "</SOAP-ENV:");
    let fault = Envelope::parse(text.as_bytes()).unwrap().fault().unwrap();
    assert_eq!(fault.subcodes, ["NotAuthorized"]);
    assert!(fault.asks_for_login());
    assert_eq!(fault.to_string(), "Sender not Authorized (Sender/NotAuthorized)");
}

#[test]
fn a_web_page_is_no_envelope_and_says_so() {
    let error = Envelope::parse(b"<html><body>404</body></html>").unwrap_err();
    assert_eq!(error, SoapError::NotAnEnvelope("html".to_owned()));
    assert_eq!(Envelope::parse(b"<a:Envelope/>"), Err(SoapError::NoBody));
    assert!(matches!(Envelope::parse(b"HTTP/1.1"), Err(SoapError::Xml(_))));
}
