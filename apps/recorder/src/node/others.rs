//! What a recorder knows of other nodes, and what of it they are told.

use std::path::PathBuf;
use std::sync::Arc;

use keepwatch_model::{CameraId, EventCode};
use keepwatch_tls::{IdentityError, NodeKey};

use super::Node;
use crate::config::RecorderConfig;
use crate::peers::Peers;
use crate::replenish::Replenishing;

impl Node {
    /// The nodes that this one knows.
    pub fn peers(&self) -> &Peers {
        &self.inner.peers
    }

    /// How gaps are filled from elsewhere.
    pub fn replenishing(&self) -> &Replenishing {
        &self.inner.replenishing
    }

    /// The key by which other nodes know this one.
    ///
    /// # Errors
    /// When it cannot be read or made.
    pub async fn node_key(&self) -> Result<Arc<NodeKey>, IdentityError> {
        let node = self.clone();
        let opened = tokio::task::spawn_blocking(move || node.signing_key()).await;
        opened.map_err(|error| IdentityError::Keep {
            path: self.inner.config().data.clone(),
            source: std::io::Error::other(error),
        })?
    }

    /// The directory of everything but footage.
    pub fn data(&self) -> PathBuf {
        self.inner.config().data.clone()
    }

    /// The cameras that are configured here; not those that are recorded in the place of others.
    pub fn own_cameras(&self) -> Vec<CameraId> {
        let edited = self.inner.book.edited();
        let config = self.inner.config();
        config.cameras.iter().chain(&edited.cameras).map(|camera| camera.id).collect()
    }

    /// The configuration in force with all cameras, those that are edited in the console among them, and the revision of
    /// these.
    pub(crate) fn in_force(&self) -> (RecorderConfig, u64) {
        let edited = self.inner.book.edited();
        let mut config = self.inner.config().clone();
        config.cameras.extend(edited.cameras.iter().cloned());
        (config, edited.revision)
    }

    /// Tells that other nodes cannot be answered, if so.
    pub(super) fn tell_peers(&self) {
        if let Some(why) = self.peers().problem() {
            self.event(EventCode::NodesUnreadable, format!("standbys are not answered: {why}"));
        }
        if let Some(by) = self.peers().superseded() {
            self.event(EventCode::RoleSuperseded, crate::peers::superseded(&by));
        }
    }
}
