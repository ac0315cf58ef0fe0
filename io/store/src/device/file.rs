//! A container in a file, or a block device: found, made, locked, written past the page cache.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use keepwatch_iscsi::Options;
use keepwatch_model::RoleId;

use super::{AlignedBuffer, BlockDev, LunDev, Medium, lun_options};
use crate::DiskConfig;
use crate::format::{BLOCK, BLOCK_BYTES, TEST_MAGIC, index_of};

/// The name of the container in a disk's directory.
pub(crate) const CONTAINER: &str = "keepwatch.container";

/// Most buffers that one call of `pwritev` takes (`IOV_MAX` on Linux).
const PARTS_MAX: usize = 1024;

/// A file or block device as a [`BlockDev`].
#[derive(Debug)]
pub(crate) struct FileDev {
    file: File,
    size_bytes: u64,
    /// The page cache is bypassed.
    pub(crate) direct: bool,
    /// It was opened for writing.
    pub(crate) writable: bool,
    /// Device and inode, to find out whether the path still leads here.
    identity: (u64, u64),
}

/// What a configured path leads to.
#[derive(Clone, Debug)]
pub(crate) enum Slot {
    /// A directory; its file system and the place of the container.
    Directory { container: PathBuf, file_system: u64 },
    /// A block device.
    Device(PathBuf),
    /// A LUN.
    Lun(Box<Options>),
}

/// Whether a slot holds something.
pub(crate) enum Found {
    /// A container, or something else that is not blank.
    Device(Box<Medium>),
    /// Nothing.
    Nothing,
}

/// Finds out what the path of `config` leads to for the recorder `role`.
pub(crate) fn slot_of(config: &DiskConfig, role: Option<RoleId>) -> io::Result<Slot> {
    if let Some(options) = lun_options(config, role) {
        return Ok(Slot::Lun(Box::new(options?)));
    }
    let path = config.path.as_path();
    let about = std::fs::metadata(path)?;
    if about.is_dir() {
        Ok(Slot::Directory { container: path.join(CONTAINER), file_system: about.dev() })
    } else if about.file_type().is_block_device() {
        Ok(Slot::Device(path.to_owned()))
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "is neither a directory, a block device nor iscsi://host/target/lun",
        ))
    }
}

impl Slot {
    /// The number of the file system, 0 for a device.
    pub(crate) const fn file_system(&self) -> u64 {
        match self {
            Self::Directory { file_system, .. } => *file_system,
            Self::Device(_) | Self::Lun(_) => 0,
        }
    }

    /// Whether it is a device, or the root of a file system rather than a directory within one.
    pub(crate) fn is_place_of_its_own(&self) -> bool {
        match self {
            Self::Device(_) | Self::Lun(_) => true,
            Self::Directory { container, file_system } => {
                // By name the directory above may be none: the path may be relative, or lead through a link.
                let above = container.parent().map(|path| std::fs::metadata(path.join("..")));
                above.is_some_and(|above| above.is_ok_and(|above| above.dev() != *file_system))
            }
        }
    }

    /// Its file on this machine; `None` for a LUN.
    fn file(&self) -> Option<&Path> {
        match self {
            Self::Directory { container, .. } => Some(container),
            Self::Device(path) => Some(path),
            Self::Lun(_) => None,
        }
    }

    /// Bytes that a card erases at a time, if it is one and says so. Of a file on it the place is the file system's to choose.
    pub(crate) fn erase_block_bytes(&self) -> Option<u64> {
        let Self::Device(path) = self else { return None };
        let number = std::fs::metadata(path).ok()?.rdev();
        let (major, minor) = (libc::major(number), libc::minor(number));
        // A partition has it one level up.
        let of_device = ["device/preferred_erase_size", "../device/preferred_erase_size"]
            .map(|name| format!("/sys/dev/block/{major}:{minor}/{name}"));
        let text = of_device.iter().find_map(|path| std::fs::read_to_string(path).ok())?;
        text.trim().parse().ok()
    }

