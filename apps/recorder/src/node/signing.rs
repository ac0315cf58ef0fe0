//! The key with which the node signs exports: opened when it is first needed, and told of when it is made.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use keepwatch_media::fingerprint::Fingerprint;
use keepwatch_model::EventCode;
use keepwatch_tls::{IdentityError, NodeKey};

use super::Node;

/// Where the key is kept, and the key once it was opened.
#[derive(Debug)]
pub(super) struct Signing {
    data: PathBuf,
    opened: Mutex<Option<Arc<NodeKey>>>,
}

impl Signing {
    /// The key in the directory `data`.
    pub(super) const fn new(data: PathBuf) -> Self {
        Self { data, opened: Mutex::new(None) }
    }
}

impl Node {
    /// The fingerprint of the key that exports are signed with; `None` before it was opened, and when it cannot be had.
    pub(crate) fn signing_fingerprint(&self) -> Option<Fingerprint> {
        let opened = self.inner.signing.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.as_ref().and_then(|key| key.public().ok()).map(|key| key.fingerprint())
    }

    /// Opens that key, so that its fingerprint is known from the start. Blocks.
    pub(super) fn open_signing_key(&self) {
        if let Err(error) = self.signing_key() {
            tracing::error!(%error, "exports cannot be signed");
        }
    }

    /// The key that exports are signed with. Blocks the first time.
    pub(crate) fn signing_key(&self) -> Result<Arc<NodeKey>, IdentityError> {
        let signing = &self.inner.signing;
        let mut opened = signing.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = &*opened {
            return Ok(Arc::clone(key));
        }
        let (key, made) = NodeKey::keep(&signing.data)?;
        if made {
            let fingerprint = key.public()?.fingerprint();
            self.event(
                EventCode::SigningKeyMade,
                format!("the node made itself the key that it signs exports with, {fingerprint}"),
            );
        }
        let key = Arc::new(key);
        *opened = Some(Arc::clone(&key));
        Ok(key)
    }
}
