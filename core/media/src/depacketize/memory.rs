//! The buffer in which a sample is put together: reused for every sample, and given back after a rare large one.

/// How many samples must have been small before the memory of a large one is given back.
const SHRINK_AFTER_SAMPLES: u32 = 256;

/// A buffer up to this size is never given back.
const KEPT_BYTES: usize = 256 * 1024;

/// Bytes of the sample at hand.
#[derive(Debug, Default)]
pub(super) struct SampleMemory {
    bytes: Vec<u8>,
    small_samples: u32,
    largest_small: usize,
}

impl SampleMemory {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// The buffer itself, for headers to be written to.
    pub(super) fn vec_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// The sample was handed over: empties the buffer, and gives back the memory of a rare large one.
    pub(super) fn sent(&mut self) {
        let length = self.bytes.len();
        self.bytes.clear();
        if self.bytes.capacity() <= KEPT_BYTES || length > self.bytes.capacity() / 4 {
            (self.small_samples, self.largest_small) = (0, 0);
            return;
        }
        self.small_samples += 1;
        self.largest_small = self.largest_small.max(length);
        if self.small_samples >= SHRINK_AFTER_SAMPLES {
            self.bytes.shrink_to(self.largest_small.max(KEPT_BYTES));
            (self.small_samples, self.largest_small) = (0, 0);
        }
    }
}
