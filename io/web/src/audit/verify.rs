//! `keepwatch audit verify`: walks the whole chain and says where it breaks first.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use keepwatch_model::WallTime;
use serde::Serialize;

use super::entry::Entry;
use super::files::{Line, months, read_lines};
use super::{AuditError, DIRECTORY, Head};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AuditReport {
    /// Entries that are whole and in their place, from the first on.
    pub entries: u64,
    /// When the last of them was made; `None` when there is none.
    pub until: Option<WallTime>,
    /// Where the chain breaks first, and how; `None` when it does not.
    pub fault: Option<String>,
    /// Bytes behind the last whole line: of an entry that is being written, or was when the node died.
    pub unfinished_bytes: u64,
}

/// Verifies the log in the data directory `data`. `heads` are the ends of the chain that were told elsewhere, and when: one
/// that is not in the log means that its end was cut off, or all of it replaced. Blocks.
pub fn verify(data: &Path, heads: &[(WallTime, Head)]) -> Result<AuditReport, AuditError> {
    let directory = data.join(DIRECTORY);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| AuditError::File { path, source }
    };
    let mut wanted: BTreeMap<u64, Vec<&(WallTime, Head)>> = BTreeMap::new();
    for told in heads {
        wanted.entry(told.1.seq).or_default().push(told);
    }
    let mut report = AuditReport::default();
    let mut head = Head::BEFORE_ALL;
    let months = months(&directory).map_err(failed(&directory))?;
    for (position, month) in months.iter().enumerate() {
        let path = month.path(&directory);
        let is_last = position.saturating_add(1) == months.len();
        let shown = path.display().to_string();
        let flow = read_lines(&path, |number, line| {
            let line = match line {
                Line::Whole(line) => line,
                Line::Unfinished(rest) if is_last => {
                    report.unfinished_bytes = rest.len() as u64;
                    return ControlFlow::Continue(());
                }
                Line::Unfinished(rest) => rest,
                Line::TooLong => &[],
            };
            let read = Entry::read(line).and_then(|(entry, hash)| {
                entry.follows(head)?;
                Ok((Head { seq: entry.seq, hash }, entry.at))
            });
            match read {
                Ok((next, at)) => {
                    head = next;
                    report.entries = next.seq;
                    report.until = Some(at);
                }
                Err(error) => return ControlFlow::Break(format!("{shown}, line {number}: {error}")),
            }
            for (told, other) in wanted.remove(&head.seq).into_iter().flatten() {
                if *other != head {
                    return ControlFlow::Break(format!(
                        "{shown}, line {number}: entry {} is not the one that the event log told of at {told}; it \
                         or one before it was replaced",
                        head.seq
                    ));
                }
            }
            ControlFlow::Continue(())
        });
        if let ControlFlow::Break(fault) = flow.map_err(failed(&path))? {
            report.fault = Some(fault);
            return Ok(report);
        }
    }
    let missing = wanted.into_iter().next_back().and_then(|(seq, told)| Some((seq, told.first()?.0)));
    if let Some((seq, at)) = missing.filter(|(seq, _)| *seq > head.seq) {
        report.fault = Some(format!(
            "the log ends at entry {}, and at {at} the event log told of entry {seq}: the end was cut off",
            head.seq
        ));
    }
    Ok(report)
}
