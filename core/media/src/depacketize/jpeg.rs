//! JPEG files out of payloads (RFC 2435), with the headers that RTP leaves out, and with ONVIF's header extension
//! (Streaming Specification, "JPEG over RTP") for what RFC 2435 cannot say: large pictures, tables of one's own.
//!
//! A picture begins with the fragment of offset 0 and ends at the marker, or where the next begins. Other offsets are
//! not looked at: the sequence numbers prove that nothing is missing, and cameras err in them.

use crate::jpeg::{
    APP0, DHT, DQT, DRI, EOI, SOI, SOS, Segment, Subsampling, quantization_tables, segments, size,
    write_frame, write_huffman, write_jfif, write_quantization, write_restart_interval, write_scan,
};
use crate::replay::{EXTENSION_PROFILE, FrameMark, after_mark};
use crate::rtp::{Extension, RtpPacket};

use super::memory::SampleMemory;
use super::{ACCESS_UNIT_BYTES_MAX, DepacketizeError, Emission, Output, Sample};

/// Bytes of the header in every packet (RFC 2435 §3.1).
const HEADER_BYTES: usize = 8;

/// The profile of ONVIF's header extension on the first packet of a picture, and on the others.
const FIRST_EXTENSION: u16 = 0xffd8;
const LATER_EXTENSION: u16 = 0xffff;

/// Most bytes of extensions before the scan: tables take less than a kilobyte.
const EXTENSION_BYTES_MAX: usize = 64 * 1024;

/// The segments of the extensions of the picture at hand begin so.
const APP_LAST: u8 = 0xef;
const COMMENT: u8 = 0xfe;

/// The fixed part of a payload's header, and the parts that follow it.
#[derive(Clone, Copy, Debug)]
struct Header<'a> {
    offset: u32,
    subsampling: Subsampling,
    q: u8,
    /// Pixels; 0 when RFC 2435 cannot say them.
    size: (u16, u16),
    /// Macroblocks between restart markers, when there are such.
    restart_interval: Option<u16>,
    /// Precision and values of quantization tables, when they stand in the packet.
    tables: Option<(u8, &'a [u8])>,
    scan: &'a [u8],
}

impl<'a> Header<'a> {
    fn parse(payload: &'a [u8]) -> Result<Self, DepacketizeError> {
        let truncated = DepacketizeError::Truncated;
        let ([_, o0, o1, o2, kind, q, width, height], mut scan) =
            payload.split_first_chunk::<HEADER_BYTES>().ok_or(truncated)?;
        // §4.1: types 64 to 127 are those of 0 to 63 with restart markers.
        let subsampling = match kind & 0x3f {
            0 if *kind < 128 => Subsampling::Columns,
            1 if *kind < 128 => Subsampling::ColumnsAndRows,
            _ => return Err(DepacketizeError::JpegType(*kind)),
        };
        let mut restart_interval = None;
        if *kind >= 64 {
            let ([high, low, _, _], after) = scan.split_first_chunk::<4>().ok_or(truncated)?;
            restart_interval = Some(u16::from_be_bytes([*high, *low]));
            scan = after;
        }
        let offset = u32::from_be_bytes([0, *o0, *o1, *o2]);
        let mut tables = None;
        if offset == 0 && *q >= 128 {
            let ([_, precision, high, low], after) = scan.split_first_chunk::<4>().ok_or(truncated)?;
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let (values, after) = after.split_at_checked(length).ok_or(truncated)?;
            tables = (length > 0).then_some((*precision, values));
            scan = after;
        }
        let size = (u16::from(*width) * 8, u16::from(*height) * 8);
        Ok(Self { offset, subsampling, q: *q, size, restart_interval, tables, scan })
    }
}

/// What the first packets of a picture said, until its scan begins.
#[derive(Clone, Copy, Debug)]
struct Picture {
    subsampling: Subsampling,
    q: u8,
    size: (u16, u16),
    restart_interval: Option<u16>,
}

/// Puts the pictures of one track together.
#[derive(Debug)]
pub(super) struct JpegAssembler {
    file: SampleMemory,
    timestamp: i64,
    mark: Option<FrameMark>,
    picture: Option<Picture>,
    /// Segments of extensions that came before the scan.
    extension: Vec<u8>,
    /// The first packet had an extension, so that what is not said is as in the picture before.
    extended: bool,
    /// Bytes of the scan came.
    scan: bool,
    /// The picture at hand is dropped when it ends.
    damaged: bool,
    /// A packet came that belongs to a picture whose beginning did not, because packets were lost.
    after_loss: bool,
    /// Quantization tables of the last picture that had some in its packets: Q, precision, values.
    tables: (u8, u8, Vec<u8>),
    /// Huffman tables and start of frame that an extension brought last, as segments.
    huffman: Vec<u8>,
    frame: Vec<u8>,
}

impl JpegAssembler {
    pub(super) fn new() -> Self {
        Self {
            file: SampleMemory::default(),
            timestamp: 0,
            mark: None,
            picture: None,
            extension: Vec::new(),
            extended: false,
            scan: false,
            damaged: false,
            after_loss: true,
            tables: (0, 0, Vec::new()),
            huffman: Vec::new(),
            frame: Vec::new(),
        }
    }

