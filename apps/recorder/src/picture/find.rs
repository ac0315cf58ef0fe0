//! Which stored picture shows an instant, and what must be decoded to see it. Reads indexes; media only when asked.

use std::ops::Range;

use keepwatch_media::mp4::fragment::{declared_depth, reorder_depth};
use keepwatch_media::{h264, nal};
use keepwatch_model::{CameraId, CodecKind, Span, StreamId, TrackConfig, WallTime};
use keepwatch_picture::{REQUEST_BYTES_MAX, UNITS_MAX};
use keepwatch_store::{RecordRef, Store};

use super::ShowError;
use crate::footage::{FootageError, read_index, records_from_key};

/// Bytes of parameter sets and lengths that stand beside the pictures of a request.
const BESIDE_BYTES: usize = 1 << 20;

/// How a picture becomes a JPEG file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Means {
    /// It is one.
    AsStored,
    /// A decoder makes one.
    Decoded,
}

/// A picture that can be shown.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Its own time.
    pub(crate) label: WallTime,
    /// The stream that it is of.
    pub(crate) stream: StreamId,
    /// How it becomes a JPEG file.
    pub(crate) means: Means,
    /// What is read, in decoding order: of each record the track and samples.
    parts: Vec<(RecordRef, usize, Range<usize>)>,
    /// What the decoder must know before the first.
    config: TrackConfig,
}

/// What a search came to.
#[derive(Clone, Debug)]
pub(crate) enum Search {
    /// A picture.
    Found(Box<Found>),
    /// Pictures of a coding that cannot be decoded here.
    Undecodable,
    /// Nothing.
    Nothing,
}

/// A picture of the records at hand, in decoding order.
#[derive(Clone, Copy, Debug)]
struct Picture {
    record: usize,
    track: usize,
    sample: usize,
    label: WallTime,
    key: bool,
    bytes: u32,
}

/// Looks for the picture of a stream that is shown at `at`. Blocks.
pub(crate) fn find(
    store: &Store,
    (camera, stream): (CameraId, StreamId),
    at: WallTime,
) -> Result<Search, FootageError> {
    let records = records_from_key(store, (camera, stream), Span { from: at, to: at.plus(1) })?;
    let mut pictures: Vec<Picture> = Vec::new();
    let mut config: Option<TrackConfig> = None;
    for (record, reference) in records.iter().enumerate() {
        let index = read_index(store, reference)?;
        let video = index.tracks.into_iter().enumerate().find(|(_, track)| track.config.kind.is_video());
        let Some((number, track)) = video else { continue };
        if config.as_ref().is_some_and(|config| *config != track.config) {
            // Nothing refers back over a change of parameters; what is behind the instant does not matter.
            if track.samples.first().is_none_or(|first| track.label_of(first) > at) {
                break;
            }
            pictures.clear();
        }
        pictures.extend(track.samples.iter().enumerate().map(|(sample, held)| Picture {
            record,
            track: number,
            sample,
            label: track.label_of(held),
            key: held.key,
            bytes: held.bytes,
        }));
        config = Some(track.config);
    }
    let Some(config) = config else { return Ok(Search::Nothing) };
    let means = match config.kind {
        CodecKind::Jpeg => Means::AsStored,
        CodecKind::H264 => Means::Decoded,
        CodecKind::H265 | CodecKind::Pcmu | CodecKind::Pcma | CodecKind::Aac | CodecKind::Metadata => {
            return Ok(Search::Undecodable);
        }
    };
    let reordered = declared_depth(&config) > 0
        || reorder_depth(pictures.iter().map(|picture| picture.label.ticks())) > 0;
    let Some(wanted) = choose(&pictures, at, reordered, means) else { return Ok(Search::Nothing) };
    let Some(label) = wanted.last().map(|picture| picture.label) else { return Ok(Search::Nothing) };
    let mut parts: Vec<(RecordRef, usize, Range<usize>)> = Vec::new();
    let mut last = None;
    for picture in wanted {
        match parts.last_mut() {
            Some((_, _, samples)) if last == Some(picture.record) => {
                samples.end = picture.sample.saturating_add(1)
            }
            Some(_) | None => {
                let Some(reference) = records.get(picture.record) else { continue };
                parts.push((*reference, picture.track, picture.sample..picture.sample.saturating_add(1)));
            }
        }
        last = Some(picture.record);
    }
    Ok(Search::Found(Box::new(Found { label, stream, means, parts, config })))
}

