//! The options of `keepwatch edge`.

use clap::{Args, Subcommand};

use super::NodeOptions;
use super::failover::Login;

/// What to do with footage that is sent, at the node that sends it and at the recorder that it is sent to.
#[derive(Debug, Subcommand)]
pub(crate) enum EdgeCommand {
    /// Show what this node sends, and how far it is
    Status(EdgeOptions),
    /// Register this node at a recorder, and send there what is recorded here
    Register(EdgeRegisterOptions),
    /// Send nothing more
    Deregister(EdgeNodeOptions),
    /// List the edge nodes that send to this recorder
    Nodes(EdgeOptions),
    /// Make a token with which one edge node registers at this recorder, once and within an hour
    Token(EdgeOptions),
    /// Take nothing more of an edge node
    Remove(EdgeRemoveOptions),
}

/// Options of `edge deregister`.
#[derive(Debug, Args)]
pub(crate) struct EdgeNodeOptions {
    /// Which node
    #[command(flatten)]
    pub(crate) node: NodeOptions,
}

/// Options of `edge status`, `edge nodes` and `edge token`.
#[derive(Debug, Args)]
pub(crate) struct EdgeOptions {
    /// Which node
    #[command(flatten)]
    pub(crate) node: NodeOptions,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `edge register`.
#[derive(Debug, Args)]
pub(crate) struct EdgeRegisterOptions {
    /// Which node
    #[command(flatten)]
    pub(crate) node: NodeOptions,
    /// Address of the recorder, with a port unless that is 8443
    pub(crate) address: String,
    /// How to log in there
    #[command(flatten)]
    pub(crate) login: Login,
}

/// Options of `edge remove`.
#[derive(Debug, Args)]
pub(crate) struct EdgeRemoveOptions {
    /// Which node
    #[command(flatten)]
    pub(crate) node: NodeOptions,
    /// Name or key of the edge node
    pub(crate) edge: String,
}
