//! The log: to standard error, filtered by `RUST_LOG`, without times where the journal adds them.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Starts the log of this process at `level` unless `RUST_LOG` says otherwise.
pub(crate) fn start(level: &str) -> anyhow::Result<()> {
    let level: LevelFilter = level.parse()?;
    let filter = EnvFilter::builder().with_default_directive(level.into()).from_env()?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    // systemd sets it for what it starts (systemd.exec(5)); the journal has its own times.
    let result = if std::env::var_os("JOURNAL_STREAM").is_some() {
        builder.without_time().try_init()
    } else {
        builder.try_init()
    };
    result.map_err(|error| anyhow::anyhow!("the log cannot be started: {error}"))
}
