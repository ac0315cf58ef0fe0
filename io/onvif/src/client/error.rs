//! Why a call did not succeed, in words for an operator.

use std::io;
use std::time::Duration;

use keepwatch_media::fingerprint::Fingerprint;

use crate::soap::{Fault, SoapError};

/// Why a call to a device did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is none that a device can be asked at.
    #[error(
        "{0:?} is no address of an ONVIF device; write http://HOST or https://HOST, with :PORT where it is another"
    )]
    Address(String),
    /// No connection could be made.
    #[error("{host}:{port} cannot be reached: {source}")]
    Unreachable {
        /// Host.
        host: String,
        /// Port.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// The device took too long.
    #[error("no complete answer to {call} within {} s", .after.as_secs())]
    TimedOut {
        /// What was asked.
        call: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// No TLS session could be made.
    #[error("no TLS session: {0}")]
    Tls(io::Error),
    /// The device shows another certificate than the one that was pinned.
    #[error(
        "the camera shows the certificate {seen}, not the one that is configured; someone may stand between, or the camera made another"
    )]
    Certificate {
        /// Fingerprint of the certificate that was shown.
        seen: Fingerprint,
    },
    /// The connection broke.
    #[error("the connection broke during {call}: {source}")]
    Broken {
        /// What was asked.
        call: &'static str,
        /// Why.
        source: hyper::Error,
    },
    /// The answer does not end, or is far longer than any that makes sense.
    #[error("the answer to {call} is longer than {max} bytes")]
    TooLong {
        /// What was asked.
        call: &'static str,
        /// How much is read.
        max: usize,
    },
    /// The device answers with something else than SOAP.
    #[error("{call} was answered with HTTP status {status} and {}; is this an ONVIF device?", .answer)]
    Http {
        /// What was asked.
        call: &'static str,
        /// HTTP status.
        status: u16,
        /// What is wrong with the body.
        answer: SoapError,
    },
    /// The device answers with an error of HTTP where no SOAP is due.
    #[error("{call} was answered with HTTP status {status}")]
    Status {
        /// What was asked.
        call: &'static str,
        /// HTTP status.
        status: u16,
    },
    /// The device sends us to another host, to which the login must not be sent.
    #[error("the camera redirects to {0:?}; configure that address if it is right")]
    Redirected(String),
    /// The device refuses in its own words.
    #[error("{call} was refused: {fault}")]
    Refused {
        /// What was asked.
        call: &'static str,
        /// The device's words.
        fault: Fault,
    },
    /// The device wants a login and none is configured.
    #[error("the camera wants a login for {0}; configure user and password")]
    LoginNeeded(&'static str),
    /// The device refuses the login.
    #[error("the camera refuses the login of {user:?}{}; check the password, and whether the user is an ONVIF user of the camera", clock(.clock_offset_ms))]
    LoginRefused {
        /// The user.
        user: String,
        /// How far its clock is ahead of ours, in milliseconds; `None` when it was not told.
        clock_offset_ms: Option<i64>,
    },
    /// The device would have the password itself, over a connection whose other end is not proven.
    #[error(
        "the camera asks for the password itself; enable digest authentication in it, or use https:// and configure its certificate"
    )]
    PasswordInTheClear,
    /// The device does not have this service.
    #[error("the camera has no {0} service")]
    NotOffered(&'static str),
    /// The answer lacks what was asked for.
    #[error("the answer to {call} has no usable {what}")]
    Missing {
        /// What was asked.
        call: &'static str,
        /// What is missing.
        what: &'static str,
    },
    /// A search on the device brings more than makes sense.
    #[error("{call} did not end within {max} results or {} minutes", .after.as_secs() / 60)]
    Endless {
        /// What was asked.
        call: &'static str,
        /// How many results are read at most.
        max: usize,
        /// How long is asked for them.
        after: Duration,
    },
}

impl ClientError {
    /// Whether asking again with the same login cannot help, and may get the user locked.
    pub const fn is_login(&self) -> bool {
        matches!(self, Self::LoginNeeded(_) | Self::LoginRefused { .. } | Self::PasswordInTheClear)
    }

    /// Whether the device said that it does not know the call.
    pub fn is_not_supported(&self) -> bool {
        let refused = matches!(self, Self::Refused { fault, .. } if fault.is_not_supported());
        refused || matches!(self, Self::NotOffered(_))
    }
}

fn clock(offset_ms: &Option<i64>) -> String {
    match offset_ms {
        None => " (its clock is not known)".to_owned(),
        // Close enough for a login: not the reason.
        Some(-999..=999) => String::new(),
        Some(offset_ms) => format!(" (its clock is off by {} s)", offset_ms / 1000),
    }
}
