//! Who may have what: the trait that answers for all paths of a server.

use std::net::SocketAddr;

use super::quirks::Quirks;
use super::source::Source;
use crate::Secret;

/// Who asks for which source.
#[derive(Clone, Copy, Debug)]
pub struct OpenRequest<'a> {
    /// The path of the request URL, with its leading `/` and without query and track.
    pub path: &'a str,
    /// Who logged in; `None` where no login is needed.
    pub user: Option<&'a str>,
    /// Whence.
    pub peer: SocketAddr,
    /// Whether the connection is encrypted.
    pub secure: bool,
}

/// Why a source is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is nothing under this path: 404.
    #[error("there is nothing under this path")]
    NotFound,
    /// It is not for this user: 403.
    #[error("this user may not see it")]
    Forbidden,
    /// As many have it open as can: 453.
    #[error("too many have it open already")]
    Busy,
    /// It is not known yet what there is under this path, and will be: 503.
    #[error("it is not known yet what there is under this path")]
    Unavailable,
}

impl Refusal {
    /// The status code of the answer.
    pub const fn status(self) -> u16 {
        match self {
            Self::NotFound => 404,
            Self::Forbidden => 403,
            Self::Busy => 453,
            Self::Unavailable => 503,
        }
    }
}

/// Answers for all paths of a server.
pub trait Service: Send + Sync + 'static {
    /// The password of `user`; `None` when there is no such user.
    fn password(&self, user: &str) -> Option<Secret>;

    /// Whether anything but `OPTIONS` needs a login.
    fn needs_login(&self) -> bool;

    /// Opens a source. Asked once for each connection and path, and again when another user logs in on it.
    ///
    /// # Errors
    /// When there is none, or not for this user.
    fn open(&self, request: &OpenRequest<'_>) -> Result<Box<dyn Source>, Refusal>;

    /// How the server is to misbehave under `path`, for tests of clients; asked anew whenever it matters.
    fn quirks(&self, path: &str) -> Quirks {
        let _ = path;
        Quirks::default()
    }
}
