//! Sample entries: what a player must know of a configuration (ISO/IEC 14496-15 §5.4 and §8.4, 14496-14 §5.6, FLAC in
//! ISOBMFF §3.3.1).

use keepwatch_model::{CodecKind, TICKS_PER_SECOND, TrackConfig};
use mp4_atom::{
    Atom, Audio, Avc1, Avcc, Codec, Dfla, Esds, Flac, FlacMetadataBlock, Hvc1, Hvcc, Jpeg, Mp4a, Visual,
    esds, u24,
};

use super::{Mp4Error, TrackKind};
use crate::aac::AacConfig;
use crate::flac::G711Frames;
use crate::h264::{DecoderConfig, Sps};
use crate::h265;

/// Largest configuration record in bytes: parameter sets of real cameras have less than a hundred.
const CONFIG_BYTES_MAX: usize = 64 << 10;

/// The sample entry of `config` in a track of `kind`.
pub(super) fn sample_entry(kind: TrackKind, config: &TrackConfig) -> Result<Codec, Mp4Error> {
    match (kind, config.kind) {
        (TrackKind::Video, CodecKind::H264) => h264_entry(config),
        (TrackKind::Video, CodecKind::H265) => h265_entry(config),
        (TrackKind::Video, CodecKind::Jpeg) => jpeg_entry(config),
        (TrackKind::Audio, CodecKind::Aac) => aac_entry(config),
        (TrackKind::Audio, CodecKind::Pcmu | CodecKind::Pcma) => flac_entry(config),
        (TrackKind::Video | TrackKind::Audio, codec) => Err(Mp4Error::Kind { kind, codec }),
    }
}

/// Ticks per second of the media time of a track that begins with `config`: labels are exact for video; players cut
/// audio exactly when its clock counts audio samples.
pub(super) fn clock_rate(kind: TrackKind, config: &TrackConfig) -> u32 {
    match (kind, config.kind) {
        (TrackKind::Video, _) => u32::try_from(TICKS_PER_SECOND).unwrap_or(u32::MAX),
        // The clock of RTP may be another.
        (TrackKind::Audio, CodecKind::Aac) => {
            AacConfig::parse(&config.config).map_or(config.clock_rate, |config| config.rate_hz)
        }
        (TrackKind::Audio, _) => config.clock_rate,
    }
}

fn unusable(reason: &dyn std::fmt::Display) -> Mp4Error {
    Mp4Error::Config(reason.to_string())
}

/// The decoder configuration, if it has a sane length.
fn record(config: &TrackConfig) -> Result<&[u8], Mp4Error> {
    if config.config.len() > CONFIG_BYTES_MAX {
        return Err(unusable(&"the decoder configuration is too long"));
    }
    Ok(&config.config)
}

fn visual(width: u32, height: u32) -> Result<Visual, Mp4Error> {
    let size = |pixels: u32| u16::try_from(pixels).map_err(|_| unusable(&"the picture is too large"));
    Ok(Visual { data_reference_index: 1, width: size(width)?, height: size(height)?, ..Visual::default() })
}

fn h264_entry(config: &TrackConfig) -> Result<Codec, Mp4Error> {
    let record = record(config)?;
    let sets = DecoderConfig::parse(record).map_err(|error| unusable(&error))?;
    let first = sets.sps.first().ok_or_else(|| unusable(&"no sequence parameter set"))?;
    let sps = Sps::parse(first).map_err(|error| unusable(&error))?;
    let mut rest = record;
    let avcc = Avcc::decode_body(&mut rest).map_err(|error| unusable(&error))?;
    if !rest.is_empty() || avcc.length_size != 4 {
        return Err(unusable(&"the decoder configuration is not one for 4-byte lengths"));
    }
    Ok(Avc1 { visual: visual(sps.width, sps.height)?, avcc, ..Avc1::default() }.into())
}

fn h265_entry(config: &TrackConfig) -> Result<Codec, Mp4Error> {
    let record = record(config)?;
    let sets = h265::DecoderConfig::parse(record).map_err(|error| unusable(&error))?;
    let first = sets.sps.first().ok_or_else(|| unusable(&"no sequence parameter set"))?;
    let sps = h265::Sps::parse(first).map_err(|error| unusable(&error))?;
    let mut rest = record;
    let hvcc = Hvcc::decode_body(&mut rest).map_err(|error| unusable(&error))?;
    if !rest.is_empty() || hvcc.length_size_minus_one != 3 {
        return Err(unusable(&"the decoder configuration is not one for 4-byte lengths"));
    }
    Ok(Hvc1 { visual: visual(sps.width, sps.height)?, hvcc, ..Hvc1::default() }.into())
}

/// The entry of QuickTime, which players know; ISO/IEC 14496-12 has none for JPEG. A size that is not known is 0, and
/// players take that of the first picture.
fn jpeg_entry(config: &TrackConfig) -> Result<Codec, Mp4Error> {
    let [w0, w1, h0, h1] = config.config.first_chunk().copied().unwrap_or_default();
    let (width, height) = (u16::from_be_bytes([w0, w1]), u16::from_be_bytes([h0, h1]));
    let visual = Visual { compressor: "Photo - JPEG".into(), ..visual(width.into(), height.into())? };
    Ok(Jpeg { visual, ..Jpeg::default() }.into())
}

/// ISO/IEC 14496-14 §5.6: AAC as it was received.
fn aac_entry(config: &TrackConfig) -> Result<Codec, Mp4Error> {
    /// Object type and stream type (ISO/IEC 14496-1 tables 5 and 6): MPEG-4 audio, an audio stream.
    const MPEG4_AUDIO: u8 = 0x40;
    const AUDIO_STREAM: u8 = 0x05;
    let record = record(config)?;
    let aac = AacConfig::parse(record).map_err(|error| unusable(&error))?;
    let audio = Audio {
        data_reference_index: 1,
        channel_count: config.channels.into(),
        sample_size: 16,
        // A field of 16 bits; players take what the configuration says.
        sample_rate: u16::try_from(aac.rate_hz).unwrap_or(0).into(),
    };
    let dec_config = esds::DecoderConfig {
        object_type_indication: MPEG4_AUDIO,
        stream_type: AUDIO_STREAM,
        dec_specific: Some(esds::DecoderSpecific { raw: record.to_vec(), ..Default::default() }),
        ..Default::default()
    };
    let es_desc = esds::EsDescriptor { dec_config, ..Default::default() };
    Ok(Mp4a { audio, esds: Esds { es_desc }, btrt: None, taic: None }.into())
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
