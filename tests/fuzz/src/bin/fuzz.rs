//! The program that libFuzzer drives: `KEEPWATCH_FUZZ_TARGET` names the target, `list` prints them all.
//!
//! One program for all of them, so that one build and one link do. It is started by `cargo xtask fuzz`.
#![no_main]
#![expect(clippy::print_stdout, reason = "the list is for xtask")]

use std::sync::OnceLock;

use keepwatch_fuzz::TARGETS;
use libfuzzer_sys::fuzz_target;

static CHOSEN: OnceLock<fn(&[u8])> = OnceLock::new();

fn choose() -> fn(&[u8]) {
    let name = std::env::var("KEEPWATCH_FUZZ_TARGET").unwrap_or_default();
    match TARGETS.iter().find(|(known, _)| *known == name) {
        Some((_, run)) => *run,
        None => {
            for (name, _) in TARGETS {
                println!("{name}");
            }
            std::process::exit(if name == "list" { 0 } else { 2 });
        }
    }
}

fuzz_target!(init: { CHOSEN.get_or_init(choose); }, |data: &[u8]| CHOSEN.get_or_init(choose)(data));
