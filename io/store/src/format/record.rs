//! A record: one stream's slice. Header, table of tracks and samples, then the data of each track.
//!
//! Header and table stand together in front (the head), so that a reader learns all but the media in one read and the
//! media of a track is one contiguous range. Head and each track's data are padded to whole blocks.

use keepwatch_model::{CameraId, CodecKind, StreamId, TrackConfig, WallTime};

use super::entry::{INFO_BYTES, decode_info, encode_info};
use super::{BLOCK_BYTES, Reader, Writer, check_sealed, index_of, length_u32, padded, seal};
use crate::{FormatError, RecordIndex, RecordInfo, RecordTrack, Sample, TRACKS_MAX};

const MAGIC: [u8; 8] = *b"KWREC\0\0\x01";
const WHAT: &str = "record header";
const TABLE: &str = "sample table";

/// Bytes of a record's header: half a sector, so that it is written whole or not at all.
pub(crate) const HEADER_BYTES: usize = 256;
/// Bytes of a track in the table, without its configuration.
pub(crate) const TRACK_BYTES: usize = 48;
/// Bytes of a sample in the table.
pub(crate) const SAMPLE_BYTES: usize = 16;

const SAMPLE_KEY: u32 = 1;
const FIELDS_BYTES: usize = 8 + 4 + 4 + 8 + 4 + 4 + 8 + 32 + 4 + 4 + 4 + 4 + INFO_BYTES;
const _: () = assert!(FIELDS_BYTES <= HEADER_BYTES);

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    /// Bytes of header and table, padded.
    pub(crate) head_bytes: u32,
    /// The use of the extent it belongs to.
    pub(crate) sequence: u64,
    /// Its place in the extent, from 0.
    pub(crate) number: u32,
    /// Checksum of the header of the record before it, or of the extent's.
    pub(crate) chain: u32,
    /// The open epoch it was written in.
    pub(crate) epoch: u64,
    pub(crate) camera: CameraId,
    pub(crate) stream: StreamId,
    pub(crate) tracks: u8,
    /// Bytes of all of it, padded.
    pub(crate) record_bytes: u32,
    /// Bytes of the table, not padded.
    pub(crate) table_bytes: u32,
    pub(crate) table_crc: u32,
    pub(crate) info: RecordInfo,
}

impl RecordHeader {
    /// Writes the header to the front of a record's head and returns its checksum.
    pub(crate) fn encode(&self, head: &mut [u8]) -> u32 {
        let header = &mut head[..HEADER_BYTES];
        header.fill(0);
        let mut fields = Writer::new(header);
        fields
            .bytes(&MAGIC)
            .u32(0)
            .u32(self.head_bytes)
            .u64(self.sequence)
            .u32(self.number)
            .u32(self.chain)
            .u64(self.epoch)
            .camera(self.camera)
            .u8(self.stream.0)
            .u8(self.tracks)
            .bytes(&[0; 2])
            .u32(self.record_bytes)
            .u32(self.table_bytes)
            .u32(self.table_crc);
        encode_info(&self.info, &mut fields);
        seal(header)
    }

    /// The header in front of `bytes` and its checksum. Its lengths agree with each other.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        Self::decode_with_crc(bytes).map(|(header, _)| header)
    }

    /// As [`decode`](Self::decode), with the checksum.
    pub(crate) fn decode_with_crc(bytes: &[u8]) -> Result<(Self, u32), FormatError> {
        let header = bytes.get(..HEADER_BYTES).ok_or(FormatError::Short(WHAT))?;
        let crc = check_sealed(header, MAGIC, WHAT)?;
        let decoded = Self::decode_fields(header)?;
        Ok((decoded, crc))
    }

    /// As [`decode`](Self::decode) but believes any checksum, for fuzzing.
    pub(crate) fn decode_unchecked(bytes: &[u8]) -> Option<Self> {
        Self::decode_fields(bytes.get(..HEADER_BYTES)?).ok()
    }

    fn decode_fields(header: &[u8]) -> Result<Self, FormatError> {
        let mut fields = Reader::new(&header[12..], WHAT);
        let (head_bytes, sequence, number) = (fields.u32()?, fields.u64()?, fields.u32()?);
        let (chain, epoch, camera) = (fields.u32()?, fields.u64()?, fields.camera()?);
        let (stream, tracks) = (StreamId(fields.u8()?), fields.array::<3>()?[0]);
        let (record_bytes, table_bytes, table_crc) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let info = decode_info(&mut fields)?;
        let block = |bytes: u32| bytes != 0 && bytes.is_multiple_of(length_u32(BLOCK_BYTES));
        let head_holds_table = HEADER_BYTES
            .checked_add(table_bytes as usize)
            .is_some_and(|needed| needed <= head_bytes as usize);
        if !block(head_bytes) || !block(record_bytes) || head_bytes > record_bytes || !head_holds_table {
            return Err(FormatError::Field("lengths"));
        }
        if usize::from(tracks) > TRACKS_MAX || tracks == 0 {
            return Err(FormatError::Field("tracks"));
        }
        Ok(Self {
            head_bytes,
            sequence,
            number,
            chain,
            epoch,
            camera,
            stream,
            tracks,
            record_bytes,
            table_bytes,
            table_crc,
            info,
        })
    }
}

/// One track of a record that is being closed.
pub(crate) struct TableTrack<'a> {
    pub(crate) config: &'a TrackConfig,
    pub(crate) label: WallTime,
    /// Presentation time that the samples' are relative to.
    pub(crate) base_pts: i64,
    /// The samples as [`encode_sample`](TableTrack::encode_sample) wrote them.
    pub(crate) samples: &'a [[u8; SAMPLE_BYTES]],
    pub(crate) data_bytes: usize,
}

