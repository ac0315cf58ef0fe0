//! Format parameters of a track (`a=fmtp`), and the base64 in them.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Cameras leave out padding and leave bits behind it.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The parameters of one format.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameters<'a>(pub(super) &'a str);

impl<'a> Parameters<'a> {
    /// The value of a parameter, whose name is compared without regard to case.
    pub(super) fn value(self, wanted: &str) -> Option<&'a str> {
        let pairs = self.0.split(';').filter_map(|pair| pair.split_once('='));
        let mut held = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case(wanted));
        held.next().map(|(_, value)| value.trim().trim_matches('"'))
    }

    /// The value of a parameter that is a number; `None` also when it is something else.
    pub(super) fn number(self, wanted: &str) -> Option<u32> {
        self.value(wanted)?.parse().ok()
    }

    /// What the base64 items of a parameter hold; broken ones and trailing commas are passed over.
    pub(super) fn binary(self, wanted: &str) -> Vec<Vec<u8>> {
        self.value(wanted)
            .unwrap_or_default()
            .split(',')
            .map(|text| text.chars().filter(|c| !c.is_whitespace()).collect::<String>())
            .filter_map(|text| LENIENT.decode(text).ok())
            .collect()
    }
}
