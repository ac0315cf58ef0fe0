//! The one program of Keepwatch: it reads the command line and starts what was asked for.
//!
//! Every command is a module; this file maps them to exit codes. Errors reach standard error as one sentence with its
//! causes, never as a dump. It is a library so that the fuzz targets reach the reader of the configuration; the
//! binary only calls [`main`].

mod alarm;
mod audit;
mod backfill;
mod check;
mod cli;
mod client;
mod config;
mod demo;
mod edge;
mod evidence;
mod failover;
mod fetch;
mod lab;
mod lines;
mod logging;
mod memory;
mod output;
mod parent;
mod plan;
mod run;
mod scan;
mod standbys;
mod users;
mod verify;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use self::cli::{AuditCommand, Cli, Command, ExportCommand, ExportOptions};

/// How a command ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// As asked.
    Done,
    /// The configuration cannot be used.
    ConfigurationWrong,
    /// It was carried out, and what it looked at is not as it should be.
    FaultsFound,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Done => 0,
            Outcome::ConfigurationWrong => 2,
            Outcome::FaultsFound => 3,
        })
    }
}

/// Does what the command line asks for; returns the exit code.
pub fn main() -> ExitCode {
    match start(Cli::parse()) {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            output::complain(format_args!("keepwatch: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Reads `text` as a configuration file, or as the description of a site, and shows all that is wrong with it, for the fuzz
/// target: whatever the text is, this returns. No file that it names is opened.
pub fn decode_untrusted_configuration(text: &str) -> String {
    let report = plan::of_untrusted_site(text).unwrap_or_else(|| config::read(text, Path::new("/")).1);
    report.show(Path::new("keepwatch.toml")).to_string()
}

/// Lists `bytes` as an exported archive, for the fuzz target: whatever they are, this returns.
pub fn decode_untrusted_archive(bytes: &[u8]) {
    keepwatch_recorder::evidence::list_untrusted(bytes);
}

/// Takes `bytes` as footage that another recorder sends, for the fuzz target: whatever they are, this returns.
pub fn decode_untrusted_records(bytes: &[u8]) {
    keepwatch_recorder::decode_untrusted_records(bytes);
}

/// Reads the cameras of a backup of another node as a standby does, for the fuzz target: whatever they are, this returns.
pub fn decode_untrusted_backup(contents: &keepwatch_recording::peer::Contents) {
    for camera in &contents.cameras {
        let _ = keepwatch_recorder::peers::camera_config(camera, camera.id);
    }
}

fn start(cli: Cli) -> anyhow::Result<Outcome> {
    match cli.command {
        Command::Run(options) => {
            parent::end_with(options.parent)?;
            logging::start("info")?;
            on_all_cores(run::run(options))
        }
        Command::Check(options) => Ok(check::check(&options.file)),
        Command::Plan(options) => on_one_core(plan::plan(*options)),
        Command::Status(options) => on_one_core(client::status(options)),
        Command::Alarm(options) => on_one_core(alarm::run(options)),
        Command::Export(ExportOptions { command: Some(ExportCommand::Verify(options)), .. }) => {
            evidence::run(&options)
        }
        Command::Export(options) => on_one_core(client::export(options)),
        Command::Edge(command) => on_one_core(edge::run(command)),
        Command::Standby(command) => on_one_core(standbys::run(command)),
        Command::Backfill(command) => on_one_core(backfill::run(command)),
        Command::Scan(options) => on_one_core(scan::scan(options)),
        Command::Openapi => {
            output::say(
                keepwatch_recorder::api::openapi(&[
                    keepwatch_standby::api::part(),
                    keepwatch_edge::api::part(),
                ])
                .to_pretty_json()?,
            );
            Ok(Outcome::Done)
        }
        Command::Fetch(options) => {
            logging::start("warn")?;
            on_one_core(fetch::fetch(*options))
        }
        Command::Failover(command) => on_one_core(failover::run(command)),
        Command::Audit(AuditCommand::Verify(options)) => audit::verify(&options),
        Command::Verify(options) => verify::verify(&options),
        Command::Lab(options) => {
            parent::end_with(options.parent)?;
            logging::start("warn")?;
            lab::lab(options)
        }
        Command::Demo(options) => on_one_core(demo::demo(options)),
        // Its exit code is of no account: whoever started it looks at its pipes.
        Command::PictureWorker => {
            let _ = keepwatch_picture::run_worker();
            Ok(Outcome::Done)
        }
        Command::DemoJanitor(options) => on_one_core(demo::janitor::run(options.temporary)),
    }
}

/// Runs what records: as many threads as there are cores.
fn on_all_cores(work: impl Future<Output = anyhow::Result<Outcome>>) -> anyhow::Result<Outcome> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

/// Runs what waits. The demo depends on it: its children end with the thread that started them.
fn on_one_core(work: impl Future<Output = anyhow::Result<Outcome>>) -> anyhow::Result<Outcome> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
