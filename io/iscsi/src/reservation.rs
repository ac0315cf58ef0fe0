//! Keys of reservations: whose they are shows in them.

use crate::options::Owner;

/// What all keys of this program begin with.
const MARK: u64 = 0x4b57;

/// A key for a registration of `owner`: a mark, 32 bits of the owner, 16 bits that tell one registration from another.
pub(crate) fn key(owner: Owner, registration: u16) -> u64 {
    let folded = owner.0.chunks(4).fold([0_u8; 4], |mut folded, part| {
        for (byte, other) in folded.iter_mut().zip(part) {
            *byte ^= other;
        }
        folded
    });
    MARK << 48 | u64::from(u32::from_be_bytes(folded)) << 16 | u64::from(registration)
}

/// Whether two keys are of one owner.
pub(crate) const fn same_owner(one: u64, other: u64) -> bool {
    one >> 16 == other >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_its_owner_and_its_registration() {
        let (one, other) = (Owner([7; 16]), Owner(*b"0123456789abcdef"));
        assert!(same_owner(key(other, 1), key(other, 2)));
        assert_ne!(key(other, 1), key(other, 2));
        assert!(!same_owner(key(one, 1), key(other, 1)));
        assert_ne!(key(Owner([0; 16]), 0), 0, "a key of zero is none");
    }
}
