//! ONVIF: what a device is asked.

use keepwatch_onvif::device::answer_requests;
use keepwatch_onvif::soap::Envelope;

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
