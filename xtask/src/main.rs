//! Automation of this repository: everything that would otherwise be a script.
//!
//! `cargo xtask test` is what CI runs and what a contributor runs before a change is sent. Nothing here is part
//! of the product, and nothing of the product is linked in: the binary is driven from outside, as users drive it.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool speaks on its terminal")]

mod bench;
mod console;
mod fuzz;
mod needs;
mod peers;
mod process;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// Automation of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Installs what the tests need, then checks, builds and tests everything.
    Test,
    /// What CI runs: the same as test.
    Ci,
    /// Checks the rules that no compiler knows: layers, module texts, references, links.
    Tidy,
    /// Checks, builds and tests the web console, and compares it with what is committed.
    Console,
    /// Makes the pictures of the guide anew, in a browser before the real program.
    Screenshots,
    /// Writes the console's types of the API anew, from what the program says of itself.
    Schema,
    /// Lists what the tests need of this machine and what is missing.
    Needs,
    /// Measures the product beside its peers; the last line is one JSON object.
    Bench(bench::Arguments),
    /// Looks for inputs that break a parser, guided by coverage.
    Fuzz(fuzz::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    let workspace = Workspace::find()?;
    match command {
        Command::Test | Command::Ci => test::run(&workspace),
        Command::Tidy => tidy::run(&workspace),
        Command::Console => console::run(&workspace),
        Command::Screenshots => console::screenshots(&workspace),
        Command::Schema => console::schema::write(&workspace),
        Command::Needs => needs::list(&workspace),
        Command::Bench(arguments) => bench::run(&workspace, &arguments),
        Command::Fuzz(arguments) => fuzz::run(&workspace, &arguments),
    }
}
