//! Reads and writes little-endian fields one after the other.

use keepwatch_model::{CameraId, RoleId, WallTime};

use crate::FormatError;

/// Takes fields from untrusted bytes.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], FormatError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(FormatError::Short(self.what))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(FormatError::Short(self.what))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, FormatError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, FormatError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, FormatError> {
        self.array().map(i32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, FormatError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, FormatError> {
        self.array().map(i64::from_le_bytes)
    }

    pub(crate) fn label(&mut self) -> Result<WallTime, FormatError> {
        self.i64().map(WallTime::from_ticks)
    }

    pub(crate) fn role(&mut self) -> Result<RoleId, FormatError> {
        self.array().map(RoleId)
    }

    /// A camera id: a length and 31 bytes.
    pub(crate) fn camera(&mut self) -> Result<CameraId, FormatError> {
        let [length, text @ ..] = self.array::<32>()?;
        let text = text.get(..usize::from(length)).ok_or(FormatError::Field("camera"))?;
        let text = std::str::from_utf8(text).map_err(|_| FormatError::Field("camera"))?;
        text.parse().map_err(|_| FormatError::Field("camera"))
    }
}

/// Puts fields into a buffer that is known to be large enough.
pub(crate) struct Writer<'a> {
    into: &'a mut [u8],
    at: usize,
}

impl<'a> Writer<'a> {
    pub(crate) const fn new(into: &'a mut [u8]) -> Self {
        Self { into, at: 0 }
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        let end = self.at + bytes.len();
        self.into[self.at..end].copy_from_slice(bytes);
        self.at = end;
        self
    }

    pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&[value])
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn i32(&mut self, value: i32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn i64(&mut self, value: i64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn label(&mut self, value: WallTime) -> &mut Self {
        self.i64(value.ticks())
    }

    pub(crate) fn camera(&mut self, camera: CameraId) -> &mut Self {
        let text = camera.as_str().as_bytes();
        let mut field = [0; 32];
        field[0] = u8::try_from(text.len()).expect("a camera id has at most 31 bytes");
        field[1..=text.len()].copy_from_slice(text);
        self.bytes(&field)
    }

    pub(crate) const fn position(&self) -> usize {
        self.at
    }
}
