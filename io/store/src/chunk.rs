//! The memory of footage on its way to disk: chunks from a pool with a hard cap.
//!
//! Chunks are mapped, not taken from the heap, so that memory goes back to the system after a burst. What was not
//! needed for a whole trimming interval is unmapped.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Record;
use crate::format::BLOCK_BYTES;

/// Bytes of a track's first chunk: two seconds of G.711, so that audio does not take a large one.
const SMALL_BYTES: usize = 16 << 10;
/// Bytes of the other chunks: few enough parts per write, little waste at a record's end.
const LARGE_BYTES: usize = 64 << 10;

/// Gives out chunks.
pub(crate) struct Pool {
    cap_bytes: AtomicU64,
    lent_bytes: AtomicU64,
    spare: Mutex<[Spare; 2]>,
}

#[derive(Default)]
struct Spare {
    chunks: Vec<Mapping>,
    /// The fewest spare chunks since the last trim: that many nobody needed.
    fewest: usize,
}

impl Pool {
    pub(crate) fn new(cap_bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            cap_bytes: AtomicU64::new(cap_bytes),
            lent_bytes: AtomicU64::new(0),
            spare: Mutex::default(),
        })
    }

    /// Bytes given out.
    pub(crate) fn lent_bytes(&self) -> u64 {
        self.lent_bytes.load(Ordering::Relaxed)
    }

    /// Bytes that may be given out.
    pub(crate) fn cap_bytes(&self) -> u64 {
        self.cap_bytes.load(Ordering::Relaxed)
    }

    /// Changes how many bytes may be given out; what is out stays out.
    pub(crate) fn set_cap_bytes(&self, cap_bytes: u64) {
        self.cap_bytes.store(cap_bytes, Ordering::Relaxed);
    }

    /// An empty chunk; `None` when the cap is reached or the system has no memory.
    pub(crate) fn take(self: &Arc<Self>, small: bool) -> Option<Chunk> {
        let bytes = if small { SMALL_BYTES } else { LARGE_BYTES };
        let before = self.lent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let mapping =
            if before + bytes as u64 > self.cap_bytes() { None } else { self.spare_or_new(small, bytes) };
        match mapping {
            Some(mapping) => Some(Chunk { mapping: Some(mapping), used: 0, pool: Arc::clone(self) }),
            None => {
                self.lent_bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
                None
            }
        }
    }

    /// Counts `bytes` of memory that is not the pool's, until the result is dropped; `None` when the cap is reached.
    fn count(self: &Arc<Self>, bytes: u64) -> Option<Counted> {
        let before = self.lent_bytes.fetch_add(bytes, Ordering::Relaxed);
        let counted = Counted { bytes, pool: Arc::clone(self) };
        (before + bytes <= self.cap_bytes()).then_some(counted)
    }

    fn spare_or_new(&self, small: bool, bytes: usize) -> Option<Mapping> {
        {
            let mut spare = self.lock();
            let spare = &mut spare[usize::from(small)];
            if let Some(mapping) = spare.chunks.pop() {
                spare.fewest = spare.fewest.min(spare.chunks.len());
                return Some(mapping);
            }
        }
        Mapping::new(bytes)
    }

    /// Unmaps what nobody needed since the last call; called every few seconds.
    pub(crate) fn trim(&self) {
        let mut unneeded = Vec::new();
        for spare in self.lock().iter_mut() {
            let kept = spare.chunks.len().saturating_sub(spare.fewest);
            unneeded.extend(spare.chunks.drain(kept..));
            spare.fewest = spare.chunks.len();
        }
        drop(unneeded); // Unmapped outside the lock.
    }

    fn give_back(&self, mapping: Mapping) {
        let bytes = mapping.bytes;
        self.lock()[usize::from(bytes == SMALL_BYTES)].chunks.push(mapping);
        self.lent_bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, [Spare; 2]> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A piece of a track's data; goes back to the pool when dropped.
pub(crate) struct Chunk {
    /// Present until dropped.
    mapping: Option<Mapping>,
    used: usize,
    pool: Arc<Pool>,
}

impl Chunk {
    /// Bytes that can still be appended.
    pub(crate) fn room(&self) -> usize {
        self.mapping().bytes - self.used
    }

    /// Appends as much of `data` as there is room for and returns the rest.
    pub(crate) fn append<'a>(&mut self, data: &'a [u8]) -> &'a [u8] {
        let (taken, rest) = data.split_at(data.len().min(self.room()));
        let used = self.used;
        self.mapping_mut().slice_mut()[used..used + taken.len()].copy_from_slice(taken);
        self.used += taken.len();
        rest
    }

    /// Puts zeros up to a whole block behind the bytes appended; nothing is appended after that.
    fn pad(&mut self) {
        let (used, end) = (self.used, self.used.next_multiple_of(BLOCK_BYTES));
        self.mapping_mut().slice_mut()[used..end].fill(0);
    }

    /// The bytes appended and the zeros behind them.
    fn padded(&self) -> &[u8] {
        &self.mapping().slice()[..self.used.next_multiple_of(BLOCK_BYTES)]
    }

    /// The bytes appended.
    pub(crate) fn filled(&self) -> &[u8] {
        &self.mapping().slice()[..self.used]
    }

    /// Bytes it takes from the pool.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.mapping().bytes as u64
    }

    /// Whether nothing was appended.
    pub(crate) const fn is_empty(&self) -> bool {
        self.used == 0
    }

    fn mapping(&self) -> &Mapping {
        self.mapping.as_ref().expect("taken only in drop")
    }

    fn mapping_mut(&mut self) -> &mut Mapping {
        self.mapping.as_mut().expect("taken only in drop")
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        if let Some(mapping) = self.mapping.take() {
            self.pool.give_back(mapping);
        }
    }
}

