//! `cargo xtask tidy`: the rules of this repository that no compiler knows.
//!
//! Every rule returns what breaks it, with file and line; nothing is repaired here. Rules read the sources as
//! text, so that they need no build and take about a second.

mod documents;
mod layers;
mod sources;

use std::fmt;

use anyhow::{Result, bail};

use crate::workspace::Workspace;

/// One place that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
struct Problem {
    /// The file, relative to the root.
    file: String,
    /// Its line from 1; 0 when it is about the whole file.
    line: usize,
    /// The rule and what to do.
    text: String,
}

impl Problem {
    fn new(file: &str, line: usize, text: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, text: text.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.text),
            line => write!(f, "{}:{line}: {}", self.file, self.text),
        }
    }
}

/// Checks every rule and prints what breaks one.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let texts = Texts::read(workspace)?;
    let mut problems = layers::check(workspace);
    problems.extend(sources::check(&texts));
    problems.extend(documents::check(workspace, &texts));
    for problem in &problems {
        println!("{problem}");
    }
    if !problems.is_empty() {
        bail!("{} places break a rule of the repository", problems.len());
    }
    Ok(())
}

/// All text files of the repository. Others, such as captures and disk images, have no rules.
struct Texts(Vec<(String, String)>);

impl Texts {
    fn read(workspace: &Workspace) -> Result<Self> {
        let mut texts = Vec::new();
        for name in workspace.files()? {
            if let Ok(text) = String::from_utf8(std::fs::read(workspace.root.join(&name))?)
                && !text.contains('\0')
            {
                texts.push((name, text));
            }
        }
        Ok(Self(texts))
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.iter().find(|(other, _)| *other == name).map(|(_, text)| text)
    }
}
