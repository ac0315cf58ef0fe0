//! The HTTP server of a node: listeners, sessions, roles, and errors that say what to do.
//!
//! It serves whatever router a program hands in, behind one gate: nothing but `GET /api/v1/health` and
//! `POST /api/v1/login` is answered without a session, from whatever address it comes. The same routes are
//! served on a Unix socket, whose peers the kernel identifies. It speaks plain HTTP/1.1 (RFC 9112) and
//! therefore listens on loopback addresses only. It knows no cameras and keeps no business state.

mod auth;
mod client;
mod layers;
mod origin;
mod problem;
mod server;
mod socket;

pub use auth::{
    Auth, AuthConfig, AuthError, Clock, FirstUser, Identity, LoginOutcome, LoginRecord, LoginWatcher, Role,
    SystemClock, Via,
};
pub use client::{ClientError, SocketClient};
pub use problem::Problem;
pub use server::{Peer, Web, WebConfig, WebError, serve};

/// File name of the Unix socket in the data directory.
pub const SOCKET_NAME: &str = "keepwatch.sock";
