//! The SCSI commands that are sent, and what is read from their answers (SBC-3, SPC-4). Bytes in, values out; an answer may be
//! anything, and what it does not say is not known.

/// Largest transfer of one command unless the target allows less: what a network carries in a hundredth of a second.
pub(crate) const TRANSFER_BYTES_MAX: u32 = 1 << 20;
/// Blocks that a disk may have: those of the store are 4 KiB and consist of whole ones.
const BLOCK_BYTES: [u32; 4] = [512, 1024, 2048, 4096];

/// A command descriptor block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cdb {
    pub(crate) bytes: [u8; 16],
    /// How many of them count.
    pub(crate) length: u8,
}

impl Cdb {
    fn new(length: u8, operation: u8) -> Self {
        let mut bytes = [0; 16];
        bytes[0] = operation;
        Self { bytes, length }
    }

    fn put(mut self, at: usize, value: &[u8]) -> Self {
        self.bytes[at..at + value.len()].copy_from_slice(value);
        self
    }

    /// INQUIRY (SPC-4 §6.6), of the standard data or of a page.
    pub(crate) fn inquiry(page: Option<u8>, room_bytes: u8) -> Self {
        Self::new(6, 0x12).put(1, &[u8::from(page.is_some()), page.unwrap_or(0)]).put(3, &[0, room_bytes])
    }

    /// READ CAPACITY(16) (SBC-3 §5.16).
    pub(crate) fn read_capacity() -> Self {
        Self::new(16, 0x9e).put(1, &[0x10]).put(10, &32_u32.to_be_bytes())
    }

    /// READ(16) (SBC-3 §5.13).
    pub(crate) fn read(block: u64, blocks: u32) -> Self {
        Self::new(16, 0x88).put(2, &block.to_be_bytes()).put(10, &blocks.to_be_bytes())
    }

    /// WRITE(16) (SBC-3 §5.34).
    pub(crate) fn write(block: u64, blocks: u32) -> Self {
        Self::new(16, 0x8a).put(2, &block.to_be_bytes()).put(10, &blocks.to_be_bytes())
    }

    /// SYNCHRONIZE CACHE(16) of all blocks (SBC-3 §5.26).
    pub(crate) fn synchronize_16() -> Self {
        Self::new(16, 0x91)
    }

    /// SYNCHRONIZE CACHE(10) of all blocks (SBC-3 §5.25), for targets that know no other.
    pub(crate) fn synchronize_10() -> Self {
        Self::new(10, 0x35)
    }

    /// PERSISTENT RESERVE IN, READ RESERVATION (SPC-4 §6.15.3).
    pub(crate) fn read_reservation(room_bytes: u16) -> Self {
        Self::new(10, 0x5e).put(1, &[0x01]).put(7, &room_bytes.to_be_bytes())
    }

    /// PERSISTENT RESERVE OUT (SPC-4 §6.16) with [`parameters`] behind it.
    pub(crate) fn reserve_out(action: ReserveOut) -> Self {
        Self::new(10, 0x5f).put(1, &[action as u8, WRITE_EXCLUSIVE]).put(5, &24_u32.to_be_bytes())
    }
}

/// Only the holder writes; all others read.
const WRITE_EXCLUSIVE: u8 = 1;

/// What is done with a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ReserveOut {
    Register = 0,
    Reserve = 1,
    Release = 2,
    Preempt = 4,
    PreemptAndAbort = 5,
    RegisterAndIgnore = 6,
}

/// The parameters of PERSISTENT RESERVE OUT: our key, and the one that the action is about.
pub(crate) fn parameters(own: u64, other: u64) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&own.to_be_bytes());
    bytes[8..16].copy_from_slice(&other.to_be_bytes());
    bytes
}

/// The key of the holder in the answer to READ RESERVATION; `None` when nobody holds one.
pub(crate) fn holder(answer: &[u8]) -> Option<u64> {
    let additional = number(answer, 4)? & 0xffff_ffff;
    (additional >= 16).then(|| long(answer, 8)).flatten()
}

/// Whether the answer to INQUIRY is that of a disk which is there.
pub(crate) fn is_disk(answer: &[u8]) -> bool {
    // Peripheral qualifier 0 and device type 0.
    answer.first() == Some(&0)
}

/// Size and block of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capacity {
    pub(crate) size_bytes: u64,
    pub(crate) block_bytes: u32,
}

