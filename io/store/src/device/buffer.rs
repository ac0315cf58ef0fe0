//! Memory aligned for direct writes.

use std::ops::{Deref, DerefMut};

use crate::format::BLOCK_BYTES;

#[derive(Clone, Copy)]
#[repr(C, align(4096))]
struct Block([u8; BLOCK_BYTES]);

/// Zeroed bytes that begin at a multiple of the block size.
#[derive(Clone)]
pub(crate) struct AlignedBuffer {
    blocks: Vec<Block>,
    bytes: usize,
}

impl AlignedBuffer {
    /// A buffer of `bytes` zeros.
    pub(crate) fn zeroed(bytes: usize) -> Self {
        Self { blocks: vec![Block([0; BLOCK_BYTES]); bytes.div_ceil(BLOCK_BYTES)], bytes }
    }
}

impl std::fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.bytes)
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    #[expect(unsafe_code, reason = "views blocks as the bytes they are made of")]
    fn deref(&self) -> &[u8] {
        // SAFETY: a Block is 4096 initialised bytes without padding, and `bytes` lies within the blocks.
        unsafe { std::slice::from_raw_parts(self.blocks.as_ptr().cast(), self.bytes) }
    }
}

impl DerefMut for AlignedBuffer {
    #[expect(unsafe_code, reason = "views blocks as the bytes they are made of")]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; the borrow of self is unique.
        unsafe { std::slice::from_raw_parts_mut(self.blocks.as_mut_ptr().cast(), self.bytes) }
    }
}
