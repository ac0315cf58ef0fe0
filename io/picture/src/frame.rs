//! What is said between a program and its worker: frames of a length and so many bytes, over a pipe.
//!
//! Both ends read with the same bounds. The worker's side is written for the case that its decoder was taken over by
//! what it decoded: of a reply nothing is believed but its length, a code, and bytes that go to a browser as a picture.

use std::io::{self, Read, Write};

/// Largest request: ten seconds of a camera that sends far too much.
pub const REQUEST_BYTES_MAX: usize = 32 << 20;
/// Largest reply: a picture of 8,192 pixels squared needs less.
pub const REPLY_BYTES_MAX: usize = 32 << 20;
/// Most access units of a request: what leads from a key frame to the picture that is wanted.
pub const UNITS_MAX: usize = 600;
/// Longest side of a picture in pixels.
pub(crate) const SIDE_PIXELS_MAX: u16 = 8_192;
/// Longest text of an error.
const TEXT_BYTES_MAX: usize = 512;

const H264: u8 = 1;
const JPEG: u8 = 2;
const READY: u8 = 0;
const PICTURE: u8 = 1;
const FAILED: u8 = 2;

/// Why something cannot be said, or is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than agreed.
    #[error("what leads to the picture has {bytes} bytes, and a decoder is given at most {max}")]
    TooLong {
        /// Its bytes.
        bytes: usize,
        /// The most.
        max: usize,
    },
    /// More access units than agreed.
    #[error("{0} pictures lead to the one that is wanted, and a decoder is given at most {UNITS_MAX}")]
    TooMany(usize),
    /// Not what was agreed.
    #[error("it is not understood")]
    Malformed,
}

/// How pictures are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// H.264: samples of NAL units with 4-byte lengths, from a key frame with its parameter sets on.
    H264,
    /// One JPEG file.
    Jpeg,
}

/// What a worker is asked for: the last picture of `units`, as a JPEG file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// How they are coded.
    pub coding: Coding,
    /// Width to scale down to; 0 leaves the picture as it is.
    pub width: u16,
    /// The pictures in decoding order, the last one wanted; for JPEG one.
    pub units: Vec<Vec<u8>>,
}

/// A picture that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Its pixels in a line.
    pub width: u16,
    /// Its lines.
    pub height: u16,
    /// The JPEG file.
    pub file: Vec<u8>,
}

/// What a worker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// It has given up everything, and waits for requests.
    Ready,
    /// A picture.
    Picture(Made),
    /// None, and why.
    Failed(String),
}

impl Request {
    /// The request as a frame.
    pub(crate) fn to_frame(&self) -> Result<Vec<u8>, FrameError> {
        if self.units.is_empty() || self.units.len() > UNITS_MAX {
            return Err(FrameError::TooMany(self.units.len()));
        }
        let held =
            self.units.iter().fold(7_usize, |sum, unit| sum.saturating_add(unit.len().saturating_add(4)));
        if held > REQUEST_BYTES_MAX {
            return Err(FrameError::TooLong { bytes: held, max: REQUEST_BYTES_MAX });
        }
        let mut frame = Vec::with_capacity(held.saturating_add(4));
        frame.extend_from_slice(&word(held));
        frame.push(match self.coding {
            Coding::H264 => H264,
            Coding::Jpeg => JPEG,
        });
        frame.extend_from_slice(&self.width.to_le_bytes());
        frame.extend_from_slice(&word(self.units.len()));
        for unit in &self.units {
            frame.extend_from_slice(&word(unit.len()));
            frame.extend_from_slice(unit);
        }
        Ok(frame)
    }

    /// Reads the content of a frame.
    pub(crate) fn parse(content: &[u8]) -> Result<Self, FrameError> {
        let malformed = FrameError::Malformed;
        let ([coding, w0, w1, c0, c1, c2, c3], mut rest) =
            content.split_first_chunk::<7>().ok_or(malformed.clone())?;
        let coding = match *coding {
            H264 => Coding::H264,
            JPEG => Coding::Jpeg,
            _ => return Err(malformed),
        };
        let count = length([*c0, *c1, *c2, *c3]);
        if count == 0 || count > UNITS_MAX {
            return Err(FrameError::TooMany(count));
        }
        let mut units = Vec::new();
        for _ in 0..count {
            let (bytes, after) = rest.split_first_chunk::<4>().ok_or(malformed.clone())?;
            let (unit, after) = after.split_at_checked(length(*bytes)).ok_or(malformed.clone())?;
            units.push(unit.to_vec());
            rest = after;
        }
        if !rest.is_empty() {
            return Err(malformed);
        }
        Ok(Self { coding, width: u16::from_le_bytes([*w0, *w1]), units })
    }
}

impl Reply {
    /// The reply as a frame.
    pub(crate) fn to_frame(&self) -> Vec<u8> {
        let mut content = Vec::new();
        match self {
            Self::Ready => content.push(READY),
            Self::Picture(made) if made.file.len() <= REPLY_BYTES_MAX - 5 => {
                content.push(PICTURE);
                content.extend_from_slice(&made.width.to_le_bytes());
                content.extend_from_slice(&made.height.to_le_bytes());
                content.extend_from_slice(&made.file);
            }
            Self::Picture(_) => return Self::Failed("it is too large".to_owned()).to_frame(),
            Self::Failed(why) => {
                content.push(FAILED);
                let bytes = why.as_bytes();
                content.extend_from_slice(bytes.get(..TEXT_BYTES_MAX).unwrap_or(bytes));
            }
        }
        let mut frame = word(content.len()).to_vec();
        frame.extend_from_slice(&content);
        frame
    }

