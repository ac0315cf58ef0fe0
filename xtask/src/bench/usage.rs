//! What processes cost, by the kernel's own books in `/proc`.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// Processor time and memory of some processes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// User and system time since they began, in seconds.
    pub(crate) cpu_s: f64,
    /// Resident memory in megabytes of 10^6 bytes; what several processes share is counted once, in parts (PSS).
    pub(crate) rss_mb: f64,
}

impl Usage {
    /// Of the processes with these ids, added up.
    pub(crate) fn of(ids: &[u32]) -> Result<Self> {
        let mut sum = Self::default();
        for id in ids {
            let folder = Path::new("/proc").join(id.to_string());
            let stat =
                std::fs::read_to_string(folder.join("stat")).with_context(|| format!("process {id}"))?;
            // The name in parentheses may hold anything; what follows it is numbers (proc(5)).
            let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
            let ticks =
                |field: usize| fields.get(field).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
            sum.cpu_s += (ticks(11) + ticks(12)) / TICKS_PER_SECOND;
            let memory = std::fs::read_to_string(folder.join("smaps_rollup"))?;
            let kib = memory.lines().find_map(|line| line.strip_prefix("Pss:")?.split_whitespace().next());
            sum.rss_mb += kib.and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) * 1_024.0 / 1e6;
        }
        Ok(sum)
    }
}

/// Processes that ran or waited to run during the last minute, on average.
pub(crate) fn load_average() -> Result<Value> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    let minute = text.split_whitespace().next().and_then(|word| word.parse::<f64>().ok());
    Ok(minute.map_or(Value::Null, Value::from))
}

/// `sysconf(_SC_CLK_TCK)` on every Linux this runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Bytes of all files below `folder`.
pub(crate) fn bytes_below(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        bytes += if kind.is_dir() { bytes_below(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}
