//! Writes the segments that stand before the scan (T.81 Annex B.2).

use super::STANDARD_HUFFMAN;

/// Start of image.
pub(crate) const SOI: u8 = 0xd8;
/// End of image.
pub(crate) const EOI: u8 = 0xd9;
/// Start of scan.
pub(crate) const SOS: u8 = 0xda;
/// Quantization tables.
pub(crate) const DQT: u8 = 0xdb;
/// Huffman tables.
pub(crate) const DHT: u8 = 0xc4;
/// Restart interval.
pub(crate) const DRI: u8 = 0xdd;
/// Start of a baseline frame.
const SOF0: u8 = 0xc0;
/// Start of an extended sequential frame: 16-bit quantization tables need it.
const SOF1: u8 = 0xc1;
/// The segment that says that the file is a JFIF file.
pub(crate) const APP0: u8 = 0xe0;

/// How chrominance is sampled: the types of RFC 2435 §4.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subsampling {
    /// Half the columns, all rows: 4:2:2, type 0.
    Columns,
    /// Half the columns, half the rows: 4:2:0, type 1.
    ColumnsAndRows,
}

/// Appends a segment; those of this module have less than 64 KiB.
fn write_segment(out: &mut Vec<u8>, marker: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(&[0xff, marker, 0, 0]);
    let begin = out.len();
    body(out);
    let length = u16::try_from(out.len() - begin + 2).unwrap_or(u16::MAX);
    if let Some(place) = out.get_mut(begin - 2..begin) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

/// Appends the segment of a JFIF file of version 1.1 with square pixels.
pub(crate) fn write_jfif(out: &mut Vec<u8>) {
    write_segment(out, APP0, |out| out.extend_from_slice(b"JFIF\0\x01\x01\x00\x00\x01\x00\x01\x00\x00"));
}

/// Appends quantization tables as RTP has them, one behind the other; bit n of `precision` says that table n has values
/// of two bytes. Tables beyond the second are left out.
pub(crate) fn write_quantization(out: &mut Vec<u8>, precision: u8, tables: &[u8]) {
    let mut rest = tables;
    for number in 0..2u8 {
        let wide = precision >> number & 1;
        let bytes = 64 << wide;
        let Some((table, after)) = rest.split_at_checked(bytes) else { return };
        rest = after;
        write_segment(out, DQT, |out| {
            out.push(wide << 4 | number);
            out.extend_from_slice(table);
        });
    }
}

/// Appends the tables of Annex K.3.
pub(crate) fn write_huffman(out: &mut Vec<u8>) {
    for table in &STANDARD_HUFFMAN {
        write_segment(out, DHT, |out| {
            out.push(table.class_and_number);
            out.extend_from_slice(&table.lengths);
            out.extend_from_slice(table.values);
        });
    }
}

/// Appends the restart interval in macroblocks.
pub(crate) fn write_restart_interval(out: &mut Vec<u8>, interval: u16) {
    write_segment(out, DRI, |out| out.extend_from_slice(&interval.to_be_bytes()));
}

/// Appends the start of a frame of three components; `chroma_table` is the number of the quantization table of the
/// second and third.
pub(crate) fn write_frame(
    out: &mut Vec<u8>,
    (width, height): (u16, u16),
    subsampling: Subsampling,
    precision: u8,
    chroma_table: u8,
) {
    let marker = if precision & 3 == 0 { SOF0 } else { SOF1 };
    let luma = match subsampling {
        Subsampling::Columns => 0x21,
        Subsampling::ColumnsAndRows => 0x22,
    };
    write_segment(out, marker, |out| {
        out.push(8);
        out.extend_from_slice(&height.to_be_bytes());
        out.extend_from_slice(&width.to_be_bytes());
        out.extend_from_slice(&[3, 1, luma, 0, 2, 0x11, chroma_table, 3, 0x11, chroma_table]);
    });
}

/// Appends the start of the one scan of a frame with these components: the first uses the tables of luminance, all others
/// those of chrominance.
pub(crate) fn write_scan(out: &mut Vec<u8>, components: impl ExactSizeIterator<Item = u8>) {
    write_segment(out, SOS, |out| {
        out.push(u8::try_from(components.len()).unwrap_or(0));
        for (position, component) in components.enumerate() {
            out.extend_from_slice(&[component, if position == 0 { 0x00 } else { 0x11 }]);
        }
        out.extend_from_slice(&[0, 63, 0]);
    });
}
