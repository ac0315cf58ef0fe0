//! Who sends a request, and what the handler of a route may ask about it.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use keepwatch_model::CameraId;
use serde::Serialize;
use utoipa::ToSchema;

use super::credential::Credential;
use super::role::GrantsShown;
use super::{Auth, Grants, Right, Role};
use crate::audit::{Action, Head, Receipt};
use crate::{Peer, Problem};

/// How a request proved who it is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// The session cookie.
    Cookie,
    /// A session as `Authorization: Bearer` (RFC 6750 §2.1).
    Bearer,
    /// An API token as `Authorization: Bearer`.
    Token,
    /// The Unix socket: the kernel named the peer.
    Socket,
}

impl Via {
    /// As text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cookie => "cookie",
            Self::Bearer => "bearer",
            Self::Token => "token",
            Self::Socket => "socket",
        }
    }
}

/// Who sends a request; present as a request extension on every route that is not open to everybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Identity {
    /// The user, or `uid:N` for a peer of the Unix socket.
    pub user: String,
    /// What the user may do at the moment of the request.
    #[serde(flatten)]
    #[schema(value_type = GrantsShown)]
    pub grants: Grants,
    /// How the request proved it.
    pub via: Via,
    #[serde(skip)]
    #[schema(ignore)]
    pub(super) credential: Credential,
}

impl Identity {
    /// A process that the kernel named and that may do everything.
    pub(crate) fn of_process(uid: u32) -> Self {
        Self {
            user: format!("uid:{uid}"),
            grants: Grants::everywhere(Role::Administrator),
            via: Via::Socket,
            credential: Credential::Kernel,
        }
    }

    /// The role at `camera`, a text that may name none; `None` when the user must not learn whether it is there.
    pub fn at(&self, camera: &str) -> Option<Role> {
        self.grants.at(camera)
    }

    /// Refuses with 403 unless the user has at least `role` everywhere.
    pub fn require(&self, role: Role) -> Result<(), Problem> {
        if self.grants.role >= Some(role) {
            return Ok(());
        }
        Err(self.too_low("", self.grants.role, role))
    }

    /// Refuses with 403 unless the user has at least `role` at some camera, or everywhere.
    pub fn require_anywhere(&self, role: Role) -> Result<(), Problem> {
        if self.grants.anywhere() >= Some(role) {
            return Ok(());
        }
        Err(self.too_low("", self.grants.anywhere(), role))
    }

    /// Refuses unless the user has at least `role` at `camera`: with 403 where the role is too low, and where there is
    /// none with the same 404 as for a camera that does not exist.
    pub fn require_at(&self, camera: &str, role: Role) -> Result<(), Problem> {
        match self.at(camera) {
            Some(held) if held >= role => Ok(()),
            Some(held) => Err(self.too_low(" at this camera", Some(held), role)),
            None => Err(Problem::camera_unknown(camera)),
        }
    }

    fn too_low(&self, place: &str, held: Option<Role>, needed: Role) -> Problem {
        let user = &self.user;
        let detail = match held {
            Some(held) => format!("{user} is {held}{place}, this takes {needed}; ask an administrator"),
            None => format!("{user} has no role{place}, this takes {needed}; ask an administrator"),
        };
        Problem::forbidden("role_too_low", detail)
    }
}

/// Who calls a route and from where, with a way to hold on to the right: an extractor for handlers.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who.
    pub identity: Identity,
    /// From where.
    pub peer: Peer,
    pub(crate) auth: Auth,
}

impl Caller {
    /// Enters into the audit log what the caller did to `object`, such as `camera:gate`.
    pub fn enter(&self, action: Action, object: impl Into<String>, detail: impl Into<String>) -> Receipt {
        self.auth.audit().enter(&self.identity, &self.peer, action, object, detail)
    }

    /// Enters that the caller looks at a camera, the first time in an hour.
    pub fn viewed(&self, action: Action, camera: CameraId) {
        self.auth.audit().viewed(&self.identity, &self.peer, action, camera);
    }

    /// Refuses with 503 while the audit log cannot be written: asked before what must be on record is done.
    pub fn require_audit(&self) -> Result<(), Problem> {
        self.auth.audit().require_working()
    }

    /// The end of the audit log as it is on disk, for what is to prove by it that it is on record.
    pub fn audit_head(&self) -> Head {
        self.auth.audit().head()
    }

    /// The caller's right, looked up live: what streams to them ends when it is lost.
    pub fn right(&self) -> Right {
        self.auth.right(&self.identity)
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let found = (
            parts.extensions.get::<Identity>().cloned(),
            parts.extensions.get::<Peer>().cloned(),
            parts.extensions.get::<Auth>().cloned(),
        );
        match found {
            (Some(identity), Some(peer), Some(auth)) => Ok(Self { identity, peer, auth }),
            // Only an open route has no identity, and none of them asks who calls.
            (_, _, _) => Err(Problem::internal("the route does not know who calls")),
        }
    }
}
