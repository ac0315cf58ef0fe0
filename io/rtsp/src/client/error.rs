//! What goes wrong before media flows, by what the caller can do about it.

use std::fmt;
use std::io;

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
    /// Starting the media.
    Play,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Connect => "connect",
            Self::Options => "OPTIONS",
            Self::Describe => "DESCRIBE",
            Self::Setup => "SETUP",
            Self::Play => "PLAY",
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
    /// The server wants another URL to be used; it is not followed, because it was not configured.
    #[error("the server redirects to {location:?}: configure that URL if it is right")]
    Redirected {
        /// Where to, shortened.
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
