//! Reads the directory of an archive as this program writes it, and no other: stored files that stand one behind the other
//! from the first byte on, the directory behind them, and nothing else. So there is no place for what a manifest does not
//! name.

use std::io::{self, Read, Seek, SeekFrom};

use super::zip::{
    CENTRAL_MAGIC, DATE, ELSEWHERE, END_64_MAGIC, END_MAGIC, FLAGS, LOCAL_MAGIC, LOCATOR_64_MAGIC,
    LONG_NUMBERS, VERSION, VERSION_64,
};

/// Bytes of the last record (§4.3.16), of the long one before it (§4.3.14), and of its locator (§4.3.15).
const END_BYTES: u64 = 22;
const END_64_BYTES: u64 = 56;
const LOCATOR_64_BYTES: u64 = 20;
/// Largest directory that is read: a hundred thousand files.
const DIRECTORY_BYTES_MAX: u64 = 16 << 20;

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum UnzipError {
    /// It cannot be read at all.
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    /// It is none as this program writes it.
    #[error("it is no export of Keepwatch, or was changed or cut off: {0}")]
    Malformed(&'static str),
}

/// A file of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    /// Where its bytes begin.
    pub(super) offset_bytes: u64,
    pub(super) bytes: u64,
    /// CRC-32 of its bytes.
    pub(super) crc: u32,
}

/// The fields of a record, one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], UnzipError> {
        let (taken, rest) =
            self.0.split_at_checked(bytes).ok_or(UnzipError::Malformed("its directory is cut off"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], UnzipError> {
        Ok(self.take(N)?.try_into().unwrap_or([0; N]))
    }

    fn u16(&mut self) -> Result<u16, UnzipError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, UnzipError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, UnzipError> {
        Ok(u64::from_le_bytes(self.array()?))
    }
}

/// Lists the files of an archive.
pub(super) fn list(input: &mut (impl Read + Seek)) -> Result<Vec<Entry>, UnzipError> {
    let length = input.seek(SeekFrom::End(0))?;
    let (begin, bytes, count) = directory(input, length)?;
    if bytes > DIRECTORY_BYTES_MAX {
        return Err(UnzipError::Malformed("its directory is too large"));
    }
    let content = read_at(input, begin, bytes)?;
    let mut fields = Fields(&content);
    let mut entries = Vec::new();
    let mut at = 0;
    while !fields.0.is_empty() {
        let (header, entry) = central(&mut fields)?;
        if header != at {
            return Err(UnzipError::Malformed("its files do not stand one behind the other"));
        }
        let entry = local(input, header, entry)?;
        at = entry.offset_bytes.checked_add(entry.bytes).ok_or(UnzipError::Malformed("a file has no end"))?;
        entries.push(entry);
    }
    if at != begin {
        return Err(UnzipError::Malformed("something stands between its files and its directory"));
    }
    if u64::try_from(entries.len()) != Ok(count) {
        return Err(UnzipError::Malformed("its directory does not have as many files as it says"));
    }
    Ok(entries)
}

/// Begin, bytes and files of the directory.
fn directory(input: &mut (impl Read + Seek), length: u64) -> Result<(u64, u64, u64), UnzipError> {
    let cut = UnzipError::Malformed("it does not end as an archive does");
    let Some(end) = length.checked_sub(END_BYTES) else { return Err(cut) };
    let record = read_at(input, end, END_BYTES)?;
    let mut fields = Fields(&record);
    if fields.u32()? != END_MAGIC || fields.u32()? != 0 {
        return Err(cut);
    }
    let (here, count, bytes, begin) = (fields.u16()?, fields.u16()?, fields.u32()?, fields.u32()?);
    if here != count || fields.u16()? != 0 {
        return Err(cut);
    }
    let elsewhere = (u16::MAX, ELSEWHERE, ELSEWHERE);
    let (found, ends_at) = if (count, bytes, begin) == elsewhere {
        let Some(locator) = end.checked_sub(LOCATOR_64_BYTES) else { return Err(cut) };
        let Some(record) = locator.checked_sub(END_64_BYTES) else { return Err(cut) };
        let content = read_at(input, record, END_64_BYTES + LOCATOR_64_BYTES)?;
        let mut fields = Fields(&content);
        if fields.u32()? != END_64_MAGIC || fields.u64()? != 44 {
            return Err(cut);
        }
        if (fields.u32()?, fields.u64()?) != (u32::from(VERSION_64) << 16 | u32::from(VERSION_64), 0) {
            return Err(cut);
        }
        let (here, count, bytes, begin) = (fields.u64()?, fields.u64()?, fields.u64()?, fields.u64()?);
        let locator = (fields.u32()?, fields.u32()?, fields.u64()?, fields.u32()?);
        if here != count || locator != (LOCATOR_64_MAGIC, 0, record, 1) {
            return Err(cut);
        }
        ((begin, bytes, count), record)
    } else if count == elsewhere.0 || bytes == ELSEWHERE || begin == ELSEWHERE {
        return Err(cut);
    } else {
        ((u64::from(begin), u64::from(bytes), u64::from(count)), end)
    };
    if found.0.checked_add(found.1) != Some(ends_at) {
        return Err(UnzipError::Malformed("something stands behind its directory"));
    }
    Ok(found)
}

