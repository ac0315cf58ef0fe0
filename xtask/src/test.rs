//! `cargo xtask test`: everything that must hold before a change is taken, in one run.
//!
//! A step that fails does not keep later ones from being tried, except when nothing could be built. Each prints
//! its wall time, and each group of steps has a budget: a run that grows slow fails while it is still easy to see
//! why. The last line is always `N passed, N failed`.

use std::io::BufReader;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cargo_metadata::{Message, TargetKind};

use crate::peers::Peers;
use crate::process;
use crate::workspace::Workspace;
use crate::{console, needs, tidy};

/// Tells a test program not to run what needs namespaces; without it, such a test fails where there are none.
const NO_NAMESPACES: &str = "KEEPWATCH_NO_NAMESPACES";

/// Tells a test program not to run what needs file systems of programs (FUSE).
const NO_FUSE: &str = "KEEPWATCH_NO_FUSE";

/// What is left out of the program unless asked for, and is tested all the same. Every step builds with it, so that
/// everything is compiled once.
const FEATURES: [&str; 2] = ["--features", "keepwatch/iscsi"];

/// A group of steps that share a budget of wall time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Installing; depends on the network, so without a budget.
    Prepare,
    /// All that compiles: build, clippy, documentation; and the checks of text, which take a second.
    Build,
    /// Tests inside the crates: unit tests, simulation, corpora.
    Unit,
    /// The real binary against real input.
    EndToEnd,
}

impl Stage {
    const ALL: [Self; 4] = [Self::Prepare, Self::Build, Self::Unit, Self::EndToEnd];

    const fn name(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Build => "build",
            Self::Unit => "unit and simulation",
            Self::EndToEnd => "end to end",
        }
    }

    /// Wall time on two cores from a clean clone.
    const fn budget(self) -> Option<Duration> {
        match self {
            Self::Prepare => None,
            // Twelve for the recorder, and at most five for all that came with ONVIF, replay and TLS.
            Self::Build => Some(Duration::from_secs((12 + 5) * 60)),
            // Eight for the recorder, and two for the standby: its simulation, and a demo that is away for twenty seconds.
            Self::Unit => Some(Duration::from_secs((8 + 2) * 60)),
            // Five for the recorder; five for faults in every coding, foreign replay, live pictures and exports; five for what
            // is asked from outside, and for the console before the program; five for the edge: disks that fail, LUNs, nodes that send;
            // six for its cases, for disks outside, and for cameras that wait for an alarm.
            Self::EndToEnd => Some(Duration::from_secs((5 + 5 + 5 + 5 + 6) * 60)),
        }
    }
}

/// How many tests there were.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Count {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

/// What has been found so far.
#[derive(Default)]
struct Report {
    count: Count,
    spent: Vec<(Stage, Duration)>,
    failures: Vec<String>,
}

impl Report {
    /// Runs one step, prints how long it took and remembers whether it failed.
    fn step<T>(&mut self, stage: Stage, name: &str, work: impl FnOnce() -> Result<T>) -> Option<T> {
        println!("==> {name}");
        let start = Instant::now();
        let result = work();
        let spent = start.elapsed();
        self.spent.push((stage, spent));
        match result {
            Ok(value) => {
                println!("    {name}: {}", minutes(spent));
                Some(value)
            }
            Err(error) => {
                println!("    {name}: FAILED after {}: {error:#}", minutes(spent));
                self.failures.push(name.to_owned());
                None
            }
        }
    }

    /// Adds the tests of one step; `None` when it crashed, hung or did not say how many there were.
    fn take(&mut self, name: &str, count: Option<Count>) {
        // At least one test of it did not pass.
        let Count { passed, failed } = count.unwrap_or(Count { passed: 0, failed: 1 });
        self.count.passed += passed;
        self.count.failed += failed;
        if count.is_some() && failed > 0 {
            self.failures.push(format!("{name}: {failed} tests"));
        }
    }

    fn spent(&self, stage: Stage) -> Duration {
        self.spent.iter().filter(|(of, _)| *of == stage).map(|(_, spent)| *spent).sum()
    }

