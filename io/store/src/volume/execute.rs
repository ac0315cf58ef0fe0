//! Carrying out a plan on a device: the only place that writes footage.
//!
//! Order: trailers and headers, flush, records, flush. A header must be durable before the first record behind it,
//! or a crash could leave records of the next use under the header and trailer of the last. A trailer covers only
//! records that an earlier round made durable.

use std::io::{self, IoSlice};

use keepwatch_iscsi::Write;

use super::{Plan, plan::spans_of, trailer};
use crate::device::{AlignedBuffer, BlockDev};
use crate::format::{BLOCK, BLOCK_BYTES, Superblock};

/// Writes what `plan` says and returns when all of it is durable.
pub(crate) fn execute(superblock: &Superblock, device: &dyn BlockDev, plan: &mut Plan) -> io::Result<()> {
    for given_up in plan.given_up.iter_mut().filter(|given_up| given_up.spans.is_none()) {
        // Best effort, for the report: an unreadable trailer leaves the hull.
        let entries = trailer(device, superblock, given_up.extent, given_up.sequence);
        given_up.spans = entries.ok().flatten().map(|entries| spans_of(&entries));
    }
    let blocks: Vec<Write<'_>> = (plan.blocks.iter())
        .map(|(offset_bytes, block)| Write { offset_bytes: *offset_bytes, parts: vec![IoSlice::new(block)] })
        .collect();
    if !blocks.is_empty() {
        device.write_durably(&blocks)?;
    }
    let records: Vec<Write<'_>> = (plan.placed.iter())
        .map(|placed| Write { offset_bytes: placed.offset_bytes, parts: placed.job.parts() })
        .collect();
    if !records.is_empty() {
        device.write_durably(&records)?;
    }
    Ok(())
}

/// The kind of the error of a disk that said to have written, and has not; no system call has it.
pub(crate) const LIED: io::ErrorKind = io::ErrorKind::InvalidData;

/// Reads back the head of the record that `plan` wrote last, past the cache: a disk may say that it has written, and not have.
pub(crate) fn read_back(device: &dyn BlockDev, plan: &Plan) -> io::Result<()> {
    let Some(placed) = plan.placed.last() else { return Ok(()) };
    let mut head = AlignedBuffer::zeroed(BLOCK_BYTES);
    device.forget_cached(placed.offset_bytes, BLOCK);
    device.read_at(placed.offset_bytes, &mut head)?;
    if placed.job.head.get(..BLOCK_BYTES) == Some(&head[..]) {
        return Ok(());
    }
    Err(io::Error::new(LIED, "what it said to have written reads back as something else"))
}
