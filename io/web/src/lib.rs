//! The HTTP server of a node: listeners, sessions, roles, and errors that say what to do.
//!
//! It serves the table of routes that a program hands in, behind one gate: without a session nothing is answered but
//! what the table calls open, from whatever address it comes. The same routes are served on a Unix socket, whose peers
//! the kernel identifies. Other nodes have routes of their own, and are known by their keys. Who did what is entered into an audit log. It knows no cameras and keeps no business state.

mod assets;
mod audit;
mod auth;
mod channel;
mod client;
mod clock;
mod description;
mod hash;
mod layers;
mod node_client;
mod origin;
mod page;
mod peer;
mod problem;
mod routes;
mod server;
mod socket;

pub use assets::{Asset, Assets};
pub use audit::{
    Action, Audit, AuditChanges, AuditError, AuditOpened, AuditReport, Head, Receipt,
    decode_untrusted_audit_line, verify as verify_audit,
};
pub use auth::{
    Auth, AuthConfig, AuthError, Caller, FirstUser, Grants, Identity, LoginOutcome, LoginRecord,
    LoginWatcher, OtherUsers, Right, Role, Via,
};
pub use channel::{Channel, Place};
pub use client::{ClientError, SocketClient};
pub use clock::{Clock, SystemClock};
pub use description::{openapi, rules};
pub use layers::Small;
pub use node_client::{NodeClient, NodeError, NodeStream};
pub use page::Page;
pub use peer::{Node, Peer};
pub use problem::{FieldError, Problem};
pub use routes::{Access, Routes, Rule};
pub use server::{Application, Web, WebConfig, WebError, serve};

/// File name of the Unix socket in the data directory.
pub const SOCKET_NAME: &str = "keepwatch.sock";
