//! Why a call is not answered: SOAP faults with the codes of ONVIF (Core "Error handling") and a status of HTTP.

use crate::soap;

use super::backend::Refusal;

/// A refused call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// What stands in the body.
    pub(crate) soap: soap::Fault,
    /// The status of HTTP that goes with it (SOAP 1.2 part 2 §7.5.2.2).
    pub(crate) status: u16,
}

impl Fault {
    fn sender(codes: &[&str], reason: impl Into<String>) -> Self {
        Self { soap: soap::Fault::sender(codes, reason), status: 400 }
    }

    fn receiver(codes: &[&str], reason: impl Into<String>) -> Self {
        Self { soap: soap::Fault::receiver(codes, reason), status: 500 }
    }

    /// The device does not have this call.
    pub(crate) fn not_supported(reason: impl Into<String>) -> Self {
        Self::receiver(&["ActionNotSupported"], reason)
    }

    /// The client must log in, or may not do this.
    pub(crate) fn not_authorized(reason: impl Into<String>) -> Self {
        Self { status: 401, ..Self::sender(&["NotAuthorized"], reason) }
    }

    /// The request is not SOAP as it should be.
    pub(crate) fn malformed(reason: impl Into<String>) -> Self {
        Self::sender(&["WellFormed"], reason)
    }

    /// An argument is missing or cannot be read.
    pub(crate) fn argument(reason: impl Into<String>) -> Self {
        Self::sender(&["InvalidArgs"], reason)
    }

    /// An argument names something that is not there, or asks for something that cannot be; `code` says what.
    pub(crate) fn value(code: &str, reason: impl Into<String>) -> Self {
        Self::sender(&["InvalidArgVal", code], reason)
    }

    /// A filter that is not understood.
    pub(crate) fn filter(reason: impl Into<String>) -> Self {
        Self::value("InvalidFilterFault", reason)
    }

    /// Too many sessions or subscriptions.
    pub(crate) fn exhausted(reason: impl Into<String>) -> Self {
        Self::receiver(&["Action", "ResourceProblem"], reason)
    }

    /// The device is broken, or too slow.
    pub(crate) fn failed(reason: impl Into<String>) -> Self {
        Self::receiver(&["Action"], reason)
    }

    /// What the backend refuses; `code` says what was not found.
    pub(crate) fn refused(refusal: Refusal, code: &str) -> Self {
        match refusal {
            Refusal::NotFound(reason) => Self::value(code, reason),
            Refusal::Unsupported(reason) => Self::not_supported(reason),
            Refusal::Failed(reason) => Self::failed(reason),
        }
    }
}
