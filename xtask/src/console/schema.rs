//! The console's types of the API: `ui/src/api/schema.d.ts`, generated from what the program says of itself.
//!
//! It is committed, so that the console is built without the program; a file that does not fit the program is found here.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::npm;
use crate::process;
use crate::workspace::Workspace;

/// Longest that the program may take to describe itself.
const DESCRIBE_LIMIT: Duration = Duration::from_secs(20);

/// Builds the program and writes the types anew.
pub(crate) fn write(workspace: &Workspace) -> Result<()> {
    process::show(workspace.cargo().args(["build", "--release", "--package", "keepwatch"]))?;
    process::show(npm(&workspace.root.join("ui"))?.args(["ci", "--no-progress"]))?;
    let committed = committed(workspace);
    fs::write(&committed, generate(workspace)?).with_context(|| committed.display().to_string())
}

/// Refuses types that are not those of the program, which must have been built.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let committed = committed(workspace);
    let held = fs::read_to_string(&committed).with_context(|| committed.display().to_string())?;
    compare(&generate(workspace)?, &held)
}

fn compare(generated: &str, committed: &str) -> Result<()> {
    let (mut expected, mut held) = (generated.lines(), committed.lines());
    let mut number = 0;
    loop {
        number += 1;
        match (expected.next(), held.next()) {
            (None, None) => return Ok(()),
            (expected, held) if expected == held => {}
            (expected, held) => bail!(
                "ui/src/api/schema.d.ts is not what the program says of its API: line {number} is {:?} and should be {:?}; \
                 run `cargo xtask schema` and commit it",
                held.unwrap_or("missing"),
                expected.unwrap_or("missing"),
            ),
        }
    }
}

fn generate(workspace: &Workspace) -> Result<String> {
    let folder = workspace.metadata.target_directory.as_std_path();
    let (description, types) = (folder.join("openapi.json"), folder.join("schema.d.ts"));
    let mut command = Command::new(workspace.program("keepwatch"));
    let finished = process::capture(command.arg("openapi"), DESCRIBE_LIMIT)?;
    if !finished.status.is_some_and(|status| status.success()) {
        bail!("`keepwatch openapi` ended badly: {}", finished.output);
    }
    fs::write(&description, finished.output)?;
    let mut command = npm(&workspace.root.join("ui"))?;
    command.args(["run", "--silent", "schema", "--"]).arg(&description).arg("--output").arg(&types);
    process::show(&mut command)?;
    fs::read_to_string(&types).with_context(|| types.display().to_string())
}

fn committed(workspace: &Workspace) -> PathBuf {
    workspace.root.join("ui/src/api/schema.d.ts")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_are_not_those_of_the_program_are_refused_by_their_first_line() {
        compare("a\nb\n", "a\nb\n").unwrap();
        let told = |generated, committed| compare(generated, committed).unwrap_err().to_string();
        let error = told("a\nb: string;\n", "a\nb: number;\n");
        assert!(
            error.contains("line 2") && error.contains("b: number;") && error.contains("xtask schema"),
            "{error}"
        );
        assert!(told("a\nb\n", "a\n").contains("line 2 is \"missing\""));
        assert!(told("a\n", "a\nb\n").contains("should be \"missing\""));
    }
}
