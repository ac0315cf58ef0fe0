//! Who a node is, and what a standby says when it registers.

use std::fmt;
use std::str::FromStr;

use keepwatch_model::RoleId;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::bounds;
use super::{NAME_BYTES_MAX, STANDBYS_MAX, VERSION_BYTES_MAX, version};
use crate::failover::Version;

/// Longest name of a user in bytes.
const USER_BYTES_MAX: usize = 64;
/// Longest password, and longest token, in bytes.
const PASSWORD_BYTES_MAX: usize = 1024;
/// Longest text of a network interface's address in bytes.
const MAC_BYTES_MAX: usize = 32;

/// What every node tells of itself, whoever asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PRODUCT`](super::PRODUCT).
    #[serde(deserialize_with = "bounds::text::<_, 32>")]
    pub product: String,
    /// Of the product, like `0.1.0`.
    #[serde(deserialize_with = "bounds::text::<_, VERSION_BYTES_MAX>")]
    pub version: String,
    /// [`PROTOCOL`](super::PROTOCOL).
    pub protocol: u32,
    /// As operators see it.
    #[serde(deserialize_with = "bounds::text::<_, NAME_BYTES_MAX>")]
    pub name: String,
    /// Hardware address of its first network interface; `None` when it has none.
    #[serde(default, deserialize_with = "bounds::optional::<_, MAC_BYTES_MAX>")]
    pub mac: Option<String>,
    /// The role that it plays.
    pub role: RoleId,
    /// In which epoch.
    pub epoch: u64,
    /// The public half of its node key.
    pub key: NodePublic,
    /// Whether it records in the place of others.
    pub standby: bool,
    /// Names of the standbys that are registered.
    #[serde(default, deserialize_with = "bounds::texts::<_, STANDBYS_MAX, NAME_BYTES_MAX>")]
    pub watched_by: Vec<String>,
}

impl Hello {
    /// Its version; `None` when what it says is none.
    pub fn version(&self) -> Option<Version> {
        version(&self.version, self.protocol)
    }
}

/// What a standby asks a primary for: to be let in with an administrator's login, or with a token that works once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// The standby's version, like `0.1.0`.
    #[serde(deserialize_with = "bounds::text::<_, VERSION_BYTES_MAX>")]
    pub version: String,
    /// The standby's protocol.
    pub protocol: u32,
    /// The standby's name.
    #[serde(deserialize_with = "bounds::text::<_, NAME_BYTES_MAX>")]
    pub name: String,
    /// The standby's role.
    pub role: RoleId,
    /// The port at which the standby answers nodes.
    pub port: u16,
    /// The name of an administrator of the primary; with `password`, without `token`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "bounds::optional::<_, USER_BYTES_MAX>"
    )]
    pub user: Option<String>,
    /// That user's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
    /// A token that the primary gave out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Password>,
    /// On purpose beside another standby.
    #[serde(default)]
    pub beside: bool,
    /// As what it wants to be let in; a node that does not say it is a standby.
    #[serde(default)]
    pub duty: NodeDuty,
}

/// As what a node is let in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeDuty {
    /// It watches this recorder, and records in its place.
    #[default]
    Standby,
    /// It records cameras, and sends here what it recorded.
    Edge,
}

/// A password on its way; `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Password(#[serde(deserialize_with = "bounds::text::<_, PASSWORD_BYTES_MAX>")] String);

impl Password {
    /// The password `text`.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The password, to be used and not to be shown.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// The public half of a node's key: 32 bytes, written as 64 hexadecimal digits in lower case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodePublic(pub [u8; 32]);

/// A text is no public key of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the key of a node has 64 hexadecimal digits in lower case")]
pub struct NodeKeyError;

impl fmt::Display for NodePublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for NodePublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for NodePublic {
    type Err = NodeKeyError;

    fn from_str(text: &str) -> Result<Self, NodeKeyError> {
        let digit = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
        if text.len() != 64 || !text.bytes().all(digit) {
            return Err(NodeKeyError);
        }
        let mut bytes = [0; 32];
        for (place, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| NodeKeyError)?;
            *place = u8::from_str_radix(pair, 16).map_err(|_| NodeKeyError)?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for NodePublic {
    type Error = NodeKeyError;

    fn try_from(text: String) -> Result<Self, NodeKeyError> {
        text.parse()
    }
}

impl From<NodePublic> for String {
    fn from(key: NodePublic) -> Self {
        key.to_string()
    }
}