    pub(super) fn buffered_bytes(&self) -> usize {
        self.file.len().saturating_add(self.extension.len())
    }

    pub(super) fn loss<S: FnMut(Sample<'_>)>(
        &mut self,
        _timestamp: Option<i64>,
        _output: &mut Output<'_, S>,
    ) {
        self.begin();
        self.after_loss = true;
    }

    pub(super) fn flush<S: FnMut(Sample<'_>)>(&mut self, output: &mut Output<'_, S>) {
        // Without the marker it is not known whether all came, unless the image says that it ends.
        if self.file.bytes().ends_with(&[0xff, EOI]) {
            self.end(output);
        }
        self.begin();
        self.after_loss = true;
    }

    pub(super) fn push<S: FnMut(Sample<'_>)>(
        &mut self,
        packet: &RtpPacket<'_>,
        timestamp: i64,
        output: &mut Output<'_, S>,
    ) -> Result<(), DepacketizeError> {
        let mut result = self.read(packet, timestamp, output);
        if let Err(error) = result
            && error != DepacketizeError::Empty
        {
            output.lose(1);
            self.damaged = true;
        }
        if packet.marker {
            if !self.damaged && self.picture.is_some() && !self.scan {
                output.lose(1);
                result = result.and(Err(DepacketizeError::Truncated));
            }
            self.end(output);
            self.begin();
        }
        result
    }

    fn read<S: FnMut(Sample<'_>)>(
        &mut self,
        packet: &RtpPacket<'_>,
        timestamp: i64,
        output: &mut Output<'_, S>,
    ) -> Result<(), DepacketizeError> {
        let extension = packet.extension.and_then(extension_of);
        let header = match (packet.payload, extension) {
            ([], None) => return Err(DepacketizeError::Empty),
            // Only what carries a part of the scan has a header for sure.
            ([], Some(_)) => None,
            (payload, _) => Some(Header::parse(payload)?),
        };
        let open = self.picture.is_some() || self.damaged;
        let again = header.is_some_and(|header| header.offset == 0) && self.scan;
        if !open || timestamp != self.timestamp || again {
            // Nothing is missing, so the picture before was whole although it had no marker.
            self.end(output);
            self.begin();
            self.timestamp = timestamp;
            self.mark = FrameMark::of(packet);
            // Only the extension of first packets says that one is: those behind a lost beginning have the other.
            let first = extension.is_some_and(|(place, _)| place == Place::First);
            let begins = header.filter(|header| header.offset == 0 || first);
            let Some(header) = begins else {
                self.damaged = true;
                // What cannot be missed is reported; after loss it was.
                return if std::mem::take(&mut self.after_loss) {
                    Ok(())
                } else {
                    Err(DepacketizeError::FragmentWithoutStart)
                };
            };
            self.after_loss = false;
            self.extended = extension.is_some();
            if let Some((precision, values)) = header.tables {
                self.tables.0 = header.q;
                self.tables.1 = precision;
                self.tables.2.clear();
                self.tables.2.extend_from_slice(values);
            }
            let Header { subsampling, q, size, restart_interval, .. } = header;
            self.picture = Some(Picture { subsampling, q, size, restart_interval });
        }
        if self.damaged {
            return Ok(());
        }
        if let Some((_, segments)) = extension {
            self.extend(segments)?;
        }
        let scan = header.map_or(&[][..], |header| header.scan);
        if !scan.is_empty() {
            if !self.scan {
                self.begin_scan(scan)?;
            }
            self.append(scan)?;
        }
        Ok(())
    }

    /// Takes the payload of an extension: before the scan it has segments, behind its beginning more of the scan.
    fn extend(&mut self, bytes: &[u8]) -> Result<(), DepacketizeError> {
        if self.scan {
            return self.append(bytes);
        }
        if bytes.len() > EXTENSION_BYTES_MAX.saturating_sub(self.extension.len()) {
            return Err(DepacketizeError::TooLong);
        }
        self.extension.extend_from_slice(bytes);
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), DepacketizeError> {
        // The end of the image may have to be added.
        if bytes.len() > (ACCESS_UNIT_BYTES_MAX - 2).saturating_sub(self.file.len()) {
            self.file.clear();
            return Err(DepacketizeError::TooLong);
        }
        self.file.append(bytes);
        Ok(())
    }

    /// Writes all that stands before the scan.
    fn begin_scan(&mut self, scan: &[u8]) -> Result<(), DepacketizeError> {
        self.scan = true;
        // Some cameras send a whole file; nothing that is coded begins so.
        if scan.starts_with(&[0xff, SOI]) {
            return Ok(());
        }
        let Some(picture) = self.picture else { return Ok(()) };
        let extension = std::mem::take(&mut self.extension);
        let result = self.write_header(picture, &extension);
        self.extension = extension;
        result
    }

