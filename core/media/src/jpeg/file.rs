//! Reads the segments of a file (T.81 Annex B.1).

use super::header::{DHT, DQT, DRI, EOI, SOI, SOS};
use super::{STANDARD_HUFFMAN, Subsampling};

/// Why a file cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It does not begin as a JPEG file does, or ends before its scan.
    #[error("not a JPEG file, or cut off")]
    Malformed,
    /// It is coded progressively, losslessly or arithmetically.
    #[error("JPEG file is not a baseline one (frame marker {0:#04x})")]
    Frame(u8),
    /// It has no pixels.
    #[error("JPEG file of {0} x {1} pixels")]
    Size(u16, u16),
}

/// A segment before the scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// The second byte of its marker.
    pub marker: u8,
    /// What stands behind its length.
    pub body: &'a [u8],
    /// All of it, with marker and length.
    pub bytes: &'a [u8],
    /// Where what follows begins, from the first byte that was looked at.
    pub end: usize,
}

/// The segments that stand one behind the other in `bytes`, without SOI, up to SOS and including it; ends early where
/// they are malformed.
pub fn segments(bytes: &[u8]) -> impl Iterator<Item = Segment<'_>> {
    let mut rest = bytes;
    let mut ended = false;
    std::iter::from_fn(move || {
        if ended {
            return None;
        }
        // Any number of fill bytes may stand before a marker.
        while let [0xff, 0xff, ..] = rest {
            rest = rest.get(1..)?;
        }
        let [0xff, marker, high, low, ..] = *rest else { return None };
        if matches!(marker, 0x00 | 0x01 | 0xd0..=EOI) {
            return None;
        }
        let length = usize::from(u16::from_be_bytes([high, low])) + 2;
        let (segment, after) = rest.split_at_checked(length)?;
        let body = segment.get(4..)?;
        rest = after;
        ended = marker == SOS;
        Some(Segment { marker, body, bytes: segment, end: bytes.len() - rest.len() })
    })
}

impl<'a> Segment<'a> {
    /// Whether it is the start of a frame (table B.1).
    pub fn is_frame(&self) -> bool {
        matches!(self.marker, 0xc0..=0xcf) && !matches!(self.marker, DHT | 0xc8 | 0xcc)
    }

    /// Width and height that the start of a frame says.
    pub fn size(&self) -> Option<(u16, u16)> {
        let [_, h0, h1, w0, w1, ..] = *self.body else { return None };
        Some((u16::from_be_bytes([w0, w1]), u16::from_be_bytes([h0, h1])))
    }

    /// Number, sampling factors and quantization table of each component that the start of a frame says.
    pub fn components(&self) -> &'a [[u8; 3]] {
        self.body.get(6..).unwrap_or_default().as_chunks::<3>().0
    }
}

/// Width and height of a JPEG file in pixels.
pub fn size(file: &[u8]) -> Option<(u16, u16)> {
    let frame = segments(file.strip_prefix(&[0xff, SOI])?).find(Segment::is_frame)?;
    frame.size().filter(|(width, height)| *width > 0 && *height > 0)
}

/// A file taken apart for RTP.
#[derive(Debug)]
pub struct JpegFile<'a> {
    pub(crate) size: (u16, u16),
    pub(crate) subsampling: Option<Subsampling>,
    /// The quantization tables 0 and 1, with the bits of their precision; `None` when there is no such.
    pub(crate) quantization: Option<(u8, [&'a [u8]; 2])>,
    pub(crate) restart_interval: u16,
    /// The Huffman tables are those of Annex K.3.
    pub(crate) standard_huffman: bool,
    /// All segments from SOI to the scan.
    pub(crate) header: &'a [u8],
    /// The scan, with the end of the image.
    pub(crate) scan: &'a [u8],
}

impl<'a> JpegFile<'a> {
    /// Reads a file of one baseline picture.
    pub fn parse(file: &'a [u8]) -> Result<Self, FileError> {
        let malformed = FileError::Malformed;
        let body = file.strip_prefix(&[0xff, SOI]).ok_or(malformed)?;
        let (mut frame, mut tables, mut huffman, mut restart_interval) = (None, [None; 2], [false; 4], 0);
        let mut standard_huffman = true;
        let mut header_bytes = None;
        for segment in segments(body) {
            match segment.marker {
                DQT => quantization(segment.body, &mut tables),
                DHT => standard_huffman &= is_standard(segment.body, &mut huffman),
                DRI => {
                    restart_interval =
                        segment.body.first_chunk().map_or(0, |bytes| u16::from_be_bytes(*bytes))
                }
                SOS => header_bytes = Some(segment.end),
                _ if segment.is_frame() => frame = Some(segment),
                _ => {}
            }
        }
        let (header, scan) = header_bytes.and_then(|bytes| body.split_at_checked(bytes)).ok_or(malformed)?;
        let frame = frame.ok_or(malformed)?;
        if !matches!(frame.marker, 0xc0 | 0xc1) {
            return Err(FileError::Frame(frame.marker));
        }
        let size = frame.size().ok_or(malformed)?;
        if size.0 == 0 || size.1 == 0 {
            return Err(FileError::Size(size.0, size.1));
        }
        if scan.is_empty() {
            return Err(malformed);
        }
        let subsampling = subsampling(&frame);
        let quantization = match tables {
            [Some((p0, t0)), Some((p1, t1))] => Some((p0 | p1 << 1, [t0, t1])),
            [Some((p0, t0)), None] if frame.components().iter().all(|[_, _, table]| *table == 0) => {
                Some((p0 | p0 << 1, [t0, t0]))
            }
            _ => None,
        };
        let header = header.len().checked_add(2).and_then(|bytes| file.get(..bytes)).ok_or(malformed)?;
        Ok(Self {
            size,
            subsampling,
            quantization,
            restart_interval,
            standard_huffman: standard_huffman && huffman == [true; 4],
            header,
            scan,
        })
    }
}

/// The sampling that RFC 2435 knows, if a frame has one of its two.
fn subsampling(frame: &Segment<'_>) -> Option<Subsampling> {
    let [[_, luma, 0], [_, 0x11, blue_table], [_, 0x11, red_table]] = *frame.components() else {
        return None;
    };
    if blue_table != red_table || blue_table > 1 {
        return None;
    }
    match luma {
        0x21 => Some(Subsampling::Columns),
        0x22 => Some(Subsampling::ColumnsAndRows),
        _ => None,
    }
}

/// Takes the tables 0 and 1 out of a segment of quantization tables.
fn quantization<'a>(body: &'a [u8], tables: &mut [Option<(u8, &'a [u8])>; 2]) {
    let mut rest = body;
    while let Some((kind, after)) = rest.split_first() {
        let wide = u8::from(kind >> 4 != 0);
        let Some((table, after)) = after.split_at_checked(64 << wide) else { return };
        if let Some(place) = tables.get_mut(usize::from(kind & 0x0f)) {
            *place = Some((wide, table));
        }
        rest = after;
    }
}

/// Whether all tables of a segment are those of Annex K.3; `seen` is told which came.
fn is_standard(body: &[u8], seen: &mut [bool; 4]) -> bool {
    let mut rest = body;
    while let Some((kind, after)) = rest.split_first() {
        let known =
            STANDARD_HUFFMAN.iter().zip(seen.iter_mut()).find(|(table, _)| table.class_and_number == *kind);
        let Some((table, seen)) = known else { return false };
        let tail = after.strip_prefix(&table.lengths).and_then(|after| after.strip_prefix(table.values));
        let Some(tail) = tail else { return false };
        *seen = true;
        rest = tail;
    }
    true
}
