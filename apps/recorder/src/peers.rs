//! Other nodes: what this recorder tells its standbys, which of them may ask, and how it asks others.
//!
//! A node is known by its key, which the connection has proven. Whoever has one is told who this recorder is; all else is for
//! those that are registered here, and, of footage, for those that this node registered itself with. Roles and rights of
//! people do not reach here, except that an administrator's login, or a token that works once, registers a standby.

mod answers;
mod backup;
mod book;
mod client;
mod file;
mod register;
mod restore;
mod routes;
mod scan;

pub use backup::camera_config;
pub use book::{EdgeNode, Known, Peers, Standby};
pub use client::{
    Approach, Introduction, Login, PORT, RegisterError, Registered, ask_hello, backup, check, deregister,
    hello, missing, nowhere, register, relay, resolve, restore, supersede, wanted,
};
pub(crate) use restore::superseded;
pub(crate) use routes::own_key;
pub use routes::routes;
pub use scan::{FoundNode, Scan, ScanProgress, ScanWish};

use keepwatch_recording::peer::NodePublic;
use keepwatch_tls::NodePublicKey;

/// The key as it is said.
pub(crate) fn public(key: NodePublicKey) -> NodePublic {
    NodePublic(key.bytes())
}

#[cfg(test)]
pub(crate) mod tests;