    /// Prints the budgets and the count; an error when anything failed.
    fn close(mut self) -> Result<()> {
        println!("\n{:22} {:>8} {:>8}", "stage", "took", "budget");
        for stage in Stage::ALL {
            let spent = self.spent(stage);
            let budget = stage.budget();
            println!("{:22} {:>8} {:>8}", stage.name(), minutes(spent), budget.map_or("-".into(), minutes));
            if let Some(budget) = budget.filter(|budget| spent > *budget) {
                self.failures.push(format!(
                    "{} is over budget: it took {}, allowed are {}",
                    stage.name(),
                    minutes(spent),
                    minutes(budget)
                ));
            }
        }
        for failure in &self.failures {
            println!("FAILED: {failure}");
        }
        println!("{} passed, {} failed", self.count.passed, self.count.failed);
        if !self.failures.is_empty() || self.count.failed > 0 {
            bail!("the tests did not pass");
        }
        Ok(())
    }
}

/// Runs everything.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let mut report = Report::default();
    if report.step(Stage::Prepare, "needs", || needs::ensure(workspace)).is_none() {
        return report.close();
    }
    report
        .step(Stage::Build, "format", || process::show(workspace.cargo().args(["fmt", "--all", "--check"])));
    report.step(Stage::Build, "tidy", || tidy::run(workspace));
    let console = report.step(Stage::Build, "console", || console::build(workspace));
    let Some(programs) = report.step(Stage::Build, "build", || build(workspace)) else {
        return report.close();
    };
    report.step(Stage::Build, "clippy", || {
        let lints = ["clippy", "--release", "--workspace", "--all-targets"];
        process::show(workspace.cargo().args(lints).args(FEATURES).args(["--", "-D", "warnings"]))
    });
    report.step(Stage::Build, "doc", || {
        let arguments = ["doc", "--release", "--workspace", "--no-deps", "--document-private-items"];
        process::show(workspace.cargo().args(arguments).args(FEATURES).env("RUSTDOCFLAGS", "-D warnings"))
    });
    // Without its packages there is nothing to run them with.
    if console.is_some() {
        report.step(Stage::Build, "console types", || console::schema::check(workspace));
        let count = report.step(Stage::Unit, "console", || console::test(workspace));
        report.take("console", count);
        let count = report.step(Stage::Unit, "console pages", || console::pages(workspace));
        report.take("console pages", count);
    }
    let kernel = Kernel { namespaces: needs::namespaces(), fuse: needs::fuse() };
    for program in &programs {
        let count = report.step(program.stage, &program.name, || program.run(workspace, kernel));
        report.take(&program.name, count);
    }
    if console.is_some() {
        let count = report.step(Stage::EndToEnd, "console before the program", || console::node(workspace));
        report.take("console before the program", count);
    }
    if !kernel.namespaces {
        println!("\nNOT RUN: tests that cut a cable or mount a disk; this kernel refuses us namespaces");
    } else if !kernel.fuse {
        println!("\nNOT RUN: tests with disks that fail on command; /dev/fuse cannot be opened");
    }
    report.close()
}

/// What the kernel does for us. A container may refuse it even to its root, and nothing that could be installed changes that.
#[derive(Clone, Copy)]
struct Kernel {
    namespaces: bool,
    fuse: bool,
}

/// A compiled test program.
struct TestProgram {
    /// Its crate and, when it is not the crate's own unit tests, its target.
    name: String,
    stage: Stage,
    executable: PathBuf,
    /// The folder of its crate, where cargo would run it.
    folder: PathBuf,
}