impl TableTrack<'_> {
    /// A sample in the table.
    pub(crate) fn encode_sample(bytes: u32, offset_ticks: i32, crc: u32, key: bool) -> [u8; SAMPLE_BYTES] {
        let mut sample = [0; SAMPLE_BYTES];
        let flags = if key { SAMPLE_KEY } else { 0 };
        Writer::new(&mut sample).u32(bytes).i32(offset_ticks).u32(crc).u32(flags);
        sample
    }

    /// Length, offset in ticks and whether it is a key frame, of a sample as it was
    /// [encoded](Self::encode_sample).
    pub(crate) fn decode_sample(sample: &[u8; SAMPLE_BYTES]) -> Result<(u32, i32, bool), FormatError> {
        let mut fields = Reader::new(sample, TABLE);
        let (bytes, offset_ticks) = (fields.u32()?, fields.i32()?);
        fields.u32()?;
        Ok((bytes, offset_ticks, fields.u32()? & SAMPLE_KEY != 0))
    }
}

/// Writes the table behind the place of the header; returns its length and checksum, and the length of the record.
/// `head` must be [`padded`] to what the tracks need.
pub(crate) fn encode_table(head: &mut [u8], tracks: &[TableTrack<'_>]) -> (u32, u32, u32) {
    let mut record_bytes = head.len();
    let mut fields = Writer::new(&mut head[HEADER_BYTES..]);
    for track in tracks {
        fields
            .u8(track.config.kind.code())
            .u8(track.config.channels)
            .bytes(&[0; 2])
            .u32(track.config.clock_rate)
            .u32(length_u32(track.config.config.len()))
            .u32(length_u32(track.samples.len()))
            .i64(track.base_pts)
            .label(track.label)
            .u32(length_u32(record_bytes))
            .u32(length_u32(track.data_bytes))
            .u64(0);
        record_bytes += padded(track.data_bytes);
    }
    for track in tracks {
        fields.bytes(&track.config.config);
    }
    for track in tracks {
        fields.bytes(track.samples.as_flattened());
    }
    let table_bytes = fields.position();
    let table_crc = crc32c::crc32c(&head[HEADER_BYTES..HEADER_BYTES + table_bytes]);
    (length_u32(table_bytes), table_crc, length_u32(record_bytes))
}

/// The description of the record whose header is `header` from its head, the bytes from the header on.
pub(crate) fn decode_index(header: &RecordHeader, head: &[u8]) -> Result<RecordIndex, FormatError> {
    let end = HEADER_BYTES.checked_add(header.table_bytes as usize).ok_or(FormatError::Short(TABLE))?;
    let table = head.get(HEADER_BYTES..end).ok_or(FormatError::Short(TABLE))?;
    if crc32c::crc32c(table) != header.table_crc {
        return Err(FormatError::Checksum(TABLE));
    }
    let mut fields = Reader::new(table, TABLE);
    let mut tracks = Vec::with_capacity(usize::from(header.tracks));
    let mut lengths = Vec::with_capacity(usize::from(header.tracks));
    for _ in 0..header.tracks {
        let kind = CodecKind::from_code(fields.u8()?).ok_or(FormatError::Field("codec"))?;
        let channels = fields.array::<3>()?[0];
        let clock_rate = fields.u32()?;
        lengths.push((fields.u32()?, fields.u32()?, fields.i64()?));
        let label = fields.label()?;
        let (data_offset_bytes, data_bytes) = (fields.u32()?, fields.u32()?);
        fields.u64()?;
        let inside = data_offset_bytes
            .checked_add(data_bytes)
            .is_some_and(|end| data_offset_bytes >= header.head_bytes && end <= header.record_bytes);
        if !inside {
            return Err(FormatError::Field("track data"));
        }
        let config = TrackConfig { kind, clock_rate, channels, config: Vec::new() };
        tracks.push(RecordTrack { config, label, samples: Vec::new(), data_offset_bytes, data_bytes });
    }
    for (track, (config_bytes, _, _)) in tracks.iter_mut().zip(&lengths) {
        track.config.config = fields.bytes(index_of(u64::from(*config_bytes)))?.to_vec();
    }
    for (track, (_, samples, base_pts)) in tracks.iter_mut().zip(&lengths) {
        track.samples = decode_samples(&mut fields, *samples, *base_pts, track.data_bytes)?;
    }
    Ok(RecordIndex { camera: header.camera, stream: header.stream, info: header.info, tracks })
}

fn decode_samples(
    fields: &mut Reader<'_>,
    count: u32,
    base_pts: i64,
    data_bytes: u32,
) -> Result<Vec<Sample>, FormatError> {
    let table = fields.bytes((count as usize).checked_mul(SAMPLE_BYTES).ok_or(FormatError::Short(TABLE))?)?;
    let mut samples = Vec::with_capacity(count as usize);
    let mut offset_bytes = 0_u32;
    for bytes in table.chunks_exact(SAMPLE_BYTES) {
        let mut sample = Reader::new(bytes, TABLE);
        let length = sample.u32()?;
        let pts = base_pts.checked_add(i64::from(sample.i32()?)).ok_or(FormatError::Field("pts"))?;
        let (crc, flags) = (sample.u32()?, sample.u32()?);
        samples.push(Sample { pts, key: flags & SAMPLE_KEY != 0, bytes: length, crc, offset_bytes });
        offset_bytes = offset_bytes.checked_add(length).ok_or(FormatError::Field("sample length"))?;
    }
    (offset_bytes == data_bytes).then_some(samples).ok_or(FormatError::Field("track data"))
}
