//! A worker by itself, for the tests of this crate; the product starts its own binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    keepwatch_picture::run_worker()
}
