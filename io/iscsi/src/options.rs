//! How a LUN is reached, who reserves it, and what is written at once.

use std::fmt;
use std::io::IoSlice;
use std::time::Duration;

use crate::Address;

/// How a LUN is reached, and how long it is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where it is.
    pub address: Address,
    /// Our name there (RFC 7143 §4.2.7): what a target's list of those who may come has.
    pub initiator: String,
    /// The password of the user in the address.
    pub password: Option<Secret>,
    /// By which the target shows that it is who it should be (mutual CHAP); `None` does not ask.
    pub target_login: Option<Login>,
    /// Longest wait for a connection with its login.
    pub connect_max: Duration,
    /// Longest time in which no command under way is answered; the connection is given up then, and also when one of them
    /// takes six times as long while others are answered.
    pub answer_max: Duration,
    /// Longest time in which a lost connection is tried anew before what waits for it fails.
    pub reconnect_max: Duration,
}

impl Options {
    /// The usual times: a target that restarts is back within them, and a disk that takes longer is left to the store, which
    /// has another or says so.
    pub fn new(address: Address, initiator: impl Into<String>) -> Self {
        Self {
            address,
            initiator: initiator.into(),
            password: None,
            target_login: None,
            connect_max: Duration::from_secs(5),
            answer_max: Duration::from_secs(10),
            reconnect_max: Duration::from_secs(10),
        }
    }
}

/// A password, which is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` to itself.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    #[cfg(feature = "libiscsi")]
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A user and its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// Who reserves: registrations of the same owner are its own, whichever of its runs or connections made them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner(pub [u8; 16]);

/// What is done about a reservation that another holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preempt {
    /// It is left alone, and is an error.
    OnlyOwn,
    /// An operator has confirmed that it is taken away.
    Any,
}

/// What came of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// The target keeps all other writers away.
    Held,
    /// The target knows no reservations: the caller must find out about another writer in its own way.
    NotSupported,
}

/// A write: where, and what, in whole blocks.
#[derive(Clone, Debug)]
pub struct Write<'a> {
    /// Where it begins.
    pub offset_bytes: u64,
    /// One after the other.
    pub parts: Vec<IoSlice<'a>>,
}
