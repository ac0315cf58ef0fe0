//! Writes `ftyp`, `moov` and the header of `mdat`.
//!
//! Boxes of fixed size are mp4-atom's. The sample tables are written straight from the columns of the plan: they are
//! nearly all of a header, and a second copy of them would double the memory of an export.

use keepwatch_model::{TICKS_PER_SECOND, WallTime};
use mp4_atom::{
    BufMut, Dinf, Dref, Edts, Elst, Encode, FixedPoint, FourCC, Ftyp, Hdlr, Mdhd, Mvhd, Smhd, Stsd, Tkhd,
    Url, Vmhd,
};

use super::timeline::Timeline;
use super::track::Track;
use super::{MovieMeta, Mp4Error, TrackKind};

/// Seconds from 1904-01-01, where MP4 begins to count, to 1970-01-01.
const MP4_EPOCH_SECONDS: i64 = 2_082_844_800;

/// More than any header has: at most 24 bytes for each sample, 20 for each chunk, and the configurations.
const HEADER_BYTES_MAX: u64 = 1 << 30;

/// A track that is shown.
struct Shown<'a> {
    track: &'a Track,
    timeline: Timeline,
}

/// A table of chunk offsets that lacks the length of the header.
struct Offsets<'a> {
    track: &'a Track,
    position: usize,
}

pub(super) fn write(
    meta: &MovieMeta,
    tracks: &[Track],
    samples: usize,
    media_bytes: u64,
) -> Result<Vec<u8>, Mp4Error> {
    let mut shown = Vec::new();
    for track in tracks {
        if let Some(timeline) = Timeline::new(track, meta.window.ticks())? {
            shown.push(Shown { track, timeline });
        }
    }
    if shown.is_empty() {
        return Err(Mp4Error::Empty(meta.window));
    }
    let wide = media_bytes.saturating_add(HEADER_BYTES_MAX) > u64::from(u32::MAX);

    let mut header = Vec::with_capacity(samples.saturating_mul(5).saturating_add(4_096));
    Ftyp {
        major_brand: FourCC::new(b"isom"),
        minor_version: 512,
        compatible_brands: [b"isom", b"iso2", b"avc1", b"mp41"].map(FourCC::new).to_vec(),
    }
    .encode(&mut header)?;
    let mut offsets = Vec::new();
    header.encode_atom(b"moov", |out| {
        movie_header(meta, &shown).encode(out)?;
        for (track, number) in shown.iter().zip(1..) {
            out.encode_atom(b"trak", |out| write_track(meta, track, number, wide, &mut offsets, out))?;
        }
        write_user_data(meta, out)
    })?;
    write_media_header(media_bytes, &mut header);
    for table in offsets {
        table.complete(wide, &mut header)?;
    }
    Ok(header)
}

