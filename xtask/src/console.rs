//! The web console: its types, its tests, and that what is committed is what its sources build to.
//!
//! The program embeds `ui/dist`, so that cargo alone builds it; this is where a `dist` that does not fit the sources is
//! found. Packages come from the registry as `ui/package-lock.json` names them, by their hashes, and run no scripts.

pub(crate) mod schema;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::needs;
use crate::process;
use crate::test::Count;
use crate::workspace::Workspace;

/// Longest that one of its test runs may take.
const TESTS_LIMIT: Duration = Duration::from_secs(420);

/// All of it, for somebody who changes the console.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    build(workspace)?;
    process::show(workspace.cargo().args(["build", "--release", "--package", "keepwatch"]))?;
    schema::check(workspace)?;
    let (modules, pages) = (test(workspace)?, pages(workspace)?);
    let failed = modules.failed + pages.failed;
    println!("{} passed, {failed} failed", modules.passed + pages.passed);
    if failed > 0 {
        bail!("the tests of the console did not pass");
    }
    Ok(())
}

/// Installs the packages, checks the types, builds, and compares with what is committed.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    let folder = workspace.root.join("ui");
    process::show(npm(&folder)?.args(["ci", "--no-progress"]))?;
    process::show(npm(&folder)?.args(["run", "--silent", "check"]))?;
    let made = workspace.metadata.target_directory.as_std_path().join("console-dist");
    let bundle = ["run", "--silent", "bundle", "--", "--emptyOutDir", "--logLevel", "warn", "--outDir"];
    process::show(npm(&folder)?.args(bundle).arg(&made))?;
    compare(&made, &folder.join("dist"))?;
    process::show(npm(&folder)?.args(["run", "--silent", "budget"]))
}

/// Runs the tests of its modules.
pub(crate) fn test(workspace: &Workspace) -> Result<Count> {
    script(workspace, "test")
}

/// Runs the tests of its pages, in a browser before a made-up node.
pub(crate) fn pages(workspace: &Workspace) -> Result<Count> {
    script(workspace, "pages")
}

/// Runs the tests of its pages before the real program, which must have been built.
pub(crate) fn node(workspace: &Workspace) -> Result<Count> {
    let mut command = command(workspace, "node")?;
    command.env("KEEPWATCH_BIN", workspace.program("keepwatch"));
    take(command, "node")
}

/// Makes the pictures of the guide anew, by the same tests. No two are alike to the byte, so nothing else writes them.
pub(crate) fn screenshots(workspace: &Workspace) -> Result<()> {
    process::show(workspace.cargo().args(["build", "--release", "-p", "keepwatch"]))?;
    process::show(npm(&workspace.root.join("ui"))?.args(["ci", "--no-progress"]))?;
    let images = workspace.root.join("docs/guide/images");
    let mut command = command(workspace, "node")?;
    command.env("KEEPWATCH_BIN", workspace.program("keepwatch")).env("KEEPWATCH_SCREENSHOTS", &images);
    if take(command, "node")?.failed > 0 {
        bail!("not all pictures could be made");
    }
    println!("{}: look at each before it is committed", images.display());
    Ok(())
}

fn script(workspace: &Workspace, script: &str) -> Result<Count> {
    take(command(workspace, script)?, script)
}

fn command(workspace: &Workspace, script: &str) -> Result<Command> {
    let mut command = npm(&workspace.root.join("ui"))?;
    command.args(["run", "--silent", script]).env("NO_COLOR", "1");
    Ok(command)
}

/// Runs a script of tests and counts them.
fn take(mut command: Command, script: &str) -> Result<Count> {
    let finished = process::capture(&mut command, TESTS_LIMIT)?;
    let clean = finished.status.is_some_and(|status| status.success());
    if !clean {
        println!("{}", finished.output);
    }
    match (finished.status, count(&finished.output)) {
        (None, _) => bail!("`npm run {script}` still ran after {TESTS_LIMIT:?}"),
        (Some(_), Some(count)) if clean || count.failed > 0 => {
            println!("    {} passed, {} failed", count.passed, count.failed);
            Ok(count)
        }
        (Some(status), _) => bail!("`npm run {script}` ended with {status}"),
    }
}

/// npm, with a Node.js that is new enough before all others.
fn npm(folder: &Path) -> Result<Command> {
    let node = needs::node().context("no Node.js that is new enough")?;
    let mut command = Command::new("npm");
    if let Some(beside) = node.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let paths = std::iter::once(PathBuf::from(beside)).chain(std::env::split_paths(&path));
        command = Command::new(beside.join("npm"));
        command.env("PATH", std::env::join_paths(paths)?);
    }
    command.current_dir(folder);
    Ok(command)
}

/// The line `Tests  1 failed | 92 passed (93)` of vitest; `None` when there is none.
fn count(output: &str) -> Option<Count> {
    let line = output.lines().map(str::trim).rfind(|line| line.starts_with("Tests "))?;
    let number = |word: &str| -> u64 {
        let before = line.split('|').find_map(|part| part.split_once(word).map(|(before, _)| before));
        before.and_then(|text| text.split_whitespace().last()?.parse().ok()).unwrap_or(0)
    };
    Some(Count { passed: number(" passed"), failed: number(" failed") })
}

/// Refuses a committed build that differs from one just made.
fn compare(made: &Path, committed: &Path) -> Result<()> {
    let (made, committed) = (files(made)?, files(committed)?);
    let names: Vec<&String> = made.keys().chain(committed.keys()).collect();
    let mut differ: Vec<&String> =
        names.into_iter().filter(|name| made.get(*name) != committed.get(*name)).collect();
    differ.sort();
    differ.dedup();
    if differ.is_empty() {
        return Ok(());
    }
    let differ: Vec<&str> = differ.into_iter().map(String::as_str).collect();
    bail!(
        "ui/dist is not what its sources build to: {}; run `npm run build` in ui/ and commit it",
        differ.join(", ")
    )
}

/// All files below a folder, by their relative names.
fn files(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(inner) = open.pop() {
        for entry in fs::read_dir(&inner).with_context(|| inner.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder)?.to_string_lossy().into_owned();
                found.insert(name, fs::read(&path)?);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tests_of_the_console_are_counted() {
        assert_eq!(
            count(" Test Files  10 passed (10)\n      Tests  93 passed (93)\n"),
            Some(Count { passed: 93, failed: 0 })
        );
        assert_eq!(
            count("      Tests  2 failed | 91 passed | 1 skipped (94)\n"),
            Some(Count { passed: 91, failed: 2 })
        );
        assert_eq!(count("      Tests  2 failed (2)\n"), Some(Count { passed: 0, failed: 2 }));
        assert_eq!(count("error during build"), None);
    }

    #[test]
    fn a_build_that_differs_is_refused_by_the_names_of_its_files() {
        let (made, committed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for folder in [&made, &committed] {
            fs::create_dir(folder.path().join("assets")).unwrap();
            fs::write(folder.path().join("index.html"), "same").unwrap();
        }
        compare(made.path(), committed.path()).unwrap();
        fs::write(made.path().join("assets/a.js"), "1").unwrap();
        fs::write(committed.path().join("assets/b.js"), "1").unwrap();
        let error = compare(made.path(), committed.path()).unwrap_err().to_string();
        assert!(error.contains("assets/a.js, assets/b.js") && !error.contains("index.html"), "{error}");
    }
}