    /// Reads the content of a frame.
    pub(crate) fn parse(content: &[u8]) -> Result<Self, FrameError> {
        match content {
            [READY] => Ok(Self::Ready),
            [PICTURE, w0, w1, h0, h1, file @ ..] => {
                let (width, height) = (u16::from_le_bytes([*w0, *w1]), u16::from_le_bytes([*h0, *h1]));
                let is_jpeg = file.starts_with(&[0xff, 0xd8]) && file.ends_with(&[0xff, 0xd9]);
                if width == 0 || height == 0 || !is_jpeg {
                    return Err(FrameError::Malformed);
                }
                Ok(Self::Picture(Made { width, height, file: file.to_vec() }))
            }
            [FAILED, text @ ..] => {
                let text = text.get(..TEXT_BYTES_MAX).unwrap_or(text);
                let printable = |letter: char| if letter.is_control() { ' ' } else { letter };
                Ok(Self::Failed(String::from_utf8_lossy(text).chars().map(printable).collect()))
            }
            _ => Err(FrameError::Malformed),
        }
    }
}

/// The content of the next frame; `None` at the end. Memory grows with what comes, not with what is announced.
pub(crate) fn read_frame(input: &mut impl Read, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
    let mut head = [0; 4];
    match input.read(&mut head)? {
        0 => return Ok(None),
        first => input.read_exact(head.get_mut(first..).unwrap_or_default())?,
    }
    let bytes = length(head);
    if bytes > bytes_max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is longer than agreed"));
    }
    let mut content = Vec::new();
    input.take(u64::try_from(bytes).unwrap_or(u64::MAX)).read_to_end(&mut content)?;
    if content.len() < bytes {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(content))
}

/// Writes a frame.
pub(crate) fn write_frame(output: &mut impl Write, frame: &[u8]) -> io::Result<()> {
    output.write_all(frame)?;
    output.flush()
}

/// Bytes that a length announces.
pub(crate) fn length(word: [u8; 4]) -> usize {
    usize::try_from(u32::from_le_bytes(word)).unwrap_or(usize::MAX)
}

fn word(length: usize) -> [u8; 4] {
    // All lengths are bounded far below.
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

/// Reads bytes as both ends would, for the fuzz target: whatever they are, this returns, and what is understood is
/// said again in the same bytes.
pub fn decode_untrusted(bytes: &[u8]) {
    let mut input = bytes;
    while let Ok(Some(content)) = read_frame(&mut input, 1 << 20) {
        if let Ok(request) = Request::parse(&content) {
            let again = request.to_frame().expect("what was read is within the bounds");
            assert_eq!(again.get(4..), Some(content.as_slice()), "a request is said in one way");
        }
        if let Ok(Reply::Picture(made)) = Reply::parse(&content) {
            let again = Reply::Picture(made).to_frame();
            assert_eq!(again.get(4..), Some(content.as_slice()), "a picture is said in one way");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        Request { coding: Coding::H264, width: 640, units: vec![vec![1, 2, 3], Vec::new(), vec![4]] }
    }

    #[test]
    fn what_is_said_is_understood() {
        let frame = request().to_frame().unwrap();
        let content = read_frame(&mut frame.as_slice(), REQUEST_BYTES_MAX).unwrap().unwrap();
        assert_eq!(Request::parse(&content), Ok(request()));
        let made = Made { width: 2, height: 3, file: vec![0xff, 0xd8, 7, 0xff, 0xd9] };
        for reply in [Reply::Ready, Reply::Picture(made), Reply::Failed("no key frame".to_owned())] {
            let frame = reply.to_frame();
            let content = read_frame(&mut frame.as_slice(), REPLY_BYTES_MAX).unwrap().unwrap();
            assert_eq!(Reply::parse(&content), Ok(reply));
        }
        assert_eq!(read_frame(&mut [].as_slice(), 1).unwrap(), None);
    }

    #[test]
    fn what_is_cut_off_or_too_long_is_refused() {
        let frame = request().to_frame().unwrap();
        for end in 1..frame.len() {
            assert!(read_frame(&mut &frame[..end], REQUEST_BYTES_MAX).is_err(), "{end}");
        }
        let content = &frame[4..];
        for end in 0..content.len() {
            assert!(Request::parse(&content[..end]).is_err(), "{end}");
        }
        assert!(read_frame(&mut [255, 255, 255, 255].as_slice(), REPLY_BYTES_MAX).is_err());
        let long = Request { units: vec![vec![0; REQUEST_BYTES_MAX]], ..request() };
        assert!(matches!(long.to_frame(), Err(FrameError::TooLong { .. })));
        let many = Request { units: vec![Vec::new(); UNITS_MAX + 1], ..request() };
        assert_eq!(many.to_frame(), Err(FrameError::TooMany(UNITS_MAX + 1)));
    }

    #[test]
    fn a_reply_that_is_no_picture_is_not_passed_on() {
        for content in [
            &[PICTURE, 1, 0, 1, 0, b'<', b'h'][..],
            &[PICTURE, 0, 0, 1, 0, 0xff, 0xd8, 0xff, 0xd9],
            &[9],
            &[],
        ] {
            assert_eq!(Reply::parse(content), Err(FrameError::Malformed), "{content:?}");
        }
        assert_eq!(Reply::parse(&[FAILED, 27, b'x']), Ok(Reply::Failed(" x".to_owned())));
    }
}
