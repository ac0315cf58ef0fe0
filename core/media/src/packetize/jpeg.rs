//! JPEG files as RFC 2435 has them: the headers are left out, the quantization tables go in every picture (Q 255).
//!
//! What RFC 2435 cannot say goes into the header extension of ONVIF as it stands (Streaming Specification, "JPEG over
//! RTP"): pictures above 2040 pixels or of a size that is no multiple of 8, other Huffman tables, other sampling.

use crate::jpeg::{APP0, JpegFile, Subsampling, segments};
use crate::replay::EXTENSION_PROFILE;
use crate::rtp::Extension;

use super::{PAYLOAD_BYTES_MAX, PacketWriter, PacketizeError};

/// Quantization tables stand in the packet, and may change with every picture (§4.2).
const Q_IN_BAND: u8 = 255;

/// Restart markers, anywhere and in any number (§3.1.7: F, L and a count of all ones).
const RESTART_ANYWHERE: [u8; 2] = [0xff, 0xff];

/// Types 64 and above have restart markers (§4.1).
const RESTART_TYPES: u8 = 64;

/// The profile of ONVIF's header extension on the first packet of a picture.
const FIRST_EXTENSION: u16 = 0xffd8;

/// Fewest bytes of the scan in the first packet, beside all headers.
const SCAN_BYTES_MIN: usize = 64;

impl PacketWriter<'_, '_> {
    /// One picture; its last packet has the marker.
    pub(super) fn jpeg(&mut self, parts: &[&[u8]]) -> Result<(), PacketizeError> {
        let joined;
        let file = if let [file] = parts {
            file
        } else {
            joined = parts.concat();
            joined.as_slice()
        };
        if file.is_empty() {
            return Err(PacketizeError::Empty);
        }
        let file = JpegFile::parse(file)?;
        let plain = plain(&file);
        if plain.is_none() {
            self.jpeg_extension(&file)?;
        }
        let (subsampling, [width, height]) = plain.unwrap_or((Subsampling::ColumnsAndRows, [0, 0]));
        let kind = match subsampling {
            Subsampling::Columns => 0,
            Subsampling::ColumnsAndRows => 1,
        };
        let restart = file.restart_interval > 0;
        let kind = if restart { kind | RESTART_TYPES } else { kind };
        // Q 0: the tables are in the extension, or those of the picture before, which has them there.
        let q = if plain.is_some() { Q_IN_BAND } else { 0 };
        let [i0, i1] = file.restart_interval.to_be_bytes();

        let (mut rest, mut offset) = (file.scan, 0u32);
        let mut header = Vec::with_capacity(PAYLOAD_BYTES_MAX);
        // The extension takes room in the first packet only.
        let mut room = PAYLOAD_BYTES_MAX.saturating_sub(self.jpeg_extension.len());
        while !rest.is_empty() {
            header.clear();
            let [_, o0, o1, o2] = offset.to_be_bytes();
            header.extend_from_slice(&[0, o0, o1, o2, kind, q, width, height]);
            if restart {
                header.extend_from_slice(&[i0, i1, RESTART_ANYWHERE[0], RESTART_ANYWHERE[1]]);
            }
            if let (0, Some(_), Some((precision, [luma, chroma]))) = (offset, plain, file.quantization) {
                let length = u16::try_from(luma.len() + chroma.len()).unwrap_or(u16::MAX);
                header.extend_from_slice(&[0, precision]);
                header.extend_from_slice(&length.to_be_bytes());
                header.extend_from_slice(luma);
                header.extend_from_slice(chroma);
            }
            let bytes = room.saturating_sub(header.len()).max(SCAN_BYTES_MIN).min(rest.len());
            let (fragment, after) = rest.split_at_checked(bytes).unwrap_or((rest, &[]));
            rest = after;
            self.packet(rest.is_empty(), &header, fragment);
            room = PAYLOAD_BYTES_MAX;
            offset = offset.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        }
        Ok(())
    }

    /// Puts the headers of a file into the header extension of the first packet, behind what is there.
    fn jpeg_extension(&mut self, file: &JpegFile<'_>) -> Result<(), PacketizeError> {
        let mut data = Vec::with_capacity(PAYLOAD_BYTES_MAX);
        let mark = self.extension.filter(|extension| extension.profile == EXTENSION_PROFILE);
        if let Some(mark) = mark {
            data.extend_from_slice(mark.data);
            data.extend_from_slice(&FIRST_EXTENSION.to_be_bytes());
            data.extend_from_slice(&[0, 0]);
        }
        let begin = data.len();
        let header = file.header.get(2..).unwrap_or_default();
        for segment in segments(header).filter(|segment| !matches!(segment.marker, APP0..=0xef | 0xfe)) {
            if segment.marker == crate::jpeg::SOS {
                // Padding to whole words may stand before the start of the scan only.
                let length = data.len() - begin + segment.bytes.len();
                data.resize(data.len() + length.next_multiple_of(4) - length, 0xff);
            }
            data.extend_from_slice(segment.bytes);
        }
        let bytes = data.len() - begin;
        if data.len() > PAYLOAD_BYTES_MAX - 2 * SCAN_BYTES_MIN {
            return Err(PacketizeError::JpegHeaders(bytes));
        }
        if mark.is_some()
            && let Some(length) = data.get_mut(begin - 2..begin)
        {
            length.copy_from_slice(&u16::try_from(bytes / 4).unwrap_or(u16::MAX).to_be_bytes());
        }
        self.jpeg_extension = data;
        Ok(())
    }
}

/// The extension of a packet, where one of JPEG replaces that of the caller.
pub(super) fn extension<'a>(caller: Option<Extension<'a>>, jpeg: &'a [u8]) -> Option<Extension<'a>> {
    if jpeg.is_empty() {
        return caller;
    }
    let marked = caller.is_some_and(|extension| extension.profile == EXTENSION_PROFILE);
    Some(Extension { profile: if marked { EXTENSION_PROFILE } else { FIRST_EXTENSION }, data: jpeg })
}

/// Sampling, and width and height in units of 8 pixels, if RFC 2435 can say all of a file.
fn plain(file: &JpegFile<'_>) -> Option<(Subsampling, [u8; 2])> {
    let units = |pixels: u16| u8::try_from(pixels / 8).ok().filter(|units| u16::from(*units) * 8 == pixels);
    let size = [units(file.size.0)?, units(file.size.1)?];
    let subsampling = file.subsampling.filter(|_| file.standard_huffman && file.quantization.is_some())?;
    Some((subsampling, size))
}
