//! What a caller leaves for the thread of a LUN, and how it hears of the end.
//!
//! A caller waits until its job has ended, always; so the memory that a job points to is there for as long as the job is. A
//! job that is dropped has ended: no caller waits for a thread that is gone.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::ffi::Piece;
use crate::options::{Owner, Preempt, Reserved};
use crate::scsi::Cdb;
use crate::session::{Direction, Request};
use crate::worker::Facts;
use crate::{LunError, Write};

/// What is to be done.
pub(crate) enum Work {
    /// Connect and look what is there.
    Open,
    /// Commands that may be sent in any order, and again.
    Transfer(Transfer),
    /// Reserve the LUN.
    Reserve(Owner, Preempt),
    /// Give the reservation up.
    Release,
}

/// Reads, or writes, and a flush behind them.
#[derive(Default)]
pub(crate) struct Transfer {
    pub(crate) commands: Vec<Piecewise>,
    pub(crate) direction: Way,
    pub(crate) flush: bool,
}

/// Whether something is read or written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Way {
    Read,
    #[default]
    Write,
}

/// One command of a transfer; it can be sent as often as is needed.
pub(crate) struct Piecewise {
    pub(crate) block: u64,
    pub(crate) blocks: u32,
    pub(crate) pieces: Vec<Piece>,
}

// SAFETY: the pieces point to memory of the caller, who waits until the job has ended.
#[expect(unsafe_code, reason = "carries pointers to the thread of the LUN")]
unsafe impl Send for Piecewise {}

impl Piecewise {
    /// The command to send.
    pub(crate) fn request(&self, way: Way) -> Request {
        let (cdb, direction) = match way {
            Way::Read => (Cdb::read(self.block, self.blocks), Direction::Read),
            Way::Write => (Cdb::write(self.block, self.blocks), Direction::Write),
        };
        Request { cdb, direction, pieces: self.pieces.clone().into_boxed_slice() }
    }
}

/// What a job brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Done,
    Opened(Facts),
    Reserved(Reserved),
}

/// Where a caller waits.
#[derive(Default)]
pub(crate) struct Ending {
    result: Mutex<Option<Result<Reply, LunError>>>,
    told: Condvar,
}

