//! What is wrong with a configuration file, in the words and the places that an operator can act on.

use std::fmt;
use std::ops::Range;
use std::path::Path;

/// Most problems that are kept: a file of another program would give one for every line.
const PROBLEMS_MAX: usize = 100;

/// Whether a configuration can be used all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Grade {
    /// It cannot.
    Error,
    /// It can, but probably should not.
    Warning,
}

/// One thing wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Byte offset in the file; `None` when it is about the file as a whole.
    pub(crate) offset: Option<usize>,
    /// How bad.
    pub(crate) grade: Grade,
    /// What is wrong.
    pub(crate) what: String,
    /// What to do.
    pub(crate) remedy: String,
}

/// All that is wrong with one file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    text: String,
    problems: Vec<Problem>,
}

impl Report {
    /// Nothing is wrong yet with the file that holds `text`.
    pub(crate) const fn new(text: String) -> Self {
        Self { text, problems: Vec::new() }
    }

    /// The file cannot be used because of what stands at `span`; an empty one is a default that stands nowhere.
    pub(crate) fn error(&mut self, span: Range<usize>, what: impl Into<String>, remedy: impl Into<String>) {
        self.add((!span.is_empty()).then_some(span.start), Grade::Error, what.into(), remedy.into());
    }

    /// What stands at `span` should be changed.
    pub(crate) fn warning(&mut self, span: Range<usize>, what: impl Into<String>, remedy: impl Into<String>) {
        self.add((!span.is_empty()).then_some(span.start), Grade::Warning, what.into(), remedy.into());
    }

    /// The text of the file cannot be read on from `offset`.
    pub(crate) fn error_at(&mut self, offset: usize, what: impl Into<String>, remedy: impl Into<String>) {
        self.add(Some(offset), Grade::Error, what.into(), remedy.into());
    }

    /// The file as a whole cannot be used.
    pub(crate) fn error_of_file(&mut self, what: impl Into<String>, remedy: impl Into<String>) {
        self.add(None, Grade::Error, what.into(), remedy.into());
    }

    /// The file as a whole lacks something that it probably should have.
    pub(crate) fn warning_of_file(&mut self, what: impl Into<String>, remedy: impl Into<String>) {
        self.add(None, Grade::Warning, what.into(), remedy.into());
    }

    /// Whether the file cannot be used.
    pub(crate) fn failed(&self) -> bool {
        self.problems.iter().any(|problem| problem.grade == Grade::Error)
    }

    /// Whether nothing at all is wrong.
    pub(crate) const fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// The line of `offset`, from 1.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.place(offset).0
    }

    /// Line and column in characters, both from 1.
    fn place(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |position| position + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        (line, before.get(line_start..).unwrap_or_default().chars().count() + 1)
    }

    fn add(&mut self, offset: Option<usize>, grade: Grade, what: String, remedy: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem { offset, grade, what, remedy });
        }
    }

    /// Everything that is wrong, a line each, in the order of the file.
    pub(crate) fn show<'a>(&'a self, path: &'a Path) -> impl fmt::Display + 'a {
        Shown { report: self, path }
    }
}

struct Shown<'a> {
    report: &'a Report,
    path: &'a Path,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut problems: Vec<&Problem> = self.report.problems.iter().collect();
        problems.sort_by_key(|problem| problem.offset);
        for (position, Problem { offset, grade, what, remedy }) in problems.into_iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}:", self.path.display())?;
            if let Some(offset) = offset {
                let (line, column) = self.report.place(*offset);
                write!(f, "{line}:{column}:")?;
            }
            let grade = match grade {
                Grade::Error => "",
                Grade::Warning => " warning:",
            };
            write!(f, "{grade} {what}; {remedy}")?;
        }
        if self.report.problems.len() == PROBLEMS_MAX {
            write!(f, "\n{}: there may be more problems; put these right first", self.path.display())?;
        }
        Ok(())
    }
}
