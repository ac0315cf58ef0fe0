use super::*;
use proptest::prelude::*;

/// Of x265: Main profile, level 2, 320 x 180.
pub(crate) const VPS: &[u8] =
    b"\x40\x01\x0c\x01\xff\xff\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x3c\x92\x80\x90";
pub(crate) const SPS: &[u8] =
    b"\x42\x01\x01\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x3c\xa0\x0a\x08\x0b\x9f\x79\x64\xa9\x24\xca\
      \xf0\x16\x80\x80\x00\x00\x03\x00\x80\x00\x00\x05\x04";
pub(crate) const PPS: &[u8] = b"\x44\x01\xc1\x72\xb4\x62\x40";

#[test]
fn a_sequence_parameter_set_says_size_and_profile() {
    let sps = Sps::parse(SPS).unwrap();
    assert_eq!(
        (sps.width, sps.height, sps.luma_bits, sps.chroma_bits, sps.chroma_format),
        (320, 180, 8, 8, 1)
    );
    assert_eq!((sps.id, sps.temporal_layers, sps.temporal_nesting), (0, 1, true));
    let described = sps.profile_tier_level;
    assert_eq!((described.profile, described.level, described.high_tier), (1, 60, false));
    // Annex E of ISO/IEC 14496-15: flags reversed, zero bytes at the end left out.
    assert_eq!(sps.codec_name(), "hvc1.1.6.L60.90");
    assert_eq!((vps_id(VPS), pps_id(PPS), vps_id(PPS), pps_id(VPS)), (Some(0), Some(0), None, None));
}

#[test]
fn a_decoder_configuration_comes_back_as_it_was() {
    let sets = DecoderConfig { vps: vec![VPS], sps: vec![SPS], pps: vec![PPS] };
    let record = sets.build().unwrap();
    assert_eq!(DecoderConfig::parse(&record), Ok(sets.clone()));
    // As ffmpeg writes it for the same stream, but for the segmentation that it reads out of the usability information.
    assert_eq!(record[..13], [1, 1, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 60]);
    assert_eq!(record[16..23], [0xfd, 0xf8, 0xf8, 0, 0, 0x0f, 3]);
    assert_eq!(record[23..28], [0xa0, 0, 1, 0, 24]);
    for (vps, sps, pps) in
        [(vec![], vec![SPS], vec![PPS]), (vec![VPS], vec![], vec![PPS]), (vec![VPS], vec![SPS], vec![])]
    {
        assert_eq!(DecoderConfig { vps, sps, pps }.build(), Err(DecoderConfigError::Count));
    }
    let mixed = DecoderConfig { vps: vec![PPS], sps: vec![SPS], pps: vec![PPS] };
    assert_eq!(mixed.build(), Err(DecoderConfigError::Kind));
    for end in 0..record.len() {
        assert_eq!(DecoderConfig::parse(&record[..end]), Err(DecoderConfigError::Short), "{end}");
    }
}

#[test]
fn kinds_follow_the_standard_and_other_layers_mean_nothing() {
    let kind = |number: u8| UnitKind::from_header([number << 1, 1]);
    assert!((0..=9).all(|number| kind(number) == UnitKind::Slice));
    assert!((16..=21).all(|number| kind(number) == UnitKind::KeySlice));
    assert!((48..=63).all(|number| kind(number) == UnitKind::Outside));
    assert!([10, 15, 22, 31, 45, 47].into_iter().all(|number| kind(number) == UnitKind::Other));
    assert!((32..=35).chain([39]).chain(41..=44).all(|number| kind(number).begins_access_unit()));
    assert!([36, 37, 38, 40].into_iter().all(|number| !kind(number).begins_access_unit()));
    assert_eq!(UnitKind::from_header([0x26, 0x09]), UnitKind::Other);
    assert_eq!(UnitKind::from_header([0x27, 0x01]), UnitKind::Other);
    assert_eq!(UnitKind::of(b"\x26"), None);
}

#[test]
fn what_is_no_usable_parameter_set_says_why() {
    assert_eq!(Sps::parse(b""), Err(SpsError::Malformed));
    assert_eq!(Sps::parse(VPS), Err(SpsError::Kind));
    assert!((2..20).all(|end| Sps::parse(&SPS[..end]) == Err(SpsError::Malformed)));
    let mut layers = SPS.to_vec();
    layers[2] |= 0x0e;
    let out_of_range = SpsError::OutOfRange { name: "sps_max_sub_layers_minus1", value: 7 };
    assert_eq!(Sps::parse(&layers), Err(out_of_range));
}

proptest! {
    #[test]
    fn mutated_parameter_sets_never_panic(at in 0usize..41, byte: u8, end in 0usize..=41, random: Vec<u8>) {
        let mut unit = SPS.to_vec();
        unit[at] = byte;
        for unit in [&unit[..end.min(unit.len())], &[&b"\x42\x01"[..], &random].concat()] {
            if let Ok(sps) = Sps::parse(unit) {
                prop_assert!(sps.width > 0 && sps.height > 0);
                prop_assert!(sps.codec_name().starts_with("hvc1."));
                let sets = DecoderConfig { vps: vec![VPS], sps: vec![unit], pps: vec![PPS] };
                let record = sets.build().unwrap();
                prop_assert_eq!(DecoderConfig::parse(&record), Ok(sets.clone()));
            }
        }
        let _ = DecoderConfig::parse(&random);
    }
}
