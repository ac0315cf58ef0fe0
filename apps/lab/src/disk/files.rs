//! The file system: files in one directory, each answer asked of the [`Switch`] first.
//!
//! Numbers of files are given out as they are met and never forgotten: there are a few. A disk that is put in another's place
//! has numbers of its own, and what was open on the other one is not there any more.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenAccMode, OpenFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry,
    ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use rustix::fs::FallocateFlags;

use super::fault::{Answer, Deed, Switch};
use crate::wide;

/// Nothing is kept by the kernel: what was there a moment ago may have been pulled out.
const NOT_KEPT: Duration = Duration::ZERO;
/// Every read and write comes here.
const PAST_THE_CACHE: FopenFlags = FopenFlags::FOPEN_DIRECT_IO;

/// The file system.
#[derive(Debug)]
pub(super) struct Files {
    switch: Arc<Switch>,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// By number: the disk that it is on, and its name there.
    names: BTreeMap<u64, (u64, OsString)>,
    numbers: BTreeMap<(u64, OsString), u64>,
    open: BTreeMap<u64, Arc<Open>>,
    next_handle: u64,
}

/// An open file.
#[derive(Debug)]
struct Open {
    file: File,
    generation: u64,
}

impl Files {
    pub(super) fn new(switch: Arc<Switch>) -> Self {
        Self { switch, table: Mutex::default() }
    }

    /// The place of a file by its name, on the disk in place.
    fn place(&self, name: &OsStr, deed: Deed) -> Result<(u64, PathBuf), Errno> {
        let (generation, backing) = self.switch.in_place();
        self.switch.allow(generation, deed).map_err(errno)?;
        Ok((generation, backing.join(name)))
    }

    /// The place of a file by its number.
    fn path(&self, file: INodeNo, deed: Deed) -> Result<PathBuf, Errno> {
        if file == INodeNo::ROOT {
            let (generation, backing) = self.switch.in_place();
            self.switch.allow(generation, deed).map_err(errno)?;
            return Ok(backing);
        }
        let known = self.table().names.get(&file.0).cloned();
        let (generation, name) = known.ok_or(Errno::ENOENT)?;
        self.switch.allow(generation, deed).map_err(errno)?;
        Ok(self.switch.in_place().1.join(name))
    }

    /// The number of a file.
    fn number(&self, generation: u64, name: &OsStr) -> INodeNo {
        let mut table = self.table();
        let key = (generation, name.to_owned());
        if let Some(number) = table.numbers.get(&key) {
            return INodeNo(*number);
        }
        // Behind that of the directory.
        let number = wide(table.numbers.len()) + 2;
        table.names.insert(number, key.clone());
        table.numbers.insert(key, number);
        INodeNo(number)
    }

    fn found(&self, name: &OsStr) -> Result<FileAttr, Errno> {
        let (generation, path) = self.place(name, Deed::Look)?;
        let about = path.symlink_metadata()?;
        Ok(attributes(self.number(generation, name), &about))
    }

    fn keep(&self, file: File, generation: u64) -> FileHandle {
        let mut table = self.table();
        table.next_handle += 1;
        let handle = table.next_handle;
        table.open.insert(handle, Arc::new(Open { file, generation }));
        FileHandle(handle)
    }

    fn opened(&self, handle: FileHandle, deed: Deed) -> Result<(Arc<Open>, Answer), Errno> {
        let open = self.table().open.get(&handle.0).cloned().ok_or(Errno::EBADF)?;
        let answer = self.switch.allow(open.generation, deed).map_err(errno)?;
        Ok((open, answer))
    }

    fn open_file(&self, file: INodeNo, writes: bool) -> Result<FileHandle, Errno> {
        let path = self.path(file, if writes { Deed::Change } else { Deed::Look })?;
        let opened = OpenOptions::new().read(true).write(writes).open(path)?;
        Ok(self.keep(opened, self.switch.in_place().0))
    }

    fn make(&self, name: &OsStr) -> Result<(FileAttr, FileHandle), Errno> {
        let (generation, path) = self.place(name, Deed::Change)?;
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let about = attributes(self.number(generation, name), &file.metadata()?);
        Ok((about, self.keep(file, generation)))
    }

    fn read_some(&self, handle: FileHandle, offset: u64, size: u32) -> Result<Vec<u8>, Errno> {
        let (open, _) = self.opened(handle, Deed::Read(size.into()))?;
        let mut data = vec![0; usize::try_from(size).map_err(|_| Errno::EINVAL)?];
        let mut filled = 0;
        while filled < data.len() {
            match open.file.read_at(&mut data[filled..], offset + wide(filled))? {
                0 => break,
                more => filled += more,
            }
        }
        data.truncate(filled);
        Ok(data)
    }

