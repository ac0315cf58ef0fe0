//! A LUN of an iSCSI target as a [`BlockDev`], claimed against other writers.
//!
//! A target that knows persistent reservations keeps others away. Where it does not, the superblock is looked at before
//! each round of writes: whoever takes a container into use writes one with a later generation, and is found so.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use keepwatch_iscsi::{Address, Lun, LunError, Options, Owner, Preempt, Reserved, Write};
use keepwatch_model::RoleId;

use super::{AlignedBuffer, BlockDev};
use crate::DiskConfig;
use crate::format::{BLOCK, Superblock, index_of, read_superblocks};
use crate::index::known_identity;

/// Our name at a target is this with the role behind it.
const INITIATOR: &str = "iqn.2024-07.internal.keepwatch";

/// A LUN in use.
#[derive(Debug)]
pub(crate) struct LunDev {
    lun: Lun,
    /// Nobody but us can write.
    reserved: bool,
    /// What the superblock must say for us to write; `None` where nobody has to be found out.
    expected: Mutex<Option<Superblock>>,
}

/// How the LUN of `config` is reached by the recorder `role`; `None` when its path is none.
pub(crate) fn lun_options(config: &DiskConfig, role: Option<RoleId>) -> Option<io::Result<Options>> {
    let text = config.path.to_str().filter(|text| Address::is_meant(text))?;
    Some(options(text, config, role).map_err(io::Error::from))
}

fn options(text: &str, config: &DiskConfig, role: Option<RoleId>) -> Result<Options, LunError> {
    let address: Address = text.parse()?;
    let role = role.map_or_else(|| "reader".to_owned(), |role| role.to_string());
    let mut options = Options::new(address, format!("{INITIATOR}:{role}"));
    if let Some(login) = &config.login {
        options.password = Some(login.password.clone());
        options.target_login.clone_from(&login.target);
    }
    Ok(options)
}

/// Whether `path` is meant as the address of a LUN rather than a place on this machine.
pub fn is_lun(path: &Path) -> bool {
    path.to_str().is_some_and(Address::is_meant)
}

/// What is wrong with the address of a LUN; `None` when nothing is.
pub fn lun_address_fault(path: &Path) -> Option<String> {
    let text = path.to_str().filter(|text| Address::is_meant(text))?;
    text.parse::<Address>().err().map(|error| error.to_string())
}

/// Why the LUN of `config` cannot be used by the recorder of `data`; `None` when it can, or when the disk is none. Nothing is
/// written, and whoever records on it is not disturbed.
pub fn lun_fault(data: &Path, config: &DiskConfig) -> Option<String> {
    let role = known_identity(data).ok().flatten();
    let opened = lun_options(config, role)?.and_then(LunDev::open);
    opened.err().map(|error| error.to_string())
}

impl LunDev {
    pub(crate) fn open(options: Options) -> io::Result<Self> {
        Ok(Self { lun: Lun::open(options)?, reserved: false, expected: Mutex::default() })
    }

    /// Keeps other writers away, where the target can. `preempt` has been confirmed by an operator.
    pub(crate) fn claim(&mut self, owner: RoleId, preempt: bool) -> io::Result<()> {
        let preempt = if preempt { Preempt::Any } else { Preempt::OnlyOwn };
        self.reserved = self.lun.reserve(Owner(owner.0), preempt)? == Reserved::Held;
        Ok(())
    }

    /// From here on `superblock` must stand there.
    pub(crate) fn expect(&self, superblock: Superblock) {
        *self.expected.lock().unwrap_or_else(PoisonError::into_inner) = Some(superblock);
    }

    /// Fails when somebody else has written a superblock.
    pub(crate) fn check(&self) -> io::Result<()> {
        let expected = *self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(expected) = expected else { return Ok(()) };
        match read_superblocks(self)? {
            Ok(found) if found == expected => Ok(()),
            Ok(_) | Err(_) => Err(io::Error::other("another recorder has taken the LUN over")),
        }
    }

    /// Lets others write.
    pub(crate) fn release(&self) -> io::Result<()> {
        *self.expected.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(self.lun.release()?)
    }

    fn may_write(&self) -> io::Result<()> {
        if self.reserved { Ok(()) } else { self.check() }
    }
}

impl BlockDev for LunDev {
    fn size_bytes(&self) -> u64 {
        self.lun.size_bytes() / BLOCK * BLOCK
    }

    fn read_at(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
        let block = u64::from(self.lun.block_bytes());
        if offset_bytes.is_multiple_of(block) && (buffer.len() as u64).is_multiple_of(block) {
            return Ok(self.lun.read(offset_bytes, buffer)?);
        }
        let from = offset_bytes / block * block;
        let skipped = index_of(offset_bytes - from);
        let end = skipped.checked_add(buffer.len()).ok_or(io::ErrorKind::InvalidInput)?;
        let mut whole = AlignedBuffer::zeroed(end.next_multiple_of(index_of(block)));
        self.lun.read(from, &mut whole)?;
        buffer.copy_from_slice(&whole[skipped..end]);
        Ok(())
    }

    fn write_at(&self, offset_bytes: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        self.may_write()?;
        Ok(self.lun.write(&[Write { offset_bytes, parts: parts.to_vec() }])?)
    }

    fn flush(&self) -> io::Result<()> {
        Ok(self.lun.flush()?)
    }

    fn write_durably(&self, writes: &[Write<'_>]) -> io::Result<()> {
        self.may_write()?;
        if overlap(writes) {
            // The later one counts.
            return writes
                .iter()
                .try_for_each(|write| Ok(self.lun.write_durably(std::slice::from_ref(write))?));
        }
        Ok(self.lun.write_durably(writes)?)
    }
}

/// Whether two of `writes` are of the same place: then their order counts, and commands under way have none.
fn overlap(writes: &[Write<'_>]) -> bool {
    let end = |write: &Write<'_>| {
        write.parts.iter().fold(write.offset_bytes, |end, part| end.saturating_add(part.len() as u64))
    };
    let mut spans: Vec<(u64, u64)> = writes.iter().map(|write| (write.offset_bytes, end(write))).collect();
    spans.sort_unstable();
    spans.windows(2).any(|pair| pair[0].1 > pair[1].0)
}