/// A file of the directory: where its header is, and itself without the place of its bytes.
fn central(fields: &mut Fields<'_>) -> Result<(u64, Entry), UnzipError> {
    if fields.u32()? != CENTRAL_MAGIC {
        return Err(UnzipError::Malformed("its directory is damaged"));
    }
    let made_by = fields.u16()?;
    let Common { crc, name_bytes, extra_bytes, stored, length } = Common::read(fields)?;
    if made_by != VERSION_64 || fields.take(10)? != [0; 10] {
        return Err(UnzipError::Malformed("a file has a comment, attributes, or is on another disk"));
    }
    let offset = fields.u32()?;
    let name = name(fields.take(name_bytes)?)?;
    let extra = fields.take(extra_bytes)?;
    let mut long = long_numbers(extra)?;
    let mut number = |short: u32| if short == ELSEWHERE { long.u64() } else { Ok(u64::from(short)) };
    let (stored, length, offset) = (number(stored)?, number(length)?, number(offset)?);
    if stored != length || !long.0.is_empty() {
        return Err(UnzipError::Malformed("a file is compressed"));
    }
    Ok((offset, Entry { name, offset_bytes: 0, bytes: stored, crc }))
}

/// Checks the header before a file's bytes, which readers that go from front to back believe.
fn local(input: &mut (impl Read + Seek), header: u64, entry: Entry) -> Result<Entry, UnzipError> {
    const FIXED_BYTES: u64 = 30;
    let content = read_at(input, header, FIXED_BYTES)?;
    let mut fields = Fields(&content);
    let other = UnzipError::Malformed("a file has another header than its directory says");
    if fields.u32()? != LOCAL_MAGIC {
        return Err(other);
    }
    let Common { crc, name_bytes, extra_bytes, stored, length } = Common::read(&mut fields)?;
    let behind = u64::try_from(name_bytes.saturating_add(extra_bytes)).unwrap_or(u64::MAX);
    let from = header.saturating_add(FIXED_BYTES);
    let content = read_at(input, from, behind)?;
    let mut fields = Fields(&content);
    let named = name(fields.take(name_bytes)?)?;
    let mut long = long_numbers(fields.take(extra_bytes)?)?;
    let mut number = |short: u32| if short == ELSEWHERE { long.u64() } else { Ok(u64::from(short)) };
    if (number(stored)?, number(length)?, crc) != (entry.bytes, entry.bytes, entry.crc)
        || named != entry.name
        || !long.0.is_empty()
    {
        return Err(other);
    }
    Ok(Entry { offset_bytes: from.saturating_add(behind), ..entry })
}

/// The fields that both headers have.
struct Common {
    crc: u32,
    name_bytes: usize,
    extra_bytes: usize,
    /// Bytes of the file as it is stored, and as it was.
    stored: u32,
    length: u32,
}

impl Common {
    fn read(fields: &mut Fields<'_>) -> Result<Self, UnzipError> {
        let needed = fields.u16()?;
        let fixed = (fields.u16()?, fields.u16()?, fields.u16()?, fields.u16()?);
        if !matches!(needed, VERSION | VERSION_64) || fixed != (FLAGS, 0, 0, DATE) {
            return Err(UnzipError::Malformed("a file is compressed, encrypted or dated"));
        }
        let (crc, stored, length) = (fields.u32()?, fields.u32()?, fields.u32()?);
        // With long numbers, and only with them, it takes a later version to extract.
        if (needed == VERSION_64) != (stored == ELSEWHERE) {
            return Err(UnzipError::Malformed("a file needs another version than it says"));
        }
        let (name_bytes, extra_bytes) = (fields.u16()?.into(), fields.u16()?.into());
        Ok(Self { crc, name_bytes, extra_bytes, stored, length })
    }
}

/// A name that is a file's and no path.
fn name(bytes: &[u8]) -> Result<String, UnzipError> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if bytes.is_empty() || bytes.starts_with(b".") || !bytes.iter().all(plain) {
        return Err(UnzipError::Malformed("a file has a name that no export gives"));
    }
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

/// The numbers of an extra field, if there is one.
fn long_numbers(extra: &[u8]) -> Result<Fields<'_>, UnzipError> {
    let mut fields = Fields(extra);
    if !extra.is_empty() {
        let (kind, bytes) = (fields.u16()?, fields.u16()?);
        if kind != LONG_NUMBERS || usize::from(bytes) != fields.0.len() {
            return Err(UnzipError::Malformed("a file has something beside it"));
        }
    }
    Ok(fields)
}

fn read_at(input: &mut (impl Read + Seek), offset: u64, bytes: u64) -> Result<Vec<u8>, UnzipError> {
    input.seek(SeekFrom::Start(offset))?;
    let mut content = Vec::new();
    input.take(bytes).read_to_end(&mut content)?;
    if u64::try_from(content.len()) != Ok(bytes) {
        return Err(UnzipError::Malformed("it is cut off"));
    }
    Ok(content)
}

/// Lists what may be an archive, for the fuzz target: whatever the bytes are, this returns, and no file that it lists
/// reaches out of them or over another.
pub fn list_untrusted(bytes: &[u8]) {
    let Ok(entries) = list(&mut io::Cursor::new(bytes)) else { return };
    let mut at = 0;
    for entry in entries {
        assert!(entry.offset_bytes >= at, "files do not overlap");
        at = entry.offset_bytes.checked_add(entry.bytes).expect("it was added before");
        assert!(u64::try_from(bytes.len()).is_ok_and(|length| at <= length), "files are inside");
    }
}
