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
    /// Set how fast the footage of a camera leaves, also after a restart
    Limit(EdgeLimitOptions),
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

/// Options of `edge limit`.
#[derive(Debug, Args)]
pub(crate) struct EdgeLimitOptions {
    /// Which node
    #[command(flatten)]
    pub(crate) node: NodeOptions,
    /// The camera, by its id
    pub(crate) camera: String,
    /// Percent of the rate that it was recorded with; 0 stops, a later value resumes
    #[arg(long, value_name = "PERCENT", required_unless_present = "configured")]
    pub(crate) speed: Option<u32>,
    /// Most in a second, like "8 Mbit/s"; 0 is no limit. Another one holds from the next backup on
    #[arg(long, default_value = "0", value_parser = edge_rate, conflicts_with = "configured")]
    pub(crate) rate: u64,
    /// It is meant, although footage that was left out never leaves with it
    #[arg(long)]
    pub(crate) confirm: bool,
    /// Go back to what the configuration says
    #[arg(long, conflicts_with = "speed")]
    pub(crate) configured: bool,
}

fn edge_rate(text: &str) -> Result<u64, String> {
    crate::config::edge_rate(text).map_err(|complaint| format!("{}; {}", complaint.what, complaint.remedy))
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
