//! What processes cost: CPU time and memory, as the kernel counts them (proc(5)).

use std::path::Path;

use anyhow::{Context, Result};

/// CPU seconds that the processes have used, user and system, with the children that they have waited for.
pub(super) fn cpu_seconds(ids: &[u32]) -> Result<f64> {
    let mut ticks = 0;
    for id in ids {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).context("it has ended early")?;
        ticks += cpu_ticks(&stat).with_context(|| format!("/proc/{id}/stat is not understood"))?;
    }
    // Linux has reported 100 ticks a second to user space on every architecture for two decades.
    Ok(ticks as f64 / 100.0)
}

/// utime, stime, cutime and cstime of a line of stat, which holds a name in parentheses with anything in it.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after.split_whitespace().collect();
    // Field 14 of the whole line is the 12th behind the name.
    fields.get(11..15)?.iter().map(|field| field.parse::<u64>().ok()).sum()
}

/// Bytes of memory of the processes: pages that several share are divided among them.
pub(super) fn memory_bytes(ids: &[u32]) -> Result<u64> {
    let mut sum = 0;
    for id in ids {
        let rollup =
            std::fs::read_to_string(format!("/proc/{id}/smaps_rollup")).context("it has ended early")?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        sum += 1024 * number.with_context(|| format!("/proc/{id}/smaps_rollup has no Pss"))?;
    }
    Ok(sum)
}

/// Bytes of all files below a folder.
pub(super) fn folder_bytes(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.metadata()?;
        sum += if kind.is_dir() { folder_bytes(&entry.path())? } else { kind.len() };
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_of_children_counts_and_a_strange_name_does_no_harm() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 1 0 5 6 7";
        assert_eq!(cpu_ticks(stat), Some(127));
        assert_eq!(cpu_ticks("42 (a) S 1"), None);
        assert!(cpu_seconds(&[std::process::id()]).unwrap() >= 0.0);
        assert!(memory_bytes(&[std::process::id()]).unwrap() > 0);
    }
}