    /// Opens what is there.
    pub(crate) fn open(&self, writable: bool) -> io::Result<Found> {
        let file = match self {
            Self::Directory { container: file, .. } | Self::Device(file) => file,
            Self::Lun(options) => {
                let lun = LunDev::open((**options).clone())?;
                return Ok(Found::Device(Box::new(Medium::Lun(lun))));
            }
        };
        match FileDev::open(file, writable) {
            Ok(device) => Ok(Found::Device(Box::new(Medium::File(device)))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Bytes for a container: `wanted`, or all but 5 % of the file system; and bytes that are free.
    pub(crate) fn room(&self, wanted: Option<u64>) -> io::Result<(u64, u64)> {
        match self {
            Self::Device(path) => {
                let device = FileDev::open(path, false)?;
                Ok((wanted.unwrap_or(device.size_bytes), device.size_bytes))
            }
            Self::Lun(_) => Err(no_file()),
            Self::Directory { container, .. } => {
                let (total_bytes, free_bytes) = space(container.parent().unwrap_or(container))?;
                if total_bytes == 0 {
                    // It does not tell its size, so a size must be given; whether it fits will show at a write.
                    return Ok((wanted.unwrap_or(0), u64::MAX));
                }
                // What is free now, without the twentieth that file systems need to stay fast.
                Ok((wanted.unwrap_or_else(|| free_bytes.saturating_sub(total_bytes / 20)), free_bytes))
            }
        }
    }

    /// Makes the container's file with all its space, or opens the device; nothing is written to it yet.
    pub(crate) fn create(&self, size_bytes: u64) -> io::Result<FileDev> {
        if let Self::Directory { container, .. } = self {
            let file = OpenOptions::new().write(true).create(true).truncate(false).open(container)?;
            allocate(&file, size_bytes)?;
            file.sync_all()?;
            File::open(container.parent().unwrap_or(container))?.sync_all()?;
        }
        FileDev::open(self.file().ok_or_else(no_file)?, true)
    }
}

/// A LUN is there or not; none is made.
fn no_file() -> io::Error {
    io::ErrorKind::Unsupported.into()
}

#[expect(unsafe_code, reason = "fallocate has no safe wrapper in std")]
fn allocate(file: &File, size_bytes: u64) -> io::Result<()> {
    let length = libc::off_t::try_from(size_bytes).map_err(|_| io::ErrorKind::FileTooLarge)?;
    // SAFETY: the descriptor is open for the whole call; no memory is passed.
    if unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, length) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        // The file system cannot reserve space; a full file system will then show at a write.
        Some(libc::EOPNOTSUPP | libc::ENOSYS) => file.set_len(size_bytes),
        _ => Err(error),
    }
}

/// Total and free bytes of the file system that holds `path`.
#[expect(unsafe_code, reason = "statvfs has no safe wrapper in std")]
fn space(path: &Path) -> io::Result<(u64, u64)> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    let mut about = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: the path ends in NUL and the structure is large enough and lives through the call.
    if unsafe { libc::statvfs(path.as_ptr(), about.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all bytes were zeroed, which is a valid value, and the call filled them.
    let about = unsafe { about.assume_init() };
    let unit = about.f_frsize;
    Ok((about.f_blocks.saturating_mul(unit), about.f_bavail.saturating_mul(unit)))
}

impl FileDev {
    fn open(path: &Path, writable: bool) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(writable);
        let (file, direct) = match options.clone().custom_flags(libc::O_DIRECT).open(path) {
            Ok(file) => (file, true),
            // The file system does not know direct access.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => (options.open(path)?, false),
            Err(error) => return Err(error),
        };
        let about = file.metadata()?;
        let size_bytes = if about.file_type().is_block_device() {
            use std::io::{Seek, SeekFrom};
            (&file).seek(SeekFrom::End(0))?
        } else {
            about.len()
        };
        Ok(Self { size_bytes, direct, writable, identity: (about.dev(), about.ino()), file })
    }

    /// Takes the lock that keeps two writers apart; false when another process has it. Freed when the file closes.
    #[expect(unsafe_code, reason = "flock has no safe wrapper in the std of the oldest supported compiler")]
    pub(crate) fn lock(&self) -> io::Result<bool> {
        // SAFETY: the descriptor is open for the whole call; no memory is passed.
        if unsafe { libc::flock(self.file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        if error.kind() == io::ErrorKind::WouldBlock { Ok(false) } else { Err(error) }
    }

    /// Whether the configured path still leads to this file.
    pub(crate) fn is_at(&self, slot: &Slot) -> bool {
        let about = slot.file().map(std::fs::metadata);
        about.is_some_and(|about| about.is_ok_and(|about| (about.dev(), about.ino()) == self.identity))
    }
}

/// Whether the first `bytes` of a device are zeros, or what a test left that it failed.
pub(crate) fn blank(device: &dyn BlockDev, bytes: u64) -> io::Result<bool> {
    let mut buffer = AlignedBuffer::zeroed(index_of(bytes.min(device.size_bytes()) / BLOCK * BLOCK));
    device.read_at(0, &mut buffer)?;
    let is_blank = |block: &[u8]| block.starts_with(&TEST_MAGIC) || block.iter().all(|byte| *byte == 0);
    Ok(buffer.chunks_exact(BLOCK_BYTES).all(is_blank))
}

impl BlockDev for FileDev {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
        let aligned = buffer.as_ptr().addr().is_multiple_of(BLOCK_BYTES)
            && buffer.len().is_multiple_of(BLOCK_BYTES)
            && offset_bytes.is_multiple_of(BLOCK);
        if aligned || !self.direct {
            return self.file.read_exact_at(buffer, offset_bytes);
        }
        let from = offset_bytes / BLOCK * BLOCK;
        let skipped = index_of(offset_bytes - from);
        let end = skipped.checked_add(buffer.len()).ok_or(io::ErrorKind::InvalidInput)?;
        let mut whole = AlignedBuffer::zeroed(end.next_multiple_of(BLOCK_BYTES));
        self.file.read_exact_at(&mut whole, from)?;
        buffer.copy_from_slice(&whole[skipped..end]);
        Ok(())
    }

    fn write_at(&self, offset_bytes: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let mut offset_bytes = offset_bytes;
        for parts in parts.chunks(PARTS_MAX) {
            offset_bytes = write_all(&self.file, offset_bytes, parts)?;
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    #[expect(unsafe_code, reason = "posix_fadvise has no safe wrapper in std")]
    fn forget_cached(&self, offset_bytes: u64, bytes: u64) {
        let (Ok(offset), Ok(length)) = (offset_bytes.try_into(), bytes.try_into()) else { return };
        if !self.direct {
            // SAFETY: the descriptor is open for the whole call; no memory is passed.
            unsafe { libc::posix_fadvise(self.file.as_raw_fd(), offset, length, libc::POSIX_FADV_DONTNEED) };
        }
    }
}

/// Writes all parts and returns the offset behind them.
fn write_all(file: &File, offset_bytes: u64, parts: &[IoSlice<'_>]) -> io::Result<u64> {
    let total: usize = parts.iter().map(|part| part.len()).sum();
    let mut written = write_some(file, offset_bytes, parts)?;
    if written < total {
        let mut rest = parts.to_vec();
        let mut rest = rest.as_mut_slice();
        IoSlice::advance_slices(&mut rest, written);
        while written < total {
            let more = write_some(file, offset_bytes + written as u64, rest)?;
            written += more;
            IoSlice::advance_slices(&mut rest, more);
        }
    }
    Ok(offset_bytes + total as u64)
}

#[expect(unsafe_code, reason = "pwritev has no stable safe wrapper in std")]
fn write_some(file: &File, offset_bytes: u64, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    let offset = libc::off_t::try_from(offset_bytes).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let count = libc::c_int::try_from(parts.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    loop {
        // SAFETY: IoSlice has the layout of iovec by its documentation; the buffers live through the call.
        let written = unsafe { libc::pwritev(file.as_raw_fd(), parts.as_ptr().cast(), count, offset) };
        match usize::try_from(written) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => return Ok(written),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}