/// Memory from elsewhere that counts in a pool.
pub(crate) struct Counted {
    bytes: u64,
    pool: Arc<Pool>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.pool.lent_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The data of each track of a closed record. The queue of a disk and the [tail](crate::tail) share it.
pub(crate) enum Media {
    /// As it was pushed, by track.
    Pushed(Vec<Vec<Chunk>>),
    /// Of a record that was read, behind so many bytes of its head.
    Read {
        /// The record.
        record: Arc<Record>,
        /// Its head.
        head_bytes: usize,
        /// What it counts for.
        counted: Counted,
    },
}

impl Media {
    /// The data of `tracks`, to which nothing is appended any more.
    pub(crate) fn new(mut tracks: Vec<Vec<Chunk>>) -> Arc<Self> {
        tracks.iter_mut().flatten().for_each(Chunk::pad);
        Arc::new(Self::Pushed(tracks))
    }

    /// The data of a record that was read, which counts in `pool`; `None` when that has no room.
    pub(crate) fn read(record: &Arc<Record>, head_bytes: usize, pool: &Arc<Pool>) -> Option<Arc<Self>> {
        let counted = pool.count(record.as_bytes().len() as u64)?;
        Some(Arc::new(Self::Read { record: Arc::clone(record), head_bytes, counted }))
    }

    /// It as it goes to disk, behind the head of the record.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let read = match self {
            Self::Pushed(_) => None,
            Self::Read { record, head_bytes, .. } => record.as_bytes().get(*head_bytes..),
        };
        self.chunks().filter(|chunk| !chunk.is_empty()).map(Chunk::padded).chain(read)
    }

    /// Bytes it takes from its pools.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.counts().map(|(_, bytes)| bytes).sum()
    }

    /// It counts elsewhere from here on: its pools may give out as much again. To be taken back before it is dropped.
    pub(crate) fn leave_pools(&self) {
        for (pool, bytes) in self.counts() {
            pool.lent_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// It counts in its pools again.
    pub(crate) fn rejoin_pools(&self) {
        for (pool, bytes) in self.counts() {
            pool.lent_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    fn chunks(&self) -> impl Iterator<Item = &Chunk> {
        let tracks = match self {
            Self::Pushed(tracks) => tracks.as_slice(),
            Self::Read { .. } => &[],
        };
        tracks.iter().flatten()
    }

    /// What it counts for, and where.
    fn counts(&self) -> impl Iterator<Item = (&Pool, u64)> {
        let read = match self {
            Self::Pushed(_) => None,
            Self::Read { counted, .. } => Some((counted.pool.as_ref(), counted.bytes)),
        };
        self.chunks().map(|chunk| (chunk.pool.as_ref(), chunk.held_bytes())).chain(read)
    }
}

/// Anonymous memory of its own.
struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

#[expect(unsafe_code, reason = "owns its memory alone, like a Box")]
// SAFETY: the memory belongs to this value alone and has no affinity to a thread.
unsafe impl Send for Mapping {}
#[expect(unsafe_code, reason = "a shared borrow only reads")]
// SAFETY: through a shared borrow nothing but reads of plain bytes is possible.
unsafe impl Sync for Mapping {}

impl Mapping {
    #[expect(unsafe_code, reason = "mmap has no safe wrapper in std")]
    fn new(bytes: usize) -> Option<Self> {
        // SAFETY: asks for fresh memory at any address; nothing existing is touched.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return None;
        }
        Some(Self { start: NonNull::new(start.cast())?, bytes })
    }

    #[expect(unsafe_code, reason = "views owned memory as bytes")]
    fn slice(&self) -> &[u8] {
        // SAFETY: the mapping has `bytes` readable bytes, zeroed by the system, and nothing writes while it is borrowed.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }

    #[expect(unsafe_code, reason = "views owned memory as bytes")]
    fn slice_mut(&mut self) -> &mut [u8] {
        // SAFETY: the mapping has `bytes` readable and writable bytes, zeroed by the system, and the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) }
    }
}

impl Drop for Mapping {
    #[expect(unsafe_code, reason = "munmap has no safe wrapper in std")]
    fn drop(&mut self) {
        // SAFETY: start and length are those of the mapping, and no borrow outlives the value.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}
