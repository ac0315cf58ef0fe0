//! Writes a ZIP archive (APPNOTE 6.3.10) whose files are stored as they are, of any size.
//!
//! Footage does not get smaller by compressing, and what is stored can be read where it stands. The length of each file is
//! known before it is written; its CRC is entered into the header behind it, so that no reader needs data descriptors.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;

use crc32fast::Hasher;
use sha2::{Digest as _, Sha256};

use super::{ManifestFile, hexadecimal};

pub(super) const LOCAL_MAGIC: u32 = 0x0403_4b50;
pub(super) const CENTRAL_MAGIC: u32 = 0x0201_4b50;
pub(super) const END_MAGIC: u32 = 0x0605_4b50;
pub(super) const END_64_MAGIC: u32 = 0x0606_4b50;
pub(super) const LOCATOR_64_MAGIC: u32 = 0x0706_4b50;
/// Names are UTF-8 (§4.4.4, bit 11).
pub(super) const FLAGS: u16 = 0x0800;
/// Stands where a number has more than 32 bits (§4.5.3).
pub(super) const ELSEWHERE: u32 = u32::MAX;
/// The extra field of the long numbers (§4.5.3).
pub(super) const LONG_NUMBERS: u16 = 1;
/// Where the CRC is in a local header (§4.3.7).
const CRC_OFFSET_BYTES: u64 = 14;
/// What is needed to extract: ZIP64 (§4.4.3.2).
pub(super) const VERSION_64: u16 = 45;
pub(super) const VERSION: u16 = 20;
/// 1980-01-01, the first date that there is (§4.4.6): labels are in the names, and local times mislead.
pub(super) const DATE: u16 = 0x0021;

/// A file of the archive.
#[derive(Clone, Debug)]
struct Entry {
    name: String,
    offset_bytes: u64,
    bytes: u64,
    crc: u32,
    long: bool,
}

/// The file that is being written.
struct Open {
    entry: Entry,
    written: u64,
    crc: Hasher,
    sha256: Sha256,
}

/// An archive that is being written.
pub(crate) struct ZipWriter {
    file: File,
    at: u64,
    entries: Vec<Entry>,
    open: Option<Open>,
    /// Numbers of this size and above are told in the long form.
    long_from: u64,
}

impl ZipWriter {
    /// An archive in `file`, which is empty.
    pub(crate) const fn new(file: File) -> Self {
        Self { file, at: 0, entries: Vec::new(), open: None, long_from: ELSEWHERE as u64 }
    }

    /// The same, with all numbers in the long form, so that it is tested without four gibibytes.
    #[cfg(test)]
    pub(super) fn always_long(file: File) -> Self {
        Self { long_from: 0, ..Self::new(file) }
    }

    /// Begins a file of `bytes`.
    pub(crate) fn begin(&mut self, name: &str, bytes: u64) -> io::Result<()> {
        if self.open.is_some() {
            return Err(io::Error::other("the file before is not ended"));
        }
        let long = bytes >= self.long_from;
        let entry = Entry { name: name.to_owned(), offset_bytes: self.at, bytes, crc: 0, long };
        let mut header = Vec::new();
        put32(&mut header, LOCAL_MAGIC);
        let extra = if long { long_numbers(&[bytes, bytes]) } else { Vec::new() };
        put_common(&mut header, &entry, short(bytes, long), &extra)?;
        header.extend_from_slice(name.as_bytes());
        header.extend_from_slice(&extra);
        self.put(&header)?;
        self.open = Some(Open { entry, written: 0, crc: Hasher::new(), sha256: Sha256::new() });
        Ok(())
    }