    fn write_all(&self, handle: FileHandle, offset: u64, data: &[u8]) -> Result<u32, Errno> {
        let (open, answer) = self.opened(handle, Deed::Write(wide(data.len())))?;
        if answer == Answer::Done {
            open.file.write_all_at(data, offset)?;
        }
        u32::try_from(data.len()).map_err(|_| Errno::EINVAL)
    }

    fn list(&self) -> Result<Vec<(INodeNo, FileType, OsString)>, Errno> {
        let (generation, backing) = self.place(OsStr::new(""), Deed::Look)?;
        let mut list = vec![
            (INodeNo::ROOT, FileType::Directory, OsString::from(".")),
            (INodeNo::ROOT, FileType::Directory, OsString::from("..")),
        ];
        for entry in backing.read_dir()? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                let name = entry.file_name();
                list.push((self.number(generation, &name), FileType::RegularFile, name));
            }
        }
        Ok(list)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn errno(errno: rustix::io::Errno) -> Errno {
    Errno::from_i32(errno.raw_os_error())
}

fn attributes(number: INodeNo, about: &Metadata) -> FileAttr {
    let time = |time: io::Result<SystemTime>| time.unwrap_or(SystemTime::UNIX_EPOCH);
    FileAttr {
        ino: number,
        size: about.len(),
        blocks: about.blocks(),
        atime: time(about.accessed()),
        mtime: time(about.modified()),
        ctime: time(about.modified()),
        crtime: time(about.created()),
        kind: if about.is_dir() { FileType::Directory } else { FileType::RegularFile },
        perm: u16::try_from(about.mode() & 0o7777).unwrap_or(0o600),
        nlink: 1,
        uid: about.uid(),
        gid: about.gid(),
        rdev: 0,
        blksize: 4_096,
        flags: 0,
    }
}

impl Filesystem for Files {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = if parent == INodeNo::ROOT { self.found(name) } else { Err(Errno::ENOTDIR) };
        match found {
            Ok(about) => reply.entry(&NOT_KEPT, &about, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn getattr(&self, _: &Request, file: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.path(file, Deed::Look).and_then(|path| Ok(path.symlink_metadata()?)) {
            Ok(about) => reply.attr(&NOT_KEPT, &attributes(file, &about)),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        file: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let changed = self.path(file, Deed::Change).and_then(|path| {
            if let Some(size) = size {
                OpenOptions::new().write(true).open(&path)?.set_len(size)?;
            }
            Ok(path.symlink_metadata()?)
        });
        match changed {
            Ok(about) => reply.attr(&NOT_KEPT, &attributes(file, &about)),
            Err(error) => reply.error(error),
        }
    }

    fn open(&self, _: &Request, file: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        match self.open_file(file, flags.acc_mode() != OpenAccMode::O_RDONLY) {
            Ok(handle) => reply.opened(handle, PAST_THE_CACHE),
            Err(error) => reply.error(error),
        }
    }

    fn create(&self, _: &Request, _: INodeNo, name: &OsStr, _: u32, _: u32, _: i32, reply: ReplyCreate) {
        match self.make(name) {
            Ok((about, handle)) => reply.created(&NOT_KEPT, &about, Generation(0), handle, PAST_THE_CACHE),
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.read_some(handle, offset, size) {
            Ok(data) => reply.data(&data),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.write_all(handle, offset, data) {
            Ok(written) => reply.written(written),
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // It is asked for when a file is closed, and promises nothing.
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        let closed = self.table().open.remove(&handle.0);
        drop(closed);
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, handle: FileHandle, _: bool, reply: ReplyEmpty) {
        match self.opened(handle, Deed::Flush).and_then(|(open, _)| Ok(open.file.sync_data()?)) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        match self.place(OsStr::new(""), Deed::Flush) {
            Ok(_) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn unlink(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let removed = self.place(name, Deed::Change).and_then(|(_, path)| Ok(std::fs::remove_file(path)?));
        match removed {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn readdir(&self, _: &Request, _: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let list = match self.list() {
            Ok(list) => list,
            Err(error) => return reply.error(error),
        };
        let skipped = usize::try_from(offset).unwrap_or(usize::MAX);
        for (at, (number, kind, name)) in (1_u64..).zip(list).skip(skipped) {
            if reply.add(number, at, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let about = self
            .place(OsStr::new(""), Deed::Look)
            .and_then(|(_, backing)| rustix::fs::statvfs(backing).map_err(errno));
        match about {
            Ok(about) => {
                let unit = u32::try_from(about.f_frsize).unwrap_or(4_096);
                reply.statfs(about.f_blocks, about.f_bfree, about.f_bavail, 0, 0, unit, 255, unit);
            }
            Err(error) => reply.error(error),
        }
    }

    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let allocated = if mode == 0 {
            self.opened(handle, Deed::Write(0)).and_then(|(open, _)| {
                rustix::fs::fallocate(&open.file, FallocateFlags::empty(), offset, length).map_err(errno)
            })
        } else {
            Err(Errno::EOPNOTSUPP)
        };
        match allocated {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }
}