impl Ending {
    /// Waits for the end.
    pub(crate) fn wait(&self) -> Result<Reply, LunError> {
        let mut result = self.result.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match result.take() {
                Some(result) => return result,
                None => result = self.told.wait(result).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn tell(&self, told: Result<Reply, LunError>) {
        self.result.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(told);
        self.told.notify_all();
    }
}

/// Something to do, for the thread.
pub(crate) struct Job {
    pub(crate) work: Work,
    ending: Arc<Ending>,
}

impl Job {
    pub(crate) fn new(work: Work) -> (Self, Arc<Ending>) {
        let ending = Arc::new(Ending::default());
        (Self { work, ending: Arc::clone(&ending) }, ending)
    }

    /// Ends it.
    pub(crate) fn end(self, result: Result<Reply, LunError>) {
        self.ending.tell(result);
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // Does nothing to one that was ended.
        self.ending.tell(Err(LunError::Closed));
    }
}

/// Cuts writes into commands of at most `transfer_bytes`. Parts of zero bytes are passed over.
///
/// # Errors
/// When one is not of whole blocks, or lies beyond the end.
pub(crate) fn cut_writes(writes: &[Write<'_>], facts: &Facts) -> Result<Vec<Piecewise>, LunError> {
    let mut commands = Vec::new();
    for write in writes {
        let bytes: usize = write.parts.iter().map(|part| part.len()).sum();
        let pieces =
            write.parts.iter().map(|part| Piece { base: part.as_ptr().cast_mut().cast(), bytes: part.len() });
        cut(write.offset_bytes, bytes, pieces, facts, &mut commands)?;
    }
    Ok(commands)
}

/// Cuts a read into commands.
///
/// # Errors
/// When it is not of whole blocks, or lies beyond the end.
pub(crate) fn cut_read(
    offset_bytes: u64,
    buffer: &mut [u8],
    facts: &Facts,
) -> Result<Vec<Piecewise>, LunError> {
    let mut commands = Vec::new();
    let piece = Piece { base: buffer.as_mut_ptr().cast(), bytes: buffer.len() };
    cut(offset_bytes, buffer.len(), std::iter::once(piece), facts, &mut commands)?;
    Ok(commands)
}

fn cut(
    offset_bytes: u64,
    bytes: usize,
    pieces: impl Iterator<Item = Piece>,
    facts: &Facts,
    commands: &mut Vec<Piecewise>,
) -> Result<(), LunError> {
    let block = u64::from(facts.block_bytes);
    let range = LunError::Range { offset_bytes, bytes: bytes as u64 };
    let end = offset_bytes.checked_add(bytes as u64).ok_or_else(|| range.clone())?;
    if end > facts.size_bytes || !offset_bytes.is_multiple_of(block) || !(bytes as u64).is_multiple_of(block)
    {
        return Err(range);
    }
    let most = facts.transfer_bytes as usize;
    let mut at = offset_bytes;
    let mut open: (Vec<Piece>, usize) = (Vec::new(), 0);
    let mut close = |open: &mut (Vec<Piece>, usize), at: &mut u64| {
        let (pieces, bytes) = std::mem::take(open);
        if bytes > 0 {
            let blocks = u32::try_from(bytes as u64 / block).expect("at most a transfer");
            commands.push(Piecewise { block: *at / block, blocks, pieces });
            *at += bytes as u64;
        }
    };
    for mut piece in pieces {
        while piece.bytes > 0 {
            let taken = piece.bytes.min(most - open.1);
            open.0.push(Piece { base: piece.base, bytes: taken });
            open.1 += taken;
            // Stays within the part, or one behind its end.
            piece = Piece { base: piece.base.wrapping_byte_add(taken), bytes: piece.bytes - taken };
            if open.1 == most {
                close(&mut open, &mut at);
            }
        }
    }
    close(&mut open, &mut at);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use super::*;

    const FACTS: Facts = Facts { size_bytes: 1 << 20, block_bytes: 512, transfer_bytes: 4096 };

    #[test]
    fn a_write_is_cut_into_transfers_whatever_its_parts() {
        let data = vec![7_u8; 10_240];
        let parts = [&data[..1000], &data[1000..1000], &data[1000..9000], &data[9000..]];
        let write = Write { offset_bytes: 8192, parts: parts.into_iter().map(IoSlice::new).collect() };
        let cut = cut_writes(&[write], &FACTS).unwrap();
        let places: Vec<_> = cut.iter().map(|command| (command.block, command.blocks)).collect();
        assert_eq!(places, [(16, 8), (24, 8), (32, 4)]);
        let pieces: Vec<Vec<usize>> =
            cut.iter().map(|command| command.pieces.iter().map(|piece| piece.bytes).collect()).collect();
        assert_eq!(pieces, [vec![1000, 3096], vec![4096], vec![808, 1240]]);
        assert_eq!(cut[1].pieces[0].base.addr(), data.as_ptr().addr() + 4096);
    }

    #[test]
    fn what_lies_beyond_the_end_or_in_half_a_block_is_refused() {
        let mut buffer = vec![0; 4096];
        for (offset_bytes, bytes) in
            [(1 << 20, 512), ((1 << 20) - 512, 1024), (u64::MAX, 512), (100, 512), (0, 100)]
        {
            let refused = cut_read(offset_bytes, &mut buffer[..bytes], &FACTS);
            assert_eq!(refused.map(|_| ()), Err(LunError::Range { offset_bytes, bytes: bytes as u64 }));
        }
        assert_eq!(cut_read((1 << 20) - 512, &mut buffer[..512], &FACTS).unwrap().len(), 1);
    }

    #[test]
    fn a_job_that_is_dropped_has_ended() {
        let (job, ending) = Job::new(Work::Release);
        drop(job);
        assert_eq!(ending.wait(), Err(LunError::Closed));
        let (job, ending) = Job::new(Work::Release);
        job.end(Ok(Reply::Done));
        assert_eq!(ending.wait(), Ok(Reply::Done));
    }
}
