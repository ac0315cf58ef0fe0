//! A media segment: `moof mdat` (ISO/IEC 14496-12 §8.8.4), written behind what is in the buffer already.

use mp4_atom::{Encode, Mfhd, Moof, Tfdt, Tfhd, Traf, Trun, TrunEntry};

use super::decode::Placed;
use crate::mp4::{Mp4Error, TRACKS_MAX};

/// Bytes of a `moof` with nothing but its `mfhd`.
const MOOF_BYTES: usize = 8 + 16;
/// Bytes of a `traf` with `tfhd`, a 64-bit `tfdt`, and a `trun` without samples.
const TRAF_BYTES: usize = 8 + 16 + 20 + 20;
/// Bytes that a sample takes in its `trun`: duration, size, flags and perhaps the composition offset.
const SAMPLE_BYTES: usize = 12;
const OFFSET_BYTES: usize = 4;
/// Bytes of the header of an `mdat`.
const MDAT_BYTES: usize = 8;
/// Largest segment: offsets in it are signed, and no record comes near.
const SEGMENT_BYTES_MAX: usize = 1 << 30;

/// Flags of a sample (ISO/IEC 14496-12 §8.8.3.1): it depends on no other.
const KEY: u32 = 0x0200_0000;
/// It depends on others, and decoding cannot start at it.
const NOT_KEY: u32 = 0x0101_0000;

/// A sample of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentSample {
    /// Its bytes.
    pub bytes: u32,
    /// When it is decoded and shown.
    pub placed: Placed,
    /// Whether decoding can start at it.
    pub key: bool,
}

/// The samples of one track in a segment, one behind the other.
#[derive(Clone, Copy, Debug)]
pub struct TrackRun<'a> {
    /// The track, counted from 1.
    pub track: u32,
    /// Its samples in decode order; the durations of all but the last reach to the next.
    pub samples: &'a [FragmentSample],
    /// Whether composition offsets are written: not for sound.
    pub offsets: bool,
    /// The bytes of all samples, in pieces of any length.
    pub data: &'a [&'a [u8]],
}

/// Appends the segment number `sequence` of `runs` to `out`; runs without samples are left out. The samples are copied
/// once.
///
/// # Errors
/// When it would be larger than a gibibyte, or lengths do not fit the bytes.
pub fn write_segment(sequence: u32, runs: &[TrackRun<'_>], out: &mut Vec<u8>) -> Result<(), Mp4Error> {
    let moof_bytes = runs.iter().filter(|run| !run.samples.is_empty()).fold(MOOF_BYTES, |sum, run| {
        let offset = if run.offsets { OFFSET_BYTES } else { 0 };
        sum.saturating_add(TRAF_BYTES).saturating_add(run.samples.len().saturating_mul(SAMPLE_BYTES + offset))
    });
    let mut traf = Vec::with_capacity(runs.len().min(TRACKS_MAX));
    let mut end = moof_bytes.saturating_add(MDAT_BYTES);
    for run in runs {
        let Some(first) = run.samples.first() else { continue };
        let told = run.samples.iter().fold(0usize, |sum, sample| {
            sum.saturating_add(usize::try_from(sample.bytes).unwrap_or(usize::MAX))
        });
        let given = run.data.iter().fold(0usize, |sum, piece| sum.saturating_add(piece.len()));
        if told != given {
            return Err(Mp4Error::SampleBytes { told, given });
        }
        let data_offset = i32::try_from(end).map_err(|_| Mp4Error::SegmentTooLarge)?;
        end = end.saturating_add(told);
        if end > SEGMENT_BYTES_MAX {
            return Err(Mp4Error::SegmentTooLarge);
        }
        traf.push(fragment(run, first, data_offset));
    }
    let start = out.len();
    out.reserve(end);
    Moof { mfhd: Mfhd { sequence_number: sequence }, traf }.encode(out)?;
    assert_eq!(out.len() - start, moof_bytes, "the boxes have the sizes that the standard gives them");
    let mdat_bytes = u32::try_from(end - moof_bytes).map_err(|_| Mp4Error::SegmentTooLarge)?;
    out.extend_from_slice(&mdat_bytes.to_be_bytes());
    out.extend_from_slice(b"mdat");
    for run in runs.iter().filter(|run| !run.samples.is_empty()) {
        run.data.iter().for_each(|piece| out.extend_from_slice(piece));
    }
    Ok(())
}

fn fragment(run: &TrackRun<'_>, first: &FragmentSample, data_offset: i32) -> Traf {
    let entry = |sample: &FragmentSample| TrunEntry {
        duration: Some(sample.placed.duration),
        size: Some(sample.bytes),
        flags: Some(if sample.key { KEY } else { NOT_KEY }),
        cts: run.offsets.then(|| i64::from(sample.placed.offset)),
    };
    let entries: Vec<TrunEntry> = run.samples.iter().map(entry).collect();
    Traf {
        tfhd: Tfhd { track_id: run.track, default_base_is_moof: true, ..Tfhd::default() },
        tfdt: Some(Tfdt { base_media_decode_time: first.placed.decode }),
        trun: vec![Trun { data_offset: Some(data_offset), samples: entries.into() }],
        ..Traf::default()
    }
}