fn movie_header(meta: &MovieMeta, shown: &[Shown<'_>]) -> Mvhd {
    Mvhd {
        creation_time: mp4_seconds(meta.window.from),
        modification_time: mp4_seconds(meta.window.from),
        timescale: u32::try_from(TICKS_PER_SECOND).unwrap_or(u32::MAX),
        duration: shown.iter().map(|track| track.timeline.duration_ticks).max().unwrap_or(0),
        rate: FixedPoint::new(1, 0),
        volume: FixedPoint::new(1, 0),
        next_track_id: u32::try_from(shown.len()).unwrap_or(0) + 1,
        ..Mvhd::default()
    }
}

fn write_track<'a>(
    meta: &MovieMeta,
    shown: &Shown<'a>,
    track_id: u32,
    wide: bool,
    offsets: &mut Vec<Offsets<'a>>,
    out: &mut Vec<u8>,
) -> mp4_atom::Result<()> {
    let Shown { track, timeline } = shown;
    let picture = track.entries.first().and_then(|entry| entry.visual());
    let created = mp4_seconds(meta.window.from);
    Tkhd {
        creation_time: created,
        modification_time: created,
        track_id,
        duration: timeline.duration_ticks,
        enabled: true,
        in_movie: true,
        volume: FixedPoint::new(u8::from(track.kind == TrackKind::Audio), 0),
        width: picture.map_or(0, |picture| picture.width).into(),
        height: picture.map_or(0, |picture| picture.height).into(),
        ..Tkhd::default()
    }
    .encode(out)?;
    Edts { elst: Some(Elst { entries: timeline.edits.clone() }) }.encode(out)?;
    out.encode_atom(b"mdia", |out| {
        Mdhd {
            creation_time: created,
            modification_time: created,
            timescale: timeline.rate(),
            duration: timeline.media_duration,
            language: "und".into(),
        }
        .encode(out)?;
        let (handler, name) = match track.kind {
            TrackKind::Video => (b"vide", "video"),
            TrackKind::Audio => (b"soun", "audio"),
        };
        Hdlr { handler: FourCC::new(handler), name: name.into() }.encode(out)?;
        out.encode_atom(b"minf", |out| {
            match track.kind {
                TrackKind::Video => Vmhd::default().encode(out)?,
                TrackKind::Audio => Smhd::default().encode(out)?,
            }
            Dinf { dref: Dref { entries: vec![Url::default().into()] } }.encode(out)?;
            out.encode_atom(b"stbl", |out| write_tables(shown, wide, offsets, out))
        })
    })
}

fn write_tables<'a>(
    shown: &Shown<'a>,
    wide: bool,
    offsets: &mut Vec<Offsets<'a>>,
    out: &mut Vec<u8>,
) -> mp4_atom::Result<()> {
    let Shown { track, timeline } = shown;
    Stsd { codecs: track.entries.clone() }.encode(out)?;
    write_table(b"stts", out, |out| write_runs(timeline.steps(track).map(|(step, _)| step), out))?;
    if timeline.steps(track).any(|(_, offset)| offset != 0) {
        write_table(b"ctts", out, |out| write_runs(timeline.steps(track).map(|(_, offset)| offset), out))?;
    }
    // Without the table every sample is a key frame.
    if track.kind == TrackKind::Video && track.keys.len() < track.pts_ticks.len() {
        write_table(b"stss", out, |out| {
            track.keys.iter().for_each(|number| put(out, *number));
            track.keys.len()
        })?;
    }
    write_table(b"stsc", out, |out| write_chunk_runs(track, out))?;
    write_sizes(track, out)?;
    write_table(if wide { b"co64" } else { b"stco" }, out, |out| {
        offsets.push(Offsets { track, position: out.len() });
        let bytes = track.chunks.len() * if wide { 8 } else { 4 };
        out.resize(out.len() + bytes, 0);
        track.chunks.len()
    })
}

/// Writes a full box of version 0 that is a count and as many entries.
fn write_table(
    kind: &[u8; 4],
    out: &mut Vec<u8>,
    entries: impl FnOnce(&mut Vec<u8>) -> usize,
) -> mp4_atom::Result<()> {
    out.encode_atom(kind, |out| {
        put(out, 0);
        let position = out.len();
        put(out, 0);
        let count = u32::try_from(entries(out)).map_err(|_| mp4_atom::Error::TooLarge(FourCC::new(kind)))?;
        out.set_slice(position, &count.to_be_bytes());
        Ok(())
    })
}

/// Appends each run of equal values as its length and the value; returns the number of runs.
fn write_runs(values: impl Iterator<Item = u32>, out: &mut Vec<u8>) -> usize {
    let mut runs = 0;
    let mut open: Option<(u32, u32)> = None;
    let mut close = |open: Option<(u32, u32)>| {
        if let Some((count, value)) = open {
            put(out, count);
            put(out, value);
            runs += 1;
        }
    };
    for value in values {
        match &mut open {
            Some((count, held)) if *held == value => *count += 1,
            _ => close(open.replace((1, value))),
        }
    }
    close(open);
    runs
}

