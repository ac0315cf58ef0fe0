//! Sample entries: what a player must know of a configuration (ISO/IEC 14496-15 §5.4, FLAC in ISOBMFF §3.3.1).

use keepwatch_model::{CodecKind, TICKS_PER_SECOND, TrackConfig};
use mp4_atom::{Atom, Audio, Avc1, Avcc, Codec, Dfla, Flac, FlacMetadataBlock, Visual, u24};

use super::{Mp4Error, TrackKind};
use crate::flac::G711Frames;
use crate::h264::{DecoderConfig, Sps};

/// Largest configuration record in bytes: parameter sets of real cameras have less than a hundred.
const CONFIG_BYTES_MAX: usize = 64 << 10;

/// The sample entry of `config` in a track of `kind`.
pub(super) fn sample_entry(kind: TrackKind, config: &TrackConfig) -> Result<Codec, Mp4Error> {
    match (kind, config.kind) {
        (TrackKind::Video, CodecKind::H264) => h264_entry(config),
        (TrackKind::Audio, CodecKind::Pcmu | CodecKind::Pcma) => flac_entry(config),
        (TrackKind::Video | TrackKind::Audio, codec) => Err(Mp4Error::Kind { kind, codec }),
    }
}

/// Ticks per second of the media time of a track that begins with `config`: labels are exact for video; players cut
/// audio exactly when its clock counts audio samples.
pub(super) fn clock_rate(kind: TrackKind, config: &TrackConfig) -> u32 {
    match kind {
        TrackKind::Video => u32::try_from(TICKS_PER_SECOND).unwrap_or(u32::MAX),
        TrackKind::Audio => config.clock_rate,
    }
}

fn h264_entry(config: &TrackConfig) -> Result<Codec, Mp4Error> {
    let unusable = |reason: &dyn std::fmt::Display| Mp4Error::Config(reason.to_string());
    let record = config.config.as_slice();
    if record.len() > CONFIG_BYTES_MAX {
        return Err(unusable(&"the decoder configuration is too long"));
    }
    let sets = DecoderConfig::parse(record).map_err(|error| unusable(&error))?;
    let first = sets.sps.first().ok_or_else(|| unusable(&"no sequence parameter set"))?;
    let sps = Sps::parse(first).map_err(|error| unusable(&error))?;
    let size = |pixels: u32| u16::try_from(pixels).map_err(|_| unusable(&"the picture is too large"));

    let mut rest = record;
    let avcc = Avcc::decode_body(&mut rest).map_err(|error| unusable(&error))?;
    if !rest.is_empty() || avcc.length_size != 4 {
        return Err(unusable(&"the decoder configuration is not one for 4-byte lengths"));
    }
    let visual = Visual {
        data_reference_index: 1,
        width: size(sps.width)?,
        height: size(sps.height)?,
        ..Visual::default()
    };
    Ok(Avc1 { visual, avcc, ..Avc1::default() }.into())
}

fn flac_entry(config: &TrackConfig) -> Result<Codec, Mp4Error> {
    let frames = G711Frames::new(config).map_err(|error| Mp4Error::Config(error.to_string()))?;
    let info = frames.stream().info(0);
    let audio = Audio {
        data_reference_index: 1,
        channel_count: info.channels.into(),
        sample_size: 16,
        sample_rate: info.rate_hz.into(),
    };
    let stream_info = FlacMetadataBlock::StreamInfo {
        minimum_block_size: info.block_samples_min,
        maximum_block_size: info.block_samples_max,
        minimum_frame_size: u24::default(),
        maximum_frame_size: u24::default(),
        sample_rate: info.rate_hz.into(),
        num_channels_minus_one: info.channels.saturating_sub(1),
        bits_per_sample_minus_one: 15,
        number_of_interchannel_samples: info.samples,
        md5_checksum: vec![0; 16],
    };
    Ok(Flac { audio, dfla: Dfla { blocks: vec![stream_info] } }.into())
}