    /// Writes the next bytes of the file that was begun.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let open = self.open.as_mut().ok_or_else(|| io::Error::other("no file is begun"))?;
        open.written = open.written.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if open.written > open.entry.bytes {
            return Err(io::Error::other("the file is longer than was said"));
        }
        open.crc.update(bytes);
        open.sha256.update(bytes);
        self.put(bytes)
    }

    /// Ends the file that was begun.
    pub(crate) fn end(&mut self) -> io::Result<ManifestFile> {
        let Open { mut entry, written, crc, sha256 } =
            self.open.take().ok_or_else(|| io::Error::other("no file is begun"))?;
        if written != entry.bytes {
            return Err(io::Error::other("the file is shorter than was said"));
        }
        entry.crc = crc.finalize();
        self.file
            .write_all_at(&entry.crc.to_le_bytes(), entry.offset_bytes.saturating_add(CRC_OFFSET_BYTES))?;
        let told = ManifestFile {
            name: entry.name.clone(),
            bytes: written,
            sha256: hexadecimal(&sha256.finalize()),
        };
        self.entries.push(entry);
        Ok(told)
    }

    /// Writes a whole file.
    pub(crate) fn add(&mut self, name: &str, bytes: &[u8]) -> io::Result<ManifestFile> {
        self.begin(name, u64::try_from(bytes.len()).unwrap_or(u64::MAX))?;
        self.write(bytes)?;
        self.end()
    }

    /// Writes the directory, brings all of it to the disk, and returns how many bytes it is.
    pub(crate) fn finish(mut self) -> io::Result<u64> {
        let begin = self.at;
        let mut out = Vec::new();
        for entry in &self.entries {
            let far = entry.offset_bytes >= self.long_from;
            let mut numbers = Vec::new();
            if entry.long {
                numbers.extend([entry.bytes, entry.bytes]);
            }
            if far {
                numbers.push(entry.offset_bytes);
            }
            let extra = if numbers.is_empty() { Vec::new() } else { long_numbers(&numbers) };
            put32(&mut out, CENTRAL_MAGIC);
            // Made by the same version, for no system in particular.
            put16(&mut out, VERSION_64);
            put_common(&mut out, entry, short(entry.bytes, entry.long), &extra)?;
            // No comment, the first disk, binary, no attributes.
            out.extend_from_slice(&[0; 10]);
            put32(&mut out, short(entry.offset_bytes, far));
            out.extend_from_slice(entry.name.as_bytes());
            out.extend_from_slice(&extra);
        }
        let bytes = u64::try_from(out.len()).unwrap_or(u64::MAX);
        let count = u64::try_from(self.entries.len()).unwrap_or(u64::MAX);
        let end = begin.saturating_add(bytes);
        let long = begin >= self.long_from || count >= u64::from(u16::MAX);
        if long {
            put32(&mut out, END_64_MAGIC);
            // Bytes of this record behind this number.
            put64(&mut out, 44);
            put16(&mut out, VERSION_64);
            put16(&mut out, VERSION_64);
            out.extend_from_slice(&[0; 8]);
            [count, count, bytes, begin].into_iter().for_each(|number| put64(&mut out, number));
            put32(&mut out, LOCATOR_64_MAGIC);
            put32(&mut out, 0);
            put64(&mut out, end);
            put32(&mut out, 1);
        }
        put32(&mut out, END_MAGIC);
        put32(&mut out, 0);
        let short_count = if long { u16::MAX } else { u16::try_from(count).unwrap_or(u16::MAX) };
        put16(&mut out, short_count);
        put16(&mut out, short_count);
        put32(&mut out, short(bytes, long));
        put32(&mut out, short(begin, long));
        put16(&mut out, 0);
        self.put(&out)?;
        self.file.sync_all()?;
        Ok(self.at)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.at = self.at.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok(())
    }
}

/// The fields that both headers have (§4.3.7, §4.3.12), from what is needed to extract to the length of the extra field.
fn put_common(out: &mut Vec<u8>, entry: &Entry, bytes: u32, extra: &[u8]) -> io::Result<()> {
    let length = |bytes: usize| u16::try_from(bytes).map_err(|_| io::Error::other("a name is too long"));
    put16(out, if entry.long { VERSION_64 } else { VERSION });
    put16(out, FLAGS);
    // Stored.
    put16(out, 0);
    put16(out, 0);
    put16(out, DATE);
    put32(out, entry.crc);
    put32(out, bytes);
    put32(out, bytes);
    put16(out, length(entry.name.len())?);
    put16(out, length(extra.len())?);
    Ok(())
}

fn long_numbers(numbers: &[u64]) -> Vec<u8> {
    let mut extra = Vec::new();
    put16(&mut extra, LONG_NUMBERS);
    put16(&mut extra, u16::try_from(numbers.len().saturating_mul(8)).unwrap_or(u16::MAX));
    numbers.iter().for_each(|number| put64(&mut extra, *number));
    extra
}

/// A number of 32 bits, or that it stands elsewhere.
fn short(number: u64, elsewhere: bool) -> u32 {
    if elsewhere { ELSEWHERE } else { u32::try_from(number).unwrap_or(ELSEWHERE) }
}

fn put16(out: &mut Vec<u8>, number: u16) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put32(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put64(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}
