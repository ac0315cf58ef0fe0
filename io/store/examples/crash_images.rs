//! Recovers the store from N generated crash images (10,000 unless given) and prints one JSON object.
//!
//! `cargo run --release -p keepwatch-store --example crash_images -- N [SEED]`

#![expect(clippy::print_stdout, reason = "the result is the output")]

use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u64>());
    let (Ok(images), Ok(seed)) = (arguments.next().unwrap_or(Ok(10_000)), arguments.next().unwrap_or(Ok(1)))
    else {
        println!("usage: crash_images [IMAGES] [SEED]");
        return ExitCode::FAILURE;
    };
    let started = Instant::now();
    let report = keepwatch_store::crash_images(images, seed);
    for failure in &report.failures {
        println!("{failure}");
    }
    println!(
        "{{\"images\": {}, \"records_checked\": {}, \"records_kept_beyond\": {}, \"acked_lost\": {}, \
         \"half_accepted\": {}, \"failures\": {}, \"seconds\": {:.1}}}",
        report.images,
        report.records_checked,
        report.records_kept_beyond,
        report.acked_lost,
        report.half_accepted,
        report.failures.len(),
        started.elapsed().as_secs_f64()
    );
    if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
