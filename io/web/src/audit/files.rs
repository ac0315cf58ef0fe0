//! The files of the audit log: one for each month, read line by line with bounded memory.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use keepwatch_model::WallTime;

use super::entry::LINE_BYTES_MAX;

/// What follows year and month in the name of a file.
const SUFFIX: &str = ".jsonl";

/// The name of a file without its suffix: year and month, UTC. Ordered as time is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Month(String);

/// What stands in a file between two line feeds.
#[derive(Debug)]
pub(super) enum Line<'a> {
    /// A line that was written whole, without its line feed.
    Whole(&'a [u8]),
    /// The end of a file that has no line feed.
    Unfinished(&'a [u8]),
    /// More than any entry has.
    TooLong,
}

impl Month {
    /// The month of `at`.
    pub(super) fn of(at: WallTime) -> Self {
        // `Display` of a label is RFC 3339 with four digits of the year.
        Self(at.to_string().chars().take(7).collect())
    }

    /// Its file in `directory`.
    pub(super) fn path(&self, directory: &Path) -> PathBuf {
        directory.join(format!("{}{SUFFIX}", self.0))
    }

    fn of_file(name: &str) -> Option<Self> {
        let month = name.strip_suffix(SUFFIX)?;
        let formed = month.len() == 7
            && month.bytes().enumerate().all(
                |(place, byte)| {
                    if place == 4 { byte == b'-' } else { byte.is_ascii_digit() }
                },
            );
        formed.then(|| Self(month.to_owned()))
    }
}

/// The months that have a file in `directory`, in order; none when it is not there.
pub(super) fn months(directory: &Path) -> io::Result<Vec<Month>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut months = Vec::new();
    for entry in entries {
        months.extend(entry?.file_name().to_str().and_then(Month::of_file));
    }
    months.sort_unstable();
    Ok(months)
}

/// Shows each line of the file at `path` to `look`, with its number from 1, until that breaks.
pub(super) fn read_lines<B>(
    path: &Path,
    mut look: impl FnMut(u64, Line<'_>) -> ControlFlow<B>,
) -> io::Result<ControlFlow<B>> {
    let mut file = BufReader::new(File::open(path)?);
    let mut line = Vec::new();
    let mut number = 0_u64;
    loop {
        line.clear();
        number = number.saturating_add(1);
        if file.by_ref().take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line)? == 0 {
            return Ok(ControlFlow::Continue(()));
        }
        let flow = match line.strip_suffix(b"\n") {
            Some(whole) => look(number, Line::Whole(whole)),
            None if line.len() > LINE_BYTES_MAX => {
                file.skip_until(b'\n')?;
                look(number, Line::TooLong)
            }
            None => look(number, Line::Unfinished(&line)),
        };
        if flow.is_break() {
            return Ok(flow);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_months_count_and_in_order() {
        let directory = tempfile::tempdir().unwrap();
        for name in
            ["2026-11.jsonl", "2025-12.jsonl", "2026-11.jsonl~", "notes", "2026-1x.jsonl", "20260-1.jsonl"]
        {
            fs::write(directory.path().join(name), "").unwrap();
        }
        let found = months(directory.path()).unwrap();
        assert_eq!(found, [Month("2025-12".to_owned()), Month("2026-11".to_owned())]);
        assert!(months(&directory.path().join("none")).unwrap().is_empty());
        assert_eq!(Month::of("2026-11-22T05:00:00Z".parse().unwrap()), found[1]);
    }

    #[test]
    fn lines_are_bounded_and_an_unfinished_one_is_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let long = "x".repeat(3 * LINE_BYTES_MAX);
        let longest = "y".repeat(LINE_BYTES_MAX);
        fs::write(file.path(), format!("one\n{long}\n{longest}\nend")).unwrap();
        let mut seen = Vec::new();
        let flow = read_lines::<()>(file.path(), |number, line| {
            seen.push(match line {
                Line::Whole(text) => format!("{number} whole {}", text.len()),
                Line::Unfinished(text) => format!("{number} unfinished {}", text.len()),
                Line::TooLong => format!("{number} too long"),
            });
            ControlFlow::Continue(())
        });
        assert!(flow.unwrap().is_continue());
        assert_eq!(seen, ["1 whole 3", "2 too long", &format!("3 whole {LINE_BYTES_MAX}"), "4 unfinished 3"]);
    }
}
