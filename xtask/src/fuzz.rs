//! `cargo xtask fuzz`: coverage-guided search for inputs that break a parser, on the stable compiler.
//!
//! The sanitizer-coverage pass of LLVM is switched on by hand, and libFuzzer drives `tests/fuzz`. What it finds is
//! kept in `target/fuzz`; an input worth keeping is copied to `tests/fuzz/corpus/TARGET` and replayed by
//! `cargo xtask test` from then on. Only this search needs the instrumented build, which has its own directory.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process;
use crate::workspace::Workspace;

/// What `cargo fuzz` passes on nightly, minus the address sanitizer, which stable lacks and safe code does not need.
const INSTRUMENT: [&str; 8] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Clink-dead-code",
    "-Cdebug-assertions=on",
    "-Ccodegen-units=1",
];

/// Time for libFuzzer to read a large corpus before it begins to count.
const START_SECONDS_MAX: u64 = 300;

/// Which parser, and for how long.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The parser to attack; without it, each in turn.
    target: Option<String>,
    /// How long each is attacked.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let program = build(workspace)?;
    let known = targets(&program)?;
    let chosen: Vec<&String> = match &arguments.target {
        None => known.iter().collect(),
        Some(name) => match known.iter().find(|known| *known == name) {
            Some(name) => vec![name],
            None => bail!("{name:?} is not a fuzz target; they are: {}", known.join(" ")),
        },
    };
    let mut broken = Vec::new();
    for target in chosen {
        println!("==> {target} for {} s", arguments.seconds);
        if let Err(error) = search(workspace, &program, target, arguments.seconds) {
            println!("    {error:#}");
            broken.push(target.as_str());
        }
    }
    if !broken.is_empty() {
        bail!("broken: {}", broken.join(" "));
    }
    Ok(())
}

fn folder(workspace: &Workspace) -> PathBuf {
    workspace.metadata.target_directory.as_std_path().join("fuzz")
}

fn build(workspace: &Workspace) -> Result<PathBuf> {
    let host = host()?;
    // The separator lets flags hold spaces; naming the target keeps build scripts free of instrumentation.
    let flags = INSTRUMENT.join("\u{1f}");
    let mut command = workspace.cargo();
    command
        .args([
            "build",
            "--release",
            "--package",
            "keepwatch-fuzz",
            "--features",
            "libfuzzer",
            "--bin",
            "fuzz",
        ])
        .args(["--target", &host, "--target-dir"])
        .arg(folder(workspace))
        .env("CARGO_ENCODED_RUSTFLAGS", flags);
    process::show(&mut command)?;
    Ok(folder(workspace).join(host).join("release").join("fuzz"))
}

/// The machine we are on, as the compiler calls it.
fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("rustc -vV")?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc -vV names no host")
}

fn targets(program: &Path) -> Result<Vec<String>> {
    let output =
        Command::new(program).env("KEEPWATCH_FUZZ_TARGET", "list").output().context("list fuzz targets")?;
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

fn search(workspace: &Workspace, program: &Path, target: &str, seconds: u32) -> Result<()> {
    let found = folder(workspace).join("found").join(target);
    std::fs::create_dir_all(&found)?;
    let artifacts = folder(workspace).join("artifacts").join(target);
    std::fs::create_dir_all(&artifacts)?;
    let seeds = workspace.root.join("tests/fuzz/corpus").join(target);
    let mut command = Command::new(program);
    command
        .env("KEEPWATCH_FUZZ_TARGET", target)
        .arg(format!("-max_total_time={seconds}"))
        // An input that takes longer than 5 s or 512 MiB is a finding too.
        .args(["-timeout=5", "-rss_limit_mb=512", "-print_final_stats=1", "-use_value_profile=1"])
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        // libFuzzer writes what it learns to the first folder and only reads the others.
        .arg(&found);
    if seeds.is_dir() {
        command.arg(&seeds);
    }
    let limit = Duration::from_secs(u64::from(seconds) + START_SECONDS_MAX);
    let finished = process::capture(&mut command, limit)?;
    if finished.status.is_some_and(|status| status.success()) {
        for line in finished.output.lines().filter(|line| line.starts_with("Done ")) {
            println!("    {line}");
        }
        return Ok(());
    }
    // Before it lie thousands of lines of progress.
    let lines: Vec<&str> = finished.output.lines().collect();
    let cause =
        lines.iter().position(|line| line.contains("panicked at") || line.contains("ERROR: libFuzzer"));
    let shown = cause.unwrap_or(lines.len().saturating_sub(20));
    for line in lines.iter().skip(shown).take(20) {
        println!("    {line}");
    }
    bail!("the input is in {}; copy it to {}", artifacts.display(), seeds.display())
}
