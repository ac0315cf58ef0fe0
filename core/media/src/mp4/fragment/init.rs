//! The initialisation segment, and what browsers call its codecs (RFC 6381, ISO/IEC 14496-15 annex E).

use keepwatch_model::{CodecKind, TrackConfig};
use mp4_atom::{
    Codec, Dinf, Dref, Encode, FixedPoint, FourCC, Ftyp, Hdlr, Mdhd, Mdia, Minf, Moov, Mvex, Mvhd, Smhd,
    Stbl, Stco, Stsd, Tkhd, Trak, Trex, Url, Vmhd,
};

use super::TIMESCALE;
use crate::aac::AacConfig;
use crate::h265;
use crate::mp4::{Mp4Error, TRACKS_MAX, TrackKind, entry};

/// `ftyp moov`: what a player must have before the first segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitSegment {
    /// The segment.
    pub bytes: Vec<u8>,
    /// Its codecs as RFC 6381 §3.4 writes them, such as `avc1.640028,mp4a.40.2`.
    pub codecs: String,
    /// Pixels of a picture, width and height; 0 without pictures.
    pub size: (u16, u16),
}

impl InitSegment {
    /// The segment of `tracks`, which are numbered from 1 in this order.
    ///
    /// # Errors
    /// When there are none or too many, or one cannot be delivered in an MP4 that is played as it comes, as Motion JPEG.
    pub fn new(tracks: &[(TrackKind, &TrackConfig)]) -> Result<Self, Mp4Error> {
        if tracks.is_empty() || tracks.len() > TRACKS_MAX {
            return Err(Mp4Error::Tracks);
        }
        let mut names = Vec::new();
        let mut traks = Vec::new();
        let mut trex = Vec::new();
        for ((kind, config), track_id) in tracks.iter().zip(1..) {
            names.push(codec_name(*kind, config)?);
            traks.push(trak(track_id, *kind, entry::sample_entry(*kind, config)?));
            trex.push(Trex { track_id, default_sample_description_index: 1, ..Trex::default() });
        }
        let size = traks.iter().find_map(|trak| picture_size(trak.mdia.minf.stbl.stsd.codecs.first()?));
        let mut bytes = Vec::new();
        Ftyp {
            major_brand: FourCC::new(b"iso6"),
            minor_version: 0,
            compatible_brands: [b"iso6", b"mp41"].map(FourCC::new).to_vec(),
        }
        .encode(&mut bytes)?;
        Moov {
            mvhd: Mvhd {
                timescale: TIMESCALE,
                rate: FixedPoint::new(1, 0),
                volume: FixedPoint::new(1, 0),
                next_track_id: u32::try_from(traks.len()).unwrap_or(0) + 1,
                ..Mvhd::default()
            },
            mvex: Some(Mvex { mehd: None, trex }),
            trak: traks,
            ..Moov::default()
        }
        .encode(&mut bytes)?;
        Ok(Self { bytes, codecs: names.join(","), size: size.unwrap_or_default() })
    }

    /// The media type with its codecs, as `MediaSource.isTypeSupported` takes it.
    pub fn mime(&self) -> String {
        format!("video/mp4; codecs=\"{}\"", self.codecs)
    }
}

fn picture_size(codec: &Codec) -> Option<(u16, u16)> {
    codec.visual().map(|visual| (visual.width, visual.height))
}

fn trak(track_id: u32, kind: TrackKind, codec: Codec) -> Trak {
    let (width, height) = picture_size(&codec).unwrap_or_default();
    let (handler, name) = match kind {
        TrackKind::Video => (b"vide", "video"),
        TrackKind::Audio => (b"soun", "audio"),
    };
    Trak {
        tkhd: Tkhd {
            track_id,
            enabled: true,
            in_movie: true,
            volume: FixedPoint::new(u8::from(kind == TrackKind::Audio), 0),
            width: width.into(),
            height: height.into(),
            ..Tkhd::default()
        },
        mdia: Mdia {
            mdhd: Mdhd { timescale: TIMESCALE, language: "und".into(), ..Mdhd::default() },
            hdlr: Hdlr { handler: FourCC::new(handler), name: name.into() },
            minf: Minf {
                vmhd: (kind == TrackKind::Video).then(Vmhd::default),
                smhd: (kind == TrackKind::Audio).then(Smhd::default),
                dinf: Dinf { dref: Dref { entries: vec![Url::default().into()] } },
                // Samples are all in segments: the tables are there, and empty (ISO/IEC 14496-12 §8.8.1).
                stbl: Stbl {
                    stsd: Stsd { codecs: vec![codec] },
                    stco: Some(Stco::default()),
                    ..Stbl::default()
                },
                ..Minf::default()
            },
        },
        ..Trak::default()
    }
}

/// What browsers call the coding of a track; G.711 is delivered as FLAC.
///
/// # Errors
/// When it is none that browsers take in an MP4, or its configuration cannot be read.
pub fn codec_name(kind: TrackKind, config: &TrackConfig) -> Result<String, Mp4Error> {
    let unusable = |error: &dyn std::fmt::Display| Mp4Error::Config(error.to_string());
    match (kind, config.kind) {
        (TrackKind::Video, CodecKind::H264) => {
            // ISO/IEC 14496-15 §5.3.3.1: profile, constraints and level stand behind the version.
            let told = config.config.get(1..4).ok_or_else(|| unusable(&"no profile and level"))?;
            let mut name = String::from("avc1.");
            told.iter().for_each(|byte| name.push_str(&format!("{byte:02X}")));
            Ok(name)
        }
        (TrackKind::Video, CodecKind::H265) => {
            let sets = h265::DecoderConfig::parse(&config.config).map_err(|error| unusable(&error))?;
            let first = sets.sps.first().ok_or_else(|| unusable(&"no sequence parameter set"))?;
            Ok(h265::Sps::parse(first).map_err(|error| unusable(&error))?.codec_name())
        }
        (TrackKind::Audio, CodecKind::Aac) => {
            let aac = AacConfig::parse(&config.config).map_err(|error| unusable(&error))?;
            Ok(format!("mp4a.40.{}", aac.object_type))
        }
        (TrackKind::Audio, CodecKind::Pcmu | CodecKind::Pcma) => Ok("flac".to_owned()),
        (TrackKind::Video | TrackKind::Audio, codec) => Err(Mp4Error::Kind { kind, codec }),
    }
}
