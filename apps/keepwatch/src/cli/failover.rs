//! The options of `keepwatch failover`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::NodeOptions;

/// What to do with the recorders that are watched.
#[derive(Debug, Subcommand)]
pub(crate) enum FailoverCommand {
    /// Show the Monitoring and the Failover list
    Status(FailoverStatusOptions),
    /// Put recorders on the Monitoring list
    Register(FailoverRegisterOptions),
    /// Change the mode, the priority or the pre-buffer of a primary
    Set(FailoverSetOptions),
    /// Start the failover of a primary that does not record
    Start(FailoverPrimaryOptions),
    /// End a failover at once; the mode becomes manual
    Stop(FailoverPrimaryOptions),
    /// Give the role back to the repaired primary
    Failback(FailoverPrimaryOptions),
    /// Have another recorder take the role of a failed primary, with a backup of its configuration
    Replace(FailoverReplaceOptions),
    /// Test a failover without stopping the primary
    Drill(FailoverPrimaryOptions),
    /// Take a primary off the Monitoring list
    Deregister(FailoverPrimaryOptions),
    /// List the backups of a primary's configuration
    Backups(FailoverBackupsOptions),
    /// List what happened in each failover
    Reports(FailoverStatusOptions),
}

/// Options of `failover status` and `failover reports`.
#[derive(Debug, Args)]
pub(crate) struct FailoverStatusOptions {
    /// Which node
    #[command(flatten)]
    pub(crate) node: NodeOptions,
    /// Print JSON instead of tables
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `failover register`.
#[derive(Debug, Args)]
pub(crate) struct FailoverRegisterOptions {
    /// Which node
    #[command(flatten)]
    pub(crate) node: NodeOptions,
    /// Addresses of the recorders, with a port unless that is 8443
    #[arg(required = true)]
    pub(crate) addresses: Vec<String>,
    /// How to log in there
    #[command(flatten)]
    pub(crate) login: Login,
    /// On purpose beside the standby that watches them already
    #[arg(long)]
    pub(crate) beside: bool,
}

/// What lets this node in at a recorder.
#[derive(Debug, Args)]
pub(crate) struct Login {
    /// Name of an administrator of the recorder
    #[arg(long, requires = "password_file", required_unless_present = "token_file")]
    pub(crate) user: Option<String>,
    /// File with that user's password on one line; it is not kept
    #[arg(long, requires = "user")]
    pub(crate) password_file: Option<PathBuf>,
    /// File with a token of the recorder on one line
    #[arg(long, conflicts_with_all = ["user", "password_file"])]
    pub(crate) token_file: Option<PathBuf>,
    /// The key that the recorder must have, or 16 or more of its first digits
    #[arg(long)]
    pub(crate) key: Option<String>,
}

/// Options of `failover replace`.
#[derive(Debug, Args)]
pub(crate) struct FailoverReplaceOptions {
    /// Which primary
    #[command(flatten)]
    pub(crate) primary: FailoverPrimaryOptions,
    /// Address of the recorder that takes its role, with a port unless that is 8443
    pub(crate) address: String,
    /// How to log in there
    #[command(flatten)]
    pub(crate) login: Login,
    /// Number of the backup that it gets; the newest when left out
    #[arg(long)]
    pub(crate) backup: Option<u64>,
}

/// Options of `failover backups`.
#[derive(Debug, Args)]
pub(crate) struct FailoverBackupsOptions {
    /// Which primary
    #[command(flatten)]
    pub(crate) primary: FailoverPrimaryOptions,
    /// Say what differs in the second of two backups, by their numbers
    #[arg(long, num_args = 2, value_names = ["EARLIER", "LATER"])]
    pub(crate) compare: Option<Vec<u64>>,
}

/// Options of `failover set`.
#[derive(Debug, Args)]
pub(crate) struct FailoverSetOptions {
    /// Which primary
    #[command(flatten)]
    pub(crate) primary: FailoverPrimaryOptions,
    /// Who starts its failover
    #[arg(long)]
    pub(crate) mode: Option<FailoverMode>,
    /// The lowest is covered first
    #[arg(long)]
    pub(crate) priority: Option<u8>,
    /// Whether its cameras are received ahead of a failover
    #[arg(long, value_name = "BOOL")]
    pub(crate) prebuffer: Option<bool>,
}

/// Who starts a failover.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FailoverMode {
    /// This node, after the threshold
    Auto,
    /// An operator only
    Manual,
}

/// Which primary is meant.
#[derive(Debug, Args)]
pub(crate) struct FailoverPrimaryOptions {
    /// Which node
    #[command(flatten)]
    pub(crate) node: NodeOptions,
    /// Its name, or its role
    pub(crate) primary: String,
}
