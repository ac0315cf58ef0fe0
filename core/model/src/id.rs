//! Identifiers. Parsed at the edge; a value of these types is always well-formed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest camera id in bytes: it stands in the header of every record on disk.
const CAMERA_ID_BYTES_MAX: usize = 31;

/// Why a text is not an identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text breaks the rule for camera ids.
    #[error("{0:?} is not a camera id: use 1 to 31 of a-z 0-9 . _ - and begin with a letter or digit")]
    Camera(String),
    /// The text is not 32 hexadecimal digits, with or without the hyphens of a UUID.
    #[error("{0:?} is not a UUID")]
    Role(String),
    /// The text names no stream.
    #[error("{0:?} is not a stream: write main or sub")]
    Stream(String),
}

/// A camera's configured name in paths, files and the API: 1 to 31 of `a-z 0-9 . _ -`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CameraId {
    bytes: [u8; CAMERA_ID_BYTES_MAX],
    length: u8,
}

impl CameraId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.bytes.get(..usize::from(self.length)).unwrap_or_default())
            .expect("a camera id holds only ASCII")
    }
}

impl FromStr for CameraId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let well_formed = text.bytes().all(|b| letter(b) || matches!(b, b'.' | b'_' | b'-'))
            && text.bytes().next().is_some_and(letter);
        let mut bytes = [0; CAMERA_ID_BYTES_MAX];
        match bytes.get_mut(..text.len()) {
            Some(place) if well_formed => place.copy_from_slice(text.as_bytes()),
            _ => return Err(IdError::Camera(text.chars().take(64).collect())),
        }
        Ok(Self { bytes, length: u8::try_from(text.len()).expect("at most 31") })
    }
}

impl TryFrom<String> for CameraId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<CameraId> for String {
    fn from(id: CameraId) -> Self {
        id.as_str().to_owned()
    }
}

impl fmt::Display for CameraId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for CameraId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which of a camera's streams: 0 is the main stream, 1 the sub-stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StreamId(pub u8);

impl StreamId {
    /// The stream that is recorded and exported unless another is asked for.
    pub const MAIN: Self = Self(0);

    /// The second stream, with pictures that are smaller and easier to decode.
    pub const SUB: Self = Self(1);
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::MAIN => f.pad("main"),
            Self::SUB => f.pad("sub"),
            Self(number) => fmt::Display::fmt(&number, f),
        }
    }
}

impl FromStr for StreamId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        match text {
            "main" => Ok(Self::MAIN),
            "sub" => Ok(Self::SUB),
            _ => Err(IdError::Stream(text.chars().take(64).collect())),
        }
    }
}

/// The place of a track in its stream, in the order the camera announced them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TrackIndex(pub u8);

/// A recorder's identity, which Replace moves to another machine: a random UUID.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoleId(pub [u8; 16]);

impl fmt::Display for RoleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, byte) in self.0.iter().enumerate() {
            if matches!(position, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for RoleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RoleId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let refuse = || IdError::Role(text.chars().take(64).collect());
        let digits: Vec<u8> = text.bytes().filter(|b| *b != b'-').collect();
        let mut id = [0; 16];
        if digits.len() != 32 {
            return Err(refuse());
        }
        for (byte, pair) in id.iter_mut().zip(digits.chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| refuse())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| refuse())?;
        }
        Ok(Self(id))
    }
}

impl TryFrom<String> for RoleId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<RoleId> for String {
    fn from(id: RoleId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_id_is_short_lower_case_and_safe_in_a_path() {
        for good in ["cam1", "0", "a.b_c-d", &"x".repeat(31)] {
            assert_eq!(good.parse::<CameraId>().unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "-a", "Cam", "a/b", "a b", "ü", &"x".repeat(32)] {
            assert!(bad.parse::<CameraId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_stream_is_named() {
        for stream in [StreamId::MAIN, StreamId::SUB] {
            assert_eq!(stream.to_string().parse(), Ok(stream));
        }
        assert!("0".parse::<StreamId>().is_err());
    }

    #[test]
    fn a_role_id_survives_its_text() {
        let id = RoleId([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255]);
        assert_eq!(id.to_string().parse::<RoleId>(), Ok(id));
        assert!("0102".parse::<RoleId>().is_err());
        assert!("zz020304-0506-0708-090a-0b0c0d0e0fff".parse::<RoleId>().is_err());
    }
}
