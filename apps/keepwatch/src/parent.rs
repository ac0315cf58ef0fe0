//! Ends this process with the one that started it, also when that one is killed.

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// Asks the kernel to kill this process when its parent, which must be the process `parent`, ends
/// (PR_SET_PDEATHSIG, prctl(2)). Without a `parent` nothing is asked.
pub(crate) fn end_with(parent: Option<u32>) -> anyhow::Result<()> {
    let Some(parent) = parent else { return Ok(()) };
    set_parent_process_death_signal(Some(Signal::KILL)).context("the end of the parent cannot be watched")?;
    // It may have ended before the kernel was asked; then this process has another parent.
    let present = getppid().map(Pid::as_raw_nonzero).and_then(|pid| u32::try_from(pid.get()).ok());
    if present != Some(parent) {
        bail!("the process {parent} that started this one has ended");
    }
    Ok(())
}