/// Appends the entries of `stsc`: a new one wherever length or sample entry of chunks change.
fn write_chunk_runs(track: &Track, out: &mut Vec<u8>) -> usize {
    let mut runs = 0;
    let mut previous = None;
    for (chunk, number) in track.chunks.iter().zip(1u32..) {
        let shape = (chunk.samples, chunk.entry);
        if previous != Some(shape) {
            put(out, number);
            put(out, chunk.samples);
            put(out, chunk.entry);
            runs += 1;
            previous = Some(shape);
        }
    }
    runs
}

/// Writes `stsz`: one size when all are the same.
fn write_sizes(track: &Track, out: &mut Vec<u8>) -> mp4_atom::Result<()> {
    let kind = FourCC::new(b"stsz");
    let sizes = &track.sizes_bytes;
    let count = u32::try_from(sizes.len()).map_err(|_| mp4_atom::Error::TooLarge(kind))?;
    let same = sizes.first().copied().filter(|first| *first > 0 && sizes.iter().all(|size| size == first));
    out.encode_atom(kind, |out| {
        put(out, 0);
        put(out, same.unwrap_or(0));
        put(out, count);
        if same.is_none() {
            sizes.iter().for_each(|size| put(out, *size));
        }
        Ok(())
    })
}

impl Offsets<'_> {
    /// Fills the table in, now that the header has its length.
    fn complete(&self, wide: bool, header: &mut Vec<u8>) -> Result<(), Mp4Error> {
        let header_bytes = u64::try_from(header.len()).unwrap_or(u64::MAX);
        let mut position = self.position;
        for chunk in &self.track.chunks {
            let offset = header_bytes.saturating_add(chunk.offset_bytes);
            if wide {
                header.set_slice(position, &offset.to_be_bytes());
                position += 8;
            } else {
                let offset =
                    u32::try_from(offset).map_err(|_| mp4_atom::Error::TooLarge(FourCC::new(b"stco")))?;
                header.set_slice(position, &offset.to_be_bytes());
                position += 4;
            }
        }
        Ok(())
    }
}

/// Title and start of the window, where players look for them: items `©nam` and `©day` as iTunes writes them.
fn write_user_data(meta: &MovieMeta, out: &mut Vec<u8>) -> mp4_atom::Result<()> {
    let item = |kind: &[u8; 4], text: &str, out: &mut Vec<u8>| {
        out.encode_atom(kind, |out| {
            out.encode_atom(b"data", |out| {
                // Type 1, UTF-8; no locale.
                put(out, 1);
                put(out, 0);
                out.extend_from_slice(text.as_bytes());
                Ok(())
            })
        })
    };
    out.encode_atom(b"udta", |out| {
        out.encode_atom(b"meta", |out| {
            put(out, 0);
            Hdlr { handler: FourCC::new(b"mdir"), name: String::new() }.encode(out)?;
            out.encode_atom(b"ilst", |out| {
                item(b"\xa9nam", &meta.title, out)?;
                item(b"\xa9day", &meta.window.from.to_string(), out)
            })
        })
    })
}

/// The header of `mdat`, with a 64-bit size where 32 bits are too few (ISO/IEC 14496-12 §4.2).
fn write_media_header(media_bytes: u64, out: &mut Vec<u8>) {
    const SHORT_BYTES: u64 = 8;
    const LONG_BYTES: u64 = 16;
    match u32::try_from(media_bytes.saturating_add(SHORT_BYTES)) {
        Ok(size) => {
            put(out, size);
            out.extend_from_slice(b"mdat");
        }
        Err(_) => {
            put(out, 1);
            out.extend_from_slice(b"mdat");
            out.extend_from_slice(&media_bytes.saturating_add(LONG_BYTES).to_be_bytes());
        }
    }
}

/// Seconds since 1904; 0 before.
fn mp4_seconds(label: WallTime) -> u64 {
    u64::try_from(label.ticks().div_euclid(TICKS_PER_SECOND).saturating_add(MP4_EPOCH_SECONDS)).unwrap_or(0)
}

fn put(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}
