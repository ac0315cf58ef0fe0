//! Where a node has footage, and what can be done with it there.

/// Where a node has footage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// Its memory.
    Memory,
    /// The internal local storage: its disks but those of the second.
    Internal,
    /// The second local storage.
    Second,
}

impl Place {
    /// What an operator reads.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Internal => "internal",
            Self::Second => "second",
        }
    }
}

/// What can be done with a disk, or with the disks of a place together; the more, the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// Neither is it written nor read.
    Gone,
    /// It is read.
    ReadOnly,
    /// It is written and read.
    Writable,
}

impl Condition {
    /// What an operator reads.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::ReadOnly => "read_only",
            Self::Writable => "writable",
        }
    }
}