    fn write_header(&mut self, picture: Picture, extension: &[u8]) -> Result<(), DepacketizeError> {
        let has = |wanted: fn(u8) -> bool| segments(extension).any(|segment| wanted(segment.marker));
        let computed;
        let (precision, tables): (u8, &[u8]) = match picture.q {
            1..=99 => {
                computed = quantization_tables(picture.q).unwrap_or([0; 128]);
                (0, &computed)
            }
            // The tables of the picture before, which those of the extension follow.
            0 if self.extended => (self.tables.1, &self.tables.2),
            128.. if picture.q == self.tables.0 => (self.tables.1, &self.tables.2),
            128.. if self.extended => (0, &[]),
            q => return Err(DepacketizeError::JpegQuantization(q)),
        };
        let chroma_table = u8::from(tables.len() > 64 << (precision & 1));
        if picture.q == 0 && tables.is_empty() && !has(|marker| marker == DQT) {
            return Err(DepacketizeError::JpegQuantization(0));
        }

        let out = self.file.vec_mut();
        out.clear();
        out.extend_from_slice(&[0xff, SOI]);
        let about = |marker: u8| matches!(marker, APP0..=APP_LAST | COMMENT);
        if !has(|marker| marker == APP0) {
            write_jfif(out);
        }
        segments(extension)
            .filter(|segment| about(segment.marker))
            .for_each(|segment| out.extend_from_slice(segment.bytes));
        write_quantization(out, precision, tables);
        write_huffman(out);
        if has(|marker| marker == DHT) {
            self.huffman.clear();
            segments(extension)
                .filter(|segment| segment.marker == DHT)
                .for_each(|segment| self.huffman.extend_from_slice(segment.bytes));
        } else if self.extended {
            out.extend_from_slice(&self.huffman);
        }
        segments(extension)
            .filter(|segment| !about(segment.marker) && segment.marker != SOS)
            .for_each(|segment| out.extend_from_slice(segment.bytes));
        if let Some(interval) = picture.restart_interval
            && !has(|marker| marker == DRI)
        {
            write_restart_interval(out, interval);
        }
        if let Some(frame) = segments(extension).find(Segment::is_frame) {
            self.frame.clear();
            self.frame.extend_from_slice(frame.bytes);
        } else if picture.size.0 > 0 && picture.size.1 > 0 {
            let begin = out.len();
            write_frame(out, picture.size, picture.subsampling, precision, chroma_table);
            self.frame.clear();
            self.frame.extend_from_slice(out.get(begin..).unwrap_or_default());
        } else if self.extended && !self.frame.is_empty() {
            out.extend_from_slice(&self.frame);
        } else {
            return Err(DepacketizeError::JpegSize);
        }
        match segments(extension).find(|segment| segment.marker == SOS) {
            Some(scan) => out.extend_from_slice(scan.bytes),
            None => {
                let frame = segments(&self.frame).next();
                let components = frame.map_or(&[][..], |frame| frame.components());
                write_scan(out, components.iter().map(|[number, _, _]| *number));
            }
        }
        Ok(())
    }

    /// The picture ends.
    fn end<S: FnMut(Sample<'_>)>(&mut self, output: &mut Output<'_, S>) {
        if self.damaged || !self.scan {
            return;
        }
        if !self.file.bytes().ends_with(&[0xff, EOI]) {
            self.file.append(&[0xff, EOI]);
        }
        let Some((width, height)) = size(self.file.bytes()) else {
            return output.lose(1);
        };
        let [w0, w1] = width.to_be_bytes();
        let [h0, h1] = height.to_be_bytes();
        let config_changed = output.config.config != [w0, w1, h0, h1];
        if config_changed {
            output.config.config = vec![w0, w1, h0, h1];
        }
        output.emit(Emission {
            data: self.file.bytes(),
            timestamp: self.timestamp,
            key: true,
            mark: self.mark,
            config_changed,
        });
        self.file.sent();
    }

    fn begin(&mut self) {
        self.file.clear();
        self.extension.clear();
        self.picture = None;
        self.mark = None;
        self.extended = false;
        self.scan = false;
        self.damaged = false;
    }
}

/// The payload of ONVIF's extension, which may stand behind the mark of a replay.
fn extension_of(extension: Extension<'_>) -> Option<(Place, &[u8])> {
    if let Some(place) = Place::of(extension.profile) {
        return Some((place, extension.data));
    }
    if extension.profile != EXTENSION_PROFILE {
        return None;
    }
    let ([p0, p1, l0, l1], data) = after_mark(extension).split_first_chunk::<4>()?;
    let length = usize::from(u16::from_be_bytes([*l0, *l1])) * 4;
    let place = Place::of(u16::from_be_bytes([*p0, *p1]))?;
    Some((place, data.get(..length.min(data.len())).unwrap_or_default()))
}

/// Where in its picture a packet stands, by its extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    First,
    Later,
}

impl Place {
    const fn of(profile: u16) -> Option<Self> {
        match profile {
            FIRST_EXTENSION => Some(Self::First),
            LATER_EXTENSION => Some(Self::Later),
            _ => None,
        }
    }
}
