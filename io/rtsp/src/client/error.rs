//! What goes wrong before media flows, by what the caller can do about it.

use std::fmt;
use std::io;

use keepwatch_media::fingerprint::Fingerprint;

/// A step of opening a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Resolving the host and connecting.
    Connect,
    /// Asking for the methods the server knows.
    Options,
    /// Asking for the session description.
    Describe,
    /// Setting up a track.
    Setup,
    /// Starting the media, or starting them elsewhere.
    Play,
    /// Holding the media.
    Pause,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Connect => "connect",
            Self::Options => "OPTIONS",
            Self::Describe => "DESCRIBE",
            Self::Setup => "SETUP",
            Self::Play => "PLAY",
            Self::Pause => "PAUSE",
        })
    }
}

/// Why a session could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL cannot be used; a matter of configuration.
    #[error("the URL cannot be used: {0}")]
    Url(&'static str),
    /// The host has no address, or does not accept the connection.
    #[error("unreachable: {0}")]
    Unreachable(#[source] io::Error),
    /// The host did not answer in time.
    #[error("no answer to {0} in time")]
    TimedOut(Step),
    /// The server answered with an error.
    #[error("{step} was refused: {status} {reason}")]
    Refused {
        /// The status code, RFC 2326 §7.1.1.
        status: u16,
        /// What the server said, shortened.
        reason: String,
        /// What was refused.
        step: Step,
    },
    /// The server does not send media in the way that was asked for: another
    /// [`Transport`](super::Transport) may do.
    #[error("the server does not send media this way: {problem}")]
    TransportRefused {
        /// What it said.
        problem: String,
    },
    /// The server cannot replay (551), or not as asked: `Require: onvif-replay` was not understood.
    #[error("{step} was refused: the server does not offer replay of its recordings")]
    ReplayUnsupported {
        /// What was refused.
        step: Step,
    },
    /// The server holds nothing of the range that was asked for (457).
    #[error("the server has no footage in the range that was asked for")]
    InvalidRange,
    /// The server showed another certificate than the one that is pinned.
    #[error("the certificate has the fingerprint {seen}, which is not the one that is configured")]
    Certificate {
        /// The fingerprint of the one it showed.
        seen: Fingerprint,
    },
    /// No TLS session could be agreed on, by what TLS says.
    #[error("no TLS session: {0}")]
    Tls(String),
    /// No two ports for datagrams could be opened.
    #[error("no ports for media over UDP: {0}")]
    Ports(#[source] io::Error),
    /// More is asked of a running session at once than it takes.
    #[error("the session has more requests to make than it takes")]
    Busy,
    /// The server wants another URL to be used; it is not followed, because it was not configured.
    #[error("the server redirects to {location}: configure that URL if it is right")]
    Redirected {
        /// Where to, as [`ShownAddress`](keepwatch_media::rtsp::ShownAddress) shows it.
        location: String,
    },
    /// The server wants a login that is missing, wrong, or of a kind that is not known here.
    #[error("login refused: {0}")]
    Unauthorized(&'static str),
    /// The server does not speak RTSP as far as can be understood.
    #[error("{step}: {problem}")]
    Protocol {
        /// While doing what.
        step: Step,
        /// What was wrong.
        problem: String,
    },
    /// Nothing that was offered can be recorded.
    #[error("no usable track; offered: {}", if .0.is_empty() { "nothing".to_owned() } else { .0.join(", ") })]
    NoUsableTrack(Vec<String>),
    /// The server closed the connection, or the connection broke.
    #[error("the connection ended during {step}")]
    Ended {
        /// While doing what.
        step: Step,
        /// The error of a broken connection; `None` when the server closed it.
        #[source]
        source: Option<io::Error>,
    },
}

impl ClientError {
    /// The error of an answer with `status`, by what the caller can do about it.
    pub(super) fn refused(step: Step, status: u16, reason: String) -> Self {
        match (status, step) {
            (461, Step::Setup) => Self::TransportRefused { problem: format!("{status} {reason}") },
            (457, Step::Play) => Self::InvalidRange,
            (551, Step::Setup | Step::Play) => Self::ReplayUnsupported { step },
            _ => Self::Refused { status, reason, step },
        }
    }
}