/// The answer to READ CAPACITY(16), or what is wrong with it.
pub(crate) fn capacity(answer: &[u8]) -> Result<Capacity, String> {
    let (last, block) = long(answer, 0).zip(number(answer, 8)).ok_or("it does not say how large it is")?;
    let block_bytes = u32::try_from(block).unwrap_or(u32::MAX);
    if !BLOCK_BYTES.contains(&block_bytes) {
        return Err(format!("its blocks are of {block_bytes} bytes"));
    }
    let size_bytes = last.checked_add(1).and_then(|blocks| blocks.checked_mul(block));
    // Offsets are signed where files are meant.
    let size_bytes = size_bytes.filter(|size| i64::try_from(*size).is_ok());
    let size_bytes = size_bytes.ok_or_else(|| format!("it says that it has {last} blocks of {block}"))?;
    Ok(Capacity { size_bytes, block_bytes })
}

/// Most bytes of one transfer, in whole blocks of the store where that is possible, after the page of block limits (SBC-3
/// §6.6.4), which may be missing.
pub(crate) fn transfer_bytes(limits: &[u8], block_bytes: u32) -> u32 {
    let is_page = limits.get(1) == Some(&0xb0);
    let most = number(limits, 8).filter(|blocks| is_page && *blocks != 0);
    let most = most.and_then(|blocks| u32::try_from(blocks).ok()?.checked_mul(block_bytes));
    let most = most.unwrap_or(TRANSFER_BYTES_MAX).min(TRANSFER_BYTES_MAX);
    let unit = if most >= 4096 { 4096 } else { block_bytes };
    (most / unit * unit).max(block_bytes)
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?).into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn capacity_of(last: u64, block: u32) -> Result<Capacity, String> {
        let mut answer = [0; 32];
        answer[..8].copy_from_slice(&last.to_be_bytes());
        answer[8..12].copy_from_slice(&block.to_be_bytes());
        capacity(&answer)
    }

    #[test]
    fn a_size_that_cannot_be_is_refused() {
        assert_eq!(capacity_of(2047, 512), Ok(Capacity { size_bytes: 1 << 20, block_bytes: 512 }));
        // The last block of nothing, as some targets tell it.
        assert!(capacity_of(u64::MAX, 512).is_err());
        assert!(capacity_of(u64::MAX / 512, 512).is_err());
        assert!(capacity_of(2047, 0).is_err());
        assert!(capacity_of(2047, 520).is_err());
        assert!(capacity(&[0; 7]).is_err());
    }

    #[test]
    fn a_transfer_is_as_long_as_the_target_allows_in_whole_blocks() {
        let limits = |blocks: u32| {
            let mut page = [0; 64];
            page[1] = 0xb0;
            page[8..12].copy_from_slice(&blocks.to_be_bytes());
            page
        };
        assert_eq!(transfer_bytes(&[], 512), TRANSFER_BYTES_MAX);
        assert_eq!(transfer_bytes(&limits(0), 512), TRANSFER_BYTES_MAX);
        assert_eq!(transfer_bytes(&limits(u32::MAX), 4096), TRANSFER_BYTES_MAX);
        assert_eq!(transfer_bytes(&limits(1025), 512), 512 << 10);
        assert_eq!(transfer_bytes(&limits(3), 512), 1536);
        assert_eq!(transfer_bytes(&[0; 64], 512), TRANSFER_BYTES_MAX, "another page says nothing of it");
    }

    #[test]
    fn nobody_holds_a_reservation_that_is_not_told() {
        assert_eq!(holder(&[0; 8]), None);
        let mut held = [0; 24];
        held[7] = 16;
        held[15] = 9;
        assert_eq!(holder(&held), Some(9));
        assert_eq!(holder(&held[..12]), None);
    }

    proptest! {
        #[test]
        fn no_answer_panics(bytes in proptest::collection::vec(any::<u8>(), 0..80), block in any::<u32>()) {
            let _ = (holder(&bytes), is_disk(&bytes));
            if let Ok(found) = capacity(&bytes) {
                prop_assert!(found.size_bytes >= u64::from(found.block_bytes));
            }
            let block = BLOCK_BYTES[block as usize % BLOCK_BYTES.len()];
            let bytes = transfer_bytes(&bytes, block);
            prop_assert!(bytes >= block && bytes <= TRANSFER_BYTES_MAX && bytes.is_multiple_of(block));
        }
    }
}
