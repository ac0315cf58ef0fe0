//! AAC in mode AAC-hbr (RFC 3640 §3.3.6): one access unit in a packet, or fragments of one.

use super::{PAYLOAD_BYTES_MAX, PacketWriter, PacketizeError};

/// The length of the headers in bits, and the one header.
const HEADER_BYTES: usize = 4;

/// The first size that 13 bits cannot say.
const UNIT_BYTES_END: usize = 1 << 13;

impl PacketWriter<'_, '_> {
    /// One access unit; the packet that ends it has the marker (§3.1).
    pub(super) fn aac(&mut self, parts: &[&[u8]]) -> Result<(), PacketizeError> {
        let size: usize = parts.iter().map(|part| part.len()).sum();
        if size == 0 {
            return Err(PacketizeError::Empty);
        }
        let header =
            u16::try_from(size).ok().filter(|_| size < UNIT_BYTES_END).map(|size| (size << 3).to_be_bytes());
        let [high, low] = header.ok_or(PacketizeError::AacUnit(size))?;
        let header = [0, 16, high, low];
        let joined;
        let unit = if let [unit] = parts {
            unit
        } else {
            joined = parts.concat();
            joined.as_slice()
        };
        let fragments = unit.chunks(PAYLOAD_BYTES_MAX - HEADER_BYTES);
        let end = fragments.len().saturating_sub(1);
        for (position, fragment) in fragments.enumerate() {
            self.packet(position == end, &header, fragment);
        }
        Ok(())
    }
}
