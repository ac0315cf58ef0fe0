//! `keepwatch demo`: quick to start, true in what it prints, and gone without a trace.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use keepwatch_it::{Movie, Program, Site, processes_with, run, wait_until};

use crate::alone;

/// Every process of a demo inherits this variable, and nothing else has it.
const MARK: &str = "KEEPWATCH_IT_DEMO";

struct Demo {
    program: Program,
    mark: String,
    temporary: PathBuf,
    text: String,
    started_within: Duration,
}

impl Demo {
    fn start(site: &Site, more: &[&str]) -> Self {
        let temporary = site.make("tmp").unwrap();
        let mark = site.path().display().to_string();
        let mut command = site.command(["demo", "--listen", "127.0.0.1:0"].iter().chain(more));
        command.env("TMPDIR", &temporary).env(MARK, &mark);
        let start = Instant::now();
        let program = Program::start(command, site.path().join("demo.log")).unwrap();
        let mut text = String::new();
        while !text.contains("Ctrl-C ends it") {
            text.push_str(&program.line(Duration::from_secs(30)).unwrap());
            text.push('\n');
        }
        Self { program, mark, temporary, text, started_within: start.elapsed() }
    }

    fn left_nothing_behind(&self) {
        wait_until("end of every process of the demo", Duration::from_secs(15), || {
            Ok(processes_with(MARK, &self.mark).is_empty().then_some(()))
        })
        .unwrap();
        let left: Vec<_> =
            std::fs::read_dir(&self.temporary).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn the_demo_records_within_five_seconds_and_ends_by_itself() {
    let _machine = alone();
    let site = Site::new().unwrap();
    let mut demo = Demo::start(&site, &["--seconds", "1"]);
    assert!(demo.started_within < Duration::from_secs(5), "{:?}", demo.started_within);
    assert!(demo.program.wait(Duration::from_secs(20)).unwrap().success(), "{}", demo.program.log());
    demo.left_nothing_behind();
}

#[test]
fn what_the_demo_prints_works_as_it_is_printed() {
    let _machine = alone();
    let site = Site::new().unwrap();
    let mut demo = Demo::start(&site, &["--cameras", "2"]);
    let (_, tries) = demo.text.split_once("Try in another terminal").unwrap();
    let script: Vec<&str> = tries.lines().skip(1).filter(|line| line.starts_with("  ")).collect();
    assert!(script.len() > 5, "{}", demo.text);
    let mut shell = Command::new("sh");
    shell.args(["-e", "-c", &script.join("\n")]).current_dir(site.path());
    let said = run(&mut shell, Duration::from_secs(240)).unwrap().success().unwrap();
    assert!(
        said.contains("\"durable_until\"") && said.contains("\"held\"") && said.contains("cam2"),
        "{said}"
    );
    // The line was cut, and what the edge box recorded meanwhile came when it was healed.
    assert!(said.contains("case 1:") && said.contains("case 0:"), "{said}");
    let numbers = Movie::read(&site.path().join("box.mp4")).unwrap().numbers();
    let holes: Vec<_> = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect();
    assert!(numbers.len() > 25 * 25 && holes.is_empty(), "{} frames, {holes:?}", numbers.len());
    // The recorder was killed, its standby recorded, and what that has came back: no frame is missing.
    assert!(said.contains("failed since") && said.contains("threshold"), "{said}");
    let numbers = Movie::read(&site.path().join("whole.mp4")).unwrap().numbers();
    let holes: Vec<_> = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect();
    assert!(numbers.len() > 40 * 25 && holes.is_empty(), "{} frames, {holes:?}", numbers.len());
    let probe = |file: &Path| {
        let mut command = Command::new("ffprobe");
        command.args(["-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0"]).arg(file);
        run(&mut command, Duration::from_secs(60)).unwrap().success().unwrap()
    };
    assert!(probe(&site.path().join("cam1.mp4")).contains("h264"));
    assert!(demo.program.end(Duration::from_secs(20)).unwrap().success(), "{}", demo.program.log());
    demo.left_nothing_behind();
}

#[test]
fn a_demo_that_is_killed_leaves_nothing_behind() {
    let _machine = alone();
    let site = Site::new().unwrap();
    let mut demo = Demo::start(&site, &[]);
    assert!(
        processes_with(MARK, &demo.mark).len() >= 7,
        "demo, janitor, cameras, recorder, standby, edge box, line"
    );
    demo.program.kill().unwrap();
    demo.left_nothing_behind();
}
