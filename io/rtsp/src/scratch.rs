//! One large buffer per thread, shared by all connections of that thread.
//!
//! A connection needs much room for the moment of a read or a write and almost none between: with a buffer per
//! thread the room is paid once and stays in the processor's cache.

use std::cell::RefCell;

/// Room for a tick's worth of a fast camera (32 Mbit/s for 100 ms is 400 kB), and for the longest message that
/// framing accepts beside it.
pub(crate) const SCRATCH_BYTES: usize = 1024 * 1024;

thread_local! {
    static READ: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static WRITE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Lends the thread's read buffer, [`SCRATCH_BYTES`] long, with arbitrary content.
///
/// The buffer is taken out while lent, so a nested call is safe; it pays for a buffer of its own.
pub(crate) fn with_read<R>(use_buffer: impl FnOnce(&mut [u8]) -> R) -> R {
    let mut buffer = READ.take();
    buffer.resize(SCRATCH_BYTES, 0);
    let result = use_buffer(&mut buffer);
    READ.set(buffer);
    result
}

/// Lends the thread's write buffer, empty.
pub(crate) fn with_write<R>(use_buffer: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut buffer = WRITE.take();
    buffer.clear();
    let result = use_buffer(&mut buffer);
    // One absurdly large access unit must not hold its room for ever.
    if buffer.capacity() <= 4 * SCRATCH_BYTES {
        WRITE.set(buffer);
    }
    result
}