/// Builds the whole workspace once, and returns the test programs, the quick ones first.
///
/// They are run directly rather than by further calls of cargo, because another selection of packages selects
/// other features and would compile half of everything again.
fn build(workspace: &Workspace) -> Result<Vec<TestProgram>> {
    let mut command = workspace.cargo();
    command.args(["build", "--release", "--workspace", "--all-targets"]).args(FEATURES);
    command.arg("--message-format=json-render-diagnostics").stdin(Stdio::null()).stdout(Stdio::piped());
    let text = process::spoken(&command);
    let mut child = command.spawn().context("start cargo")?;
    let output = child.stdout.take().context("cargo has no output")?;
    let mut programs = Vec::new();
    for message in Message::parse_stream(BufReader::new(output)) {
        if let Message::CompilerArtifact(artifact) = message?
            && artifact.profile.test
            && let Some(executable) = artifact.executable
        {
            let package = &workspace.metadata[&artifact.package_id];
            let folder = package.manifest_path.parent().context("a manifest without a folder")?;
            let integration = artifact.target.kind.contains(&TargetKind::Test);
            let mut name = package.name.to_string();
            if integration {
                name = format!("{name}/{}", artifact.target.name);
            }
            let end_to_end = workspace.folder(package) == "tests/it";
            programs.push(TestProgram {
                name,
                stage: if end_to_end { Stage::EndToEnd } else { Stage::Unit },
                executable: executable.into_std_path_buf(),
                folder: folder.as_std_path().to_owned(),
            });
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("`{text}` ended with {status}");
    }
    programs.sort_by_key(|program| (program.stage == Stage::EndToEnd, program.name.clone()));
    Ok(programs)
}

impl TestProgram {
    /// Runs it; what it printed is shown when a test failed.
    fn run(&self, workspace: &Workspace, kernel: Kernel) -> Result<Count> {
        let mut command = Command::new(&self.executable);
        command
            .current_dir(&self.folder)
            .env("CARGO_MANIFEST_DIR", &self.folder)
            .env("KEEPWATCH_BIN", workspace.program("keepwatch"))
            .env("KEEPWATCH_PEERS", Peers::of(workspace).folder());
        if !kernel.namespaces {
            command.env(NO_NAMESPACES, "1");
        }
        if !kernel.fuse {
            command.env(NO_FUSE, "1");
        }
        as_from_a_terminal(&mut command);
        // A program that hangs must not hang the run; its stage's budget is more than it may take.
        let limit = self.stage.budget().unwrap_or(Duration::from_secs(600));
        let finished = process::capture(&mut command, limit)?;
        let count = count(&finished.output);
        let clean = finished.status.is_some_and(|status| status.success());
        if !clean {
            println!("{}", finished.output);
        }
        match (finished.status, count) {
            (None, _) => bail!("still ran after {}", minutes(limit)),
            (Some(_), Some(count)) if clean || count.failed > 0 => {
                println!("    {} passed, {} failed", count.passed, count.failed);
                Ok(count)
            }
            (Some(status), _) => bail!("ended with {status}"),
        }
    }
}

/// Takes back that SIGHUP is ignored, as it is under nohup and some CI: tests are about what it does.
fn as_from_a_terminal(command: &mut Command) {
    // SAFETY: signal(2) is async-signal-safe and touches no memory of ours.
    #[expect(unsafe_code, reason = "std cannot set what a child does with signals")]
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGHUP, libc::SIG_DFL);
            Ok(())
        });
    }
}

/// Sums the `test result:` lines of a test program; `None` when there is none.
fn count(output: &str) -> Option<Count> {
    let mut sum = None;
    for line in output.lines() {
        let Some((_, result)) = line.split_once("test result: ") else { continue };
        let number = |word: &str| -> u64 {
            let before = result.split(';').find_map(|part| part.trim().strip_suffix(word));
            before.and_then(|text| text.split_whitespace().last()?.parse().ok()).unwrap_or(0)
        };
        let sum: &mut Count = sum.get_or_insert_default();
        sum.passed += number(" passed");
        sum.failed += number(" failed");
    }
    sum
}

/// Minutes and seconds, such as `3:07`.
fn minutes(duration: Duration) -> String {
    let seconds = duration.as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_summed_over_all_lines() {
        let output = "running 2 tests\n..\n\
            test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
            test result: FAILED. 11 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s\n";
        assert_eq!(count(output), Some(Count { passed: 13, failed: 3 }));
        assert_eq!(count("thread 'main' panicked"), None);
    }

    #[test]
    fn a_stage_over_budget_fails_the_run() {
        let mut report = Report::default();
        report.spent.push((Stage::Unit, Duration::from_secs(601)));
        assert!(report.close().is_err());
        let mut report = Report::default();
        report.spent.push((Stage::Unit, Duration::from_secs(600)));
        assert!(report.close().is_ok());
    }
}
