//! A right that is looked up live: what streams for hours ends when the right to it ends.

use std::time::Duration;

use tokio::sync::watch;

use super::{Auth, Identity, Role};

/// Time between two looks without a change: what runs out by itself, such as a token, is noticed so late. Each look
/// counts as use of the session, so that a stream does not outlast its own login.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// The right of an identity to what it is being given.
#[derive(Clone, Debug)]
pub struct Right {
    auth: Auth,
    identity: Identity,
    needed: Needed,
    changes: watch::Receiver<()>,
}

#[derive(Clone, Debug)]
enum Needed {
    /// All that the identity was granted when it came.
    All,
    /// A role at one camera.
    At(String, Role),
    /// A role everywhere.
    Everywhere(Role),
}

impl Right {
    pub(super) fn new(auth: Auth, identity: Identity, changes: watch::Receiver<()>) -> Self {
        Self { auth, identity, needed: Needed::All, changes }
    }

    /// The right to have `role` at `camera`, whatever becomes of the others.
    #[must_use]
    pub fn at(mut self, camera: &str, role: Role) -> Self {
        self.needed = Needed::At(camera.to_owned(), role);
        self
    }

    /// The right to have `role` everywhere.
    #[must_use]
    pub fn everywhere(mut self, role: Role) -> Self {
        self.needed = Needed::Everywhere(role);
        self
    }

    /// Whether it is held at this moment: the session or the token is valid, its user is there, and none of the roles
    /// was lowered that it rests on.
    pub fn is_held(&self) -> bool {
        let Some(now) = self.auth.grants_of(&self.identity.credential) else { return false };
        match &self.needed {
            Needed::All => now.covers(&self.identity.grants),
            Needed::At(camera, role) => now.at(camera) >= Some(*role),
            Needed::Everywhere(role) => now.role >= Some(*role),
        }
    }

    /// Returns once it is lost: at once when somebody takes it away, within half a minute when it runs out.
    pub async fn lost(&self) {
        let mut changes = self.changes.clone();
        loop {
            // Before the look, so that a change between both is not missed.
            changes.mark_unchanged();
            if !self.is_held() {
                return;
            }
            // Time out or change: the look decides. The sender lives in `auth`.
            let _ = tokio::time::timeout(LOOK_INTERVAL, changes.changed()).await;
        }
    }
}