/// The picture that is shown at `at`, with what it takes to decode it before it.
fn choose(pictures: &[Picture], at: WallTime, reordered: bool, means: Means) -> Option<&[Picture]> {
    let distance = |picture: &Picture| picture.label.ticks_since(at).unsigned_abs();
    if reordered {
        // Which pictures a decoder has to be given for one among them is known only to the decoder.
        let keys = pictures.iter().enumerate().filter(|(_, picture)| picture.key);
        let (nearest, _) = keys.min_by_key(|(_, picture)| distance(picture))?;
        return pictures.get(nearest..=nearest);
    }
    let shown = pictures.iter().rposition(|picture| picture.label <= at)?;
    if means == Means::AsStored {
        return pictures.get(shown..=shown);
    }
    let key = pictures.get(..=shown)?.iter().rposition(|picture| picture.key)?;
    let group = pictures.get(key..=shown)?;
    let bytes = group.iter().fold(0_usize, |sum, picture| {
        sum.saturating_add(usize::try_from(picture.bytes).unwrap_or(usize::MAX))
    });
    let fits = group.len() <= UNITS_MAX && bytes <= REQUEST_BYTES_MAX - BESIDE_BYTES;
    // A camera that sends no key frame for long has them shown instead.
    if fits { Some(group) } else { pictures.get(key..=key) }
}

impl Found {
    /// The pictures in decoding order, the first with its parameter sets. Blocks.
    pub(crate) fn read(&self, store: &Store) -> Result<Vec<Vec<u8>>, ShowError> {
        let mut units = Vec::new();
        for (reference, track, samples) in &self.parts {
            let read = |source| ShowError::Read { at: reference.info.label.from, source };
            let record = store.read(reference).map_err(read)?;
            units.extend(samples.clone().map(|sample| record.sample(*track, sample).to_vec()));
        }
        if let (Means::Decoded, Some(first)) = (self.means, units.first_mut()) {
            *first = with_parameter_sets(&self.config, std::mem::take(first));
        }
        Ok(units)
    }
}

/// A picture of H.264 behind the parameter sets of its track.
pub(super) fn with_parameter_sets(config: &TrackConfig, mut picture: Vec<u8>) -> Vec<u8> {
    let mut out = Vec::new();
    if let Ok(sets) = h264::DecoderConfig::parse(&config.config) {
        sets.sps.iter().chain(&sets.pps).for_each(|unit| nal::write_unit(&mut out, unit));
    }
    out.append(&mut picture);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pictures(labels: &[(i64, bool)]) -> Vec<Picture> {
        let picture = |(sample, (label, key)): (usize, &(i64, bool))| Picture {
            record: 0,
            track: 0,
            sample,
            label: WallTime::from_ticks(*label),
            key: *key,
            bytes: 10,
        };
        labels.iter().enumerate().map(picture).collect()
    }

    fn chosen(pictures: &[Picture], at: i64, reordered: bool) -> Option<Vec<i64>> {
        let chosen = choose(pictures, WallTime::from_ticks(at), reordered, Means::Decoded)?;
        Some(chosen.iter().map(|picture| picture.label.ticks()).collect())
    }

    #[test]
    fn the_picture_that_stands_at_an_instant_is_decoded_from_its_key_frame_on() {
        let group = pictures(&[(0, true), (10, false), (20, false), (30, true), (40, false)]);
        assert_eq!(chosen(&group, 20, false), Some(vec![0, 10, 20]));
        assert_eq!(chosen(&group, 29, false), Some(vec![0, 10, 20]));
        assert_eq!(chosen(&group, 30, false), Some(vec![30]));
        assert_eq!(chosen(&group, 99, false), Some(vec![30, 40]));
        assert_eq!(chosen(&group, -1, false), None);
        assert_eq!(chosen(&group[1..3], 20, false), None, "without a key frame nothing is shown");
    }

    #[test]
    fn of_reordered_pictures_the_nearest_key_frame_is_shown() {
        let group = pictures(&[(0, true), (20, false), (10, false), (30, true), (50, false), (40, false)]);
        assert_eq!(chosen(&group, 10, true), Some(vec![0]));
        assert_eq!(chosen(&group, 20, true), Some(vec![30]));
    }

    #[test]
    fn a_group_that_is_too_long_is_shown_by_its_key_frame() {
        let long: Vec<(i64, bool)> =
            (0..=UNITS_MAX).map(|at| (i64::try_from(at).unwrap(), at == 0)).collect();
        let long = pictures(&long);
        assert_eq!(chosen(&long, 599, false).unwrap().len(), UNITS_MAX);
        assert_eq!(chosen(&long, 600, false), Some(vec![0]));
        let large: Vec<Picture> =
            pictures(&[(0, true), (10, false)]).iter().map(|p| Picture { bytes: 20 << 20, ..*p }).collect();
        assert_eq!(chosen(&large, 10, false), Some(vec![0]));
    }
}
