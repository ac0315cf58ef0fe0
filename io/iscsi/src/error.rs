//! What can go wrong with a LUN, as a caller can act on it.

use std::io;

use crate::AddressError;

/// Error number of Linux for a sector that cannot be read or written.
const EIO: i32 = 5;
/// Error number of Linux for a device without room.
const ENOSPC: i32 = 28;

/// Why a LUN cannot be used, or did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LunError {
    /// The program has no iSCSI in it.
    #[error("this program was built without iSCSI; build it with the feature iscsi, or use a directory")]
    NotBuilt,
    /// The address is none.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A user without a password, or a password without a user.
    #[error("CHAP needs both: the user in the address and its password in password_file")]
    Login,
    /// The portal cannot be reached, or refuses us.
    #[error("{portal}: {why}")]
    Away {
        /// Host and port.
        portal: String,
        /// What was tried and what came of it.
        why: String,
    },
    /// The target does not let us in.
    #[error(
        "{portal} refuses the login; check the user in the address, password_file, and what the target asks for ({why})"
    )]
    Denied {
        /// Host and port.
        portal: String,
        /// What it said.
        why: String,
    },
    /// It is nothing that footage can be written to.
    #[error("is not a disk that can be used: {0}")]
    Unfit(String),
    /// It is not as it was when it was opened: smaller, or another.
    #[error("the LUN has {now_bytes} bytes, it had {before_bytes}; nothing more is written to it")]
    Resized {
        /// When it was opened.
        before_bytes: u64,
        /// After the connection was made anew.
        now_bytes: u64,
    },
    /// The connection was lost between a write and its flush: nobody knows what the target still has.
    #[error(
        "the connection was lost between a write and its flush, and the target may have lost what it had accepted"
    )]
    CacheLost,
    /// Somebody else holds the reservation.
    #[error("another initiator has reserved the LUN (key {key:#018x})")]
    Reserved {
        /// The key of its registration.
        key: u64,
    },
    /// The reservation that was held is another's.
    #[error("another initiator has taken the LUN over")]
    Taken,
    /// The target refused a command.
    #[error("the target refused: sense {key:#x}, {ascq:#06x}")]
    Sense {
        /// The sense key (SPC-4 §4.5.6).
        key: u8,
        /// Additional sense code and its qualifier.
        ascq: u16,
    },
    /// The target had no room for a command, again and again.
    #[error("the target is busy and takes no commands")]
    Busy,
    /// The target answered with less than was asked for.
    #[error("the target sent {0} bytes less than asked for")]
    Short(u64),
    /// Beyond the end, or not of whole blocks.
    #[error("{bytes} bytes at {offset_bytes} do not lie in whole blocks of the LUN")]
    Range {
        /// Where.
        offset_bytes: u64,
        /// How many.
        bytes: u64,
    },
    /// The LUN is closed.
    #[error("the LUN is closed")]
    Closed,
}

/// The sense key of a sector that cannot be read or written.
const MEDIUM_ERROR: u8 = 3;
/// A thin LUN whose pool is full (SBC-3 §4.7.3.6).
const SPACE_ALLOCATION_FAILED: u16 = 0x2707;

impl From<LunError> for io::Error {
    fn from(error: LunError) -> Self {
        match error {
            // Whoever writes disks knows these by their numbers.
            LunError::Sense { key: MEDIUM_ERROR, .. } => Self::from_raw_os_error(EIO),
            LunError::Sense { ascq: SPACE_ALLOCATION_FAILED, .. } => Self::from_raw_os_error(ENOSPC),
            LunError::NotBuilt
            | LunError::Address(_)
            | LunError::Login
            | LunError::Away { .. }
            | LunError::Denied { .. }
            | LunError::Unfit(_)
            | LunError::Resized { .. }
            | LunError::CacheLost
            | LunError::Reserved { .. }
            | LunError::Taken
            | LunError::Sense { .. }
            | LunError::Busy
            | LunError::Short(_)
            | LunError::Range { .. }
            | LunError::Closed => Self::other(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_sector_and_a_full_pool_are_known_by_their_numbers() {
        let number = |key, ascq| io::Error::from(LunError::Sense { key, ascq }).raw_os_error();
        assert_eq!(number(MEDIUM_ERROR, 0x1100), Some(EIO));
        assert_eq!(number(7, SPACE_ALLOCATION_FAILED), Some(ENOSPC));
        assert_eq!(number(5, 0x2000), None);
    }
}
